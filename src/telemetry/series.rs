//! Handles of metrics, looked up once for each table, so that counting a request is a few atomic additions: no label
//! is looked up and nothing is allocated once a combination has been seen.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{Histogram, IntCounter};
use rhumb_decision::Decision;
use rhumb_decision::table::{Operation, Table};
use rhumb_decision::units::{RegionId, ServiceId};

use crate::telemetry::metrics::Metrics;

/// The service of what was refused before anything was decided.
const NO_SERVICE: &str = "default";

/// The handles in use, and the table that they were looked up for.
pub(super) struct Handles {
    pub table: Arc<Table>,
    pub series: Arc<Series>,
}

impl Handles {
    /// Those of `table`; taken over from `earlier` where regions and services are the same.
    pub fn of(table: &Arc<Table>, earlier: Option<&Self>) -> Self {
        let kept = earlier.filter(|earlier| alike(&earlier.table, table));
        let series = kept.map_or_else(|| Arc::new(Series::of(table)), |kept| Arc::clone(&kept.series));
        Self { table: Arc::clone(table), series }
    }

    /// Whether they count requests that were decided on `table`.
    pub fn fit(&self, table: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.table, table) || alike(&self.table, table)
    }
}

fn alike(one: &Table, other: &Table) -> bool {
    let regions = one.regions().iter().map(|region| &region.name);
    regions.eq(other.regions().iter().map(|region| &region.name)) && one.services() == other.services()
}

type Counter = OnceLock<Option<IntCounter>>;

/// By source region, then target region, then service and operation; each made when it is first needed.
pub(super) struct Series {
    sources: Box<[OnceLock<Box<FromSource>>]>,
    services: usize,
}

struct FromSource {
    undecided: ByStatus,
    /// The first is for no region, the others for each region by its id.
    targets: Box<[OnceLock<Box<ToTarget>>]>,
}

struct ToTarget {
    crossed: Counter,
    remote: Box<[Counter]>,
    /// Two for each service: reads and writes.
    by_operation: Box<[OnceLock<Box<ByStatus>>]>,
}

#[derive(Default)]
struct ByStatus {
    duration: OnceLock<Option<Histogram>>,
    common: [Counter; COMMON.len()],
}

/// The statuses that have handles; others are looked up by their label.
const COMMON: [(u16, &str); 28] = [
    (0, "000"),
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (304, "304"),
    (307, "307"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (412, "412"),
    (413, "413"),
    (421, "421"),
    (422, "422"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (508, "508"),
];

impl Series {
    /// None looked up yet.
    pub fn of(table: &Table) -> Self {
        Self { sources: slots(table.regions().len()), services: table.services().len() }
    }

    /// Counts a request that ended.
    pub fn count(
        &self,
        metrics: &Metrics,
        table: &Table,
        source: RegionId,
        decision: Option<&Decision>,
        (status, duration): (u16, Duration),
    ) {
        let Some(from) = self.sources.get(source.index()) else { return };
        let from = from.get_or_init(|| {
            Box::new(FromSource { undecided: ByStatus::default(), targets: slots(self.sources.len() + 1) })
        });
        let source_name = table.region_name(source);
        let Some(decision) = decision else {
            let labels = [source_name, "", NO_SERVICE, ""];
            return from.undecided.count(metrics, labels, status, duration);
        };
        let target = decision.target();
        let Some(to) = from.targets.get(target.map_or(0, |region| region.index() + 1)) else { return };
        let to = to.get_or_init(|| {
            Box::new(ToTarget {
                crossed: Counter::new(),
                remote: slots(self.services),
                by_operation: slots(self.services * 2),
            })
        });
        let target_name = target.map_or("", |region| table.region_name(region));
        let service = table.service_name(decision.service);
        if target.is_some_and(|target| target != source) {
            add(&to.crossed, || {
                metrics.cross_region.get_metric_with_label_values(&[source_name, target_name])
            });
            if let Some(remote) = to.remote.get(decision.service.index()) {
                add(remote, || metrics.remote_calls.get_metric_with_label_values(&[service, target_name]));
            }
        }
        if let Some(series) = to.by_operation.get(place(decision.service, decision.operation)) {
            let labels = [source_name, target_name, service, decision.operation.code()];
            series.get_or_init(Box::default).count(metrics, labels, status, duration);
        }
    }
}

fn slots<T>(many: usize) -> Box<[OnceLock<T>]> {
    std::iter::repeat_with(OnceLock::new).take(many).collect()
}

const fn place(service: ServiceId, operation: Operation) -> usize {
    service.index() * 2 + matches!(operation, Operation::Write) as usize
}

fn add(slot: &Counter, find: impl FnOnce() -> Result<IntCounter, prometheus::Error>) {
    if let Some(counter) = slot.get_or_init(|| find().ok()) {
        counter.inc();
    }
}

impl ByStatus {
    fn count(&self, metrics: &Metrics, labels: [&str; 4], status: u16, duration: Duration) {
        let histogram =
            self.duration.get_or_init(|| metrics.duration.get_metric_with_label_values(&labels).ok());
        if let Some(histogram) = histogram {
            histogram.observe(duration.as_secs_f64());
        }
        let [source, target, service, operation] = labels;
        let find = |status: &str| {
            metrics.requests.get_metric_with_label_values(&[source, target, service, operation, status])
        };
        match COMMON.iter().zip(&self.common).find(|((common, _), _)| *common == status) {
            Some(((_, label), slot)) => add(slot, || find(label)),
            None => {
                // No standard has a status above 599: those that a region makes up share one label.
                if let Ok(counter) = find(&if status > 599 { "other".into() } else { format!("{status:03}") })
                {
                    counter.inc();
                }
            }
        }
    }
}

/// Removes every series of `family` of which `keep` does not approve; it is given label names and values.
pub(super) fn sweep<B: MetricVecBuilder>(family: &MetricVec<B>, keep: impl Fn(&str, &str) -> bool)
where
    MetricVec<B>: Collector,
{
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels = metric.get_label();
        if !labels.iter().all(|label| keep(label.name(), label.value())) {
            let gone: HashMap<_, _> = labels.iter().map(|label| (label.name(), label.value())).collect();
            // It was there a moment ago; if another sweep was quicker, it is gone as well.
            let _ = family.remove(&gone);
        }
    }
}

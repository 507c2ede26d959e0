//! The gauges that follow the snapshot: each publication sets them, and those of what is gone are removed.

use std::collections::HashSet;
use std::hash::Hash;

use prometheus::core::{Atomic, GenericGaugeVec};
use rhumb_decision::Snapshot;
use rhumb_decision::operated::Operated;
use rhumb_decision::owned::Owned;
use rhumb_decision::scope::Scope;
use rhumb_decision::table::Table;
use rhumb_decision::units::{CapabilityId, RegionId};

use crate::telemetry::metrics::Metrics;

/// What a transfer may wait for. The last but one is no step of its own: a switch that is not answered.
const STEPS: [&str; 6] = ["preflight", "drain", "catch_up", "switch", STUCK, "between_waves"];
const STUCK: &str = "stuck";

/// Which label values the gauges have now.
#[derive(Default)]
pub(super) struct State {
    weight: HashSet<[String; 2]>,
    operator: HashSet<[String; 2]>,
    capability_up: HashSet<[String; 2]>,
    endpoint_up: HashSet<[String; 2]>,
    lag: HashSet<[String; 2]>,
}

impl State {
    /// Sets what `snapshot` says.
    pub fn show(&mut self, metrics: &Metrics, snapshot: &Snapshot) {
        let table = snapshot.table();
        metrics.generation.set(i64::try_from(snapshot.generation().0).unwrap_or(i64::MAX));
        metrics.tenants.set(i64::try_from(table.tenants().len()).unwrap_or(i64::MAX));
        let weights = table.region_ids().flat_map(|id| {
            let configured = table.region(id).map_or(0.0, |region| region.weight.as_percent());
            let effective = snapshot.weights().region(id).as_percent();
            let name = table.region_name(id);
            [([name, "configured"], configured), ([name, "effective"], effective)]
        });
        set(&metrics.weight, &mut self.weight, weights.map(owned));
        let capabilities = (0..).map(CapabilityId).zip(table.capabilities());
        let up = table.region_ids().flat_map(|id| {
            let view = snapshot.health().region(id);
            capabilities.clone().map(move |(capability, name)| {
                let up = view.is_some_and(|view| view.status(capability).takes_traffic());
                ([table.region_name(id), name.as_ref()], i64::from(up))
            })
        });
        set(&metrics.capability_up, &mut self.capability_up, up.map(owned));
        let endpoints = views(snapshot).flat_map(|(id, view)| {
            view.endpoints.iter().map(move |endpoint| {
                let up = i64::from(endpoint.overall().takes_traffic());
                ([table.region_name(id).to_owned(), endpoint.address.to_string()], up)
            })
        });
        set(&metrics.endpoint_up, &mut self.endpoint_up, endpoints);
        let lags = views(snapshot).flat_map(|(target, view)| {
            table.region_ids().filter(move |source| *source != target).filter_map(move |source| {
                let lag = view.lag_behind(source)?.duration().as_secs_f64();
                Some(([table.region_name(source), table.region_name(target)], lag))
            })
        });
        set(&metrics.lag, &mut self.lag, lags.map(owned));
    }

    /// Sets what operators set.
    pub fn show_operated(&mut self, metrics: &Metrics, table: &Table, state: &Operated) {
        let weights = table.region_ids().filter_map(|id| {
            let name = table.region_name(id);
            let weight = state.view(table, &Scope::region(name))?.operator?;
            Some(([name, "operator"], weight.as_percent()))
        });
        set(&metrics.weight, &mut self.operator, weights.map(owned));
        for code in ["running", "paused", "undoing"] {
            let drains = state.drains().filter(|held| held.in_force && held.drain.phase().code() == code);
            if let Ok(gauge) = metrics.drains.get_metric_with_label_values(&[code]) {
                gauge.set(i64::try_from(drains.count()).unwrap_or(i64::MAX));
            }
        }
    }
}

/// Shows what transfers under way wait for.
pub(super) fn show_transfers(metrics: &Metrics, owned: &Owned) {
    let steps: Vec<_> = owned
        .transfers()
        .filter(|transfer| !transfer.phase.is_over())
        .map(|transfer| if transfer.is_stuck() { STUCK } else { transfer.step_code() })
        .collect();
    for step in STEPS {
        if let Ok(gauge) = metrics.transfers.get_metric_with_label_values(&[step]) {
            let many = steps.iter().filter(|known| **known == step).count();
            gauge.set(i64::try_from(many).unwrap_or(i64::MAX));
        }
    }
}

fn views(
    snapshot: &Snapshot,
) -> impl Iterator<Item = (RegionId, &rhumb_decision::health::RegionView)> + Clone {
    let regions = snapshot.table().region_ids();
    regions.filter_map(|id| Some((id, snapshot.health().region(id)?)))
}

fn owned<T>((labels, value): ([&str; 2], T)) -> ([String; 2], T) {
    (labels.map(str::to_owned), value)
}

fn set<P: Atomic>(
    family: &GenericGaugeVec<P>,
    there: &mut HashSet<[String; 2]>,
    now: impl Iterator<Item = ([String; 2], P::T)>,
) where
    [String; 2]: Hash + Eq,
{
    let mut seen = HashSet::new();
    for (labels, value) in now {
        if let Ok(gauge) = family.get_metric_with_label_values(&labels) {
            gauge.set(value);
        }
        seen.insert(labels);
    }
    for gone in there.difference(&seen) {
        // It was set by the publication before; nothing else removes it.
        let _ = family.remove_label_values(gone);
    }
    *there = seen;
}

/// Whether a label of this name may have this value while `table` is in force.
pub(super) fn is_of(table: &Table, label: &str, value: &str) -> bool {
    match label {
        "source_region" | "target_region" | "from_region" | "to_region" | "region" => {
            value.is_empty() || table.region_named(value).is_some()
        }
        "service" => table.services().iter().any(|service| service.as_ref() == value),
        _ => true,
    }
}

//! Where everything is counted and logged, once, when it has happened.
//!
//! Never: a wait on the path of a request; what does not fit is dropped and counted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::{IntCounter, IntGauge, TextEncoder};
use rhumb_decision::operated::Operated;
use rhumb_decision::owned::Owned;
use rhumb_decision::pin::PinUse;
use rhumb_decision::reason::{FailoverReason, Refusal};
use rhumb_decision::standby::{Check, Readiness};
use rhumb_decision::table::Table;
use rhumb_decision::units::RegionId;
use rhumb_decision::{Decision, Snapshot};

use crate::settings::{Access, Collector};
use crate::telemetry::access_log;
use crate::telemetry::certificates::{CertificateEnd, Certificates};
use crate::telemetry::finished::Finished;
use crate::telemetry::lines::Lines;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::series::{Handles, Series, sweep};
use crate::telemetry::state::{State, is_of, show_transfers};
use crate::telemetry::traces::{Exporter, Origin, Traces};

/// Counts and logs. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    refusals: [OnceLock<Option<IntCounter>>; Refusal::ALL.len()],
    handles: ArcSwapOption<Handles>,
    /// Whether something was counted for a table that is no longer in force.
    late: AtomicBool,
    state: Mutex<State>,
    access: OnceLock<Lines>,
    traces: OnceLock<Traces>,
    certificates: Certificates,
}

impl Recorder {
    /// Counts from zero, and writes no access log.
    ///
    /// - `began`: when the process began, since 1970.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the list of metrics is fixed, and a test registers it")]
    pub fn new(began: Duration) -> Self {
        let metrics = Metrics::new().expect("the list of metrics is sound");
        metrics.started.set(began.as_secs_f64());
        if let Ok(build) = metrics.build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")]) {
            build.set(1);
        }
        Self(Arc::new(Inner {
            metrics,
            refusals: [const { OnceLock::new() }; Refusal::ALL.len()],
            handles: ArcSwapOption::empty(),
            late: AtomicBool::new(false),
            state: Mutex::default(),
            access: OnceLock::new(),
            traces: OnceLock::new(),
            certificates: Certificates::default(),
        }))
    }

    /// Writes the access log to `target` from now on; the second call changes nothing.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or there can be no more threads.
    pub fn log_access(&self, target: Access) -> io::Result<()> {
        if let (Some(open), None) = (access_log::opener(target), self.0.access.get()) {
            let lines = Lines::start("access-log", open, self.0.metrics.access_lost.clone())?;
            self.0.access.get_or_init(|| lines);
        }
        Ok(())
    }

    /// Opens the access log anew, as after its file was moved away.
    pub fn reopen_access_log(&self) {
        if let Some(lines) = self.0.access.get() {
            lines.reopen();
        }
    }

    /// Ends the access log; waits at most `bound` for what is on its way. True when all is written.
    pub fn close_access_log(&self, bound: Duration) -> bool {
        self.0.access.get().is_none_or(|lines| lines.close(bound))
    }

    /// Hands the spans of recorded requests over to the task that is returned, from now on; it sends them once it runs.
    pub fn trace_to(&self, collector: Collector, origin: Origin) -> Exporter {
        let (traces, exporter) = Traces::to(collector, origin, &self.0.metrics.traces);
        // Of two, the first gets them; the second has nothing to send.
        self.0.traces.get_or_init(|| traces);
        exporter
    }

    /// A request ended: counts it and logs it.
    pub fn request_finished(&self, finished: &Finished<'_>) {
        let (metrics, table) = (&self.0.metrics, finished.snapshot.table());
        let outcome = (finished.status, finished.duration);
        let handles = self.0.handles.load();
        match handles.as_deref().filter(|handles| handles.fit(table)) {
            Some(handles) => {
                handles.series.count(metrics, table, finished.source, finished.decision, outcome)
            }
            None => {
                self.0.late.store(true, Ordering::Relaxed);
                Series::of(table).count(metrics, table, finished.source, finished.decision, outcome);
            }
        }
        if let Some(refusal) = finished.refusal {
            self.refused(refusal);
        }
        if let Some(decision) = finished.decision {
            self.failed_over(table, decision);
            // A decision that was followed by a failed attempt still says where the read was to go.
            let lost = (finished.refusal == Some(Refusal::PinUnavailable)).then_some(PinUse::Lost);
            if let Some(used) = lost.or(decision.pin) {
                self.pin(used.code());
            }
        }
        if let Some(lines) = self.0.access.get() {
            lines.push(access_log::line(finished));
        }
        if let (Some(traced), Some(traces)) = (&finished.traced, self.0.traces.get()) {
            traces.push(finished, traced);
        }
    }

    /// An attempt at a region failed; counts where it is another than the edge's.
    pub fn region_failed(
        &self,
        snapshot: &Snapshot,
        source: RegionId,
        target: RegionId,
        reason: &'static str,
    ) {
        if source != target {
            let table = snapshot.table();
            let labels = [table.region_name(source), table.region_name(target), reason];
            count(self.0.metrics.cross_region_failures.get_metric_with_label_values(&labels));
            self.seen(table);
        }
    }

    /// An attempt failed, and this became of the request.
    ///
    /// - `kind`: `connect`, `reset`, `status`, `epoch`. `outcome`: `again`, `no_budget`, `gave_up`.
    pub fn retried(&self, snapshot: &Snapshot, region: RegionId, kind: &'static str, outcome: &'static str) {
        let table = snapshot.table();
        let labels = [table.region_name(region), kind, outcome];
        count(self.0.metrics.retries.get_metric_with_label_values(&labels));
        self.seen(table);
    }

    /// A gateway refused a request for its epoch: this one, or that of `region`.
    pub fn epoch_mismatch(&self, snapshot: &Snapshot, region: RegionId) {
        let table = snapshot.table();
        let labels = [table.region_name(region)];
        count(self.0.metrics.epoch_mismatches.get_metric_with_label_values(&labels));
        self.seen(table);
    }

    /// Somebody asked this gateway who did not prove to be an edge; `cause` is of a closed list.
    pub fn unproven(&self, cause: &'static str) {
        count(self.0.metrics.unproven.get_metric_with_label_values(&[cause]));
    }

    /// A managed header came from somebody else, so many times; `header` is its own spelling.
    pub fn spoofed(&self, header: &'static str, times: u64) {
        if let Ok(counter) = self.0.metrics.spoofed.get_metric_with_label_values(&[header]) {
            counter.inc_by(times);
        }
    }

    /// The gate refused a head.
    pub fn gate_refused(&self, cause: &'static str) {
        count(self.0.metrics.parse_errors.get_metric_with_label_values(&[cause]));
    }

    /// The HTTP parser refused a head before anyone was asked.
    pub fn parser_refused(&self) {
        self.gate_refused("parser");
    }

    /// A connection or a request came up against a limit; `limit` is of a closed list.
    pub fn limit_reached(&self, limit: &'static str) {
        count(self.0.metrics.limits.get_metric_with_label_values(&[limit]));
    }

    /// A client connected; it counts until the guard is dropped.
    #[must_use]
    pub fn connection_opened(&self) -> ConnectionGuard {
        let connections = self.0.metrics.connections.clone();
        connections.inc();
        ConnectionGuard(connections)
    }

    /// Where the proxy counts what waits for clients.
    #[must_use]
    pub fn buffered_bytes(&self) -> BufferedBytes {
        BufferedBytes(self.0.metrics.buffered_bytes.clone())
    }

    /// An outcome was dropped, because its queue was full.
    pub fn outcome_dropped(&self) {
        self.0.metrics.outcomes_dropped.inc();
    }

    /// So many names of endpoints could not be looked up.
    pub fn names_failing(&self, names: usize) {
        self.0.metrics.names_failing.set(i64::try_from(names).unwrap_or(i64::MAX));
    }

    /// Something panicked.
    pub fn panicked(&self) {
        self.0.metrics.panics.inc();
    }

    /// A snapshot was published: shows it, and forgets regions and services that are gone.
    pub fn published(&self, current: &Snapshot) {
        let inner = &self.0;
        let table = current.table();
        let earlier = inner.handles.load_full();
        let moved = earlier.as_deref().is_none_or(|earlier| !Arc::ptr_eq(&earlier.table, table));
        if moved {
            inner.handles.store(Some(Arc::new(Handles::of(table, earlier.as_deref()))));
        }
        let reshaped = moved && earlier.as_deref().is_none_or(|earlier| !earlier.fit(table));
        if inner.late.swap(false, Ordering::Relaxed) || reshaped {
            let keep = |label: &str, value: &str| is_of(table, label, value);
            let metrics = &inner.metrics;
            sweep(&metrics.requests, keep);
            sweep(&metrics.duration, keep);
            sweep(&metrics.cross_region, keep);
            sweep(&metrics.cross_region_failures, keep);
            sweep(&metrics.remote_calls, keep);
            sweep(&metrics.failovers, keep);
            sweep(&metrics.retries, keep);
            sweep(&metrics.epoch_mismatches, keep);
            sweep(&metrics.in_flight, keep);
        }
        // What a panic in there left behind is replaced whole.
        inner.state.lock().unwrap_or_else(PoisonError::into_inner).show(&inner.metrics, current);
    }

    /// What operators set has changed, or whether it can.
    pub fn operated(&self, table: &Table, state: &Operated, revision: u64, is_writable: bool) {
        let metrics = &self.0.metrics;
        metrics.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        metrics.journal_writable.set(i64::from(is_writable));
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).show_operated(metrics, table, state);
    }

    /// What is done to ownership has changed.
    pub fn owned(&self, owned: &Owned) {
        show_transfers(&self.0.metrics, owned);
    }

    /// How ready standbys are, by region; whoever is none any more is forgotten.
    pub fn readiness<'a>(&self, standbys: impl Iterator<Item = (&'a str, &'a Readiness)>) {
        let metrics = &self.0.metrics;
        metrics.readiness.reset();
        metrics.readiness_checks.reset();
        for (region, ready) in standbys {
            if let Ok(gauge) = metrics.readiness.get_metric_with_label_values(&[region]) {
                gauge.set(ready.score);
            }
            for check in Check::ALL {
                let passes = ready.failing.iter().all(|(failing, _)| *failing != check);
                if let Ok(gauge) =
                    metrics.readiness_checks.get_metric_with_label_values(&[region, check.code()])
                {
                    gauge.set(i64::from(passes));
                }
            }
        }
    }

    /// How many writes wait for their tenant's ownership at the moment.
    #[must_use]
    pub fn writes_waiting(&self) -> u64 {
        u64::try_from(self.0.metrics.held_writes.get()).unwrap_or(0)
    }

    /// Two owners were seen at one epoch.
    pub fn split_brain(&self) {
        self.0.metrics.split_brain.inc();
    }

    /// Ownership of so many tenants was moved: `switched`; or a batch was given up: `aborted`.
    pub fn ownership_moved(&self, from: &str, to: &str, status: &'static str, tenants: u64) {
        if let Ok(counter) = self.0.metrics.moved.get_metric_with_label_values(&[from, to, status]) {
            counter.inc_by(tenants);
        }
    }

    /// A write begins to wait for its tenant's ownership.
    pub fn write_held(&self) {
        self.0.metrics.held_writes.inc();
    }

    /// A write has waited: `released`, `timed_out`, `left`, `turned_away`.
    pub fn write_waited(&self, outcome: &'static str, waited: Duration) {
        if outcome != "turned_away" {
            self.0.metrics.held_writes.dec();
        }
        if let Ok(histogram) = self.0.metrics.hold.get_metric_with_label_values(&[outcome]) {
            histogram.observe(waited.as_secs_f64());
        }
    }

    /// So many events for the webhook: `delivered`, `dropped`, `refused`, `failed`, `unsent`.
    pub fn alerted(&self, outcome: &'static str, events: u64) {
        if let Ok(counter) = self.0.metrics.alerts.get_metric_with_label_values(&[outcome]) {
            counter.inc_by(events);
        }
    }

    /// The table was read: `taken`, `unchanged`, `refused`, `accepted`, `rolled_back`.
    pub fn table_reload(&self, outcome: &'static str) {
        count(self.0.metrics.reloads.get_metric_with_label_values(&[outcome]));
    }

    /// A certificate of a listener was read anew: `taken`, `refused`.
    pub fn certificate_reload(&self, outcome: &'static str) {
        count(self.0.metrics.certificate_reloads.get_metric_with_label_values(&[outcome]));
    }

    /// These certificates are in use from now on, and no others.
    pub fn certificates_are(&self, all: Vec<CertificateEnd>) {
        self.0.certificates.are(all);
    }

    /// The certificates in use.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateEnd> {
        self.0.certificates.list()
    }

    /// Shows how many days the certificates in use have left at `now`, since 1970.
    pub fn certificates_at(&self, now: Duration) {
        self.0.certificates.show(&self.0.metrics.certificate_days, now);
    }

    /// The signature's key file was read again: `taken`, `refused`.
    pub fn signature_keys_read(&self, outcome: &'static str) {
        count(self.0.metrics.signature_keys.get_metric_with_label_values(&[outcome]));
    }

    /// The pins' key file was read again: `taken`, `refused`.
    pub fn pin_keys_read(&self, outcome: &'static str) {
        count(self.0.metrics.pin_keys.get_metric_with_label_values(&[outcome]));
    }

    /// A pin was handed out, or shown and not even looked at: `issued`, `forged`, `malformed`, `oversized`, `surplus`.
    /// What the decision made of the others is counted when their requests end.
    pub fn pin(&self, outcome: &'static str) {
        count(self.0.metrics.pins.get_metric_with_label_values(&[outcome]));
    }

    /// Of a write with an `Idempotency-Key`: `new`, `same`, `marked`, `refused`, `evicted`.
    pub fn idempotency_key(&self, outcome: &'static str) {
        count(self.0.metrics.idempotency_keys.get_metric_with_label_values(&[outcome]));
    }

    /// The file of admin tokens was read again: `taken`, `refused`.
    pub fn admin_tokens_read(&self, outcome: &'static str) {
        count(self.0.metrics.admin_tokens.get_metric_with_label_values(&[outcome]));
    }

    /// A request to the admin API was turned away for its token: `missing`, `wrong`, `limited`, `read_only`.
    pub fn admin_token_refused(&self, cause: &'static str) {
        count(self.0.metrics.admin_refusals.get_metric_with_label_values(&[cause]));
    }

    /// Another process was to take this one's place, or this one another's: `taken_over`, `handed_over`, `refused`,
    /// `failed`, `timed_out`.
    pub fn upgrade(&self, outcome: &'static str) {
        count(self.0.metrics.upgrades.get_metric_with_label_values(&[outcome]));
    }

    /// The table in force is this old.
    pub fn table_age(&self, age: Duration) {
        self.0.metrics.table_age.set(age.as_secs_f64());
    }

    /// A region has so many requests in flight.
    pub fn in_flight(&self, region: &str, requests: u32) {
        if let Ok(gauge) = self.0.metrics.in_flight.get_metric_with_label_values(&[region]) {
            gauge.set(i64::from(requests));
        }
    }

    /// Everything counted, in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Only a broken list of metrics could fail here; what could be written is better than nothing.
        let _ = TextEncoder::new().encode_utf8(&self.0.metrics.registry.gather(), &mut text);
        text
    }

    /// Where lines of the process log that were dropped are counted.
    pub(super) fn log_lost(&self) -> IntCounter {
        self.0.metrics.log_lost.clone()
    }

    fn refused(&self, refusal: Refusal) {
        let find = || self.0.metrics.refusals.get_metric_with_label_values(&[refusal.code()]).ok();
        let slot = Refusal::ALL.iter().zip(&self.0.refusals).find(|(known, _)| **known == refusal);
        if let Some(counter) = slot.and_then(|(_, slot)| slot.get_or_init(find).as_ref()) {
            counter.inc();
        }
    }

    fn failed_over(&self, table: &Arc<Table>, decision: &Decision) {
        let (Some(reason), Some(to)) = (decision.failover(), decision.target()) else { return };
        let from = first_preference(table, decision, reason).map_or("", |from| table.region_name(from));
        let labels = [from, table.region_name(to), table.service_name(decision.service)];
        count(self.0.metrics.failovers.get_metric_with_label_values(&labels));
        self.seen(table);
    }

    /// Remembers that series may have come back for regions that are gone.
    fn seen(&self, table: &Arc<Table>) {
        if !self.0.handles.load().as_deref().is_some_and(|handles| handles.fit(table)) {
            self.0.late.store(true, Ordering::Relaxed);
        }
    }
}

fn count(found: Result<IntCounter, prometheus::Error>) {
    if let Ok(counter) = found {
        counter.inc();
    }
}

/// After a transfer the home; otherwise the first candidate that failed for what a first preference may fail for.
fn first_preference(table: &Table, decision: &Decision, reason: FailoverReason) -> Option<RegionId> {
    if reason == FailoverReason::Transferred {
        let tenants = table.tenants();
        return Some(tenants.find(tenants.id(decision.tenant?))?.profile.home);
    }
    let failed = |verdict| FailoverReason::from_verdict(verdict) == Some(reason);
    decision.verdicts.as_slice().iter().find(|candidate| failed(candidate.verdict)).map(|found| found.region)
}

/// A connection that is open.
#[derive(Debug)]
pub struct ConnectionGuard(IntGauge);

/// Bytes of responses that clients have not taken yet.
#[derive(Clone, Debug)]
pub struct BufferedBytes(IntGauge);

impl BufferedBytes {
    /// So many more, or fewer.
    pub fn add(&self, bytes: i64) {
        self.0.add(bytes);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.get()).unwrap_or(0)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;

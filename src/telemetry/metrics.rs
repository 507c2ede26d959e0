//! Every metric: its name, what it says, its labels. This list is the only place that names one.
//!
//! Labels hold region, service and capability names of the table, addresses of its endpoints, and codes of closed
//! lists. Never a tenant, a host or a path.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// One metric, as the reference page lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// The full name.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
}

/// Upper bounds of the duration buckets, in seconds. Below 1 ms lies what an edge answers by itself, up to 25 ms a
/// region next door, up to 500 ms one beyond an ocean, up to 30 s what the default timeout allows.
pub const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

macro_rules! metrics {
    ($($field:ident: $kind:ty = $name:literal, [$($label:literal),*], $help:literal;)*) => {
        /// Every metric.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $name, help: $help, labels: &[$($label),*] }),*];

        /// The metrics themselves.
        pub(super) struct Metrics {
            pub registry: Registry,
            $(pub $field: $kind,)*
        }

        impl Metrics {
            /// All at zero.
            ///
            /// # Errors
            /// The list above is wrong: a name twice, or one that is not a metric's.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(let $field =
                    <$kind>::register(&Metric { name: $name, help: $help, labels: &[$($label),*] }, &registry)?;)*
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

metrics! {
    requests: IntCounterVec = "rhumb_requests_total",
        ["source_region", "target_region", "service", "operation", "status"],
        "Requests that ended. Status 000: the client left before an answer";
    duration: HistogramVec = "rhumb_request_duration_seconds",
        ["source_region", "target_region", "service", "operation"],
        "From the first byte of a request's head to the end of its answer";
    cross_region: IntCounterVec = "rhumb_cross_region_requests_total", ["source_region", "target_region"],
        "Requests that another region than the edge's took";
    cross_region_failures: IntCounterVec = "rhumb_cross_region_failures_total",
        ["source_region", "target_region", "reason"],
        "Attempts at another region than the edge's that failed";
    remote_calls: IntCounterVec = "rhumb_remote_dependency_calls_total", ["service", "target_region"],
        "Calls of a service that another region than the edge's answered";
    failovers: IntCounterVec = "rhumb_failover_events_total", ["from_region", "to_region", "service"],
        "Requests that another region than their first preference took";
    epoch_mismatches: IntCounterVec = "rhumb_epoch_mismatch_total", ["region"],
        "Requests that were decided under an older ownership: at an edge, by the region whose gateway said so; at a \
         gateway, by its own region";
    unproven: IntCounterVec = "rhumb_unproven_edges_total", ["cause"],
        "Requests to a gateway from somebody who did not prove to be an edge: nothing, other_id, no_signature, \
         malformed, unknown_key, stale, wrong";
    refusals: IntCounterVec = "rhumb_refusals_total", ["reason"],
        "Requests that Rhumb answered by itself";
    spoofed: IntCounterVec = "rhumb_spoofed_headers_total", ["header"],
        "Managed headers that somebody else sent, and that were removed";
    pins: IntCounterVec = "rhumb_pins_total", ["outcome"],
        "Pins of clients that wrote. Handed out: issued. What became of one that was shown: pinned, satisfied, owner, \
         lost. Shown and ignored: forged, malformed, oversized, surplus, foreign, old, ahead";
    idempotency_keys: IntCounterVec = "rhumb_idempotency_keys_total", ["outcome"],
        "Writes with an Idempotency-Key that were sent: new, same (again where they were before), marked (elsewhere now, \
         and told so). Not sent: refused. Forgotten before their time for want of room: evicted";
    retries: IntCounterVec = "rhumb_retries_total", ["region", "kind", "outcome"],
        "Failed attempts, and what became of the request";
    parse_errors: IntCounterVec = "rhumb_parse_errors_total", ["cause"],
        "Requests refused for how their head was written";
    limits: IntCounterVec = "rhumb_limits_total", ["limit"],
        "Connections and requests that were turned away or ended at a limit";
    connections: IntGauge = "rhumb_connections", [],
        "Connections of clients that are open";
    buffered_bytes: IntGauge = "rhumb_buffered_bytes", [],
        "Bytes of responses that clients have not taken yet: never too few, as what may be on its way counts for clients \
         that are waited for";
    in_flight: IntGaugeVec = "rhumb_in_flight", ["region"],
        "Requests in flight to a region";
    lag: GaugeVec = "rhumb_replication_lag_seconds", ["source_region", "target_region"],
        "How far the copy in the target region lags behind the source region, as the target reports it";
    weight: GaugeVec = "rhumb_region_weight", ["region", "kind"],
        "Weight of a region in percent: configured, operator where one was set, and effective";
    drains: IntGaugeVec = "rhumb_drains", ["state"],
        "Drains under way: running, paused, undoing";
    journal_writable: IntGauge = "rhumb_journal_writable", [],
        "1: what operators change is kept. 0: their changes are refused, as the journal cannot be written";
    moved: IntCounterVec = "rhumb_ownership_transfer_total", ["from_region", "to_region", "status"],
        "Tenants whose ownership was moved by a transfer: switched; and batches that were aborted";
    transfers: IntGaugeVec = "rhumb_transfers", ["step"],
        "Transfers under way, by what they wait for: preflight, drain, catch_up, switch, between_waves; and stuck, which is \
         switch once gateways of the old owner have not answered";
    split_brain: IntCounter = "rhumb_split_brain_detected_total", [],
        "Tenants of which two owners were seen at one epoch; their writes stop until somebody says who it is";
    readiness: GaugeVec = "rhumb_readiness_score", ["region"],
        "How ready a standby is to take over: the share of its checks that pass";
    readiness_checks: IntGaugeVec = "rhumb_readiness_check", ["region", "check"],
        "1: the standby passes the check: capabilities, lag, headroom, certificates, synthetic, drill";
    held_writes: IntGauge = "rhumb_held_writes", [],
        "Writes that wait for their tenant's ownership";
    hold: HistogramVec = "rhumb_hold_seconds", ["outcome"],
        "How long writes waited for their tenant's ownership: released, timed_out, left by their client, or turned away \
         for want of room";
    revision: IntGauge = "rhumb_revision", [],
        "Number of what operators set and of the table: every change of either raises it";
    capability_up: IntGaugeVec = "rhumb_region_capability_up", ["region", "capability"],
        "1: an endpoint of the region reports the capability as up or degraded";
    endpoint_up: IntGaugeVec = "rhumb_endpoint_up", ["region", "endpoint"],
        "1: the endpoint takes traffic";
    generation: IntGauge = "rhumb_table_generation", [],
        "Number of the snapshot in force";
    tenants: IntGauge = "rhumb_table_tenants", [],
        "Tenants of the table in force";
    table_age: Gauge = "rhumb_table_age_seconds", [],
        "Time since the table in force was taken";
    reloads: IntCounterVec = "rhumb_table_reloads_total", ["outcome"],
        "Readings of the table: taken, unchanged, refused, accepted, rolled_back";
    certificate_reloads: IntCounterVec = "rhumb_certificate_reloads_total", ["outcome"],
        "Certificates and authorities of listeners that were read anew: taken, refused";
    certificate_days: GaugeVec = "rhumb_certificate_expiry_days", ["kind", "name"],
        "Days until a certificate ends, below 0 once it has: of a listener or its clients' authorities by file, of a \
         region's authorities or the edge's own towards it by region";
    signature_keys: IntCounterVec = "rhumb_signature_key_reloads_total", ["outcome"],
        "Readings of the signature's key file that found other keys: taken, or refused as unusable";
    pin_keys: IntCounterVec = "rhumb_pin_key_reloads_total", ["outcome"],
        "Readings of the pins' key file that found other keys: taken, or refused as unusable";
    admin_tokens: IntCounterVec = "rhumb_admin_token_reloads_total", ["outcome"],
        "Readings of the file of admin tokens that found others: taken, or refused as unusable";
    admin_refusals: IntCounterVec = "rhumb_admin_tokens_refused_total", ["cause"],
        "Requests to the admin API turned away for their token: missing, wrong, limited, read_only";
    upgrades: IntCounterVec = "rhumb_upgrades_total", ["outcome"],
        "Changes from process to process: taken_over, handed_over, refused, failed, timed_out";
    access_lost: IntCounter = "rhumb_access_log_lost_total", [],
        "Lines of the access log that were dropped, because its writer was behind or failed";
    log_lost: IntCounter = "rhumb_log_lost_total", [],
        "Lines of the process log that were dropped, because its writer was behind or failed";
    traces: IntCounterVec = "rhumb_traces_total", ["outcome"],
        "Requests that were recorded for a trace, by what became of their spans: exported, dropped for want of room, \
         refused by the collector, failed to reach it, unsent when the process ended";
    alerts: IntCounterVec = "rhumb_alerts_total", ["outcome"],
        "Events for the webhook, by what became of them: delivered, dropped for want of room, refused by the receiver, \
         failed to reach it, unsent when the process ended";
    outcomes_dropped: IntCounter = "rhumb_outcomes_dropped_total", [],
        "Outcomes of requests that passive health did not hear of, because its queue was full";
    names_failing: IntGauge = "rhumb_names_failing", [],
        "Names of endpoints whose last look-up brought nothing; they keep the addresses they had";
    panics: IntCounter = "rhumb_panics_total", [],
        "Panics. Each ended one request, or one piece of work; none is expected";
    build: IntGaugeVec = "rhumb_build_info", ["version"],
        "Always 1; the version is in the label";
    started: Gauge = "process_start_time_seconds", [],
        "When this process began, in seconds since 1970";
}

trait Kind: Sized {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error>;

    fn register(metric: &Metric, registry: &Registry) -> Result<Self, prometheus::Error>
    where
        Self: Collector + Clone + 'static,
    {
        let built = Self::build(metric)?;
        registry.register(Box::new(built.clone()))?;
        Ok(built)
    }
}

macro_rules! kinds {
    (single: $($single:ty),*; by_label: $($vec:ty),*) => {
        $(impl Kind for $single {
            fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
                Self::new(metric.name, metric.help)
            }
        })*
        $(impl Kind for $vec {
            fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
                Self::new(Opts::new(metric.name, metric.help), metric.labels)
            }
        })*
    };
}

kinds!(single: IntCounter, IntGauge, Gauge; by_label: IntCounterVec, IntGaugeVec, GaugeVec);

impl Kind for HistogramVec {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(metric.name, metric.help).buckets(BUCKETS.to_vec());
        Self::new(options, metric.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_list_can_be_registered_and_names_nothing_a_client_chooses() {
        assert!(Metrics::new().is_ok());
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for label in ALL.iter().flat_map(|metric| metric.labels) {
            assert!(!["tenant", "host", "path", "client", "method"].contains(label), "{label}");
        }
    }

    #[test]
    fn buckets_rise() {
        assert!(BUCKETS.is_sorted_by(|a, b| a < b));
    }
}

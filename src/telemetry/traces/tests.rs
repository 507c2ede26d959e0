//! The queue: full, or without anybody at its end.

use std::time::Duration;

use prometheus::Opts;

use super::*;
use crate::telemetry::fixture::{self, finished};

fn traces(room: usize) -> (Traces, Exporter, IntCounterVec) {
    let counts = IntCounterVec::new(Opts::new("traces", "traces"), &["outcome"]).unwrap();
    let origin = Origin { id: "edge-1".into(), zone: None };
    let (traces, exporter) = Traces::with_room("http://127.0.0.1:1".parse().unwrap(), origin, &counts, room);
    (traces, exporter, counts)
}

fn push(traces: &Traces, times: usize) {
    let snapshot = fixture::snapshot(1);
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let traced = Traced {
        trace: 1,
        span: 2,
        parent: None,
        state: "",
        attempts: &[],
        now: Duration::from_secs(1),
        wall: Duration::from_secs(1_785_319_200),
        scheme: "http",
        version: "1.1",
    };
    for _ in 0..times {
        traces.push(&finished(&snapshot, eu, None, 200), &traced);
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted_and_keeps_nobody_waiting() {
    let (traces, exporter, counts) = traces(4);
    push(&traces, 7);
    assert_eq!(counts.with_label_values(&["dropped"]).get(), 3);
    drop(exporter);
    push(&traces, 2);
    assert_eq!(counts.with_label_values(&["dropped"]).get(), 5, "nor is anybody there to take it");
}

#[test]
fn every_outcome_is_shown_before_it_happens() {
    let (_traces, _exporter, counts) = traces(1);
    use prometheus::core::Collector as _;
    let shown = counts.collect().remove(0);
    let mut codes: Vec<_> =
        shown.get_metric().iter().map(|one| one.get_label()[0].value().to_owned()).collect();
    codes.sort();
    assert_eq!(codes, ["dropped", "exported", "failed", "refused", "unsent"]);
}

#[test]
fn a_queue_at_its_fullest_is_of_a_known_size() {
    // What a record holds besides its texts, each of which is bounded where it is taken.
    assert!(size_of::<Record>() < 512, "{}", size_of::<Record>());
}

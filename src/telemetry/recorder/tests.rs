//! What is counted, what is forgotten, and what never becomes a label.

use super::*;
use crate::telemetry::fixture::{self, finished};
use rhumb_decision::{Facts, decide};

fn value(text: &str, series: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

fn recorder(snapshot: &Snapshot) -> Recorder {
    let recorder = Recorder::new(Duration::from_secs(1));
    recorder.published(snapshot);
    recorder
}

fn request(recorder: &Recorder, snapshot: &Snapshot, (method, host, path): (&str, &str, &str), status: u16) {
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let decision = decide(&Facts::new(method, host, path, eu), snapshot);
    let refusal = decision.refusal();
    recorder.request_finished(&Finished { refusal, ..finished(snapshot, eu, Some(&decision), status) });
}

#[test]
fn a_request_is_counted_where_it_went() {
    let snapshot = fixture::snapshot(1);
    let recorder = recorder(&snapshot);
    for _ in 0..3 {
        request(&recorder, &snapshot, ("POST", "acme.app.example", "/v1/cases"), 201);
    }
    request(&recorder, &snapshot, ("GET", "globex.app.example", "/"), 299);
    let text = recorder.text();
    for (series, want) in [
        (
            "rhumb_requests_total{operation=\"write\",service=\"case-service\",source_region=\"eu-west-1\",status=\"201\",target_region=\"us-east-1\"}",
            "3",
        ),
        (
            "rhumb_requests_total{operation=\"read\",service=\"default\",source_region=\"eu-west-1\",status=\"299\",target_region=\"eu-west-1\"}",
            "1",
        ),
        (
            "rhumb_request_duration_seconds_count{operation=\"write\",service=\"case-service\",source_region=\"eu-west-1\",target_region=\"us-east-1\"}",
            "3",
        ),
        ("rhumb_cross_region_requests_total{source_region=\"eu-west-1\",target_region=\"us-east-1\"}", "3"),
        ("rhumb_remote_dependency_calls_total{service=\"case-service\",target_region=\"us-east-1\"}", "3"),
    ] {
        assert_eq!(value(&text, series).as_deref(), Some(want), "{series}");
    }
    assert!(!text.contains("target_region=\"eu-west-1\"} 1\nrhumb_remote"), "its own region is not remote");
    assert_eq!(text.matches("rhumb_cross_region_requests_total{").count(), 1);
}

#[test]
fn a_refusal_and_a_failover_are_counted_with_their_reasons() {
    let snapshot = fixture::snapshot(1);
    let recorder = recorder(&snapshot);
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let undecided = finished(&snapshot, eu, None, 400);
    recorder.request_finished(&Finished { refusal: Some(Refusal::BadRequest), ..undecided });
    request(&recorder, &snapshot, ("GET", "nobody.app.example", "/"), 404);
    let drained = fixture::drained(&snapshot, "eu-west-1");
    request(&recorder, &drained, ("GET", "globex.app.example", "/"), 200);
    let text = recorder.text();
    for series in [
        "rhumb_requests_total{operation=\"\",service=\"default\",source_region=\"eu-west-1\",status=\"400\",target_region=\"\"}",
        "rhumb_requests_total{operation=\"read\",service=\"default\",source_region=\"eu-west-1\",status=\"404\",target_region=\"\"}",
        "rhumb_refusals_total{reason=\"bad_request\"}",
        "rhumb_refusals_total{reason=\"tenant_unknown\"}",
        "rhumb_failover_events_total{from_region=\"eu-west-1\",service=\"default\",to_region=\"eu-central-1\"}",
    ] {
        assert_eq!(value(&text, series).as_deref(), Some("1"), "{series}");
    }
}

#[test]
fn no_label_holds_what_a_client_chose() {
    let snapshot = fixture::snapshot(1);
    let recorder = recorder(&snapshot);
    let before = recorder.text().lines().count();
    for at in 0..1_000_u32 {
        let host = format!("secret-{at}.app.example");
        request(&recorder, &snapshot, ("GET", &host, &format!("/secret/{at}")), 404);
        request(&recorder, &snapshot, ("SECRET", "acme.app.example", &format!("/secret/{at}")), 200);
    }
    let text = recorder.text();
    assert!(!text.to_lowercase().contains("secret") && !text.contains("acme"));
    assert!(text.lines().count() < before + 100);
}

#[test]
fn the_series_of_a_region_that_is_gone_disappear_even_when_a_late_request_ends() {
    let whole = fixture::snapshot(1);
    let recorder = recorder(&whole);
    request(&recorder, &whole, ("POST", "acme.app.example", "/v1/cases"), 200);
    let us = whole.table().region_named("us-east-1").unwrap();
    let eu = whole.table().region_named("eu-west-1").unwrap();
    recorder.region_failed(&whole, eu, us, "reset");
    recorder.retried(&whole, us, "reset", "again");
    recorder.in_flight("us-east-1", 3);
    assert!(recorder.text().contains("us-east-1"));
    let smaller = fixture::without_us(2);
    recorder.published(&smaller);
    assert!(!recorder.text().contains("us-east-1"));
    request(&recorder, &whole, ("POST", "acme.app.example", "/v1/cases"), 200);
    assert!(recorder.text().contains("us-east-1"), "it is counted");
    recorder.published(&smaller);
    assert!(!recorder.text().contains("us-east-1"), "and forgotten again");
    request(&recorder, &smaller, ("GET", "globex.app.example", "/"), 200);
    assert!(recorder.text().contains("status=\"200\",target_region=\"eu-west-1\"} 1"));
}

#[test]
fn counters_go_on_when_tenants_change_and_regions_do_not() {
    let first = fixture::snapshot(1);
    let recorder = recorder(&first);
    request(&recorder, &first, ("GET", "globex.app.example", "/"), 200);
    let second = fixture::snapshot(2);
    recorder.published(&second);
    request(&recorder, &second, ("GET", "globex.app.example", "/"), 200);
    request(&recorder, &first, ("GET", "globex.app.example", "/"), 200);
    assert!(recorder.text().contains("status=\"200\",target_region=\"eu-west-1\"} 3"));
}

#[test]
fn the_gauges_show_what_was_published() {
    let snapshot = fixture::drained(&fixture::snapshot(41), "eu-west-1");
    let recorder = recorder(&snapshot);
    let guard = recorder.connection_opened();
    let text = recorder.text();
    for (series, want) in [
        ("rhumb_table_generation", "41"),
        ("rhumb_table_tenants", "2"),
        ("rhumb_connections", "1"),
        ("process_start_time_seconds", "1"),
        ("rhumb_region_weight{kind=\"configured\",region=\"eu-west-1\"}", "100"),
        ("rhumb_region_weight{kind=\"effective\",region=\"eu-west-1\"}", "0"),
        ("rhumb_region_capability_up{capability=\"case.write\",region=\"us-east-1\"}", "1"),
        ("rhumb_endpoint_up{endpoint=\"127.0.0.1:1001\",region=\"eu-west-1\"}", "1"),
        ("rhumb_replication_lag_seconds{source_region=\"us-east-1\",target_region=\"eu-west-1\"}", "0.8"),
    ] {
        assert_eq!(value(&text, series).as_deref(), Some(want), "{series}");
    }
    drop(guard);
    recorder.published(&fixture::without_lag(42));
    let text = recorder.text();
    assert_eq!(value(&text, "rhumb_connections").as_deref(), Some("0"));
    assert!(!text.contains("rhumb_replication_lag_seconds{"), "what is no longer reported is not shown");
}

#[test]
fn what_is_refused_early_and_what_is_removed_is_counted() {
    let recorder = recorder(&fixture::snapshot(1));
    recorder.spoofed("X-Owner-Region", 2);
    recorder.gate_refused("bare_lf");
    recorder.parser_refused();
    recorder.outcome_dropped();
    recorder.table_reload("refused");
    recorder.table_age(Duration::from_millis(1_500));
    let text = recorder.text();
    for (series, want) in [
        ("rhumb_spoofed_headers_total{header=\"X-Owner-Region\"}", "2"),
        ("rhumb_parse_errors_total{cause=\"bare_lf\"}", "1"),
        ("rhumb_parse_errors_total{cause=\"parser\"}", "1"),
        ("rhumb_outcomes_dropped_total", "1"),
        ("rhumb_table_reloads_total{outcome=\"refused\"}", "1"),
        ("rhumb_table_age_seconds", "1.5"),
        ("rhumb_access_log_lost_total", "0"),
    ] {
        assert_eq!(value(&text, series).as_deref(), Some(want), "{series}");
    }
}

#[test]
fn every_request_is_one_line_of_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let snapshot = fixture::snapshot(1);
    let recorder = recorder(&snapshot);
    recorder.log_access(Access::File(path.clone())).unwrap();
    for _ in 0..100 {
        request(&recorder, &snapshot, ("GET", "globex.app.example", "/"), 200);
    }
    assert!(recorder.close_access_log(Duration::from_secs(30)));
    let lines = std::fs::read_to_string(path).unwrap();
    assert_eq!(lines.lines().count(), 100);
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn the_gauges_show_what_operators_set_and_forget_it_when_it_is_undone() {
    use rhumb_decision::drain::{Drain, Event, Ramp};
    use rhumb_decision::operated::{By, DrainId, Held, Operated};
    use rhumb_decision::scope::Scope;
    use rhumb_decision::units::{Millis, Wall, Weight};

    let snapshot = fixture::snapshot(1);
    let recorder = recorder(&snapshot);
    let percent = Weight::percent;
    let ramp = Ramp { from: percent(100), to: percent(0), over: Millis(1_000), step: percent(1) };
    let drain = Drain::begin(ramp, Millis(0)).step(&Event::Tick, Millis(600)).unwrap();
    let by = By { actor: "jo".into(), reason: "why".into(), since: Wall(0), until: None };
    let held = Held { id: DrainId(1), scope: Scope::region("eu-west-1"), by, drain, in_force: true };
    let set = Operated::new([], [held], DrainId(1));
    recorder.operated(snapshot.table(), &set, 9, true);
    let text = recorder.text();
    let operator = "rhumb_region_weight{kind=\"operator\",region=\"eu-west-1\"}";
    for (series, want) in [
        (operator, "40"),
        ("rhumb_drains{state=\"running\"}", "1"),
        ("rhumb_drains{state=\"paused\"}", "0"),
        ("rhumb_journal_writable", "1"),
        ("rhumb_revision", "9"),
    ] {
        assert_eq!(value(&text, series).as_deref(), Some(want), "{series}");
    }
    assert!(!text.contains("kind=\"operator\",region=\"us-east-1\""), "nobody set one there");
    recorder.operated(snapshot.table(), &Operated::default(), 10, false);
    let text = recorder.text();
    assert_eq!(value(&text, "rhumb_journal_writable").as_deref(), Some("0"));
    assert_eq!(value(&text, "rhumb_drains{state=\"running\"}").as_deref(), Some("0"));
    assert!(!text.contains("kind=\"operator\""), "what is undone is not shown");
}

#[test]
fn the_gauges_show_what_transfers_wait_for_and_a_switch_that_is_not_answered_as_stuck() {
    use rhumb_decision::operated::{By, Now};
    use rhumb_decision::owned::{Change, Owned};
    use rhumb_decision::transfer::{Batch, Event, Member, Step, To, TransferId, Wanted, Which};
    use rhumb_decision::units::{Epoch, Millis, Wall};

    let recorder = recorder(&fixture::snapshot(1));
    let by = By { actor: "jo".into(), reason: "why".into(), since: Wall(0), until: None };
    let batch = |step| Batch {
        from: "eu-west-1".into(),
        to: "us-east-1".into(),
        members: [Member { tenant: "acme".into(), epoch: Epoch(8) }].into(),
        step,
        began: Millis(0),
        quiet: None,
        aim: None,
    };
    let which = Which::Tenant("acme".into());
    let wanted = Wanted { which, to: To::Standby, unplanned: false, every: None };
    let step = |event| Change::Step { id: TransferId(1), event };
    let mut owned = Owned::default();
    let mut becomes = |change: Change, shown: Option<&str>| {
        owned = owned.apply(&change, &by, Now { at: Millis(1), wall: Wall(1) }).unwrap();
        recorder.owned(&owned);
        let text = recorder.text();
        for step in ["preflight", "drain", "catch_up", "switch", "stuck", "between_waves"] {
            let want = if Some(step) == shown { "1" } else { "0" };
            let series = format!("rhumb_transfers{{step=\"{step}\"}}");
            assert_eq!(value(&text, &series).as_deref(), Some(want), "{series} after {change:?}");
        }
    };
    becomes(Change::Begin { id: TransferId(1), wanted, total: 1 }, Some("preflight"));
    becomes(step(Event::Freeze(batch(Step::Drain))), Some("drain"));
    becomes(step(Event::Abort("a write was in flight".into())), Some("preflight"));
    becomes(step(Event::Freeze(batch(Step::Drain))), Some("drain"));
    becomes(step(Event::Quiet), Some("catch_up"));
    becomes(step(Event::Raise(batch(Step::Switch))), Some("switch"));
    becomes(step(Event::Trouble("no answer".into())), Some("stuck"));
    becomes(step(Event::Release), Some("preflight"));
    becomes(step(Event::WaveOver { more: false }), None);
}

#[test]
fn every_check_of_a_standby_is_a_gauge_and_who_is_none_any_more_has_none() {
    use rhumb_decision::standby::{Check, Readiness};

    let recorder = recorder(&fixture::snapshot(1));
    let ready = Readiness { score: 5.0 / 6.0, failing: vec![(Check::Drill, "none was passed".into())] };
    recorder.readiness([("us-east-1", &ready)].into_iter());
    let text = recorder.text();
    for (check, want) in [("drill", "0"), ("lag", "1"), ("capabilities", "1")] {
        let series = format!("rhumb_readiness_check{{check=\"{check}\",region=\"us-east-1\"}}");
        assert_eq!(value(&text, &series).as_deref(), Some(want), "{series}");
    }
    recorder.readiness(std::iter::empty());
    assert!(!recorder.text().contains("rhumb_readiness_"));
}

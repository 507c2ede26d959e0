//! Where a request goes on after a failed attempt, and where it does not.

use std::sync::{Arc, Barrier};

use super::bench::{Act, After, FINE, Plan, ToyRegion, body, field, get, nobody, post, request, until};

const BUSY: Act = Act::Say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", After::Keep);

#[test]
fn a_refused_connection_moves_a_read_on_to_the_next_endpoint_and_then_to_the_next_region() {
    let (eu, us) = (ToyRegion::start(&[]), ToyRegion::start(&[]));
    let edge = Plan::new(&[nobody(), eu.address], &[us.address]).start();
    for _ in 0..3 {
        assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    }
    assert_eq!((eu.seen().len(), us.seen().len()), (3, 0));
    let edge = Plan::new(&[nobody()], &[us.address]).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    assert_eq!(field(&us.only(), "x-failover-reason"), Some("connect_failed"));
}

#[test]
fn a_write_never_leaves_its_owner() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[nobody()]).start();
    let answer = edge.ask(&post(""));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("owner_unavailable"), "{answer}");
    assert_eq!(field(&answer, "retry-after"), Some("5"));
    let us = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[nobody(), us.address]).start();
    for _ in 0..3 {
        assert!(edge.ask(&post("")).starts_with("HTTP/1.1 200"), "nothing was sent to the dead endpoint");
    }
    assert_eq!((eu.seen().len(), us.seen().len()), (0, 3));
}

#[test]
fn a_broken_read_goes_on_and_a_broken_write_does_not() {
    let (eu, us) = (ToyRegion::start(&[Act::HangUp]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    assert_eq!((eu.seen().len(), us.seen().len()), (1, 1));

    let us = [ToyRegion::start(&[Act::HangUp]), ToyRegion::start(&[Act::HangUp])];
    let edge = Plan::new(&[eu.address], &[us[0].address, us[1].address]).start();
    let answer = edge.ask(&post(""));
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream_failed"), "{answer}");
    assert_eq!(us[0].seen().len() + us[1].seen().len(), 1, "sent once");
}

#[test]
fn a_broken_write_with_a_key_goes_on_within_its_owner() {
    let us = [ToyRegion::start(&[Act::HangUp]), ToyRegion::start(&[Act::HangUp])];
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[us[0].address, us[1].address]).start();
    let answer = edge.ask(&post("Idempotency-Key: k\r\n"));
    assert!(answer.starts_with("HTTP/1.1 502"), "both hung up: {answer}");
    assert_eq!((us[0].seen().len(), us[1].seen().len(), eu.seen().len()), (1, 1, 0));
    assert!(us.iter().all(|us| body(&us.only()) == "body"), "the body was kept");
}

#[test]
fn a_retried_status_needs_somewhere_else_to_go_and_passes_through_at_last() {
    let (eu, us) = (ToyRegion::start(&[BUSY]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    let (eu, us) = (ToyRegion::start(&[BUSY]), ToyRegion::start(&[BUSY]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    let answer = edge.ask(&get());
    assert!(answer.starts_with("HTTP/1.1 503") && body(&answer) == "busy", "{answer}");
    assert_eq!((eu.seen().len(), us.seen().len()), (1, 1));
    let us = ToyRegion::start(&[BUSY]);
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    assert_eq!(body(&edge.ask(&post(""))), "busy");
    assert_eq!(us.seen().len(), 1, "a write is not sent again");
}

#[test]
fn attempts_count_tries_in_all() {
    let eu: Vec<_> = (0..5).map(|_| ToyRegion::start(&[Act::HangUp])).collect();
    let addresses: Vec<_> = eu.iter().map(|eu| eu.address).collect();
    let edge = Plan::new(&addresses, &[]).policy(|policy| policy.retries.attempts = 2).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 502"));
    assert_eq!(eu.iter().map(|eu| eu.seen().len()).sum::<usize>(), 2);
    let edge = Plan::new(&addresses, &[]).policy(|policy| policy.retries.attempts = 1).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 "));
    assert_eq!(eu.iter().map(|eu| eu.seen().len()).sum::<usize>(), 3);
}

#[test]
fn a_kept_connection_that_broke_costs_a_read_nothing() {
    let script = [FINE, Act::HangUp];
    let eu = ToyRegion::start(&script);
    let edge = Plan::new(&[eu.address], &[]).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    let answer = edge.ask(&get());
    assert!(answer.starts_with("HTTP/1.1 200"), "by a new connection to the same endpoint: {answer}");
    assert_eq!(eu.seen().len(), 3);
}

#[test]
fn a_kept_connection_that_broke_costs_a_read_no_attempt() {
    let eu = ToyRegion::start(&[FINE, Act::HangUp]);
    let edge = Plan::new(&[eu.address], &[]).policy(|policy| policy.retries.attempts = 1).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"), "its one attempt is still to come");
    let eu = ToyRegion::start(&[Act::HangUp]);
    let edge = Plan::new(&[eu.address], &[]).policy(|policy| policy.retries.attempts = 1).start();
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 502"), "a new connection that breaks is an attempt");
}

#[test]
fn a_region_that_does_not_answer_runs_into_the_deadline() {
    let (eu, us) = (ToyRegion::start(&[Act::Wait]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address])
        .policy(|policy| policy.timeout = Some(rhumb_decision::units::Millis(200)))
        .start();
    let answer = edge.ask(&get());
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("\"deadline\""), "{answer}");
    assert!(us.seen().is_empty(), "it may still be at work");
}

#[test]
fn a_row_of_failures_is_reported_and_so_is_its_end() {
    let eu = ToyRegion::start(&[Act::HangUp, Act::HangUp, Act::HangUp, FINE]);
    let mut edge = Plan::new(&[eu.address], &[]).start();
    for _ in 0..3 {
        assert!(edge.ask(&get()).starts_with("HTTP/1.1 502"));
    }
    assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    let (row, end) = (edge.told.blocking_recv().unwrap(), edge.told.blocking_recv().unwrap());
    assert_eq!((row.failures, row.address, &*row.region), (3, eu.address, "eu"));
    assert_eq!((end.failures, end.address), (0, eu.address));
}

#[test]
fn garbage_is_a_region_that_failed() {
    let eu = ToyRegion::start(&[Act::Say("SSH-2.0-nonsense\r\n\r\n", After::Close)]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let answer = edge.ask(&request("GET", ""));
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream_failed"), "{answer}");
}

#[test]
fn an_ejected_endpoint_is_tried_by_one_request() {
    let eu = [ToyRegion::start(&[]), ToyRegion::start(&[])];
    let mut plan = Plan::new(&[eu[0].address, eu[1].address], &[]);
    plan.on_trial = vec![eu[0].address];
    let mut edge = plan.start();
    for _ in 0..20 {
        assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    }
    assert_eq!((eu[0].seen().len(), eu[1].seen().len()), (1, 19));
    let told = edge.told.blocking_recv().unwrap();
    assert_eq!((told.address, told.failures), (eu[0].address, 0), "the trial went well");
}

#[test]
fn a_trial_that_its_client_leaves_is_over_too() {
    let eu = ToyRegion::start(&[Act::Wait]);
    let mut plan = Plan::new(&[eu.address], &[]);
    plan.on_trial = vec![eu.address];
    let mut edge = plan.start();
    let mut client = edge.connect();
    client.send(&get());
    until(|| !eu.seen().is_empty());
    drop(client);
    assert!(edge.told.blocking_recv().unwrap().failures > 0);
}

#[test]
fn a_full_region_takes_no_more() {
    let barrier = Arc::new(Barrier::new(2));
    let (eu, us) = (ToyRegion::start(&[Act::Late(Arc::clone(&barrier))]), ToyRegion::start(&[]));
    let mut plan = Plan::new(&[eu.address], &[us.address]);
    plan.max_in_flight = Some(1);
    let edge = plan.start();
    let mut first = edge.connect();
    first.send(&get());
    until(|| !eu.seen().is_empty());
    assert_eq!(body(&edge.ask(&get())), "fine");
    assert_eq!(field(&us.only(), "x-failover-reason"), Some("saturated"));
    barrier.wait();
    assert_eq!(body(&first.response().unwrap()), "late");
}

#[test]
fn a_spent_budget_ends_retries() {
    let eu: Vec<_> = (0..2).map(|_| ToyRegion::start(&[const { Act::HangUp }; 1_000])).collect();
    let addresses: Vec<_> = eu.iter().map(|eu| eu.address).collect();
    let edge = Plan::new(&addresses, &[]).policy(|policy| policy.retries.budget_percent = 0).start();
    until(|| {
        assert!(edge.ask(&get()).starts_with("HTTP/1.1 502"));
        edge.recorder.text().contains("outcome=\"no_budget\"")
    });
}

#[test]
fn a_connection_that_did_not_come_about_costs_nothing_of_the_budget() {
    let us = ToyRegion::start(&[]);
    let edge =
        Plan::new(&[nobody()], &[us.address]).policy(|policy| policy.retries.budget_percent = 0).start();
    for _ in 0..20 {
        assert!(edge.ask(&get()).starts_with("HTTP/1.1 200"));
    }
}

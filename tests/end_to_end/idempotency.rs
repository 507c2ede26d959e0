//! A write that comes again: the region that gets it knows where it was before, or nobody gets it.

use rhumb::lab::{Fault, Then};

use crate::harness::{Ask, Edge, Place, Routing, ask, edge, eventually, faulty, get, toy};

const HOST: &str = "acme.app.example";

/// `acme` under `home` and `epoch`, with what its policy says of writes.
fn table(places: &[&dyn Place], home: &str, epoch: u64, writes: &str) -> Routing {
    let regions: Vec<String> = places.iter().map(|place| place.called()).collect();
    let other = regions.iter().find(|region| *region != home).unwrap();
    Routing::of(places)
        .every_region("health", r#"{ check = "tcp", interval = "100ms", fall = 1000 }"#)
        .tenant("acme", &format!(r#"home = "{home}", standby = ["{other}"], epoch = {epoch}"#))
        .tenant("globex", &format!(r#"home = "{home}", standby = ["{other}"], epoch = {epoch}"#))
        .and(&format!("[policies.default]\nretries.attempts = 1\nwrites = {{ {writes} }}"))
}

fn start(routing: &Routing) -> Edge {
    edge(routing).set("table", "max_moved = 100.0").start()
}

/// Moves every tenant, and waits until that is in force.
fn moves(edge: &Edge, routing: &Routing, epoch: u64) {
    edge.folder().rename_over("routing.toml", routing.text());
    eventually("the owner has changed", || {
        let read = edge.ask(&get(HOST, "/").header("X-Consistency", "strong"));
        read.status == 200 && read.seen("x-owner-epoch") == Some(epoch.to_string())
    });
}

fn write(key: &str) -> Ask {
    ask("POST", HOST, "/v1/cases").body("x").header("Idempotency-Key", key)
}

fn counted(edge: &Edge, outcome: &str) -> f64 {
    edge.metric("rhumb_idempotency_keys_total", &[("outcome", outcome)])
}

#[test]
fn a_repeat_at_a_new_owner_says_where_it_was_before() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let edge = start(&table(&[&eu, &us], "us-east-1", 7, ""));
    let first = edge.ask(&write("k-1"));
    assert_eq!((first.region().as_str(), first.seen("x-prior-attempt-region")), ("us-east-1", None));
    let again = edge.ask(&write("k-1"));
    assert_eq!(again.seen("x-prior-attempt-region"), None, "its owner knows of it");
    moves(&edge, &table(&[&eu, &us], "eu-west-1", 8, ""), 8);
    let elsewhere = edge.ask(&write("k-1"));
    assert_eq!(elsewhere.region(), "eu-west-1");
    assert_eq!(elsewhere.seen("x-prior-attempt-region").as_deref(), Some("us-east-1;epoch=7"));
    let once_more = edge.ask(&write("k-1"));
    assert_eq!(
        once_more.seen("x-prior-attempt-region").as_deref(),
        Some("us-east-1;epoch=7"),
        "nobody knows yet"
    );
    for other in [
        write("k-2"),
        ask("POST", "globex.app.example", "/v1/cases").body("x").header("Idempotency-Key", "k-1"),
        ask("POST", HOST, "/v1/cases").body("x"),
        write("k-3").header("X-Prior-Attempt-Region", "mars;epoch=1"),
        get(HOST, "/").header("Idempotency-Key", "k-1"),
    ] {
        assert_eq!(edge.ask(&other).seen("x-prior-attempt-region"), None, "it was nowhere before");
    }
    moves(&edge, &table(&[&eu, &us], "us-east-1", 9, ""), 9);
    let back = edge.ask(&write("k-1"));
    assert_eq!(back.seen("x-prior-attempt-region").as_deref(), Some("eu-west-1;epoch=8"));
    assert_eq!((counted(&edge, "new"), counted(&edge, "same"), counted(&edge, "marked")), (4.0, 1.0, 3.0));
}

#[test]
fn a_repeat_at_a_new_owner_is_refused_where_the_policy_wants_it_so() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let refuse = r#"on_owner_change = "refuse""#;
    let edge = start(&table(&[&eu, &us], "us-east-1", 7, refuse));
    assert_eq!(edge.ask(&write("k-1")).region(), "us-east-1");
    moves(&edge, &table(&[&eu, &us], "eu-west-1", 8, refuse), 8);
    for _ in 0..3 {
        let refused = edge.ask(&write("k-1"));
        assert_eq!((refused.status, refused.refusal().as_str()), (409, "outcome_unknown"));
        assert_eq!(refused.header("x-consistency-token"), None, "it was sent nowhere");
    }
    assert_eq!(eu.writes_seen(), 0);
    assert_eq!(edge.ask(&write("k-2")).region(), "eu-west-1", "another write is none of its business");
    moves(&edge, &table(&[&eu, &us], "us-east-1", 9, refuse), 9);
    let back = edge.ask(&write("k-1"));
    assert_eq!((back.region().as_str(), back.seen("x-prior-attempt-region")), ("us-east-1", None));
    assert_eq!(counted(&edge, "refused"), 3.0);
}

#[test]
fn what_was_not_sent_or_not_done_is_no_earlier_attempt() {
    let (eu, us) = (toy("eu-west-1"), faulty("us-east-1"));
    let refuse = r#"on_owner_change = "refuse""#;
    let edge = start(&table(&[&eu, &us], "us-east-1", 7, refuse));
    let status =
        |status: u16| Fault::raw(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"), Then::Keep);
    us.otherwise(status(422));
    assert_eq!(edge.ask(&write("turned down")).status, 422);
    us.otherwise(status(503));
    assert_eq!(edge.ask(&write("in doubt")).status, 503);
    us.otherwise(status(409));
    assert_eq!(edge.ask(&write("in doubt")).status, 409, "of the first attempt that says nothing");
    us.otherwise(Fault::reset_after_request());
    assert_eq!(edge.ask(&write("cut off")).status, 502);
    us.go_dark();
    assert_eq!(edge.ask(&write("never sent")).status, 503);
    moves(&edge, &table(&[&eu, &us], "eu-west-1", 8, refuse), 8);
    for (key, status) in [("turned down", 200), ("in doubt", 409), ("cut off", 409), ("never sent", 200)] {
        assert_eq!(edge.ask(&write(key)).status, status, "{key}");
    }
}

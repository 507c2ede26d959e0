//! Connections: kept, bounded, slow, pipelined, and their end when the edge stops.

use std::sync::{Arc, Barrier};

use super::bench::{Act, After, FINE, Plan, ToyRegion, body, get, post, request, until};

#[test]
fn requests_follow_each_other_on_one_connection_even_when_sent_at_once() {
    let (eu, us) = (ToyRegion::start(&[]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    let mut client = edge.connect();
    client.send(&format!("{}{}\r\n{}{}", get(), post(""), get(), post("")));
    for _ in 0..4 {
        assert_eq!(body(&client.response().unwrap()), "fine");
    }
    assert_eq!((eu.seen().len(), us.seen().len()), (2, 2));
    assert!(us.seen().iter().all(|request| body(request) == "body"));
}

#[test]
fn what_comes_early_waits_its_turn() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let mut client = edge.connect();
    for _ in 0..20 {
        client.send(&get());
    }
    for _ in 0..20 {
        assert_eq!(body(&client.response().unwrap()), "fine");
    }
    assert_eq!(eu.seen().len(), 20);
}

#[test]
fn an_ambiguous_head_is_refused_and_ends_the_connection() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[eu.address]).start();
    for (head, status) in [
        (request("POST", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("GET /a b HTTP/1.1\r\nHost: acme.app.example\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: acme.app.example\n\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\r\n\r\n\r\n".to_owned(), 400),
        ("TRACE / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n".to_owned(), 405),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), 405),
        (request("GET", &format!("X: {}\r\n", "x".repeat(40_000))), 431),
        (request("GET", &"X: x\r\n".repeat(120)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: acme.app.example\r\n\r\n", "x".repeat(9_000)), 414),
    ] {
        let mut client = edge.connect();
        client.send(&format!("{head}{}", get()));
        let all = client.rest();
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{head:.80}: {all}");
        assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    }
    assert!(eu.seen().is_empty(), "{:?}", eu.seen());
}

#[test]
fn a_slow_head_ends_its_connection() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).settings("[limits]\nheader_timeout = \"1s\"").start();
    let mut client = edge.connect();
    client.send("GET / HTTP/1.1\r\nHost: acme");
    assert!(client.rest().starts_with("HTTP/1.1 408 "), "told, and closed");
    let mut client = edge.connect();
    client.send(&get());
    assert!(client.response().is_some());
    client.send("GET / HTTP/1.1\r\nHost: acme");
    assert!(client.rest().starts_with("HTTP/1.1 408 "), "nor does the second head wait for ever");
}

#[test]
fn connections_of_one_address_are_bounded() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).settings("[limits]\nconnections_per_address = 1").start();
    let mut one = edge.connect();
    one.send(&get());
    assert!(one.response().is_some());
    let answer = edge.connect().rest();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("overloaded"), "{answer}");
    one.send(&get());
    assert!(one.response().is_some(), "the first is not harmed");
}

#[test]
fn a_stop_lets_a_request_finish_and_waits_no_longer() {
    let barrier = Arc::new(Barrier::new(2));
    let eu = ToyRegion::start(&[FINE, Act::Late(Arc::clone(&barrier))]);
    let mut edge = Plan::new(&[eu.address], &[]).start();
    let (mut idle, mut busy) = (edge.connect(), edge.connect());
    idle.send(&get());
    assert!(idle.response().is_some());
    busy.send(&get());
    until(|| eu.seen().len() == 2);
    edge.begin_to_stop();
    assert_eq!(idle.rest(), "", "an idle connection is closed");
    until(|| std::net::TcpStream::connect(edge.address).is_err());
    barrier.wait();
    let answer = busy.rest();
    assert!(body(&answer) == "late" && answer.contains("onnection: close"), "{answer}");
    assert_eq!(edge.stopped(), 0);
}

#[test]
fn a_stop_waits_for_the_drain_timeout_at_the_longest() {
    let eu = ToyRegion::start(&[Act::Wait]);
    let mut edge = Plan::new(&[eu.address], &[]).settings("[limits]\ndrain_timeout = \"100ms\"").start();
    let mut busy = edge.connect();
    busy.send(&get());
    until(|| !eu.seen().is_empty());
    edge.begin_to_stop();
    assert_eq!(edge.stopped(), 1);
    assert_eq!(busy.rest(), "");
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let eu = ToyRegion::start(&[Act::Wait]);
    let mut edge = Plan::new(&[eu.address], &[]).start();
    let mut client = edge.connect();
    client.send(&get());
    until(|| !eu.seen().is_empty());
    drop(client);
    edge.begin_to_stop();
    assert_eq!(edge.stopped(), 0, "nothing was left to wait for");
}

#[test]
fn a_client_that_reads_nothing_is_left() {
    let large: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n{}", "y".repeat(30_000_000)).into(),
    );
    let eu = ToyRegion::start(&[Act::Say(large, After::Keep)]);
    let mut edge = Plan::new(&[eu.address], &[]).settings("[limits]\nidle_timeout = \"100ms\"").start();
    let mut client = edge.connect();
    client.send(&get());
    until(|| edge.recorder.text().contains("rhumb_requests_total{"));
    edge.begin_to_stop();
    assert_eq!(edge.stopped(), 0);
    assert!(client.rest().len() < large.len(), "and sees that it did not get everything");
}

#[test]
fn a_stalled_body_ends_its_request() {
    let us = ToyRegion::start(&[]);
    let edge = Plan::new(&[], &[us.address]).settings("[limits]\nidle_timeout = \"100ms\"").start();
    let mut client = edge.connect();
    client.send(&request("POST", "Content-Length: 4\r\n"));
    client.send("bo");
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 408 "), "{all}");
    assert!(us.seen().is_empty());
}

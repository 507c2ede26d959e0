//! What a region gets, what a client gets.

use super::bench::{Act, After, FINE, Plan, ToyRegion, body, field, get, post, request};

fn lines(message: &str, name: &str) -> Vec<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).collect()
}

#[test]
fn a_read_stays_near_and_carries_what_rhumb_says_and_nothing_spoofed() {
    let (eu, us) = (ToyRegion::start(&[]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    let spoofed = "X-Owner-Region: mars\r\nx_owner_epoch: 99\r\nX.Target.Region: mars\r\nX-Rhumb-Anything: 1\r\n\
                   X-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nVia: 1.1 mars\r\n\
                   X-Tenant-ID: acme\r\nX-Request-ID: my-id\r\nAccept: */*\r\n";
    let answer = edge.ask(&request("GET", spoofed));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && body(&answer) == "fine", "{answer}");
    let got = eu.only();
    assert!(got.starts_with("GET /v1/cases?x=1 HTTP/1.1\r\n"), "{got}");
    for (name, value) in [
        ("host", "acme.app.example"),
        ("x-tenant-id", "acme"),
        ("x-source-region", "eu"),
        ("x-target-region", "eu"),
        ("x-owner-region", "us"),
        ("x-owner-epoch", "7"),
        ("x-request-region-policy", "default"),
        ("x-region-hops", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "acme.app.example"),
        ("forwarded", "for=127.0.0.1;host=acme.app.example;proto=http"),
        ("via", "1.1 rhumb/edge-1"),
        ("x-request-id", "my-id"),
        ("accept", "*/*"),
    ] {
        assert_eq!(lines(&got, name), [value], "{name} in {got}");
    }
    assert!(field(&got, "traceparent").is_some_and(|trace| trace.len() == 55 && trace.starts_with("00-")));
    let left: u64 = field(&got, "x-request-timeout-ms").unwrap().parse().unwrap();
    assert!((1..=30_000).contains(&left));
    for name in ["x_owner_epoch", "X.Target.Region", "x-rhumb-anything", "x-real-ip", "x-failover-reason"] {
        assert_eq!(lines(&got, name), [""; 0], "{name}");
    }
    assert!(us.seen().is_empty());
    let metrics = edge.recorder.text();
    assert!(metrics.contains("rhumb_spoofed_headers_total{header=\"X-Owner-Region\"} 1"), "{metrics}");
    assert!(!metrics.contains("header=\"X-Tenant-ID\"} 1"), "tenancy names it");
}

#[test]
fn a_write_goes_to_the_owner_with_its_body() {
    let (eu, us) = (ToyRegion::start(&[]), ToyRegion::start(&[]));
    let edge = Plan::new(&[eu.address], &[us.address]).start();
    assert!(edge.ask(&post("")).starts_with("HTTP/1.1 200"));
    let got = us.only();
    assert_eq!((field(&got, "x-target-region"), body(&got)), (Some("us"), "body"));
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = edge.ask(&format!("POST / HTTP/1.1\r\nHost: acme.app.example\r\n{chunked}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(us.seen()[1].contains("abc") && eu.seen().is_empty());
}

#[test]
fn a_refusal_is_a_problem_document_and_the_connection_goes_on() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[eu.address]).start();
    let mut client = edge.connect();
    client.send("GET / HTTP/1.1\r\nHost: nobody.app.example\r\nX-Request-ID: my-id\r\n\r\n");
    let answer = client.response().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert_eq!(field(&answer, "content-type"), Some("application/problem+json"));
    let told: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!((&told["reason"], &told["request_id"]), (&"tenant_unknown".into(), &"my-id".into()));
    client.send(&get());
    assert!(client.response().unwrap().starts_with("HTTP/1.1 200"));
    client.send("HEAD / HTTP/1.1\r\nHost: nobody.app.example\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n");
    let all = client.rest();
    let (head, rest) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 404") && rest.starts_with("HTTP/1.1 400"), "{all}");
    assert!(rest.contains("tenant_missing") && !all.to_ascii_lowercase().contains("pingora"));
}

#[test]
fn grpc_is_refused_in_its_own_words() {
    let edge = Plan::new(&[], &[]).start();
    let answer = edge.ask(&request("POST", "Content-Type: application/grpc\r\nContent-Length: 0\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!((field(&answer, "grpc-status"), body(&answer)), (Some("14"), ""));
}

#[test]
fn an_absolute_target_is_rewritten() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).start();
    edge.ask("GET http://ACME.app.example/a?b HTTP/1.1\r\nHost: ACME.app.example:80\r\n\r\n");
    let got = eu.only();
    assert!(got.starts_with("GET /a?b HTTP/1.1\r\n"), "{got}");
    assert_eq!(field(&got, "host"), Some("ACME.app.example:80"), "as the client sent it");
}

#[test]
fn what_a_region_may_not_say_is_taken_off() {
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Owner-Epoch: 9\r\nx_target_region: us\r\n\
                X-Served-Region: mars\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Own: 1\r\n\r\nok";
    let eu = ToyRegion::start(&[Act::Say(said, After::Keep)]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let answer = edge.ask(&get());
    for name in ["x-owner-epoch", "x_target_region", "x-served-region", "keep-alive", "x-hop"] {
        assert_eq!(lines(&answer, name), [""; 0], "{name} in {answer}");
    }
    assert_eq!((field(&answer, "x-own"), body(&answer)), (Some("1"), "ok"));
}

#[test]
fn a_client_may_be_told_who_served_it() {
    let eu = ToyRegion::start(&[FINE]);
    let edge = Plan::new(&[eu.address], &[]).settings("show_region = true").start();
    assert_eq!(field(&edge.ask(&get()), "x-served-region"), Some("eu"));
}

#[test]
fn a_loop_is_cut() {
    let eu = ToyRegion::start(&[]);
    let edge = Plan::new(&[eu.address], &[]).start();
    let answer = edge.ask(&request("GET", "Via: 1.1 rhumb/edge-1\r\n"));
    assert!(answer.starts_with("HTTP/1.1 508") && answer.contains("\"loop\""), "{answer}");
    assert!(eu.seen().is_empty());
}

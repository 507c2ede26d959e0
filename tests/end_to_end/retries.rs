//! What is tried again, where, and what never is.

use std::time::Duration;

use http::StatusCode;
use rhumb::lab::{Fault, ToyRegion};

use crate::harness::{
    Edge, End, Faulty, Routing, Toy, edge, eventually, faulty, get, lab, now, post, put, toy, toy_from,
};

/// What becomes of a region after its first check, requests find out; and they eject nobody.
const NEVER_CHECKED_AGAIN: &str = r#"{ interval = "1h", fall = 50 }"#;

/// The same, and three failures in a row eject an endpoint.
const LEFT_TO_TRAFFIC: &str = r#"{ interval = "1h" }"#;

fn two(eu: &Faulty, us: &Toy) -> Edge {
    let routing = Routing::of(&[eu, us])
        .every_region("health", NEVER_CHECKED_AGAIN)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    edge(&routing).start()
}

#[test]
fn a_refused_endpoint_is_passed_over_for_another_of_its_region() {
    let eu = toy_from(ToyRegion::new("eu-west-1").endpoints(2));
    let us = toy("us-east-1");
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", LEFT_TO_TRAFFIC)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    eu.go_dark_at(eu.addresses()[0]);
    for n in 0..10 {
        assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
        let id = format!("w-{n}");
        let write = edge.ask(&post("acme.app.example", "/").header("X-Write-Id", &id));
        assert_eq!((write.region().as_str(), eu.executions_of(&id)), ("eu-west-1", 1));
    }
    assert_eq!(us.requests_seen(), 0);
    assert!(edge.metric("rhumb_retries_total", &[("region", "eu-west-1"), ("kind", "connect")]) > 0.0);
}

#[test]
fn a_read_of_a_region_that_is_gone_goes_on_in_the_next_and_a_write_never_does() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", LEFT_TO_TRAFFIC)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    eu.go_dark();
    for n in 0..5 {
        let read = edge.get("acme.app.example", "/");
        assert_eq!(read.region(), "us-east-1");
        let reason = read.seen("x-failover-reason").unwrap();
        assert!(reason == "connect_failed" || n > 0 && reason == "unhealthy", "{reason} at the {n}th");
        let write = edge.ask(&post("acme.app.example", "/"));
        assert!(matches!(write.status, 502 | 503), "{}", write.text());
    }
    assert_eq!(us.writes_seen(), 0);
    let moved = [("from_region", "eu-west-1"), ("to_region", "us-east-1")];
    eventually("it is counted", || edge.metric("rhumb_failover_events_total", &moved) >= 5.0);
}

#[test]
fn a_post_is_executed_at_most_once_whatever_becomes_of_its_answer() {
    let faults = [
        ("reset before body", Fault::reset_before_body()),
        ("reset after request", Fault::reset_after_request()),
        ("close after request", Fault::close_after_request()),
        ("half close", Fault::half_close()),
        ("reset mid body", Fault::reset_mid_body(3, 10)),
        ("garbage", Fault::garbage()),
    ];
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    let mut executed = 0;
    for (what, fault) in faults {
        for n in 0..10 {
            let id = format!("{what} {n}");
            eu.script([fault.clone()]);
            let answer = post("acme.app.example", "/").header("X-Write-Id", &id).try_to(edge.address());
            if let Some(answer) = answer.filter(|answer| answer.end != End::Aborted) {
                assert!(matches!(answer.status, 502 | 503), "{what}: {} {}", answer.status, answer.text());
            }
            let times = eu.executions_of(&id);
            assert!(times <= 1, "{what}: executed {times} times");
            executed += times;
        }
    }
    println!("60 broken POSTs, executed {executed} times, none twice");
    assert_eq!(us.requests_seen(), 0);
}

#[test]
fn a_post_that_was_executed_and_answered_503_is_not_sent_again() {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1", "ap-southeast-1"]"#);
    let edge = edge(&routing).start();
    for n in 0..50 {
        let id = format!("w-{n}");
        eu.execute_then_fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
        let answer = edge.ask(&post("acme.app.example", "/").header("X-Write-Id", &id));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"], "told to fail", "the region's own answer passes through");
        assert_eq!(eu.executions_of(&id), 1);
    }
    assert_eq!(us.writes_seen() + ap.writes_seen(), 0);
}

#[test]
fn a_connection_closed_while_it_idled_costs_no_request() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    eu.otherwise(Fault::answer_then_close());
    for n in 0..100 {
        let id = format!("w-{n}");
        let write = edge.ask(&put("acme.app.example", "/").header("Idempotency-Key", &id));
        assert!(matches!(write.status, 200 | 502), "{}", write.text());
        assert!(eu.executions_of(&id) <= 1, "executed {} times", eu.executions_of(&id));
        assert_eq!(edge.get("acme.app.example", "/").status, 200, "a read is simply sent again");
    }
}

#[test]
fn a_read_answered_503_is_tried_elsewhere_and_passes_through_where_there_is_no_elsewhere() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", NEVER_CHECKED_AGAIN)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#)
        .tenant("bank", r#"home = "eu-west-1", residency = ["eu"]"#);
    let edge = edge(&routing).start();
    eu.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
    eu.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    let passed = edge.get("bank.app.example", "/");
    assert_eq!((passed.status, passed.json()["error"].as_str()), (503, Some("told to fail")));
    eu.fail_next(1, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(edge.get("acme.app.example", "/").status, 500, "a 500 is an answer");
    eu.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    us.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    let passed = edge.get("acme.app.example", "/");
    assert_eq!((passed.status, passed.json()["error"].as_str()), (503, Some("told to fail")));
}

#[test]
fn retries_end_with_the_attempts_and_stay_within_the_budget() {
    let (eu, us) = (faulty("eu-west-1"), faulty("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", NEVER_CHECKED_AGAIN)
        .and("[policies.default]\nretries = { attempts = 2, budget = 1 }")
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    eu.otherwise(Fault::reset_after_request());
    us.otherwise(Fault::reset_after_request());
    let began = now();
    let asked = 200;
    for _ in 0..asked {
        let answer = edge.get("acme.app.example", "/");
        assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
    }
    let (sent, seconds) = (eu.whole_requests() + us.whole_requests(), began.elapsed().as_secs() + 1);
    assert!(sent <= 2 * asked, "{sent} attempts for {asked} requests of 2 attempts each");
    // Two regions, three retries a second each, and the second begun.
    assert!(sent <= asked + 2 * 3 * (seconds + 1), "{sent} attempts for {asked} requests in {seconds} s");
    assert!(edge.metric("rhumb_retries_total", &[("outcome", "no_budget")]) > 0.0);
}

#[test]
fn a_request_that_outlives_its_timeout_gets_504_and_its_region_was_told_how_long_it_had() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .and("[policies.default]\ntimeout = \"1500ms\"")
        .tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    let told = edge.get("acme.app.example", "/").seen("x-request-timeout-ms").unwrap();
    assert!((1..=1500).contains(&told.parse::<u32>().unwrap()), "{told}");
    for asked in [get("acme.app.example", "/slow?ms=60000"), post("acme.app.example", "/slow?ms=60000")] {
        let late = edge.ask(&asked);
        assert_eq!((late.status, late.refusal().as_str()), (504, "deadline"));
    }
    assert_eq!(eu.writes_executed(), 1, "a write that timed out is not sent again");
    let mut wire = edge.wire();
    wire.send("GET /stream?chunks=1000&every_ms=100 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    let cut = wire.answer();
    assert_eq!((cut.status, cut.end), (200, End::Aborted), "a stream that outlives it is cut");
}

#[test]
fn a_region_that_hangs_costs_no_more_than_the_timeout() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", NEVER_CHECKED_AGAIN)
        .and("[policies.default]\ntimeout = \"1500ms\"")
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    for fault in [Fault::hang(), Fault::hang_after_request()] {
        eu.script([fault]);
        let id = "hung";
        let late = edge.ask(&post("acme.app.example", "/").header("X-Write-Id", id));
        assert_eq!((late.status, late.refusal().as_str()), (504, "deadline"));
    }
    assert_eq!((eu.executions_of("hung"), us.writes_seen()), (1, 0));
}

#[test]
fn an_aborted_answer_is_seen_as_aborted_whatever_its_framing() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    for (what, fault) in [
        ("content-length, reset", Fault::reset_mid_body(300, 1000)),
        ("content-length, closed", Fault::truncated(300, 1000)),
        ("chunked, closed", Fault::truncated_chunked()),
        (
            "chunked, reset",
            Fault::raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                rhumb::lab::Then::Reset,
            ),
        ),
        ("until close, reset", Fault::raw("HTTP/1.1 200 OK\r\n\r\nhello", rhumb::lab::Then::Reset)),
    ] {
        eu.script([fault]);
        let answer = get("acme.app.example", "/").try_to(edge.address());
        let whole = answer.as_ref().is_some_and(|answer| answer.status == 200 && answer.end != End::Aborted);
        assert!(!whole, "{what}: seen as complete: {answer:?}");
        assert_eq!(edge.get("acme.app.example", "/").status, 200, "after {what}");
    }
    eu.script([Fault::raw("HTTP/1.1 200 OK\r\n\r\nhello", rhumb::lab::Then::Close)]);
    let closed = edge.get("acme.app.example", "/");
    assert_eq!((closed.status, closed.text().as_str()), (200, "hello"), "closed in order is complete");
    assert_ne!(closed.end, End::Aborted);
}

#[test]
fn an_http_1_0_client_sees_an_aborted_answer_too() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    for fault in [Fault::truncated_chunked(), Fault::truncated(300, 1000)] {
        eu.script([fault]);
        let mut wire = edge.wire();
        wire.send("GET / HTTP/1.0\r\nHost: acme.app.example\r\n\r\n");
        let answer = wire.answer_to("GET");
        assert!(
            answer.as_ref().is_none_or(|answer| answer.status >= 500 || answer.end == End::Aborted),
            "an HTTP/1.0 client took a part for the whole: {answer:?}"
        );
    }
}

#[test]
fn an_answer_with_two_ends_reaches_nobody_and_its_connection_is_not_used_again() {
    use rhumb::lab::WrongFraming::{BadChunkSize, Both, NegativeLength, TooLong, TwoLengths, UnknownCoding};
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", NEVER_CHECKED_AGAIN)
        .and("[policies.default]\ntimeout = \"1s\"")
        .tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    for wrong in [Both, TwoLengths, NegativeLength, BadChunkSize, UnknownCoding, TooLong] {
        eu.script([Fault::wrong_framing(wrong)]);
        let answer = post("acme.app.example", "/").try_to(edge.address());
        let status = answer.as_ref().map(|answer| answer.status);
        let whole = answer.filter(|answer| answer.status == 200 && answer.end == End::Whole);
        match wrong {
            // Chunked is the end that counts, and the only one that is passed on.
            Both => {
                assert!(whole.is_none_or(|a| a.text() == "hello" && a.header("content-length").is_none()))
            }
            TooLong => assert!(whole.is_none_or(|answer| answer.text() == "hel")),
            BadChunkSize => assert!(whole.is_none(), "{wrong:?}: {whole:?}"),
            _ => assert_eq!(status, Some(502), "{wrong:?}"),
        }
        let next = edge.ask(&post("acme.app.example", "/marker"));
        assert_eq!((next.status, next.json()["target"].as_str()), (200, Some("/marker")), "after {wrong:?}");
    }
}

#[test]
fn what_a_region_says_unasked_never_reaches_another_client() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for n in 0..50 {
        eu.script([Fault::extra(poison)]);
        let marker = format!("/marker-{n}");
        for _ in 0..2 {
            let answer = edge.get("acme.app.example", &marker);
            assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(&*marker)));
        }
    }
}

#[test]
fn interim_answers_and_early_answers_are_understood() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = two(&eu, &us);
    eu.script([Fault::interim(3)]);
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
    eu.script([Fault::early_answer()]);
    let early = post("acme.app.example", "/").body(vec![b'x'; 8 * 1024 * 1024]).try_to(edge.address());
    assert!(early.is_none_or(|answer| matches!(answer.status, 200 | 502)));
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_region() {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    eu.set_delay(Duration::from_secs(600));
    let mut wire = edge.wire();
    wire.send("GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    eventually("the request arrived", || eu.in_flight() == 1);
    drop(wire);
    eventually("the region is told", || eu.in_flight() == 0);
    eventually("it is counted", || edge.metric("rhumb_in_flight", &[]) == 0.0);
}

//! Responses and requests that go on for long, and what comes before and after them.

use std::net::TcpStream;
use std::time::Duration;

use rhumb::lab::{Fault, Protocols, Then, ToyRegion};

use crate::harness::{
    Edge, End, Faulty, H2, Routing, Toy, Wire, ask, edge, eventually, faulty, get, now, post, toy_from,
};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;
const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

fn world(protocols: Protocols, limits: &[&str], keys: &str) -> (Toy, Edge) {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
    let http = if protocols == Protocols::Http1 { "1" } else { "2" };
    let routing = Routing::of(&[&eu]).region("eu-west-1", "http", http);
    let routing =
        routing.tenant("acme", r#"home = "eu-west-1""#).tenant("globex", r#"home = "eu-west-1""#).and(keys);
    let edge = limits.iter().fold(edge(&routing), |edge, limit| edge.set("limits", limit));
    (eu, edge.start())
}

fn told() -> (Faulty, Edge) {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]);
    let routing = routing.tenant("acme", r#"home = "eu-west-1""#).tenant("globex", r#"home = "eu-west-1""#);
    (eu, edge(&routing).start())
}

#[test]
fn events_come_one_by_one_and_outlast_every_limit_but_the_policys() {
    for protocols in BOTH {
        let (_eu, edge) = world(
            protocols,
            &["idle_timeout = \"1s\"", "header_timeout = \"1s\""],
            "[policies.default]\ntimeout = \"0s\"\n",
        );
        let mut wire = edge.wire();
        wire.send(get(ACME, "/events?chunks=3&every_ms=1500").bytes());
        let mut head = wire.head().unwrap();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        wire.until("data: chunk 1 of 3 from eu-west-1\n\n");
        wire.body(&mut head);
        assert_eq!((head.end, head.text().matches("data: ").count()), (End::Whole, 3), "{protocols:?}");
    }
}

#[test]
fn a_stream_ends_with_its_requests_time_even_where_it_is_silent() {
    for protocols in BOTH {
        let (eu, edge) = world(protocols, &[], "[policies.default]\ntimeout = \"2s\"\n");
        let began = now();
        let mut wire = edge.wire();
        wire.send(get(ACME, "/events?chunks=2&every_ms=600000").bytes());
        let mut head = wire.head().unwrap();
        wire.body(&mut head);
        assert_eq!((head.end, head.text().matches("data: ").count()), (End::Aborted, 1), "{protocols:?}");
        assert!(began.elapsed() >= Duration::from_secs(2));
        eventually("the region is told", || eu.in_flight() == 0);
    }
}

#[test]
fn an_upload_streams_for_as_long_as_it_goes_on() {
    for protocols in BOTH {
        let limits = ["idle_timeout = \"2s\"", "header_timeout = \"2s\""];
        let (eu, edge) = world(protocols, &limits, "[policies.default]\ntimeout = \"0s\"\n");
        let mut wire = edge.wire();
        wire.send(format!("POST /up HTTP/1.1\r\nHost: {ACME}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        let (began, chunk) = (now(), format!("2000\r\n{}\r\n", "x".repeat(0x2000)));
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(3) {
            wire.send(&chunk);
            sent += 0x2000;
            eventually("it is under way", || eu.in_flight() == 1);
            std::thread::sleep(Duration::from_millis(50));
        }
        wire.send("0\r\n\r\n");
        assert_eq!(wire.answer().json()["body"]["bytes"], sent, "{protocols:?}");
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_region_and_nobody_else() {
    for protocols in BOTH {
        let (_eu, edge) =
            world(protocols, &["idle_timeout = \"60s\""], "[policies.default]\ntimeout = \"0s\"\n");
        edge.get(ACME, "/warm");
        let before = edge.figure("VmRSS");
        let stalled: Vec<TcpStream> = (0..40)
            .map(|_| {
                let stream = TcpStream::connect(edge.address()).unwrap();
                let mut wire = Wire::over(stream.try_clone().unwrap());
                wire.send(get(ACME, &format!("/bytes?n={}", 1024 * MIB)).bytes());
                assert_eq!(wire.head().unwrap().status, 200);
                stream
            })
            .collect();
        for _ in 0..3 {
            let other = edge.get("globex.app.example", &format!("/bytes?n={}", 8 * MIB));
            assert_eq!((other.end, other.body.len()), (End::Whole, 8 * MIB), "{protocols:?}");
        }
        let grown = edge.figure("VmHWM").saturating_sub(before);
        assert!(grown < 64 * 1024, "{protocols:?}: the edge grew by {grown} KiB for 40 clients");
        drop(stalled);
    }
}

#[test]
fn a_client_that_does_not_read_for_too_long_is_given_up() {
    for protocols in BOTH {
        let (eu, edge) =
            world(protocols, &["idle_timeout = \"500ms\""], "[policies.default]\ntimeout = \"0s\"\n");
        let mut wire = edge.wire();
        wire.send(get(ACME, &format!("/bytes?n={}", 1024 * MIB)).bytes());
        eventually("it has begun", || eu.requests_seen() == 1);
        eventually("the log has it", || {
            std::fs::read_to_string(edge.folder().file("access.log")).unwrap().contains("\"path\":\"/bytes\"")
        });
        assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
    }
}

#[test]
fn early_hints_reach_the_client_and_a_flood_of_them_costs_nothing() {
    let (eu, edge) = told();
    eu.script([Fault::interim(2), Fault::answer()]);
    let mut wire = edge.wire();
    let answer = get(ACME, "/").on(&mut wire);
    assert_eq!((answer.status, answer.interim.as_slice()), (200, &[103, 103][..]));
    assert_eq!(get(ACME, "/").on(&mut wire).interim, [0_u16; 0]);
    let before = edge.figure("VmRSS");
    eu.script([Fault::interim(10_000)]);
    let answer = get(ACME, "/").on(&mut wire);
    assert_eq!((answer.status, answer.refusal().as_str()), (502, "upstream_failed"));
    assert!(answer.interim.len() < 100, "{} interim answers", answer.interim.len());
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn an_older_client_gets_no_interim_answer() {
    let (eu, edge) = told();
    eu.script([Fault::interim(3)]);
    let mut wire = edge.wire();
    wire.send(format!("GET / HTTP/1.0\r\nHost: {ACME}\r\n\r\n"));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.interim.len()), (200, 0));
}

#[test]
fn a_response_without_a_body_loses_the_framing_of_one() {
    let (eu, edge) = told();
    let mut wire = edge.wire();
    for (status, kept) in [(204, None), (304, None), (304, Some("1234"))] {
        let framing = match kept {
            None => "Transfer-Encoding: chunked".to_owned(),
            Some(length) => format!("Content-Length: {length}"),
        };
        eu.script([Fault::raw(format!("HTTP/1.1 {status} No\r\n{framing}\r\n\r\n"), Then::Keep)]);
        let answer = get(ACME, "/").on(&mut wire);
        assert_eq!((answer.status, answer.header("transfer-encoding")), (status, None));
        assert_eq!(answer.header("content-length"), kept);
    }
    assert_eq!(get(ACME, "/").on(&mut wire).region(), "eu-west-1");
}

#[test]
fn what_a_region_says_unasked_reaches_nobody() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for fault in [
        Fault::extra(evil),
        Fault::extra("\r\n"),
        Fault::extra(evil.repeat(50)),
        Fault::raw("HTTP/1.1 204 No\r\n\r\nevil", Then::Keep),
        Fault::raw(format!("HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n{evil}"), Then::Keep),
        Fault::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi{evil}"), Then::Keep),
        Fault::raw(
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n{evil}"),
            Then::Keep,
        ),
        Fault::early_answer(),
    ] {
        let (eu, edge) = told();
        eu.script((0..4).map(|_| fault.clone()));
        for nth in 0..8 {
            let (host, asked) =
                if nth % 2 == 0 { (ACME, "/mine") } else { ("globex.app.example", "/theirs") };
            let request = if nth % 4 < 2 { get(host, asked) } else { post(host, asked) };
            let Some(answer) = request.try_to(edge.address()) else { continue };
            assert!(!answer.text().contains("evil"), "{fault:?}: {answer:?}");
            if answer.status == 200 && answer.text() != "hi" {
                assert_eq!(answer.json()["target"], asked, "{fault:?}");
            }
        }
        assert_eq!(edge.get(ACME, "/after").json()["target"], "/after", "{fault:?}");
    }
}

#[test]
fn a_client_of_http_2_gets_heads_bodies_and_ends_as_they_are() {
    for protocols in BOTH {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let http = if protocols == Protocols::Http1 { "1" } else { "2" };
        let routing = Routing::of(&[&eu]).region("eu-west-1", "http", http);
        let routing =
            routing.tenant("acme", r#"home = "eu-west-1""#).and("[policies.default]\ntimeout = \"3s\"\n");
        let edge = edge(&routing).listener("h2c = true").start();
        let mut h2 = H2::plain(edge.listener(1));
        let head = h2.ask(&ask("HEAD", ACME, "/bytes?n=1000"));
        assert_eq!((head.status, head.header("content-length"), head.head_only), (200, Some("1000"), true));
        for (path, status) in [("/status/204", 204), ("/status/304", 304)] {
            let reply = h2.ask(&get(ACME, path));
            assert_eq!(
                (reply.status, reply.body.len(), reply.reset),
                (status, 0, None),
                "{protocols:?} {path}"
            );
            assert_eq!((reply.header("transfer-encoding"), reply.header("connection")), (None, None));
        }
        let whole = h2.ask(&get(ACME, "/events?chunks=3&every_ms=10"));
        assert_eq!((whole.text().matches("data: ").count(), whole.end, whole.reset), (3, End::Whole, None));
        let late = h2.ask(&get(ACME, "/events?chunks=2&every_ms=600000"));
        assert_eq!((late.text().matches("data: ").count(), late.end), (1, End::Aborted), "{protocols:?}");
        assert!(late.reset.is_some(), "part of an answer is no answer");
        eventually("the region is told", || eu.in_flight() == 0);
        assert_eq!(h2.ask(&get(ACME, "/next")).json()["path"], "/next");
    }
}

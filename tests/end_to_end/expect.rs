//! Clients who wait for a go-ahead before they send a body.

use rhumb::lab::{Fault, Protocols, Then, ToyRegion};

use crate::harness::{Edge, H2, Place, Routing, edge, faulty, get, put, toy, toy_from};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;

fn before(region: &dyn Place, http: &str) -> Edge {
    let routing = Routing::of(&[region]).region("eu-west-1", "http", http);
    edge(&routing.tenant("acme", r#"home = "eu-west-1""#)).start()
}

fn head(length: usize, expect: &str) -> String {
    format!("PUT /up HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: {length}\r\nExpect: {expect}\r\n\r\n")
}

#[test]
fn the_go_ahead_comes_whatever_the_region_speaks() {
    for (protocols, http) in [(Protocols::Http1, "1"), (Protocols::Http2, "2")] {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let edge = before(&eu, http);
        let mut wire = edge.wire();
        for length in [5, 2 * MIB] {
            wire.send(head(length, "100-continue"));
            assert_eq!(wire.head().unwrap().status, 100, "{protocols:?}");
            wire.send(vec![b'x'; length]);
            let answer = wire.answer();
            assert_eq!(
                (answer.json()["body"]["bytes"].as_u64(), answer.interim.len()),
                (Some(length as u64), 0)
            );
        }
        assert_eq!(get(ACME, "/next").on(&mut wire).json()["path"], "/next", "{protocols:?}");
    }
}

#[test]
fn a_region_of_http_2_is_not_told_of_it() {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(Protocols::Http2));
    let edge = before(&eu, "2");
    let mut wire = edge.wire();
    wire.send(head(2, "100-continue") + "hi");
    assert_eq!(wire.answer().seen("expect"), None);
}

#[test]
fn a_refusal_before_the_go_ahead_ends_the_connection() {
    for http in ["1", "2"] {
        let protocols = if http == "1" { Protocols::Http1 } else { Protocols::Http2 };
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let edge = before(&eu, http);
        let mut wire = edge.wire();
        wire.send(head(49, "100-continue").replace(ACME, "nobody.app.example"));
        let refused = wire.answer();
        assert_eq!((refused.refusal().as_str(), refused.interim.len()), ("tenant_unknown", 0));
        assert_eq!(refused.header("connection"), Some("close"));
        // What a client sends next would be read as the body that it held back.
        let _ = wire.try_send(&get(ACME, "/smuggled").bytes());
        assert!(wire.is_over());
        assert_eq!(eu.requests_seen(), 0);
    }
}

#[test]
fn an_answer_of_the_region_before_the_go_ahead_ends_the_connection() {
    let eu = faulty("eu-west-1");
    let edge = before(&eu, "1");
    let answer = "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n";
    eu.script([Fault::raw(answer, Then::Keep).before_body()]);
    let mut wire = edge.wire();
    wire.send(head(49, "100-continue"));
    let refused = wire.answer();
    assert_eq!(
        (refused.status, refused.interim.len(), refused.header("connection")),
        (413, 0, Some("close"))
    );
    let _ = wire.try_send(&get(ACME, "/smuggled").bytes());
    assert!(wire.is_over());
    assert_eq!((eu.requests_begun(), eu.whole_requests()), (1, 0));
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
}

#[test]
fn a_client_may_send_its_body_unasked() {
    for (protocols, http) in [(Protocols::Http1, "1"), (Protocols::Http2, "2")] {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let edge = before(&eu, http);
        let mut wire = edge.wire();
        wire.send(head(2, "100-continue") + "hi");
        let answer = wire.answer();
        assert_eq!(answer.json()["body"]["bytes"], 2, "{protocols:?}");
        assert_eq!(get(ACME, "/next").on(&mut wire).json()["path"], "/next", "{protocols:?}");
    }
}

#[test]
fn what_is_expected_otherwise_or_by_an_older_client_is_not_passed_on() {
    for (protocols, http) in [(Protocols::Http1, "1"), (Protocols::Http2, "2")] {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let edge = before(&eu, http);
        for expect in
            ["y 100-continue", "100-continue, x", "103-checkpoint", "100-continue\r\nExpect: 100-continue"]
        {
            let mut wire = edge.wire();
            wire.send(head(5, expect) + "hello");
            let answer = wire.answer();
            assert_eq!((answer.seen("expect"), answer.interim.len()), (None, 0), "{expect}");
        }
        let mut wire = edge.wire();
        wire.send(head(5, "100-continue").replace("HTTP/1.1", "HTTP/1.0") + "hello");
        let answer = wire.answer();
        assert_eq!((answer.seen("expect"), answer.interim.len()), (None, 0), "HTTP/1.0");
    }
}

#[test]
fn one_who_waits_is_refused_by_a_region_that_is_gone() {
    let eu = toy("eu-west-1");
    let edge = before(&eu, "1");
    eu.go_dark();
    let mut wire = edge.wire();
    wire.send(head(49, "100-continue"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_unavailable"));
    assert!(wire.is_over());
}

#[test]
fn a_client_of_http_2_gets_the_go_ahead_too() {
    for (protocols, http) in [(Protocols::Http1, "1"), (Protocols::Http2, "2")] {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let routing = Routing::of(&[&eu]).region("eu-west-1", "http", http);
        let edge = edge(&routing.tenant("acme", r#"home = "eu-west-1""#)).listener("h2c = true").start();
        let mut h2 = H2::plain(edge.listener(1));
        let head = put(ACME, "/up").header("expect", "100-continue").head_for_h2("http");
        let mut asked = h2.begin(head, false);
        asked.early(100);
        asked.give(&b"hello"[..], true);
        let reply = asked.reply().unwrap();
        assert_eq!(reply.json()["body"]["bytes"], 5, "{protocols:?}");
    }
}

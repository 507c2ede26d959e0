//! How an edge begins and ends.

use std::net::{TcpListener, TcpStream};

use rhumb::lab::HealthAnswer;

use crate::harness::{Authority, End, Routing, Toy, edge, eventually, faulty, get, now, post, toy};

fn world() -> (Toy, Routing) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    (eu, routing)
}

#[test]
fn a_stop_flips_readiness_lets_requests_finish_and_ends_as_soon_as_they_have() {
    let (eu, routing) = world();
    let mut edge = edge(&routing).set("limits", "drain_timeout = \"10m\"").start();
    let mut stream = edge.wire();
    stream.send("GET /stream?chunks=30&every_ms=50 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    stream.until("chunk 1 of 30");
    let mut slow = edge.wire();
    slow.send("POST /slow?ms=1000 HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 0\r\n\r\n");
    eventually("both are under way", || eu.requests_seen() == 2);
    let mut idle = edge.wire();
    assert_eq!(get("acme.app.example", "/").on(&mut idle).status, 200);
    let mut never_spoke = edge.wire();
    edge.signal("TERM");
    eventually("readiness flips", || {
        let answer = get("localhost", "/readyz").try_to(edge.admin);
        answer.is_none_or(|answer| answer.status == 503)
    });
    assert!(idle.is_over(), "an idle connection is closed");
    assert!(never_spoke.is_over(), "so is one that never said anything");
    assert_eq!(slow.answer().status, 200);
    let mut answer = stream.head().unwrap();
    stream.body(&mut answer);
    assert_eq!((answer.end, answer.text().lines().count()), (End::Whole, 30));
    let began = now();
    assert!(edge.ended().success(), "{}", edge.log());
    println!("ended {:?} after the last request", began.elapsed());
}

#[test]
fn a_stop_with_nothing_in_flight_is_at_once() {
    let (_eu, routing) = world();
    let mut edge = edge(&routing).set("limits", "drain_timeout = \"10m\"").start();
    let _idle: Vec<_> = (0..20).map(|_| edge.wire()).collect();
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
    edge.signal("TERM");
    assert!(edge.ended().success(), "{}", edge.log());
    assert!(TcpStream::connect(edge.address()).is_err());
}

#[test]
fn a_stop_waits_no_longer_than_it_may() {
    let (eu, routing) = world();
    let mut edge = edge(&routing).set("limits", "drain_timeout = \"300ms\"").start();
    let mut endless = edge.wire();
    endless.send("GET /stream?chunks=100000&every_ms=50 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    endless.until("chunk 2 of");
    edge.signal("TERM");
    assert!(edge.ended().success(), "{}", edge.log());
    let mut answer = endless.head().unwrap();
    endless.body(&mut answer);
    assert_eq!(answer.end, End::Aborted, "what was cut never looks complete");
    assert!(eu.requests_seen() > 0);
}

#[test]
fn an_interrupt_ends_it_as_well() {
    let (_eu, routing) = world();
    let mut edge = edge(&routing).start();
    edge.signal("INT");
    assert!(edge.ended().success(), "{}", edge.log());
}

#[test]
fn hangups_by_the_hundred_do_no_harm() {
    let (_eu, routing) = world();
    let mut edge = edge(&routing).start();
    for n in 0..100 {
        edge.signal("HUP");
        if n % 10 == 0 {
            assert_eq!(edge.get("acme.app.example", "/").status, 200);
        }
    }
    assert!(edge.is_alive());
    assert_eq!(edge.ask(&post("acme.app.example", "/")).status, 200);
}

#[test]
fn a_taken_port_is_a_clear_message_and_no_live_process() {
    let (_eu, routing) = world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listener = format!("[[listeners]]\naddress = \"{address}\"");
    let ran = edge(&routing).listener(&format!("\n{listener}")).fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&address.to_string()), "{}", ran.stderr);
}

#[test]
fn a_certificate_that_cannot_serve_is_a_clear_message_and_no_live_process() {
    let (_eu, routing) = world();
    let (chain, key) = Authority::new().leaf("edge.example");
    let (_, other_key) = Authority::new().leaf("edge.example");
    let tls = "tls.certificates = [{ chain = \"edge.pem\", key = \"edge.key\" }]";
    for (what, chain, key) in [
        ("no such file", None, None),
        ("no certificate", Some("not PEM"), Some(key.as_str())),
        ("no key", Some(chain.as_str()), Some("not PEM")),
        ("another's key", Some(chain.as_str()), Some(other_key.as_str())),
        ("half a certificate", Some(&chain[..chain.len() / 2]), Some(key.as_str())),
    ] {
        let mut edge = edge(&routing).listener(tls);
        for (name, text) in [("edge.pem", chain), ("edge.key", key)] {
            if let Some(text) = text {
                edge = edge.file(name, text);
            }
        }
        let ran = edge.fail();
        assert_eq!(ran.code, Some(2), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("edge."), "{what}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{what}: {}", ran.stderr);
    }
}

#[test]
fn an_edge_whose_regions_are_silent_opens_all_the_same() {
    let silent = faulty("eu-west-1");
    silent.set_health(HealthAnswer::Hang);
    let routing = Routing::of(&[&silent])
        .region("eu-west-1", "health", r#"{ interval = "60s", timeout = "60s" }"#)
        .tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("acme.app.example", "/").status, 503);
}

#[test]
fn an_edge_that_has_not_checked_its_regions_is_alive_and_not_ready_and_can_be_stopped() {
    let silent = faulty("eu-west-1");
    silent.set_health(HealthAnswer::Hang);
    let routing = Routing::of(&[&silent])
        .region("eu-west-1", "health", r#"{ interval = "60s", timeout = "60s" }"#)
        .tenant("acme", r#"home = "eu-west-1""#);
    let mut edge = edge(&routing).launch();
    eventually("its admin side answers", || TcpStream::connect(edge.admin).is_ok());
    assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
    assert_eq!(get("localhost", "/readyz").to(edge.admin).status, 503);
    edge.signal("TERM");
    assert!(edge.ended().success(), "a stop before it opened: {}", edge.log());
}

#[test]
fn an_old_client_whose_answer_is_cut_by_a_stop_sees_that_it_was_cut() {
    let (_eu, routing) = world();
    let mut edge = edge(&routing).set("limits", "drain_timeout = \"300ms\"").start();
    let mut endless = edge.wire();
    endless.send("GET /stream?chunks=100000&every_ms=50 HTTP/1.0\r\nHost: acme.app.example\r\n\r\n");
    endless.until("chunk 2 of");
    edge.signal("TERM");
    assert!(edge.ended().success(), "{}", edge.log());
    let mut answer = endless.head().unwrap();
    endless.body(&mut answer);
    assert_eq!(answer.end, End::Aborted, "its end is the end of the connection: only a reset tells");
}

#[test]
fn state_written_by_nobody_else_survives_a_kill_and_a_torn_end() {
    let (_eu, routing) = world();
    let folder = edge(&routing).start().kill();
    let state = folder.file("state");
    assert!(state.is_dir(), "the state folder is where the settings' default says");
    let second = edge(&routing).again_in(folder).start();
    assert_eq!(second.get("acme.app.example", "/").status, 200);
}

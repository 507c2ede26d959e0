//! Connections: how many, how long, and what may follow what on one.

use rhumb::lab::{Fault, Then};

use crate::harness::{EdgeBuilder, Routing, Toy, edge, eventually, faulty, get, post, toy};

fn world() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#));
    (eu, edge)
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let (eu, edge) = world();
    let edge = edge.start();
    let mut wire = edge.wire();
    let mut all = Vec::new();
    for n in 0..20 {
        let path = format!("/{n}");
        let request =
            if n % 3 == 0 { post("acme.app.example", &path) } else { get("acme.app.example", &path) };
        all.extend(request.bytes());
    }
    wire.send(all);
    for n in 0..20 {
        assert_eq!(wire.answer().json()["path"], format!("/{n}"));
    }
    assert_eq!((eu.writes_executed(), eu.requests_seen()), (7, 20));
}

#[test]
fn a_head_that_comes_byte_by_byte_is_a_head() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut wire = edge.wire();
    for byte in post("acme.app.example", "/bit-by-bit").bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.answer().json()["body"]["bytes"], 5);
}

#[test]
fn one_address_opens_no_more_connections_than_it_may() {
    let (_eu, edge) = world();
    // Waiting for the door to open takes connections as well: they are closed by then, or soon after.
    let edge = edge.set("limits", "connections_per_address = 5").start();
    eventually("the first connections are gone", || edge.metric("rhumb_connections", &[]) == 0.0);
    let mut held: Vec<_> = (0..5).map(|_| edge.wire()).collect();
    for wire in &mut held {
        assert_eq!(get("acme.app.example", "/").on(wire).status, 200);
    }
    let mut sixth = edge.wire();
    let _ = sixth.try_send(&get("acme.app.example", "/").bytes());
    assert!(sixth.answer_to("GET").is_none_or(|answer| answer.status == 503));
    assert_eq!(get("acme.app.example", "/").on(&mut held[0]).status, 200, "those that are open stay");
    held.clear();
    eventually("there is room again", || {
        get("acme.app.example", "/").try_to(edge.address()).is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn when_there_is_no_place_left_whoever_has_waited_longest_makes_room() {
    let (_eu, edge) = world();
    let edge = edge.set("limits", "connections = 8").start();
    eventually("the first connections are gone", || edge.metric("rhumb_connections", &[]) == 0.0);
    let mut working = edge.wire();
    working.send("GET /stream?chunks=2&every_ms=600000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    working.until("chunk 1");
    let mut waiting: Vec<_> = (0..7).map(|_| edge.wire()).collect();
    for wire in &mut waiting {
        assert_eq!(get("acme.app.example", "/").on(wire).status, 200);
    }
    // Nobody is sent away who has only just been served, so it takes a moment.
    eventually("a newcomer is served", || {
        get("acme.app.example", "/").try_to(edge.address()).is_some_and(|answer| answer.status == 200)
    });
    assert!(waiting[0].is_over(), "the first to come is the first to go");
    eventually("that is counted", || edge.metric("rhumb_limits_total", &[("limit", "shed")]) >= 1.0);
    eventually("only one is being served, and stays", || edge.metric("rhumb_in_flight", &[]) == 1.0);
    assert_eq!(edge.metric("rhumb_requests_total", &[("status", "000")]), 0.0);
}

#[test]
fn connections_are_counted_and_forgotten() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let held: Vec<_> = (0..30).map(|_| edge.wire()).collect();
    eventually("they are counted", || edge.metric("rhumb_connections", &[]) == 30.0);
    drop(held);
    eventually("they are forgotten", || edge.metric("rhumb_connections", &[]) == 0.0);
}

#[test]
fn a_client_that_does_not_read_costs_little_memory_and_is_given_up() {
    let (eu, edge) = world();
    let edge = edge.set("limits", "idle_timeout = \"1s\"").start();
    edge.get("acme.app.example", "/bytes?n=1000000");
    let before = edge.figure("VmRSS");
    let mut deaf: Vec<_> = (0..10).map(|_| edge.wire()).collect();
    for wire in &mut deaf {
        wire.send("GET /bytes?n=1000000000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    }
    eventually("they are under way", || eu.requests_seen() == 11);
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
    eventually("they are given up", || edge.metric("rhumb_in_flight", &[]) == 0.0);
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 32 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn another_protocol_is_tunnelled_once_the_region_agrees() {
    let eu = faulty("eu-west-1");
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfrom the region";
    eu.script([Fault::raw(switching, Then::Close), Fault::answer()]);
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    let upgrade = get("acme.app.example", "/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut wire = edge.wire();
    wire.send(upgrade.bytes());
    assert_eq!(wire.head().expect("an answer").status, 101);
    wire.until("from the region");
    let mut declined = edge.wire();
    declined.send(upgrade.bytes());
    assert_eq!(declined.answer().status, 200, "a region may decline");
}

#[test]
fn regions_see_few_connections_for_many_requests() {
    let (eu, edge) = world();
    let edge = edge.start();
    let before = eu.connections_seen() - eu.health_checks_seen();
    for _ in 0..100 {
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
    }
    let opened = (eu.connections_seen() - eu.health_checks_seen()).saturating_sub(before);
    assert!(opened < 20, "{opened} connections for 100 requests");
}

#[test]
fn file_descriptors_are_given_back() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", edge.pid())).unwrap().count();
    edge.get("acme.app.example", "/");
    let before = open();
    for _ in 0..50 {
        let mut wire = edge.wire();
        wire.send("GET / HTTP/1.1\r\nHost: acme.app");
        drop(wire);
        let mut wire = edge.wire();
        wire.send("POST / HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 9\r\n\r\nhalf");
        drop(wire);
        assert_eq!(edge.get("nobody.app.example", "/").status, 404);
    }
    eventually("they are back", || open() <= before + 5);
}

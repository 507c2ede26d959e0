//! WebSockets: where they go, how long they live, and what may not pass for one.

use std::net::TcpStream;
use std::time::Duration;

use rhumb::lab::{Fault, Protocols, Then, ToyRegion};

use crate::harness::{
    Answer, Edge, Faulty, PATIENCE, Routing, Toy, Wire, ask, edge, eventually, faulty, get, now, toy,
    toy_from,
};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;

/// The head of a handshake.
fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {ACME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A tunnel that was agreed on.
fn open(edge: &Edge, path: &str) -> Wire {
    let mut wire = edge.wire();
    wire.send(handshake(path));
    agreed(&mut wire);
    wire
}

fn agreed(wire: &mut Wire) -> Answer {
    let head = wire.head().expect("an answer to a handshake");
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")), "{head:?}");
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    head
}

/// A frame of a client: final, with a mask of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The same as a server sends it back.
fn echoed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(opcode, payload);
    frame[1] &= 0x7f;
    let mask = frame.len() - payload.len() - 4;
    frame.drain(mask..mask + 4);
    frame
}

fn world() -> (Toy, Edge) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    (eu, edge)
}

fn told(limits: &[&str], keys: &str) -> (Faulty, Edge) {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#).and(keys);
    let edge = limits.iter().fold(edge(&routing), |edge, limit| edge.set("limits", limit));
    (eu, edge.start())
}

#[test]
fn frames_of_every_size_come_back_as_they_went() {
    let (_eu, edge) = world();
    let mut wire = open(&edge, "/ws");
    for length in [0, 1, 125, 126, 65_535, 65_536, 3 * MIB] {
        let payload = vec![b'w'; length];
        wire.send(frame(2, &payload));
        assert_eq!(wire.take(echoed(2, &payload).len()), echoed(2, &payload), "{length} bytes");
    }
    for byte in frame(1, b"byte by byte") {
        wire.send([byte]);
    }
    assert_eq!(wire.take(14), echoed(1, b"byte by byte"));
    wire.send(frame(9, b"?"));
    assert_eq!(wire.take(3), echoed(10, b"?"));
    wire.send(frame(8, &[]));
    assert_eq!(wire.take(2), echoed(8, &[]));
    assert!(wire.is_over());
}

#[test]
fn frames_that_come_with_the_handshake_are_part_of_the_tunnel() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send([handshake("/ws").into_bytes(), frame(1, b"early")].concat());
    agreed(&mut wire);
    assert_eq!(wire.take(7), echoed(1, b"early"));
    wire.send(frame(1, b"later"));
    assert_eq!(wire.take(7), echoed(1, b"later"));
}

#[test]
fn an_upgrade_is_a_write_unless_its_route_says_read() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#)
        .and("[[routes]]\nname = \"ticks\"\npath = \"/ws/raw\"\noperation = \"read\"\n");
    let edge = edge(&routing).start();
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1", "an ordinary read stays near");
    let seen = (eu.reads_seen(), us.reads_seen());
    let _write = open(&edge, "/ws");
    assert_eq!((eu.reads_seen(), us.reads_seen()), (seen.0, seen.1 + 2));
    let _read = open(&edge, "/ws/raw");
    assert_eq!((eu.reads_seen(), us.reads_seen()), (seen.0 + 2, seen.1 + 2));
    us.go_dark();
    let mut wire = edge.wire();
    wire.send(handshake("/ws"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_unavailable"), "never elsewhere");
}

#[test]
fn a_region_of_http_2_is_asked_for_a_websocket_in_http_1() {
    let serve = |protocols| {
        let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
        let routing = Routing::of(&[&eu]).region("eu-west-1", "http", "2");
        let edge = edge(&routing.tenant("acme", r#"home = "eu-west-1""#)).start();
        (eu, edge)
    };
    let (_eu, edge) = serve(Protocols::Both);
    let mut wire = open(&edge, "/ws");
    assert_eq!(edge.get(ACME, "/").json()["protocol"], "HTTP/2.0");
    wire.send(frame(1, b"hello"));
    assert_eq!(wire.take(7), echoed(1, b"hello"));

    let (eu, edge) = serve(Protocols::Http2);
    let mut wire = edge.wire();
    wire.send(handshake("/ws"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.refusal().as_str()), (502, "upstream_failed"));
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
}

#[test]
fn a_tunnel_outlives_the_requests_time_and_the_largest_body() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .tenant("acme", r#"home = "eu-west-1""#)
        .and("[policies.default]\ntimeout = \"1s\"\n");
    let edge = edge(&routing).set("limits", "body_bytes = \"1MiB\"").start();
    let mut wire = open(&edge, "/ws/raw");
    let (began, part) = (now(), vec![b'.'; 64 * 1024]);
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(2) || sent < 2 * MIB {
        wire.send(&part);
        assert_eq!(wire.take(part.len()), part);
        sent += part.len();
    }
}

#[test]
fn a_handshake_that_nobody_answers_ends_with_the_requests_time() {
    let (eu, edge) = told(&[], "[policies.default]\ntimeout = \"300ms\"\n");
    eu.script([Fault::hang()]);
    let mut wire = edge.wire();
    wire.send(handshake("/ws"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.refusal().as_str()), (504, "deadline"));
    assert!(wire.is_over());
    let timeouts = [("reason", "timeout")];
    edge.has_counted(1.0);
    assert_eq!(edge.metric("rhumb_cross_region_failures_total", &timeouts), 0.0, "it is the region at hand");
}

#[test]
fn a_silent_tunnel_is_closed_and_one_that_speaks_is_not() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing)
        .set("limits", "tunnel_idle_timeout = \"3s\"")
        .set("limits", "idle_timeout = \"1s\"")
        .start();
    let mut wire = open(&edge, "/ws");
    let began = now();
    while began.elapsed() < Duration::from_secs(4) {
        wire.send(frame(9, b"."));
        assert_eq!(wire.take(3), echoed(10, b"."));
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(wire.is_over(), "it fell silent");
    eventually("the region is told", || eu.in_flight() == 0);
}

#[test]
fn a_client_that_goes_away_ends_the_tunnel() {
    let (eu, edge) = world();
    let wire = open(&edge, "/ws");
    eventually("it is there", || eu.in_flight() == 1);
    drop(wire);
    eventually("the region is told", || eu.in_flight() == 0);
}

#[test]
fn a_stop_closes_tunnels_at_its_deadline_and_idle_connections_at_once() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let mut edge = edge(&routing).set("limits", "drain_timeout = \"6s\"").start();
    let mut tunnel = open(&edge, "/ws");
    let mut idle = edge.wire();
    assert_eq!(get(ACME, "/").on(&mut idle).status, 200);
    let mut stream = edge.wire();
    stream.send(get(ACME, "/stream?chunks=5&every_ms=200").bytes());
    stream.until("chunk 1 of 5");
    let began = now();
    edge.signal("TERM");
    assert!(idle.is_over(), "an idle connection does not wait for the drain, which the tunnel does");
    stream.until("chunk 5 of 5");
    tunnel.send(frame(1, b"still"));
    assert_eq!(tunnel.take(7), echoed(1, b"still"), "a tunnel goes on until the deadline");
    assert!(tunnel.is_over());
    edge.ended();
    assert!(began.elapsed() >= Duration::from_secs(6));
}

#[test]
fn what_follows_a_handshake_that_the_region_declines_is_never_read() {
    let (eu, edge) = world();
    let mut wire = edge.wire();
    let bad = handshake("/ws").replace("Version: 13", "Version: 1337");
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
    wire.send(bad + &smuggled);
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("connection")), (426, Some("close")));
    assert!(wire.is_over());
    assert_eq!(eu.requests_seen(), 1);
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
}

#[test]
fn a_region_that_answers_a_handshake_with_a_document_gets_no_tunnel() {
    let (eu, edge) = told(&[], "");
    let mut wire = edge.wire();
    wire.send(handshake("/ws") + "tail");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(wire.is_over());
    let came = &eu.recorded()[0].bytes;
    assert!(!came.windows(4).any(|four| four == b"tail"), "what came after the head stayed here");
}

#[test]
fn a_region_that_changes_the_protocol_unasked_is_refused() {
    let (eu, edge) = told(&[], "");
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nevil";
    let plain = format!("GET / HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
    let stripped = plain.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    let halfway = plain.replace("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n");
    for asked in [plain, stripped, halfway] {
        eu.otherwise(Fault::raw(unasked, Then::Keep));
        let mut wire = edge.wire();
        wire.send(&asked);
        let answer = wire.answer();
        assert_eq!((answer.status, answer.refusal().as_str()), (502, "upstream_failed"), "{asked}");
        assert!(wire.is_over());
        eu.otherwise(Fault::answer());
        assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
    }
}

#[test]
fn a_region_that_stops_reading_stops_the_client_and_not_the_edge() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing)
        .set("limits", "idle_timeout = \"1s\"")
        .set("limits", "tunnel_idle_timeout = \"1s\"")
        .start();
    edge.get(ACME, "/warm");
    let before = edge.figure("VmRSS");
    let stream = TcpStream::connect(edge.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut wire = Wire::over(stream.try_clone().unwrap());
    wire.send(handshake("/ws/deaf"));
    agreed(&mut wire);
    let part = vec![b'.'; MIB];
    let taken = (0..1024).take_while(|_| wire.try_send(&part)).count();
    assert!(taken < 64, "{taken} MiB were taken for a region that reads nothing");
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(wire.is_over(), "the tunnel is given up");
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
}

#[test]
fn what_goes_through_a_tunnel_is_not_kept() {
    let (_eu, edge) = world();
    let mut wire = open(&edge, "/ws/raw");
    let part = vec![b'.'; 256 * 1024];
    let before = edge.figure("VmRSS");
    for _ in 0..128 {
        wire.send(&part);
        assert_eq!(wire.take(part.len()).len(), part.len());
    }
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn what_is_no_proper_handshake_is_an_ordinary_request() {
    let (_eu, edge) = world();
    for fields in [
        "Upgrade: websocket",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2",
    ] {
        let mut wire = edge.wire();
        wire.send(format!("GET /r HTTP/1.1\r\nHost: {ACME}\r\n{fields}\r\n\r\n"));
        let answer = wire.answer();
        assert_eq!(answer.region(), "eu-west-1", "{fields}");
        for name in ["upgrade", "http2-settings"] {
            assert_eq!(answer.seen(name), None, "{fields}");
        }
        assert_eq!(ask("GET", ACME, "/next").on(&mut wire).json()["path"], "/next");
    }
    let mut old = edge.wire();
    old.send(handshake("/ws").replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(old.answer().status, 426, "the region saw no handshake");
}

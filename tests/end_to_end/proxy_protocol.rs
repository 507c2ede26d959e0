//! The PROXY protocol: a trusted proxy says whom a connection comes from, and nobody else can.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::harness::{
    Answer, Authority, Edge, EdgeBuilder, PATIENCE, Routing, Toy, Wire, client_config, edge, eventually, get,
    toy,
};

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const ASK: &str = "GET /whoami HTTP/1.1\r\nHost: acme.app.example\r\n\r\n";
/// An address that no edge here trusts.
const STRANGER: [u8; 4] = [127, 0, 0, 2];

/// Version 2: version and command, family and transport, what it carries.
fn v2(version: u8, family: u8, carried: &[u8]) -> Vec<u8> {
    let length = u16::try_from(carried.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[version, family], &length, carried].concat()
}

fn v2_of(source: [u8; 4], more: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&source[..], &[198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb], more].concat())
}

/// An edge whose second listener takes the protocol from 127.0.0.1.
fn announced() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#))
        .listener("proxy_protocol = true")
        .set("trust", "proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]");
    (eu, edge)
}

/// What comes of these bytes on a connection of their own; `None`: no answer.
fn send(edge: &Edge, source: [u8; 4], parts: &[&[u8]]) -> Option<Answer> {
    let mut wire = Wire::from(source, edge.listener(1));
    let _ = wire.try_send(&parts.concat());
    wire.answer_to("GET")
}

fn from_proxy(edge: &Edge, header: &[u8]) -> Option<Answer> {
    send(edge, [127, 0, 0, 1], &[header, ASK.as_bytes()])
}

/// Whom the region was told that the request came from.
#[track_caller]
fn client(answer: Option<Answer>) -> String {
    answer.expect("an answer").seen("x-forwarded-for").expect("a client")
}

#[test]
fn the_client_is_whom_a_trusted_proxy_announces() {
    let (_eu, edge) = announced();
    let edge = edge.start();
    assert_eq!(client(from_proxy(&edge, V1.as_bytes())), "192.0.2.7");
    assert_eq!(client(from_proxy(&edge, b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n")), "2001:db8::7");
    assert_eq!(client(from_proxy(&edge, &v2_of([192, 0, 2, 8], &[]))), "192.0.2.8");
    assert_eq!(client(from_proxy(&edge, &v2_of([192, 0, 2, 8], &[4, 0, 2, 0, 0]))), "192.0.2.8");
    assert_eq!(client(from_proxy(&edge, &v2(0x20, 0, b""))), "127.0.0.1", "its own health check");
    assert_eq!(client(from_proxy(&edge, b"PROXY UNKNOWN\r\n")), "127.0.0.1");
    let log = || std::fs::read_to_string(edge.folder().file("access.log")).unwrap_or_default();
    eventually("it is logged", || log().contains("\"client\":\"2001:db8::7\""));
}

#[test]
fn a_connection_that_was_announced_once_takes_many_requests() {
    let (_eu, edge) = announced();
    let edge = edge.start();
    let mut wire = Wire::to(edge.listener(1));
    for byte in V1.bytes() {
        wire.send([byte]);
    }
    for _ in 0..3 {
        assert_eq!(get("acme.app.example", "/").on(&mut wire).seen("x-forwarded-for").unwrap(), "192.0.2.7");
    }
    wire.send([V1, ASK].concat());
    assert_eq!(wire.answer().status, 400, "a second header is a bad request");
    assert!(wire.is_over());
}

#[test]
fn a_header_is_required_of_a_proxy_and_every_fault_in_it_ends_the_connection() {
    let (eu, edge) = announced();
    let edge = edge.start();
    let cause = |cause| edge.metric("rhumb_parse_errors_total", &[("cause", cause)]);
    for (header, counted) in [
        (b"".to_vec(), "proxy_missing"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n".to_vec(), "proxy_malformed"),
        (b"PROXY TCP4 192.0.2.7\0 198.51.100.1 4711 443\r\n".to_vec(), "proxy_malformed"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n".to_vec(), "proxy_address"),
        ([b"PROXY UNKNOWN ", [b'x'; 200].as_slice(), b"\r\n"].concat(), "proxy_length"),
        (b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(), "proxy_family"),
        (v2(0x31, 0x11, &[0; 12]), "proxy_version"),
        (v2(0x21, 0x11, &[0; 11]), "proxy_length"),
        (v2_of([192, 0, 2, 7], &[4, 0xff, 0xff]), "proxy_length"),
    ] {
        let before = cause(counted);
        assert!(from_proxy(&edge, &header).is_none(), "{}", header.escape_ascii());
        assert_eq!(cause(counted), before + 1.0, "{counted}");
    }
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(client(from_proxy(&edge, V1.as_bytes())), "192.0.2.7");
}

#[test]
fn nobody_elses_header_is_believed() {
    let (eu, edge) = announced();
    let edge = edge.start();
    for header in [V1.as_bytes(), &v2_of([192, 0, 2, 7], &[])] {
        let refused = send(&edge, STRANGER, &[header, ASK.as_bytes()]).expect("an answer");
        assert_eq!(refused.status, 400);
        let mut wire = edge.wire();
        wire.send([header, ASK.as_bytes()].concat());
        assert_eq!(wire.answer().status, 400, "a listener without the key takes it from nobody");
        assert!(wire.is_over());
    }
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(client(send(&edge, STRANGER, &[ASK.as_bytes()])), "127.0.0.2", "others are ordinary clients");
}

#[test]
fn forwarded_headers_are_believed_of_whom_was_announced_and_only_if_trusted() {
    let (_eu, edge) = announced();
    let edge = edge.start();
    let asks = |header: &[u8]| {
        let ask = get("acme.app.example", "/").header("X-Forwarded-For", "203.0.113.9").bytes();
        client(send(&edge, [127, 0, 0, 1], &[header, &ask]))
    };
    assert_eq!(asks(V1.as_bytes()), "192.0.2.7");
    assert_eq!(asks(&v2_of([10, 0, 0, 7], &[])), "203.0.113.9, 10.0.0.7");
    assert_eq!(asks(&v2(0x20, 0, b"")), "203.0.113.9, 127.0.0.1", "the proxy speaks for itself");
    assert_eq!(asks(b"PROXY UNKNOWN\r\n"), "127.0.0.1", "whom it cannot name it does not vouch for");
}

#[test]
fn a_proxy_that_dawdles_over_its_header_is_cut_off() {
    let (eu, edge) = announced();
    let edge = edge.set("limits", "header_timeout = \"300ms\"").start();
    for begun in ["", "PROXY TCP4 192.0.2.7", "\r\n\r\n\0\r\nQUIT\n\x21\x11\x01"] {
        let mut wire = Wire::to(edge.listener(1));
        wire.send(begun);
        assert!(wire.is_over(), "{begun:?}");
    }
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn connections_count_with_whom_they_were_announced_for() {
    let (_eu, edge) = announced();
    let edge = edge.set("limits", "connections_per_address = 3").start();
    eventually("the first connections are gone", || edge.metric("rhumb_connections", &[]) == 0.0);
    let open = |source: u8| {
        let mut wire = Wire::to(edge.listener(1));
        let header = format!("PROXY TCP4 192.0.2.{source} 198.51.100.1 4711 443\r\n");
        wire.send([header.as_bytes(), ASK.as_bytes()].concat());
        let status = wire.answer_to("GET").map_or(0, |answer| answer.status);
        (wire, status)
    };
    let held: Vec<_> = (0..9).map(|n| open(n / 3)).collect();
    assert!(held.iter().all(|(_, status)| *status == 200), "three of each of three clients");
    assert_eq!(open(1).1, 503, "a fourth of one of them");
    assert_eq!(open(7).1, 200);
    drop(held);
    eventually("there is room again", || open(1).1 == 200);
}

#[test]
fn a_header_may_come_before_tls() {
    let eu = toy("eu-west-1");
    let authority = Authority::new();
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#))
        .prepare(|folder| authority.leaf_in(folder.path(), "one.example"))
        .listener(
            "proxy_protocol = true\n\
             tls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }]",
        )
        .set("trust", "proxies = [\"127.0.0.1\"]")
        .start();
    let address: SocketAddr = edge.listener(1);
    let config = client_config(&authority, None);
    for header in [V1.as_bytes().to_vec(), v2_of([192, 0, 2, 7], &[4, 0, 1, 0])] {
        let name = ServerName::try_from("one.example").unwrap();
        let mut session = ClientConnection::new(Arc::clone(&config), name).unwrap();
        // The header and the first bytes of the handshake in one segment.
        let mut first = header;
        session.write_tls(&mut first).unwrap();
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(&first).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        let mut wire = Wire::over(StreamOwned::new(session, tcp));
        let answer = get("acme.app.example", "/").on(&mut wire);
        assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("192.0.2.7"));
        assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    }
}

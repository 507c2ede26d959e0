//! Tunnels: full both ways, through anything on the way, and to whichever end they come.

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rhumb::lab::{Fault, Then, ToyRegion};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::harness::{
    Authority, Edge, PATIENCE, Routing, Says, Shown, Toy, Wire, Witness, client_config, edge, eventually,
    faulty, now, server_config, toy, toy_from, write_pair,
};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// Where nothing is taken for so long, everything is full.
const FULL: std::time::Duration = std::time::Duration::from_millis(500);
const LEFT_TO_TRAFFIC: &str = r#"{ check = "tcp", interval = "1h" }"#;

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {ACME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn open(edge: &Edge, path: &str) -> (Wire, TcpStream) {
    let stream = TcpStream::connect(edge.address()).unwrap();
    let mut wire = Wire::on(stream.try_clone().unwrap());
    wire.send(handshake(path));
    assert_eq!(wire.head().map(|head| head.status), Some(101));
    (wire, stream)
}

/// What stands at this place of a long text.
fn letter(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn text(from: usize, bytes: usize) -> Vec<u8> {
    (from..from + bytes).map(letter).collect()
}

/// Sends until nobody on the way takes any more; then the rest of so much as fast as it goes, and reads the echo of it
/// at the same time.
async fn saturate(stream: impl AsyncRead + AsyncWrite, bytes: usize) {
    let (mut reads, mut writes) = tokio::io::split(stream);
    writes.write_all(handshake("/ws/raw").as_bytes()).await.unwrap();
    writes.flush().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reads.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    // Now every buffer there is, of either direction, gets full.
    let (all, mut sent) = (text(0, bytes), 0);
    while let Ok(taken) = tokio::time::timeout(FULL, writes.write(&all[sent..])).await {
        sent += taken.unwrap();
    }
    assert!(sent < bytes, "{sent} bytes were not enough");
    let talk = async {
        writes.write_all(&all[sent..]).await.unwrap();
        writes.flush().await.unwrap();
    };
    let listen = async {
        let mut came = vec![0; MIB];
        for at in (0..bytes).step_by(MIB) {
            reads.read_exact(&mut came).await.unwrap();
            assert!(came == text(at, MIB), "from {at} on it is something else");
        }
    };
    // Nothing is to be waited for but the other side: who waits in vain is cut by the edge.
    tokio::join!(talk, listen);
    writes.shutdown().await.unwrap();
    assert_eq!(reads.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

/// A region that echoes, over TLS or in the clear, behind an edge that clients reach by either too.
fn world(region_tls: bool) -> (Toy, Edge, Authority) {
    let (inside, outside) = (Authority::new(), Authority::new());
    let region = ToyRegion::new("eu-west-1");
    let eu = if region_tls {
        toy_from(region.tls(server_config(&inside, "eu.internal", None)))
    } else {
        toy_from(region)
    };
    let mut routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    if region_tls {
        routing = routing.region("eu-west-1", "tls", r#"{ server_name = "eu.internal", ca = "ca.pem" }"#);
    }
    let edge = edge(&routing)
        .prepare(|folder| {
            folder.write("ca.pem", inside.pem());
            write_pair(folder.path(), "acme", &outside.leaf(ACME));
        })
        .listener("tls.certificates = [{ chain = \"acme.pem\", key = \"acme.key\" }]")
        .start();
    (eu, edge, outside)
}

async fn in_the_clear(edge: &Edge) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(edge.address()).await.unwrap()
}

fn running<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(story)
}

#[test]
fn an_echo_that_is_full_both_ways_flows() {
    let (_eu, edge, _) = world(false);
    let before = edge.figure("VmRSS");
    running(async { saturate(in_the_clear(&edge).await, 64 * MIB).await });
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn it_flows_through_tls_at_either_end_and_at_both() {
    let (_eu, edge, authority) = world(true);
    running(async {
        saturate(in_the_clear(&edge).await, 64 * MIB).await;
        let tcp = tokio::net::TcpStream::connect(edge.listener(1)).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&client_config(&authority, None)));
        let name = ServerName::try_from(ACME).unwrap();
        saturate(connector.connect(name, tcp).await.unwrap(), 64 * MIB).await;
    });
}

#[test]
fn what_a_region_says_behind_its_101_comes_first_and_in_order() {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    let long = text(0, 300_000);
    let said = [AGREED.as_bytes(), &long].concat();
    let hints = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".as_slice(), &said].concat();
    for said in [said, hints] {
        eu.script([Fault::raw(said, Then::Hang)]);
        let mut wire = edge.wire();
        wire.send(handshake("/ws") + "something of the client's");
        let head = wire.answer_to("GET").unwrap();
        assert_eq!((head.status, head.body.len()), (101, 0));
        assert!(wire.take(long.len()) == long);
    }
    let short = [AGREED.as_bytes(), b"\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"].concat();
    eu.script([Fault::raw(short, Then::Hang).slowly(std::time::Duration::from_millis(1))]);
    let (mut wire, _) = open(&edge, "/ws");
    assert_eq!(wire.take(24), b"\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn half_of_a_tunnel_may_end_and_the_other_half_goes_on() {
    let (_eu, edge, _) = world(false);
    let (mut wire, stream) = open(&edge, "/ws/raw");
    let sent = text(7, 3 * MIB);
    let all = sent.clone();
    let talk = std::thread::spawn(move || {
        let mut wire = Wire::on(stream.try_clone().unwrap());
        wire.send(&all);
        stream.shutdown(Shutdown::Write).unwrap();
    });
    assert!(wire.take(sent.len()) == sent);
    talk.join().unwrap();
    assert!(wire.is_over());
}

#[test]
fn a_reset_ends_the_other_side_with_one_and_an_end_in_order_with_an_end() {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    for (then, reset) in [(Then::Reset, true), (Then::Close, false)] {
        eu.script([Fault::raw(AGREED, then)]);
        let mut stream = TcpStream::connect(edge.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut stream, handshake("/ws").as_bytes()).unwrap();
        let ended = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        let was_reset = ended.is_err_and(|cause| cause.kind() == std::io::ErrorKind::ConnectionReset);
        assert_eq!(was_reset, reset, "{then:?}");
    }
}

#[test]
fn a_handshake_passes_over_an_endpoint_that_takes_no_connection() {
    let eu = toy_from(ToyRegion::new("eu-west-1").endpoints(2));
    let routing =
        Routing::of(&[&eu]).every_region("health", LEFT_TO_TRAFFIC).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    eu.go_dark_at(eu.addresses()[0]);
    // Either of the two may be tried first: sooner or later it is the dark one.
    eventually("one is passed over", || {
        let (mut wire, _) = open(&edge, "/ws/raw");
        wire.send("there");
        assert_eq!(wire.take(5), b"there");
        edge.metric("rhumb_retries_total", &[("region", "eu-west-1"), ("kind", "connect")]) > 0.0
    });
}

#[test]
fn a_region_that_does_not_prove_who_it_is_gets_no_byte_of_a_handshake() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let id = "spiffe://prod.example/region/eu";
    let right = Says::names(&["eu.internal"]).uri(id);
    for (what, pair, proves) in [
        ("the right one", authority.issue(&right), true),
        ("another name", authority.issue(&Says::names(&["us.internal"]).uri(id)), false),
        ("another id", authority.issue(&Says::names(&["eu.internal"]).uri("spiffe://prod.example/x")), false),
        ("no id", authority.issue(&Says::names(&["eu.internal"])), false),
        ("another authority", stranger.issue(&right), false),
    ] {
        let region = Witness::over_tls("eu-west-1", &Shown::new(&pair), None);
        let tls = format!(r#"{{ server_name = "eu.internal", spiffe_id = "{id}", ca = "ca.pem" }}"#);
        let routing = Routing::of(&[&region])
            .region("eu-west-1", "tls", &tls)
            .every_region("health", LEFT_TO_TRAFFIC)
            .tenant("acme", r#"home = "eu-west-1""#);
        let edge = edge(&routing).prepare(|folder| folder.write("ca.pem", authority.pem())).start();
        let mut wire = edge.wire();
        wire.send(handshake("/secret"));
        let answer = wire.answer();
        assert_eq!(answer.status == 200, proves, "{what}: {} {}", answer.status, answer.text());
        assert_eq!(region.brought().contains("secret"), proves, "{what}");
        if proves {
            let mut again = edge.wire();
            again.send(handshake("/secret"));
            assert_eq!(again.answer().status, 200);
            assert_eq!(region.requests(), 2);
            eventually("each has a connection of its own", || region.handshakes() >= 2);
        }
    }
}

#[test]
fn the_access_log_has_the_bytes_of_a_tunnel_and_the_metrics_have_its_limit() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).set("limits", "tunnel_idle_timeout = \"1s\"").start();
    let (mut wire, _) = open(&edge, "/ws/raw");
    wire.send(text(0, 1000));
    assert_eq!(wire.take(1000), text(0, 1000));
    assert!(wire.is_over(), "it fell silent");
    let began = now();
    let line = loop {
        let log = std::fs::read_to_string(edge.folder().file("access.log")).unwrap_or_default();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| line["status"] == 101) {
            break line;
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    };
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&1000.into(), &1000.into()));
    assert_eq!(edge.metric("rhumb_limits_total", &[("limit", "tunnel_idle_timeout")]), 1.0);
}

#[test]
fn a_handshake_that_nobody_ever_answers_ends_although_its_route_has_no_time() {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu])
        .tenant("acme", r#"home = "eu-west-1""#)
        .and("[policies.default]\ntimeout = \"0s\"\n");
    let edge = edge(&routing)
        .set("limits", "idle_timeout = \"300ms\"")
        .set("limits", "tunnel_idle_timeout = \"300ms\"")
        .start();
    eu.script([Fault::hang()]);
    let mut wire = edge.wire();
    wire.send(handshake("/ws"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.refusal().as_str()), (504, "deadline"));
}

//! What a client may use up: pace, requests, handshakes. Those who keep to the limits never notice them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rlimit::Resource;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Authority, Edge, EdgeBuilder, End, H2, PATIENCE, Routing, Toy, Wire, ask, client_config, edge,
    eventually, get, now, toy,
};

/// Between two pieces that a slow client sends or takes.
const BEAT: Duration = Duration::from_millis(50);

fn world() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#));
    (eu, edge.set("limits", "idle_timeout = \"1s\""))
}

fn limited(edge: &Edge, limit: &str) -> f64 {
    edge.metric("rhumb_limits_total", &[("limit", limit)])
}

#[test]
fn an_upload_by_single_bytes_is_told_so_and_ended() {
    let (eu, edge) = world();
    let edge = edge.start();
    for framing in ["Content-Length: 1048576", "Transfer-Encoding: chunked"] {
        let before = limited(&edge, "request_stalled");
        let mut wire = edge.wire();
        wire.send(format!("POST /slow HTTP/1.1\r\nHost: acme.app.example\r\n{framing}\r\n\r\n"));
        let piece: &[u8] = if framing.starts_with("Content") { b"x" } else { b"1\r\nx\r\n" };
        eventually("its pace is not enough", || {
            wire.try_send(piece);
            sleep(BEAT);
            limited(&edge, "request_stalled") > before
        });
        let told = wire.answer();
        assert_eq!((told.status, told.refusal().as_str()), (408, "request_timeout"), "{framing}");
        assert!(wire.is_over());
    }
    assert_eq!(eu.writes_executed(), 0);
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
}

#[test]
fn an_upload_that_keeps_up_a_fair_pace_may_take_its_time() {
    let (_eu, edge) = world();
    let edge = edge.set("limits", "idle_timeout = \"2s\"").start();
    let mut wire = edge.wire();
    let (pieces, piece) = (60, [b'x'; 8192]);
    let length = pieces * piece.len();
    wire.send(format!("POST /fair HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: {length}\r\n\r\n"));
    for _ in 0..pieces {
        wire.send(piece);
        sleep(BEAT);
    }
    assert_eq!(wire.answer().json()["body"]["bytes"], length);
    edge.has_counted(1.0);
    assert_eq!(limited(&edge, "request_stalled"), 0.0);
}

/// A connection whose system takes as little ahead as it can.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_download_that_is_read_by_single_bytes_is_ended() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut stream = narrow(edge.address());
    stream.write_all(b"GET /bytes?n=100000000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n").unwrap();
    let mut byte = [0];
    eventually("its pace is not enough", || {
        let _ = stream.read(&mut byte);
        sleep(BEAT);
        limited(&edge, "response_stalled") > 0.0
    });
    eventually("nothing of it is left", || edge.metric("rhumb_in_flight", &[]) == 0.0);
}

#[test]
fn those_who_read_slowly_do_not_speak_against_a_sound_region() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .tenant("acme", r#"home = "eu-west-1""#)
        .region("eu-west-1", "health", r#"{ interval = "10m", fall = 2 }"#)
        .and("[policies.default]\ntimeout = \"1s\"");
    let edge = edge(&routing).start();
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = narrow(edge.address());
            stream.write_all(b"GET /bytes?n=100000000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n").unwrap();
            stream.set_read_timeout(Some(BEAT)).unwrap();
            stream
        })
        .collect();
    eventually("they are under way", || eu.requests_seen() == 8);
    let mut piece = vec![0; 16 * 1024];
    eventually("their time is up", || {
        for mut stream in &slow {
            let _ = stream.read(&mut piece);
        }
        edge.metric("rhumb_in_flight", &[]) == 0.0
    });
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
}

#[test]
fn a_download_that_is_read_at_a_fair_pace_arrives_whole() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut stream = narrow(edge.address());
    let length = 4_000_000;
    let ask =
        format!("GET /bytes?n={length} HTTP/1.1\r\nHost: acme.app.example\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let (mut came, mut piece) = (0, vec![0; 64 * 1024]);
    // Some of it slowly, for longer than anything may stand still.
    while came < length {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "cut after {came} bytes");
        came += read;
        if came < 2_000_000 {
            sleep(BEAT / 25);
        }
    }
    edge.has_counted(1.0);
    assert_eq!(limited(&edge, "response_stalled"), 0.0);
}

#[test]
fn nobody_is_slow_while_there_is_nothing_to_move() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut wire = edge.wire();
    for ask in [
        "GET /stream?chunks=3&every_ms=1500 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n",
        "POST /stream?chunks=3&every_ms=1500 HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 2\r\n\r\nhi",
        "POST /stream?chunks=3&every_ms=1500 HTTP/1.1\r\nHost: acme.app.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        wire.send(ask);
        let answer = wire.answer();
        assert_eq!((answer.status, answer.end, answer.text().lines().count()), (200, End::Whole, 3), "{ask}");
    }
    edge.has_counted(3.0);
    assert_eq!(limited(&edge, "request_stalled") + limited(&edge, "response_stalled"), 0.0);
}

#[test]
fn a_connection_ends_in_order_with_the_last_request_that_it_may_bring() {
    let (eu, edge) = world();
    let edge = edge.set("limits", "requests_per_connection = 3").start();
    let mut wire = edge.wire();
    let ask = get("acme.app.example", "/").bytes();
    wire.send(ask.repeat(4));
    for closes in [false, false, true] {
        let answer = wire.answer();
        assert_eq!((answer.status, answer.header("connection") == Some("close")), (200, closes));
    }
    assert!(wire.is_over());
    assert_eq!((eu.requests_seen(), limited(&edge, "requests_per_connection")), (3, 1.0));
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
}

#[test]
fn an_http2_connection_is_told_to_go_with_the_last_stream_that_it_may_bring() {
    let (eu, edge) = world();
    let edge = edge.set("limits", "requests_per_connection = 3").listener("h2c = true").start();
    let mut h2 = H2::plain(edge.listener(1));
    // The first is still under way when the last one comes.
    let mut upload = h2.begin(ask("POST", "acme.app.example", "/").head_for_h2("http"), false);
    for _ in 0..2 {
        assert_eq!(h2.ask(&get("acme.app.example", "/")).status, 200);
    }
    eventually("it is told to go", || h2.try_send(&get("acme.app.example", "/late")).is_err());
    upload.give("hello", true);
    assert_eq!(upload.reply().unwrap().status, 200, "what was begun comes to its end");
    drop(upload);
    assert!(h2.ended().is_ok(), "and nobody is to blame");
    assert_eq!(limited(&edge, "requests_per_connection"), 1.0);
    assert_eq!(eu.writes_executed(), 1);
}

#[test]
fn a_stream_of_a_route_without_end_may_bring_its_body_in_drops() {
    for (timeout, status) in [("0s", 200), ("20s", 408)] {
        let eu = toy("eu-west-1");
        let routing = Routing::of(&[&eu])
            .and(&format!("[policies.default]\ntimeout = \"{timeout}\""))
            .tenant("acme", r#"home = "eu-west-1""#);
        let edge = edge(&routing).set("limits", "idle_timeout = \"1s\"").listener("h2c = true").start();
        let mut h2 = H2::plain(edge.listener(1));
        let mut upload = h2.begin(ask("POST", "acme.app.example", "/").head_for_h2("http"), false);
        let began = now();
        // Drops for three times as long as a piece of a body may take, or until the edge has had enough.
        while began.elapsed() < Duration::from_secs(3) && upload.try_give("x".into(), false).is_ok() {
            sleep(BEAT);
        }
        let _ = upload.try_give("x".into(), true);
        assert_eq!(upload.reply().unwrap().status, status, "where a request may take {timeout}");
        assert_eq!(eu.writes_executed(), u64::from(status == 200));
        edge.has_counted(1.0);
        assert_eq!(limited(&edge, "request_stalled"), f64::from(u8::from(status == 408)));
    }
}

/// An edge whose second listener is for TLS.
fn secured() -> (Toy, EdgeBuilder, Arc<ClientConfig>) {
    let (eu, edge) = world();
    let authority = Authority::new();
    let edge = edge
        .prepare(|folder| authority.leaf_in(folder.path(), "one.example"))
        .listener("tls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }]");
    (eu, edge, client_config(&authority, None))
}

/// A TLS connection; `None`: the handshake failed.
fn shaken(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Wire> {
    let mut tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(PATIENCE)).ok()?;
    let name = ServerName::try_from("one.example").unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).ok()?;
    }
    Some(Wire::over(StreamOwned::new(session, tcp)))
}

#[test]
fn one_address_begins_no_more_handshakes_in_a_second_than_it_may() {
    let (_eu, edge, config) = secured();
    let edge =
        edge.set("limits", "handshakes_per_address = 2").set("limits", "idle_timeout = \"30s\"").start();
    let mut held = None;
    eventually("one may come", || {
        held = shaken(edge.listener(1), &config);
        held.is_some()
    });
    let mut held = held.unwrap();
    eventually("one too many is turned away", || {
        shaken(edge.listener(1), &config);
        limited(&edge, "handshakes_per_address") > 0.0
    });
    assert_eq!(get("acme.app.example", "/").on(&mut held).status, 200, "who is in, stays in");
    assert_eq!(edge.get("acme.app.example", "/").status, 200, "nor does it concern plain connections");
    eventually("the next second is another", || shaken(edge.listener(1), &config).is_some());
}

#[test]
fn a_trusted_proxy_brings_the_handshakes_of_many() {
    let (_eu, edge, config) = secured();
    let edge =
        edge.set("limits", "handshakes_per_address = 1").set("trust", "proxies = [\"127.0.0.0/8\"]").start();
    assert!((0..20).all(|_| shaken(edge.listener(1), &config).is_some()));
}

#[test]
fn a_handshake_that_stalls_is_ended() {
    let (_eu, edge, config) = secured();
    let edge = edge.set("limits", "header_timeout = \"500ms\"").start();
    let name = ServerName::try_from("one.example").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    let stalled: Vec<_> = (0..50)
        .map(|n| {
            let mut wire = Wire::to(edge.listener(1));
            // Some say nothing, some begin, some finish their hello and wait.
            wire.send(&hello[..[0, 7, hello.len()][n % 3]]);
            wire
        })
        .collect();
    eventually("all of them are ended", || limited(&edge, "handshake_timeout") == 50.0);
    eventually("nothing of them is left", || edge.metric("rhumb_connections", &[]) == 0.0);
    drop(stalled);
}

/// Seconds of processor time that a process has used.
fn cpu(edge: &Edge) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", edge.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // Ticks in user and in system mode, a hundred a second on Linux.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

#[test]
fn drill_36_files_run_out_at_the_start_and_the_edge_takes_fewer_clients() {
    let (_eu, edge) = world();
    let few = ["sh", "-c", "ulimit -n 256 && exec \"$0\" \"$@\""];
    let edge = edge.set("limits", "idle_timeout = \"60s\"").under(&few).start();
    edge.says("taken as 64");
    let crowd: Vec<_> = (0..400).filter_map(|_| TcpStream::connect(edge.address()).ok()).collect();
    eventually("it is as full as it gets", || edge.metric("rhumb_connections", &[]) >= 60.0);
    // The crowd sits there and says nothing; an ordinary client gets in, and the admin side answers.
    for _ in 0..3 {
        eventually("an ordinary client is served", || {
            get("acme.app.example", "/").try_to(edge.address()).is_some_and(|answer| answer.status == 200)
        });
        assert!(edge.metric("rhumb_connections", &[]) <= 65.0);
    }
    eventually("somebody had to go", || limited(&edge, "shed") > 0.0);
    drop(crowd);
    eventually("it is empty again", || edge.metric("rhumb_connections", &[]) == 0.0);
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
}

#[test]
fn drill_36_files_run_out_while_it_runs_and_those_who_wait_make_room() {
    let (_eu, edge) = world();
    let edge = edge.set("limits", "idle_timeout = \"60s\"").start();
    let crowd: Vec<_> = (0..100).map(|_| edge.wire()).collect();
    eventually("all are in", || edge.metric("rhumb_connections", &[]) >= 100.0);
    let before = edge.figure("FDSize");
    assert!(before >= 100, "{before}");
    // From now on every further file is one too many.
    let (mut soft, mut hard) = (0, 0);
    let pid = i32::try_from(edge.pid()).unwrap();
    rlimit::prlimit(pid, Resource::NOFILE, None, Some((&mut soft, &mut hard))).unwrap();
    rlimit::prlimit(pid, Resource::NOFILE, Some((80, hard)), None).unwrap();
    let used = cpu(&edge);
    let began = crate::harness::now();
    let more: Vec<_> = (0..50).filter_map(|_| TcpStream::connect(edge.address()).ok()).collect();
    edge.says("no connection can be accepted");
    eventually("an ordinary client is served", || {
        get("acme.app.example", "/").try_to(edge.address()).is_some_and(|answer| answer.status == 200)
    });
    eventually("both are counted", || limited(&edge, "open_files") > 0.0 && limited(&edge, "shed") > 0.0);
    let (spent, took) = (cpu(&edge) - used, began.elapsed().as_secs_f64());
    assert!(spent < 0.5 + took / 2.0, "{spent} s of processor time in {took} s");
    assert!(
        edge.log().matches("no connection can be accepted").count() < 10,
        "it does not say so all the time"
    );
    drop((crowd, more));
    eventually("it recovers", || edge.metric("rhumb_connections", &[]) <= 1.0);
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
}

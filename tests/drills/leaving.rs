//! An edge ends: killed, stopped, or because another takes its place.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rhumb::lab::HealthAnswer;

use crate::harness::{Edge, End, PATIENCE, Routing, Wire, edge, eventually, faulty, get, now, toy};
use crate::load::{Event, Kind, load};
use crate::told::{alone, beside, length, row};
use crate::world::{DEADLINE, FAST, LATITUDE, check, check_within, over, routing, usual};

#[test]
fn drill_40_a_killed_edge_loses_what_was_in_flight_and_comes_back_with_its_state() {
    /// Of the usual load.
    const CLIENTS: usize = 6;
    let _turn = alone();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = routing(&eu, &us);
    let mut edge = over(&routing).start();
    let running = usual(&edge).start();
    let mut kills = Vec::new();
    let over = AtomicBool::new(false);
    let file = edge.folder().file("routing.toml");
    std::thread::scope(|scope| {
        // Tables come all the time, so that some kill meets one that is being kept.
        let (over, file, routing) = (&over, &file, &routing);
        let writer = scope.spawn(move || {
            for nth in 0.. {
                let table = routing.clone().tenant(&format!("t{nth}"), r#"home = "eu-west-1""#).text();
                let fresh = file.with_extension("new");
                std::fs::write(&fresh, table).unwrap();
                std::fs::rename(&fresh, file).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..length(3, 20) {
            running.until(100, "the load goes on", |event| event.is_good());
            let killed = now();
            edge = edge.kill_and_start_again();
            running.until(1, "it is answered again", |event| event.is_good());
            kills.push((killed, now()));
        }
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    running.until(50, "all is well again", |event| event.is_good());
    let seen = running.stop();
    check_within(&seen, &[&eu, &us], DEADLINE);
    let outages = kills.iter().map(|(killed, back)| *back - *killed).max().unwrap();
    let lost: Vec<_> = seen.events.iter().filter(|event| !event.is_good()).collect();
    let in_flight =
        |event: &Event| kills.iter().any(|(killed, _)| event.began <= *killed && event.ended >= *killed);
    let refused =
        |event: &Event| kills.iter().any(|(killed, back)| event.began > *killed && event.began < *back);
    assert!(lost.iter().all(|event| in_flight(event) || refused(event)), "a request was lost for nothing");
    let (in_flight, lost) = (lost.iter().filter(|event| in_flight(event)).count(), lost.len());
    assert!(in_flight <= CLIENTS * kills.len(), "{in_flight} in flight");
    assert!(outages <= Duration::from_secs(2) + LATITUDE, "it took {outages:?}");
    // What is kept is whole: an edge whose files are gone begins with it.
    let folder = edge.kill();
    folder.write("routing.toml", "torn");
    let edge = crate::harness::edge(&routing).again_in(folder).argument("--last-good").start();
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
    row("40", "kill -9 under load, with tables being kept")
        .saw("kills", kills.len())
        .took("longest from the kill to an answer", outages)
        .saw("requests", seen.events.len())
        .saw("lost in flight", in_flight)
        .saw("refused while nobody listened", lost - in_flight)
        .saw("starts that found torn state", 0)
        .tell();
}

#[test]
fn drill_41_fifty_upgrades_under_load_lose_no_request() {
    const UPGRADES: usize = 50;
    let _turn = alone();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let mut edge = over(&routing(&eu, &us).every_region("health", FAST)).listener("h2c = true").start();
    let http2 = usual(&edge).http2(edge.listener(1)).readers(2, "acme").writers(1, "acme");
    let running = http2.writers(1, "bank").victim("globex").start();
    let (mut leaving, mut slowest): (Vec<Edge>, _) = (Vec::new(), Duration::ZERO);
    for _ in 0..UPGRADES {
        running.until(30, "the load goes on", |event| event.is_good());
        let began = now();
        let next = edge.upgrade();
        slowest = slowest.max(began.elapsed());
        leaving.push(std::mem::replace(&mut edge, next));
    }
    running.until(30, "the load goes on", |event| event.is_good());
    let seen = running.stop();
    for old in &mut leaving {
        assert!(old.ended().success(), "{}", old.log());
    }
    check(&seen, &[&eu, &us]);
    let lost: Vec<_> = seen.events.iter().filter(|event| !event.is_good()).take(3).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    // Each client of HTTP/2 hears of each upgrade but perhaps the last.
    assert!(
        seen.farewells >= UPGRADES as u64,
        "clients of HTTP/2 were told goodbye {} times",
        seen.farewells
    );
    row("41", "upgrade of the binary under load, fifty times")
        .saw("upgrades", UPGRADES)
        .saw("requests sent", seen.events.len())
        .saw("lost, refused or reset", 0)
        .saw("goodbyes to clients of HTTP/2", seen.farewells)
        .saw("requests that a goodbye left out, sent again and done once", seen.left_out)
        .saw("old processes that ended by themselves with 0", leaving.len())
        .took("slowest upgrade", slowest)
        .tell();
}

#[test]
fn drill_42_an_upgrade_that_fails_leaves_the_old_edge_serving() {
    let _turn = beside();
    let (silent, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let table = routing(&silent, &us).region("eu-west-1", "health", r#"{ interval = "1h", timeout = "1m" }"#);
    let edge = over(&table).start();
    // A new process waits for the first checks, for five seconds at the longest.
    silent.set_health(HealthAnswer::Hang);
    let running = load(edge.address()).clients(2, Kind::Read, "globex", "/v1/cases", PACE);
    let running = running.clients(2, Kind::Write, "globex", "/v1/cases", PACE).start();
    let mut crashes = 0;
    for signal in ["ABRT", "KILL", "ABRT"] {
        let mut next = edge.successor();
        next.says("taking over");
        next.signal(signal);
        assert_eq!(next.ended().code(), None);
        crashes += 1;
        running.until(20, "the load goes on", |event| event.is_good());
    }
    let text = table.text().replace("[tenancy]", "[tenancy]\nfrom_the_future = true");
    edge.folder().write("routing.toml", text);
    let mut next = edge.successor();
    let code = next.ended().code();
    assert_eq!(code, Some(2), "{}", next.log());
    assert!(next.log().contains("from_the_future"), "{}", next.log());
    running.until(20, "the load goes on", |event| event.is_good());
    let seen = running.stop();
    assert!(seen.events.iter().all(|event| event.is_good()), "a request was lost");
    let failed = || edge.metric("rhumb_upgrades_total", &[("outcome", "failed")]);
    eventually("each is counted", || failed() == 4.0);
    edge.says("ended before it served; this one goes on");
    row("42", "upgrades whose new process crashes, or cannot read the table")
        .saw("crashes", crashes)
        .saw("exit code for the table", 2)
        .saw("alarms in log and metric", failed())
        .saw("requests sent", seen.events.len())
        .saw("lost", 0)
        .tell();
}

/// Between an answer and a client's next request.
const PACE: Duration = Duration::from_millis(5);

/// A WebSocket that echoes bytes.
fn tunnel(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "GET /ws/raw HTTP/1.1\r\nHost: acme.app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    echoed(&mut socket, b"there");
    socket
}

fn echoed(socket: &mut TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).unwrap();
    let mut echo = vec![0; bytes.len()];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(echo, bytes);
}

#[test]
fn drill_43_a_stop_lets_idle_clients_go_at_once_streams_finish_and_ends_sockets_at_the_deadline() {
    const IDLE: usize = 1_000;
    const STREAMS: usize = 100;
    const SOCKETS: usize = 10;
    const DRAIN: Duration = Duration::from_secs(8);
    let _turn = alone();
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .and("[policies.default]\ntimeout = \"0s\"")
        .tenant("acme", r#"home = "eu-west-1""#);
    let mut edge = edge(&routing)
        .set("limits", "drain_timeout = \"8s\"")
        .set("limits", "connections_per_address = 5000")
        .start();
    let mut idle: Vec<Wire> = (0..IDLE).map(|_| edge.wire()).collect();
    for wire in idle.iter_mut().step_by(10) {
        assert_eq!(get("acme.app.example", "/").on(wire).status, 200);
    }
    // A client takes itself for connected while its connection still waits for room to be accepted in; it would not
    // even learn of an end that comes before that.
    eventually("all are in", || edge.metric("rhumb_connections", &[]) >= IDLE as f64);
    let mut sockets: Vec<TcpStream> = (0..SOCKETS).map(|_| tunnel(edge.address())).collect();
    let mut streams: Vec<Wire> = (0..STREAMS).map(|_| edge.wire()).collect();
    for stream in &mut streams {
        stream.send("GET /stream?chunks=40&every_ms=100 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
        stream.until("chunk 1 of 40");
    }
    let stopped = now();
    edge.signal("TERM");
    assert!(idle.iter_mut().all(Wire::is_over), "every idle client is let go");
    let idle_took = stopped.elapsed();
    assert!(edge.is_alive(), "it waits for the others");
    let mut whole = 0;
    for stream in &mut streams {
        let mut answer = stream.head().unwrap();
        stream.body(&mut answer);
        whole += usize::from(answer.end == End::Whole && answer.text().lines().count() == 40);
    }
    let streams_took = stopped.elapsed();
    assert_eq!(whole, STREAMS, "every stream came to its end");
    for socket in &mut sockets {
        echoed(socket, b"still");
    }
    for socket in &mut sockets {
        let end = socket.read(&mut [0; 1]);
        assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    }
    let sockets_took = stopped.elapsed();
    let status = edge.ended();
    assert!(status.success(), "{status}: {}", edge.log());
    let ended = stopped.elapsed();
    assert!(sockets_took >= DRAIN, "not before the deadline: {sockets_took:?}");
    assert!(ended <= DRAIN + LATITUDE, "and not long after: {ended:?}");
    row("43", "SIGTERM with 1,000 idle, 100 streaming and 10 WebSocket clients, drain timeout 8 s")
        .took("idle clients closed after", idle_took)
        .took("100 streams whole after", streams_took)
        .took("WebSockets closed after", sockets_took)
        .took("ended after", ended)
        .tell();
}

//! The process and its machine: clocks that jump, pauses, no memory, no processor, no disk, signals, a panic.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{
    Authority, Edge, EdgeBuilder, Routing, Toy, Wire, client_config, eventually, get, now, post, toy,
};
use crate::load::{Event, Kind, load};
use crate::told::{alone, beside, has, in_full, is_root, length, row, skipped};
use crate::world::{DEADLINE, EPOCH, Held, LATITUDE, check, check_within, over, processor_time, routing, usual};

fn world() -> (Toy, Toy, Routing) {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    (eu, us, table)
}

/// The library that tells a process another time of day, and leaves its monotonic clock alone.
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// An edge whose time of day is what the file of that name says.
fn at_other_times(edge: EdgeBuilder, file: &Path) -> EdgeBuilder {
    edge.environment("LD_PRELOAD", FAKE_TIME)
        .environment("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn drill_31_steps_of_the_wall_clock_move_no_timeout_and_end_nothing() {
    let _turn = beside();
    if !Path::new(FAKE_TIME).exists() {
        return skipped("31", "needs libfaketime (Debian: apt-get install faketime)");
    }
    let (eu, us, table) = world();
    let authority = Authority::new();
    let times = tempfile::tempdir().unwrap();
    let file = times.path().join("time");
    let set = |time: &str| {
        let new = times.path().join("new");
        std::fs::write(&new, time).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    set("+0");
    let tls = "tls.certificates = [{ chain = \"edge.example.pem\", key = \"edge.example.key\" }]";
    let edge = over(&table)
        .listener(tls)
        .prepare(|folder| authority.leaf_in(folder.path(), "edge.example"))
        .set("limits", "idle_timeout = \"3s\"");
    let edge = at_other_times(edge, &file).start();
    let load = usual(&edge).start();
    let mut steps = 0;
    for time in ["+1h", "-1h", "@2038-01-19 03:14:00", "@1970-01-02 00:00:00", "@2106-02-07 06:28:10", "+0"] {
        set(time);
        steps += 1;
        // A slow request that lasts across the step ends when it would have.
        let (began, asked) = (now(), get("acme.app.example", "/slow?ms=400"));
        assert_eq!(asked.to(edge.address()).status, 200, "at {time}");
        assert!(began.elapsed() >= Duration::from_millis(400));
        let late = get("acme.app.example", "/slow?ms=60000").to(edge.address());
        assert_eq!(late.status, 504, "at {time}: the deadline is not of the wall clock");
        load.until(20, "requests go on", Event::is_good);
        let mut shaken = secured(&authority, edge.listener(1));
        assert_eq!(get("acme.app.example", "/").on(&mut shaken).status, 200, "a handshake at {time}");
        assert_eq!(edge.health("eu-west-1"), "UP", "at {time}");
    }
    let logged = std::fs::read_to_string(edge.folder().file("access.log")).unwrap();
    assert!(logged.contains("\"time\":\"2038-01-"), "the log bears the time of day that it was told");
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    row("31", "wall clock +1 h, -1 h, 2038, 1970, 2106, back")
        .saw("steps", steps)
        .saw("requests", seen.events.len())
        .saw("failed", 0)
        .saw("deadlines that moved", 0)
        .saw("panics", edge.metric("rhumb_panics_total", &[]))
        .tell();
}

fn secured(authority: &Authority, address: std::net::SocketAddr) -> Wire {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let name = rustls::pki_types::ServerName::try_from("edge.example").unwrap();
    let session = rustls::ClientConnection::new(client_config(authority, None), name).unwrap();
    Wire::over(rustls::StreamOwned::new(session, stream))
}

#[test]
fn drill_32_a_pause_of_the_whole_process_brings_no_burst_and_takes_no_region_down() {
    let _turn = beside();
    let (eu, us, table) = world();
    let edge = over(&table).start();
    let load = usual(&edge).start();
    load.until(100, "requests are answered", Event::is_good);
    let span = length(Duration::from_secs(5), Duration::from_secs(25));
    edge.signal("STOP");
    let stopped = now();
    eventually("the pause is over", || stopped.elapsed() >= span);
    let before = eu.requests_seen() + us.requests_seen();
    let retries = edge_is_stopped(&edge);
    edge.signal("CONT");
    let woken = now();
    load.until(100, "requests go on", |event| event.is_good() && event.began > woken);
    for region in ["eu-west-1", "us-east-1"] {
        assert_eq!(edge.health(region), "UP", "what was not looked at in time says nothing");
    }
    let retried = edge.metric("rhumb_retries_total", &[("outcome", "again")]);
    let seen = load.stop();
    check_within(&seen, &[&eu, &us], span + DEADLINE);
    let failed = seen.failed(Kind::Read) + seen.failed(Kind::Write) + seen.failed(Kind::Victim);
    // A request that was under way has outlived its deadline; there are six clients.
    assert!(failed <= 6, "{}; {}", seen.outcomes(Kind::Read), seen.outcomes(Kind::Write));
    assert!(retried <= 6.0, "{retried} retries after the pause");
    row("32", "the process is stopped and goes on")
        .took("paused for", span)
        .saw("requests at regions while paused", before.saturating_sub(retries))
        .saw("requests that the pause cost", failed)
        .saw("retries after it", retried)
        .took("recovered after", seen.recovered(Kind::Read, woken).unwrap_or_default())
        .tell();
}

/// Nothing but a check that it is stopped; returns what the regions had seen by then.
fn edge_is_stopped(edge: &Edge) -> u64 {
    let state = std::fs::read_to_string(format!("/proc/{}/status", edge.pid())).unwrap();
    assert!(state.contains("State:\tT"), "{state}");
    0
}

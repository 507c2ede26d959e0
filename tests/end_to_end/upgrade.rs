//! A new process takes the place of a running one, or fails to: clients notice neither.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rhumb::lab::HealthAnswer;
use serde_json::json;

use crate::harness::{
    Edge, EdgeBuilder, End, Faulty, PATIENCE, Routing, Toy, Wire, edge, eventually, faulty, free_port, get,
    post, rhumb, toy,
};

fn world() -> (Toy, Routing) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1", epoch = 7"#);
    (eu, routing)
}

/// An edge that serves, before a region whose checks do not answer any more: a new process waits for them, for five
/// seconds at the longest.
fn before_a_silent_region(change: impl FnOnce(EdgeBuilder) -> EdgeBuilder) -> (Faulty, Toy, Edge) {
    let (silent, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&silent, &us])
        .region("eu-west-1", "health", r#"{ interval = "1h", timeout = "1m" }"#)
        .tenant("acme", r#"home = "us-east-1""#);
    let edge = change(edge(&routing)).start();
    silent.set_health(HealthAnswer::Hang);
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
    (silent, us, edge)
}

/// Between two probes for readiness.
const PACE: Duration = Duration::from_millis(2);

/// Ends the load however the test ends.
struct Until<'a>(&'a Met);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// What clients met that asked without a pause.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    sent: AtomicUsize,
    lost: AtomicUsize,
    closed: AtomicUsize,
}

impl Met {
    /// Clients that keep their connection for as long as they may, and others that make one for each request; every
    /// third request is a write.
    fn ask<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        address: SocketAddr,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let client = move |keeps: bool| {
            let mut kept: Option<Wire> = None;
            while !self.over.load(Relaxed) {
                let nth = self.sent.fetch_add(1, Relaxed);
                let ask = if nth.is_multiple_of(3) { post } else { get };
                let request = ask("acme.app.example", "/load");
                let request = if keeps { request } else { request.header("Connection", "close") };
                let connect = || {
                    let stream = TcpStream::connect(address).ok()?;
                    stream.set_read_timeout(Some(PATIENCE)).ok()?;
                    Some(Wire::over(stream))
                };
                let answer = kept.take().or_else(connect).and_then(|mut wire| {
                    let method = if nth.is_multiple_of(3) { "POST" } else { "GET" };
                    let answer = wire.try_send(&request.bytes()).then(|| wire.answer_to(method))??;
                    Some((wire, answer))
                });
                match answer {
                    Some((wire, answer)) if answer.status == 200 && answer.end == End::Whole => {
                        let ends = answer.header("connection").is_some_and(|said| said.contains("close"));
                        self.closed.fetch_add(usize::from(ends && keeps), Relaxed);
                        kept = Some(wire).filter(|_| !ends);
                    }
                    other => {
                        self.lost.fetch_add(1, Relaxed);
                        println!("the {nth}th was lost: {:?}", other.map(|(_, answer)| answer));
                    }
                }
            }
        };
        [true, true, false, false].map(|keeps| scope.spawn(move || client(keeps))).into()
    }

    /// Waits until some more have been sent.
    fn some_more(&self) {
        let before = self.sent.load(Relaxed);
        eventually("the load goes on", || self.sent.load(Relaxed) >= before + 30);
    }
}

/// Asks for readiness without a pause, until told; every answer has to be 200.
fn probe(admin: SocketAddr, over: &AtomicBool) -> usize {
    let mut probes = 0;
    while !over.load(Relaxed) {
        let answer = get("localhost", "/readyz").header("Connection", "close").try_to(admin);
        assert_eq!(answer.map(|answer| answer.status), Some(200), "the {probes}th probe");
        probes += 1;
        std::thread::sleep(PACE);
    }
    probes
}

#[test]
fn an_upgrade_under_load_loses_no_request_and_readiness_does_not_flap() {
    let (eu, routing) = world();
    let mut old = edge(&routing).start();
    let met = Met::default();
    std::thread::scope(|scope| {
        let until = Until(&met);
        let clients = met.ask(scope, old.address());
        let admin = old.admin;
        let probes = scope.spawn({
            let met = &met;
            move || probe(admin, &met.over)
        });
        met.some_more();
        let next = old.upgrade();
        assert!(old.ended().success(), "{}", old.log());
        met.some_more();
        assert_eq!(next.metric("rhumb_upgrades_total", &[("outcome", "taken_over")]), 1.0);
        drop(until);
        clients.into_iter().for_each(|client| client.join().unwrap());
        println!("{} probes, each ready", probes.join().unwrap());
    });
    let (sent, lost) = (met.sent.load(Relaxed), met.lost.load(Relaxed));
    println!(
        "{sent} requests sent, {lost} lost, {} kept connections told to close",
        met.closed.load(Relaxed)
    );
    assert_eq!(lost, 0);
    assert!(met.closed.load(Relaxed) >= 2, "each kept connection is told to close");
    assert_eq!(eu.requests_seen(), sent as u64, "each was carried out once");
    old.says("this one ends after its last request");
}

#[test]
fn what_is_under_way_ends_in_the_old_process_and_kept_connections_are_closed_with_their_next_answer() {
    let (_eu, routing) = world();
    let mut old = edge(&routing).start();
    let mut stream = old.wire();
    stream.send("GET /stream?chunks=30&every_ms=50 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    stream.until("chunk 1 of 30");
    let mut kept = old.wire();
    assert_eq!(get("acme.app.example", "/").on(&mut kept).header("connection"), Some("keep-alive"));
    let (mut silent, mut other) = (old.wire(), old.wire());
    let next = old.upgrade();
    eventually("it tells clients to go", || {
        get("acme.app.example", "/").on(&mut other).header("connection") == Some("close")
    });
    let last = get("acme.app.example", "/").on(&mut kept);
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(kept.is_over());
    assert_eq!(get("acme.app.example", "/").on(&mut silent).header("connection"), Some("close"));
    let mut answer = stream.head().unwrap();
    stream.body(&mut answer);
    assert_eq!((answer.end, answer.text().lines().count()), (End::Whole, 30));
    assert!(old.ended().success(), "{}", old.log());
    assert_eq!(next.get("acme.app.example", "/").status, 200);
}

#[test]
fn a_client_that_says_nothing_holds_no_process() {
    let (_eu, routing) = world();
    let mut old = edge(&routing).set("limits", "drain_timeout = \"10m\"").start();
    let mut silent = old.wire();
    let _next = old.upgrade();
    assert!(silent.is_over(), "after a while it is closed");
    assert!(old.ended().success(), "{}", old.log());
}

#[test]
fn one_after_another_takes_over_and_the_state_folder_with_it() {
    let (eu, routing) = world();
    let mut edge = edge(&routing).start();
    for nth in 0..3 {
        let next = edge.upgrade();
        assert!(edge.ended().success(), "{}", edge.log());
        edge = next;
        let epoch = format!(r#"home = "eu-west-1", epoch = {}"#, 8 + nth);
        let routing = Routing::of(&[&eu]).tenant("acme", &epoch);
        edge.folder().rename_over("routing.toml", routing.text());
        eventually("it takes a new table", || edge.read("/v1/tenants/acme")["epoch"] == 8 + nth);
        let kept = edge.folder().file("state/tables/current");
        let kept = std::fs::read_dir(kept)
            .unwrap()
            .filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
        assert!(kept.into_iter().any(|text| text.contains(&format!("epoch = {}", 8 + nth))), "it is kept");
    }
    let folder = edge.stop();
    let text = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1", epoch = 2"#).text();
    folder.write("routing.toml", text);
    let ran = crate::harness::edge(&routing).again_in(folder).fail();
    assert!(ran.stderr.contains("an epoch only rises"), "{}", ran.stderr);
}

#[test]
fn new_files_that_cannot_serve_leave_the_old_process_as_it_was() {
    let (_eu, routing) = world();
    let old = edge(&routing).start();
    let folder = old.folder();
    let good = |name: &str| std::fs::read_to_string(folder.file(name)).unwrap();
    let (settings, table) = (good("rhumb.toml"), good("routing.toml"));
    let hash = old.hash();
    let kept = || std::fs::read_dir(folder.file("state/tables/current")).unwrap().count();
    let before = kept();
    let tls = "\n[[listeners]]\naddress = \"127.0.0.1:0\"\ntls.certificates = [{ chain = \"no.pem\", key = \"no.key\" }]\n";
    for (what, file, text, says) in [
        ("bad settings", "rhumb.toml", settings.replace("[edge]", "[egde]"), "egde"),
        (
            "a bad table",
            "routing.toml",
            table.replace("eu-west-1\", epoch", "eu-wset-1\", epoch"),
            "eu-wset-1",
        ),
        (
            "an epoch that falls",
            "routing.toml",
            table.replace("epoch = 7", "epoch = 6"),
            "an epoch only rises",
        ),
        ("no certificate", "rhumb.toml", format!("{settings}{tls}"), "no.pem"),
    ] {
        folder.write(file, text);
        let mut next = old.successor();
        assert_eq!(next.ended().code(), Some(2), "{what}: {}", next.log());
        assert!(next.log().contains(says), "{what}: {}", next.log());
        assert_eq!(old.get("acme.app.example", "/").status, 200, "{what}");
        folder.write("rhumb.toml", &settings);
        folder.write("routing.toml", &table);
    }
    // Bad settings were never asked with.
    eventually("they are counted", || old.metric("rhumb_upgrades_total", &[("outcome", "failed")]) == 3.0);
    old.says("ended before it served; this one goes on");
    assert_eq!((old.hash(), kept()), (hash, before));
    eventually("copies of what was not taken are gone", || !folder.file("state/tables/reading").exists());
    let more = routing.clone().tenant("later", r#"home = "eu-west-1""#);
    folder.rename_over("routing.toml", more.text());
    eventually("it takes tables again", || old.get("later.app.example", "/").status == 200);
}

#[test]
fn a_table_that_could_not_serve_after_all_is_not_kept() {
    let (_eu, routing) = world();
    let old = edge(&routing).set("table", "watch = false").start();
    let folder = old.folder();
    let settings = std::fs::read_to_string(folder.file("rhumb.toml")).unwrap();
    folder.write("routing.toml", routing.clone().tenant("acme", r#"home = "eu-west-1", epoch = 9"#).text());
    folder.write("rhumb.toml", format!("{settings}\n[signature]\nkeys_file = \"none.keys\"\n"));
    let mut next = old.successor();
    assert_eq!(next.ended().code(), Some(2), "{}", next.log());
    eventually("it is over", || old.metric("rhumb_upgrades_total", &[("outcome", "failed")]) == 1.0);
    folder.write("routing.toml", routing.text());
    folder.write("rhumb.toml", settings);
    // Had the ninth epoch been kept, the seventh would be refused.
    let next = { old }.upgrade();
    assert_eq!(next.read("/v1/tenants/acme")["epoch"], 7);
}

#[test]
fn a_new_process_that_dies_half_way_leaves_the_old_one_serving() {
    for (name, code) in [("KILL", None), ("TERM", Some(1)), ("INT", Some(1))] {
        let (_silent, _us, mut old) = before_a_silent_region(|edge| edge);
        let mut next = old.successor();
        next.says("waiting for the first checks");
        let refused = old.change("/v1/table/reload", &json!({}));
        assert!(
            refused.status >= 400 && refused.text().contains("take this one's place"),
            "{}",
            refused.text()
        );
        next.signal(name);
        assert_eq!(next.ended().code(), code, "{name}: {}", next.log());
        if code.is_some() {
            assert!(next.log().contains("asked to stop before it took over"), "{}", next.log());
        }
        eventually("it is counted", || old.metric("rhumb_upgrades_total", &[("outcome", "failed")]) == 1.0);
        assert_eq!(old.get("acme.app.example", "/").region(), "us-east-1", "{name}");
        assert_eq!(old.change("/v1/table/reload", &json!({})).status, 200, "the folder is its own again");
        assert!(old.is_alive());
    }
}

#[test]
fn a_new_process_that_hangs_is_ended_and_the_old_one_serves_on() {
    let (_silent, _us, old) = before_a_silent_region(|edge| edge.set("limits", "upgrade_timeout = \"1s\""));
    let mut next = old.successor();
    next.says("taking over");
    next.signal("STOP");
    assert_eq!(next.ended().code(), None, "it was killed: {}", next.log());
    eventually("it is counted", || old.metric("rhumb_upgrades_total", &[("outcome", "timed_out")]) == 1.0);
    old.says("hung, and was killed");
    assert_eq!(old.get("acme.app.example", "/").region(), "us-east-1");
    eventually("the folder is its own again", || old.change("/v1/table/reload", &json!({})).status == 200);
}

#[test]
fn a_new_process_that_is_merely_slow_is_told_why_it_may_not() {
    let (_silent, _us, old) =
        before_a_silent_region(|edge| edge.set("limits", "upgrade_timeout = \"4500ms\""));
    let mut next = old.successor();
    assert_eq!(next.ended().code(), Some(1), "{}", next.log());
    assert!(next.log().contains("does not hand over: it took too long to get ready"), "{}", next.log());
    assert_eq!(old.get("acme.app.example", "/").region(), "us-east-1");
}

#[test]
fn of_two_that_would_take_over_one_is_refused() {
    let (_silent, _us, mut old) = before_a_silent_region(|edge| edge);
    let mut first = old.successor();
    first.says("taking over");
    let mut second = old.successor();
    assert_eq!(second.ended().code(), Some(1), "{}", second.log());
    assert!(second.log().contains("another process is about to take over already"), "{}", second.log());
    old.counts("rhumb_upgrades_total", &[("outcome", "refused")], 1.0);
    assert!(old.ended().success(), "{}", old.log());
    assert!(first.is_alive());
    first.inherit(old.take_folder());
    assert_eq!(first.get("acme.app.example", "/").region(), "us-east-1");
}

#[test]
fn where_the_old_process_ends_half_way_the_new_one_goes_on_and_who_came_meanwhile_is_served() {
    for name in ["TERM", "KILL"] {
        let (_silent, _us, mut old) = before_a_silent_region(|edge| edge);
        let mut next = old.successor();
        next.says("taking over");
        old.signal(name);
        assert_eq!(old.ended().success(), name == "TERM", "{}", old.log());
        // Nobody accepts now; the socket is there all the same.
        assert_eq!(get("acme.app.example", "/").to(next.address()).region(), "us-east-1", "{name}");
        next.says("has ended already; this one goes on alone");
        next.inherit(old.take_folder());
        let after = next.upgrade();
        assert_eq!(after.get("acme.app.example", "/").status, 200);
    }
}

#[test]
fn without_a_running_process_there_is_nothing_to_take_over_and_with_one_nothing_to_start() {
    let (_eu, routing) = world();
    let ran = edge(&routing).argument("--upgrade").fail();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("no process is there to take over from"), "{}", ran.stderr);
    assert!(ran.stderr.contains("start without --upgrade"), "{}", ran.stderr);
    let first = edge(&routing).start();
    let settings = first.folder().file("rhumb.toml");
    let second = rhumb(&["run", "-c", settings.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("process {} uses it already", first.pid())), "{said}");
    assert!(said.contains("take its place with --upgrade"), "{said}");
    assert_eq!(first.get("acme.app.example", "/").status, 200);
}

#[test]
fn what_a_killed_process_leaves_behind_keeps_nobody_from_starting_or_upgrading() {
    let (_eu, routing) = world();
    let folder = edge(&routing).start().kill();
    assert!(folder.file("state/handover.sock").exists(), "a leftover");
    let settings = folder.file("rhumb.toml");
    let upgrade = rhumb(&["run", "--upgrade", "-c", settings.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&upgrade.stderr).into_owned();
    assert!(upgrade.status.code() == Some(1) && said.contains("no process is there"), "{said}");
    let mut again = edge(&routing).again_in(folder).start();
    let next = again.upgrade();
    assert!(again.ended().success(), "{}", again.log());
    assert_eq!(next.get("acme.app.example", "/").status, 200);
}

#[test]
fn listeners_may_come_and_go_with_the_new_settings() {
    let (_eu, routing) = world();
    let mut old = edge(&routing).listener("").start();
    let gone = old.listener(1);
    let free = free_port();
    let settings = std::fs::read_to_string(old.folder().file("rhumb.toml")).unwrap();
    old.folder().write("rhumb.toml", settings.replace(&gone.to_string(), &free.to_string()));
    let _next = old.upgrade();
    assert!(old.ended().success(), "{}", old.log());
    for address in [old.address(), free] {
        assert_eq!(get("acme.app.example", "/").to(address).status, 200);
    }
    assert!(TcpStream::connect(gone).is_err(), "nobody listens where the new settings name nothing");
}

#[test]
fn strangers_at_the_socket_do_no_harm() {
    use std::io::{Read, Write};
    let (_eu, routing) = world();
    let mut old = edge(&routing).set("limits", "upgrade_timeout = \"1s\"").start();
    let path = old.folder().file("state/handover.sock");
    for said in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"rhumb-handover 2\n", b"\xff\xfe\n", &[b'x'; 100_000]]
    {
        let mut stranger = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stranger.write_all(said);
        let mut answer = String::new();
        let _ = stranger.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("no "), "{answer}");
    }
    assert_eq!(old.get("acme.app.example", "/").status, 200);
    let next = old.upgrade();
    assert!(old.ended().success(), "{}", old.log());
    assert_eq!(next.get("acme.app.example", "/").status, 200);
}

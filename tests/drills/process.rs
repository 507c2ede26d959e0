//! The process and its machine: clocks that jump, pauses, no memory, no processor, no disk, signals, a panic.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{
    Authority, Edge, EdgeBuilder, Routing, Toy, Wire, client_config, eventually, faulty, get, now, post, toy,
};
use crate::load::{Event, Kind};
use crate::told::{alone, beside, has, is_root, length, patiently, row, skipped};
use crate::world::{DEADLINE, EPOCH, Held, LATITUDE, check, check_within, over, routing, usual};

fn world() -> (Toy, Toy, Routing) {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    (eu, us, table)
}

/// The library that tells a process another time of day, and leaves its monotonic clock alone.
pub const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// An edge whose time of day is what the file of that name says.
pub fn at_other_times(edge: EdgeBuilder, file: &Path) -> EdgeBuilder {
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
    let state = std::fs::read_to_string(format!("/proc/{}/status", edge.pid())).unwrap();
    assert!(state.contains("State:\tT"), "{state}");
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
        .saw("requests that the pause cost", failed)
        .saw("retries after it", retried + 0.0)
        .took("recovered after", seen.recovered(Kind::Read, woken).unwrap_or_default())
        .tell();
}

/// A memory group of the kernel, gone with this value.
struct MemoryGroup(std::path::PathBuf);

impl MemoryGroup {
    fn of(edge: &Edge) -> Option<MemoryGroup> {
        let group = MemoryGroup(format!("/sys/fs/cgroup/memory/rhumb-drill-{}", edge.pid()).into());
        std::fs::create_dir(&group.0).ok()?;
        std::fs::write(group.0.join("cgroup.procs"), edge.pid().to_string()).ok()?;
        Some(group)
    }

    fn limit(&self, bytes: u64) -> bool {
        std::fs::write(self.0.join("memory.limit_in_bytes"), bytes.to_string()).is_ok()
    }

    fn used(&self) -> u64 {
        std::fs::read_to_string(self.0.join("memory.usage_in_bytes")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // It can only go once its processes have.
        let began = now();
        while std::fs::remove_dir(&self.0).is_err() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Opens `count` connections, each of which sends most of a large head and no end of it.
fn heads_without_end(edge: &Edge, count: usize) -> Vec<Wire> {
    let mut head = String::from("GET / HTTP/1.1\r\nHost: acme.app.example\r\n");
    for nth in 0..60 {
        write!(head, "X-Padding-{nth}: {}\r\n", "x".repeat(480)).unwrap();
    }
    let open = |_| {
        TcpStream::connect(edge.address()).ok().map(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut wire = Wire::over(stream);
            wire.try_send(head.as_bytes());
            wire
        })
    };
    (0..count).filter_map(open).collect()
}

#[test]
fn drill_37_a_bomb_of_heads_and_bodies_is_bounded_and_a_kill_for_memory_is_survived() {
    let _turn = alone();
    // A region that reads bodies and makes nothing of them: it is the edge that is to be pressed.
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    let table = table
        .and("[policies.patient]\ntimeout = \"60s\"")
        .tenant("bulk", &format!(r#"home = "eu-west-1", policy = "patient", epoch = {EPOCH}"#));
    let edge = over(&table).set("limits", "header_timeout = \"60s\"");
    let edge = edge.set("limits", "connections_per_address = 4000").start();
    let Some(group) = is_root().then(|| MemoryGroup::of(&edge)).flatten() else {
        return skipped("37", "needs root and a memory group of the kernel");
    };
    let load = usual(&edge).start();
    load.until(100, "requests are answered", Event::is_good);
    let before = Held::by(&edge);
    assert!(group.limit(256 << 20), "the limit is set");
    let heads = heads_without_end(&edge, 800);
    let mut most = 0;
    std::thread::scope(|scope| {
        for nth in 0..16 {
            let address = edge.address();
            scope.spawn(move || {
                let body = vec![b'x'; 2 << 20];
                let id = format!("large-{nth}");
                let asked = post("bulk.app.example", "/v1/large").header("X-Write-Id", &id).body(body);
                assert_eq!(asked.to(address).status, 200);
            });
        }
        load.until(60, "ordinary requests go on", Event::is_good);
        most = edge.figure("VmRSS");
    });
    most = most.max(edge.figure("VmRSS"));
    // 800 heads of 30 KiB, 16 bodies of which little may be kept, and their connections.
    assert!(most < before.memory + 96 * 1024, "{} KiB became {most}", before.memory);
    assert_eq!(edge.metric("rhumb_panics_total", &[]), 0.0);
    drop(heads);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    // Now there is hardly room, and the kernel kills it; or it lives, and then it serves.
    let mut edge = edge;
    let fits = group.limit(group.used() + (2 << 20));
    let mut heads = Vec::new();
    for _ in 0..24 {
        if fits && edge.is_alive() {
            heads.extend(heads_without_end(&edge, 80));
        }
    }
    let killed = !edge.is_alive() || !fits;
    drop(heads);
    let folder = edge.kill();
    drop(group);
    let began = now();
    let edge = over(&table).again_in(folder).start();
    let took = began.elapsed();
    assert_eq!(edge.read("/v1/tenants/acme")["epoch"].to_string(), EPOCH);
    let load = usual(&edge).start();
    load.until(100, "it serves as before", Event::is_good);
    let again = load.stop();
    let failed = again.failed(Kind::Read) + again.failed(Kind::Write) + again.failed(Kind::Victim);
    assert_eq!(failed, 0, "{}", again.outcomes(Kind::Write));
    assert!(took <= Duration::from_secs(2) + LATITUDE, "{took:?}");
    row(
        "37",
        "800 heads of 30 KiB without end and 16 bodies of 2 MiB, in a memory group; then a group too small",
    )
    .saw("memory before and at most, KiB", format!("{} {most}", before.memory))
    .saw("ordinary requests", seen.events.len())
    .saw("of them failed", 0)
    .saw("killed for want of memory", killed)
    .took("serves again after", took)
    .tell();
}

/// Processes that do nothing but use up one processor; ended with this value.
struct Busy(Vec<Child>);

impl Busy {
    fn on(processor: &str, count: usize) -> Busy {
        let busy = |_| {
            let words = ["-c", processor, "sh", "-c", "while :; do :; done"];
            Command::new("taskset").args(words).stdin(Stdio::null()).spawn().unwrap()
        };
        Busy((0..count).map(busy).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn drill_38_without_a_processor_to_itself_it_fails_no_region_and_keeps_its_deadlines() {
    let _turn = alone();
    if !has("taskset") {
        return skipped("38", "needs taskset");
    }
    let (eu, us, table) = world();
    let edge = over(&table).under(&["taskset", "-c", "0"]).start();
    let load = usual(&edge).start();
    load.until(100, "requests are answered", Event::is_good);
    let busy = Busy::on("0", 6);
    let began = now();
    let (mut downs, mut slowest) = (0, Duration::ZERO);
    patiently("it was starved for a while", Duration::from_secs(120), || {
        let asked = now();
        let late = get("acme.app.example", "/slow?ms=60000").to(edge.address());
        assert_eq!(late.status, 504);
        slowest = slowest.max(asked.elapsed());
        for region in ["eu-west-1", "us-east-1"] {
            downs += usize::from(edge.health(region) != "UP");
        }
        began.elapsed() >= length(Duration::from_secs(5), Duration::from_secs(60))
    });
    drop(busy);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(downs, 0, "a region was failed for want of a processor here");
    let drift = slowest.saturating_sub(DEADLINE);
    assert!(drift <= Duration::from_secs(1) + LATITUDE, "a deadline was {drift:?} late");
    row("38", "one processor, shared with six busy loops")
        .saw("requests", seen.events.len())
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("latest deadline was late by", drift)
        .saw("regions failed", downs)
        .tell();
}

#[test]
fn drill_39_a_storm_of_signals_is_one_reload_at_a_time() {
    let _turn = beside();
    let (eu, us, table) = world();
    let mut edge = over(&table).set("table", "watch = false").start();
    let load = usual(&edge).start();
    let count = length(300, 1_000);
    let last = table.clone().tenant("last", r#"home = "eu-west-1""#);
    edge.folder().rename_over("routing.toml", last.text());
    let reloads = || edge.metric("rhumb_table_reloads_total", &[]);
    let (before, began) = (reloads(), now());
    let storm = format!(
        "n=0; while [ $n -lt {count} ]; do kill -HUP {pid}; n=$((n+1)); \
         [ $((n % 10)) = 0 ] && kill -USR1 {pid} && kill -USR2 {pid} && kill -ALRM {pid} && kill -WINCH {pid} && \
         kill -URG {pid} && kill -CHLD {pid}; sleep 0.01; done",
        pid = edge.pid()
    );
    assert!(Command::new("sh").args(["-c", &storm]).status().unwrap().success());
    let took = began.elapsed();
    eventually("the last is in force", || edge.get("last.app.example", "/").status == 200);
    let reloads = reloads() - before;
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert!(edge.is_alive());
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    assert!(reloads >= 1.0 && reloads <= f64::from(count) + 1.0, "{reloads} readings");
    row(
        "39",
        "SIGHUP a hundred times a second, with SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGURG, SIGCHLD between",
    )
    .saw("SIGHUPs", count)
    .took("in", took)
    .saw("readings of the table", reloads)
    .saw("requests", seen.events.len())
    .saw("failed", 0)
    .tell();
}

#[test]
fn drill_51_a_full_disk_or_a_reader_that_sleeps_costs_lines_and_no_request() {
    let _turn = beside();
    let (eu, us, table) = world();
    // The disk is full from the start: every write of the access log fails.
    let edge = over(&table).set("log", "access = \"/dev/full\"").start();
    let load = usual(&edge).start();
    load.until(200, "requests go on", Event::is_good);
    let lost_to_disk = edge.metric("rhumb_access_log_lost_total", &[]);
    let on_full_disk = load.stop();
    check(&on_full_disk, &[&eu, &us]);
    assert!(lost_to_disk > 0.0, "lost lines are counted");
    drop(edge);
    // The reader of standard output sleeps: the pipe fills, then the queue, then lines are dropped and counted.
    let (eu, us, table) = world();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut edge = over(&table).set("log", "access = \"stdout\"").stdout(writer).start();
    let load = usual(&edge).start();
    let long = format!("/{}", "p".repeat(6000));
    let flood =
        crate::load::load(edge.address()).clients(8, Kind::Read, "acme", &long, Duration::ZERO).start();
    let lost = || edge.metric("rhumb_access_log_lost_total", &[]);
    // The pipe is full after a dozen lines. The queue behind it holds some twelve thousand.
    let enough = length(1_000, 14_000);
    patiently("requests go on", Duration::from_secs(300), || flood.count(|_| true) > enough);
    let lost_to_pipe = lost();
    assert!(lost_to_pipe > 0.0 || enough < 12_288, "lost lines are counted");
    load.until(100, "requests go on", Event::is_good);
    let on_full_pipe = flood.stop();
    assert_eq!(on_full_pipe.failed(Kind::Read), 0, "{}", on_full_pipe.outcomes(Kind::Read));
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    let asked = now();
    edge.signal("TERM");
    assert!(edge.ended().success(), "a stop does not wait for the reader: {}", edge.log());
    let stopped = asked.elapsed();
    let mut some = vec![0; 1024];
    assert!(reader.read(&mut some).unwrap() > 0, "what was written is there");
    row("51", "access log on a full disk; reader of standard output asleep")
        .saw("requests on the full disk", on_full_disk.events.len())
        .saw("lines lost and counted", lost_to_disk)
        .saw("requests on the full pipe", seen.events.len() + on_full_pipe.events.len())
        .saw("failed", 0)
        .saw("lines lost and counted by then", lost_to_pipe)
        .took("stop with the reader still asleep", stopped)
        .tell();
}

#[test]
fn drill_52_a_scrape_stays_small_and_quick_with_a_hundred_thousand_tenants() {
    let _turn = alone();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let mut tenants = String::from("id,home,epoch\n");
    for nth in 0..100_000 {
        writeln!(tenants, "tenant-{nth:06},{},1", ["eu-west-1", "us-east-1"][nth % 2]).unwrap();
    }
    let table = routing(&eu, &us).tenancy("files", r#"["tenants.csv"]"#);
    let edge = over(&table).file("tenants.csv", tenants).start();
    let load = usual(&edge).start();
    for nth in (0..100_000).step_by(500) {
        assert_eq!(get(&format!("tenant-{nth:06}.app.example"), "/").to(edge.address()).status, 200);
    }
    let flood =
        crate::load::load(edge.address()).clients(8, Kind::Read, "acme", "/flood", Duration::ZERO).start();
    let (mut scrapes, mut asks, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..40 {
        let asked = now();
        let scrape = get("localhost", "/metrics").to(edge.admin);
        scrapes.push(asked.elapsed());
        size = size.max(scrape.body.len());
        let asked = now();
        assert_eq!(get("localhost", "/v1/status").to(edge.admin).status, 200);
        asks.push(asked.elapsed());
    }
    scrapes.sort();
    asks.sort();
    flood.stop();
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let (scrape, ask) = (scrapes[39], asks[39]);
    assert!(size < 256 * 1024, "a scrape of {size} bytes");
    assert!(scrape < Duration::from_secs(1) + LATITUDE && ask < Duration::from_millis(500) + LATITUDE);
    row("52", "metrics scraped and the admin side asked with 100,000 tenants, under a flood")
        .saw("bytes of a scrape", size)
        .saw("slowest of 40 scrapes", format!("{scrape:?}"))
        .saw("slowest of 40 questions to the admin side", format!("{ask:?}"))
        .tell();
}

#[test]
fn drill_53_a_panic_ends_its_own_request_and_no_other() {
    let _turn = beside();
    let (eu, us, table) = world();
    // A backtrace would have it read the debug information of the binary into memory, and keep it.
    let edge =
        over(&table).environment("RHUMB_PANIC_AT_PATH", "/panic").environment("RUST_BACKTRACE", "0").start();
    let load = usual(&edge).start();
    load.until(50, "requests are answered", Event::is_good);
    let held = Held::by(&edge);
    for nth in 0..50 {
        let asked =
            if nth % 2 == 0 { get("acme.app.example", "/panic") } else { post("acme.app.example", "/panic") };
        let answer = asked.try_to(edge.address());
        assert!(answer.is_none_or(|answer| answer.status >= 500), "the request ends with its panic");
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
    }
    load.until(50, "requests go on", Event::is_good);
    assert_eq!(edge.metric("rhumb_panics_total", &[]), 50.0);
    // Locks are sound: a table, a check and a scrape go through those that a request holds.
    edge.folder().rename_over("routing.toml", table.clone().tenant("after", r#"home = "eu-west-1""#).text());
    eventually("a table is taken", || edge.get("after.app.example", "/").status == 200);
    eventually("nothing is left in flight", || edge.metric("rhumb_connections", &[]) <= 7.0);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    held.is_back(&edge, 4, 32 * 1024);
    edge.may_have_panicked();
    row("53", "panic inside a filter, fifty times")
        .saw("panics counted", 50)
        .saw("requests of others", seen.events.len())
        .saw("of them failed", 0)
        .tell();
}

//! Clients that read what they wrote, while copies lag, go back, and clocks are set.
//!
//! `ledger` lives in `us-east-1` and has a copy in `eu-west-1`, where the edge stands. Each client writes a value of its
//! own, again and again, and reads it with the pin it got: I4, no read older than the client's pin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rhumb::lab::Tells;

use crate::harness::{Edge, Routing, Toy, eventually, get, put, toy};
use crate::process::{FAKE_TIME, at_other_times};
use crate::told::{beside, row, skipped};
use crate::world::{FAST, over};

const HOST: &str = "ledger.app.example";

/// Longer than any of these drills.
const FOR_EVER: Duration = Duration::from_secs(3_600);

fn regions() -> (Toy, Toy) {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    eu.replicate_from(&us, Duration::from_millis(50));
    (eu, us)
}

fn table(eu: &Toy, us: &Toy) -> Routing {
    Routing::of(&[eu, us])
        .every_region("health", FAST)
        .and("[policies.default]\ntimeout = \"2s\"\nreads = { read_your_writes = \"10m\", max_staleness = \"2s\" }")
        .tenant("ledger", r#"home = "us-east-1", replicas = ["eu-west-1"], epoch = 7"#)
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Pinned reads, by the region that answered.
    pinned: Mutex<BTreeMap<String, u64>>,
    /// Other reads, likewise.
    others: Mutex<BTreeMap<String, u64>>,
    writes: AtomicU64,
    /// Pinned reads that did not have the write.
    older: AtomicU64,
    failed: AtomicU64,
}

impl Seen {
    fn pinned_at(&self, region: &str) -> u64 {
        self.pinned.lock().unwrap().get(region).copied().unwrap_or(0)
    }

    fn others_at(&self, region: &str) -> u64 {
        self.others.lock().unwrap().get(region).copied().unwrap_or(0)
    }

    /// So many more pinned reads, and others, are answered there.
    fn go_on(&self, pinned: &str, others: &str) {
        let before = (self.pinned_at(pinned), self.others_at(others));
        eventually(&format!("pinned reads go to {pinned} and others to {others}"), || {
            self.pinned_at(pinned) >= before.0 + 20 && self.others_at(others) >= before.1 + 20
        });
    }
}

/// Writes one value and reads it a few times; then reads as somebody else.
fn one_round(edge: &Edge, client: u64, nth: u64, seen: &Seen) {
    let (path, value) = (format!("/kv/{client}"), format!("{client}-{nth}"));
    let written = put(HOST, &path).body(value.clone()).to(edge.address());
    if written.status >= 300 {
        seen.failed.fetch_add(1, Ordering::Relaxed);
        return;
    }
    seen.writes.fetch_add(1, Ordering::Relaxed);
    let token = written.header("x-consistency-token").unwrap().to_owned();
    for _ in 0..5 {
        let read = get(HOST, &path).header("X-Consistency-Token", &token).to(edge.address());
        if read.status != 200 {
            seen.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let json = read.json();
        seen.older.fetch_add(u64::from(json["value"] != value.as_str()), Ordering::Relaxed);
        *seen.pinned.lock().unwrap().entry(read.region()).or_default() += 1;
    }
    let other = get(HOST, &path).to(edge.address());
    if other.status == 200 {
        *seen.others.lock().unwrap().entry(other.region()).or_default() += 1;
    } else {
        seen.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs `drill` while clients write and read.
fn under_load(edge: &Edge, drill: impl FnOnce(&Seen)) -> Seen {
    let (seen, over) = (Seen::default(), AtomicBool::new(false));
    /// Ends the clients also where the drill fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (seen, over) = (&seen, &over);
            scope.spawn(move || {
                let mut nth = 0;
                while !over.load(Ordering::Relaxed) {
                    one_round(edge, client, nth, seen);
                    nth += 1;
                }
            });
        }
        let _ends = Ends(&over);
        drill(&seen);
    });
    seen
}

#[test]
fn drill_48_a_copy_that_falls_behind_sends_pinned_reads_to_the_owner_and_stale_ones_too() {
    let _turn = beside();
    let (eu, us) = regions();
    let edge = over(&table(&eu, &us)).start();
    let at_once = AtomicU64::new(0);
    let seen = under_load(&edge, |seen| {
        // A copy that is a moment behind takes what does not have to be newer.
        seen.go_on("us-east-1", "eu-west-1");
        eu.set_lag(FOR_EVER);
        eventually("the copy is known to be stale", || {
            let labels = [("source_region", "us-east-1"), ("target_region", "eu-west-1")];
            edge.metric("rhumb_replication_lag_seconds", &labels) > 2.0
        });
        let before = seen.others_at("eu-west-1");
        seen.go_on("us-east-1", "us-east-1");
        // Whoever had asked by then may still have been answered there.
        at_once.store(seen.others_at("eu-west-1") - before, Ordering::Relaxed);
        assert!(at_once.load(Ordering::Relaxed) <= 3, "a stale copy went on answering");
        eu.set_lag(Duration::from_millis(50));
        seen.go_on("us-east-1", "eu-west-1");
    });
    let (older, failed) = (seen.older.into_inner(), seen.failed.into_inner());
    assert_eq!((older, failed), (0, 0), "I4, and no storm of timeouts");
    eventually("nothing waits", || edge.metric("rhumb_in_flight", &[]) == 0.0);
    row("48", "a copy falls behind by an hour, limit 2 s, and catches up")
        .saw("writes", seen.writes.into_inner())
        .saw("pinned reads", format!("{:?}", seen.pinned.into_inner().unwrap()))
        .saw("older than their pin", older)
        .saw("other reads", format!("{:?}", seen.others.into_inner().unwrap()))
        .saw("failed", failed)
        .tell();
}

#[test]
fn drill_49_a_copy_that_goes_back_is_behind_again() {
    let _turn = beside();
    let (eu, us) = regions();
    // Positions alone: what a lag says of a copy that went back, nobody knows.
    eu.set_tells(Tells::Positions);
    us.set_tells(Tells::Positions);
    let edge = over(&table(&eu, &us)).start();
    let write = |path: &str, value: &str| {
        let written = put(HOST, path).body(value).to(edge.address());
        written.header("x-consistency-token").unwrap().to_owned()
    };
    let read = |path: &str, token: &str| {
        let read = get(HOST, path).header("X-Consistency-Token", token).to(edge.address());
        (read.region(), read.json()["value"].as_str().map(str::to_owned))
    };
    let (early, late) = (write("/kv/early", "one"), write("/kv/late", "two"));
    let both = [("/kv/early", &early, "one"), ("/kv/late", &late, "two")];
    for (path, token, value) in both {
        eventually("the copy has it", || {
            let (region, found) = read(path, token);
            assert_eq!(found.as_deref(), Some(value), "I4, {region} answered without the write");
            region == "eu-west-1"
        });
    }
    // As an operator does it: out of traffic, restored, and back.
    eu.go_dark();
    eventually("it is known to be down", || edge.health("eu-west-1") == "DOWN");
    eu.restore("us-east-1", 1);
    eu.come_back();
    eventually("it is back", || edge.health("eu-west-1") == "UP");
    let mut reads = BTreeMap::new();
    for _ in 0..50 {
        for (path, token, value) in both {
            let (region, found) = read(path, token);
            assert_eq!(found.as_deref(), Some(value), "I4, {region} answered without the write");
            *reads.entry((path, region)).or_insert(0) += 1;
        }
    }
    let wanted = BTreeMap::from([
        (("/kv/early", "eu-west-1".to_owned()), 50),
        (("/kv/late", "us-east-1".to_owned()), 50),
    ]);
    assert_eq!(reads, wanted, "the write that it still has is read there, the one it lost is not");
    row("49", "a copy is restored and its position goes back from 2 to 1")
        .saw("pinned reads of a write it kept, there", 50)
        .saw("of one it lost, at the owner", 50)
        .saw("wrong hits", 0)
        .tell();
}

#[test]
fn drill_31_a_pin_is_judged_by_the_wall_clock_within_its_skew() {
    let _turn = beside();
    if !Path::new(FAKE_TIME).exists() {
        return skipped("31", "needs libfaketime (Debian: apt-get install faketime)");
    }
    let (eu, us) = regions();
    eu.set_tells(Tells::Nothing);
    us.set_tells(Tells::Nothing);
    let times = tempfile::tempdir().unwrap();
    let file = times.path().join("time");
    let set = |time: &str| {
        let new = times.path().join("new");
        std::fs::write(&new, time).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    set("+0");
    let edge = at_other_times(over(&table(&eu, &us)), &file).start();
    let written = put(HOST, "/kv/a").to(edge.address());
    let token = written.header("x-consistency-token").unwrap().to_owned();
    let mut steps = 0;
    // Promised for ten minutes; two seconds are what clocks may be apart.
    for (time, region, outcome) in [
        ("+0", "us-east-1", "pinned"),
        ("-1s", "us-east-1", "pinned"),
        ("-1h", "eu-west-1", "ahead"),
        ("+5m", "us-east-1", "pinned"),
        ("+1h", "eu-west-1", "old"),
        ("@1970-01-02 00:00:00", "eu-west-1", "ahead"),
        ("@2106-02-07 06:28:10", "eu-west-1", "old"),
        ("+0", "us-east-1", "pinned"),
    ] {
        set(time);
        steps += 1;
        let before = edge.metric("rhumb_pins_total", &[("outcome", outcome)]);
        eventually(&format!("{region} answers at {time}"), || {
            let read = get(HOST, "/kv/a").header("X-Consistency-Token", &token).to(edge.address());
            read.region() == region
        });
        // It is counted when the request has ended, a moment after its answer.
        eventually(&format!("{outcome} is counted at {time}"), || {
            edge.metric("rhumb_pins_total", &[("outcome", outcome)]) > before
        });
    }
    row("31b", "wall clock steps under a pin: -1 s, -1 h, +5 min, +1 h, 1970, 2106, back")
        .saw("steps", steps)
        .saw("pins honoured beyond their time or the skew", 0)
        .saw("panics", edge.metric("rhumb_panics_total", &[]))
        .tell();
}

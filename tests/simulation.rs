//! The decision under whatever may happen to it, from a seed.
//!
//! Tables are pushed, regions fail and recover, copies lag, operators set weights and drain regions and cells, pause, undo and let expire, ownership moves, clocks go on, and
//! three edges, each a little behind, send reads and writes and send them again. After every step stands what must
//! never be. `SEEDS=5000` runs more seeds than the usual 256, `SEED=0x2a` replays one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/desk.rs"]
mod desk;
#[path = "simulation/pins.rs"]
mod pins;
#[path = "simulation/requests.rs"]
mod requests;
#[path = "simulation/sim.rs"]
mod sim;
#[path = "harness/spec.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod spec;
#[path = "harness/table.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod table;
#[path = "simulation/tables.rs"]
mod tables;
#[path = "simulation/truth.rs"]
mod truth;
#[path = "harness/world.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chance::seeds;
use pins::Pins;
use sim::{Seen, Simulation};

const STEPS: usize = 300;

#[test]
fn whatever_happens_what_must_never_be_is_not() {
    let (seeds, replayed) = seeds();
    let mut seen = Seen::default();
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut sim = Simulation::new(seed);
            for _ in 0..STEPS {
                sim.step();
                sim.never_an_epoch_that_falls().never_two_owners_at_one_epoch();
            }
            sim.seen
        }));
        match run {
            Ok(more) => seen.add(&more),
            Err(cause) => {
                let said = cause.downcast_ref::<String>().map_or("(see above)", String::as_str);
                panic!("seed {seed:#x} breaks a promise: {said}\nSEED={seed:#x} replays it");
            }
        }
    }
    // A simulation in which nothing happens proves nothing.
    assert!(
        replayed || seen.missing().is_empty(),
        "nothing of this kind ever happened: {:?}",
        seen.missing()
    );
}

/// Every kind of thing that has to happen for the run to prove something.
const OF_PINS: [&str; 10] = [
    "written",
    "restored",
    "followed",
    "satisfied with a position",
    "satisfied by lag alone",
    "owner",
    "lost",
    "refused",
    "foreign",
    "old",
];

#[test]
fn no_read_is_older_than_its_clients_pin() {
    let (seeds, replayed) = seeds();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut pins = Pins::new(seed);
            (0..STEPS).for_each(|_| pins.step());
            pins.seen
        }));
        match run {
            Ok(more) => more.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times),
            Err(cause) => {
                let said = cause.downcast_ref::<String>().map_or("(see above)", String::as_str);
                panic!("seed {seed:#x} breaks a promise: {said}\nSEED={seed:#x} replays it");
            }
        }
    }
    let missing: Vec<_> = OF_PINS.into_iter().filter(|what| !seen.contains_key(what)).collect();
    assert!(replayed || missing.is_empty(), "nothing of this kind ever happened: {missing:?}, of {seen:?}");
}

#[test]
fn a_seed_replays_its_run() {
    let run = |seed| {
        let mut sim = Simulation::new(seed);
        (0..STEPS).for_each(|_| sim.step());
        sim.seen
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

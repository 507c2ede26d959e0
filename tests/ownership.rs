//! Ownership under whatever may happen to it, from a seed: two edges, three regions with two gateways each, messages that
//! come late, out of order or never, processes that crash, clocks that differ and jump, copies that lag, operators who
//! move, cancel and freeze, and in some runs do so at both edges.
//!
//! What decides is the real code: `decide`, `Owned`, `Transfer`, `choose`, `caught_up` and the gateway's `judge`. What
//! drives a transfer here mirrors `control::mover`, and what is told of it afterwards `control::crier`, with every wait a
//! point at which anything else may happen; that code itself waits for real clocks and sockets. `SEEDS=10000` runs more
//! seeds than the usual 256, `SEED=0x2a` replays one.
//!
//! A check that cannot fail proves nothing: each of the broken variants has to be caught, and by the check that is named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "simulation/chance.rs"]
#[allow(dead_code, reason = "each test file uses its own part of it")]
mod chance;
#[path = "ownership/checks.rs"]
mod checks;
#[path = "ownership/clock.rs"]
mod clock;
#[path = "ownership/crier.rs"]
mod crier;
#[path = "ownership/events.rs"]
mod events;
#[path = "ownership/flights.rs"]
mod flights;
#[path = "ownership/gates.rs"]
mod gates;
#[path = "ownership/history.rs"]
mod history;
#[path = "ownership/mover.rs"]
mod mover;
#[path = "ownership/node.rs"]
mod node;
#[path = "ownership/quiet.rs"]
mod quiet;
#[path = "ownership/region.rs"]
mod region;
#[path = "ownership/reports.rs"]
mod reports;
#[path = "harness/spec.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod spec;
#[path = "harness/table.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod table;
#[path = "ownership/world.rs"]
mod world;

use std::collections::BTreeMap;

use chance::seeds;
use world::{Broken, World};

const STEPS: usize = 800;

/// Runs one seed; what was violated, and what happened how often.
fn run(seed: u64, broken: Broken) -> (Option<String>, BTreeMap<&'static str, u64>) {
    let mut world = World::new(seed, broken);
    for _ in 0..STEPS {
        world.step();
        if let Some(violation) = world.checks.violation() {
            return (Some(violation), world.happened);
        }
    }
    let violation = world.quiet_down().or_else(|| world.checks.violation());
    let violation = violation.or_else(|| world.unlinearizable());
    (violation, world.happened)
}

/// Runs one seed, and judges it by nothing but what clients saw.
fn seen_by_clients(seed: u64, broken: Broken) -> Option<String> {
    let mut world = World::new(seed, broken);
    (0..STEPS).for_each(|_| world.step());
    world.quiet_down();
    world.unlinearizable()
}

/// Everything that has to happen for a run to prove something.
const SEEN: [&str; 40] = [
    "acknowledged",
    "given up by its edge",
    "refused stale",
    "learned from a refusal",
    "held",
    "planned",
    "unplanned",
    "switched",
    "released",
    "aborted",
    "cancelled",
    "edge crashed",
    "gateway crashed",
    "announced in vain",
    "met a fence",
    "a fence lapsed",
    "strong read",
    "learned from a read",
    "sent again",
    "held too long",
    "no gateway in its way",
    "copying stalled",
    "split brain noticed by a gateway",
    "split brain noticed by an edge",
    "refused split brain",
    "two owners to the end",
    "resolved",
    "resolved once more, as its edge was behind",
    "moved on before its release",
    "cried",
    "the crier learned",
    "met what is withheld",
    "withheld from an edge",
    "kept too late",
    "a fence lapsed while its news was kept",
    "told again",
    "a fence raised again",
    "a wall clock jumped",
    "a mark ended by itself",
    "unproven, by a wall clock",
];

#[test]
fn no_write_is_executed_at_a_region_that_does_not_own_it_and_none_is_lost_by_a_planned_move() {
    let (seeds, replayed) = seeds();
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        let (violation, more) = run(seed, Broken::Nothing);
        if let Some(violation) = violation {
            panic!("seed {seed:#x}: {violation}\nSEED={seed:#x} replays it");
        }
        more.into_iter().for_each(|(what, times)| *happened.entry(what).or_default() += times);
    }
    let missing: Vec<_> = SEEN.iter().filter(|what| !happened.contains_key(**what)).collect();
    assert!(replayed || missing.is_empty(), "nothing of this kind ever happened: {missing:?}");
}

#[test]
fn every_broken_variant_is_caught_by_the_check_that_is_there_for_it() {
    const SAFE: [&str; 3] = ["below epoch", "had not been copied", "I4"];
    for (broken, by) in [
        (Broken::NoFencing, &["I5"][..]),
        (Broken::NoFence, &SAFE),
        (Broken::NoFreeze, &SAFE),
        (Broken::EpochNotRaised, &["no write succeeds", "does not end"]),
        (Broken::NotCaughtUp, &SAFE[1..]),
        (Broken::CountedBeforeTheFreeze, &SAFE),
        (Broken::ReleasedWithoutTheOldOwnersWord, &SAFE),
        (Broken::ForgetsTheSwitchInACrash, &["epoch fell"]),
        (Broken::TellsBeforeTheRelease, &SAFE),
        (Broken::OnlyOneGatewayFenced, &SAFE),
        (Broken::BelievesThatItsFenceHeld, &SAFE),
        (Broken::DoesNotLookOnceMoreAfterKeeping, &SAFE),
        (Broken::NumberOfAFenceIsItsId, &SAFE),
        (Broken::TellsWhatIsWithheld, &SAFE),
        (Broken::WithholdsInMemoryOnly, &SAFE),
        (Broken::LooksForAFenceOnceItHasJudged, &SAFE),
        (Broken::NobodyIsToldAfterwards, &["does not hear"]),
        (Broken::LagsAreToldByASlowClock, &SAFE[1..]),
        (Broken::IgnoresASecondOwner, &["I5", "shown two owners"]),
    ] {
        let caught = (0..4_000).find_map(|seed| run(seed, broken).0.map(|violation| (seed, violation)));
        let Some((seed, violation)) = caught else { panic!("{broken:?} is caught by nothing") };
        let is_named = by.iter().any(|by| violation.contains(by));
        assert!(is_named, "{broken:?}, seed {seed:#x}: caught as {violation:?}, not by {by:?}");
    }
}

#[test]
fn clients_see_by_themselves_that_something_is_broken() {
    for broken in [
        Broken::NoFencing,
        Broken::NoFence,
        Broken::NoFreeze,
        Broken::NotCaughtUp,
        Broken::CountedBeforeTheFreeze,
        Broken::ReleasedWithoutTheOldOwnersWord,
        Broken::TellsBeforeTheRelease,
        Broken::OnlyOneGatewayFenced,
        Broken::TellsWhatIsWithheld,
        Broken::WithholdsInMemoryOnly,
    ] {
        let caught = (0..2_000).find_map(|seed| seen_by_clients(seed, broken).map(|why| (seed, why)));
        assert!(caught.is_some(), "{broken:?} is seen by no client");
    }
}

#[test]
fn a_seed_replays_its_run() {
    assert_eq!(run(7, Broken::Nothing), run(7, Broken::Nothing));
}

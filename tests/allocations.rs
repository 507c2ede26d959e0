//! A decision allocates nothing: not a local read, a session read, a write, a refusal, a placement or a retry, at 128 regions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "harness/spec.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod spec;
#[path = "harness/table.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod table;
#[path = "harness/world.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod world;

use std::collections::BTreeSet;

use rhumb_decision::health::Status;
use rhumb_decision::operated::Now;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::pin::{Pin, PinUse, Shown};
use rhumb_decision::reason::Refusal;
use rhumb_decision::repeats::{Attempted, Memory};
use rhumb_decision::table::Role;
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{
    EndpointId, Epoch, Key, MAX_REGIONS, Millis, RegionId, RegionSet, Wall, Weight, mix,
};
use rhumb_decision::{Attempt, Decision, Facts, Snapshot, decide};

use spec::{EVIDENCE, LEDGER, PLACEMENTS, POLICIES, RegionSpec, SEARCH, Spec, TenantSpec};
use world::World;

const TENANTS: usize = 1_000;

/// As many regions as a table may have, each of three cells; tenants of every policy.
fn world(unknown: Option<&'static str>) -> World {
    let name = |i: usize| format!("region-{i:03}");
    let region = |i: usize| RegionSpec {
        jurisdiction: if i.is_multiple_of(2) { "eu" } else { "us" },
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: 3,
        cells: i.is_multiple_of(3),
        gateway: i.is_multiple_of(2),
    };
    let tenant = |i: usize| TenantSpec {
        home: name(i % MAX_REGIONS),
        standby: vec![name((i + 2) % MAX_REGIONS), name((i + 4) % MAX_REGIONS)],
        replicas: vec![name((i + 6) % MAX_REGIONS)],
        residency: if i.is_multiple_of(5) { Vec::new() } else { vec![region(i % MAX_REGIONS).jurisdiction] },
        epoch: 1,
        policy: POLICIES[i % POLICIES.len()],
        state: TenantState::Active,
    };
    let spec = Spec {
        regions: (0..MAX_REGIONS).map(|i| (name(i), region(i))).collect(),
        tenants: (0..TENANTS).map(|i| (format!("tenant-{i}"), tenant(i))).collect(),
        unknown,
    };
    World::well(spec.table().unwrap())
}

/// The decision, and that nothing was allocated for it.
fn without_allocation(what: &str, facts: &Facts<'_>, snapshot: &Snapshot) -> Decision {
    let mut decided = None;
    let counted = allocation_counter::measure(|| decided = Some(decide(facts, snapshot)));
    assert_eq!(counted.count_total, 0, "{what} allocated {} bytes", counted.bytes_total);
    decided.unwrap()
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 100));
}

#[test]
fn reads_and_writes_of_every_policy_allocate_nothing() {
    let mut world = world(None);
    let moved = Ownership { owner: RegionId(9), epoch: Epoch(2), state: State::Active };
    world.moved.insert("tenant-7".into(), moved);
    let snapshot = world.snapshot();
    let (mut forwarded, mut refused) = (0, 0);
    for i in 0..TENANTS {
        let host = format!("tenant-{i}.app.example");
        let source = RegionId((i * 31 % MAX_REGIONS) as u8);
        for (method, path) in
            [("GET", "/"), ("POST", "/"), ("GET", LEDGER), ("POST", SEARCH), ("GET", EVIDENCE)]
        {
            let facts = Facts { zone: Some("zone-1"), ..Facts::new(method, &host, path, source) };
            let decision = without_allocation(&format!("{method} {path}"), &facts, &snapshot);
            forwarded += usize::from(decision.target().is_some());
            refused += usize::from(decision.refusal().is_some());
        }
    }
    assert!(forwarded > 1_000 && refused > 100, "{forwarded} went on and {refused} did not");
}

#[test]
fn session_reads_allocate_nothing() {
    let mut world = world(None);
    world.reaches("region-004", "region-002", 7);
    world.becomes("region-006", Status::Down);
    let snapshot = world.snapshot();
    let now = Now { at: Millis(9_000), wall: Wall(9_000) };
    let mut uses = BTreeSet::new();
    for i in 0..TENANTS {
        let host = format!("tenant-{i}.app.example");
        for pinned in [2, 6, 8, 200] {
            let region = Key::of(format!("region-{pinned:03}").as_bytes()).0;
            let tenant = Key::of(format!("tenant-{}", i & !1).as_bytes());
            let pins = [Pin { tenant, region, at: Wall(8_500), position: Some(7) }];
            let facts = Facts {
                pin: Some(Shown { pins: &pins, now }),
                ..Facts::new("GET", &host, "/", RegionId((i % 128) as u8))
            };
            uses.extend(without_allocation("a session read", &facts, &snapshot).pin);
        }
    }
    let kinds = [PinUse::Pinned, PinUse::Satisfied, PinUse::Owner, PinUse::Lost, PinUse::Foreign];
    assert_eq!(uses.into_iter().collect::<Vec<_>>(), kinds, "each of them was decided");
}

/// As the proxy has it, who has 64 of these.
#[test]
fn a_full_memory_of_repeated_writes_takes_less_than_400_kilobytes() {
    const MOST: usize = 1_750;
    let counted = allocation_counter::measure(|| {
        let mut memory = Memory::new(MOST, Millis(u64::MAX));
        for id in 0..3 * MOST as u64 {
            let attempted = Attempted { region: 0_u16, epoch: Epoch(7) };
            memory.record(u128::from(mix(id)) << 64 | u128::from(id), attempted, Millis(id));
        }
        assert_eq!(memory.len(), MOST);
        std::mem::forget(memory);
    });
    assert!(counted.bytes_current <= 26_000_000 / 64, "{} bytes", counted.bytes_current);
}

#[test]
fn refusals_allocate_nothing() {
    let snapshot = world(None).snapshot();
    let headers = ["tenant-1", "tenant-2"];
    let plain = |method, host| Facts::new(method, host, "/", RegionId(0));
    for (facts, refusal) in [
        (plain("TRACE", "tenant-1.app.example"), Refusal::MethodNotAllowed),
        (plain("GET", "api.example"), Refusal::TenantMissing),
        (plain("GET", "nobody.app.example"), Refusal::TenantUnknown),
        (plain("GET", "no body.app.example"), Refusal::BadRequest),
        (Facts { tenant_headers: &headers, ..plain("GET", "api.example") }, Refusal::TenantConflict),
        (plain("POST", "tenant-4.app.example"), Refusal::OwnerReadOnly),
    ] {
        let decision = without_allocation(refusal.code(), &facts, &snapshot);
        assert_eq!(decision.refusal(), Some(refusal));
    }
}

#[test]
fn placements_of_every_kind_allocate_nothing() {
    for kind in PLACEMENTS {
        let snapshot = world(Some(kind)).snapshot();
        for (i, method) in ["GET", "POST"].into_iter().enumerate() {
            let facts = Facts {
                country: Some(*b"KX"),
                hour: 7 + i as u8,
                chance: Key(i as u64),
                ..Facts::new(method, "stranger.app.example", "/", RegionId(5))
            };
            assert!(without_allocation(kind, &facts, &snapshot).target().is_some(), "{kind}");
        }
    }
}

#[test]
fn a_walk_past_every_region_allocates_nothing() {
    let mut world = world(Some("nearest"));
    for i in 0..MAX_REGIONS - 1 {
        world.becomes(&format!("region-{i:03}"), Status::Down);
    }
    let facts = Facts::new("GET", "stranger.app.example", "/", RegionId(0));
    let decision = without_allocation("a long walk", &facts, &world.snapshot());
    assert_eq!(decision.verdicts.as_slice().len(), MAX_REGIONS);
    assert_eq!(decision.target(), Some(RegionId(127)));
}

#[test]
fn drains_and_retries_allocate_nothing() {
    let mut world = world(None);
    for i in 0..MAX_REGIONS {
        world.weigh(&format!("region-{i:03}"), Weight::percent(50));
    }
    let snapshot = world.snapshot();
    let saturated: RegionSet = (0..40).map(RegionId).collect();
    let tried: Vec<Attempt> = (0..3)
        .flat_map(|e| (0..64).map(move |r| Attempt { region: RegionId(r), endpoint: EndpointId(e) }))
        .collect();
    for i in 0..TENANTS {
        let host = format!("tenant-{i}.app.example");
        for upto in [1, 2, tried.len()] {
            let facts =
                Facts { tried: &tried[..upto], saturated, ..Facts::new("GET", &host, "/", RegionId(3)) };
            without_allocation("a retry", &facts, &snapshot);
        }
    }
}

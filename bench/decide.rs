//! One decision, from a thousand tenants to a million, each time for another tenant, so that caches miss as they
//! would in front of real clients.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking; criterion's macros document nothing"
)]

#[path = "crowd.rs"]
mod crowd;
#[path = "../tests/harness/spec.rs"]
#[allow(dead_code, reason = "benches use their own part of the harness")]
mod spec;
#[path = "../tests/harness/table.rs"]
#[allow(dead_code, reason = "benches use their own part of the harness")]
mod table;
#[path = "../tests/harness/world.rs"]
#[allow(dead_code, reason = "benches use their own part of the harness")]
mod world;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rhumb_decision::units::{Key, Lot, mix};
use rhumb_decision::{Facts, decide};

use world::World;

/// As many hosts as are asked for in turn: more than caches hold rows of.
const ASKED: usize = 1 << 16;

fn decisions(criterion: &mut Criterion) {
    for count in [1_000, 100_000, 1_000_000] {
        let world = World::well(crowd::table(count, ""));
        let snapshot = world.snapshot();
        let source = world.region("eu-west-1");
        let hosts: Vec<String> = (0..ASKED as u64)
            .map(|i| format!("{}.app.example", crowd::id(mix(i + 1) as usize % count)))
            .collect();
        let mut group = criterion.benchmark_group(format!("decide/{count}"));
        for (name, method, strong) in
            [("local read", "GET", false), ("write", "POST", false), ("strong read", "GET", true)]
        {
            let mut turn = 0;
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % ASKED;
                    let facts = Facts { strong, ..Facts::new(method, &hosts[turn], "/v1/cases", source) };
                    decide(black_box(&facts), &snapshot)
                });
            });
        }
        group.bench_function("unknown tenant", |bencher| {
            let facts = Facts::new("GET", "nobody.app.example", "/v1/cases", source);
            bencher.iter(|| decide(black_box(&facts), &snapshot));
        });
        group.finish();
    }
}

fn lots(criterion: &mut Criterion) {
    let place = Key::of(b"eu-west-1").0;
    let mut key = 0;
    criterion.bench_function("lot", |bencher| {
        bencher.iter(|| {
            key += 1;
            Lot::draw(black_box(place), Key(key))
        });
    });
}

criterion_group!(benches, decisions, lots);
criterion_main!(benches);

//! One decision, from a thousand tenants to a million, or with `TEN_MILLION=1` to ten, each time for another tenant, so
//! that caches miss as they would in front of real clients.

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

/// As in `src/main.rs`: where a million tenants lie decides what finding one costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The host of one tenant after the other, in an order that no cache foresees; written in place, so that the bench
/// itself touches no memory but this.
struct Hosts {
    written: [u8; 26],
    turn: u64,
    count: u64,
}

impl Hosts {
    fn of(count: usize) -> Self {
        Self { written: *b"tenant-0000000.app.example", turn: 0, count: count as u64 }
    }

    fn next(&mut self) -> &str {
        self.turn += 1;
        let mut number = mix(self.turn) % self.count;
        for digit in self.written[7..14].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        std::str::from_utf8(&self.written).unwrap()
    }
}

fn decisions(criterion: &mut Criterion) {
    let ten = std::env::var_os("TEN_MILLION").map(|_| 10_000_000);
    for count in [1_000, 10_000, 100_000, 1_000_000].into_iter().chain(ten) {
        let world = World::well(crowd::table(count, ""));
        let snapshot = world.snapshot();
        let source = world.region("eu-west-1");
        let mut group = criterion.benchmark_group(format!("decide/{count}"));
        for (name, method, strong) in
            [("local read", "GET", false), ("write", "POST", false), ("strong read", "GET", true)]
        {
            let mut hosts = Hosts::of(count);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let facts = Facts { strong, ..Facts::new(method, hosts.next(), "/v1/cases", source) };
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
    let mut hosts = Hosts::of(1_000_000);
    criterion.bench_function("no decision: what the bench itself costs", |bencher| {
        bencher.iter(|| black_box(hosts.next()).len());
    });
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

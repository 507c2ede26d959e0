//! One plan of a region at a hundred thousand tenants and at a million.

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
use rhumb_decision::plan::{Question, plan};
use rhumb_decision::scope::Scope;
use rhumb_decision::units::Weight;

use world::World;

fn plans(criterion: &mut Criterion) {
    for count in [100_000, 1_000_000] {
        let world = World::well(crowd::table(count, ""));
        let snapshot = world.snapshot();
        let source = world.region("eu-west-1");
        let mut group = criterion.benchmark_group(format!("plan/{count}"));
        group.sample_size(10);
        for (name, to) in [("drain to 0", 0), ("drain to 50", 50), ("no change", 100)] {
            let place = Scope::region("eu-west-1").find(snapshot.table()).unwrap();
            let question = Question { source, place, to: Weight::percent(to), hour: 0 };
            group.bench_function(name, |bencher| bencher.iter(|| plan(&snapshot, black_box(&question))));
        }
        group.finish();
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);

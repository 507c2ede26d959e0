//! A million tenants: to build their table, to change one of them, to hold two tables against each other; and how
//! many bytes each takes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot go on says so by panicking, and prints what it counted; criterion documents nothing"
)]

#[path = "crowd.rs"]
mod crowd;
#[path = "../tests/harness/spec.rs"]
#[allow(dead_code, reason = "benches use their own part of the harness")]
mod spec;
#[path = "../tests/harness/table.rs"]
#[allow(dead_code, reason = "benches use their own part of the harness")]
mod table;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rhumb_decision::compare::compare;
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::Epoch;

const TENANTS: usize = 1_000_000;

fn tables(criterion: &mut Criterion) {
    let old = crowd::table(TENANTS, "1");
    let new = crowd::table(TENANTS, "2");
    let tenants = old.tenants();
    println!("bytes a tenant, of {TENANTS}: {}", tenants.heap_bytes() / tenants.len());
    let mut group = criterion.benchmark_group("table/1000000");
    group.sample_size(10);
    group.bench_function("build from rows", |bencher| bencher.iter(|| crowd::table(TENANTS, "1")));
    group.bench_function("compare", |bencher| {
        bencher.iter(|| compare(&old, &Ownerships::default(), black_box(&new)));
    });
    let mut number = 0;
    group.bench_function("change one tenant", |bencher| {
        bencher.iter(|| {
            number = (number + 7_919) % TENANTS;
            tenants.with(&crowd::id(number), Epoch(9), TenantState::Frozen).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, tables);
criterion_main!(benches);

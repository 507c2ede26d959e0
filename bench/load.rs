//! A million tenants from a CSV: read, checked, hashed and copied. Prints seconds and bytes a tenant.
//!
//! `cargo bench --bench load`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench may stop, and says what it found")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput};
use rhumb::control::document::{Document, Reading, read};

const TENANTS: usize = 1_000_000;

const TABLE: &str = r#"[tenancy]
from = [{ host = "{tenant}.app.example" }]
files = ["tenants.csv"]
[regions.eu-west-1]
jurisdiction = "eu"
endpoints = ["127.0.0.1:9101"]
[regions.eu-central-1]
jurisdiction = "eu"
endpoints = ["127.0.0.1:9102"]
[regions.us-east-1]
jurisdiction = "us"
endpoints = ["127.0.0.1:9103"]
"#;

fn rows() -> String {
    let mut csv = String::from("id,home,standby,replicas,residency,epoch\n");
    for n in 0..TENANTS {
        let rest = match n % 3 {
            0 => "eu-west-1,eu-central-1,,eu,7",
            1 => "us-east-1,,eu-west-1 eu-central-1,,1",
            _ => "eu-central-1,eu-west-1,,eu,3",
        };
        writeln!(csv, "tenant-{n:07},{rest}").unwrap();
    }
    csv
}

/// So many rows in TOML itself, which is for dozens.
const IN_TOML: usize = 10_000;

fn in_toml() -> String {
    let rows = (0..IN_TOML)
        .map(|n| format!("tenant-{n:07} = {{ home = \"us-east-1\", replicas = [\"eu-west-1\"] }}\n"));
    let table = TABLE.replace("files = [\"tenants.csv\"]\n", "");
    format!("{table}[tenants]\n{}", rows.collect::<String>())
}

fn table(folder: &Path, copy_to: Option<&Path>) -> Document {
    let path = folder.join("routing.toml");
    let reading = Reading { path: &path, edge_region: "eu-west-1", copy_to };
    read(&reading).map_err(|unreadable| unreadable.problems).unwrap()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("routing.toml"), TABLE).unwrap();
    std::fs::write(folder.path().join("tenants.csv"), rows()).unwrap();
    let tenants = table(folder.path(), None).table.tenants().clone();
    println!("{} bytes a tenant", tenants.heap_bytes() / tenants.len());

    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("a million rows");
    group.throughput(Throughput::Elements(TENANTS as u64));
    group.bench_function("read", |b| b.iter(|| black_box(table(folder.path(), None).hash)));
    group.bench_function("read and copied", |b| {
        let copies = || tempfile::tempdir_in(folder.path()).unwrap();
        b.iter_batched(
            copies,
            |copy| {
                let document = table(folder.path(), Some(copy.path()));
                assert_eq!(document.not_kept, None);
                (document, copy)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let small = tempfile::tempdir().unwrap();
    std::fs::write(small.path().join("routing.toml"), in_toml()).unwrap();
    criterion.bench_function("ten thousand rows in TOML, read", |b| {
        b.iter(|| black_box(table(small.path(), None).hash));
    });
    criterion.final_summary();
}

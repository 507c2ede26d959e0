//! What is done to every head on its way, piece by piece; and how what is in force changes hands.
//!
//! `cargo bench --bench head`. Against an earlier state of the sources: `-- --save-baseline before` there, and
//! `-- --baseline before` here.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench that cannot go on says so by panicking; criterion's macros document nothing"
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use rhumb::control::document::{Reading, read};
use rhumb::control::live::Live;
use rhumb::control::snapshot::{Current, Operators, channel};
use rhumb::proxy::gate::{EncodedSlash, GateLimits, check};
use rhumb::proxy::headers::forward::{Scheme, client_address, forwarded, forwarded_for};
use rhumb::proxy::headers::trace::{RequestId, TraceParent};
use rhumb::proxy::headers::via::{check_loop, via};
use rhumb::proxy::headers::{StripRules, response_leftovers, strip_request};
use rhumb_decision::health::HealthView;
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::table::Table;
use rhumb_decision::units::Generation;
use rhumb_decision::{Snapshot, Weights};

/// The defaults of `[limits]`.
const LIMITS: GateLimits = GateLimits {
    header_bytes: 32 << 10,
    header_count: 100,
    uri_bytes: 8 << 10,
    body_bytes: 1 << 30,
    encoded_slash: EncodedSlash::Refuse,
};

/// As a client's library sends it.
const SMALL: &str = "POST /v1/cases/4711 HTTP/1.1\r\nHost: acme.app.example\r\nUser-Agent: client/1\r\nAccept: */*\r\n\
    Content-Type: application/json\r\nContent-Length: 27\r\n\r\n";

/// As a browser does, with a cookie.
fn browser() -> String {
    let cookie = "x".repeat(600);
    format!(
        "GET /v1/cases?page=2&sort=name HTTP/1.1\r\nHost: acme.app.example\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"142\", \"Not A;Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
         Referer: https://acme.app.example/v1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: sid={cookie}\r\n\r\n"
    )
}

fn gate(criterion: &mut Criterion) {
    let browser = browser();
    let mut group = criterion.benchmark_group("gate");
    for (name, head) in [("a small head", SMALL), ("a browser's head", &browser)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| check(black_box(head.as_bytes()), &LIMITS).unwrap().bytes);
        });
    }
    group.finish();
}

fn fields(head: &str) -> HeaderMap {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn headers(criterion: &mut Criterion) {
    let (small, browser) = (fields(SMALL), fields(&browser()));
    let mut spoofed = small.clone();
    spoofed.insert("x-owner-region", HeaderValue::from_static("nowhere"));
    spoofed.insert("x_owner_epoch", HeaderValue::from_static("9999"));
    let rules = StripRules::default();
    let mut group = criterion.benchmark_group("headers");
    for (name, headers) in
        [("strip nothing", &small), ("strip nothing, browser", &browser), ("strip two", &spoofed)]
    {
        group.bench_function(name, |bencher| {
            let own = || headers.clone();
            bencher.iter_batched_ref(
                own,
                |headers| strip_request(headers, &rules).is_empty(),
                BatchSize::SmallInput,
            );
        });
    }
    let peer: IpAddr = [192, 0, 2, 7].into();
    group.bench_function("set X-Forwarded-For, Forwarded and Via", |bencher| {
        bencher.iter(|| {
            let client = client_address(black_box(peer), std::iter::empty(), |_| false);
            check_loop(std::iter::empty(), std::iter::empty(), "edge-1").unwrap();
            let mut text = String::with_capacity(128);
            forwarded_for(peer, std::iter::empty(), false, &mut text);
            forwarded(client, "acme.app.example", Scheme::Https, &mut text);
            (text, via(std::iter::empty(), false, "edge-1"))
        });
    });
    group.bench_function("set X-Request-ID and traceparent", |bencher| {
        let mut drawn = 0;
        bencher.iter(|| {
            drawn += 1;
            (
                RequestId::kept_or_made(None, black_box(drawn)),
                TraceParent::begun(drawn, drawn as u64, false).to_string(),
            )
        });
    });
    let answer =
        fields("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 31\nDate: x\nServer: y\n");
    group.bench_function("look through an answer", |bencher| {
        bencher.iter(|| response_leftovers(black_box(&answer)))
    });
    group.finish();
}

const TABLE: &str = r#"[tenancy]
from = [{ host = "{tenant}.app.example" }]
files = ["tenants.csv"]
[regions.eu-west-1]
jurisdiction = "eu"
endpoints = ["127.0.0.1:9101"]
[regions.us-east-1]
jurisdiction = "us"
endpoints = ["127.0.0.1:9103"]
"#;

fn table(folder: &Path, tenants: usize) -> Arc<Table> {
    let rows: String = (0..tenants).map(|number| format!("tenant-{number},eu-west-1\n")).collect();
    std::fs::write(folder.join("tenants.csv"), format!("id,home\n{rows}")).unwrap();
    let path = folder.join("routing.toml");
    std::fs::write(&path, TABLE).unwrap();
    let reading = Reading { path: &path, edge_region: "eu-west-1", copy_to: None };
    Arc::new(read(&reading).map_err(|unreadable| unreadable.problems).unwrap().table)
}

fn current(table: &Arc<Table>, generation: u64) -> Current {
    let snapshot = Snapshot::new(
        Generation(generation),
        Arc::clone(table),
        HealthView::default(),
        Ownerships::default(),
        Weights::configured(table),
    );
    Current { snapshot, live: Live::default(), origin: Arc::default(), operators: Operators::default() }
}

fn snapshots(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), 1_000_000);
    let (mut publisher, reader) = channel(current(&table, 1));
    let mut group = criterion.benchmark_group("snapshot");
    group.bench_function("taken, as each request does", |bencher| bencher.iter(|| reader.current()));
    let mut generation = 1;
    group.bench_function("made and published, a million tenants", |bencher| {
        bencher.iter(|| {
            generation += 1;
            publisher.publish(current(&table, generation));
        });
    });
    group.finish();
}

criterion_group!(benches, gate, headers, snapshots);
criterion_main!(benches);

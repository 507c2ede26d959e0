//! Every row with bytes, on a connection of its own and behind good requests on kept ones.
//!
//! `ROW=SM-01` in the environment sends that row alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::{Leave, exchange};
use super::harness::metrics::Metrics;
use super::judge::judge;
use super::rows::{Expectation, Is, Row, corpus, expectations, own};
use super::world::{Before, World};

/// Edges that rows are spread over.
const EDGES: usize = 3;

/// Kibibytes that an edge may have grown by over all its rows: what its allocator keeps, and no more.
const GROWTH: i64 = 24 * 1024;

/// Where a row stands on its connection. The first request there is good, and has to be answered in any case.
const PLACES: [(&str, &[u8]); 3] = [
    ("alone", b""),
    ("behind a GET", b"GET /prefix/ HTTP/1.1\r\nHost: t1.example.test\r\n\r\n"),
    (
        "behind chunks",
        b"POST /prefix/ HTTP/1.1\r\nHost: t1.example.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
];

/// A row with bytes.
type Case = (Row, Vec<u8>);

/// Rows, and how often they were sent and passed, of a class.
#[derive(Default, Clone, Copy)]
struct Tally {
    rows: u32,
    sent: u32,
    passed: u32,
}

/// What came of the rows of one edge.
#[derive(Default)]
struct Report {
    tallies: BTreeMap<String, Tally>,
    failures: Vec<String>,
    growth: i64,
    asked: u64,
}

#[test]
fn every_row_with_bytes_has_the_outcome_that_it_must_have_and_leaves_no_trace() {
    let only = std::env::var("ROW").ok();
    let rows =
        corpus().into_iter().chain(own()).filter(|row| only.as_ref().is_none_or(|only| *only == row.id));
    let cases: Vec<Case> = rows.filter_map(|row| row.raw().map(|raw| (row, raw))).collect();
    let expected = expectations();
    let unjudged: Vec<_> =
        cases.iter().map(|(row, _)| &row.id).filter(|id| !expected.contains_key(*id)).collect();
    assert!(unjudged.is_empty(), "expectations.toml does not name {unjudged:?}");
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let edges = (0..EDGES).map(|edge| {
            let cases: Vec<_> = cases.iter().skip(edge).step_by(EDGES).collect();
            let expected = &expected;
            scope.spawn(move || replay(&cases, expected))
        });
        edges.collect::<Vec<_>>().into_iter().map(|edge| edge.join().unwrap()).collect()
    });
    print(&reports);
    let failures: Vec<_> = reports.iter().flat_map(|report| &report.failures).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Sends rows to an edge of their own, one after another.
fn replay(cases: &[&Case], expected: &BTreeMap<String, Expectation>) -> Report {
    let mut world = World::start();
    let mut report = Report::default();
    for (row, raw) in cases {
        let wanted = &expected[&row.id];
        let places = if wanted.is == Is::Admin { &PLACES[..1] } else { &PLACES[..] };
        let tally = report.tallies.entry(row.class().to_owned()).or_default();
        tally.rows += 1;
        for (place, prefix) in places {
            tally.sent += 1;
            match send(&mut world, wanted, raw, prefix) {
                Ok(()) => tally.passed += 1,
                Err(why) => {
                    let told = format!("{} ({place}, {}; must: {})\n    {why}", row.id, row.desc, row.must);
                    report.failures.push(told);
                }
            }
        }
    }
    (report.growth, report.asked) = world.summary();
    if report.growth > GROWTH {
        report.failures.push(format!("an edge grew by {} KiB", report.growth));
    }
    let folder = world.stop();
    let log = std::fs::read_to_string(folder.file("access.log")).unwrap();
    report.failures.extend(records(&log).err());
    report
}

fn send(world: &mut World, row: &Expectation, raw: &[u8], prefix: &[u8]) -> Result<(), String> {
    let (edge, admin) = world.addresses();
    let before = world.before();
    let method = raw.strip_prefix(b"HEAD ").map_or("GET", |_| "HEAD");
    let first = usize::from(!prefix.is_empty());
    let leave = match row {
        Expectation { fin: true, .. } => Leave::AtOnce,
        Expectation { is: Is::Refused | Is::Aborted, .. } | Expectation { closes: true, .. } => Leave::Never,
        _ => Leave::After(1 + first),
    };
    let heard = if row.is == Is::Admin {
        let local = admin.to_string();
        exchange(admin, &replaced(raw, b"127.0.0.1:9900", local.as_bytes()), &[method], leave)
    } else {
        exchange(edge, &[prefix, raw].concat(), &["GET", method][1 - first..], leave)
    };
    let sound = world.sound();
    let reached = world.reached(&before);
    // Waited for in any case: otherwise the next row would find it. It is written once all is counted.
    let record = (row.is != Is::Admin).then(|| world.record(&before));
    let after = world.edge.metrics();
    judge(row, &heard, first, &reached)?;
    sound?;
    counted(world, row, &before, &after)?;
    record.map_or_else(|| unchanged(world, &before), |record| logged(row, &record?))
}

/// The record of a row says what came of it.
fn logged(row: &Expectation, record: &Value) -> Result<(), String> {
    if record["refusal"].as_str() != row.reason.as_deref() {
        return Err(format!("the record says refusal {}: {record}", record["refusal"]));
    }
    if row.operation.is_some() && record["operation"].as_str() != row.operation.as_deref() {
        return Err(format!("the record says operation {}: {record}", record["operation"]));
    }
    match row.logged.iter().find(|(key, value)| record[key.as_str()] != **value) {
        Some((key, value)) => {
            Err(format!("the record says {key} {}, not {value}: {record}", record[key.as_str()]))
        }
        None => Ok(()),
    }
}

/// What the administration was told has changed nothing, and the token is written nowhere.
fn unchanged(world: &World, before: &Before) -> Result<(), String> {
    if world.table() != before.table {
        return Err(format!("the table was {}, and is {}", before.table, world.table()));
    }
    match (world.edge.log() + &world.access_log()).contains("token=") {
        true => Err("the token is in a log".to_owned()),
        false => Ok(()),
    }
}

/// Each refusal is counted once, by its cause and by its reason; nothing else is.
fn counted(world: &World, row: &Expectation, before: &Before, after: &Metrics) -> Result<(), String> {
    if row.is == Is::Admin {
        return Ok(());
    }
    let grown = |name: &str, labels: &[(&str, &str)]| world.grown(before, after, name, labels);
    let all = grown("rhumb_parse_errors_total", &[]);
    let wanted = f64::from(u8::from(row.cause.is_some()));
    if all != wanted {
        return Err(format!("parse errors grew by {all}, not by {wanted}"));
    }
    if let Some(cause) = &row.cause {
        let this = grown("rhumb_parse_errors_total", &[("cause", cause)]);
        if this != 1.0 {
            let names =
                after.names().into_iter().filter_map(|name| name.strip_prefix("rhumb_parse_errors_total"));
            let others: Vec<_> =
                names.filter(|labels| grown("rhumb_parse_errors_total", &[label(labels)]) > 0.0).collect();
            return Err(format!("parse errors grew by {this} for {cause:?}, but for {others:?}"));
        }
    }
    for (header, times) in &row.spoofed {
        let this = grown("rhumb_spoofed_headers_total", &[("header", header)]);
        if this != f64::from(*times) {
            return Err(format!("spoofed {header} grew by {this}, not by {times}"));
        }
    }
    let (all, named) = (grown("rhumb_spoofed_headers_total", &[]), row.spoofed.values().sum::<u32>());
    if row.is == Is::Forwarded && all != f64::from(named) {
        return Err(format!("spoofed headers grew by {all}, not by {named}"));
    }
    let all = grown("rhumb_refusals_total", &[]);
    let wanted = f64::from(u8::from(row.reason.is_some()));
    if all != wanted {
        return Err(format!("refusals grew by {all}, not by {wanted}"));
    }
    if let Some(reason) = &row.reason {
        let this = grown("rhumb_refusals_total", &[("reason", reason)]);
        if this != 1.0 {
            return Err(format!("refusals with reason {reason:?} grew by {this}"));
        }
    }
    Ok(())
}

/// The label in `{name="value"}`.
fn label(text: &str) -> (&str, &str) {
    let (name, value) = text.trim_matches(['{', '}']).split_once('=').unwrap();
    (name, value.trim_matches('"'))
}

/// Every line of the access log is one record with the keys that there are, and no others.
fn records(log: &str) -> Result<(), String> {
    const KEYS: [&str; 27] = [
        "time",
        "request_id",
        "trace_id",
        "client",
        "client_identity",
        "edge",
        "method",
        "host",
        "path",
        "tenant",
        "operation",
        "route",
        "policy",
        "source_region",
        "owner_region",
        "epoch",
        "target_region",
        "endpoint",
        "failover_reason",
        "refusal",
        "attempts",
        "status",
        "request_bytes",
        "response_bytes",
        "duration_ms",
        "region_ms",
        "generation",
    ];
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).map_err(|e| format!("{e} in the record {line}"))?;
        let record = record.as_object().ok_or(format!("no record: {line}"))?;
        if let Some(strange) = record.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("{strange:?} in the record {line}"));
        }
    }
    Ok(())
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let Some(at) = bytes.windows(old.len()).position(|part| part == old) else { return bytes.to_vec() };
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

fn print(reports: &[Report]) {
    let mut tallies = BTreeMap::<&str, Tally>::new();
    for (class, tally) in reports.iter().flat_map(|report| &report.tallies) {
        for class in [class.as_str(), "all"] {
            let sum = tallies.entry(class).or_default();
            *sum = Tally {
                rows: sum.rows + tally.rows,
                sent: sum.sent + tally.sent,
                passed: sum.passed + tally.passed,
            };
        }
    }
    println!("class  rows  sent  passed");
    for (class, Tally { rows, sent, passed }) in tallies {
        println!("{class:<5} {rows:>5} {sent:>5} {passed:>7}");
    }
    for Report { growth, asked, .. } in reports {
        println!("an edge's resident memory grew by {growth} KiB; its victim asked {asked} times");
    }
}

//! Every row with bytes, on a connection of its own and behind a good request on a kept one.

use std::collections::BTreeMap;
use std::sync::Mutex;

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

/// Rows passed and replayed, of a class.
#[derive(Default, Clone, Copy)]
struct Tally {
    rows: u32,
    sent: u32,
    passed: u32,
}

#[test]
fn every_row_with_bytes_has_the_outcome_that_it_must_have_and_leaves_no_trace() {
    let rows: Vec<(Row, Vec<u8>)> = corpus()
        .into_iter()
        .chain(own())
        .filter_map(|row| Some((row.raw()?, row)))
        .map(|(a, b)| (b, a))
        .collect();
    let expected = expectations();
    let unjudged: Vec<_> =
        rows.iter().map(|(row, _)| &row.id).filter(|id| !expected.contains_key(*id)).collect();
    assert!(unjudged.is_empty(), "expectations.toml does not name {unjudged:?}");
    let only = std::env::var("ROW").ok();
    let tallies = Mutex::new(BTreeMap::<String, Tally>::new());
    let failures = Mutex::new(Vec::new());
    let notes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for edge in 0..EDGES {
            let (rows, expected, only) = (&rows, &expected, &only);
            let (tallies, failures, notes) = (&tallies, &failures, &notes);
            scope.spawn(move || {
                let mut world = World::start();
                for (row, raw) in rows.iter().skip(edge).step_by(EDGES) {
                    if only.as_ref().is_some_and(|only| *only != row.id) {
                        continue;
                    }
                    let row_expected = &expected[&row.id];
                    let outcomes =
                        sends(row_expected).map(|kept| (kept, send(&mut world, row_expected, raw, kept)));
                    let mut tallies = tallies.lock().unwrap();
                    let tally = tallies.entry(row.class().to_owned()).or_default();
                    tally.rows += 1;
                    for (kept, outcome) in outcomes {
                        tally.sent += 1;
                        match outcome {
                            Ok(()) => tally.passed += 1,
                            Err(why) => {
                                let place = if kept { "kept" } else { "fresh" };
                                let told = format!(
                                    "{} ({place}, {}; must: {})\n    {why}",
                                    row.id, row.desc, row.must
                                );
                                failures.lock().unwrap().push(told);
                            }
                        }
                    }
                }
                let (growth, asked) = world.summary();
                notes.lock().unwrap().push(format!(
                    "edge {edge}: resident memory grew by {growth} KiB; its victim asked {asked} times"
                ));
                if growth > GROWTH {
                    failures.lock().unwrap().push(format!("edge {edge} grew by {growth} KiB"));
                }
                let folder = world.stop();
                let log = std::fs::read_to_string(folder.file("access.log")).unwrap();
                failures.lock().unwrap().extend(records(&log).err());
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    print(&tallies.into_inner().unwrap());
    notes.into_inner().unwrap().iter().for_each(|note| println!("{note}"));
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// In which places a row is sent: on a connection of its own, and behind a good request.
fn sends(row: &Expectation) -> impl Iterator<Item = bool> + use<> {
    let places: &[bool] = if row.is == Is::Admin { &[false] } else { &[false, true] };
    places.iter().copied()
}

fn send(world: &mut World, row: &Expectation, raw: &[u8], kept: bool) -> Result<(), String> {
    let (edge, admin) = world.addresses();
    let before = world.before();
    let method = raw.strip_prefix(b"HEAD ").map_or("GET", |_| "HEAD");
    let leave = match row {
        Expectation { fin: true, .. } => Leave::AtOnce,
        Expectation { is: Is::Refused | Is::Aborted, .. } | Expectation { closes: true, .. } => Leave::Never,
        _ => Leave::After(1 + usize::from(kept)),
    };
    let heard = if row.is == Is::Admin {
        let local = admin.to_string();
        exchange(admin, &replaced(raw, b"127.0.0.1:9900", local.as_bytes()), &[method], leave)
    } else if kept {
        let prefix = b"GET /prefix/ HTTP/1.1\r\nHost: t1.example.test\r\n\r\n";
        exchange(edge, &[&prefix[..], raw].concat(), &["GET", method], leave)
    } else {
        exchange(edge, raw, &[method], leave)
    };
    let sound = world.sound();
    let reached = world.reached(&before);
    let after = world.edge.metrics();
    judge(row, &heard, usize::from(kept), &reached)?;
    sound?;
    counted(world, row, &before, &after)?;
    if row.is == Is::Admin { unchanged(world, &before) } else { logged(row, &world.record(&before)?) }
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
    const KEYS: [&str; 25] = [
        "time",
        "request_id",
        "trace_id",
        "client",
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

fn print(tallies: &BTreeMap<String, Tally>) {
    println!("class  rows  sent  passed");
    let mut all = Tally::default();
    for (class, tally) in tallies {
        println!("{class:<5} {:>5} {:>5} {:>7}", tally.rows, tally.sent, tally.passed);
        all = Tally {
            rows: all.rows + tally.rows,
            sent: all.sent + tally.sent,
            passed: all.passed + tally.passed,
        };
    }
    println!("{:<5} {:>5} {:>5} {:>7}", "all", all.rows, all.sent, all.passed);
}

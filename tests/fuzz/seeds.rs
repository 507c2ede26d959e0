//! The fuzz targets' oracles over what is at hand: the seeds beside this file, among them each input that fuzzing has
//! found a fault with, the attack cases, and the sample files of `conf/`. No fuzzer is needed for it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by ending")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};

#[path = "oracles/mod.rs"]
mod oracles;

/// The committed seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// Judges every input, so that one that breaks a law does not hide another. Both outcomes must be among them: else the
/// laws of one were never asked.
fn judge(check: fn(&[u8]) -> bool, inputs: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let (mut taken, mut refused, mut broken) = (0, 0, Vec::new());
    for (name, bytes) in inputs {
        match catch_unwind(|| check(&bytes)) {
            Ok(true) => taken += 1,
            Ok(false) => refused += 1,
            Err(_) => broken.push(name),
        }
    }
    assert!(broken.is_empty(), "a law is broken by {broken:?}");
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

/// The attack cases that are bytes.
fn cases() -> Vec<(String, Vec<u8>)> {
    let rows = include_str!("../hostile/cases.jsonl").lines();
    let rows = rows.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rows.filter_map(|row| {
        let raw = BASE64_STANDARD.decode(row.get("raw_b64")?.as_str()?).unwrap();
        Some((row["id"].as_str().unwrap().to_owned(), raw))
    })
    .collect()
}

#[test]
fn gate() {
    judge(oracles::gate::check, seeds("gate").into_iter().chain(cases()));
}

#[test]
fn target() {
    let targets = cases().into_iter().flat_map(|(id, raw)| {
        let target = raw.split(|&byte| byte == b' ').nth(1).unwrap_or_default().to_vec();
        (0..4_u8).map(move |first| (id.clone(), [&[first], &target[..]].concat()))
    });
    judge(oracles::target::check, seeds("target").into_iter().chain(targets));
}

#[test]
fn table() {
    let sample = ("conf/routing.toml".to_owned(), include_bytes!("../../conf/routing.toml").to_vec());
    judge(oracles::table::check, seeds("table").into_iter().chain([sample]));
}

#[test]
fn tenants() {
    judge(oracles::tenants::check, seeds("tenants"));
}

#[test]
fn report() {
    judge(oracles::report::check, seeds("report"));
}

#[test]
fn preamble() {
    judge(oracles::preamble::check, seeds("preamble"));
}

#[test]
fn pin() {
    judge(oracles::pin::check, seeds("pin"));
}

#[test]
fn chunks() {
    let bodies = cases().into_iter().filter_map(|(id, raw)| {
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        Some((id, [&[3], &raw[end..]].concat()))
    });
    judge(oracles::chunks::check, seeds("chunks").into_iter().chain(bodies));
}

//! Every row of the corpus is replayed, scripted in tests that exist, or left out with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::rows::{Is, corpus, expectations, own};

/// What `outcomes.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcomes {
    /// Rows without bytes, and rows whose bytes are not all of it: the tests that play them, `file::test`.
    scripted: BTreeMap<String, Vec<String>>,
    /// Rows that are judged otherwise than the corpus says, with the reason.
    differs: BTreeMap<String, String>,
    /// Rows about what is not built, with what is missing.
    not_built: BTreeMap<String, String>,
}

fn outcomes() -> Outcomes {
    toml::from_str(include_str!("outcomes.toml")).unwrap()
}

#[test]
fn every_row_is_replayed_or_scripted_or_left_out_with_a_reason() {
    let (outcomes, expected) = (outcomes(), expectations());
    let rows = corpus();
    assert_eq!(rows.len(), 263);
    let mut missing = Vec::new();
    for row in &rows {
        let replayed = row.raw().is_some() && expected.contains_key(&row.id);
        let scripted = outcomes.scripted.contains_key(&row.id);
        let left_out = outcomes.not_built.contains_key(&row.id);
        if !replayed && !scripted && !left_out {
            missing.push(format!("{}: {}", row.id, row.desc));
        }
        assert!(!(scripted && left_out), "{} is both scripted and not built", row.id);
    }
    let replayed = rows.iter().filter(|row| row.raw().is_some()).count();
    let (scripted, left_out) = (outcomes.scripted.len(), outcomes.not_built.len());
    println!("{} rows: {replayed} replayed, {scripted} scripted, {left_out} not built", rows.len());
    assert!(missing.is_empty(), "{} rows are nobody's:\n{}", missing.len(), missing.join("\n"));
    let known: BTreeSet<_> = rows.iter().chain(&own()).map(|row| row.id.clone()).collect();
    let named = outcomes.scripted.keys().chain(outcomes.differs.keys()).chain(outcomes.not_built.keys());
    for id in named.chain(expected.keys()) {
        assert!(known.contains(id), "there is no row {id}");
    }
}

#[test]
fn a_row_that_is_judged_otherwise_than_the_corpus_says_has_a_reason() {
    let (outcomes, expected) = (outcomes(), expectations());
    for row in corpus() {
        let Some(wanted) = expected.get(&row.id) else { continue };
        let must = row.must.as_str();
        let plain = !must.contains(" or ") && !must.contains("preferred");
        let as_it_must = match must.split([' ', ',', ':', ';']).next().unwrap() {
            // Where only the tenant is in doubt and the framing is sound, the connection may stay open.
            "R4" if row.class() == "TN" => wanted.is != Is::Forwarded || !plain,
            "R4" if plain => wanted.is == Is::Refused,
            "R4" => matches!(wanted.is, Is::Refused | Is::Forwarded),
            // Refusing before anything was forwarded is right too.
            "ABRT" => matches!(wanted.is, Is::Aborted | Is::Refused),
            "ST" => {
                wanted.is == Is::Forwarded
                    && (wanted.spoofed.len() + wanted.absent.len() + wanted.lacks.len() > 0)
            }
            _ => true,
        };
        let told = outcomes.differs.contains_key(&row.id);
        assert!(as_it_must || told, "{} must be {must}, and is {:?} without a reason", row.id, wanted.is);
    }
    for (id, reason) in outcomes.differs.iter().chain(&outcomes.not_built) {
        assert!(reason.len() > 20, "{id}: {reason:?} is no reason");
    }
}

#[test]
fn every_test_that_is_said_to_play_a_row_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (id, tests) in outcomes().scripted {
        assert!(!tests.is_empty(), "{id} names no test");
        for test in tests {
            let (file, name) =
                test.split_once("::").unwrap_or_else(|| panic!("{id}: {test:?} is not file::test"));
            let source =
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{id}: {file}: {e}"));
            let declared = format!("fn {name}(");
            let at = source.find(&declared).unwrap_or_else(|| panic!("{id}: {file} has no {name}"));
            let before = source[..at].trim_end().trim_end_matches("async").trim_end();
            let before: Vec<_> = before.lines().rev().take(4).collect();
            assert!(before.iter().any(|line| line.contains("test]")), "{id}: {name} in {file} is no test");
        }
    }
}

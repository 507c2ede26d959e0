//! Every decision case of `tests/cases`, through one check function.
//!
//! A case is data: one sentence, a world, a request, and what is expected of the decision. What a case does not
//! mention is the table's own, and a target without a `failover` expects none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "decisions/case.rs"]
mod case;
#[path = "decisions/precedence.rs"]
mod precedence;
#[path = "harness/table.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod table;
#[path = "harness/world.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use case::{Case, CaseFile};

#[test]
fn every_case_decides_as_it_says() {
    let mut wrong = Vec::new();
    for (file, case) in cases() {
        let differences = case.differences();
        if !differences.is_empty() {
            let place = file.strip_prefix(folder()).unwrap_or(&file).display();
            wrong.push(format!("\n{place}: {}\n{}", case.say, differences.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} cases decide otherwise\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_rule_has_a_folder_of_cases() {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    for (file, _) in cases() {
        let rule = file.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        *rules.entry(rule).or_default() += 1;
    }
    let named = [
        "cells",
        "consistency",
        "data_classes",
        "failover",
        "frozen",
        "near",
        "operations",
        "ownership",
        "pins",
        "placements",
        "reads",
        "refusals",
        "replicas",
        "residency",
        "retries",
        "roles",
        "routes",
        "saturation",
        "sticky",
        "tenancy",
        "topologies",
        "weights",
        "writes",
        "zones",
    ];
    assert_eq!(rules.keys().collect::<Vec<_>>(), named);
    let all: usize = rules.values().sum();
    assert!(all >= 140, "{all} cases are fewer than the 140 that were promised");
}

#[test]
fn no_two_cases_say_the_same() {
    let mut said: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (file, case) in cases() {
        if let Some(other) = said.insert(case.say.clone(), file.clone()) {
            panic!("{:?} is said in {} and in {}", case.say, other.display(), file.display());
        }
    }
}

#[test]
fn a_case_that_expects_otherwise_is_told_with_what_was_decided() {
    let wrong = r#"
        [[case]]
        say = "a read of acme goes to us-east-1 under epoch 8"
        expect = { target = "us-east-1", epoch = 8, verdicts = { eu-west-1 = "drained" } }
    "#;
    let case = only_case(wrong);
    let told = case.differences().join("\n");
    for part in ["us-east-1", "eu-west-1", "drained", "chosen", "epoch", "8", "7"] {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
    let right = "[[case]]\nsay = \"x\"\nexpect = { target = \"eu-west-1\", epoch = 7 }";
    assert!(only_case(right).differences().is_empty());
}

fn only_case(text: &str) -> Case {
    toml::from_str::<CaseFile>(text).unwrap().cases().next().unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

/// Every case with the file that it stands in.
fn cases() -> impl Iterator<Item = (PathBuf, Case)> {
    files().into_iter().flat_map(|file| {
        let text = std::fs::read_to_string(&file).unwrap();
        let read: CaseFile =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        read.cases().map(move |case| (file.clone(), case)).collect::<Vec<_>>()
    })
}

fn files() -> Vec<PathBuf> {
    let entries = |of: &Path| {
        let mut paths: Vec<_> = std::fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let rules = entries(&folder()).into_iter().filter(|path| !path.ends_with("tables"));
    rules.flat_map(|rule| entries(&rule)).collect()
}

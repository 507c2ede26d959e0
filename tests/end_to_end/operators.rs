//! Operators move traffic by command, know beforehand what happens, and take it back.

use serde_json::Value;

use crate::harness::{Edge, Ran, Routing, Toy, edge, eventually, lab, rhumb};

const WHY: [&str; 2] = ["--reason", "disk"];

fn world() -> ((Toy, Toy, Toy), Edge) {
    let (eu, us, ap) = lab();
    let routing =
        Routing::of(&[&eu, &us, &ap]).tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    let edge = edge(&routing).start();
    ((eu, us, ap), edge)
}

fn reader(edge: &Edge) -> String {
    edge.get("acme.app.example", "/").region()
}

fn does(edge: &Edge, words: &[&str], code: i32) -> Ran {
    let ran = edge.rhumb(&[words, &WHY].concat());
    assert_eq!(ran.code, Some(code), "{words:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_region_is_drained_by_its_plan_waited_for_and_undrained() {
    let (_regions, edge) = world();
    assert_eq!(reader(&edge), "eu-west-1");
    let plan = edge.rhumb(&["plan", "drain", "eu-west-1", "--to", "0", "-o", "json"]).json();
    assert_eq!(
        (plan["tenants_moving"].as_u64(), plan["destinations"][0]["region"].as_str()),
        (Some(1), Some("us-east-1"))
    );
    let id = plan["id"].as_str().unwrap();
    does(&edge, &["drain", "eu-west-1", "--to", "0", "--plan", id, "--dry-run"], 0);
    assert_eq!(reader(&edge), "eu-west-1", "a dry run changes nothing");
    let ran = does(&edge, &["drain", "eu-west-1", "--to", "0", "--over", "1s", "--plan", id, "--wait"], 0);
    assert!(ran.stdout.contains("100 %, weight 0, done"), "{}", ran.stdout);
    assert_eq!(reader(&edge), "us-east-1");
    let stale = does(&edge, &["drain", "eu-west-1", "--to", "50", "--plan", id], 1);
    assert!(stale.stderr.contains("--plan "), "{}", stale.stderr);
    let status = edge.rhumb(&["status"]).stdout;
    assert!(status.contains("0 (configured 100, operator 0)"), "{status}");
    does(&edge, &["undrain", "eu-west-1", "--wait"], 0);
    assert_eq!(reader(&edge), "eu-west-1");
    assert!(does(&edge, &["undrain", "eu-west-1"], 1).stderr.contains("no drain of eu-west-1"));
}

#[test]
fn a_broken_rule_refuses_until_it_is_overridden_and_the_audit_says_so() {
    let (_regions, edge) = world();
    does(&edge, &["weight", "us-east-1", "0"], 0);
    let refused = does(&edge, &["drain", "eu-west-1", "--to", "0"], 1);
    let remedy = refused.stderr.lines().last().unwrap().to_owned();
    assert!(remedy.contains("--override last_region_of_residency"), "{}", refused.stderr);
    assert_eq!(reader(&edge), "eu-west-1");
    let rule = ["--override", "last_region_of_residency"];
    does(&edge, &[&["drain", "eu-west-1", "--to", "0"][..], &rule].concat(), 0);
    let audit = edge.rhumb(&["audit", "-o", "json", "--region", "eu-west-1"]).stdout;
    let entries: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let overridden = entries.iter().any(|entry| entry["after"]["override"][0] == "last_region_of_residency");
    assert!(overridden, "{audit}");
}

#[test]
fn a_weight_outlives_a_kill_ends_by_itself_and_can_be_verified_without_an_edge() {
    let (_regions, mut first) = world();
    does(&first, &["weight", "eu-west-1", "0"], 0);
    let edge = first.kill_and_start_again();
    assert_eq!(reader(&edge), "us-east-1");
    let hint = does(&edge, &["undrain", "eu-west-1"], 1);
    assert!(hint.stderr.contains("rhumb weight eu-west-1 --clear"), "{}", hint.stderr);
    does(&edge, &["weight", "eu-west-1", "0", "--expires-in", "500ms"], 0);
    eventually("the configured weight is back", || reader(&edge) == "eu-west-1");
    let expired = || edge.rhumb(&["audit", "--action", "expired", "-o", "json"]).stdout.lines().count();
    eventually("the audit says so", || expired() == 1);
    assert_eq!(edge.rhumb(&["audit", "verify"]).code, Some(0));
    let state = edge.folder().file("state");
    let verify = || Ran::of(rhumb(&["audit", "verify", "--state"]).arg(&state));
    assert_eq!(verify().code, Some(0));
    let segment = state.join("journal/00000000000000000001.jsonl");
    let edited = std::fs::read_to_string(&segment).unwrap().replacen("disk", "luck", 1);
    std::fs::write(&segment, edited).unwrap();
    let broken = verify();
    assert_eq!(broken.code, Some(1), "{}", broken.stdout);
    assert!(broken.stderr.contains("line 1"), "{}", broken.stderr);
}

#[test]
fn a_name_that_is_not_there_brings_the_one_that_was_meant() {
    let (_regions, edge) = world();
    for words in
        [&["weight", "eu-wset-1", "0"][..], &["drain", "eu-wset-1", "--to", "0"], &["undrain", "eu-wset-1"]]
    {
        assert!(does(&edge, words, 1).stderr.contains("eu-west-1"), "{words:?}");
    }
    does(&edge, &["weight", "eu-west-1", "101"], 2);
}

#[test]
fn whoever_waits_for_a_drain_is_told_when_it_is_paused_or_stopped_instead() {
    for (does, says) in [
        ("pause", "drain 1 is paused by operator; to go on: rhumb drains resume 1 --reason"),
        ("stop", "drain 1 is stopped"),
    ] {
        let (_regions, edge) = world();
        let begin = ["drain", "eu-west-1", "--to", "0", "--over", "1h", "--wait"];
        let ran = std::thread::scope(|threads| {
            let waits = threads.spawn(|| edge.rhumb(&[&begin[..], &WHY].concat()));
            eventually("it runs", || edge.read("/v1/drains")[0]["state"] == "running");
            self::does(&edge, &["drains", does, "1"], 0);
            waits.join().unwrap()
        });
        assert_eq!(ran.code, Some(1), "{does}: {}", ran.stdout);
        assert!(ran.stderr.contains(says), "{does}: {}", ran.stderr);
    }
}

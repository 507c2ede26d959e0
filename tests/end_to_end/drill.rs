//! `rhumb drill`: game days in the lab, and against a running edge.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Edge, Ran, Routing, TOKEN, Toy, await_some, becomes, collect, edge, eventually, lab, rhumb, signal,
};

fn drill(words: &[&str]) -> (Ran, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let report = ["drill", "--report", file.to_str().unwrap()];
    let ran = Ran::of(rhumb(&[&report, words].concat()).env("TMPDIR", folder.path()));
    let report = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [file], "a drill leaves nothing but its report");
    (ran, report)
}

/// Each invariant of a drill with its violations; `None`: it does not apply.
fn invariants(drill: &Value) -> Vec<(String, Option<u64>)> {
    let all = drill["invariants"].as_array().unwrap().iter();
    all.map(|one| (one["id"].as_str().unwrap().to_owned(), one["violations"].as_u64())).collect()
}

#[test]
fn a_game_day_in_the_lab_moves_ownership_and_breaks_writes_and_reports_no_violation() {
    let (ran, report) = drill(&["planned-transfer", "writes-broken"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!((&report["verdict"], &report["violations"]), (&"passed".into(), &0.into()));
    let drills = report["drills"].as_array().unwrap();
    let names: Vec<_> = drills.iter().map(|drill| drill["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["writes-broken", "planned-transfer"], "in the order of the list");
    let ids: Vec<_> = (1..=10).map(|number| format!("I{number}")).collect();
    for drill in drills {
        let of = invariants(drill);
        assert_eq!(of.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ids);
        assert!(drill["requests"].as_u64().unwrap() > 100, "{drill}");
    }
    let [broken, planned] = [&drills[0], &drills[1]];
    assert!(!broken["errors"].as_object().unwrap().is_empty(), "writes were refused: {broken}");
    assert!(broken["recovery"][0]["seconds"].is_number() && invariants(broken)[5].1 == Some(0), "{broken}");
    assert_eq!(planned["errors"], serde_json::json!({}), "nobody saw an error");
    assert_eq!(invariants(planned)[5].1, None, "nothing had to recover");
    assert!(
        ran.stdout.contains("## planned-transfer: passed") && ran.stdout.contains("| I1 |"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_split_brain_between_two_edges_and_two_gateways_costs_no_invariant() {
    let (ran, report) = drill(&["split-brain", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), report, "the same, as JSON");
    let drill = &report["drills"][0];
    assert_eq!((&drill["verdict"], invariants(drill).len()), (&"passed".into(), 10));
    let errors = drill["errors"].to_string();
    assert!(errors.contains("503 split_brain") && !errors.contains("stale_epoch"), "{errors}");
}

#[test]
fn a_step_that_does_not_come_about_fails_the_game_day() {
    // Flapping alone takes longer than the five seconds that it gets here.
    let (ran, report) = drill(&["flapping", "--seconds", "5"]);
    assert_eq!((ran.code, &report["verdict"]), (Some(1), &"failed".into()), "{}", ran.stdout);
    assert!(report["drills"][0]["observed"].to_string().contains("did not come about"), "{report}");
}

#[test]
fn a_game_day_in_the_lab_that_is_interrupted_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = rhumb(&["drill", "flapping", "split-brain"]);
    command.env("TMPDIR", folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let said = Arc::default();
    let heard = collect(child.stdout.take().unwrap(), Arc::clone(&said));
    let is_there = || std::fs::read_dir(folder.path()).unwrap().count() > 0;
    eventually("its lab is there", is_there);
    signal(child.id(), "INT");
    assert_eq!(await_some("it ends", || child.try_wait().unwrap()).code(), Some(1));
    heard.join().unwrap();
    let said: String = said.lock().unwrap().clone();
    assert!(said.contains("## flapping: stopped") && !said.contains("## split-brain"), "{said}");
    assert!(!is_there());
}

/// Acme and a few others at home in eu-west-1, with us-east-1 to take over.
fn world() -> ((Toy, Toy, Toy), Edge) {
    let (eu, us, ap) = lab();
    let mut routing =
        Routing::of(&[&eu, &us, &ap]).and("[safety]\nmax_moved_share = 1.0\nmax_drained_share = 1.0");
    for tenant in ["acme", "bank", "corp", "dots"] {
        routing = routing.tenant(tenant, r#"home = "eu-west-1", standby = ["us-east-1"]"#);
    }
    let edge = edge(&routing).start();
    ((eu, us, ap), edge)
}

fn state(edge: &Edge) -> (Value, Value, Value) {
    let tenant = edge.read("/v1/tenants/acme");
    let weight = edge.read("/v1/regions/eu-west-1")["weight"].clone();
    (tenant["owner"].clone(), tenant["state"].clone(), weight)
}

#[test]
fn against_a_running_edge_nothing_is_done_unless_it_is_said() {
    let (_regions, edge) = world();
    let (before, revision) = (state(&edge), edge.read("/v1/status")["revision"].clone());
    let ran = edge.rhumb(&["drill", "--region", "eu-west-1", "--tenant", "acme"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for said in
        ["planned-transfer, eu-west-1: nothing was done", "us-east-1", "would drain", "would freeze acme"]
    {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert_eq!((state(&edge), &edge.read("/v1/status")["revision"]), (before, &revision));
    for (words, told) in [
        (&["drill", "--region", "eu-west-1", "--go"][..], "--reason"),
        (&["drill"], "--region"),
        (&["drill", "--region", "mars"], "no region of this name"),
        (&["drill", "--region", "eu-west-1", "freeze"], "--tenant"),
        (&["drill", "--region", "eu-west-1", "region-dead"], "planned-transfer, drain, freeze"),
    ] {
        let ran = edge.rhumb(words);
        assert!(ran.code != Some(0) && ran.stderr.contains(told), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn what_a_drill_does_to_a_running_edge_it_takes_back_and_a_passed_one_counts_for_readiness() {
    let ((_eu, us, _ap), edge) = world();
    let failing = || edge.read("/v1/regions/us-east-1")["readiness"]["failing"].to_string();
    eventually("nobody has drilled yet", || failing().contains("drill"));
    let before = state(&edge);
    let words =
        ["drill", "--region", "eu-west-1", "--share", "50", "--go", "--reason", "game day", "-o", "json"];
    let ran = edge.rhumb(&[&words[..], &["planned-transfer", "drain"]].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let verdicts: Vec<_> = (0..2).map(|at| report["drills"][at]["verdict"].clone()).collect();
    assert_eq!(verdicts, ["passed", "passed"], "{report}");
    assert_eq!(invariants(&report["drills"][0])[0].1, None, "what regions executed is not seen from here");
    eventually("it counts for readiness", || !failing().contains("drill"));
    becomes("all is back", before.clone(), || state(&edge));
    let words = ["drill", "freeze", "planned-transfer", "--region", "eu-west-1", "--tenant", "acme"];
    let ran = edge.rhumb(&[&words[..], &["--go", "--reason", "game day"]].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    becomes("all is back", before, || state(&edge));
    let audit = edge.rhumb(&["audit", "-o", "json"]).stdout;
    for action in ["drain_undone", "frozen", "unfrozen", "transfer_released", "\"drill\""] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    // A standby that is not fit gets nothing, and the drill says why.
    us.set_lag_from("eu-west-1", Duration::from_secs(3_600));
    eventually("the lag is known", || {
        let lag = edge.read("/v1/regions/us-east-1")["replication"]["eu-west-1"]["lag_seconds"].as_f64();
        lag.is_some_and(|lag| lag > 3_000.0)
    });
    let ran = edge.rhumb(&[&words[..], &["--go", "--reason", "game day"]].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("planned-transfer, eu-west-1: not run") && ran.stdout.contains("lags"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_drill_that_is_interrupted_takes_back_what_it_did_from_an_edge_that_was_gone_meanwhile_too() {
    let (_regions, mut first) = world();
    let before = state(&first);
    let words = ["drill", "drain", "--region", "eu-west-1", "--go", "--reason", "game day"];
    let mut command = first.command(&words, Some(TOKEN));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the drain is under way", || {
        state(&first).2["effective"].as_f64().is_some_and(|now| now < 100.0)
    });
    signal(child.id(), "INT");
    let edge = first.kill_and_start_again();
    let ended = await_some("the drill ends", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1));
    becomes("its weight", before, || state(&edge));
    let ran = edge.rhumb(&["drains"]);
    assert!(ran.stdout.contains("undone"), "{}", ran.stdout);
}

//! The JSON that programs rely on.

use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::compare::{Difference, Edit, Moved};
use serde_json::json;
use tokio::sync::mpsc;

use super::{side, side_with};
use crate::control::operator::{Asker, Command, OperatorError, TableReport};
use crate::control::snapshot::Rejected;
use crate::problem::Problems;
use crate::telemetry::fixture;

#[tokio::test]
async fn a_region_has_the_documented_shape() {
    let side = side();
    let eu = side.live.regions[1].counts.enter();
    let answer = side.get("/v1/regions/eu-west-1").await;
    assert_eq!(
        answer.json(),
        json!({
            "region": "eu-west-1", "role": "active", "jurisdiction": "eu",
            "weight": {"configured": 100, "operator": null, "effective": 100, "by": null, "reason": null, "until": null},
            "health": "UP", "capabilities": {"read": "UP", "write": "UP", "case.write": "UP"},
            "endpoints": [{"address": "127.0.0.1:1001", "declared": "127.0.0.1:1001", "zone": "eu-west-1a",
                "cell": null, "weight": 1, "status": "UP", "checked": "UP", "passive": "trusted"}],
            "replication": {"us-east-1": {"lag_seconds": 0.8}}, "round_trip_ms": null,
            "in_flight": 1, "max_in_flight": null, "capacity": 1000, "traffic": null, "drain": null, "mark": null, "readiness": null, "cells": {},
        })
    );
    drop(eu);
    let us = side.get("/v1/regions/us-east-1").await.json();
    assert_eq!(us["cells"]["a"]["weight"]["configured"], 40);
    assert_eq!(us["endpoints"][0]["cell"], "a");
    let all = side.get("/v1/regions").await.json();
    let names: Vec<_> = all.as_array().unwrap().iter().map(|region| region["region"].clone()).collect();
    assert_eq!(names, ["eu-central-1", "eu-west-1", "us-east-1"]);
    assert_eq!(side.get("/v1/regions/mars").await.reason(), (404, "not_found".into()));
    assert_eq!(side.get("/v1/regions/%ff").await.reason(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_tenant_has_the_documented_shape() {
    let side = side();
    assert_eq!(
        side.get("/v1/tenants/globex").await.json(),
        json!({"tenant": "globex", "home": "eu-west-1", "owner": "eu-west-1", "epoch": 1, "state": "active",
            "standby": ["eu-central-1"], "replicas": [], "residency": ["eu"], "policy": "default", "cell": null,
            "mark": null, "owner_mark": null, "moved": null})
    );
    for unknown in ["nobody", "..%2f", "%00"] {
        assert_eq!(side.get(&format!("/v1/tenants/{unknown}")).await.reason().0, 404, "{unknown}");
    }
}

#[tokio::test]
async fn the_table_says_what_is_in_force_and_what_was_not_taken() {
    let mut problems = Problems::of("routing.toml");
    problems.tell(31, "tenants.acme.home", "there is no region \"x\"", "did you mean \"y\"?");
    let rejected = Rejected { hash: "def".into(), at: Duration::ZERO, acceptable: false, problems };
    let told = json!([{"file": "routing.toml", "line": 31, "at": "tenants.acme.home",
        "what": "there is no region \"x\"", "fix": "did you mean \"y\"?"}]);
    let with = side_with(|_| (), fixture::snapshot(3), Some(rejected));
    assert_eq!(
        with.get("/v1/table").await.json(),
        json!({"generation": 3, "hash": "abc", "tenants": 2, "loaded_at": "2026-07-29T10:00:00.042Z",
            "last_good": false, "problems": told, "left_out": 0})
    );
    assert_eq!(
        with.get("/v1/table/rejected").await.json(),
        json!({"generation": 3, "hash": "def", "tenants": null, "loaded_at": "1970-01-01T00:00:00.000Z",
            "acceptable": false, "problems": told, "left_out": 0})
    );
    let none = side().get("/v1/table/rejected").await.json();
    assert_eq!((&none["hash"], &none["problems"]), (&json!(null), &json!([])));
}

#[tokio::test]
async fn the_status_names_the_edge_its_table_and_its_regions() {
    let side = side();
    let status = side.get("/v1/status").await.json();
    assert_eq!(status["edge"], json!({"id": "edge-1", "region": "eu-west-1", "zone": null, "role": "edge"}));
    assert_eq!((&status["ready"], &status["why_not"]), (&json!(false), &json!("starting")));
    assert_eq!((&status["generation"], &status["table"]["hash"]), (&json!(3), &json!("abc")));
    assert_eq!(status["regions"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        status["ownership"],
        json!({"moved": 0, "marked": [], "marks": [], "transfers": [1], "held_writes": 0, "under_way": [
            {"id": 1, "state": "running", "step": "preflight", "what": "tenant initech to their standbys",
                "unplanned": false, "moved": 0, "tenants": 1, "expected": 1, "eta": null, "waves": 0, "batch": null,
                "trouble": null, "stuck": false, "ending": false, "next_wave": null, "by": "night-shift",
                "reason": "case 8", "since": "2026-07-29T10:01:00.000Z"}]})
    );
    assert_eq!(side.get("/v1/disputes").await.json(), json!({"count": 0, "first": []}));
}

#[tokio::test]
async fn probes_say_whether_the_edge_lives_and_takes_requests() {
    let side = side();
    assert_eq!(side.get("/healthz").await.status, 200);
    let starting = side.get("/readyz").await;
    assert_eq!((starting.status.as_u16(), starting.text.as_str()), (503, "starting\n"));
    side.ready.ready();
    assert_eq!(side.get("/readyz").await.status, 200);
    side.ready.stopping();
    assert_eq!(side.get("/readyz").await.text, "stopping\n");
}

#[tokio::test]
async fn a_scrape_shows_what_is_read_when_it_comes() {
    let side = side();
    let _request = side.live.regions[2].counts.enter();
    let answer = side.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "rhumb_in_flight{region=\"us-east-1\"} 1",
        "rhumb_in_flight{region=\"eu-west-1\"} 0",
        "rhumb_table_age_seconds 60",
    ] {
        assert!(answer.text.lines().any(|written| written == line), "{line}");
    }
}

pub(super) fn report() -> TableReport {
    TableReport {
        generation: 4,
        hash: "def".into(),
        tenants: 3,
        taken: true,
        difference: Difference {
            added: 1,
            rehomed: 1,
            moved_percent: 50.0,
            edits: vec![Edit {
                at: "regions.us-east-1.weight".into(),
                from: Some("100".into()),
                to: Some("40".into()),
            }],
            examples: vec![Moved {
                tenant: "acme".into(),
                from: Some("us-east-1".into()),
                to: Some("eu-west-1".into()),
            }],
            ..Difference::default()
        },
    }
}

#[tokio::test]
async fn the_tables_changes_are_asked_of_the_steward() {
    let source = [127, 0, 0, 1].into();
    let why = Asker { actor: "admin".into(), source, reason: "as planned".into() };
    let silent = Asker { reason: String::new(), ..why.clone() };
    for (method, path, body, command) in [
        ("POST", "/v1/table/reload", json!({}), Command::Reload(silent)),
        ("POST", "/v1/table/reload", json!({"reason": "as planned "}), Command::Reload(why.clone())),
        ("GET", "/v1/table/diff", json!(null), Command::Diff),
        ("GET", "/v1/table/rollback", json!(null), Command::DiffBack),
        (
            "POST",
            "/v1/table/accept",
            json!({"hash": "def", "reason": " as planned "}),
            Command::Accept("def".into(), why.clone()),
        ),
        ("POST", "/v1/table/rollback", json!({"reason": "as planned"}), Command::Rollback(why)),
    ] {
        let mut side = side();
        let mut asked = std::mem::replace(&mut side.asked, mpsc::channel(1).1);
        let steward = async {
            let asked = asked.recv().await.unwrap();
            assert_eq!(asked.command, command);
            assert!(asked.reply.send(Ok(report())).is_ok());
        };
        let operator =
            async { if method == "GET" { side.get(path).await } else { side.post(path, &body).await } };
        let ((), answer) = tokio::join!(steward, operator);
        assert_eq!(
            answer.json(),
            json!({"generation": 4, "hash": "def", "tenants": 3, "taken": true, "difference": {
                "added": 1, "dropped": 0, "rehomed": 1, "changed": 0, "moved_percent": 50.0,
                "regions_added": [], "regions_dropped": [], "epoch_faults": [],
                "edits": [{"at": "regions.us-east-1.weight", "from": "100", "to": "40"}],
                "examples": [{"tenant": "acme", "from": "us-east-1", "to": "eu-west-1"}]}})
        );
    }
}

#[tokio::test]
async fn a_change_that_is_not_made_says_why() {
    let mut problems = Problems::of("routing.toml");
    problems.tell(2, "regions", "the table has no region", "add [regions.NAME]");
    let rejected = Arc::new(Rejected { hash: "def".into(), at: Duration::ZERO, acceptable: true, problems });
    for (error, reason) in [
        (OperatorError::Refused(rejected), (409, "table_refused")),
        (OperatorError::Impossible("there is no earlier table".into()), (409, "conflict")),
        (OperatorError::Stopped, (503, "stopping")),
    ] {
        let mut side = side();
        let mut asked = std::mem::replace(&mut side.asked, mpsc::channel(1).1);
        let steward = async { asked.recv().await.unwrap().reply.send(Err(error)).is_ok() };
        let nothing = json!({});
        let (sent, answer) = tokio::join!(steward, side.post("/v1/table/reload", &nothing));
        assert!(sent);
        assert_eq!(answer.reason(), (reason.0, reason.1.to_owned()));
        if reason.1 == "table_refused" {
            let told = answer.json();
            assert_eq!((&told["hash"], &told["acceptable"]), (&json!("def"), &json!(true)));
            assert_eq!(told["problems"][0]["what"], "the table has no region");
        }
    }
    let mut gone = side();
    drop(std::mem::replace(&mut gone.asked, mpsc::channel(1).1));
    assert_eq!(gone.post("/v1/table/reload", &json!({})).await.reason(), (503, "stopping".into()));
}

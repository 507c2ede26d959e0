//! Operators at work while requests flow, and processes that die while they are.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::harness::{Edge, Routing, eventually, get, toy};
use crate::load::{Kind, load};
use crate::told::{beside, row};
use crate::world::{check, over, routing};

/// How often an edge is killed; `RHUMB_KILLS` says otherwise.
const KILLS: usize = 12;

/// Asks for a change; `None`: the edge went away before it answered.
fn change(edge: &Edge, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    edge.order(method, path, body).map(|answer| (answer.status, answer.json()))
}

fn effective(edge: &Edge, region: &str) -> f64 {
    edge.read(&format!("/v1/regions/{region}"))["weight"]["effective"].as_f64().unwrap()
}

#[test]
fn drill_44c_a_drain_by_command_in_steps_loses_no_request_and_comes_back_the_same_way() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let tenants =
        (0..100).map(|n| (format!("t-{n}"), r#"home = "eu-west-1", replicas = ["us-east-1"], epoch = 7"#));
    let table = tenants.fold(
        routing(&eu, &us).tenant("bank", r#"home = "eu-west-1", replicas = ["us-east-1"], epoch = 7"#),
        |table: Routing, (tenant, keys)| table.tenant(&tenant, keys),
    );
    let edge = over(&table).start();
    let before: Vec<_> = (0..100).map(|n| served(&edge, n)).collect();
    assert!(before.iter().all(|region| region == "eu-west-1"));
    let load = load(edge.address()).readers(2, "acme").writers(1, "acme").victim("globex").start();
    let body = json!({"region": "eu-west-1", "to": 0, "over": "4s", "step": 1, "reason": "drill 44"});
    let (status, made) = change(&edge, "POST", "/v1/drains", &body).unwrap();
    assert_eq!(status, 201, "{made}");
    // At every step those tenants are elsewhere whose lot the weight no longer covers, and they stay there.
    let mut elsewhere: Vec<usize> = Vec::new();
    eventually("it is drained", || {
        let now: Vec<usize> = (0..100).filter(|n| served(&edge, *n) == "us-east-1").collect();
        assert!(elsewhere.iter().all(|n| now.contains(n)), "who has moved has moved");
        elsewhere = now;
        effective(&edge, "eu-west-1") == 0.0
    });
    eventually("all have moved", || (0..100).all(|n| served(&edge, n) == "us-east-1"));
    let reads = eu.reads_seen();
    (0..100).for_each(|n| assert_eq!(served(&edge, n), "us-east-1"));
    assert_eq!(eu.reads_seen(), reads, "a drained region takes no read");
    let id = made["id"].as_u64().unwrap();
    let (status, undone) =
        change(&edge, "POST", &format!("/v1/drains/{id}/undo"), &json!({"reason": "over"})).unwrap();
    assert_eq!((status, undone["state"].as_str()), (200, Some("undoing")), "{undone}");
    eventually("it is undone", || effective(&edge, "eu-west-1") == 100.0);
    eventually("all are back", || (0..100).all(|n| served(&edge, n) == "eu-west-1"));
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    let audit = edge.read("/v1/audit");
    let told: Vec<_> =
        audit["entries"].as_array().unwrap().iter().filter_map(|e| e["action"].as_str()).collect();
    for action in ["drain_began", "drain_done", "drain_undone"] {
        assert!(told.contains(&action), "{told:?}");
    }
    assert_eq!(edge.read("/v1/audit/verify")["sound"], true);
    row("44c", "region drained by command in steps of 1 percent over 4 s, and undrained, under load")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .saw("reads at the drained region", 0)
        .tell();
}

fn served(edge: &Edge, tenant: usize) -> String {
    edge.ask(&get(&format!("t-{tenant}.app.example"), "/")).region()
}

#[test]
fn drill_40b_an_edge_that_is_killed_during_changes_loses_none_that_it_acknowledged() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table =
        routing(&eu, &us).tenant("bank", r#"home = "eu-west-1", replicas = ["us-east-1"], epoch = 7"#);
    let mut edge = over(&table).start();
    let kills = std::env::var("RHUMB_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (mut acknowledged, mut asked) = (0_u64, 0_u64);
    for kill in 0..kills {
        let (sent, told) = (AtomicU64::new(asked), AtomicU64::new(acknowledged));
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                // Weights that tell by themselves which change they are of: in hundredths, one after another.
                loop {
                    let next = sent.fetch_add(1, Ordering::AcqRel) + 1;
                    let weight = 1.0 + (next % 9_000) as f64 / 100.0;
                    let body = json!({"weight": weight, "reason": format!("change {next}")});
                    match change(&edge, "PUT", "/v1/regions/us-east-1/weight", &body) {
                        Some((200, _)) => told.store(next, Ordering::Release),
                        Some((status, said)) => panic!("{status}: {said}"),
                        None => return,
                    }
                }
            });
            // Killed at another moment each time: after so many acknowledged changes, in the midst of the next.
            let wanted = acknowledged + 1 + (kill as u64 * 7) % 5;
            eventually("changes are made", || {
                told.load(Ordering::Acquire) >= wanted || changing.is_finished()
            });
            edge.signal("KILL");
            changing.join().unwrap();
        });
        (asked, acknowledged) = (sent.into_inner(), told.into_inner());
        edge = edge.kill_and_start_again();
        let weight = edge.read("/v1/regions/us-east-1")["weight"].clone();
        let reason = weight["reason"].as_str().unwrap_or_default().to_owned();
        let holds: u64 = reason.strip_prefix("change ").unwrap().parse().unwrap();
        assert!(holds >= acknowledged && holds <= asked, "{holds} holds, {acknowledged} was acknowledged");
        acknowledged = holds;
    }
    assert_eq!(edge.read("/v1/audit/verify")["sound"], true);
    row("40b", "kill -9 during operators' changes, and started again")
        .saw("kills", kills)
        .saw("changes acknowledged", acknowledged)
        .saw("lost", 0)
        .tell();
}

//! Fences: before a planned move a gateway lets no write pass, and what is announced counts only if that has held.

use std::time::Duration;

use serde_json::{Value, json};

use super::announced::{AT_EU, moved, signed_body};
use super::world::{EU, HOST, US, before_under, by_hand, gateway, write_under_way};
use crate::harness::{Answer, Edge, becomes, eventually, faulty, get, lab, post, toy};

/// What an edge says of acme's move, with what it says besides.
fn says(gateway: &Edge, epoch: u64, besides: &[(&str, Value)]) -> Answer {
    let mut body = json!({"region": EU, "tenants": moved(US, epoch)});
    for (key, value) in besides {
        body[*key] = value.clone();
    }
    gateway.ask(&signed_body(EU, &body.to_string()))
}

fn fence(gateway: &Edge, id: u64, ms: u64) -> Answer {
    says(gateway, 8, &[("fence", json!({"id": id, "ms": ms}))])
}

/// The number of a fence that stands now.
fn raised(gateway: &Edge, id: u64, ms: u64) -> u64 {
    let answer = fence(gateway, id, ms);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["fenced"].as_u64().unwrap()
}

fn announced_under(gateway: &Edge, number: u64) -> Answer {
    says(gateway, 8, &[("fenced", json!(number))])
}

fn lapsed(answer: &Answer) -> bool {
    answer.status == 503 && answer.json()["reason"] == "fence_lapsed"
}

/// A write under the epoch before: its status and refusal.
fn older(gateway: &Edge) -> (u16, String) {
    let refused = by_hand().to(gateway);
    (refused.status, refused.refusal())
}

#[test]
fn a_fence_keeps_writes_out_until_it_is_lifted_and_reads_pass() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    assert_eq!(fence(&at_eu, 5, 60_000).status, 200);
    let refused = by_hand().to(&at_eu);
    assert_eq!((refused.status, refused.refusal()), (503, "write_frozen".into()));
    assert_eq!(by_hand().read().to(&at_eu).status, 200);
    assert_eq!(fence(&at_eu, 6, 0).status, 200);
    assert_eq!(by_hand().to(&at_eu).status, 503, "nobody lifts the fence of another");
    assert_eq!(fence(&at_eu, 5, 0).status, 200);
    assert_eq!(by_hand().to(&at_eu).region(), EU, "nothing was learned of the move");
    assert_eq!(eu.writes_seen(), 1);
}

#[test]
fn a_fence_ends_by_itself_and_what_is_announced_then_is_not_taken() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let first = raised(&at_eu, 5, 200);
    becomes("a write passes again", 200, || by_hand().to(&at_eu).status);
    assert!(lapsed(&announced_under(&at_eu, first)));
    assert_eq!(by_hand().to(&at_eu).status, 200, "the region still owns the tenant");
    let second = raised(&at_eu, 6, 60_000);
    assert!(lapsed(&announced_under(&at_eu, first)), "of another fence");
    assert_eq!(announced_under(&at_eu, second).status, 200);
    assert!(lapsed(&announced_under(&at_eu, second)), "it is no more");
    let third = raised(&at_eu, 7, 60_000);
    assert_eq!(announced_under(&at_eu, third).status, 200, "told twice is told");
}

#[test]
fn an_order_that_comes_twice_raises_another_fence() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let first = raised(&at_eu, 5, 200);
    becomes("a write passes again", 200, || by_hand().to(&at_eu).status);
    let repeated = raised(&at_eu, 5, 60_000);
    assert!(lapsed(&announced_under(&at_eu, first)), "a write has passed since");
    assert_eq!(announced_under(&at_eu, repeated).status, 200);
}

#[test]
fn what_passed_after_a_fence_is_told_of_even_where_the_move_was_learned_meanwhile() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let first = raised(&at_eu, 5, 200);
    becomes("a write passes again", 200, || by_hand().to(&at_eu).status);
    assert_eq!(says(&at_eu, 8, &[]).status, 200, "somebody else tells");
    assert_eq!(older(&at_eu).0, 409);
    assert!(lapsed(&announced_under(&at_eu, first)), "what passed has to be copied");
    let second = raised(&at_eu, 6, 60_000);
    assert_eq!(announced_under(&at_eu, second).status, 200);
}

#[test]
fn what_was_announced_under_a_fence_holds_at_once_and_is_withheld_until_it_is_announced_again() {
    let eu = toy(EU);
    let mut at_eu = gateway(&eu, AT_EU).start();
    let number = raised(&at_eu, 5, 60_000);
    assert_eq!(announced_under(&at_eu, number).status, 200);
    let frozen = (503, "write_frozen".to_owned());
    assert_eq!(older(&at_eu), frozen, "its edge asks again, and is not told where");
    let strong = at_eu.ask(&by_hand().read().signed().header("X-Consistency", "strong"));
    assert_eq!(strong.refusal(), "write_frozen", "who reads strongly would be told as well");
    assert_eq!(by_hand().read().to(&at_eu).status, 200, "a copy is read");
    let other = says(&at_eu, 7, &[]);
    assert_eq!(
        (other.status, other.json()["reason"].as_str()),
        (503, Some("write_frozen")),
        "nor another edge"
    );
    assert_eq!(says(&at_eu, 7, &[("fence", json!({"id": 9, "ms": 60_000}))]).status, 503);
    let at_eu = at_eu.kill_and_start_again();
    assert_eq!(older(&at_eu), frozen, "a restart keeps it, and tells nobody either");
    assert_eq!(says(&at_eu, 8, &[]).status, 200);
    let refused = by_hand().to(&at_eu);
    assert_eq!((refused.status, refused.header("x-owner-region")), (409, Some(US)));
    assert_eq!(eu.writes_seen(), 0);
}

#[test]
fn a_fence_is_answered_once_nothing_is_under_way() {
    let eu = faulty(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let wire = write_under_way(&eu, &at_eu);
    let late = fence(&at_eu, 5, 60_000);
    assert_eq!((late.status, late.json()["reason"].as_str()), (503, Some("writes_in_flight")));
    drop(wire);
    eventually("its client has left", || fence(&at_eu, 6, 60_000).status == 200);
    assert_eq!(by_hand().to(&at_eu).status, 503);
}

#[test]
fn a_restart_forgets_a_fence_and_says_so() {
    let eu = toy(EU);
    let mut at_eu = gateway(&eu, AT_EU).start();
    let number = raised(&at_eu, 5, 60_000);
    let at_eu = at_eu.kill_and_start_again();
    assert_eq!(by_hand().to(&at_eu).status, 200);
    assert!(lapsed(&announced_under(&at_eu, number)));
}

#[test]
fn an_old_owner_that_falls_silent_after_the_switch_is_let_go_by_an_operator() {
    let tenant = r#"home = "eu-west-1", standby = ["us-east-1"]"#;
    let (eu, us, _ap) = lab();
    let (at_eu, at_us) = (gateway(&eu, tenant).start(), gateway(&us, tenant).start());
    let policy = "[policies.default]\nwrites = { hold = \"60s\", max_lag = \"1h\" }";
    let edge = before_under(&[(EU, &at_eu), (US, &at_us)], tenant, policy).start();
    us.set_lag_from(EU, Duration::from_secs(50));
    eventually("the lag is known", || {
        let lag = edge.read("/v1/regions/us-east-1")["replication"][EU]["lag_seconds"].as_f64();
        lag.is_some_and(|lag| lag > 40.0)
    });
    let begun = edge.rhumb(&["transfer", "acme", "--to", US, "--reason", "a drill"]);
    assert_eq!(begun.code, Some(0), "{}{}", begun.stdout, begun.stderr);
    let transfer = || edge.read("/v1/transfers/1");
    becomes("it waits for the copy", json!("catch_up"), || transfer()["step"].clone());
    drop(at_eu);
    us.set_lag_from(EU, Duration::ZERO);
    eventually("it says what is wrong", || {
        let trouble = transfer()["trouble"].as_str().unwrap_or_default().to_owned();
        trouble.contains("has not said that it knows its new owner")
    });
    let tenant = || edge.read("/v1/tenants/acme");
    assert_eq!((transfer()["step"].clone(), tenant()["owner"].clone()), (json!("switch"), json!(US)));
    let cancelled = edge.rhumb(&["transfers", "cancel", "1", "--reason", "enough"]);
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    assert_eq!(tenant()["owner"], US, "there is no way back");
    let read = edge.ask(&get(HOST, "/v1/cases"));
    assert_eq!((read.status, read.region()), (200, US.to_owned()), "its copy is read meanwhile");
    assert_eq!(
        at_us.read("/v1/tenants/acme")["epoch"],
        1,
        "and nobody is told by it before the old owner knows"
    );
    let mut waiting = edge.wire();
    waiting.send(post(HOST, "/v1/cases").bytes());
    becomes("a write waits", 1.0, || edge.metric("rhumb_held_writes", &[]));
    let released = edge.rhumb(&["transfers", "release", "1", "--reason", "its machine burnt down"]);
    assert_eq!(released.code, Some(0), "{}{}", released.stdout, released.stderr);
    assert_eq!(waiting.answer().region(), US);
    becomes("it is over", json!("cancelled"), || transfer()["state"].clone());
    let stuck = edge.rhumb(&["audit", "--action", "transfer_stuck"]);
    assert!(stuck.stdout.contains("has not said that it knows"), "{}", stuck.stdout);
}

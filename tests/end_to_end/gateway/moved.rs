//! Ownership moves through one edge while another, which nobody tells, goes on writing; gateways keep them apart.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rhumb::lab::Status;

use super::world::{EU, HOST, US, as_gateway, before, gateway};
use crate::harness::{Edge, Routing, Toy, Wire, becomes, edge, eventually, lab, post};

const TENANT: &str = r#"home = "eu-west-1", standby = ["us-east-1"]"#;

fn moves(edge: &Edge, to: &str) {
    let ran = edge.rhumb(&["transfer", "acme", "--to", to, "--wait", "--reason", "a drill"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// Every write was executed once, at the region that it named as the owner, and no epoch had two owners.
fn written(regions: &[&Toy]) -> usize {
    let (mut once, mut owners) = (BTreeSet::new(), BTreeSet::new());
    for region in regions {
        for execution in region.state().executions() {
            assert_eq!(execution.owner_region.as_deref(), Some(region.name()), "{execution:?}");
            assert!(once.insert(execution.id.clone().unwrap()), "{execution:?} a second time");
            owners.insert((execution.owner_epoch.unwrap(), region.name().to_owned()));
        }
    }
    let epochs: BTreeSet<_> = owners.iter().map(|(epoch, _)| epoch).collect();
    assert_eq!(epochs.len(), owners.len(), "two owners of one epoch: {owners:?}");
    once.len()
}

#[test]
fn an_edge_that_was_not_told_is_fenced_learns_and_loses_nothing() {
    let (eu, us, _ap) = lab();
    let (at_eu, at_us) = (gateway(&eu, TENANT).start(), gateway(&us, TENANT).start());
    let gateways = [(EU, &at_eu), (US, &at_us)];
    let named = |id: &str| before(&gateways, TENANT).set("edge", &format!("id = \"{id}\"")).start();
    let (moving, other) = (named("edge-1"), named("edge-2"));
    let (over, done) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
    let write = |edge: &Edge, at: usize| {
        let (mut wire, mut told) = (Wire::to(edge.address()), Vec::new());
        for number in 0_u64.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("{at}-{number}");
            told.push((post(HOST, "/v1/cases").header("X-Write-Id", &id).on(&mut wire).status, id));
            done[at].fetch_add(1, Ordering::Relaxed);
        }
        told
    };
    let told = std::thread::scope(|scope| {
        let writers = [scope.spawn(|| write(&moving, 0)), scope.spawn(|| write(&other, 1))];
        let go_on = || {
            let until = [0, 1].map(|at: usize| done[at].load(Ordering::Relaxed) + 10);
            eventually("both go on", || {
                [0, 1].iter().all(|at| done[*at].load(Ordering::Relaxed) >= until[*at])
            });
        };
        go_on();
        for _ in 0..2 {
            for (to, old) in [(US, &eu), ("home", &us)] {
                moves(&moving, to);
                let before = old.state().executions().len();
                go_on();
                assert_eq!(old.state().executions().len(), before, "no write came to the old owner any more");
            }
        }
        over.store(true, Ordering::Relaxed);
        writers.map(|writer| writer.join().unwrap()).concat()
    });
    let failed: Vec<_> = told.iter().filter(|(status, _)| *status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(written(&[&eu, &us]), told.len());
    let learnt = |edge: &Edge| {
        [EU, US]
            .map(|region| edge.metric("rhumb_epoch_mismatch_total", &[("region", region)]))
            .iter()
            .sum::<f64>()
    };
    assert!(learnt(&other) >= 4.0, "each move was news to the other edge");
    println!("{} writes by two edges through four moves; epoch mismatches: {}", told.len(), learnt(&other));
}

#[test]
fn a_gateway_moves_nothing_by_itself() {
    let (eu, us, _ap) = lab();
    let by_itself =
        "[policies.default]\nwrites = { failover = \"automatic\", after = \"500ms\", max_lag = \"30s\" }";
    // A table that an edge would do with: the other region is no stranger here.
    let table = Routing::of(&[&eu, &us]).tenant("acme", TENANT).and(by_itself);
    let (edge, at_us) = (edge(&table).start(), as_gateway(&us, &table).start());
    let owner = |of: &Edge| of.read("/v1/tenants/acme")["owner"].as_str().unwrap().to_owned();
    eu.set_capability("write", Status::Down);
    becomes("the owner at an edge", US.to_owned(), || owner(&edge));
    assert_eq!(at_us.health(EU), "UP");
    assert_eq!(owner(&at_us), EU, "it waits to be told");
    let oversees =
        |of: &Edge| of.metrics().names().iter().any(|name| name.starts_with("rhumb_readiness_score{"));
    assert!(oversees(&edge) && !oversees(&at_us), "it does not even look");
    assert_eq!(at_us.read("/v1/status")["ownership"]["transfers"], serde_json::json!([]));
}

//! Ownership moves fifty times, in every direction, while clients append to shared lists and read them strongly: one
//! order explains all that they were told, and every write was executed once, by the owner of its epoch.

mod broken;
mod checker;
mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;
use std::time::Duration;

use clients::{Client, Clients, Told};
use rhumb::lab::Execution;

use crate::gateway::world::{EU, US, as_gateway, before_under};
use crate::harness::history::{Act, Did, Write, explained};
use crate::harness::{Edge, Routing, Toy, becomes, edge, lab, nobody, now};

const AP: &str = "ap-southeast-1";

const TENANT: &str =
    r#"home = "eu-west-1", standby = ["us-east-1", "ap-southeast-1"], residency = ["eu", "us", "ap"]"#;

/// Long enough for a machine that has other things to do.
const POLICY: &str = "[policies.default]\nwrites = { hold = \"20s\" }\n";

/// How far each copy stays behind by the time of a move: every fifth time so far that writes are lost, and reads stale,
/// if nobody waits for it. Five and the six directions have no common divisor.
fn lag(leg: usize) -> Duration {
    Duration::from_millis(if leg % 5 == 4 { 250 } else { 0 })
}

/// Who owns next, from home to home, over each ordered pair of regions at least eight times.
fn route() -> Vec<&'static str> {
    let around = [US, AP, EU, AP, US, EU];
    around.into_iter().cycle().take(48).chain([US, EU]).collect()
}

#[test]
fn the_route_has_fifty_legs_in_every_direction_that_residency_allows() {
    let mut legs: BTreeMap<_, usize> = BTreeMap::new();
    let mut at = EU;
    for to in route() {
        *legs.entry((at, to)).or_default() += 1;
        at = to;
    }
    assert_eq!((legs.len(), legs.values().sum(), at), (6, 50, EU));
    assert!(legs.iter().all(|((from, to), times)| from != to && *times >= 8), "{legs:?}");
}

#[test]
fn fifty_moves_through_one_edge_are_one_history_without_an_error() {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap]).tenant("acme", TENANT).and(POLICY);
    let edge = edge(&routing).start();
    fifty(&[&edge], &[&eu, &us, &ap]);
}

#[test]
fn fifty_moves_under_two_edges_before_gateways_are_one_history_without_an_error() {
    let (eu, us, ap) = lab();
    let [at_eu, at_us, at_ap] = [&eu, &us, &ap].map(|own| as_gateway(own, &own_table(own)).start());
    let gateways = [(EU, &at_eu), (US, &at_us), (AP, &at_ap)];
    let named =
        |id: &str| before_under(&gateways, TENANT, POLICY).set("edge", &format!("id = \"{id}\"")).start();
    let (moving, other) = (named("edge-1"), named("edge-2"));
    fifty(&[&moving, &other], &[&eu, &us, &ap]);
    assert!(mismatches(&other) >= 50.0, "each move was news to the edge that nobody told");
}

/// The table of a gateway: its own region, and the names of the others.
fn own_table(own: &Toy) -> Routing {
    let elsewhere = [EU, US, AP].into_iter().filter(|name| *name != own.name());
    let [one, other] = elsewhere.map(|name| (name, nobody())).collect::<Vec<_>>().try_into().unwrap();
    let table = Routing::of(&[own, &one, &other]).tenant("acme", TENANT).and(POLICY);
    let table = table.region(own.name(), "health", r#"{ interval = "50ms" }"#);
    let off =
        |table: Routing, name: &str| table.region(name, "role", "\"off\"").region(name, "endpoints", "[]");
    off(off(table, one.0), other.0)
}

/// Moves acme along the route by the first edge while clients are at it through all of them.
fn fifty(edges: &[&Edge], regions: &[&Toy; 3]) {
    let since = now();
    let clients = Clients::begin(edges, 2, 2, since);
    let mut owners = vec![EU];
    for (leg, to) in route().into_iter().enumerate() {
        regions.iter().for_each(|region| region.set_lag(lag(leg)));
        clients.go_on();
        moves(edges[0], owners.last().unwrap(), to);
        owners.push(to);
    }
    clients.go_on();
    let Told { mut history, errors, longest } = clients.end();
    assert!(errors.is_empty(), "{} errors, such as {:?}", errors.len(), errors.first());

    let lists: BTreeSet<String> = history.iter().map(|did| did.key.clone()).collect();
    for (nth, edge) in edges.iter().enumerate() {
        let mut client = Client::new(100 + nth, edge.address(), since);
        history.extend(lists.iter().map(|list| client.read(list).0));
    }
    assert_eq!(explained(&history), Ok(()), "one order explains each list");

    let told: BTreeSet<Write> = history.iter().filter_map(Did::write).collect();
    let executed = executed_in_order(regions, &owners).unwrap();
    assert!(executed.keys().eq(&told), "every write was executed, and nothing else");
    assert_eq!(executed.into_values().collect::<BTreeSet<_>>(), (1..=51).collect(), "under every epoch");
    assert_eq!(kept(regions[0], &lists), told, "the owner has every write");

    assert_eq!(edges.iter().map(|edge| edge.metric("rhumb_held_writes", &[])).fold(0.0, f64::add), 0.0);
    let transfers = edges[0].read("/v1/transfers");
    assert_eq!(transfers.as_array().unwrap().len(), 50);
    println!(
        "{} transfers; {} requests through {} edges: {} writes and {} strong reads of {} lists, 0 errors; \
         held: {}; longest hold: below {} s; longest write: {longest:.0?}; told of a newer epoch: {}; {:.1?} in all",
        owners.len() - 1,
        history.len(),
        edges.len(),
        told.len(),
        history.len() - told.len(),
        lists.len(),
        edges.iter().map(|edge| edge.metric("rhumb_hold_seconds_count", &[])).fold(0.0, f64::add),
        edges.iter().map(|edge| longest_hold(edge)).fold(0.0, f64::max),
        edges.iter().map(|edge| mismatches(edge)).fold(0.0, f64::add),
        since.elapsed(),
    );
}

/// Moves acme by the command that an operator would take, and waits until it has.
#[track_caller]
fn moves(edge: &Edge, from: &str, to: &str) {
    let words: &[&str] = match (from, to) {
        (EU, US) => &["failover", EU],
        (US, EU) => &["failback", EU, "--share", "100", "--approve"],
        _ => &["transfer", "acme", "--to", to],
    };
    let ran = edge.rhumb(&[words, &["--reason", "a drill", "-o", "json"]].concat());
    assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.stdout, ran.stderr);
    let begun: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let path = format!("/v1/transfers/{}", begun["id"]);
    becomes("the transfer", "done".to_owned(), || edge.read(&path)["state"].as_str().unwrap().to_owned());
    assert_eq!(edge.read("/v1/tenants/acme")["owner"], to);
}

/// The writes that regions executed, each with its epoch: each once, by the owner of its epoch, and none under an older
/// epoch than one before it. `owners[0]` owned under epoch 1.
fn executed_in_order(regions: &[&Toy], owners: &[&str]) -> Result<BTreeMap<Write, usize>, String> {
    let here = |region: &&Toy| {
        region.executions().into_iter().map(|done| (region.name().to_owned(), done)).collect()
    };
    let mut all: Vec<(String, Execution)> = regions.iter().flat_map::<Vec<_>, _>(here).collect();
    all.sort_by_key(|(_, done)| done.at);
    let (mut once, mut newest) = (BTreeMap::new(), 1);
    for (region, done) in all {
        let epoch: usize = done.owner_epoch.as_deref().unwrap().parse().unwrap();
        if owners[epoch - 1] != region || done.owner_region.as_deref() != Some(&region) {
            return Err(format!("{region} is not the owner of epoch {epoch}: {done:?}"));
        }
        if epoch < newest {
            return Err(format!(
                "{region} executed a write of epoch {epoch} after one of {newest}: {done:?}"
            ));
        }
        newest = epoch;
        let write = done.id.as_deref().unwrap().parse().unwrap();
        if once.insert(write, epoch).is_some() {
            return Err(format!("{write} was executed twice"));
        }
    }
    Ok(once)
}

/// The writes in these lists of a region, asked by itself.
fn kept(region: &Toy, lists: &BTreeSet<String>) -> BTreeSet<Write> {
    let mut client = Client::past_the_edge(200, region, now());
    let seen = lists.iter().map(|list| client.read(list).0.act);
    seen.flat_map(|act| match act {
        Act::Read(seen) => seen,
        Act::Wrote(_) => Vec::new(),
    })
    .collect()
}

fn mismatches(edge: &Edge) -> f64 {
    edge.metric("rhumb_epoch_mismatch_total", &[])
}

/// The least bound of the histogram that no hold was above, in seconds; 0 where nothing was held.
fn longest_hold(edge: &Edge) -> f64 {
    let metrics = edge.metrics();
    let all = metrics.sum("rhumb_hold_seconds_count", &[]);
    let spans = metrics.names().into_iter().filter(|name| name.starts_with("rhumb_hold_seconds_bucket"));
    let bounds: BTreeSet<_> =
        spans.filter_map(|name| name.split_once("le=\"")?.1.split('"').next()).collect();
    let holds = |bound: &&str| metrics.sum("rhumb_hold_seconds_bucket", &[("le", bound)]) == all;
    let bounds = bounds.into_iter().filter(holds).map(|bound| bound.parse().unwrap_or(f64::INFINITY));
    bounds.reduce(f64::min).unwrap_or_default()
}

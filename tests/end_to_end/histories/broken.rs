//! Setups that are broken on purpose: the checker finds what is wrong with each.

use std::slice::from_ref;
use std::time::Duration;

use super::clients::Client;
use super::{POLICY, TENANT, executed_in_order};
use crate::gateway::world::{EU, US};
use crate::harness::history::{Breach, explained};
use crate::harness::{Edge, Routing, Toy, edge, lab, now};

const LIST: &str = "list";
const HOUR: Duration = Duration::from_secs(3_600);

fn world() -> ((Toy, Toy, Toy), Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap]).tenant("acme", TENANT).and(POLICY);
    ((eu, us, ap), routing)
}

#[test]
fn strong_reads_of_a_copy_that_lags_past_the_edge_are_found() {
    let ((_eu, us, _ap), routing) = world();
    let edge = edge(&routing).start();
    us.set_lag_from(EU, HOUR);
    let since = now();
    let (mut client, mut astray) =
        (Client::new(1, edge.address(), since), Client::past_the_edge(2, &us, since));
    let wrote = client.append(LIST).0;
    let sound = [wrote.clone(), client.read(LIST).0];
    assert_eq!(explained(&sound), Ok(()), "what the edge answers is sound");
    let stale = astray.read(LIST).0;
    assert_eq!(stale.seen(), Some(&[][..]));
    let broken = explained(&[&sound[..], from_ref(&stale)].concat()).unwrap_err();
    assert_eq!(broken[LIST], Breach::backwards(stale, wrote));
}

#[test]
fn a_write_that_an_unplanned_move_left_behind_is_found() {
    let ((eu, us, ap), routing) = world();
    let edge = edge(&routing).start();
    let mut client = Client::new(1, edge.address(), now());
    let before = [client.append(LIST).0, client.read(LIST).0];
    us.set_lag_from(EU, HOUR);
    let left = client.append(LIST).0;
    moves(&edge, &["--unplanned"]);
    let read = client.read(LIST).0;
    let broken = explained(&[&before[..], &[left.clone(), read.clone()]].concat()).unwrap_err();
    assert_eq!(broken[LIST], Breach::backwards(read, left));
    assert!(
        executed_in_order(&[&eu, &us, &ap], &[EU, US]).is_ok(),
        "though each was executed where it should be"
    );
}

#[test]
fn two_edges_without_gateways_are_found_out() {
    let ((eu, us, ap), routing) = world();
    let (moving, other) = (edge(&routing).start(), edge(&routing).set("edge", "id = \"edge-2\"").start());
    let since = now();
    let [mut through_moving, mut through_other] =
        [(1, &moving), (2, &other)].map(|(nth, edge)| Client::new(nth, edge.address(), since));
    let before = [through_other.append(LIST).0, through_moving.append(LIST).0];
    moves(&moving, &[]);
    us.set_lag_from(EU, HOUR);
    let after = [through_moving.append(LIST).0, through_moving.read(LIST).0];
    let sound = [before, after].concat();
    assert_eq!(explained(&sound), Ok(()), "one edge by itself is sound");
    let astray = through_other.append(LIST).0;
    let unseen = through_moving.read(LIST).0;
    let broken = explained(&[&sound[..], &[astray.clone(), unseen.clone()]].concat()).unwrap_err();
    assert_eq!(broken[LIST], Breach::backwards(unseen, astray));
    let executed = executed_in_order(&[&eu, &us, &ap], &[EU, US]).unwrap_err();
    assert!(executed.contains("eu-west-1 executed a write of epoch 1 after one of 2"), "{executed}");
}

/// Moves acme from eu-west-1 to us-east-1.
#[track_caller]
fn moves(edge: &Edge, how: &[&str]) {
    let words = ["transfer", "acme", "--to", US, "--wait", "--reason", "a drill"];
    let ran = edge.rhumb(&[&words, how].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

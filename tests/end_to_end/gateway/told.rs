//! What was moved is told to every gateway until it knows, whether requests come or not.

use super::announced::announce;
use super::world::{EU, HOST, US, before, gateway};
use crate::harness::{Edge, becomes, lab, post};

const TENANT: &str = r#"home = "eu-west-1", standby = ["us-east-1"]"#;

fn does(edge: &Edge, words: &[&str]) {
    let ran = edge.rhumb(&[words, &["--reason", "a drill"]].concat());
    assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.stdout, ran.stderr);
}

/// Who owns acme there, since which epoch, and its state.
fn known(of: &Edge) -> (String, u64, String) {
    let tenant = of.read("/v1/tenants/acme");
    let text = |key: &str| tenant[key].as_str().unwrap().to_owned();
    (text("owner"), tenant["epoch"].as_u64().unwrap(), text("state"))
}

fn active(owner: &str, epoch: u64) -> (String, u64, String) {
    (owner.to_owned(), epoch, "active".to_owned())
}

#[test]
fn a_gateway_that_was_away_hears_of_it_once_it_is_back() {
    let (eu, us, _ap) = lab();
    let (mut at_eu, at_us) = (gateway(&eu, TENANT).start(), gateway(&us, TENANT).start());
    let edge = before(&[(EU, &at_eu), (US, &at_us)], TENANT).start();
    at_eu.die();
    does(&edge, &["transfer", "acme", "--to", US, "--unplanned", "--wait"]);
    assert_eq!(known(&edge), active(US, 2));
    let at_eu = at_eu.start_again();
    becomes("the old owner's gateway knows", active(US, 2), || known(&at_eu));
    assert_eq!(eu.requests_seen(), 0, "without a request");
}

#[test]
fn a_gateway_is_told_again_by_an_edge_that_starts_again() {
    let (eu, us, _ap) = lab();
    let (mut at_eu, at_us) = (gateway(&eu, TENANT).start(), gateway(&us, TENANT).start());
    let mut edge = before(&[(EU, &at_eu), (US, &at_us)], TENANT).start();
    at_eu.die();
    does(&edge, &["transfer", "acme", "--to", US, "--unplanned", "--wait"]);
    let edge = edge.kill_and_start_again();
    let at_eu = at_eu.start_again();
    becomes("the old owner's gateway knows", active(US, 2), || known(&at_eu));
    assert_eq!(known(&edge), active(US, 2));
}

#[test]
fn two_owners_at_one_epoch_come_to_light_without_a_request_and_so_does_who_it_is() {
    let (eu, us, _ap) = lab();
    let (at_eu, at_us) = (gateway(&eu, TENANT).start(), gateway(&us, TENANT).start());
    let edge = before(&[(EU, &at_eu), (US, &at_us)], TENANT).start();
    // Another edge has raised its epoch, and left it where it was.
    assert_eq!(announce(&at_eu, EU, 2).status, 200);
    does(&edge, &["transfer", "acme", "--to", US, "--unplanned"]);
    for of in [&edge, &at_eu] {
        becomes("it is seen", "split-brain".to_owned(), || known(of).2);
    }
    does(&edge, &["tenant", "resolve", "acme", "--owner", US]);
    for of in [&edge, &at_eu, &at_us] {
        becomes("it is resolved", active(US, 3), || known(of));
    }
    let written = edge.ask(&post(HOST, "/v1/cases"));
    assert_eq!((written.status, written.region()), (200, US.to_owned()));
}

#[test]
fn what_one_edge_resolves_ends_it_at_the_other_that_had_moved_it_too() {
    let (eu, us, _ap) = lab();
    let (at_eu, at_us) = (gateway(&eu, TENANT).start(), gateway(&us, TENANT).start());
    let named =
        |id: &str| before(&[(EU, &at_eu), (US, &at_us)], TENANT).set("edge", &format!("id = \"{id}\""));
    let (one, two) = (named("edge-1").start(), named("edge-2").start());
    does(&one, &["transfer", "acme", "--to", US, "--unplanned", "--wait"]);
    becomes("the gateways know", active(US, 2), || known(&at_eu));
    // The other edge has not heard of it, and gives the same epoch to another owner.
    does(&two, &["tenant", "resolve", "acme", "--owner", EU]);
    for of in [&two, &at_eu, &at_us] {
        becomes("it is seen", "split-brain".to_owned(), || known(of).2);
    }
    does(&one, &["tenant", "resolve", "acme", "--owner", US]);
    for of in [&one, &two, &at_eu, &at_us] {
        becomes("it is resolved", active(US, 3), || known(of));
    }
    for edge in [&one, &two] {
        assert_eq!(edge.ask(&post(HOST, "/v1/cases")).region(), US);
    }
}

//! What a gateway answers to the checks of its region.

use super::world::{EU, HOST, before, by_hand, gateway};
use crate::harness::{ask, eventually, get, put, toy};

const HOME: &str = r#"home = "eu-west-1", epoch = 7"#;

#[test]
fn a_gateway_answers_for_its_region_by_checks_of_its_own() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, HOME).start();
    let health = || at_eu.ask(&get("10.0.0.1:80", "/health"));
    eventually("it knows its endpoints", || health().status == 200);
    let said = health().json();
    assert_eq!((said["status"].as_str(), said["capabilities"]["write"].as_str()), (Some("UP"), Some("UP")));
    assert!(said["position"].is_string() && said["age_seconds"].is_number(), "{said}");
    assert_eq!(at_eu.ask(&ask("HEAD", "10.0.0.1:80", "/health")).status, 200);
    assert_eq!(at_eu.ask(&ask("POST", "10.0.0.1:80", "/health")).refusal(), "misdirected");
    assert_eq!(eu.requests_seen(), 0, "nobody's request");
    eu.go_dark();
    eventually("a region that is gone is DOWN", || {
        let health = health();
        health.status == 503 && health.json()["status"] == "DOWN"
    });
    assert_eq!(by_hand().to(&at_eu).refusal(), "owner_unavailable");
    eu.come_back();
    eventually("and comes back", || by_hand().to(&at_eu).status == 200);
}

#[test]
fn a_gateway_tells_each_report_as_it_comes() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, HOME).start();
    let began = at_eu.generation();
    for _ in 0..30 {
        assert_eq!(put("toy", "/kv/a").to(eu.address()).status / 100, 2);
        let checks = eu.health_checks_seen();
        eventually("it is checked again", || eu.health_checks_seen() > checks);
    }
    // An edge that moves ownership keeps writes waiting for them. Each is told by a generation of its own, unless one
    // comes late and the next soon.
    let told = at_eu.generation() - began;
    assert!(told >= 10, "30 reports came to {told} generations");
}

#[test]
fn a_path_of_a_client_is_not_the_gateways() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, HOME).start();
    let edge = before(&[(EU, &at_eu)], HOME).start();
    let answer = edge.get(HOST, "/v1/cases");
    assert_eq!(answer.region(), EU);
    let theirs = edge.get(HOST, "/health");
    assert!(theirs.json().get("age_seconds").is_none(), "the service's own: {}", theirs.text());
}

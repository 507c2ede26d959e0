//! Endpoints by name.

use crate::harness::{Routing, edge, eventually, toy};

#[test]
fn an_endpoint_by_name_is_looked_up_and_served() {
    let eu = toy("eu-west-1");
    let named = format!("[\"localhost:{}\"]", eu.address().port());
    let routing =
        Routing::of(&[&eu]).region("eu-west-1", "endpoints", &named).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    eventually("the name is known", || edge.get("acme.app.example", "/").status == 200);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    let endpoints = edge.read("/v1/regions/eu-west-1")["endpoints"].clone();
    let known = endpoints.as_array().unwrap().iter().any(|endpoint| {
        endpoint["address"] == eu.address().to_string()
            && endpoint["declared"].as_str().is_some_and(|declared| declared.starts_with("localhost"))
    });
    assert!(known, "{endpoints}");
}

#[test]
fn a_name_that_does_not_exist_keeps_nobody_waiting() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .region("eu-west-1", "endpoints", r#"["nowhere.invalid:80"]"#)
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#)
        .tenant("globex", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
    assert_eq!(edge.get("globex.app.example", "/").status, 503);
    assert_ne!(edge.health("eu-west-1"), "UP");
}

#[test]
fn a_new_table_brings_new_endpoints_and_takes_old_ones_away() {
    let (first, second) = (toy("eu-west-1"), toy("eu-west-1"));
    let routing = |toy| Routing::of(&[toy]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing(&first)).start();
    let served = || edge.get("acme.app.example", "/").json()["endpoint"].as_str().map(str::to_owned);
    assert_eq!(served(), Some(first.address().to_string()));
    edge.folder().rename_over("routing.toml", routing(&second).text());
    eventually("the new one serves", || served() == Some(second.address().to_string()));
    let some_more = || {
        let checks = second.health_checks_seen();
        eventually("checks go on", || second.health_checks_seen() > checks + 5);
    };
    // The last check of the old one may have been on its way.
    some_more();
    let checks = first.health_checks_seen();
    some_more();
    assert_eq!(first.health_checks_seen(), checks, "nobody asks an endpoint that is gone");
}

//! Where requests without an owned tenant go.

use crate::harness::{EdgeBuilder, Routing, Toy, edge, eventually, get, lab};

fn placed(placement: &str) -> ((Toy, Toy, Toy), Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenancy("unknown", "\"public\"")
        .region("eu-west-1", "countries", r#"["DE", "FR"]"#)
        .region("us-east-1", "countries", r#"["US"]"#)
        .region("ap-southeast-1", "countries", r#"["SG", "JP"]"#)
        .and(&format!("[placements.public]\n{placement}"))
        .tenant("acme", r#"home = "us-east-1""#);
    ((eu, us, ap), routing)
}

fn trusting(routing: &Routing) -> EdgeBuilder {
    edge(routing)
        .set("trust", r#"proxies = ["127.0.0.0/8"]"#)
        .set("trust", "country_header = \"CF-IPCountry\"")
}

#[test]
fn nearest_is_the_edges_own_region_and_then_the_next_that_is_fit() {
    let (regions, routing) = placed("by = \"nearest\"");
    let edge = edge(&routing).start();
    assert_eq!(edge.get("nobody.app.example", "/").region(), "eu-west-1");
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1", "a known tenant has its home");
    regions.0.go_dark();
    eventually("the next takes over", || edge.get("nobody.app.example", "/").status == 200);
    assert_eq!(edge.get("nobody.app.example", "/").region(), "us-east-1");
}

#[test]
fn primary_is_the_first_of_its_order_that_is_fit() {
    let (regions, routing) = placed("by = \"primary\"\norder = [\"ap-southeast-1\", \"us-east-1\"]");
    let edge = edge(&routing).start();
    assert_eq!(edge.get("nobody.app.example", "/").region(), "ap-southeast-1");
    regions.2.go_dark();
    eventually("the second takes over", || edge.get("nobody.app.example", "/").status == 200);
    assert_eq!(edge.get("nobody.app.example", "/").region(), "us-east-1");
    regions.1.go_dark();
    eventually("nobody is left", || edge.get("nobody.app.example", "/").status == 503);
    assert_eq!(edge.get("nobody.app.example", "/").refusal(), "no_region");
}

#[test]
fn weighted_keeps_its_shares() {
    let (_regions, routing) = placed("by = \"weighted\"\nshares = { us-east-1 = 70, ap-southeast-1 = 30 }");
    let edge = edge(&routing.and("[policies.default]\nsticky = \"request\"")).start();
    let (mut us, mut ap) = (0, 0);
    for _ in 0..200 {
        match edge.get("nobody.app.example", "/").region().as_str() {
            "us-east-1" => us += 1,
            "ap-southeast-1" => ap += 1,
            other => panic!("{other} has no share"),
        }
    }
    assert!(us > ap && ap > 20, "70 to 30, and {us} to {ap} came");
}

#[test]
fn geo_believes_a_country_from_a_trusted_proxy_alone() {
    let (_regions, routing) = placed("by = \"geo\"");
    let from = |country: &str| get("nobody.app.example", "/").header("CF-IPCountry", country);
    let trusted = trusting(&routing).start();
    assert_eq!(trusted.ask(&from("JP")).region(), "ap-southeast-1");
    assert_eq!(trusted.ask(&from("US")).region(), "us-east-1");
    assert_eq!(trusted.ask(&from("us")).region(), "us-east-1");
    assert_eq!(trusted.ask(&from("DE")).region(), "eu-west-1");
    for nowhere in ["BR", "", "zzz", "JP, US", "\u{1f1ef}"] {
        assert_eq!(trusted.ask(&from(nowhere)).region(), "eu-west-1", "{nowhere:?} is nobody's: nearest");
    }
    let untrusted = edge(&routing).set("trust", "country_header = \"CF-IPCountry\"").start();
    assert_eq!(untrusted.ask(&from("JP")).region(), "eu-west-1");
}

#[test]
fn a_schedule_follows_the_sun() {
    let hours = "by = \"schedule\"\nhours = { \"00-24\" = \"ap-southeast-1\" }";
    let (_regions, routing) = placed(hours);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("nobody.app.example", "/").region(), "ap-southeast-1");
}

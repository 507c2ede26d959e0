//! Who is believed, and what of it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::Value;

use super::world::{ByHand, EU, HOST, US, as_gateway, before, by_hand, gateway, keys, now, own_table};
use crate::harness::{
    Authority, Edge, Says, Toy, ask, client_with, edge, eventually, get, post, secured, toy, write_pair,
};

const HOME: &str = r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#;

fn world() -> (Toy, Edge) {
    let eu = toy(EU);
    let gateway = gateway(&eu, HOME).start();
    (eu, gateway)
}

#[test]
fn a_request_travels_from_edge_to_gateway_to_region_with_what_the_edge_said() {
    let (_eu, at_eu) = world();
    let edge = before(&[(EU, &at_eu)], r#"home = "eu-west-1", epoch = 7"#).start();
    let spoofed = post(HOST, "/v1/cases?a=b").header("X-Owner-Epoch", "99").header("X-Region-Hops", "0");
    let answer = edge.ask(&spoofed);
    assert_eq!(answer.region(), EU);
    for (name, value) in [
        ("x-tenant-id", "acme"),
        ("x-source-region", EU),
        ("x-target-region", EU),
        ("x-owner-region", EU),
        ("x-owner-epoch", "7"),
        ("x-request-region-policy", "default"),
        ("x-region-hops", "2"),
        ("x-forwarded-for", "127.0.0.1, 127.0.0.1"),
        ("x-forwarded-host", HOST),
        ("x-forwarded-proto", "http"),
        ("via", "1.1 rhumb/edge-1, 1.1 rhumb/gateway-eu-west-1"),
    ] {
        assert_eq!(answer.seen(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(answer.seen("x-rhumb-signature"), None, "it was for the gateway, and over one hop less");
    assert!(answer.seen("x-request-timeout-ms").is_some());
    let line = || {
        let log = std::fs::read_to_string(at_eu.folder().file("access.log")).unwrap_or_default();
        log.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap())
    };
    eventually("the gateway logs it", || line().is_some());
    let line = line().unwrap();
    assert_eq!((line["edge"].as_str(), line["source_region"].as_str()), (Some("key one"), Some(EU)));
    assert_eq!(
        (line["tenant"].as_str(), line["epoch"].as_u64(), line["status"].as_u64()),
        (Some("acme"), Some(7), Some(200))
    );
}

#[test]
fn who_proves_nothing_is_refused_and_counted() {
    let (eu, at_eu) = world();
    let secret = [9; 32];
    for (cause, request) in [
        ("no_signature", get(HOST, "/")),
        ("no_signature", by_hand().unsigned()),
        ("wrong", ByHand { secret, ..by_hand() }.signed()),
        ("unknown_key", ByHand { key: "two", ..by_hand() }.signed()),
        ("stale", ByHand { time: now() - 400, ..by_hand() }.signed()),
        ("stale", ByHand { time: now() + 400, ..by_hand() }.signed()),
        ("malformed", by_hand().unsigned().header("X-Rhumb-Signature", "v2;kid=one;t=1;mac=AAAA")),
        ("malformed", by_hand().signed().header("X-Rhumb-Signature", "v1;kid=one;t=1;mac=AAAA")),
    ] {
        let counted = || at_eu.metric("rhumb_unproven_edges_total", &[("cause", cause)]);
        let before = counted();
        let refused = at_eu.ask(&request);
        assert_eq!((refused.status, refused.refusal().as_str()), (421, "misdirected"), "{cause}");
        assert_eq!(refused.header("x-rhumb-refusal"), None, "nothing is told to nobody");
        assert_eq!(counted(), before + 1.0, "{cause}");
    }
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(by_hand().to(&at_eu).region(), EU, "and whoever signs passes");
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let (eu, at_eu) = world();
    let good = by_hand();
    let bytes = String::from_utf8(good.signed().bytes()).unwrap();
    for (from, to) in [
        ("POST /v1", "PUT /v1"),
        ("?a=b", "?a=c"),
        ("X-Tenant-ID: acme", "X-Tenant-ID: globex"),
        ("X-Source-Region: us", "X-Source-Region: eu"),
        ("X-Owner-Epoch: 7", "X-Owner-Epoch: 8"),
        ("X-Region-Hops: 1", "X-Region-Hops: 2"),
        ("X-Request-Region-Policy: default", "X-Request-Region-Policy: other"),
    ] {
        assert!(bytes.contains(from), "{from}");
        let mut wire = at_eu.wire();
        wire.send(bytes.replace(from, to));
        assert_eq!(wire.answer().refusal(), "misdirected", "{to}");
    }
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn an_edge_may_prove_itself_by_its_certificate() {
    let (eu, doors, edges) = (toy(EU), Authority::new(), Authority::new());
    let listener = "tls.certificates = [{ chain = \"door.pem\", key = \"door.key\" }]\ntls.client_ca = \"edges.pem\"\n\
                    tls.client_auth = \"optional\"";
    let at_eu = as_gateway(&eu, &own_table(&eu, HOME))
        .set("gateway", "edges = [\"spiffe://prod.example/edge/*\"]")
        .prepare(|folder| {
            write_pair(folder.path(), "door", &doors.issue(&Says::names(&["eu.internal"])));
            folder.write("edges.pem", edges.pem());
        })
        .listener(listener)
        .start();
    let places = (EU, at_eu.listener(1));
    let of = |id: Option<&str>| {
        let mut says = Says::names(&[]);
        if let Some(id) = id {
            says = says.uri(id);
        }
        let own =
            if id.is_some() { ", certificate = { chain = \"own.pem\", key = \"own.key\" }" } else { "" };
        let tls = format!(r#"{{ server_name = "eu.internal", ca = "doors.pem"{own} }}"#);
        let table = crate::harness::Routing::of(&[&places])
            .region(EU, "gateway", "true")
            .region(EU, "tls", &tls)
            .tenant("acme", r#"home = "eu-west-1", epoch = 7"#);
        edge(&table)
            .prepare(|folder| {
                folder.write("doors.pem", doors.pem());
                write_pair(folder.path(), "own", &edges.issue(&says));
            })
            .start()
    };
    let proven = of(Some("spiffe://prod.example/edge/eu-1"));
    for _ in 0..3 {
        let answer = proven.ask(&post(HOST, "/"));
        assert_eq!(answer.region(), EU, "for whatever host, on one connection");
        assert_eq!(answer.seen("x-region-hops").as_deref(), Some("2"));
    }
    let announced = |config: &Arc<ClientConfig>, region| told(config, at_eu.listener(1), region);
    assert_eq!(announced(&client_with(&doors, None), EU), 401);
    assert_eq!(announced(&proven_client(&doors, &edges), US), 421);
    assert_eq!(proven.ask(&post(HOST, "/")).status, 200, "nothing has changed");
    assert_eq!(announced(&proven_client(&doors, &edges), EU), 200, "what an edge announces is taken");
    assert_eq!(proven.ask(&post(HOST, "/")).status, 409, "by now it is owned elsewhere");
    let seen = eu.requests_seen();
    for (id, cause) in [(Some("spiffe://prod.example/region/eu"), "other_id"), (None, "no_signature")] {
        let edge = of(id);
        let refused = edge.ask(&post(HOST, "/"));
        assert_eq!((refused.status, refused.refusal().as_str()), (421, "misdirected"), "{id:?}");
        assert!(at_eu.metric("rhumb_unproven_edges_total", &[("cause", cause)]) >= 1.0, "{cause}");
    }
    assert_eq!(eu.requests_seen(), seen);
}

fn proven_client(doors: &Authority, edges: &Authority) -> Arc<ClientConfig> {
    client_with(doors, Some(&edges.issue(&Says::names(&[]).uri("spiffe://prod.example/edge/eu-1"))))
}

/// What an unsigned announcement is answered on a connection of this client.
fn told(config: &Arc<ClientConfig>, gateway: SocketAddr, region: &str) -> u16 {
    let tenants = serde_json::json!([{"tenant": "acme", "owner": US, "epoch": 8}]);
    let body = serde_json::json!({"region": region, "tenants": tenants}).to_string();
    let mut wire = secured(gateway, "eu.internal", config).unwrap();
    ask("POST", "10.0.0.1:80", "/.well-known/rhumb/ownership").body(body).on(&mut wire).status
}

#[test]
fn what_no_edge_would_send_is_a_bad_request() {
    let (eu, at_eu) = world();
    for (name, values) in [
        ("X-Owner-Epoch", &["7", "7"][..]),
        ("X-Owner-Epoch", &["7", "8"]),
        ("X-Owner-Epoch", &["-1"]),
        ("X-Owner-Epoch", &["18446744073709551615"]),
        ("X-Owner-Epoch", &["99999999999999999999999999"]),
        ("X-Owner-Epoch", &["seven"]),
        ("X-Owner-Epoch", &["07"]),
        ("X-Owner-Epoch", &[]),
        ("X-Owner-Region", &["eu-west-1", "us-east-1"]),
        ("X-Target-Region", &["eu-west-1", "us-east-1"]),
        ("X-Tenant-ID", &["acme", "acme"]),
        ("X-Region-Hops", &[]),
        ("X-Region-Hops", &["0"]),
    ] {
        let refused = by_hand().with(name, values).to(&at_eu);
        assert_eq!((refused.status, refused.refusal().as_str()), (400, "bad_request"), "{name}: {values:?}");
    }
    let round = by_hand().with("X-Region-Hops", &["3"]).to(&at_eu);
    assert_eq!((round.status, round.refusal().as_str()), (508, "loop"));
    let spelt = at_eu.ask(&by_hand().signed().header("X_Owner_Epoch", "9").header("x.owner.region", US));
    assert_eq!(
        (spelt.region().as_str(), spelt.seen("x_owner_epoch"), spelt.seen("x.owner.region")),
        (EU, None, None)
    );
    assert!(at_eu.metric("rhumb_spoofed_headers_total", &[("header", "X-Owner-Epoch")]) >= 1.0);
    assert_eq!(eu.requests_seen(), 1);
}

#[test]
fn what_an_edge_says_and_what_the_request_says_have_to_agree() {
    let (eu, at_eu) = world();
    let other_host = ByHand { host: "globex.app.example", ..by_hand() };
    assert_eq!(other_host.to(&at_eu).refusal(), "tenant_conflict", "the host is not signed, and still holds");
    let unknown = by_hand().with("X-Tenant-ID", &["nobody"]);
    let unknown = ByHand { host: "api.example", ..unknown };
    assert_eq!(unknown.to(&at_eu).refusal(), "tenant_unknown");
    let elsewhere = by_hand().with("X-Target-Region", &[US]).to(&at_eu);
    assert_eq!((elsewhere.status, elsewhere.refusal().as_str()), (421, "misdirected"));
    assert_eq!(elsewhere.header("x-rhumb-refusal"), Some("misdirected"));
    assert_eq!(eu.requests_seen(), 0);
    let by_certificate = ByHand { host: "api.example", ..by_hand() };
    assert_eq!(by_certificate.to(&at_eu).region(), EU, "whom only the edge can name");
}

#[test]
fn keys_of_edges_are_replaced_while_requests_go_on() {
    let (_eu, at_eu) = world();
    let new = [9; 32];
    let next = ByHand { secret: new, key: "two", ..by_hand() };
    let one = keys(super::world::SECRET);
    at_eu.folder().rename_over("edges.keys", keys(new).replace("one", "two") + &one);
    eventually("the new key is believed", || next.to(&at_eu).status == 200);
    assert_eq!(by_hand().to(&at_eu).region(), EU, "beside the old one");
    at_eu.folder().rename_over("edges.keys", keys(new).replace("one", "two"));
    eventually("the old one is not any more", || by_hand().to(&at_eu).status == 421);
}

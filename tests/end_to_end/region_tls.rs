//! Who a region is over TLS: chain, name and SPIFFE id, each held before a byte of a request is sent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rhumb::lab::{Protocols, ToyRegion};

use crate::harness::{
    Authority, Edge, Place, Routing, Says, Shown, Witness, edge, eventually, get, post, self_signed,
    server_config, server_with, toy_from, write_pair,
};

const ID: &str = "spiffe://prod.example/region/eu";
const BY_NAME: &str = r#"{ server_name = "eu.internal", ca = "ca.pem" }"#;
const BY_BOTH: &str =
    r#"{ server_name = "eu.internal", spiffe_id = "spiffe://prod.example/region/eu", ca = "ca.pem" }"#;
const BY_ID: &str = r#"{ spiffe_id = "spiffe://prod.example/region/eu", ca = "ca.pem" }"#;
/// A check that finds nothing wrong, so that requests have to find out.
const BLIND: &str = r#"{ check = "tcp", interval = "100ms" }"#;

fn towards(region: &dyn Place, tls: &str, health: &str) -> Routing {
    Routing::of(&[region])
        .region("eu-west-1", "tls", tls)
        .region("eu-west-1", "health", health)
        .tenant("acme", r#"home = "eu-west-1""#)
}

fn before(region: &dyn Place, tls: &str, health: &str, authority: &Authority) -> Edge {
    edge(&towards(region, tls, health)).prepare(|folder| folder.write("ca.pem", authority.pem())).start()
}

fn refuses(edge: &Edge, what: &str) {
    for request in [get("acme.app.example", "/secret"), post("acme.app.example", "/secret").body("secret")] {
        for _ in 0..3 {
            let refused = edge.ask(&request);
            assert!(matches!(refused.status, 502 | 503), "{what}: {} {}", refused.status, refused.text());
        }
    }
}

#[test]
fn tl_07_a_region_that_does_not_prove_who_it_is_gets_no_byte_of_a_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let right = || Says::names(&["eu.internal"]).uri(ID);
    let by = |says: Says| authority.issue(&says);
    let cases = [
        ("wrong name", by(Says::names(&["us.internal"]).uri(ID)), BY_BOTH),
        ("wrong name and no id asked for", by(Says::names(&["us.internal"])), BY_NAME),
        ("other authority", stranger.issue(&right()), BY_BOTH),
        ("other authority, id alone", stranger.issue(&right()), BY_ID),
        ("self-signed", self_signed(&right()), BY_BOTH),
        ("expired", by(right().years(2000, 2001)), BY_BOTH),
        ("expired, id alone", by(right().years(2000, 2001)), BY_ID),
        ("not yet valid", by(right().years(3000, 3001)), BY_BOTH),
        ("wrong id", by(Says::names(&["eu.internal"]).uri("spiffe://prod.example/region/us")), BY_BOTH),
        (
            "wrong id, id alone",
            by(Says::names(&["eu.internal"]).uri("spiffe://prod.example/region/us")),
            BY_ID,
        ),
        (
            "id of another domain",
            by(Says::names(&["eu.internal"]).uri("spiffe://evil.example/region/eu")),
            BY_BOTH,
        ),
        ("a longer id", by(Says::names(&["eu.internal"]).uri("spiffe://prod.example/region/eu/x")), BY_BOTH),
        ("two URIs", by(right().uri("spiffe://prod.example/region/us")), BY_BOTH),
        ("no id", by(Says::names(&["eu.internal"])), BY_BOTH),
        ("no id, id alone", by(Says::names(&["eu.internal"])), BY_ID),
    ];
    for (what, pair, tls) in cases {
        let region = Witness::over_tls("eu-west-1", &Shown::new(&pair), None);
        let edge = before(&region, tls, BLIND, &authority);
        refuses(&edge, what);
        // A check that speaks TLS finds it out as well.
        let checked = towards(&region, tls, r#"{ interval = "50ms" }"#);
        edge.folder().rename_over("routing.toml", checked.text());
        eventually(what, || edge.health("eu-west-1") == "DOWN");
        assert_eq!(region.brought(), "", "{what}");
    }
}

#[test]
fn tl_07_a_port_in_the_clear_gets_no_byte_of_a_request() {
    let authority = Authority::new();
    for tls in [BY_NAME, BY_BOTH, BY_ID] {
        let region = Witness::plain("eu-west-1");
        let edge = before(&region, tls, BLIND, &authority);
        refuses(&edge, tls);
        let brought = region.brought();
        for part in ["HTTP/1.1", "secret", "acme", "Host"] {
            assert!(!brought.contains(part), "{tls}: {brought:?}");
        }
    }
}

#[test]
fn a_region_that_proves_its_name_and_its_id_serves_over_kept_connections() {
    let authority = Authority::new();
    for (what, says, tls) in [
        ("name", Says::names(&["eu.internal"]), BY_NAME),
        ("name and id", Says::names(&["eu.internal"]).uri(ID), BY_BOTH),
        ("id in place of the name", Says::names(&["other.internal"]).uri(ID), BY_ID),
        ("id without any name", Says::names(&[]).uri(ID), BY_ID),
    ] {
        let region = Witness::over_tls("eu-west-1", &Shown::new(&authority.issue(&says)), None);
        let edge = before(&region, tls, BLIND, &authority);
        for _ in 0..20 {
            assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1", "{what}");
        }
        assert_eq!(region.requests(), 20, "{what}");
        // One connection for the requests, and where there is an id one to look at the leaf.
        assert!(region.handshakes() <= 2, "{what}: {} sessions", region.handshakes());
    }
}

#[test]
fn a_check_that_proved_the_id_spares_requests_the_look() {
    let authority = Authority::new();
    let pair = authority.issue(&Says::names(&["eu.internal"]).uri(ID));
    let region = Witness::over_tls("eu-west-1", &Shown::new(&pair), None);
    let edge = before(&region, BY_BOTH, r#"{ interval = "1h" }"#, &authority);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(region.handshakes(), 2, "the one check and the one request");
}

#[test]
fn drill_34_a_region_may_change_its_certificate_under_load() {
    let authority = Authority::new();
    let says = Says::names(&["eu.internal"]).uri(ID);
    let shown = Shown::new(&authority.issue(&says));
    let region = Witness::closing("eu-west-1", &shown);
    let edge = before(&region, BY_BOTH, BLIND, &authority);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            let before = done.load(Ordering::Relaxed);
            shown.change(&authority.issue(&says));
            eventually("requests go on", || {
                done.load(Ordering::Relaxed) >= before + 20
                    || workers.iter().any(|worker| worker.is_finished())
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done.load(Ordering::Relaxed) >= 100);
}

#[test]
fn drill_35_a_region_that_turns_into_another_gets_no_further_byte() {
    let authority = Authority::new();
    let shown = Shown::new(&authority.issue(&Says::names(&["eu.internal"]).uri(ID)));
    let region = Witness::closing("eu-west-1", &shown);
    let edge = before(&region, BY_BOTH, BLIND, &authority);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    let before = region.brought();
    shown.change(&authority.issue(&Says::names(&["eu.internal"]).uri("spiffe://prod.example/region/us")));
    refuses(&edge, "another region by now");
    assert_eq!(region.brought(), before);
    let failed = edge.metrics().sum("rhumb_retries_total", &[("region", "eu-west-1"), ("kind", "connect")]);
    assert!(failed >= 1.0, "it counts as a failed connection");
    shown.change(&authority.issue(&Says::names(&["eu.internal"]).uri(ID)));
    eventually("it serves again", || edge.get("acme.app.example", "/").status == 200);
}

#[test]
fn two_regions_at_one_address_never_share_a_connection() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = Shown::new(&authority.issue(&Says::names(&["eu.internal"]).uri(ID)));
    let witness = Witness::over_tls("eu-west-1", &shown, None);
    let same = ("us-east-1", witness.endpoints()[0]);
    for other in [
        r#"{ server_name = "eu.internal", spiffe_id = "spiffe://prod.example/region/us", ca = "ca.pem" }"#,
        r#"{ server_name = "eu.internal", ca = "stranger.pem" }"#,
        r#"{ server_name = "us.internal", ca = "ca.pem" }"#,
    ] {
        let routing = Routing::of(&[&witness, &same])
            .every_region("health", BLIND)
            .region("eu-west-1", "tls", BY_BOTH)
            .region("us-east-1", "tls", other)
            .tenant("acme", r#"home = "eu-west-1""#)
            .tenant("globex", r#"home = "us-east-1""#);
        let edge = edge(&routing)
            .prepare(|folder| {
                folder.write("ca.pem", authority.pem());
                folder.write("stranger.pem", stranger.pem());
            })
            .start();
        for _ in 0..5 {
            assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
            let refused = edge.get("globex.app.example", "/");
            assert!(matches!(refused.status, 502 | 503), "{other}: {} {}", refused.status, refused.text());
        }
        assert!(!witness.brought().contains("globex"), "{other}");
    }
}

#[test]
fn two_regions_at_one_address_are_shown_a_certificate_each() {
    let (authority, edges) = (Authority::new(), Authority::new());
    let eu =
        toy_from(ToyRegion::new("eu-west-1").tls(server_config(&authority, "eu.internal", Some(&edges))));
    let same = ("us-east-1", eu.address());
    let tls = |own: &str| {
        format!(
            r#"{{ server_name = "eu.internal", ca = "ca.pem", certificate = {{ chain = "{own}.pem", key = "{own}.key" }} }}"#
        )
    };
    let routing = Routing::of(&[&eu, &same])
        .region("eu-west-1", "tls", &tls("one"))
        .region("us-east-1", "tls", &tls("two"))
        .tenant("acme", r#"home = "eu-west-1""#)
        .tenant("globex", r#"home = "us-east-1""#);
    let edge = edge(&routing)
        .prepare(|folder| {
            folder.write("ca.pem", authority.pem());
            edges.leaf_in(folder.path(), "one");
            edges.leaf_in(folder.path(), "two");
        })
        .start();
    let shown = |host: &str| edge.get(host, "/").json()["tls"]["client_certificate_sha256"].clone();
    let (one, two) = (shown("acme.app.example"), shown("globex.app.example"));
    assert!(one.is_string() && two.is_string() && one != two);
    for _ in 0..5 {
        assert_eq!((shown("acme.app.example"), shown("globex.app.example")), (one.clone(), two.clone()));
    }
}

#[test]
fn over_http_2_the_id_is_held_on_every_connection_before_its_first_request() {
    let authority = Authority::new();
    for (id, serves) in [(ID, true), ("spiffe://prod.example/region/us", false)] {
        let pair = authority.issue(&Says::names(&["eu.internal"]).uri(id));
        let config = server_with(&pair, None);
        let eu = toy_from(ToyRegion::new("eu-west-1").tls(config).speaks(Protocols::Http2));
        let routing = towards(&eu, BY_BOTH, BLIND).region("eu-west-1", "http", "2");
        let edge = edge(&routing).prepare(|folder| folder.write("ca.pem", authority.pem())).start();
        // At once, so that some share the connection of another before that has been proved.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let answer = edge.get("acme.app.example", "/");
                        assert_eq!(answer.status == 200, serves, "{id}: {} {}", answer.status, answer.text());
                    }
                });
            }
        });
        assert_eq!(eu.requests_seen() > 0, serves, "{id}");
    }
}

#[test]
fn tl_09_an_answer_that_is_cut_without_a_word_is_no_whole_answer() {
    let authority = Authority::new();
    let pair = authority.issue(&Says::names(&["eu.internal"]).uri(ID));
    for (what, said) in [
        ("its end is the end of the connection", "HTTP/1.1 200 OK\r\n\r\nhalf of it"),
        ("shorter than its length", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf of it"),
        ("without its last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-"),
    ] {
        let region = Witness::over_tls("eu-west-1", &Shown::new(&pair), None);
        let edge = before(&region, BY_BOTH, BLIND, &authority);
        region.cuts_after(said.as_bytes());
        let mut wire = edge.wire();
        wire.send(post("acme.app.example", "/").body("x").bytes());
        let whole = wire
            .answer_to("POST")
            .filter(|answer| answer.status == 200 && answer.end != crate::harness::End::Aborted);
        assert!(whole.is_none(), "{what}: {whole:?}");
    }
}

#[test]
fn days_to_the_end_of_every_certificate_are_told() {
    let (authority, edges) = (Authority::new(), Authority::new());
    let region = Witness::over_tls(
        "eu-west-1",
        &Shown::new(&authority.issue(&Says::names(&["eu.internal"]).uri(ID))),
        None,
    );
    let tls = BY_BOTH.replace(" }", r#", certificate = { chain = "edge.pem", key = "edge.key" } }"#);
    let over = Says::names(&["one.example"]).years(2000, 2001);
    let edge = edge(&towards(&region, &tls, BLIND))
        .prepare(|folder| {
            folder.write("ca.pem", authority.pem());
            edges.leaf_in(folder.path(), "edge");
            write_pair(folder.path(), "over", &authority.issue(&over));
            write_pair(folder.path(), "good", &authority.issue(&Says::names(&["two.example"])));
            folder.write("clients.pem", edges.pem());
        })
        .listener(
            "tls.certificates = [{ chain = \"good.pem\", key = \"good.key\" }, \
             { chain = \"over.pem\", key = \"over.key\" }]\n\
             tls.client_ca = \"clients.pem\"\ntls.client_auth = \"optional\"",
        )
        .start();
    let days = |kind: &str, name: &str| {
        edge.metrics().sum("rhumb_certificate_expiry_days", &[("kind", kind), ("name", name)])
    };
    let file = |name: &str| edge.folder().file(name).display().to_string();
    edge.says("over.pem has ended");
    assert!(days("listener", &file("good.pem")) > 10_000.0);
    assert!(days("listener", &file("over.pem")) < -9_000.0);
    assert!(days("client_ca", &file("clients.pem")) > 10_000.0);
    assert!(days("region_ca", "eu-west-1") > 10_000.0);
    assert!(days("region_client", "eu-west-1") > 10_000.0);
    assert!(!edge.log().contains("good.pem has ended"));
    let status = edge.read("/v1/status");
    assert_eq!(status["certificates"].as_array().map(Vec::len), Some(5), "{status}");
    // One that is replaced is told of as it is now.
    let again = authority.issue(&Says::names(&["one.example"]));
    write_pair(edge.folder().path(), "over", &again);
    eventually("the new one is in force", || days("listener", &file("over.pem")) > 10_000.0);
}

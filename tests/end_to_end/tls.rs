//! TLS on both sides: certificates by name for clients, proof of who a region is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rhumb::lab::ToyRegion;

use crate::harness::{
    Authority, Edge, EdgeBuilder, Routing, Says, Toy, Wire, client_config, edge, eventually, get, secured,
    server_config, toy, toy_from, write_pair,
};

fn doors(routing: &Routing, authority: &Authority) -> EdgeBuilder {
    // All come from one address, so that limit is out of the way.
    edge(routing)
        .set("limits", "handshakes_per_address = 0")
        .prepare(|folder| {
            authority.leaf_in(folder.path(), "one.example");
            authority.leaf_in(folder.path(), "two.example");
            folder.write("ca.pem", authority.pem());
        })
        .listener(
            "tls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }, \
             { chain = \"two.example.pem\", key = \"two.example.key\" }]",
        )
}

fn world() -> (Toy, Routing, Authority) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    (eu, routing, Authority::new())
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (_eu, routing, authority) = world();
    let edge = doors(&routing, &authority).start();
    let config = client_config(&authority, None);
    for name in ["one.example", "two.example"] {
        let mut wire = secured(edge.listener(1), name, &config).unwrap();
        let answer = get("acme.app.example", "/").on(&mut wire);
        assert_eq!(answer.region(), "eu-west-1", "{name}");
        assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    }
    let unknown = secured(edge.listener(1), "three.example", &config);
    assert!(unknown.is_err(), "the default certificate is for another name");
    assert_eq!(edge.get("acme.app.example", "/").seen("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn one_connection_takes_many_requests_and_each_is_judged() {
    let (_eu, routing, authority) = world();
    let edge = doors(&routing, &authority).start();
    let mut wire = secured(edge.listener(1), "one.example", &client_config(&authority, None)).unwrap();
    for n in 0..20 {
        assert_eq!(get("acme.app.example", &format!("/{n}")).on(&mut wire).json()["path"], format!("/{n}"));
    }
    wire.send("GET /a/../b HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    assert_eq!(wire.answer().status, 400);
}

#[test]
fn a_client_without_the_certificate_that_is_required_gets_nowhere() {
    let (eu, routing, authority) = world();
    let edge = edge(&routing)
        .prepare(|folder| {
            authority.leaf_in(folder.path(), "acme.app.example");
            folder.write("ca.pem", authority.pem());
        })
        .listener(
            "tls.certificates = [{ chain = \"acme.app.example.pem\", key = \"acme.app.example.key\" }]\n\
             tls.client_ca = \"ca.pem\"\ntls.client_auth = \"required\"",
        )
        .start();
    let with = client_config(&authority, Some(&authority));
    let mut wire = secured(edge.listener(1), "acme.app.example", &with).unwrap();
    assert_eq!(get("acme.app.example", "/").on(&mut wire).region(), "eu-west-1");
    let seen = eu.requests_seen();
    for without in [client_config(&authority, None), client_config(&authority, Some(&Authority::new()))] {
        // With TLS 1.3 a client learns of it at its first read.
        if let Ok(mut wire) = secured(edge.listener(1), "acme.app.example", &without) {
            let _ = wire.try_send(&get("acme.app.example", "/").bytes());
            assert!(wire.answer_to("GET").is_none());
        }
    }
    assert_eq!(eu.requests_seen(), seen);
}

#[test]
fn what_is_not_tls_at_a_tls_door_harms_nobody() {
    let (_eu, routing, authority) = world();
    let edge = doors(&routing, &authority).start();
    let mut plain = Wire::to(edge.listener(1));
    plain.send("GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    assert!(plain.answer_to("GET").is_none());
    let mut wire = secured(edge.listener(1), "one.example", &client_config(&authority, None)).unwrap();
    assert_eq!(get("acme.app.example", "/").on(&mut wire).region(), "eu-west-1");
}

fn upstream(authority: &Authority, name: &str, clients: Option<&Authority>) -> Toy {
    toy_from(ToyRegion::new("eu-west-1").tls(server_config(authority, name, clients)))
}

fn towards(eu: &Toy, tls: &str) -> Routing {
    Routing::of(&[eu]).region("eu-west-1", "tls", tls).tenant("acme", r#"home = "eu-west-1""#)
}

#[test]
fn a_region_over_tls_is_checked_by_name_and_authority_and_shown_a_certificate() {
    let authority = Authority::new();
    let eu = upstream(&authority, "eu.internal", Some(&authority));
    let tls = r#"{ server_name = "eu.internal", ca = "ca.pem", certificate = { chain = "edge.pem", key = "edge.key" } }"#;
    let edge = edge(&towards(&eu, tls))
        .prepare(|folder| {
            folder.write("ca.pem", authority.pem());
            authority.leaf_in(folder.path(), "edge");
        })
        .start();
    let answer = edge.get("acme.app.example", "/");
    assert_eq!(answer.region(), "eu-west-1");
    assert_eq!(answer.json()["tls"]["server_name"], "eu.internal");
    assert!(answer.json()["tls"]["client_certificate_sha256"].is_string(), "{}", answer.text());
}

#[test]
fn a_region_that_cannot_prove_itself_gets_no_byte_of_a_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (what, name, ca) in
        [("another authority", "eu.internal", &stranger), ("another name", "us.internal", &authority)]
    {
        let eu = upstream(&authority, name, None);
        let tls = r#"{ server_name = "eu.internal", ca = "ca.pem" }"#;
        // A check by TCP finds nothing wrong, so that requests have to find out.
        let routing =
            towards(&eu, tls).region("eu-west-1", "health", r#"{ check = "tcp", interval = "100ms" }"#);
        let edge = edge(&routing).prepare(|folder| folder.write("ca.pem", ca.pem())).start();
        for _ in 0..10 {
            let refused = edge.get("acme.app.example", "/");
            assert!(matches!(refused.status, 502 | 503), "{what}: {} {}", refused.status, refused.text());
        }
        assert_eq!(eu.requests_seen(), 0, "{what}");
        let checked = towards(&eu, tls);
        edge.folder().rename_over("routing.toml", checked.text());
        eventually(what, || edge.health("eu-west-1") == "DOWN");
        assert_eq!(eu.requests_seen() + eu.health_checks_seen(), 0, "{what}");
    }
}

#[test]
fn a_region_that_wants_a_certificate_the_edge_does_not_have_is_down() {
    let authority = Authority::new();
    let eu = upstream(&authority, "eu.internal", Some(&authority));
    let tls = r#"{ server_name = "eu.internal", ca = "ca.pem" }"#;
    let edge = edge(&towards(&eu, tls)).prepare(|folder| folder.write("ca.pem", authority.pem())).start();
    assert_eq!(edge.health("eu-west-1"), "DOWN");
    assert_eq!(edge.get("acme.app.example", "/").status, 503);
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_hangup_takes_new_certificates_and_keeps_the_old_ones_where_the_new_are_bad() {
    let (_eu, routing, old) = world();
    let new = Authority::new();
    let edge = doors(&routing, &old).start();
    let (by_old, by_new) = (client_config(&old, None), client_config(&new, None));
    let door = edge.listener(1);
    assert!(secured(door, "one.example", &by_old).is_ok() && secured(door, "one.example", &by_new).is_err());
    edge.folder().write("one.example.key", "half a ke");
    edge.signal("HUP");
    edge.says("a certificate was not taken, the old one stays");
    assert!(secured(door, "one.example", &by_old).is_ok(), "the old pair serves on");
    let mut kept = secured(door, "one.example", &by_old).unwrap();
    new.leaf_in(edge.folder().path(), "one.example");
    edge.signal("HUP");
    eventually("the new pair serves", || secured(door, "one.example", &by_new).is_ok());
    assert_eq!(
        get("acme.app.example", "/").on(&mut kept).status,
        200,
        "a connection outlives its certificate"
    );
    assert!(secured(door, "two.example", &by_old).is_ok(), "the other name is untouched");
}

/// Waits until a client that trusts `authority` is shown a certificate for `name`.
fn shown(what: &str, edge: &Edge, name: &str, authority: &Authority) {
    let config = client_config(authority, None);
    eventually(what, || secured(edge.listener(1), name, &config).is_ok());
}

fn reloads(edge: &Edge, outcome: &str) -> f64 {
    edge.metric("rhumb_certificate_reloads_total", &[("outcome", outcome)])
}

#[test]
fn a_changed_certificate_is_shown_without_being_asked_for_however_it_was_written() {
    let (_eu, routing, first) = world();
    let edge = doors(&routing, &first).start();
    let mut kept = secured(edge.listener(1), "one.example", &client_config(&first, None)).unwrap();
    let by = |authority: &Authority| authority.leaf("one.example");
    let in_place = Authority::new();
    write_pair(edge.folder().path(), "one.example", &by(&in_place));
    shown("written in place", &edge, "one.example", &in_place);
    let renamed = Authority::new();
    let (chain, key) = by(&renamed);
    edge.folder().rename_over("one.example.key", key);
    edge.folder().rename_over("one.example.pem", chain);
    shown("renamed over", &edge, "one.example", &renamed);
    let linked = Authority::new();
    let folder = edge.folder().path();
    std::fs::create_dir(folder.join("..v1")).unwrap();
    write_pair(&folder.join("..v1"), "one.example", &by(&Authority::new()));
    std::os::unix::fs::symlink("..v1", folder.join("..data")).unwrap();
    for name in ["one.example.pem", "one.example.key"] {
        std::fs::remove_file(folder.join(name)).unwrap();
        std::os::unix::fs::symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    std::fs::create_dir(folder.join("..v2")).unwrap();
    write_pair(&folder.join("..v2"), "one.example", &by(&linked));
    std::os::unix::fs::symlink("..v2", folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    shown("a link swapped", &edge, "one.example", &linked);
    assert_eq!(get("acme.app.example", "/").on(&mut kept).status, 200, "no connection was dropped");
    assert!(secured(edge.listener(1), "two.example", &client_config(&first, None)).is_ok());
    assert!(reloads(&edge, "taken") >= 3.0);
}

#[test]
fn drill_34_a_bad_pair_is_refused_told_and_counted_and_the_old_one_stays() {
    let (_eu, routing, old) = world();
    let edge = doors(&routing, &old).start();
    let by_old = client_config(&old, None);
    let good = old.leaf("one.example");
    let half = good.0.get(..good.0.len() / 2).unwrap().to_owned();
    let other = old.leaf("one.example");
    for (what, pair) in [
        ("the key of another", (good.0.clone(), other.1)),
        ("half a chain", (half, good.1.clone())),
        ("an empty key", (good.0.clone(), String::new())),
        ("no PEM", ("certificate".to_owned(), "key".to_owned())),
    ] {
        let refused = reloads(&edge, "refused");
        write_pair(edge.folder().path(), "one.example", &pair);
        eventually(what, || reloads(&edge, "refused") > refused);
        assert!(secured(edge.listener(1), "one.example", &by_old).is_ok(), "{what}");
        assert!(secured(edge.listener(1), "two.example", &by_old).is_ok(), "{what}");
    }
    let told = || edge.log().matches("a certificate was not taken, the old one stays").count();
    eventually("each is told", || told() >= 4);
    assert!(!edge.log().contains("PRIVATE KEY"), "no key is told of");
    std::fs::remove_file(edge.folder().file("one.example.key")).unwrap();
    let new = Authority::new();
    new.leaf_in(edge.folder().path(), "two.example");
    shown("the other pair is taken all the same", &edge, "two.example", &new);
    assert!(secured(edge.listener(1), "one.example", &by_old).is_ok());
    new.leaf_in(edge.folder().path(), "one.example");
    shown("a good pair is taken again", &edge, "one.example", &new);
}

#[test]
fn drill_34_certificates_change_under_load_without_a_failed_handshake() {
    let (_eu, routing, authority) = world();
    let edge = doors(&routing, &authority).start();
    let config = client_config(&authority, None);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = secured(edge.listener(1), "one.example", &config).unwrap();
                    assert_eq!(get("acme.app.example", "/").on(&mut wire).status, 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let (taken, before) = (reloads(&edge, "taken"), done.load(Ordering::Relaxed));
            let (chain, key) = authority.leaf("one.example");
            edge.folder().rename_over("one.example.pem", chain);
            edge.folder().rename_over("one.example.key", key);
            eventually("it is taken, and clients come", || {
                reloads(&edge, "taken") > taken && done.load(Ordering::Relaxed) > before + 20
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn drill_33_a_certificate_that_has_ended_rings_and_the_others_are_served() {
    let (_eu, routing, authority) = world();
    let ended = authority.issue(&Says::names(&["one.example"]).years(2000, 2001));
    let edge = doors(&routing, &authority)
        .prepare(|folder| write_pair(folder.path(), "one.example", &ended))
        .start();
    let config = client_config(&authority, None);
    let refused = secured(edge.listener(1), "one.example", &config).err().expect("its client refuses it");
    assert!(refused.to_string().contains("expired"), "visibly: {refused}");
    let mut wire = secured(edge.listener(1), "two.example", &config).unwrap();
    assert_eq!(get("acme.app.example", "/").on(&mut wire).region(), "eu-west-1");
    edge.says("one.example.pem has ended");
    let days = edge.metrics().names().iter().filter(|name| name.contains("certificate_expiry_days")).count();
    assert_eq!(days, 2);
    let said = edge.rhumb(&["status"]).stdout;
    assert!(
        said.contains("Certificates that end soon:\n  listener ") && said.contains(" days ago"),
        "{said}"
    );
    authority.leaf_in(edge.folder().path(), "one.example");
    shown("a new one in its place", &edge, "one.example", &authority);
}

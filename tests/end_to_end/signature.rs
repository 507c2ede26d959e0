//! The signature under the region headers, checked as `docs/signature.md` tells a service to.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rhumb::lab::{Fault, Then};
use ring::hmac;
use serde_json::Value;

use crate::harness::{
    Answer, EdgeBuilder, Folder, Routing, Toy, ask, edge, eventually, faulty, get, post, rhumb, toy,
};

const OLD: [u8; 32] = [7; 32];
const NEW: [u8; 32] = [9; 32];

fn line(name: &str, secret: [u8; 32]) -> String {
    format!("{name} {}\n", STANDARD.encode(secret))
}

fn world() -> (Toy, Toy, EdgeBuilder) {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"], epoch = 7"#)
        .tenancy("unknown", "\"public\"")
        .and("[placements.public]\nby = \"nearest\"");
    (eu, us, signing(&routing))
}

fn signing(routing: &Routing) -> EdgeBuilder {
    let edge =
        edge(routing).set("signature", "keys_file = \"sign.keys\"").file("sign.keys", line("old", OLD));
    edge.prepare(|folder| {
        std::fs::set_permissions(folder.file("sign.keys"), PermissionsExt::from_mode(0o600)).unwrap();
    })
}

/// The name of the key that the request was signed with, after every check that a service is told to make.
#[track_caller]
fn checked(answer: &Answer) -> String {
    let json = answer.json();
    let field = |name: &str| match json["headers"][name].as_array().map(Vec::as_slice) {
        None => String::new(),
        Some([Value::String(one)]) => one.clone(),
        Some(several) => panic!("{name} came {} times: {several:?}", several.len()),
    };
    let signature = field("x-rhumb-signature");
    let parts: Vec<_> = signature.split(';').collect();
    let [version, kid, time, mac] = parts[..] else { panic!("no signature: {signature:?} in {json}") };
    let (kid, time) = (kid.strip_prefix("kid=").unwrap(), time.strip_prefix("t=").unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(time.parse::<u64>().unwrap().abs_diff(now) <= 300, "{signature}");
    let mut lines = vec![version.to_owned(), time.to_owned(), json["method"].as_str().unwrap().to_owned()];
    let path = json["path"].as_str().unwrap();
    lines.push(json["query"].as_str().map_or(path.to_owned(), |query| format!("{path}?{query}")));
    for name in ["tenant-id", "source-region", "target-region", "owner-region", "owner-epoch"] {
        lines.push(field(&format!("x-{name}")));
    }
    lines.extend([field("x-request-region-policy"), field("x-region-hops")]);
    let keys = HashMap::from([("old", OLD), ("new", NEW)]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &keys[kid]);
    let mac = URL_SAFE_NO_PAD.decode(mac.strip_prefix("mac=").unwrap()).unwrap();
    hmac::verify(&key, lines.join("\n").as_bytes(), &mac)
        .unwrap_or_else(|_| panic!("{signature} over {lines:?}"));
    kid.to_owned()
}

#[test]
fn a_region_can_check_every_request_whatever_its_method_path_and_tenant() {
    let (_eu, _us, edge) = world();
    let edge = edge.start();
    for request in [
        get("acme.app.example", "/v1/cases/42"),
        get("acme.app.example", "/a%20b/%7E;x?q=%2F&empty=&q"),
        get("ACME.app.example:80", "/?"),
        post("acme.app.example", "/v1/cases"),
        ask("DELETE", "acme.app.example", "/v1/cases/42"),
        ask("OPTIONS", "acme.app.example", "/"),
        get("nobody.app.example", "/").header("X-Tenant-ID", "nobody"),
    ] {
        assert_eq!(checked(&edge.ask(&request)), "old");
    }
    let absolute = get("acme.app.example", "http://acme.app.example/a?b");
    assert_eq!(checked(&edge.ask(&absolute)), "old");
}

#[test]
fn a_forged_signature_is_replaced_and_without_keys_removed() {
    let (eu, us, signed) = world();
    let forged = || {
        let mut forged = get("acme.app.example", "/");
        for name in ["X-Rhumb-Signature", "x-rhumb-signature", "X_Rhumb_Signature", "x.rhumb.signature"] {
            forged = forged.header(name, "v1;kid=old;t=1;mac=AAAA");
        }
        forged
    };
    let answer = signed.start().ask(&forged());
    assert_eq!(checked(&answer), "old");
    for spelling in ["x_rhumb_signature", "x.rhumb.signature"] {
        assert_eq!(answer.seen(spelling), None);
    }
    let plain = Routing::of(&[&eu, &us]).tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    assert_eq!(edge(&plain).start().ask(&forged()).seen("x-rhumb-signature"), None);
}

#[test]
fn a_second_attempt_is_signed_for_the_region_that_gets_it() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    eu.otherwise(Fault::raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Then::Keep));
    let routing = Routing::of(&[&eu, &us]).tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = signing(&routing).start();
    let answer = edge.get("acme.app.example", "/");
    assert_eq!(answer.region(), "us-east-1");
    assert_eq!(answer.seen("x-target-region").as_deref(), Some("us-east-1"));
    assert_eq!(checked(&answer), "old");
}

#[test]
fn keys_are_replaced_under_load_and_no_request_is_unsigned() {
    let (_eu, _us, edge) = world();
    let edge = edge.start();
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let taken = || edge.metric("rhumb_signature_key_reloads_total", &[("outcome", "taken")]);
    let refused = || edge.metric("rhumb_signature_key_reloads_total", &[("outcome", "refused")]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut wire = edge.wire();
                while !over.load(Ordering::Relaxed) {
                    checked(&get("acme.app.example", "/load").on(&mut wire));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut since = 0;
        let mut some_more = || {
            eventually("the load goes on", || asked.load(Ordering::Relaxed) >= since + 50);
            since = asked.load(Ordering::Relaxed);
        };
        some_more();
        edge.folder().rename_over("sign.keys", line("new", NEW) + &line("old", OLD));
        eventually("the new key signs", || checked(&edge.get("acme.app.example", "/")) == "new");
        eventually("that is counted", || taken() >= 1.0);
        some_more();
        edge.folder().rename_over("sign.keys", "new short\n");
        eventually("a bad file is told", || refused() >= 1.0);
        assert_eq!(checked(&edge.get("acme.app.example", "/")), "new", "the old keys stay");
        some_more();
        edge.folder().write("sign.keys", line("old", OLD));
        edge.signal("HUP");
        eventually("the old key signs again", || checked(&edge.get("acme.app.example", "/")) == "old");
        some_more();
        over.store(true, Ordering::Relaxed);
    });
    for said in [
        "signature keys taken: new, old; the first signs",
        "signature keys were not taken, the old ones stay",
        "line 1: the secret of new is",
        "signature keys taken: old; the first signs",
    ] {
        edge.says(said);
    }
    let log = edge.log();
    assert!(!log.contains(&STANDARD.encode(OLD)) && !log.contains(&STANDARD.encode(NEW)), "{log}");
    println!("{} requests under load, each signed", asked.load(Ordering::Relaxed));
}

#[test]
fn a_key_file_that_cannot_be_used_is_a_reason_not_to_start() {
    let (_eu, _us, edge) = world();
    let secret = STANDARD.encode(OLD);
    let ran = edge.file("sign.keys", format!("old {secret}x=\nnew {secret}\n{secret}\n")).fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for told in ["sign.keys: 2 problems", "line 1: ", "line 3: "] {
        assert!(ran.stderr.contains(told), "{told:?} in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains(&secret), "{}", ran.stderr);
    let settings = ran.folder.as_ref().unwrap().file("rhumb.toml");
    let check = rhumb(&["check", "-c", settings.to_str().unwrap()]).output().unwrap();
    assert_eq!(check.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&check.stderr).contains("sign.keys: 2 problems"));
    let (_eu, _us, edge) = world();
    let ran = edge.set("signature", "keys_file = \"none.keys\"").fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("none.keys") && ran.stderr.contains("No such file"), "{}", ran.stderr);
}

#[test]
fn a_key_file_that_everybody_can_read_is_warned_of() {
    let (_eu, _us, edge) = world();
    let open = |folder: &Folder| {
        std::fs::set_permissions(folder.file("sign.keys"), PermissionsExt::from_mode(0o644)).unwrap();
    };
    let edge = edge.prepare(open).start();
    edge.says("every user of this machine can read or write it");
    let (_eu, _us, edge) = world();
    let edge = edge.start();
    assert!(!edge.log().contains("every user of this machine"), "{}", edge.log());
}

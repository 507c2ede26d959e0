//! Announcements of ownership: who may make them, what they do at once, and what they wait for.

use ring::digest;
use serde_json::{Value, json};

use super::world::{ByHand, EU, HOST, SECRET, US, before, by_hand, gateway, now, signature, write_under_way};
use crate::harness::{Answer, Ask, Edge, ask, eventually, faulty, post, toy};

const PATH: &str = "/.well-known/rhumb/ownership";
pub const AT_EU: &str = r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#;

fn announcement(region: &str, tenants: &Value) -> (String, Ask) {
    let body = json!({"region": region, "tenants": tenants}).to_string();
    (body.clone(), ask("POST", "10.0.0.1:80", PATH).body(body))
}

fn signed(region: &str, tenants: &Value, secret: [u8; 32], time: u64) -> Ask {
    signed_with(region, announcement(region, tenants), secret, time)
}

/// This body, signed as an edge does.
pub fn signed_body(region: &str, body: &str) -> Ask {
    let ask = ask("POST", "10.0.0.1:80", PATH).body(body.to_owned());
    signed_with(region, (body.to_owned(), ask), SECRET, now())
}

fn signed_with(region: &str, (body, ask): (String, Ask), secret: [u8; 32], time: u64) -> Ask {
    let sha = digest::digest(&digest::SHA256, body.as_bytes());
    let sha: String = sha.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("v1-ownership\n{time}\n{region}\n{sha}");
    ask.header("X-Rhumb-Signature", &signature("one", secret, time, &text))
}

pub fn moved(owner: &str, epoch: u64) -> Value {
    json!([{"tenant": "acme", "owner": owner, "epoch": epoch}])
}

pub fn announce(gateway: &Edge, owner: &str, epoch: u64) -> Answer {
    gateway.ask(&signed(EU, &moved(owner, epoch), SECRET, now()))
}

#[test]
fn an_announcement_fences_at_once() {
    let eu = toy(EU);
    let mut at_eu = gateway(&eu, AT_EU).start();
    assert_eq!(by_hand().to(&at_eu).region(), EU);
    let taken = announce(&at_eu, US, 8);
    assert_eq!((taken.status, taken.json()), (200, json!({"taken": 1})));
    let refused = by_hand().to(&at_eu);
    assert_eq!(
        (refused.status, refused.header("x-owner-region"), refused.header("x-owner-epoch")),
        (409, Some(US), Some("8"))
    );
    assert_eq!(announce(&at_eu, US, 8).status, 200, "told twice is told");
    let at_eu = at_eu.kill_and_start_again();
    assert_eq!(by_hand().to(&at_eu).status, 409, "a restart keeps it");
    assert_eq!(eu.writes_seen(), 1);
}

#[test]
fn what_is_known_better_is_told() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let better = announce(&at_eu, US, 6);
    assert_eq!(better.status, 409);
    assert_eq!(better.json()["tenants"], json!([{"tenant": "acme", "owner": EU, "epoch": 7}]));
    assert_eq!(by_hand().to(&at_eu).region(), EU);
}

#[test]
fn nobody_else_announces() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let good = moved(US, 8);
    for (request, status) in [
        (announcement(EU, &good).1, 401),
        (signed(EU, &good, [9; 32], now()), 401),
        (signed(EU, &good, SECRET, now() - 400), 401),
        (signed(US, &good, SECRET, now()), 421),
        (signed(EU, &json!([]), SECRET, now()), 400),
        (signed(EU, &json!([{"tenant": "acme", "owner": US, "epoch": -1}]), SECRET, now()), 400),
        (signed(EU, &json!([{"tenant": "acme", "owner": US, "epoch": u64::MAX}]), SECRET, now()), 400),
        (signed(EU, &json!("all"), SECRET, now()), 400),
    ] {
        let refused = at_eu.ask(&request);
        assert_eq!(refused.status, status, "{}", refused.text());
        assert_eq!(refused.header("www-authenticate").is_some(), status == 401);
    }
    // A signature over a request is none over an announcement, and the other way round.
    let (_, plain) = announcement(EU, &good);
    let of_a_request = signature("one", SECRET, now(), &format!("v1\n{}\nPOST\n{PATH}\n\n\n\n\n\n\n", now()));
    assert_eq!(at_eu.ask(&plain.header("X-Rhumb-Signature", &of_a_request)).status, 401);
    assert_eq!(by_hand().to(&at_eu).region(), EU, "nothing has changed");
    assert_eq!(eu.writes_seen(), 1);
}

#[test]
fn a_client_cannot_announce_through_an_edge() {
    let (eu, us) = (toy(EU), toy(US));
    let (at_eu, at_us) = (gateway(&eu, AT_EU).start(), gateway(&us, AT_EU).start());
    let edge = before(&[(EU, &at_eu), (US, &at_us)], AT_EU).start();
    let body = json!({"region": EU, "tenants": moved(US, 8)}).to_string();
    let forged = ask("POST", HOST, PATH).body(body).header("X-Rhumb-Signature", "v1;kid=one;t=1;mac=AAAA");
    assert_eq!(edge.ask(&forged).region(), EU, "it is a path of the service, like any other");
    assert_eq!(edge.ask(&post(HOST, "/")).region(), EU);
    assert_eq!((eu.writes_seen(), us.writes_seen()), (2, 0));
}

#[test]
fn an_announcement_waits_for_writes_under_way() {
    let eu = faulty(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let wire = write_under_way(&eu, &at_eu);
    std::thread::scope(|scope| {
        let announcing = scope.spawn(|| announce(&at_eu, US, 8));
        eventually("it is fenced", || by_hand().to(&at_eu).status == 409);
        let begun = eu.requests_begun();
        for _ in 0..20 {
            assert_eq!(by_hand().to(&at_eu).status, 409);
        }
        assert!(!announcing.is_finished(), "while the write may still come through");
        drop(wire);
        let taken = announcing.join().unwrap();
        assert_eq!(taken.status, 200, "{}", taken.text());
        assert_eq!(eu.requests_begun(), begun);
    });
}

#[test]
fn a_write_that_does_not_end_keeps_the_answer_back_and_still_is_the_last() {
    let eu = faulty(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let wire = write_under_way(&eu, &at_eu);
    let late = announce(&at_eu, US, 8);
    assert_eq!((late.status, late.json()["reason"].as_str()), (503, Some("writes_in_flight")));
    assert_eq!(by_hand().to(&at_eu).status, 409, "fenced all the same");
    drop(wire);
    eventually("its client has left", || announce(&at_eu, US, 8).status == 200);
}

#[test]
fn a_web_socket_that_may_write_is_a_write_for_as_long_as_it_lasts() {
    let eu = toy(EU);
    let at_eu = gateway(&eu, AT_EU).start();
    let handshake = ByHand { path: "/ws", ..by_hand() }.read().signed();
    let handshake = handshake
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut wire = at_eu.wire();
    wire.send(handshake.bytes());
    assert_eq!(wire.head().map(|head| head.status), Some(101));
    let late = announce(&at_eu, US, 8);
    assert_eq!((late.status, late.json()["reason"].as_str()), (503, Some("writes_in_flight")));
    drop(wire);
    eventually("it is over", || announce(&at_eu, US, 8).status == 200);
}

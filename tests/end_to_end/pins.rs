//! A client that wrote reads its own write, wherever it reads.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rhumb::lab::{Fault, Tells, Then};

use crate::harness::{
    Answer, Ask, Authority, Edge, H2, Routing, Toy, ask, client_config, edge, eventually, faulty, get, put,
    secured, toy,
};

const HOST: &str = "acme.app.example";
const FAR: Duration = Duration::from_secs(3_600);

/// `acme` lives in `us-east-1`; the edge stands in `eu-west-1`, whose copy is an hour behind and does not say so.
fn world(policy: &str) -> (Toy, Toy, Edge) {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    eu.replicate_from(&us, FAR);
    eu.set_tells(Tells::Positions);
    let edge = edge(&routing(&eu, &us, policy)).start();
    (eu, us, edge)
}

fn routing(eu: &Toy, us: &Toy, policy: &str) -> Routing {
    Routing::of(&[eu, us])
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#)
        .tenant("globex", r#"home = "us-east-1", replicas = ["eu-west-1"]"#)
        .and(&format!("[policies.default]\n{policy}"))
}

const PROMISED: &str = "reads.read_your_writes = \"10m\"";

fn token(answer: &Answer) -> String {
    answer.header("x-consistency-token").unwrap_or_else(|| panic!("no token: {answer:?}")).to_owned()
}

fn cookies(answer: &Answer) -> Vec<&str> {
    let named = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    named.map(|(_, value)| value.as_str()).collect()
}

fn with(token: &str) -> Ask {
    get(HOST, "/kv/color").header("X-Consistency-Token", token)
}

fn pins(edge: &Edge, outcome: &str) -> f64 {
    edge.metric("rhumb_pins_total", &[("outcome", outcome)])
}

/// What becomes of a pin is counted when its request has ended, a moment after the answer.
#[track_caller]
fn counts(edge: &Edge, outcome: &str, at_least: f64) {
    eventually(&format!("{outcome} is counted"), || pins(edge, outcome) >= at_least);
}

#[test]
fn a_client_reads_what_it_wrote_by_cookie_or_by_token_and_others_read_nearby() {
    let (_eu, _us, edge) = world(PROMISED);
    let written = edge.ask(&put(HOST, "/kv/color").body("blue"));
    assert_eq!(written.region(), "us-east-1");
    let token = token(&written);
    let [cookie] = cookies(&written)[..] else { panic!("one cookie: {written:?}") };
    assert_eq!(cookie, format!("rhumb-pin={token}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"));
    let pair = format!("theme=dark; {}; lang=en", cookie.split(';').next().unwrap());
    for request in [with(&token), get(HOST, "/kv/color").header("Cookie", &pair)] {
        let read = edge.ask(&request);
        assert_eq!((read.region().as_str(), read.json()["value"].as_str()), ("us-east-1", Some("blue")));
        assert_eq!(read.header("x-consistency"), None);
    }
    let other = edge.get(HOST, "/kv/color");
    assert_eq!((other.region().as_str(), other.json()["value"].as_str()), ("eu-west-1", None));
    assert_eq!((other.header("x-consistency-token"), cookies(&other).len()), (None, 0), "it wrote nothing");
    counts(&edge, "pinned", 2.0);
    assert_eq!(pins(&edge, "issued"), 1.0);
}

#[test]
fn no_region_sees_a_pin_and_every_other_cookie_arrives() {
    let (_eu, _us, edge) = world(PROMISED);
    let token = token(&edge.ask(&put(HOST, "/kv/color")));
    let cookie = format!("a=b; rhumb-pin={token}; c=d; __Host-rhumb-pin={token}");
    let read = edge.ask(&with(&token).header("Cookie", &cookie));
    assert_eq!(read.seen("cookie").as_deref(), Some("a=b; c=d"));
    assert_eq!(read.seen("x-consistency-token"), None);
    let alone = edge.ask(&get(HOST, "/").header("Cookie", "rhumb-pin=forged"));
    assert_eq!(alone.seen("cookie"), None);
    let write = edge.ask(&put(HOST, "/kv/color").header("X-Consistency-Token", &token));
    assert_eq!(write.seen("x-consistency-token"), None, "nor does it with a write");
}

/// Reads until `region` answers; whoever answers has the write.
fn read_until(edge: &Edge, token: &str, region: &str) {
    eventually(&format!("{region} answers"), || {
        let read = edge.ask(&with(token));
        assert_eq!(read.json()["value"], "hello", "{} answered without the write", read.region());
        read.region() == region
    });
}

#[test]
fn a_copy_answers_once_it_has_reached_the_position_of_the_write() {
    let (eu, _us, edge) = world(PROMISED);
    let token = token(&edge.ask(&put(HOST, "/kv/color")));
    assert_eq!(edge.ask(&with(&token)).region(), "us-east-1");
    eu.set_lag(Duration::ZERO);
    read_until(&edge, &token, "eu-west-1");
    counts(&edge, "satisfied", 1.0);
}

#[test]
fn a_copy_answers_once_its_lag_covers_the_write_where_nobody_tells_positions() {
    let (eu, us, edge) = world(PROMISED);
    us.set_tells(Tells::Nothing);
    eu.set_tells(Tells::Lags);
    eu.set_lag(Duration::from_millis(300));
    eventually("the lag is known", || {
        let labels = [("source_region", "us-east-1"), ("target_region", "eu-west-1")];
        edge.metric("rhumb_replication_lag_seconds", &labels) < 3.0
            && edge.metric("rhumb_replication_lag_seconds", &labels) > 0.0
    });
    let token = token(&edge.ask(&put(HOST, "/kv/color")));
    assert_eq!(edge.ask(&with(&token)).region(), "us-east-1", "no report is as new as the write");
    read_until(&edge, &token, "eu-west-1");
    counts(&edge, "satisfied", 1.0);
    assert_eq!(pins(&edge, "old"), 0.0);
}

#[test]
fn a_promise_ends_with_its_time_where_nobody_tells_anything() {
    let (eu, us, edge) = world("reads.read_your_writes = \"1500ms\"");
    eu.set_tells(Tells::Nothing);
    us.set_tells(Tells::Nothing);
    let token = token(&edge.ask(&put(HOST, "/kv/color")));
    assert_eq!(edge.ask(&with(&token)).region(), "us-east-1");
    eventually("the promise is over", || edge.ask(&with(&token)).region() == "eu-west-1");
    counts(&edge, "old", 1.0);
    assert_eq!(pins(&edge, "satisfied"), 0.0);
}

#[test]
fn a_lost_pin_is_an_older_answer_that_says_so_or_a_refusal() {
    for (policy, refuses) in
        [(PROMISED.to_owned(), false), (format!("{PROMISED}\nreads.on_pin_lost = \"refuse\""), true)]
    {
        let (_eu, us, edge) = world(&policy);
        let token = token(&edge.ask(&put(HOST, "/kv/color")));
        us.go_dark();
        // Also before health knows of it: the attempt fails, and goes on from there.
        let read = edge.ask(&with(&token));
        if refuses {
            assert_eq!(read.status, 503, "{read:?}");
            eventually("the region is known to be down", || {
                edge.ask(&with(&token)).refusal() == "pin_unavailable"
            });
        } else {
            assert_eq!((read.region().as_str(), read.header("x-consistency")), ("eu-west-1", Some("local")));
            assert_eq!(read.json()["value"].as_str(), None, "older than the write, and so it says");
        }
        let plain = edge.get(HOST, "/kv/color");
        assert_eq!((plain.region().as_str(), plain.header("x-consistency")), ("eu-west-1", None));
        us.come_back();
        eventually("the region answers again", || {
            let read = edge.ask(&with(&token));
            read.status == 200 && read.region() == "us-east-1" && read.header("x-consistency").is_none()
        });
        counts(&edge, "lost", 1.0);
    }
}

#[test]
fn what_is_no_pin_of_ours_is_ignored_and_counted() {
    let (_eu, _us, edge) = world(PROMISED);
    let good = token(&edge.ask(&put(HOST, "/kv/color")));
    let changed = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for (outcome, shown) in [
        ("forged", changed(10)),
        ("forged", changed(good.len() - 5)),
        ("malformed", good[..good.len() - 4].to_owned()),
        ("malformed", "v2.AAAA".to_owned()),
        ("malformed", String::new()),
        ("oversized", format!("{good}A")),
        ("oversized", "A".repeat(8_000)),
    ] {
        let before = pins(&edge, outcome);
        let read = edge.ask(&with(&shown));
        assert_eq!(
            (read.region().as_str(), pins(&edge, outcome) - before),
            ("eu-west-1", 1.0),
            "{shown:.20}"
        );
        assert_eq!(read.seen("x-consistency-token"), None);
    }
    let foreign = get("globex.app.example", "/kv/color").header("X-Consistency-Token", &good);
    assert_eq!(edge.ask(&foreign).region(), "eu-west-1");
    counts(&edge, "foreign", 1.0);
    let many = (0..9).map(|_| "rhumb-pin=x").collect::<Vec<_>>().join("; ");
    assert_eq!(edge.ask(&get(HOST, "/").header("Cookie", &many)).region(), "eu-west-1");
    assert_eq!(pins(&edge, "surplus"), 5.0);
    let both = with(&good).header("Cookie", "rhumb-pin=forged");
    assert_eq!(edge.ask(&both).region(), "us-east-1", "a bad one beside a good one does not harm");
}

#[test]
fn every_answer_that_leaves_room_for_a_commit_brings_a_pin_and_no_other_does() {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#).region(
        "eu-west-1",
        "health",
        r#"{ check = "tcp", interval = "100ms", fall = 1000 }"#,
    );
    let edge = edge(&routing).start();
    let pinned = |request: &Ask| {
        let answer = edge.ask(request);
        let (token, cookies) = (answer.header("x-consistency-token"), cookies(&answer));
        assert_eq!(token.is_some(), cookies.len() == 1, "both or neither: {answer:?}");
        (answer.status, token.is_some())
    };
    let post = || ask("POST", HOST, "/v1/cases").body("x");
    for (status, pin) in [
        (200, true),
        (201, true),
        (204, true),
        (302, true),
        (303, true),
        (400, false),
        (404, false),
        (409, false),
        (422, false),
        (429, false),
        (500, true),
        (503, true),
        (504, true),
    ] {
        let length = if status == 204 { "" } else { "Content-Length: 0\r\n" };
        eu.otherwise(Fault::raw(format!("HTTP/1.1 {status} X\r\n{length}\r\n"), Then::Keep));
        assert_eq!(pinned(&post()), (status, pin));
        let read = edge.ask(&get(HOST, "/"));
        assert_eq!(
            (read.header("x-consistency-token"), cookies(&read).len()),
            (None, 0),
            "a read writes nothing"
        );
    }
    let positioned = "HTTP/1.1 409 X\r\nX-Write-Position: 7\r\nContent-Length: 0\r\n\r\n";
    eu.otherwise(Fault::raw(positioned, Then::Keep));
    assert_eq!(pinned(&post()), (409, true), "a position says that something was written after all");
    let forged = "HTTP/1.1 404 X\r\nX-Consistency-Token: mine\r\nSet-Cookie: rhumb-pin=mine\r\nContent-Length: 0\r\n\r\n";
    eu.otherwise(Fault::raw(forged, Then::Keep));
    assert_eq!(pinned(&post()), (404, false), "no region hands out pins");
    eu.otherwise(Fault::reset_after_request());
    assert_eq!(pinned(&post()), (502, true), "it was sent, and nobody knows what became of it");
}

#[test]
fn what_was_never_sent_brings_no_pin() {
    let eu = faulty("eu-west-1");
    let never_down = r#"{ check = "tcp", interval = "100ms", fall = 1000 }"#;
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing.region("eu-west-1", "health", never_down)).start();
    eu.go_dark();
    let answer = edge.ask(&put(HOST, "/kv/color"));
    assert_eq!((answer.status, answer.header("x-consistency-token")), (503, None));
    assert!(edge.metric("rhumb_retries_total", &[("kind", "connect")]) >= 1.0, "it was tried");
    let (_eu, _us, edge) = world("reads.read_your_writes = \"0s\"");
    let answer = edge.ask(&put(HOST, "/kv/color"));
    assert_eq!((answer.status, answer.header("x-consistency-token")), (201, None), "nothing is promised");
}

#[test]
fn over_tls_the_cookie_is_for_this_host_alone_also_where_a_trusted_proxy_ended_it() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let authority = Authority::new();
    let edge = edge(&routing(&eu, &us, PROMISED))
        .prepare(|folder| authority.leaf_in(folder.path(), HOST))
        .listener(&format!("tls.certificates = [{{ chain = \"{HOST}.pem\", key = \"{HOST}.key\" }}]"))
        .set("trust", "proxies = [\"127.0.0.1/32\"]")
        .start();
    let secure = |answer: &Answer| {
        let token = token(answer);
        let wanted = format!("__Host-rhumb-pin={token}; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax");
        cookies(answer) == [wanted]
    };
    let mut wire = secured(edge.listener(1), HOST, &client_config(&authority, None)).unwrap();
    assert!(secure(&put(HOST, "/kv/color").on(&mut wire)));
    let behind = |proto| edge.ask(&put(HOST, "/kv/color").header("X-Forwarded-Proto", proto));
    assert!(secure(&behind("https")) && !secure(&behind("http")));
    assert!(!secure(&edge.ask(&put(HOST, "/kv/color"))), "in the clear it would never come back");
}

#[test]
fn a_stranger_cannot_have_a_cookie_marked_as_secure() {
    let (_eu, _us, edge) = world(PROMISED);
    let answer = edge.ask(&put(HOST, "/kv/color").header("X-Forwarded-Proto", "https"));
    assert!(cookies(&answer)[0].starts_with("rhumb-pin="), "{answer:?}");
}

fn line(name: &str, byte: u8) -> String {
    format!("{name} {}\n", STANDARD.encode([byte; 32]))
}

#[test]
fn edges_that_share_keys_share_pins_and_a_rotated_key_still_counts() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = routing(&eu, &us, PROMISED);
    let with_keys = |keys: String| {
        let pin = "keys_file = \"pin.keys\"";
        edge(&routing).set("pin", pin).file("pin.keys", keys).start()
    };
    let (one, two) = (with_keys(line("old", 7)), with_keys(line("new", 9) + &line("old", 7)));
    let (stranger, kept) = (with_keys(line("new", 9)), token(&one.ask(&put(HOST, "/kv/color"))));
    for (edge, region) in [(&one, "us-east-1"), (&two, "us-east-1"), (&stranger, "eu-west-1")] {
        assert_eq!(edge.ask(&with(&kept)).region(), region);
    }
    assert_eq!(pins(&stranger, "forged"), 1.0);
    let new = token(&two.ask(&put(HOST, "/kv/color")));
    assert_eq!(one.ask(&with(&new)).region(), "eu-west-1");
    one.folder().rename_over("pin.keys", line("new", 9) + &line("old", 7));
    eventually("the new key is known", || one.ask(&with(&new)).region() == "us-east-1");
    assert_eq!(one.ask(&with(&kept)).region(), "us-east-1", "and the old one is not forgotten");
    one.folder().rename_over("pin.keys", "new short\n");
    eventually("a bad file is told", || {
        one.metric("rhumb_pin_key_reloads_total", &[("outcome", "refused")]) >= 1.0
    });
    assert_eq!(one.ask(&with(&new)).region(), "us-east-1", "and changes nothing");
    one.folder().write("pin.keys", line("new", 9));
    one.signal("HUP");
    eventually("the old key is forgotten", || one.ask(&with(&kept)).region() == "eu-west-1");
    assert!(!one.log().contains(&STANDARD.encode([7; 32])), "{}", one.log());
}

#[test]
fn keys_that_nobody_named_outlive_the_process() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = routing(&eu, &us, PROMISED);
    let first = edge(&routing).start();
    let kept = token(&first.ask(&put(HOST, "/kv/color")));
    let again = edge(&routing).again_in(first.kill()).start();
    assert_eq!(again.ask(&with(&kept)).region(), "us-east-1");
    let other = edge(&routing).start();
    assert_eq!(other.ask(&with(&kept)).region(), "eu-west-1", "another edge made others");
}

#[test]
fn pins_travel_over_http_2_as_well() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let edge = edge(&routing(&eu, &us, PROMISED)).listener("h2c = true").start();
    let mut client = H2::plain(edge.listener(1));
    let token = token(&client.ask(&put(HOST, "/kv/color").body("blue")));
    let pin = format!("rhumb-pin={token}");
    // Cookies may come in several fields.
    let crumbs =
        get(HOST, "/kv/color").header("Cookie", "a=b").header("Cookie", &pin).header("Cookie", "c=d");
    for request in [with(&token), get(HOST, "/kv/color").header("Cookie", &pin), crumbs] {
        let read = client.ask(&request);
        assert_eq!((read.region().as_str(), read.json()["value"].as_str()), ("us-east-1", Some("blue")));
        let cookies = read.seen("cookie").unwrap_or_default();
        assert!(!cookies.contains("rhumb"), "{cookies}");
        assert_eq!(cookies.contains("a=b"), cookies.contains("c=d"), "{cookies}");
    }
}

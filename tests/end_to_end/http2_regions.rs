//! Regions that are spoken to in HTTP/2, in the clear and over TLS, whatever the client speaks.

use rhumb::lab::{Protocols, ToyRegion};

use crate::harness::{
    Authority, Does, Edge, End, Framed, Routing, Toy, ask, code, edge, eventually, framed, get, post, put,
    server_config, toy, toy_from,
};

const MIB: usize = 1024 * 1024;
const ACME: &str = "acme.app.example";

/// A region of `eu-west-1` that speaks HTTP/2 alone.
fn eu() -> Toy {
    toy_from(ToyRegion::new("eu-west-1").speaks(Protocols::Http2))
}

fn routing(eu: &Toy) -> Routing {
    Routing::of(&[eu]).region("eu-west-1", "http", "2").tenant("acme", r#"home = "eu-west-1""#)
}

fn world() -> (Toy, Edge) {
    let eu = eu();
    let edge = edge(&routing(&eu)).start();
    (eu, edge)
}

/// A region that is told what to say, frame by frame.
fn told(keys: &str) -> (Framed, Edge) {
    let eu = framed("eu-west-1");
    let routing = Routing::of(&[&eu])
        .region("eu-west-1", "http", "2")
        .region("eu-west-1", "health", r#"{ check = "tcp", interval = "100ms", fall = 1000 }"#)
        .tenant("acme", r#"home = "eu-west-1""#)
        .and(keys);
    let edge = edge(&routing).start();
    (eu, edge)
}

#[test]
fn a_region_is_checked_and_asked_in_http_2() {
    let (eu, edge) = world();
    let answer =
        edge.ask(&get(ACME, "/v1/cases?q=1").header("X-Owner-Region", "us-east-1").header("X-Kept", "yes"));
    let said = answer.json();
    assert_eq!((said["protocol"].as_str(), said["path"].as_str()), (Some("HTTP/2.0"), Some("/v1/cases")));
    assert_eq!((said["query"].as_str(), said["authority"].as_str()), (Some("q=1"), Some(ACME)));
    for (name, value) in [
        ("x-owner-region", Some("eu-west-1")),
        ("x-tenant-id", Some("acme")),
        ("x-target-region", Some("eu-west-1")),
        ("x-kept", Some("yes")),
        ("x-forwarded-host", Some(ACME)),
        ("host", None),
        ("connection", None),
    ] {
        assert_eq!(answer.seen(name).as_deref(), value, "{name}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = edge.ask(&ask(method, ACME, "/w").body("hello"));
        assert_eq!((answer.json()["body"]["bytes"].as_u64(), answer.end), (Some(5), End::Whole), "{method}");
    }
    assert!(eu.health_checks_seen() > 0);
}

#[test]
fn fields_about_the_clients_connection_stay_with_it() {
    let (_eu, edge) = world();
    let asked = [
        ("Connection", "x-private, keep-alive"),
        ("X-Private", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eA=="),
        ("Trailer", "X-Late"),
    ];
    let asked = asked.iter().fold(get(ACME, "/"), |asked, (name, value)| asked.header(name, value));
    let answer = edge.ask(&asked);
    for name in ["connection", "x-private", "keep-alive", "proxy-authorization", "trailer"] {
        assert_eq!(answer.seen(name), None, "{name}");
    }
}

#[test]
fn many_requests_at_once_share_a_connection() {
    let eu = eu();
    let health = r#"{ interval = "10m" }"#;
    let edge = edge(&routing(&eu).region("eu-west-1", "health", health)).start();
    edge.get(ACME, "/warm");
    let before = eu.connections_seen();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(edge.get(ACME, "/slow?ms=5000").status, 200));
        }
        eventually("all are under way at once", || eu.in_flight() == 40);
    });
    assert_eq!(eu.connections_seen(), before, "no connection besides the first");
}

#[test]
fn over_tls_the_protocol_is_agreed_on_and_one_that_does_not_fit_gets_nothing() {
    let authority = Authority::new();
    let serve = |protocols| {
        let config = server_config(&authority, "eu.internal", None);
        toy_from(ToyRegion::new("eu-west-1").tls(config).speaks(protocols))
    };
    let start = |eu: &Toy, health: &str| {
        let tls = r#"{ server_name = "eu.internal", ca = "ca.pem" }"#;
        let routing = routing(eu).region("eu-west-1", "tls", tls).region("eu-west-1", "health", health);
        edge(&routing).file("ca.pem", authority.pem()).start()
    };
    let eu = serve(Protocols::Both);
    let edge = start(&eu, r#"{ interval = "100ms" }"#);
    let answer = edge.get(ACME, "/");
    assert_eq!(answer.json()["protocol"], "HTTP/2.0");
    assert_eq!(answer.json()["tls"]["server_name"], "eu.internal");
    assert_eq!(edge.ask(&post(ACME, "/")).json()["protocol"], "HTTP/2.0");
    assert!(eu.health_checks_seen() > 0);

    let old = serve(Protocols::Http1);
    let edge = start(&old, r#"{ interval = "100ms" }"#);
    let refused = edge.get(ACME, "/");
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "no_region"), "its checks fail");
    let edge = start(&old, r#"{ check = "tcp" }"#);
    for asked in [get(ACME, "/"), post(ACME, "/")] {
        assert_eq!(edge.ask(&asked).refusal(), "upstream_failed");
    }
    assert_eq!((old.requests_seen(), old.health_checks_seen()), (0, 0));
}

#[test]
fn a_region_that_speaks_http_1_alone_is_down_for_http_2() {
    let old = toy("eu-west-1");
    let edge = edge(&routing(&old)).start();
    assert_eq!(edge.get(ACME, "/").status, 503);
    let edge =
        crate::harness::edge(&routing(&old).region("eu-west-1", "health", r#"{ check = "tcp" }"#)).start();
    assert_eq!(edge.get(ACME, "/").refusal(), "upstream_failed");
    assert_eq!(edge.ask(&post(ACME, "/")).refusal(), "upstream_failed");
    assert_eq!(old.requests_seen(), 0);
}

#[test]
fn the_protocol_follows_the_table() {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(Protocols::Both));
    let edge = edge(&routing(&eu)).start();
    assert_eq!(edge.get(ACME, "/").json()["protocol"], "HTTP/2.0");
    edge.folder().write("routing.toml", routing(&eu).region("eu-west-1", "http", "1").text());
    eventually("it is HTTP/1.1", || edge.get(ACME, "/").json()["protocol"] == "HTTP/1.1");
    edge.folder().write("routing.toml", routing(&eu).text());
    eventually("it is HTTP/2 again", || edge.get(ACME, "/").json()["protocol"] == "HTTP/2.0");
}

#[test]
fn bodies_go_through_in_both_directions_without_being_kept() {
    let (_eu, edge) = world();
    edge.get(ACME, "/warm");
    let before = edge.figure("VmRSS");
    let answer = edge.ask(&put(ACME, "/up").body(vec![b'u'; 20 * MIB]));
    assert_eq!(answer.json()["body"]["bytes"], 20 * MIB);
    let mut wire = edge.wire();
    wire.send(format!("POST /up HTTP/1.1\r\nHost: {ACME}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    (0..100).for_each(|_| wire.send("5\r\nhello\r\n"));
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer().json()["body"]["bytes"], 500);
    let down = get(ACME, &format!("/bytes?n={}", 50 * MIB)).on(&mut wire);
    assert_eq!(
        (down.end, down.body.len(), down.header("content-length")),
        (End::Whole, 50 * MIB, Some("52428800"))
    );
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
    assert_eq!(get(ACME, "/next").on(&mut wire).json()["path"], "/next");
}

#[test]
fn a_response_comes_as_it_is_made() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send(format!("GET /stream?chunks=2&every_ms=600000 HTTP/1.1\r\nHost: {ACME}\r\n\r\n"));
    let head = wire.head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    wire.until("chunk 1 of 2 from eu-west-1");
}

#[test]
fn head_204_and_304_have_no_body_and_no_framing_of_one() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    let head = ask("HEAD", ACME, "/bytes?n=1000").on(&mut wire);
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
    let head = ask("HEAD", ACME, "/stream").on(&mut wire);
    assert_eq!((head.status, head.header("content-length")), (200, None));
    for (path, status) in [("/status/204", 204), ("/status/304", 304)] {
        let answer = get(ACME, path).on(&mut wire);
        assert_eq!((answer.status, answer.header("transfer-encoding")), (status, None), "{path}");
    }
    assert_eq!(get(ACME, "/next").on(&mut wire).json()["path"], "/next");
}

#[test]
fn a_head_without_a_body_may_tell_its_length() {
    // `:status: 304` and `content-length: 1234`, by the static table.
    let block = [&[0x8b, 0x0f, 0x0d, 4][..], b"1234"].concat();
    let (eu, edge) = told("");
    eu.script([Does::Head(block)]);
    let mut wire = edge.wire();
    let answer = get(ACME, "/").on(&mut wire);
    assert_eq!((answer.status, answer.header("content-length")), (304, Some("1234")));
    assert_eq!(get(ACME, "/").on(&mut wire).region(), "eu-west-1");
}

#[test]
fn an_http_1_0_client_gets_a_body_that_ends_with_its_connection() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send(format!("GET /stream?chunks=3 HTTP/1.0\r\nHost: {ACME}\r\n\r\n"));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("transfer-encoding"), answer.end), (200, None, End::Closed));
    assert_eq!(answer.text().lines().count(), 3);
    assert!(wire.is_over());
}

#[test]
fn interim_heads_of_an_http_2_region_end_before_the_client_and_cost_nothing() {
    let (eu, edge) = told("");
    edge.get(ACME, "/warm");
    let before = edge.figure("VmRSS");
    eu.script([Does::Interim(100_000)]);
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 24 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn what_a_region_refuses_to_begin_is_sent_again_and_done_once() {
    let (eu, edge) = told("");
    for (nth, reply) in
        [Does::Reset(code::REFUSED_STREAM), Does::GoneBefore(code::NO_ERROR)].into_iter().enumerate()
    {
        for asked in [post(ACME, "/w"), get(ACME, "/r"), post(ACME, "/large").body(vec![b'x'; 60 * 1024])] {
            let before = (eu.begun(), eu.executed());
            eu.script([reply.clone()]);
            assert_eq!(edge.ask(&asked).region(), "eu-west-1", "{reply:?}");
            assert_eq!((eu.begun() - before.0, eu.executed() - before.1), (2, 1), "{reply:?}");
        }
        let again = edge.metric("rhumb_retries_total", &[("kind", "reset"), ("outcome", "again")]);
        assert_eq!(again, 3.0 * (nth + 1) as f64);
    }
}

#[test]
fn a_request_too_large_to_be_kept_is_not_sent_again() {
    let (eu, edge) = told("");
    eu.script([Does::ExecuteThenReset(code::REFUSED_STREAM)]);
    assert_eq!(edge.ask(&post(ACME, "/w").body(vec![b'x'; MIB])).refusal(), "upstream_failed");
    assert_eq!((eu.begun(), eu.executed()), (1, 1));
}

#[test]
fn a_region_that_goes_on_refusing_is_given_up_after_the_attempts_of_the_policy() {
    let (eu, edge) = told("");
    eu.script(vec![Does::Reset(code::REFUSED_STREAM); 10]);
    assert_eq!(edge.ask(&post(ACME, "/w")).refusal(), "upstream_failed");
    assert_eq!((eu.begun(), eu.executed()), (3, 0));
}

#[test]
fn a_policy_that_retries_nothing_sends_nothing_again() {
    let (eu, edge) = told("[policies.default]\nretries = { on = [] }\n");
    eu.script([Does::Reset(code::REFUSED_STREAM), Does::GoneBefore(code::NO_ERROR)]);
    for begun in [1, 2] {
        assert_eq!(edge.ask(&post(ACME, "/w")).refusal(), "upstream_failed");
        assert_eq!((eu.begun(), eu.executed()), (begun, 0));
    }
}

#[test]
fn a_write_that_may_have_been_done_is_not_sent_again() {
    let (eu, edge) = told("");
    let all = [
        Does::ExecuteThenReset(code::INTERNAL_ERROR),
        Does::ExecuteThenReset(code::CANCEL),
        Does::ExecuteThenReset(code::HTTP_1_1_REQUIRED),
        Does::GoneWithIt(code::NO_ERROR),
        Does::GoneWithIt(code::INTERNAL_ERROR),
        Does::Reset(code::INTERNAL_ERROR),
    ];
    for (nth, reply) in all.into_iter().enumerate() {
        eu.script([reply.clone()]);
        let answer = edge.ask(&post(ACME, "/w"));
        assert_eq!((answer.status, answer.refusal().as_str()), (502, "upstream_failed"), "{reply:?}");
        assert_eq!(eu.begun(), nth as u64 + 1, "{reply:?}");
    }
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1", "one bad answer changes nothing for the next");
}

#[test]
fn a_region_that_goes_in_order_still_answers_what_it_took() {
    let (eu, edge) = told("");
    eu.script([Does::AnsweredThenGone]);
    assert_eq!(edge.ask(&post(ACME, "/w")).region(), "eu-west-1");
    assert_eq!(edge.ask(&post(ACME, "/w")).region(), "eu-west-1");
    assert_eq!((eu.begun(), eu.executed(), eu.connections()), (2, 2, 2));
}

#[test]
fn a_response_that_breaks_off_is_broken_off_towards_the_client() {
    let (eu, edge) = told("");
    for reply in
        [Does::ResetMidBody(code::INTERNAL_ERROR), Does::ResetMidBody(code::NO_ERROR), Does::ClosedMidBody]
    {
        eu.script([reply.clone()]);
        let answer = edge.get(ACME, "/");
        assert_eq!(
            (answer.status, answer.end, answer.text().as_str()),
            (200, End::Aborted, "part"),
            "{reply:?}"
        );
    }
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
}

#[test]
fn a_region_that_never_answers_ends_with_the_requests_time_and_learns_of_it() {
    let (eu, edge) = told("[policies.default]\ntimeout = \"300ms\"\n");
    eu.script([Does::Hang]);
    let answer = edge.get(ACME, "/");
    assert_eq!((answer.status, answer.refusal().as_str()), (504, "deadline"));
    eventually("the stream is cancelled", || eu.resets() == [code::CANCEL]);
}

#[test]
fn a_client_that_goes_away_cancels_its_stream_alone() {
    let (eu, edge) = told("");
    eu.script([Does::Hang]);
    let mut wire = edge.wire();
    wire.send(get(ACME, "/").bytes());
    eventually("it has come", || eu.begun() == 1);
    drop(wire);
    eventually("the stream is cancelled", || eu.resets() == [code::CANCEL]);
    assert_eq!(edge.get(ACME, "/").region(), "eu-west-1");
    assert_eq!(eu.connections(), 1, "the connection serves on");
}

//! HTTP/2 from clients: agreed on within TLS, or begun in the clear where a listener allows it.

use h2::Reason;
use rhumb::lab::{Fault, Protocols, ToyRegion};
use sha2::{Digest, Sha256};

use crate::harness::{
    Authority, Edge, EdgeBuilder, End, H2, Routing, Toy, Wire, ask, client_config, edge, eventually, faulty,
    get, post, toy, toy_from,
};

const HOST: &str = "acme.app.example";

fn world() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#));
    (eu, edge.listener("h2c = true"))
}

/// The listener that takes HTTP/2 in the clear.
fn clear(edge: &Edge) -> H2 {
    H2::plain(edge.listener(1))
}

/// The lines of its access log.
fn logged(edge: &Edge) -> Vec<String> {
    let text = std::fs::read_to_string(edge.folder().file("access.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn tls_agrees_on_http2_and_a_region_sees_an_ordinary_request() {
    let authority = Authority::new();
    let (_eu, edge) = world();
    let edge = edge
        .prepare(|folder| authority.leaf_in(folder.path(), "one.example"))
        .listener("tls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }]")
        .start();
    let mut h2 = H2::secured(edge.listener(2), "one.example", &client_config(&authority, None));
    for n in 0..10 {
        let answer = h2.ask(&get(HOST, &format!("/{n}?q={n}")));
        assert_eq!(
            (answer.region().as_str(), answer.json()["path"].as_str()),
            ("eu-west-1", Some(&*format!("/{n}")))
        );
        assert_eq!(answer.seen("host").as_deref(), Some(HOST));
        assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(answer.seen("x-forwarded-host").as_deref(), Some(HOST));
        assert_eq!(answer.seen("via").as_deref(), Some("1.1 rhumb/edge-1"));
        assert_eq!(answer.seen("x-tenant-id").as_deref(), Some("acme"));
        assert!(answer.seen("x-request-id").is_some_and(|id| !id.is_empty()));
    }
}

#[test]
fn where_http2_is_switched_off_tls_agrees_on_http1() {
    let authority = Authority::new();
    let (_eu, edge) = world();
    let keys =
        "http2 = false\ntls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }]";
    let edge = edge.prepare(|folder| authority.leaf_in(folder.path(), "one.example")).listener(keys).start();
    let mut config = rustls::ClientConfig::clone(&client_config(&authority, None));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("one.example").unwrap();
    let mut session = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut tcp = std::net::TcpStream::connect(edge.listener(2)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut wire = Wire::over(rustls::StreamOwned::new(session, tcp));
    assert_eq!(get(HOST, "/").on(&mut wire).region(), "eu-west-1");
}

#[test]
fn a_listener_in_the_clear_takes_both_and_another_takes_one() {
    let (_eu, edge) = world();
    let edge = edge.start();
    assert_eq!(clear(&edge).ask(&get(HOST, "/")).region(), "eu-west-1");
    let mut http1 = Wire::to(edge.listener(1));
    assert_eq!(get(HOST, "/").on(&mut http1).region(), "eu-west-1");
    http1.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(http1.answer().status, 400, "what began as HTTP/1 stays so");
    let mut other = edge.wire();
    other.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(other.answer().status, 400);
    assert!(other.is_over());
}

#[test]
fn many_requests_at_once_share_a_connection() {
    let (eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let slow: Vec<_> = (0..50).map(|n| h2.send(&get(HOST, &format!("/slow?ms=200&n={n}")))).collect();
    assert_eq!(h2.ask(&get(HOST, "/quick")).json()["path"], "/quick", "none waits for another");
    for mut asked in slow {
        assert_eq!(asked.reply().unwrap().region(), "eu-west-1");
    }
    assert_eq!(eu.requests_seen(), 51);
    edge.counts("rhumb_connections", &[], 1.0);
}

#[test]
fn bodies_go_through_whole_in_both_directions() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let said = h2.ask(&post(HOST, "/up").body(body.clone())).json();
    assert_eq!(
        (said["body"]["bytes"].as_u64(), said["body"]["sha256"].as_str()),
        (Some(3_000_000), Some(&*digest))
    );
    let mut unmeasured = h2.begin(ask("POST", HOST, "/up").head_for_h2("http"), false);
    unmeasured.give(body[..1_000_000].to_vec(), false);
    unmeasured.give(Vec::new(), true);
    assert_eq!(unmeasured.reply().unwrap().json()["body"]["bytes"], 1_000_000);
    let down = h2.ask(&get(HOST, "/bytes?n=3000000"));
    assert_eq!((down.end, down.body.len()), (End::Whole, 3_000_000));
    let streamed = h2.ask(&get(HOST, "/stream?chunks=20"));
    assert_eq!((streamed.end, streamed.text().lines().count()), (End::Whole, 20));
}

#[test]
fn answers_without_a_body_are_a_head_and_no_more() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let head = h2.ask(&ask("HEAD", HOST, "/bytes?n=1000"));
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000"), 0));
    for status in [204, 304] {
        let empty = h2.ask(&get(HOST, &format!("/status/{status}")));
        assert_eq!((empty.status, empty.body.len(), empty.end), (status, 0, End::Whole));
    }
}

#[test]
fn what_the_gate_refuses_is_answered_on_its_stream_and_the_others_go_on() {
    let (eu, edge) = world();
    let edge = edge.set("limits", "body_bytes = \"1MiB\"").start();
    let mut h2 = clear(&edge);
    let mut waiting = h2.send(&get(HOST, "/slow?ms=300"));
    let long = format!("/{}", "a".repeat(9000));
    let mut many = get(HOST, "/");
    for n in 0..101 {
        many = many.header(&format!("x-{n}"), "y");
    }
    let big = get(HOST, "/").header("x-big", &"v".repeat(33_000));
    let declared = ask("POST", HOST, "/").header("content-length", "2000000");
    for (asked, status, reason, cause) in [
        (get(HOST, "/a/../b"), 400, "bad_request", "dot_segment"),
        (get(HOST, "/a%00b"), 400, "bad_request", "encoded_control"),
        (get("-_-..app.example", "/"), 400, "bad_request", "host_malformed"),
        (get(HOST, "/").header("transfer_encoding", "chunked"), 400, "bad_request", "framing_alias"),
        (ask("TRACE", HOST, "/"), 405, "method_not_allowed", "method_forbidden"),
        (get(HOST, &long), 414, "uri_too_long", "uri_bytes"),
        (many, 431, "head_too_large", "header_count"),
        (big, 431, "head_too_large", "header_bytes"),
        (declared, 413, "body_too_large", "body_bytes"),
    ] {
        let answer = if status == 413 {
            h2.begin(asked.head_for_h2("http"), false).reply().unwrap()
        } else {
            h2.ask(&asked)
        };
        assert_eq!((answer.status, answer.refusal().as_str()), (status, reason), "{cause}");
        assert_eq!(edge.metric("rhumb_parse_errors_total", &[("cause", cause)]), 1.0, "{cause}");
    }
    assert_eq!(waiting.reply().unwrap().region(), "eu-west-1");
    assert_eq!(eu.requests_seen(), 1);
    let refused = |line: &&String| line.contains("\"refusal\":\"bad_request\"");
    eventually("every refusal is logged once", || logged(&edge).iter().filter(refused).count() == 4);
}

#[test]
fn grpc_is_refused_with_trailers_alone() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let grpc = |path: &str, host: &str| {
        h2.ask(&post(host, path).header("content-type", "application/grpc").header("te", "trailers"))
    };
    let mut grpc = grpc;
    for (path, host, status) in [("/a/../b", HOST, "3"), ("/pkg.Service/Call", "nobody.app.example", "5")] {
        let answer = grpc(path, host);
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)), "{path} {host}");
        assert!(answer.head_only, "no frame follows the head");
        assert_eq!(answer.header("content-length"), None);
    }
}

#[test]
fn no_client_decides_a_managed_header_and_what_is_for_one_connection_stays_there() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let spoofed = get(HOST, "/")
        .header("x-owner-region", "us-east-1")
        .header("x_owner_epoch", "99")
        .header("x-rhumb-signature", "v1")
        .header("x-forwarded-for", "203.0.113.9")
        .header("proxy-authorization", "Basic x")
        .header("early-data", "1");
    let answer = clear(&edge).ask(&spoofed);
    assert_eq!(answer.seen("x-owner-region").as_deref(), Some("eu-west-1"));
    assert_eq!(answer.seen("x-owner-epoch").as_deref(), Some("1"));
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    for gone in ["x_owner_epoch", "x-rhumb-signature", "proxy-authorization", "early-data", "te"] {
        assert_eq!(answer.seen(gone), None, "{gone}");
    }
    assert_eq!(edge.metric("rhumb_spoofed_headers_total", &[("header", "X-Owner-Region")]), 1.0);
}

#[test]
fn crumbs_of_a_cookie_reach_the_region_as_one() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let crumbs = get(HOST, "/").header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
    assert_eq!(clear(&edge).ask(&crumbs).seen("cookie").as_deref(), Some("a=1; b=2; c=3"));
}

#[test]
fn reads_are_tried_elsewhere_and_writes_are_not() {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us]).tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).listener("h2c = true").set("edge", "show_region = true").start();
    let mut h2 = clear(&edge);
    eu.script([Fault::reset_after_request(), Fault::reset_after_request()]);
    let read = h2.ask(&get(HOST, "/"));
    assert_eq!((read.region().as_str(), read.header("x-served-region")), ("us-east-1", Some("us-east-1")));
    let write = h2.ask(&post(HOST, "/"));
    assert_eq!((write.status, write.refusal().as_str()), (502, "upstream_failed"));
    assert_eq!(us.writes_executed(), 0);
}

#[test]
fn a_response_that_breaks_off_is_reset_and_never_ended() {
    let eu = faulty("eu-west-1");
    let edge =
        edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).listener("h2c = true").start();
    let mut h2 = clear(&edge);
    for fault in [Fault::reset_mid_body(50, 100), Fault::truncated(50, 100), Fault::truncated_chunked()] {
        eu.script([fault.clone()]);
        // What was not on its way yet when the response broke off never comes, be it the head.
        let reset = match h2.send(&get(HOST, "/")).reply() {
            Ok(broken) => broken.reset,
            Err(error) => error.reason(),
        };
        assert_eq!(reset, Some(Reason::INTERNAL_ERROR), "{fault:?}");
        assert_eq!(h2.ask(&get(HOST, "/after")).status, 200, "the connection goes on");
    }
}

#[test]
fn a_body_that_grows_too_long_is_refused_on_its_way() {
    let (eu, edge) = world();
    let edge = edge.set("limits", "body_bytes = \"1MiB\"").start();
    let mut h2 = clear(&edge);
    let mut asked = h2.begin(ask("POST", HOST, "/").head_for_h2("http"), false);
    let piece = vec![b'x'; 256 * 1024];
    let sent = (0..8).take_while(|_| asked.try_give(piece.clone().into(), false).is_ok()).count();
    assert!(sent >= 4, "{sent}");
    let answer = asked.reply().unwrap();
    assert_eq!((answer.status, answer.refusal().as_str()), (413, "body_too_large"));
    assert_eq!(h2.ask(&get(HOST, "/")).status, 200);
    assert_eq!(eu.writes_executed(), 0);
}

#[test]
fn a_client_that_waits_for_a_go_ahead_gets_it() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let head = ask("POST", HOST, "/").header("expect", "100-continue").header("content-length", "5");
    let mut asked = h2.begin(head.head_for_h2("http"), false);
    asked.early(100);
    asked.give("hello", true);
    assert_eq!(asked.reply().unwrap().json()["body"]["bytes"], 5);
}

#[test]
fn of_interim_responses_a_few_are_passed_on() {
    let eu = faulty("eu-west-1");
    let edge =
        edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).listener("h2c = true").start();
    let mut h2 = clear(&edge);
    for (sent, passed) in [(3, 3), (20, 8)] {
        eu.script([Fault::interim(sent)]);
        let answer = h2.ask(&get(HOST, "/"));
        assert_eq!((answer.status, answer.interim.clone()), (200, vec![103; passed]));
    }
}

#[test]
fn a_request_that_its_client_gives_up_is_given_up_towards_the_region() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let asked = h2.send(&get(HOST, "/slow?ms=600000"));
    eventually("it is under way", || edge.metric("rhumb_in_flight", &[]) == 1.0);
    asked.reset(Reason::CANCEL);
    eventually("it is given up", || edge.metric("rhumb_in_flight", &[]) == 0.0);
    let _gone = h2.send(&get(HOST, "/slow?ms=600000"));
    eventually("another is under way", || edge.metric("rhumb_in_flight", &[]) == 1.0);
    drop((_gone, h2));
    eventually("it goes with its connection", || edge.metric("rhumb_in_flight", &[]) == 0.0);
    eventually("and both are logged", || {
        let lines = logged(&edge);
        lines.iter().filter(|line| line.contains("\"path\":\"/slow\"")).count() == 2
    });
}

#[test]
fn a_stop_says_goodbye_and_finishes_what_was_begun() {
    let (eu, edge) = world();
    let mut edge = edge.set("limits", "drain_timeout = \"20s\"").start();
    let (mut busy, mut idle) = (clear(&edge), clear(&edge));
    assert_eq!(idle.ask(&get(HOST, "/")).status, 200);
    let mut asked = busy.send(&get(HOST, "/slow?ms=1500"));
    eventually("it is under way", || eu.requests_seen() == 2);
    edge.signal("TERM");
    assert!(idle.ended().is_ok(), "an orderly end");
    let answer = asked.reply().unwrap();
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    assert!(busy.ended().is_ok(), "an orderly end");
    assert!(edge.ended().success());
}

#[test]
fn options_with_no_forwards_left_are_answered_here() {
    let (eu, edge) = world();
    let edge = edge.start();
    let mut h2 = clear(&edge);
    let answer = h2.ask(&ask("OPTIONS", HOST, "/").header("max-forwards", "0"));
    assert_eq!((answer.status, answer.end), (204, End::Whole));
    assert!(answer.header("allow").is_some());
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_write_without_a_body_has_a_length_of_nothing() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let answer = clear(&edge).ask(&ask("POST", HOST, "/"));
    assert_eq!(answer.seen("content-length").as_deref(), Some("0"));
    assert_eq!(answer.seen("transfer-encoding"), None);
}

#[test]
fn a_call_goes_through_from_http2_to_http2_with_what_trails_it() {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(Protocols::Http2));
    let routing =
        Routing::of(&[&eu]).region("eu-west-1", "http", "2").tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).listener("h2c = true").start();
    let mut h2 = clear(&edge);
    let message = [&[0, 0, 0, 0, 5][..], b"hello"].concat();
    let call = |method: &str| {
        post(HOST, &format!("/lab.Echo/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("proxy-authorization", "Basic x")
            .body(message.clone())
    };
    let answer = h2.ask(&call("Unary"));
    assert_eq!((answer.status, &answer.body, answer.end), (200, &message, End::Whole));
    assert_eq!(answer.header("x-seen-te"), Some("trailers"));
    assert_eq!(
        (&answer.trailers["grpc-status"], &answer.trailers["x-region"]),
        (&"0".parse().unwrap(), &"eu-west-1".parse().unwrap())
    );
    let failed = h2.ask(&call("Fail"));
    assert_eq!((failed.header("grpc-status"), failed.head_only), (Some("9"), true), "trailers alone stay so");
    let echo = h2.ask(&post(HOST, "/up").header("proxy-authorization", "Basic x"));
    assert_eq!(
        (echo.json()["protocol"].as_str(), echo.seen("proxy-authorization")),
        (Some("HTTP/2.0"), None)
    );
    assert_eq!((echo.seen("te"), echo.json()["authority"].as_str()), (None, Some(HOST)));
}

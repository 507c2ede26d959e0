//! Bodies are streamed, in both directions, within their limits.

use sha2::{Digest, Sha256};

use crate::harness::{Edge, End, Routing, Toy, ask, edge, get, post, toy};

fn world() -> (Toy, Edge) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    (eu, edge)
}

fn limited(limits: &[&str]) -> (Toy, Edge) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = limits.iter().fold(edge(&routing), |edge, limit| edge.set("limits", limit));
    (eu, edge.start())
}

const MIB: usize = 1024 * 1024;

#[test]
fn an_upload_of_50_mib_goes_through_without_being_kept() {
    let (_eu, edge) = world();
    edge.ask(&post("acme.app.example", "/warm"));
    let before = edge.figure("VmRSS");
    let mut wire = edge.wire();
    wire.send(format!(
        "PUT /upload HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: {}\r\n\r\n",
        50 * MIB
    ));
    let (part, mut digest) = (vec![b'u'; MIB], Sha256::new());
    for _ in 0..50 {
        wire.send(&part);
        digest.update(&part);
    }
    let answer = wire.answer();
    let (said, sha256) = (answer.json(), hex(&digest.finalize()));
    assert_eq!(
        (said["body"]["bytes"].as_u64(), said["body"]["sha256"].as_str()),
        (Some(50 * MIB as u64), Some(&*sha256))
    );
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn a_download_of_50_mib_goes_through_without_being_kept() {
    let (_eu, edge) = world();
    edge.get("acme.app.example", "/warm");
    let before = edge.figure("VmRSS");
    let answer = edge.get("acme.app.example", &format!("/bytes?n={}", 50 * MIB));
    assert_eq!((answer.end, answer.body.len()), (End::Whole, 50 * MIB));
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn a_chunked_upload_arrives_whole() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send("POST /up HTTP/1.1\r\nHost: acme.app.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    for n in 0..100 {
        wire.send(format!("5;note={n}\r\nhello\r\n"));
    }
    wire.send("0\r\n\r\n");
    let answer = wire.answer();
    assert_eq!(answer.json()["body"]["bytes"], 500);
    assert_eq!(get("acme.app.example", "/next").on(&mut wire).json()["path"], "/next");
}

#[test]
fn a_response_comes_as_it_is_made() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send("GET /stream?chunks=2&every_ms=600000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    let head = wire.head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    wire.until("chunk 1 of 2 from eu-west-1");
}

#[test]
fn a_chunked_response_arrives_whole_and_the_connection_stays() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    let answer = get("acme.app.example", "/stream?chunks=20").on(&mut wire);
    assert_eq!((answer.end, answer.text().lines().count()), (End::Whole, 20));
    assert_eq!(get("acme.app.example", "/next").on(&mut wire).json()["path"], "/next");
}

#[test]
fn a_body_longer_than_the_limit_is_refused_by_its_length() {
    let (eu, edge) = limited(&["body_bytes = \"1MiB\""]);
    let mut wire = edge.wire();
    wire.send(format!("POST / HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: {}\r\n\r\n", MIB + 1));
    let answer = wire.answer();
    assert_eq!((answer.status, answer.refusal().as_str()), (413, "body_too_large"));
    assert!(wire.is_over(), "a body that nobody reads ends its connection");
    assert_eq!(eu.requests_seen(), 0);
    let fits = edge.ask(&post("acme.app.example", "/").body(vec![b'x'; MIB]));
    assert_eq!(fits.json()["body"]["bytes"], MIB);
}

#[test]
fn a_chunked_body_longer_than_the_limit_is_never_executed() {
    let (eu, edge) = limited(&["body_bytes = \"1MiB\""]);
    let mut wire = edge.wire();
    wire.send("POST / HTTP/1.1\r\nHost: acme.app.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [format!("{MIB:x}\r\n").into_bytes(), vec![b'x'; MIB], b"\r\n".to_vec()].concat();
    let _ = wire.try_send(&chunk) && wire.try_send(&chunk) && wire.try_send(b"0\r\n\r\n");
    if let Some(answer) = wire.answer_to("POST") {
        assert_eq!((answer.status, answer.refusal().as_str()), (413, "body_too_large"));
    }
    edge.counts("rhumb_refusals_total", &[("reason", "body_too_large")], 1.0);
    assert_eq!(eu.writes_executed(), 0);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
}

#[test]
fn a_target_or_a_head_longer_than_the_limits_has_a_status_of_its_own() {
    let (eu, edge) = limited(&["uri_bytes = \"1KiB\"", "header_bytes = \"4KiB\"", "header_count = 20"]);
    let long = edge.get("acme.app.example", &format!("/{}", "x".repeat(1100)));
    assert_eq!((long.status, long.refusal().as_str()), (414, "uri_too_long"));
    let large = edge.ask(&get("acme.app.example", "/").header("X-Large", &"x".repeat(5000)));
    assert_eq!((large.status, large.refusal().as_str()), (431, "head_too_large"));
    let many = (0..30).fold(get("acme.app.example", "/"), |asked, n| asked.header(&format!("X-{n}"), "1"));
    let many = edge.ask(&many);
    assert_eq!((many.status, many.refusal().as_str()), (431, "head_too_large"));
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(edge.get("acme.app.example", &format!("/{}", "x".repeat(900))).status, 200);
}

#[test]
fn a_head_that_never_ends_is_not_kept_in_memory() {
    let (eu, edge) = limited(&[]);
    let before = edge.figure("VmRSS");
    let mut wire = edge.wire();
    wire.send("GET / HTTP/1.1\r\nHost: acme.app.example\r\nX-Endless: ");
    let part = vec![b'x'; 64 * 1024];
    let went = (0..320).take_while(|_| wire.try_send(&part)).count();
    assert!(went < 320, "20 MiB of one head were taken");
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "the edge grew by {grown} KiB");
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_client_that_dawdles_over_its_head_is_cut_off() {
    let (eu, edge) = limited(&["header_timeout = \"1s\""]);
    let mut wire = edge.wire();
    wire.send("GET / HTTP/1.1\r\nHost: acme");
    let told = wire.answer();
    assert_eq!((told.status, told.refusal().as_str()), (408, "request_timeout"));
    assert!(wire.is_over());
    let mut second = edge.wire();
    assert_eq!(get("acme.app.example", "/").on(&mut second).status, 200);
    second.send("GET / HTTP/1.1\r\nHost: acme");
    assert_eq!(second.answer().status, 408, "the second request, too");
    assert!(second.is_over());
    edge.counts("rhumb_limits_total", &[("limit", "header_timeout")], 2.0);
    assert_eq!(eu.requests_seen(), 1);
}

#[test]
fn a_connection_that_idles_is_closed() {
    let (_eu, edge) = limited(&["idle_timeout = \"1s\""]);
    let mut wire = edge.wire();
    assert_eq!(get("acme.app.example", "/").on(&mut wire).status, 200);
    assert!(wire.is_over());
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let (eu, edge) = limited(&["idle_timeout = \"1s\""]);
    let mut wire = edge.wire();
    wire.send("POST / HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 10\r\n\r\nhalf");
    let told = wire.answer();
    assert_eq!((told.status, told.refusal().as_str()), (408, "request_timeout"));
    assert!(wire.is_over());
    edge.counts("rhumb_limits_total", &[("limit", "request_stalled")], 1.0);
    assert_eq!(eu.writes_executed(), 0);
}

#[test]
fn head_204_and_304_have_no_body() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    let head = ask("HEAD", "acme.app.example", "/bytes?n=1000").on(&mut wire);
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
    for (path, status) in [("/status/204", 204), ("/status/304", 304), ("/status/404", 404)] {
        assert_eq!(get("acme.app.example", path).on(&mut wire).status, status);
    }
    let refused = ask("HEAD", "nobody.app.example", "/").on(&mut wire);
    assert_eq!((refused.status, refused.body.len()), (404, 0));
    assert_eq!(get("acme.app.example", "/next").on(&mut wire).json()["path"], "/next");
}

#[test]
fn a_client_that_expects_100_gets_it_or_an_answer() {
    let (_eu, edge) = limited(&["body_bytes = \"1MiB\""]);
    let mut wire = edge.wire();
    wire.send(
        "PUT /up HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let interim = wire.head().unwrap();
    assert_eq!(interim.status, 100);
    wire.send("hello");
    assert_eq!(wire.answer().json()["body"]["bytes"], 5);

    let mut wire = edge.wire();
    let head = format!("PUT /up HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: {}\r\n", 2 * MIB);
    wire.send(format!("{head}Expect: 100-continue\r\n\r\n"));
    let refused = wire.answer();
    assert_eq!((refused.status, refused.interim.len()), (413, 0));
}

#[test]
fn an_http_1_0_client_is_answered_and_its_connection_closed() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send("GET /stream?chunks=3 HTTP/1.0\r\nHost: acme.app.example\r\n\r\n");
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert_eq!(answer.text().lines().count(), 3);
    assert!(wire.is_over());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What is ambiguous is refused at the door, and the connection with it.

use crate::harness::{Edge, Routing, Toy, edge, get, toy};

fn world() -> (Toy, Edge) {
    let eu = toy("eu-west-1");
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    (eu, edge)
}

/// Sends `raw`: it is refused with 400, the connection ends, and no region hears of it; then an ordinary request works.
#[track_caller]
fn refused(eu: &Toy, edge: &Edge, raw: impl AsRef<[u8]>) {
    let raw = raw.as_ref();
    let shown = String::from_utf8_lossy(raw).into_owned();
    let seen = eu.requests_seen();
    let mut wire = edge.wire();
    wire.send(raw);
    let answer = wire.answer_to("GET").unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!(answer.status, 400, "{shown:?}: {}", answer.text());
    assert!(wire.is_over(), "the connection stays open after {shown:?}");
    assert_eq!(eu.requests_seen(), seen, "a region heard of {shown:?}");
    assert_eq!(edge.get("acme.app.example", "/after").region(), "eu-west-1");
}

const HOST: &str = "Host: acme.app.example\r\n";
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: acme.app.example\r\n\r\n";

#[test]
fn two_ends_of_one_body() {
    let (eu, edge) = world();
    for framing in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 6\r\nContent-Length: 6\r\n",
        "Content-Length: 6, 5\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: -6\r\n",
        "Content-Length: 0x6\r\n",
        "Content-Length: 6 \r\nContent-Length : 6\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: \r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        refused(&eu, &edge, format!("POST / HTTP/1.1\r\n{HOST}{framing}\r\n0\r\n\r\n{NEXT}"));
    }
}

#[test]
fn lines_that_end_in_two_ways() {
    let (eu, edge) = world();
    for raw in [
        format!("GET / HTTP/1.1\n{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: a\rY: b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: a\nY: b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: a\r\n folded\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: a\r\n\tfolded\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n X: first\r\n{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}no colon\r\n\r\n"),
    ] {
        refused(&eu, &edge, raw);
    }
}

#[test]
fn hosts_that_name_nobody_or_two() {
    let (eu, edge) = world();
    for host in [
        "",
        "Host: acme.app.example\r\nHost: acme.app.example\r\n",
        "Host: acme.app.example\r\nHost: globex.app.example\r\n",
        "Host: \r\n",
        "Host: acme.app.example, globex.app.example\r\n",
        "Host: acme.app.example/path\r\n",
        "Host: user@acme.app.example\r\n",
        "Host: acme.app.example:port\r\n",
        "Host: acme app example\r\n",
        "Host: acme.app.example:99999\r\n",
    ] {
        refused(&eu, &edge, format!("GET / HTTP/1.1\r\n{host}\r\n"));
    }
}

#[test]
fn targets_that_rules_and_services_would_read_differently() {
    let (eu, edge) = world();
    for target in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/./a",
        "/a/..;x/b",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/a%00b",
        "/a%0d%0ab",
        "/a%zz",
        "a/b",
        "*",
        "http://globex.app.example/",
        "//\x01",
    ] {
        refused(&eu, &edge, format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
    }
}

#[test]
fn an_absolute_target_that_agrees_with_host_is_read_as_its_path() {
    let (_eu, edge) = world();
    let mut wire = edge.wire();
    wire.send(format!("GET http://acme.app.example/x?y=1 HTTP/1.1\r\n{HOST}\r\n"));
    let answer = wire.answer();
    assert_eq!(answer.region(), "eu-west-1");
    assert_eq!((answer.json()["path"].as_str(), answer.json()["query"].as_str()), (Some("/x"), Some("y=1")));
}

#[test]
fn a_host_counts_in_any_case_with_or_without_port_and_final_dot() {
    let (_eu, edge) = world();
    for host in ["ACME.App.Example", "acme.app.example.", "acme.app.example:8080", "Acme.app.example.:80"] {
        assert_eq!(edge.ask(&get(host, "/")).region(), "eu-west-1", "{host}");
    }
}

#[test]
fn an_encoded_slash_passes_where_the_settings_let_it_and_arrives_as_sent() {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).set("limits", "encoded_slash = \"pass\"").start();
    let answer = edge.get("acme.app.example", "/a%2Fb");
    assert_eq!(answer.json()["path"], "/a%2Fb");
    refused(&eu, &edge, format!("GET /a%5Cb HTTP/1.1\r\n{HOST}\r\n"));
}

#[test]
fn what_is_no_http_at_all_gets_no_region_and_no_panic() {
    let (eu, edge) = world();
    for raw in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: acme.app.example\r\n\r\n",
        b"GET /\r\n\r\n",
    ] {
        let mut wire = edge.wire();
        wire.send(raw);
        if raw.windows(4).any(|four| four == b"\r\n\r\n") {
            if let Some(answer) = wire.answer_to("GET") {
                assert!((400..600).contains(&answer.status), "{raw:?}: {}", answer.status);
            }
            assert!(wire.is_over());
        }
    }
    assert_eq!(eu.requests_seen(), 0);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
}

#[test]
fn each_request_of_a_kept_connection_is_judged_by_itself() {
    let (eu, edge) = world();
    let mut wire = edge.wire();
    assert_eq!(get("acme.app.example", "/one").on(&mut wire).json()["path"], "/one");
    assert_eq!(get("acme.app.example", "/two").on(&mut wire).json()["path"], "/two");
    wire.send(format!("GET /a/../b HTTP/1.1\r\n{HOST}\r\n{NEXT}"));
    assert_eq!(wire.answer().status, 400);
    assert!(wire.is_over());
    assert_eq!(eu.requests_seen(), 2);
}

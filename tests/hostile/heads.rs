//! The attack cases against the gate alone, and against the server's parser with the gate behind it.
//!
//! What no head can show, `heads.toml` names, with who judges it instead.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by ending")]

use base64::{Engine, prelude::BASE64_STANDARD};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;
use rhumb::proxy::gate::{Body, EncodedSlash, Expect, GateCause, GateLimits, Head, Upgrade, check};
use rhumb::proxy::headers::{StripRules, classify, strip_request};
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt;

/// The defaults of `[limits]`.
const LIMITS: GateLimits = GateLimits {
    header_bytes: 32 << 10,
    header_count: 100,
    uri_bytes: 8 << 10,
    body_bytes: 1 << 30,
    encoded_slash: EncodedSlash::Refuse,
};

#[derive(Deserialize)]
struct Row {
    id: String,
    must: String,
    raw_b64: Option<String>,
}

/// A row that the gate judges.
struct Case {
    id: String,
    must: String,
    raw: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdicts {
    refused: BTreeMap<String, String>,
    passes: BTreeMap<String, String>,
}

impl Verdicts {
    fn refuses(&self, case: &Case) -> bool {
        !self.passes.contains_key(&case.id)
    }
}

fn cases() -> Vec<Case> {
    let rows = include_str!("cases.jsonl").lines().map(|line| serde_json::from_str::<Row>(line).unwrap());
    let cases: Vec<_> = rows
        .filter(|row| !row.id.starts_with("AD-"))
        .filter_map(|Row { id, must, raw_b64 }| {
            Some(Case { id, must, raw: BASE64_STANDARD.decode(raw_b64?).unwrap() })
        })
        .collect();
    assert!(cases.len() > 150, "only {} cases with bytes", cases.len());
    cases
}

fn verdicts() -> Verdicts {
    toml::from_str(include_str!("heads.toml")).unwrap()
}

fn verdict(raw: &[u8]) -> Result<Head<'_>, GateCause> {
    check(raw, &LIMITS)
}

fn case<'c>(cases: &'c [Case], id: &str) -> &'c Case {
    cases.iter().find(|case| case.id == id).unwrap_or_else(|| panic!("there is no case {id} with bytes"))
}

#[test]
fn every_case_has_the_verdict_that_it_must_have() {
    let (cases, verdicts) = (cases(), verdicts());
    for case in &cases {
        let cause = verdict(&case.raw).err();
        let named = verdicts.refused.get(&case.id).map(String::as_str);
        match (named, verdicts.passes.contains_key(&case.id)) {
            (Some(_), true) => panic!("{} is listed twice", case.id),
            (Some(name), false) => assert_eq!(cause.map(GateCause::code), Some(name), "{}", case.id),
            (None, true) => assert_eq!(cause, None, "{}: must be {}", case.id, case.must),
            (None, false) if case.must.starts_with("R4") => {
                assert!(cause.is_some(), "{} passed, must be {}", case.id, case.must);
            }
            (None, false) => panic!("{} is not listed, must be {}: {cause:?}", case.id, case.must),
        }
    }
    for id in verdicts.refused.keys().chain(verdicts.passes.keys()) {
        case(&cases, id);
    }
}

#[test]
fn no_spoofed_name_is_left_of_any_case_that_passes() {
    let (cases, verdicts) = (cases(), verdicts());
    let mut stripped = 0;
    for case in cases.iter().filter(|case| !verdicts.refuses(case)) {
        let mut headers = headers(&case.raw);
        let before = headers.len();
        let spoofed = strip_request(&mut headers, &StripRules::default());
        let left = headers.keys().find(|name| classify(name.as_str().as_bytes()).is_some());
        assert_eq!(left, None, "{}", case.id);
        if verdicts.passes[&case.id] == "stripped" {
            assert!(headers.len() < before, "{}: nothing was stripped", case.id);
            stripped += 1;
        }
        assert!(
            spoofed.is_empty() || case.id.starts_with("HS-") || case.id.starts_with("TN-"),
            "{}",
            case.id
        );
    }
    assert!(stripped > 15, "{stripped}");
}

#[test]
fn what_the_server_must_not_do_is_reported() {
    let cases = cases();
    let head = |id| verdict(&case(&cases, id).raw).unwrap();
    for id in ["WS-02", "WS-03", "WS-04", "WS-05", "WS-06"] {
        assert_eq!(head(id).upgrade, Upgrade::Ignored, "{id}");
    }
    assert_eq!(head("WS-01").upgrade, Upgrade::WebSocket);
    assert_eq!(head("SM-33").expect, Expect::Continue);
    assert_eq!(head("SM-34").expect, Expect::Ignored);
    assert_eq!(head("FW-07").max_forwards, Some(0));
    assert_eq!(
        (head("HC-18").host.name(), head("HC-19").host.name()),
        ("t1.example.test", "t1.example.test")
    );
    assert_eq!(head("HC-26").host.name(), "xn--t1-9ja.example.test");
    assert_eq!(head("HC-09").target.origin_form(), "/r");
    assert_eq!(head("TN-16").target.path, "/T/T2/r");
}

/// The parser repairs some heads before it shows them; what it shows must not pass either.
#[tokio::test]
async fn no_case_gets_past_parser_and_gate_together() {
    let (cases, verdicts) = (cases(), verdicts());
    let mut repaired = 0;
    for case in &cases {
        let Some(session) = parse(&case.raw).await else { continue };
        let shown = session.get_headers_raw_bytes();
        repaired += usize::from(!case.raw.starts_with(&shown));
        match verdict(&shown) {
            Err(cause) => assert!(verdicts.refuses(case), "{}: {cause:?}", case.id),
            Ok(head) => {
                assert!(!verdicts.refuses(case), "{} passed", case.id);
                assert_read_alike(&case.id, session.req_header(), &head);
            }
        }
    }
    assert!(repaired > 0, "the parser escapes no request line any more; then the gate may be told so");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn parser_and_gate_read_a_damaged_head_alike_or_one_refuses_it(
        damage in prop::collection::vec((any::<prop::sample::Index>(), damage()), 0..4)
    ) {
        let mut raw = b"POST /v1/cases?a=b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nX: y\r\n\r\nbody".to_vec();
        for (at, (replace, bytes)) in damage {
            let at = at.index(raw.len());
            raw.splice(at..at + usize::from(replace), bytes.bytes());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Some(session) = runtime.block_on(parse(&raw)) {
            let shown = session.get_headers_raw_bytes();
            if let Ok(head) = verdict(&shown) {
                assert_eq!(head.bytes, shown.len());
                assert_read_alike(&raw.escape_ascii().to_string(), session.req_header(), &head);
            }
        }
    }
}

/// What may be put into a head, and whether it takes the place of a byte.
fn damage() -> impl Strategy<Value = (bool, &'static str)> {
    let bytes = prop::sample::select(vec![
        "\r",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
        ":",
        ";",
        ",",
        "/",
        ".",
        "%",
        "%2e",
        "#",
        "?",
        "@",
        "\u{e9}",
        "0",
        "z",
        "\r\nHost: b.test",
        "\r\nTransfer-Encoding: chunked",
        "\r\nContent-Length: 4",
        "http://a.test",
        "\"",
        "",
    ]);
    (any::<bool>(), bytes)
}

/// The request as the server's parser reads it; `None` if it refuses.
async fn parse(raw: &[u8]) -> Option<HttpSession> {
    let (mut client, server) = tokio::io::duplex(128 << 10);
    client.write_all(raw).await.unwrap();
    drop(client);
    let mut session = HttpSession::new(Box::new(server));
    matches!(session.read_request().await, Ok(Some(_))).then_some(session)
}

/// What the parser hands to every later step must be what the gate has judged.
fn assert_read_alike(id: &str, parsed: &RequestHeader, head: &Head<'_>) {
    assert_eq!(parsed.method.as_str(), head.method, "{id}");
    assert_eq!(parsed.headers.len(), head.fields, "{id}");
    assert_eq!(parsed.uri.query(), head.target.query, "{id}");
    if !head.target.rewritten {
        assert_eq!(parsed.uri.path(), head.target.path, "{id}");
    }
    if !head.host.rewritten() {
        assert_eq!(parsed.headers["host"], head.host.authority().as_bytes(), "{id}");
    }
    let length = parsed.headers.get("content-length").map(|length| length.to_str().unwrap().parse().unwrap());
    let body = match parsed.headers.contains_key("transfer-encoding") {
        true => Body::Chunked,
        false => length.map_or(Body::None, Body::Length),
    };
    assert_eq!(body, head.body, "{id}");
}

/// The fields of a head that the gate lets pass.
fn headers(raw: &[u8]) -> HeaderMap {
    let head = verdict(raw).unwrap();
    let text = &raw[..head.bytes];
    let mut headers = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n').skip(1).filter(|line| line.len() > 1) {
        let colon = line.iter().position(|&byte| byte == b':').unwrap();
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).unwrap();
        headers.append(HeaderName::from_bytes(&line[..colon]).unwrap(), value);
    }
    headers
}

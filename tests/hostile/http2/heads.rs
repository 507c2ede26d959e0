//! Heads that HTTP/2 forbids, or that would mean something else once they were written out as HTTP/1.

use crate::harness::raw_frames::{DATA, END_HEADERS, END_STREAM, HEADERS, Verdict, block, literal};
use crate::world::{HOST, request, request_with, world};

const PROTOCOL_ERROR: u32 = 1;

/// Each head is refused, by an end of its stream or of its connection, and nothing of it reaches a region.
fn each_is_refused(heads: &[Vec<(&str, &str)>]) {
    let world = world();
    let mut frames = world.frames();
    let mut stream = 1;
    for fields in heads {
        frames.head(stream, fields, true);
        match frames.verdict(stream) {
            // The library behind ends a connection over bytes that no field may hold.
            Verdict::Gone(Some(PROTOCOL_ERROR)) => (frames, stream) = (world.frames(), 1),
            verdict => assert!(verdict.is_of_the_stream(), "{fields:?}: {verdict:?}"),
        }
        frames.head(stream + 2, &request("GET", "/between"), true);
        assert_eq!(frames.verdict(stream + 2), Verdict::Answered(200), "after {fields:?}");
        stream += 4;
    }
    assert_eq!(world.eu.requests_seen(), heads.len() as u64, "only what was between");
    world.stays_well();
}

#[test]
fn h2_12_pseudo_fields_have_their_place_and_are_all_there() {
    each_is_refused(&[
        vec![(":method", "GET"), (":scheme", "http"), ("x", "y"), (":authority", HOST), (":path", "/")],
        vec![(":scheme", "http"), (":authority", HOST), (":path", "/")],
        vec![(":method", "GET"), (":authority", HOST), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", HOST)],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        request_with("GET", "/", &[(":status", "200")]),
        [request("GET", "/"), vec![(":path", "/other")]].concat(),
        vec![(":method", "CONNECT"), (":authority", HOST)],
        [vec![(":protocol", "websocket")], request("CONNECT", "/")].concat(),
    ]);
}

#[test]
fn h2_12_a_pseudo_field_that_trails_a_body_goes_no_further() {
    let world = world();
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), false);
    frames.send(DATA, 0, 1, b"hello");
    frames.head(1, &[(":path", "/other"), (":method", "DELETE"), ("x-owner-epoch", "99")], true);
    // The library behind drops such fields where it should reset the stream; and what trails a request ends here.
    if frames.verdict(1) == Verdict::Answered(200) {
        let echo = frames.until(|frame| frame.kind == DATA && !frame.payload.is_empty()).unwrap();
        let echo: serde_json::Value = serde_json::from_slice(&echo.payload).unwrap();
        assert_eq!((&echo["method"], &echo["path"]), (&"POST".into(), &"/".into()));
        assert_eq!(echo["headers"]["x-owner-epoch"], serde_json::json!(["1"]));
    }
    world.stays_well();
}

#[test]
fn h2_13_fields_for_one_connection_are_none_of_http2() {
    let fields = [
        ("connection", "close"),
        ("connection", "x-owner-epoch"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=9"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("transfer_encoding", "chunked"),
    ];
    each_is_refused(&fields.map(|field| request_with("GET", "/", &[field])));
}

#[test]
fn h2_14_a_length_that_the_body_does_not_have_never_reaches_a_region_whole() {
    for (said, sent) in [("3", &b"hello"[..]), ("9", b"hello"), ("0", b"hello")] {
        let world = world();
        let mut frames = world.frames();
        frames.head(1, &request_with("POST", "/", &[("content-length", said)]), false);
        frames.send(DATA, END_STREAM, 1, sent);
        let verdict = frames.verdict(1);
        // What was said to be empty is whole with its head; the surplus is nobody's.
        let empty = said == "0" && verdict == Verdict::Answered(200);
        assert!(verdict.is_refusal() || empty, "{said}: {verdict:?}");
        assert_eq!(world.eu.writes_executed(), u64::from(empty), "{said}");
        world.stays_well();
    }
}

#[test]
fn h2_14_a_length_without_a_body_is_refused() {
    each_is_refused(&[request_with("POST", "/", &[("content-length", "5")])]);
}

#[test]
fn h2_15_a_length_is_said_once() {
    let twice = |one, other| request_with("POST", "/", &[("content-length", one), ("content-length", other)]);
    each_is_refused(&[twice("5", "5"), twice("5", "6"), twice("0", "0"), twice("5, 5", "5")]);
}

#[test]
fn h2_16_a_method_holds_no_request_line() {
    let mut spoiled = request("GET", "/");
    spoiled[0].1 = "GET /admin HTTP/1.1\r\nHost: x";
    let mut lower = request("GET", "/");
    lower[0].1 = "trace";
    let mut empty = request("GET", "/");
    empty[0].1 = "";
    each_is_refused(&[spoiled, lower, empty]);
}

#[test]
fn h2_16_a_path_or_authority_holds_no_second_request() {
    let at = |index: usize, value: &'static str| {
        let mut fields = request("GET", "/");
        fields[index].1 = value;
        fields
    };
    each_is_refused(&[
        at(3, "/ HTTP/1.1\r\nHost: t2.example.test\r\n\r\nGET /x"),
        at(3, "/a b"),
        at(3, "/\u{0}"),
        at(3, "http://t2.example.test/x"),
        at(3, "//t2.example.test/x"),
        at(3, "/%0d%0ax"),
        at(3, "*"),
        at(3, "x"),
        at(2, "t1.example.test\r\nx: y"),
        at(2, "user@t1.example.test"),
        at(2, "t1.example.test/x"),
        at(2, "t1.example.test:99999"),
        at(1, "file"),
    ]);
}

#[test]
fn h2_17_a_name_is_a_token_in_lower_case() {
    let names = ["x:y", "x y", "", "X-Upper", "x\r\ny", "x\u{0}"];
    each_is_refused(&names.map(|name| request_with("GET", "/", &[(name, "v")])));
}

#[test]
fn h2_18_a_value_has_no_space_around_it_and_no_line_within() {
    let values = [" v", "v ", "\tv", "v\t", "a\r\nb", "a\nb", "a\u{0}b"];
    each_is_refused(&values.map(|value| request_with("GET", "/", &[("x", value)])));
}

#[test]
fn h2_host_and_authority_that_disagree_are_refused() {
    each_is_refused(&[
        request_with("GET", "/", &[("host", "t2.example.test")]),
        request_with("GET", "/", &[("host", HOST), ("host", HOST)]),
        request_with("GET", "/", &[("host", "")]),
    ]);
}

#[test]
fn h2_03_a_block_that_unfolds_to_megabytes_is_refused_and_not_kept() {
    let world = world();
    let mut frames = world.frames();
    assert!(frames.settled());
    let before = world.edge.figure("VmRSS");
    // Entry 62 of the table is the one that was remembered last.
    let entry = literal(0x40, b"x-bomb", &[b'b'; 3900]);
    let first = [block(&request("GET", "/")), entry].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &first);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    for n in 1..=100 {
        let bomb = [block(&request("GET", "/bomb")), vec![0xbe; 16_000]].concat();
        let stream = 2 * n + 1;
        if !frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &bomb) {
            break;
        }
        let verdict = frames.verdict(stream);
        assert!(matches!(verdict, Verdict::Answered(431) | Verdict::Gone(_)), "{verdict:?}");
        if matches!(verdict, Verdict::Gone(_)) {
            break;
        }
    }
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
    assert_eq!(world.eu.requests_seen(), 1);
    world.stays_well();
}

#[test]
fn h2_03_a_thousand_fields_of_a_byte_are_counted() {
    let world = world();
    let mut frames = world.frames();
    let first = [block(&request("GET", "/")), literal(0x40, b"x", b"y")].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &first);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    let many = [block(&request("GET", "/")), vec![0xbe; 900]].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 3, &many);
    assert_eq!(frames.verdict(3), Verdict::Answered(431));
    world.edge.counts("rhumb_parse_errors_total", &[("cause", "header_count")], 1.0);
    world.stays_well();
}

#[test]
fn h2_04_crumbs_without_end_are_refused_and_a_few_are_one_cookie() {
    let world = world();
    let mut frames = world.frames();
    let crumbs = |count: usize| [block(&request("GET", "/")), block(&vec![("cookie", "c"); count])].concat();
    // 10,000 crumbs are more than one frame holds.
    let (all, mut sent) = (crumbs(10_000), 0);
    for part in all.chunks(16_000) {
        let last = sent + part.len() == all.len();
        let kind = if sent == 0 { HEADERS } else { crate::harness::raw_frames::CONTINUATION };
        let ends = if sent == 0 { END_STREAM } else { 0 } | if last { END_HEADERS } else { 0 };
        frames.send(kind, ends, 1, part);
        sent += part.len();
    }
    let verdict = frames.verdict(1);
    assert!(matches!(verdict, Verdict::Answered(431) | Verdict::Gone(_)), "{verdict:?}");
    let mut frames = world.frames();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &crumbs(500));
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    let echo = frames.until(|frame| frame.kind == DATA && !frame.payload.is_empty()).unwrap();
    let echo: serde_json::Value = serde_json::from_slice(&echo.payload).unwrap();
    assert_eq!(echo["headers"]["cookie"], serde_json::json!([vec!["c"; 500].join("; ")]));
    world.stays_well();
}

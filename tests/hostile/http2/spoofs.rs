//! Words put into Rhumb's mouth by HTTP/2, and places that are named twice.

use crate::harness::raw_frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, Verdict, block,
};
use crate::world::{HOST, request, request_with, world};

const PROTOCOL_ERROR: u32 = 1;

/// Whether the stream was refused for what HTTP/2 forbids, alone or with its connection.
fn is_protocol_error(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Reset(PROTOCOL_ERROR) | Verdict::Gone(Some(PROTOCOL_ERROR)))
}

/// What the region saw of the request on this stream, which was answered.
fn echo(frames: &mut Frames, stream: u32) -> serde_json::Value {
    assert_eq!(frames.verdict(stream), Verdict::Answered(200));
    let data = frames.until(|frame| frame.kind == DATA && !frame.payload.is_empty()).unwrap();
    serde_json::from_slice(&data.payload).unwrap()
}

#[test]
fn hs_14_what_trails_a_request_goes_no_further() {
    let world = world();
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), false);
    frames.send(DATA, 0, 1, b"hello");
    frames.head(1, &[("x-owner-region", "us"), ("x-rhumb-signature", "v1"), ("x-late", "1")], true);
    let seen = echo(&mut frames, 1);
    assert_eq!(seen["headers"]["x-owner-region"], serde_json::json!(["eu"]));
    for name in ["x-rhumb-signature", "x-late"] {
        assert!(seen["headers"].get(name).is_none(), "{name}: {seen}");
    }
    assert_eq!(seen["body"]["bytes"], 5);
    world.stays_well();
}

#[test]
fn hs_15_a_managed_name_in_pieces_is_that_name() {
    let world = world();
    let mut frames = world.frames();
    let head = block(&request_with("GET", "/", &[("x-owner-region", "us"), ("x_owner_epoch", "99")]));
    let pieces: Vec<_> = head.chunks(head.len().div_ceil(4)).collect();
    for (nth, piece) in pieces.iter().enumerate() {
        let kind = if nth == 0 { HEADERS } else { CONTINUATION };
        let ends = if nth == 0 { END_STREAM } else { 0 };
        let last = if nth + 1 == pieces.len() { END_HEADERS } else { 0 };
        frames.send(kind, ends | last, 1, piece);
    }
    let seen = echo(&mut frames, 1);
    assert_eq!(seen["headers"]["x-owner-region"], serde_json::json!(["eu"]));
    assert!(seen["headers"].get("x_owner_epoch").is_none(), "{seen}");
    assert_eq!(world.edge.metric("rhumb_spoofed_headers_total", &[("header", "X-Owner-Region")]), 1.0);
    world.stays_well();
}

/// None of these heads reaches a region.
fn never_arrives(fields: &[Vec<(&str, &str)>], is_right: impl Fn(Verdict) -> bool) {
    let world = world();
    for fields in fields {
        let mut frames = world.frames();
        frames.head(1, fields, true);
        let verdict = frames.verdict(1);
        assert!(is_right(verdict), "{fields:?}: {verdict:?}");
    }
    assert_eq!(world.eu.requests_seen(), 0);
    world.stays_well();
}

#[test]
fn hs_16_a_managed_name_in_capitals_is_no_name() {
    never_arrives(&[request_with("GET", "/", &[("X-Owner-Region", "us")])], is_protocol_error);
}

#[test]
fn hs_17_a_value_never_becomes_a_second_line() {
    never_arrives(&[request_with("GET", "/", &[("x", "a\r\nx-owner-region: us")])], is_protocol_error);
}

#[test]
fn hs_18_a_name_never_becomes_a_second_line() {
    never_arrives(&[request_with("GET", "/", &[("x-owner-region: us\r\na", "b")])], is_protocol_error);
}

#[test]
fn hc_36_a_request_has_one_authority() {
    let twice = [request("GET", "/"), vec![(":authority", "t2.example.test")]].concat();
    let alike = [request("GET", "/"), vec![(":authority", HOST)]].concat();
    never_arrives(&[twice, alike], is_protocol_error);
}

#[test]
fn hc_37_a_path_is_no_address() {
    let path = |path| request("GET", path);
    never_arrives(
        &[path("http://t2.example.test/r"), path("https://t1.example.test/r"), path("//t2.example.test/r")],
        |verdict| verdict == Verdict::Answered(400) || is_protocol_error(verdict),
    );
}

#[test]
fn hc_38_a_scheme_is_no_address() {
    let scheme = |scheme| vec![(":method", "GET"), (":scheme", scheme), (":authority", HOST), (":path", "/")];
    never_arrives(
        &[scheme("https://t2.example.test/?"), scheme("http://"), scheme("ftp"), scheme("")],
        |verdict| verdict.is_of_the_stream() || is_protocol_error(verdict),
    );
}

#[test]
fn mt_05_nobody_tunnels() {
    let connect = vec![(":method", "CONNECT"), (":authority", "t2.example.test:443")];
    never_arrives(&[connect], |verdict| verdict == Verdict::Answered(405));
    let extended = [vec![(":protocol", "websocket")], request("CONNECT", "/chat")].concat();
    never_arrives(&[extended], is_protocol_error);
    let world = world();
    let mut frames = world.frames();
    let settings = frames.until(|frame| frame.kind == SETTINGS).unwrap();
    let offered: Vec<_> = settings.payload.chunks(6).map(|setting| (setting[0], setting[1])).collect();
    assert!(!offered.contains(&(0, 8)), "SETTINGS_ENABLE_CONNECT_PROTOCOL: {offered:?}");
    world.stays_well();
}

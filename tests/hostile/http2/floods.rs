//! Much of what is allowed once.

use crate::harness::eventually;
use crate::harness::raw_frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, Verdict, block, frame,
};
use crate::world::{request, world, world_with};

const ENHANCE_YOUR_CALM: u32 = 11;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[test]
fn h2_01_rapid_resets_are_not_served() {
    let world = world();
    let mut frames = world.frames();
    let head = block(&request("GET", "/slow?ms=60000"));
    'flood: for batch in 0..1000_u32 {
        let pairs: Vec<u8> = (0..100_u32)
            .flat_map(|n| {
                let stream = 2 * (batch * 100 + n) + 1;
                [
                    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head),
                    frame(RST_STREAM, 0, stream, &CANCEL),
                ]
                .concat()
            })
            .collect();
        if !frames.raw(&pairs) {
            break 'flood;
        }
    }
    // What the server said last may be lost with what it did not read any more.
    let code = frames.goodbye();
    assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
    assert!(!frames.raw(&frame(PING, 0, 0, &[0; 8])) || frames.next().is_none());
    let seen = world.eu.requests_seen();
    assert!(seen < 200, "{seen} of 100,000 requests reached the region");
    world.stays_well();
}

#[test]
fn h2_01_patient_resets_end_the_connection_too() {
    let world = world();
    let mut frames = world.frames();
    let mut asked = 0;
    for n in 0..300 {
        frames.head(2 * n + 1, &request("GET", "/slow?ms=60000"), true);
        if !frames.settled() {
            break;
        }
        asked += 1;
        frames.send(RST_STREAM, 0, 2 * n + 1, &CANCEL);
    }
    assert!((100..150).contains(&asked), "{asked} were let through");
    world.edge.counts("rhumb_parse_errors_total", &[("cause", "reset_streams")], 1.0);
    world.stays_well();
}

#[test]
fn h2_02_a_head_without_end_is_cut() {
    let world = world();
    let before = world.edge.figure("VmRSS");
    let mut frames = world.frames();
    frames.send(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
    let part = block(&[("x", &"y".repeat(1000))]);
    let sent = (0..100_000).take_while(|_| frames.send(CONTINUATION, 0, 1, &part)).count();
    assert!(sent < 100_000, "the server read on");
    let empty = world.frames();
    let mut frames = empty;
    frames.send(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
    let sent = (0..1_000_000).take_while(|_| frames.send(CONTINUATION, 0, 1, &[])).count();
    assert!(sent < 1_000_000, "the server read on");
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
    assert_eq!(world.eu.requests_seen(), 0);
    world.stays_well();
}

#[test]
fn h2_21_a_connection_of_malformed_streams_is_torn_down() {
    let malformed = request("GET", "/")[1..].to_vec();
    for fields in [malformed, request("GET", "/a/../b"), request("GET", "/a%00")] {
        let world = world();
        let mut frames = world.frames();
        let mut refused = 0;
        for n in 0..50 {
            if !frames.head(2 * n + 1, &fields, true) {
                break;
            }
            match frames.verdict(2 * n + 1) {
                Verdict::Gone(code) => {
                    assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{code:?}");
                    break;
                }
                verdict => assert!(verdict.is_of_the_stream(), "{verdict:?}"),
            }
            refused += 1;
        }
        assert!((30..34).contains(&refused), "{refused}");
        world.stays_well();
    }
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one() {
    let world = world_with(|edge| edge.set("limits", "streams = 5"));
    let mut frames = world.frames();
    assert!(frames.settled());
    for n in 0..10 {
        frames.head(2 * n + 1, &request("GET", "/slow?ms=60000"), true);
    }
    for n in 5..10 {
        assert_eq!(frames.verdict(2 * n + 1), Verdict::Reset(7), "REFUSED_STREAM");
    }
    world.edge.counts("rhumb_in_flight", &[], 5.0);
    eventually("and at the region", || world.eu.requests_seen() == 5);
    drop(frames);
    world.stays_well();
}

#[test]
fn pings_and_settings_are_answered_and_not_heaped_up() {
    let world = world();
    let before = world.edge.figure("VmRSS");
    let mut deaf = world.frames();
    // Nobody reads the answers, so at some point nobody reads the questions.
    let many: Vec<u8> = (0..2000)
        .flat_map(|_| [frame(PING, 0, 0, &[1; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])].concat())
        .collect();
    deaf.raw(&many);
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "the edge grew by {grown} KiB");
    world.stays_well();
}

#[test]
fn a_body_in_bytes_costs_no_more_than_a_body() {
    let world = world();
    let before = world.edge.figure("VmRSS");
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), false);
    let bytes = frame(DATA, 0, 1, b"x").repeat(1000);
    let all = (0..60).all(|_| frames.raw(&bytes));
    // The server may have had enough of it; if not, the body is whole.
    if all && frames.send(DATA, END_STREAM, 1, b"") {
        let verdict = frames.verdict(1);
        assert!(matches!(verdict, Verdict::Answered(200) | Verdict::Gone(_)), "{verdict:?}");
    }
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 24 * 1024, "the edge grew by {grown} KiB");
    world.stays_well();
}

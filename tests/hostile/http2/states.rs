//! Frames where they cannot be: on streams that are closed, idle or the server's, and in odd numbers.

use crate::harness::raw_frames::{
    DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, Verdict, WINDOW_UPDATE, block, settings_payload,
};
use crate::world::{request, world};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;

/// Plays a scene on a connection of its own; the connection has to end with one of these codes.
fn ends_with(codes: &[u32], scene: impl FnOnce(&mut Frames)) {
    let world = world();
    let mut frames = world.frames();
    assert!(frames.settled());
    scene(&mut frames);
    let code = frames.goodbye().expect("a GOAWAY");
    assert!(codes.contains(&code), "ended with {code}");
    world.stays_well();
}

#[test]
fn h2_08_windows_may_shrink_below_nothing_and_grow_again() {
    const WINDOW: u16 = 4;
    let world = world();
    let mut frames = world.frames_with(&[(WINDOW, 1000)]);
    frames.room(0, 1 << 20);
    for stream in [1, 3, 5] {
        frames.head(stream, &request("GET", "/bytes?n=100000"), true);
    }
    assert!(frames.until(|frame| frame.kind == DATA).is_some());
    frames.send(SETTINGS, 0, 0, &settings_payload(&[(WINDOW, 0)]));
    assert!(frames.settled());
    frames.send(SETTINGS, 0, 0, &settings_payload(&[(WINDOW, 200_000)]));
    let (mut ended, mut got) = (0, 0);
    while ended < 3 {
        let data = frames.until(|frame| frame.kind == DATA).expect("more");
        got += data.payload.len();
        ended += usize::from(data.flags & END_STREAM != 0);
    }
    assert!((200_000..=300_000).contains(&got), "{got}");
    world.stays_well();
}

#[test]
fn h2_08_a_window_beyond_its_most_ends_the_connection() {
    ends_with(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR], |frames| {
        frames.send(SETTINGS, 0, 0, &settings_payload(&[(4, u32::MAX)]));
    });
    ends_with(&[FLOW_CONTROL_ERROR], |frames| {
        frames.room(0, 0x7fff_ffff);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.room(0, 0);
    });
}

#[test]
fn h2_09_streams_have_odd_numbers_that_rise() {
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.head(2, &request("GET", "/"), true);
    });
    ends_with(&[PROTOCOL_ERROR, STREAM_CLOSED], |frames| {
        frames.head(5, &request("GET", "/"), true);
        assert_eq!(frames.verdict(5), Verdict::Answered(200));
        frames.head(3, &request("GET", "/"), true);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.head(0, &request("GET", "/"), true);
    });
}

#[test]
fn h2_09_a_number_is_used_once() {
    let world = world();
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), true);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    assert!(frames.until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
    frames.head(1, &request("POST", "/again"), true);
    assert!(matches!(frames.verdict(1), Verdict::Gone(_) | Verdict::Reset(STREAM_CLOSED | PROTOCOL_ERROR)));
    assert_eq!(world.eu.writes_executed(), 1);
    world.stays_well();
}

#[test]
fn h2_10_a_body_needs_a_head_and_ends_once() {
    ends_with(&[PROTOCOL_ERROR, STREAM_CLOSED], |frames| {
        frames.send(DATA, END_STREAM, 1, b"hello");
    });
    let world = world();
    let mut frames = world.frames();
    frames.head(1, &request("GET", "/slow?ms=300"), true);
    frames.send(DATA, END_STREAM, 1, b"hello");
    assert!(frames.verdict(1).is_refusal());
    let mut frames = world.frames();
    frames.head(1, &request("GET", "/slow?ms=300"), true);
    frames.head(1, &request("GET", "/"), true);
    assert!(frames.verdict(1).is_refusal());
    world.stays_well();
}

#[test]
fn h2_11_a_client_pushes_nothing_and_frames_keep_to_their_streams() {
    ends_with(&[PROTOCOL_ERROR], |frames| {
        let promise = [&2_u32.to_be_bytes()[..], &block(&request("GET", "/"))].concat();
        frames.send(PUSH_PROMISE, END_HEADERS, 1, &promise);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.send(GOAWAY, 0, 1, &[0; 8]);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.send(RST_STREAM, 0, 0, &[0; 4]);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.send(SETTINGS, 0, 1, &[]);
    });
    ends_with(&[PROTOCOL_ERROR], |frames| {
        frames.send(PING, 0, 1, &[0; 8]);
    });
}

#[test]
fn h2_11_frames_of_a_wrong_length_end_the_connection() {
    const FRAME_SIZE_ERROR: u32 = 6;
    for (kind, stream, length) in
        [(SETTINGS, 0, 5), (PING, 0, 7), (RST_STREAM, 1, 3), (WINDOW_UPDATE, 0, 3), (HEADERS, 1, 17_000)]
    {
        ends_with(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR], |frames| {
            if kind == RST_STREAM {
                frames.head(1, &request("GET", "/slow?ms=300"), true);
            }
            frames.send(kind, 0, stream, &vec![0; length]);
        });
    }
}

#[test]
fn h2_22_what_nobody_knows_is_ignored() {
    let world = world();
    let mut frames = world.frames_with(&[(0x0a0a, 7), (0x1a1a, u32::MAX), (0xfefe, 0)]);
    frames.send(0x0b, 0xff, 0, b"of another time");
    frames.send(0xee, 0, 1, b"");
    frames.send(PING, 0xf0, 0, b"unknown!");
    frames.send(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]);
    frames.head(1, &request("GET", "/"), true);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    world.stays_well();
}

#[test]
fn h2_07_priorities_are_heard_and_not_kept() {
    let world = world();
    let mut frames = world.frames();
    assert!(frames.settled());
    let before = world.edge.figure("VmRSS");
    for round in 0..20_u32 {
        let churn: Vec<u8> = (0..5000_u32)
            .flat_map(|n| {
                let on = (n * 2 + 1 + round * 10_000).to_be_bytes();
                crate::harness::raw_frames::frame(
                    PRIORITY,
                    0,
                    n * 2 + 3,
                    &[on[0] & 0x7f, on[1], on[2], on[3] ^ 4, round as u8],
                )
            })
            .collect();
        assert!(frames.raw(&churn));
    }
    assert!(frames.settled());
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "the edge grew by {grown} KiB");
    frames.head(100_001, &request("GET", "/"), true);
    assert_eq!(frames.verdict(100_001), Verdict::Answered(200));
    world.stays_well();
}

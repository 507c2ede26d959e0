//! Clients that let a stream stand still, and those that move it by a byte.

use std::time::Duration;

use crate::harness::raw_frames::{DATA, END_STREAM, Frame, GOAWAY, RST_STREAM, Verdict};
use crate::harness::{eventually, now};
use crate::world::{World, request, request_with, world_with};

const WINDOW: u16 = 4;

fn limited(world: &World, limit: &str) -> f64 {
    world.edge.metric("rhumb_limits_total", &[("limit", limit)])
}

fn impatient() -> World {
    waiting(1)
}

/// A world that waits so many seconds for a client to move on.
fn waiting(seconds: u64) -> World {
    world_with(|edge| edge.set("limits", &format!("idle_timeout = \"{seconds}s\"")))
}

#[test]
fn h2_05_a_window_that_never_opens_is_not_waited_for() {
    let world = impatient();
    world.edge.get("t1.example.test", "/bytes?n=1048576");
    let before = world.edge.figure("VmRSS");
    let mut frames = world.frames_with(&[(WINDOW, 0)]);
    for n in 0..100 {
        frames.head(2 * n + 1, &request("GET", "/bytes?n=1048576"), true);
    }
    let mut reset = 0;
    while let Some(Frame { kind, .. }) = frames.until(|frame| {
        matches!(frame.kind, RST_STREAM | GOAWAY) || (frame.kind == DATA && !frame.payload.is_empty())
    }) {
        assert_ne!(kind, DATA, "there was no room for it");
        reset += usize::from(kind == RST_STREAM);
        if kind == GOAWAY || reset == 100 {
            break;
        }
    }
    assert!(reset > 0, "none was reset");
    eventually("all are given up", || world.edge.metric("rhumb_in_flight", &[]) == 0.0);
    let grown = world.edge.figure("VmHWM").saturating_sub(before);
    println!("100 stalled streams: the edge grew by {grown} KiB");
    assert!(grown < 64 * 1024, "the edge grew by {grown} KiB");
    world.stays_well();
}

#[test]
fn h2_06_a_window_that_opens_by_a_byte_is_no_progress() {
    let world = impatient();
    let mut frames = world.frames_with(&[(WINDOW, 0)]);
    frames.head(1, &request("GET", "/bytes?n=1048576"), true);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    let began = now();
    let cut = loop {
        assert!(began.elapsed() < Duration::from_secs(20), "it was never cut");
        frames.room(1, 1);
        match frames.until(|frame| matches!(frame.kind, DATA | RST_STREAM | GOAWAY)) {
            Some(Frame { kind: DATA, payload, .. }) => assert!(payload.len() <= 1),
            Some(Frame { kind: RST_STREAM, .. }) => break true,
            _ => break false,
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(cut, "the stream was reset");
    world.edge.counts("rhumb_limits_total", &[("limit", "response_stalled")], 1.0);
    frames.head(3, &request("GET", "/bytes?n=0"), true);
    assert_eq!(frames.verdict(3), Verdict::Answered(200), "the connection goes on");
    world.stays_well();
}

#[test]
fn sl_04_a_reader_that_takes_a_byte_at_a_time_is_cut_and_a_slow_one_is_not() {
    let world = waiting(3);
    let mut slow = world.frames_with(&[(WINDOW, 0)]);
    slow.head(1, &request("GET", "/bytes?n=60000"), true);
    assert_eq!(slow.verdict(1), Verdict::Answered(200));
    let (mut got, began) = (0, now());
    while got < 60_000 {
        // A fair piece each time, and all of it takes longer than the patience.
        slow.room(1, 2500);
        let piece = slow.until(|frame| matches!(frame.kind, DATA | RST_STREAM)).expect("it goes on");
        assert_eq!(piece.kind, DATA, "cut after {got} bytes in {:?}", began.elapsed());
        got += piece.payload.len();
        std::thread::sleep(Duration::from_millis(150));
    }
    assert!(began.elapsed() > Duration::from_secs(3));
    world.stays_well();
}

#[test]
fn sl_03_a_body_that_stands_still_is_not_waited_for() {
    let world = impatient();
    let mut frames = world.frames();
    frames.head(1, &request_with("POST", "/", &[("content-length", "1000")]), false);
    frames.send(DATA, 0, 1, b"hello");
    assert_eq!(frames.verdict(1), Verdict::Answered(408));
    assert_eq!(world.eu.writes_executed(), 0);
    world.edge.counts("rhumb_limits_total", &[("limit", "request_stalled")], 1.0);
    world.stays_well();
}

#[test]
fn sl_03_a_body_that_comes_by_the_byte_is_not_waited_for() {
    let world = impatient();
    let mut frames = world.frames();
    frames.head(1, &request_with("POST", "/", &[("content-length", "100000")]), false);
    let began = now();
    while limited(&world, "request_stalled") == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it was never cut");
        frames.send(DATA, 0, 1, b"x");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(frames.verdict(1), Verdict::Answered(408));
    assert_eq!(world.eu.writes_executed(), 0);
    frames.head(3, &request("GET", "/"), true);
    assert_eq!(frames.verdict(3), Verdict::Answered(200), "the connection goes on");
    world.stays_well();
}

#[test]
fn sl_03_a_slow_body_that_moves_on_is_taken() {
    let world = waiting(3);
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), false);
    for _ in 0..24 {
        frames.send(DATA, 0, 1, &[b'x'; 5000]);
        assert!(frames.settled());
        std::thread::sleep(Duration::from_millis(150));
    }
    frames.send(DATA, END_STREAM, 1, b"");
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    assert_eq!(world.eu.writes_executed(), 1);
    world.edge.has_counted(1.0);
    assert_eq!(limited(&world, "request_stalled"), 0.0);
    world.stays_well();
}

#[test]
fn sl_03_how_fast_a_body_has_to_move_is_a_setting() {
    let world = world_with(|edge| {
        edge.set("limits", "idle_timeout = \"1s\"").set("limits", "min_progress = \"1MiB\"")
    });
    let mut frames = world.frames();
    frames.head(1, &request("POST", "/"), false);
    let began = now();
    // Fast enough by default.
    while limited(&world, "request_stalled") == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it was never cut");
        frames.send(DATA, 0, 1, &[b'x'; 5000]);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(frames.verdict(1), Verdict::Answered(408));
    assert_eq!(world.eu.writes_executed(), 0);
    world.stays_well();
}

#[test]
fn a_connection_without_a_request_is_told_to_go() {
    let world = impatient();
    let mut frames = world.frames();
    frames.head(1, &request("GET", "/"), true);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    // Whoever only asks whether somebody is there is idle too.
    let began = now();
    while frames.settled() {
        assert!(began.elapsed() < Duration::from_secs(20), "it was never told to go");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.edge.counts("rhumb_limits_total", &[("limit", "idle_timeout")], 1.0);
    world.stays_well();
}

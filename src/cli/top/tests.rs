//! What is drawn of a board, at sizes that terminals have, and what becomes of what is heard.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::super::board::{Board, Lost, Told};
use super::super::ears::Heard;
use super::super::show;
use super::draw;
use crate::cli::failure::Failure;
use crate::control::clock::Clock;

fn status() -> Value {
    json!({
        "edge": {"id": "edge-1", "region": "eu-west-1"}, "version": "0.1.0", "ready": true, "generation": 12,
        "tenants": 1200, "in_flight": 34, "journal": null, "dangling": ["mars"], "table": {"problems": []},
        "regions": [
            {"region": "ap-southeast-1", "role": "active", "jurisdiction": "sg", "health": "UP",
                "weight": {"configured": 100.0, "operator": null, "effective": 100.0},
                "traffic": {"requests_per_second": 0.0, "error_rate": 0.0, "p50_ms": null, "p99_ms": null},
                "in_flight": 0, "capacity": null, "replication": {}, "capabilities": {}, "cells": {}, "drain": null},
            {"region": "eu-west-1", "role": "active", "jurisdiction": "eu", "health": "DEGRADED",
                "weight": {"configured": 100.0, "operator": 40.0, "effective": 40.0, "by": "mia",
                    "reason": "slow disks in the eastern racks", "until": "2026-01-01T02:00:00Z"},
                "drain": {"id": 3, "state": "running", "from": 100.0, "to": 0.0, "eta": "2026-01-01T00:10:00Z"},
                "traffic": {"requests_per_second": 12_345.6, "error_rate": 0.0123, "p50_ms": 3.21, "p99_ms": 187.4},
                "in_flight": 34, "max_in_flight": 4000, "capacity": 20_000, "round_trip_ms": 0.4,
                "replication": {"us-east-1": {"lag_seconds": 0.8}},
                "capabilities": {"case.read": "UP", "case.write": "DOWN"}, "cells": {}},
            {"region": "us-east-1", "role": "standby", "jurisdiction": "us", "health": "DOWN",
                "weight": {"configured": 50.0, "operator": null, "effective": 50.0}, "drain": null,
                "traffic": null, "in_flight": 0, "replication": {"eu-west-1": {"lag_seconds": 400.0}},
                "capabilities": {}, "cells": {"a": {"drain": null, "weight": {"configured": 100.0, "operator": 0.0,
                    "effective": 0.0, "by": "ben", "reason": "rebuilt", "until": null}}}},
        ],
    })
}

fn board() -> Board {
    let mut board = Board::default();
    board.take(&status());
    board.step(1);
    board.hear(told(
        "00:00:01",
        "drain",
        "drain 3 of eu-west-1 began: 100 -> 0, by mia: slow disks in the eastern racks",
    ));
    board.hear(told("00:00:02", "health", "us-east-1 is DOWN"));
    board
}

fn told(time: &str, kind: &str, text: &str) -> Told {
    Told { time: format!("2026-01-01T{time}Z"), kind: kind.into(), text: text.into() }
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width).max(1);
    let symbols: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    symbols.chunks(width).map(|line| line.concat().trim_end().to_owned() + "\n").collect()
}

fn drawn(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board)).unwrap();
    text(&terminal)
}

#[test]
fn eighty_columns_hold_every_figure_but_the_median_and_who_set_what() {
    assert_eq!(
        drawn(&board(), 80, 24),
        "\
Rhumb edge-1 in eu-west-1
generation 12, 1200 tenants, 34 in flight, version 0.1.0
operators set weights for what the table does not have: mars
 REGION         HEALTH   WEIGHT  CONF OPER  EFF REQ/S  ERR   P99 IN FL ROOM  LAG
 ap-southeast-1 UP       ███████  100    –  100     0   0%     –     0    –    –
>eu-west-1      DEGRADED ███░░░░  100   40   40   12k 1.2% 187ms    34  38% 0.8s
  by mia, drain 3 running, 100 -> 0, there at 2026-01-01T00:10:00Z, until 2026-…
 us-east-1      DOWN     ████···   50    –   50     –    –     –     0    –   7m
  a: by ben: rebuilt
── eu-west-1 ───────────────────────────────────────────────────────────────────
eu-west-1: by mia, drain 3 running, 100 -> 0, there at 2026-01-01T00:10:00Z,
  until 2026-01-01T02:00:00Z: slow disks in the eastern racks
active, eu, DEGRADED, weight 40 (configured 100, operator 40)
12345.6 requests/s, 1.2 % errors, p50 3.2 ms, p99 187.4 ms
in flight 34, at most 4000, capacity 20000 requests/s, round trip 0.4 ms
lag: us-east-1 0.8 s behind
not up: case.write DOWN
── events, newest first ────────────────────────────────────────────────────────
00:00:02 health: us-east-1 is DOWN
00:00:01 drain: drain 3 of eu-west-1 began: 100 -> 0, by mia: slow disks in the
  eastern racks


q quit   ↑↓ region
"
    );
}

#[test]
fn forty_columns_keep_what_is_in_effect_and_what_fails() {
    assert_eq!(
        drawn(&board(), 40, 24),
        "\
Rhumb edge-1 in eu-west-1
generation 12, 1200 tenants, 34 in
flight, version 0.1.0
operators set weights for what the table
does not have: mars
 REGION         HEALTH    EFF REQ/S  ERR
 ap-southeast-1 UP        100     0   0%
>eu-west-1      DEGRADED   40   12k 1.2%
  by mia, drain 3 running, 100 -> 0, th…
 us-east-1      DOWN       50     –    –
  a: by ben: rebuilt
── eu-west-1 ───────────────────────────
eu-west-1: by mia, drain 3 running, 100
  -> 0, there at 2026-01-01T00:10:00Z,
  until 2026-01-01T02:00:00Z: slow disks
  in the eastern racks
active, eu, DEGRADED, weight 40
  (configured 100, operator 40)
12345.6 requests/s, 1.2 % errors, p50
── events, newest first ────────────────
00:00:02 health: us-east-1 is DOWN
00:00:01 drain: drain 3 of eu-west-1
  began: 100 -> 0, by mia: slow disks in
q quit   ↑↓ region
"
    );
}

#[test]
fn transfers_under_way_and_writes_that_wait_are_said_first() {
    let mut status = status();
    status["ownership"] = json!({"held_writes": 3, "under_way": [
        {"id": 9, "state": "running", "step": "switch", "moved": 500, "tenants": 1000, "expected": 1000,
            "trouble": "eu-west-1 does not answer", "stuck": true}]});
    let mut board = Board::default();
    board.take(&status);
    assert!(
        drawn(&board, 100, 24).starts_with(
            "\
Rhumb edge-1 in eu-west-1
generation 12, 1200 tenants, 34 in flight, 3 writes held, version 0.1.0
transfer 9 [##########..........] 500 of 1000 tenants, running, switch (stuck: eu-west-1 does not
answer)
operators set weights for what the table does not have: mars
transfer 9 is stuck, and its writes wait: eu-west-1 does not answer
"
        ),
        "{}",
        drawn(&board, 100, 24)
    );
}

#[test]
fn the_median_is_shown_where_there_is_room_for_it() {
    let drawn = drawn(&board(), 120, 24);
    assert!(drawn.contains("  ERR   P50   P99 "), "{drawn}");
    assert!(drawn.contains("1.2% 3.2ms 187ms"), "{drawn}");
}

#[test]
fn an_edge_that_is_lost_is_said_first_at_every_width() {
    let mut board = board();
    let why = "no edge answers at http://127.0.0.1:9900; is it running? --admin names another".to_owned();
    board.lost = Some(Lost { since: 65, why });
    for (width, height) in [(80, 24), (40, 24), (24, 10), (20, 5)] {
        let drawn = drawn(&board, width, height);
        assert!(drawn.starts_with("LOST: no answer for"), "{width}x{height}\n{drawn}");
    }
    let drawn = drawn(&board, 80, 24);
    assert!(drawn.contains("for 65 s, and what is below may be wrong. no edge answers"), "{drawn}");
    board.take(&status());
    assert!(board.lost.is_none(), "what is answered is found again");
}

#[test]
fn no_size_is_too_small_to_draw_on_and_nobody_is_a_board_too() {
    for board in [board(), Board::default()] {
        for (width, height) in [(0, 0), (1, 1), (1, 24), (2, 2), (3, 60), (80, 1), (80, 3), (300, 100)] {
            drawn(&board, width, height);
        }
    }
}

#[test]
fn the_region_that_is_looked_at_is_shown_however_many_there_are() {
    let regions: Vec<Value> =
        (0..40).map(|nth| json!({"region": format!("region-{nth:02}"), "health": "UP"})).collect();
    let mut board = Board::default();
    board.take(&json!({"regions": regions}));
    for (by, name) in [(0, "00"), (25, "25"), (1, "26"), (isize::MAX, "39"), (-1, "38"), (-isize::MAX, "00")]
    {
        board.step(by);
        let drawn = drawn(&board, 80, 24);
        assert!(drawn.contains(&format!("\n>region-{name} ")), "{name}\n{drawn}");
        let foot = drawn.lines().last().unwrap();
        let hidden: usize = foot.split_whitespace().filter_map(|word| word.parse::<usize>().ok()).sum();
        assert_eq!(hidden + drawn.matches("\n region-").count() + 1, 40, "{drawn}");
    }
    board.step(20);
    board.take(&json!({"regions": regions[10..].to_vec()}));
    assert!(drawn(&board, 80, 24).contains("\n>region-20 "), "it is followed to where it stands now");
    board.take(&json!({"regions": [{"region": "only"}]}));
    assert!(drawn(&board, 80, 24).contains("\n>only "));
}

#[test]
fn what_an_edge_says_is_text_and_never_an_order_to_the_terminal() {
    let mut board = Board::default();
    let hostile = "a\u{1b}[2Jb\u{7}\u{9b}31m\nc";
    board.take(&json!({"edge": {"id": hostile}, "journal": hostile, "regions": [{"region": hostile, "health": hostile,
        "weight": {"operator": 1, "by": hostile, "reason": hostile}}]}));
    board.hear(told("\u{1b}[2J:00", hostile, hostile));
    board.deaf = Some(hostile.into());
    let drawn = drawn(&board, 80, 24);
    assert!(drawn.chars().all(|letter| letter == '\n' || !letter.is_control()), "{drawn:?}");
    assert!(drawn.contains("a[2Jb31mc"), "{drawn}");
}

#[test]
fn wide_letters_are_cut_by_what_they_take_of_the_screen() {
    let mut board = Board::default();
    board.take(&json!({"regions": [{"region": "東京東京東京東京東京東京", "health": "UP"}]}));
    board.hear(told("00:00:00", "drain", &"磁盤".repeat(60)));
    let drawn = drawn(&board, 40, 16);
    assert!(drawn.contains('…') && drawn.contains(" UP "), "{drawn}");
}

#[test]
fn figures_stay_within_their_columns() {
    for column in super::COLUMNS {
        for figure in [
            0.0,
            0.0004,
            0.05,
            0.0999,
            0.5,
            1.0,
            9.96,
            33.333,
            99.99,
            100.0,
            999.9,
            9_999.0,
            123_456.7,
            9_876_543.2,
        ] {
            let share = Some(figure / 9_876_543.2);
            let weight = Some(f64::min(figure, 100.0));
            let some = Some(figure);
            let row = super::Row {
                configured: weight,
                operator: weight,
                effective: weight,
                rate: some,
                errors: share,
                p50: some,
                p99: some,
                in_flight: some,
                headroom: share,
                lag: some,
                ..super::Row::default()
            };
            let said = (column.of)(&row);
            assert!(said.chars().count() <= column.width, "{}: {said} of {figure}", column.heading);
        }
    }
    assert_eq!([0.001, 0.0004].map(super::percent), ["0.1%", "<.1%"]);
    assert_eq!([Some(0.01), Some(99.99), Some(0.0), None].map(super::weight), ["<0.1", "99.9", "0", "–"]);
}

/// Draws what is heard, and lets `clock` go on by `waited` first.
fn after(heard: Vec<Heard>, waited: Duration) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let (to, from) = sync_channel(heard.len());
    heard.into_iter().for_each(|one| to.send(one).unwrap());
    drop(to); // it ends once all is heard
    let clock = Clock::held(Duration::ZERO);
    let goes_on = || {
        clock.advance(waited);
        true
    };
    show(&mut terminal, board(), &from, &clock, goes_on).unwrap();
    text(&terminal)
}

#[test]
fn what_is_heard_is_shown_and_keys_move() {
    let drawn = after(
        vec![
            Heard::Told(told("00:00:03", "weight", "mars is far")),
            Heard::Deaf("32 listen already".into()),
            Heard::Step(1),
        ],
        Duration::ZERO,
    );
    for said in ["00:00:03 weight: mars is far", "not heard: 32 listen already", ">us-east-1"] {
        assert!(drawn.contains(said), "{said}\n{drawn}");
    }
    assert!(!drawn.contains("LOST"), "{drawn}");
}

#[test]
fn an_answer_that_fails_or_does_not_come_is_an_edge_that_is_lost_until_the_next() {
    let failed = || Heard::Looked(Err(Failure::Failed("no edge answers at http://x".into())));
    assert!(after(vec![failed()], Duration::ZERO).contains("LOST: no answer for 0 s"), "at once");
    let silent = after(vec![], Duration::from_secs(4));
    assert!(
        silent.contains("LOST: no answer for 4 s, and what is below may be wrong. it has not answered yet"),
        "{silent}"
    );
    assert!(!after(vec![], Duration::from_secs(3)).contains("LOST"));
    assert!(!after(vec![failed(), Heard::Looked(Ok(status()))], Duration::ZERO).contains("LOST"));
}

#[test]
fn it_ends_when_it_is_asked_to_and_when_the_terminal_is_no_longer_its_own() {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let clock = Clock::held(Duration::ZERO);
    let (to, from) = sync_channel(2);
    to.send(Heard::End).unwrap();
    to.send(Heard::Step(1)).unwrap();
    show(&mut terminal, board(), &from, &clock, || true).unwrap();
    assert!(matches!(from.try_recv(), Ok(Heard::Step(1))), "nothing is heard after the end");
    let mut fresh = Terminal::new(TestBackend::new(80, 24)).unwrap();
    show(&mut fresh, board(), &from, &clock, || false).unwrap();
    assert_eq!(text(&fresh).trim(), "", "nothing is drawn on what was given back");
}

use super::*;

const MINUTE: Millis = Millis(60_000);

fn percent(percent: u8) -> Weight {
    Weight::percent(percent)
}

fn ramp(from: u8, to: u8) -> Ramp {
    Ramp { from: percent(from), to: percent(to), over: MINUTE, step: Ramp::STEP }
}

/// A drain from 100 to 0 within a minute, begun at 1 000.
fn begun() -> Drain {
    Drain::begin(ramp(100, 0), Millis(1_000))
}

fn after(drain: &Drain, event: &Event, at: u64) -> Drain {
    drain.step(event, Millis(at)).unwrap_or_else(|unfit| panic!("{unfit}"))
}

fn guarded() -> Event {
    Event::Pause(Pauser::Guard("error_rate 3 % > 2 %".into()))
}

fn events() -> [Event; 6] {
    [Event::Pause(Pauser::Operator), Event::Resume, Event::Stop, Event::Undo, Event::Expire, Event::Tick]
}

#[test]
fn a_weight_lies_on_the_line_between_its_ends_in_whole_steps() {
    for (at, weight) in [
        (0, 10_000),
        (599, 10_000),
        (600, 9_900),
        (15_000, 7_500),
        (15_599, 7_500),
        (59_999, 100),
        (60_000, 0),
        (90_000, 0),
    ] {
        assert_eq!(ramp(100, 0).weight_at(Millis(at)).as_hundredths(), weight, "at {at}");
    }
    assert_eq!(ramp(20, 60).weight_at(Millis(30_000)), percent(40));
    assert_eq!(ramp(60, 60).weight_at(Millis(30_000)), percent(60));
}

#[test]
fn a_last_step_may_be_shorter_than_the_others() {
    let uneven = Ramp { step: percent(30), ..ramp(100, 0) };
    let mut seen: Vec<_> = (0..=60_000).map(|at| uneven.weight_at(Millis(at))).collect();
    seen.dedup();
    assert_eq!(seen, [100, 70, 40, 10, 0].map(percent));
}

#[test]
fn a_ramp_of_no_length_is_at_its_end_from_the_beginning() {
    let at_once = Ramp { over: Millis(0), ..ramp(100, 0) };
    assert_eq!(at_once.weight_at(Millis(0)), Weight::NONE);
    let drain = Drain::begin(at_once, Millis(7));
    assert_eq!((drain.phase(), drain.weight(), drain.next()), (&Phase::Done, Some(Weight::NONE), None));
    let undone = after(&drain, &Event::Undo, 8);
    assert_eq!((undone.phase(), undone.weight()), (&Phase::Undone, None));
}

#[test]
fn a_step_of_nothing_is_a_hundredth_of_a_percent() {
    let fine = Ramp { step: Weight::NONE, ..ramp(100, 0) };
    assert_eq!(fine.weight_at(Millis(6)).as_hundredths(), 9_999);
    assert_eq!(fine.next_step(Millis(0)), Millis(6));
}

/// Every ramp of a wide field of ends, lengths and steps.
fn ramps() -> impl Iterator<Item = Ramp> {
    let ends = [(10_000, 0), (0, 10_000), (7_531, 42), (42, 7_531), (5_000, 5_000), (1, 0)];
    let overs = [0, 1, 7, 999, 60_000];
    let steps = [0, 1, 100, 333, 10_000];
    ends.into_iter().flat_map(move |(from, to)| {
        overs.into_iter().flat_map(move |over| {
            steps.into_iter().map(move |step| Ramp {
                from: Weight::hundredths(from),
                to: Weight::hundredths(to),
                over: Millis(over),
                step: Weight::hundredths(step),
            })
        })
    })
}

#[test]
fn no_ramp_turns_back_leaves_its_ends_or_changes_between_its_steps() {
    for ramp in ramps() {
        let (low, high) = (ramp.from.min(ramp.to), ramp.from.max(ramp.to));
        let end = ramp.over.0 + 2;
        let weights: Vec<_> = (0..=end).map(|at| ramp.weight_at(Millis(at))).collect();
        assert_eq!(weights.last(), Some(&ramp.to));
        for (at, pair) in (0..).zip(weights.windows(2)) {
            let [now, then] = pair else { continue };
            assert!((low..=high).contains(now), "{ramp:?} at {at}");
            assert!(
                if ramp.to < ramp.from { then <= now } else { then >= now },
                "{ramp:?} turns back at {at}"
            );
            if now != then {
                assert_eq!(ramp.next_step(Millis(at)), Millis(at + 1), "{ramp:?} changes after {at}");
                assert_eq!(ramp.last_step(Millis(at + 1)), Millis(at), "{ramp:?} changed before {}", at + 1);
            }
        }
    }
}

#[test]
fn a_drain_sleeps_until_its_next_step_and_misses_none() {
    let mut drain = begun();
    let mut seen = vec![drain.weight()];
    while let Some(next) = drain.next() {
        drain = after(&drain, &Event::Tick, next.0);
        seen.push(drain.weight());
    }
    assert_eq!(seen, (0..=100).rev().map(|left| Some(percent(left))).collect::<Vec<_>>());
    assert_eq!((drain.phase(), drain.position()), (&Phase::Done, MINUTE));
}

#[test]
fn an_undo_walks_the_same_steps_back_as_fast_as_they_came() {
    let drain = after(&begun(), &Event::Tick, 31_000);
    assert_eq!(drain.weight(), Some(percent(50)));
    let mut back = after(&drain, &Event::Undo, 31_000);
    assert_eq!(after(&back, &Event::Tick, 46_000).weight(), Some(percent(75)));
    let mut seen = Vec::new();
    while let Some(next) = back.next() {
        back = after(&back, &Event::Tick, next.0);
        seen.push(back.weight());
    }
    let steps = (51..=100).map(|left| Some(percent(left)));
    assert_eq!(seen, steps.chain([None]).collect::<Vec<_>>());
    assert_eq!(back, after(&drain, &Event::Undo, 31_000).step(&Event::Tick, Millis(61_000)).unwrap());
}

#[test]
fn a_paused_drain_stands_and_goes_on_where_it_stood() {
    let paused = after(&begun(), &guarded(), 16_000);
    let Phase::Paused(Pause { undoing: false, by: Pauser::Guard(why) }) = paused.phase() else { panic!() };
    assert_eq!(why.as_ref(), "error_rate 3 % > 2 %");
    let later = after(&paused, &Event::Tick, 900_000);
    assert_eq!((later.weight(), later.next()), (Some(percent(75)), None));
    let resumed = after(&later, &Event::Resume, 1_000_000);
    assert_eq!(after(&resumed, &Event::Tick, 1_015_000).weight(), Some(percent(50)));
}

#[test]
fn a_pause_on_the_way_back_is_resumed_on_the_way_back() {
    let back = after(&after(&begun(), &Event::Tick, 31_000), &Event::Undo, 31_000);
    let paused = after(&back, &Event::Pause(Pauser::Operator), 46_000);
    assert!(paused.step(&Event::Undo, Millis(46_000)).is_err(), "it goes back already");
    let resumed = after(&paused, &Event::Resume, 100_000);
    assert_eq!(after(&resumed, &Event::Tick, 106_000).weight(), Some(percent(85)));
}

#[test]
fn a_stopped_drain_stays_for_good_until_it_is_undone() {
    let stopped = after(&begun(), &Event::Stop, 31_000);
    assert_eq!((stopped.weight(), stopped.next()), (Some(percent(50)), None));
    assert_eq!(after(&stopped, &Event::Tick, 900_000).weight(), Some(percent(50)));
    assert!(stopped.step(&Event::Resume, Millis(900_000)).is_err());
    let undone = after(&after(&stopped, &Event::Undo, 900_000), &Event::Tick, 930_000);
    assert_eq!((undone.phase(), undone.weight()), (&Phase::Undone, None));
}

#[test]
fn an_expired_drain_says_nothing_any_more() {
    let expired = after(&begun(), &Event::Expire, 31_000);
    assert_eq!((expired.weight(), expired.next()), (None, None));
}

#[test]
fn a_drain_that_came_back_by_the_time_it_expires_is_undone() {
    let back = after(&after(&begun(), &Event::Tick, 31_000), &Event::Undo, 31_000);
    assert_eq!(after(&back, &Event::Expire, 60_999).phase(), &Phase::Expired);
    let undone = after(&back, &Event::Expire, 61_000);
    assert_eq!(undone.phase(), &Phase::Undone);
    assert!(undone.step(&Event::Expire, Millis(61_000)).is_err());
}

/// A drain in each phase at 31 000, and what becomes of it by each of [`events`]; an empty word: it is refused.
#[test]
fn every_event_in_every_phase_is_taken_or_refused_as_written_here() {
    let back = after(&begun(), &Event::Undo, 31_000);
    let pause = Event::Pause(Pauser::Operator);
    let cases = [
        (begun(), ["paused", "", "stopped", "undoing", "expired", "running"]),
        (after(&begun(), &pause, 30_000), ["", "running", "stopped", "undoing", "expired", "paused"]),
        (after(&back, &pause, 31_000), ["", "undoing", "stopped", "", "expired", "paused"]),
        (after(&begun(), &Event::Stop, 30_000), ["", "", "", "undoing", "expired", "stopped"]),
        (after(&begun(), &Event::Tick, 61_000), ["", "", "", "undoing", "expired", "done"]),
        (back.clone(), ["paused", "", "stopped", "", "expired", "undoing"]),
        (after(&back, &Event::Tick, 61_000), ["", "", "", "", "", "undone"]),
        (after(&begun(), &Event::Expire, 30_000), ["", "", "", "", "", "expired"]),
    ];
    for (drain, becomes) in cases {
        for (event, becomes) in events().into_iter().zip(becomes) {
            let said = drain.step(&event, Millis(31_000));
            let phase = said.as_ref().map_or("", |drain| drain.phase().code());
            assert_eq!(phase, becomes, "{} of a drain that is {}", event.code(), drain.phase().code());
            if let Err(unfit) = said {
                assert_eq!((&unfit.event, &unfit.phase), (&event, drain.phase()));
            }
        }
    }
}

#[test]
fn time_is_taken_in_before_an_event_is() {
    let late = begun().step(&Event::Pause(Pauser::Operator), Millis(61_000)).unwrap_err();
    assert_eq!(late.phase, Phase::Done);
    assert_eq!(late.to_string(), "the drain is done, so there is nothing to pause");
}

#[test]
fn a_clock_that_steps_back_moves_nothing() {
    let drain = after(&begun(), &Event::Tick, 31_000);
    let earlier = after(&drain, &Event::Tick, 11_000);
    assert_eq!(earlier, drain);
    assert_eq!(after(&earlier, &Event::Tick, 46_000).weight(), Some(percent(25)));
}

#[test]
fn however_often_it_is_asked_a_drain_stands_where_time_puts_it() {
    let (mut often, once) = (begun(), after(&begun(), &Event::Tick, 48_765));
    (1_000..=48_765).for_each(|at| often = after(&often, &Event::Tick, at));
    assert_eq!(often, once);
}

#[test]
fn a_restart_carries_the_elapsed_time_over_and_gives_the_same_weights() {
    let back = after(&after(&begun(), &Event::Tick, 61_000), &Event::Undo, 61_000);
    let paused = after(&begun(), &guarded(), 16_000);
    for drain in [begun(), back, paused, after(&begun(), &Event::Stop, 20_000)] {
        for (asleep, later) in [(0, 0), (0, 9_000), (4_321, 0), (4_321, 9_000), (100_000, 1)] {
            // Written down a while after its last step, taken up by a process whose clock has just begun.
            let written_at = Millis(drain.at.0 + 1_234);
            let owed = drain.owed(written_at).after(Millis(asleep));
            let resumed = Drain::resumed(drain.ramp, drain.phase.clone(), drain.position, owed, Millis(5));
            assert_eq!(resumed.weight(), drain.weight(), "nothing moves by a restart alone");
            let here = after(&resumed, &Event::Tick, 5 + later);
            let there = after(&drain, &Event::Tick, written_at.0 + asleep + later);
            assert_eq!(
                (here.phase(), here.position(), here.weight()),
                (there.phase(), there.position(), there.weight())
            );
            let due = |drain: &Drain, now: u64| drain.next().map(|next| next.since(Millis(now)));
            assert_eq!(due(&here, 5 + later), due(&there, written_at.0 + asleep + later));
            assert_eq!(drain.rebased(written_at, Millis(asleep), Millis(5)), resumed);
        }
    }
}

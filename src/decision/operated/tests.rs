use super::*;
use crate::table::Safety;
use crate::testing::{Here, here, table};
use crate::units::{CellId, RegionId, Wall};

const STEP: Weight = Ramp::STEP;

/// A moment that many milliseconds after the beginning, by both clocks.
fn now(at: u64) -> Now {
    Now { at: Millis(at), wall: Wall(1_000_000 + at) }
}

fn by(actor: &str, at: u64) -> By {
    By { actor: actor.into(), reason: "why not".into(), since: now(at).wall, until: None }
}

fn until(at: u64) -> By {
    By { until: Some(now(at).wall), ..by("ann", 0) }
}

fn eu() -> Scope {
    Scope::region("eu")
}

fn world() -> Table {
    let celled = Here { cells: &[("a", 100), ("b", 80)], ..here("eu") };
    table(&[celled, Here { weight: 90, ..here("us") }], Safety::default(), &[])
}

/// The operators' state, with a way of changing it that fails loudly.
#[derive(Clone, Default)]
struct Desk(Operated);

impl Desk {
    fn with(&mut self, change: Change, by: &By, at: u64) -> Applied {
        let (next, applied) =
            self.0.apply(&change, by, now(at)).unwrap_or_else(|refused| panic!("{refused}"));
        self.0 = next;
        applied
    }

    fn refuses(&self, change: Change, at: u64) -> Refused {
        self.0.apply(&change, &by("ann", at), now(at)).expect_err("it is taken")
    }

    fn set(&mut self, scope: Scope, percent: u8, at: u64) -> Applied {
        self.with(Change::Set { scope, weight: Weight::percent(percent) }, &by("ann", at), at)
    }

    /// A drain of eu within a hundred seconds.
    fn begin(&mut self, from: u8, to: u8, at: u64) -> DrainId {
        let id = self.0.next_drain();
        self.with(begin(id, from, to), &by("bob", at), at);
        id
    }

    /// Everything that is due.
    fn tick(&mut self, at: u64) -> Vec<Applied> {
        let due = self.0.due(now(at));
        due.into_iter().map(|change| self.with(change, &by("rhumb", at), at)).collect()
    }

    fn said(&self) -> Option<u16> {
        self.0.weight(&eu()).map(|(weight, _)| weight.as_hundredths() / 100)
    }
}

fn begin(id: DrainId, from: u8, to: u8) -> Change {
    let (from, to) = (Weight::percent(from), Weight::percent(to));
    Change::Begin { id, scope: eu(), ramp: Ramp { from, to, over: Millis(100_000), step: STEP } }
}

#[test]
fn a_weight_that_an_operator_set_is_laid_over_the_configured_one() {
    let (table, mut desk) = (world(), Desk::default());
    assert_eq!(desk.0.weights(&table), Weights::configured(&table));
    let applied = desk.set(Scope::region("us"), 40, 0);
    assert_eq!((applied.before, applied.after, applied.stopped), (None, Some(Weight::percent(40)), None));
    desk.set(Scope::cell("eu", "b"), 0, 0);
    let weights = desk.0.weights(&table);
    assert_eq!(weights.region(RegionId(1)), Weight::percent(40));
    assert_eq!(weights.cell(RegionId(0), CellId(1)), Weight::NONE);
    assert_eq!(weights.cell(RegionId(0), CellId(0)), Weight::FULL);
    let view = desk.0.view(&table, &Scope::region("us")).unwrap();
    let percents = (view.configured.as_percent(), view.operator.map(Weight::as_percent));
    assert_eq!((percents, view.effective.as_percent()), ((90.0, Some(40.0)), 40.0));
    assert_eq!((view.by, view.drain), (Some(by("ann", 0)), None));
}

#[test]
fn what_is_cleared_leaves_the_configured_weight() {
    let mut desk = Desk::default();
    assert_eq!(desk.refuses(Change::Clear { scope: eu() }, 0), Refused::NothingSet(eu()));
    desk.set(eu(), 40, 0);
    let applied = desk.with(Change::Clear { scope: eu() }, &by("ann", 1), 1);
    assert_eq!((applied.before, applied.after), (Some(Weight::percent(40)), None));
    assert_eq!(desk.0, Operated::default());
}

#[test]
fn a_scope_that_the_table_does_not_have_is_kept_and_holds_nothing() {
    let mut desk = Desk::default();
    let scopes = [Scope::region("mars"), Scope::cell("eu", "z"), Scope::cell("us", "a")];
    scopes.iter().for_each(|scope| drop(desk.set(scope.clone(), 0, 0)));
    let table = world();
    assert_eq!(desk.0.weights(&table), Weights::configured(&table));
    let dangling: Vec<_> = desk.0.dangling(&table).into_iter().map(ToString::to_string).collect();
    assert_eq!(dangling, ["eu/z", "mars", "us/a"]);
    assert_eq!(desk.0.view(&table, &Scope::region("mars")), None);
    let with_mars = crate::testing::table(&[here("mars")], Safety::default(), &[]);
    assert_eq!(desk.0.weights(&with_mars).region(RegionId(0)), Weight::NONE, "it was not forgotten");
}

#[test]
fn a_drain_is_in_force_as_far_as_it_was_advanced() {
    let mut desk = Desk::default();
    let id = desk.begin(100, 0, 0);
    assert_eq!((desk.said(), desk.0.next_due(now(0))), (Some(100), Some(Millis(1_000))));
    assert_eq!(desk.0.next_due(now(400)), Some(Millis(600)));
    assert_eq!((desk.tick(999).len(), desk.tick(1_000).len(), desk.said()), (0, 1, Some(99)));
    assert_eq!(desk.0.next_due(now(40_000)), Some(Millis(0)));
    assert_eq!(desk.said(), Some(99), "time alone changes nothing that was not told");
    let applied = desk.tick(100_000);
    let [Applied { before, after, drain: Some((told, Some(Phase::Running), Phase::Done)), .. }] =
        &applied[..]
    else {
        panic!("{applied:?}")
    };
    assert_eq!((told, *before, *after), (&id, Some(Weight::percent(99)), Some(Weight::NONE)));
    assert_eq!((desk.tick(200_000).len(), desk.0.next_due(now(200_000))), (0, None));
    assert_eq!(desk.0.view(&world(), &eu()).unwrap().drain, Some(id));
}

#[test]
fn an_undone_drain_leaves_what_was_said_before_it() {
    for before in [None, Some(60)] {
        let mut desk = Desk::default();
        before.into_iter().for_each(|percent| drop(desk.set(eu(), percent, 0)));
        let (from, untouched) = (before.unwrap_or(100), desk.0.settings().count());
        let id = desk.begin(from, 0, 0);
        desk.tick(100_000);
        desk.with(Change::Undo { id }, &by("ann", 150_000), 150_000);
        desk.tick(200_000);
        assert_eq!(desk.said(), Some(u16::from(from) / 2));
        let applied = desk.tick(250_000);
        assert_eq!(applied[0].after, before.map(Weight::percent));
        assert_eq!((desk.said(), desk.0.settings().count()), (before.map(u16::from), untouched));
        assert_eq!(desk.0.drain(id).map(|held| held.in_force), Some(false));
        assert_eq!(desk.0.drain_of(&eu()), None);
    }
}

#[test]
fn one_drain_of_a_scope_at_a_time() {
    let mut desk = Desk::default();
    let first = desk.begin(100, 0, 0);
    let second = begin(DrainId(2), 100, 50);
    let refused = Refused::DrainRuns { id: first, scope: eu() };
    assert_eq!(desk.refuses(second.clone(), 99_999), refused);
    desk.with(Change::Pause { id: first, by: crate::drain::Pauser::Operator }, &by("ann", 50_000), 50_000);
    assert_eq!(desk.refuses(second.clone(), 500_000), refused, "it may be resumed");
    let of_a_cell = Change::Begin {
        id: DrainId(2),
        scope: Scope::cell("eu", "a"),
        ramp: Ramp { from: Weight::FULL, to: Weight::NONE, over: Millis(10), step: STEP },
    };
    desk.with(of_a_cell, &by("ann", 50_000), 50_000);
    assert_eq!(desk.refuses(second, 60_000), Refused::NumberTaken(DrainId(2)));
}

#[test]
fn a_drain_begun_after_another_goes_back_to_where_that_one_came() {
    let mut desk = Desk::default();
    let first = desk.begin(100, 50, 0);
    // The first is over, though nobody advanced it.
    let second = desk.begin(50, 0, 100_000);
    assert_eq!(desk.said(), Some(50));
    assert_eq!(desk.refuses(Change::Undo { id: first }, 110_000), Refused::Replaced(first));
    desk.tick(200_000);
    desk.with(Change::Undo { id: second }, &by("ann", 200_000), 200_000);
    desk.tick(300_000);
    let (weight, said_by) = desk.0.weight(&eu()).unwrap();
    assert_eq!((weight, said_by), (Weight::percent(50), &by("bob", 0)));
}

#[test]
fn a_weight_set_by_hand_stops_the_drain_that_is_under_way_and_says_so() {
    let mut desk = Desk::default();
    let id = desk.begin(100, 0, 0);
    let applied = desk.set(eu(), 70, 40_000);
    assert_eq!((applied.after, applied.stopped), (Some(Weight::percent(70)), Some(id)));
    assert_eq!((desk.tick(500_000).len(), desk.said()), (0, Some(70)));
    let held = desk.0.drain(id).unwrap();
    assert_eq!((held.drain.phase(), held.drain.weight()), (&Phase::Stopped, Some(Weight::percent(60))));
    assert_eq!(desk.refuses(Change::Undo { id }, 500_000), Refused::Replaced(id));
    // One that is over is replaced, and was not stopped.
    let id = desk.begin(70, 0, 500_000);
    desk.tick(600_000);
    assert_eq!(desk.set(eu(), 30, 600_001).stopped, None);
    assert_eq!(desk.0.drain(id).map(|held| held.drain.phase().clone()), Some(Phase::Done));
}

#[test]
fn to_clear_a_weight_stops_its_drain_too() {
    let mut desk = Desk::default();
    let id = desk.begin(100, 0, 0);
    let applied = desk.with(Change::Clear { scope: eu() }, &by("ann", 40_000), 40_000);
    assert_eq!((applied.after, applied.stopped, desk.said()), (None, Some(id), None));
}

#[test]
fn a_weight_whose_time_is_up_gives_way_to_the_configured_one() {
    let mut desk = Desk::default();
    desk.with(Change::Set { scope: eu(), weight: Weight::NONE }, &until(5_000), 0);
    assert_eq!(desk.0.next_due(now(1_000)), Some(Millis(4_000)));
    let early = desk.refuses(Change::ExpireWeight { scope: eu() }, 4_999);
    assert_eq!(early, Refused::NotYet(now(5_000).wall));
    assert!(desk.0.due(now(4_999)).is_empty());
    let applied = desk.tick(5_000);
    assert_eq!((applied[0].before, applied[0].after), (Some(Weight::NONE), None));
    assert_eq!(desk.0, Operated::default());
}

#[test]
fn a_drain_whose_time_is_up_gives_way_to_what_was_said_before_it() {
    for at in [50_000, 300_000] {
        let mut desk = Desk::default();
        desk.set(eu(), 80, 0);
        desk.with(begin(DrainId(1), 80, 0), &until(at), 0);
        assert_eq!(
            desk.refuses(Change::ExpireDrain { id: DrainId(1) }, at - 1),
            Refused::NotYet(now(at).wall)
        );
        desk.tick(at - 1);
        let applied = desk.tick(at);
        assert_eq!(applied.len(), 1);
        assert_eq!((applied[0].after, desk.said()), (Some(Weight::percent(80)), Some(80)));
        assert_eq!(desk.0.drain(DrainId(1)).unwrap().drain.phase(), &Phase::Expired);
        assert_eq!(desk.0.next_due(now(at)), None);
    }
}

#[test]
fn what_would_end_before_it_begins_is_refused() {
    let desk = Desk::default();
    let late = until(5_000);
    for change in [Change::Set { scope: eu(), weight: Weight::NONE }, begin(DrainId(1), 100, 0)] {
        let refused = desk.0.apply(&change, &late, now(5_000)).unwrap_err();
        assert_eq!(refused, Refused::Past(now(5_000).wall));
    }
}

#[test]
fn a_refused_change_changes_nothing_and_names_what_is_wrong() {
    let mut desk = Desk::default();
    let id = desk.begin(100, 0, 0);
    let before = desk.0.clone();
    for (change, words) in [
        (Change::Resume { id }, "drain 1: the drain is running, so there is nothing to resume"),
        (Change::Undo { id: DrainId(9) }, "there is no drain 9"),
        (begin(DrainId(2), 100, 0), "drain 1 of eu is under way; stop or undo it first"),
        (
            Change::Clear { scope: Scope::cell("eu", "a") },
            "no operator set a weight of eu/a; the configured one holds",
        ),
    ] {
        assert_eq!(desk.refuses(change, 10).to_string(), words);
    }
    assert_eq!(desk.0, before);
}

#[test]
fn drains_that_are_over_are_told_of_for_a_while_and_their_numbers_never_come_again() {
    let mut desk = Desk::default();
    for turn in 0..200 {
        let at = turn * 200_000;
        let id = desk.begin(100, 0, at);
        desk.with(Change::Undo { id }, &by("ann", at), at);
    }
    assert!(desk.0.drains().count() <= KEPT + 1, "{}", desk.0.drains().count());
    assert_eq!(desk.0.next_drain(), DrainId(201));
    assert_eq!(desk.0.drains().next_back().map(|held| held.id), Some(DrainId(200)));
}

#[test]
fn a_log_of_changes_applied_in_order_gives_the_state_again() {
    let mut desk = Desk::default();
    let id = DrainId(1);
    let log = [
        (Change::Set { scope: Scope::region("us"), weight: Weight::percent(30) }, 0),
        (begin(id, 100, 0), 10),
        (Change::Advance { id }, 20_010),
        (Change::Pause { id, by: crate::drain::Pauser::Guard("p99".into()) }, 33_333),
        (Change::Resume { id }, 70_000),
        (Change::Undo { id }, 80_000),
    ];
    for (change, at) in &log {
        desk.with(change.clone(), &by("ann", *at), *at);
    }
    let again = log.iter().fold(Operated::default(), |state, (change, at)| {
        state.apply(change, &by("ann", *at), now(*at)).unwrap().0
    });
    assert_eq!(again, desk.0);
}

#[test]
fn what_was_written_down_and_taken_up_by_another_process_goes_on_alike() {
    let mut desk = Desk::default();
    desk.set(Scope::region("us"), 30, 0);
    let id = desk.begin(100, 0, 10);
    desk.tick(20_010);
    let (written, asleep) = (now(20_500), 7_000);
    let parts = desk.0.drains().map(|held| {
        let Held { id, scope, by, drain, in_force } = held.clone();
        let owed = drain.owed(written.at).after(Millis(asleep));
        let (ramp, phase, position) = (*drain.ramp(), drain.phase().clone(), drain.position());
        Held { id, scope, by, drain: Drain::resumed(ramp, phase, position, owed, Millis(3)), in_force }
    });
    let set = desk.0.settings().map(|(scope, setting)| (scope.clone(), setting.clone()));
    let there = Operated::new(set, parts, desk.0.last_drain());
    assert_eq!(there, desk.0.rebased(written.at, Millis(asleep), Millis(3)));
    assert_eq!((Desk(there.clone()).said(), there.next_drain()), (Some(80), DrainId(2)));
    let here = Now { at: Millis(3), wall: Wall(written.wall.0 + asleep) };
    let (there, _) = there.apply(&Change::Advance { id }, &by("rhumb", 0), here).unwrap();
    assert_eq!(Desk(there).said(), Some(73), "27 seconds and a half are over");
}

#[test]
fn a_clone_shares_what_it_holds() {
    let mut desk = Desk::default();
    desk.begin(100, 0, 0);
    let clone = desk.0.clone();
    assert!(Arc::ptr_eq(&clone.drains, &desk.0.drains) && Arc::ptr_eq(&clone.set, &desk.0.set));
}

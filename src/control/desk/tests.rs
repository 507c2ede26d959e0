use std::path::Path;

use rhumb_decision::Snapshot;
use serde_json::json;

use super::*;
use crate::control::document;
use crate::control::journal::{Action, Ask, FileJournal, WallTime};
use crate::control::live::{Live, LiveRegion};
use crate::control::snapshot::Operators;
use crate::control::traffic::Figures;

/// Two regions that hold everything, one of them with cells, and a tenant that may live in eu alone.
const TABLE: &str = r#"
    [tenancy]
    from = [{ header = "X-Tenant-ID" }]
    [regions.eu]
    jurisdiction = "eu"
    endpoints = ["127.0.0.1:1"]
    capacity = 100
    [regions.us]
    jurisdiction = "us"
    endpoints = [{ address = "127.0.0.1:2", cell = "a" }, { address = "127.0.0.1:3", cell = "b" }]
    capacity = 100
    [regions.us.cells]
    a = { weight = 100 }
    b = { weight = 100 }
    [tenants]
    free = { home = "eu", replicas = ["us"] }
    tied = { home = "eu", residency = ["eu"] }
"#;

const BEGAN: u64 = 1_780_000_000_000;

fn standing(at: u64) -> Standing {
    let table = Arc::new(document::parse(TABLE).unwrap());
    let regions = table.regions().iter().map(|_| LiveRegion::default()).collect();
    let live = Live { regions, ..Live::default() };
    let source = table.region_named("eu").unwrap();
    let current = Current {
        snapshot: Snapshot::offline(table),
        live,
        origin: Arc::default(),
        operators: Operators::default(),
    };
    let figures = Figures { requests: 40.0, reads: 30.0, ..Figures::default() };
    let traffic = [("eu".into(), figures), ("us".into(), figures)].into_iter().collect();
    Standing { current: Arc::new(current), source, traffic: Arc::new(traffic), now: now(at), hour: 0 }
}

/// `at` milliseconds after the process began; the wall clock agrees.
fn now(at: u64) -> Now {
    Now { at: Millis(at), wall: Wall(BEGAN + at) }
}

fn desk(dir: &Path, run: u64, at: u64) -> Desk {
    let (desk, told) = Desk::open(FileJournal::open(dir).unwrap(), run, now(at)).unwrap();
    assert_eq!(told, [""; 0]);
    desk
}

fn asker() -> Asker {
    Asker { actor: "night-shift".into(), source: [127, 0, 0, 1].into(), reason: "case 7".into() }
}

fn set(scope: Scope, percent: u8) -> Order {
    Order::Set { scope, weight: Weight::percent(percent) }
}

fn drain(to: u8, seconds: u64) -> Order {
    Order::Drain {
        scope: Scope::region("us"),
        to: Weight::percent(to),
        over: Millis(seconds * 1_000),
        step: Ramp::STEP,
        guards: Vec::new(),
    }
}

fn obey(desk: &mut Desk, order: &Order, terms: &Terms, at: u64) -> Result<Done, DeskError> {
    desk.obey(order, terms, &asker(), &standing(at))
}

fn done(desk: &mut Desk, order: &Order, at: u64) -> Done {
    obey(desk, order, &Terms::default(), at).unwrap()
}

fn us(desk: &Desk) -> Option<u16> {
    desk.state().weight(&Scope::region("us")).map(|(weight, _)| weight.as_hundredths())
}

fn actions(dir: &Path) -> Vec<&'static str> {
    let page = FileJournal::open(dir).unwrap().journal.page(&Ask::default()).unwrap();
    page.entries.iter().map(|entry| entry.record.action.code()).collect()
}

#[test]
fn an_order_is_in_the_journal_with_who_why_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let first = desk.revision();
    let terms = Terms { holds_for: Some(Millis(60_000)), ..Terms::default() };
    let done = obey(&mut desk, &set(Scope::region("us"), 40), &terms, 500).unwrap();
    assert_eq!((us(&desk), done.revision, desk.revision()), (Some(4_000), first + 1, first + 1));
    let entry =
        &FileJournal::open(dir.path()).unwrap().journal.page(&Ask::default()).unwrap().entries[0].record;
    assert_eq!(
        (entry.actor.as_str(), entry.source.as_str(), entry.reason.as_str()),
        ("night-shift", "127.0.0.1", "case 7")
    );
    assert_eq!(entry.before, json!({"scope": "us", "operator": null}));
    assert_eq!(entry.after["operator"], json!(40));
    assert_eq!(entry.after["until"], json!(WallTime::from_millis(BEGAN + 60_500).to_string()));
    assert_eq!((entry.action, entry.region.as_deref()), (Action::Weight, Some("us")));
}

#[test]
fn what_was_ordered_outlives_the_process_and_a_ramp_goes_on_where_it_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    done(&mut before, &set(Scope::cell("us", "a"), 10), 0);
    done(&mut before, &drain(0, 100), 1_000);
    before.advance(&standing(21_000));
    assert_eq!(us(&before), Some(8_000), "20 of 100 seconds");
    drop(before);
    // Another process, whose clock begins anew: by the wall clock 30 s have passed since the drain began.
    let (mut after, _) = Desk::open(
        FileJournal::open(dir.path()).unwrap(),
        2,
        Now { at: Millis(0), wall: Wall(BEGAN + 31_000) },
    )
    .unwrap();
    let mut standing = standing(0);
    standing.now = Now { at: Millis(0), wall: Wall(BEGAN + 31_000) };
    after.advance(&standing);
    assert_eq!(us(&after), Some(7_000));
    assert_eq!(after.state().weight(&Scope::cell("us", "a")).unwrap().0, Weight::percent(10));
}

#[test]
fn a_wall_clock_that_jumps_moves_no_ramp_of_the_same_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    done(&mut before, &drain(0, 100), 0);
    let id = before.state().last_drain();
    // Ten seconds later the wall clock says that it is an hour later.
    let mut jumped = standing(10_000);
    jumped.now.wall = Wall(BEGAN + 3_600_000);
    before.obey(&Order::Pause(id), &Terms::default(), &asker(), &jumped).unwrap();
    assert_eq!(us(&before), Some(9_000));
    drop(before);
    let at = Now { at: Millis(0), wall: Wall(BEGAN + 3_600_000) };
    let (after, told) = Desk::open(FileJournal::open(dir.path()).unwrap(), 2, at).unwrap();
    assert_eq!((told.len(), us(&after)), (0, Some(9_000)), "paused at ten seconds by its own clock");
}

#[test]
fn what_expired_before_the_next_order_is_expired_in_a_replay_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    let terms = Terms { holds_for: Some(Millis(5_000)), ..Terms::default() };
    obey(&mut before, &drain(0, 100), &terms, 0).unwrap();
    let told = before.advance(&standing(6_000));
    assert_eq!(told.iter().map(|record| record.action.code()).collect::<Vec<_>>(), ["expired"]);
    assert_eq!(us(&before), None);
    // Nothing but time ended the first, so there is no entry of that, and the second may begin.
    done(&mut before, &drain(50, 10), 7_000);
    drop(before);
    let after = desk(dir.path(), 2, 30_000);
    assert_eq!(after.state().last_drain(), DrainId(2));
    assert!(after.state().drain_of(&Scope::region("us")).is_some_and(|held| held.id == DrainId(2)));
}

#[test]
fn a_checkpoint_holds_all_that_was_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    let guarded = Order::Drain {
        scope: Scope::region("us"),
        to: Weight::NONE,
        over: Millis(100_000),
        step: Ramp::STEP,
        guards: vec!["error_rate>2%".parse().unwrap()],
    };
    done(&mut before, &guarded, 0);
    done(&mut before, &set(Scope::cell("us", "b"), 70), 10_000);
    let value = record::write_state(
        before.state(),
        before.owned(),
        before.guards(),
        before.run(now(10_000)),
        now(10_000),
    );
    let kept = record::read_state(&value, Millis(0)).unwrap();
    assert_eq!(kept.guards, *before.guards());
    assert_eq!(kept.state.settings().collect::<Vec<_>>(), before.state().settings().collect::<Vec<_>>());
    let (was, is) = (before.state().drain(DrainId(1)).unwrap(), kept.state.drain(DrainId(1)).unwrap());
    assert_eq!((was.drain.owed(Millis(10_000)), &was.by), (is.drain.owed(Millis(0)), &is.by));
    assert!(record::read_state(&json!({"from": "the future"}), Millis(0)).is_err());
}

#[test]
fn rules_stand_in_the_way_until_they_are_overridden_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let order = set(Scope::region("eu"), 0);
    let Err(DeskError::Rules(plan)) = obey(&mut desk, &order, &Terms::default(), 0) else { panic!() };
    assert_eq!(
        plan.rules_broken.iter().map(|broken| broken.rule).collect::<Vec<_>>(),
        ["last_region_of_residency"]
    );
    assert_eq!(
        (plan.tenants_stranded.count, &plan.tenants_stranded.first[..]),
        (1, &["tied".to_owned()][..])
    );
    let wrong = Terms { overrides: vec![Rule::MaxMovedShare], ..Terms::default() };
    assert!(matches!(obey(&mut desk, &order, &wrong, 0), Err(DeskError::Rules(_))));
    assert_eq!(actions(dir.path()), [""; 0], "nothing was changed");
    let right = Terms { overrides: vec![Rule::LastRegionOfResidency], ..Terms::default() };
    obey(&mut desk, &order, &right, 0).unwrap();
    let page = FileJournal::open(dir.path()).unwrap().journal.page(&Ask::default()).unwrap();
    assert_eq!(page.entries[0].record.after["override"], json!(["last_region_of_residency"]));
}

#[test]
fn a_plan_that_was_shown_is_held_to_as_long_as_it_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let plan = desk.plan(&Scope::region("us"), Weight::NONE, &standing(0)).unwrap();
    let mut busier = standing(0);
    busier.traffic = Arc::default();
    assert_eq!(
        desk.plan(&Scope::region("us"), Weight::NONE, &busier).unwrap().id,
        plan.id,
        "rates move always"
    );
    let terms = Terms { plan: Some(plan.id.clone()), ..Terms::default() };
    done(&mut desk, &set(Scope::cell("us", "a"), 50), 0);
    let Err(DeskError::Moved(now)) = obey(&mut desk, &drain(0, 10), &terms, 0) else { panic!() };
    assert_ne!(now.id, plan.id);
    let terms = Terms { plan: Some(now.id.clone()), ..Terms::default() };
    let done = obey(&mut desk, &drain(0, 10), &terms, 0).unwrap();
    assert_eq!(done.plan.unwrap().id, now.id);
}

#[test]
fn a_lost_race_is_told_and_so_is_what_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let based_on = desk.revision();
    let terms = || Terms { revision: Some(based_on), ..Terms::default() };
    obey(&mut desk, &set(Scope::region("us"), 40), &terms(), 0).unwrap();
    let late = obey(&mut desk, &set(Scope::region("us"), 60), &terms(), 0);
    assert_eq!(late, Err(DeskError::Late { based_on, now: based_on + 1 }));
    assert_eq!(us(&desk), Some(4_000));
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let terms = Terms { dry_run: true, ..Terms::default() };
    let would = obey(&mut desk, &drain(0, 0), &terms, 0).unwrap();
    assert_eq!(would.applied.after, Some(Weight::NONE));
    assert_eq!((us(&desk), would.revision, actions(dir.path()).len()), (None, desk.revision(), 0));
}

#[test]
fn what_is_not_there_is_told_with_what_was_probably_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    for (scope, says) in [
        (Scope::region("uss"), "did you mean \"us\"?"),
        (Scope::cell("eu", "a"), "eu has no cells"),
        (Scope::cell("us", "aa"), "the cells are \"a\", \"b\""),
    ] {
        let Err(DeskError::Unknown(told)) = obey(&mut desk, &set(scope, 1), &Terms::default(), 0) else {
            panic!()
        };
        assert!(told.ends_with(says), "{told}");
    }
    let Err(DeskError::Unknown(told)) = obey(&mut desk, &Order::Undo(DrainId(9)), &Terms::default(), 0)
    else {
        panic!()
    };
    assert_eq!(told, "there is no drain 9");
    assert!(
        matches!(obey(&mut desk, &drain(100, 5), &Terms::default(), 0), Err(DeskError::Unfit(_))),
        "it is at 100"
    );
}

#[test]
fn a_guard_pauses_a_drain_and_that_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let order = Order::Drain {
        scope: Scope::region("us"),
        to: Weight::NONE,
        over: Millis(100_000),
        step: Ramp::STEP,
        guards: vec!["error_rate>2%".parse().unwrap()],
    };
    done(&mut desk, &order, 0);
    let mut failing = standing(30_000);
    let bad = Figures { requests: 40.0, errors: 0.5, ..Figures::default() };
    failing.traffic = Arc::new([("us".into(), bad)].into_iter().collect());
    desk.advance(&failing);
    assert_eq!(desk.guard(&failing).len(), 0, "the region that is drained is not guarded");
    failing.traffic = Arc::new([("eu".into(), bad)].into_iter().collect());
    let told = desk.guard(&failing);
    assert_eq!(told[0].reason, "50.0 % of the requests to eu fail, guard error_rate>2%");
    assert_eq!(desk.guard(&failing).len(), 0, "it is paused already");
    told.into_iter().for_each(|record| desk.keep(record, failing.now).unwrap());
    drop(desk);
    let after = self::desk(dir.path(), 2, 90_000);
    assert_eq!(us(&after), Some(7_000));
    assert!(matches!(after.state().drain(DrainId(1)).unwrap().drain.phase(), Phase::Paused(_)));
}

#[test]
fn undoing_and_clearing_bring_back_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    done(&mut desk, &drain(50, 50), 0);
    desk.advance(&standing(60_000));
    done(&mut desk, &Order::Undo(DrainId(1)), 60_000);
    desk.advance(&standing(85_000));
    assert_eq!(us(&desk), Some(7_500));
    let told = desk.advance(&standing(120_000));
    assert_eq!((us(&desk), told[0].action), (None, Action::DrainUndone));
    done(&mut desk, &set(Scope::region("us"), 5), 120_000);
    done(&mut desk, &Order::Clear { scope: Scope::region("us") }, 120_000);
    assert_eq!(us(&desk), None);
    let nothing = obey(&mut desk, &Order::Clear { scope: Scope::region("us") }, &Terms::default(), 120_000);
    assert!(matches!(nothing, Err(DeskError::Unfit(_))));
}

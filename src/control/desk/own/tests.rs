use std::path::Path;
use std::sync::Arc;

use rhumb_decision::Snapshot;
use rhumb_decision::operated::Now;
use rhumb_decision::ownership::State;
use rhumb_decision::transfer::{Batch, Member, Step};
use rhumb_decision::units::{Generation, Millis, Weight};
use serde_json::json;

use super::*;
use crate::control::document;
use crate::control::journal::{Action, Ask, FileJournal, StateStore as _};
use crate::control::live::{Live, LiveRegion};
use crate::control::snapshot::{Current, Operators};

/// Three regions: acme may go to us, tied may leave eu for nobody, and stays never fails over.
const TABLE: &str = r#"
    [tenancy]
    from = [{ header = "X-Tenant-ID" }]
    [regions.eu]
    jurisdiction = "eu"
    endpoints = ["127.0.0.1:1"]
    [regions.us]
    jurisdiction = "us"
    endpoints = ["127.0.0.1:2"]
    [regions.ap]
    jurisdiction = "ap"
    endpoints = ["127.0.0.1:3"]
    [policies.still]
    topology = "home-only"
    [tenants]
    acme = { home = "eu", standby = ["us"], epoch = 7 }
    tied = { home = "eu", residency = ["eu"] }
    stays = { home = "eu", standby = ["us"], policy = "still" }
"#;

const BEGAN: u64 = 1_780_000_000_000;

fn now(at: u64) -> Now {
    Now { at: Millis(at), wall: Wall(BEGAN + at) }
}

/// What `desk` is judged by: its own state is in force, and us lags `lag` behind eu.
fn standing(desk: &Desk, at: u64, lag: Option<u64>) -> Standing {
    let table = Arc::new(document::parse(TABLE).unwrap());
    let regions = table.regions().iter().map(|_| LiveRegion::default()).collect();
    let (eu, us) = (table.region_named("eu").unwrap(), table.region_named("us").unwrap());
    let plain = Snapshot::offline(Arc::clone(&table));
    let mut health = plain.health().clone();
    health.regions[us.index()].lag[eu.index()] = lag.map(Millis);
    let weights = plain.weights().clone();
    let snapshot = Snapshot::new(Generation(1), Arc::clone(&table), health, desk.owned.over(&table), weights);
    let current = Current {
        snapshot,
        live: Live { regions, ..Live::default() },
        origin: Arc::default(),
        operators: Operators::default(),
    };
    Standing { current: Arc::new(current), source: eu, traffic: Arc::default(), now: now(at), hour: 0 }
}

fn desk(dir: &Path, run: u64, at: u64) -> Desk {
    let (desk, told) = Desk::open(FileJournal::open(dir).unwrap(), run, now(at)).unwrap();
    assert_eq!(told, [""; 0]);
    desk
}

fn order(desk: &mut Desk, order: &OwnOrder, terms: &Terms) -> Result<OwnDone, DeskError> {
    let standing = standing(desk, 1_000, Some(100));
    let asker = Asker { actor: "night-shift".into(), source: [127, 0, 0, 1].into(), reason: "case 7".into() };
    desk.own(order, terms, &asker, &standing)
}

fn step(desk: &mut Desk, event: Event) -> Result<OwnDone, DeskError> {
    let standing = standing(desk, 2_000, Some(100));
    desk.own_step(&OwnStep::Transfer { id: TransferId(1), event }, &standing)
}

fn news(desk: &mut Desk, tenant: &str, owner: &str, epoch: u64) -> Result<OwnDone, DeskError> {
    let standing = standing(desk, 2_000, None);
    let news = News { tenant: tenant.into(), owner: owner.into(), epoch: Epoch(epoch) };
    desk.own_step(&OwnStep::News(vec![news]), &standing)
}

fn transfer(which: Which, to: To) -> OwnOrder {
    OwnOrder::Transfer(Wanted { which, to, unplanned: false, every: None })
}

fn acme_to(region: &str) -> OwnOrder {
    transfer(Which::Tenant("acme".into()), To::Region(region.into()))
}

fn batch(step: Step) -> Batch {
    Batch {
        from: "eu".into(),
        to: "us".into(),
        members: [Member { tenant: "acme".into(), epoch: Epoch(8) }].into(),
        step,
        began: Millis(2_000),
        quiet: None,
        aim: None,
    }
}

/// Owner, epoch and state, as they are in force.
fn of(desk: &Desk, tenant: &str) -> (String, u64, State) {
    let standing = standing(desk, 0, None);
    let snapshot = &standing.current.snapshot;
    let row = snapshot.table().tenants().find(tenant).unwrap();
    let now = snapshot.ownership().of(tenant, &row);
    (snapshot.table().region_name(now.owner).to_owned(), now.epoch.0, now.state)
}

fn actions(dir: &Path) -> Vec<Action> {
    let page = FileJournal::open(dir).unwrap().journal.page(&Ask::default()).unwrap();
    page.entries.iter().map(|entry| entry.record.action).collect()
}

fn moved(desk: &mut Desk) {
    order(desk, &acme_to("us"), &Terms::default()).unwrap();
    for event in
        [Event::Freeze(batch(Step::Drain)), Event::Quiet, Event::Raise(batch(Step::Switch)), Event::Release]
    {
        step(desk, event).unwrap();
    }
}

#[test]
fn what_was_moved_is_moved_after_a_restart_and_every_step_of_weight_is_in_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    moved(&mut before);
    step(&mut before, Event::WaveOver { more: false }).unwrap();
    let now = ("us".to_owned(), 8, State::Active);
    assert_eq!(of(&before, "acme"), now);
    let after = desk(dir.path(), 2, 9_000);
    assert_eq!((of(&after, "acme"), after.owned()), (now, before.owned()));
    use Action::{TransferBegan, TransferDone, TransferReleased, TransferSwitched};
    assert_eq!(actions(dir.path()), [TransferBegan, TransferSwitched, TransferReleased, TransferDone]);
}

#[test]
fn a_crash_before_the_switch_leaves_nothing_frozen_and_after_it_the_epoch_raised() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    order(&mut before, &acme_to("us"), &Terms::default()).unwrap();
    step(&mut before, Event::Freeze(batch(Step::Drain))).unwrap();
    assert_eq!(of(&before, "acme").2, State::Moving);
    let again = desk(dir.path(), 2, 9_000);
    assert_eq!(of(&again, "acme"), ("eu".to_owned(), 7, State::Active));
    assert_eq!(again.owned().transfer(TransferId(1)).unwrap().step_code(), "preflight");
    drop(again);
    step(&mut before, Event::Quiet).unwrap();
    step(&mut before, Event::Raise(batch(Step::Switch))).unwrap();
    let mut again = desk(dir.path(), 3, 9_000);
    assert_eq!(of(&again, "acme"), ("us".to_owned(), 8, State::Settling), "held until the old owner knows");
    step(&mut again, Event::Release).unwrap();
    assert_eq!(of(&again, "acme"), ("us".to_owned(), 8, State::Active));
}

#[test]
fn a_transfer_that_was_ended_twice_in_mid_batch_switches_no_more_and_the_next_process_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = desk(dir.path(), 1, 0);
    order(&mut before, &acme_to("us"), &Terms::default()).unwrap();
    step(&mut before, Event::Freeze(batch(Step::Drain))).unwrap();
    step(&mut before, Event::Quiet).unwrap();
    for _ in 0..2 {
        order(&mut before, &OwnOrder::Cancel(TransferId(1)), &Terms::default()).unwrap();
    }
    assert!(
        step(&mut before, Event::Raise(batch(Step::Switch))).is_err(),
        "a replay would not know of the batch"
    );
    let again = desk(dir.path(), 2, 9_000);
    assert_eq!(of(&again, "acme"), ("eu".to_owned(), 7, State::Active));
    assert!(again.owned().transfer(TransferId(1)).unwrap().phase.is_over());
}

#[test]
fn a_batch_whose_old_owner_says_nothing_waits_until_an_operator_lets_it_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    order(&mut desk, &acme_to("us"), &Terms::default()).unwrap();
    for event in [Event::Freeze(batch(Step::Drain)), Event::Quiet, Event::Raise(batch(Step::Switch))] {
        step(&mut desk, event).unwrap();
    }
    step(&mut desk, Event::Trouble("no answer".into())).unwrap();
    assert!(step(&mut desk, Event::Abort("no answer".into())).is_err(), "others may know the new owner");
    assert_eq!(of(&desk, "acme"), ("us".to_owned(), 8, State::Settling));
    order(&mut desk, &OwnOrder::Release(TransferId(1)), &Terms::default()).unwrap();
    assert_eq!(of(&desk, "acme"), ("us".to_owned(), 8, State::Active));
    let last = *actions(dir.path()).last().unwrap();
    assert_eq!(last, Action::TransferReleased);
}

#[test]
fn a_checkpoint_holds_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    moved(&mut desk);
    news(&mut desk, "tied", "us", 1).unwrap();
    let mark = OwnOrder::Mark { subject: Subject::Region("ap".into()), mark: Mark::ReadOnly };
    order(&mut desk, &mark, &Terms::default()).unwrap();
    let doc = OwnedDoc::of(desk.owned());
    let text = serde_json::to_string(&doc).unwrap();
    let again: OwnedDoc = serde_json::from_str(&text).unwrap();
    assert_eq!(again.owned(), *desk.owned());
}

#[test]
fn who_cannot_go_anywhere_is_told_and_nothing_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let refused = |desk: &mut Desk, tenant: &str, to: To| {
        let wanted = transfer(Which::Tenant(tenant.into()), to);
        order(desk, &wanted, &Terms::default()).unwrap_err().to_string()
    };
    let told = refused(&mut desk, "acme", To::Region("ap".into()));
    assert!(told.contains("1 have nowhere to go, the first of them acme"), "{told}");
    let told = refused(&mut desk, "stays", To::Standby);
    assert!(told.contains("nowhere to go"), "{told}");
    assert!(refused(&mut desk, "acme", To::Region("us-wset".into())).contains("no region"));
    assert!(refused(&mut desk, "acmee", To::Standby).contains("no tenant"));
    assert!(refused(&mut desk, "acme", To::Home).contains("owned there already"));
    assert_eq!(actions(dir.path()), []);
}

#[test]
fn a_standby_that_lags_or_says_nothing_is_not_fit_unless_the_old_owner_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let asker = Asker { actor: "a".into(), source: [127, 0, 0, 1].into(), reason: "r".into() };
    for (lag, told) in [(Some(5_001), "lags 5.001 s behind, 5 s are the most"), (None, "neither a lag")] {
        let standing = standing(&desk, 0, lag);
        let refused = desk.own(&acme_to("us"), &Terms::default(), &asker, &standing).unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
    }
    let standing = standing(&desk, 0, None);
    let which = Which::Tenant("acme".into());
    let gone = Wanted { which, to: To::Standby, unplanned: true, every: None };
    let done = desk.own(&OwnOrder::Transfer(gone), &Terms::default(), &asker, &standing).unwrap();
    assert_eq!(done.preflight.unwrap().tenants_moving, 1);
}

#[test]
fn a_dry_run_says_what_would_be_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let terms = Terms { dry_run: true, ..Terms::default() };
    let done = order(&mut desk, &acme_to("us"), &terms).unwrap();
    assert!(done.dry_run && done.preflight.unwrap().tenants_moving == 1);
    assert_eq!((actions(dir.path()), desk.owned().transfers().len()), (Vec::new(), 0));
}

#[test]
fn a_share_of_a_region_moves_in_one_transfer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let all = transfer(Which::OwnedBy("eu".into(), Weight::FULL), To::Standby);
    let done = order(&mut desk, &all, &Terms::default()).unwrap().preflight.unwrap();
    assert_eq!((done.tenants_moving, done.tenants_stranded.count), (1, 2));
    let told = order(&mut desk, &all, &Terms::default()).unwrap_err().to_string();
    assert!(told.contains("transfer 1 of the same tenants is under way"), "{told}");
    order(&mut desk, &OwnOrder::Cancel(TransferId(1)), &Terms::default()).unwrap();
    order(&mut desk, &all, &Terms::default()).unwrap();
}

#[test]
fn news_is_what_is_above_the_row_and_the_state_and_another_owner_of_the_same_epoch_is_split_brain() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    assert_eq!(news(&mut desk, "acme", "us", 6).unwrap().change, None, "below the row");
    assert_eq!(news(&mut desk, "acme", "eu", 7).unwrap().change, None, "what the row says");
    assert_eq!(news(&mut desk, "stranger", "us", 9).unwrap().change, None, "nobody's");
    assert!(news(&mut desk, "acme", "mars", 9).unwrap_err().to_string().contains("no such region"));
    news(&mut desk, "acme", "us", 7).unwrap();
    assert_eq!(of(&desk, "acme").2, State::Disputed);
    assert_eq!(news(&mut desk, "acme", "us", 7).unwrap().change, None, "told once");
    let resolve = OwnOrder::Resolve { tenant: "acme".into(), owner: "us".into() };
    order(&mut desk, &resolve, &Terms::default()).unwrap();
    assert_eq!(of(&desk, "acme"), ("us".to_owned(), 8, State::Active));
    news(&mut desk, "acme", "eu", 12).unwrap();
    assert_eq!(of(&desk, "acme"), ("eu".to_owned(), 12, State::Active));
    let page = FileJournal::open(dir.path()).unwrap().journal.page(&Ask::default()).unwrap();
    let last = &page.entries.last().unwrap().record;
    assert_eq!((last.action, last.actor.as_str()), (Action::OwnershipLearned, "edge"));
    assert_eq!(last.after["first"], json!([{"tenant": "acme", "owner": "eu", "epoch": 12}]));
}

#[test]
fn nobody_may_be_made_owner_outside_the_residency_or_without_being_home_or_standby() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path(), 1, 0);
    let resolve =
        |tenant: &str, owner: &str| OwnOrder::Resolve { tenant: tenant.into(), owner: owner.into() };
    for (tenant, owner) in [("tied", "us"), ("acme", "ap")] {
        let told = order(&mut desk, &resolve(tenant, owner), &Terms::default()).unwrap_err().to_string();
        assert!(told.contains("may not own"), "{told}");
    }
}

#[test]
fn a_freeze_ends_by_itself_and_a_replay_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = desk(dir.path(), 1, 0);
    let mark = OwnOrder::Mark { subject: Subject::Tenant("acme".into()), mark: Mark::Frozen };
    let terms = Terms { holds_for: Some(Millis(10_000)), ..Terms::default() };
    order(&mut first, &mark, &terms).unwrap();
    assert_eq!(of(&desk(dir.path(), 2, 5_000), "acme").2, State::Frozen { waits: true });
    let later = standing(&first, 11_001, None);
    let told = first.advance(&later);
    assert_eq!(told.iter().map(|record| record.action).collect::<Vec<_>>(), [Action::Expired]);
    assert_eq!(of(&first, "acme").2, State::Active);
    let mut again = desk(dir.path(), 3, 11_001);
    let later = standing(&again, 11_001, None);
    again.advance(&later);
    assert_eq!(of(&again, "acme").2, State::Active);
}

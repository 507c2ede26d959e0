use super::*;
use crate::ownership::State;
use crate::table::Safety;
use crate::testing::{here, table};
use crate::transfer::{Member, Misfit, To, Wanted, Which};
use crate::units::{Wall, Weight};

fn by(until: Option<u64>) -> By {
    By { actor: "sre".into(), reason: "drill".into(), since: Wall(0), until: until.map(Wall) }
}

fn now() -> Now {
    Now { at: Millis(1_000), wall: Wall(10_000) }
}

fn after(owned: &Owned, changes: &[Change]) -> Owned {
    changes.iter().fold(owned.clone(), |owned, change| {
        owned.apply(change, &by(None), now()).unwrap_or_else(|refused| panic!("{change:?}: {refused}"))
    })
}

fn news(tenant: &str, owner: &str, epoch: u64) -> Change {
    Change::Learn(vec![News { tenant: tenant.into(), owner: owner.into(), epoch: Epoch(epoch) }])
}

fn wanted(unplanned: bool) -> Wanted {
    Wanted { which: Which::Tenant("acme".into()), to: To::Region("us".into()), unplanned, every: None }
}

fn batch(step: Step) -> Batch {
    Batch {
        from: "eu".into(),
        to: "us".into(),
        members: [Member { tenant: "acme".into(), epoch: Epoch(2) }].into(),
        step,
        began: Millis(1_000),
        quiet: None,
        aim: None,
    }
}

fn step(event: Event) -> Change {
    Change::Step { id: TransferId(1), event }
}

fn begin(unplanned: bool) -> Change {
    Change::Begin { id: TransferId(1), wanted: wanted(unplanned), total: 1 }
}

/// Owner, epoch and state of acme, whose home is eu at epoch 1, and who may be owned by us.
fn acme(owned: &Owned) -> (String, u64, State) {
    let table = table(&[here("eu"), here("us")], Safety::default(), &[["acme", "eu", "us", ""]]);
    let now = owned.over(&table).of("acme", &table.tenants().find("acme").unwrap());
    (table.region_name(now.owner).to_owned(), now.epoch.0, now.state)
}

#[test]
fn a_transfer_freezes_then_moves_and_then_lets_go() {
    let frozen = after(&Owned::default(), &[begin(false), step(Event::Freeze(batch(Step::Drain)))]);
    assert_eq!(acme(&frozen), ("eu".into(), 1, State::Moving));
    assert_eq!(frozen.awaited(), ["eu", "us"]);
    let raised = after(&frozen, &[step(Event::Quiet), step(Event::Raise(batch(Step::Switch)))]);
    assert_eq!(acme(&raised), ("us".into(), 2, State::Settling), "held until the old owner knows");
    let released = after(&raised, &[step(Event::Release)]);
    assert_eq!(acme(&released), ("us".into(), 2, State::Active));
}

#[test]
fn an_abort_before_the_switch_changes_nothing_and_after_it_there_is_none() {
    let begun = after(&Owned::default(), &[begin(false), step(Event::Freeze(batch(Step::Drain)))]);
    let abort = step(Event::Abort("late".into()));
    assert_eq!(acme(&after(&begun, std::slice::from_ref(&abort))), ("eu".into(), 1, State::Active));
    let raised = after(&begun, &[step(Event::Quiet), step(Event::Raise(batch(Step::Switch)))]);
    assert_eq!(raised.apply(&abort, &by(None), now()), Err(Refused::Misfit(TransferId(1), Misfit::Switched)));
}

#[test]
fn what_was_not_written_is_made_up_for_when_the_rest_is_read_again() {
    let raised = after(&Owned::default(), &[begin(true), step(Event::Raise(batch(Step::Switch)))]);
    let read = |owned: &Owned, change: &Change| owned.replay(change, &by(None), now()).unwrap();
    let over = step(Event::WaveOver { more: false });
    assert_eq!(
        raised.apply(&over, &by(None), now()),
        Err(Refused::Misfit(TransferId(1), Misfit::BatchUnderWay))
    );
    assert_eq!(acme(&read(&raised, &over)), ("us".into(), 2, State::Active), "its release was not written");
    let mark = Change::Unmark { subject: Subject::Tenant("acme".into()) };
    assert!(raised.apply(&mark, &by(None), now()).is_err());
    assert_eq!(read(&raised, &mark), raised, "its time was up");
}

#[test]
fn what_somebody_else_moved_on_meanwhile_stays_moved_on() {
    let raised = after(&Owned::default(), &[begin(true), step(Event::Raise(batch(Step::Switch)))]);
    let learned = after(&raised, &[news("acme", "eu", 9), step(Event::Release)]);
    assert_eq!(acme(&learned), ("eu".into(), 9, State::Active));
}

#[test]
fn a_tenant_moves_in_one_transfer_at_a_time() {
    let frozen = after(&Owned::default(), &[begin(false), step(Event::Freeze(batch(Step::Drain)))]);
    let second = Change::Begin { id: TransferId(2), wanted: wanted(false), total: 1 };
    let second = after(&frozen, &[second]);
    let again = Change::Step { id: TransferId(2), event: Event::Freeze(batch(Step::Drain)) };
    assert_eq!(second.apply(&again, &by(None), now()), Err(Refused::Moving("acme".into())));
}

#[test]
fn an_epoch_only_rises_whoever_tells() {
    let known = after(&Owned::default(), &[news("acme", "us", 5)]);
    for epoch in [4, 5] {
        assert_eq!(known.apply(&news("acme", "eu", epoch), &by(None), now()), Err(Refused::NoNews));
    }
    let resolve = |epoch| Change::Resolve { tenant: "acme".into(), owner: "eu".into(), epoch: Epoch(epoch) };
    let falls = Refused::EpochFalls { tenant: "acme".into(), known: Epoch(5) };
    assert_eq!(known.apply(&resolve(5), &by(None), now()), Err(falls));
    assert_eq!(acme(&after(&known, &[resolve(6)])), ("eu".into(), 6, State::Active));
}

#[test]
fn the_news_of_many_is_taken_where_it_is_news() {
    let many = |list: &[(&str, u64)]| {
        let one = |(tenant, epoch): &(&str, u64)| News {
            tenant: (*tenant).into(),
            owner: "us".into(),
            epoch: Epoch(*epoch),
        };
        Change::Learn(list.iter().map(one).collect())
    };
    let known = after(&Owned::default(), &[many(&[("a", 5), ("b", 2)]), many(&[("a", 4), ("b", 3)])]);
    assert_eq!((known.owner("a"), known.owner("b")), (Some(("us", Epoch(5))), Some(("us", Epoch(3)))));
}

#[test]
fn what_is_withheld_stops_writes_and_is_told_to_nobody_until_it_is_learned() {
    let one = |epoch| vec![News { tenant: "acme".into(), owner: "us".into(), epoch: Epoch(epoch) }];
    let withheld = after(&Owned::default(), &[Change::Withhold(one(2))]);
    assert_eq!(acme(&withheld), ("us".into(), 2, State::Settling));
    assert!(withheld.is_withheld("acme"));
    assert_eq!(Owned::new(withheld.parts()), withheld, "a restart keeps it");
    for again in [Change::Withhold(one(2)), news("acme", "eu", 2), news("acme", "us", 1)] {
        assert_eq!(withheld.apply(&again, &by(None), now()), Err(Refused::NoNews), "{again:?}");
    }
    let learned = after(&withheld, &[news("acme", "us", 2)]);
    assert_eq!((acme(&learned), learned.is_withheld("acme")), (("us".into(), 2, State::Active), false));
    assert_eq!(
        learned.apply(&Change::Withhold(one(2)), &by(None), now()),
        Err(Refused::NoNews),
        "it is no secret"
    );
    assert_eq!(acme(&after(&withheld, &[news("acme", "eu", 3)])), ("eu".into(), 3, State::Active));
}

#[test]
fn a_dispute_stops_writes_until_an_epoch_above_it() {
    let dispute = Change::Dispute { tenant: "acme".into(), epoch: Epoch(1) };
    let disputed = after(&Owned::default(), std::slice::from_ref(&dispute));
    assert_eq!(acme(&disputed).2, State::Disputed);
    assert_eq!(disputed.apply(&dispute, &by(None), now()), Err(Refused::NoNews));
    let resolve = |epoch| Change::Resolve { tenant: "acme".into(), owner: "us".into(), epoch: Epoch(epoch) };
    assert!(disputed.apply(&resolve(1), &by(None), now()).is_err());
    assert_eq!(acme(&after(&disputed, &[resolve(2)])), ("us".into(), 2, State::Active));
    assert_eq!(acme(&after(&disputed, &[news("acme", "us", 2)])).2, State::Active, "news ends it too");
}

#[test]
fn marks_stop_a_tenant_or_all_that_a_region_owns_and_the_stricter_counts() {
    let mark = |subject: &Subject, mark| Change::Mark { subject: subject.clone(), mark };
    let (tenant, region) = (Subject::Tenant("acme".into()), Subject::Region("eu".into()));
    let frozen = after(&Owned::default(), &[mark(&tenant, Mark::Frozen)]);
    assert_eq!(acme(&frozen).2, State::Frozen { waits: true });
    let both = after(&frozen, &[mark(&region, Mark::ReadOnly)]);
    assert_eq!(acme(&both).2, State::ReadOnly);
    let away = after(&both, &[news("acme", "us", 2)]);
    assert_eq!(acme(&away).2, State::Frozen { waits: true }, "the region's mark is of what it owns");
    let unmark = |subject: &Subject| Change::Unmark { subject: subject.clone() };
    let none = after(&both, &[unmark(&tenant), unmark(&region)]);
    assert_eq!((acme(&none).2, &none), (State::Active, &Owned::default()));
    assert_eq!(none.apply(&unmark(&tenant), &by(None), now()), Err(Refused::NothingSet(tenant)));
}

#[test]
fn a_mark_ends_when_its_time_is_up() {
    let subject = Subject::Tenant("acme".into());
    let mark = Change::Mark { subject: subject.clone(), mark: Mark::Frozen };
    let owned = Owned::default();
    assert_eq!(owned.apply(&mark, &by(Some(10_000)), now()), Err(Refused::Past));
    let frozen = owned.apply(&mark, &by(Some(10_001)), now()).unwrap();
    assert_eq!(frozen.due(now()), []);
    let later = Now { wall: Wall(10_001), ..now() };
    assert_eq!(frozen.due(later), [Change::Unmark { subject }]);
}

#[test]
fn what_is_written_down_and_read_again_is_the_same_but_for_what_was_not_switched() {
    let subject = Subject::Tenant("globex".into());
    let changes = [
        Change::Mark { subject, mark: Mark::ReadOnly },
        Change::Dispute { tenant: "initech".into(), epoch: Epoch(4) },
        begin(true),
        step(Event::Raise(batch(Step::Switch))),
    ];
    let owned = after(&Owned::default(), &changes);
    assert_eq!(Owned::new(owned.parts()), owned);
    let frozen = after(&Owned::default(), &[begin(false), step(Event::Freeze(batch(Step::Drain)))]);
    let again = Owned::new(frozen.parts());
    assert_eq!((acme(&again).2, again.transfer(TransferId(1)).unwrap().batch.clone()), (State::Active, None));
}

#[test]
fn a_number_is_given_once() {
    let begun = after(&Owned::default(), &[begin(false)]);
    assert_eq!(begun.apply(&begin(false), &by(None), now()), Err(Refused::NumberTaken(TransferId(1))));
    assert_eq!(begun.next_transfer(), TransferId(2));
}

#[test]
fn a_share_covers_the_same_tenants_in_every_wave_and_more() {
    use crate::transfer::choose;
    let rows: Vec<String> = (0..1_000).map(|i| format!("t{i}")).collect();
    let rows: Vec<[&str; 4]> = rows.iter().map(|id| [id.as_str(), "eu", "", ""]).collect();
    let table = std::sync::Arc::new(table(&[here("eu"), here("us")], Safety::default(), &rows));
    let snapshot = crate::Snapshot::offline(table);
    let wanted = |share| Wanted {
        which: Which::OwnedBy("eu".into(), Weight::percent(share)),
        to: To::Home,
        unplanned: false,
        every: None,
    };
    // They are home already, so each that is chosen is counted as there.
    let there = |share, waves| choose(&wanted(share), waves, usize::MAX, &snapshot).there;
    assert_eq!(there(10, 1), there(20, 0));
    assert!((60..140).contains(&there(10, 0)), "{}", there(10, 0));
    assert_eq!((there(100, 0), there(50, 1), there(60, 7)), (1_000, 1_000, 1_000));
}

use super::*;
use crate::units::Wall;

fn by() -> By {
    By { actor: "sre".into(), reason: "drill".into(), since: Wall(0), until: None }
}

fn wanted() -> Wanted {
    let which = Which::OwnedBy("eu".into(), Weight::FULL);
    Wanted { which, to: To::Standby, unplanned: false, every: None }
}

fn begun(wanted: Wanted) -> Transfer {
    Transfer::begin(TransferId(1), wanted, by(), 3)
}

fn batch(tenants: &[(&str, u64)]) -> Batch {
    Batch {
        from: "eu".into(),
        to: "us".into(),
        members: tenants
            .iter()
            .map(|(tenant, epoch)| Member { tenant: (*tenant).into(), epoch: Epoch(*epoch) })
            .collect(),
        step: Step::Drain,
        began: Millis(100),
        quiet: None,
        aim: None,
    }
}

fn after(transfer: &Transfer, events: &[Event]) -> Transfer {
    events.iter().fold(transfer.clone(), |transfer, event| {
        transfer.step(event, Millis(200)).unwrap_or_else(|misfit| panic!("{event:?}: {misfit}"))
    })
}

#[test]
fn a_batch_goes_its_steps_in_their_order_and_no_other() {
    let one = batch(&[("acme", 8)]);
    let order = [Event::Freeze(one.clone()), Event::Quiet, Event::Raise(one.clone()), Event::Release];
    let mut transfer = begun(wanted());
    for event in &order {
        for other in order.iter().filter(|other| *other != event) {
            assert!(transfer.step(other, Millis(200)).is_err(), "{other:?} instead of {event:?}");
        }
        transfer = after(&transfer, std::slice::from_ref(event));
    }
    assert_eq!((transfer.moved, transfer.batch.clone(), transfer.step_code()), (1, None, "preflight"));
    let over = after(&transfer, &[Event::WaveOver { more: false }]);
    assert_eq!(over.phase, Phase::Done);
    assert_eq!(over.step(&Event::Freeze(one), Millis(300)), Err(Misfit::Over));
}

#[test]
fn what_is_switched_is_what_was_frozen() {
    let frozen = after(&begun(wanted()), &[Event::Freeze(batch(&[("acme", 8)])), Event::Quiet]);
    let other = Event::Raise(batch(&[("globex", 8)]));
    assert_eq!(frozen.step(&other, Millis(300)), Err(Misfit::OtherBatch));
}

#[test]
fn the_first_position_told_is_the_aim() {
    let frozen = after(&begun(wanted()), &[Event::Freeze(batch(&[("acme", 8)])), Event::Quiet]);
    let aimed = after(&frozen, &[Event::Aim(41), Event::Aim(99)]);
    assert_eq!(aimed.batch.unwrap().aim, Some(41));
}

#[test]
fn an_empty_or_too_large_batch_is_none() {
    let many: Vec<_> = (0..=LARGEST_BATCH).map(|_| ("acme", 8)).collect();
    for unfit in [batch(&[]), batch(&many)] {
        assert_eq!(begun(wanted()).step(&Event::Freeze(unfit), Millis(0)), Err(Misfit::OtherBatch));
    }
}

#[test]
fn an_aborted_batch_leaves_nothing_and_the_third_in_a_row_ends_it() {
    let fails = [Event::Freeze(batch(&[("acme", 8)])), Event::Abort("a write was in flight".into())];
    let once = after(&begun(wanted()), &fails);
    assert_eq!((once.batch.clone(), once.phase.clone(), once.failures), (None, Phase::Running, 1));
    let one = batch(&[("acme", 8)]);
    let goes = [Event::Freeze(one.clone()), Event::Quiet, Event::Raise(one), Event::Release];
    assert_eq!(after(&after(&once, &goes), &[]).failures, 0, "only failures in a row count");
    let thrice = after(&after(&once, &fails), &fails);
    assert_eq!(thrice.phase, Phase::Failed("a write was in flight".into()));
}

#[test]
fn what_was_switched_is_not_taken_back() {
    let one = batch(&[("acme", 8)]);
    let switched = [Event::Freeze(one.clone()), Event::Quiet, Event::Raise(one)];
    let switched = after(&begun(wanted()), &switched);
    assert_eq!(switched.step(&Event::Abort("late".into()), Millis(300)), Err(Misfit::Switched));
    let told = after(&switched, &[Event::Trouble("no answer".into()), Event::Cancel]);
    assert_eq!((told.trouble.as_deref(), told.phase.clone()), (Some("no answer"), Phase::Running));
    let over = after(&told, &[Event::Release]);
    assert_eq!((over.phase, over.moved, over.trouble), (Phase::Cancelled, 1, None));
}

#[test]
fn an_operator_ends_it_once_nothing_is_half_way() {
    assert_eq!(after(&begun(wanted()), &[Event::Cancel]).phase, Phase::Cancelled);
    let frozen = after(&begun(wanted()), &[Event::Freeze(batch(&[("acme", 8)])), Event::Cancel]);
    assert!(frozen.batch.is_some() && frozen.phase == Phase::Running && frozen.ending);
    assert_eq!(after(&frozen, &[Event::Abort("cancelled".into())]).phase, Phase::Cancelled);
    let one = batch(&[("acme", 8)]);
    let quiet = after(&frozen, &[Event::Quiet]);
    assert_eq!(
        quiet.step(&Event::Raise(one.clone()), Millis(0)),
        Err(Misfit::Over),
        "a replay knows of no batch"
    );
    let freeze = Event::Freeze(one.clone());
    let switched = after(&begun(wanted()), &[freeze, Event::Quiet, Event::Raise(one), Event::Cancel]);
    assert!(switched.is_switched() && switched.ending, "there is no way back");
    let over = after(&switched, &[Event::Release]);
    assert_eq!((over.phase, over.moved), (Phase::Cancelled, 1));
}

#[test]
fn waves_come_after_their_time_until_nobody_is_left() {
    let waves = Wanted { every: Some(Millis(5_000)), ..wanted() };
    let waits = after(&begun(waves), &[Event::WaveOver { more: true }]);
    assert_eq!(waits.phase, Phase::Waiting { until: Millis(5_200) });
    assert_eq!(waits.step(&Event::Wake, Millis(5_199)), Err(Misfit::NotYet));
    let woken = waits.step(&Event::Wake, Millis(5_200)).unwrap();
    assert_eq!((woken.phase.clone(), woken.waves), (Phase::Running, 1));
    assert_eq!(after(&woken, &[Event::WaveOver { more: false }]).phase, Phase::Done);
}

#[test]
fn an_unplanned_one_waits_for_nothing_and_a_planned_one_for_all() {
    let one = batch(&[("acme", 8)]);
    let gone = Wanted { unplanned: true, ..wanted() };
    assert_eq!(after(&begun(gone), &[Event::Raise(one.clone()), Event::Release]).moved, 1);
    assert_eq!(begun(wanted()).step(&Event::Raise(one), Millis(0)), Err(Misfit::NoBatch));
}

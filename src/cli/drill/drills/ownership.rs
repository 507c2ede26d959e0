//! Drills that move ownership, or contest it.

use std::time::Duration;

use serde_json::json;

use super::super::attempt::{Attempt, Trouble, Went};
use super::super::fleet::Fleet;
use super::super::history::{Ask, by};
use super::super::sight::{self, Metrics};
use super::super::world::{EU, US};
use crate::cli::wire::{at, text};

/// So often ownership moves, to and fro together.
const MOVES: usize = 10;
/// Writes between two moves.
const BETWEEN: usize = 25;
/// How far copies lag where each move has to wait for them.
const COPIED: Duration = Duration::from_millis(150);
/// How far the standby's copy lags, so that there is something to lose.
const BEHIND: Duration = Duration::from_millis(400);

pub(super) fn planned_transfer(attempt: &mut Attempt<'_>) -> Went {
    let main = attempt.tenants.main.clone();
    let (_, first, _) = attempt.owner()?;
    attempt.step("copies lag 0.15 s, so that a write which is not waited for is missed");
    attempt.world.region(US)?.set_lag_from(EU, COPIED);
    attempt.world.region(EU)?.set_lag_from(US, COPIED);
    attempt.step(format!("ownership moves {MOVES} times under writes, to us-east-1 and home by turns"));
    let mut longest = Duration::ZERO;
    for turn in 0..MOVES {
        let to = if turn % 2 == 0 { US } else { EU };
        let began = attempt.now();
        attempt.transfer(json!({"tenant": main, "to": to}))?;
        longest = longest.max(attempt.now() - began);
        attempt.go_on(BETWEEN)?;
    }
    attempt.step("that is done");
    let (owner, epoch, _) = attempt.owner()?;
    attempt.observe(format!(
        "{owner} owns at epoch {epoch}; it was {first}. The longest transfer took {:.2} s",
        longest.as_secs_f64()
    ));
    let released = attempt.told("transfer_released")?.len();
    attempt.sight(&format!("{MOVES} entries of the audit: transfer_released"), released == MOVES);
    let moved = attempt.grown("rhumb_ownership_transfer_total", &[])?;
    attempt.sight("ownership_transfer_total", moved >= MOVES as f64);
    match epoch.checked_sub(first) {
        Some(raised) if raised == MOVES as u64 => Ok(()),
        _ => Err(Trouble::Otherwise(format!("the epoch went from {first} to {epoch} by {MOVES} moves"))),
    }
}

/// The owner goes for good, and what it had not copied with it.
fn lose_the_owner(attempt: &mut Attempt<'_>) -> Went<(Duration, usize)> {
    attempt.step("us-east-1 lags 0.4 s behind eu-west-1, so that there is something to lose");
    attempt.world.region(US)?.set_lag_from(EU, BEHIND);
    attempt.go_on(BETWEEN)?;
    let fault = attempt.step("eu-west-1 cuts its connections and refuses new ones");
    attempt.world.go_dark(EU)?;
    let lost = attempt.may_be_lost(EU, US)?;
    let noticed = attempt.until_health(EU, "DOWN")?;
    attempt.observe(format!("it was seen as DOWN after {:.2} s", (noticed - fault).as_secs_f64()));
    Ok((fault, lost))
}

/// The new owner takes what the old one took, and the audit says what that may have cost.
fn taken_over(attempt: &mut Attempt<'_>, fault: Duration, asked: Duration, lost: usize) -> Went {
    attempt.recovers("writes, since the owner was gone", &[Ask::Write], (fault, Some(fault)))?;
    attempt.recovers("strong reads, since then", &[Ask::Strong], (fault, Some(fault)))?;
    attempt.recovers("writes, since the failover was asked for", &[Ask::Write], (asked, None))?;
    let switched = attempt.told("transfer_switched")?;
    let says = switched.iter().any(|entry| !at(entry, &["after", "may_be_lost"]).is_null());
    attempt.sight("an entry of the audit: transfer_switched, with may_be_lost", says);
    attempt.observe(format!("{lost} acknowledged writes were not copied, and may be lost"));
    Ok(())
}

pub(super) fn unplanned_failover(attempt: &mut Attempt<'_>) -> Went {
    let main = attempt.tenants.main.clone();
    let (fault, lost) = lose_the_owner(attempt)?;
    let why = attempt.refused(
        "a planned transfer from an owner that is gone",
        "/v1/transfers",
        json!({"tenant": main, "to": US}),
    )?;
    attempt.step(format!("a planned transfer is asked for, and refused: {why}"));
    let asked = attempt.step("an unplanned one is asked for");
    attempt.transfer(json!({"tenant": main, "to": US, "unplanned": true}))?;
    taken_over(attempt, fault, asked, lost)?;
    attempt.go_on(BETWEEN)?;
    let back = attempt.step("eu-west-1 listens again");
    attempt.world.mend()?;
    attempt.until_health(EU, "UP")?;
    attempt.recovers(
        "writes of the bound tenant, since the region was back",
        &[Ask::Bound],
        (back, Some(fault)),
    )?;
    attempt.go_on(2 * BETWEEN)?;
    let (owner, epoch, _) = attempt.owner()?;
    let until = attempt.now();
    let writers = attempt.so_far(|history| history.answered_by(&[Ask::Write], back, until));
    attempt.observe(format!(
        "it is back and {owner} owns at epoch {epoch}; since then writes by {}",
        by(&writers)
    ));
    if writers.keys().any(|region| region != US) {
        return Err(Trouble::Otherwise("the old owner took writes again".into()));
    }
    Ok(())
}

pub(super) fn failback(attempt: &mut Attempt<'_>) -> Went {
    let (fault, lost) = lose_the_owner(attempt)?;
    let asked = attempt.step("all that eu-west-1 owns fails over, unplanned");
    let moved = attempt.transfer(json!({"from": EU, "to": "standby", "unplanned": true}))?;
    attempt.observe(format!("{} tenants moved", text(&moved, &["moved"])));
    taken_over(attempt, fault, asked, lost)?;
    let back = attempt.step("eu-west-1 listens again, an hour behind us-east-1");
    attempt.world.mend()?;
    attempt.world.region(EU)?.set_lag_from(US, Duration::from_secs(3_600));
    attempt.until_health(EU, "UP")?;
    attempt.recovers(
        "writes of the bound tenant, since the region was back",
        &[Ask::Bound],
        (back, Some(fault)),
    )?;
    attempt.until("the lag is seen", |attempt| {
        let region = attempt.admin().read("/v1/regions/eu-west-1")?;
        Ok(at(&region, &["replication", US, "lag_seconds"]).as_f64().is_some_and(|lag| lag >= 3_600.0))
    })?;
    let home = json!({"home": EU, "share": 50, "every": "500ms"});
    let why =
        attempt.refused("a failback to a region that has not caught up", "/v1/transfers", home.clone())?;
    attempt.step(format!("its failback is asked for, and refused: {why}"));
    attempt.step("eu-west-1 catches up");
    attempt.world.mend()?;
    attempt.until("it has caught up", |attempt| {
        let region = attempt.admin().read("/v1/regions/eu-west-1")?;
        Ok(at(&region, &["replication", US, "lag_seconds"]).as_f64().is_some_and(|lag| lag < 1.0))
    })?;
    attempt.step("the failback is asked for again: half of them, and half a second later the rest");
    let returned = attempt.transfer(home)?;
    attempt.step("it is done");
    let [moved, waves] = ["moved", "waves"].map(|key| text(&returned, &[key]));
    attempt.observe(format!("{moved} tenants came home in {waves} waves"));
    attempt.go_on(BETWEEN)?;
    let (owner, epoch, _) = attempt.owner()?;
    attempt.observe(format!("{owner} owns at epoch {epoch}"));
    attempt.sight("an entry of the audit: transfer_done", attempt.told("transfer_done")?.len() >= 2);
    if owner != EU {
        return Err(Trouble::Otherwise(format!("{owner} still owns")));
    }
    Ok(())
}

pub(super) fn split_brain(attempt: &mut Attempt<'_>) -> Went {
    let main = attempt.tenants.main.clone();
    let fault = attempt.step("by the first edge ownership moves to us-east-1; the second is told nothing");
    attempt.transfer(json!({"tenant": main, "to": US}))?;
    let (_, epoch, _) = attempt.owner()?;
    attempt.until("the second edge has learned of it", |attempt| {
        Ok(attempt.owner_by_second()? == (US.to_owned(), epoch, "active".to_owned()))
    })?;
    attempt.go_on(BETWEEN)?;
    let learned = attempt.now();
    attempt.observe(format!(
        "the second edge knew of it {:.2} s after the transfer was asked for",
        (learned - fault).as_secs_f64()
    ));
    let refused = second(attempt, "rhumb_epoch_mismatch_total", &[])?;
    attempt.observe(format!("the gateway of the old owner stopped {refused} writes of the second edge"));
    attempt.sight("epoch_mismatch_total at the second edge", refused > 0.0);
    let row = |epoch: u64| format!("{main} = {{ home = \"{EU}\", epoch = {epoch}, ");
    attempt
        .step(format!("the table of the first edge gives epoch {epoch}, which is us-east-1's, to eu-west-1"));
    edges(attempt)?.first.edit(&row(1), &row(epoch))?;
    attempt.until("the table is refused", |attempt| Ok(!attempt.told("table_refused")?.is_empty()))?;
    attempt.sight("an entry of the audit: table_refused", true);
    let fault = attempt.step("the second edge is killed, and starts with such a table");
    let world = attempt.world;
    let second_edge = edges(attempt)?;
    second_edge.second.kill()?;
    second_edge.second.edit(&row(1), &row(epoch))?;
    second_edge.second.start_again(world)?;
    attempt.until("it sees two owners", |attempt| Ok(attempt.owner_by_second()?.2 == "split-brain"))?;
    attempt.until("it refuses writes", |attempt| {
        Ok(second(attempt, "rhumb_refusals_total", &[("reason", "split_brain")])? >= 10.0)
    })?;
    attempt.sight("refusals_total with split_brain at the second edge", true);
    let alarm = second(attempt, "rhumb_split_brain_detected_total", &[])?;
    attempt.sight("split_brain_detected_total at the second edge", alarm > 0.0);
    let told = sight::entries(&edges(attempt)?.second.admin, 0, "split_brain")?;
    attempt.sight("an entry of its audit: split_brain", !told.is_empty());
    let resolved = attempt.step("an operator says there that us-east-1 owns it");
    let fleet = edges(attempt)?;
    let why = json!({"owner": US, "reason": "a drill"});
    fleet.second.admin.ask(&format!("/v1/tenants/{main}/resolve"), &why)?;
    let (owner, raised, state) = attempt.owner_by_second()?;
    attempt.recovers("writes, since that was said", &[Ask::Write], (resolved, Some(fault)))?;
    for (what, asks) in
        [("strong reads, since then", &[Ask::Strong][..]), ("local reads, since then", &[Ask::Local])]
    {
        attempt.recovers(what, asks, (resolved, Some(fault)))?;
    }
    attempt.excuse(&[Ask::Session], fault, resolved);
    attempt.until("the first edge has learned of it", |attempt| Ok(attempt.owner()?.1 == raised))?;
    attempt.observe(format!("{owner} owns at epoch {raised}, {state}"));
    attempt.go_on(BETWEEN)?;
    if owner != US || raised <= epoch {
        return Err(Trouble::Otherwise(format!("{owner} owns at epoch {raised} after it was resolved")));
    }
    Ok(())
}

fn edges<'a>(attempt: &'a mut Attempt<'_>) -> Went<&'a mut Fleet> {
    attempt.fleet.as_mut().ok_or_else(|| Trouble::Otherwise("this drill has no edges of its own".into()))
}

/// What a metric of the second edge says.
fn second(attempt: &mut Attempt<'_>, name: &str, labels: &[(&str, &str)]) -> Went<f64> {
    Ok(Metrics::of(&edges(attempt)?.second.admin)?.sum(name, labels))
}

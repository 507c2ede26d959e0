//! Drills that break a region, or what it says of itself.

use std::time::Duration;

use serde_json::json;

use super::super::attempt::{Attempt, Trouble, Went};
use super::super::history::{Ask, History, by};
use super::super::world::{EU, US};
use crate::cli::wire::{at, items, text};
use crate::lab::Status;

/// How long a broken region is left alone once the edge has noticed.
const BROKEN: Duration = Duration::from_millis(1_000);
/// So often a region flaps.
const FLAPS: u64 = 4;
/// How long it stays in each state: long enough to be noticed, too short for ownership to move.
const FLAP: Duration = Duration::from_millis(1_200);

pub(super) fn dead(attempt: &mut Attempt<'_>) -> Went {
    let fault = attempt.step("eu-west-1 cuts its connections and refuses new ones");
    attempt.world.go_dark(EU)?;
    let noticed = attempt.until_health(EU, "DOWN")?;
    attempt.observe(format!("it was seen as DOWN after {:.2} s", (noticed - fault).as_secs_f64()));
    attempt.pause(BROKEN)?;
    attempt.recovers("local reads, since the region was gone", &[Ask::Local, Ask::Session], (fault, None))?;
    let back = attempt.step("eu-west-1 listens again");
    attempt.world.mend()?;
    returned(attempt, fault, back)
}

pub(super) fn black_holed(attempt: &mut Attempt<'_>) -> Went {
    let fault = attempt.step("eu-west-1 accepts connections and requests, and answers nothing");
    attempt.world.region(EU)?.set_silent(true);
    let noticed = attempt.until_health(EU, "DOWN")?;
    attempt.observe(format!("it was seen as DOWN after {:.2} s", (noticed - fault).as_secs_f64()));
    attempt.excuse(Ask::READS, fault, noticed);
    attempt.pause(BROKEN)?;
    attempt.recovers("local reads, since the region was silent", &[Ask::Local], (fault, Some(fault)))?;
    let back = attempt.step("eu-west-1 answers again");
    attempt.world.mend()?;
    returned(attempt, fault, back)
}

/// The end of both: what needs the owner is well again, and it could be seen.
fn returned(attempt: &mut Attempt<'_>, fault: Duration, back: Duration) -> Went {
    attempt.until_health(EU, "UP")?;
    for (what, asks) in [
        ("writes, since the region was back", &[Ask::Write][..]),
        ("strong reads, since then", &[Ask::Strong][..]),
        ("writes of the bound tenant, since then", &[Ask::Bound][..]),
    ] {
        attempt.recovers(what, asks, (back, Some(fault)))?;
    }
    let elsewhere = attempt.so_far(|history| history.answered_by(Ask::READS, fault, back));
    attempt.observe(format!("meanwhile reads were answered by {}", by(&elsewhere)));
    attempt.so_far(|history| wrote_elsewhere(history, fault, back)).map_or(Ok(()), |what| {
        attempt.observe(what.clone());
        Err(Trouble::Otherwise(what))
    })?;
    let told = attempt.told("failover")?;
    attempt.sight("an entry of the audit: failover", told.iter().any(|entry| text(entry, &["region"]) == EU));
    let told = attempt.told("recovered")?;
    attempt
        .sight("an entry of the audit: recovered", told.iter().any(|entry| text(entry, &["region"]) == EU));
    let refused = attempt.grown("rhumb_refusals_total", &[("reason", "owner_unavailable")])?;
    attempt.sight("refusals_total with owner_unavailable", refused > 0.0);
    Ok(())
}

/// Where writes went that were answered well while their owner was gone.
fn wrote_elsewhere(history: &History, from: Duration, until: Duration) -> Option<String> {
    let mut answered = history.answered_by(&[Ask::Write, Ask::Bound], from, until);
    answered.remove(EU);
    (!answered.is_empty()).then(|| format!("writes were answered elsewhere: {}", by(&answered)))
}

pub(super) fn writes_broken(attempt: &mut Attempt<'_>) -> Went {
    let fault = attempt.step("eu-west-1 refuses writes, and says so of its capability `write`");
    let region = attempt.world.region(EU)?;
    region.set_accepts_writes(false);
    region.set_capability("write", Status::Down);
    let noticed = attempt.until("the capability is seen as down", |attempt| {
        let seen = attempt.admin().read("/v1/regions/eu-west-1")?;
        Ok(text(&seen, &["capabilities", "write"]) == "DOWN")
    })?;
    attempt.observe(format!("it was seen as DOWN after {:.2} s", (noticed - fault).as_secs_f64()));
    attempt.pause(BROKEN)?;
    let gauge = attempt.metric("rhumb_region_capability_up", &[("region", EU), ("capability", "write")])?;
    attempt.sight("region_capability_up of write is 0", gauge == 0.0);
    let back = attempt.step("eu-west-1 takes writes again");
    attempt.world.mend()?;
    attempt.recovers("writes, since they were taken again", &[Ask::Write], (back, Some(fault)))?;
    attempt.recovers("writes of the bound tenant, since then", &[Ask::Bound], (back, Some(fault)))?;
    let reads = attempt.so_far(|history| history.answered_by(Ask::READS, fault, back));
    attempt.observe(format!("meanwhile reads were answered by {}", by(&reads)));
    let refused = attempt.grown("rhumb_refusals_total", &[("reason", "owner_unavailable")])?;
    attempt.sight("refusals_total with owner_unavailable", refused > 0.0);
    match (reads.get(EU), attempt.so_far(|history| wrote_elsewhere(history, fault, back))) {
        (_, Some(what)) => Err(Trouble::Otherwise(what)),
        (None, None) => Err(Trouble::Otherwise("eu-west-1 answered no reads meanwhile".into())),
        (Some(_), None) => Ok(()),
    }
}

pub(super) fn replication_lag(attempt: &mut Attempt<'_>) -> Went {
    let main = attempt.tenants.main.clone();
    let behind = attempt.step("eu-west-1 lags 2 s behind us-east-1, which its policy allows");
    attempt.world.region(EU)?.set_lag_from(US, Duration::from_secs(2));
    lag_is_seen(attempt, 2.0)?;
    attempt.pause(Duration::from_millis(1_500))?;
    let much = attempt.step("eu-west-1 lags an hour behind, which it does not allow");
    let pinned = attempt.so_far(|history| history.answered_by(&[Ask::Session], behind, much));
    let local = attempt.so_far(|history| history.answered_by(&[Ask::Local], behind, much));
    attempt.observe(format!(
        "2 s behind: local reads by {}, those with a pin by {}",
        by(&local),
        by(&pinned)
    ));
    attempt.world.region(EU)?.set_lag_from(US, Duration::from_secs(3_600));
    let seen = lag_is_seen(attempt, 3_600.0)?;
    attempt.pause(BROKEN)?;
    let why = attempt.refused(
        "a transfer to a standby that lags an hour",
        "/v1/transfers",
        json!({"tenant": main, "to": EU}),
    )?;
    attempt.step(format!("a transfer to eu-west-1 is asked for, and refused: {why}"));
    let lag = attempt.metric("rhumb_replication_lag_seconds", &[])?;
    attempt.sight("replication_lag_seconds shows the hour", lag >= 3_600.0);
    let back = attempt.step("eu-west-1 catches up");
    let stale = attempt.so_far(|history| history.answered_by(&[Ask::Local], seen + BROKEN / 2, back));
    attempt.observe(format!("an hour behind: local reads by {}", by(&stale)));
    attempt.world.mend()?;
    attempt.until("eu-west-1 answers local reads again", |attempt| {
        let now = attempt.now();
        let last = now.saturating_sub(Duration::from_millis(400));
        let near = attempt.so_far(|history| history.answered_by(&[Ask::Local], last, now));
        Ok(now > back && near.contains_key(EU) && near.len() == 1)
    })?;
    attempt.transfer(json!({"tenant": main, "to": EU}))?;
    attempt.step("the transfer is asked for again, and done");
    attempt.go_on(10)?;
    match (local.get(EU), stale.get(EU)) {
        (None, _) => Err(Trouble::Otherwise("a lag of 2 s kept local reads away".into())),
        (_, Some(count)) => Err(Trouble::Otherwise(format!("{count} local reads were an hour old"))),
        _ => Ok(()),
    }
}

fn lag_is_seen(attempt: &mut Attempt<'_>, seconds: f64) -> Went<Duration> {
    attempt.until("the lag is seen", |attempt| {
        let region = attempt.admin().read("/v1/regions/eu-west-1")?;
        Ok(at(&region, &["replication", US, "lag_seconds"]).as_f64().is_some_and(|lag| lag >= seconds))
    })
}

pub(super) fn flapping(attempt: &mut Attempt<'_>) -> Went {
    if attempt.owner()?.0 != EU {
        attempt.step("ownership goes home first");
        let main = attempt.tenants.main.clone();
        attempt.transfer(json!({"tenant": main, "to": EU}))?;
    }
    let before = attempt.owner()?;
    let fault = attempt.step(format!(
        "eu-west-1 says by turns that it is DOWN and UP, {FLAPS} times, for {:.1} s each",
        FLAP.as_secs_f64()
    ));
    for _ in 0..FLAPS {
        for status in [Status::Down, Status::Up] {
            attempt.world.region(EU)?.set_status(status);
            attempt.pause(FLAP)?;
        }
    }
    let back = attempt.step("it stays UP");
    attempt.until_health(EU, "UP")?;
    for (what, asks) in [
        ("writes, since it stays up", &[Ask::Write][..]),
        ("strong reads, since then", &[Ask::Strong][..]),
        ("writes of the bound tenant, since then", &[Ask::Bound][..]),
    ] {
        attempt.recovers(what, asks, (back, Some(fault)))?;
    }
    let changes = |entries: Vec<serde_json::Value>| {
        entries.iter().filter(|entry| text(entry, &["region"]) == EU).count() as u64
    };
    let (down, up) = (changes(attempt.told("failover")?), changes(attempt.told("recovered")?));
    attempt.observe(format!(
        "it flapped {FLAPS} times, and was seen to go {down} times and to return {up} times"
    ));
    attempt.sight("an entry of the audit: failover", down > 0);
    let after = attempt.owner()?;
    attempt.observe(format!("{} owns at epoch {}, as before", after.0, after.1));
    let status = attempt.admin().read("/v1/status")?;
    let moving = items(&status, &["ownership", "transfers"]).len();
    if (&after.0, after.1) != (&before.0, before.1) || moving > 0 {
        return Err(Trouble::Otherwise(format!("ownership moved: from {before:?} to {after:?}")));
    }
    if down > FLAPS || up > FLAPS {
        return Err(Trouble::Otherwise("it changed state more often than it flapped".into()));
    }
    Ok(())
}

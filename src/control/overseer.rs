//! Watches owners and their standbys: says who is ready to take over before anybody needs it, and lets ownership move
//! by itself where a policy says so.
//!
//! Never: moves ownership to a standby that is not ready, or because of one bad look.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::Snapshot;
use rhumb_decision::failover::{Quorum, Rule, Watch};
use rhumb_decision::health::Status;
use rhumb_decision::policy::WriteFailover;
use rhumb_decision::standby::{Known, Readiness, duties, readiness};
use rhumb_decision::transfer::{To, Wanted, Which, choose};
use rhumb_decision::units::{CapabilityId, Millis, RegionId, Wall};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::clock::Clock;
use crate::control::desk::{EDGE, OwnOrder, OwnStep, Terms};
use crate::control::journal::{Action, Record, WallTime};
use crate::control::operator::{Asker, Operator};
use crate::control::snapshot::{Current, Reader};
use crate::control::traffic::Traffic;
use crate::telemetry::Recorder;

/// How often owners and standbys are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How many looks in a row a standby's readiness has to be another before that is told.
const LOOKS: u32 = 5;

/// How ready every standby is, by name.
pub type Standbys = BTreeMap<Box<str>, Readiness>;

/// Watches owners and standbys.
pub struct Overseer {
    reader: Reader,
    operator: Operator,
    clock: Clock,
    recorder: Recorder,
    traffic: watch::Receiver<Arc<Traffic>>,
    watches: HashMap<(Box<str>, Box<str>), Watch>,
    /// How far each standby lagged behind each owner when that was last up.
    lags: HashMap<(Box<str>, Box<str>), Millis>,
    told: HashMap<Box<str>, Told>,
}

/// What was told of a standby last, and for how many looks it has been otherwise.
struct Told {
    ready: bool,
    otherwise: u32,
}

impl Overseer {
    /// An overseer of what `reader` shows.
    #[must_use]
    pub fn new(
        reader: Reader,
        operator: Operator,
        clock: Clock,
        recorder: Recorder,
        traffic: watch::Receiver<Arc<Traffic>>,
    ) -> Self {
        let (watches, lags, told) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { reader, operator, clock, recorder, traffic, watches, lags, told }
    }

    /// Looks until `stop` is done.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = looks.tick() => {}
            }
            let current = self.reader.current();
            let standbys = standbys(&current, &self.traffic.borrow(), &self.recorder, self.wall());
            self.recorder.readiness(standbys.iter().map(|(name, ready)| (name.as_ref(), ready)));
            self.tell(&current, &standbys).await;
            self.remember_lags(&current);
            self.fail_over(&current).await;
        }
    }

    fn wall(&self) -> Wall {
        Wall(u64::try_from(self.clock.wall().as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells of standbys that can take over no longer, or again, once that has lasted.
    async fn tell(&mut self, current: &Current, standbys: &Standbys) {
        self.told.retain(|name, _| standbys.contains_key(name));
        let mut changed = Vec::new();
        for (name, is) in standbys {
            let ready = is.may_take_over();
            // One that is not ready from the start is told of as well.
            let told = self.told.entry(name.clone()).or_insert(Told { ready: true, otherwise: 0 });
            told.otherwise = if ready == told.ready { 0 } else { told.otherwise + 1 };
            if told.otherwise >= LOOKS {
                *told = Told { ready, otherwise: 0 };
                changed.push((name, ready, is));
            }
        }
        for (name, ready, is) in changed {
            let action = if ready { Action::ReadinessRegained } else { Action::ReadinessLost };
            let failing: Vec<_> =
                is.failing.iter().map(|(check, why)| json!({"check": check.code(), "why": why})).collect();
            let after = json!({"region": name, "score": is.score, "failing": failing});
            self.note(current, action, name, "", after).await;
        }
    }

    async fn note(
        &self,
        current: &Current,
        action: Action,
        region: &str,
        reason: &str,
        after: serde_json::Value,
    ) {
        let record = Record {
            time: WallTime::from(self.clock.wall()),
            actor: EDGE.to_owned(),
            source: EDGE.to_owned(),
            action,
            region: Some(region.to_owned()),
            reason: reason.to_owned(),
            before: serde_json::Value::Null,
            after,
            generation: current.generation().0,
            revision: current.operators.revision,
            change: None,
        };
        if let Err(cause) = self.operator.step(OwnStep::Told(Box::new(record))).await {
            tracing::error!(%cause, action = %action, region, "this is not in the audit");
        }
    }

    fn remember_lags(&mut self, current: &Current) {
        let table = current.table();
        for (standby, owners) in duties(table) {
            for owner in owners.keys() {
                let is_up = write_status(current, *owner).takes_traffic();
                let lag = current.health().region(standby).and_then(|view| view.lag_behind(*owner));
                let key = (table.region_name(*owner).into(), table.region_name(standby).into());
                match lag.filter(|_| is_up) {
                    Some(lag) => drop(self.lags.insert(key, lag)),
                    None if is_up => drop(self.lags.remove(&key)),
                    None => {}
                }
            }
        }
    }

    /// Begins the failovers that are due.
    async fn fail_over(&mut self, current: &Arc<Current>) {
        let table = current.table();
        let automatic: Vec<_> = table
            .policies()
            .iter()
            .filter(|policy| policy.writes.failover == WriteFailover::Automatic)
            .collect();
        let now = self.clock.now();
        let mut due = Vec::new();
        for policy in automatic {
            let rule = Rule { after: policy.writes.after, cooldown: policy.writes.cooldown };
            for region in table.region_ids() {
                let key = (table.region_name(region).into(), policy.name.clone());
                let down = write_status(current, region) == Status::Down;
                let watch = self.watches.entry(key).or_default();
                if watch.look(Quorum::of_one(down), &rule, now) {
                    due.push((region, policy.name.clone(), policy.writes.after));
                }
            }
        }
        for (region, policy, after) in due {
            self.fail_over_from(current, region, &policy, after).await;
        }
    }

    async fn fail_over_from(&self, current: &Arc<Current>, region: RegionId, policy: &str, after: Millis) {
        let name = current.table().region_name(region);
        let which = Which::Under(name.into(), policy.into());
        let wanted = Wanted { which, to: To::Standby, unplanned: true, every: None };
        let (on, asked) = (Arc::clone(current), wanted.clone());
        let chosen = tokio::task::spawn_blocking(move || choose(&asked, 0, usize::MAX, &on.snapshot)).await;
        // A panic there was told; nobody moves then.
        let chosen = chosen.unwrap_or_default();
        if chosen.destinations.is_empty() {
            return;
        }
        let lasted = after.duration().as_secs_f64();
        for destination in &chosen.destinations {
            let standby = current.table().region_name(destination.to);
            let ready = self.readiness_when_up(current, region, destination.to);
            if let Some(ready) = ready.filter(|ready| !ready.may_take_over()) {
                let failing: Vec<_> = ready.failing.iter().map(|(_, why)| why.as_str()).collect();
                let reason = format!(
                    "writes of {name} have been down for {lasted} s, and {standby} is not ready: {}",
                    failing.join("; ")
                );
                let after = json!({"region": name, "standby": standby, "policy": policy, "begun": false});
                return self.note(current, Action::TransferFailed, name, &reason, after).await;
            }
        }
        let asker = Asker {
            actor: EDGE.to_owned(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            reason: format!(
                "writes of {name} have been down for {lasted} s, and policy {policy} fails over by itself"
            ),
        };
        if let Err(cause) = self.operator.own(OwnOrder::Transfer(wanted), Terms::default(), asker).await {
            let reason = format!("writes of {name} have been down for {lasted} s: {cause}");
            let after = json!({"region": name, "policy": policy, "begun": false});
            self.note(current, Action::TransferFailed, name, &reason, after).await;
        }
    }

    /// How ready `standby` was when `owner` was last up: since then nobody can have copied anything from it, and the lag
    /// that is told grows with the time.
    fn readiness_when_up(&self, current: &Current, owner: RegionId, standby: RegionId) -> Option<Readiness> {
        let table = current.table();
        let key = (table.region_name(owner).into(), table.region_name(standby).into());
        let mut health = current.health().clone();
        let view = health.regions.get_mut(standby.index())?;
        if let Some(lag) = view.lag.get_mut(owner.index()) {
            *lag = self.lags.get(&key).copied();
        }
        let then = Snapshot::new(
            current.generation(),
            Arc::clone(table),
            health,
            current.ownership().clone(),
            current.weights().clone(),
        );
        let duties = duties(table).remove(&standby)?;
        let own = duties.into_iter().filter(|(of, _)| *of == owner).collect();
        let known = known(current, standby, &own, &self.traffic.borrow(), &self.recorder, self.wall());
        Some(readiness(&then, standby, &own, &known, self.wall()))
    }
}

fn write_status(current: &Current, region: RegionId) -> Status {
    current.health().region(region).map_or(Status::Unknown, |view| view.status(CapabilityId::WRITE))
}

/// How ready every standby of the table in force is, at `wall`.
#[must_use]
pub fn standbys(current: &Current, traffic: &Traffic, recorder: &Recorder, wall: Wall) -> Standbys {
    let table = current.table();
    let of = |(standby, duties): (RegionId, BTreeMap<RegionId, Millis>)| {
        let known = known(current, standby, &duties, traffic, recorder, wall);
        (table.region_name(standby).into(), readiness(&current.snapshot, standby, &duties, &known, wall))
    };
    duties(table).into_iter().map(of).collect()
}

fn known(
    current: &Current,
    standby: RegionId,
    duties: &BTreeMap<RegionId, Millis>,
    traffic: &Traffic,
    recorder: &Recorder,
    wall: Wall,
) -> Known {
    let table = current.table();
    let rate = |region: RegionId| traffic.get(table.region_name(region)).map_or(0.0, |of| of.requests);
    let name = table.region_name(standby);
    let ends = recorder.certificates().into_iter().filter(|end| end.name == name);
    let days = ends.map(|end| end.days_left(Duration::from_millis(wall.0)));
    Known {
        gets: rate(standby),
        would_get: duties.keys().map(|owner| rate(*owner)).fold(0.0, f64::max),
        certificate_days: days.min_by(f64::total_cmp),
        drilled: current.operators.owned.drilled(name),
    }
}

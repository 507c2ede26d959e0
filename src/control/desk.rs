//! The operators' desk: what they set, and the journal that holds it before it is in force.
//!
//! Each order is judged on the state as it stands, written to the journal, and only then the state. What time alone
//! brings (a step of a ramp, an expiry) needs no journal to be so: a replay comes to it again.
//!
//! Never: acts on what is not kept; keeps what was refused; reads a clock. Its calls wait for the disk: they belong on
//! a thread that may block.

mod guard;
/// Where orders wait for their turn.
pub mod office;
mod own;
mod plan;
mod record;
mod replay;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use rhumb_decision::drain::{Pauser, Phase, Ramp};
use rhumb_decision::operated::{Applied, By, Change, DrainId, Held, Now, Operated, Refused};
use rhumb_decision::owned::Owned;
use rhumb_decision::safety::Rule;
use rhumb_decision::scope::{Place, Scope};
use rhumb_decision::units::{Millis, RegionId, Wall, Weight};

pub use guard::{Guard, Guards, NoGuard};
pub(in crate::control) use own::lag_limit;
pub use own::{DestinationFit, OwnDone, OwnOrder, OwnStep, Preflight, UnfitReport, words};
pub use plan::{
    DestinationReport, Percent, PlacementReport, PlanReport, RuleReport, StrandedReport, WritesReport,
};

use crate::control::journal::{AppendError, Opened, Record, StateStore};
use crate::control::operator::Asker;
use crate::control::snapshot::Current;
use crate::control::traffic::Traffic;
use record::Run;
use replay::Replayed;
use told::{after, record_of};

/// What an order is judged by, besides the desk's own state.
#[derive(Clone)]
pub struct Standing {
    /// What is in force.
    pub current: Arc<Current>,
    /// Where this edge's requests enter.
    pub source: RegionId,
    /// What regions get.
    pub traffic: Arc<Traffic>,
    /// The time.
    pub now: Now,
    /// The hour of the day, UTC.
    pub hour: u8,
}

/// What an operator wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Order {
    /// Set a weight at once.
    Set {
        /// Of what.
        scope: Scope,
        /// The weight.
        weight: Weight,
    },
    /// Let the configured weight hold again.
    Clear {
        /// Of what.
        scope: Scope,
    },
    /// Begin a drain from the weight in effect.
    Drain {
        /// Of what.
        scope: Scope,
        /// The weight at its end.
        to: Weight,
        /// How long it takes.
        over: Millis,
        /// The least by which the weight changes.
        step: Weight,
        /// What pauses it.
        guards: Vec<Guard>,
    },
    /// Pause a drain.
    Pause(DrainId),
    /// Let a paused drain go on.
    Resume(DrainId),
    /// Stop a drain where it is.
    Stop(DrainId),
    /// Let a drain go back the way it came.
    Undo(DrainId),
}

/// On what terms.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Terms {
    /// How long it is to hold; `None`: until somebody undoes it.
    pub holds_for: Option<Millis>,
    /// Rules that may be broken.
    pub overrides: Vec<Rule>,
    /// The id of the plan that it has to be.
    pub plan: Option<String>,
    /// The revision that it was based on.
    pub revision: Option<u64>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What an order came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    /// What it did.
    pub applied: Applied,
    /// What it was planned to do, where weights are to change.
    pub plan: Option<PlanReport>,
    /// The drain after it, where it is about one.
    pub drain: Option<Held>,
    /// The revision after it.
    pub revision: u64,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// Why an order is not carried out; nothing is changed by it.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such region, cell or drain.
    #[error("{0}")]
    Unknown(String),
    /// It does not fit what there is.
    #[error("{0}")]
    Unfit(String),
    /// Safety rules stand in the way.
    #[error("it would break {}", rules(.0))]
    Rules(Box<PlanReport>),
    /// A transfer cannot begin.
    #[error("{}", .0.sentence())]
    Unready(Box<Preflight>),
    /// It is not the plan that was named.
    #[error("the world has moved since that plan was made; this is the plan now")]
    Moved(Box<PlanReport>),
    /// Somebody else changed something first.
    #[error("revision {based_on} is not the last one any more, {now} is; look again, then decide")]
    Late {
        /// What the order was based on.
        based_on: u64,
        /// What holds.
        now: u64,
    },
    /// The journal cannot hold it.
    #[error("{0}")]
    NotKept(String),
}

fn rules(plan: &PlanReport) -> String {
    let words: Vec<_> =
        plan.rules_broken.iter().map(|broken| format!("{} ({})", broken.rule, broken.why)).collect();
    words.join(", ")
}

/// The desk.
pub struct Desk {
    store: Box<dyn StateStore>,
    state: Operated,
    owned: Owned,
    guards: Guards,
    revision: u64,
    run: u64,
}

impl Desk {
    /// The desk as the journal has it, on a clock that stands at `now`; and what has to be told of it.
    ///
    /// - `run`: a number that no other process has.
    ///
    /// # Errors
    /// What of the journal cannot be understood: going on without it would forget what operators said.
    pub fn open(opened: Opened, run: u64, now: Now) -> Result<(Self, Vec<String>), String> {
        let Opened { journal, replay, torn, broken } = opened;
        let mut told: Vec<String> =
            broken.iter().map(|broken| format!("the journal is broken: {broken}")).collect();
        if let Some(torn) = torn {
            told.push(format!(
                "half an entry of {} bytes was cut off the journal; nobody was told of it",
                torn.length
            ));
        }
        let mut replayed = Replayed::begin(replay.state.as_ref())?;
        for entry in &replay.entries {
            let Some(change) = &entry.record.change else { continue };
            let at = |what: &dyn std::fmt::Display| format!("entry {} of the journal: {what}", entry.seq);
            let read = record::read(change).map_err(|e| at(&e))?;
            if let Err(refused) = replayed.fold(read, &entry.record) {
                told.push(at(&refused));
            }
        }
        let revision = journal.revision() + 1;
        let (state, owned, guards) = replayed.now(now);
        let store = Box::new(journal);
        Ok((Self { store, state, owned, guards, revision, run }, told))
    }

    /// The operators' state.
    #[must_use]
    pub const fn state(&self) -> &Operated {
        &self.state
    }

    /// The guards of drains.
    #[must_use]
    pub const fn guards(&self) -> &Guards {
        &self.guards
    }

    /// The number of the operators' state and the table: every change of either raises it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Another table is in force.
    pub const fn table_changed(&mut self) {
        self.revision += 1;
    }

    /// What a weight of `to` for `scope` would do.
    ///
    /// # Errors
    /// The table has no such region or cell.
    pub fn plan(&self, scope: &Scope, to: Weight, standing: &Standing) -> Result<PlanReport, DeskError> {
        let place = place(scope, standing)?;
        Ok(plan::report(standing, &self.state, self.revision, place, to))
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is changed then.
    pub fn obey(
        &mut self,
        order: &Order,
        terms: &Terms,
        asker: &Asker,
        standing: &Standing,
    ) -> Result<Done, DeskError> {
        if let Some(based_on) = terms.revision.filter(|based_on| *based_on != self.revision) {
            return Err(DeskError::Late { based_on, now: self.revision });
        }
        let now = standing.now;
        let by = By {
            actor: asker.actor.as_str().into(),
            reason: asker.reason.as_str().into(),
            since: now.wall,
            until: terms.holds_for.map(|span| Wall(now.wall.0.saturating_add(span.0))),
        };
        let (change, aim) = self.change(order, standing)?;
        let plan = match aim {
            Some((scope, to)) => Some(self.judged(&scope, to, terms, standing)?),
            None => None,
        };
        let guards: &[Guard] = if let Order::Drain { guards, .. } = order { guards } else { &[] };
        let (state, applied) = self.state.apply(&change, &by, now).map_err(refused)?;
        let drain = applied.drain.as_ref().and_then(|(id, ..)| state.drain(*id)).cloned();
        let done = Done { applied, plan, drain, revision: self.revision + 1, dry_run: terms.dry_run };
        if terms.dry_run {
            return Ok(Done { revision: self.revision, ..done });
        }
        let record = Record {
            actor: asker.actor.clone(),
            source: asker.source.to_string(),
            reason: asker.reason.clone(),
            change: record::write(&change, guards, by.until, self.run(now)),
            after: after(&done, by.until, guards, &terms.overrides),
            revision: self.revision + 1,
            ..record_of(&change, &done.applied, standing)
        };
        self.append(record)?;
        self.revision += 1;
        self.state = state;
        if let Change::Begin { id, .. } = &change {
            self.guards.keep(*id, guards.to_vec());
            let state = &self.state;
            self.guards.retain(|id| state.drain(id).is_some());
        }
        self.checkpoint_if_due(now);
        Ok(done)
    }

    /// Keeps an entry of something that changes no state of operators'.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn note(&mut self, record: Record, now: Now) -> Result<(), DeskError> {
        self.append(Record { revision: self.revision, ..record })?;
        self.checkpoint_if_due(now);
        Ok(())
    }

    /// Takes in what time alone brings by the moment of `standing`; returns an entry for each thing that is to be told.
    pub fn advance(&mut self, standing: &Standing) -> Vec<Record> {
        let mut told = Vec::new();
        for change in self.state.due(standing.now) {
            let by = edge(standing.now);
            let Ok((state, applied)) = self.state.apply(&change, &by, standing.now) else { continue };
            self.state = state;
            let arrived = applied
                .drain
                .as_ref()
                .is_some_and(|(_, before, after)| before.as_ref() != Some(after) && !after.moves());
            if arrived || matches!(change, Change::ExpireWeight { .. }) {
                told.push(record_of(&change, &applied, standing));
            }
        }
        told.extend(self.own_advance(standing));
        told
    }

    /// Pauses drains whose guards no longer hold; returns what was seen. A drain is paused whether or not the journal
    /// can hold that: to go on would be worse.
    pub fn guard(&mut self, standing: &Standing) -> Vec<Record> {
        let mut told = Vec::new();
        let running: Vec<_> =
            self.state.drains().filter(|held| *held.drain.phase() == Phase::Running).cloned().collect();
        for held in running {
            let Some(saw) = self.broken_guard(&held, standing) else { continue };
            let change = Change::Pause { id: held.id, by: Pauser::Guard(saw.as_str().into()) };
            let by = edge(standing.now);
            let Ok((state, applied)) = self.state.apply(&change, &by, standing.now) else { continue };
            self.state = state;
            self.revision += 1;
            let record = Record {
                reason: saw,
                change: record::write(&change, &[], None, self.run(standing.now)),
                revision: self.revision,
                ..record_of(&change, &applied, standing)
            };
            told.push(record);
        }
        told
    }

    /// Keeps an entry whose revision is already given.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn keep(&mut self, record: Record, now: Now) -> Result<(), DeskError> {
        self.append(record)?;
        self.checkpoint_if_due(now);
        Ok(())
    }

    fn broken_guard(&self, held: &Held, standing: &Standing) -> Option<String> {
        let guards = self.guards.of(held.id);
        let regions = standing.traffic.iter().filter(|(region, _)| **region != held.scope.region);
        regions.into_iter().find_map(|(region, figures)| {
            let current = &standing.current;
            let id = current.snapshot.table().region_named(region)?;
            let in_flight = current.live.region(id).map_or(0, |live| live.counts.in_flight());
            guards.iter().find_map(|guard| guard.broken_by(region, figures, in_flight))
        })
    }

    /// What an order is to the state, and which weight it leads to where that has to be judged.
    fn change(
        &self,
        order: &Order,
        standing: &Standing,
    ) -> Result<(Change, Option<(Scope, Weight)>), DeskError> {
        let table = standing.current.snapshot.table();
        let configured = |scope: &Scope| self.state.view(table, scope).map(|view| view.configured);
        Ok(match order {
            Order::Set { scope, weight } => {
                place(scope, standing)?;
                let change = Change::Set { scope: scope.clone(), weight: *weight };
                (change, Some((scope.clone(), *weight)))
            }
            Order::Clear { scope } => {
                // A scope that the table has no more can be cleared too: there is nothing that this could move.
                let aim = configured(scope).map(|weight| (scope.clone(), weight));
                (Change::Clear { scope: scope.clone() }, aim)
            }
            Order::Drain { scope, to, over, step, .. } => {
                place(scope, standing)?;
                let view = self.state.view(table, scope);
                let from = view.map_or(Weight::NONE, |view| view.effective);
                if from == *to {
                    let percent = to.as_percent();
                    return Err(DeskError::Unfit(format!(
                        "{scope} is at {percent} already; nothing is to be drained"
                    )));
                }
                let ramp = Ramp { from, to: *to, over: *over, step: *step };
                let change = Change::Begin { id: self.state.next_drain(), scope: scope.clone(), ramp };
                (change, Some((scope.clone(), *to)))
            }
            Order::Pause(id) => (Change::Pause { id: *id, by: Pauser::Operator }, None),
            Order::Resume(id) => (Change::Resume { id: *id }, None),
            Order::Stop(id) => (Change::Stop { id: *id }, None),
            Order::Undo(id) => {
                let held = self.state.drain(*id);
                let aim = held.map(|held| (held.scope.clone(), held.drain.ramp().from));
                (Change::Undo { id: *id }, aim.filter(|(scope, _)| scope.find(table).is_some()))
            }
        })
    }

    fn judged(
        &self,
        scope: &Scope,
        to: Weight,
        terms: &Terms,
        standing: &Standing,
    ) -> Result<PlanReport, DeskError> {
        let plan = self.plan(scope, to, standing)?;
        if terms.plan.as_ref().is_some_and(|wanted| *wanted != plan.id) {
            return Err(DeskError::Moved(Box::new(plan)));
        }
        let overridden = |code: &str| terms.overrides.iter().any(|rule| rule.code() == code);
        if plan.rules_broken.iter().any(|broken| !overridden(broken.rule)) {
            return Err(DeskError::Rules(Box::new(plan)));
        }
        Ok(plan)
    }

    fn append(&mut self, record: Record) -> Result<(), DeskError> {
        self.store.append(record).map(drop).map_err(|cause| not_kept(&cause))
    }

    /// A checkpoint that cannot be written costs only time at the next start.
    fn checkpoint_if_due(&mut self, now: Now) {
        if self.store.checkpoint_is_due() {
            let state = record::write_state(&self.state, &self.owned, &self.guards, self.run(now), now);
            if let Err(cause) = self.store.checkpoint(&state) {
                tracing::warn!(%cause, "no checkpoint of the journal could be written");
            }
        }
    }

    const fn run(&self, now: Now) -> Run {
        Run { id: self.run, at: now.at.0 }
    }
}

/// What the edge does by itself.
fn edge(now: Now) -> By {
    By { actor: EDGE.into(), reason: "".into(), since: now.wall, until: None }
}

/// Who is told of in the audit where nobody gave an order, and from where.
pub const EDGE: &str = "edge";

fn place(scope: &Scope, standing: &Standing) -> Result<Place, DeskError> {
    let table = standing.current.snapshot.table();
    scope.find(table).ok_or_else(|| {
        let regions = || table.regions().iter().map(|region| region.name.as_ref());
        let what = match table.region_named(&scope.region).and_then(|id| table.region(id)) {
            None => crate::problem::nearest::remedy(&scope.region, "regions", regions()),
            Some(region) if region.cells.is_empty() => format!("{} has no cells", scope.region),
            Some(region) => {
                let cell = scope.cell.as_deref().unwrap_or_default();
                crate::problem::nearest::remedy(
                    cell,
                    "cells",
                    region.cells.iter().map(|cell| cell.name.as_ref()),
                )
            }
        };
        DeskError::Unknown(format!("the table in force has no {scope}; {what}"))
    })
}

fn refused(refused: Refused) -> DeskError {
    match refused {
        Refused::NoDrain(_) => DeskError::Unknown(refused.to_string()),
        other => DeskError::Unfit(other.to_string()),
    }
}

fn not_kept(cause: &AppendError) -> DeskError {
    DeskError::NotKept(format!("the journal cannot hold it, so nothing was changed: {cause}"))
}

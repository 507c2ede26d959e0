//! What operators did to weights, apart from the table: weights set by hand, and drains.
//!
//! A pure value: a change and a moment go in, the next state and what the change did come out. So it can be written
//! to a log before it is in force, and the log, applied in order, gives it again.
//!
//! Never: reads a clock; changes a weight that was not applied, so what is told is what is in force; overrides in
//! silence. A scope that the table no longer has is kept, and holds nothing until the table has it again.

mod change;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{Applied, By, Change, DrainId, Now, Refused};

use crate::drain::{Drain, Event, Phase, Ramp};
use crate::scope::Scope;
use crate::snapshot::Weights;
use crate::table::Table;
use crate::units::{Millis, Weight};

/// Drains that are over and still told of; older ones are in the log alone.
pub const KEPT: usize = 64;

/// A weight that was set by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The weight.
    pub weight: Weight,
    /// By whom, why, and until when.
    pub by: By,
}

/// A drain, with what is written of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its number.
    pub id: DrainId,
    /// Of what.
    pub scope: Scope,
    /// By whom it was begun, why, and until when.
    pub by: By,
    /// Where it stands.
    pub drain: Drain,
    /// Whether what it says holds: no later weight or drain took its place, and it was neither undone nor expired.
    pub in_force: bool,
}

/// The three weights of one scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// As the table configures it.
    pub configured: Weight,
    /// As an operator set it; `None`: nobody did.
    pub operator: Option<Weight>,
    /// As it is in effect: the operator's, else the configured one.
    pub effective: Weight,
    /// By whom, why, and until when.
    pub by: Option<By>,
    /// The drain that says so.
    pub drain: Option<DrainId>,
}

/// The operators' state. A clone shares everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operated {
    set: Arc<BTreeMap<Scope, Setting>>,
    drains: Arc<BTreeMap<DrainId, Held>>,
    last: u64,
}

impl Operated {
    /// The state of these parts, as written down.
    ///
    /// - `last`: the highest number that any drain ever had; those of `drains` count besides.
    #[must_use]
    pub fn new(
        set: impl IntoIterator<Item = (Scope, Setting)>,
        drains: impl IntoIterator<Item = Held>,
        last: DrainId,
    ) -> Self {
        let drains: BTreeMap<_, _> = drains.into_iter().map(|held| (held.id, held)).collect();
        let highest = drains.keys().next_back().map_or(0, |id| id.0);
        Self { set: Arc::new(set.into_iter().collect()), drains: Arc::new(drains), last: highest.max(last.0) }
    }

    /// The weights that were set by hand, by scope. Those under a drain that is in force hold again once it is undone.
    pub fn settings(&self) -> impl ExactSizeIterator<Item = (&Scope, &Setting)> {
        self.set.iter()
    }

    /// The drains that are told of, oldest first.
    pub fn drains(&self) -> impl DoubleEndedIterator<Item = &Held> + ExactSizeIterator {
        self.drains.values()
    }

    /// The drain of this number.
    #[must_use]
    pub fn drain(&self, id: DrainId) -> Option<&Held> {
        self.drains.get(&id)
    }

    /// The drain of `scope` whose word holds.
    #[must_use]
    pub fn drain_of(&self, scope: &Scope) -> Option<&Held> {
        self.drains.values().rev().find(|held| held.in_force && held.scope == *scope)
    }

    /// The highest number that any drain had; 0: none was begun.
    #[must_use]
    pub const fn last_drain(&self) -> DrainId {
        DrainId(self.last)
    }

    /// The number of the drain that begins next.
    #[must_use]
    pub const fn next_drain(&self) -> DrainId {
        DrainId(self.last.saturating_add(1))
    }

    /// What operators say of `scope`, with who said it; `None`: the configured weight holds.
    #[must_use]
    pub fn weight(&self, scope: &Scope) -> Option<(Weight, &By)> {
        let drained = self.drain_of(scope).and_then(|held| Some((held.drain.weight()?, &held.by)));
        drained.or_else(|| self.set.get(scope).map(|setting| (setting.weight, &setting.by)))
    }

    /// The three weights of `scope`; `None`: the table has no such region or cell.
    #[must_use]
    pub fn view(&self, table: &Table, scope: &Scope) -> Option<View> {
        let configured = scope.find(table)?.weight(&Weights::configured(table));
        let said = self.weight(scope);
        Some(View {
            configured,
            operator: said.map(|(weight, _)| weight),
            effective: said.map_or(configured, |(weight, _)| weight),
            by: said.map(|(_, by)| by.clone()),
            drain: self.drain_of(scope).map(|held| held.id),
        })
    }

    /// The weights in effect: as `table` configures them, with the operators' laid over.
    #[must_use]
    pub fn weights(&self, table: &Table) -> Weights {
        let said =
            self.scopes().into_iter().filter_map(|scope| Some((scope.find(table)?, self.weight(scope)?.0)));
        said.fold(Weights::configured(table), |weights, (place, weight)| place.with_weight(weights, weight))
    }

    /// The scopes that operators said something of and `table` does not have, by name.
    #[must_use]
    pub fn dangling(&self, table: &Table) -> Vec<&Scope> {
        self.scopes().into_iter().filter(|scope| scope.find(table).is_none()).collect()
    }

    /// The state after `change`, and what that did.
    ///
    /// - `by`: who does it; its `since` and `until` are kept with a weight or drain that begins.
    /// - Errors: [`Refused`]; nothing is changed then.
    pub fn apply(&self, change: &Change, by: &By, now: Now) -> Result<(Self, Applied), Refused> {
        if let Some((id, event)) = change.event() {
            return self.drain_event(id, &event, now);
        }
        let mut next = self.clone();
        match change {
            Change::Set { scope, weight } => {
                in_future(by, now)?;
                let stopped = next.supersede(scope, now.at);
                Arc::make_mut(&mut next.set)
                    .insert(scope.clone(), Setting { weight: *weight, by: by.clone() });
                Ok(self.became(next, scope, None, stopped))
            }
            Change::Clear { scope } => {
                self.weight(scope).ok_or_else(|| Refused::NothingSet(scope.clone()))?;
                let stopped = next.supersede(scope, now.at);
                Arc::make_mut(&mut next.set).remove(scope);
                Ok(self.became(next, scope, None, stopped))
            }
            Change::Begin { id, scope, ramp } => {
                in_future(by, now)?;
                next.begin(*id, scope, *ramp, by, now)?;
                let phase = next.drain(*id).map(|held| held.drain.phase().clone());
                Ok(self.became(next, scope, phase.map(|phase| (*id, None, phase)), None))
            }
            Change::ExpireWeight { scope } => {
                let set = self.set.get(scope).ok_or_else(|| Refused::NothingSet(scope.clone()))?;
                expired(&set.by, now)?;
                Arc::make_mut(&mut next.set).remove(scope);
                Ok(self.became(next, scope, None, None))
            }
            Change::Pause { id, .. }
            | Change::Resume { id }
            | Change::Stop { id }
            | Change::Undo { id }
            | Change::Advance { id }
            | Change::ExpireDrain { id } => Err(Refused::NoDrain(*id)),
        }
    }

    /// What time alone brings by `now`, in the order in which it is to be applied. Each is taken, and then no more is due.
    #[must_use]
    pub fn due(&self, now: Now) -> Vec<Change> {
        let is_up = |by: &By| by.until.is_some_and(|until| until <= now.wall);
        let weights = self.set.iter().filter(|(_, setting)| is_up(&setting.by));
        let mut due: Vec<_> =
            weights.map(|(scope, _)| Change::ExpireWeight { scope: scope.clone() }).collect();
        for held in self.drains.values().filter(|held| held.in_force) {
            if is_up(&held.by) {
                due.push(Change::ExpireDrain { id: held.id });
            } else if held.drain.next().is_some_and(|next| next <= now.at) {
                due.push(Change::Advance { id: held.id });
            }
        }
        due
    }

    /// How long after `now` something is due; zero: it is. `None`: never.
    #[must_use]
    pub fn next_due(&self, now: Now) -> Option<Millis> {
        let in_force = || self.drains.values().filter(|held| held.in_force);
        let ends = self.set.values().map(|setting| &setting.by).chain(in_force().map(|held| &held.by));
        let ends = ends.filter_map(|by| by.until).map(|until| until.since(now.wall));
        let steps = in_force().filter_map(|held| held.drain.next()).map(|next| next.since(now.at));
        ends.chain(steps).min()
    }

    /// The same state in a process whose clock began elsewhere: what was `was` there is, `passed` later, `at` here.
    ///
    /// Nothing moves by it; drains take the time in when they are next advanced.
    #[must_use]
    pub fn rebased(&self, was: Millis, passed: Millis, at: Millis) -> Self {
        let rebased = |held: &Held| Held { drain: held.drain.rebased(was, passed, at), ..held.clone() };
        Self {
            drains: Arc::new(self.drains.iter().map(|(id, held)| (*id, rebased(held))).collect()),
            ..self.clone()
        }
    }

    fn scopes(&self) -> std::collections::BTreeSet<&Scope> {
        let drained = self.drains.values().filter(|held| held.in_force).map(|held| &held.scope);
        self.set.keys().chain(drained).collect()
    }

    fn became(
        &self,
        next: Self,
        scope: &Scope,
        drain: Option<(DrainId, Option<Phase>, Phase)>,
        stopped: Option<DrainId>,
    ) -> (Self, Applied) {
        let weight = |state: &Self| state.weight(scope).map(|(weight, _)| weight);
        let applied =
            Applied { scope: scope.clone(), before: weight(self), after: weight(&next), drain, stopped };
        (next, applied)
    }

    fn drain_event(&self, id: DrainId, event: &Event, now: Now) -> Result<(Self, Applied), Refused> {
        let held = self.drain(id).ok_or(Refused::NoDrain(id))?;
        if *event == Event::Expire {
            expired(&held.by, now)?;
        }
        let drain = held.drain.step(event, now.at).map_err(|unfit| Refused::Unfit(id, unfit))?;
        if !held.in_force {
            return Err(Refused::Replaced(id));
        }
        let told = (id, Some(held.drain.phase().clone()), drain.phase().clone());
        let scope = held.scope.clone();
        let in_force = drain.weight().is_some();
        let mut next = self.clone();
        Arc::make_mut(&mut next.drains).insert(id, Held { drain, in_force, ..held.clone() });
        Ok(self.became(next, &scope, Some(told), None))
    }

    fn begin(&mut self, id: DrainId, scope: &Scope, ramp: Ramp, by: &By, now: Now) -> Result<(), Refused> {
        if id.0 <= self.last {
            return Err(Refused::NumberTaken(id));
        }
        if let Some(held) = self.drain_of(scope).cloned() {
            if held.drain.step(&Event::Tick, now.at).is_ok_and(|drain| drain.phase().is_under_way()) {
                return Err(Refused::DrainRuns { id: held.id, scope: scope.clone() });
            }
            // What an earlier drain came to is what this one goes back to.
            self.supersede(scope, now.at);
            if let Some(weight) = held.drain.step(&Event::Tick, now.at).ok().and_then(|drain| drain.weight())
            {
                Arc::make_mut(&mut self.set).insert(scope.clone(), Setting { weight, by: held.by });
            }
        }
        let drain = Drain::begin(ramp, now.at);
        let held = Held { id, scope: scope.clone(), by: by.clone(), drain, in_force: true };
        let drains = Arc::make_mut(&mut self.drains);
        drains.insert(id, held);
        let over = drains.values().filter(|held| !held.in_force);
        let forgotten = over.clone().count().saturating_sub(KEPT);
        let forgotten: Vec<_> = over.map(|held| held.id).take(forgotten).collect();
        drains.retain(|id, _| !forgotten.contains(id));
        self.last = id.0;
        Ok(())
    }

    /// Takes the word from the drain of `scope`; returns it if it was under way and is stopped.
    fn supersede(&mut self, scope: &Scope, at: Millis) -> Option<DrainId> {
        let held = self.drain_of(scope)?.clone();
        let stopped = held.drain.step(&Event::Stop, at);
        let was_under_way = stopped.is_ok();
        let drain = stopped.or_else(|_| held.drain.step(&Event::Tick, at)).unwrap_or(held.drain);
        Arc::make_mut(&mut self.drains).insert(held.id, Held { drain, in_force: false, ..held });
        was_under_way.then_some(held.id)
    }
}

fn in_future(by: &By, now: Now) -> Result<(), Refused> {
    by.until.filter(|until| *until <= now.wall).map_or(Ok(()), |until| Err(Refused::Past(until)))
}

fn expired(by: &By, now: Now) -> Result<(), Refused> {
    match by.until {
        Some(until) if until > now.wall => Err(Refused::NotYet(until)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! Operators at their desk: weights set by hand, drains begun, paused, undone and expired, and what a drain must never do.

use rhumb_decision::drain::{Pauser, Phase, Ramp};
use rhumb_decision::operated::{Applied, By, Change, DrainId, Now, Operated, Refused};
use rhumb_decision::scope::Scope;
use rhumb_decision::table::Table;
use rhumb_decision::units::{Millis, Wall, Weight};

use crate::chance::Chance;
use crate::tables;

/// The operators' state, and what time it is.
pub struct Desk {
    pub operated: Operated,
    now: Now,
}

impl Desk {
    pub fn new() -> Self {
        Self { operated: Operated::default(), now: Now { at: Millis(0), wall: Wall(1_000_000) } }
    }

    /// Time goes on, and what it brings is done; returns what happened.
    pub fn time_passes(&mut self, chance: &mut Chance) -> Vec<&'static str> {
        let sleep = match self.operated.next_due(self.now) {
            Some(due) if chance.percent(50) => due.0,
            _ => chance.below(30_000) as u64,
        };
        self.now = Now { at: Millis(self.now.at.0 + sleep), wall: Wall(self.now.wall.0 + sleep) };
        let due = self.operated.due(self.now);
        let happened = due.iter().map(|change| self.apply(change, None).unwrap()).collect();
        assert!(self.operated.due(self.now).is_empty(), "what was due was done, and is due again");
        happened
    }

    /// The process ends and another takes the state up, written down part by part; its clock begins elsewhere.
    pub fn restart(&mut self, chance: &mut Chance, table: &Table) {
        let (written, passed) = (self.now, Millis(chance.below(20_000) as u64));
        self.now = Now { at: Millis(chance.below(50) as u64), wall: Wall(written.wall.0 + passed.0) };
        let before = self.operated.weights(table);
        let rebased = self.operated.rebased(written.at, passed, self.now.at);
        let set = rebased.settings().map(|(scope, setting)| (scope.clone(), setting.clone()));
        self.operated = Operated::new(set, rebased.drains().cloned(), rebased.last_drain());
        assert_eq!(self.operated, rebased, "what was written down is not what was read");
        assert_eq!(self.operated.weights(table), before, "a restart changed a weight");
    }

    /// An operator does something to a region or cell of this table; returns what happened.
    pub fn act(&mut self, chance: &mut Chance, table: &Table) -> &'static str {
        let scope = scope(chance, table);
        let id = DrainId(self.operated.last_drain().0.saturating_sub(chance.below(4) as u64));
        let change = match chance.below(10) {
            0 | 1 => Change::Set { scope, weight: tables::weight(chance) },
            2 => Change::Clear { scope },
            3..=5 => {
                let from = self.operated.view(table, &scope).map_or(Weight::FULL, |view| view.effective);
                let to = tables::weight(chance);
                let over = chance.of(&[0, 1, 1_000, 60_000]);
                let step = Weight::hundredths(chance.of(&[0, 100, 2_500]));
                let id = self.operated.next_drain();
                Change::Begin { id, scope, ramp: Ramp { from, to, over: Millis(over), step } }
            }
            6 => Change::Pause { id, by: Pauser::Operator },
            7 => Change::Resume { id },
            8 => Change::Stop { id },
            _ => Change::Undo { id },
        };
        let ends = chance.percent(40).then(|| Wall(self.now.wall.0 + 1 + chance.below(90_000) as u64));
        let before = self.operated.clone();
        self.apply(&change, ends).unwrap_or_else(|refused| {
            assert_eq!(self.operated, before, "what was refused changed something");
            match refused {
                Refused::DrainRuns { .. } => "second drain refused",
                _ => "change refused",
            }
        })
    }

    fn apply(&mut self, change: &Change, until: Option<Wall>) -> Result<&'static str, Refused> {
        let by = By { actor: "ann".into(), reason: "chance".into(), since: self.now.wall, until };
        let before = self.operated.clone();
        let (next, applied) = self.operated.apply(change, &by, self.now)?;
        self.operated = next;
        never_what_a_drain_must_not_do(&before, &self.operated, change, &applied);
        Ok(change.code())
    }
}

/// A region or one of its cells; now and then one that the table does not have.
fn scope(chance: &mut Chance, table: &Table) -> Scope {
    let (name, _) = chance.of(&tables::REGIONS);
    let cells =
        table.region_named(name).and_then(|id| table.region(id)).map_or(0, |region| region.cells.len());
    if cells > 0 && chance.percent(60) {
        Scope::cell(name, &format!("cell-{}", chance.below(cells)))
    } else {
        Scope::region(name)
    }
}

fn never_what_a_drain_must_not_do(before: &Operated, after: &Operated, change: &Change, applied: &Applied) {
    for held in after.drains().filter(|held| held.in_force) {
        let others = after.drains().filter(|other| other.in_force && other.scope == held.scope);
        assert_eq!(others.count(), 1, "two drains hold {}", held.scope);
        assert!(held.drain.weight().is_some(), "a drain holds {} and says nothing", held.scope);
    }
    for held in after.drains() {
        let Some(was) = before.drain(held.id) else { continue };
        let (ramp, undoing) = (held.drain.ramp(), matches!(was.drain.phase(), Phase::Undoing));
        let (Some(from), Some(to)) = (was.drain.weight(), held.drain.weight()) else { continue };
        let (low, high) = (ramp.from.min(ramp.to), ramp.from.max(ramp.to));
        assert!((low..=high).contains(&to), "drain {} left its ramp", held.id);
        let falls = (ramp.to < ramp.from) != undoing;
        assert!(if falls { to <= from } else { to >= from }, "drain {} turned back: {change:?}", held.id);
        assert!(was.in_force || *was == *held, "drain {} holds no more, and moved", held.id);
    }
    let said = |state: &Operated| state.weight(&applied.scope).map(|(weight, _)| weight);
    assert_eq!((applied.before, applied.after), (said(before), said(after)), "{change:?} tells otherwise");
    let others = |state: &Operated| {
        let scopes = state.settings().map(|(scope, _)| scope).chain(state.drains().map(|held| &held.scope));
        let others = scopes.filter(|scope| **scope != applied.scope);
        others.map(|scope| (scope.clone(), state.weight(scope).map(|(weight, _)| weight))).collect::<Vec<_>>()
    };
    if !matches!(change, Change::Begin { .. }) {
        assert_eq!(others(before), others(after), "{change:?} moved another scope");
    }
}

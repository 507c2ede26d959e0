//! Changes of the operators' state as the journal has them, and the whole state as its checkpoint has it.
//!
//! Never: guesses. What cannot be read is an error that names what is wrong, so that nothing is forgotten in silence.

use rhumb_decision::drain::{Drain, Pause, Pauser, Phase, Ramp};
use rhumb_decision::operated::{By, Change, DrainId, Held, Now, Operated, Setting};
use rhumb_decision::owned::Owned;
use rhumb_decision::scope::Scope;
use rhumb_decision::units::{Millis, Wall, Weight};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guard::{Guard, Guards};
use super::own::{OwnDoc, OwnedDoc};

/// The process that wrote something, and when on its own clock: what lies between two entries of one process is told
/// by that, whatever became of the wall clock meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// A number that no other process has, as far as chance allows.
    pub id: u64,
    /// Milliseconds on its monotonic clock.
    pub at: u64,
}

/// A change, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    run: Run,
    until: Option<u64>,
    change: ChangeDoc,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ChangeDoc {
    Own(OwnDoc),
    Set { scope: ScopeDoc, weight: u16 },
    Clear { scope: ScopeDoc },
    Begin { id: u64, scope: ScopeDoc, ramp: RampDoc, guards: Vec<Guard> },
    Pause { id: u64, guard: Option<String> },
    Resume { id: u64 },
    Stop { id: u64 },
    Undo { id: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeDoc {
    region: String,
    cell: Option<String>,
}

/// Weights in hundredths of a percent, spans in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RampDoc {
    from: u16,
    to: u16,
    over: u64,
    step: u16,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByDoc {
    actor: String,
    reason: String,
    since: u64,
    until: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateDoc {
    run: Run,
    wall: u64,
    last_drain: u64,
    set: Vec<SettingDoc>,
    drains: Vec<DrainDoc>,
    /// Not in what the first format wrote.
    #[serde(default)]
    owned: OwnedDoc,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingDoc {
    scope: ScopeDoc,
    weight: u16,
    by: ByDoc,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainDoc {
    id: u64,
    scope: ScopeDoc,
    by: ByDoc,
    ramp: RampDoc,
    phase: PhaseDoc,
    position: u64,
    owed: u64,
    in_force: bool,
    guards: Vec<Guard>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PhaseDoc {
    Running,
    Paused { undoing: bool, guard: Option<String> },
    Stopped,
    Done,
    Undoing,
    Undone,
    Expired,
}

/// A change that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub run: Run,
    pub change: ReadChange,
    pub until: Option<Wall>,
    pub guards: Vec<Guard>,
}

/// What of the state it changes.
#[derive(Debug)]
pub(super) enum ReadChange {
    /// Weights and drains.
    Operated(Change),
    /// Ownership.
    Own(OwnDoc),
}

/// A state that was read.
#[derive(Debug)]
pub(super) struct Kept {
    pub run: Run,
    pub wall: Wall,
    pub state: Operated,
    pub owned: Owned,
    pub guards: Guards,
}

/// A change of ownership as it is written; `None` where a replay needs none.
pub(super) fn write_own(change: Option<OwnDoc>, until: Option<Wall>, run: Run) -> Option<Value> {
    let change = ChangeDoc::Own(change?);
    serde_json::to_value(Written { run, until: until.map(|until| until.0), change }).ok()
}

/// `change` as it is written; `None` for what time alone brings: a replay comes to it by itself.
pub(super) fn write(change: &Change, guards: &[Guard], until: Option<Wall>, run: Run) -> Option<Value> {
    let change = match change {
        Change::Set { scope, weight } => {
            ChangeDoc::Set { scope: scope.into(), weight: weight.as_hundredths() }
        }
        Change::Clear { scope } => ChangeDoc::Clear { scope: scope.into() },
        Change::Begin { id, scope, ramp } => {
            ChangeDoc::Begin { id: id.0, scope: scope.into(), ramp: ramp.into(), guards: guards.to_vec() }
        }
        Change::Pause { id, by } => ChangeDoc::Pause { id: id.0, guard: guard_of(by) },
        Change::Resume { id } => ChangeDoc::Resume { id: id.0 },
        Change::Stop { id } => ChangeDoc::Stop { id: id.0 },
        Change::Undo { id } => ChangeDoc::Undo { id: id.0 },
        Change::Advance { .. } | Change::ExpireDrain { .. } | Change::ExpireWeight { .. } => return None,
    };
    serde_json::to_value(Written { run, until: until.map(|until| until.0), change }).ok()
}

/// The change that `value` is.
///
/// # Errors
/// What of it makes no sense.
pub(super) fn read(value: &Value) -> Result<Read, serde_json::Error> {
    let Written { run, until, change } = Written::deserialize(value)?;
    let mut of_begin = Vec::new();
    let change = match change {
        ChangeDoc::Own(own) => {
            let (change, until) = (ReadChange::Own(own), until.map(Wall));
            return Ok(Read { run, change, until, guards: of_begin });
        }
        ChangeDoc::Set { scope, weight } => {
            Change::Set { scope: scope.into(), weight: Weight::hundredths(weight) }
        }
        ChangeDoc::Clear { scope } => Change::Clear { scope: scope.into() },
        ChangeDoc::Begin { id, scope, ramp, guards } => {
            of_begin = guards;
            Change::Begin { id: DrainId(id), scope: scope.into(), ramp: ramp.into() }
        }
        ChangeDoc::Pause { id, guard } => Change::Pause { id: DrainId(id), by: pauser(guard) },
        ChangeDoc::Resume { id } => Change::Resume { id: DrainId(id) },
        ChangeDoc::Stop { id } => Change::Stop { id: DrainId(id) },
        ChangeDoc::Undo { id } => Change::Undo { id: DrainId(id) },
    };
    let change = ReadChange::Operated(change);
    Ok(Read { run, change, until: until.map(Wall), guards: of_begin })
}

/// `state` as a checkpoint has it at `now`.
pub(super) fn write_state(state: &Operated, owned: &Owned, guards: &Guards, run: Run, now: Now) -> Value {
    let set = state.settings().map(|(scope, setting)| SettingDoc {
        scope: scope.into(),
        weight: setting.weight.as_hundredths(),
        by: (&setting.by).into(),
    });
    let drains = state.drains().map(|held| DrainDoc {
        id: held.id.0,
        scope: (&held.scope).into(),
        by: (&held.by).into(),
        ramp: held.drain.ramp().into(),
        phase: held.drain.phase().into(),
        position: held.drain.position().0,
        owed: held.drain.owed(now.at).0,
        in_force: held.in_force,
        guards: guards.of(held.id).to_vec(),
    });
    let state = StateDoc {
        run,
        wall: now.wall.0,
        last_drain: state.last_drain().0,
        set: set.collect(),
        drains: drains.collect(),
        owned: OwnedDoc::of(owned),
    };
    // It is names and numbers throughout, so it can be written.
    serde_json::to_value(state).unwrap_or_default()
}

/// The state that `value` is, on a clock that stands at `at`.
///
/// # Errors
/// What of it makes no sense.
pub(super) fn read_state(value: &Value, at: Millis) -> Result<Kept, serde_json::Error> {
    let doc = StateDoc::deserialize(value)?;
    let mut guards = Guards::default();
    let set = doc.set.into_iter().map(|SettingDoc { scope, weight, by }| {
        (scope.into(), Setting { weight: Weight::hundredths(weight), by: by.into() })
    });
    let drains = doc.drains.into_iter().map(|doc| {
        guards.keep(DrainId(doc.id), doc.guards);
        let (position, owed) = (Millis(doc.position), Millis(doc.owed));
        Held {
            id: DrainId(doc.id),
            scope: doc.scope.into(),
            by: doc.by.into(),
            drain: Drain::resumed(doc.ramp.into(), doc.phase.into(), position, owed, at),
            in_force: doc.in_force,
        }
    });
    let drains: Vec<_> = drains.collect();
    let state = Operated::new(set, drains, DrainId(doc.last_drain));
    Ok(Kept { run: doc.run, wall: Wall(doc.wall), state, owned: doc.owned.owned(), guards })
}

fn guard_of(by: &Pauser) -> Option<String> {
    match by {
        Pauser::Operator => None,
        Pauser::Guard(saw) => Some(saw.to_string()),
    }
}

fn pauser(guard: Option<String>) -> Pauser {
    guard.map_or(Pauser::Operator, |saw| Pauser::Guard(saw.into()))
}

impl From<&Scope> for ScopeDoc {
    fn from(scope: &Scope) -> Self {
        Self { region: scope.region.to_string(), cell: scope.cell.as_deref().map(str::to_owned) }
    }
}

impl From<ScopeDoc> for Scope {
    fn from(doc: ScopeDoc) -> Self {
        Self { region: doc.region.into(), cell: doc.cell.map(Into::into) }
    }
}

impl From<&Ramp> for RampDoc {
    fn from(ramp: &Ramp) -> Self {
        let Ramp { from, to, over, step } = ramp;
        Self { from: from.as_hundredths(), to: to.as_hundredths(), over: over.0, step: step.as_hundredths() }
    }
}

impl From<RampDoc> for Ramp {
    fn from(doc: RampDoc) -> Self {
        let RampDoc { from, to, over, step } = doc;
        let weight = Weight::hundredths;
        Self { from: weight(from), to: weight(to), over: Millis(over), step: weight(step) }
    }
}

impl From<&By> for ByDoc {
    fn from(by: &By) -> Self {
        Self {
            actor: by.actor.to_string(),
            reason: by.reason.to_string(),
            since: by.since.0,
            until: by.until.map(|until| until.0),
        }
    }
}

impl From<ByDoc> for By {
    fn from(doc: ByDoc) -> Self {
        Self {
            actor: doc.actor.into(),
            reason: doc.reason.into(),
            since: Wall(doc.since),
            until: doc.until.map(Wall),
        }
    }
}

impl From<&Phase> for PhaseDoc {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Paused(Pause { undoing, by }) => Self::Paused { undoing: *undoing, guard: guard_of(by) },
            Phase::Stopped => Self::Stopped,
            Phase::Done => Self::Done,
            Phase::Undoing => Self::Undoing,
            Phase::Undone => Self::Undone,
            Phase::Expired => Self::Expired,
        }
    }
}

impl From<PhaseDoc> for Phase {
    fn from(doc: PhaseDoc) -> Self {
        match doc {
            PhaseDoc::Running => Self::Running,
            PhaseDoc::Paused { undoing, guard } => Self::Paused(Pause { undoing, by: pauser(guard) }),
            PhaseDoc::Stopped => Self::Stopped,
            PhaseDoc::Done => Self::Done,
            PhaseDoc::Undoing => Self::Undoing,
            PhaseDoc::Undone => Self::Undone,
            PhaseDoc::Expired => Self::Expired,
        }
    }
}

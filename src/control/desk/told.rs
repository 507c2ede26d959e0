//! What the audit says of a change: what was, what is, and all that was said with it.

use rhumb_decision::drain::Phase;
use rhumb_decision::operated::{Applied, Change};
use rhumb_decision::safety::Rule;
use rhumb_decision::units::{Wall, Weight};
use serde_json::{Value, json};

use super::{Done, EDGE, Guard, Percent, Standing};
use crate::control::journal::{Action, Record, WallTime};

/// An entry about `change`, by the edge itself unless somebody else is put in.
pub(super) fn record_of(change: &Change, applied: &Applied, standing: &Standing) -> Record {
    let weight = |weight: Option<Weight>| weight.map(Percent);
    let drain = applied.drain.as_ref().map(|(id, _, phase)| json!({"id": id.0, "state": phase.code()}));
    Record {
        time: WallTime::from_millis(standing.now.wall.0),
        actor: EDGE.to_owned(),
        source: EDGE.to_owned(),
        action: action(change, applied),
        region: Some(applied.scope.region.to_string()),
        reason: String::new(),
        before: json!({"scope": applied.scope.to_string(), "operator": weight(applied.before)}),
        after: json!({"scope": applied.scope.to_string(), "operator": weight(applied.after), "drain": drain}),
        generation: standing.current.snapshot.generation().0,
        revision: 0,
        change: None,
    }
}

/// What is, after an order: with all that was said of it.
pub(super) fn after(done: &Done, until: Option<Wall>, guards: &[Guard], overrides: &[Rule]) -> Value {
    let mut after = json!({
        "scope": done.applied.scope.to_string(),
        "operator": done.applied.after.map(Percent),
    });
    let Value::Object(said) = &mut after else { return after };
    if let Some(held) = &done.drain {
        let ramp = held.drain.ramp();
        let drain = json!({
            "id": held.id.0, "state": held.drain.phase().code(), "from": Percent(ramp.from), "to": Percent(ramp.to),
            "over_seconds": ramp.over.duration().as_secs_f64(), "step": Percent(ramp.step),
        });
        said.insert("drain".to_owned(), drain);
    }
    if let Some(stopped) = done.applied.stopped {
        said.insert("stopped_drain".to_owned(), json!(stopped.0));
    }
    if let Some(until) = until {
        said.insert("until".to_owned(), json!(WallTime::from_millis(until.0).to_string()));
    }
    if !guards.is_empty() {
        said.insert("pause_if".to_owned(), json!(guards));
    }
    let broken = done.plan.iter().flat_map(|plan| &plan.rules_broken).map(|broken| broken.rule);
    let overridden: Vec<_> =
        broken.filter(|code| overrides.iter().any(|rule| rule.code() == *code)).collect();
    if !overridden.is_empty() {
        said.insert("override".to_owned(), json!(overridden));
    }
    after
}

const fn action(change: &Change, applied: &Applied) -> Action {
    match change {
        Change::Set { .. } => Action::Weight,
        Change::Clear { .. } => Action::WeightCleared,
        Change::Begin { .. } => Action::DrainBegan,
        Change::Pause { .. } => Action::DrainPaused,
        Change::Resume { .. } => Action::DrainResumed,
        Change::Stop { .. } => Action::DrainStopped,
        Change::Undo { .. } => Action::DrainUndone,
        Change::Advance { .. } => match applied.drain {
            Some((_, _, Phase::Undone)) => Action::DrainUndone,
            _ => Action::DrainDone,
        },
        Change::ExpireDrain { .. } | Change::ExpireWeight { .. } => Action::Expired,
    }
}

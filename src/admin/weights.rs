//! What weights, drains and traffic look like in JSON.

use rhumb_decision::drain::{Pause, Pauser, Phase};
use rhumb_decision::operated::Held;
use rhumb_decision::scope::Scope;
use rhumb_decision::units::Wall;
use schemars::JsonSchema;
use serde::Serialize;

use crate::control::clock::Clock;
use crate::control::desk::Percent;
use crate::control::journal::WallTime;
use crate::control::snapshot::Current;
use crate::control::traffic::Figures;

/// The three weights of a region or cell.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Weight")]
pub struct WeightView {
    /// As the table has it.
    configured: Percent,
    /// As an operator set it; `null`: nobody did.
    operator: Option<Percent>,
    /// As it is in effect.
    effective: Percent,
    /// Who set it.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
    /// When it ends by itself.
    until: Option<String>,
}

/// A drain.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Drain")]
pub struct DrainView {
    id: u64,
    region: String,
    cell: Option<String>,
    /// `running`, `paused`, `stopped`, `done`, `undoing`, `undone` or `expired`.
    state: &'static str,
    from: Percent,
    to: Percent,
    /// What it says now; `null`: nothing any more.
    weight: Option<Percent>,
    over_seconds: f64,
    step: Percent,
    /// How far along its ramp it is: 0.0 to 1.0.
    progress: f64,
    /// When it arrives, if nothing comes between; `null`: it does not move.
    eta: Option<String>,
    by: String,
    reason: String,
    since: String,
    until: Option<String>,
    /// Who paused it: `operator`, or what a guard saw.
    paused_by: Option<String>,
    /// Whether what it says holds: no later weight or drain took its place, and it was neither undone nor expired.
    in_force: bool,
}

/// What a region gets of this edge, over the last seconds.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "TrafficFigures")]
pub struct TrafficFigures {
    requests_per_second: f64,
    reads_per_second: f64,
    /// The share that failed: 0.0 to 1.0.
    error_rate: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl TrafficFigures {
    /// Of these figures.
    #[must_use]
    pub fn of(figures: &Figures) -> Self {
        let millis = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
        Self {
            requests_per_second: figures.requests,
            reads_per_second: figures.reads,
            error_rate: figures.errors,
            p50_ms: figures.p50.map(millis),
            p99_ms: figures.p99.map(millis),
        }
    }
}

/// The three weights of `scope`; `None`: the table does not have it.
#[must_use]
pub fn weight(current: &Current, scope: &Scope) -> Option<WeightView> {
    let view = current.operators.state.view(current.table(), scope)?;
    let by = view.by.as_ref();
    Some(WeightView {
        configured: Percent(view.configured),
        operator: view.operator.map(Percent),
        effective: Percent(view.effective),
        by: by.map(|by| by.actor.to_string()),
        reason: by.map(|by| by.reason.to_string()),
        until: by.and_then(|by| by.until).map(time),
    })
}

/// The drain `held`, at this moment.
#[must_use]
pub fn drain(held: &Held, clock: &Clock) -> DrainView {
    let (drain, ramp) = (&held.drain, held.drain.ramp());
    let over = ramp.over.duration().as_secs_f64();
    let position = drain.position().duration();
    let left = match drain.phase() {
        Phase::Running => Some(ramp.over.duration().saturating_sub(position)),
        Phase::Undoing => Some(position),
        _ => None,
    };
    let left = left.map(|left| left.saturating_sub(drain.owed(clock.now()).duration()));
    DrainView {
        id: held.id.0,
        region: held.scope.region.to_string(),
        cell: held.scope.cell.as_deref().map(str::to_owned),
        state: drain.phase().code(),
        from: Percent(ramp.from),
        to: Percent(ramp.to),
        weight: drain.weight().map(Percent),
        over_seconds: over,
        step: Percent(ramp.step),
        progress: if over > 0.0 { position.as_secs_f64() / over } else { 1.0 },
        eta: left.map(|left| WallTime::from(clock.wall() + left).to_string()),
        by: held.by.actor.to_string(),
        reason: held.by.reason.to_string(),
        since: time(held.by.since),
        until: held.by.until.map(time),
        paused_by: match drain.phase() {
            Phase::Paused(Pause { by: Pauser::Operator, .. }) => Some("operator".to_owned()),
            Phase::Paused(Pause { by: Pauser::Guard(saw), .. }) => Some(saw.to_string()),
            _ => None,
        },
        in_force: held.in_force,
    }
}

fn time(wall: Wall) -> String {
    WallTime::from_millis(wall.0).to_string()
}

//! What operators may ask of weights and drains, in JSON: plans, weights, drains, and what became of them.
//!
//! Never: decides anything; what is asked goes to the desk, which judges it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use rhumb_decision::drain::Ramp;
use rhumb_decision::operated::DrainId;
use rhumb_decision::safety::Rule;
use rhumb_decision::scope::Scope;
use rhumb_decision::units::{Millis, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::api::{asker, parse, whole};
use crate::admin::auth::Caller;
use crate::admin::described;
use crate::admin::matching::{self, Basis};
use crate::admin::problem::{Refused, Why};
use crate::admin::server::AdminState;
use crate::admin::weights::{DrainView, WeightView, drain, weight};
use crate::control::desk::{Done, Guard, Order, PlanReport, Terms};
use crate::problem::units::duration;

type Shared = State<Arc<AdminState>>;
pub(super) type Named<T> = Result<Path<T>, PathRejection>;

/// A weight, at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetWeight {
    /// In percent, 0 to 100.
    #[schemars(schema_with = "described::percent")]
    weight: f64,
    /// In one line of at most 1000 bytes.
    #[schemars(schema_with = "described::reason")]
    reason: String,
    /// How long it is to hold, such as `2h`; left out: until it is undone.
    #[serde(default)]
    #[schemars(schema_with = "described::span_perhaps")]
    expires_in: Option<String>,
    /// Safety rules that may be broken, by their codes.
    #[serde(default)]
    #[schemars(schema_with = "described::rules")]
    r#override: Vec<String>,
    /// The id of the plan that it has to be.
    plan: Option<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a weight would do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanDrain {
    region: String,
    /// A cell of the region; left out: the whole region.
    cell: Option<String>,
    /// In percent, 0 to 100.
    #[schemars(schema_with = "described::percent")]
    to: f64,
}

/// A drain.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BeginDrain {
    region: String,
    /// A cell of the region; left out: the whole region.
    cell: Option<String>,
    /// The weight at its end, in percent, 0 to 100.
    #[schemars(schema_with = "described::percent")]
    to: f64,
    /// How long it takes, such as `10m`; left out: it is done at once.
    #[serde(default)]
    #[schemars(schema_with = "described::span_perhaps")]
    over: Option<String>,
    /// The least by which the weight changes, in percent; 1 unless said.
    #[serde(default)]
    #[schemars(schema_with = "described::percent_perhaps")]
    step: Option<f64>,
    /// In one line of at most 1000 bytes.
    #[schemars(schema_with = "described::reason")]
    reason: String,
    /// How long it is to hold, counted from now, such as `2h`.
    #[serde(default)]
    #[schemars(schema_with = "described::span_perhaps")]
    expires_in: Option<String>,
    /// Safety rules that may be broken, by their codes.
    #[serde(default)]
    #[schemars(schema_with = "described::rules")]
    r#override: Vec<String>,
    /// The id of the plan that it has to be.
    plan: Option<String>,
    /// What pauses it: `error_rate>2%`, `p99>800ms`, `in_flight>5000`, at any of the other regions.
    #[serde(default)]
    #[schemars(schema_with = "described::guards")]
    pause_if: Vec<Guard>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Why something is done to a drain, or undone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    /// In one line of at most 1000 bytes.
    #[schemars(schema_with = "described::reason")]
    reason: String,
    /// Safety rules that may be broken, by their codes.
    #[serde(default)]
    #[schemars(schema_with = "described::rules")]
    r#override: Vec<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What an order came to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WeightChanged")]
pub(super) struct WeightChanged {
    region: String,
    cell: Option<String>,
    weight: Option<WeightView>,
    /// The drain that it stopped.
    stopped_drain: Option<u64>,
    plan: Option<PlanReport>,
    revision: u64,
    dry_run: bool,
}

/// A drain, after what was done to it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DrainChanged")]
pub(super) struct DrainChanged {
    #[serde(flatten)]
    drain: DrainView,
    plan: Option<PlanReport>,
    revision: u64,
    dry_run: bool,
}

pub(super) async fn plan(State(state): Shared, request: Request) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let PlanDrain { region, cell, to } = parse(&headers, &body)?;
    let plan = state.operator.plan(scope(region, cell), percent("to", to)?).await?;
    Ok(tagged(plan.revision, StatusCode::OK, &plan))
}

pub(super) async fn set_region(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    name: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    set(&state, caller, scope(named(name)?, None), request).await
}

pub(super) async fn set_cell(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    names: Named<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let (region, cell) = named(names)?;
    set(&state, caller, scope(region, Some(cell)), request).await
}

async fn set(
    state: &AdminState,
    caller: Caller,
    scope: Scope,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let SetWeight { weight, reason, expires_in, r#override, plan, dry_run } = parse(&headers, &body)?;
    let order = Order::Set { scope, weight: percent("weight", weight)? };
    let holds_for = span("expires_in", expires_in.as_deref())?;
    let terms =
        Terms { holds_for, overrides: rules(&r#override)?, plan, revision: basis(&headers)?, dry_run };
    let done = state.operator.order(order, terms, asker(caller, &reason)?).await?;
    Ok(weight_changed(state, done))
}

pub(super) async fn clear_region(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    name: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    clear(&state, caller, scope(named(name)?, None), request).await
}

pub(super) async fn clear_cell(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    names: Named<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let (region, cell) = named(names)?;
    clear(&state, caller, scope(region, Some(cell)), request).await
}

async fn clear(
    state: &AdminState,
    caller: Caller,
    scope: Scope,
    request: Request,
) -> Result<Response, Refused> {
    let done = because(state, caller, Order::Clear { scope }, request).await?;
    Ok(weight_changed(state, done))
}

pub(super) async fn begin(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let asked: BeginDrain = parse(&headers, &body)?;
    let order = Order::Drain {
        scope: scope(asked.region, asked.cell),
        to: percent("to", asked.to)?,
        over: span("over", asked.over.as_deref())?.unwrap_or_default(),
        step: asked.step.map_or(Ok(Ramp::STEP), |step| percent("step", step))?,
        guards: asked.pause_if,
    };
    let terms = Terms {
        holds_for: span("expires_in", asked.expires_in.as_deref())?,
        overrides: rules(&asked.r#override)?,
        plan: asked.plan,
        revision: basis(&headers)?,
        dry_run: asked.dry_run,
    };
    let done = state.operator.order(order, terms, asker(caller, &asked.reason)?).await?;
    drain_changed(&state, done, StatusCode::CREATED)
}

pub(super) async fn pause(
    state: Shared,
    caller: Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    of_drain(state, caller, id, Order::Pause, request).await
}

pub(super) async fn resume(
    state: Shared,
    caller: Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    of_drain(state, caller, id, Order::Resume, request).await
}

pub(super) async fn stop(
    state: Shared,
    caller: Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    of_drain(state, caller, id, Order::Stop, request).await
}

pub(super) async fn undo(
    state: Shared,
    caller: Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    of_drain(state, caller, id, Order::Undo, request).await
}

async fn of_drain(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    order: fn(DrainId) -> Order,
    request: Request,
) -> Result<Response, Refused> {
    let id = drain_id(&named(id)?)?;
    let done = because(&state, caller, order(id), request).await?;
    drain_changed(&state, done, StatusCode::OK)
}

pub(super) async fn drains(State(state): Shared) -> Response {
    let current = state.reader.current();
    let all: Vec<DrainView> =
        current.operators.state.drains().map(|held| drain(held, &state.clock)).collect();
    tagged(current.operators.revision, StatusCode::OK, &all)
}

pub(super) async fn one_drain(State(state): Shared, id: Named<String>) -> Result<Response, Refused> {
    let id = drain_id(&named(id)?)?;
    let current = state.reader.current();
    let held = current.operators.state.drain(id).ok_or_else(|| no_drain(&id.to_string()))?;
    Ok(tagged(current.operators.revision, StatusCode::OK, &drain(held, &state.clock)))
}

async fn because(
    state: &AdminState,
    caller: Caller,
    order: Order,
    request: Request,
) -> Result<Done, Refused> {
    let (headers, body) = whole(request).await?;
    let Because { reason, r#override, dry_run } = parse(&headers, &body)?;
    let revision = basis(&headers)?;
    let terms = Terms { overrides: rules(&r#override)?, revision, dry_run, ..Terms::default() };
    Ok(state.operator.order(order, terms, asker(caller, &reason)?).await?)
}

fn weight_changed(state: &AdminState, done: Done) -> Response {
    let current = state.reader.current();
    let scope = &done.applied.scope;
    let changed = WeightChanged {
        region: scope.region.to_string(),
        cell: scope.cell.as_deref().map(str::to_owned),
        weight: weight(&current, scope),
        stopped_drain: done.applied.stopped.map(|id| id.0),
        plan: done.plan,
        revision: done.revision,
        dry_run: done.dry_run,
    };
    tagged(done.revision, StatusCode::OK, &changed)
}

fn drain_changed(state: &AdminState, done: Done, status: StatusCode) -> Result<Response, Refused> {
    let held = done.drain.ok_or_else(|| Refused::new(Why::Conflict, "there is no drain in this"))?;
    let changed = DrainChanged {
        drain: drain(&held, &state.clock),
        plan: done.plan,
        revision: done.revision,
        dry_run: done.dry_run,
    };
    let status = if done.dry_run { StatusCode::OK } else { status };
    Ok(tagged(done.revision, status, &changed))
}

/// `value` as JSON, with the revision that it is of.
pub(super) fn tagged(revision: u64, status: StatusCode, value: &impl Serialize) -> Response {
    (status, [(header::ETAG, matching::tag(revision))], Json(value)).into_response()
}

pub(super) fn named<T>(name: Named<T>) -> Result<T, Refused> {
    let Path(name) = name.map_err(|_| Refused::new(Why::NotFound, "the path names nothing that could be"))?;
    Ok(name)
}

fn scope(region: String, cell: Option<String>) -> Scope {
    Scope { region: region.into(), cell: cell.map(Into::into) }
}

fn drain_id(text: &str) -> Result<DrainId, Refused> {
    text.parse().map(DrainId).map_err(|_| no_drain(text))
}

fn no_drain(id: &str) -> Refused {
    Refused::new(Why::NotFound, format!("there is no drain {id}; GET /v1/drains lists them"))
}

/// A weight in hundredths of a percent.
pub(super) fn percent(key: &str, percent: f64) -> Result<Weight, Refused> {
    let hundredths = (percent * 100.0).round();
    let exact = (hundredths / 100.0 - percent).abs() < 1e-9;
    if !(0.0..=10_000.0).contains(&hundredths) || !exact {
        let detail = format!("{key}: write 0 to 100, with at most two decimals; {percent} is none of these");
        return Err(Refused::new(Why::BadRequest, detail));
    }
    Ok(Weight::hundredths(hundredths as u16))
}

pub(super) fn span(key: &str, text: Option<&str>) -> Result<Option<Millis>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let span = duration(text).map_err(|wrong| Refused::new(Why::BadRequest, format!("{key}: {wrong}")))?;
    Ok(Some(Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))))
}

pub(super) fn rules(codes: &[String]) -> Result<Vec<Rule>, Refused> {
    let rule = |code: &String| {
        Rule::of_code(code).ok_or_else(|| {
            let known = Rule::ALL.iter().map(|rule| rule.code());
            let remedy = crate::problem::nearest::remedy(code, "rules", known);
            Refused::new(Why::BadRequest, format!("override: there is no rule {code:?}; {remedy}"))
        })
    };
    codes.iter().map(rule).collect()
}

pub(super) fn basis(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    match Basis::of(headers) {
        Ok(Basis::Any) => Ok(None),
        Ok(Basis::Revision(revision)) => Ok(Some(revision)),
        Err(unreadable) => Err(Refused::new(Why::BadRequest, unreadable.to_string())),
    }
}

//! What each operation does. GET never changes anything.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use rhumb_decision::units::{RegionId, RegionSet, Wall};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admin::auth::{Caller, Doorman, Peer};
use crate::admin::changes::{RejectedView, ReportView, TableView};
use crate::admin::explain::{Question, Standing};
use crate::admin::orders::tagged;
use crate::admin::ownership::OwnershipView;
use crate::admin::problem::{Refused, Why};
use crate::admin::server::AdminState;
use crate::admin::views::{self, RegionSummary};
use crate::admin::weights::TrafficFigures;
use crate::admin::{described, openapi, operations, pages};
use crate::control::operator::{Asker, OperatorError, TableReport};
use crate::control::overseer::{Standbys, standbys};
use crate::control::snapshot::Current;
use crate::telemetry::CertificateEnd;

/// The longest body.
const BODY: usize = 64 * 1024;
/// The longest that a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The longest reason, in bytes.
const REASON: usize = 1_000;

type Shared = State<Arc<AdminState>>;

/// What each region got of this edge in the last seconds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Traffic")]
pub(super) struct TrafficView<'a> {
    /// One for each pair of regions that there is.
    rows: Vec<TrafficRow<'a>>,
}

/// From one region to another.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TrafficRow")]
struct TrafficRow<'a> {
    /// Where requests entered: the region of this edge.
    source: &'a str,
    /// Where they went.
    target: &'a str,
    #[serde(flatten)]
    figures: TrafficFigures,
}

pub(super) async fn traffic(State(state): Shared) -> Response {
    let traffic = state.traffic.borrow().clone();
    let source = state.edge.region.as_str();
    let mut rows = Vec::with_capacity(traffic.len());
    for (target, figures) in traffic.iter() {
        rows.push(TrafficRow { source, target, figures: TrafficFigures::of(figures) });
    }
    Json(TrafficView { rows }).into_response()
}

pub(super) fn routes(state: Arc<AdminState>, doorman: Arc<Doorman>) -> Router {
    operations::router()
        .merge(pages::router())
        .fallback(async || Refused::new(Why::NotFound, "nothing is served at this path"))
        .method_not_allowed_fallback(async || Refused::new(Why::MethodNotAllowed, "see the header Allow"))
        .layer(from_fn_with_state(doorman, guard))
        .with_state(state)
}

/// In front of every route, known or not.
async fn guard(
    State(doorman): State<Arc<Doorman>>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut answer = match doorman.admit(peer, request.method(), request.uri(), request.headers()) {
        Err(refused) => refused.into_response(),
        Ok(_) if request.body().size_hint().lower() > BODY as u64 => too_large().into_response(),
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
    };
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn too_large() -> Refused {
    Refused::new(Why::BodyTooLarge, "send at most 64 KiB")
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(state): Shared) -> Response {
    match state.readiness.why_not() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(state): Shared) -> Response {
    let current = state.reader.current();
    for (region, live) in current.table().regions().iter().zip(&current.live.regions) {
        state.recorder.in_flight(&region.name, live.counts.in_flight());
    }
    state.recorder.table_age(state.clock.now().since(current.origin.loaded_on).duration());
    state.recorder.certificates_at(state.clock.wall());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, format)], state.recorder.text()).into_response()
}

/// Which edge this is and how it is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(super) struct StatusView<'a> {
    edge: EdgeView<'a>,
    version: &'static str,
    ready: bool,
    why_not: Option<&'static str>,
    generation: u64,
    /// Raised by every change of an operator and of the table: what `If-Match` is about.
    revision: u64,
    /// Why operators can change nothing at the moment; `null`: they can.
    journal: Option<String>,
    /// Regions and cells that operators set something for and the table does not have.
    dangling: Vec<String>,
    ownership: OwnershipView,
    tenants: usize,
    table: TableView<'a>,
    in_flight: u64,
    regions: Vec<RegionSummary>,
    certificates: Vec<CertificateView>,
}

/// A certificate in use.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CertificateEnd")]
struct CertificateView {
    /// `listener`, `client_ca`, `region_ca` or `region_client`.
    kind: &'static str,
    name: String,
    days_left: f64,
}

/// Which edge this is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Edge")]
struct EdgeView<'a> {
    id: &'a str,
    region: &'a str,
    zone: Option<&'a str>,
    role: &'static str,
}

pub(super) async fn openapi() -> Response {
    let format = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, format)], openapi::text()).into_response()
}

pub(super) async fn status(State(state): Shared) -> Response {
    let current = state.reader.current();
    let in_flight = current.live.regions.iter().map(|region| u64::from(region.counts.in_flight())).sum();
    let status = StatusView {
        edge: EdgeView {
            id: &state.edge.id,
            region: &state.edge.region,
            zone: state.edge.zone.as_deref(),
            role: "edge",
        },
        version: env!("CARGO_PKG_VERSION"),
        ready: state.readiness.is_ready(),
        why_not: state.readiness.why_not(),
        generation: current.generation().0,
        revision: current.operators.revision,
        journal: current.operators.trouble.clone(),
        dangling: current.operators.state.dangling(current.table()).iter().map(ToString::to_string).collect(),
        ownership: OwnershipView::of(&current, &state),
        tenants: current.table().tenants().len(),
        table: TableView::of(&current),
        in_flight,
        regions: all_regions(&state, &current),
        certificates: certificates(&state),
    };
    tagged(current.operators.revision, StatusCode::OK, &status)
}

fn certificates(state: &AdminState) -> Vec<CertificateView> {
    let now = state.clock.wall();
    let view = |end: CertificateEnd| CertificateView {
        days_left: (end.days_left(now) * 10.0).round() / 10.0,
        kind: end.kind,
        name: end.name,
    };
    state.recorder.certificates().into_iter().map(view).collect()
}

fn all_regions(state: &AdminState, current: &Current) -> Vec<RegionSummary> {
    let standbys = standbys_of(state, current);
    current.table().region_ids().filter_map(|id| summary(state, current, id, &standbys)).collect()
}

fn standbys_of(state: &AdminState, current: &Current) -> Standbys {
    let wall = Wall(u64::try_from(state.clock.wall().as_millis()).unwrap_or(u64::MAX));
    standbys(current, &state.traffic.borrow(), &state.recorder, wall)
}

fn summary(
    state: &AdminState,
    current: &Current,
    id: RegionId,
    standbys: &Standbys,
) -> Option<RegionSummary> {
    let traffic = state.traffic.borrow();
    views::region(current, id, traffic.get(current.table().region_name(id)), standbys, &state.clock)
}

pub(super) async fn regions(State(state): Shared) -> Response {
    let current = state.reader.current();
    tagged(current.operators.revision, StatusCode::OK, &all_regions(&state, &current))
}

pub(super) async fn region(
    State(state): Shared,
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Response {
    let current = state.reader.current();
    let table = current.table();
    let Ok(Path(name)) = name else { return not_found("region") };
    let found = table
        .region_named(&name)
        .and_then(|id| summary(&state, &current, id, &standbys_of(&state, &current)));
    let names = || table.regions().iter().map(|region| region.name.as_ref());
    match found {
        Some(found) => tagged(current.operators.revision, StatusCode::OK, &found),
        None => {
            let remedy = crate::problem::nearest::remedy(&name, "regions", names());
            let detail = format!("the table in force has no region of this name; {remedy}");
            Refused::new(Why::NotFound, detail).into_response()
        }
    }
}

pub(super) async fn tenant(
    State(state): Shared,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Response {
    let current = state.reader.current();
    let found = id.ok().and_then(|Path(id)| views::tenant(&current, &id));
    found.map_or_else(|| not_found("tenant"), |found| Json(found).into_response())
}

fn not_found(what: &str) -> Response {
    Refused::new(Why::NotFound, format!("the table in force has no {what} of this name")).into_response()
}

pub(super) async fn explain(State(state): Shared, request: Request) -> Result<Response, Refused> {
    let mut question: Question = json(request).await?;
    question.hour.get_or_insert(state.clock.hour());
    let current = state.reader.current();
    let edge = Standing {
        region: &state.edge.region,
        encoded_slash: state.encoded_slash,
        saturated: saturated(&current),
    };
    let explanation = question.ask(&current, &edge).map_err(|why| Refused::new(Why::BadRequest, why))?;
    Ok(Json(explanation).into_response())
}

fn saturated(current: &Current) -> RegionSet {
    let full = |id: &RegionId| {
        let most = current.table().region(*id).and_then(|region| region.max_in_flight);
        let now = current.live.region(*id).map_or(0, |live| live.counts.in_flight());
        most.is_some_and(|most| now >= most)
    };
    current.table().region_ids().filter(full).collect()
}

pub(super) async fn table(State(state): Shared) -> Response {
    Json(TableView::of(&state.reader.current())).into_response()
}

pub(super) async fn rejected(State(state): Shared) -> Response {
    let current = state.reader.current();
    Json(RejectedView::of(current.generation().0, current.origin.rejected.as_deref())).into_response()
}

pub(super) async fn diff(State(state): Shared) -> Result<Response, Refused> {
    report(state.operator.diff().await)
}

pub(super) async fn diff_back(State(state): Shared) -> Result<Response, Refused> {
    report(state.operator.diff_back().await)
}

/// Why to read the files; nothing needs to be said.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    /// In one line of at most 1000 bytes.
    #[serde(default)]
    #[schemars(schema_with = "described::reason_perhaps")]
    reason: Option<String>,
}

/// Which table to take, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accept {
    /// As `/v1/table/rejected` shows it.
    hash: String,
    /// In one line of at most 1000 bytes.
    #[schemars(schema_with = "described::reason")]
    reason: String,
}

/// Why to go back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// In one line of at most 1000 bytes.
    #[schemars(schema_with = "described::reason")]
    reason: String,
}

pub(super) async fn reload(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let Reload { reason } = if body.is_empty() { Reload::default() } else { parse(&headers, &body)? };
    let asker = match reason {
        Some(reason) => asker(caller, &reason)?,
        None => who(caller, String::new())?,
    };
    report(state.operator.reload(asker).await)
}

pub(super) async fn accept(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let Accept { hash, reason } = json(request).await?;
    report(state.operator.accept(hash, asker(caller, &reason)?).await)
}

pub(super) async fn rollback(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let Rollback { reason } = json(request).await?;
    report(state.operator.rollback(asker(caller, &reason)?).await)
}

/// Who asks for a change, and why. The doorman lets nobody here who has shown no token.
pub(super) fn asker(caller: Caller, reason: &str) -> Result<Asker, Refused> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON || reason.chars().any(char::is_control) {
        let detail = "reason: write why, in one line of at most 1000 bytes";
        return Err(Refused::new(Why::BadRequest, detail));
    }
    who(caller, reason.to_owned())
}

fn who(caller: Caller, reason: String) -> Result<Asker, Refused> {
    let holder = caller.holder.ok_or_else(|| Refused::new(Why::Unauthorized, "a change needs a token"))?;
    Ok(Asker { actor: holder.name.to_string(), source: caller.source, reason })
}

fn report(done: Result<TableReport, OperatorError>) -> Result<Response, Refused> {
    Ok(Json(ReportView::of(&done?)).into_response())
}

async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Refused> {
    let (headers, body) = whole(request).await?;
    parse(&headers, &body)
}

pub(super) async fn whole(request: Request) -> Result<(HeaderMap, Bytes), Refused> {
    let (parts, body): (_, Body) = request.into_parts();
    match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => Ok((parts.headers, body)),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refused::new(Why::TimedOut, "send it in 10 seconds")),
    }
}

pub(super) fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refused> {
    // A browser asks before it sends JSON to a stranger, and does not ask for anything else.
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let given = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        _ => "",
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refused::new(Why::UnsupportedMediaType, "send `Content-Type: application/json`"));
    }
    let wrong = |what: String| {
        Refused::new(Why::BadRequest, format!("the body is not what is asked for here: {what}"))
    };
    // A list would be taken for the values of an object without its keys.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("write a JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|cause| wrong(cause.to_string()))
}

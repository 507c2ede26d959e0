//! What operators may ask of ownership, in JSON: freezes, transfers, and who owns a tenant after a split brain.
//!
//! Never: decides anything; what is asked goes to the desk, which judges it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use rhumb_decision::owned::{Marked, Subject};
use rhumb_decision::ownership::Mark;
use rhumb_decision::transfer::{Phase, To, Transfer, TransferId, Wanted, Which};
use rhumb_decision::units::{Millis, Wall, Weight};
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::api::{asker, parse, whole};
use crate::admin::auth::Caller;
use crate::admin::orders::{Named, basis, named, percent, rules, span, tagged};
use crate::admin::problem::{Refused, Why};
use crate::admin::server::AdminState;
use crate::control::clock::Clock;
use crate::control::desk::{OwnDone, OwnOrder, Preflight, Terms, words};
use crate::control::journal::WallTime;

mod asked;
mod outlook;

pub(super) use asked::{BeginTransfer, DrillKept, PassedDrill, PlanTransfer, Reason, Resolve, SetMark};

type Shared = State<Arc<AdminState>>;

/// A transfer.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Transfer")]
pub struct TransferView {
    id: u64,
    /// `running`, `waiting`, `done`, `failed` or `cancelled`.
    state: &'static str,
    /// `preflight`, `drain`, `catch_up`, `switch`, `between_waves` or `over`.
    step: &'static str,
    /// What is wanted, in words.
    what: String,
    unplanned: bool,
    /// Tenants that have moved.
    moved: u64,
    /// Tenants that were to move in its first wave when it began.
    tenants: u64,
    /// Tenants that are to move in all its waves; of several an estimate, by the share of the first.
    expected: u64,
    /// When it may be over, as far as that can be told: as fast as until now, and with the time between its waves.
    eta: Option<String>,
    /// Waves that are over.
    waves: u32,
    /// The tenants that are moving at this moment: from, to and how many.
    batch: Option<BatchView>,
    /// Why the last batch failed, or the transfer did; or what the switch waits for.
    trouble: Option<String>,
    /// Whether a batch has its new owner and gateways of the old one do not answer: its writes wait for as long.
    stuck: bool,
    /// Whether an operator has ended it, and the batch under way is still to finish.
    ending: bool,
    /// When its next wave begins.
    next_wave: Option<String>,
    by: String,
    reason: String,
    since: String,
}

/// Tenants that are moving.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Batch")]
struct BatchView {
    from: String,
    to: String,
    tenants: usize,
}

/// A transfer, after what was done to it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TransferChanged")]
pub(super) struct TransferChanged {
    #[serde(flatten)]
    transfer: Option<TransferView>,
    preflight: Option<Preflight>,
    revision: u64,
    dry_run: bool,
}

/// What is set on a tenant or a region, after it was changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MarkChanged")]
pub(super) struct MarkChanged {
    tenant: Option<String>,
    region: Option<String>,
    mark: Option<MarkView>,
    /// Who owns the tenant, where that was changed.
    owner: Option<String>,
    epoch: Option<u64>,
    revision: u64,
    dry_run: bool,
}

/// What an operator set on a tenant or a region.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Mark")]
pub struct MarkView {
    /// `frozen` or `read-only`.
    mode: &'static str,
    by: String,
    reason: String,
    since: String,
    until: Option<String>,
}

impl MarkView {
    /// Of this mark.
    #[must_use]
    pub fn of(marked: &Marked) -> Self {
        Self {
            mode: marked.mark.code(),
            by: marked.by.actor.to_string(),
            reason: marked.by.reason.to_string(),
            since: time(marked.by.since),
            until: marked.by.until.map(time),
        }
    }
}

pub(super) async fn preflight(State(state): Shared, request: Request) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let PlanTransfer { tenant, from, home, share, to, unplanned } = parse(&headers, &body)?;
    let found = state.operator.preflight(wanted((tenant, from, home), share, to, None, unplanned)?).await?;
    Ok(Json(found).into_response())
}

pub(super) async fn begin(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let asked: BeginTransfer = parse(&headers, &body)?;
    let every = span("every", asked.every.as_deref())?;
    let which = (asked.tenant, asked.from, asked.home);
    let order = OwnOrder::Transfer(wanted(which, asked.share, asked.to, every, asked.unplanned)?);
    let terms = Terms {
        overrides: rules(&asked.r#override)?,
        revision: basis(&headers)?,
        dry_run: asked.dry_run,
        ..Terms::default()
    };
    let done = state.operator.own(order, terms, asker(caller, &asked.reason)?).await?;
    let status = if done.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    Ok(changed(&state, done, status))
}

pub(super) async fn all(State(state): Shared) -> Response {
    let current = state.reader.current();
    let all: Vec<TransferView> =
        current.operators.owned.transfers().map(|transfer| view(transfer, &state.clock)).collect();
    tagged(current.operators.revision, StatusCode::OK, &all)
}

pub(super) async fn one(State(state): Shared, id: Named<String>) -> Result<Response, Refused> {
    let text = named(id)?;
    let id = transfer_id(&text)?;
    let current = state.reader.current();
    let transfer = current.operators.owned.transfer(id).ok_or_else(|| no_transfer(&text))?;
    Ok(tagged(current.operators.revision, StatusCode::OK, &view(transfer, &state.clock)))
}

pub(super) async fn cancel(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    let id = transfer_id(&named(id)?)?;
    let done = because(&state, caller, OwnOrder::Cancel(id), request).await?;
    Ok(changed(&state, done, StatusCode::OK))
}

pub(super) async fn release(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    let id = transfer_id(&named(id)?)?;
    let done = because(&state, caller, OwnOrder::Release(id), request).await?;
    Ok(changed(&state, done, StatusCode::OK))
}

pub(super) async fn freeze_tenant(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    mark(&state, caller, Subject::Tenant(named(id)?.into()), request).await
}

pub(super) async fn freeze_region(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    name: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    mark(&state, caller, Subject::Region(named(name)?.into()), request).await
}

pub(super) async fn unfreeze_tenant(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    unmark(&state, caller, Subject::Tenant(named(id)?.into()), request).await
}

pub(super) async fn unfreeze_region(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    name: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    unmark(&state, caller, Subject::Region(named(name)?.into()), request).await
}

pub(super) async fn resolve(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    id: Named<String>,
    request: Request,
) -> Result<Response, Refused> {
    let tenant = named(id)?;
    let (headers, body) = whole(request).await?;
    let Resolve { owner, reason, dry_run } = parse(&headers, &body)?;
    let order = OwnOrder::Resolve { tenant: tenant.as_str().into(), owner: owner.into() };
    let terms = Terms { revision: basis(&headers)?, dry_run, ..Terms::default() };
    let done = state.operator.own(order, terms, asker(caller, &reason)?).await?;
    Ok(marked(&state, &Subject::Tenant(tenant.into()), &done))
}

pub(super) async fn passed_drill(
    State(state): Shared,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let PassedDrill { regions, reason, dry_run } = parse(&headers, &body)?;
    if regions.is_empty() {
        return Err(Refused::new(Why::BadRequest, "regions: name those that took part"));
    }
    let order = OwnOrder::Drilled(regions.iter().map(|region| region.as_str().into()).collect());
    let terms = Terms { revision: basis(&headers)?, dry_run, ..Terms::default() };
    let done = state.operator.own(order, terms, asker(caller, &reason)?).await?;
    let kept = DrillKept { regions, revision: done.revision, dry_run: done.dry_run };
    Ok(tagged(done.revision, StatusCode::OK, &kept))
}

async fn mark(
    state: &AdminState,
    caller: Caller,
    subject: Subject,
    request: Request,
) -> Result<Response, Refused> {
    let (headers, body) = whole(request).await?;
    let SetMark { mode, reason, expires_in, dry_run } = parse(&headers, &body)?;
    let mark = match mode.as_deref() {
        None => Mark::Frozen,
        Some(mode) => Mark::of_code(mode).ok_or_else(|| {
            let detail = format!("mode: write \"frozen\" or \"read-only\"; {mode:?} is neither");
            Refused::new(Why::BadRequest, detail)
        })?,
    };
    let holds_for = span("expires_in", expires_in.as_deref())?;
    let terms = Terms { holds_for, revision: basis(&headers)?, dry_run, ..Terms::default() };
    let order = OwnOrder::Mark { subject: subject.clone(), mark };
    let done = state.operator.own(order, terms, asker(caller, &reason)?).await?;
    Ok(marked(state, &subject, &done))
}

async fn unmark(
    state: &AdminState,
    caller: Caller,
    subject: Subject,
    request: Request,
) -> Result<Response, Refused> {
    let done = because(state, caller, OwnOrder::Unmark(subject.clone()), request).await?;
    Ok(marked(state, &subject, &done))
}

async fn because(
    state: &AdminState,
    caller: Caller,
    order: OwnOrder,
    request: Request,
) -> Result<OwnDone, Refused> {
    let (headers, body) = whole(request).await?;
    let Reason { reason, dry_run } = parse(&headers, &body)?;
    let terms = Terms { revision: basis(&headers)?, dry_run, ..Terms::default() };
    Ok(state.operator.own(order, terms, asker(caller, &reason)?).await?)
}

fn changed(state: &AdminState, done: OwnDone, status: StatusCode) -> Response {
    let changed = TransferChanged {
        transfer: done.transfer.as_ref().map(|transfer| view(transfer, &state.clock)),
        preflight: done.preflight,
        revision: done.revision,
        dry_run: done.dry_run,
    };
    tagged(done.revision, status, &changed)
}

fn marked(state: &AdminState, subject: &Subject, done: &OwnDone) -> Response {
    let current = state.reader.current();
    let owned = &current.operators.owned;
    let (tenant, region) = match subject {
        Subject::Tenant(id) => (Some(id.to_string()), None),
        Subject::Region(name) => (None, Some(name.to_string())),
    };
    let owner = tenant.as_deref().and_then(|tenant| owned.owner(tenant));
    let answer = MarkChanged {
        owner: owner.map(|(owner, _)| owner.to_owned()),
        epoch: owner.map(|(_, epoch)| epoch.0),
        mark: owned.mark(subject).map(MarkView::of),
        tenant,
        region,
        revision: done.revision,
        dry_run: done.dry_run,
    };
    tagged(done.revision, StatusCode::OK, &answer)
}

/// This transfer, at this moment.
pub(super) fn view(transfer: &Transfer, clock: &Clock) -> TransferView {
    let next_wave = match transfer.phase {
        Phase::Waiting { until } => {
            let left = until.since(clock.now()).duration();
            Some(WallTime::from(clock.wall() + left).to_string())
        }
        _ => None,
    };
    let failed = match &transfer.phase {
        Phase::Failed(why) => Some(why.to_string()),
        _ => None,
    };
    let wall = Wall(u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX));
    TransferView {
        id: transfer.id.0,
        state: transfer.phase.code(),
        step: transfer.step_code(),
        what: words(&transfer.wanted),
        unplanned: transfer.wanted.unplanned,
        moved: transfer.moved,
        tenants: transfer.total,
        expected: outlook::expected(transfer),
        eta: outlook::end(transfer, clock.now(), wall).map(time),
        waves: transfer.waves,
        batch: transfer.batch.as_ref().map(|batch| BatchView {
            from: batch.from.to_string(),
            to: batch.to.to_string(),
            tenants: batch.members.len(),
        }),
        trouble: failed.or_else(|| transfer.trouble.as_deref().map(str::to_owned)),
        stuck: transfer.is_stuck(),
        ending: transfer.ending,
        next_wave,
        by: transfer.by.actor.to_string(),
        reason: transfer.by.reason.to_string(),
        since: time(transfer.by.since),
    }
}

fn wanted(
    (tenant, from, home): (Option<String>, Option<String>, Option<String>),
    share: Option<f64>,
    to: Option<String>,
    every: Option<Millis>,
    unplanned: bool,
) -> Result<Wanted, Refused> {
    let wrong = |what: &str| Err(Refused::new(Why::BadRequest, what));
    if tenant.is_some() && (share.is_some() || every.is_some()) {
        return wrong("share and every are of a region's tenants; leave them out for one tenant");
    }
    let share = share.map_or(Ok(Weight::FULL), |share| percent("share", share))?;
    if share == Weight::NONE {
        return wrong("share: write more than 0");
    }
    let (which, otherwise) = match (tenant, from, home) {
        (Some(tenant), None, None) => (Which::Tenant(tenant.into()), To::Standby),
        (None, Some(from), None) => (Which::OwnedBy(from.into(), share), To::Standby),
        (None, None, Some(home)) => (Which::HomeAt(home.into(), share), To::Home),
        _ => return wrong("say whose ownership is to move: one of \"tenant\", \"from\" and \"home\""),
    };
    let to = match to.as_deref() {
        None => otherwise,
        Some("standby") => To::Standby,
        Some("home") => To::Home,
        Some(region) => To::Region(region.into()),
    };
    Ok(Wanted { which, to, unplanned, every })
}

fn transfer_id(text: &str) -> Result<TransferId, Refused> {
    text.parse().map(TransferId).map_err(|_| no_transfer(text))
}

fn no_transfer(id: &str) -> Refused {
    Refused::new(Why::NotFound, format!("there is no transfer {id}; GET /v1/transfers lists them"))
}

fn time(wall: Wall) -> String {
    WallTime::from_millis(wall.0).to_string()
}

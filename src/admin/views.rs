//! What regions, tenants and decisions look like in JSON. More keys may come; those that are here stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rhumb_decision::health::{EndpointView, Passive};
use rhumb_decision::owned::Subject;
use rhumb_decision::scope::Scope;
use rhumb_decision::standby::Readiness;
use rhumb_decision::table::{Cell, Region, Table};
use rhumb_decision::units::{CapabilityId, Millis, RegionId};
use rhumb_decision::{Decision, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::transfers::MarkView;
use crate::admin::weights::{self, DrainView, TrafficFigures, WeightView};
use crate::control::clock::Clock;
use crate::control::overseer::Standbys;
use crate::control::snapshot::Current;
use crate::control::traffic::Figures;

/// Where a request goes, and why.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Explanation {
    /// The tenant; `None`: none was named, or the table does not have it.
    pub tenant: Option<String>,
    /// `read` or `write`.
    pub operation: &'static str,
    /// `local` or `strong`; `None` for a write, and for what was refused before.
    pub consistency: Option<&'static str>,
    /// The route that matched.
    pub route: Option<String>,
    /// The service.
    pub service: String,
    /// What a region must be able to do.
    pub capability: String,
    /// The policy.
    pub policy: String,
    /// Where it enters.
    pub source_region: String,
    /// Who owns the tenant.
    pub owner_region: Option<String>,
    /// The epoch of that.
    pub epoch: Option<u64>,
    /// Who takes it.
    pub target_region: Option<String>,
    /// Why that is not the first preference.
    pub failover_reason: Option<&'static str>,
    /// Why nobody takes it.
    pub refusal: Option<RefusalView>,
    /// One verdict for each region that was asked, in that order.
    pub candidates: Vec<CandidateView>,
    /// The snapshot that it was decided on.
    pub generation: u64,
}

/// An answer that Rhumb would give by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refusal")]
pub struct RefusalView {
    /// The stable code.
    pub reason: &'static str,
    /// The HTTP status.
    pub status: u16,
}

/// What became of one region.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Candidate")]
pub struct CandidateView {
    /// Its name.
    pub region: String,
    /// The code of the verdict.
    pub verdict: &'static str,
}

/// The decision, as `rhumb explain` shows it; `snapshot` is the one that it was made on.
#[must_use]
pub fn explanation(decision: &Decision, snapshot: &Snapshot) -> Explanation {
    let table = snapshot.table();
    let name = |region| table.region_name(region).to_owned();
    let candidates = decision.verdicts.as_slice().iter();
    Explanation {
        tenant: decision.tenant.map(|tenant| table.tenants().id(tenant).to_owned()),
        operation: decision.operation.code(),
        consistency: decision.consistency.map(rhumb_decision::Consistency::code),
        route: decision.route.and_then(|route| table.route(route)).map(|route| route.name.to_string()),
        service: table.service_name(decision.service).to_owned(),
        capability: table.capability_name(decision.capability).to_owned(),
        policy: table.policy(decision.policy).map(|policy| policy.name.to_string()).unwrap_or_default(),
        source_region: name(decision.source),
        owner_region: decision.owner.map(name),
        epoch: decision.epoch.map(|epoch| epoch.0),
        target_region: decision.target().map(name),
        failover_reason: decision.failover().map(rhumb_decision::reason::FailoverReason::code),
        refusal: decision
            .refusal()
            .map(|refusal| RefusalView { reason: refusal.code(), status: refusal.status() }),
        candidates: candidates
            .map(|candidate| CandidateView {
                region: name(candidate.region),
                verdict: candidate.verdict.code(),
            })
            .collect(),
        generation: decision.generation.0,
    }
}

/// A region: what the table says of it, and how it is.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Region")]
pub struct RegionSummary {
    region: String,
    role: &'static str,
    jurisdiction: String,
    weight: WeightView,
    health: &'static str,
    capabilities: BTreeMap<String, &'static str>,
    endpoints: Vec<EndpointSummary>,
    replication: BTreeMap<String, Replication>,
    round_trip_ms: Option<f64>,
    in_flight: u32,
    max_in_flight: Option<u32>,
    capacity: Option<u32>,
    /// What it gets of this edge.
    traffic: Option<TrafficFigures>,
    /// The drain that says its weight.
    drain: Option<DrainView>,
    /// What an operator set on writes of all that it owns.
    mark: Option<MarkView>,
    /// How ready it is to take over, where it is a standby of any tenant.
    readiness: Option<ReadinessView>,
    cells: BTreeMap<String, CellView>,
}

/// How ready a standby is.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub struct ReadinessView {
    /// The share of its checks that pass: 0.0 to 1.0.
    score: f64,
    /// Those that do not.
    failing: Vec<FailingView>,
}

#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Failing")]
struct FailingView {
    /// `capabilities`, `lag`, `headroom`, `certificates`, `synthetic` or `drill`.
    check: &'static str,
    why: String,
}

impl ReadinessView {
    /// Of this readiness.
    #[must_use]
    pub fn of(ready: &Readiness) -> Self {
        let failing = ready.failing.iter();
        Self {
            score: (ready.score * 100.0).round() / 100.0,
            failing: failing
                .map(|(check, why)| FailingView { check: check.code(), why: why.clone() })
                .collect(),
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cell")]
struct CellView {
    weight: WeightView,
    /// The drain that says its weight.
    drain: Option<DrainView>,
}

#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
struct EndpointSummary {
    address: SocketAddr,
    declared: Option<String>,
    zone: Option<String>,
    cell: Option<String>,
    weight: u16,
    status: &'static str,
    checked: &'static str,
    passive: &'static str,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, JsonSchema)]
struct Replication {
    lag_seconds: f64,
}

/// The region of this id; `None` for an id of another table.
///
/// - `figures`: what it gets of this edge; `None`: nobody has measured it yet.
/// - `standbys`: how ready standbys are.
#[must_use]
pub fn region(
    current: &Current,
    id: RegionId,
    figures: Option<&Figures>,
    standbys: &Standbys,
    clock: &Clock,
) -> Option<RegionSummary> {
    let table = current.table();
    let region = table.region(id)?;
    let view = current.health().region(id);
    let capabilities = (0..).map(CapabilityId).zip(table.capabilities());
    let lags = table.region_ids().filter_map(|of| Some((of, view?.lag_behind(of)?)));
    let whole = Scope::region(&region.name);
    let drain_of =
        |scope: &Scope| current.operators.state.drain_of(scope).map(|held| weights::drain(held, clock));
    let cell = |Cell { name, .. }: &Cell| {
        let scope = Scope::cell(&region.name, name);
        let view = CellView { weight: weights::weight(current, &scope)?, drain: drain_of(&scope) };
        Some((name.to_string(), view))
    };
    Some(RegionSummary {
        region: region.name.to_string(),
        role: region.role.code(),
        jurisdiction: region.jurisdiction.to_string(),
        weight: weights::weight(current, &whole)?,
        health: view.map_or("UNKNOWN", |view| view.overall().code()),
        capabilities: capabilities
            .map(|(capability, name)| {
                (name.to_string(), view.map_or("UNKNOWN", |view| view.status(capability).code()))
            })
            .collect(),
        endpoints: view
            .map_or_else(Vec::new, |view| view.endpoints.iter().map(|seen| endpoint(region, seen)).collect()),
        replication: lags
            .filter(|(of, _)| *of != id)
            .map(|(of, lag)| (table.region_name(of).to_owned(), Replication { lag_seconds: seconds(lag) }))
            .collect(),
        round_trip_ms: view.and_then(|view| view.round_trip).map(|micros| micros.0 as f64 / 1_000.0),
        in_flight: current.live.region(id).map_or(0, |live| live.counts.in_flight()),
        max_in_flight: region.max_in_flight,
        capacity: region.capacity,
        traffic: figures.map(TrafficFigures::of),
        drain: drain_of(&whole),
        mark: current.operators.owned.mark(&Subject::Region(region.name.clone())).map(MarkView::of),
        readiness: standbys.get(&region.name).map(ReadinessView::of),
        cells: region.cells.iter().filter_map(cell).collect(),
    })
}

fn seconds(lag: Millis) -> f64 {
    lag.duration().as_secs_f64()
}

fn endpoint(region: &Region, seen: &EndpointView) -> EndpointSummary {
    let declared = region.endpoints.get(usize::from(seen.declared));
    let cell = seen.cell.and_then(|cell| region.cells.get(cell.index()));
    EndpointSummary {
        address: seen.address,
        declared: declared.map(|endpoint| endpoint.address.to_string()),
        zone: seen.zone.as_deref().map(str::to_owned),
        cell: cell.map(|cell| cell.name.to_string()),
        weight: seen.weight,
        status: seen.overall().code(),
        checked: seen.checked.code(),
        passive: match seen.passive {
            Passive::Trusted => "trusted",
            Passive::Ejected => "ejected",
            Passive::OnTrial(_) => "on_trial",
        },
    }
}

/// A tenant, as it is owned now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
pub struct TenantView {
    tenant: String,
    home: String,
    owner: String,
    epoch: u64,
    state: &'static str,
    standby: Vec<String>,
    replicas: Vec<String>,
    residency: Vec<String>,
    policy: String,
    cell: Option<String>,
    /// What an operator set on it.
    mark: Option<MarkView>,
    /// The same on all that its owner owns.
    owner_mark: Option<MarkView>,
    /// The owner and epoch that were moved at run time, over its row; `null`: its row says who owns it.
    moved: Option<MovedView>,
}

/// An ownership that was moved at run time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Moved")]
struct MovedView {
    owner: String,
    epoch: u64,
    /// Whether the row has a higher epoch by now, and so its home owns the tenant.
    overruled: bool,
}

/// The tenant of this id; `None` where the table does not have it.
#[must_use]
pub fn tenant(current: &Current, id: &str) -> Option<TenantView> {
    let (table, owned): (&Table, _) = (current.table(), &current.operators.owned);
    let row = table.tenants().find(id)?;
    let ownership = current.ownership().of(id, &row);
    let owner = table.region_name(ownership.owner);
    let moved = owned.owner(id).map(|(owner, epoch)| MovedView {
        owner: owner.to_owned(),
        epoch: epoch.0,
        overruled: epoch < row.epoch,
    });
    let profile = row.profile;
    let names = |ids: &[RegionId]| ids.iter().map(|id| table.region_name(*id).to_owned()).collect();
    Some(TenantView {
        tenant: id.to_owned(),
        home: table.region_name(profile.home).to_owned(),
        owner: owner.to_owned(),
        epoch: ownership.epoch.0,
        state: ownership.state.code(),
        standby: names(&profile.standby),
        replicas: names(&profile.replicas),
        residency: profile.residency.iter().map(ToString::to_string).collect(),
        policy: table.policy(profile.policy).map(|policy| policy.name.to_string()).unwrap_or_default(),
        cell: profile.cell.as_deref().map(str::to_owned),
        mark: owned.mark(&Subject::Tenant(id.into())).map(MarkView::of),
        owner_mark: owned.mark(&Subject::Region(owner.into())).map(MarkView::of),
        moved,
    })
}

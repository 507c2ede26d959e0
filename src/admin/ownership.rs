//! What was done to ownership at run time, in JSON: what is set, what moves, what waits for it, and who is disputed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use rhumb_decision::owned::{Marked, Subject};
use rhumb_decision::ownership::State as Owning;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::server::AdminState;
use crate::admin::transfers::{MarkView, TransferView, view};
use crate::control::snapshot::Current;

/// So many of what may be many are shown.
const FIRST: usize = 100;

/// What was done to ownership at run time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Ownership")]
pub(super) struct OwnershipView {
    /// Tenants whose owner was moved at run time.
    moved: usize,
    /// Regions and tenants whose writes are paused or refused by an operator; the first hundred.
    marked: Vec<String>,
    /// The same, with who set it, why and until when.
    marks: Vec<SetView>,
    /// Transfers under way.
    transfers: Vec<u64>,
    /// The same in full.
    under_way: Vec<TransferView>,
    /// Writes that wait for their tenant's ownership.
    held_writes: u64,
}

/// What an operator set on a tenant or a region.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetMarkOn")]
struct SetView {
    tenant: Option<String>,
    region: Option<String>,
    #[serde(flatten)]
    mark: MarkView,
}

impl SetView {
    fn of((subject, marked): (&Subject, &Marked)) -> Self {
        let (tenant, region) = match subject {
            Subject::Tenant(id) => (Some(id.to_string()), None),
            Subject::Region(name) => (None, Some(name.to_string())),
        };
        Self { tenant, region, mark: MarkView::of(marked) }
    }
}

impl OwnershipView {
    /// What is in force.
    pub fn of(current: &Current, state: &AdminState) -> Self {
        let owned = &current.operators.owned;
        let marked = owned.marks().take(FIRST);
        let under_way = || owned.transfers().filter(|transfer| !transfer.phase.is_over());
        Self {
            moved: owned.moved(),
            marked: marked.map(|(subject, set)| format!("{subject}: {}", set.mark.code())).collect(),
            marks: owned.marks().take(FIRST).map(SetView::of).collect(),
            transfers: under_way().map(|transfer| transfer.id.0).collect(),
            under_way: under_way().map(|transfer| view(transfer, &state.clock)).collect(),
            held_writes: state.recorder.writes_waiting(),
        }
    }
}

/// Tenants of which two owners are known at one epoch: nobody may write them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Disputes")]
pub(super) struct DisputesView {
    /// How many there are.
    count: usize,
    /// The first hundred, by name.
    first: Vec<DisputeView>,
}

/// One of them.
#[derive(Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[schemars(rename = "Dispute")]
struct DisputeView {
    tenant: String,
    epoch: u64,
    /// Those who are known to claim it: its row's home, or whoever it was moved to. Where another process told of a
    /// further one, the audit has its name.
    claimed_by: Vec<String>,
}

/// Looks at every tenant of which anything was said at run time, so it is a question of its own.
pub(super) async fn disputes(State(state): State<Arc<AdminState>>) -> Response {
    let current = state.reader.current();
    let (table, owned) = (current.table(), &current.operators.owned);
    let mut found: Vec<_> = owned
        .suspects()
        .filter_map(|tenant| {
            let row = table.tenants().find(tenant)?;
            let now = current.ownership().of(tenant, &row);
            if now.state != Owning::Disputed {
                return None;
            }
            let by_row = table.region_name(now.owner);
            let other = owned.owner(tenant).filter(|(owner, epoch)| *epoch == now.epoch && *owner != by_row);
            let claimed_by = [Some(by_row), other.map(|(owner, _)| owner)];
            let claimed_by = claimed_by.into_iter().flatten().map(str::to_owned).collect();
            Some(DisputeView { tenant: tenant.to_owned(), epoch: now.epoch.0, claimed_by })
        })
        .collect();
    found.sort_unstable();
    let count = found.len();
    found.truncate(FIRST);
    Json(DisputesView { count, first: found }).into_response()
}

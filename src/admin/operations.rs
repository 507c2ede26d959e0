//! Everything that may be asked, in one list: it is served by the router, guarded by the doorman and described in
//! `/v1/openapi.json`. Whoever adds something adds it here.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::admin::api::{self, Accept, Reload, Rollback, StatusView, TrafficView};
use crate::admin::audit::{self, Audit, VerifiedView};
use crate::admin::changes::{RejectedView, ReportView, TableView};
use crate::admin::explain::Question;
use crate::admin::openapi;
use crate::admin::orders::{self, Because, BeginDrain, DrainChanged, PlanDrain, SetWeight, WeightChanged};
use crate::admin::ownership::{self, DisputesView};
use crate::admin::problem::Why;
use crate::admin::server::AdminState;
use crate::admin::stream;
use crate::admin::transfers::{
    self, BeginTransfer, DrillKept, MarkChanged, PassedDrill, PlanTransfer, Reason, Resolve, SetMark,
    TransferChanged, TransferView,
};
use crate::admin::views::{Explanation, RegionSummary, TenantView};
use crate::admin::weights::DrainView;
use crate::control::desk::{PlanReport, Preflight};

/// One thing that may be asked.
pub(super) struct Operation {
    pub method: Method,
    /// With `{name}` where a name stands.
    pub path: &'static str,
    /// In a line.
    pub says: &'static str,
    pub needs: Needs,
    /// The body that it takes.
    pub asks: Option<Shape>,
    /// Whether a request without a body asks too.
    pub may_be_empty: bool,
    /// What its query may say.
    pub query: Option<Shape>,
    /// Whether something new comes of it, unless it is a dry run.
    pub makes: bool,
    pub gives: Gives,
    /// Why it may refuse, besides what every operation may be refused for.
    pub refuses: Vec<Why>,
    /// Another status that is answered in the same form, and what it says.
    pub also: Option<(u16, &'static str)>,
    run: MethodRouter<Arc<AdminState>>,
}

/// What a caller has to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Nothing: probes.
    Nothing,
    /// A token, unless reads are open.
    Read,
    /// A token with the right to write.
    Write,
}

/// Describes a body.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What is answered.
pub(super) enum Gives {
    Text,
    Json(Shape),
    /// Server-sent events.
    Events,
}

/// Everything, in the order in which it is described.
pub(super) fn all() -> Vec<Operation> {
    vec![
        get("/healthz", "Whether the process lives", api::healthz).open(),
        get("/readyz", "Whether the edge takes requests", api::readyz)
            .open()
            .or(503, "not yet, or not any more: the reason in a word"),
        get("/metrics", "What was counted, for Prometheus", api::metrics),
        get("/v1/openapi.json", "This description", api::openapi).gives::<openapi::Document>(),
        get("/v1/status", "Which edge this is and how it is", api::status).gives::<StatusView>(),
        get("/v1/regions", "Every region: weights, health, lag", api::regions).gives::<Vec<RegionSummary>>(),
        get("/v1/regions/{region}", "One region", api::region)
            .gives::<RegionSummary>()
            .refuses(&[Why::NotFound]),
        get("/v1/tenants/{tenant}", "A tenant, as it is owned now", api::tenant)
            .gives::<TenantView>()
            .refuses(&[Why::NotFound]),
        post("/v1/explain", "Where a request would go, and why; changes nothing", api::explain)
            .asks::<Question>()
            .reads()
            .gives::<Explanation>(),
        get("/v1/traffic", "What each region got of this edge in the last seconds", api::traffic)
            .gives::<TrafficView>(),
        post("/v1/plan/drain", "What a weight would do, before it is set; changes nothing", orders::plan)
            .asks::<PlanDrain>()
            .reads()
            .gives::<PlanReport>()
            .refuses(&[Why::NotFound, Why::Conflict]),
        put("/v1/regions/{region}/weight", "Sets a region's weight at once", orders::set_region)
            .asks::<SetWeight>()
            .gives::<WeightChanged>()
            .asks_desk(),
        delete("/v1/regions/{region}/weight", "Undoes what operators set there", orders::clear_region)
            .asks::<Because>()
            .gives::<WeightChanged>()
            .asks_desk(),
        put("/v1/regions/{region}/cells/{cell}/weight", "Sets a cell's weight at once", orders::set_cell)
            .asks::<SetWeight>()
            .gives::<WeightChanged>()
            .asks_desk(),
        delete(
            "/v1/regions/{region}/cells/{cell}/weight",
            "Undoes what operators set there",
            orders::clear_cell,
        )
        .asks::<Because>()
        .gives::<WeightChanged>()
        .asks_desk(),
        get("/v1/drains", "Drains, oldest first", orders::drains).gives::<Vec<DrainView>>(),
        post("/v1/drains", "Begins a drain", orders::begin)
            .asks::<BeginDrain>()
            .gives::<DrainChanged>()
            .made()
            .asks_desk(),
        get("/v1/drains/{id}", "One drain", orders::one_drain).gives::<DrainView>().refuses(&[Why::NotFound]),
        delete("/v1/drains/{id}", "Stops a drain where it is", orders::stop)
            .asks::<Because>()
            .gives::<DrainChanged>()
            .asks_desk(),
        post("/v1/drains/{id}/pause", "Pauses a drain", orders::pause)
            .asks::<Because>()
            .gives::<DrainChanged>()
            .asks_desk(),
        post("/v1/drains/{id}/resume", "Lets a paused drain go on", orders::resume)
            .asks::<Because>()
            .gives::<DrainChanged>()
            .asks_desk(),
        post("/v1/drains/{id}/undo", "Lets a drain go back the way it came", orders::undo)
            .asks::<Because>()
            .gives::<DrainChanged>()
            .asks_desk(),
        post("/v1/plan/transfer", "What a transfer would meet; changes nothing", transfers::preflight)
            .asks::<PlanTransfer>()
            .reads()
            .gives::<Preflight>()
            .refuses(&[Why::NotFound, Why::Conflict]),
        get("/v1/transfers", "Transfers, oldest first", transfers::all).gives::<Vec<TransferView>>(),
        post("/v1/transfers", "Begins a transfer of ownership", transfers::begin)
            .asks::<BeginTransfer>()
            .gives::<TransferChanged>()
            .made()
            .asks_desk(),
        get("/v1/transfers/{id}", "One transfer", transfers::one)
            .gives::<TransferView>()
            .refuses(&[Why::NotFound]),
        delete("/v1/transfers/{id}", "Ends a transfer once nothing of it is half-way", transfers::cancel)
            .asks::<Reason>()
            .gives::<TransferChanged>()
            .asks_desk(),
        post(
            "/v1/transfers/{id}/release",
            "Lets a batch go whose old owner is gone for good",
            transfers::release,
        )
        .asks::<Reason>()
        .gives::<TransferChanged>()
        .asks_desk(),
        get("/v1/disputes", "Tenants of which two owners are known at one epoch", ownership::disputes)
            .gives::<DisputesView>(),
        post("/v1/drills", "Keeps when a drill was passed, and with which regions", transfers::passed_drill)
            .asks::<PassedDrill>()
            .gives::<DrillKept>()
            .asks_desk(),
        post("/v1/tenants/{tenant}/freeze", "Pauses a tenant's writes", transfers::freeze_tenant)
            .asks::<SetMark>()
            .gives::<MarkChanged>()
            .asks_desk(),
        post("/v1/tenants/{tenant}/unfreeze", "Lets a tenant be written again", transfers::unfreeze_tenant)
            .asks::<Reason>()
            .gives::<MarkChanged>()
            .asks_desk(),
        post(
            "/v1/tenants/{tenant}/resolve",
            "Says who owns a tenant, under a higher epoch",
            transfers::resolve,
        )
        .asks::<Resolve>()
        .gives::<MarkChanged>()
        .asks_desk(),
        post(
            "/v1/regions/{region}/freeze",
            "Pauses writes of all that a region owns",
            transfers::freeze_region,
        )
        .asks::<SetMark>()
        .gives::<MarkChanged>()
        .asks_desk(),
        post(
            "/v1/regions/{region}/unfreeze",
            "Lets what a region owns be written again",
            transfers::unfreeze_region,
        )
        .asks::<Reason>()
        .gives::<MarkChanged>()
        .asks_desk(),
        get("/v1/audit", "What was done, by whom and why", audit::audit)
            .queried::<audit::Wanted>()
            .gives::<Audit>()
            .refuses(&[Why::BadRequest, Why::Conflict]),
        get("/v1/audit/verify", "Whether the audit is whole", audit::verify)
            .gives::<VerifiedView>()
            .refuses(&[Why::Conflict]),
        get("/v1/events", "What happens, as it happens", stream::events).streams().refuses(&[Why::Conflict]),
        get("/v1/table", "The table in force", api::table).gives::<TableView>(),
        get("/v1/table/rejected", "The table that was read and not taken", api::rejected)
            .gives::<RejectedView>(),
        get("/v1/table/diff", "What the files would change", api::diff).gives::<ReportView>().asks_steward(),
        post("/v1/table/reload", "Reads the files now", api::reload)
            .asks::<Reload>()
            .may_be_empty()
            .gives::<ReportView>()
            .asks_steward(),
        post("/v1/table/accept", "Takes a table that was refused for how much it moves", api::accept)
            .asks::<Accept>()
            .gives::<ReportView>()
            .asks_steward(),
        get("/v1/table/rollback", "What going back by one table would change", api::diff_back)
            .gives::<ReportView>()
            .asks_steward(),
        post("/v1/table/rollback", "Goes back by one table", api::rollback)
            .asks::<Rollback>()
            .gives::<ReportView>()
            .asks_steward(),
    ]
}

/// The paths that are asked by POST and change nothing.
pub(super) fn reads_by_post() -> Vec<&'static str> {
    let reads = |one: &Operation| one.method == Method::POST && one.needs == Needs::Read;
    all().into_iter().filter(reads).map(|one| one.path).collect()
}

/// A router of all of them, and of nothing else.
pub(super) fn router() -> Router<Arc<AdminState>> {
    all().into_iter().fold(Router::new(), |router, one| router.route(one.path, one.run))
}

fn get<H: Handler<T, Arc<AdminState>>, T: 'static>(
    path: &'static str,
    says: &'static str,
    run: H,
) -> Operation {
    Operation::new(Method::GET, path, says, Needs::Read, on(MethodFilter::GET, run))
}

fn post<H: Handler<T, Arc<AdminState>>, T: 'static>(
    path: &'static str,
    says: &'static str,
    run: H,
) -> Operation {
    Operation::new(Method::POST, path, says, Needs::Write, on(MethodFilter::POST, run))
}

fn put<H: Handler<T, Arc<AdminState>>, T: 'static>(
    path: &'static str,
    says: &'static str,
    run: H,
) -> Operation {
    Operation::new(Method::PUT, path, says, Needs::Write, on(MethodFilter::PUT, run))
}

fn delete<H: Handler<T, Arc<AdminState>>, T: 'static>(
    path: &'static str,
    says: &'static str,
    run: H,
) -> Operation {
    Operation::new(Method::DELETE, path, says, Needs::Write, on(MethodFilter::DELETE, run))
}

impl Operation {
    fn new(
        method: Method,
        path: &'static str,
        says: &'static str,
        needs: Needs,
        run: MethodRouter<Arc<AdminState>>,
    ) -> Self {
        let (asks, gives, refuses) = (None, Gives::Text, Vec::new());
        let (query, makes) = (None, false);
        Self {
            method,
            path,
            says,
            needs,
            asks,
            may_be_empty: false,
            query,
            makes,
            gives,
            refuses,
            also: None,
            run,
        }
    }

    /// Needs no token.
    fn open(mut self) -> Self {
        self.needs = Needs::Nothing;
        self
    }

    /// May be answered with this status too.
    fn or(mut self, status: u16, says: &'static str) -> Self {
        self.also = Some((status, says));
        self
    }

    /// Changes nothing, whatever its method.
    fn reads(mut self) -> Self {
        self.needs = Needs::Read;
        self
    }

    fn asks<T: JsonSchema>(mut self) -> Self {
        self.asks = Some(SchemaGenerator::subschema_for::<T>);
        self.refuses(&[Why::BadRequest, Why::UnsupportedMediaType, Why::TimedOut])
    }

    fn queried<T: JsonSchema>(mut self) -> Self {
        self.query = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Something new comes of it.
    fn made(mut self) -> Self {
        self.makes = true;
        self
    }

    fn streams(mut self) -> Self {
        self.gives = Gives::Events;
        self
    }

    fn may_be_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    fn gives<T: JsonSchema>(mut self) -> Self {
        self.gives = Gives::Json(SchemaGenerator::subschema_for::<T>);
        self
    }

    fn refuses(mut self, why: &[Why]) -> Self {
        self.refuses.extend(why);
        self
    }

    /// The desk may say no.
    fn asks_desk(self) -> Self {
        self.refuses(&[
            Why::NotFound,
            Why::Conflict,
            Why::RuleBroken,
            Why::PlanMoved,
            Why::RevisionPassed,
            Why::NotKept,
        ])
    }

    /// The steward may say no, or be gone.
    fn asks_steward(self) -> Self {
        self.refuses(&[Why::Conflict, Why::TableRefused, Why::Stopping])
    }
}

//! A plan with names and rates: what a change of weight would do, for people and programs to read before it is done.
//!
//! Its id is a digest of all that it promises. So a plan that was shown can be held to: the same question, asked again,
//! has the same id exactly as long as the world has not moved in a way that matters. Rates are not part of it.

use std::sync::Arc;

use rhumb_decision::operated::Operated;
use rhumb_decision::plan::{self, Plan, Question};
use rhumb_decision::safety::{Broken, Standing as SafetyStanding, broken};
use rhumb_decision::scope::{Place, Scope};
use rhumb_decision::table::Table;
use rhumb_decision::units::{RegionId, Weight};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::Standing;

/// A weight in percent; a whole number where it is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, JsonSchema)]
pub struct Percent(#[schemars(with = "f64", range(min = 0, max = 100))] pub Weight);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0.as_hundredths() {
            whole if whole % 100 == 0 => out.serialize_u16(whole / 100),
            _ => out.serialize_f64(self.0.as_percent()),
        }
    }
}

/// What a change of one weight would do.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub struct PlanReport {
    /// A digest of what is promised; see the module.
    pub id: String,
    /// The region.
    pub region: String,
    /// Its cell, where it is about one.
    pub cell: Option<String>,
    /// The weight in effect.
    pub from: Percent,
    /// The weight that is asked about.
    pub to: Percent,
    /// Tenants of the table.
    pub tenants: usize,
    /// Tenants whose reads would move, stranded ones not among them.
    pub tenants_moving: usize,
    /// Tenants whose policy divides reads by session or request, and of whom a part would move.
    pub tenants_divided: usize,
    /// Tenants with nowhere legal to go.
    pub tenants_stranded: StrandedReport,
    /// Tenants that nobody serves now and somebody would.
    pub tenants_served_again: usize,
    /// Where reads would move.
    pub destinations: Vec<DestinationReport>,
    /// The share of all tenants' reads that would move: 0.0 to 1.0.
    pub reads_share: f64,
    /// Requests a second that would move, by what this edge has sent there in the last seconds.
    pub requests_per_second: f64,
    /// What becomes of writes.
    pub writes_staying: WritesReport,
    /// What becomes of those whom the table does not have.
    pub placement: Option<PlacementReport>,
    /// Safety rules that it would break.
    pub rules_broken: Vec<RuleReport>,
    /// The revision that it was made on.
    pub revision: u64,
    /// The generation of the snapshot that it was made on.
    pub generation: u64,
}

/// Tenants with nowhere legal to go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Stranded")]
pub struct StrandedReport {
    /// How many.
    pub count: usize,
    /// The first hundred, by name.
    pub first: Vec<String>,
}

/// One place that reads would move to.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Destination")]
pub struct DestinationReport {
    /// The region.
    pub region: String,
    /// Its cell, where the plan is of a cell.
    pub cell: Option<String>,
    /// Tenants that would move there.
    pub tenants: usize,
    /// Requests a second that it would get in addition.
    pub requests_per_second: f64,
    /// Requests a second that it has room for now, against its capacity; `None`: none is declared.
    pub headroom: Option<f64>,
    /// The same once it has what would move there; below 0: more than it is built for.
    pub headroom_after: Option<f64>,
}

/// What becomes of writes, in tenants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "WritesStaying")]
pub struct WritesReport {
    /// Those whose writes stay.
    pub tenants: usize,
    /// Why.
    pub why: &'static str,
    /// Those of whose writes some or all would move.
    pub moving: usize,
    /// Those of whose writes some or all would be refused.
    pub stranded: usize,
}

/// What becomes of those whom the table does not have, in shares of them.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlacementMoved")]
pub struct PlacementReport {
    /// The placement.
    pub placement: String,
    /// What would move.
    pub moving: f64,
    /// What nobody would take.
    pub stranded: f64,
}

/// A safety rule that would be broken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "RuleBroken")]
pub struct RuleReport {
    /// Its code.
    pub rule: &'static str,
    /// Why.
    pub why: String,
}

/// What a change of the weight of `place` to `to` would do.
///
/// - `state`, `revision`: the operators' state that it is judged on.
pub(super) fn report(
    standing: &Standing,
    state: &Operated,
    revision: u64,
    place: Place,
    to: Weight,
) -> PlanReport {
    let snapshot = &standing.current.snapshot;
    let table = snapshot.table();
    let question = Question { source: standing.source, place, to, hour: standing.hour };
    let plan = plan::plan(snapshot, &question);
    let rules = rules(table, state, place, to, &plan);
    let scope = place.scope(table);
    let leaving = if plan.reads_here > 0.0 { plan.reads_leaving / plan.reads_here } else { 0.0 };
    let moving = standing.traffic.get(&scope.region).map_or(0.0, |figures| figures.reads * leaving);
    let moved = plan.destinations.iter().fold(0.0, |sum, destination| sum + destination.reads);
    let destinations = plan.destinations.iter().map(|destination| {
        let added = if moved > 0.0 { moving * destination.reads / moved } else { 0.0 };
        of_destination(standing, table, destination, added)
    });
    let Scope { region, cell } = scope;
    let mut report = PlanReport {
        id: String::new(),
        region: region.into(),
        cell: cell.map(Into::into),
        from: Percent(plan.from),
        to: Percent(to),
        tenants: plan.tenants,
        tenants_moving: plan.moving,
        tenants_divided: plan.divided,
        tenants_stranded: StrandedReport {
            count: plan.stranded.count,
            first: plan.stranded.first.iter().map(ToString::to_string).collect(),
        },
        tenants_served_again: plan.served_again,
        destinations: destinations.collect(),
        reads_share: plan.reads_share,
        requests_per_second: moving,
        writes_staying: WritesReport {
            tenants: plan.writes.staying,
            why: "writes follow ownership, not weight; a transfer moves them",
            moving: plan.writes.moving,
            stranded: plan.writes.stranded,
        },
        placement: plan.placement.as_ref().map(|placed| PlacementReport {
            placement: table.placement(placed.placement).map(|p| p.name.to_string()).unwrap_or_default(),
            moving: placed.moving,
            stranded: placed.stranded,
        }),
        rules_broken: rules
            .into_iter()
            .map(|Broken { rule, why }| RuleReport { rule: rule.code(), why })
            .collect(),
        revision,
        generation: plan.generation.0,
    };
    report.id = id(&report);
    report
}

/// The safety rules that a weight of `to` would break; `plan` is what it would move.
fn rules(table: &Arc<Table>, state: &Operated, place: Place, to: Weight, plan: &Plan) -> Vec<Broken> {
    let before = state.weights(table);
    let after = place.with_weight(before.clone(), to);
    let standing = |weights| SafetyStanding { table, weights };
    broken(&standing(&before), &standing(&after), Some(plan))
}

fn of_destination(
    standing: &Standing,
    table: &Table,
    destination: &plan::Destination,
    added: f64,
) -> DestinationReport {
    let Scope { region, cell } = destination.place.scope(table);
    let headroom = capacity(table, destination.place.region).map(|capacity| {
        let now = standing.traffic.get(&region).copied().unwrap_or_default();
        capacity - now.requests
    });
    DestinationReport {
        region: region.into(),
        cell: cell.map(Into::into),
        tenants: destination.tenants,
        requests_per_second: added,
        headroom,
        headroom_after: headroom.map(|headroom| headroom - added),
    }
}

fn capacity(table: &Table, region: RegionId) -> Option<f64> {
    table.region(region)?.capacity.map(f64::from)
}

/// The digest of what a plan promises: all but rates, the generation and the id itself.
fn id(report: &PlanReport) -> String {
    let promised = PlanReport {
        id: String::new(),
        requests_per_second: 0.0,
        generation: 0,
        destinations: report
            .destinations
            .iter()
            .map(|destination| DestinationReport {
                requests_per_second: 0.0,
                headroom: None,
                headroom_after: None,
                ..destination.clone()
            })
            .collect(),
        ..report.clone()
    };
    // It is names and numbers throughout, so it can be written.
    let text = serde_json::to_vec(&promised).unwrap_or_default();
    let digest = Sha256::digest(&text);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

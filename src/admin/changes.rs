//! What the table in force, a refused one and the way between two look like in JSON.

use std::time::Duration;

use rhumb_decision::compare::Difference;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::control::operator::TableReport;
use crate::control::snapshot::{Current, Rejected};
use crate::problem::Problem;
use crate::telemetry::Time;

/// The table in force, and what is wrong with files that were read since.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Table")]
pub(super) struct TableView<'a> {
    generation: u64,
    hash: Option<&'a str>,
    tenants: Option<usize>,
    loaded_at: Option<String>,
    /// Whether it is the last good table, because the files held none at the start.
    last_good: bool,
    #[schemars(schema_with = "problems")]
    problems: Vec<&'a Problem>,
    /// Problems that are not listed, as there are too many.
    left_out: usize,
}

impl<'a> TableView<'a> {
    pub fn of(current: &'a Current) -> Self {
        let origin = &current.origin;
        let rejected = origin.rejected.as_deref();
        Self {
            generation: current.generation().0,
            hash: Some(&origin.hash),
            tenants: Some(current.table().tenants().len()),
            loaded_at: Some(time(origin.loaded_at)),
            last_good: origin.last_good,
            problems: rejected.map(|rejected| rejected.problems.list()).unwrap_or_default(),
            left_out: rejected.map_or(0, |rejected| rejected.problems.left_out()),
        }
    }
}

/// The table that was read and not taken; empty where there is none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RejectedTable")]
pub(super) struct RejectedView<'a> {
    /// Of what is in force.
    generation: u64,
    hash: Option<&'a str>,
    /// A table that was refused has no tenants that could be counted.
    tenants: Option<usize>,
    loaded_at: Option<String>,
    /// Whether it is sound, and would be taken once accepted by its hash.
    acceptable: bool,
    #[schemars(schema_with = "problems")]
    problems: Vec<&'a Problem>,
    left_out: usize,
}

impl<'a> RejectedView<'a> {
    pub fn of(generation: u64, rejected: Option<&'a Rejected>) -> Self {
        Self {
            generation,
            hash: rejected.map(|rejected| rejected.hash.as_str()),
            tenants: None,
            loaded_at: rejected.map(|rejected| time(rejected.at)),
            acceptable: rejected.is_some_and(|rejected| rejected.acceptable),
            problems: rejected.map(|rejected| rejected.problems.list()).unwrap_or_default(),
            left_out: rejected.map_or(0, |rejected| rejected.problems.left_out()),
        }
    }
}

/// What a command came to, or would come to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TableReport")]
pub(super) struct ReportView<'a> {
    generation: u64,
    hash: &'a str,
    tenants: usize,
    taken: bool,
    difference: DifferenceView<'a>,
}

impl<'a> ReportView<'a> {
    pub fn of(report: &'a TableReport) -> Self {
        Self {
            generation: report.generation,
            hash: &report.hash,
            tenants: report.tenants,
            taken: report.taken,
            difference: DifferenceView::of(&report.difference),
        }
    }
}

/// What lies between two tables, in tenants and keys.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
struct DifferenceView<'a> {
    added: usize,
    dropped: usize,
    rehomed: usize,
    changed: usize,
    moved_percent: f64,
    regions_added: &'a [String],
    regions_dropped: &'a [String],
    edits: Vec<EditView<'a>>,
    examples: Vec<MovedView<'a>>,
    epoch_faults: Vec<EpochFaultView<'a>>,
}

/// A key that differs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Edit")]
struct EditView<'a> {
    at: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

/// A tenant whose home differs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Moved")]
struct MovedView<'a> {
    tenant: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

/// A tenant whose epoch does not rise as it has to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EpochFault")]
struct EpochFaultView<'a> {
    tenant: &'a str,
    in_force: u64,
    written: u64,
    moves: bool,
}

impl<'a> DifferenceView<'a> {
    fn of(difference: &'a Difference) -> Self {
        let examples = difference.examples.iter();
        let faults = difference.epoch_faults.iter();
        Self {
            added: difference.added,
            dropped: difference.dropped,
            rehomed: difference.rehomed,
            changed: difference.changed,
            moved_percent: difference.moved_percent,
            regions_added: &difference.regions_added,
            regions_dropped: &difference.regions_dropped,
            edits: difference
                .edits
                .iter()
                .map(|edit| EditView { at: &edit.at, from: edit.from.as_deref(), to: edit.to.as_deref() })
                .collect(),
            examples: examples
                .map(|moved| MovedView {
                    tenant: &moved.tenant,
                    from: moved.from.as_deref(),
                    to: moved.to.as_deref(),
                })
                .collect(),
            epoch_faults: faults
                .map(|fault| EpochFaultView {
                    tenant: &fault.tenant,
                    in_force: fault.in_force.0,
                    written: fault.written.0,
                    moves: fault.moves,
                })
                .collect(),
        }
    }
}

/// A [`Problem`], as it is written.
fn problems(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {
        "type": "object",
        "required": ["file", "line", "at", "what", "fix"],
        "properties": {
            "file": {"type": "string"},
            "line": {"type": "integer", "minimum": 0, "description": "From 1; 0 is the file as a whole"},
            "column": {"type": "integer", "minimum": 1},
            "at": {"type": "string", "description": "The key in dotted form"},
            "what": {"type": "string"},
            "fix": {"type": "string", "description": "What to write instead"},
        },
    }})
}

fn time(since_1970: Duration) -> String {
    Time(since_1970).to_string()
}

//! How what may be asked is described, as narrowly as it is judged: a program that goes by the description is not refused
//! for what it could have known. Names that the table has, sums of bytes, and what an edge refuses before it decides, no
//! description can hold.
//!
//! Never: judges; that is done where it is read.

use rhumb_decision::safety::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

/// One line that says something.
const REASON: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// No longer than a year, as far as digits tell.
const SPAN: &str = "^([0-2]?[0-9]{1,10}ms|[0-2]?[0-9]{1,7}s|[0-4]?[0-9]{1,5}m|[0-7]?[0-9]{1,3}h|8760h)$";
const GUARD: &str =
    r"^(error_rate>(100|[0-9]{1,2}(\.[0-9]{1,6})?)%|p99>[0-9]{1,9}(ms|s)|in_flight>[0-9]{1,9})$";

/// Why.
pub(super) fn reason(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 1000, "pattern": REASON})
}

/// Why, where nobody has to say.
pub(super) fn reason_perhaps(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "minLength": 1, "maxLength": 1000, "pattern": REASON})
}

/// A duration.
pub(super) fn span_perhaps(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "pattern": SPAN})
}

/// Percent, with two decimals.
pub(super) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.01})
}

/// The same, where nobody has to say.
pub(super) fn percent_perhaps(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["number", "null"], "minimum": 0, "maximum": 100, "multipleOf": 0.01})
}

/// Safety rules.
pub(super) fn rules(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "string", "enum": Rule::ALL.map(Rule::code)}})
}

/// What pauses a drain.
pub(super) fn guards(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "string", "pattern": GUARD}})
}

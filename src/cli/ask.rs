//! The question that `rhumb explain` asks, of files or of an edge.

use std::sync::Arc;

use rhumb_decision::Snapshot;
use rhumb_decision::units::RegionSet;
use serde_json::Value;

use super::args::{Down, Drain, ExplainArgs, Header};
use super::failure::Failure;
use super::files::Files;
use crate::admin::explain::{Question, Standing};

/// What was typed, as a question.
pub fn question(args: &ExplainArgs) -> Question {
    let pair = |header: &Header| (header.name.clone(), header.value.clone());
    let supposed = |drain: &Drain| (drain.region.clone(), f64::from(drain.weight));
    let lost = |down: &Down| match &down.capability {
        Some(capability) => format!("{}:{capability}", down.region),
        None => down.region.clone(),
    };
    Question {
        tenant: args.tenant.clone(),
        host: args.host.clone(),
        method: args.method.clone(),
        path: args.path.clone(),
        headers: args.header.iter().map(pair).collect(),
        certificate: args.certificate.clone(),
        from: args.from.clone(),
        drain: args.drain.iter().map(supposed).collect(),
        down: args.down.iter().map(lost).collect(),
        body: args.body,
        wrote_at: args.wrote_at.clone(),
        ..Question::default()
    }
}

/// What `files` answer, with every region up and without lag.
///
/// Errors: a name that the table does not have, or a request that an edge would not take.
pub fn offline(files: &Files, args: &ExplainArgs) -> Result<Value, Failure> {
    let snapshot = Snapshot::offline(Arc::clone(&files.table));
    let standing = Standing {
        region: files.settings.edge.region.as_str(),
        encoded_slash: files.settings.limits.encoded_slash.into(),
        saturated: RegionSet::EMPTY,
    };
    let explanation = question(args).ask(&snapshot, &standing).map_err(Failure::Usage)?;
    json(&explanation)
}

/// `value` as JSON.
pub fn json(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|cause| Failure::Failed(format!("cannot be written as JSON: {cause}")))
}

//! A tenant's writes wait for a moment, and go on.
//!
//! Never: a freeze without an end of its own.

use std::time::Duration;

use serde_json::{Value, json};

use super::field::{Field, Trouble, Went};
use crate::cli::edge::segment;
use crate::cli::failure::Failure;
use crate::cli::wire::text;

/// How long: well below what a write waits by default.
const FROZEN: Duration = Duration::from_secs(1);
/// When the edge ends it by itself, should nobody do it.
const EXPIRES: &str = "30s";

fn path(field: &Field<'_>, what: &str) -> String {
    format!("/v1/tenants/{}{what}", segment(field.args.tenant.as_deref().unwrap_or_default()))
}

pub fn plan(field: &mut Field<'_>) -> Result<(), Failure> {
    let tenant = field.edge.read(&path(field, ""))?;
    let [name, owner, epoch, state] = ["tenant", "owner", "epoch", "state"].map(|key| text(&tenant, &[key]));
    field.observe(format!(
        "would freeze {name}, which {owner} owns at epoch {epoch} ({state}), and unfreeze it {} s later",
        FROZEN.as_secs()
    ));
    Ok(())
}

pub fn there(field: &mut Field<'_>) -> Went {
    let tenant = field.edge.read(&path(field, ""))?;
    let (owner, state) = (text(&tenant, &["owner"]), text(&tenant, &["state"]));
    if owner != field.region {
        return Err(Trouble::Otherwise(format!("{owner} owns it, not {}", field.region)));
    }
    if state != "active" {
        return Err(Trouble::Otherwise(format!("it is {state} already; a drill leaves that alone")));
    }
    let name = field.args.tenant.clone().unwrap_or_default();
    field.begins(Value::Null, format!("rhumb tenant unfreeze {name} --reason \"…\""));
    field.step("its writes are frozen");
    field.edge.ask(&path(field, "/freeze"), &json!({"expires_in": EXPIRES, "reason": field.reason()}))?;
    let frozen = path(field, "");
    field.until("it is frozen", |field| Ok(text(&field.edge.read(&frozen)?, &["state"]) == "frozen"))?;
    field.pause(FROZEN)
}

pub fn back(field: &mut Field<'_>) -> Went {
    let tenant = path(field, "");
    if text(&field.edge.read(&tenant)?, &["state"]) != "frozen" {
        return Ok(());
    }
    let began = field.step("they go on");
    field.edge.ask(&path(field, "/unfreeze"), &json!({"reason": field.reason()}))?;
    field.until("it is active", |field| Ok(text(&field.edge.read(&tenant)?, &["state"]) == "active"))?;
    field.took("until it was active", began);
    Ok(())
}

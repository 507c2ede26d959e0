//! A region's reads go elsewhere and come back.
//!
//! Never: a drain without an end of its own.

use std::time::Duration;

use serde_json::{Value, json};

use super::field::{Field, Trouble, Went};
use crate::cli::failure::Failure;
use crate::cli::wire::{at, items, text};

/// How long the ramp is.
const OVER: Duration = Duration::from_secs(5);
/// How long the region stays drained.
const AWAY: Duration = Duration::from_secs(3);
/// When the edge ends it by itself, should nobody do it.
const EXPIRES: &str = "10m";

pub fn plan(field: &mut Field<'_>) -> Result<(), Failure> {
    let found = field.edge.ask("/v1/plan/drain", &json!({"region": field.region, "to": field.args.to}))?;
    let (from, over, away) = (text(&found, &["from"]), OVER.as_secs(), AWAY.as_secs());
    let moving = text(&found, &["tenants_moving"]);
    let share = at(&found, &["reads_share"]).as_f64().unwrap_or(0.0) * 100.0;
    field.observe(format!(
        "would drain {} from {from} to {} over {over} s, and undo it {away} s later: {moving} tenants, {share:.1} % of \
         all reads",
        field.region, field.args.to
    ));
    for to in items(&found, &["destinations"]) {
        let [region, tenants, rate, headroom] =
            ["region", "tenants", "requests_per_second", "headroom"].map(|key| text(to, &[key]));
        let headroom = if headroom.is_empty() { "not declared".to_owned() } else { headroom };
        field.observe(format!(
            "to {region}: {tenants} tenants, {rate} requests a second, headroom {headroom}"
        ));
    }
    let stranded = at(&found, &["tenants_stranded", "count"]).as_u64().unwrap_or(0);
    if stranded > 0 {
        field.observe(format!("{stranded} tenants have nowhere to go"));
    }
    for rule in items(&found, &["rules_broken"]) {
        field.observe(format!("would be refused: {}: {}", text(rule, &["rule"]), text(rule, &["why"])));
    }
    Ok(())
}

pub fn there(field: &mut Field<'_>) -> Went {
    let region = field.edge.read(&format!("/v1/regions/{}", crate::cli::edge::segment(field.region)))?;
    if !at(&region, &["weight", "operator"]).is_null() {
        let told = "an operator has set its weight already; a drill leaves that alone".to_owned();
        return Err(Trouble::Otherwise(told));
    }
    let asked = json!({
        "region": field.region, "to": field.args.to, "over": format!("{}s", OVER.as_secs()),
        "expires_in": EXPIRES, "reason": field.reason(),
    });
    field.begins(Value::Null, format!("rhumb undrain {} --reason \"…\"", field.region));
    let began = field.step(format!("a drain to {} is asked for", field.args.to));
    if let Err(why) = field.edge.ask("/v1/drains", &asked) {
        // Refused, nothing has begun; without an answer, it may have.
        field.begun = field.mine("/v1/drains").unwrap_or(Some(Value::Null));
        return Err(why.into());
    }
    is(field, "done")?;
    field.took("the drain", began);
    field.step("it has arrived");
    field.pause(AWAY)
}

/// Waits until this drill's drain is in this state.
fn is(field: &mut Field<'_>, state: &str) -> Went {
    field.until(&format!("the drain is {state}"), |field| {
        Ok(field.mine("/v1/drains")?.is_some_and(|drain| text(&drain, &["state"]) == state))
    })
}

pub fn back(field: &mut Field<'_>) -> Went {
    let Some(drain) = field.mine("/v1/drains")? else { return Ok(()) };
    if at(&drain, &["in_force"]).as_bool() == Some(false) {
        return Ok(());
    }
    let began = field.step("it is undone");
    if text(&drain, &["state"]) != "undoing" {
        let path = format!("/v1/drains/{}/undo", text(&drain, &["id"]));
        field.edge.ask(&path, &json!({"reason": field.reason()}))?;
    }
    is(field, "undone")?;
    field.took("the way back", began);
    field.step("its weight is as configured");
    Ok(())
}

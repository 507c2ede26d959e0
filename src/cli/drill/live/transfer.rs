//! Ownership moves to standbys and comes back: of one tenant, or of a share of what the region owns.
//!
//! Never: brings anybody home whom it did not move. A share is moved only where every tenant is at home before.

use std::time::Duration;

use serde_json::{Value, json};

use super::field::{Field, Trouble, Went, regions};
use crate::cli::edge::segment;
use crate::cli::failure::Failure;
use crate::cli::wire::{at, items, text};

/// How long ownership stays away.
const AWAY: Duration = Duration::from_secs(2);

/// What is asked for, on the way there.
fn wanted(field: &Field<'_>) -> Value {
    match &field.args.tenant {
        Some(tenant) => json!({"tenant": tenant}),
        None => json!({"from": field.region, "share": field.args.share}),
    }
}

pub fn plan(field: &mut Field<'_>) -> Result<(), Failure> {
    let found = field.edge.ask("/v1/plan/transfer", &wanted(field))?;
    let what = match &field.args.tenant {
        Some(tenant) => format!("tenant {tenant}"),
        None => format!("{} % of what {} owns", field.args.share, field.region),
    };
    let moving = text(&found, &["tenants_moving"]);
    field.observe(format!(
        "would move {what} to its standby, and back {} s later: {moving} tenants",
        AWAY.as_secs()
    ));
    for to in items(&found, &["destinations"]) {
        let [from, heir, tenants, lag] = ["from", "to", "tenants", "lag_seconds"].map(|key| text(to, &[key]));
        let unfit: Vec<_> = items(to, &["unfit"]).iter().map(|unfit| text(unfit, &["why"])).collect();
        let fit = if unfit.is_empty() {
            "fit".to_owned()
        } else {
            format!("would be refused: {}", unfit.join("; "))
        };
        field.observe(format!("{from} to {heir}: {tenants} tenants, {lag} s behind, {fit}"));
    }
    for rule in items(&found, &["rules_broken"]) {
        field.observe(format!("would break {}: {}", text(rule, &["rule"]), text(rule, &["why"])));
    }
    if let Some(away) = away(field)? {
        field.observe(format!("would not be done: {away}"));
    }
    Ok(())
}

/// Why it could not be told afterwards whom to bring back; `None`: it can.
fn away(field: &Field<'_>) -> Result<Option<String>, Failure> {
    if let Some(tenant) = &field.args.tenant {
        let owner = text(&field.edge.read(&format!("/v1/tenants/{}", segment(tenant)))?, &["owner"]);
        let told = format!("{tenant} is owned by {owner}, not by {}", field.region);
        return Ok((owner != field.region).then_some(told));
    }
    for region in regions(field.edge)? {
        let found = field.edge.ask("/v1/plan/transfer", &json!({"home": region}))?;
        let count = at(&found, &["tenants_moving"]).as_u64().unwrap_or(0);
        if count > 0 {
            return Ok(Some(format!(
                "{count} tenants at home in {region} are owned elsewhere, and could not be told from those that the \
                 drill moves; drill one tenant with --tenant, or bring them home first"
            )));
        }
    }
    Ok(None)
}

pub fn there(field: &mut Field<'_>) -> Went {
    if let Some(away) = away(field)? {
        return Err(Trouble::Otherwise(away));
    }
    let mut asked = wanted(field);
    let found = field.edge.ask("/v1/plan/transfer", &asked)?;
    let heirs: Vec<_> = items(&found, &["destinations"]).iter().map(|to| text(to, &["to"])).collect();
    asked["reason"] = json!(field.reason());
    let back = match &field.args.tenant {
        Some(tenant) => format!("rhumb transfer {tenant} --to {} --reason \"…\"", field.region),
        None => format!("rhumb failback {} --share 100 --approve --reason \"…\"", field.region),
    };
    field.begins(Value::Null, back);
    let began = field.step("a transfer to standbys is asked for");
    let begun = match field.edge.ask("/v1/transfers", &asked) {
        Ok(begun) => begun,
        Err(why) => {
            // Refused, nothing has begun; without an answer, it may have.
            field.begun = field.mine("/v1/transfers").unwrap_or(Some(Value::Null));
            return Err(why.into());
        }
    };
    field.begun = Some(begun);
    over(field)?;
    field.took("the transfer there", began);
    let moved = field.mine("/v1/transfers")?.map(|transfer| text(&transfer, &["moved"])).unwrap_or_default();
    field.step(format!("{moved} tenants have moved to {}", heirs.join(", ")));
    let region = field.region.to_owned();
    field.takes_part(heirs.into_iter().chain([region]));
    field.pause(AWAY)
}

/// Waits until this drill's newest transfer is over, and it is done.
fn over(field: &mut Field<'_>) -> Went {
    let is_over =
        |transfer: &Value| ["done", "failed", "cancelled"].contains(&text(transfer, &["state"]).as_str());
    field.until("the transfer is over", |field| {
        Ok(field.mine("/v1/transfers")?.is_none_or(|mine| is_over(&mine)))
    })?;
    match field.mine("/v1/transfers")? {
        Some(transfer) if text(&transfer, &["state"]) != "done" => {
            let [state, why] = ["state", "trouble"].map(|key| text(&transfer, &[key]));
            Err(Trouble::Otherwise(format!("the transfer is {state}: {why}")))
        }
        _ => Ok(()),
    }
}

pub fn back(field: &mut Field<'_>) -> Went {
    if let Some(mine) = field.mine("/v1/transfers")? {
        let state = text(&mine, &["state"]);
        if state == "running" || state == "waiting" {
            let path = format!("/v1/transfers/{}", text(&mine, &["id"]));
            field.step("the transfer is cancelled");
            // It may have come to its end by itself.
            let _ = field.edge.send(ureq::http::Method::DELETE, &path, &json!({"reason": field.reason()}));
            // How it ends is no matter: whoever has moved is brought back.
            let _ = over(field);
        }
    }
    let mut asked = match &field.args.tenant {
        Some(tenant) => {
            let owner = text(&field.edge.read(&format!("/v1/tenants/{}", segment(tenant)))?, &["owner"]);
            if owner == field.region {
                return Ok(());
            }
            json!({"tenant": tenant, "to": field.region})
        }
        None => {
            let found = field.edge.ask("/v1/plan/transfer", &json!({"home": field.region}))?;
            if at(&found, &["tenants_moving"]).as_u64() == Some(0) {
                return Ok(());
            }
            json!({"home": field.region})
        }
    };
    asked["reason"] = json!(field.reason());
    let began = field.step("a transfer back is asked for");
    // The standby's own writes have to be copied first: asked again while that is why it is refused.
    let mut last = None;
    let accepted =
        field.until("the transfer back is accepted", |field| match field.edge.ask("/v1/transfers", &asked) {
            Ok(_) => Ok(true),
            Err(why) => {
                last = Some(why.to_string());
                Ok(false)
            }
        });
    match (accepted, last) {
        (Err(_), Some(why)) => return Err(Trouble::Otherwise(why)),
        (accepted, _) => accepted?,
    }
    over(field)?;
    field.took("the transfer back", began);
    field.step("it is done");
    Ok(())
}

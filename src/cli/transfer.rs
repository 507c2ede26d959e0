//! `rhumb transfer`, `failover`, `failback`, `transfers`, and what pauses writes.
//!
//! Never: ends a transfer because whoever watches it leaves. It is the edge's.

use serde_json::{Value, json};
use ureq::http::Method;

use super::args::{
    FailbackArgs, FailoverArgs, Format, FreezeArgs, How, Mode, RegionCommand, TransferArgs, TransfersCommand,
    UnfreezeArgs, Why,
};
use super::edge::{Edge, segment};
use super::failure::{Done, Failure};
use super::follow::{bar, follow};
use super::out::{Out, list as table, pairs};
use super::wire::{at, text};

/// Moves the ownership of a tenant, or of a share of what a region owns.
pub fn begin(edge: &Edge, args: &TransferArgs, out: &mut Out<'_>) -> Done {
    let asked = json!({
        "tenant": args.tenant, "from": args.from, "share": args.share, "to": args.to, "every": args.every,
        "unplanned": args.unplanned,
    });
    send(edge, asked, &args.how, out)
}

/// Moves all that a region owns to standbys.
pub fn failover(edge: &Edge, args: &FailoverArgs, out: &mut Out<'_>) -> Done {
    let asked = json!({"from": args.region, "to": "standby", "unplanned": args.unplanned});
    send(edge, asked, &args.how, out)
}

/// Moves home, in waves, what is owned elsewhere.
pub fn failback(edge: &Edge, args: &FailbackArgs, out: &mut Out<'_>) -> Done {
    let waves = (args.share < 100.0).then_some(&args.every);
    if !args.approve {
        let asked = json!({"home": args.region, "share": args.share, "to": "home"});
        let found = edge.ask("/v1/plan/transfer", &asked)?;
        out.answer(&found, |found| format!("this would be its first wave:\n{}", preflight(found)))?;
        return Err(Failure::Failed("nothing is changed; to begin, say --approve".into()));
    }
    let asked = json!({"home": args.region, "share": args.share, "to": "home", "every": waves});
    send(edge, asked, &args.how, out)
}

/// Lists transfers, oldest first.
pub fn list(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/transfers")?;
    out.answer(&answer, |all| lines(all.as_array().map_or(&[], Vec::as_slice)))
}

/// Does something to one of them.
pub fn control(edge: &Edge, command: &TransfersCommand, out: &mut Out<'_>) -> Done {
    let answer = match command {
        TransfersCommand::Cancel(one) => {
            edge.send(Method::DELETE, &format!("/v1/transfers/{}", one.id), &because(&one.why))
        }
        TransfersCommand::Release(one) => {
            edge.ask(&format!("/v1/transfers/{}/release", one.id), &because(&one.why))
        }
    }?;
    out.answer(&answer, |answer| format!("{}{}", dry(answer), full(answer)))
}

/// Pauses writes, or lets them go on, of all that a region owns.
pub fn region(edge: &Edge, command: &RegionCommand, out: &mut Out<'_>) -> Done {
    match command {
        RegionCommand::Freeze(args) => freeze(edge, "regions", args, out),
        RegionCommand::Unfreeze(args) => unfreeze(edge, "regions", args, out),
    }
}

/// Pauses writes of one of `kind`, which is `tenants` or `regions`.
pub fn freeze(edge: &Edge, kind: &str, args: &FreezeArgs, out: &mut Out<'_>) -> Done {
    let mode = match args.mode {
        Mode::Frozen => "frozen",
        Mode::ReadOnly => "read-only",
    };
    let asked = json!({
        "mode": mode, "reason": args.why.reason, "expires_in": args.expires_in, "dry_run": args.why.dry_run,
    });
    let answer = edge.ask(&format!("/v1/{kind}/{}/freeze", segment(&args.name)), &asked)?;
    out.answer(&answer, marked)
}

/// Takes that back.
pub fn unfreeze(edge: &Edge, kind: &str, args: &UnfreezeArgs, out: &mut Out<'_>) -> Done {
    let answer = edge.ask(&format!("/v1/{kind}/{}/unfreeze", segment(&args.name)), &because(&args.why))?;
    out.answer(&answer, marked)
}

/// Says who owns a tenant.
pub fn resolve(
    edge: &Edge,
    (name, owner): (&str, &str),
    (reason, dry_run): (&str, bool),
    out: &mut Out<'_>,
) -> Done {
    let asked = json!({"owner": owner, "reason": reason, "dry_run": dry_run});
    let answer = edge.ask(&format!("/v1/tenants/{}/resolve", segment(name)), &asked)?;
    out.answer(&answer, marked)
}

fn because(why: &Why) -> Value {
    json!({"reason": why.reason, "dry_run": why.dry_run})
}

fn send(edge: &Edge, mut asked: Value, how: &How, out: &mut Out<'_>) -> Done {
    asked["reason"] = json!(how.why.reason);
    asked["override"] = json!(how.overrides);
    asked["dry_run"] = json!(how.why.dry_run);
    let answer = edge.ask("/v1/transfers", &asked)?;
    if !how.wait {
        return out.answer(&answer, |answer| {
            let found = at(answer, &["preflight"]);
            let found = if found.is_object() { preflight(found) } else { String::new() };
            format!("{}{}{found}", dry(answer), full(answer))
        });
    }
    if out.format() == Format::Table {
        out.text(full(&answer).trim_end())?;
    }
    wait(edge, &text(&answer, &["id"]), out)
}

fn wait(edge: &Edge, id: &str, out: &mut Out<'_>) -> Done {
    let transfer = follow(edge, &format!("/v1/transfers/{id}"), &["running", "waiting"], progress, out)?;
    let [state, why] = ["state", "trouble"].map(|key| text(&transfer, &[key]));
    match state.as_str() {
        "done" => Ok(()),
        _ if why.is_empty() => Err(Failure::Failed(format!("transfer {id} is {state}"))),
        _ => Err(Failure::Failed(format!("transfer {id} is {state}: {why}"))),
    }
}

/// A transfer on one line, while it is waited for.
pub fn progress(transfer: &Value) -> String {
    let number = |key: &str| at(transfer, &[key]).as_f64().unwrap_or(0.0);
    // An edge of before tells of its first wave alone.
    let all = number("expected").max(number("tenants"));
    let (moved, bar) = (number("moved"), bar(number("moved") / all.max(1.0)));
    let [id, state, step, trouble] = ["id", "state", "step", "trouble"].map(|key| text(transfer, &[key]));
    let of = if at(transfer, &["stuck"]).as_bool() == Some(true) { "stuck" } else { "the last batch" };
    let trouble = if trouble.is_empty() { trouble } else { format!(" ({of}: {trouble})") };
    format!("transfer {id} [{bar}] {moved} of {all} tenants, {state}, {step}{trouble}")
}

fn dry(answer: &Value) -> String {
    let is_dry = at(answer, &["dry_run"]).as_bool() == Some(true);
    if is_dry { "nothing is changed; this would be done:\n".into() } else { String::new() }
}

fn full(transfer: &Value) -> String {
    let moved = text(transfer, &["moved"]);
    let tenants = text(transfer, &["tenants"]);
    pairs([
        ("transfer", text(transfer, &["id"])),
        ("what", text(transfer, &["what"])),
        ("state", text(transfer, &["state"])),
        ("step", text(transfer, &["step"])),
        ("moved", if tenants.is_empty() { moved } else { format!("{moved} of {tenants} tenants") }),
        ("next wave", text(transfer, &["next_wave"])),
        ("trouble", text(transfer, &["trouble"])),
    ])
}

fn preflight(found: &Value) -> String {
    let stranded = text(found, &["tenants_stranded", "count"]);
    let mut said = pairs([
        ("moving", format!("{} tenants", text(found, &["tenants_moving"]))),
        ("nowhere to go", if stranded == "0" { String::new() } else { format!("{stranded} tenants") }),
    ]);
    let all = at(found, &["destinations"]).as_array();
    let rows = all.into_iter().flatten().map(|to| {
        let unfit = at(to, &["unfit"]).as_array().map_or(&[][..], Vec::as_slice);
        let why: Vec<String> = unfit.iter().map(|unfit| text(unfit, &["why"])).collect();
        let [from, to_region, tenants, lag, headroom] =
            ["from", "to", "tenants", "lag_seconds", "headroom"].map(|key| text(to, &[key]));
        [from, to_region, tenants, lag, headroom, if why.is_empty() { "fit".into() } else { why.join("; ") }]
    });
    said.push_str(&table(["FROM", "TO", "TENANTS", "LAG S", "HEADROOM", "FITNESS"], rows));
    said
}

fn marked(answer: &Value) -> String {
    let of = |key: &str| text(answer, &[key]);
    let mark = at(answer, &["mark"]);
    let mode = text(mark, &["mode"]);
    let said = pairs([
        ("tenant", of("tenant")),
        ("region", of("region")),
        ("writes", if mode.is_empty() { "as the table says".to_owned() } else { mode }),
        ("until", text(mark, &["until"])),
        ("owner", of("owner")),
        ("epoch", of("epoch")),
    ]);
    format!("{}{said}", dry(answer))
}

fn lines(all: &[Value]) -> String {
    let rows = all.iter().map(|transfer| {
        let [id, what, state, step, next, by, reason, trouble] =
            ["id", "what", "state", "step", "next_wave", "by", "reason", "trouble"]
                .map(|key| text(transfer, &[key]));
        let moved = format!("{}/{}", text(transfer, &["moved"]), text(transfer, &["tenants"]));
        [id, what, state, step, moved, next, by, reason, trouble]
    });
    table(["ID", "WHAT", "STATE", "STEP", "MOVED", "NEXT WAVE", "BY", "REASON", "TROUBLE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_one_line_while_it_is_waited_for() {
        let transfer = json!({"id": 3, "state": "running", "step": "catch_up", "moved": 500, "tenants": 1000,
            "trouble": null});
        assert_eq!(
            progress(&transfer),
            "transfer 3 [##########..........] 500 of 1000 tenants, running, catch_up"
        );
        let mut waves = transfer;
        waves["expected"] = json!(4000);
        assert!(
            progress(&waves).contains("[###.................] 500 of 4000 tenants"),
            "{}",
            progress(&waves)
        );
    }

    #[test]
    fn a_preflight_says_who_is_fit_and_why_not() {
        let found = json!({"tenants_moving": 2, "tenants_stranded": {"count": 1, "first": ["x"]}, "destinations": [
            {"from": "eu", "to": "us", "tenants": 2, "lag_seconds": 7.5, "headroom": null,
             "unfit": [{"check": "lag", "why": "its copy lags 7.5 s behind"}]}]});
        let said = preflight(&found);
        assert!(said.contains("2 tenants") && said.contains("its copy lags 7.5 s behind"), "{said}");
    }
}

//! `rhumb drain`, `undrain`, `drains` and `weight`: what operators set, and how it is undone.
//!
//! Never: ends a drain because whoever watches it leaves. It is the edge's.

use serde_json::{Value, json};
use ureq::http::Method;

use super::args::{DrainArgs, DrainsCommand, Format, OneDrain, Target, UndrainArgs, WeightArgs};
use super::edge::{Edge, segment};
use super::failure::{Done, Failure};
use super::follow::{bar, follow};
use super::out::{Out, list as table, pairs};
use super::plan::{self, scope};
use super::wire::{at, text};

/// Begins a drain.
pub fn begin(edge: &Edge, args: &DrainArgs, out: &mut Out<'_>) -> Done {
    let asked = json!({
        "region": args.target.region, "cell": args.target.cell, "to": args.to, "over": args.over,
        "step": args.step, "reason": args.why.reason, "expires_in": args.terms.expires_in,
        "override": args.terms.overrides, "plan": args.terms.plan, "pause_if": args.pause_if,
        "dry_run": args.why.dry_run,
    });
    let answer = edge.ask("/v1/drains", &asked)?;
    told(edge, &answer, args.wait.then_some("done"), out)
}

/// Undoes the drain of a region.
pub fn undo(edge: &Edge, args: &UndrainArgs, out: &mut Out<'_>) -> Done {
    let drains = edge.read("/v1/drains")?;
    let wanted = args.target.to_string();
    let of_it = |drain: &&Value| scope(drain) == wanted && at(drain, &["in_force"]).as_bool() == Some(true);
    let Some(drain) = drains.as_array().into_iter().flatten().rfind(of_it) else {
        return Err(no_drain(edge, &args.target));
    };
    let path = format!("/v1/drains/{}/undo", text(drain, &["id"]));
    let asked = because(&args.why.reason, &args.overrides, args.why.dry_run);
    let answer = edge.ask(&path, &asked)?;
    told(edge, &answer, args.wait.then_some("undone"), out)
}

/// Why there is nothing to undo.
fn no_drain(edge: &Edge, target: &Target) -> Failure {
    let region = match edge.read(&format!("/v1/regions/{}", segment(&target.region))) {
        Ok(region) => region,
        Err(unknown) => return unknown,
    };
    let of = match &target.cell {
        None => &region,
        Some(cell) => at(&region, &["cells", cell]),
    };
    Failure::Failed(match (of.is_null(), at(of, &["weight", "operator"]).is_null()) {
        (true, _) => format!("there is no cell {target}; `rhumb regions {}` shows them", target.region),
        (false, true) => format!("no drain of {target} is in force; `rhumb drains` shows all"),
        (false, false) => format!(
            "no drain of {target} is in force, but a weight set by hand; to take it back: \
             rhumb weight {target} --clear --reason \"…\""
        ),
    })
}

/// Lists drains, oldest first.
pub fn list(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/drains")?;
    out.answer(&answer, |drains| lines(drains.as_array().map_or(&[], Vec::as_slice)))
}

/// Does something to one drain.
pub fn control(edge: &Edge, command: &DrainsCommand, out: &mut Out<'_>) -> Done {
    let body = |one: &OneDrain| because(&one.why.reason, &one.overrides, one.why.dry_run);
    let answer = match command {
        DrainsCommand::Pause(one) => edge.ask(&format!("/v1/drains/{}/pause", one.id), &body(one)),
        DrainsCommand::Resume(one) => edge.ask(&format!("/v1/drains/{}/resume", one.id), &body(one)),
        DrainsCommand::Stop(one) => edge.send(Method::DELETE, &format!("/v1/drains/{}", one.id), &body(one)),
    }?;
    told(edge, &answer, None, out)
}

/// Sets or clears a weight.
pub fn weight(edge: &Edge, args: &WeightArgs, out: &mut Out<'_>) -> Done {
    let region = segment(&args.target.region);
    let path = match &args.target.cell {
        None => format!("/v1/regions/{region}/weight"),
        Some(cell) => format!("/v1/regions/{region}/cells/{}/weight", segment(cell)),
    };
    let answer = match args.weight {
        Some(weight) => {
            let asked = json!({
                "weight": weight, "reason": args.why.reason, "expires_in": args.terms.expires_in,
                "override": args.terms.overrides, "plan": args.terms.plan, "dry_run": args.why.dry_run,
            });
            edge.send(Method::PUT, &path, &asked)
        }
        None => {
            let asked = because(&args.why.reason, &args.terms.overrides, args.why.dry_run);
            edge.send(Method::DELETE, &path, &asked)
        }
    }?;
    out.answer(&answer, |answer| {
        let stopped = text(answer, &["stopped_drain"]);
        let stopped = if stopped.is_empty() { stopped } else { format!("drain {stopped}") };
        let weight = at(answer, &["weight"]);
        let mut said = dry(answer);
        said.push_str(&pairs([
            ("for", scope(answer)),
            ("weight", three(weight)),
            ("until", text(weight, &["until"])),
            ("stopped", stopped),
        ]));
        said + &planned(answer)
    })
}

/// The three weights in words.
pub fn three(weight: &Value) -> String {
    let operator = text(weight, &["operator"]);
    let operator = if operator.is_empty() { "not set".to_owned() } else { operator };
    format!(
        "{} (configured {}, operator {operator})",
        text(weight, &["effective"]),
        text(weight, &["configured"])
    )
}

fn because(reason: &str, overrides: &[String], dry_run: bool) -> Value {
    json!({"reason": reason, "override": overrides, "dry_run": dry_run})
}

fn dry(answer: &Value) -> String {
    let is_dry = at(answer, &["dry_run"]).as_bool() == Some(true);
    if is_dry { "nothing is changed; this would be done:\n".into() } else { String::new() }
}

fn planned(answer: &Value) -> String {
    let planned = at(answer, &["plan"]);
    if planned.is_object() { format!("\n{}", plan::lines(planned)) } else { String::new() }
}

/// Says what became of a drain, and stays until it is `until` where that is wanted.
fn told(edge: &Edge, answer: &Value, until: Option<&str>, out: &mut Out<'_>) -> Done {
    let Some(until) = until else {
        return out.answer(answer, |answer| format!("{}{}{}", dry(answer), full(answer), planned(answer)));
    };
    if out.format() == Format::Table {
        out.text(&format!("{}{}", full(answer), planned(answer)))?;
    }
    let path = format!("/v1/drains/{}", text(answer, &["id"]));
    let drain = follow(edge, &path, &["running", "undoing"], progress, out)?;
    let state = text(&drain, &["state"]);
    if state == until { Ok(()) } else { Err(ended(&drain, &state)) }
}

fn ended(drain: &Value, state: &str) -> Failure {
    let id = text(drain, &["id"]);
    let by = text(drain, &["paused_by"]);
    Failure::Failed(match state {
        "paused" => {
            format!("drain {id} is paused by {by}; to go on: rhumb drains resume {id} --reason \"…\"")
        }
        state => format!("drain {id} is {state}"),
    })
}

/// A drain on one line, while it is waited for.
fn progress(drain: &Value) -> String {
    let way = at(drain, &["progress"]).as_f64().unwrap_or(0.0).clamp(0.0, 1.0);
    let over = at(drain, &["over_seconds"]).as_f64().unwrap_or(0.0);
    let state = text(drain, &["state"]);
    let left = match state.as_str() {
        "running" => format!(", {:.0} s left", (1.0 - way) * over),
        "undoing" => format!(", {:.0} s left", way * over),
        _ => String::new(),
    };
    let bar = bar(way);
    let weight = text(drain, &["weight"]);
    let weight = if weight.is_empty() { "as configured".to_owned() } else { weight };
    format!("{} [{bar}] {:.0} %, weight {weight}, {state}{left}", scope(drain), way * 100.0)
}

fn full(drain: &Value) -> String {
    pairs([
        ("drain", text(drain, &["id"])),
        ("of", scope(drain)),
        ("state", text(drain, &["state"])),
        ("weight", text(drain, &["weight"])),
        ("ramp", format!("{} -> {}", text(drain, &["from"]), text(drain, &["to"]))),
        ("arrives", text(drain, &["eta"])),
        ("until", text(drain, &["until"])),
        ("paused by", text(drain, &["paused_by"])),
    ])
}

fn lines(drains: &[Value]) -> String {
    let rows = drains.iter().map(|drain| {
        let way = at(drain, &["progress"]).as_f64().unwrap_or(0.0) * 100.0;
        let [id, state, weight, eta, until, by, reason] =
            ["id", "state", "weight", "eta", "until", "by", "reason"].map(|key| text(drain, &[key]));
        let ramp = format!("{} -> {}", text(drain, &["from"]), text(drain, &["to"]));
        [id, scope(drain), state, weight, ramp, format!("{way:.0} %"), eta, until, by, reason]
    });
    let heading = ["ID", "OF", "STATE", "WEIGHT", "RAMP", "WAY", "ARRIVES", "UNTIL", "BY", "REASON"];
    table(heading, rows)
}

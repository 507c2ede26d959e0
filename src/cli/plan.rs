//! `rhumb plan`: what a weight would do, before it is set.

use serde_json::{Value, json};

use super::args::PlanCommand;
use super::edge::Edge;
use super::failure::Done;
use super::out::{Out, list, pairs};
use super::wire::{at, items, text};

/// Asks for the plan.
pub fn obey(edge: &Edge, command: &PlanCommand, out: &mut Out<'_>) -> Done {
    let PlanCommand::Drain { target, to } = command;
    let asked = json!({"region": target.region, "cell": target.cell, "to": to});
    let answer = edge.ask("/v1/plan/drain", &asked)?;
    out.answer(&answer, lines)
}

/// A plan for people.
pub fn lines(plan: &Value) -> String {
    let count = |path: &[&str]| at(plan, path).as_u64().unwrap_or(0);
    let some = |path: &[&str]| Some(count(path)).filter(|count| *count > 0).map(|count| count.to_string());
    let share = at(plan, &["reads_share"]).as_f64().unwrap_or(0.0) * 100.0;
    let mut said = pairs([
        ("plan", text(plan, &["id"])),
        ("for", scope(plan)),
        ("weight", format!("{} -> {}", text(plan, &["from"]), text(plan, &["to"]))),
        ("tenants moving", format!("{} of {}", count(&["tenants_moving"]), count(&["tenants"]))),
        ("in part", some(&["tenants_divided"]).unwrap_or_default()),
        ("served again", some(&["tenants_served_again"]).unwrap_or_default()),
        ("reads moving", format!("{share:.1} % of all, {} requests/s", rate(plan, "requests_per_second"))),
        ("stranded", stranded(at(plan, &["tenants_stranded"]))),
        ("writes staying", writes(at(plan, &["writes_staying"]))),
        ("writes moving", some(&["writes_staying", "moving"]).unwrap_or_default()),
        ("writes refused", some(&["writes_staying", "stranded"]).unwrap_or_default()),
        ("placement", placement(at(plan, &["placement"]))),
    ]);
    let destinations = items(plan, &["destinations"]);
    if !destinations.is_empty() {
        said.push('\n');
        let rows = destinations.iter().map(|to| {
            let rates = ["requests_per_second", "headroom", "headroom_after"].map(|key| rate(to, key));
            let [more, room, left] = rates;
            [scope(to), text(to, &["tenants"]), more, room, left]
        });
        said.push_str(&list(["DESTINATION", "TENANTS", "REQUESTS/S", "HEADROOM", "AFTER"], rows));
    }
    let broken = items(plan, &["rules_broken"]);
    if !broken.is_empty() {
        said.push('\n');
        let rows = broken.iter().map(|rule| [text(rule, &["rule"]), text(rule, &["why"])]);
        said.push_str(&list(["RULE BROKEN", "WHY"], rows));
    }
    said
}

/// `REGION` or `REGION/CELL`, of whatever is about one.
pub fn scope(of: &Value) -> String {
    let (region, cell) = (text(of, &["region"]), text(of, &["cell"]));
    if cell.is_empty() { region } else { format!("{region}/{cell}") }
}

/// The plan within a refusal, and how to do it all the same; empty where there is none.
pub fn refused(problem: &Value) -> String {
    let plan = at(problem, &["plan"]);
    if !plan.is_object() {
        return String::new();
    }
    let remedy = if text(problem, &["reason"]) == "rule_broken" {
        let rules = items(plan, &["rules_broken"]).iter();
        let words: Vec<_> = rules.map(|rule| format!("--override {}", text(rule, &["rule"]))).collect();
        format!("if it is meant, add: {}\n", words.join(" "))
    } else {
        format!("to do this one: --plan {}\n", text(plan, &["id"]))
    };
    format!("\n\n{}\n{remedy}", lines(plan))
}

fn rate(of: &Value, key: &str) -> String {
    at(of, &[key]).as_f64().map_or_else(String::new, |rate| format!("{rate:.1}"))
}

fn stranded(stranded: &Value) -> String {
    let count = at(stranded, &["count"]).as_u64().unwrap_or(0);
    let names: Vec<_> = items(stranded, &["first"]).iter().filter_map(Value::as_str).collect();
    match (count, names.len()) {
        (0, _) => "0".into(),
        (count, named) if count > named as u64 => {
            format!(
                "{count} with nowhere legal to go: {} and {} more",
                names.join(", "),
                count - named as u64
            )
        }
        (count, _) => format!("{count} with nowhere legal to go: {}", names.join(", ")),
    }
}

fn writes(staying: &Value) -> String {
    let (tenants, why) = (text(staying, &["tenants"]), text(staying, &["why"]));
    if tenants == "0" || tenants.is_empty() { tenants } else { format!("of {tenants} tenants: {why}") }
}

fn placement(placed: &Value) -> String {
    if placed.is_null() {
        return String::new();
    }
    let share = |key| at(placed, &[key]).as_f64().unwrap_or(0.0) * 100.0;
    let (name, moving, stranded) = (text(placed, &["placement"]), share("moving"), share("stranded"));
    format!("{name}: {moving:.1} % moving, {stranded:.1} % stranded")
}

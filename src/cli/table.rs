//! `rhumb table`: the routing table in force, and what is asked of it.

use serde_json::{Value, json};

use super::args::TableCommand;
use super::edge::Edge;
use super::failure::{Done, Failure};
use super::out::{Out, list, pairs};
use super::wire::{at, items, joined, problems, text};

/// Does what was typed.
pub fn obey(edge: &Edge, command: &TableCommand, out: &mut Out<'_>) -> Done {
    match command {
        TableCommand::Show => show(edge, out),
        TableCommand::Diff | TableCommand::Reload { dry_run: true } => {
            let answer = edge.read("/v1/table/diff")?;
            out.answer(&answer, would)
        }
        TableCommand::Reload { dry_run: false } => change(edge, "reload", &json!({}), out),
        TableCommand::Accept { hash, dry_run: true, .. } => {
            let answer = edge.read("/v1/table/diff")?;
            let found = text(&answer, &["hash"]);
            if found != *hash {
                return Err(Failure::Failed(format!(
                    "the files hold the table {found}, not {hash}; see `rhumb table diff`"
                )));
            }
            out.answer(&answer, would)
        }
        TableCommand::Accept { hash, reason, dry_run: false } => {
            change(edge, "accept", &json!({"hash": hash, "reason": reason}), out)
        }
        TableCommand::Rollback { reason, dry_run: false } => {
            change(edge, "rollback", &json!({"reason": reason}), out)
        }
        TableCommand::Rollback { dry_run: true, .. } => {
            let answer = edge.read("/v1/table/rollback")?;
            out.answer(&answer, would)
        }
    }
}

fn change(edge: &Edge, what: &str, body: &Value, out: &mut Out<'_>) -> Done {
    let answer = edge.ask(&format!("/v1/table/{what}"), body)?;
    out.answer(&answer, done)
}

fn show(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/table")?;
    out.answer(&answer, |table| {
        let mut said = pairs([
            ("generation", text(table, &["generation"])),
            ("hash", text(table, &["hash"])),
            ("tenants", text(table, &["tenants"])),
            ("loaded at", text(table, &["loaded_at"])),
        ]);
        if at(table, &["last_good"]).as_bool() == Some(true) {
            said.push_str(
                "\nThis is the last good table, kept from before: the files held none at the start.\n",
            );
        }
        let problems = problems(table);
        if !problems.is_empty() {
            said.push_str("\nThe table's files are not in force:\n");
            said.push_str(&problems);
        }
        said
    })
}

fn done(report: &Value) -> String {
    let in_force = format!(
        "generation {}, {} tenants, hash {}\n",
        text(report, &["generation"]),
        text(report, &["tenants"]),
        text(report, &["hash"])
    );
    if at(report, &["taken"]).as_bool() == Some(false) {
        return format!("unchanged: the table in force is the one in the files\n{in_force}");
    }
    format!("taken: {in_force}{}", difference(at(report, &["difference"])))
}

fn would(report: &Value) -> String {
    let changes = difference(at(report, &["difference"]));
    let hash = text(report, &["hash"]);
    if changes.is_empty() {
        return format!("no tenant and no region differs\nhash {hash}\n");
    }
    format!("would change:\n{changes}hash {hash}\n")
}

/// What lies between two tables; empty where nothing does that is counted.
fn difference(difference: &Value) -> String {
    let counted = |key| at(difference, &[key]).as_u64().filter(|count| *count > 0);
    let count = |key| counted(key).map_or_else(String::new, |count: u64| count.to_string());
    let moved = at(difference, &["moved_percent"]).as_f64().filter(|percent| *percent > 0.0);
    let mut said = pairs([
        ("  regions added", joined(difference, &["regions_added"])),
        ("  regions dropped", joined(difference, &["regions_dropped"])),
        ("  tenants added", count("added")),
        ("  tenants dropped", count("dropped")),
        ("  tenants re-homed", count("rehomed")),
        ("  tenants changed otherwise", count("changed")),
        (
            "  moved",
            moved.map_or_else(String::new, |percent| format!("{percent:.1} % of the tenants in force")),
        ),
    ]);
    let examples = items(difference, &["examples"]);
    if !examples.is_empty() {
        let rows = examples.iter().map(|moved| {
            let home = |key| Some(text(moved, &[key])).filter(|home| !home.is_empty());
            [
                text(moved, &["tenant"]),
                home("from").unwrap_or_else(|| "(none)".into()),
                home("to").unwrap_or_else(|| "(dropped)".into()),
            ]
        });
        said.push('\n');
        said.push_str(&list(["TENANT", "HOME", "WOULD BE"], rows));
        said.push('\n');
    }
    said
}

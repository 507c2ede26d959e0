//! `rhumb table`: the routing table in force, and what is asked of it.

use serde_json::{Value, json};

use super::args::TableCommand;
use super::edge::Edge;
use super::failure::{Done, Failure};
use super::out::{Out, list, pairs};
use super::wire::{at, items, joined, problems, taking, text};

/// Does what was typed.
pub fn obey(edge: &Edge, command: &TableCommand, out: &mut Out<'_>) -> Done {
    match command {
        TableCommand::Show => show(edge, out),
        TableCommand::Diff | TableCommand::Reload { dry_run: true, .. } => {
            let answer = edge.read("/v1/table/diff")?;
            out.answer(&answer, would)
        }
        TableCommand::Reload { reason, dry_run: false } => {
            // An edge of an earlier version takes no reason, and an empty object.
            let asked = reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
            change(edge, "reload", &asked, out)
        }
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
    let mut answer = edge.read("/v1/table")?;
    let rejected = edge.read("/v1/table/rejected")?;
    if let Value::Object(table) = &mut answer {
        table.insert("rejected".to_owned(), rejected);
    }
    out.answer(&answer, in_force)
}

fn in_force(table: &Value) -> String {
    let mut said = pairs([
        ("generation", text(table, &["generation"])),
        ("hash", text(table, &["hash"])),
        ("tenants", text(table, &["tenants"])),
        ("loaded at", text(table, &["loaded_at"])),
    ]);
    if at(table, &["last_good"]).as_bool() == Some(true) {
        said.push_str("\nThis is the last good table, kept from before: the files held none at the start.\n");
    }
    let rejected = at(table, &["rejected"]);
    let problems = problems(rejected);
    if !problems.is_empty() {
        said.push_str(&format!(
            "\nThe files hold another table, of hash {}, which is refused:\n{problems}",
            text(rejected, &["hash"])
        ));
        said.push_str(&taking(rejected, &problems));
    }
    said
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
        return format!("nothing differs\nhash {hash}\n");
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
    let edits = items(difference, &["edits"]);
    if !edits.is_empty() {
        let rows = edits.iter().map(|edit| {
            let said = |key| Some(text(edit, &[key])).filter(|said| !said.is_empty());
            let none = || "(not there)".to_owned();
            [text(edit, &["at"]), said("from").unwrap_or_else(none), said("to").unwrap_or_else(none)]
        });
        said.push('\n');
        said.push_str(&list(["KEY", "IS", "WOULD BE"], rows));
        said.push('\n');
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_force_comes_before_the_one_that_was_refused() {
        let table = json!({"generation": 41, "hash": "ab12", "tenants": 3, "loaded_at": "2025-11-21T01:26:00Z",
            "last_good": true, "rejected": {"hash": "cd34", "acceptable": true, "problems": [
                {"file": "routing.toml", "line": 0, "at": "tenants", "what": "20.0 % moved", "fix": ""}]}});
        assert_eq!(
            in_force(&table),
            "\
generation  41
hash        ab12
tenants     3
loaded at   2025-11-21T01:26:00Z

This is the last good table, kept from before: the files held none at the start.

The files hold another table, of hash cd34, which is refused:
routing.toml:
  tenants: 20.0 % moved
if it is meant: rhumb table accept cd34 --reason \"…\"
"
        );
        let told = json!({"rejected": {"hash": "cd34", "acceptable": true, "problems": [
            {"file": "", "what": "went back", "fix": "rhumb table accept cd34 --reason \"…\""}]}});
        assert!(!in_force(&told).contains("if it is meant"), "{}", in_force(&told));
        let sound = json!({"generation": 1, "rejected": {"hash": null, "problems": [], "acceptable": false}});
        assert_eq!(in_force(&sound), "generation  1\n");
    }
}

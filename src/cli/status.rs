//! `rhumb status`: how an edge is, on one screen.

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::args::Format;
use super::edge::Edge;
use super::failure::{Done, Failure};
use super::out::{Out, pairs};
use super::regions;
use super::wire::{at, items, problems, text};

const EVERY: Duration = Duration::from_secs(2);
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows it once.
pub fn once(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/status")?;
    out.answer(&answer, full)
}

/// Shows it every two seconds, until the process is interrupted or the reader goes away. An edge that goes
/// away later may come back; one that is not there at first is an error.
pub fn watch(edge: &Edge, out: &mut Out<'_>) -> Done {
    let screen = std::io::stdout().is_terminal();
    let mut first = true;
    loop {
        let frame = match (edge.read("/v1/status"), out.format()) {
            (Ok(answer), Format::Json) => answer.to_string(),
            (Ok(answer), Format::Table) => full(&answer),
            (Err(Failure::Failed(_)), Format::Json) if !first => String::new(),
            (Err(Failure::Failed(why)), Format::Table) if !first => format!("{why}\n"),
            (Err(failure), _) => return Err(failure),
        };
        show(&frame, screen, first, out)?;
        first = false;
        thread::sleep(EVERY);
    }
}

fn show(frame: &str, screen: bool, first: bool, out: &mut Out<'_>) -> Done {
    match out.format() {
        // One object a line, and no line for an edge that did not answer.
        Format::Json if frame.is_empty() => Ok(()),
        Format::Json => out.text(frame),
        Format::Table if screen => out.text(&format!("{CLEAR}{frame}")),
        Format::Table if first => out.text(frame),
        Format::Table => out.text(&format!("\n{frame}")),
    }
}

fn full(status: &Value) -> String {
    let ready = match (at(status, &["ready"]).as_bool(), text(status, &["why_not"])) {
        (Some(false), why) if !why.is_empty() => format!("no: {why}"),
        _ => text(status, &["ready"]),
    };
    let mut said = pairs([
        ("edge", text(status, &["edge", "id"])),
        ("version", text(status, &["version"])),
        ("region", text(status, &["edge", "region"])),
        ("zone", text(status, &["edge", "zone"])),
        ("role", text(status, &["edge", "role"])),
        ("ready", ready),
        ("generation", first_of(status, &[&["generation"], &["table", "generation"]])),
        ("tenants", first_of(status, &[&["tenants"], &["table", "tenants"]])),
        ("table", text(status, &["table", "hash"])),
        ("loaded at", text(status, &["table", "loaded_at"])),
        ("in flight", text(status, &["in_flight"])),
    ]);
    let wrong = at(status, &["table"]);
    if !items(wrong, &["problems"]).is_empty() {
        said.push_str("\nThe table's files are not in force:\n");
        said.push_str(&problems(wrong));
    }
    let regions = items(status, &["regions"]);
    if !regions.is_empty() {
        said.push('\n');
        said.push_str(&regions::lines(regions));
    }
    said
}

fn first_of(status: &Value, paths: &[&[&str]]) -> String {
    paths.iter().map(|path| text(status, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

//! `rhumb audit`: what was done, by whom and why, and whether the record of it is whole.

use std::path::Path;

use serde_json::{Value, json};

use super::args::{AuditArgs, AuditCommand, Format};
use super::edge::{Edge, segment};
use super::failure::{Done, Failure};
use super::out::{Out, list, pairs};
use super::wire::{at, items, text};
use crate::control::journal::JournalReader;

/// Shows entries, or verifies them at an edge.
pub fn obey(edge: &Edge, args: &AuditArgs, out: &mut Out<'_>) -> Done {
    if let Some(AuditCommand::Verify { .. }) = args.command {
        return verdict(&edge.read("/v1/audit/verify")?, out);
    }
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let asked = [
        ("since", number(args.since)),
        ("before", number(args.before)),
        ("actor", args.actor.clone()),
        ("action", args.action.clone()),
        ("region", args.region.clone()),
        ("limit", number(args.limit)),
    ];
    let asked = asked.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", segment(&value?))));
    let query = asked.collect::<Vec<_>>().join("&");
    let path = if query.is_empty() { "/v1/audit".to_owned() } else { format!("/v1/audit?{query}") };
    let answer = edge.read(&path)?;
    if out.format() == Format::Json {
        return items(&answer, &["entries"]).iter().try_for_each(|entry| out.text(&entry.to_string()));
    }
    out.text(&lines(&answer, if args.since.is_some() { "since" } else { "before" }))
}

/// Verifies the journal in a state folder, without an edge.
pub fn offline(state: &Path, out: &mut Out<'_>) -> Done {
    let reader = JournalReader::of(state);
    if !reader.folder().is_dir() {
        let folder = reader.folder().display();
        return Err(Failure::Failed(format!("there is no journal at {folder}; --state takes a state.dir")));
    }
    let verified = reader.verify().map_err(|cause| Failure::Failed(cause.to_string()))?;
    let last = verified.last.as_ref();
    let answer = json!({
        "sound": verified.is_sound(), "entries": verified.entries, "first": verified.first,
        "last": last.map(|(seq, _)| *seq), "last_hash": last.map(|(_, hash)| hash.to_string()),
        "anchor": verified.anchor.code(), "broken": verified.broken.as_ref().map(ToString::to_string),
        "breaks": verified.breaks,
    });
    verdict(&answer, out)
}

fn verdict(answer: &Value, out: &mut Out<'_>) -> Done {
    let sound = at(answer, &["sound"]).as_bool() == Some(true);
    out.answer(answer, |answer| {
        pairs([
            ("sound", text(answer, &["sound"])),
            ("entries", text(answer, &["entries"])),
            ("first", text(answer, &["first"])),
            ("last", text(answer, &["last"])),
            ("last hash", text(answer, &["last_hash"])),
            ("hangs on", text(answer, &["anchor"])),
        ])
    })?;
    if sound {
        return Ok(());
    }
    let (broken, breaks) = (text(answer, &["broken"]), text(answer, &["breaks"]));
    Err(Failure::Failed(if broken.is_empty() {
        "the audit is not whole: its oldest entry hangs on nothing".into()
    } else {
        format!("the audit is not whole, {breaks} places; the first: {broken}")
    }))
}

fn lines(answer: &Value, more: &str) -> String {
    let weight = |entry: &Value, side: &str| text(entry, &[side, "operator"]);
    let rows = items(answer, &["entries"]).iter().map(|entry| {
        let [seq, time, actor, action, reason] =
            ["seq", "time", "actor", "action", "reason"].map(|key| text(entry, &[key]));
        let scope = text(entry, &["after", "scope"]);
        let of = if scope.is_empty() { text(entry, &["region"]) } else { scope };
        [seq, time, actor, action, of, weight(entry, "before"), weight(entry, "after"), reason]
    });
    let mut said = list(["SEQ", "TIME", "ACTOR", "ACTION", "OF", "WAS", "IS", "REASON"], rows);
    let next = text(answer, &["next"]);
    if !next.is_empty() {
        said.push_str(&format!("\nthere is more: --{more} {next}\n"));
    }
    if let Some(lost) = at(answer, &["unreadable"]).as_u64().filter(|lost| *lost > 0) {
        said.push_str(&format!("\n{lost} lines could not be read; rhumb audit verify says which\n"));
    }
    said
}

//! Stays with something that takes its time at an edge, until it is over.
//!
//! Never: ends it because whoever watches leaves. It is the edge's.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::args::Format;
use super::edge::Edge;
use super::failure::Failure;
use super::out::Out;
use super::wire::text;

/// How often it is asked after.
const EVERY: Duration = Duration::from_millis(250);

/// So often in a row an edge may give no answer before nobody waits any more: ten seconds.
const SILENCES: u32 = 40;

/// Reads `path` until its `state` is none of `goes_on`, and shows `line` of it whenever that is another; how it ended.
pub fn follow(
    edge: &Edge,
    path: &str,
    goes_on: &[&str],
    line: fn(&Value) -> String,
    out: &mut Out<'_>,
) -> Result<Value, Failure> {
    let (mut last, mut silences) = (String::new(), 0);
    loop {
        let seen = match edge.read(path) {
            Ok(seen) => seen,
            Err(Failure::Failed(_)) if silences < SILENCES => {
                silences += 1;
                thread::sleep(EVERY);
                continue;
            }
            Err(why) => return Err(why),
        };
        silences = 0;
        let line = line(&seen);
        if out.format() == Format::Table && line != last {
            let redrawn = out.is_screen() && !last.is_empty();
            out.text(&format!("{}{line}", if redrawn { "\x1b[1A\x1b[2K" } else { "" }))?;
            last = line;
        }
        if !goes_on.contains(&text(&seen, &["state"]).as_str()) {
            if out.format() == Format::Json {
                out.text(&format!("{seen:#}"))?;
            }
            return Ok(seen);
        }
        thread::sleep(EVERY);
    }
}

/// How far something is, from 0 to 1, as twenty characters.
pub fn bar(way: f64) -> String {
    const WIDTH: usize = 20;
    let filled = (way.clamp(0.0, 1.0) * WIDTH as f64).round() as usize;
    format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled))
}

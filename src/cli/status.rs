//! `rhumb status`: how an edge is, on one screen.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::args::Format;
use super::edge::Edge;
use super::failure::{Done, Failure};
use super::out::{Out, pairs};
use super::regions;
use super::wire::{at, items, joined, problems, text};

/// How often a watched status is asked for.
pub const EVERY: Duration = Duration::from_secs(2);
/// Days.
const SOON: f64 = 14.0;
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows it once.
pub fn once(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/status")?;
    out.answer(&answer, full)
}

/// Shows it, and again `every` so often, until the process is interrupted or the reader goes away. An edge that
/// goes away later may come back; one that is not there at first is an error.
pub fn watch(edge: &Edge, every: Duration, out: &mut Out<'_>) -> Done {
    show(&frame(edge.read("/v1/status"), out.format())?, true, out)?;
    loop {
        thread::sleep(every);
        let next = match frame(edge.read("/v1/status"), out.format()) {
            // One object a line, and no line for an edge that did not answer.
            Err(Failure::Failed(_)) if out.format() == Format::Json => continue,
            Err(Failure::Failed(why)) => format!("{why}\n"),
            next => next?,
        };
        show(&next, false, out)?;
    }
}

fn frame(answer: Result<Value, Failure>, format: Format) -> Result<String, Failure> {
    answer.map(|answer| if format == Format::Json { answer.to_string() } else { full(&answer) })
}

fn show(frame: &str, first: bool, out: &mut Out<'_>) -> Done {
    match out.format() {
        Format::Table if out.is_screen() => out.text(&format!("{CLEAR}{frame}")),
        Format::Table if !first => out.text(&format!("\n{frame}")),
        Format::Table | Format::Json => out.text(frame),
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
        ("writes held", held(status).map_or_else(String::new, |held| held.to_string())),
    ]);
    let wrong = at(status, &["table"]);
    if !items(wrong, &["problems"]).is_empty() {
        said.push_str("\nThe table's files are not in force:\n");
        said.push_str(&problems(wrong));
    }
    for trouble in troubles(status) {
        said.push_str(&format!("\n{trouble}\n"));
    }
    let ending = items(status, &["certificates"]).iter().filter_map(ending).collect::<Vec<_>>();
    if !ending.is_empty() {
        said.push_str(&format!("\nCertificates that end soon:\n{}", ending.concat()));
    }
    let regions = items(status, &["regions"]);
    if !regions.is_empty() {
        said.push('\n');
        said.push_str(&regions::lines(regions));
    }
    said
}

/// How many writes wait for their tenant's ownership, where any do.
pub fn held(status: &Value) -> Option<u64> {
    at(status, &["ownership", "held_writes"]).as_u64().filter(|held| *held > 0)
}

/// What keeps operators from changing anything, what they set for nobody, and transfers that go on by no means.
pub fn troubles(status: &Value) -> Vec<String> {
    let (journal, dangling) = (text(status, &["journal"]), joined(status, &["dangling"]));
    let mut said = Vec::new();
    if !journal.is_empty() {
        said.push(format!("operators can change nothing: {journal}"));
    }
    if !dangling.is_empty() {
        said.push(format!("operators set weights for what the table does not have: {dangling}"));
    }
    for stuck in items(status, &["ownership", "under_way"]) {
        if at(stuck, &["stuck"]).as_bool() == Some(true) {
            let (id, why) = (text(stuck, &["id"]), text(stuck, &["trouble"]));
            said.push(format!("transfer {id} is stuck, and its writes wait: {why}"));
        }
    }
    said
}

/// A line on a certificate that an operator should look after by now.
fn ending(certificate: &Value) -> Option<String> {
    let days = at(certificate, &["days_left"]).as_f64().filter(|days| *days < SOON)?;
    let (kind, name) = (text(certificate, &["kind"]), text(certificate, &["name"]));
    Some(match days < 0.0 {
        true => format!("  {kind} {name}: ended {:.0} days ago\n", -days),
        false => format!("  {kind} {name}: in {days:.0} days\n"),
    })
}

fn first_of(status: &Value, paths: &[&[&str]]) -> String {
    paths.iter().map(|path| text(status, path)).find(|text| !text.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::edge::Trusted;
    use crate::cli::testing::Canned;
    use serde_json::json;
    use std::io::{self, Write};

    fn status() -> Value {
        json!({
            "edge": {"id": "edge-1", "region": "eu-west-1", "zone": null, "role": "edge"}, "version": "0.1.0",
            "ready": false, "why_not": "no region has been checked yet", "generation": 3,
            "table": {"generation": 3, "hash": "ab12", "tenants": 2, "loaded_at": "2025-11-21T01:26:00Z", "problems": [
                {"file": "routing.toml", "line": 4, "at": "tenants.acme", "what": "bad", "fix": "write good"}]},
            "regions": [{"region": "eu-west-1", "role": "active", "health": "UP", "weight": {"effective": 100}}],
        })
    }

    const TEXT: &str = "\
edge        edge-1
version     0.1.0
region      eu-west-1
role        edge
ready       no: no region has been checked yet
generation  3
tenants     2
table       ab12
loaded at   2025-11-21T01:26:00Z

The table's files are not in force:
routing.toml:
  line 4, tenants.acme: bad; write good

REGION     ROLE    HEALTH  WEIGHT  LAG  IN FLIGHT  ENDPOINTS  NOT UP
eu-west-1  active  UP      100
";

    #[test]
    fn the_status_fits_one_screen() {
        assert_eq!(full(&status()), TEXT);
    }

    #[test]
    fn what_dangles_and_what_ails_the_journal_are_said() {
        let mut status = status();
        assert!(troubles(&status).is_empty());
        status["journal"] = json!("no space left on device");
        status["dangling"] = json!(["mars", "eu-west-1/z"]);
        let said = full(&status);
        assert!(said.contains("\noperators can change nothing: no space left on device\n"), "{said}");
        assert!(said.contains("what the table does not have: mars, eu-west-1/z\n"), "{said}");
    }

    #[test]
    fn a_stuck_transfer_and_writes_that_wait_are_said() {
        let mut status = status();
        status["ownership"] =
            json!({"held_writes": 0, "under_way": [{"id": 2, "stuck": false, "trouble": "late"}]});
        assert_eq!(full(&status), TEXT);
        status["ownership"] =
            json!({"held_writes": 7, "under_way": [{"id": 3, "stuck": true, "trouble": "no answer"}]});
        let said = full(&status);
        assert!(said.contains("\nwrites held  7\n"), "{said}");
        assert!(said.contains("\ntransfer 3 is stuck, and its writes wait: no answer\n"), "{said}");
    }

    /// Takes so many answers, then closes.
    struct Reader {
        left: u8,
        read: String,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.read.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.left = self.left.saturating_sub(1);
            Ok(())
        }
    }

    fn watched(format: Format, screen: bool) -> String {
        let canned = Canned::start(200, &status().to_string());
        let edge = Edge::at(canned.url.parse().unwrap(), None, &Trusted::default()).unwrap();
        let mut reader = Reader { left: 2, read: String::new() };
        let ended = watch(&edge, Duration::ZERO, &mut Out::to(&mut reader, format, screen));
        assert!(matches!(ended, Err(Failure::Closed)), "{ended:?}");
        reader.read
    }

    #[test]
    fn a_watched_status_comes_again_until_its_reader_leaves() {
        assert_eq!(watched(Format::Table, false), format!("{TEXT}\n{TEXT}"));
        assert_eq!(watched(Format::Table, true), format!("{CLEAR}{TEXT}{CLEAR}{TEXT}"));
        assert_eq!(watched(Format::Json, false), format!("{0}\n{0}\n", status()));
    }

    #[test]
    fn an_edge_that_is_not_there_at_first_is_an_error() {
        // Nobody listens on port 1.
        let edge = Edge::at("127.0.0.1:1".parse().unwrap(), None, &Trusted::default()).unwrap();
        let mut reader = Reader { left: 1, read: String::new() };
        let ended = watch(&edge, Duration::ZERO, &mut Out::to(&mut reader, Format::Table, false));
        assert!(matches!(ended, Err(Failure::Failed(_))), "{ended:?}");
    }
}

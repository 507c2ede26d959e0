//! The tenants CSV: its rows, split by hand, are what the table then knows; line ends change nothing, a row that comes
//! twice is refused, and what is wrong is told in lines that exist.

use rhumb::control::document::parse_bytes;
use rhumb_decision::table::Table;

use super::table::{sound, told};

/// Regions, policies and cells for rows to name.
const TABLE: &str = r#"
[tenancy]
from = [{ header = "X-Tenant-ID" }]
[regions.eu]
jurisdiction = "eu"
endpoints = [{ address = "127.0.0.1:1", cell = "a" }, { address = "127.0.0.1:2", cell = "b" }]
cells = { a = { weight = 100 }, b = { weight = 50 } }
[regions.us]
jurisdiction = "us"
endpoints = ["127.0.0.1:3"]
[regions.ap]
jurisdiction = "ap"
endpoints = ["127.0.0.1:4"]
[policies.still]
topology = "home-only"
"#;

pub fn check(bytes: &[u8]) -> bool {
    let table = match parse_bytes(TABLE.as_bytes(), Some(bytes)) {
        Ok(table) => table,
        Err(problems) => {
            told(bytes, &problems);
            assert!(problems.list().iter().all(|problem| problem.file.ends_with("tenants.csv")));
            with_other_line_ends(bytes, false);
            return false;
        }
    };
    sound(&table);
    with_other_line_ends(bytes, true);
    let text = str::from_utf8(bytes).expect("rows that are no text are taken");
    if !text.contains(['"', '\r']) {
        by_hand(text, &table);
    }
    true
}

/// Whether CR LF ends the lines, or LF, is all the same.
fn with_other_line_ends(bytes: &[u8], taken: bool) {
    if bytes.contains(&b'\r') || bytes.len() > 200 << 10 {
        return;
    }
    let other: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| match byte {
            b'\n' => &b"\r\n"[..],
            other => std::slice::from_ref(other),
        })
        .copied()
        .collect();
    assert_eq!(parse_bytes(TABLE.as_bytes(), Some(&other)).is_ok(), taken, "line ends change the outcome");
}

fn by_hand(text: &str, table: &Table) {
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = unmarked.split('\n').filter(|line| !line.trim_ascii().is_empty());
    let columns: Vec<&str> = lines.next().expect("no header row").split(',').map(str::trim_ascii).collect();
    let mut last = None;
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(',').map(str::trim_ascii).collect();
        assert_eq!(fields.len(), columns.len());
        let field = |name: &str| {
            let at = columns.iter().position(|column| *column == name);
            at.map_or("", |at| fields[at])
        };
        let tenant = table.tenants().find(field("id")).expect("a row is lost");
        assert_eq!(table.region_name(tenant.profile.home), field("home"));
        let epoch = if field("epoch").is_empty() { "1" } else { field("epoch") };
        assert_eq!(Some(tenant.epoch.0), epoch.parse().ok());
        let state = if field("state").is_empty() { "active" } else { field("state") };
        assert_eq!(tenant.state.code(), state);
        let residency: Vec<&str> = tenant.profile.residency.iter().map(|name| &**name).collect();
        let mut wanted: Vec<&str> = field("residency").split_ascii_whitespace().collect();
        let mut known = residency.clone();
        wanted.sort_unstable();
        wanted.dedup();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known, wanted);
        last = Some(line);
        count += 1;
    }
    assert_eq!(table.tenants().len(), count);
    if let Some(last) = last {
        let twice = format!("{text}\n{last}\n");
        assert!(parse_bytes(TABLE.as_bytes(), Some(twice.as_bytes())).is_err(), "a tenant may come twice");
    }
}

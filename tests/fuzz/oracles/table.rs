//! The routing table: what is taken is TOML to others too, knows its own tenants, keeps each within its residency, and
//! decides; what is not taken is told in lines that exist, each of them one line.

use std::sync::Arc;

use rhumb::control::document::parse_bytes;
use rhumb::problem::Problems;
use rhumb_decision::snapshot::Snapshot;
use rhumb_decision::table::Table;
use rhumb_decision::{Course, Facts, decide};

pub fn check(bytes: &[u8]) -> bool {
    match parse_bytes(bytes, None) {
        Ok(table) => {
            taken(bytes, table);
            true
        }
        Err(problems) => {
            told(bytes, &problems);
            false
        }
    }
}

/// Holds that problems can be shown to a person: of this text, or of no place.
pub fn told(bytes: &[u8], problems: &Problems) {
    assert!(!problems.is_empty());
    let lines = bytes.split(|&byte| byte == b'\n').count();
    for problem in problems.list() {
        assert!(problem.line as usize <= lines, "{problem} is behind the last line, {lines}");
        assert!(!problem.what.is_empty());
        let shown = problem.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?} is more than a line");
    }
}

fn taken(bytes: &[u8], table: Table) {
    let text = str::from_utf8(bytes).expect("a table that is no text is taken");
    let plain: toml::Table = text.parse().expect("a table that is no TOML is taken");
    let regions = plain.get("regions").and_then(toml::Value::as_table).map_or(0, toml::Table::len);
    let tenants = plain.get("tenants").and_then(toml::Value::as_table).map_or(0, toml::Table::len);
    assert_eq!((table.regions().len(), table.tenants().len()), (regions, tenants));
    sound(&table);

    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    let commented = format!("# A remark.\n{unmarked}");
    assert!(parse_bytes(commented.as_bytes(), None).is_ok(), "a remark changes it");
    let strange = format!("no-such-key = 1\n{unmarked}");
    assert!(parse_bytes(strange.as_bytes(), None).is_err(), "an unknown key is taken");
    decides(Arc::new(table));
}

/// Holds what every table promises of its tenants.
pub fn sound(table: &Table) {
    assert_eq!(table.tenants().iter().count(), table.tenants().len());
    for (id, tenant) in table.tenants().iter() {
        let found = table.tenants().find(id).expect("a tenant is there and not found");
        assert_eq!(found.at, tenant.at);
        let profile = tenant.profile;
        let all = profile.standby.iter().chain(&profile.replicas).chain([&profile.home]);
        for region in all {
            assert!(profile.allowed.contains(*region), "{id} is placed outside of its residency");
            let jurisdiction = &table.region(*region).expect("a region that is not there").jurisdiction;
            assert!(profile.residency.is_empty() || profile.residency.contains(jurisdiction), "{id}");
        }
    }
}

/// Asks for some of its tenants: an answer, and never a region that the tenant may not reach.
fn decides(table: Arc<Table>) {
    let snapshot = Snapshot::offline(Arc::clone(&table));
    for (id, tenant) in table.tenants().iter().take(8) {
        for source in table.region_ids().take(4) {
            for (method, path) in [("GET", "/"), ("POST", "/v1/cases"), ("GET", "/v1/cases/search")] {
                let host = format!("{}.app.example", id.to_ascii_lowercase());
                let facts = Facts { tenant_headers: &[id], ..Facts::new(method, &host, path, source) };
                let decision = decide(&facts, &snapshot);
                if let (Course::Forward { region, .. }, Some(_)) = (&decision.course, decision.tenant) {
                    assert!(tenant.profile.allowed.contains(*region), "{id} leaves its residency");
                }
            }
        }
    }
}

//! The body of a health answer: bounded whatever it holds, the same when it is said again, and no capability that is
//! plainly DOWN is overheard.

use rhumb::control::prober::report::{MAX_BODY, Report, parse_body};
use rhumb_decision::checks::{MAX_CAPABILITIES, MAX_NAME, MAX_POSITION, MAX_SOURCES};
use rhumb_decision::health::Status;
use serde_json::{Map, Value, json};

pub fn check(bytes: &[u8]) -> bool {
    let report = parse_body(bytes);
    bounded(&report);
    if bytes.len() > MAX_BODY {
        assert_eq!(report, Report::default());
        return false;
    }
    let said_again = parse_body(&said(&report));
    assert_eq!((&said_again.status, &said_again.position), (&report.status, &report.position));
    assert_eq!(said_again.capabilities, report.capabilities);
    assert_eq!(said_again.replication.len(), report.replication.len());
    for (one, other) in said_again.replication.iter().zip(&report.replication) {
        assert_eq!((&one.source, &one.position), (&other.source, &other.position));
        assert_eq!(one.lag.is_some(), other.lag.is_some());
        // A second is no whole number of binary fractions, so a lag may come back rounded up once more.
        let apart = one.lag.zip(other.lag).map_or(0, |(one, other)| one.0.abs_diff(other.0));
        assert!(apart <= 1 || other.lag.is_some_and(|lag| lag.0 > 1 << 50), "{apart}");
    }
    if let Ok(Value::Object(top)) = serde_json::from_slice(bytes) {
        heard(&top, &report);
    }
    report != Report::default()
}

fn bounded(report: &Report) {
    let name = |name: &str, longest| {
        !name.is_empty() && name.len() <= longest && !name.chars().any(char::is_control)
    };
    assert!(report.capabilities.len() <= MAX_CAPABILITIES && report.replication.len() <= MAX_SOURCES);
    assert!(report.capabilities.iter().all(|(capability, _)| name(capability, MAX_NAME)));
    assert!(report.capabilities.is_sorted_by(|(one, _), (next, _)| one < next), "a capability comes twice");
    assert!(report.replication.is_sorted_by(|one, next| one.source < next.source), "a source comes twice");
    for copy in &report.replication {
        assert!(name(&copy.source, MAX_NAME) && (copy.lag.is_some() || copy.position.is_some()));
        assert!(copy.position.as_deref().is_none_or(|position| name(position, MAX_POSITION)));
    }
    assert!(report.position.as_deref().is_none_or(|position| name(position, MAX_POSITION)));
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "UP",
        Status::Degraded => "DEGRADED",
        _ => "DOWN",
    }
}

fn said(report: &Report) -> Vec<u8> {
    let mut top = Map::new();
    if let Some(status) = report.status {
        top.insert("status".into(), json!(word(status.status())));
    }
    if let Some(position) = &report.position {
        top.insert("position".into(), json!(position));
    }
    let capabilities =
        report.capabilities.iter().map(|(name, status)| (name.to_string(), json!(word(*status))));
    top.insert("capabilities".into(), Value::Object(capabilities.collect()));
    let replication = report.replication.iter().map(|copy| {
        let mut said = Map::new();
        if let Some(lag) = copy.lag {
            said.insert("lag_seconds".into(), json!(lag.0 as f64 / 1_000.0));
        }
        if let Some(position) = &copy.position {
            said.insert("position".into(), json!(position));
        }
        (copy.source.to_string(), Value::Object(said))
    });
    top.insert("replication".into(), Value::Object(replication.collect()));
    serde_json::to_vec(&Value::Object(top)).unwrap()
}

/// What plain JSON says is in the report.
fn heard(top: &Map<String, Value>, report: &Report) {
    let plain = |value: Option<&Value>| {
        let word = value.and_then(Value::as_str)?;
        ["UP", "DEGRADED", "DOWN"].into_iter().find(|known| *known == word)
    };
    assert_eq!(report.status.map(|status| word(status.status())), plain(top.get("status")));
    let Some(capabilities) = top.get("capabilities").and_then(Value::as_object) else {
        assert!(report.capabilities.is_empty());
        return;
    };
    if capabilities.len() > MAX_CAPABILITIES {
        return;
    }
    for (name, said) in capabilities {
        let sound = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        let heard = report.capabilities.iter().find(|(known, _)| **known == **name);
        let wanted = plain(Some(said)).filter(|_| sound);
        assert_eq!(heard.map(|(_, status)| word(*status)), wanted, "{name}");
    }
}

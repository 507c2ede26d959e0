//! What the body of an answer to a check says.
//!
//! Whatever cannot be meant is ignored by itself, so that one bad number does not hide that a capability is down.
//! Never: more than the bounds of `rhumb_decision::checks`, a panic, or an error: a body that says nothing is fine.

use rhumb_decision::checks::{Answer, MAX_CAPABILITIES, MAX_NAME, MAX_POSITION, MAX_SOURCES, Replication};
use rhumb_decision::health::Status;
use rhumb_decision::units::Millis;
use serde_json::Value;

/// The longest body that is read, in bytes. A longer one says nothing.
pub const MAX_BODY: usize = 64 * 1024;

/// What a body says; the default says nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// What the endpoint says of itself.
    pub status: Option<Answer>,
    /// What it says of its capabilities: each name once, by name.
    pub capabilities: Vec<(Box<str>, Status)>,
    /// How its copy stands to those of other regions: each once, by name.
    pub replication: Vec<Replication>,
    /// The position of its own writes.
    pub position: Option<Box<str>>,
    /// How old what it says of copies and positions is: a gateway answers by checks of its own.
    pub age: Millis,
}

/// Reads a body.
///
/// - Not JSON (a number beyond what 64 bits hold is none), no object at its top, nested more than 127 deep, or above [`MAX_BODY`]: it says nothing.
/// - `NaN` and `Infinity`, which are not JSON but what some libraries write, count as `null`.
/// - A status or capability other than `UP`, `DEGRADED` and `DOWN`, a lag that is negative, and names and positions
///   that are empty, too long or hold control characters: each is ignored by itself.
#[must_use]
pub fn parse_body(body: &[u8]) -> Report {
    if body.len() > MAX_BODY {
        return Report::default();
    }
    let parsed = serde_json::from_slice(body).or_else(|_| serde_json::from_slice(&without_non_numbers(body)));
    let Ok(Value::Object(top)) = parsed else { return Report::default() };
    Report {
        status: top.get("status").and_then(answer),
        capabilities: members(&top, "capabilities")
            .filter_map(|(name, said)| Some((name.into(), answer(said)?.status())))
            .take(MAX_CAPABILITIES)
            .collect(),
        replication: members(&top, "replication")
            .map(|(source, said)| Replication {
                source: source.into(),
                lag: said.get("lag_seconds").and_then(lag),
                position: said.get("position").and_then(position),
            })
            .filter(|replication| replication.lag.is_some() || replication.position.is_some())
            .take(MAX_SOURCES)
            .collect(),
        position: top.get("position").and_then(position),
        age: top.get("age_seconds").and_then(lag).unwrap_or_default(),
    }
}

fn members<'v>(
    top: &'v serde_json::Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (&'v str, &'v Value)> {
    let members = top.get(key).and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, said)| (name.as_str(), said)).filter(|(name, _)| is_sound(name, MAX_NAME))
}

fn answer(said: &Value) -> Option<Answer> {
    Answer::of_code(said.as_str()?)
}

/// Rounded up: a copy is never fresher than it says.
fn lag(said: &Value) -> Option<Millis> {
    let millis = (said.as_f64()? * 1_000.0).ceil();
    (said.as_f64()? >= 0.0 && millis.is_finite()).then_some(Millis(millis as u64))
}

/// A text, or a whole number, which says the same.
fn position(said: &Value) -> Option<Box<str>> {
    match said {
        Value::String(text) => is_sound(text, MAX_POSITION).then(|| text.as_str().into()),
        other => other.as_u64().map(|number| number.to_string().into()),
    }
}

fn is_sound(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
}

/// The same text with `null` for every `NaN`, `Infinity` and `-Infinity` outside of strings.
fn without_non_numbers(body: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut rest = body;
    let mut in_string = false;
    while let Some((&first, after)) = rest.split_first() {
        let word = [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| rest.starts_with(word));
        match (in_string, first, word) {
            (true, b'\\', _) => {
                // What is escaped comes along, so that an escaped quote ends nothing.
                let pair = rest.get(..2).unwrap_or(rest);
                clean.extend_from_slice(pair);
                rest = rest.get(pair.len()..).unwrap_or_default();
            }
            (false, _, Some(word)) => {
                clean.extend_from_slice(b"null");
                rest = rest.get(word.len()..).unwrap_or_default();
            }
            _ => {
                in_string ^= first == b'"';
                clean.push(first);
                rest = after;
            }
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capability(body: &str) -> Vec<(Box<str>, Status)> {
        parse_body(body.as_bytes()).capabilities
    }

    #[test]
    fn a_whole_body_is_read() {
        let report = parse_body(
            br#"{"status":"DEGRADED",
                 "capabilities":{"case.read":"UP","case.write":"DOWN","case.search":"DEGRADED"},
                 "position":"184999",
                 "replication":{"us-east-1":{"lag_seconds":0.8,"position":"184467"}}}"#,
        );
        let us = Replication {
            source: "us-east-1".into(),
            lag: Some(Millis(800)),
            position: Some("184467".into()),
        };
        let capabilities = vec![
            ("case.read".into(), Status::Up),
            ("case.search".into(), Status::Degraded),
            ("case.write".into(), Status::Down),
        ];
        let status = Some(Answer::Degraded);
        assert_eq!(
            report,
            Report {
                status,
                capabilities,
                replication: vec![us],
                position: Some("184999".into()),
                age: Millis(0),
            }
        );
    }

    #[test]
    fn the_age_of_a_report_is_a_time_and_never_less_than_it_says() {
        let age = |text: &str| parse_body(format!(r#"{{"age_seconds":{text}}}"#).as_bytes()).age;
        assert_eq!(["0", "1.5", "0.0001"].map(age), [Millis(0), Millis(1_500), Millis(1)]);
        assert_eq!(["-1", "null", "\"2\"", "NaN"].map(age), [Millis(0); 4]);
    }

    #[test]
    fn what_is_no_report_says_nothing() {
        let deep = "[".repeat(40_000);
        let deep_inside = format!(r#"{{"status":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        let long = format!(r#"{{"status":"DOWN","x":"{}"}}"#, "x".repeat(MAX_BODY));
        let bodies = [
            "",
            " ",
            "OK",
            "null",
            "[]",
            "\"DOWN\"",
            "{\"status\":\"DOWN\"",
            "{]",
            &deep,
            &deep_inside,
            &long,
        ];
        for body in bodies {
            assert_eq!(parse_body(body.as_bytes()), Report::default(), "{:.40}", body);
        }
        assert_eq!(parse_body(b"{\"status\":\"\xff\"}"), Report::default());
    }

    #[test]
    fn what_cannot_be_meant_is_ignored_by_itself() {
        let body = r#"{"status":"FINE","position":{},"capabilities":{"a":"SIDEWAYS","b":7,"c":null,"":"UP",
            "d\u0000":"UP","e":["UP"],"case.write":"DOWN"},"replication":{"eu":{"lag_seconds":-1},"us":[],
            "ap":{"lag_seconds":"1","position":"x\ny"},"af":{"lag_seconds":1e300,"position":7}}}"#;
        let report = parse_body(body.as_bytes());
        assert_eq!((report.status, report.position), (None, None));
        assert_eq!(report.capabilities, [("case.write".into(), Status::Down)]);
        let far =
            Replication { source: "af".into(), lag: Some(Millis(u64::MAX)), position: Some("7".into()) };
        assert_eq!(report.replication, [far], "what says nothing is left out");
        let body = r#"{"capabilities":"UP","replication":[1],"status":{"status":"DOWN"}}"#;
        assert_eq!(parse_body(body.as_bytes()), Report::default());
    }

    #[test]
    fn a_lag_that_is_no_number_hides_nothing_else() {
        for lag in ["NaN", "-Infinity", "Infinity"] {
            let body = format!(
                r#"{{"note\\\"NaN":"NaN \" NaN","replication":{{"us":{{"lag_seconds":{lag},"position":"1"}}}},
                    "capabilities":{{"NaN":"UP","case.write":"DOWN"}}}}"#
            );
            let report = parse_body(body.as_bytes());
            assert_eq!(
                report.capabilities,
                [("NaN".into(), Status::Up), ("case.write".into(), Status::Down)]
            );
            assert_eq!(report.replication.first().map(|us| us.lag), Some(None), "{lag}");
        }
    }

    #[test]
    fn a_lag_is_rounded_up() {
        let lag = |text: &str| {
            let body = format!(r#"{{"replication":{{"us":{{"lag_seconds":{text}}}}}}}"#);
            parse_body(body.as_bytes()).replication.first().and_then(|us| us.lag)
        };
        assert_eq!([lag("0"), lag("0.0001"), lag("60")], [0, 1, 60_000].map(|ms| Some(Millis(ms))));
        assert_eq!([lag("-0.0001"), lag("true"), lag("\"1\"")], [None; 3]);
    }

    #[test]
    fn much_is_cut() {
        let many =
            |n: usize, value: &str| (0..n).map(|i| format!("\"n{i}\":{value}")).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"capabilities":{{{}}}}}"#, many(5_000, "\"UP\""));
        assert_eq!(capability(&body).len(), MAX_CAPABILITIES);
        let body = format!(r#"{{"replication":{{{}}}}}"#, many(1_000, r#"{"lag_seconds":1}"#));
        assert_eq!(parse_body(body.as_bytes()).replication.len(), MAX_SOURCES);
        let long = "x".repeat(MAX_NAME + 1);
        assert_eq!(capability(&format!(r#"{{"capabilities":{{"{long}":"UP","y":"UP"}}}}"#)).len(), 1);
        let long = "1".repeat(MAX_POSITION + 1);
        assert_eq!(parse_body(format!(r#"{{"position":"{long}"}}"#).as_bytes()).position, None);
    }

    #[test]
    fn the_last_of_two_words_counts() {
        assert_eq!(capability(r#"{"capabilities":{"a":"UP","a":"DOWN"}}"#), [("a".into(), Status::Down)]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let report = parse_body(&body);
            prop_assert!(report.capabilities.len() <= MAX_CAPABILITIES);
        }

        #[test]
        fn no_pieces_of_json_break_it(pieces in proptest::collection::vec(piece(), 0..60)) {
            let report = parse_body(pieces.concat().as_bytes());
            prop_assert!(report.capabilities.iter().all(|(name, _)| !name.is_empty() && name.len() <= MAX_NAME));
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\"status\"",
            "\"capabilities\"",
            "\"replication\"",
            "\"lag_seconds\"",
            "\"position\"",
            "\"DOWN\"",
            "\"UP\"",
            "NaN",
            "-Infinity",
            "-1",
            "1e400",
            "null",
            "{\"replication\":{\"us\":{\"lag_seconds\":",
            "\u{feff}",
        ])
    }
}

//! `rhumb regions`: what an edge knows of its regions.

use serde_json::Value;

use super::edge::{Edge, segment};
use super::failure::Done;
use super::out::{Out, list as table, pairs};
use super::wire::{at, entries, items, plain, text};

/// Shows every region, one line each.
pub fn list(edge: &Edge, out: &mut Out<'_>) -> Done {
    let answer = edge.read("/v1/regions")?;
    out.answer(&answer, |answer| lines(regions_of(answer)))
}

/// Shows one region in full.
pub fn one(edge: &Edge, name: &str, out: &mut Out<'_>) -> Done {
    let answer = edge.read(&format!("/v1/regions/{}", segment(name)))?;
    out.answer(&answer, full)
}

/// The regions in an answer: a list, or a list under `regions`.
pub fn regions_of(answer: &Value) -> &[Value] {
    answer.as_array().map_or_else(|| items(answer, &["regions"]), Vec::as_slice)
}

/// One line for each region, and below it one for each weight that an operator set.
pub fn lines(regions: &[Value]) -> String {
    let heading = ["REGION", "ROLE", "HEALTH", "WEIGHT", "LAG", "IN FLIGHT", "ENDPOINTS", "NOT UP"];
    let mut said = table(
        heading,
        regions.iter().map(|region| {
            let endpoints = items(region, &["endpoints"]);
            let fit = endpoints.iter().filter(|endpoint| takes_traffic(&health(endpoint))).count();
            [
                text(region, &["region"]),
                text(region, &["role"]),
                health(region),
                weight(region),
                worst_lag(region).map_or_else(String::new, in_seconds),
                text(region, &["in_flight"]),
                if endpoints.is_empty() { String::new() } else { format!("{fit} of {}", endpoints.len()) },
                not_up(region),
            ]
        }),
    );
    let set: Vec<_> = regions.iter().flat_map(set).collect();
    if !set.is_empty() {
        said.push('\n');
        let row = |set: Set| [set.scope, set.weight, set.by, set.until, set.drain, set.reason];
        said.push_str(&table(
            ["SET FOR", "WEIGHT", "BY", "UNTIL", "DRAIN", "REASON"],
            set.into_iter().map(row),
        ));
    }
    said
}

/// What `rhumb top` says of the region that is looked at, beside what operators set; no line for what is not known.
pub fn more(region: &Value) -> Vec<String> {
    let said = |path: &[&str]| text(region, path);
    let figure = |key: &str, unit: &str, times: f64| {
        let known = at(region, &["traffic", key]).as_f64();
        known.map_or_else(String::new, |known| format!("{:.1}{unit}", known * times))
    };
    let named = |name: &str, value: String| if value.is_empty() { value } else { format!("{name} {value}") };
    let lags = entries(region, &["replication"]).map(|(of, behind)| format!("{of} {}", lag(behind)));
    let line = |parts: &[String]| {
        parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    };
    let lines = [
        line(&[said(&["role"]), said(&["jurisdiction"]), health(region), named("weight", weight(region))]),
        line(&[
            figure("requests_per_second", " requests/s", 1.0),
            figure("error_rate", " % errors", 100.0),
            named("p50", figure("p50_ms", " ms", 1.0)),
            named("p99", figure("p99_ms", " ms", 1.0)),
        ]),
        line(&[
            named("in flight", in_flight(region)),
            named("capacity", per_second(&said(&["capacity"]))),
            named("round trip", milliseconds(region)),
        ]),
        named("lag:", lags.collect::<Vec<_>>().join(", ")),
        named("not up:", not_up(region)),
        named("not ready:", not_ready(region).join(", ")),
    ];
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

/// What an operator set for a region or a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// `REGION` or `REGION/CELL`.
    pub scope: String,
    /// In percent; empty: none any more, and the drain goes back.
    pub weight: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: String,
    /// The drain that says the weight, and how far it is.
    pub drain: String,
}

impl Set {
    /// On one line, with what may be long at its end.
    pub fn line(&self) -> String {
        let mut line = format!("by {}", self.by);
        if !self.drain.is_empty() {
            line.push_str(&format!(", drain {}", self.drain));
        }
        if !self.until.is_empty() {
            line.push_str(&format!(", until {}", self.until));
        }
        format!("{line}: {}", self.reason)
    }
}

/// What operators set for a region, then for its cells.
pub fn set(region: &Value) -> Vec<Set> {
    let name = text(region, &["region"]);
    let cells = entries(region, &["cells"]).map(|(cell, of)| (format!("{name}/{cell}"), of));
    let all = std::iter::once((name.clone(), region)).chain(cells);
    all.filter_map(|(scope, of)| set_for(scope, of)).collect()
}

fn set_for(scope: String, of: &Value) -> Option<Set> {
    let (weight, drain) = (at(of, &["weight"]), at(of, &["drain"]));
    if at(weight, &["operator"]).is_null() && drain.is_null() {
        return None;
    }
    // Of a drain that ends or is about to, the weight may name nobody.
    let who = |key: &str| Some(text(weight, &[key])).filter(|said| !said.is_empty());
    let who = |key: &str| who(key).unwrap_or_else(|| text(drain, &[key]));
    Some(Set {
        scope,
        weight: text(weight, &["operator"]),
        by: who("by"),
        reason: who("reason"),
        until: who("until"),
        drain: under_way(drain),
    })
}

/// A drain in a few words; none where there is none.
fn under_way(drain: &Value) -> String {
    if drain.is_null() {
        return String::new();
    }
    let said = |key: &str| text(drain, &[key]);
    let mut words = format!("{} {}, {} -> {}", said("id"), said("state"), said("from"), said("to"));
    if !said("eta").is_empty() {
        words.push_str(&format!(", there at {}", said("eta")));
    }
    if !said("paused_by").is_empty() {
        words.push_str(&format!(", by {}", said("paused_by")));
    }
    words
}

fn full(region: &Value) -> String {
    let score = at(region, &["readiness", "score"]).as_f64();
    let mut said = pairs([
        ("region", text(region, &["region"])),
        ("jurisdiction", text(region, &["jurisdiction"])),
        ("role", text(region, &["role"])),
        ("health", health(region)),
        ("weight", weight(region)),
        ("weight set by", text(region, &["weight", "by"])),
        ("weight set for", text(region, &["weight", "reason"])),
        ("weight set until", text(region, &["weight", "until"])),
        ("drain", under_way(at(region, &["drain"]))),
        ("capabilities", each(region, "capabilities", plain)),
        ("replication", each(region, "replication", lag)),
        ("round trip", milliseconds(region)),
        ("in flight", in_flight(region)),
        ("capacity", per_second(&text(region, &["capacity"]))),
        ("cells", each(region, "cells", cell)),
        ("readiness", score.map_or_else(String::new, |score| format!("{:.0} %", score * 100.0))),
        ("not ready", not_ready(region).join("\n")),
    ]);
    let endpoints = items(region, &["endpoints"]);
    if !endpoints.is_empty() {
        said.push('\n');
        let rows = endpoints.iter().map(|endpoint| {
            let (address, declared) = (text(endpoint, &["address"]), text(endpoint, &["declared"]));
            let name = if declared == address { String::new() } else { declared };
            let [zone, cell, passive] = ["zone", "cell", "passive"].map(|key| text(endpoint, &[key]));
            [address, name, zone, cell, health(endpoint), passive]
        });
        said.push_str(&table(["ENDPOINT", "NAMED", "ZONE", "CELL", "HEALTH", "TRAFFIC SAYS"], rows));
    }
    said
}

/// A region's or endpoint's health: a word, or the word within what says more.
pub fn health(of: &Value) -> String {
    [&["health"][..], &["health", "status"], &["status"], &["checked"]]
        .into_iter()
        .map(|path| at(of, path))
        .find_map(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn takes_traffic(status: &str) -> bool {
    matches!(status, "UP" | "DEGRADED")
}

/// The effective weight, and the configured one where an operator's word stands above it.
fn weight(region: &Value) -> String {
    let effective = text(region, &["weight", "effective"]);
    if at(region, &["weight", "operator"]).is_null() {
        return if effective.is_empty() { text(region, &["weight"]) } else { effective };
    }
    super::drain::three(at(region, &["weight"]))
}

/// The checks of its readiness that fail, each with why.
fn not_ready(region: &Value) -> Vec<String> {
    let failing = items(region, &["readiness", "failing"]).iter();
    failing.map(|one| format!("{}: {}", text(one, &["check"]), text(one, &["why"]))).collect()
}

fn not_up(region: &Value) -> String {
    let names = entries(region, &["capabilities"]).filter(|(_, status)| status.as_str() != Some("UP"));
    names.map(|(name, status)| format!("{name} {}", plain(status))).collect::<Vec<_>>().join(", ")
}

/// Seconds by which the worst of its copies lags.
pub fn worst_lag(region: &Value) -> Option<f64> {
    entries(region, &["replication"]).filter_map(|(_, behind)| seconds(behind)).reduce(f64::max)
}

fn seconds(behind: &Value) -> Option<f64> {
    at(behind, &["lag_seconds"]).as_f64().or_else(|| behind.as_f64())
}

fn in_seconds(lag: f64) -> String {
    format!("{lag:.1} s")
}

fn lag(behind: &Value) -> String {
    let position = text(behind, &["position"]);
    let position = if position.is_empty() { position } else { format!("at {position}") };
    let lag = seconds(behind).map_or_else(String::new, |lag| format!("{} behind", in_seconds(lag)));
    [lag, position].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn milliseconds(region: &Value) -> String {
    at(region, &["round_trip_ms"]).as_f64().map_or_else(String::new, |trip| format!("{trip:.1} ms"))
}

fn in_flight(region: &Value) -> String {
    let (now, most) = (text(region, &["in_flight"]), text(region, &["max_in_flight"]));
    if most.is_empty() { now } else { format!("{now}, at most {most}") }
}

fn cell(cell: &Value) -> String {
    let weight = weight(cell);
    if weight.is_empty() { plain(cell) } else { format!("weight {weight}") }
}

fn per_second(capacity: &str) -> String {
    if capacity.is_empty() { String::new() } else { format!("{capacity} requests/s") }
}

fn each(region: &Value, key: &str, show: impl Fn(&Value) -> String) -> String {
    entries(region, &[key])
        .map(|(name, value)| format!("{name} {}", show(value)))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn eu() -> Value {
        json!({
            "region": "eu-west-1", "role": "active", "jurisdiction": "eu",
            "weight": {"configured": 100, "operator": 40, "effective": 40, "by": "mia", "reason": "disk", "until": null},
            "health": "DEGRADED",
            "capabilities": {"case.read": "UP", "case.write": "DOWN"},
            "endpoints": [
                {"address": "10.1.0.10:8080", "declared": "10.1.0.10:8080", "zone": "a", "cell": null,
                    "status": "UP", "passive": "trusted"},
                {"address": "10.1.0.11:8080", "declared": "eu.internal:8080", "zone": "b", "cell": null,
                    "status": "DOWN", "passive": "ejected"},
            ],
            "replication": {"us-east-1": {"lag_seconds": 0.8, "position": "184467"}},
            "in_flight": 12, "max_in_flight": 4000, "round_trip_ms": 0.4375, "capacity": 20000, "cells": {},
            "readiness": {"score": 0.67, "failing": [
                {"check": "lag", "why": "75 s behind us-east-1, 60 s are the most"},
                {"check": "drill", "why": "no drill was ever done with it"},
            ]},
        })
    }

    #[test]
    fn regions_are_one_line_each() {
        let us = json!({"region": "us-east-1", "role": "standby", "health": "UNKNOWN",
            "weight": {"configured": 100, "operator": null, "effective": 100}});
        assert_eq!(
            lines(&[eu(), us]),
            "\
REGION     ROLE     HEALTH    WEIGHT                            LAG    IN FLIGHT  ENDPOINTS  NOT UP
eu-west-1  active   DEGRADED  40 (configured 100, operator 40)  0.8 s  12         1 of 2     case.write DOWN
us-east-1  standby  UNKNOWN   100

SET FOR    WEIGHT  BY   UNTIL  DRAIN  REASON
eu-west-1  40      mia                disk
"
        );
        let eu = json!({"region": "eu-west-1", "weight": {"operator": null, "by": "mia"}});
        assert!(!lines(&[eu]).contains("SET FOR"), "nothing is set");
    }

    #[test]
    fn what_operators_set_is_listed_with_who_why_until_when_and_the_drain_under_way() {
        let eu = json!({"region": "eu",
        "weight": {"operator": 70, "by": "mia", "reason": "disk", "until": "2026-01-01T02:00:00Z"},
        "drain": {"id": 3, "state": "paused", "from": 100, "to": 0, "eta": null, "paused_by": "error_rate 3 %"},
        "cells": {
            "a": {"weight": {"operator": 0, "by": "ben", "reason": "rebuilt"}, "drain": null},
            "b": {"weight": {"operator": null}, "drain": null},
            "c": {"weight": {"operator": null}, "drain": {"id": 4, "state": "undoing", "from": 100, "to": 0,
                "eta": "2026-01-01T01:00:00Z", "by": "kim", "reason": "over"}},
        }});
        let said = lines(std::slice::from_ref(&eu));
        let (_, said) = said.split_once("\n\n").unwrap();
        assert_eq!(
            said,
            "\
SET FOR  WEIGHT  BY   UNTIL                 DRAIN                                               REASON
eu       70      mia  2026-01-01T02:00:00Z  3 paused, 100 -> 0, by error_rate 3 %               disk
eu/a     0       ben                                                                            rebuilt
eu/c             kim                        4 undoing, 100 -> 0, there at 2026-01-01T01:00:00Z  over
"
        );
        assert_eq!(
            set(&eu)[0].line(),
            "by mia, drain 3 paused, 100 -> 0, by error_rate 3 %, until 2026-01-01T02:00:00Z: disk"
        );
    }

    #[test]
    fn a_region_in_full_says_what_is_known_and_no_more() {
        assert_eq!(
            full(&eu()),
            "\
region          eu-west-1
jurisdiction    eu
role            active
health          DEGRADED
weight          40 (configured 100, operator 40)
weight set by   mia
weight set for  disk
capabilities    case.read UP
                case.write DOWN
replication     us-east-1 0.8 s behind, at 184467
round trip      0.4 ms
in flight       12, at most 4000
capacity        20000 requests/s
readiness       67 %
not ready       lag: 75 s behind us-east-1, 60 s are the most
                drill: no drill was ever done with it

ENDPOINT        NAMED             ZONE  CELL  HEALTH  TRAFFIC SAYS
10.1.0.10:8080                    a           UP      trusted
10.1.0.11:8080  eu.internal:8080  b           DOWN    ejected
"
        );
        assert_eq!(full(&json!({"region": "x"})), "region  x\n");
    }

    #[test]
    fn a_list_is_found_with_and_without_its_key() {
        assert_eq!(regions_of(&json!([{"region": "a"}])).len(), 1);
        assert_eq!(regions_of(&json!({"regions": [{"region": "a"}]})).len(), 1);
    }
}

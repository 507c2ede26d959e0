//! Guards of a drain: what must not happen at the regions that get its traffic, or else it is paused.
//!
//! Never: lets a drain go on by itself that a guard has paused; that is an operator's to do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rhumb_decision::operated::DrainId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::control::traffic::Figures;

/// What a guard looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Limit {
    /// The share of requests that fail: 0.0 to 1.0.
    Errors(f64),
    /// The time within which all but one in a hundred responses begin.
    P99(Duration),
    /// Requests in flight.
    InFlight(u32),
}

/// Fewer requests than these in a second say nothing of a share of them.
const TELLING: f64 = 1.0;

/// One guard, as it is written: `error_rate>2%`, `p99>800ms`, `in_flight>5000`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Guard(Limit);

/// What is wrong with a guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write error_rate>2%, p99>800ms or in_flight>5000")]
pub struct NoGuard;

impl Guard {
    /// What of a region breaks it; `None`: it holds.
    #[must_use]
    pub fn broken_by(&self, region: &str, figures: &Figures, in_flight: u32) -> Option<String> {
        match self.0 {
            Limit::Errors(most) if figures.requests >= TELLING && figures.errors > most => Some(format!(
                "{:.1} % of the requests to {region} fail, guard {self}",
                figures.errors * 100.0
            )),
            Limit::P99(most) => {
                let p99 = figures.p99.filter(|p99| figures.requests >= TELLING && *p99 > most)?;
                Some(format!("p99 of {region} is {} ms, guard {self}", p99.as_millis()))
            }
            Limit::InFlight(most) if in_flight > most => {
                Some(format!("{in_flight} requests are in flight to {region}, guard {self}"))
            }
            Limit::Errors(_) | Limit::InFlight(_) => None,
        }
    }
}

impl FromStr for Guard {
    type Err = NoGuard;

    fn from_str(text: &str) -> Result<Self, NoGuard> {
        let (what, limit) = text.split_once('>').ok_or(NoGuard)?;
        let limit = limit.trim();
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let guard = match what.trim() {
            "error_rate" => {
                let percent = limit.strip_suffix('%').and_then(number).filter(|percent| *percent <= 100.0);
                Limit::Errors(percent.ok_or(NoGuard)? / 100.0)
            }
            "p99" => {
                let millis = match (limit.strip_suffix("ms"), limit.strip_suffix('s')) {
                    (Some(millis), _) => number(millis),
                    (None, Some(seconds)) => number(seconds).map(|seconds| seconds * 1_000.0),
                    (None, None) => None,
                };
                let seconds = millis.ok_or(NoGuard)? / 1_000.0;
                Limit::P99(Duration::try_from_secs_f64(seconds).map_err(|_| NoGuard)?)
            }
            "in_flight" => Limit::InFlight(limit.parse().map_err(|_| NoGuard)?),
            _ => return Err(NoGuard),
        };
        Ok(Self(guard))
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // To a millionth of a percent, without what binary fractions add.
            Limit::Errors(share) => write!(f, "error_rate>{}%", (share * 1e8).round() / 1e6),
            Limit::P99(most) => write!(f, "p99>{}ms", most.as_millis()),
            Limit::InFlight(most) => write!(f, "in_flight>{most}"),
        }
    }
}

impl Serialize for Guard {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guard {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The guards of each drain.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Guards(BTreeMap<DrainId, Vec<Guard>>);

impl Guards {
    /// Those of a drain.
    #[must_use]
    pub fn of(&self, id: DrainId) -> &[Guard] {
        self.0.get(&id).map_or(&[], |guards| guards)
    }

    /// Keeps those of a drain.
    pub fn keep(&mut self, id: DrainId, guards: Vec<Guard>) {
        if !guards.is_empty() {
            self.0.insert(id, guards);
        }
    }

    /// Forgets those of drains of which `is_told` says no more.
    pub fn retain(&mut self, is_told: impl Fn(DrainId) -> bool) {
        self.0.retain(|id, _| is_told(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(text: &str) -> Guard {
        text.parse().unwrap()
    }

    #[test]
    fn a_guard_is_written_as_it_is_read() {
        for text in ["error_rate>2%", "error_rate>0.5%", "p99>800ms", "in_flight>5000"] {
            assert_eq!(guard(text).to_string(), text);
        }
        assert_eq!(guard("p99 > 1.5s").to_string(), "p99>1500ms");
        for bad in [
            "",
            "error_rate",
            "error_rate>2",
            "error_rate>101%",
            "error_rate>-1%",
            "error_rate>NaN%",
            "p99>5",
            "p99>-5ms",
            "p99>infs",
            "in_flight>1.5",
            "cpu>5%",
        ] {
            assert!(bad.parse::<Guard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_guard_is_broken_beyond_its_limit_and_by_what_tells_something() {
        let busy = Figures {
            requests: 50.0,
            errors: 0.03,
            p99: Some(Duration::from_millis(900)),
            ..Figures::default()
        };
        let calm = Figures { errors: 0.01, p99: Some(Duration::from_millis(700)), ..busy };
        let lonely = Figures { requests: 0.5, errors: 1.0, ..busy };
        for (text, in_flight) in [("error_rate>2%", 0), ("p99>800ms", 0), ("in_flight>10", 11)] {
            assert!(guard(text).broken_by("us", &busy, in_flight).is_some(), "{text}");
            assert_eq!(guard(text).broken_by("us", &calm, 10), None, "{text}");
        }
        assert_eq!(guard("error_rate>2%").broken_by("us", &lonely, 0), None, "one request is no rate");
        let said = guard("error_rate>2%").broken_by("us", &busy, 0).unwrap();
        assert_eq!(said, "3.0 % of the requests to us fail, guard error_rate>2%");
    }
}

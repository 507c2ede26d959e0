//! What `rhumb top` shows, as a value: what the edge said last, what happened, and which region is looked at.
//!
//! Never: asks, draws, or reads a clock.

use std::collections::VecDeque;

use serde_json::Value;

use crate::cli::regions::{self, Set};
use crate::cli::status;
use crate::cli::transfer;
use crate::cli::wire::{at, items, text};

/// So many events are kept.
const EVENTS: usize = 200;

/// All that is on the screen.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Which edge, and how it is.
    pub edge: Edge,
    /// One for each region, as the edge lists them.
    pub rows: Vec<Row>,
    /// Which row is looked at.
    pub chosen: usize,
    /// Newest first.
    pub events: VecDeque<Told>,
    /// Why no events are heard.
    pub deaf: Option<String>,
    /// That the edge gives no answer.
    pub lost: Option<Lost>,
}

/// Which edge, and how it is.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Its name and where it stands.
    pub name: String,
    /// Generation, tenants, requests in flight.
    pub facts: String,
    /// Transfers under way, a line each.
    pub transfers: Vec<String>,
    /// What is not as it should be.
    pub troubles: Vec<String>,
}

/// One region.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// `UP`, `DEGRADED`, `DOWN` or `UNKNOWN`.
    pub health: String,
    /// As the table has it, in percent.
    pub configured: Option<f64>,
    /// As an operator set it.
    pub operator: Option<f64>,
    /// As it is in effect.
    pub effective: Option<f64>,
    /// Requests a second.
    pub rate: Option<f64>,
    /// The share of them that failed.
    pub errors: Option<f64>,
    /// Milliseconds.
    pub p50: Option<f64>,
    /// Milliseconds.
    pub p99: Option<f64>,
    /// Requests that are not answered yet.
    pub in_flight: Option<f64>,
    /// The share of its capacity that is free.
    pub headroom: Option<f64>,
    /// Seconds by which its worst copy lags.
    pub lag: Option<f64>,
    /// What operators set here and in its cells.
    pub set: Vec<Set>,
    /// What else is known of it, by lines.
    pub more: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// RFC 3339.
    pub time: String,
    /// What it is about.
    pub kind: String,
    /// What happened, in words.
    pub text: String,
}

/// An edge that gives no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Seconds since it last answered.
    pub since: u64,
    /// What became of the last question.
    pub why: String,
}

impl Board {
    /// Takes an answer to `/v1/status`. The region that was looked at still is, wherever it stands now.
    pub fn take(&mut self, status: &Value) {
        let name = self.rows.get(self.chosen).map(|row| row.name.clone());
        self.edge = edge(status);
        self.rows = items(status, &["regions"]).iter().map(row).collect();
        let found = name.and_then(|name| self.rows.iter().position(|row| row.name == name));
        self.chosen = found.unwrap_or(self.chosen).min(self.rows.len().saturating_sub(1));
        self.lost = None;
    }

    /// Takes an event.
    pub fn hear(&mut self, told: Told) {
        self.deaf = None;
        self.events.push_front(told);
        self.events.truncate(EVENTS);
    }

    /// Looks at another region: `by` rows below this one, or above it.
    pub fn step(&mut self, by: isize) {
        self.chosen = self.chosen.saturating_add_signed(by).min(self.rows.len().saturating_sub(1));
    }
}

fn edge(status: &Value) -> Edge {
    let said = |path: &[&str]| text(status, path);
    let mut troubles = Vec::new();
    if at(status, &["ready"]).as_bool() == Some(false) {
        troubles.push(format!("not ready: {}", said(&["why_not"])));
    }
    let wrong = items(status, &["table", "problems"]).len();
    if wrong > 0 {
        troubles
            .push(format!("the table's files are not in force: {wrong} problems, see `rhumb table show`"));
    }
    troubles.extend(status::troubles(status));
    Edge {
        name: format!("{} in {}", said(&["edge", "id"]), said(&["edge", "region"])),
        facts: format!(
            "generation {}, {} tenants, {} in flight{}, version {}",
            said(&["generation"]),
            said(&["tenants"]),
            said(&["in_flight"]),
            status::held(status).map_or_else(String::new, |held| format!(", {held} writes held")),
            said(&["version"])
        ),
        transfers: items(status, &["ownership", "under_way"]).iter().map(transfer::progress).collect(),
        troubles,
    }
}

fn row(region: &Value) -> Row {
    let number = |path: &[&str]| at(region, path).as_f64();
    let rate = number(&["traffic", "requests_per_second"]);
    let capacity = number(&["capacity"]).filter(|capacity| *capacity > 0.0);
    Row {
        name: text(region, &["region"]),
        health: regions::health(region),
        configured: number(&["weight", "configured"]),
        operator: number(&["weight", "operator"]),
        effective: number(&["weight", "effective"]),
        rate,
        errors: number(&["traffic", "error_rate"]),
        p50: number(&["traffic", "p50_ms"]),
        p99: number(&["traffic", "p99_ms"]),
        in_flight: number(&["in_flight"]),
        headroom: capacity.zip(rate).map(|(capacity, rate)| (1.0 - rate / capacity).max(0.0)),
        lag: regions::worst_lag(region),
        set: regions::set(region),
        more: regions::more(region),
    }
}

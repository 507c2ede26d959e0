//! One drill against a running edge: what it is about, what it has done, and what is seen meanwhile.
//!
//! Never: forgets what has to be taken back. Each change bears a reason of its own, so that one whose answer was lost is
//! found again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::super::report::{DrillReport, Invariant, Recovery, Step, Verdict};
use super::super::sight::{self, Metrics};
use crate::cli::args::DrillArgs;
use crate::cli::edge::Edge;
use crate::cli::failure::Failure;
use crate::cli::stop::Stop;
use crate::cli::wire::{items, text};
use crate::control::clock::Clock;

/// How often the edge is asked.
const LOOK: Duration = Duration::from_millis(200);
/// How long it may take to take something back.
const BACK: Duration = Duration::from_secs(120);

/// Why a drill does not go on.
#[derive(Debug)]
pub enum Trouble {
    /// Something was refused, or did not come about.
    Otherwise(String),
    /// Somebody ended it.
    Stopped,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Otherwise(failure.to_string())
    }
}

/// What every step returns.
pub type Went<T = ()> = Result<T, Trouble>;

/// One drill under way.
pub struct Field<'f> {
    /// The edge.
    pub edge: &'f Edge,
    /// The region that is drilled.
    pub region: &'f str,
    /// What was typed.
    pub args: &'f DrillArgs,
    /// What has been begun, by its id or name; taken back with it.
    pub begun: Option<Value>,
    stop: Option<&'f Stop>,
    reason: String,
    before: Metrics,
    audit: u64,
    clock: Clock,
    until: Duration,
    steps: Vec<Step>,
    observed: Vec<String>,
    recovery: Vec<Recovery>,
    took_part: Vec<String>,
    by_hand: String,
    most_held: f64,
}

impl<'f> Field<'f> {
    /// Nothing is done yet.
    ///
    /// Errors: the edge is not there.
    pub fn open(
        edge: &'f Edge,
        stop: &'f Stop,
        args: &'f DrillArgs,
        region: &'f str,
    ) -> Result<Self, Failure> {
        let clock = Clock::system();
        let why = args.reason.as_deref().unwrap_or_default();
        Ok(Self {
            edge,
            region,
            args,
            begun: None,
            stop: Some(stop),
            reason: format!("{why} (drill {})", clock.wall().as_millis()),
            before: Metrics::of(edge)?,
            audit: sight::newest(edge)?,
            clock,
            until: Duration::from_secs(args.seconds),
            steps: Vec::new(),
            observed: Vec::new(),
            recovery: Vec::new(),
            took_part: Vec::new(),
            by_hand: String::new(),
            most_held: 0.0,
        })
    }

    /// From now on nobody ends it, and there is time to take back what was done.
    pub fn unstoppable(&mut self) -> &mut Self {
        (self.stop, self.until) = (None, self.clock.elapsed() + BACK);
        self
    }

    /// Whether there may be something to take back.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Why, as it is kept with every change of this drill.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What a person types to take it back.
    pub fn by_hand(&self) -> &str {
        &self.by_hand
    }

    /// There may be something to take back from here on, with `by_hand` if need be.
    pub fn begins(&mut self, what: Value, by_hand: String) {
        (self.begun, self.by_hand) = (Some(what), by_hand);
    }

    /// The regions that have shown that they can take over.
    pub fn took_part(&self) -> &[String] {
        &self.took_part
    }

    /// These have.
    pub fn takes_part(&mut self, regions: impl IntoIterator<Item = String>) {
        self.took_part.extend(regions);
        self.took_part.sort();
        self.took_part.dedup();
    }

    /// Writes down what is done now.
    pub fn step(&mut self, what: impl Into<String>) -> Duration {
        let now = self.clock.elapsed();
        self.steps.push(Step { at: hundredths(now), what: what.into() });
        now
    }

    /// Writes down what was seen.
    pub fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(what.into());
    }

    /// Writes down how long something took since `since`.
    pub fn took(&mut self, what: &str, since: Duration) {
        let seconds = Some(hundredths(self.clock.elapsed().saturating_sub(since)));
        self.recovery.push(Recovery { what: what.to_owned(), seconds });
    }

    /// Waits until `holds`, and sees meanwhile how many writes are held.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> Result<bool, Failure>) -> Went {
        loop {
            // An edge that is silent for a moment is asked again.
            match (holds(self), Metrics::of(self.edge)) {
                (Ok(true), _) => return Ok(()),
                (_, Ok(now)) => self.most_held = self.most_held.max(now.sum("rhumb_held_writes", &[])),
                (_, Err(_)) => {}
            }
            if self.clock.elapsed() > self.until {
                return Err(Trouble::Otherwise(format!("in time this did not come about: {what}")));
            }
            match self.stop {
                Some(stop) if stop.within(LOOK) => return Err(Trouble::Stopped),
                Some(_) => {}
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Lets so much time pass.
    pub fn pause(&mut self, span: Duration) -> Went {
        let until = self.clock.elapsed() + span;
        self.until("time goes by", |field| Ok(field.clock.elapsed() >= until))
    }

    /// The newest entry of this list that bears this drill's reason.
    pub fn mine(&self, path: &str) -> Result<Option<Value>, Failure> {
        let all = self.edge.read(path)?;
        let mine = |one: &&Value| text(one, &["reason"]) == self.reason;
        Ok(all.as_array().into_iter().flatten().rfind(mine).cloned())
    }

    /// I5 by refusals for one of `reasons`, I10 by entries of the audit; the others are not to be seen from here.
    pub fn judge(&self, reasons: &[&str], told: &[&str]) -> Result<Vec<Invariant>, Failure> {
        let now = Metrics::of(self.edge)?;
        let refusals = reasons.iter().flat_map(|reason| {
            let count =
                now.grown(&self.before, "rhumb_refusals_total", &[("reason", reason)]).max(0.0) as usize;
            std::iter::repeat_n(format!("a request was refused with {reason}"), count)
        });
        let mut unseen = Vec::new();
        for action in told {
            let entries = sight::entries(self.edge, self.audit, action)?;
            if entries.is_empty() {
                unseen.push(format!("not seen: an entry of the audit: {action}"));
            }
        }
        let panics = now.grown(&self.before, "rhumb_panics_total", &[]).max(0.0) as usize;
        let regions = "only regions know what they executed; `rhumb drill` in its lab shows it";
        let clients = "only clients know how they were answered";
        let none = Invariant::not_applicable;
        Ok(vec![
            none("I1", "writes at a region that was not the owner", regions),
            none("I2", "bytes of a bound tenant outside its residency", regions),
            none("I3", "acknowledged writes not executed exactly once", regions),
            none("I4", "reads older than their client's pin", clients),
            Invariant::counted("I5", "requests refused for what the drill did", refusals.collect()),
            none("I6", "kinds of requests that did not recover", clients),
            none("I7", "requests that outlived their deadline", clients),
            Invariant::counted("I8", "panics of the edge", vec!["a panic".to_owned(); panics]),
            none("I9", "errors of a tenant that is not touched", clients),
            Invariant::counted("I10", "entries that the audit should have, and has not", unseen),
        ])
    }

    /// How it went.
    pub fn report(
        mut self,
        name: String,
        hypothesis: &str,
        verdict: Verdict,
        invariants: Vec<Invariant>,
    ) -> DrillReport {
        let now = Metrics::of(self.edge).unwrap_or_else(|_| self.before.clone());
        let grown = |name, labels: &[(&str, &str)]| now.grown(&self.before, name, labels).max(0.0) as u64;
        let held = grown("rhumb_hold_seconds_count", &[]);
        if self.most_held > 0.0 {
            self.observed.push(format!("at most {} writes were held at a time", self.most_held));
        }
        let mut errors = BTreeMap::new();
        for status in ["500", "502", "503", "504"] {
            let count = grown("rhumb_requests_total", &[("status", status)]);
            if count > 0 && verdict != Verdict::DryRun {
                errors.insert(format!("{status}, of all requests of the edge meanwhile"), count);
            }
        }
        let requests = if verdict == Verdict::DryRun { 0 } else { grown("rhumb_requests_total", &[]) };
        DrillReport {
            name,
            hypothesis: hypothesis.to_owned(),
            steps: self.steps,
            observed: self.observed,
            recovery: self.recovery,
            requests,
            errors,
            held_writes: held,
            longest_hold_seconds: None,
            invariants,
            seconds: hundredths(self.clock.elapsed()),
            verdict,
        }
    }
}

/// The names of all regions that the edge has.
pub fn regions(edge: &Edge) -> Result<Vec<String>, Failure> {
    let all = edge.read("/v1/regions")?;
    Ok(items(&all, &[]).iter().map(|region| text(region, &["region"])).collect())
}

fn hundredths(span: Duration) -> f64 {
    (span.as_secs_f64() * 100.0).round() / 100.0
}

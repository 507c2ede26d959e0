//! How one endpoint is: what its checks and its traffic said, and when, become what a snapshot shows of it.
//!
//! A state machine: an event and a time go in, whether the view changed comes out; the caller publishes.
//!
//! Never: asks an endpoint, reads a clock, or believes an endpoint that nobody has asked.

mod level;
mod passive;

use crate::health::{Passive, Status};
use crate::table::{Check, Table};
use crate::units::{Micros, Millis, position};
use level::{Level, Rule};
use passive::Trust;

/// Capabilities that one endpoint may report; what comes after them is ignored.
pub const MAX_CAPABILITIES: usize = 256;
/// Regions that one endpoint may report its lag behind; what comes after them is ignored.
pub const MAX_SOURCES: usize = crate::units::MAX_REGIONS;
/// The longest name of a capability or region that is heeded, in bytes.
pub const MAX_NAME: usize = 128;
/// The longest replication position that is heeded, in bytes.
pub const MAX_POSITION: usize = 64;

/// What one check saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probed {
    /// What the endpoint says of itself.
    pub answer: Answer,
    /// What it says of its capabilities, each name once; [`Status::Unknown`] counts as not said.
    pub capabilities: Vec<(Box<str>, Status)>,
    /// How its copy stands to those of other regions.
    pub replication: Vec<Replication>,
    /// The position of its own writes, as it wrote it: an unsigned decimal, or nothing that can be compared.
    pub position: Option<Box<str>>,
    /// How long a packet took there and back; `None`: not measured.
    pub round_trip: Option<Micros>,
}

impl Probed {
    /// An answer that says nothing more.
    #[must_use]
    pub const fn plain(answer: Answer) -> Self {
        Self { answer, capabilities: Vec::new(), replication: Vec::new(), position: None, round_trip: None }
    }
}

/// What an endpoint says of itself or of a capability. No answer is [`Answer::Down`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Answer {
    /// It takes nothing.
    Down,
    /// It takes traffic, and suffers.
    Degraded,
    /// It takes traffic.
    Up,
}

impl Answer {
    /// The answer of this code, as regions write it.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        [Self::Down, Self::Degraded, Self::Up].into_iter().find(|answer| answer.status().code() == code)
    }

    /// The same as a status.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Down => Status::Down,
            Self::Degraded => Status::Degraded,
            Self::Up => Status::Up,
        }
    }

    const fn of(status: Status) -> Option<Self> {
        match status {
            Status::Unknown => None,
            Status::Down => Some(Self::Down),
            Status::Degraded => Some(Self::Degraded),
            Status::Up => Some(Self::Up),
        }
    }
}

/// How the copy of one region stands to that of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replication {
    /// The name of the region that is copied.
    pub source: Box<str>,
    /// How far the copy lags behind it; `None`: not said.
    pub lag: Option<Millis>,
    /// Up to which of its positions the copy goes; `None`: not said.
    pub position: Option<Box<str>>,
}

/// The checks and the traffic of one endpoint.
///
/// What its checks say changes by rows of answers. The first answer of all decides at once, good or bad, since
/// before it the endpoint is [`Status::Unknown`] and the listener waits for the first round. From then on `fall`
/// answers below the present state in a row lower it and `rise` answers above it in a row raise it. An endpoint that
/// came back and goes down again within a minute is flapping: its rise doubles, up to a minute's worth of checks,
/// and halves again for every whole minute that it stays up. Each capability follows the same rules by itself.
#[derive(Clone, Debug, Default)]
pub struct EndpointChecks {
    level: Level,
    capabilities: Vec<Reported>,
    trust: Trust,
    round_trip: Option<Smoothed>,
    replication: Vec<Replication>,
    position: Option<Box<str>>,
    asked_at: Option<Millis>,
}

/// What an endpoint reports of one capability; sorted by name.
#[derive(Clone, Debug)]
struct Reported {
    name: Box<str>,
    level: Level,
    /// Good answers in a row that did not mention it.
    silent: u32,
}

impl EndpointChecks {
    /// An endpoint that nobody has asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what one check saw at `at`.
    ///
    /// - `asked_at`: when that check began, so not after anything that it reports was true.
    /// - Returns whether [`Self::checked`] or a capability changed. Lag, position and round trip change with nearly
    ///   every check and do not count: whoever publishes them chooses the beat.
    pub fn probed(&mut self, seen: &Probed, asked_at: Millis, at: Millis, check: &Check) -> bool {
        let rule = Rule::of(check);
        let spoke = seen.answer > Answer::Down;
        let capabilities_changed = spoke && self.hear_capabilities(&seen.capabilities, at, &rule);
        let level_changed = self.level.observe(seen.answer, at, &rule);
        if let Some(sample) = seen.round_trip {
            self.round_trip = Some(self.round_trip.map_or(Smoothed::first(sample), |it| it.with(sample)));
        }
        if spoke {
            self.replication = seen.replication.iter().take(MAX_SOURCES).cloned().collect();
            self.position.clone_from(&seen.position);
            self.asked_at = Some(asked_at);
        } else if !self.checked().takes_traffic() {
            // What it said before it went down is no measure of what it will hold when it comes back.
            (self.replication, self.position, self.asked_at) = (Vec::new(), None, None);
        }
        level_changed || capabilities_changed
    }

    /// Traffic failed `check.fall` times in a row, or more, or a trial failed; returns whether the view changed.
    ///
    /// While it is ejected, further failures are of requests sent before, and change nothing.
    pub fn failed_in_a_row(&mut self, at: Millis, check: &Check) -> bool {
        self.trust.failed(at, check.interval)
    }

    /// A request succeeded after failures, or a trial did; returns whether the view changed.
    ///
    /// It ends a trial, whatever the checks say. While the endpoint is ejected, a success is of a request sent
    /// before, and changes nothing.
    pub const fn succeeded(&mut self) -> bool {
        self.trust.succeeded()
    }

    /// Lets time pass; returns whether the view changed.
    pub fn tick(&mut self, at: Millis) -> bool {
        self.trust.tick(at)
    }

    /// What its checks say.
    #[must_use]
    pub const fn checked(&self) -> Status {
        self.level.shown()
    }

    /// What traffic says.
    #[must_use]
    pub const fn passive(&self) -> Passive {
        self.trust.shown()
    }

    /// What it reports of this capability; `None`: nothing, so it is as [`Self::checked`].
    #[must_use]
    pub fn capability(&self, name: &str) -> Option<Status> {
        let at = self.place_of(name).ok()?;
        self.capabilities.get(at).map(|reported| reported.level.shown())
    }

    /// The same for every capability of `table`, by [`crate::units::CapabilityId`].
    #[must_use]
    pub fn capabilities(&self, table: &Table) -> Box<[Option<Status>]> {
        table.capabilities().iter().map(|name| self.capability(name)).collect()
    }

    /// All capabilities that it reports, by name, those of no route too.
    pub fn reported(&self) -> impl ExactSizeIterator<Item = (&str, Status)> {
        self.capabilities.iter().map(|reported| (reported.name.as_ref(), reported.level.shown()))
    }

    /// The smoothed round trip; `None`: not measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Micros> {
        self.round_trip.map(Smoothed::micros)
    }

    /// How its copy stands to those of other regions, as last reported; empty when it is down.
    #[must_use]
    pub fn replication(&self) -> &[Replication] {
        &self.replication
    }

    /// How far its copy lags behind the region of this name, as last reported.
    #[must_use]
    pub fn lag_behind(&self, source: &str) -> Option<Millis> {
        self.replication.iter().find(|replication| replication.source.as_ref() == source)?.lag
    }

    /// The position of its own writes, as last reported.
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// The same as a number; `None` where it is no unsigned decimal.
    #[must_use]
    pub fn position_reached(&self) -> Option<u128> {
        position(self.position()?.as_bytes())
    }

    /// Up to which position of the region of this name its copy goes, as last reported.
    #[must_use]
    pub fn reached_of(&self, source: &str) -> Option<u128> {
        let said = self.replication.iter().find(|replication| replication.source.as_ref() == source)?;
        position(said.position.as_ref()?.as_bytes())
    }

    /// When the last report was asked for; `None` while it is down, or before the first.
    #[must_use]
    pub const fn asked_at(&self) -> Option<Millis> {
        self.asked_at
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.capabilities.binary_search_by(|reported| reported.name.as_ref().cmp(name))
    }

    /// While the endpoint takes nothing, its word is taken at once: when it comes back, what it takes must be true.
    fn hear_capabilities(&mut self, said: &[(Box<str>, Status)], at: Millis, rule: &Rule) -> bool {
        let at_once = !self.checked().takes_traffic();
        let mut changed = false;
        for reported in &mut self.capabilities {
            reported.silent = reported.silent.saturating_add(1);
        }
        for (name, status) in said {
            let Some(answer) = Answer::of(*status) else { continue };
            match self.place_of(name) {
                Ok(known) => {
                    let Some(reported) = self.capabilities.get_mut(known) else { continue };
                    // A name said twice: the first word counts.
                    if reported.silent > 0 {
                        reported.silent = 0;
                        changed |= match at_once {
                            true => reported.level.set(answer),
                            false => reported.level.observe(answer, at, rule),
                        };
                    }
                }
                Err(place) if self.capabilities.len() < MAX_CAPABILITIES && name.len() <= MAX_NAME => {
                    let level = Level::starting_at(answer);
                    self.capabilities.insert(place, Reported { name: name.clone(), level, silent: 0 });
                    changed = true;
                }
                Err(_) => {}
            }
        }
        let patience = if at_once { 1 } else { rule.rise() };
        let before = self.capabilities.len();
        self.capabilities.retain(|reported| reported.silent < patience);
        changed || self.capabilities.len() != before
    }
}

/// A round trip smoothed as in RFC 6298: each sample counts for an eighth. Holds eight times the mean.
#[derive(Clone, Copy, Debug)]
struct Smoothed(u64);

impl Smoothed {
    /// No round trip is longer; what is measured beyond is noise, and must not overflow.
    const LONGEST: u64 = 3_600_000_000;

    fn first(sample: Micros) -> Self {
        Self(sample.0.min(Self::LONGEST) * 8)
    }

    fn with(self, sample: Micros) -> Self {
        Self(self.0 - self.0 / 8 + sample.0.min(Self::LONGEST))
    }

    const fn micros(self) -> Micros {
        Micros(self.0 / 8)
    }
}

#[cfg(test)]
mod tests;

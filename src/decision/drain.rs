//! A drain: an operator's weight on a ramp in time.
//!
//! A state machine: an event and a time go in, the drain after it and what changed come out; the caller publishes and
//! records. Its progress is a position on its ramp, a span, so that it can be written down and taken up again by a
//! process whose clock began elsewhere.
//!
//! Never: reads a clock; goes backward but by an undo; goes on once it is undone or expired.

mod ramp;

use std::fmt;

pub use ramp::Ramp;

use crate::units::{Millis, Weight};

/// Where a drain stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It goes on towards its end.
    Running,
    /// It stands, until it is resumed in the direction that it had.
    Paused(Pause),
    /// It stands where it was stopped.
    Stopped,
    /// It stands at its end.
    Done,
    /// It goes back towards its beginning.
    Undoing,
    /// It went back to its beginning, and says no weight any more.
    Undone,
    /// Its time was up, and it says no weight any more.
    Expired,
}

impl Phase {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused(_) => "paused",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Expired => "expired",
        }
    }

    /// Whether time changes it.
    #[must_use]
    pub const fn moves(&self) -> bool {
        matches!(self, Self::Running | Self::Undoing)
    }

    /// Whether it stands in the way of another drain: it moves, or may be resumed.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(self, Self::Running | Self::Undoing | Self::Paused(_))
    }
}

/// Why a drain is paused, and on which way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pause {
    /// Whether it was going back.
    pub undoing: bool,
    /// Who paused it.
    pub by: Pauser,
}

/// Who pauses a drain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pauser {
    /// An operator.
    Operator,
    /// A guard, with what it saw.
    Guard(Box<str>),
}

/// What happens to a drain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is to stand for a while.
    Pause(Pauser),
    /// It is to go on in the direction that it had.
    Resume,
    /// It is to stand for good.
    Stop,
    /// It is to go back to its beginning, as fast as it came.
    Undo,
    /// Its time is up.
    Expire,
    /// Time passed.
    Tick,
}

impl Event {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Undo => "undo",
            Self::Expire => "expire",
            Self::Tick => "tick",
        }
    }
}

/// An event that a drain has no use for where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// The event.
    pub event: Event,
    /// Where the drain stood at that time.
    pub phase: Phase,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match &self.phase {
            Phase::Paused(Pause { undoing: true, .. }) => " on its way back",
            _ => "",
        };
        write!(f, "the drain is {}{way}, so there is nothing to {}", self.phase.code(), self.event.code())
    }
}

/// One drain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drain {
    ramp: Ramp,
    phase: Phase,
    position: Millis,
    /// Up to when time was taken in.
    at: Millis,
    /// Time that passed before `at` and was not taken in yet, as after a restart.
    owed: Millis,
}

impl Drain {
    /// A drain that begins at `at`; one of no length is done at once.
    #[must_use]
    pub fn begin(ramp: Ramp, at: Millis) -> Self {
        Self { ramp, phase: Phase::Running, position: Millis(0), at, owed: Millis(0) }.settled()
    }

    /// A drain that was written down, taken up again at `at`.
    ///
    /// - `phase`, `position`: as they were.
    /// - `owed`: what was not taken in ([`Self::owed`] when it was written), and the time that passed since.
    /// - Nothing has moved yet: the next event or tick takes the time in, and tells what it changed.
    #[must_use]
    pub fn resumed(ramp: Ramp, phase: Phase, position: Millis, owed: Millis, at: Millis) -> Self {
        Self { ramp, phase, position: position.min(ramp.over), at, owed }
    }

    /// Its ramp.
    #[must_use]
    pub const fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// How far along its ramp it is.
    #[must_use]
    pub const fn position(&self) -> Millis {
        self.position
    }

    /// Time up to `at` that it has not taken in yet.
    #[must_use]
    pub const fn owed(&self, at: Millis) -> Millis {
        self.owed.after(at.since(self.at))
    }

    /// The weight that it says; `None` once it is undone or expired.
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        match self.phase {
            Phase::Undone | Phase::Expired => None,
            Phase::Done => Some(self.ramp.to),
            Phase::Running | Phase::Paused(_) | Phase::Stopped | Phase::Undoing => {
                Some(self.ramp.weight_at(self.position))
            }
        }
    }

    /// When the passing of time next changes its weight or phase; `None`: never.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        let span = match self.phase {
            Phase::Running => self.ramp.next_step(self.position).since(self.position),
            Phase::Undoing => self.position.since(self.ramp.last_step(self.position)),
            _ => return None,
        };
        Some(self.at.after(span.since(self.owed)))
    }

    /// The drain after `event` at `at`; an earlier `at` than that of the last event counts as that one.
    ///
    /// - Time is taken in first: a pause that comes after the end finds a drain that is done.
    /// - Errors: [`Unfit`], and the drain stays as it is. A tick is always fit.
    pub fn step(&self, event: &Event, at: Millis) -> Result<Self, Unfit> {
        let now = self.advanced(at);
        let phase = match (event, &now.phase) {
            (Event::Tick, phase) => phase.clone(),
            (Event::Pause(by), Phase::Running) => Phase::Paused(Pause { undoing: false, by: by.clone() }),
            (Event::Pause(by), Phase::Undoing) => Phase::Paused(Pause { undoing: true, by: by.clone() }),
            (Event::Resume, Phase::Paused(pause)) if pause.undoing => Phase::Undoing,
            (Event::Resume, Phase::Paused(_)) => Phase::Running,
            (Event::Stop, Phase::Running | Phase::Paused(_) | Phase::Undoing) => Phase::Stopped,
            (Event::Undo, Phase::Paused(pause)) if !pause.undoing => Phase::Undoing,
            (Event::Undo, Phase::Running | Phase::Stopped | Phase::Done) => Phase::Undoing,
            (
                Event::Expire,
                Phase::Running | Phase::Paused(_) | Phase::Stopped | Phase::Done | Phase::Undoing,
            ) => Phase::Expired,
            // It came back before anybody saw that its time was up.
            (Event::Expire, Phase::Undone) if self.phase.moves() => Phase::Undone,
            (_, phase) => return Err(Unfit { event: event.clone(), phase: phase.clone() }),
        };
        Ok(Self { phase, ..now }.settled())
    }

    /// The same drain by another clock, on which it is now `at`; `passed` went by between the two.
    pub(crate) fn rebased(&self, was: Millis, passed: Millis, at: Millis) -> Self {
        Self { at, owed: self.owed(was).after(passed), ..self.clone() }
    }

    fn advanced(&self, at: Millis) -> Self {
        let passed = self.owed(at);
        let position = match self.phase {
            Phase::Running => self.position.after(passed).min(self.ramp.over),
            Phase::Undoing => self.position.since(passed),
            _ => self.position,
        };
        let at = at.max(self.at);
        Self { position, at, owed: Millis(0), ..self.clone() }.settled()
    }

    /// Who has arrived moves no more.
    fn settled(mut self) -> Self {
        match self.phase {
            Phase::Running if self.position.0 >= self.ramp.over.0 => self.phase = Phase::Done,
            // A ramp of no length has its end at its beginning.
            Phase::Undoing if self.position.0 == 0 || self.ramp.over.0 == 0 => self.phase = Phase::Undone,
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests;

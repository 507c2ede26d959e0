//! A transfer: ownership of tenants moves from one region to another, a batch at a time.
//!
//! A state machine: an event and a time go in, the transfer after it comes out; whoever drives it asks the world and
//! acts. A batch is frozen, waited for until nothing of it is in flight, waited for until its new owner has caught up,
//! then switched to a higher epoch, and released once the old owner's gateway has said that it knows.
//!
//! Never: switches what was not quiet and caught up, unless it is unplanned; takes back what was switched: others may
//! have heard of the new owner by then, and write there. To go back is a transfer of its own.

mod fitness;
mod select;

use std::fmt;

pub use fitness::{Fitness, Unfit, caught_up, fitness, written_capabilities};
pub use select::{Chosen, Destination, choose};

use crate::operated::By;
use crate::units::{Epoch, Millis, Weight};

/// The number of a transfer; each is higher than every earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransferId(pub u64);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whose ownership is to move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// That of one tenant.
    Tenant(Box<str>),
    /// That of this share of the tenants that a region owns, chosen by their lots there.
    OwnedBy(Box<str>, Weight),
    /// That of this share of the tenants whose home a region is and that another one owns.
    HomeAt(Box<str>, Weight),
    /// That of all tenants that a region owns under a policy, by their names: what moves by itself.
    Under(Box<str>, Box<str>),
}

/// Where it is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum To {
    /// To this region.
    Region(Box<str>),
    /// To each tenant's first standby that is fit.
    Standby,
    /// To each tenant's home.
    Home,
}

/// What is wanted of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Whose ownership.
    pub which: Which,
    /// Where to.
    pub to: To,
    /// Whether nothing is waited for: the old owner is gone.
    pub unplanned: bool,
    /// The time between two waves, each of the share that is wanted, until nobody is left; `None`: one wave.
    pub every: Option<Millis>,
}

/// Where a transfer stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It goes on.
    Running,
    /// It waits for its next wave.
    Waiting {
        /// When that begins.
        until: Millis,
    },
    /// It is over: everybody who could move has moved.
    Done,
    /// It gave up; who had moved by then stays moved.
    Failed(Box<str>),
    /// An operator ended it; who had moved by then stays moved.
    Cancelled,
}

impl Phase {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting { .. } => "waiting",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_) | Self::Cancelled)
    }
}

/// What a batch waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// That no write of it is in flight at the old owner. Its writes are held.
    Drain,
    /// That the new owner has caught up. Its writes are held.
    CatchUp,
    /// That the old owner's gateway knows the new epoch. Its writes are held; the epoch is raised.
    Switch,
}

impl Step {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::CatchUp => "catch_up",
            Self::Switch => "switch",
        }
    }
}

/// One tenant of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its id.
    pub tenant: Box<str>,
    /// The epoch under which it is owned anew.
    pub epoch: Epoch,
}

/// Tenants that move together, from one region to one other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Who owns them.
    pub from: Box<str>,
    /// Who is to.
    pub to: Box<str>,
    /// Who they are.
    pub members: Box<[Member]>,
    /// What it waits for.
    pub step: Step,
    /// When it was frozen.
    pub began: Millis,
    /// When it was quiet.
    pub quiet: Option<Millis>,
    /// The old owner's position then, or a later one: what the new owner has to reach; `None`: not known yet.
    pub aim: Option<u128>,
}

/// The most tenants of a batch: so many ids of the greatest length fit a line of the journal.
pub const LARGEST_BATCH: usize = 1_000;

/// Batches in a row that may fail before the transfer gives up.
pub const ATTEMPTS: u32 = 3;

/// A transfer, with who wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Its number.
    pub id: TransferId,
    /// What is wanted.
    pub wanted: Wanted,
    /// Who wants it, and why.
    pub by: By,
    /// Where it stands.
    pub phase: Phase,
    /// The batch under way.
    pub batch: Option<Batch>,
    /// How many tenants have moved.
    pub moved: u64,
    /// How many were to move when it began.
    pub total: u64,
    /// How many waves are over.
    pub waves: u32,
    /// How many batches failed in a row.
    pub failures: u32,
    /// Why the last batch failed.
    pub trouble: Option<Box<str>>,
    /// Whether it is to end as soon as nothing of it is half-way.
    pub ending: bool,
}

/// What happens to a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A batch is frozen, or, of an unplanned transfer, about to be switched.
    Freeze(Batch),
    /// No write of the batch is in flight.
    Quiet,
    /// The old owner told its position, by a report that was asked for once the batch was quiet.
    Aim(u128),
    /// The new owner has caught up, the epochs are raised: this is the switch.
    Raise(Batch),
    /// The old owner's gateway knows, where there is one.
    Release,
    /// The batch is given up before it was switched: nothing has changed by it.
    Abort(Box<str>),
    /// The old owner's gateway has not said that it knows, and is told again.
    Trouble(Box<str>),
    /// Nobody of this wave is left.
    WaveOver {
        /// Whether another wave would find somebody.
        more: bool,
    },
    /// Its time to wait is over.
    Wake,
    /// It cannot go on.
    Fail(Box<str>),
    /// An operator ends it.
    Cancel,
}

/// Why an event does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It is over.
    Over,
    /// A batch is under way.
    BatchUnderWay,
    /// No batch is under way.
    NoBatch,
    /// The batch waits for something else.
    NotYet,
    /// It is another batch, or an empty or too large one.
    OtherBatch,
    /// The batch has been switched: others may know its new owner.
    Switched,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Over => "it is over",
            Self::BatchUnderWay => "tenants of it are moving at this moment",
            Self::NoBatch => "no tenant of it is moving at this moment",
            Self::NotYet => "what it waits for has not come",
            Self::OtherBatch => "that is not the batch that was frozen",
            Self::Switched => "the batch has a new owner already; move it back when it is released",
        })
    }
}

impl Transfer {
    /// A transfer that begins.
    #[must_use]
    pub const fn begin(id: TransferId, wanted: Wanted, by: By, total: u64) -> Self {
        Self {
            id,
            wanted,
            by,
            phase: Phase::Running,
            batch: None,
            moved: 0,
            total,
            waves: 0,
            failures: 0,
            trouble: None,
            ending: false,
        }
    }

    /// What it does at the moment, in a word: a step, or that it is between them.
    #[must_use]
    pub fn step_code(&self) -> &'static str {
        match (&self.batch, &self.phase) {
            (Some(batch), _) => batch.step.code(),
            (None, Phase::Running) => "preflight",
            (None, Phase::Waiting { .. }) => "between_waves",
            (None, _) => "over",
        }
    }

    /// The transfer after `event` at `at`.
    ///
    /// # Errors
    /// [`Misfit`]; nothing has changed then.
    pub fn step(&self, event: &Event, at: Millis) -> Result<Self, Misfit> {
        if self.phase.is_over() {
            return Err(Misfit::Over);
        }
        let mut next = self.clone();
        match (event, &self.batch) {
            (Event::Freeze(batch), None) => {
                let is_sound = !batch.members.is_empty() && batch.members.len() <= LARGEST_BATCH;
                if !is_sound || batch.step != Step::Drain || self.wanted.unplanned {
                    return Err(Misfit::OtherBatch);
                }
                next.phase = Phase::Running;
                next.batch = Some(batch.clone());
            }
            (Event::Freeze(_), Some(_)) => return Err(Misfit::BatchUnderWay),
            (Event::Quiet, Some(batch)) if batch.step == Step::Drain => {
                next.batch = Some(Batch { step: Step::CatchUp, quiet: Some(at), ..batch.clone() });
            }
            (Event::Aim(position), Some(batch)) if batch.step == Step::CatchUp => {
                let aim = Some(batch.aim.unwrap_or(*position));
                next.batch = Some(Batch { aim, ..batch.clone() });
            }
            // Written down, the end is all that a replay would see of it.
            (Event::Raise(_), _) if self.ending => return Err(Misfit::Over),
            (Event::Raise(raised), held) => {
                let fits = match held {
                    Some(held) if held.step == Step::CatchUp => held.members == raised.members,
                    Some(_) => return Err(Misfit::NotYet),
                    None if self.wanted.unplanned => !raised.members.is_empty(),
                    None => return Err(Misfit::NoBatch),
                };
                if !fits || raised.members.len() > LARGEST_BATCH {
                    return Err(Misfit::OtherBatch);
                }
                next.phase = Phase::Running;
                next.batch = Some(Batch { step: Step::Switch, ..raised.clone() });
                // What ailed earlier batches is not what this one waits for.
                next.trouble = None;
            }
            (Event::Release, Some(batch)) if batch.step == Step::Switch => {
                next.moved += batch.members.len() as u64;
                next.batch = None;
                next.failures = 0;
                next.trouble = None;
                next.end_if_asked();
            }
            (Event::Trouble(why), Some(batch)) if batch.step == Step::Switch => {
                next.trouble = Some(why.clone());
            }
            (Event::Abort(_), Some(batch)) if batch.step == Step::Switch => return Err(Misfit::Switched),
            (Event::Abort(why), Some(_)) => {
                next.batch = None;
                next.failures += 1;
                next.trouble = Some(why.clone());
                if next.failures >= ATTEMPTS {
                    next.phase = Phase::Failed(why.clone());
                }
                next.end_if_asked();
            }
            (Event::Quiet | Event::Aim(_) | Event::Release | Event::Trouble(_), Some(_)) => {
                return Err(Misfit::NotYet);
            }
            (Event::Quiet | Event::Aim(_) | Event::Release | Event::Trouble(_) | Event::Abort(_), None) => {
                return Err(Misfit::NoBatch);
            }
            (Event::WaveOver { more }, None) => {
                next.waves += 1;
                next.phase = match self.wanted.every {
                    Some(every) if *more => Phase::Waiting { until: at.after(every) },
                    _ => Phase::Done,
                };
            }
            (Event::Wake, None) => match self.phase {
                Phase::Waiting { until } if until <= at => next.phase = Phase::Running,
                _ => return Err(Misfit::NotYet),
            },
            (Event::Fail(why), None) => next.phase = Phase::Failed(why.clone()),
            (Event::Cancel, None) => next.phase = Phase::Cancelled,
            (Event::Cancel, Some(_)) => next.ending = true,
            (Event::WaveOver { .. } | Event::Wake | Event::Fail(_), Some(_)) => {
                return Err(Misfit::BatchUnderWay);
            }
        }
        Ok(next)
    }

    /// Whether a batch of it is switched and not released.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.step == Step::Switch)
    }

    /// Whether a batch of it is switched, and the old owner's gateways have not said that they know when they were told.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.is_switched() && self.trouble.is_some()
    }

    fn end_if_asked(&mut self) {
        if self.ending && !self.phase.is_over() {
            self.phase = Phase::Cancelled;
        }
    }
}

#[cfg(test)]
mod tests;

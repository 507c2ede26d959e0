//! What may be done to the operators' state, and what came of it.

use std::fmt;

use crate::drain::{Event, Pauser, Phase, Ramp, Unfit};
use crate::scope::Scope;
use crate::units::{Millis, Wall, Weight};

/// The number of a drain; each is higher than every earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DrainId(pub u64);

/// One moment, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Monotonic: what ramps are walked by.
    pub at: Millis,
    /// What expiries are held against, and what people read.
    pub wall: Wall,
}

/// Who did something, why, and until when it is to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By {
    /// Who.
    pub actor: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// When.
    pub since: Wall,
    /// When it ends by itself; `None`: not.
    pub until: Option<Wall>,
}

/// One change of the operators' state. The log of changes, applied in order, is the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A weight is set by hand, at once.
    Set {
        /// Of what.
        scope: Scope,
        /// The weight.
        weight: Weight,
    },
    /// Nothing that an operator set is to hold any more.
    Clear {
        /// Of what.
        scope: Scope,
    },
    /// A drain begins.
    Begin {
        /// Its number: [`super::Operated::next_drain`].
        id: DrainId,
        /// Of what.
        scope: Scope,
        /// From the weight in effect to the one that is wanted.
        ramp: Ramp,
    },
    /// A drain is paused.
    Pause {
        /// Which.
        id: DrainId,
        /// By whom.
        by: Pauser,
    },
    /// A paused drain goes on.
    Resume {
        /// Which.
        id: DrainId,
    },
    /// A drain is stopped.
    Stop {
        /// Which.
        id: DrainId,
    },
    /// A drain goes back.
    Undo {
        /// Which.
        id: DrainId,
    },
    /// Time passed for a drain.
    Advance {
        /// Which.
        id: DrainId,
    },
    /// A drain's time is up.
    ExpireDrain {
        /// Which.
        id: DrainId,
    },
    /// The time of a weight that was set by hand is up.
    ExpireWeight {
        /// Of what.
        scope: Scope,
    },
}

impl Change {
    /// The stable code: the action of an audit entry.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Set { .. } => "weight_set",
            Self::Clear { .. } => "weight_cleared",
            Self::Begin { .. } => "drain_begun",
            Self::Pause { .. } => "drain_paused",
            Self::Resume { .. } => "drain_resumed",
            Self::Stop { .. } => "drain_stopped",
            Self::Undo { .. } => "drain_undone",
            Self::Advance { .. } => "drain_advanced",
            Self::ExpireDrain { .. } => "drain_expired",
            Self::ExpireWeight { .. } => "weight_expired",
        }
    }

    /// The drain whose machine it moves, and the event.
    pub(super) fn event(&self) -> Option<(DrainId, Event)> {
        match self {
            Self::Set { .. } | Self::Clear { .. } | Self::Begin { .. } | Self::ExpireWeight { .. } => None,
            Self::Pause { id, by } => Some((*id, Event::Pause(by.clone()))),
            Self::Resume { id } => Some((*id, Event::Resume)),
            Self::Stop { id } => Some((*id, Event::Stop)),
            Self::Undo { id } => Some((*id, Event::Undo)),
            Self::Advance { id } => Some((*id, Event::Tick)),
            Self::ExpireDrain { id } => Some((*id, Event::Expire)),
        }
    }
}

/// What a change did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// What it was about.
    pub scope: Scope,
    /// The operator weight before; `None`: the configured one held.
    pub before: Option<Weight>,
    /// The operator weight after; `None`: the configured one holds.
    pub after: Option<Weight>,
    /// The drain that it was about, and where that stood before and after; before it begins, it stands nowhere.
    pub drain: Option<(DrainId, Option<Phase>, Phase)>,
    /// The drain that was under way there and was stopped by it.
    pub stopped: Option<DrainId>,
}

/// Why a change is not made; the state is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Another drain of the same scope is under way.
    DrainRuns {
        /// Which.
        id: DrainId,
        /// Of what.
        scope: Scope,
    },
    /// There is no such drain.
    NoDrain(DrainId),
    /// What the drain said was replaced by a later weight or drain.
    Replaced(DrainId),
    /// The drain stands where the event does not fit.
    Unfit(DrainId, Unfit),
    /// Nothing is set there.
    NothingSet(Scope),
    /// It would end before it begins.
    Past(Wall),
    /// Its time is not up.
    NotYet(Wall),
    /// The number was given to a drain already.
    NumberTaken(DrainId),
}

impl Refused {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DrainRuns { .. } => "drain_runs",
            Self::NoDrain(_) => "no_drain",
            Self::Replaced(_) => "drain_replaced",
            Self::Unfit(..) => "drain_phase",
            Self::NothingSet(_) => "nothing_set",
            Self::Past(_) => "until_past",
            Self::NotYet(_) => "not_yet",
            Self::NumberTaken(_) => "drain_number_taken",
        }
    }
}

impl fmt::Display for DrainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DrainRuns { id, scope } => {
                write!(f, "drain {id} of {scope} is under way; stop or undo it first")
            }
            Self::NoDrain(id) => write!(f, "there is no drain {id}"),
            Self::Replaced(id) => {
                write!(
                    f,
                    "drain {id} holds no more: a later weight or drain took its place; set the weight instead"
                )
            }
            Self::Unfit(id, unfit) => write!(f, "drain {id}: {unfit}"),
            Self::NothingSet(scope) => {
                write!(f, "no operator set a weight of {scope}; the configured one holds")
            }
            Self::Past(_) => f.write_str("it would end before it begins; let it expire later"),
            Self::NotYet(_) => f.write_str("its time is not up"),
            Self::NumberTaken(id) => write!(f, "a drain {id} was begun already"),
        }
    }
}

//! What may be done to ownership at run time, and why it may be refused.

use std::fmt;

use crate::ownership::Mark;
use crate::transfer::{Event, Misfit, TransferId, Wanted};
use crate::units::Epoch;

/// What a mark is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// All tenants that this region owns.
    Region(Box<str>),
    /// This tenant.
    Tenant(Box<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(name) => write!(f, "region {name}"),
            Self::Tenant(id) => write!(f, "tenant {id}"),
        }
    }
}

/// An ownership that another process told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    /// Of whom.
    pub tenant: Box<str>,
    /// Who owns it: the name of a region.
    pub owner: Box<str>,
    /// Since which epoch.
    pub epoch: Epoch,
}

/// One change of the state of ownership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Newer ownerships were told of; what is no news among them is passed over.
    Learn(Vec<News>),
    /// The same, of what others are not to hear of yet: no write passes under the older ownerships, and nobody is told of
    /// these before they are learned once more.
    Withhold(Vec<News>),
    /// Somebody else was seen to own a tenant at the epoch in force.
    Dispute {
        /// Whom.
        tenant: Box<str>,
        /// That epoch.
        epoch: Epoch,
    },
    /// An operator says who owns a tenant, under an epoch above all that were told.
    Resolve {
        /// Whom.
        tenant: Box<str>,
        /// Who: the name of a region.
        owner: Box<str>,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// An operator pauses writes, or lets only reads pass.
    Mark {
        /// Whose.
        subject: Subject,
        /// What.
        mark: Mark,
    },
    /// That is over.
    Unmark {
        /// Whose.
        subject: Subject,
    },
    /// A drill with these regions was passed.
    Drilled(Vec<Box<str>>),
    /// A transfer begins.
    Begin {
        /// Its number: [`super::Owned::next_transfer`].
        id: TransferId,
        /// What is wanted.
        wanted: Wanted,
        /// How many tenants are to move.
        total: u64,
    },
    /// Something happens to a transfer.
    Step {
        /// Which.
        id: TransferId,
        /// What.
        event: Event,
    },
}

/// Why a change is not made; the state is as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// What was told is known.
    NoNews,
    /// An epoch only rises.
    EpochFalls {
        /// Whose.
        tenant: Box<str>,
        /// The one that is known.
        known: Epoch,
    },
    /// It would end before it begins.
    Past,
    /// Nothing is set there.
    NothingSet(Subject),
    /// The number was given to a transfer already.
    NumberTaken(TransferId),
    /// There is no such transfer.
    NoTransfer(TransferId),
    /// The event does not fit where the transfer stands.
    Misfit(TransferId, Misfit),
    /// Another transfer moves this tenant at the moment.
    Moving(Box<str>),
    /// More names of regions than there are numbers.
    TooManyRegions,
}

impl Refused {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoNews => "no_news",
            Self::EpochFalls { .. } => "epoch_falls",
            Self::Past => "until_past",
            Self::NothingSet(_) => "nothing_set",
            Self::NumberTaken(_) => "transfer_number_taken",
            Self::NoTransfer(_) => "no_transfer",
            Self::Misfit(..) => "transfer_phase",
            Self::Moving(_) => "tenant_moving",
            Self::TooManyRegions => "too_many_regions",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNews => f.write_str("that is known already"),
            Self::EpochFalls { tenant, known } => {
                write!(f, "{tenant} is owned under epoch {} already; an epoch only rises", known.0)
            }
            Self::Past => f.write_str("it would end before it begins; let it expire later"),
            Self::NothingSet(subject) => write!(f, "no operator froze {subject} or made it read-only"),
            Self::NumberTaken(id) => write!(f, "a transfer {id} was begun already"),
            Self::NoTransfer(id) => write!(f, "there is no transfer {id}"),
            Self::Misfit(id, misfit) => write!(f, "transfer {id}: {misfit}"),
            Self::Moving(tenant) => write!(f, "another transfer moves {tenant} at this moment"),
            Self::TooManyRegions => {
                f.write_str("too many regions have owned tenants; drop some from the state")
            }
        }
    }
}

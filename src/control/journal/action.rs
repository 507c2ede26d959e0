//! What an entry tells of: a closed list of codes.
//!
//! The same code is the word in the journal, in the audit, in a filter and in a test.
//!
//! Never: a word that is not in the list. A new one raises the journal's format.

use std::fmt;

macro_rules! actions {
    ($($(#[$says:meta])* $name:ident = $code:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Action { $($(#[$says])* $name,)* }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

actions! {
    /// An operator set a weight.
    Weight = "weight",
    /// An operator took a weight back: the configured one counts again.
    WeightCleared = "weight_cleared",
    /// A drain began.
    DrainBegan = "drain_began",
    /// A drain stands still, by an operator or by a guard.
    DrainPaused = "drain_paused",
    /// A drain goes on.
    DrainResumed = "drain_resumed",
    /// A drain ended where it was.
    DrainStopped = "drain_stopped",
    /// A drain goes the same way back.
    DrainUndone = "drain_undone",
    /// A drain arrived.
    DrainDone = "drain_done",
    /// What an operator set for a time has ended.
    Expired = "expired",
    /// A table came into force.
    TableTaken = "table_taken",
    /// A table was refused.
    TableRefused = "table_refused",
    /// An operator took a table in spite of what was said against it.
    TableAccepted = "table_accepted",
    /// An operator went back to the table before.
    TableRolledBack = "table_rolled_back",
    /// Traffic of a region goes elsewhere.
    Failover = "failover",
    /// Traffic of a region is back.
    Recovered = "recovered",
    /// A standby could no longer take over.
    ReadinessLost = "readiness_lost",
    /// A standby could take over again.
    ReadinessRegained = "readiness_regained",
    /// An operator set a safety rule aside, for one change.
    Override = "override",
    /// An operator paused writes of a tenant, or of all that a region owns.
    Frozen = "frozen",
    /// An operator lets a tenant, or all that a region owns, only be read.
    ReadOnly = "read_only",
    /// An operator took that back.
    Unfrozen = "unfrozen",
    /// A newer owner was told of by another process.
    OwnershipLearned = "ownership_learned",
    /// Two owners were seen at one epoch.
    SplitBrain = "split_brain",
    /// An operator said who owns a tenant.
    SplitBrainResolved = "split_brain_resolved",
    /// A transfer began.
    TransferBegan = "transfer_began",
    /// Ownership of a batch has another region, under higher epochs.
    TransferSwitched = "transfer_switched",
    /// The old owner knows it, and writes of the batch go on.
    TransferReleased = "transfer_released",
    /// A batch was given up: writes go on where they went.
    TransferAborted = "transfer_aborted",
    /// A batch waits for its old owner's gateway to say that it knows.
    TransferStuck = "transfer_stuck",
    /// A wave of a transfer is over.
    TransferWave = "transfer_wave",
    /// A transfer is over.
    TransferDone = "transfer_done",
    /// A transfer gave up.
    TransferFailed = "transfer_failed",
    /// A drill was passed.
    Drill = "drill",
    /// An operator ended a transfer.
    TransferCancelled = "transfer_cancelled",
}

impl Action {
    /// The one of this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.code() == code)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

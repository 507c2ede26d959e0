//! What reads, writes and retries of a tenant obey.
//!
//! Never: judges a request; that is `pick`.

use crate::units::Millis;

/// A preset for the rest of a policy; any key written out wins over it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topology {
    /// Reads and writes at the owner; reads fail over to the standbys.
    ActivePassive,
    /// Reads local, writes to the owner.
    SingleWriter,
    /// Reads and writes local.
    ActiveActive,
    /// As active-passive, and never fails over.
    HomeOnly,
    /// No writes.
    ReadOnly,
}

impl Topology {
    /// Every topology.
    pub const ALL: [Self; 5] =
        [Self::ActivePassive, Self::SingleWriter, Self::ActiveActive, Self::HomeOnly, Self::ReadOnly];

    /// The name, as in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ActivePassive => "active-passive",
            Self::SingleWriter => "single-writer",
            Self::ActiveActive => "active-active",
            Self::HomeOnly => "home-only",
            Self::ReadOnly => "read-only",
        }
    }

    /// The whole policy that this topology stands for: the defaults, and what differs from them.
    #[must_use]
    pub fn preset(self) -> Policy {
        let mut policy = Policy {
            name: "default".into(),
            topology: self,
            sticky: Sticky::Tenant,
            reads: Reads {
                from: ReadsFrom::Local,
                failover: true,
                max_staleness: Millis(60_000),
                read_your_writes: Millis(10_000),
                on_pin_lost: OnPinLost::Stale,
            },
            writes: Writes {
                to: WritesTo::Owner,
                hold: Millis(5_000),
                failover: WriteFailover::Manual,
                after: Millis(60_000),
                cooldown: Millis(300_000),
                max_lag: Millis(60_000),
                idempotency: Idempotency::Optional,
                on_owner_change: OnOwnerChange::Mark,
            },
            retries: Retries {
                attempts: 3,
                across_regions: true,
                budget_percent: 20,
                on_connect: true,
                on_reset: true,
                on_status: Box::new([503]),
            },
            timeout: Some(Millis(30_000)),
        };
        match self {
            Self::SingleWriter => {}
            Self::ActivePassive => policy.reads.from = ReadsFrom::Owner,
            Self::ActiveActive => policy.writes.to = WritesTo::Local,
            Self::HomeOnly => {
                policy.reads.from = ReadsFrom::Owner;
                policy.reads.failover = false;
                policy.writes.failover = WriteFailover::Never;
            }
            Self::ReadOnly => policy.writes.to = WritesTo::Nobody,
        }
        policy
    }
}

/// What stays together when a weight divides reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sticky {
    /// All reads of a tenant.
    Tenant,
    /// All reads of a session.
    Session,
    /// Nothing: each request draws for itself.
    Request,
}

/// Where reads begin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadsFrom {
    /// At the nearest region of the read set.
    Local,
    /// At the owner.
    Owner,
}

/// What a read does whose pinned region is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnPinLost {
    /// It becomes a local read, and the answer says so.
    Stale,
    /// It is refused.
    Refuse,
}

/// Rules for reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reads {
    /// Where they begin.
    pub from: ReadsFrom,
    /// Whether another region than the first preference may take them.
    pub failover: bool,
    /// The lag beyond which a region takes no local reads.
    pub max_staleness: Millis,
    /// How long a client that wrote is promised to read its own write.
    pub read_your_writes: Millis,
    /// What becomes of that promise when its region is gone.
    pub on_pin_lost: OnPinLost,
}

/// Which region takes writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WritesTo {
    /// The owner alone.
    Owner,
    /// Any region that may own: multi-writer.
    Local,
    /// None: read-only.
    Nobody,
}

/// Who may move ownership away from a failed owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WriteFailover {
    /// An operator.
    Manual,
    /// Rhumb by itself.
    Automatic,
    /// Nobody.
    Never,
}

/// Whether a write must carry an `Idempotency-Key`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Idempotency {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// What becomes of a repeated write whose earlier attempt went to another owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnOwnerChange {
    /// It goes on, marked.
    Mark,
    /// It is refused.
    Refuse,
}

/// Rules for writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writes {
    /// Which region takes them.
    pub to: WritesTo,
    /// The longest that a write waits while ownership moves.
    pub hold: Millis,
    /// Who may move ownership from a failed owner.
    pub failover: WriteFailover,
    /// How long the owner must be down before an automatic failover.
    pub after: Millis,
    /// The least time between two failovers.
    pub cooldown: Millis,
    /// The largest lag of a standby that may take over.
    pub max_lag: Millis,
    /// Whether a key is required.
    pub idempotency: Idempotency,
    /// What becomes of repeats after the owner changed.
    pub on_owner_change: OnOwnerChange,
}

/// Rules for sending a request again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retries {
    /// Tries in all, the first included; at least 1.
    pub attempts: u8,
    /// Whether a read may go on in another region.
    pub across_regions: bool,
    /// Retries as a percentage of the region's requests in flight; three a second are always allowed.
    pub budget_percent: u8,
    /// Whether a failed connection is tried again.
    pub on_connect: bool,
    /// Whether a connection that broke before any response is tried again.
    pub on_reset: bool,
    /// Which response statuses are tried again.
    pub on_status: Box<[u16]>,
}

/// Everything that reads, writes and retries of a tenant obey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Its name in the table.
    pub name: Box<str>,
    /// The preset it began from.
    pub topology: Topology,
    /// What stays together when a weight divides reads.
    pub sticky: Sticky,
    /// Rules for reads.
    pub reads: Reads,
    /// Rules for writes.
    pub writes: Writes,
    /// Rules for sending again.
    pub retries: Retries,
    /// The longest that a whole request may take; `None`: no limit.
    pub timeout: Option<Millis>,
}

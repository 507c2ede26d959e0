//! May a region take over, and has it caught up?
//!
//! Never: a guess. A region that reports neither position nor lag is never caught up.

use std::fmt;

use crate::health::{RegionView, Status};
use crate::snapshot::Snapshot;
use crate::table::{Operation, Role};
use crate::units::{CapabilityId, Millis, RegionId};

/// Why a region may not take over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// The old owner is not there to say what it has written.
    Owner {
        /// Who.
        name: Box<str>,
        /// How it is.
        status: Status,
    },
    /// Its role takes no writes.
    Role(Role),
    /// It cannot do what writes need.
    Capability {
        /// Which.
        name: Box<str>,
        /// How that is.
        status: Status,
    },
    /// Its copy lags too far behind the owner's.
    Lag {
        /// How far.
        lag: Millis,
        /// What may be.
        limit: Millis,
    },
    /// It says neither how far its copy lags nor which position it has reached.
    LagUnknown,
    /// It would get more requests than it is built for.
    Capacity {
        /// Requests a second that would come.
        coming: u64,
        /// What is left of its capacity.
        headroom: u64,
    },
}

impl Unfit {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Owner { .. } => "owner",
            Self::Role(_) => "role",
            Self::Capability { .. } => "capability",
            Self::Lag { .. } => "lag",
            Self::LagUnknown => "lag_unknown",
            Self::Capacity { .. } => "capacity",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { name, status } => write!(
                f,
                "{name} is {} and cannot say what it has written; if it is gone for good, move without waiting: \
                 --unplanned",
                status.code()
            ),
            Self::Role(role) => write!(f, "its role is {}", role.code()),
            Self::Capability { name, status } => write!(f, "{name} is {} there", status.code()),
            Self::Lag { lag, limit } => {
                let seconds = |millis: &Millis| millis.duration().as_secs_f64();
                write!(f, "its copy lags {} s behind, {} s are the most", seconds(lag), seconds(limit))
            }
            Self::LagUnknown => f.write_str("it reports neither a lag nor a position it has reached"),
            Self::Capacity { coming, headroom } => {
                write!(f, "{coming} requests a second would come, and it has room for {headroom}")
            }
        }
    }
}

/// What stands in the way of a region; nothing: it is fit.
pub type Fitness = Vec<Unfit>;

/// What stands in the way of `to` taking over from `from`.
///
/// - `limit`: the lag that its copy may have; `None`: the old owner is gone, and any is better than none.
/// - `load`: requests a second that would come and what is left of its capacity, where both are known.
#[must_use]
pub fn fitness(
    snapshot: &Snapshot,
    from: RegionId,
    to: RegionId,
    limit: Option<Millis>,
    load: Option<(u64, u64)>,
) -> Fitness {
    let table = snapshot.table();
    let mut unfit = Fitness::new();
    match table.region(to).map(|region| region.role) {
        Some(Role::Active | Role::Standby) => {}
        Some(role) => unfit.push(Unfit::Role(role)),
        None => unfit.push(Unfit::Role(Role::Off)),
    }
    let view = snapshot.health().region(to);
    for capability in written_capabilities(snapshot) {
        let status = view.map_or(Status::Unknown, |view| view.status(capability));
        if !status.takes_traffic() {
            unfit.push(Unfit::Capability { name: table.capability_name(capability).into(), status });
        }
    }
    if let Some(limit) = limit {
        let old = snapshot.health().region(from).map_or(Status::Unknown, RegionView::overall);
        if !old.takes_traffic() {
            unfit.push(Unfit::Owner { name: table.region_name(from).into(), status: old });
        }
        let told = |view: &RegionView| (view.lag_behind(from), view.reached_of(from));
        match view.map_or((None, None), told) {
            (None, None) => unfit.push(Unfit::LagUnknown),
            (Some(lag), _) if lag > limit => unfit.push(Unfit::Lag { lag, limit }),
            _ => {}
        }
    }
    if let Some((coming, headroom)) = load.filter(|(coming, headroom)| coming > headroom) {
        unfit.push(Unfit::Capacity { coming, headroom });
    }
    unfit
}

/// What writes need anywhere: the plain capability, and those of routes that write.
#[must_use]
pub fn written_capabilities(snapshot: &Snapshot) -> Vec<CapabilityId> {
    let routes = snapshot.table().routes().iter();
    let named = routes.filter(|route| route.operation != Some(Operation::Read)).filter_map(|r| r.capability);
    let mut all: Vec<_> = std::iter::once(CapabilityId::WRITE).chain(named).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether the copy of `to` has everything that `from` had taken by `quiet`.
///
/// - `aim`: the position of `from` at `quiet` or later, where it tells one.
/// - By position: the one that `to` has reached of `from` is `aim` or more. Where either tells none, by lag: a report
///   that was asked for so long after `quiet` that its lag does not reach back there.
#[must_use]
pub fn caught_up(
    snapshot: &Snapshot,
    from: RegionId,
    to: RegionId,
    quiet: Millis,
    aim: Option<u128>,
) -> bool {
    let (Some(old), Some(new)) = (snapshot.health().region(from), snapshot.health().region(to)) else {
        return false;
    };
    match (old.position, new.reached_of(from)) {
        (Some(_), Some(reached)) => aim.is_some_and(|aim| reached >= aim),
        _ => match (new.reported, new.lag_behind(from)) {
            (Some(asked), Some(lag)) => {
                asked > quiet && Millis(lag.0.saturating_add(lag.0 / 10)) < asked.since(quiet)
            }
            _ => false,
        },
    }
}

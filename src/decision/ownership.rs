//! Who owns a tenant now, at which epoch, in which state.
//!
//! A row's home owns it at the row's epoch, until ownership was moved: what was moved stands here, over the rows, and
//! the higher epoch holds. Owners stand here by name, as ids belong to one table and ownership outlives tables.
//!
//! Never: an older epoch over a newer one; one of two owners at the same epoch.

mod said;

use std::sync::Arc;

pub use said::{Mark, Names, Said, Saids};

use crate::table::Table;
use crate::tenants::{Tenant, TenantState};
use crate::units::{Epoch, RegionId};

/// What may be done with a tenant now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Everything.
    Active,
    /// Writes are paused.
    Frozen {
        /// Whether by an operator at run time, so that writes wait a while for its end; by its row, they do not.
        waits: bool,
    },
    /// Reads only.
    ReadOnly,
    /// Its ownership is being moved: writes wait.
    Moving,
    /// It has a new owner, who may not have everything yet: writes wait, and so does a read that has to be strong.
    Settling,
    /// Two regions own it at one epoch, and nobody may write.
    Disputed,
    /// The table does not have the region that owns it.
    Ownerless,
}

impl State {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen { .. } => "frozen",
            Self::ReadOnly => "read-only",
            Self::Moving | Self::Settling => "moving",
            Self::Disputed => "split-brain",
            Self::Ownerless => "ownerless",
        }
    }
}

impl From<TenantState> for State {
    fn from(rows: TenantState) -> Self {
        match rows {
            TenantState::Active => Self::Active,
            TenantState::Frozen => Self::Frozen { waits: false },
            TenantState::ReadOnly => Self::ReadOnly,
        }
    }
}

/// The one region that may accept a tenant's writes, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// The owner.
    pub owner: RegionId,
    /// The number of this ownership.
    pub epoch: Epoch,
    /// What may be done with the tenant.
    pub state: State,
}

/// Ownership as it is in force over the rows of one table.
#[derive(Clone, Default)]
pub struct Ownerships {
    said: Saids,
    /// The regions of the table, by the number of their name.
    owners: Arc<[Option<RegionId>]>,
    /// What operators set on whole regions, by [`RegionId`]; shorter where nothing is set.
    marks: Arc<[Option<Mark>]>,
}

impl Ownerships {
    /// What was said of tenants, over the rows of `table`.
    ///
    /// - `marks`: what is set on whole regions, by name; names that the table does not have count for nothing.
    #[must_use]
    pub fn new<'a>(
        said: Saids,
        names: &Names,
        marks: impl IntoIterator<Item = (&'a str, Mark)>,
        table: &Table,
    ) -> Self {
        let owners = names.iter().map(|name| table.region_named(name)).collect();
        let mut by_region: Vec<Option<Mark>> = Vec::new();
        for (region, mark) in marks.into_iter().filter_map(|(name, m)| Some((table.region_named(name)?, m))) {
            if by_region.len() <= region.index() {
                by_region.resize(region.index() + 1, None);
            }
            if let Some(place) = by_region.get_mut(region.index()) {
                *place = Some(mark);
            }
        }
        Self { said, owners, marks: by_region.into() }
    }

    /// Ownership that somebody supposes, for questions about worlds that are not: owner and epoch over the rows of
    /// `table`, and as marks whatever of the states an operator could set.
    #[must_use]
    pub fn supposed<'a>(moved: impl IntoIterator<Item = (&'a str, Ownership)>, table: &Table) -> Self {
        let (mut said, mut names) = (Saids::default(), Names::default());
        for (id, Ownership { owner, epoch, state }) in moved {
            let mark = match state {
                State::Frozen { .. } => Some(Mark::Frozen),
                State::ReadOnly => Some(Mark::ReadOnly),
                State::Active | State::Moving | State::Settling | State::Disputed | State::Ownerless => None,
            };
            let moved = names.number(table.region_name(owner)).map(|name| (name, epoch));
            let moving = matches!(state, State::Moving | State::Settling);
            let settling = state == State::Settling;
            let disputed = (state == State::Disputed).then_some(epoch);
            said.set(id, Said { moved, mark, moving, settling, withheld: false, disputed });
        }
        Self::new(said, &names, [], table)
    }

    /// The ownership of a tenant whose row is `row`.
    #[must_use]
    pub fn of(&self, id: &str, row: &Tenant<'_>) -> Ownership {
        let rows_own = Ownership { owner: row.profile.home, epoch: row.epoch, state: row.state.into() };
        if self.said.is_empty() {
            return self.marked(rows_own, None);
        }
        let Some(said) = self.said.get(row.key, id) else { return self.marked(rows_own, None) };
        let (mut now, mut withheld) = (rows_own, false);
        if let Some((name, epoch)) = said.moved.filter(|(_, epoch)| *epoch >= row.epoch) {
            match self.owners.get(name.index()).copied().flatten() {
                None => return Ownership { epoch, state: State::Ownerless, ..rows_own },
                Some(owner) if epoch == row.epoch && owner != row.profile.home => {
                    return Ownership { state: State::Disputed, ..rows_own };
                }
                Some(owner) => (now, withheld) = (Ownership { owner, epoch, ..rows_own }, said.withheld),
            }
        }
        if said.disputed == Some(now.epoch) {
            return Ownership { state: State::Disputed, ..now };
        }
        if said.settling || withheld {
            return Ownership { state: State::Settling, ..now };
        }
        if said.moving {
            return Ownership { state: State::Moving, ..now };
        }
        self.marked(now, said.mark)
    }

    /// With what is set on the tenant and on its owner: reads only, where either says so; else paused, where any does.
    fn marked(&self, now: Ownership, mark: Option<Mark>) -> Ownership {
        let regions = self.marks.get(now.owner.index()).copied().flatten();
        if mark.is_none() && regions.is_none() {
            return now;
        }
        let set = |wanted: Mark| mark == Some(wanted) || regions == Some(wanted);
        let state = match now.state {
            State::ReadOnly => State::ReadOnly,
            _ if set(Mark::ReadOnly) => State::ReadOnly,
            State::Frozen { waits: false } => State::Frozen { waits: false },
            _ => State::Frozen { waits: true },
        };
        Ownership { state, ..now }
    }
}

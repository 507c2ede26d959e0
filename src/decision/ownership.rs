//! Who owns a tenant now, at which epoch, in which state.
//!
//! A row's home owns it at the row's epoch, until ownership was moved: what was moved stands here, over the rows,
//! and the higher epoch holds.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::tenants::{BySeedless, Tenant, TenantState};
use crate::units::{Epoch, RegionId};

/// The one region that may accept a tenant's writes, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// The owner.
    pub owner: RegionId,
    /// The number of this ownership.
    pub epoch: Epoch,
    /// What may be done with the tenant.
    pub state: TenantState,
}

/// What was moved away from the rows of the table.
#[derive(Clone, Default)]
pub struct Ownerships {
    moved: Arc<HashMap<Box<str>, Ownership, BySeedless>>,
}

impl Ownerships {
    /// Those of `moved`; an entry counts while its epoch is above that of its row.
    #[must_use]
    pub fn new(moved: impl IntoIterator<Item = (Box<str>, Ownership)>) -> Self {
        Self { moved: Arc::new(moved.into_iter().collect()) }
    }

    /// The ownership of a tenant whose row is `row`.
    #[must_use]
    pub fn of(&self, id: &str, row: &Tenant<'_>) -> Ownership {
        let rows_own = Ownership { owner: row.profile.home, epoch: row.epoch, state: row.state };
        if self.moved.is_empty() {
            return rows_own;
        }
        self.moved.get(id).filter(|moved| moved.epoch > row.epoch).copied().unwrap_or(rows_own)
    }

    /// What was moved, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Ownership)> {
        self.moved.iter().map(|(id, ownership)| (id.as_ref(), *ownership))
    }
}

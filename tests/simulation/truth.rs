//! What was published at one moment, by names, beside the snapshot that decides: the two are held against each other.

use std::collections::BTreeMap;

use rhumb_decision::Snapshot;
use rhumb_decision::ownership::State;
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::Weight;

use crate::spec::Spec;

/// Ownership that was moved, by the name of its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    pub owner: String,
    pub epoch: u64,
    pub state: State,
}

/// One publication.
pub struct Published {
    pub spec: Spec,
    pub moved: BTreeMap<String, Moved>,
    pub weights: BTreeMap<String, Weight>,
    pub snapshot: Snapshot,
}

/// Owner, epoch and state of a tenant of `spec`: the row's own until it was moved under a higher epoch.
pub fn in_force(spec: &Spec, moved: &BTreeMap<String, Moved>, tenant: &str) -> Option<Moved> {
    let row = spec.tenants.get(tenant)?;
    let mut now = Moved { owner: row.home.clone(), epoch: row.epoch, state: row.state.into() };
    let Some(moved) = moved.get(tenant) else { return Some(now) };
    if moved.epoch == row.epoch && moved.owner != row.home {
        return Some(Moved { state: State::Disputed, ..now });
    }
    if moved.epoch > row.epoch {
        now = Moved { state: now.state, ..moved.clone() };
    }
    // What stops more than the other does.
    let set = [moved.state, row.state.into()];
    let state = match () {
        () if set.contains(&State::ReadOnly) => State::ReadOnly,
        () if row.state == TenantState::Frozen => State::Frozen { waits: false },
        () => moved.state,
    };
    Some(Moved { state, ..now })
}

impl Published {
    pub fn in_force(&self, tenant: &str) -> Option<Moved> {
        in_force(&self.spec, &self.moved, tenant)
    }
}

//! What a new table would move, and whether its epochs allow it.
//!
//! Ids of two tables number differently, so regions are compared by name.

mod edits;

pub use edits::{Edit, edits};

use crate::ownership::Ownerships;
use crate::table::Table;
use crate::tenants::{Profile, Tenant};
use crate::units::{Epoch, RegionId};

/// What lies between two tables.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    /// Tenants that both have, whose home differs.
    pub rehomed: usize,
    /// Tenants that only the old one has.
    pub dropped: usize,
    /// Tenants that only the new one has.
    pub added: usize,
    /// Tenants that both have, whose home is the same and something else differs.
    pub changed: usize,
    /// The share of the old one's tenants that the new one re-homes or drops, in percent.
    pub moved_percent: f64,
    /// The first tenants that differ, by name.
    pub examples: Vec<Moved>,
    /// Tenants whose epoch forbids the change; the first thousand.
    pub epoch_faults: Vec<EpochFault>,
    /// Regions that only the new one has.
    pub regions_added: Vec<String>,
    /// Regions that only the old one has.
    pub regions_dropped: Vec<String>,
    /// What differs besides tenants, key by key.
    pub edits: Vec<Edit>,
}

/// One tenant that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Its id.
    pub tenant: String,
    /// Its home in the old table.
    pub from: Option<String>,
    /// Its home in the new one.
    pub to: Option<String>,
}

/// A tenant whose epoch is too low for what the new table says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochFault {
    /// Its id.
    pub tenant: String,
    /// The epoch in force.
    pub in_force: Epoch,
    /// The epoch that was written.
    pub written: Epoch,
    /// Whether home or owner changes.
    pub moves: bool,
}

const EXAMPLES: usize = 20;
const TOLD: usize = 1_000;

/// Holds `new` against `old` and the ownership in force.
#[must_use]
pub fn compare(old: &Table, ownership: &Ownerships, new: &Table) -> Difference {
    let mut difference = Difference {
        regions_added: only_in(new, old),
        regions_dropped: only_in(old, new),
        edits: edits(old, new),
        ..Difference::default()
    };
    let renumbered: Vec<Option<RegionId>> =
        old.regions().iter().map(|region| new.region_named(&region.name)).collect();
    let in_new = |id: RegionId| renumbered.get(id.index()).copied().flatten();
    let mut alike = Alike::default();
    let mut kept = 0;
    for (id, before) in old.tenants().iter() {
        let now = ownership.of(id, &before);
        let from = old.region_name(before.profile.home);
        let Some(after) = new.tenants().find(id) else {
            difference.dropped += 1;
            difference.example(id, from, None);
            continue;
        };
        kept += 1;
        let rehomed = in_new(before.profile.home) != Some(after.profile.home);
        let owner_moves = match in_new(now.owner) {
            None => true,
            Some(owner) => owner != after.profile.home && after.epoch != before.epoch,
        };
        if rehomed {
            difference.rehomed += 1;
            difference.example(id, from, Some(new.region_name(after.profile.home)));
        } else if after.epoch != before.epoch
            || after.state != before.state
            || !alike.are(old, new, &before, &after)
        {
            difference.changed += 1;
        }
        let falls = after.epoch < before.epoch;
        let moves = rehomed || owner_moves;
        if (falls || (moves && after.epoch <= now.epoch)) && difference.epoch_faults.len() < TOLD {
            let in_force = now.epoch;
            difference.epoch_faults.push(EpochFault {
                tenant: id.to_owned(),
                in_force,
                written: after.epoch,
                moves,
            });
        }
    }
    difference.added = new.tenants().len() - kept;
    let moved = difference.rehomed + difference.dropped;
    difference.moved_percent =
        if moved == 0 { 0.0 } else { 100.0 * moved as f64 / old.tenants().len() as f64 };
    difference.epoch_faults.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    difference
}

impl Difference {
    fn example(&mut self, tenant: &str, from: &str, to: Option<&str>) {
        let at = self.examples.partition_point(|earlier| *earlier.tenant < *tenant);
        if at < EXAMPLES {
            self.examples.truncate(EXAMPLES - 1);
            let (from, to) = (Some(from.to_owned()), to.map(str::to_owned));
            self.examples.insert(at, Moved { tenant: tenant.to_owned(), from, to });
        }
    }
}

fn only_in(these: &Table, others: &Table) -> Vec<String> {
    let names = these.regions().iter().map(|region| region.name.as_ref());
    names.filter(|name| others.region_named(name).is_none()).map(str::to_owned).collect()
}

/// Whether two profiles say the same; remembered, as many tenants share few profiles.
#[derive(Default)]
struct Alike(std::collections::HashMap<(*const Profile, *const Profile), bool>);

impl Alike {
    fn are(&mut self, old: &Table, new: &Table, before: &Tenant<'_>, after: &Tenant<'_>) -> bool {
        let (a, b) = (before.profile, after.profile);
        *self.0.entry((a, b)).or_insert_with(|| {
            let names = |table: &Table, ids: &[RegionId]| -> Vec<String> {
                ids.iter().map(|id| table.region_name(*id).to_owned()).collect()
            };
            let policy = |table: &Table, id| table.policy(id).map(|policy| policy.name.clone());
            names(old, &a.standby) == names(new, &b.standby)
                && names(old, &a.replicas) == names(new, &b.replicas)
                && a.residency == b.residency
                && a.cell == b.cell
                && policy(old, a.policy) == policy(new, b.policy)
        })
    }
}

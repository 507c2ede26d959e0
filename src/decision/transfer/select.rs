//! Who moves, and where to.
//!
//! Never: a region outside a tenant's residency, or one that is neither its home nor a standby; a tenant whose policy
//! never fails over, but home.

use super::{To, Wanted, Which};
use crate::ownership::State;
use crate::policy::WriteFailover;
use crate::snapshot::Snapshot;
use crate::table::Role;
use crate::tenants::Tenant;
use crate::units::{CapabilityId, Epoch, Lot, RegionId, Weight};

/// The tenants that a wave would move, by where they go.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Chosen {
    /// In the order of their regions.
    pub destinations: Vec<Destination>,
    /// How many have nowhere to go, and the first hundred of them.
    pub stranded: (usize, Vec<Box<str>>),
    /// How many are where they are to be already.
    pub there: usize,
}

/// Tenants that move from one region to one other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// Who owns them.
    pub from: RegionId,
    /// Who is to.
    pub to: RegionId,
    /// Who they are, and the epoch that each would be owned under: one above the one in force.
    pub members: Vec<(Box<str>, Epoch)>,
}

const STRANDED_TOLD: usize = 100;

impl Chosen {
    /// How many move.
    #[must_use]
    pub fn moving(&self) -> usize {
        self.destinations.iter().map(|destination| destination.members.len()).sum()
    }
}

/// The tenants that the wave of this number would move, `waves` having gone before it.
///
/// - `at_most`: so many are chosen, the others are left for the next time; counts of [`Chosen`] are exact only where
///   nothing bounds them.
#[must_use]
pub fn choose(wanted: &Wanted, waves: u32, at_most: usize, snapshot: &Snapshot) -> Chosen {
    let table = snapshot.table();
    let mut choosing = Choosing { wanted, snapshot, chosen: Chosen::default(), at_most };
    let covers = |share: Weight| {
        let all = u32::from(share.as_hundredths()).saturating_mul(waves.saturating_add(1));
        Weight::hundredths(u16::try_from(all).unwrap_or(u16::MAX))
    };
    match &wanted.which {
        Which::Tenant(id) => {
            if let Some(tenant) = table.tenants().find(id) {
                choosing.one(id, &tenant);
            }
        }
        Which::OwnedBy(region, share) => {
            if let Some((from, hash)) = named(snapshot, region) {
                let share = covers(*share);
                choosing.all(|owner, _| owner == from, |tenant| share.takes(Lot::draw(hash, tenant.key)));
            }
        }
        Which::Under(region, policy) => {
            if let Some((from, _)) = named(snapshot, region) {
                let is_under = |tenant: &Tenant<'_>| {
                    table.policy(tenant.profile.policy).is_some_and(|known| known.name == *policy)
                };
                choosing.all(|owner, _| owner == from, is_under);
            }
        }
        Which::HomeAt(region, share) => {
            if let Some((home, hash)) = named(snapshot, region) {
                let share = covers(*share);
                let away =
                    |owner: RegionId, tenant: &Tenant<'_>| tenant.profile.home == home && owner != home;
                choosing.all(away, |tenant| share.takes(Lot::draw(hash, tenant.key)));
            }
        }
    }
    let mut chosen = choosing.chosen;
    chosen.destinations.sort_by_key(|destination| (destination.from, destination.to));
    chosen
}

fn named(snapshot: &Snapshot, name: &str) -> Option<(RegionId, u64)> {
    let id = snapshot.table().region_named(name)?;
    Some((id, snapshot.table().region(id)?.hash))
}

struct Choosing<'a> {
    wanted: &'a Wanted,
    snapshot: &'a Snapshot,
    chosen: Chosen,
    at_most: usize,
}

impl Choosing<'_> {
    fn all(
        &mut self,
        is_meant: impl Fn(RegionId, &Tenant<'_>) -> bool,
        is_drawn: impl Fn(&Tenant<'_>) -> bool,
    ) {
        let snapshot = self.snapshot;
        for (id, tenant) in snapshot.table().tenants().iter() {
            if self.chosen.moving() >= self.at_most {
                return;
            }
            if is_drawn(&tenant) && is_meant(snapshot.ownership().of(id, &tenant).owner, &tenant) {
                self.one(id, &tenant);
            }
        }
    }

    fn one(&mut self, id: &str, tenant: &Tenant<'_>) {
        let now = self.snapshot.ownership().of(id, tenant);
        if matches!(now.state, State::Moving | State::Settling) {
            return; // another transfer has it
        }
        let to = match (now.state, self.to(tenant, now.owner)) {
            (State::Disputed | State::Ownerless, _) | (_, None) => return self.strand(id),
            (_, Some(to)) => to,
        };
        if to == now.owner {
            self.chosen.there += 1;
            return;
        }
        let Some(epoch) = now.epoch.0.checked_add(1).map(Epoch) else { return self.strand(id) };
        let destinations = &mut self.chosen.destinations;
        let member = (id.into(), epoch);
        match destinations.iter_mut().find(|known| known.from == now.owner && known.to == to) {
            Some(known) => known.members.push(member),
            None => destinations.push(Destination { from: now.owner, to, members: vec![member] }),
        }
    }

    fn strand(&mut self, id: &str) {
        let (count, first) = &mut self.chosen.stranded;
        *count += 1;
        if first.len() < STRANDED_TOLD {
            first.push(id.into());
        }
    }

    fn to(&self, tenant: &Tenant<'_>, owner: RegionId) -> Option<RegionId> {
        let profile = tenant.profile;
        let legal =
            |region: RegionId| profile.may_own.with(profile.home).and(profile.allowed).contains(region);
        let policy = self.snapshot.table().policy(profile.policy);
        let stays = policy.is_some_and(|policy| policy.writes.failover == WriteFailover::Never);
        let to = match &self.wanted.to {
            To::Region(name) => self.snapshot.table().region_named(name),
            To::Home => Some(profile.home),
            To::Standby => {
                let standbys = profile.standby.iter().copied().filter(|standby| *standby != owner);
                standbys.clone().find(|standby| self.is_fit(*standby)).or_else(|| standbys.clone().next())
            }
        };
        to.filter(|to| legal(*to) && (!stays || *to == profile.home))
    }

    /// Whether it could take writes at all; the others are only named where nobody can.
    fn is_fit(&self, region: RegionId) -> bool {
        let role = self.snapshot.table().region(region).map(|region| region.role);
        let view = self.snapshot.health().region(region);
        matches!(role, Some(Role::Active | Role::Standby))
            && view.is_some_and(|view| view.status(CapabilityId::WRITE).takes_traffic())
    }
}

//! Tenants whose reads are divided by session or by request: which share of them goes where.
//!
//! Lots of different regions are independent, so shares are products of weights. They are not sampled: the walk is
//! asked who takes what these regions cover, and each answer halves the question.

use super::seats::{Seats, Worlds};
use crate::table::Operation;
use crate::tenants::Tenant;
use crate::units::{RegionId, RegionSet, Weight};

/// Shares of one tenant's requests, with where each goes; they sum up to 1.
pub(super) type Shares = Vec<(Seats, f64)>;

struct Divided<'a> {
    worlds: &'a Worlds<'a>,
    operation: Operation,
    id: &'a str,
    tenant: &'a Tenant<'a>,
    /// Whether the region that changes covers them, before and after.
    covered: (bool, bool),
    shares: Shares,
}

/// Where the requests of a tenant go that its policy divides; `members` are the regions that may take them.
pub(super) fn divide(
    worlds: &Worlds<'_>,
    operation: Operation,
    id: &str,
    tenant: &Tenant<'_>,
    members: RegionSet,
) -> Shares {
    let changed = worlds.place.region;
    let weights = worlds.before.weights();
    let dividing = |region: &RegionId| {
        let weight = weights.region(*region);
        *region != changed && weight > Weight::NONE && weight < Weight::FULL && members.contains(*region)
    };
    let open: RegionSet = worlds.before.table().region_ids().filter(dividing).collect();
    let (before, after) = (worlds.share_before(changed), worlds.share_after(changed));
    let (low, high) = (before.min(after), before.max(after));
    let bands =
        [(low, (true, true)), (high - low, (before > after, after > before)), (1.0 - high, (false, false))];
    let mut divided = Divided { worlds, operation, id, tenant, covered: (false, false), shares: Vec::new() };
    for (share, covered) in bands {
        divided.covered = covered;
        divided.branch(share, RegionSet::EMPTY, open);
    }
    divided.shares
}

impl Divided<'_> {
    /// `share` of the requests is covered by `covering`, is not by those in neither set, and may be by `open`.
    fn branch(&mut self, share: f64, covering: RegionSet, open: RegionSet) {
        if share <= 0.0 {
            return;
        }
        let changed = self.worlds.place.region;
        let all = covering.or(open);
        let with = |covered: bool| if covered { all.with(changed) } else { all };
        let (before, after) = (with(self.covered.0), with(self.covered.1));
        let seats = self.worlds.supposed(self.operation, self.id, self.tenant, before, after);
        // Who takes it only if it covers it, splits the question; who takes it anyway answers it.
        let takers = [seats.before, seats.after].into_iter().flatten().map(|seat| seat.region);
        let Some(taker) = takers.into_iter().find(|taker| open.contains(*taker)) else {
            match self.shares.iter_mut().find(|(known, _)| *known == seats) {
                Some((_, sum)) => *sum += share,
                None => self.shares.push((seats, share)),
            }
            return;
        };
        let covers = self.worlds.share_before(taker);
        let open = open.without(taker);
        self.branch(share * covers, covering.with(taker), open);
        self.branch(share * (1.0 - covers), covering, open);
    }
}

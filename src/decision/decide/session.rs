//! Session reads: where a client that wrote reads its own write.

use crate::decide::Asked;
use crate::decision::{Consistency, Course, Decision};
use crate::ownership::Ownership;
use crate::pick::{Order, Outcome, Walk};
use crate::pin::{Bound, Following, PinUse};
use crate::policy::{OnPinLost, Policy, ReadsFrom};
use crate::reason::{FailoverReason, Refusal};
use crate::tenants::Profile;
use crate::units::{Key, RegionId, RegionSet};

impl Asked<'_> {
    /// The pin that binds a read of this tenant; where there is none, the decision says why.
    pub(super) fn bound(&self, tenant: Key, policy: &Policy, decision: &mut Decision) -> Option<Bound> {
        let found = self.facts.pin?.of(tenant, policy.reads.read_your_writes);
        decision.pin = found.as_ref().err().copied();
        found.ok()
    }

    /// Rule 6 and section 8: regions before the pinned one that have the write, the pinned one, the owner, those
    /// behind that have it; and where none of them is fit, what the policy says of a lost pin.
    ///
    /// Residency stands above all of this, as the walk asks for it first.
    pub(super) fn session_read(
        &self,
        walk: Walk<'_>,
        (policy, profile): (&Policy, &Profile),
        ownership: Ownership,
        bound: Bound,
        decision: &mut Decision,
    ) -> Result<Course, Refusal> {
        let owner = ownership.owner;
        let pinned = self.region_of_hash(bound.region);
        let kept = self.keeping(&bound, pinned);
        let followed: RegionSet = pinned.into_iter().chain([owner]).collect();
        let local = self.preferred(policy, profile, owner);
        let order = self.session_order(&walk, policy, local.as_slice(), pinned, owner, kept);
        let session = Walk {
            following: Following { followed, keeping: kept.or(followed) },
            staleness: Some((owner, policy.reads.max_staleness)),
            failover: true,
            ..walk
        };
        let outcome = session.through(order.as_slice(), &mut decision.verdicts);
        let asked = decision.verdicts.as_slice();
        let verdict = |region| asked.iter().find(|candidate| candidate.region == region).map(|c| c.verdict);
        let passed_over = pinned.and_then(verdict).and_then(FailoverReason::from_verdict);
        match outcome {
            Outcome::Chosen { region, endpoint, .. } => {
                decision.consistency = Some(Consistency::Session);
                decision.pin = Some(match region {
                    region if Some(region) == pinned => PinUse::Pinned,
                    region if kept.contains(region) => PinUse::Satisfied,
                    _ => PinUse::Owner,
                });
                Ok(Course::Forward { region, endpoint, failover: passed_over })
            }
            Outcome::Nobody(_) => {
                decision.pin = Some(PinUse::Lost);
                if policy.reads.on_pin_lost == OnPinLost::Refuse {
                    decision.consistency = Some(Consistency::Session);
                    return Err(Refusal::PinUnavailable);
                }
                decision.consistency = Some(Consistency::Local);
                decision.verdicts.clear();
                let course = self.local_read(walk, policy, profile, ownership, decision)?;
                Ok(match course {
                    Course::Forward { region, endpoint, failover } => {
                        Course::Forward { region, endpoint, failover: failover.or(passed_over) }
                    }
                    other => other,
                })
            }
        }
    }

    /// The order in which reads of a tenant would be asked without a pin.
    pub(super) fn preferred(&self, policy: &Policy, profile: &Profile, owner: RegionId) -> Order {
        let nearest = self.snapshot.preference(self.facts.source).iter().copied();
        match policy.reads.from {
            ReadsFrom::Local => Order::default().then(nearest),
            ReadsFrom::Owner => {
                Order::default().then([owner]).then(profile.standby.iter().copied()).then(nearest)
            }
        }
    }

    /// Regions whose copies have the write. The verdict on the others before the pinned one is `stale`.
    fn keeping(&self, bound: &Bound, pinned: Option<RegionId>) -> RegionSet {
        let Some(pinned) = pinned else { return RegionSet::EMPTY };
        let view = |region: &RegionId| self.snapshot.health().region(*region);
        let regions = self.snapshot.table().region_ids();
        regions.filter(|region| view(region).is_some_and(|view| bound.is_kept_by(view, pinned))).collect()
    }

    fn session_order(
        &self,
        walk: &Walk<'_>,
        policy: &Policy,
        local: &[RegionId],
        pinned: Option<RegionId>,
        owner: RegionId,
        kept: RegionSet,
    ) -> Order {
        let at = local.iter().position(|region| Some(*region) == pinned).unwrap_or(local.len());
        let (before, after) = local.split_at(at);
        // An owner without the write is asked when the pinned region is known to be unfit, and not before.
        let before = before.iter().copied().filter(|region| *region != owner || kept.contains(owner));
        let order = Order::default();
        if policy.reads.failover {
            return order.then(before).then(pinned).then([owner]).then(after.iter().copied());
        }
        // Such a read leaves its first preference for the sake of its pin, and for nothing else.
        let may = walk.allowed.and(walk.members);
        let first = local.iter().copied().find(|region| may.contains(*region));
        order.then(first.filter(|region| kept.contains(*region))).then(pinned).then([owner])
    }

    fn region_of_hash(&self, hash: u64) -> Option<RegionId> {
        let table = self.snapshot.table();
        table.region_ids().zip(table.regions()).find(|(_, region)| region.hash == hash).map(|(id, _)| id)
    }
}

//! The decision itself, rule by rule.

mod session;

use crate::classify::{self, Routed};
use crate::decision::{Consistency, Course, Decision};
use crate::facts::Facts;
use crate::ownership::{Ownership, State};
use crate::pick::{Lots, Order, Outcome, Walk, Why};
use crate::pin::Following;
use crate::policy::{Idempotency, Policy, ReadsFrom, Sticky, WritesTo};
use crate::reason::{FailoverReason, Refusal, Verdict};
use crate::snapshot::Snapshot;
use crate::table::{Operation, PlacementRule, Role, Table};
use crate::tenants::{Profile, Tenant, is_tenant_id};
use crate::units::{Key, Millis, PlacementId, RegionId, RegionSet, mix};

/// Where one request goes.
///
/// - `facts`: what the request says; host and path normalised.
/// - Returns the course with its reasons. The same facts and snapshot give the same decision, in every process.
/// - Errors: none; what cannot be served is a [`Refusal`].
/// - Costs no allocation.
#[must_use]
pub fn decide(facts: &Facts<'_>, snapshot: &Snapshot) -> Decision {
    let table = snapshot.table();
    let routed = classify::route(facts, table);
    let mut decision = Decision::begun(&routed, facts.source, snapshot.generation());
    let course = if matches!(facts.method, "TRACE" | "CONNECT") {
        Err(Refusal::MethodNotAllowed)
    } else {
        classify::tenant(facts, table).and_then(|name| match table.tenants().find(name) {
            Some(tenant) => {
                Asked { facts, snapshot, routed, supposed: None }.of_tenant(name, &tenant, &mut decision)
            }
            None if !is_tenant_id(name.as_bytes()) => Err(Refusal::BadRequest),
            None => {
                let placement = table.tenancy().unknown.ok_or(Refusal::TenantUnknown)?;
                Asked { facts, snapshot, routed, supposed: None }.placed(placement, name, &mut decision)
            }
        })
    };
    decision.course = course.unwrap_or_else(|because| Course::Refuse { because });
    decision
}

/// One request of a known tenant or of none, for live traffic and plans alike.
pub(crate) struct Asked<'a> {
    pub facts: &'a Facts<'a>,
    pub snapshot: &'a Snapshot,
    pub routed: Routed,
    /// The regions that are supposed to cover it, instead of its own lots.
    pub supposed: Option<RegionSet>,
}

impl Asked<'_> {
    /// Rules 4 to 8: a tenant that somebody owns.
    pub fn of_tenant(
        &self,
        name: &str,
        tenant: &Tenant<'_>,
        decision: &mut Decision,
    ) -> Result<Course, Refusal> {
        let table = self.snapshot.table();
        let profile = tenant.profile;
        let ownership = self.snapshot.ownership().of(name, tenant);
        let policy_id = self.routed.policy.unwrap_or(profile.policy);
        let policy = table.policy(policy_id).ok_or(Refusal::NoRegion)?;
        decision.tenant = Some(tenant.at);
        decision.policy = policy_id;
        decision.owner = Some(ownership.owner);
        decision.epoch = Some(ownership.epoch);
        let allowed = profile.allowed.and(self.class_allows());
        let walk = Walk {
            snapshot: self.snapshot,
            facts: self.facts,
            operation: self.routed.operation,
            capability: self.routed.capability,
            allowed,
            members: profile.read_set.with(ownership.owner),
            lots: self.lots(self.key(policy, tenant.key)),
            unweighed: None,
            acting: (ownership.owner != profile.home).then_some(ownership.owner),
            staleness: None,
            following: Following::NOBODY,
            cell: (profile.cell.as_deref(), tenant.key),
            failover: true,
            across_regions: self.goes_on_elsewhere(policy),
        };
        let course = match self.routed.operation {
            Operation::Write => self.write(walk, policy, profile, ownership, decision),
            Operation::Read if self.routed.strong => {
                decision.consistency = Some(Consistency::Strong);
                match ownership.state {
                    State::Disputed => Err(Refusal::SplitBrain),
                    State::Settling if !self.facts.waited && policy.writes.hold > Millis(0) => {
                        Ok(Course::Hold { at_most: policy.writes.hold })
                    }
                    State::Settling | State::Ownerless => Err(Refusal::OwnerUnavailable),
                    _ => self.at_owner(walk, profile, ownership, decision),
                }
            }
            Operation::Read => match self.bound(tenant.key, policy, decision) {
                Some(bound) => self.session_read(walk, (policy, profile), ownership, bound, decision),
                None => {
                    decision.consistency = Some(Consistency::Local);
                    self.local_read(walk, policy, profile, ownership, decision)
                }
            },
        }?;
        let course = within_residency(course, allowed)?;
        // A gateway that heard of the new owner before the old one's did would tell other edges, and they would write there.
        if ownership.state == State::Settling && leads_to_a_gateway(&course, table) {
            decision.owner = None;
            decision.epoch = None;
        }
        Ok(course)
    }

    /// Rule 5. Pins do not apply here.
    fn write(
        &self,
        walk: Walk<'_>,
        policy: &Policy,
        profile: &Profile,
        ownership: Ownership,
        decision: &mut Decision,
    ) -> Result<Course, Refusal> {
        self.policy_takes_writes(policy)?;
        let hold = policy.writes.hold;
        match ownership.state {
            State::Active => {}
            State::Frozen { waits: true } | State::Moving | State::Settling
                if !self.facts.waited && hold > Millis(0) =>
            {
                return Ok(Course::Hold { at_most: hold });
            }
            State::Frozen { .. } | State::Moving | State::Settling => return Err(Refusal::WriteFrozen),
            State::ReadOnly => return Err(Refusal::OwnerReadOnly),
            State::Disputed => return Err(Refusal::SplitBrain),
            State::Ownerless => return Err(Refusal::OwnerUnavailable),
        }
        match policy.writes.to {
            WritesTo::Owner | WritesTo::Nobody => self.at_owner(walk, profile, ownership, decision),
            WritesTo::Local => {
                let walk = Walk { members: profile.may_own.with(ownership.owner), ..walk };
                let order = self.snapshot.preference(self.facts.source);
                let course = match walk.through(order, &mut decision.verdicts) {
                    Outcome::Chosen { region, endpoint, failover } => {
                        Course::Forward { region, endpoint, failover }
                    }
                    Outcome::Nobody(why) => return Err(nobody(&why, Refusal::NoRegion)),
                };
                if let Course::Forward { region, .. } = course {
                    decision.owner = Some(region);
                }
                Ok(course)
            }
        }
    }

    /// Writes and strong reads: the owner, or nobody.
    fn at_owner(
        &self,
        walk: Walk<'_>,
        profile: &Profile,
        ownership: Ownership,
        decision: &mut Decision,
    ) -> Result<Course, Refusal> {
        let owner = ownership.owner;
        let transferred = owner != profile.home;
        let role = self.snapshot.table().region(owner).map(|region| region.role);
        let standby = role == Some(Role::Standby) && !transferred && walk.allowed.contains(owner);
        if self.routed.operation == Operation::Write && standby {
            decision.verdicts.push(owner, Verdict::Role);
            return Err(Refusal::OwnerUnavailable);
        }
        let members = RegionSet::EMPTY.with(owner);
        let walk =
            Walk { members, unweighed: Some(owner), acting: Some(owner), across_regions: true, ..walk };
        match walk.through(&[owner], &mut decision.verdicts) {
            Outcome::Chosen { region, endpoint, .. } => {
                let failover = transferred.then_some(FailoverReason::Transferred);
                Ok(Course::Forward { region, endpoint, failover })
            }
            Outcome::Nobody(why) => {
                let read_only = role == Some(Role::ReadOnly) && self.routed.operation == Operation::Write;
                let otherwise = if read_only { Refusal::OwnerReadOnly } else { Refusal::OwnerUnavailable };
                Err(nobody(&why, otherwise))
            }
        }
    }

    /// Rules 7 and 8. Weights rule these reads wherever they begin: only strong reads follow ownership past a drain.
    fn local_read(
        &self,
        walk: Walk<'_>,
        policy: &Policy,
        profile: &Profile,
        ownership: Ownership,
        decision: &mut Decision,
    ) -> Result<Course, Refusal> {
        let owner = ownership.owner;
        let nearest = self.snapshot.preference(self.facts.source);
        let walk = Walk {
            staleness: Some((owner, policy.reads.max_staleness)),
            failover: policy.reads.failover,
            ..walk
        };
        let outcome = match policy.reads.from {
            ReadsFrom::Local => walk.through(nearest, &mut decision.verdicts),
            ReadsFrom::Owner => {
                let order = self.preferred(policy, profile, owner);
                let walk = Walk { acting: Some(owner), ..walk };
                walk.through(order.as_slice(), &mut decision.verdicts)
            }
        };
        match outcome {
            Outcome::Chosen { region, endpoint, failover } => {
                Ok(Course::Forward { region, endpoint, failover })
            }
            Outcome::Nobody(why) => {
                let bound = !policy.reads.failover && why.first.is_some_and(|first| first.region == owner);
                Err(nobody(&why, if bound { Refusal::OwnerUnavailable } else { Refusal::NoRegion }))
            }
        }
    }

    /// Rule 9: nobody owns it.
    pub fn placed(&self, id: PlacementId, name: &str, decision: &mut Decision) -> Result<Course, Refusal> {
        let table = self.snapshot.table();
        let placement = table.placement(id).ok_or(Refusal::NoRegion)?;
        let policy = table.policy(decision.policy).ok_or(Refusal::NoRegion)?;
        match self.routed.operation {
            Operation::Read => decision.consistency = Some(Consistency::Local),
            Operation::Write => self.policy_takes_writes(policy)?,
        }
        let key = self.key(policy, Key::of(name.as_bytes()));
        let allowed = self.class_allows();
        let walk = Walk {
            snapshot: self.snapshot,
            facts: self.facts,
            operation: self.routed.operation,
            capability: self.routed.capability,
            allowed,
            members: RegionSet::ALL,
            lots: self.lots(key),
            unweighed: None,
            acting: None,
            staleness: None,
            following: Following::NOBODY,
            cell: (None, key),
            failover: true,
            across_regions: self.goes_on_elsewhere(policy),
        };
        let nearest = self.snapshot.preference(self.facts.source).iter().copied();
        let order = Order::default();
        let order = match &placement.by {
            PlacementRule::Nearest => order.then(nearest),
            PlacementRule::Latency => order.then(self.snapshot.by_round_trip().iter().copied()),
            PlacementRule::Geo => {
                let home = |region: &RegionId| {
                    let countries = table.region(*region).map(|region| &region.countries);
                    self.facts.country.is_some_and(|country| countries.is_some_and(|c| c.contains(&country)))
                };
                order.then(nearest.clone().filter(home)).then(nearest)
            }
            PlacementRule::Weighted(shares) => order.then(by_share(shares, placement.name.as_bytes(), key)),
            PlacementRule::Primary(regions) => order.then(regions.iter().copied()),
            PlacementRule::Schedule(hours) => {
                order.then(hours.get(usize::from(self.facts.hour)).copied()).then(nearest)
            }
        };
        match walk.through(order.as_slice(), &mut decision.verdicts) {
            Outcome::Chosen { region, endpoint, failover } => {
                within_residency(Course::Forward { region, endpoint, failover }, allowed)
            }
            Outcome::Nobody(why) => Err(nobody(&why, Refusal::NoRegion)),
        }
    }

    /// What a policy says of any write, whoever owns the tenant.
    fn policy_takes_writes(&self, policy: &Policy) -> Result<(), Refusal> {
        if policy.writes.to == WritesTo::Nobody {
            Err(Refusal::OwnerReadOnly)
        } else if policy.writes.idempotency == Idempotency::Required && !self.facts.idempotency_key {
            Err(Refusal::IdempotencyKeyRequired)
        } else {
            Ok(())
        }
    }

    /// Whether a later attempt may go to another region than the first: reads may, where the policy lets them.
    fn goes_on_elsewhere(&self, policy: &Policy) -> bool {
        self.routed.operation == Operation::Read && policy.retries.across_regions
    }

    fn class_allows(&self) -> RegionSet {
        let class = self.routed.class.and_then(|class| self.snapshot.table().class(class));
        class.map_or(RegionSet::ALL, |class| class.allowed)
    }

    fn lots(&self, key: Key) -> Lots {
        self.supposed.map_or(Lots::Of(key), Lots::Supposed)
    }

    fn key(&self, policy: &Policy, tenant: Key) -> Key {
        match policy.sticky {
            Sticky::Tenant => tenant,
            Sticky::Session => self.facts.session,
            Sticky::Request => self.facts.chance,
        }
    }
}

/// Rule 10: checked again, last, on whatever was chosen.
fn within_residency(course: Course, allowed: RegionSet) -> Result<Course, Refusal> {
    match course {
        Course::Forward { region, .. } if !allowed.contains(region) => Err(Refusal::Residency),
        course => Ok(course),
    }
}

fn leads_to_a_gateway(course: &Course, table: &Table) -> bool {
    match course {
        Course::Forward { region, .. } => table.region(*region).is_some_and(|region| region.gateway),
        Course::Hold { .. } | Course::Refuse { .. } => false,
    }
}

/// Rule 11: the most telling reason.
const fn nobody(why: &Why, otherwise: Refusal) -> Refusal {
    if why.only_residency {
        Refusal::Residency
    } else if why.only_saturated {
        Refusal::Overloaded
    } else {
        otherwise
    }
}

/// The regions from the one whose share the key falls into, and on around.
fn by_share(shares: &[(RegionId, u32)], name: &[u8], key: Key) -> impl Iterator<Item = RegionId> {
    let total: u64 = shares.iter().map(|(_, share)| u64::from(*share)).sum();
    let drawn = u128::from(mix(Key::of(name).0 ^ key.0));
    let mut point = ((drawn * u128::from(total)) >> 64) as u64;
    let begin = shares.iter().position(|(_, share)| match point.checked_sub(u64::from(*share)) {
        Some(left) => {
            point = left;
            false
        }
        None => true,
    });
    let (before, from) = shares.split_at(begin.unwrap_or(0));
    from.iter().chain(before).filter(|(_, share)| *share > 0).map(|(region, _)| *region)
}

//! A gateway's decision: whether a request passes, and which endpoint of the region takes it.
//!
//! Never: chooses another region, or turns a read away for a weight: weights are applied where a request enters.

use super::{Claim, Judgement, Known, Needs, Said, Shown, Writers, judge};
use crate::classify::{self, Routed};
use crate::decision::{Consistency, Course, Decision};
use crate::facts::Facts;
use crate::ownership::State;
use crate::pick::{Lots, Outcome, Walk};
use crate::pin::Following;
use crate::policy::WritesTo;
use crate::reason::{Refusal, Verdict};
use crate::snapshot::Snapshot;
use crate::table::{Operation, Role};
use crate::tenants::{Tenant, is_tenant_id};
use crate::units::{Key, RegionId, RegionSet};

/// What a gateway makes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gated<'a> {
    /// Where it goes within the region, or why it does not. `owner` and `epoch` are what holds, the news included.
    pub decision: Decision,
    /// What is to be kept before the decision is acted upon, and of whom.
    pub news: Option<(&'a str, Claim<'a>)>,
}

/// What the gateway of the region `here` does with a request.
///
/// - `facts`: what the request says. Its client is the edge, so what it presents is nothing to go by.
/// - `shown`: what the edge shows with it.
/// - Errors: none; what does not pass is a [`Refusal`].
#[must_use]
pub fn decide<'a>(facts: &Facts<'a>, shown: &'a Shown, snapshot: &'a Snapshot, here: RegionId) -> Gated<'a> {
    let table = snapshot.table();
    let routed = classify::route(facts, table);
    let mut asked = Asked {
        facts,
        shown,
        snapshot,
        routed,
        here,
        made: Decision::begun(&routed, facts.source, snapshot.generation()),
        news: None,
    };
    let course = asked.course();
    asked.made.course = course.unwrap_or_else(|because| Course::Refuse { because });
    Gated { decision: asked.made, news: asked.news }
}

struct Asked<'r, 'a> {
    facts: &'r Facts<'a>,
    shown: &'a Shown,
    snapshot: &'a Snapshot,
    routed: Routed,
    here: RegionId,
    made: Decision,
    news: Option<(&'a str, Claim<'a>)>,
}

impl<'a> Asked<'_, 'a> {
    fn course(&mut self) -> Result<Course, Refusal> {
        let table = self.snapshot.table();
        if self.shown.target.as_ref() != table.region_name(self.here) {
            return Err(Refusal::Misdirected);
        }
        if matches!(self.facts.method, "TRACE" | "CONNECT") {
            return Err(Refusal::MethodNotAllowed);
        }
        match self.named()? {
            Some(name) if !is_tenant_id(name.as_bytes()) => Err(Refusal::BadRequest),
            Some(name) => match table.tenants().find(name) {
                Some(tenant) => self.of_tenant(name, &tenant),
                // Who is not in the table can be neither fenced nor kept within a residency.
                None if self.shown.tenant.is_some() => Err(Refusal::TenantUnknown),
                None => self.placed(Key::of(name.as_bytes()), Refusal::TenantUnknown),
            },
            None => self.placed(self.facts.chance, Refusal::TenantMissing),
        }
    }

    /// Whom the request is of, as the edge shows it and as it says by itself; both, where both say.
    fn named(&self) -> Result<Option<&'a str>, Refusal> {
        let own = match classify::tenant(self.facts, self.snapshot.table()) {
            Ok(name) => Some(name),
            Err(Refusal::TenantMissing) => None,
            Err(refusal) => return Err(refusal),
        };
        match (self.shown.tenant.as_deref(), own) {
            (Some(shown), Some(own)) if shown != own => Err(Refusal::TenantConflict),
            (shown, own) => Ok(shown.or(own)),
        }
    }

    fn of_tenant(&mut self, name: &'a str, tenant: &Tenant<'a>) -> Result<Course, Refusal> {
        let table = self.snapshot.table();
        let profile = tenant.profile;
        let ownership = self.snapshot.ownership().of(name, tenant);
        let policy_id = self.routed.policy.unwrap_or(profile.policy);
        let policy = table.policy(policy_id).ok_or(Refusal::NoRegion)?;
        let many = policy.writes.to == WritesTo::Local;
        let takes = profile.may_own.with(ownership.owner).contains(self.here);
        let (made, is_write) = (&mut self.made, self.routed.operation == Operation::Write);
        made.tenant = Some(tenant.at);
        made.policy = policy_id;
        made.owner = Some(if is_write && many && takes { self.here } else { ownership.owner });
        made.epoch = Some(ownership.epoch);
        let known = Known {
            ownership: Claim { owner: table.region_name(ownership.owner), epoch: ownership.epoch },
            disputed: ownership.state == State::Disputed,
            withheld: ownership.state == State::Settling,
            writers: if many { Writers::Many { here: takes } } else { Writers::Owner },
        };
        let needs = match self.routed.operation {
            Operation::Write => Needs::Write,
            Operation::Read if self.routed.strong => Needs::Owner,
            Operation::Read => Needs::Copy,
        };
        self.made.consistency = match needs {
            Needs::Write => None,
            Needs::Owner => Some(Consistency::Strong),
            Needs::Copy => Some(Consistency::Local),
        };
        let is_newer = self.shown.claim().is_some_and(|claim| claim.epoch > ownership.epoch);
        if ownership.state == State::Ownerless && !is_newer {
            // Who owns it is no region of the table, so it is not this one; what the home is said to own, it does not.
            self.made.owner = None;
            if needs != Needs::Copy {
                return Err(Refusal::OwnerUnavailable);
            }
            return self
                .endpoint(profile.allowed.and(self.class_allows()), (profile.cell.as_deref(), tenant.key));
        }
        let said = Said {
            target: &self.shown.target,
            claim: self.shown.claim(),
            // Under another policy than ours, or one of many writers, the edge may call owner who merely takes the write.
            is_ownership: !is_write || (!many && *self.shown.policy == *policy.name),
        };
        let judged = judge(&said, Some(&known), needs, table.region_name(self.here));
        self.news = judged.news.map(|claim| (name, claim));
        if let Some(claim) = judged.news.filter(|claim| claim.epoch > ownership.epoch) {
            self.made.owner = table.region_named(claim.owner);
            self.made.epoch = Some(claim.epoch);
        }
        match judged.verdict {
            Judgement::Pass => {}
            Judgement::Misdirected => return Err(Refusal::Misdirected),
            Judgement::StaleEpoch(_) => return Err(Refusal::StaleEpoch),
            Judgement::SplitBrain => return Err(Refusal::SplitBrain),
            Judgement::Withheld => return Err(Refusal::WriteFrozen),
        }
        if is_write {
            match ownership.state {
                State::Active => {}
                // Edges let writes wait; what has come here has waited.
                State::Frozen { .. } | State::Moving | State::Settling => return Err(Refusal::WriteFrozen),
                State::ReadOnly => return Err(Refusal::OwnerReadOnly),
                // Judged above, unless what is news ends it.
                State::Disputed | State::Ownerless => {}
            }
            if policy.writes.to == WritesTo::Nobody {
                return Err(Refusal::OwnerReadOnly);
            }
        }
        self.endpoint(profile.allowed.and(self.class_allows()), (profile.cell.as_deref(), tenant.key))
    }

    /// Nobody owns it, as far as either side knows.
    fn placed(&mut self, key: Key, otherwise: Refusal) -> Result<Course, Refusal> {
        self.snapshot.table().tenancy().unknown.ok_or(otherwise)?;
        if self.routed.operation == Operation::Read {
            self.made.consistency = Some(Consistency::Local);
        }
        self.endpoint(self.class_allows(), (None, key))
    }

    /// An endpoint of this region.
    fn endpoint(&mut self, allowed: RegionSet, cell: (Option<&str>, Key)) -> Result<Course, Refusal> {
        let here = self.here;
        let walk = Walk {
            snapshot: self.snapshot,
            facts: self.facts,
            operation: self.routed.operation,
            capability: self.routed.capability,
            allowed,
            members: RegionSet::EMPTY.with(here),
            lots: Lots::Of(cell.1),
            unweighed: Some(here),
            acting: Some(here),
            following: Following::NOBODY,
            staleness: None,
            cell,
            failover: false,
            across_regions: false,
        };
        match walk.through(&[here], &mut self.made.verdicts) {
            Outcome::Chosen { region, endpoint, .. } => {
                Ok(Course::Forward { region, endpoint, failover: None })
            }
            Outcome::Nobody(_) => Err(self.nobody()),
        }
    }

    /// Why this region does not take it, by the one verdict there is.
    fn nobody(&self) -> Refusal {
        let role = self.snapshot.table().region(self.here).map(|region| region.role);
        let verdict = self.made.verdicts.as_slice().first().map(|candidate| candidate.verdict);
        match (verdict, self.routed.operation) {
            (Some(Verdict::Residency), _) => Refusal::Residency,
            (Some(Verdict::Saturated), _) => Refusal::Overloaded,
            (_, Operation::Write) if role == Some(Role::ReadOnly) => Refusal::OwnerReadOnly,
            (_, Operation::Write) => Refusal::OwnerUnavailable,
            (_, Operation::Read) => Refusal::NoRegion,
        }
    }

    fn class_allows(&self) -> RegionSet {
        let class = self.routed.class.and_then(|class| self.snapshot.table().class(class));
        class.map_or(RegionSet::ALL, |class| class.allowed)
    }
}

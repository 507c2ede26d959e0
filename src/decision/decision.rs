//! What a decision is: a course, with its reasons.

use arrayvec::ArrayVec;

use crate::classify::Routed;
use crate::pin::PinUse;
use crate::reason::{FailoverReason, Refusal, Verdict};
use crate::table::Operation;
use crate::tenants::TenantRef;
use crate::units::{
    CapabilityId, EndpointId, Epoch, Generation, MAX_REGIONS, Millis, PolicyId, RegionId, RouteId, ServiceId,
};

/// Where a request goes, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The tenant; `None`: none was named, or the table does not have it.
    pub tenant: Option<TenantRef>,
    /// The route that matched.
    pub route: Option<RouteId>,
    /// What the request does.
    pub operation: Operation,
    /// How fresh a read must be; `None` for a write.
    pub consistency: Option<Consistency>,
    /// What became of the pin that it showed; `None`: it showed none, or none was looked at.
    pub pin: Option<PinUse>,
    /// The service it belongs to.
    pub service: ServiceId,
    /// What a region must be able to do for it.
    pub capability: CapabilityId,
    /// The policy that it obeys.
    pub policy: PolicyId,
    /// Where it entered.
    pub source: RegionId,
    /// Who owns the tenant. Under a multi-writer policy, for a write: the region that takes it.
    pub owner: Option<RegionId>,
    /// The epoch of that ownership.
    pub epoch: Option<Epoch>,
    /// What is to be done.
    pub course: Course,
    /// One verdict for every candidate region, in the order in which they were asked.
    pub verdicts: Verdicts,
    /// The snapshot that it was made on.
    pub generation: Generation,
}

impl Decision {
    /// What is known before any region was asked.
    pub(crate) fn begun(routed: &Routed, source: RegionId, generation: Generation) -> Self {
        Self {
            tenant: None,
            route: routed.route,
            operation: routed.operation,
            consistency: None,
            pin: None,
            service: routed.service,
            capability: routed.capability,
            policy: routed.policy.unwrap_or(PolicyId(0)),
            source,
            owner: None,
            epoch: None,
            course: Course::Refuse { because: Refusal::NoRegion },
            verdicts: Verdicts::default(),
            generation,
        }
    }

    /// The region that takes the request.
    #[must_use]
    pub const fn target(&self) -> Option<RegionId> {
        match self.course {
            Course::Forward { region, .. } => Some(region),
            Course::Hold { .. } | Course::Refuse { .. } => None,
        }
    }

    /// Why another region than the first preference takes it.
    #[must_use]
    pub const fn failover(&self) -> Option<FailoverReason> {
        match self.course {
            Course::Forward { failover, .. } => failover,
            Course::Hold { .. } | Course::Refuse { .. } => None,
        }
    }

    /// Why nobody takes it.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        match self.course {
            Course::Forward { .. } | Course::Hold { .. } => None,
            Course::Refuse { because } => Some(because),
        }
    }
}

/// What is to be done with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Send it on.
    Forward {
        /// The region.
        region: RegionId,
        /// One of its endpoints, in the snapshot's health.
        endpoint: EndpointId,
        /// Why this is not the first preference.
        failover: Option<FailoverReason>,
    },
    /// Let a write wait: its tenant's ownership is moving, or an operator paused its writes.
    Hold {
        /// The longest that it may wait, from when it came.
        at_most: Millis,
    },
    /// Answer by ourselves.
    Refuse {
        /// Why.
        because: Refusal,
    },
}

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Consistency {
    /// As fresh as a replica within its limit.
    Local,
    /// Not older than what its client wrote.
    Session,
    /// As the owner has it.
    Strong,
}

impl Consistency {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Session => "session",
            Self::Strong => "strong",
        }
    }
}

/// One candidate region and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The region.
    pub region: RegionId,
    /// What became of it.
    pub verdict: Verdict,
}

/// One verdict for every candidate, without an allocation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdicts(pub(crate) ArrayVec<Candidate, MAX_REGIONS>);

impl Verdicts {
    /// The candidates, in the order in which they were asked.
    #[must_use]
    pub fn as_slice(&self) -> &[Candidate] {
        &self.0
    }

    /// Forgets them: another walk begins.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn push(&mut self, region: RegionId, verdict: Verdict) {
        // A table has no more regions than there is room for.
        let _ = self.0.try_push(Candidate { region, verdict });
    }
}

//! Verdicts, refusals and failover reasons: closed lists with stable codes.
//!
//! The same code is the log field, the metric label, the JSON value and the word in a test.

/// What became of one candidate region. Filters are asked in this order; the first that fails speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// It takes the request.
    Chosen,
    /// It was not asked: an earlier candidate took the request.
    NotNeeded,
    /// The tenant's residency, or that of the class of data, forbids it.
    Residency,
    /// It holds no copy that may answer.
    NoReplica,
    /// Its role forbids it: off, read-only for a write, standby while an active region is fit.
    Role,
    /// No endpoint reports the capability as up.
    Unhealthy,
    /// Its copy lags more than the policy allows.
    Stale,
    /// Its weight does not cover this key.
    Drained,
    /// It has as many requests in flight as it may have.
    Saturated,
    /// An attempt there has failed already.
    Tried,
}

impl Verdict {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::NotNeeded => "not_needed",
            Self::Residency => "residency",
            Self::NoReplica => "no_replica",
            Self::Role => "role",
            Self::Unhealthy => "unhealthy",
            Self::Stale => "stale",
            Self::Drained => "drained",
            Self::Saturated => "saturated",
            Self::Tried => "tried",
        }
    }
}

/// Why another region than the first preference took a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FailoverReason {
    /// The first preference is drained for this key.
    Drained,
    /// The first preference reports the capability as down.
    Unhealthy,
    /// The first preference lags too much.
    Stale,
    /// The first preference is full.
    Saturated,
    /// The first preference's role forbids it.
    Role,
    /// The first preference could not be reached.
    ConnectFailed,
    /// Ownership moved away from the home.
    Transferred,
}

impl FailoverReason {
    /// Every reason, in the order of [`Self::code`]s in the documentation.
    pub const ALL: [Self; 7] = [
        Self::Drained,
        Self::Unhealthy,
        Self::Stale,
        Self::Saturated,
        Self::Role,
        Self::ConnectFailed,
        Self::Transferred,
    ];

    /// The stable code, as in `X-Failover-Reason`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Unhealthy => "unhealthy",
            Self::Stale => "stale",
            Self::Saturated => "saturated",
            Self::Role => "role",
            Self::ConnectFailed => "connect_failed",
            Self::Transferred => "transferred",
        }
    }

    /// The reason that a first preference's verdict gives; `None` for verdicts that a first preference cannot have.
    #[must_use]
    pub const fn from_verdict(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Role => Some(Self::Role),
            Verdict::Unhealthy => Some(Self::Unhealthy),
            Verdict::Stale => Some(Self::Stale),
            Verdict::Drained => Some(Self::Drained),
            Verdict::Saturated => Some(Self::Saturated),
            Verdict::Tried => Some(Self::ConnectFailed),
            Verdict::Chosen | Verdict::NotNeeded | Verdict::Residency | Verdict::NoReplica => None,
        }
    }
}

/// An answer that Rhumb gives by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Refusal {
    /// The request is malformed or ambiguous.
    BadRequest,
    /// No source named a tenant.
    TenantMissing,
    /// Two sources named different tenants.
    TenantConflict,
    /// The tenant is not in the table.
    TenantUnknown,
    /// The policy wants an `Idempotency-Key` on a write.
    IdempotencyKeyRequired,
    /// TRACE or CONNECT.
    MethodNotAllowed,
    /// The client took too long to send it.
    RequestTimeout,
    /// Too many or too long header fields.
    HeadTooLarge,
    /// The target is too long.
    UriTooLong,
    /// The body is longer than the limit.
    BodyTooLarge,
    /// It came by a connection that was made for another host.
    Misdirected,
    /// The request has passed this process before, or too many of its kind.
    Loop,
    /// The owner cannot take it.
    OwnerUnavailable,
    /// The owner, the tenant or the policy takes reads only.
    OwnerReadOnly,
    /// Writes of the tenant are frozen while its ownership moves.
    WriteFrozen,
    /// Two regions own the tenant at one epoch.
    SplitBrain,
    /// A gateway knows a newer ownership, or another owner, than the request was sent under.
    StaleEpoch,
    /// An earlier attempt of this write went to another owner, and what became of it is unknown.
    OutcomeUnknown,
    /// The region that holds the client's own write cannot answer, and the policy allows no older answer.
    PinUnavailable,
    /// Every region that is fit is forbidden.
    Residency,
    /// No region is fit.
    NoRegion,
    /// The regions that are fit, or this edge, are full.
    Overloaded,
    /// A region took the request and broke off.
    UpstreamFailed,
    /// The request's time is up.
    Deadline,
}

impl Refusal {
    /// Every refusal, in the order of the documentation.
    pub const ALL: [Self; 24] = [
        Self::BadRequest,
        Self::TenantMissing,
        Self::TenantConflict,
        Self::TenantUnknown,
        Self::IdempotencyKeyRequired,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::HeadTooLarge,
        Self::UriTooLong,
        Self::BodyTooLarge,
        Self::Misdirected,
        Self::Loop,
        Self::OwnerUnavailable,
        Self::OwnerReadOnly,
        Self::WriteFrozen,
        Self::SplitBrain,
        Self::StaleEpoch,
        Self::OutcomeUnknown,
        Self::PinUnavailable,
        Self::Residency,
        Self::NoRegion,
        Self::Overloaded,
        Self::UpstreamFailed,
        Self::Deadline,
    ];

    /// The stable code, as in the `reason` of an answer.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TenantMissing => "tenant_missing",
            Self::TenantConflict => "tenant_conflict",
            Self::TenantUnknown => "tenant_unknown",
            Self::IdempotencyKeyRequired => "idempotency_key_required",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::Misdirected => "misdirected",
            Self::Loop => "loop",
            Self::OwnerUnavailable => "owner_unavailable",
            Self::OwnerReadOnly => "owner_read_only",
            Self::WriteFrozen => "write_frozen",
            Self::SplitBrain => "split_brain",
            Self::StaleEpoch => "stale_epoch",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::PinUnavailable => "pin_unavailable",
            Self::Residency => "residency",
            Self::NoRegion => "no_region",
            Self::Overloaded => "overloaded",
            Self::UpstreamFailed => "upstream_failed",
            Self::Deadline => "deadline",
        }
    }

    /// The HTTP status. No `_` arm: a new refusal asks for its status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::TenantMissing | Self::TenantConflict | Self::IdempotencyKeyRequired => {
                400
            }
            Self::TenantUnknown => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::StaleEpoch | Self::OutcomeUnknown => 409,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::Misdirected => 421,
            Self::HeadTooLarge => 431,
            Self::UpstreamFailed => 502,
            Self::OwnerUnavailable
            | Self::OwnerReadOnly
            | Self::WriteFrozen
            | Self::SplitBrain
            | Self::PinUnavailable
            | Self::Residency
            | Self::NoRegion
            | Self::Overloaded => 503,
            Self::Deadline => 504,
            Self::Loop => 508,
        }
    }

    /// The gRPC status code: <https://grpc.io/docs/guides/status-codes/>.
    #[must_use]
    pub const fn grpc(self) -> u8 {
        const INVALID_ARGUMENT: u8 = 3;
        const DEADLINE_EXCEEDED: u8 = 4;
        const NOT_FOUND: u8 = 5;
        const RESOURCE_EXHAUSTED: u8 = 8;
        const FAILED_PRECONDITION: u8 = 9;
        const ABORTED: u8 = 10;
        const UNIMPLEMENTED: u8 = 12;
        const UNAVAILABLE: u8 = 14;
        match self {
            Self::BadRequest | Self::TenantMissing | Self::TenantConflict | Self::IdempotencyKeyRequired => {
                INVALID_ARGUMENT
            }
            Self::TenantUnknown => NOT_FOUND,
            Self::MethodNotAllowed => UNIMPLEMENTED,
            Self::HeadTooLarge | Self::UriTooLong | Self::BodyTooLarge => RESOURCE_EXHAUSTED,
            Self::Misdirected | Self::Loop => FAILED_PRECONDITION,
            Self::OwnerUnavailable
            | Self::OwnerReadOnly
            | Self::WriteFrozen
            | Self::SplitBrain
            | Self::PinUnavailable
            | Self::Residency
            | Self::NoRegion
            | Self::Overloaded
            | Self::UpstreamFailed => UNAVAILABLE,
            Self::StaleEpoch | Self::OutcomeUnknown => ABORTED,
            Self::RequestTimeout | Self::Deadline => DEADLINE_EXCEEDED,
        }
    }

    /// A sentence for people; says nothing about the inside.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is malformed or ambiguous",
            Self::TenantMissing => "The request names no tenant",
            Self::TenantConflict => "The request names two different tenants",
            Self::TenantUnknown => "There is no such tenant",
            Self::IdempotencyKeyRequired => "This write needs an Idempotency-Key header",
            Self::MethodNotAllowed => "This method is not allowed",
            Self::RequestTimeout => "The request did not arrive in time",
            Self::HeadTooLarge => "The header fields are too large or too many",
            Self::UriTooLong => "The request target is too long",
            Self::BodyTooLarge => "The request body is too large",
            Self::Misdirected => "The connection was made for another host",
            Self::Loop => "The request has passed here before",
            Self::OwnerUnavailable => "The region that owns this tenant cannot take the request now",
            Self::OwnerReadOnly => "This tenant can only be read now",
            Self::WriteFrozen => "Writes of this tenant are paused for a moment",
            Self::SplitBrain => "Writes of this tenant are stopped until it is settled who owns it",
            Self::StaleEpoch => "The region knows a newer owner of this tenant",
            Self::OutcomeUnknown => "An earlier attempt of this write may have succeeded elsewhere",
            Self::PinUnavailable => "The region that holds your last write cannot answer now",
            Self::Residency => "No region that this tenant's residency allows can take the request now",
            Self::NoRegion => "No region can take the request now",
            Self::Overloaded => "Too many requests are in flight",
            Self::UpstreamFailed => "The region broke off the request",
            Self::Deadline => "The request took too long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_and_title_is_its_own() {
        let codes: HashSet<_> = Refusal::ALL.iter().map(|r| r.code()).collect();
        let titles: HashSet<_> = Refusal::ALL.iter().map(|r| r.title()).collect();
        assert_eq!((codes.len(), titles.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
        let reasons: HashSet<_> = FailoverReason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(reasons.len(), FailoverReason::ALL.len());
    }

    #[test]
    fn a_refusal_is_always_an_error_status() {
        assert!(
            Refusal::ALL.iter().all(|r| (400..=599).contains(&r.status()) && (1..=16).contains(&r.grpc()))
        );
    }
}

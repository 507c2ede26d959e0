//! A policy as written: the preset of its topology, and over it every key that was written out.

use std::time::Duration;

use rhumb_decision::policy::{
    Idempotency, OnOwnerChange, OnPinLost, Policy, ReadsFrom, Sticky, Topology, WriteFailover, WritesTo,
};
use rhumb_decision::units::Millis;

use super::convert::Conversion;
use super::places::At;
use super::shape::{
    IdempotencyDoc, OnOwnerChangeDoc, OnPinLostDoc, PolicyDoc, ReadsDoc, ReadsFromDoc, RetriesDoc, StickyDoc,
    TopologyDoc, WriteFailoverDoc, WritesDoc, WritesToDoc,
};
use super::values::RetryOn;
use crate::problem::given::Given;
use crate::problem::units::Period;

/// Makes a policy; its name is given to it by the draft.
pub(super) fn policy(at: &At, doc: PolicyDoc, to: &mut Conversion<'_>) -> Policy {
    let topology = match doc.topology.good() {
        Some(TopologyDoc::ActivePassive) => Topology::ActivePassive,
        Some(TopologyDoc::ActiveActive) => Topology::ActiveActive,
        Some(TopologyDoc::HomeOnly) => Topology::HomeOnly,
        Some(TopologyDoc::ReadOnly) => Topology::ReadOnly,
        Some(TopologyDoc::SingleWriter) | None => Topology::SingleWriter,
    };
    let mut policy = topology.preset();
    set(&mut policy.sticky, doc.sticky, |sticky| match sticky {
        StickyDoc::Tenant => Sticky::Tenant,
        StickyDoc::Session => Sticky::Session,
        StickyDoc::Request => Sticky::Request,
    });
    set(&mut policy.timeout, doc.timeout, |limit| Some(millis(limit)).filter(|limit| limit.0 > 0));
    reads(doc.reads.good().unwrap_or_default(), &mut policy);
    writes(doc.writes.good().unwrap_or_default(), &mut policy);
    retries(&at.key("retries"), doc.retries.good().unwrap_or_default(), &mut policy, to);
    policy
}

fn set<T, U>(slot: &mut U, given: Given<T>, made: impl FnOnce(T) -> U) {
    if let Some(value) = given.good() {
        *slot = made(value);
    }
}

/// A span as the decision counts it.
pub(super) fn millis<const MIN: u64, const MAX: u64>(period: Period<MIN, MAX>) -> Millis {
    let span: Duration = period.into();
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn reads(doc: ReadsDoc, policy: &mut Policy) {
    let reads = &mut policy.reads;
    set(&mut reads.from, doc.from, |from| match from {
        ReadsFromDoc::Local => ReadsFrom::Local,
        ReadsFromDoc::Owner => ReadsFrom::Owner,
    });
    set(&mut reads.failover, doc.failover, |failover| failover);
    set(&mut reads.max_staleness, doc.max_staleness, millis);
    set(&mut reads.read_your_writes, doc.read_your_writes, millis);
    set(&mut reads.on_pin_lost, doc.on_pin_lost, |lost| match lost {
        OnPinLostDoc::Stale => OnPinLost::Stale,
        OnPinLostDoc::Refuse => OnPinLost::Refuse,
    });
}

fn writes(doc: WritesDoc, policy: &mut Policy) {
    let writes = &mut policy.writes;
    set(&mut writes.to, doc.to, |to| match to {
        WritesToDoc::Owner => WritesTo::Owner,
        WritesToDoc::Local => WritesTo::Local,
    });
    set(&mut writes.hold, doc.hold, millis);
    set(&mut writes.failover, doc.failover, |failover| match failover {
        WriteFailoverDoc::Manual => WriteFailover::Manual,
        WriteFailoverDoc::Automatic => WriteFailover::Automatic,
        WriteFailoverDoc::Never => WriteFailover::Never,
    });
    set(&mut writes.after, doc.after, millis);
    set(&mut writes.cooldown, doc.cooldown, millis);
    set(&mut writes.max_lag, doc.max_lag, millis);
    set(&mut writes.idempotency, doc.idempotency, |idempotency| match idempotency {
        IdempotencyDoc::Optional => Idempotency::Optional,
        IdempotencyDoc::Required => Idempotency::Required,
    });
    set(&mut writes.on_owner_change, doc.on_owner_change, |change| match change {
        OnOwnerChangeDoc::Mark => OnOwnerChange::Mark,
        OnOwnerChangeDoc::Refuse => OnOwnerChange::Refuse,
    });
}

fn retries(at: &At, doc: RetriesDoc, policy: &mut Policy, to: &mut Conversion<'_>) {
    let retries = &mut policy.retries;
    set(&mut retries.attempts, doc.attempts, |attempts| u8::try_from(attempts.0).unwrap_or(u8::MAX));
    set(&mut retries.across_regions, doc.across_regions, |across| across);
    set(&mut retries.budget_percent, doc.budget, |budget| u8::try_from(budget.0).unwrap_or(100));
    if doc.on.is_written() {
        let (on, _) = to.list(&at.key("on"), doc.on);
        retries.on_connect = on.contains(&RetryOn::Connect);
        retries.on_reset = on.contains(&RetryOn::Reset);
        let mut statuses: Vec<u16> = on
            .iter()
            .filter_map(|kind| match kind {
                RetryOn::Status(status) => Some(*status),
                RetryOn::Connect | RetryOn::Reset => None,
            })
            .collect();
        statuses.sort_unstable();
        statuses.dedup();
        retries.on_status = statuses.into();
    }
}

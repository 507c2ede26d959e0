//! Writes with an `Idempotency-Key`: where each was sent before, told to the region that gets it now.
//!
//! What is remembered belongs to this process: it ends with it, and other edges do not know of it. It is remembered
//! when a write is about to be sent, as that is the last moment at which nothing can have come of it, and forgotten
//! again where the region says that nothing did.
//!
//! Never: keeps a key, or lets one client's keys pass for another's: tenant and key are hashed by secrets of this
//! process, so nobody can choose two that are alike.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use rhumb_decision::reason::Refusal;
use rhumb_decision::repeats::{Attempted, Attempts, Memory, Repeat, Ticket};
use rhumb_decision::table::Operation;
use rhumb_decision::units::Millis;
use rhumb_decision::{Course, Decision};

use crate::proxy::facts::IDEMPOTENCY_KEY;
use crate::proxy::onward::X_PRIOR_ATTEMPT_REGION;
use crate::proxy::pins::may_have_committed;
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::RequestState;

/// Parts of the memory, each under a lock of its own, so that writes seldom wait for each other.
const SHARDS: usize = 64;

/// Writes that each of them remembers, 112,000 in all: about 26 MB when full, which `tests/allocations.rs` holds.
const MOST: usize = 1_750;

/// How long a write is remembered: as long as services commonly keep their keys.
const LASTS: Millis = Millis(24 * 3_600 * 1_000);

/// Where writes were sent, by tenant and key.
pub(super) struct Repeats {
    shards: Box<[Mutex<Memory<Place>>]>,
    secrets: [RandomState; 2],
    /// The regions that writes were sent to, by [`Place`]: of all tables since the start, so they are few.
    regions: Mutex<Vec<HeaderValue>>,
}

/// A region by its place in a list: its name would be most of what is remembered.
type Place = u16;

/// A write with a key.
pub(super) struct Keyed {
    id: u128,
    /// Where it was before it came now.
    before: Attempts<Place>,
    /// What was remembered of it now.
    ticket: Option<Ticket>,
}

impl Repeats {
    /// Knows of no write.
    pub fn new() -> Self {
        let shard = |_| Mutex::new(Memory::new(MOST, LASTS));
        let secrets = [RandomState::new(), RandomState::new()];
        Self { shards: (0..SHARDS).map(shard).collect(), secrets, regions: Mutex::default() }
    }

    /// What stands for these keys of this tenant.
    fn id(&self, tenant: &str, headers: &HeaderMap) -> u128 {
        let keys = || headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes);
        let [one, other] = &self.secrets;
        let hash = |secret: &RandomState| secret.hash_one((tenant, keys().collect::<Vec<_>>()));
        u128::from(hash(one)) << 64 | u128::from(hash(other))
    }

    fn shard(&self, id: u128) -> Option<MutexGuard<'_, Memory<Place>>> {
        let at = (id >> 64) as usize % SHARDS;
        self.shards.get(at).map(lock)
    }

    /// The place of the region of this name; `None` where there have been too many.
    fn place(&self, region: &HeaderValue) -> Option<Place> {
        let mut regions = lock(&self.regions);
        let known = regions.iter().position(|known| known == region);
        let at = known.unwrap_or(regions.len());
        let place = Place::try_from(at).ok()?;
        if known.is_none() {
            regions.push(region.clone());
        }
        Some(place)
    }

    fn region(&self, place: Place) -> Option<HeaderValue> {
        lock(&self.regions).get(usize::from(place)).cloned()
    }

    /// What becomes of a write with a key that was seen before; `None`: it is no such write, or goes nowhere.
    fn repeat<'a>(&self, decision: &Decision, state: &'a RequestState) -> Option<Repeat<'a, Place>> {
        let keyed = state.keyed.as_ref().filter(|keyed| !keyed.before.is_empty())?;
        let target = self.place(&state.prepared.region(decision.target()?))?;
        let policy = state.current.table().policy(decision.policy)?;
        Some(Repeat::of(&keyed.before, &target, policy.writes.on_owner_change))
    }

    /// Tells the region where the write was before, if that was elsewhere.
    ///
    pub fn mark(&self, onward: &mut HeaderMap, decision: &Decision, state: &RequestState) {
        let Some(Repeat::Marked(before)) = self.repeat(decision, state) else { return };
        let Some(region) = self.region(before.region) else { return };
        let mut value = region.as_bytes().to_vec();
        value.extend_from_slice(format!(";epoch={}", before.epoch.0).as_bytes());
        // A name of a region and a number fit into a header.
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            onward.insert(X_PRIOR_ATTEMPT_REGION, value);
        }
    }
}

impl Rhumb {
    /// Decides where a request goes that has just come; knows from then on where it was before.
    pub(super) fn decide_first(&self, request: &RequestHeader, state: &mut RequestState) -> Option<Decision> {
        let decision = self.decide(request, state)?;
        if state.facts.idempotency_key
            && decision.operation == Operation::Write
            && let Some(tenant) = decision.tenant
        {
            let id = self.repeats.id(state.current.table().tenants().id(tenant), &request.headers);
            let before = self.repeats.shard(id).map(|memory| memory.recall(id, self.clock.now()));
            state.keyed = Some(Box::new(Keyed { id, before: before.unwrap_or_default(), ticket: None }));
        }
        Some(self.heeding(decision, state))
    }

    /// The decision, unless what became of the write elsewhere is unknown and its policy wants to know.
    pub(super) fn heeding(&self, mut decision: Decision, state: &RequestState) -> Decision {
        if let Some(Repeat::Refused) = self.repeats.repeat(&decision, state) {
            self.recorder.idempotency_key("refused");
            decision.course = Course::Refuse { because: Refusal::OutcomeUnknown };
        }
        decision
    }

    /// A write is about to be sent, and cannot be taken back any more.
    pub(super) fn remember(&self, state: &mut RequestState) {
        let Some(decision) = state.decision.as_ref().filter(|_| state.keyed.is_some()) else { return };
        let (Some(target), Some(epoch)) = (decision.target(), decision.epoch) else { return };
        let outcome = match self.repeats.repeat(decision, state) {
            Some(Repeat::Marked(_)) => "marked",
            Some(Repeat::Same) => "same",
            _ => "new",
        };
        let Some(region) = self.repeats.place(&state.prepared.region(target)) else { return };
        let attempted = Attempted { region, epoch };
        let Some(keyed) = &mut state.keyed else { return };
        let Some(mut memory) = self.repeats.shard(keyed.id) else { return };
        let (ticket, evicted) = memory.record(keyed.id, attempted, self.clock.now());
        drop(memory);
        // A further attempt of the same request is no repeat.
        if keyed.ticket.replace(ticket).is_none() {
            self.recorder.idempotency_key(outcome);
        }
        (0..evicted).for_each(|_| self.recorder.idempotency_key("evicted"));
    }

    /// The region has answered: where that says that nothing was written, the attempt is no earlier one of anything.
    pub(super) fn forget_if_nothing_was_written(&self, response: &ResponseHeader, state: &RequestState) {
        let Some(keyed) = state.keyed.as_ref().filter(|_| !may_have_committed(response)) else { return };
        if let (Some(ticket), Some(mut memory)) = (keyed.ticket, self.repeats.shard(keyed.id)) {
            memory.forget(ticket);
        }
    }
}

/// What is in there is never left half changed.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::units::Epoch;

    fn keys(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(IDEMPOTENCY_KEY, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn tenant_and_key_together_tell_writes_apart() {
        let repeats = Repeats::new();
        let id = |tenant: &str, values: &[&str]| repeats.id(tenant, &keys(values));
        assert_eq!(id("acme", &["k-1"]), id("acme", &["k-1"]));
        let all = [
            id("acme", &["k-1"]),
            id("globex", &["k-1"]),
            id("acme", &["k-2"]),
            id("acmek", &["-1"]),
            id("acme", &["k-1", "k-1"]),
            id("acme", &["k", "-1"]),
            Repeats::new().id("acme", &keys(&["k-1"])),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all.iter().skip(n + 1).all(|other| other != one), "{n}");
        }
    }

    #[test]
    fn a_region_keeps_its_place_whatever_comes_after_it() {
        let repeats = Repeats::new();
        let name = |n: u32| HeaderValue::from_str(&format!("region-{n}")).unwrap();
        let places: Vec<_> = (0..200).map(|n| repeats.place(&name(n)).unwrap()).collect();
        for (n, place) in (0..).zip(&places) {
            assert_eq!(repeats.place(&name(n)), Some(*place));
            assert_eq!(repeats.region(*place), Some(name(n)));
        }
        assert_eq!(repeats.region(200), None);
    }

    #[test]
    fn every_id_has_a_shard_and_all_of_them_are_used() {
        let repeats = Repeats::new();
        for n in 0..10_000 {
            let id = repeats.id("acme", &keys(&[&format!("k-{n}")]));
            let attempted = Attempted { region: 0, epoch: Epoch(7) };
            repeats.shard(id).unwrap().record(id, attempted, Millis(0));
        }
        assert!(repeats.shards.iter().all(|shard| !shard.lock().unwrap().is_empty()));
    }
}

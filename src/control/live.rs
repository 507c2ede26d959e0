//! What counts while requests run, apart from the snapshot: it changes with every request, and a decision reads it
//! only as facts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use rhumb_decision::units::{EndpointId, Key, Millis, RegionId};

use crate::control::traffic::Tally;

/// The live counts of one snapshot's regions and endpoints, by their ids.
#[derive(Clone, Default)]
pub struct Live {
    /// One for each region of the snapshot's table.
    pub regions: Box<[LiveRegion]>,
    /// Writes in flight by tenant; outlives tables.
    pub writes: Arc<Writes>,
}

/// The live counts of one region and of its endpoints.
#[derive(Clone, Default)]
pub struct LiveRegion {
    /// The region's own; outlives tables.
    pub counts: Arc<RegionCounts>,
    /// One for each endpoint of the snapshot's view; each outlives tables.
    pub endpoints: Box<[Arc<EndpointCounts>]>,
}

impl Live {
    /// The counts of a region.
    #[must_use]
    pub fn region(&self, region: RegionId) -> Option<&LiveRegion> {
        self.regions.get(region.index())
    }

    /// The counts of an endpoint.
    #[must_use]
    pub fn endpoint(&self, region: RegionId, endpoint: EndpointId) -> Option<&Arc<EndpointCounts>> {
        self.region(region)?.endpoints.get(endpoint.index())
    }
}

/// What counts for a region.
#[derive(Default, Debug)]
pub struct RegionCounts {
    in_flight: AtomicU32,
    retrying: AtomicU32,
    free_second: AtomicU64,
    /// What became of those that are over.
    pub tally: Tally,
}

/// Retries a second that every region is allowed, whatever its budget.
const FREE_RETRIES_A_SECOND: u64 = 3;

impl RegionCounts {
    /// Requests in flight to this region.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether one more retry is within the budget of `percent` of the requests in flight, or within the three a
    /// second that are always allowed; if so, it counts as under way until the guard is dropped.
    #[must_use]
    pub fn retry(self: &Arc<Self>, percent: u8, now: Millis) -> Option<Retrying> {
        let allowed = u64::from(self.in_flight()) * u64::from(percent) / 100;
        let under_way = self.retrying.fetch_add(1, Ordering::AcqRel);
        let retrying = Retrying(Arc::clone(self));
        (u64::from(under_way) < allowed || self.free(now)).then_some(retrying)
    }

    /// Seconds and how many were free in each share one word: the second above, the count in the low byte.
    fn free(&self, now: Millis) -> bool {
        let second = now.0 / 1_000;
        let step = |word: u64| match (word >> 8 == second, word & 0xff) {
            (true, used) if used >= FREE_RETRIES_A_SECOND => None,
            (true, _) => Some(word + 1),
            (false, _) => Some(second << 8 | 1),
        };
        self.free_second.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
    }
}

/// A request in flight to a region.
#[derive(Debug)]
pub struct InFlight(Arc<RegionCounts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A retry under way.
#[derive(Debug)]
pub struct Retrying(Arc<RegionCounts>);

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many counts there are: of ten thousand tenants that write at once, one in seven shares its own.
const STRIPES: usize = 1 << 16;

/// Writes in flight, by tenant. Some tenants share a count, so one may seem to have writes that it has not; never the
/// other way round.
#[derive(Debug)]
pub struct Writes(Box<[AtomicU32]>);

impl Default for Writes {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Writes {
    /// Counts a write of the tenant of this key until the guard is dropped. What is read after it, of the snapshot in
    /// force, is no older than what [`Self::in_flight`] was asked on, where that did not count it.
    #[must_use]
    pub fn enter(self: &Arc<Self>, key: Key) -> WriteInFlight {
        let at = key.0 as usize % STRIPES;
        if let Some(count) = self.0.get(at) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        // The other half is in `in_flight`: of two sides that each write and then look, one sees the other.
        fence(Ordering::SeqCst);
        WriteInFlight { writes: Arc::clone(self), at }
    }

    /// Writes in flight of the tenant of this key, or more; asked after a freeze was published, it counts every write
    /// that did not see the freeze.
    #[must_use]
    pub fn in_flight(&self, key: Key) -> u32 {
        fence(Ordering::SeqCst);
        self.0.get(key.0 as usize % STRIPES).map_or(0, |count| count.load(Ordering::SeqCst))
    }
}

/// A write in flight.
#[derive(Debug)]
pub struct WriteInFlight {
    writes: Arc<Writes>,
    at: usize,
}

impl Drop for WriteInFlight {
    fn drop(&mut self) {
        if let Some(count) = self.writes.0.get(self.at) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// What counts for an endpoint.
#[derive(Default, Debug)]
pub struct EndpointCounts {
    failures: AtomicU32,
    trial: AtomicU32,
}

impl EndpointCounts {
    /// Counts a failed connection, a reset or a timeout; returns how many there were in a row.
    pub fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    /// Ends a row of failures; returns whether there was one.
    pub fn succeeded(&self) -> bool {
        self.failures.load(Ordering::Acquire) != 0 && self.failures.swap(0, Ordering::AcqRel) != 0
    }

    /// Claims the trial of this number; true for one caller alone.
    #[must_use]
    pub fn claim_trial(&self, number: u32) -> bool {
        self.trial.swap(number, Ordering::AcqRel) != number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_share_of_what_is_in_flight_and_three_a_second() {
        let region = Arc::new(RegionCounts::default());
        let now = Millis(5_000);
        let free: Vec<_> = (0..3).map(|_| region.retry(20, now).unwrap()).collect();
        assert!(region.retry(20, now).is_none(), "nothing is in flight, and three were free");
        let requests: Vec<_> = (0..20).map(|_| region.enter()).collect();
        let fourth = region.retry(20, now);
        assert!(fourth.is_some() && region.retry(20, now).is_none(), "20 % of 20 are 4");
        drop((free, fourth));
        assert!(region.retry(20, now).is_some(), "those under way have ended");
        drop(requests);
        assert_eq!(region.in_flight(), 0);
        assert!(region.retry(0, Millis(6_000)).is_some(), "another second, another three");
    }

    #[test]
    fn a_write_is_counted_until_it_is_over() {
        let writes = Arc::new(Writes::default());
        let (acme, globex) = (Key(1), Key(2));
        let (one, two) = (writes.enter(acme), writes.enter(acme));
        assert_eq!((writes.in_flight(acme), writes.in_flight(globex)), (2, 0));
        drop(one);
        assert_eq!(writes.in_flight(acme), 1);
        drop(two);
        assert_eq!(writes.in_flight(acme), 0);
    }

    #[test]
    fn one_caller_claims_a_trial() {
        let endpoint = EndpointCounts::default();
        assert!(endpoint.claim_trial(1) && !endpoint.claim_trial(1) && endpoint.claim_trial(2));
    }

    #[test]
    fn failures_count_in_a_row() {
        let endpoint = EndpointCounts::default();
        assert_eq!((endpoint.failed(), endpoint.failed()), (1, 2));
        assert!(endpoint.succeeded() && !endpoint.succeeded());
        assert_eq!(endpoint.failed(), 1);
    }
}

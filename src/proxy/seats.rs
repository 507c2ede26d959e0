//! Who waits for a request, and since when: so that room can be made, at the cost of those who need it least.
//!
//! A connection whose holder has no request under way may be ended at any time; HTTP lets a server do so. When there
//! is no place or no file left for a newcomer, those who have waited longest go.
//!
//! Never: takes the seat of a request that is under way, or of somebody who has only just sat down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How many are asked to go at once: a crowd of newcomers is not to look for room one by one.
const AT_ONCE: usize = 32;

/// Nobody who has waited for less is asked to go.
const SAT: Duration = Duration::from_secs(1);

/// After a search in vain, the next one waits so long: a search looks at every seat.
const PAUSE: Duration = Duration::from_millis(100);

const BUSY: u64 = 0;
const GIVEN_UP: u64 = u64::MAX;

/// Every seat that is taken.
#[derive(Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
    /// Milliseconds on the monotonic clock before which nobody searches.
    not_before: AtomicU64,
}

#[derive(Default)]
struct Taken {
    seats: Vec<Option<Arc<Seat>>>,
    free: Vec<usize>,
}

/// Where one connection sits.
#[derive(Debug)]
pub(super) struct Seat {
    /// 0: a request is under way. `u64::MAX`: it was given up. Else since when it waits, in milliseconds from 1.
    waits_since: AtomicU64,
    told: Notify,
}

impl Seat {
    /// One that waits since `now`.
    pub fn waiting(now: Duration) -> Arc<Self> {
        Arc::new(Self { waits_since: AtomicU64::new(stamp(now)), told: Notify::new() })
    }

    /// It waits since `now`; does nothing once the seat was given up.
    pub fn wait(&self, now: Duration) {
        let _ = self
            .waits_since
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| (seen != GIVEN_UP).then(|| stamp(now)));
    }

    /// A request begins; false: the seat was given up before it came.
    #[must_use]
    pub fn work(&self) -> bool {
        let begin = |seen| (seen != GIVEN_UP).then_some(BUSY);
        self.waits_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_ok()
    }

    /// Whether somebody else has it.
    pub fn is_given_up(&self) -> bool {
        self.waits_since.load(Ordering::Acquire) == GIVEN_UP
    }

    /// Waits until it is given up.
    pub async fn given_up(&self) {
        while !self.is_given_up() {
            self.told.notified().await;
        }
    }
}

impl Seats {
    /// Takes a seat; the number gives it back.
    pub fn take(&self, seat: Arc<Seat>) -> usize {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.free.pop() {
            Some(number) => {
                if let Some(free) = taken.seats.get_mut(number) {
                    *free = Some(seat);
                }
                number
            }
            None => {
                taken.seats.push(Some(seat));
                taken.seats.len() - 1
            }
        }
    }

    /// Gives a seat back.
    pub fn leave(&self, number: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = taken.seats.get_mut(number)
            && seat.take().is_some()
        {
            taken.free.push(number);
        }
    }

    /// Gives up the seats of those who have waited longest at `now`. Returns how many.
    pub fn give_up(&self, now: Duration) -> usize {
        if stamp(now) < self.not_before.load(Ordering::Acquire) {
            return 0;
        }
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = stamp(now).saturating_sub(SAT.as_millis() as u64);
        let since = |seat: &Arc<Seat>| seat.waits_since.load(Ordering::Acquire);
        let mut waiting: Vec<(u64, &Arc<Seat>)> =
            taken.seats.iter().flatten().map(|seat| (since(seat), seat)).collect();
        waiting.retain(|(since, _)| *since != BUSY && *since <= latest);
        if waiting.len() > AT_ONCE {
            waiting.select_nth_unstable_by_key(AT_ONCE, |(since, _)| *since);
            waiting.truncate(AT_ONCE);
        }
        let mut given_up = 0;
        for (since, seat) in waiting {
            // One that has begun to work meanwhile stays.
            let swap =
                seat.waits_since.compare_exchange(since, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
            if swap.is_ok() {
                seat.told.notify_one();
                given_up += 1;
            }
        }
        if given_up == 0 {
            self.not_before.store(stamp(now + PAUSE), Ordering::Release);
        }
        given_up
    }
}

fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 2).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_has_waited_longest_goes_first_and_who_works_stays() {
        let seats = Seats::default();
        let all: Vec<_> = (0..100_u32).map(|n| Seat::waiting(SECOND * n)).collect();
        for seat in &all {
            seats.take(Arc::clone(seat));
        }
        assert!(all[3].work());
        assert_eq!(seats.give_up(200 * SECOND), AT_ONCE);
        let gone: Vec<_> = (0..100).filter(|n| all[*n].is_given_up()).collect();
        assert_eq!(gone, (0..=AT_ONCE).filter(|n| *n != 3).collect::<Vec<_>>());
        assert!(!all[0].work(), "its request comes too late");
        all[0].wait(300 * SECOND);
        assert!(all[0].is_given_up());
    }

    #[test]
    fn nobody_goes_who_has_only_just_come() {
        let seats = Seats::default();
        let seat = Seat::waiting(10 * SECOND);
        seats.take(Arc::clone(&seat));
        assert_eq!(seats.give_up(10 * SECOND + SECOND / 2), 0);
        assert_eq!(seats.give_up(11 * SECOND - SECOND / 1000), 0, "nor is there another search at once");
        assert_eq!(seats.give_up(12 * SECOND), 1);
        assert_eq!(seats.give_up(13 * SECOND), 0, "nobody goes twice");
    }

    #[test]
    fn seats_are_used_again() {
        let seats = Seats::default();
        let (one, two) = (seats.take(Seat::waiting(SECOND)), seats.take(Seat::waiting(SECOND)));
        seats.leave(one);
        seats.leave(one);
        assert_eq!(seats.take(Seat::waiting(SECOND)), one);
        seats.leave(one);
        seats.leave(two);
        {
            let taken = seats.taken.lock().unwrap();
            assert_eq!(
                (taken.seats.iter().flatten().count(), taken.seats.len(), taken.free.len()),
                (0, 2, 2)
            );
        }
        assert_eq!(seats.give_up(10 * SECOND), 0);
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_it() {
        let seats = Seats::default();
        let seat = Seat::waiting(SECOND);
        seats.take(Arc::clone(&seat));
        assert_eq!(seats.give_up(10 * SECOND), 1);
        seat.given_up().await;
    }
}

//! How many wrong tokens one client address may show in a second.
//!
//! Once it has shown that many, its tokens are not looked at until the second is over, right or wrong: else it could
//! go on guessing. The room for this is fixed: addresses share places by a hash that nobody outside knows.
//!
//! Never: grows with the number of clients, or keeps a client out who shows no token.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Wrong tokens in a second of one address. A person mistypes one; a program that guesses needs 2^255 tries.
pub(super) const MOST: u32 = 10;

const PLACES: usize = 4096;

/// Counts wrong tokens by address and second.
#[derive(Debug)]
pub(super) struct Guesses {
    hash: RandomState,
    /// Each: the second in the upper half, the count in the lower.
    places: Box<[AtomicU64]>,
}

impl Default for Guesses {
    fn default() -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { hash: RandomState::new(), places }
    }
}

impl Guesses {
    /// Whether a token of `address` is looked at, at `now` on the monotonic clock.
    pub fn may_try(&self, address: IpAddr, now: Duration) -> bool {
        self.place(address).is_none_or(|place| count(place.load(Ordering::Relaxed), now) < MOST)
    }

    /// It was wrong.
    pub fn was_wrong(&self, address: IpAddr, now: Duration) {
        let Some(place) = self.place(address) else { return };
        let more = |seen| Some(second(now) | u64::from(count(seen, now).saturating_add(1)));
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn place(&self, address: IpAddr) -> Option<&AtomicU64> {
        self.places.get(self.hash.hash_one(network(address)) as usize % PLACES)
    }
}

/// The first second is 1, so that it is not taken for an empty place's.
fn second(now: Duration) -> u64 {
    (now.as_secs() + 1) << 32
}

fn count(seen: u64, now: Duration) -> u32 {
    if seen >> 32 << 32 == second(now) { (seen & u64::from(u32::MAX)) as u32 } else { 0 }
}

/// Who has one IPv6 address has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn guess(guesses: &Guesses, address: &str, now: Duration) -> bool {
        let address = address.parse().unwrap();
        let may = guesses.may_try(address, now);
        if may {
            guesses.was_wrong(address, now);
        }
        may
    }

    #[test]
    fn an_address_has_so_many_guesses_in_a_second_and_as_many_in_the_next() {
        let guesses = Guesses::default();
        for now in [Duration::ZERO, SECOND, 100 * SECOND] {
            let tried = (0..50).filter(|n| guess(&guesses, "192.0.2.1", now + SECOND / 60 * *n)).count();
            assert_eq!(tried, MOST as usize, "{now:?}");
        }
    }

    #[test]
    fn one_address_does_not_use_up_anothers_and_a_network_of_one_client_is_one() {
        let guesses = Guesses::default();
        while guess(&guesses, "192.0.2.1", SECOND) {}
        while guess(&guesses, "2001:db8::1", SECOND) {}
        assert!(!guess(&guesses, "::ffff:192.0.2.1", SECOND), "the same address, written otherwise");
        assert!(!guess(&guesses, "2001:db8::2", SECOND), "of the same /64");
        // Two addresses may share a place, but not so many.
        let others = (2..=250).filter(|last| guess(&guesses, &format!("192.0.2.{last}"), SECOND)).count();
        assert!(others > 200, "{others}");
    }
}

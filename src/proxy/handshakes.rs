//! How many TLS handshakes one client address may begin in a second.
//!
//! A handshake costs the server far more than the client, and a client that never comes back to its connections is
//! held by no other limit. The room for this is fixed: addresses share places by a hash that nobody outside knows, so
//! a crowd of addresses cannot make it grow, nor choose whose place it fills.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::proxy::limits::network;

const PLACES: usize = 4096;

/// Counts handshakes by address and second.
pub(super) struct Handshakes {
    most: u32,
    hash: RandomState,
    /// Each: the second in the upper half, the count in the lower.
    places: Box<[AtomicU64]>,
}

impl Handshakes {
    /// At most `most` in a second from one address; 0 sets no limit.
    pub fn new(most: usize) -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { most: u32::try_from(most).unwrap_or(u32::MAX), hash: RandomState::new(), places }
    }

    /// Whether `address` may begin one more at `now`, on the monotonic clock. An IPv6 address counts with its /64.
    pub fn may_begin(&self, address: IpAddr, now: Duration) -> bool {
        let hash = self.hash.hash_one(network(address));
        let Some(place) = self.places.get(hash as usize % PLACES).filter(|_| self.most > 0) else {
            return true;
        };
        // The first second is 1, so that it is not taken for an empty place's.
        let second = (now.as_secs() + 1) << 32;
        let count = |seen: u64| if seen >> 32 << 32 == second { seen & u64::from(u32::MAX) } else { 0 };
        place
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
                let before = count(seen);
                (before < u64::from(self.most)).then(|| second | (before + 1))
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_has_so_many_in_a_second_and_as_many_in_the_next() {
        let handshakes = Handshakes::new(3);
        for now in [Duration::ZERO, SECOND, 100 * SECOND] {
            let begun = (0..10).filter(|n| handshakes.may_begin(v4(1), now + SECOND / 20 * *n)).count();
            assert_eq!(begun, 3, "{now:?}");
        }
    }

    #[test]
    fn one_address_does_not_use_up_anothers() {
        let handshakes = Handshakes::new(1);
        assert!(handshakes.may_begin(v4(1), SECOND) && !handshakes.may_begin(v4(1), SECOND));
        // Two addresses may share a place, but not so many.
        let others = (2..=250).filter(|last| handshakes.may_begin(v4(*last), SECOND)).count();
        assert!(others > 200, "{others}");
        let network = |text: &str| handshakes.may_begin(text.parse().unwrap(), 2 * SECOND);
        assert!(network("2001:db8::1") && !network("2001:db8::2"), "a network of one client is one");
    }

    #[test]
    fn without_a_limit_anybody_may() {
        let handshakes = Handshakes::new(0);
        assert!((0..1000).all(|_| handshakes.may_begin(v4(1), SECOND)));
    }
}

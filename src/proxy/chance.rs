//! Numbers drawn for requests: ids, traces, lots. Quick, and different in every process; not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use rhumb_decision::units::mix;

thread_local! {
    /// SplitMix64 (Steele, Lea and Flood, 2014), begun by the system's randomness.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u8));
}

/// The next number.
pub(super) fn draw() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        mix(next)
    })
}

/// The next number of 128 bits.
pub(super) fn draw_wide() -> u128 {
    u128::from(draw()) << 64 | u128::from(draw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_do_not_repeat_within_or_across_threads() {
        let here = (0..10_000).map(|_| draw());
        let there = std::thread::spawn(|| (0..10_000).map(|_| draw()).collect::<Vec<_>>()).join().unwrap();
        assert_eq!(here.chain(there).collect::<HashSet<_>>().len(), 20_000);
        assert_ne!(draw_wide() >> 64, 0);
    }
}

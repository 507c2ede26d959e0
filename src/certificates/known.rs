//! Leaves that have been seen to carry the id that a region must have, by their SHA-256.
//!
//! Why: the library that connects to regions verifies chain and name, and shows no more of a certificate than its
//! digest. A digest stands for one certificate for ever, so what was once read of it stays true, and knowing it proves
//! the id; that the certificate still holds is proved by every handshake.
//!
//! Never: grows without a bound, or believes a digest for another identity than the one it was read for.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The SHA-256 of a certificate.
pub type Digest = [u8; 32];

/// More leaves than any table has endpoints are not remembered: they begin anew, and each is proved once more.
const MOST: usize = 8_192;

/// The leaves that were proved, each for one identity of a region. Cheap to clone; all clones know the same.
#[derive(Clone, Default)]
pub struct KnownLeaves(Arc<ArcSwap<HashSet<(u64, Digest)>>>);

impl KnownLeaves {
    /// Whether the leaf of this digest was proved for `identity`.
    #[must_use]
    pub fn has(&self, identity: u64, leaf: &Digest) -> bool {
        self.0.load().contains(&(identity, *leaf))
    }

    /// The leaf of this digest was proved for `identity`.
    pub fn add(&self, identity: u64, leaf: Digest) {
        if self.has(identity, &leaf) {
            return;
        }
        self.0.rcu(|known| {
            let mut known =
                if known.len() < MOST { HashSet::clone(known) } else { HashSet::with_capacity(1) };
            known.insert((identity, leaf));
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(number: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        digest
    }

    #[test]
    fn a_leaf_is_known_for_the_identity_that_it_was_proved_for() {
        let known = KnownLeaves::default();
        known.clone().add(1, leaf(1));
        assert!(known.has(1, &leaf(1)));
        assert!(!known.has(2, &leaf(1)) && !known.has(1, &leaf(2)));
    }

    #[test]
    fn there_is_a_bound_and_the_newest_is_always_known() {
        let known = KnownLeaves::default();
        for number in 0..MOST + 10 {
            known.add(1, leaf(number));
            assert!(known.has(1, &leaf(number)));
        }
        assert!(known.0.load().len() <= MOST);
    }
}

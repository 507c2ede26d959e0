//! A region's store: one tenant's writes in the order in which they were applied here, its own and its neighbours'.
//!
//! A region passes on what it copied as well: who has all of the owner's log has what the owner took from owners before.

use std::collections::BTreeSet;

use crate::world::{REGIONS, Region};

/// What a region holds.
#[derive(Default)]
pub struct Store {
    /// Which write, and when it came here. A write's position is its place, so positions rise and none is used twice.
    log: Vec<(u64, u64)>,
    has: BTreeSet<u64>,
    /// How much of each region's log was taken.
    taken: [usize; REGIONS],
}

impl Store {
    /// Applies a write at `at`.
    pub fn write(&mut self, id: u64, at: u64) {
        if self.has.insert(id) {
            self.log.push((id, at));
        }
    }

    /// Whether the write is applied here.
    pub fn has(&self, id: u64) -> bool {
        self.has.contains(&id)
    }

    /// All that a read sees.
    pub fn all(&self) -> Vec<u64> {
        self.log.iter().map(|(id, _)| *id).collect()
    }

    /// Its own position.
    pub const fn position(&self) -> u128 {
        self.log.len() as u128
    }
}

/// `to` takes the next entry of `from`'s log; whether there was one.
pub fn replicate(stores: &mut [Store; REGIONS], from: Region, to: Region, at: u64) -> bool {
    let next = stores[to].taken[from];
    let Some((id, _)) = stores[from].log.get(next).copied() else { return false };
    stores[to].taken[from] = next + 1;
    stores[to].write(id, at);
    true
}

/// Up to which position `to` has taken `from`'s log.
pub const fn reached(stores: &[Store; REGIONS], from: Region, to: Region) -> u128 {
    stores[to].taken[from] as u128
}

/// The time up to which `to` has all that came to `from`, at `now`.
pub fn copied_until(stores: &[Store; REGIONS], from: Region, to: Region, now: u64) -> u64 {
    stores[from].log.get(stores[to].taken[from]).map_or(now, |(_, at)| at - 1)
}

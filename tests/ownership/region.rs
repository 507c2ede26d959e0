//! A region's store: one value of one tenant, the log of what was written here, and how far others' logs were taken.

use crate::world::{REGIONS, Region};

/// What a region holds.
#[derive(Default)]
pub struct Store {
    /// Writes executed here: position, id and when. Positions rise over all that this region has seen.
    pub log: Vec<(u128, u64, u64)>,
    /// The position of the last write that it has seen, its own or a neighbour's.
    pub seen: u128,
    /// How many entries of each region's log were taken.
    pub taken: [usize; REGIONS],
}

impl Store {
    /// Executes a write at `at`; its position.
    pub fn write(&mut self, id: u64, at: u64) -> u128 {
        self.seen += 1;
        self.log.push((self.seen, id, at));
        self.seen
    }

    /// Its own position.
    pub fn position(&self) -> u128 {
        self.log.last().map_or(0, |(position, ..)| *position)
    }
}

/// `to` takes the next entry of `from`'s log; whether there was one.
pub fn replicate(stores: &mut [Store; REGIONS], from: Region, to: Region) -> bool {
    let next = stores[to].taken[from];
    let Some((position, ..)) = stores[from].log.get(next).copied() else { return false };
    stores[to].taken[from] = next + 1;
    stores[to].seen = stores[to].seen.max(position);
    true
}

/// Up to which position `to` has taken `from`'s log.
pub fn reached(stores: &[Store; REGIONS], from: Region, to: Region) -> u128 {
    match stores[to].taken[from] {
        0 => 0,
        taken => stores[from].log[taken - 1].0,
    }
}

/// The time up to which `to` has all that `from` wrote, at `now`.
pub fn copied_until(stores: &[Store; REGIONS], from: Region, to: Region, now: u64) -> u64 {
    stores[from].log.get(stores[to].taken[from]).map_or(now, |(_, _, at)| at - 1)
}

//! Ids and units. A number that means something has a type of its own here.
//!
//! Never: a conversion that loses its unit, a default that hides a missing value.

use std::fmt;

/// How many regions one table may have: a set of regions is one 128-bit word.
pub const MAX_REGIONS: usize = 128;

macro_rules! index {
    ($(#[$says:meta])* $name:ident, $repr:ty) => {
        $(#[$says])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $repr);

        impl $name {
            /// The position in the table's list.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// A region of one table: its position among the regions sorted by name. Another table may number otherwise.
    RegionId, u8
);
index!(
    /// A cell: its position within its region.
    CellId, u8
);
index!(
    /// An endpoint: its position in [`crate::health::RegionView::endpoints`] of one snapshot.
    EndpointId, u16
);
index!(
    /// A policy of one table.
    PolicyId, u16
);
index!(
    /// A route of one table, in the order in which routes are tried.
    RouteId, u16
);
index!(
    /// A service named by a route; 0 is `default`.
    ServiceId, u16
);
index!(
    /// A capability named by a route; 0 is `read`, 1 is `write`.
    CapabilityId, u16
);

impl CapabilityId {
    /// To read, where no route names another.
    pub const READ: Self = Self(0);
    /// To write, where no route names another.
    pub const WRITE: Self = Self(1);
}

index!(
    /// A class of data that narrows residency.
    ClassId, u16
);
index!(
    /// A placement: how requests without an owned tenant choose.
    PlacementId, u16
);

/// The number of a tenant's ownership. Every change of owner raises it; it never falls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch(pub u64);

/// A replication position: how many writes a region has taken, or whatever else only rises with them.
///
/// - Returns what `text` says where it is an unsigned decimal that 128 bits hold: digits alone, no sign, no space.
///   Anything else is no position, because nobody can say which of two is further.
#[must_use]
pub fn position(text: &[u8]) -> Option<u128> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// The number of a snapshot; each publication is one higher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u64);

/// A span or a point of monotonic time, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The span from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The point `span` after `self`.
    #[must_use]
    pub const fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The same as a standard duration.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A point of wall time, in milliseconds since 1970 UTC. For what people read and for what outlives a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Wall(pub u64);

impl Wall {
    /// The span from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A round-trip time in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Micros(pub u64);

/// The share of the reads a region would otherwise take that it takes now, in hundredths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Weight(u16);

impl Weight {
    /// Takes nothing, ever.
    pub const NONE: Self = Self(0);
    /// Takes everything.
    pub const FULL: Self = Self(10_000);

    /// A weight of whole percent; more than 100 counts as 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        if percent >= 100 { Self::FULL } else { Self(percent as u16 * 100) }
    }

    /// A weight in hundredths of a percent; more than 10 000 counts as 10 000.
    #[must_use]
    pub const fn hundredths(hundredths: u16) -> Self {
        if hundredths >= 10_000 { Self::FULL } else { Self(hundredths) }
    }

    /// 0 to 10 000.
    #[must_use]
    pub const fn as_hundredths(self) -> u16 {
        self.0
    }

    /// 0.0 to 100.0, for people and metrics.
    #[must_use]
    pub fn as_percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether a region of this weight takes a key that drew `lot`.
    #[must_use]
    pub const fn takes(self, lot: Lot) -> bool {
        lot.0 < self.0
    }
}

/// What a key drew at a region: 0 to 9 999 hundredths of a percent. Below the weight, the region takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lot(u16);

impl Lot {
    /// The lot of `key` at the place whose name hashed to `place`.
    ///
    /// Stable for ever and the same in every process: the top 64 bits of `mix(place ^ key) * 10 000`, with
    /// `mix` the finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over XXH3-64 hashes of the names.
    #[must_use]
    pub const fn draw(place: u64, key: Key) -> Self {
        let wide = mix(place ^ key.0) as u128 * 10_000;
        Self((wide >> 64) as u16)
    }

    /// A lot of `hundredths` of a percent, for tests and tables of lots.
    #[must_use]
    pub const fn hundredths(hundredths: u16) -> Self {
        Self(if hundredths > 9_999 { 9_999 } else { hundredths })
    }
}

/// The hash of what must stay together: a tenant, a session or one request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(pub u64);

impl Key {
    /// XXH3-64 of the bytes, without a seed: every edge agrees.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(bytes))
    }
}

/// SplitMix64's finaliser: every bit of the input moves every bit of the output.
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A set of regions of one table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RegionSet(u128);

impl RegionSet {
    /// No region.
    pub const EMPTY: Self = Self(0);
    /// Every region there could be.
    pub const ALL: Self = Self(u128::MAX);

    /// Whether `region` is in the set.
    #[must_use]
    pub const fn contains(self, region: RegionId) -> bool {
        self.0 >> (region.0 & 127) & 1 == 1
    }

    /// Adds `region`.
    pub const fn insert(&mut self, region: RegionId) {
        self.0 |= 1 << (region.0 & 127);
    }

    /// What both sets hold.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either set holds.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set with `region` added.
    #[must_use]
    pub const fn with(mut self, region: RegionId) -> Self {
        self.insert(region);
        self
    }

    /// The set without `region`.
    #[must_use]
    pub const fn without(self, region: RegionId) -> Self {
        Self(self.0 & !(1 << (region.0 & 127)))
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<RegionId> for RegionSet {
    fn from_iter<I: IntoIterator<Item = RegionId>>(regions: I) -> Self {
        regions.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for RegionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..MAX_REGIONS as u8).filter(|i| self.contains(RegionId(*i)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_takes_the_lots_below_it_and_no_other() {
        assert!(Weight::percent(75).takes(Lot::hundredths(7_499)));
        assert!(!Weight::percent(75).takes(Lot::hundredths(7_500)));
        assert!(!Weight::NONE.takes(Lot::hundredths(0)));
        assert!(Weight::FULL.takes(Lot::hundredths(9_999)));
    }

    #[test]
    fn lots_are_fixed_for_ever() {
        // Edges of different builds must agree, so these values may never change. The hash is XXH3-64's own
        // published value for an empty input; the lots were computed once.
        assert_eq!(Key::of(b""), Key(0x2d06_8005_38d3_94c2));
        let eu = Key::of(b"eu-west-1").0;
        let lots = ["acme", "globex", "initech"].map(|t| Lot::draw(eu, Key::of(t.as_bytes())));
        assert_eq!(lots, [Lot(344), Lot(8_777), Lot(2_294)]);
    }

    #[test]
    fn lots_spread_evenly() {
        let place = Key::of(b"eu-west-1").0;
        let below = |w: u16| {
            (0..100_000_u32)
                .filter(|i| Weight::hundredths(w).takes(Lot::draw(place, Key::of(&i.to_le_bytes()))))
                .count()
        };
        for (w, want) in [(100, 1_000), (5_000, 50_000), (9_900, 99_000)] {
            let got = below(w);
            assert!(got.abs_diff(want) < 600, "{got} keys below {w}, about {want} expected");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: RegionSet = [RegionId(0), RegionId(127)].into_iter().collect();
        assert!(set.contains(RegionId(0)) && set.contains(RegionId(127)) && !set.contains(RegionId(1)));
        assert!(set.and(RegionSet::EMPTY).is_empty());
    }
}

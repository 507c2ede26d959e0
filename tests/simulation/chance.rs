//! A seeded source of chance: SplitMix64 (Steele, Lea and Flood, 2014).

pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(rhumb_decision::units::mix(seed ^ 0x5eed))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        rhumb_decision::units::mix(self.0)
    }

    /// 0 to `bound` - 1.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// True in `percent` of a hundred draws.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Each entry with the same chance of being in.
    pub fn some<T: Clone>(&mut self, list: &[T], percent: usize) -> Vec<T> {
        list.iter().filter(|_| self.percent(percent)).cloned().collect()
    }
}

/// The seeds to run, and whether one is replayed: `SEED=0x2a` is that one, `SEEDS=10000` so many instead of 256.
pub fn seeds() -> (Vec<u64>, bool) {
    if let Ok(written) = std::env::var("SEED") {
        let seed = match written.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => written.parse(),
        };
        return (vec![seed.expect("SEED is a number, as 42 or 0x2a")], true);
    }
    let count = std::env::var("SEEDS").map_or(256, |n| n.parse().expect("SEEDS is a number"));
    ((0..count).collect(), false)
}

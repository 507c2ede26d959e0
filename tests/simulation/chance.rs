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

//! A straight line in time between two weights, walked in steps.

use crate::units::{Millis, Weight};

/// How a weight goes from one value to another.
///
/// Positions on it are spans from its beginning. It is a function of the position alone: who stands at the same
/// position, before a restart or after, forward or backward, has the same weight and so the same keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ramp {
    /// The weight at its beginning.
    pub from: Weight,
    /// The weight at its end.
    pub to: Weight,
    /// How long it is; zero: all at once.
    pub over: Millis,
    /// The least by which the weight changes, but for a shorter last step; zero counts as a hundredth of a percent.
    pub step: Weight,
}

impl Ramp {
    /// The step where none is given: one percent.
    pub const STEP: Weight = Weight::percent(1);

    /// The weight at `position`.
    ///
    /// - Returns what of the straight line is whole steps: `from` at 0, `to` from `over` on, and never a weight
    ///   further from `to` than at an earlier position.
    #[must_use]
    pub fn weight_at(&self, position: Millis) -> Weight {
        let (from, moved) = (self.from.as_hundredths(), self.moved_at(position) as u16);
        Weight::hundredths(if self.to < self.from {
            from.saturating_sub(moved)
        } else {
            from.saturating_add(moved)
        })
    }

    /// The first position after `position` at which the weight may be another; the end, where no step is left.
    #[must_use]
    pub fn next_step(&self, position: Millis) -> Millis {
        let step = self.step();
        self.reached((self.moved_at(position) / step + 1) * step)
    }

    /// The last position before `position` at which the weight may be another; the beginning, where no step is left.
    #[must_use]
    pub fn last_step(&self, position: Millis) -> Millis {
        match self.moved_at(position) {
            0 => Millis(0),
            moved => Millis(self.reached(moved).0.saturating_sub(1)),
        }
    }

    /// How far the weight is from `from` at `position`, in hundredths of a percent.
    fn moved_at(&self, position: Millis) -> u64 {
        if position >= self.over {
            return self.distance();
        }
        let line = u128::from(self.distance()) * u128::from(position.0) / u128::from(self.over.0);
        line as u64 / self.step() * self.step()
    }

    /// The first position at which the line is `moved` hundredths from `from`.
    fn reached(&self, moved: u64) -> Millis {
        if moved >= self.distance() {
            return self.over;
        }
        let wide = u128::from(moved) * u128::from(self.over.0);
        Millis(wide.div_ceil(u128::from(self.distance())) as u64)
    }

    fn distance(&self) -> u64 {
        u64::from(self.from.as_hundredths().abs_diff(self.to.as_hundredths()))
    }

    fn step(&self) -> u64 {
        u64::from(self.step.as_hundredths().max(1))
    }
}

//! When ownership moves by itself: an owner whose writes have been down for long enough, agreed on by enough observers,
//! and not too soon after the last time.
//!
//! Never: acts on what is only unknown; on one bad moment; twice within the cooldown.

use crate::units::Millis;

/// What a policy says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// How long writes must be down without a break.
    pub after: Millis,
    /// The least time between two failovers.
    pub cooldown: Millis,
}

/// Whether those who look at a region agree that it is down. One edge is its own quorum; a fleet asks others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorum {
    /// Observers that see its writes down.
    pub down: u32,
    /// Observers in all.
    pub all: u32,
}

impl Quorum {
    /// What one observer sees.
    #[must_use]
    pub const fn of_one(down: bool) -> Self {
        Self { down: down as u32, all: 1 }
    }

    /// Whether more than half see it down.
    #[must_use]
    pub const fn agrees(self) -> bool {
        self.all > 0 && self.down.saturating_mul(2) > self.all
    }
}

/// The watch over one owner.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Watch {
    since: Option<Millis>,
    last: Option<Millis>,
}

impl Watch {
    /// A look at `at`: whether a failover is due. Once it is, nothing is due again before the cooldown is over, whether or
    /// not the failover came about.
    pub fn look(&mut self, seen: Quorum, rule: &Rule, at: Millis) -> bool {
        if !seen.agrees() {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(at);
        let is_long = at.since(since) >= rule.after;
        let is_cool = self.last.is_none_or(|last| at.since(last) >= rule.cooldown);
        if is_long && is_cool {
            self.last = Some(at);
        }
        is_long && is_cool
    }

    /// Since when the owner has been down; `None`: it is not.
    #[must_use]
    pub const fn down_since(&self) -> Option<Millis> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { after: Millis(60_000), cooldown: Millis(300_000) };

    fn looks(watch: &mut Watch, looks: &[(u64, bool)]) -> Vec<u64> {
        let due = |(at, down): &&(u64, bool)| watch.look(Quorum::of_one(*down), &RULE, Millis(*at));
        looks.iter().filter(due).map(|(at, _)| *at).collect()
    }

    #[test]
    fn an_owner_that_is_down_without_a_break_for_long_enough_is_failed_over_once() {
        let mut watch = Watch::default();
        let due =
            looks(&mut watch, &[(0, true), (59_999, true), (60_000, true), (61_000, true), (359_999, true)]);
        assert_eq!(due, [60_000]);
        assert_eq!(looks(&mut watch, &[(360_000, true)]), [360_000], "after the cooldown, and still down");
    }

    #[test]
    fn one_good_look_begins_anew() {
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch, &[(0, true), (59_000, false), (60_000, true), (119_999, true)]), []);
        assert_eq!(looks(&mut watch, &[(120_000, true)]), [120_000]);
    }

    #[test]
    fn flapping_never_fails_over() {
        let mut watch = Watch::default();
        let flaps: Vec<_> = (0..3_600).map(|second| (second * 1_000, second % 40 != 0)).collect();
        assert_eq!(looks(&mut watch, &flaps), []);
    }

    #[test]
    fn half_of_the_observers_are_not_enough() {
        let agrees = |down, all| Quorum { down, all }.agrees();
        assert!(agrees(1, 1) && agrees(2, 3) && !agrees(1, 2) && !agrees(1, 3) && !agrees(0, 0));
    }
}

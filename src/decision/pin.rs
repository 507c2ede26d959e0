//! The promise that a client who wrote reads its own write: what a pin says, and which regions keep it.
//!
//! A region keeps it if it is the one that took the write, if its copy has reached the position of the write, or if
//! it reports a lag that is too short for the write to be missing. Nobody has to keep it once its time is over.
//!
//! Never: knows how a pin travels, or who made it; whoever shows one here has proved that.

use crate::health::RegionView;
use crate::operated::Now;
use crate::units::{Key, Millis, RegionId, RegionSet, Wall};

/// How far the wall clocks of two edges may be apart.
///
/// A pin that is more than this ahead of the clock that reads it counts for nothing: one of the two is wrong, and
/// nobody knows for how long it would hold. A reported lag must cover the write with this much to spare. Positions
/// need no clock.
pub const SKEW: Millis = Millis(2_000);

/// What a client is told when it wrote, and shows when it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Whose write it was: the hash of the tenant's name.
    pub tenant: Key,
    /// Which region took it: the hash of its name, so that it outlives tables.
    pub region: u64,
    /// When its answer was there: the write is not later.
    pub at: Wall,
    /// The region's own position then; `None`: it did not say.
    pub position: Option<u128>,
}

/// The pins that a request shows, and when that is.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Each proved to be one of ours; of several for the same tenant the latest counts.
    pub pins: &'a [Pin],
    /// When the request is decided; `at` on the same clock as [`RegionView::reported`].
    pub now: Now,
}

/// What became of a pin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PinUse {
    /// The region that took the write answers.
    Pinned,
    /// Another region whose copy has the write answers.
    Satisfied,
    /// The pinned region is unfit, and the owner answers.
    Owner,
    /// Nobody who is fit has the write: the read is local, or refused.
    Lost,
    /// It is another tenant's.
    Foreign,
    /// The time for which it was promised is over.
    Old,
    /// It is from a time that has not come yet, by more than [`SKEW`].
    Ahead,
}

impl PinUse {
    /// Every use.
    pub const ALL: [Self; 7] =
        [Self::Pinned, Self::Satisfied, Self::Owner, Self::Lost, Self::Foreign, Self::Old, Self::Ahead];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Satisfied => "satisfied",
            Self::Owner => "owner",
            Self::Lost => "lost",
            Self::Foreign => "foreign",
            Self::Old => "old",
            Self::Ahead => "ahead",
        }
    }
}

impl Shown<'_> {
    /// The pin that binds a read of `tenant`, with how long ago its write was; or why none does.
    ///
    /// - `promised`: how long a client that wrote is promised to read its own write.
    /// - Returns the verdict on the latest pin of that tenant; a foreign one is told only where there is no other.
    pub(crate) fn of(&self, tenant: Key, promised: Millis) -> Result<Bound, PinUse> {
        let own = self.pins.iter().filter(|pin| pin.tenant == tenant);
        let Some(pin) = own.max_by_key(|pin| pin.at) else { return Err(PinUse::Foreign) };
        let wall = self.now.wall;
        if pin.at.since(wall) > SKEW {
            return Err(PinUse::Ahead);
        }
        let age = wall.since(pin.at);
        if age >= promised {
            return Err(PinUse::Old);
        }
        Ok(Bound { region: pin.region, position: pin.position, age, at: self.now.at })
    }
}

/// A pin that binds the read at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// The hash of the name of the region that took the write.
    pub region: u64,
    position: Option<u128>,
    /// How long ago the write was answered, by the wall clock.
    age: Millis,
    /// Now, on the monotonic clock.
    at: Millis,
}

impl Bound {
    /// Whether the copy that `view` tells of has what `pinned` wrote.
    pub fn is_kept_by(&self, view: &RegionView, pinned: RegionId) -> bool {
        // A position that went back is below the pin's again, and so behind.
        let reached = self.position.zip(view.reached_of(pinned)).is_some_and(|(pin, reached)| reached >= pin);
        reached
            || view.reported.zip(view.lag_behind(pinned)).is_some_and(|(at, lag)| self.is_covered(at, lag))
    }

    /// Whether a report that was asked for at `asked` and tells of `lag` covers the write: all that was written before
    /// `asked`, less the lag, is in the copy.
    fn is_covered(&self, asked: Millis, lag: Millis) -> bool {
        // asked - lag > at - age + SKEW, without a difference that could be negative.
        asked.after(self.age) > self.at.after(lag).after(SKEW)
    }
}

/// Which regions a session read follows, and which may answer it before them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Following {
    /// The pinned region and the owner: weights, staleness and a standby's role do not hold them back.
    pub followed: RegionSet,
    /// These, and every region whose copy has the write.
    pub keeping: RegionSet,
}

impl Following {
    /// Nobody is followed, and everybody may answer.
    pub const NOBODY: Self = Self { followed: RegionSet::EMPTY, keeping: RegionSet::ALL };
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Key = Key(7);
    const WROTE: Wall = Wall(1_000_000);
    const PINNED: RegionId = RegionId(0);

    fn pin(at: Wall, position: Option<u128>) -> Pin {
        Pin { tenant: TENANT, region: 1, at, position }
    }

    /// The monotonic clock stands at an hour when the write is answered.
    fn after(span: u64) -> Now {
        Now { at: Millis(3_600_000 + span), wall: Wall(WROTE.0 + span) }
    }

    fn bound(pin: Pin, now: Now) -> Result<Bound, PinUse> {
        Shown { pins: &[pin], now }.of(TENANT, Millis(10_000))
    }

    fn copy(reached: Option<u128>, lag: Option<Millis>, asked_after: u64) -> RegionView {
        RegionView {
            reached: Box::new([reached]),
            lag: Box::new([lag]),
            reported: Some(after(asked_after).at),
            ..RegionView::default()
        }
    }

    #[test]
    fn a_promise_ends_to_the_millisecond() {
        assert!(bound(pin(WROTE, None), after(9_999)).is_ok());
        assert_eq!(bound(pin(WROTE, None), after(10_000)).unwrap_err(), PinUse::Old);
        let never = Shown { pins: &[pin(WROTE, None)], now: after(0) }.of(TENANT, Millis(0));
        assert_eq!(never.unwrap_err(), PinUse::Old, "nothing was promised");
    }

    #[test]
    fn a_pin_from_a_time_to_come_counts_within_the_skew_and_not_beyond() {
        let ahead = |span| bound(pin(Wall(WROTE.0 + span), None), after(0));
        assert!(ahead(SKEW.0).is_ok());
        assert_eq!(ahead(SKEW.0 + 1).unwrap_err(), PinUse::Ahead);
        assert_eq!(bound(pin(Wall(u64::MAX), None), after(0)).unwrap_err(), PinUse::Ahead);
        assert_eq!(bound(pin(Wall(0), None), after(0)).unwrap_err(), PinUse::Old);
    }

    #[test]
    fn the_latest_pin_of_the_tenant_counts() {
        let (old, new) = (pin(WROTE, Some(1)), pin(Wall(WROTE.0 + 5), Some(2)));
        let foreign = Pin { tenant: Key(8), at: Wall(WROTE.0 + 9), ..new };
        for pins in [[old, new, foreign], [foreign, new, old]] {
            let bound = Shown { pins: &pins, now: after(9) }.of(TENANT, Millis(10_000)).unwrap();
            assert_eq!(bound.position, Some(2));
        }
        let others = Shown { pins: &[foreign], now: after(9) };
        assert_eq!(others.of(TENANT, Millis(10_000)).unwrap_err(), PinUse::Foreign);
    }

    #[test]
    fn a_position_is_reached_or_it_is_not() {
        let bound = bound(pin(WROTE, Some(40)), after(0)).unwrap();
        let kept = |reached| bound.is_kept_by(&copy(reached, None, 0), PINNED);
        assert!(kept(Some(40)) && kept(Some(u128::MAX)));
        assert!(!kept(Some(39)) && !kept(Some(0)) && !kept(None));
        assert!(
            !bound.is_kept_by(&copy(Some(40), None, 0), RegionId(1)),
            "that is another region's position"
        );
    }

    #[test]
    fn a_write_of_no_known_position_is_reached_by_nobody() {
        let bound = bound(pin(WROTE, None), after(0)).unwrap();
        assert!(!bound.is_kept_by(&copy(Some(u128::MAX), None, 0), PINNED));
    }

    #[test]
    fn a_lag_covers_what_was_written_before_the_report_was_asked_for_less_the_lag() {
        let bound = bound(pin(WROTE, None), after(9_000)).unwrap();
        let kept = |lag, asked_after| bound.is_kept_by(&copy(None, Some(Millis(lag)), asked_after), PINNED);
        assert!(!kept(0, 0), "asked when the write was answered");
        assert!(!kept(0, SKEW.0) && kept(0, SKEW.0 + 1), "the clocks may be that far apart");
        assert!(!kept(800, SKEW.0 + 800) && kept(800, SKEW.0 + 801));
        assert!(!kept(u64::MAX, 9_000), "a copy that stands still covers nothing");
        let silent = RegionView { reported: None, ..copy(None, Some(Millis(0)), 0) };
        assert!(!bound.is_kept_by(&silent, PINNED), "a lag of no known time covers nothing");
    }

    #[test]
    fn codes_are_their_own() {
        let codes: std::collections::HashSet<_> = PinUse::ALL.iter().map(|used| used.code()).collect();
        assert_eq!(codes.len(), PinUse::ALL.len());
    }
}

//! How much of a transfer is left, and until when: estimates for whoever watches it.
//!
//! Never: says anything where nothing has moved yet, or where it waits for something that has no end of its own.

use rhumb_decision::transfer::{Phase, Transfer, Which};
use rhumb_decision::units::{Millis, Wall};

/// How many tenants are to move in all its waves.
pub(super) fn expected(transfer: &Transfer) -> u64 {
    let all = (transfer.total as f64 / share(transfer)).round();
    (all as u64).max(transfer.moved)
}

/// When it may be over, at `now`, which is `wall` for people.
pub(super) fn end(transfer: &Transfer, now: Millis, wall: Wall) -> Option<Wall> {
    let after = |left: Millis| Wall(wall.0.saturating_add(left.0));
    if transfer.is_stuck() || transfer.ending {
        return None;
    }
    let waves = (1.0 / share(transfer)).ceil() as u64;
    let later = waves.saturating_sub(u64::from(transfer.waves) + 1);
    let pauses = Millis(transfer.wanted.every.map_or(0, |every| every.0.saturating_mul(later)));
    match transfer.phase {
        Phase::Waiting { until } => Some(after(until.since(now).after(pauses))),
        Phase::Running if pauses > Millis(0) => Some(after(pauses)),
        Phase::Running if waves == 1 && transfer.moved > 0 && transfer.moved < transfer.total => {
            let took = wall.since(transfer.by.since).0 as f64;
            let left = (transfer.total - transfer.moved) as f64;
            Some(after(Millis((took * left / transfer.moved as f64) as u64)))
        }
        _ => None,
    }
}

/// The share that a wave moves, above 0: 1.0 where there is one wave.
fn share(transfer: &Transfer) -> f64 {
    match (&transfer.wanted.which, transfer.wanted.every) {
        (Which::OwnedBy(_, share) | Which::HomeAt(_, share), Some(_)) => {
            (share.as_percent() / 100.0).clamp(0.0001, 1.0)
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::operated::By;
    use rhumb_decision::transfer::{To, TransferId, Wanted};
    use rhumb_decision::units::Weight;

    const HOUR: u64 = 3_600_000;

    fn transfer(share: u8, every: Option<Millis>) -> Transfer {
        let which = Which::OwnedBy("eu".into(), Weight::percent(share));
        let wanted = Wanted { which, to: To::Standby, unplanned: false, every };
        let by = By { actor: "sre".into(), reason: "drill".into(), since: Wall(10_000), until: None };
        Transfer::begin(TransferId(1), wanted, by, 100)
    }

    #[test]
    fn one_wave_goes_on_as_fast_as_until_now() {
        let mut one = transfer(25, None);
        assert_eq!((expected(&one), end(&one, Millis(0), Wall(10_500))), (100, None), "nothing has moved");
        one.moved = 20;
        assert_eq!(end(&one, Millis(0), Wall(11_000)), Some(Wall(15_000)));
        one.ending = true;
        assert_eq!(end(&one, Millis(0), Wall(11_000)), None, "it ends before");
    }

    #[test]
    fn waves_are_as_many_as_their_share_says_and_have_their_pauses() {
        let mut waves = transfer(25, Some(Millis(HOUR)));
        assert_eq!(expected(&waves), 400);
        assert_eq!(end(&waves, Millis(0), Wall(0)), Some(Wall(3 * HOUR)));
        (waves.waves, waves.moved) = (1, 100);
        waves.phase = Phase::Waiting { until: Millis(HOUR / 2) };
        assert_eq!(end(&waves, Millis(0), Wall(0)), Some(Wall(HOUR / 2 + 2 * HOUR)));
        (waves.waves, waves.moved) = (4, 410);
        assert_eq!((expected(&waves), end(&waves, Millis(HOUR), Wall(7))), (410, Some(Wall(7))));
    }
}

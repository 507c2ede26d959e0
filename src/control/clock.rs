//! The only reading of time. Everything else is handed a [`Clock`], so that a test can hold time still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rhumb_decision::units::Millis;

/// Tells the time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System(Instant),
    Held { monotonic: Arc<AtomicU64>, wall: Duration },
}

impl Clock {
    /// The system's time; monotonic time begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    pub fn system() -> Self {
        Self(Kind::System(Instant::now()))
    }

    /// A clock that stands at 0 until it is told to go on; the wall clock begins at `wall` since 1970.
    #[must_use]
    pub fn held(wall: Duration) -> Self {
        Self(Kind::Held { monotonic: Arc::default(), wall })
    }

    /// Monotonic time since the clock was made.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The same, exactly.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System(began) => began.elapsed(),
            Kind::Held { monotonic, .. } => Duration::from_millis(monotonic.load(Ordering::Acquire)),
        }
    }

    /// Time since 1970, UTC; zero where the system's clock stands before that.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time is read")]
    pub fn wall(&self) -> Duration {
        match &self.0 {
            Kind::System(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            Kind::Held { wall, .. } => *wall + self.elapsed(),
        }
    }

    /// The hour of the day, UTC: 0 to 23.
    #[must_use]
    pub fn hour(&self) -> u8 {
        (self.wall().as_secs() / 3_600 % 24) as u8
    }

    /// Moves a held clock on; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Kind::Held { monotonic, .. } = &self.0 {
            monotonic.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_clock_moves_when_told() {
        let clock = Clock::held(Duration::from_secs(3_600 * 23 + 3_599));
        assert_eq!((clock.now(), clock.hour()), (Millis(0), 23));
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.now(), clock.hour()), (Millis(1_000), 0));
    }

    #[test]
    fn the_systems_clock_never_goes_back() {
        let clock = Clock::system();
        let before = clock.elapsed();
        assert!(clock.elapsed() >= before && clock.wall() > Duration::from_secs(1_700_000_000));
    }
}

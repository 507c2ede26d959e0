//! Sends what Rhumb tells others of itself, traces and alerts, by HTTP: one POST at a time, its answer, and when to try
//! again.
//!
//! Never: keeps anybody waiting but its own task, follows a redirect, or outlives its last word.

/// When there is no more time.
mod end;
/// One POST and its answer.
mod post;

use std::time::Duration;

pub use end::End;
pub use post::{Post, To, Untaken};

/// The longest for one POST: connect, send, be answered.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The wait after a failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer, whatever a receiver asks for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long to wait after so many failures in a row: half of a range that doubles, and a drawn part of the other half.
#[must_use]
pub fn wait(failures: u32, chance: u64) -> Duration {
    let range = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_WAIT);
    let drawn = (u128::from(chance) * (range / 2).as_micros()) >> 64;
    range / 2 + Duration::from_micros(drawn as u64)
}

/// How long to wait after so many failures in a row: a drawn part of a range that doubles.
#[must_use]
pub fn full_jitter(failures: u32, chance: u64) -> Duration {
    let range = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_WAIT);
    Duration::from_micros(((u128::from(chance) * range.as_micros()) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_differ() {
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (1_000, 30)] {
            let most = Duration::from_secs(most);
            assert_eq!(wait(failures, 0), most / 2);
            assert!(
                wait(failures, u64::MAX) <= most && wait(failures, u64::MAX) > most * 9 / 10,
                "{failures}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_in_its_time_and_soon_after_a_stop() {
        let never = std::future::pending::<()>();
        let mut never = pin!(never);
        let mut end = End::new(never.as_mut(), Duration::from_secs(1));
        let began = Instant::now();
        assert_eq!(end.at_most(PATIENCE, std::future::pending::<()>()).await, None);
        assert_eq!((began.elapsed(), end.at_most(PATIENCE, async { 7 }).await), (PATIENCE, Some(7)));

        let stop = tokio::time::sleep(Duration::from_secs(3));
        let mut stop = pin!(stop);
        let mut end = End::new(stop.as_mut(), Duration::from_secs(1));
        let began = Instant::now();
        assert_eq!(end.at_most(PATIENCE, std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(4), "three until the stop, and a last one");
        end.rest(PATIENCE).await;
        assert_eq!(end.at_most(PATIENCE, std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(4), "after it there is no rest");

        let stop = tokio::time::sleep(Duration::from_secs(3));
        let mut stop = pin!(stop);
        let mut end = End::new(stop.as_mut(), Duration::from_secs(1));
        let began = Instant::now();
        end.rest(PATIENCE).await;
        assert_eq!((began.elapsed(), end.has_come()), (Duration::from_secs(3), true));
    }

    #[test]
    fn full_jitter_draws_from_the_whole_range() {
        for (failures, most) in [(1, 1), (2, 2), (6, 30), (1_000, 30)] {
            let most = Duration::from_secs(most);
            assert_eq!(full_jitter(failures, 0), Duration::ZERO);
            assert!(
                full_jitter(failures, u64::MAX) <= most && full_jitter(failures, u64::MAX) > most * 9 / 10
            );
        }
    }
}

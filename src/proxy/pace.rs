//! Whether the other end of a connection keeps moving while we wait for it.
//!
//! A time for each read or write would not do: one byte a minute keeps it. So what counts is how much has moved in
//! all the time spent waiting. Time in which nobody waits for the other end is not on its account.
//!
//! Never: runs while there is nothing to read or write.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How much has to move, and how long that may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Demand {
    /// The longest wait for `least`.
    pub within: Duration,
    /// Bytes; with 1, any byte will do.
    pub least: u64,
}

/// What a client owes of the request at hand.
#[derive(Default, Debug)]
pub(super) struct Owed(AtomicU8);

impl Owed {
    /// Nothing more: it has all come, or nobody can tell how much should.
    pub fn nothing(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A body, as fast as the limits demand.
    pub fn a_body(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// A body that may come in drops, if one still comes.
    pub fn drops(&self) {
        let _ = self.0.compare_exchange(1, 2, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What is demanded now, where `usual` is demanded of a body.
    pub fn demand(&self, usual: Demand) -> Option<Demand> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(usual),
            _ => Some(Demand { least: 1, ..usual }),
        }
    }
}

/// One direction of one connection.
#[derive(Default)]
pub(super) struct Pace {
    /// Waited since the last time that enough had moved, without the wait at hand.
    waited: Duration,
    /// What has moved in that time.
    moved: u64,
    /// When the wait at hand began.
    since: Option<Instant>,
    /// Wakes whoever waits.
    alarm: Alarm,
}

/// Wakes whoever has waited for long. It rings early where it was set for an earlier time, and is then set anew: so it
/// is set once in a while, not for each wait.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Is ready once it is `due`.
    pub fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let alarm = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        while alarm.deadline() < due {
            ready!(alarm.as_mut().poll(cx));
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Pace {
    /// There is nothing to be had at the moment: is ready once the other end has been waited for too long.
    pub fn poll_too_slow(&mut self, cx: &mut Context<'_>, demand: Demand) -> Poll<()> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        // What moved before may be enough for what is demanded now.
        if self.moved >= demand.least {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
        let due = since + demand.within.saturating_sub(self.waited);
        if now >= due {
            return Poll::Ready(());
        }
        self.alarm.poll(cx, due)
    }

    /// Waits for `next` as long as `demand` allows, if it demands anything; `None`: the other end was too slow.
    pub async fn within<T>(
        &mut self,
        demand: Option<Demand>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        poll_fn(|cx| match (next(cx), demand) {
            (Poll::Pending, Some(demand)) => self.poll_too_slow(cx, demand).map(|()| None),
            (next, _) => next.map(Some),
        })
        .await
    }

    /// So many bytes have moved.
    pub fn moved(&mut self, bytes: usize, demand: Demand) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.moved = self.moved.saturating_add(bytes as u64);
        if self.moved >= demand.least {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Forgets everything, as between two requests.
    pub fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    const SECOND: Duration = Duration::from_secs(1);
    const FAIR: Demand = Demand { within: Duration::from_secs(60), least: 4096 };

    /// Waits for at most `most`; true: the other end was too slow.
    async fn waits(pace: &mut Pace, demand: Demand, most: Duration) -> bool {
        timeout(most, poll_fn(|cx| pace.poll_too_slow(cx, demand))).await.is_ok()
    }

    #[test]
    fn a_body_that_is_not_owed_cannot_come_in_drops() {
        let owed = Owed::default();
        owed.drops();
        assert_eq!(owed.demand(FAIR), None);
        owed.a_body();
        assert_eq!(owed.demand(FAIR), Some(FAIR));
        owed.drops();
        assert_eq!(owed.demand(FAIR), Some(Demand { least: 1, ..FAIR }));
        owed.nothing();
        assert_eq!(owed.demand(FAIR), None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_too_slow_after_the_time_and_not_before() {
        let mut pace = Pace::default();
        assert!(!waits(&mut pace, FAIR, 59 * SECOND).await);
        assert!(waits(&mut pace, FAIR, 2 * SECOND).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_too_slow() {
        let mut pace = Pace::default();
        assert!(!waits(&mut pace, FAIR, 59 * SECOND).await);
        pace.moved(1, FAIR);
        assert!(waits(&mut pace, FAIR, 2 * SECOND).await, "of 60 s one is left");
    }

    #[tokio::test(start_paused = true)]
    async fn where_any_byte_will_do_each_starts_anew() {
        let any = Demand { least: 1, ..FAIR };
        let mut pace = Pace::default();
        for _ in 0..10 {
            assert!(!waits(&mut pace, any, 59 * SECOND).await);
            pace.moved(1, any);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn enough_may_come_in_pieces_for_as_long_as_it_likes() {
        let mut pace = Pace::default();
        for _ in 0..500 {
            assert!(!waits(&mut pace, FAIR, 5 * SECOND).await);
            pace.moved(410, FAIR);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_is_free() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert!(!waits(&mut pace, FAIR, SECOND / 2).await);
            pace.moved(1, FAIR);
            advance(600 * SECOND).await;
        }
        for _ in 0..9 {
            assert!(!waits(&mut pace, FAIR, SECOND).await);
            pace.moved(1, FAIR);
        }
        assert!(waits(&mut pace, FAIR, 2 * SECOND).await, "the waits add up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_demand_that_is_lowered_counts_what_moved_before() {
        let mut pace = Pace::default();
        assert!(!waits(&mut pace, FAIR, 59 * SECOND).await);
        pace.moved(1, FAIR);
        let any = Demand { least: 1, ..FAIR };
        assert!(!waits(&mut pace, any, 59 * SECOND).await);
        assert!(
            waits(&mut pace, Demand { within: SECOND, ..any }, SECOND / 2).await,
            "a shorter time holds at once"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_begun_again_is_the_same_wait_and_ends_alone_where_something_is_demanded() {
        let mut pace = Pace::default();
        let never = |_: &mut Context<'_>| Poll::<()>::Pending;
        for _ in 0..3 {
            assert!(timeout(19 * SECOND, pace.within(Some(FAIR), never)).await.is_err());
        }
        assert_eq!(timeout(4 * SECOND, pace.within(Some(FAIR), never)).await, Ok(None));
        assert!(timeout(600 * SECOND, pace.within(None, never)).await.is_err());
        assert_eq!(pace.within(None, |_| Poll::Ready(7)).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rest_nothing_is_owed() {
        let mut pace = Pace::default();
        assert!(!waits(&mut pace, FAIR, 59 * SECOND).await);
        pace.rest();
        assert!(!waits(&mut pace, FAIR, 59 * SECOND).await);
    }
}

//! How long one side may wait for the other, and what counts as moving on.
//!
//! Why not a time for each step: a byte every now and then would be a step. Patience runs out while nothing comes
//! and starts anew only once a fair piece has moved.
//!
//! Never: runs while nobody waits.

use std::time::Duration;

use tokio::time::Instant;

/// Patience starts anew after so many bytes. By the default idle timeout that is 68 bytes a second.
const PIECE: usize = 4 * 1024;

/// The patience with one direction of one stream.
#[derive(Default)]
pub(super) struct Progress {
    patience: Option<Duration>,
    left: Duration,
    moved: usize,
    waits_since: Option<Instant>,
}

impl Progress {
    /// Sets how long a piece may take; `None`: as long as it likes.
    pub fn set(&mut self, patience: Option<Duration>) {
        self.patience = patience;
        self.begin();
    }

    /// How long a piece may take.
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Starts anew.
    pub fn begin(&mut self) {
        self.left = self.patience.unwrap_or_default();
        self.moved = 0;
        self.waits_since = None;
    }

    /// Waits for `next`; `None`: patience ran out. A wait that was dropped goes on with the next one.
    pub async fn within<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        if self.patience.is_none() {
            return Some(next.await);
        }
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let came = tokio::time::timeout_at(since + self.left, next).await.ok()?;
        self.left = self.left.saturating_sub(since.elapsed());
        self.waits_since = None;
        Some(came)
    }

    /// Counts what has moved.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= PIECE {
            self.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    fn patient(seconds: u32) -> Progress {
        let mut progress = Progress::default();
        progress.set(Some(SECOND * seconds));
        progress
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_no_progress() {
        let mut progress = patient(10);
        for _ in 0..9 {
            assert!(progress.within(sleep(SECOND)).await.is_some());
            progress.moved(1);
        }
        assert!(progress.within(sleep(2 * SECOND)).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn fair_pieces_may_come_for_ever() {
        let mut progress = patient(10);
        for _ in 0..100 {
            assert!(progress.within(sleep(9 * SECOND)).await.is_some());
            progress.moved(PIECE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_runs_while_somebody_waits_and_only_then() {
        let mut progress = patient(10);
        sleep(60 * SECOND).await;
        assert_eq!(progress.within(ready(1)).await, Some(1));
        sleep(60 * SECOND).await;
        assert_eq!(progress.within(ready(2)).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_begun_again_is_the_same_wait() {
        let mut progress = patient(10);
        for _ in 0..3 {
            tokio::select! {
                () = sleep(3 * SECOND) => {}
                _ = progress.within(pending::<()>()) => panic!("too early"),
            }
        }
        let before = Instant::now();
        assert!(progress.within(pending::<()>()).await.is_none());
        assert!(before.elapsed() <= 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_runs_out() {
        let mut progress = Progress::default();
        assert!(progress.within(sleep(3600 * SECOND)).await.is_some());
    }
}

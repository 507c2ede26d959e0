//! When a task that sends has no more time.
//!
//! Never: work that goes on beyond the last word.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The end of a task that sends: its stop, and how long its last words may take.
pub struct End<'a, S> {
    stop: Pin<&'a mut S>,
    last_words: Duration,
    /// Known once the stop has come.
    at: Option<Instant>,
}

impl<'a, S: Future<Output = ()>> End<'a, S> {
    /// Once `stop` is over, there are `last_words` left.
    pub fn new(stop: Pin<&'a mut S>, last_words: Duration) -> Self {
        Self { stop, last_words, at: None }
    }

    /// Whether the stop has come.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.at.is_some()
    }

    /// Waits for `work`; `None`: the stop came first.
    pub async fn or_stop<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.at.is_some() {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.stop.as_mut() => {
                self.at = Some(Instant::now() + self.last_words);
                None
            }
        }
    }

    /// Does this for at most `span`, and not beyond the last word; `None`: it took too long.
    pub async fn at_most<T>(&mut self, span: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut until = Instant::now() + span;
        loop {
            until = self.at.map_or(until, |at| until.min(at));
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep_until(until) => return None,
                () = self.stop.as_mut(), if self.at.is_none() => {
                    self.at = Some(Instant::now() + self.last_words);
                }
            }
        }
    }

    /// Does nothing for so long, or until the stop comes.
    pub async fn rest(&mut self, span: Duration) {
        if self.at.is_some() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.stop.as_mut() => self.at = Some(Instant::now() + self.last_words),
        }
    }
}

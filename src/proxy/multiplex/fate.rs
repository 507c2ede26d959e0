//! What became of a stream, for its connection: whoever gives up one request after another is not served for ever.
//!
//! Never: judges; the connection does.

use std::sync::atomic::{AtomicBool, Ordering};

/// What became of a stream, for its connection.
#[derive(Default)]
pub(super) struct Fate {
    given_up: AtomicBool,
    answered: AtomicBool,
}

impl Fate {
    /// The client reset it.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Its response has begun.
    pub fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the client reset it before its response began.
    pub fn was_given_up_early(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) && !self.answered.load(Ordering::Relaxed)
    }
}

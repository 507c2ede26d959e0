//! What a request under way tells the connection that it came on.
//!
//! Why: the HTTP server between them passes on neither. A request learns, long after its head was read, that it has
//! become a tunnel or when it has to be over; the connection alone can act on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by a connection and its request at hand.
#[derive(Default, Debug)]
pub(super) struct Line {
    cut: AtomicBool,
    tunnel: AtomicBool,
    ends: Mutex<Option<Instant>>,
}

impl Line {
    /// Whether an answer was cut whose end is the end of the connection: it is then reset, for an orderly end would
    /// make the part look like the whole.
    pub fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// As [`Self::set_cut`] said.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// From now on the connection carries another protocol, and all that came is part of it.
    pub fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// As [`Self::open_tunnel`] said.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// Waiting for the client ends after this time, whatever it waits for; `None`: it does not end by itself.
    pub fn end_in(&self, time: Option<Duration>) {
        let ends = time.map(|time| Instant::now() + time);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    /// As [`Self::end_in`] said.
    pub fn ends(&self) -> Option<Instant> {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

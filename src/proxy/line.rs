//! What a request under way tells the connection that it came on.
//!
//! Why: the HTTP server between them passes on neither. A request learns, long after its head was read, that it has
//! become a tunnel or when it has to be over; the connection alone can act on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::tunnel::Carried;
use crate::proxy::upgrade::Onward;

/// Shared by a connection and its request at hand.
#[derive(Default, Debug)]
pub(super) struct Line {
    cut: AtomicBool,
    last: AtomicBool,
    parsed: AtomicBool,
    /// How long the tunnel may carry nothing; unset: it is none.
    tunnel: OnceLock<Duration>,
    ends: Mutex<Option<Instant>>,
    /// The region's side of a tunnel, until the client's side takes it.
    onward: Mutex<Option<Onward>>,
    carried: Carried,
    /// The limit that ended the tunnel.
    limit: OnceLock<&'static str>,
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

    /// The connection ends with the request at hand.
    pub fn set_last(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// As [`Self::set_last`] said.
    pub fn is_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// The request has got past Pingora's parser, where it went through that.
    pub fn set_parsed(&self) {
        self.parsed.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::set_parsed`] was said since this was asked.
    pub fn take_parsed(&self) -> bool {
        self.parsed.swap(false, Ordering::Relaxed)
    }

    /// Brings the connection to a region that has agreed on another protocol, with all that it said behind its head.
    pub fn bring(&self, onward: Onward) {
        *self.onward.lock().unwrap_or_else(PoisonError::into_inner) = Some(onward);
    }

    /// What [`Self::bring`] brought.
    pub fn take_onward(&self) -> Option<Onward> {
        self.onward.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on the connection carries another protocol, and all that came is part of it; it may carry nothing for
    /// as long as `idle`. False: nobody has brought the region's side of it.
    pub fn open_tunnel(&self, idle: Duration) -> bool {
        let brought = self.onward.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        brought && self.tunnel.set(idle).is_ok()
    }

    /// How long the tunnel may carry nothing; `None`: it is none.
    pub fn tunnel(&self) -> Option<Duration> {
        self.tunnel.get().copied()
    }

    /// What the tunnel carries.
    pub const fn carried(&self) -> &Carried {
        &self.carried
    }

    /// The tunnel ended by this limit.
    pub fn met_limit(&self, limit: &'static str) {
        // A tunnel ends once.
        let _ = self.limit.set(limit);
    }

    /// As [`Self::met_limit`] said.
    pub fn limit(&self) -> Option<&'static str> {
        self.limit.get().copied()
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

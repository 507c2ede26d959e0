//! Whether this edge takes requests, and if not, why: what `/readyz` says.

use tokio::sync::watch;

/// What stands in the way of taking requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReady {
    /// The first round of checks is not over.
    Starting,
    /// A signal asked the process to stop.
    Stopping,
}

impl NotReady {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Stopping => "stopping",
        }
    }
}

/// Reads the readiness.
#[derive(Clone)]
pub struct Readiness(watch::Receiver<Option<NotReady>>);

/// Sets the readiness.
#[derive(Clone)]
pub struct SetReadiness(watch::Sender<Option<NotReady>>);

/// A process that is starting.
#[must_use]
pub fn starting() -> (SetReadiness, Readiness) {
    let (sender, receiver) = watch::channel(Some(NotReady::Starting));
    (SetReadiness(sender), Readiness(receiver))
}

impl SetReadiness {
    /// The process takes requests, unless it is stopping already.
    pub fn ready(&self) {
        self.0.send_if_modified(|state| {
            let starting = *state == Some(NotReady::Starting);
            if starting {
                *state = None;
            }
            starting
        });
    }

    /// The process stops; it will not be ready again.
    pub fn stopping(&self) {
        self.0.send_replace(Some(NotReady::Stopping));
    }
}

impl Readiness {
    /// Whether the process takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// What stands in the way.
    #[must_use]
    pub fn why_not(&self) -> Option<&'static str> {
        self.0.borrow().map(NotReady::code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_is_never_ready_again() {
        let (set, readiness) = starting();
        assert_eq!(readiness.why_not(), Some("starting"));
        set.ready();
        assert!(readiness.is_ready());
        set.stopping();
        set.ready();
        assert_eq!(readiness.why_not(), Some("stopping"));
    }
}

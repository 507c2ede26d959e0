//! When the process is to stop: asked once, heard by threads and tasks alike.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Says when to stop. All clones say the same.
#[derive(Clone)]
pub(super) struct Stop(Arc<Inner>);

struct Inner {
    asked: Mutex<bool>,
    changed: Condvar,
    tasks: watch::Sender<bool>,
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        let tasks = watch::Sender::new(false);
        Self(Arc::new(Inner { asked: Mutex::new(false), changed: Condvar::new(), tasks }))
    }

    /// Asks everyone to stop.
    pub fn ask(&self) {
        *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
        self.0.tasks.send_replace(true);
    }

    /// Waits for at most `span`; true once everyone is to stop.
    pub fn within(&self, span: Duration) -> bool {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *self
            .0
            .changed
            .wait_timeout_while(asked, span, |asked| !*asked)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Turns true once everyone is to stop.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.tasks.subscribe()
    }

    /// Done once everyone is to stop.
    pub async fn asked(&self) {
        let mut tasks = self.0.tasks.subscribe();
        // The sender lives as long as `self`.
        let _ = tasks.wait_for(|asked| *asked).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_and_tasks_hear_it() {
        let stop = Stop::new();
        assert!(!stop.within(Duration::ZERO));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || stop.within(Duration::from_secs(60))
        });
        stop.ask();
        stop.asked().await;
        assert!(thread.join().unwrap());
    }
}

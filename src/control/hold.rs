//! Whether the steward may read files and keep tables, or another process does so in its place.
//!
//! Never: takes the steward from what it has begun; it is waited for.

use tokio::sync::watch;

/// Asks the steward to keep its hands off the state folder.
#[derive(Clone)]
pub struct Hold {
    wanted: watch::Sender<bool>,
    held: watch::Receiver<bool>,
}

/// What the steward heeds.
pub struct Held {
    wanted: watch::Receiver<bool>,
    held: watch::Sender<bool>,
}

/// Both sides. `from_the_start`: whether the steward begins with its hands off.
#[must_use]
pub fn hold(from_the_start: bool) -> (Hold, Held) {
    let (wanted, is_wanted) = watch::channel(from_the_start);
    let (held, is_held) = watch::channel(from_the_start);
    (Hold { wanted, held: is_held }, Held { wanted: is_wanted, held })
}

impl Hold {
    /// Waits until the steward has its hands off; from then on it writes nothing.
    pub async fn take(&self) {
        self.wanted.send_replace(true);
        // A steward that has ended writes nothing either.
        let _ = self.held.clone().wait_for(|held| *held).await;
    }

    /// The steward may go on, and reads the files again.
    pub fn release(&self) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, false));
    }
}

impl Held {
    /// Whether the steward is to keep its hands off.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits until that changes. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.wanted.changed().await.is_err() {
            // Nobody is left who could want it.
            std::future::pending::<()>().await;
        }
    }

    /// Says whether the hands are off.
    pub fn tell(&self, held: bool) {
        self.held.send_if_modified(|told| std::mem::replace(told, held) != held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_held_once_the_steward_says_so() {
        let (hold, mut held) = hold(false);
        let steward = async {
            held.changed().await;
            assert!(held.is_wanted());
            held.tell(true);
        };
        tokio::join!(hold.take(), steward);
        hold.release();
        held.changed().await;
        assert!(!held.is_wanted());
        drop(held);
        hold.take().await;
    }
}

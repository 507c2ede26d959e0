//! One endless task for each thing that is wanted, while it is wanted.
//!
//! Never: a task that nobody holds. All end with their [`Rounds`].

use std::collections::HashMap;
use std::hash::Hash;

use tokio::task::{AbortHandle, Id, JoinSet};

/// The tasks, by what each is for.
pub(super) struct Rounds<W> {
    running: HashMap<W, AbortHandle>,
    tasks: JoinSet<()>,
}

impl<W: Clone + Eq + Hash> Rounds<W> {
    pub(super) fn new() -> Self {
        Self { running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Ends what is no longer wanted, then starts what is new; what stays as it is notices nothing.
    pub(super) fn follow<F>(&mut self, wanted: &[W], mut start: impl FnMut(&W) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let still: std::collections::HashSet<&W> = wanted.iter().collect();
        self.running.retain(|what, task| {
            let stays = still.contains(what);
            if !stays {
                task.abort();
            }
            stays
        });
        for what in wanted {
            if !self.running.contains_key(what) {
                let task = self.tasks.spawn(start(what));
                self.running.insert(what.clone(), task);
            }
        }
    }

    /// Waits until a wanted task ended by itself; the next [`Self::follow`] starts it anew.
    pub(super) async fn ended(&mut self) {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(Ok((id, ()))) => {
                    if self.forget(id) {
                        return;
                    }
                }
                Some(Err(error)) => {
                    if self.forget(error.id()) {
                        return;
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }

    fn forget(&mut self, ended: Id) -> bool {
        let before = self.running.len();
        self.running.retain(|_, task| task.id() != ended);
        self.running.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    struct Told(mpsc::UnboundedReceiver<&'static str>);

    impl Told {
        async fn next(&mut self) -> &'static str {
            self.0.recv().await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_stays_wanted_is_started_once_and_what_is_not_is_ended() {
        let (tell, told) = mpsc::unbounded_channel();
        let mut told = Told(told);
        let mut rounds = Rounds::new();
        let start = |what: &&'static str| {
            let (what, tell) = (*what, tell.clone());
            async move {
                let _ = tell.send(what);
                std::future::pending::<()>().await;
            }
        };
        rounds.follow(&["a", "b"], start);
        assert_eq!((told.next().await, told.next().await), ("a", "b"));
        rounds.follow(&["b", "c", "c"], start);
        assert_eq!(told.next().await, "c");
        rounds.follow(&["a"], start);
        assert_eq!(told.next().await, "a", "b and the second c were not started");
        assert_eq!(rounds.running.len(), 1);
    }

    #[tokio::test]
    async fn what_ended_by_itself_is_started_anew() {
        let mut rounds = Rounds::new();
        for _ in 0..2 {
            rounds.follow(&["panics"], |_| async { panic!("for once") });
            rounds.ended().await;
            assert!(rounds.running.is_empty());
        }
    }
}

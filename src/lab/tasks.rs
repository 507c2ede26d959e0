//! The tasks of one connection: streams of HTTP/2, tunnels, calls. They end with it.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::state::lock;

/// A handle of tasks. They run until [`Held`] is dropped.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// The connection's own hold on its tasks.
pub(super) struct Held(Tasks);

impl Tasks {
    /// Starts a task.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.0);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Ends them with the connection; tasks have handles of their own, so these cannot tell.
    pub(super) fn hold(&self) -> Held {
        Held(self.clone())
    }
}

impl Held {
    /// Waits until all tasks have come to their end.
    pub(super) async fn finish(self) {
        loop {
            // Taken out, so that nothing waits under the lock; a task may start further ones meanwhile.
            let mut tasks = std::mem::take(&mut *lock(&self.0.0));
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.0.0).abort_all();
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.start(task);
    }
}

//! Work that may take its time, beside threads that serve requests.
//!
//! Why: a table of a million tenants takes a second of a core to read, and on a busy machine a thread that serves would
//! wait behind it for its turn. The reader gets what the others leave, and a tenth where they leave nothing. As the
//! kernel lets a thread finish its slice of some milliseconds, whoever may wait, the work offers its place every few
//! microseconds.
//!
//! Never: changes the priority of a thread that lives on.

use std::cell::Cell;
use std::thread;

/// How much lower its priority is: steps of `nice`. At 10 the kernel gives it about a tenth of what others get
/// (sched(7)).
const NICE: i32 = 10;

thread_local! {
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Lets others go first, where this is work that is [`done_aside`]; nothing otherwise. Long work calls it every few
/// microseconds.
pub(super) fn pause() {
    if IS_ASIDE.get() {
        thread::yield_now();
    }
}

/// Does `work` on a thread of its own, at a lower priority, and waits for it.
///
/// # Errors
/// There is no thread to be had.
///
/// # Panics
/// As `work` does.
pub(super) fn done_aside<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    thread::scope(|scope| {
        let aside = thread::Builder::new().name("rhumb-aside".into()).spawn_scoped(scope, || {
            if let Err(cause) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%cause, "no lower priority for reading a table");
            }
            IS_ASIDE.set(true);
            work()
        })?;
        Ok(aside.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_work_has_a_lower_priority() {
        let before = getpriority_process(None).unwrap();
        let during = done_aside(|| getpriority_process(None).unwrap()).unwrap();
        assert_eq!(during, (before + NICE).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn what_breaks_there_is_not_lost() {
        let broken = std::panic::catch_unwind(|| done_aside(|| panic!("as told")));
        assert!(broken.is_err());
    }
}

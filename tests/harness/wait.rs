//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Longest wait for anything; only a failing test takes it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// The time, to bound a wait with.
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `holds`, which is asked again and again.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    await_some(what, || holds().then_some(()));
}

/// Waits until what is asked again and again is `wanted`.
#[track_caller]
pub fn becomes<T: PartialEq + Debug>(what: &str, wanted: T, mut ask: impl FnMut() -> T) {
    let began = now();
    loop {
        let is = ask();
        if is == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what} is {is:?}, not {wanted:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until there is something, and returns it.
#[track_caller]
pub fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

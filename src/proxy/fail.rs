//! A panic on demand, so that a test can show what one costs: one request, and nothing else.
//!
//! Never: in a release build, and in others only where the environment of the process asks for it.

/// Names the path whose requests panic.
#[cfg(debug_assertions)]
const VARIABLE: &str = "RHUMB_PANIC_AT_PATH";

/// Panics where `path` is the one that the process was told to panic at.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "this is what it is for, and it is in no release build")]
pub(super) fn point(path: &str) {
    static AT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    if AT.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(path) {
        panic!("{VARIABLE} asked for this");
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub(super) const fn point(_path: &str) {}

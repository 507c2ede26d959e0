//! Attacks by HTTP/2, frame by frame, on the real binary. Each test names the row of the corpus that it plays.
//!
//! After every row an ordinary request on a new connection, by HTTP/1 and by HTTP/2, gets its own answer from the right
//! region, the process is alive, and its log holds no panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "../../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the vocabulary is larger than what is said here")]
mod harness;

mod floods;
mod heads;
mod openings;
mod slow;
mod spoofs;
mod states;
mod world;

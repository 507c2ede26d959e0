//! The fault drills: the real binary between clients and regions, while one thing after another breaks.
//!
//! Each drill is named `drill_NN_what_it_shows` by the number of its row in `docs/drills.md`, injects one fault under
//! load, and ends with the invariants of `world.rs`: no write at a region that is not the owner, nothing outside the
//! residency, no acknowledged write lost or done twice, no request that outlives its deadline. Each tells in one line
//! what was observed; `tests/drills/run` makes a table of them.
//!
//! `DRILLS=full` gives the long drills their full length.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a drill that cannot go on has failed, and says so by panicking"
)]

#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the vocabulary is larger than what the drills say")]
mod harness;

mod dns;
mod line;
mod load;
mod process;
mod table;
mod told;
mod world;

mod leaving;
mod operators;
mod partial;
mod pins;
mod regions;

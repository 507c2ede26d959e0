//! Attacks on the real binary, between two regions that record every byte.
//!
//! The rows with bytes are in `cases.jsonl` and `own.jsonl`; what must come of each is in `expectations.toml`. What has
//! no bytes is scripted here or elsewhere; `outcomes.toml` names the test, and what is judged otherwise, with the
//! reason. After every row the edge has to be as it was: see `world`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the vocabulary is larger than what is said here")]
mod harness;

mod admin;
mod bodies;
mod client;
mod costs;
mod coverage;
mod judge;
mod mutations;
mod origin;
mod regions;
mod replay;
mod request;
mod rows;
mod series;
mod victim;
mod world;

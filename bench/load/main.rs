//! The parts of the side-by-side measurement that have to be fast: `bench/load/run` and `bench/load/reload` start them.
//!
//! - `bare`: a Pingora proxy that routes nothing, built and tuned as Rhumb is.
//! - `regions`: three regions in one process, that say what reached them.
//! - `load`: the clients; every answer is checked.
//! - `idle`: connections that wait.
//!
//! Never: measures itself. What a contender used up is read from the system, by `usage`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a bench may stop, read the time, start tasks and say what it found"
)]

mod bare;
mod idle;
mod load;
mod options;
mod regions;
mod requests;
mod usage;
mod wire;

/// As in `src/main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use options::Options;

// The allocator is the one of src/main.rs: the system's. `bench/load/run` refuses to measure where the two differ.

fn main() {
    let options = Options::of(std::env::args().skip(1));
    match options.command.as_str() {
        "bare" => bare::run(&options),
        "regions" => on_one_thread(regions::run(&options)),
        "load" => on_one_thread(load::run(&options)),
        "idle" => on_one_thread(idle::run(&options)),
        // `cargo bench` without names runs every bench there is.
        _ => println!("this is a part of bench/load/run, which says how to measure"),
    }
}

/// One thread is enough for a core, and what the clients do needs no locks.
fn on_one_thread(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work);
}

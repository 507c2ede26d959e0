//! Stories over real sockets: the real binary between real clients and the regions of the lab.
//!
//! One file per story. What all of them say with is in `tests/harness`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod bodies;
mod cli;
mod connections;
mod demo;
mod discovery;
mod explain;
mod files;
mod gate;
mod headers;
mod health;
mod http2_regions;
mod life;
mod limits;
mod placements;
mod proxy_protocol;
mod reload;
mod retries;
mod routing;
mod signals;
mod signature;
mod tls;

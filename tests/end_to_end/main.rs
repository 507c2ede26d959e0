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
#[allow(dead_code, reason = "the vocabulary is larger than what is said here")]
mod harness;

mod admin;
mod admission;
mod alerts;
mod bodies;
mod cli;
mod connections;
mod demo;
mod discovery;
mod drill;
mod expect;
mod explain;
mod files;
mod gate;
mod gateway;
mod grpc;
mod handshakes;
mod headers;
mod health;
mod histories;
mod http2;
mod http2_regions;
mod idempotency;
mod identity;
mod life;
mod limits;
mod openapi;
mod operators;
mod pins;
mod placements;
mod proxy_protocol;
mod region_tls;
mod reload;
mod retries;
mod routing;
mod runbooks;
mod services;
mod signals;
mod signature;
mod slow_readers;
mod streams;
mod tls;
mod top;
mod traces;
mod transfers;
mod tunnels;
mod upgrade;
mod websocket;

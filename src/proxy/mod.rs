//! The thin adapter to Pingora: asks, then obeys.
//!
//! Pingora's own words (upstream, downstream, peer) stay in here. A connection comes in by `server`, is read by
//! `connection`, and each of its requests travels through `phases`.
//!
//! Never: changes the table, or decides where a request goes.

mod accept;
mod answer;
mod arrival;
mod attempts;
mod backlog;
mod broken;
mod chance;
mod client;
mod connection;
mod country;
mod epoch;
mod exchange;
mod facts;
mod fail;
/// The strict check of a request head.
pub mod gate;
mod gateway;
mod grpc;
mod handshakes;
/// Header names that Rhumb manages.
pub mod headers;
mod held;
mod identity;
mod limits;
mod line;
mod multiplex;
mod old_client;
mod onward;
mod pace;
mod peer;
mod phases;
/// The pins that let a client read what it wrote.
pub mod pins;
/// The PROXY protocol.
pub mod preamble;
mod prepared;
mod proof;
mod repeats;
mod retry;
mod rhumb;
mod seats;
/// Listeners, threads and the graceful stop.
pub mod server;
mod sessions;
mod signature;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod traced;
mod tunnel;
mod uncased;
mod upgrade;

/// Host and path in normal form.
pub use rhumb_decision::target;

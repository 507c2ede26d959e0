//! The proxy over real sockets on loopback: clients and regions are raw bytes, so that nothing repairs what is sent.

mod bench;
mod bodies;
mod connections;
mod forwarding;
mod retries;
mod tls;

//! The vocabulary of the end-to-end tests: regions, an edge before them, requests to it, and waiting for a condition.
//!
//! The edge is the real binary in a process of its own. Everything is on loopback, on ports that were free.
//!
//! Never: sleeps in the hope that something has happened, or leaves a process behind.

mod admin;
mod certificates;
mod collector;
mod edge;
pub mod folder;
mod frames;
mod h2;
mod hello;
pub mod history;
pub mod metrics;
pub mod raw_frames;
mod receiver;
mod region;
mod request;
mod routing;
mod tls;
mod wait;
mod wire;
mod witness;

pub use certificates::{
    Authority, Says, client_config, client_with, self_signed, server_config, server_with, write_pair,
};
pub use collector::{Collector, Takes, Told};
pub use edge::{Edge, EdgeBuilder, Ran, TOKEN, collect, edge, free_port, rhumb, signal};
pub use folder::Folder;
pub use frames::{Does, Framed, code, framed};
pub use h2::{H2, Reply};
pub use hello::{Hello, record};
pub use receiver::Receiver;
pub use region::{Faulty, Place, Toy, faulty, lab, nobody, toy, toy_from};
pub use request::{Ask, ask, get, post, put};
pub use routing::Routing;
pub use tls::{secured, session};
pub use wait::{PATIENCE, await_some, becomes, eventually, now};
pub use wire::{Answer, End, Wire};
pub use witness::{Shown, Witness};

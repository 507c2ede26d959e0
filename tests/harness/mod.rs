//! The vocabulary of the end-to-end tests: regions, an edge before them, requests to it, and waiting for a condition.
//!
//! The edge is the real binary in a process of its own. Everything is on loopback, on ports that were free.
//!
//! Never: sleeps in the hope that something has happened, or leaves a process behind.

mod admin;
mod certificates;
mod edge;
pub mod folder;
mod frames;
pub mod metrics;
mod region;
mod request;
mod routing;
mod wait;
mod wire;

pub use certificates::{Authority, client_config, server_config};
pub use edge::{Edge, EdgeBuilder, Ran, collect, edge, rhumb, signal};
pub use folder::Folder;
pub use frames::{Does, Framed, code, framed};
pub use region::{Faulty, Place, Toy, faulty, lab, toy, toy_from};
pub use request::{Ask, ask, get, post, put};
pub use routing::Routing;
pub use wait::{PATIENCE, await_some, eventually, now};
pub use wire::{Answer, End, Wire};

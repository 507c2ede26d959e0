//! A gateway at a region's ingress: whom it believes, what it passes, what it refuses; and the edge before it.

mod announced;
mod epochs;
mod fenced;
mod health;
mod moved;
mod proof;
pub mod world;

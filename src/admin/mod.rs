//! The HTTP API for operators: what is in force, what a request would meet, and the table's changes.
//!
//! Never: touches a request, or changes anything by itself; what is asked goes to the steward.

/// The routes.
mod api;
/// Who may ask for what.
mod auth;
/// What the table and its changes look like in JSON.
mod changes;
/// What a request would meet.
pub mod explain;
/// Answers that are no answer, as `application/problem+json`.
mod problem;
/// Serving it.
mod server;
#[cfg(test)]
mod tests;
/// What regions, tenants and the edge look like in JSON.
pub mod views;

pub use auth::{Token, TokenError};
pub use server::{AdminState, EdgeIdentity, router, serve};

//! The HTTP API for operators: what is in force, what a request would meet, and the table's changes.
//!
//! Never: touches a request, or changes anything by itself; what is asked goes to the steward.

/// What each operation does.
mod api;
/// Who may ask for what.
mod auth;
/// What the table and its changes look like in JSON.
mod changes;
/// What a request would meet.
pub mod explain;
/// How many wrong tokens one address may show.
mod guesses;
/// Which revision a change is based on.
pub mod matching;
/// The API described.
mod openapi;
/// Everything that may be asked.
mod operations;
/// Answers that are no answer, as `application/problem+json`.
mod problem;
/// Serving it.
mod server;
#[cfg(test)]
mod tests;
/// Who holds a token, and what it lets them do.
pub mod tokens;
/// What regions, tenants and the edge look like in JSON.
pub mod views;

pub use server::{AdminState, EdgeIdentity, serve};
pub use tokens::TokenStore;

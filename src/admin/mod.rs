//! The HTTP API for operators: what is in force, what a request would meet, and what operators change.
//!
//! Never: touches a request, or changes anything by itself; what is asked goes to the steward.

/// What each operation does.
mod api;
/// What was done, by whom and why.
mod audit;
/// Who may ask for what.
mod auth;
/// What the table and its changes look like in JSON.
mod changes;
/// How what may be asked is described.
mod described;
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
/// What operators may ask of weights and drains.
mod orders;
/// What was done to ownership at run time.
mod ownership;
/// The dashboard.
mod pages;
/// Answers that are no answer, as `application/problem+json`.
mod problem;
/// Serving it.
mod server;
/// Events as they happen.
mod stream;
#[cfg(test)]
mod tests;
/// Who holds a token, and what it lets them do.
pub mod tokens;
/// What operators may ask of ownership.
pub mod transfers;
/// What regions, tenants and the edge look like in JSON.
mod views;
/// What weights, drains and traffic look like in JSON.
pub mod weights;

pub use server::{AdminState, EdgeIdentity, serve};
pub use stream::listeners;
pub use tokens::TokenStore;

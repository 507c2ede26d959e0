//! Everything that moves the snapshot: table, health, discovery, and in time operators.
//!
//! One task, the steward, takes one change at a time and publishes the next snapshot; everyone else reads.
//!
//! Never: two writers, or a request that waits for a file, a resolver or a check.

/// The only reading of time.
pub mod clock;
/// What counts while requests run: in flight, failures in a row, trials.
pub mod live;
/// What a person may ask of the table.
pub mod operator;
/// What requests tell the steward of endpoints.
pub mod outcome;
/// Asks endpoints how they are.
pub mod prober;
/// Whether this edge takes requests.
pub mod readiness;
/// Looks up the names of endpoints.
pub mod resolver;
mod rounds;
/// One publisher, many readers.
pub mod snapshot;

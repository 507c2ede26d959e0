//! Everything that moves the snapshot: table, health, discovery, and in time operators.
//!
//! One task, the steward, takes one change at a time and publishes the next snapshot; everyone else reads.
//!
//! Never: two writers, or a request that waits for a file, a resolver or a check.

/// The only reading of time.
pub mod clock;

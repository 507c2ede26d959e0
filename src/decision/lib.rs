//! Which region takes a request: one pure function over one immutable snapshot.
//!
//! [`decide`] serves live requests, `rhumb explain` and the tests alike. Its [`Decision`] carries its reasons: one
//! verdict for every candidate region.
//!
//! Never: reads a clock, draws a number, does I/O, logs, or fails. A decision allocates nothing. A table that could
//! make it fail cannot be built (see [`draft`]), so every caller has an answer to give.

// Classes of bytes.
pub mod bytes;
// How one endpoint is, by what its checks and its traffic say.
pub mod checks;
mod classify;
// What a change of table would move.
pub mod compare;
// An operator's weight on a ramp in time.
pub mod drain;
// From what was written to a table, or all its faults.
pub mod draft;
// When ownership moves by itself.
pub mod failover;
// What one request says.
pub mod facts;
// What a gateway says to a request.
pub mod gateway;
// What a snapshot knows of regions.
pub mod health;
// Who owns a tenant now.
pub mod ownership;
// What was done to ownership, apart from the table.
pub mod owned;
// What operators did to weights, apart from the table.
pub mod operated;
mod pick;
// What a client that wrote is promised.
pub mod pin;
// What a change of one weight would do, before it is made.
pub mod plan;
// What reads, writes and retries obey.
pub mod policy;
// Verdicts, refusals and failover reasons.
pub mod reason;
// Where writes with a key were sent before.
pub mod repeats;
// What no change may break, checked.
pub mod safety;
// What an operator's weight is about.
pub mod scope;
// Everything a decision reads.
pub mod snapshot;
// SPIFFE ids, and patterns over them.
pub mod spiffe;
// How ready a standby is.
pub mod standby;
// The routing table.
pub mod table;
#[cfg(test)]
mod testing;
// Host and path in the one form that rules see.
pub mod target;
// The tenants of a table.
pub mod tenants;
// Ownership moved from region to region.
pub mod transfer;
// Ids and units.
pub mod units;

mod decide;
mod decision;

pub use decide::decide;
pub use decision::{Candidate, Consistency, Course, Decision, Verdicts};
pub use facts::{Attempt, Facts, Presented};
pub use snapshot::{Snapshot, Weights};

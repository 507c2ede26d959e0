//! Everything that moves the snapshot: table, health, discovery, and in time operators.
//!
//! One task, the steward, takes one change at a time and publishes the next snapshot; everyone else reads.
//!
//! Never: two writers, or a request that waits for a file, a resolver or a check.

mod aside;
/// Whose the state folder is.
pub mod claim;
/// The only reading of time.
pub mod clock;
/// Tells gateways, until they know, what was moved without them.
pub mod crier;
/// What operators set, and the journal that holds it before it is in force.
pub mod desk;
/// From files to a table, or every problem at once.
pub mod document;
/// What happens, as it happens.
pub mod events;
/// The first table of a process.
pub mod first;
/// Tells gateways who owns what.
pub mod herald;
/// Whether the steward may write, or another process does.
pub mod hold;
/// The store of operators' changes, which is the audit at the same time.
pub mod journal;
/// May a new table take the place of the one in force?
pub mod judge;
/// The tables kept in `state.dir`.
pub mod kept;
/// What counts while requests run: in flight, failures in a row, trials.
pub mod live;
/// Drives transfers.
pub mod mover;
/// How requests tell of a newer ownership.
pub mod news;
/// What a person may ask of the table.
pub mod operator;
/// What requests tell the steward of endpoints.
pub mod outcome;
/// Watches owners and their standbys.
pub mod overseer;
/// Asks endpoints how they are.
pub mod prober;
/// Whether this edge takes requests.
pub mod readiness;
/// Reads the files again and judges what they hold.
pub mod reload;
/// Names to addresses.
pub mod resolver;
/// What is known of the regions while the process runs.
pub mod roster;
mod rounds;
/// One publisher, many readers.
pub mod snapshot;
/// Sees that the table's files changed.
pub mod source;
/// The one loop that writes.
pub mod steward;
/// How much traffic each region gets, how it fares, and how fast.
pub mod traffic;
/// What became of regions between two snapshots.
pub mod transitions;

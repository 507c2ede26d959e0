//! The store of operators' changes, which is the audit at the same time: what is told is what is replayed.
//!
//! ```text
//! state.dir/journal/00000000000000000001.jsonl   a segment: entries, one a line, named by its first
//! state.dir/journal/checkpoint.json              what all entries up to one come to, and where the kept ones begin
//! state.dir/journal/torn-00000000000000000043    half a line that a crash left where entry 43 was due
//! ```
//!
//! An entry is on the disk before anyone acts on it. Each line's hash is over the line and the hash of the one before,
//! so an edited, missing or moved line shows. Behind a checkpoint old segments go, the newest [`SEGMENTS`] stay for
//! the audit.
//!
//! Why lines of JSON and not a database: an operator reads them with what is at hand, at 3 a.m., without Rhumb.
//!
//! Never: acknowledges what is not on the disk; writes behind half a line; passes over a line in silence; rewrites an
//! entry; knows what a change means.

mod action;
mod entry;
mod file;
mod line;
mod lines;
mod read;
mod shelf;
mod tape;
mod trouble;
mod walk;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use action::Action;
pub use entry::{Entry, Record, WallTime};
pub use file::{FileJournal, Opened, Replay, Torn};
pub use line::Hash;
pub use read::{Ask, JournalReader, Page};
pub use trouble::{AppendError, Broken, Fault, JournalError};
pub use walk::{Anchor, Step, Verified, Walk};

/// The format of lines and checkpoint. It rises with every new key and every new code.
pub const FORMAT: u64 = 2;

/// The longest line, in bytes, without its line break.
pub const LONGEST_LINE: usize = 256 * 1024;

/// A segment takes no entry more when it would grow beyond this, in bytes. A checkpoint is due after as much.
pub const SEGMENT_BYTES: u64 = 1024 * 1024;

/// So many segments are kept behind a checkpoint, the one that is written among them: the history of the audit.
pub const SEGMENTS: usize = 32;

/// The largest checkpoint, in bytes.
pub const LARGEST_CHECKPOINT: u64 = 64 * 1024 * 1024;

/// So many torn ends are kept aside.
pub const TORN_KEPT: usize = 8;

/// The most entries of one page.
pub const LARGEST_PAGE: usize = 1000;

/// How large a journal becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// See [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// See [`SEGMENTS`].
    pub segments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, segments: SEGMENTS }
    }
}

/// Where operators' changes are kept, in one order. An edge's own is [`FileJournal`].
///
/// Its calls wait for a disk or a network: they belong on a thread that may block.
pub trait StateStore: Send {
    /// Appends an entry. When this returns, it outlives whatever happens to the process.
    ///
    /// The record's revision has to be above the last one where it has a change, and no less than that where it has
    /// none. A change that was made on what another has changed since comes too late by that.
    ///
    /// # Errors
    /// See [`AppendError`]. Only after [`AppendError::Unsure`] may the entry be there nevertheless.
    fn append(&mut self, record: Record) -> Result<Entry, AppendError>;

    /// Keeps `state`, what all entries so far come to, so that a replay begins there. Entries from before may be gone
    /// then, the oldest first.
    ///
    /// # Errors
    /// See [`AppendError`]; the checkpoint from before counts.
    fn checkpoint(&mut self, state: &Value) -> Result<(), AppendError>;

    /// Whether so many entries came since the last checkpoint that a replay would take long.
    fn checkpoint_is_due(&self) -> bool;

    /// The number of the last entry; 0: there is none.
    fn seq(&self) -> u64;

    /// The revision of the last entry; 0: there is none.
    fn revision(&self) -> u64;

    /// Entries that are kept, oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn page(&self, ask: &Ask) -> Result<Page, JournalError>;
}

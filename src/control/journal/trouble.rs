//! What can be wrong with a journal, and with the wish to write into it.
//!
//! Never: an error that leaves open whether the change is in force without saying so.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::LONGEST_LINE;

/// The journal cannot be opened, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or the folder.
    #[error("{path} cannot be used: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A newer Rhumb has written here.
    #[error(
        "{path} is of format {found}, and this version knows none above {}: run the version that wrote it; or, to \
         give up what operators changed since, stop that one and put a copy of the folder from before in its place",
        super::FORMAT
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The checkpoint is missing or cannot be read, and the entries that it stands for are gone.
    #[error(
        "{path}: {why}, and the entries that it stands for are no longer kept: put a copy of the folder in its place; \
         or move the folder away, and what operators had set is no longer in force"
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl JournalError {
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Its revision is not above, or for an entry without a change below, the last one: someone else was first.
    #[error("revision {given} comes too late, {last} is in force")]
    Raced {
        /// Of the entry.
        given: u64,
        /// The last one.
        last: u64,
    },
    /// It could not be read again.
    #[error("the entry cannot be kept: {0}")]
    Unfit(String),
    /// It was not written, and nothing of it is left. The next one may succeed.
    #[error("the journal cannot be written: {0}")]
    Failed(#[source] io::Error),
    /// It is not certain that nothing of it is left: after a restart it may be there. Nothing is written any more
    /// until the journal is opened anew.
    #[error("the journal cannot be written, and is closed until it is opened anew: {0}")]
    Unsure(#[source] io::Error),
    /// Since such a failure nothing is written.
    #[error("the journal is closed since an earlier failure: {0}")]
    Closed(String),
}

/// What is wrong with a line, or with a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The lines from this number on, up to that one, are not there.
    Missing {
        /// The first that is not there.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Its hash is not that of its text behind the line before: it was edited, or that one was.
    Edited,
    /// It stands behind a line of the same or a higher number.
    OutOfOrder,
    /// It is no entry; why.
    Unreadable(String),
    /// It is longer than any entry.
    TooLong,
    /// It is of a format that this version does not know.
    Newer(u64),
}

impl Fault {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Edited => "edited",
            Self::OutOfOrder => "out_of_order",
            Self::Unreadable(_) => "unreadable",
            Self::TooLong => "too_long",
            Self::Newer(_) => "newer",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::Edited => f.write_str("does not fit its hash: it was edited, or the one before it was"),
            Self::OutOfOrder => f.write_str("stands out of order"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::TooLong => write!(f, "is longer than {LONGEST_LINE} bytes"),
            Self::Newer(found) => write!(f, "is of format {found}, which this version does not know"),
        }
    }
}

/// A place where the chain is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The name of the file.
    pub file: String,
    /// The line in it, from 1. Where lines are missing, the one that stands in their place, or the one behind the
    /// last.
    pub line: u64,
    /// The number of the entry; the one that was due, where the line does not say it.
    pub seq: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {} (entry {}): {}", self.file, self.line, self.seq, self.fault)
    }
}

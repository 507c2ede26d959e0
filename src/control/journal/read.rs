//! Reads a journal, also while a process writes it: for the audit, and for those who verify it.
//!
//! Never: writes, or needs the right to; holds more than a page in memory.

use std::path::Path;

use super::line::decode;
use super::lines::{LISTINGS, Lines, Piece};
use super::shelf::{Checkpoint, Shelf};
use super::walk::{Verified, Walk, verify};
use super::{Action, Entry, JournalError, LARGEST_PAGE, WallTime};

/// Which entries are asked for. What is `None` is not asked about.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ask {
    /// Those behind this number.
    pub since: u64,
    /// Those no later than this.
    pub until: Option<WallTime>,
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those that tell of this.
    pub action: Option<Action>,
    /// Those about this region.
    pub region: Option<String>,
    /// At most so many, and at most [`LARGEST_PAGE`]; 0 asks for the latter.
    pub limit: usize,
}

impl Ask {
    /// Whether an entry is asked for, its place aside.
    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let record = &entry.record;
        entry.seq > self.since
            && self.until.is_none_or(|until| record.time <= until)
            && self.actor.as_ref().is_none_or(|actor| *actor == record.actor)
            && self.action.is_none_or(|action| action == record.action)
            && self.region.as_ref().is_none_or(|region| record.region.as_ref() == Some(region))
    }
}

/// Some entries, oldest first.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What to ask `since` for the next page; `None`: there is none yet.
    pub next: Option<u64>,
    /// So many lines on the way could not be read; [`JournalReader::verify`] says which.
    pub unreadable: u64,
}

/// Reads a journal.
#[derive(Clone, Debug)]
pub struct JournalReader {
    pub(super) shelf: Shelf,
}

impl JournalReader {
    /// The journal in this state folder; it need not exist yet.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { shelf: Shelf::of(state_dir) }
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.shelf.folder()
    }

    /// Over all that is kept, oldest first.
    ///
    /// # Errors
    /// A file cannot be opened. A step's error ends the walk.
    pub fn walk(&self) -> Result<Walk, JournalError> {
        Ok(self.begun()?.0)
    }

    /// Walks the whole chain and says where it is broken first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn verify(&self) -> Result<Verified, JournalError> {
        let (walk, checkpoint) = self.begun()?;
        verify(walk, checkpoint.as_ref())
    }

    /// A walk whose segments are open, and the checkpoint that fits them: a writer that keeps another one meanwhile
    /// removes segments that the first still counts on.
    fn begun(&self) -> Result<(Walk, Option<Result<Checkpoint, String>>), JournalError> {
        let mut checkpoint = self.shelf.checkpoint()?;
        let mut begun = 0;
        loop {
            begun += 1;
            let walk = Walk::over(&self.shelf, checkpoint.as_ref())?;
            let now = self.shelf.checkpoint()?;
            if now == checkpoint || begun == LISTINGS {
                return Ok((walk, checkpoint));
            }
            checkpoint = now;
        }
    }

    /// The entries asked for, from the first segment that can hold one.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn page(&self, ask: &Ask) -> Result<Page, JournalError> {
        let limit = if ask.limit == 0 { LARGEST_PAGE } else { ask.limit.min(LARGEST_PAGE) };
        let mut lines = Lines::of(&self.shelf, |all| from(all, ask.since))?;
        let mut page = Page::default();
        let failed = |cause| JournalError::File { path: self.shelf.folder().to_owned(), cause };
        while let Some(piece) = lines.next().map_err(failed)? {
            match piece {
                Piece::Line(line, _) => match decode(&line) {
                    Ok(entry) if ask.fits(&entry) => {
                        if let Some(last) = page.entries.last().filter(|_| page.entries.len() == limit) {
                            page.next = Some(last.seq);
                            break;
                        }
                        page.entries.push(entry);
                    }
                    Ok(_) => {}
                    Err(_) => page.unreadable += 1,
                },
                Piece::TooLong => page.unreadable += 1,
                Piece::Unfinished { .. } if lines.more_follow() => page.unreadable += 1,
                Piece::Segment(_) | Piece::Unfinished { .. } => {}
            }
        }
        Ok(page)
    }
}

/// The segments that can hold an entry behind `since`.
fn from(mut all: Vec<u64>, since: u64) -> Vec<u64> {
    let passed = all.iter().skip(1).take_while(|first| **first <= since.saturating_add(1)).count();
    all.drain(..passed);
    all
}

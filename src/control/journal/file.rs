//! The journal in `state.dir`, for the one process whose folder that is.
//!
//! Never: says that an entry is kept before it is on the disk, with the name of its file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::line::encode;
use super::read::JournalReader;
use super::shelf::{Checkpoint, Link, Shelf};
use super::tape::{Medium, Miss, Tape};
use super::walk::{Step, Walk};
use super::{
    AppendError, Ask, Broken, Entry, Fault, JournalError, LARGEST_PAGE, Limits, Page, Record, StateStore,
};

/// The journal in a state folder.
#[derive(Debug)]
pub struct FileJournal {
    shelf: Shelf,
    limits: Limits,
    last: Link,
    revision: u64,
    tape: Option<Tape>,
    /// Where each kept segment begins, and behind which entry.
    begins: Vec<(u64, Link)>,
    /// How many bytes of entries a replay would have to fold.
    unfolded: u64,
    closed: Option<String>,
    medium: fn(File) -> Box<dyn Medium>,
}

/// What is taken up again at a start.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Replay {
    /// What all entries up to the checkpoint come to; `None`: there is none yet, and nothing is gone.
    pub state: Option<Value>,
    /// The last entry that `state` has in it; 0 where there is none.
    pub at: u64,
    /// The entries behind it, in their order. Those without a change are among them.
    pub entries: Vec<Entry>,
}

/// What was found when a journal was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal, ready to be written.
    pub journal: FileJournal,
    /// What it comes to.
    pub replay: Replay,
    /// Half a line that stood at the end and was cut off: it was never acknowledged.
    pub torn: Option<Torn>,
    /// Places where the chain is broken, at most [`LARGEST_PAGE`]. What could be read around them is in the replay.
    pub broken: Vec<Broken>,
}

/// What was torn off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// How many bytes.
    pub length: u64,
    /// Where they are kept; `None`: there was no room.
    pub aside: Option<PathBuf>,
}

impl FileJournal {
    /// Opens the journal in `state_dir`, which is made if it is missing; the caller holds the folder's claim.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(state_dir: &Path) -> Result<Opened, JournalError> {
        Self::open_within(state_dir, Limits::default())
    }

    /// The same, with other limits than [`Limits::default`].
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open_within(state_dir: &Path, limits: Limits) -> Result<Opened, JournalError> {
        Self::open_on(state_dir, limits, |file| Box::new(file))
    }

    pub(super) fn open_on(
        state_dir: &Path,
        limits: Limits,
        medium: fn(File) -> Box<dyn Medium>,
    ) -> Result<Opened, JournalError> {
        let shelf = Shelf::of(state_dir);
        shelf.make().map_err(JournalError::at(shelf.folder()))?;
        let read = shelf.checkpoint()?;
        let segments = shelf.segments().map_err(JournalError::at(shelf.folder()))?;
        refuse_a_state_that_is_lost(&shelf, read.as_ref(), &segments)?;
        let mut found = Found::default();
        let checkpoint = read.as_ref().and_then(|read| read.as_ref().ok());
        let at = checkpoint.map_or(Link::START, |known| known.at);
        found.revision = checkpoint.map_or(0, |known| known.revision);
        let mut walk = Walk::over(&shelf, read.as_ref())?;
        for step in &mut walk {
            found.take(step?, at.seq, &shelf)?;
        }
        let last = if walk.reached().seq < at.seq { at } else { walk.reached() };
        let torn =
            found.unfinished.map(|length| cut(&shelf, walk.end(), last.seq + 1, length)).transpose()?;
        let unfolded = found.entries.iter().map(size).sum();
        let mut journal = Self {
            shelf,
            limits,
            last,
            revision: found.revision,
            tape: None,
            begins: walk.begins().to_vec(),
            unfolded,
            closed: None,
            medium,
        };
        journal.drop_what_is_gone(&segments);
        // Behind entries that were lost at the end, a segment of its own begins.
        if let Some((first, end)) = walk.end().filter(|_| walk.reached() == last) {
            let path = journal.shelf.path(first);
            let file = journal.shelf.append_to(first).map_err(JournalError::at(path))?;
            journal.tape = Some(Tape::new(medium(file), end));
        }
        // By number, and each once: lines that were moved or doubled are told among the broken.
        found.entries.sort_by_key(|entry| entry.seq);
        found.entries.dedup_by_key(|entry| entry.hash);
        let state = checkpoint.map(|known| known.state.clone());
        let replay = Replay { state, at: at.seq, entries: found.entries };
        Ok(Opened { journal, replay, torn, broken: found.broken })
    }

    /// A reader of the same files.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader { shelf: self.shelf.clone() }
    }

    /// Removes segments that the checkpoint has called gone before a crash came between.
    fn drop_what_is_gone(&self, segments: &[u64]) {
        for first in segments.iter().filter(|first| !self.begins.iter().any(|(kept, _)| kept == *first)) {
            self.remove(*first);
        }
    }

    fn remove(&self, first: u64) {
        // What stays is passed over by readers, and tried again at the next start.
        self.shelf.remove(first).unwrap_or_else(|e| {
            tracing::warn!("{}: cannot be removed: {e}", self.shelf.path(first).display())
        });
    }

    /// The tape that has room for so many bytes more.
    fn tape(&mut self, length: u64) -> io::Result<&mut Tape> {
        let fits = |tape: &Tape| tape.length() == 0 || tape.length() + length <= self.limits.segment_bytes;
        let tape = match self.tape.take().filter(fits) {
            Some(tape) => tape,
            None => {
                let first = self.last.seq + 1;
                let file = self.shelf.append_to(first)?;
                if !self.begins.iter().any(|(known, _)| *known == first) {
                    self.begins.push((first, self.last));
                }
                Tape::new((self.medium)(file), 0)
            }
        };
        Ok(self.tape.insert(tape))
    }

    fn open_for_writing(&self) -> Result<(), AppendError> {
        self.closed.as_ref().map_or(Ok(()), |why| Err(AppendError::Closed(why.clone())))
    }
}

impl StateStore for FileJournal {
    fn append(&mut self, record: Record) -> Result<Entry, AppendError> {
        self.open_for_writing()?;
        let least = self.revision + u64::from(record.change.is_some());
        if record.revision < least {
            return Err(AppendError::Raced { given: record.revision, last: self.revision });
        }
        let (line, entry) = encode(record, self.last.seq + 1, self.last.hash).map_err(AppendError::Unfit)?;
        let length = line.len() as u64 + 1;
        let tape = self.tape(length).map_err(AppendError::Failed)?;
        match tape.append(&line) {
            Ok(()) => {}
            Err(Miss::Undone(cause)) => return Err(AppendError::Failed(cause)),
            Err(Miss::Unsure(cause)) => {
                self.closed = Some(cause.to_string());
                return Err(AppendError::Unsure(cause));
            }
        }
        self.last = Link { seq: entry.seq, hash: entry.hash };
        self.revision = entry.record.revision;
        self.unfolded += length;
        Ok(entry)
    }

    fn checkpoint(&mut self, state: &Value) -> Result<(), AppendError> {
        self.open_for_writing()?;
        let surplus = self.begins.len().saturating_sub(self.limits.segments.max(1));
        let (gone, kept) = self.begins.split_at_checked(surplus).unwrap_or_default();
        let behind = kept.first().map_or(Link::START, |(_, behind)| *behind);
        let checkpoint = Checkpoint {
            at: self.last,
            revision: self.revision,
            gone: behind,
            state: state.clone(),
            sound: true,
        };
        self.shelf.write_checkpoint(&checkpoint).map_err(|cause| match cause.kind() {
            io::ErrorKind::InvalidInput => AppendError::Unfit(cause.to_string()),
            _ => AppendError::Failed(cause),
        })?;
        gone.iter().for_each(|(first, _)| self.remove(*first));
        self.begins.drain(..surplus);
        self.unfolded = 0;
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        self.unfolded >= self.limits.segment_bytes
    }

    fn seq(&self) -> u64 {
        self.last.seq
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn page(&self, ask: &Ask) -> Result<Page, JournalError> {
        self.reader().page(ask)
    }
}

/// What a walk at the start brings together.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    broken: Vec<Broken>,
    unfinished: Option<u64>,
    revision: u64,
}

impl Found {
    fn take(&mut self, step: Step, folded: u64, shelf: &Shelf) -> Result<(), JournalError> {
        match step {
            Step::Entry(entry) => {
                self.revision = self.revision.max(entry.record.revision);
                if entry.seq > folded {
                    self.entries.push(*entry);
                }
            }
            Step::Broken(Broken { fault: Fault::Newer(found), file, .. }) => {
                return Err(JournalError::Newer { path: shelf.folder().join(file), found });
            }
            Step::Broken(broken) if self.broken.len() < LARGEST_PAGE => self.broken.push(broken),
            Step::Broken(_) => {}
            Step::Unfinished(length) => self.unfinished = Some(length),
        }
        Ok(())
    }
}

/// About as many bytes as an entry takes on the disk.
fn size(entry: &Entry) -> u64 {
    encode(entry.record.clone(), entry.seq, entry.hash).map_or(0, |(line, _)| line.len() as u64 + 1)
}

/// Without its checkpoint, a journal whose first entries are gone says nothing of what is in force.
fn refuse_a_state_that_is_lost(
    shelf: &Shelf,
    checkpoint: Option<&Result<Checkpoint, String>>,
    segments: &[u64],
) -> Result<(), JournalError> {
    let why = match checkpoint {
        Some(Ok(_)) => return Ok(()),
        Some(Err(why)) => why.clone(),
        None => "it is missing".to_owned(),
    };
    let from_the_start = segments.first().map_or(checkpoint.is_none(), |first| *first == 1);
    if from_the_start { Ok(()) } else { Err(JournalError::Checkpoint { path: shelf.checkpoint_path(), why }) }
}

/// Cuts off what stands behind the last whole line, and keeps it aside where there is room.
fn cut(shelf: &Shelf, end: Option<(u64, u64)>, seq: u64, length: u64) -> Result<Torn, JournalError> {
    let (first, end) = end.unwrap_or((seq, 0));
    let path = shelf.path(first);
    let failed = JournalError::at(path.clone());
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(JournalError::at(&path))?;
    let mut torn = Vec::new();
    let read = file
        .seek(SeekFrom::Start(end))
        .and_then(|_| file.by_ref().take(super::LONGEST_LINE as u64).read_to_end(&mut torn));
    let aside = read.and_then(|_| shelf.keep_aside(seq, &torn));
    let aside =
        aside.inspect_err(|e| tracing::warn!("{}: its torn end is not kept: {e}", path.display())).ok();
    file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(Torn { length, aside })
}

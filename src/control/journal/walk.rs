//! The walk along the chain, from the oldest entry that is kept to the last.
//!
//! What is broken is told, and the walk goes on behind it: a line that cannot be trusted must not hide those behind
//! it, which operators were told are in force.
//!
//! Never: writes; passes over a line in silence.

use super::line::{Hash, Unreadable, decode, fits, unseal};
use super::lines::{Lines, Piece};
use super::shelf::{Checkpoint, Link, Shelf};
use super::{Broken, Entry, Fault, JournalError};

/// What the walk comes to.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// An entry. If something is wrong with it, a [`Step::Broken`] came right before.
    Entry(Box<Entry>),
    /// A place where the chain is broken.
    Broken(Broken),
    /// Half a line at the end, of so many bytes: a writer is at it, or was torn off. Nothing comes behind.
    Unfinished(u64),
}

/// An iterator over a whole journal, one line of it in memory at a time.
#[derive(Debug)]
pub struct Walk {
    shelf: Shelf,
    lines: Lines,
    checkpoint: Option<Link>,
    /// Told before anything else is read.
    due: Vec<Step>,
    /// The last entry, or where the next one is due behind it.
    last: Link,
    /// Whether the hash of `last` can be held against the next line.
    certain: bool,
    segment: u64,
    line: u64,
    /// Where each segment begins, and behind which entry.
    begins: Vec<(u64, Link)>,
    /// The end of the last whole line in the last segment.
    end: u64,
    ended: bool,
}

impl Walk {
    /// Over the kept segments; those that the checkpoint calls gone are passed over.
    pub(super) fn over(
        shelf: &Shelf,
        checkpoint: Option<&Result<Checkpoint, String>>,
    ) -> Result<Self, JournalError> {
        let known = checkpoint.and_then(|read| read.as_ref().ok());
        let start = known.map_or(Link::START, |known| known.gone);
        let lines = Lines::of(shelf, |all| all.into_iter().filter(|first| *first > start.seq).collect())?;
        let fault = match checkpoint {
            Some(Err(why)) => Some((0, Fault::Unreadable(why.clone()))),
            Some(Ok(known)) if !known.sound => Some((known.at.seq, Fault::Edited)),
            _ => None,
        };
        let file = || shelf.checkpoint_path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let told = fault.map(|(seq, fault)| Step::Broken(Broken { file: file(), line: 1, seq, fault }));
        Ok(Self {
            shelf: shelf.clone(),
            lines,
            checkpoint: known.map(|known| known.at),
            due: told.into_iter().collect(),
            last: start,
            certain: true,
            segment: start.seq + 1,
            line: 0,
            begins: Vec::new(),
            end: 0,
            ended: false,
        })
    }

    /// The last entry that was walked over.
    pub(super) const fn reached(&self) -> Link {
        self.last
    }

    /// Where each segment begins, and behind which entry, of those that were walked over.
    pub(super) fn begins(&self) -> &[(u64, Link)] {
        &self.begins
    }

    /// The last segment that was walked over, and the end of its last whole line.
    pub(super) fn end(&self) -> Option<(u64, u64)> {
        self.begins.last().map(|(first, _)| (*first, self.end))
    }

    fn broken(&self, seq: u64, fault: Fault) -> Step {
        Step::Broken(Broken { file: Shelf::name(self.segment), line: self.line, seq, fault })
    }

    fn step(&mut self) -> Result<Option<Step>, JournalError> {
        while !self.ended {
            let piece = self.lines.next().map_err(JournalError::at(self.shelf.path(self.segment)))?;
            match piece {
                Some(Piece::Segment(first)) => {
                    (self.segment, self.line, self.end) = (first, 0, 0);
                    self.begins.push((first, self.last));
                }
                Some(Piece::Line(line, end)) => {
                    self.line += 1;
                    self.end = end;
                    return Ok(Some(self.judge(&line)));
                }
                Some(Piece::TooLong) => {
                    self.line += 1;
                    return Ok(Some(self.lost(Fault::TooLong, None)));
                }
                Some(Piece::Unfinished { .. }) if self.lines.more_follow() => {
                    self.line += 1;
                    return Ok(Some(self.lost(Fault::Unreadable("it has no end".to_owned()), None)));
                }
                Some(Piece::Unfinished { from, length }) => {
                    self.end = from;
                    self.due.push(Step::Unfinished(length));
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
        let missing = self.checkpoint.take().filter(|at| at.seq > self.last.seq);
        if let Some(at) = missing {
            self.line += 1;
            let fault = Fault::Missing { from: self.last.seq + 1, to: at.seq };
            return Ok(Some(self.broken(self.last.seq + 1, fault)));
        }
        Ok(self.due.pop())
    }

    /// A line that is no entry: it takes the number that was due.
    fn lost(&mut self, fault: Fault, hash: Option<Hash>) -> Step {
        self.last.seq += 1;
        self.certain = hash.is_some();
        self.last.hash = hash.unwrap_or(self.last.hash);
        self.broken(self.last.seq, fault)
    }

    fn judge(&mut self, line: &[u8]) -> Step {
        let entry = match decode(line) {
            Ok(entry) => entry,
            Err(Unreadable::Newer(found)) => return self.lost(Fault::Newer(found), None),
            Err(Unreadable::Not(why)) => {
                return self.lost(Fault::Unreadable(why), unseal(line).map(|(_, hash)| hash));
            }
        };
        let (due, seq) = (self.last.seq + 1, entry.seq);
        let fits = fits(line, self.last.hash);
        let was = self.checkpoint.filter(|at| at.seq == seq).map(|at| at.hash);
        let fault = if self.certain && fits {
            // Then it stands in its place, and a number that does not follow was edited in the line before.
            None
        } else if seq > due {
            Some(Fault::Missing { from: due, to: seq - 1 })
        } else if seq < due {
            Some(Fault::OutOfOrder)
        } else {
            self.certain.then_some(Fault::Edited)
        };
        let fault = fault.or_else(|| was.is_some_and(|hash| hash != entry.hash).then_some(Fault::Edited));
        self.last = Link { seq, hash: entry.hash };
        self.certain = true;
        let step = Step::Entry(Box::new(entry));
        match fault {
            None => step,
            Some(fault) => {
                self.due.push(step);
                self.broken(if matches!(fault, Fault::Missing { .. }) { due } else { seq }, fault)
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Step, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.ended
            && let Some(step) = self.due.pop()
        {
            return Some(Ok(step));
        }
        let step = self.step();
        if step.is_err() {
            (self.ended, self.checkpoint) = (true, None);
            self.due.clear();
        }
        step.transpose()
    }
}

/// What the oldest entry that is kept is held by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// It is the first of all.
    Start,
    /// The checkpoint has the hash of the one before it.
    Checkpoint,
    /// Nothing: entries before it may be missing.
    Nothing,
}

impl Anchor {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Checkpoint => "checkpoint",
            Self::Nothing => "nothing",
        }
    }
}

/// What a walk over everything came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// How many entries could be read.
    pub entries: u64,
    /// The number of the oldest; `None`: there is none.
    pub first: Option<u64>,
    /// The number of the last, and its hash. Whoever keeps it elsewhere can tell later that nothing was cut off
    /// behind it, which the chain alone cannot say.
    pub last: Option<(u64, Hash)>,
    /// What the oldest is held by.
    pub anchor: Anchor,
    /// The first place that is broken.
    pub broken: Option<Broken>,
    /// How many there are.
    pub breaks: u64,
    /// So many bytes of half a line at the end: a process is writing it, or ended while it did.
    pub unfinished: Option<u64>,
}

impl Verified {
    /// Whether every line is there, as it was written and in its order, back to the first or to the checkpoint.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.broken.is_none() && self.anchor != Anchor::Nothing
    }
}

pub(super) fn verify(
    walk: Walk,
    checkpoint: Option<&Result<Checkpoint, String>>,
) -> Result<Verified, JournalError> {
    let gone = checkpoint.and_then(|read| read.as_ref().ok()).map(|known| (known.gone.seq, known.sound));
    let mut found = Verified {
        entries: 0,
        first: None,
        last: None,
        anchor: match gone {
            Some((1.., true)) => Anchor::Checkpoint,
            Some((1.., false)) => Anchor::Nothing,
            _ => Anchor::Start,
        },
        broken: None,
        breaks: 0,
        unfinished: None,
    };
    for step in walk {
        match step? {
            Step::Entry(entry) => {
                found.entries += 1;
                found.first = found.first.or(Some(entry.seq));
                found.last = Some((entry.seq, entry.hash));
            }
            Step::Broken(broken) => {
                // What is wrong with the oldest leaves it without a hold.
                if found.entries == 0 && found.breaks == 0 && broken.line == 1 {
                    found.anchor = Anchor::Nothing;
                }
                found.breaks += 1;
                found.broken = found.broken.or(Some(broken));
            }
            Step::Unfinished(length) => found.unfinished = Some(length),
        }
    }
    Ok(found)
}

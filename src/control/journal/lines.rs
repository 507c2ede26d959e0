//! The lines of all segments, one after another, and not more than one of them in memory.
//!
//! Never: takes the end of a file for the end of a line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::shelf::Shelf;
use super::{JournalError, LONGEST_LINE};

/// A piece of a segment.
#[derive(Debug)]
pub(super) enum Piece {
    /// A segment begins; the number in its name.
    Segment(u64),
    /// A whole line, without its line break, and the bytes of the segment up to its end.
    Line(Vec<u8>, u64),
    /// A line that is too long to be one.
    TooLong,
    /// What stands behind the last line break: how much, and from which byte on.
    Unfinished { from: u64, length: u64 },
}

/// All pieces, oldest first.
#[derive(Debug)]
pub(super) struct Lines {
    files: VecDeque<(u64, File)>,
    open: Option<BufReader<File>>,
    at: u64,
}

/// How often a folder is listed anew when a file of it was removed before it could be opened.
pub(super) const LISTINGS: usize = 16;

impl Lines {
    /// Of the segments that `wanted` keeps of all. They are opened now: what a writer removes later is read all the
    /// same.
    pub(super) fn of(shelf: &Shelf, wanted: impl Fn(Vec<u64>) -> Vec<u64>) -> Result<Self, JournalError> {
        let mut listed = 0;
        'listing: loop {
            listed += 1;
            let mut files = VecDeque::new();
            for first in wanted(shelf.segments().map_err(JournalError::at(shelf.folder()))?) {
                match File::open(shelf.path(first)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound && listed < LISTINGS => continue 'listing,
                    file => files.push_back((first, file.map_err(JournalError::at(shelf.path(first)))?)),
                }
            }
            return Ok(Self { files, open: None, at: 0 });
        }
    }

    /// Whether another segment follows the one that is read.
    pub(super) fn more_follow(&self) -> bool {
        !self.files.is_empty()
    }

    /// The next piece; `None`: that was all.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        let Some(open) = &mut self.open else {
            return Ok(self.files.pop_front().map(|(first, file)| {
                self.open = Some(BufReader::new(file));
                self.at = 0;
                Piece::Segment(first)
            }));
        };
        let mut line = Vec::new();
        let most = LONGEST_LINE as u64 + 1;
        let read = open.by_ref().take(most).read_until(b'\n', &mut line)? as u64;
        let from = self.at;
        self.at += read;
        if line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Some(Piece::Line(line, self.at)));
        }
        if read == most {
            let (skipped, ended) = skip_line(open)?;
            self.at += skipped;
            if ended {
                return Ok(Some(Piece::TooLong));
            }
        }
        self.open = None;
        match self.at - from {
            0 => self.next(),
            length => Ok(Some(Piece::Unfinished { from, length })),
        }
    }
}

/// Reads on to behind the next line break; how far that was, and whether there was one.
fn skip_line(open: &mut BufReader<File>) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let here = open.fill_buf()?;
        let (length, ended) = match here.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (here.len(), false),
        };
        open.consume(length);
        skipped += length as u64;
        if ended || length == 0 {
            return Ok((skipped, ended));
        }
    }
}

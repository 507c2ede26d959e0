//! The end of the journal that is written: one file, to the last whole line.
//!
//! Never: leaves half a line behind for the next one to complete. What failed is cut off; where even that fails, the
//! tape takes nothing more.

use std::fs::File;
use std::io::{self, Write as _};

/// What a tape asks of a file. The tests have one that fails on cue.
pub(super) trait Medium: Send + std::fmt::Debug {
    /// As [`std::io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// All that was written is on the disk, or an error.
    fn sync(&mut self) -> io::Result<()>;
    /// What lies behind `length` is gone.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// How a line was not written.
#[derive(Debug)]
pub(super) enum Miss {
    /// Nothing of it is left.
    Undone(io::Error),
    /// Something may be left; nothing may be written behind it.
    Unsure(io::Error),
}

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct Tape {
    medium: Box<dyn Medium>,
    length: u64,
}

impl Tape {
    /// Goes on behind `length`, the end of the last whole line. The medium writes at its end only.
    pub(super) fn new(medium: Box<dyn Medium>, length: u64) -> Self {
        Self { medium, length }
    }

    /// How long it is, in bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Appends a line, on the disk when this returns.
    ///
    /// A sync that failed is not asked again: the system may have dropped what it could not write and report success
    /// the second time. So nothing is known of the file after it but by reading it anew.
    pub(super) fn append(&mut self, line: &str) -> Result<(), Miss> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        if let Err(cause) = self.write_all(&bytes) {
            let undone = self.medium.cut(self.length).and_then(|()| self.medium.sync());
            return Err(if undone.is_ok() { Miss::Undone(cause) } else { Miss::Unsure(cause) });
        }
        if let Err(cause) = self.medium.sync() {
            // As good as it gets: a start finds the line or does not.
            let _ = self.medium.cut(self.length);
            return Err(Miss::Unsure(cause));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.medium.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

//! The tables kept in `state.dir`: the one in force, for a start when the files hold none, and the one before it, for
//! going back.
//!
//! ```text
//! state.dir/tables/current/     every file the table in force was read from, and kept.json
//! state.dir/tables/previous/    the same, of the one before
//! state.dir/tables/refused      the hash that an operator went back from: not taken again by itself
//! ```
//!
//! A table becomes `current` by renames of whole folders, so a crash leaves either the old or the new one.
//!
//! Never: judges a table. A kept one is read and checked like any other.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The tables kept in `state.dir`.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// Those in `state_dir`, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("tables");
        std::fs::create_dir_all(&folder)?;
        let kept = Self { folder };
        kept.finish_what_a_crash_left()?;
        Ok(kept)
    }

    /// The folder of the table in force; it need not exist.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.folder.join("current")
    }

    /// The folder of the table before it; it need not exist.
    #[must_use]
    pub fn previous(&self) -> PathBuf {
        self.folder.join("previous")
    }

    /// An empty folder to copy files into while they are read.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn reading(&self) -> io::Result<PathBuf> {
        let folder = self.folder.join("reading");
        remove(&folder)?;
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// What was copied into [`Self::reading`] and not taken is gone: private keys may be among it.
    pub fn discard(&self) {
        remove(&self.folder.join("reading"))
            .unwrap_or_else(|e| tracing::warn!("copies of a table that was not taken stay behind: {e}"));
    }

    /// What was copied into [`Self::reading`] is in force now; what was, is the previous one.
    ///
    /// # Errors
    /// A folder could not be renamed; the table in force stays kept, under one name or the other.
    pub fn take(&self) -> io::Result<()> {
        let (current, previous) = (self.current(), self.previous());
        if current.exists() {
            remove(&previous)?;
            std::fs::rename(&current, &previous)?;
        }
        std::fs::rename(self.folder.join("reading"), &current)?;
        self.sync()
    }

    /// The previous one is in force now, and what was, is the previous one.
    ///
    /// # Errors
    /// A folder could not be renamed.
    pub fn swap(&self) -> io::Result<()> {
        let aside = self.folder.join("swapping");
        remove(&aside)?;
        std::fs::rename(self.current(), &aside)?;
        std::fs::rename(self.previous(), self.current())?;
        std::fs::rename(&aside, self.previous())?;
        self.sync()
    }

    /// The hash of the table that an operator went back from.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        let hash = std::fs::read_to_string(self.folder.join("refused")).ok()?;
        let hash = hash.trim();
        (!hash.is_empty()).then(|| hash.to_owned())
    }

    /// Remembers that an operator went back from the table of this hash; `None`: from none any more.
    ///
    /// # Errors
    /// It cannot be written; what was remembered stays.
    pub fn refuse(&self, hash: Option<&str>) -> io::Result<()> {
        let Some(hash) = hash else {
            return match std::fs::remove_file(self.folder.join("refused")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        };
        let fresh = self.folder.join("refused.new");
        let mut file = std::fs::File::create(&fresh)?;
        writeln!(file, "{hash}")?;
        file.sync_all()?;
        std::fs::rename(fresh, self.folder.join("refused"))?;
        self.sync()
    }

    fn finish_what_a_crash_left(&self) -> io::Result<()> {
        let aside = self.folder.join("swapping");
        if aside.exists() && !self.current().exists() {
            return std::fs::rename(aside, self.current());
        }
        if aside.exists() && !self.previous().exists() {
            return std::fs::rename(aside, self.previous());
        }
        if !self.current().exists() && self.previous().exists() {
            return std::fs::rename(self.previous(), self.current());
        }
        remove(&aside)
    }

    fn sync(&self) -> io::Result<()> {
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(kept: &Kept, text: &str) {
        std::fs::write(kept.reading().unwrap().join("t"), text).unwrap();
        kept.take().unwrap();
    }

    fn texts(kept: &Kept) -> (Option<String>, Option<String>) {
        let read = |folder: PathBuf| std::fs::read_to_string(folder.join("t")).ok();
        (read(kept.current()), read(kept.previous()))
    }

    #[test]
    fn the_one_in_force_and_the_one_before_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        for text in ["one", "two", "three"] {
            put(&kept, text);
        }
        assert_eq!(texts(&kept), (Some("three".into()), Some("two".into())));
        kept.swap().unwrap();
        assert_eq!(texts(&kept), (Some("two".into()), Some("three".into())));
    }

    #[test]
    fn what_was_not_taken_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        put(&kept, "one");
        std::fs::write(kept.reading().unwrap().join("t"), "two").unwrap();
        kept.discard();
        kept.discard();
        assert!(!folder.path().join("tables/reading").exists());
        assert_eq!(texts(&kept), (Some("one".into()), None));
    }

    #[test]
    fn a_crash_between_two_renames_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        put(&kept, "one");
        std::fs::rename(kept.current(), kept.previous()).unwrap();
        assert_eq!(texts(&Kept::open(folder.path()).unwrap()), (Some("one".into()), None));
        put(&kept, "two");
        std::fs::rename(kept.current(), folder.path().join("tables/swapping")).unwrap();
        assert_eq!(texts(&Kept::open(folder.path()).unwrap()), (Some("two".into()), Some("one".into())));
    }

    #[test]
    fn what_was_gone_back_from_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        kept.refuse(Some("abc")).unwrap();
        assert_eq!(Kept::open(folder.path()).unwrap().refused().as_deref(), Some("abc"));
        kept.refuse(None).unwrap();
        kept.refuse(None).unwrap();
        assert_eq!(kept.refused(), None);
    }
}

//! The keys of a file, as it was when it was last sound.
//!
//! Never: replaces what works by what cannot be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Keys;
use crate::problem::Problems;

/// A key file and what it holds. Many read, one reloads.
#[derive(Debug)]
pub struct KeyStore {
    path: PathBuf,
    current: ArcSwap<Keys>,
}

/// What reading a key file again came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reread {
    /// It holds other keys now, and they are in force.
    Taken,
    /// It holds what it held.
    Unchanged,
}

impl KeyStore {
    /// Reads the key file at `path`.
    ///
    /// Errors: everything that is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Problems> {
        let current = ArcSwap::from_pointee(Keys::read(path)?);
        Ok(Self { path: path.to_path_buf(), current })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys in force. Cheap: no lock, no count.
    pub fn keys(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.current.load()
    }

    /// Reads the file again.
    ///
    /// Errors: everything that is wrong with it; the keys that were in force stay.
    pub fn reload(&self) -> Result<Reread, Problems> {
        let keys = Keys::read(&self.path)?;
        if keys == **self.keys() {
            return Ok(Reread::Unchanged);
        }
        self.current.store(Arc::new(keys));
        Ok(Reread::Taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_leaves_the_keys_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sign.keys");
        let line = |name: &str| format!("{name} {}=\n", "A".repeat(43));
        std::fs::write(&path, line("one")).unwrap();
        let store = KeyStore::open(&path).unwrap();
        assert_eq!(store.reload(), Ok(Reread::Unchanged));
        std::fs::write(&path, line("two") + &line("one")).unwrap();
        assert_eq!((store.reload(), store.keys().names()), (Ok(Reread::Taken), "two, one".into()));
        for bad in ["", "two words here", "two AAAA"] {
            std::fs::write(&path, bad).unwrap();
            assert!(store.reload().is_err());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(store.reload().is_err());
        assert_eq!(store.keys().names(), "two, one");
    }
}

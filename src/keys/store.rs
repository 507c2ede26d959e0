//! The keys of a file, as it was when it was last sound.
//!
//! Never: replaces what works by what cannot be read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use ring::rand::{SecureRandom, SystemRandom};

use super::{BASE64, Keys, SECRET};
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

    /// Reads the key file at `path`; where there is none, makes one with a key that nobody else has.
    ///
    /// It is there whole or not at all, and readable by its owner alone.
    ///
    /// Errors: everything that is wrong with it, or why it cannot be made.
    pub fn open_or_make(path: &Path) -> Result<Self, Problems> {
        if !path.exists() {
            make(path).map_err(|cause| {
                let mut problems = Problems::of(path);
                let fix = "let the process write there, or name a key file in the settings";
                problems.tell(0, "", format!("cannot be made: {cause}"), fix);
                problems
            })?;
        }
        Self::open(path)
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

/// Writes a key file of one key, beside its place, and moves it there.
fn make(path: &Path) -> io::Result<()> {
    let mut secret = [0; SECRET];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let line = format!("made-here {}\n", BASE64.encode(secret));
    let beside = path.with_extension("new");
    // What a crash left there was never in use.
    match std::fs::remove_file(&beside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
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

    #[test]
    fn keys_are_made_once_and_kept_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin.keys");
        std::fs::write(path.with_extension("new"), "half a li").unwrap();
        let made = KeyStore::open_or_make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.with_extension("new").exists());
        let again = KeyStore::open_or_make(&path).unwrap();
        assert_eq!(**made.keys(), **again.keys(), "the same ones at the next start");
        let other = KeyStore::open_or_make(&folder.path().join("other.keys")).unwrap();
        assert_ne!(**made.keys(), **other.keys(), "nobody else's");
        std::fs::write(&path, "spoiled").unwrap();
        assert!(KeyStore::open_or_make(&path).is_err(), "what is there is never replaced");
        assert_eq!(std::fs::read(&path).unwrap(), b"spoiled");
        assert!(KeyStore::open_or_make(&folder.path().join("no/such/pin.keys")).is_err());
    }
}

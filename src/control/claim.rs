//! Whose the state folder is: one process at a time may write it.
//!
//! ```text
//! state.dir/lock     locked by that process for as long as it lives; holds its number, for people
//! ```
//!
//! The system gives the lock back when its last holder has ended, however it ended. A process that takes another's
//! place is handed the open file, so the folder is never nobody's in between.
//!
//! Never: waits for the lock.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The right to write a state folder, for as long as this is held.
#[derive(Debug)]
pub struct Claim(File);

/// Why there is no claim.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has it.
    #[error("{0} uses it already")]
    Taken(String),
    /// The folder cannot be made, or the lock not be opened.
    #[error(transparent)]
    Unusable(#[from] io::Error),
}

impl Claim {
    /// Claims `dir`, which is made, for its owner alone, if it is missing.
    ///
    /// # Errors
    /// See [`ClaimError`]. Where the file system knows no locks there is a warning, and nobody is kept out.
    pub fn stake(dir: &Path) -> Result<Self, ClaimError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClaimError::Taken(holder(&mut file))),
            Err(TryLockError::Error(cause)) => {
                tracing::warn!("{}: nobody else is kept from the state folder: {cause}", path.display());
            }
        }
        Ok(Self(file).signed())
    }

    /// The claim of a process whose place this one takes; `file` is what [`Claim::as_fd`] was there.
    #[must_use]
    pub fn inherited(file: OwnedFd) -> Self {
        Self(File::from(file))
    }

    /// Writes the number of this process into it.
    #[must_use]
    pub fn signed(mut self) -> Self {
        let number = format!("{}\n", std::process::id());
        let written = self.0.set_len(0).and_then(|()| self.0.rewind());
        // It is for people alone: without it they look themselves.
        let _ = written.and_then(|()| self.0.write_all(number.as_bytes()));
        self
    }
}

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who holds the lock, as far as the file says it.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Whatever cannot be read says nothing.
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(number) => format!("process {number}"),
        Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_and_again_when_its_last_holder_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/state");
        let claim = Claim::stake(&dir).unwrap();
        let told = Claim::stake(&dir).unwrap_err().to_string();
        assert_eq!(told, format!("process {} uses it already", std::process::id()));
        let heir = Claim::inherited(claim.as_fd().try_clone_to_owned().unwrap());
        drop(claim);
        assert!(matches!(Claim::stake(&dir), Err(ClaimError::Taken(_))), "the heir has it now");
        drop(heir);
        Claim::stake(&dir).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_in_the_file_is_no_claim() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lock"), "4294967295 of somebody\n\u{1}\u{2}").unwrap();
        let claim = Claim::stake(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        std::fs::write(folder.path().join("lock"), "nonsense").unwrap();
        assert_eq!(Claim::stake(folder.path()).unwrap_err().to_string(), "another process uses it already");
        drop(claim);
    }

    #[test]
    fn a_folder_that_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(Claim::stake(&folder.path().join("file/state")), Err(ClaimError::Unusable(_))));
    }
}

//! Where the two processes meet: a socket in the state folder, for its owner alone.
//!
//! Never: takes the socket of a process that may still listen there for a leftover. Who binds holds the claim on the
//! folder, so whatever lies there is nobody's.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The socket's name.
pub const NAME: &str = "handover.sock";
/// The same while it is made.
const FRESH: &str = "handover.new";

/// The longest path that a socket's address holds.
const LONGEST: usize = 107;

/// Listens in `dir`, in the place of whatever lies there.
///
/// # Errors
/// The file system takes no sockets, or not from us.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    let fresh = dir.join(FRESH);
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = reach(dir, FRESH, UnixListener::bind)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(fresh, dir.join(NAME))?;
    Ok(listener)
}

/// Connects to whoever listens in `dir`.
///
/// # Errors
/// Nobody does.
pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    reach(dir, NAME, UnixStream::connect)
}

/// Does `work` with the path of `name` in `dir`, by a shorter way where the path is too long for a socket.
fn reach<T>(dir: &Path, name: &str, work: impl Fn(PathBuf) -> io::Result<T>) -> io::Result<T> {
    let path = dir.join(name);
    if path.as_os_str().len() <= LONGEST {
        return work(path);
    }
    let dir = File::open(dir)?;
    work(PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_replaced_and_only_its_owner_may_come() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert_eq!(connect(dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(listen(dir).unwrap());
        assert_eq!(connect(dir).unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "a leftover");
        std::fs::write(dir.join(FRESH), "half made").unwrap();
        let listener = listen(dir).unwrap();
        let mode = std::fs::metadata(dir.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        connect(dir).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn a_folder_far_down_is_reached_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("d".repeat(200));
        std::fs::create_dir(&dir).unwrap();
        let listener = listen(&dir).unwrap();
        connect(&dir).unwrap();
        listener.accept().unwrap();
    }
}

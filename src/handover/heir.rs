//! The new process: asks for what it is to have, says when it is ready, and takes over.
//!
//! It waits in the thread that starts it: there is nothing else for that to do.
//!
//! Never: serves before it may.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::lines::{self, Lines};
use super::{CLAIM, END, GO, HELLO, NO, READY, SERVING, SOCKET, place};

/// The longest that the old process may take to answer. It may be reading a large table, which it ends first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing is handed over. In each case the old process, if there is one, serves on.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Nobody listens.
    #[error(
        "no process is there to take over from: nobody answers at {path} ({cause}); start without --upgrade"
    )]
    Nobody {
        /// The socket.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The old process says why.
    #[error("the running process does not hand over: {0}")]
    Refused(String),
    /// It does not speak as it should.
    #[error("the running process does not hand over: it does not speak as this version does ({0:?})")]
    Odd(String),
    /// The connection failed, or nothing came for too long.
    #[error("the running process does not hand over: {0}")]
    Broken(#[from] io::Error),
}

/// What was handed over, apart from the claim.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// The socket that the old process listened on for this address of its settings, if it did; once.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(known, _)| *known == address)?;
        Some(self.sockets.swap_remove(at).1)
    }
}

/// The process whose place this one takes. When this is dropped before [`Predecessor::serving`], it serves on.
pub struct Predecessor {
    stream: UnixStream,
    lines: Lines,
}

/// Asks the process that runs with the state folder `dir` for its sockets and its claim.
///
/// # Errors
/// See [`HandoverError`].
pub fn ask(dir: &Path) -> Result<(Inherited, OwnedFd, Predecessor), HandoverError> {
    let path = dir.join(place::NAME).display().to_string();
    let stream = place::connect(dir).map_err(|cause| HandoverError::Nobody { path, cause })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut predecessor = Predecessor { stream, lines: Lines::default() };
    predecessor.say(HELLO);
    let (mut inherited, mut claim) = (Inherited::default(), None);
    loop {
        let line = predecessor.line()?;
        let mut descriptor = || predecessor.lines.descriptor().ok_or(HandoverError::Odd(line.clone()));
        if let Some(address) = line.strip_prefix(SOCKET) {
            let address = address.parse().map_err(|_| HandoverError::Odd(line.clone()))?;
            inherited.sockets.push((address, TcpListener::from(descriptor()?)));
        } else if line == CLAIM {
            claim = Some(descriptor()?);
        } else if line == END {
            break;
        } else {
            return Err(HandoverError::Odd(line));
        }
    }
    let claim = claim.ok_or_else(|| HandoverError::Odd("no claim".to_owned()))?;
    Ok((inherited, claim, predecessor))
}

impl Predecessor {
    /// Says that this process could serve, and waits until it may. Where the old one has ended meanwhile, it may too.
    ///
    /// # Errors
    /// The old process has changed its mind, or says nothing.
    pub fn ready(&mut self) -> Result<(), HandoverError> {
        self.say(READY);
        match self.line() {
            Ok(line) if line == GO => Ok(()),
            Ok(line) => Err(HandoverError::Odd(line)),
            Err(HandoverError::Broken(cause)) if is_end(&cause) => {
                tracing::warn!("the process to take over from has ended already; this one goes on alone");
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// Says that this process accepts: the old one stops accepting, and ends after its last request.
    pub fn serving(self) {
        if let Err(cause) = lines::send(&self.stream, SERVING, None) {
            tracing::warn!("the process that was taken over from does not hear it: {cause}");
        }
    }

    /// Whether it is heard, the next line shows: who will not hear may have said why.
    fn say(&self, line: &str) {
        let _ = lines::send(&self.stream, line, None);
    }

    /// The next line.
    fn line(&mut self) -> Result<String, HandoverError> {
        loop {
            if let Some(line) = self.lines.next() {
                return match line.strip_prefix(NO) {
                    Some(why) => Err(HandoverError::Refused(why.to_owned())),
                    None => Ok(line),
                };
            }
            match self.lines.read(&self.stream) {
                Ok(true) => {}
                Ok(false) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                    let what = format!("it says nothing for {} s", PATIENCE.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what).into());
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }
}

/// Whether the other end is gone.
fn is_end(cause: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(cause.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

//! The old process: hands over to one new process at a time, and learns how that ended.
//!
//! Never: stops serving before the new one serves; goes on writing while the new one may.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::lines::{self, Lines};
use super::{CLAIM, END, GO, HELLO, NO, READY, SERVING, SOCKET, place};
use crate::control::hold::Hold;
use crate::telemetry::Recorder;

/// The longest that a new process may take for a single step: from being told to go to serving, or to leave.
const ONE_STEP: Duration = Duration::from_secs(3);

/// How long to wait when the system has no room for a further connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// What is handed over. Dropped, it is nobody's: the listening sockets are closed with their last holder.
pub struct Estate {
    /// The listening sockets, by the address that the settings name.
    pub sockets: Vec<(SocketAddr, TcpListener)>,
    /// The claim on the state folder.
    pub claim: OwnedFd,
}

/// Where new processes ask.
pub struct Host {
    dir: PathBuf,
    listener: UnixListener,
    /// Who keeps the steward's hands off the state folder.
    hold: Hold,
    /// The longest from a new process's first word to its being ready.
    patience: Duration,
    /// Where it is counted.
    recorder: Recorder,
}

/// How an upgrade did not come about.
enum Failed {
    /// It was not begun: the asker may not, or does not know how to ask.
    Refused(String),
    /// The new process ended.
    Ended,
    /// It did not get ready, or did not go on, in time.
    TimedOut,
}

impl From<io::Error> for Failed {
    /// Whatever breaks the connection, the other side is gone.
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

impl Host {
    /// Listens in the state folder `dir`, within a runtime. The claim on the folder has to be held.
    ///
    /// # Errors
    /// The file system takes no sockets, or not from us.
    pub fn open(dir: &Path, hold: Hold, patience: Duration, recorder: Recorder) -> io::Result<Self> {
        Ok(Self { dir: dir.to_path_buf(), listener: listen(dir)?, hold, patience, recorder })
    }

    /// Waits until a new process serves in the place of this one.
    ///
    /// Dropped before that, a new process that is about to take over goes on alone, and the steward's hands stay off.
    pub async fn hand_over(self, estate: &Estate) {
        let mut under_way = pin!(None);
        let mut again = None;
        loop {
            let ended = async {
                match under_way.as_mut().as_pin_mut() {
                    Some(upgrade) => upgrade.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                accepted = again.as_ref().unwrap_or(&self.listener).accept() => match accepted {
                    Ok((stream, _)) if under_way.is_some() => {
                        self.recorder.upgrade("refused");
                        refuse(&stream, "another process is about to take over already").await;
                    }
                    Ok((stream, _)) => under_way.set(Some(self.one(stream, estate))),
                    Err(cause) => {
                        tracing::warn!(%cause, "no process can ask to take over");
                        tokio::time::sleep(NO_ROOM).await;
                    }
                },
                served = ended => {
                    under_way.set(None);
                    if served {
                        return;
                    }
                    // The new one may have got as far as listening there itself.
                    match listen(&self.dir) {
                        Ok(listener) => again = Some(listener),
                        Err(cause) => tracing::warn!(%cause, "no further process can ask to take over"),
                    }
                }
            }
        }
    }

    /// Hands over to whoever asks on `stream`; true once it serves.
    async fn one(&self, stream: UnixStream, estate: &Estate) -> bool {
        let number = stream.peer_cred().ok().and_then(|asker| asker.pid()).unwrap_or_default();
        // Its number may be another's by the time it is needed; the handle stays its own.
        let process = Pid::from_raw(number).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let mut begun = false;
        let failed = match self.steps(&stream, estate, &mut begun).await {
            Ok(()) => {
                tracing::info!("process {number} serves now; this one ends after its last request");
                self.recorder.upgrade("handed_over");
                return true;
            }
            Err(failed) => failed,
        };
        match &failed {
            Failed::Refused(why) => {
                tracing::warn!("process {number} may not take over: {why}");
                self.recorder.upgrade("refused");
                refuse(&stream, why).await;
            }
            Failed::Ended => {
                tracing::error!(
                    "the upgrade failed: process {number} ended before it served; this one goes on"
                );
                self.recorder.upgrade("failed");
            }
            Failed::TimedOut => {
                tracing::error!(
                    "the upgrade failed: process {number} did not serve in time; this one goes on"
                );
                self.recorder.upgrade("timed_out");
                refuse(&stream, "it took too long to get ready").await;
            }
        }
        if begun {
            see_off(&stream, process.as_ref(), number).await;
            self.hold.release();
        }
        false
    }

    /// - `begun`: set once the new process may hold what is handed over.
    async fn steps(&self, stream: &UnixStream, estate: &Estate, begun: &mut bool) -> Result<(), Failed> {
        let mut lines = Lines::default();
        let ready = async {
            let asker = stream.peer_cred()?;
            if asker.uid() != geteuid().as_raw() {
                return Err(Failed::Refused("it belongs to another user".to_owned()));
            }
            let hello = next(stream, &mut lines).await?;
            if hello != HELLO {
                return Err(Failed::Refused(format!("it does not speak as this version does ({hello:?})")));
            }
            *begun = true;
            self.hold.take().await;
            for (address, socket) in &estate.sockets {
                say(stream, &format!("{SOCKET}{address}"), Some(socket)).await?;
            }
            say(stream, CLAIM, Some(&estate.claim)).await?;
            say(stream, END, None::<&OwnedFd>).await?;
            expect(stream, &mut lines, READY).await
        };
        timeout(self.patience, ready).await.map_err(|_| Failed::TimedOut)??;
        let serving = async {
            say(stream, GO, None::<&OwnedFd>).await?;
            expect(stream, &mut lines, SERVING).await
        };
        timeout(ONE_STEP, serving).await.map_err(|_| Failed::TimedOut)?
    }
}

fn listen(dir: &Path) -> io::Result<UnixListener> {
    let listener = place::listen(dir)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

async fn say(stream: &UnixStream, line: &str, with: Option<&impl AsFd>) -> io::Result<()> {
    let send = || lines::send(stream, line, with.map(AsFd::as_fd));
    stream.async_io(Interest::WRITABLE, send).await
}

/// Says no; whether it is heard is the other side's business.
async fn refuse(stream: &UnixStream, why: &str) {
    let no = format!("{NO}{why}");
    let _ = timeout(ONE_STEP, say(stream, &no, None::<&OwnedFd>)).await;
}

/// The next line.
async fn next(stream: &UnixStream, lines: &mut Lines) -> io::Result<String> {
    loop {
        if let Some(line) = lines.next() {
            return Ok(line);
        }
        if !stream.async_io(Interest::READABLE, || lines.read(stream)).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn expect(stream: &UnixStream, lines: &mut Lines, wanted: &str) -> Result<(), Failed> {
    let line = next(stream, lines).await?;
    if line == wanted {
        Ok(())
    } else {
        Err(Failed::Refused(format!("it does not speak as this version does ({line:?})")))
    }
}

/// Waits until the new process has ended, and sees to it where it does not: it holds the claim and the sockets.
async fn see_off(stream: &UnixStream, process: Option<&OwnedFd>, number: i32) {
    if timeout(ONE_STEP, end(stream)).await.is_ok() {
        return;
    }
    match process.map(|process| pidfd_send_signal(process, Signal::KILL)) {
        Some(Ok(())) => tracing::error!("process {number} hung, and was killed"),
        _ => tracing::error!("process {number} hangs, and cannot be killed: end it by hand"),
    }
    let _ = timeout(ONE_STEP, end(stream)).await;
}

/// Waits until the other side has ended.
async fn end(stream: &UnixStream) {
    let mut lines = Lines::default();
    while next(stream, &mut lines).await.is_ok() {}
}

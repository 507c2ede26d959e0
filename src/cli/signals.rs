//! What signals ask of an edge: SIGTERM and SIGINT to stop, SIGHUP to read files again, SIGUSR1 to open the access
//! log anew, as programs that rotate logs send it to other servers. SIGUSR2 and SIGALRM ask for nothing.
//!
//! Never: dies of a signal that it could heed. Who sends SIGINT again, a second later, does not want to wait for
//! requests under way: the process ends at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stop::Stop;
use crate::telemetry::Recorder;

/// One Ctrl-C may come twice: from the terminal, and passed on by whoever started the process.
const ONE_INTERRUPT: Duration = Duration::from_secs(1);

/// The exit code of a process that SIGINT ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// The signals that an edge heeds, taken from the system.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    first_user: Signal,
    /// Those that would end the process if nobody took them.
    stray: [Signal; 2],
}

impl Signals {
    /// Takes them, within a runtime.
    ///
    /// # Errors
    /// The system does not give them.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            first_user: signal(SignalKind::user_defined1())?,
            stray: [signal(SignalKind::user_defined2())?, signal(SignalKind::alarm())?],
        })
    }

    /// Heeds them for as long as the process lives.
    ///
    /// - `secrets`: reads keys and tokens again.
    pub async fn heed(
        mut self,
        stop: Stop,
        reload: mpsc::Sender<()>,
        certificates: mpsc::Sender<()>,
        secrets: impl Fn() + Send,
        recorder: Recorder,
    ) {
        let mut interrupted: Option<Instant> = None;
        let [second_user, alarm] = &mut self.stray;
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => stop.ask(),
                Some(()) = self.interrupt.recv() => {
                    if interrupted.is_some_and(|first| first.elapsed() > ONE_INTERRUPT) {
                        std::process::exit(INTERRUPTED);
                    }
                    interrupted.get_or_insert_with(Instant::now);
                    stop.ask();
                }
                Some(()) = self.hang_up.recv() => {
                    // A reload that waits already serves this signal too.
                    let _ = reload.try_send(());
                    recorder.reopen_access_log();
                    let _ = certificates.try_send(());
                    secrets();
                }
                Some(()) = self.first_user.recv() => recorder.reopen_access_log(),
                Some(()) = second_user.recv() => tracing::info!("SIGUSR2 asks for nothing here"),
                Some(()) = alarm.recv() => tracing::info!("SIGALRM asks for nothing here"),
                else => return,
            }
        }
    }
}

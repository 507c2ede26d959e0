//! What signals ask of an edge: SIGTERM and SIGINT to stop, SIGHUP to read files again.
//!
//! Never: dies of a signal that it could heed. A second SIGINT ends the process at once.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::stop::Stop;
use crate::proxy::tls::CertificateStore;
use crate::telemetry::Recorder;

/// The exit code of a process that SIGINT ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// The signals that an edge heeds, taken from the system.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
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
        })
    }

    /// Heeds them for as long as the process lives.
    pub async fn heed(
        mut self,
        stop: Stop,
        reload: mpsc::Sender<()>,
        certificates: Vec<Arc<CertificateStore>>,
        recorder: Recorder,
    ) {
        let mut interrupted = false;
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => stop.ask(),
                Some(()) = self.interrupt.recv() => {
                    if interrupted {
                        std::process::exit(INTERRUPTED);
                    }
                    interrupted = true;
                    stop.ask();
                }
                Some(()) = self.hang_up.recv() => {
                    // A reload that waits already serves this signal too.
                    let _ = reload.try_send(());
                    recorder.reopen_access_log();
                    for told in certificates.iter().filter_map(|store| store.reload().err()).flatten() {
                        tracing::error!("a certificate was not taken, the old one stays: {told}");
                    }
                }
                else => return,
            }
        }
    }
}

//! The process's own log: to standard error, by a thread of its own.

use std::io::{self, Write};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Level;
use crate::telemetry::lines::Lines;
use crate::telemetry::recorder::Recorder;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its thread cannot be started.
    #[error("the log cannot start its writer")]
    Writer(#[source] io::Error),
    /// The process logs elsewhere already.
    #[error("the process has a log already")]
    Taken(#[source] tracing_subscriber::util::TryInitError),
}

/// What others log at `info` says nothing that the access log and the metrics do not say better. Pingora's connectors
/// call it an error that a kept connection was closed just as it was to be used again, which happens and harms nobody.
const QUIET: &str = "hyper=warn,h2=warn,rustls=warn,hickory_resolver=error,hickory_proto=error,notify=warn,\
                     pingora=error,pingora_core=error,pingora_core::connectors=off,pingora_proxy=error,pingora_pool=error";

/// Logs what is at least as grave as `level`; lines that are dropped are counted by `recorder`.
///
/// - `debug` and `trace` let the libraries speak as well.
/// - Returns the lines, so that the end of the process can wait for those on their way.
///
/// # Errors
/// See [`LogError`]; nothing is logged then.
pub fn log_to_stderr(level: Level, recorder: &Recorder) -> Result<Lines, LogError> {
    let lines = Lines::start("log", Box::new(|| Ok(Box::new(io::stderr()))), recorder.log_lost())
        .map_err(LogError::Writer)?;
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    subscriber(level, ansi, lines.clone()).try_init().map_err(LogError::Taken).inspect_err(|_| {
        lines.close(Duration::ZERO);
    })?;
    Ok(lines)
}

fn subscriber(level: Level, ansi: bool, lines: Lines) -> impl Subscriber + Send + Sync {
    let filter = match level {
        Level::Debug | Level::Trace => EnvFilter::new(level.word()),
        Level::Error | Level::Warn | Level::Info => EnvFilter::new(format!("{},{QUIET}", level.word())),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(Handed(lines)).finish()
}

/// Hands each event over as one line.
struct Handed(Lines);

struct Event<'a> {
    line: Vec<u8>,
    lines: &'a Lines,
}

impl<'a> MakeWriter<'a> for Handed {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { line: Vec::with_capacity(128), lines: &self.0 }
    }
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.lines.push(std::mem::take(&mut self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_grave_enough_is_one_line_and_a_hostile_value_stays_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let to = path.clone();
        let lost = prometheus::IntCounter::new("lost", "lost").unwrap();
        let lines = Lines::start("test", Box::new(move || Ok(Box::new(File::create(&to)?))), lost).unwrap();
        tracing::subscriber::with_default(subscriber(Level::Info, false, lines.clone()), || {
            tracing::info!(file = "routing.toml", "taken");
            tracing::debug!("too small");
            tracing::info!(target: "hyper", "a library's chatter");
            tracing::warn!(said = "a\n2026 ERROR forged\u{1b}[2J", "odd");
        });
        assert!(lines.close(Duration::from_secs(30)));
        let written = std::fs::read_to_string(path).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines.len(), 2, "{written}");
        assert!(lines[0].contains(" INFO ") && lines[0].contains("taken"), "{written}");
        assert!(lines[1].contains(" WARN ") && !written.contains('\u{1b}'), "{written}");
    }
}

//! Metrics, access log, tracing: what Rhumb says of itself.
//!
//! Decisions and outcomes travel as values, and one place, the [`Recorder`], counts and logs them.
//!
//! Never: keeps a request waiting, or lets a client choose a label. A line for which there is no room is dropped and
//! counted; labels are names of the table or codes of closed lists.

/// One JSON object a request.
mod access_log;
/// Until when certificates last.
mod certificates;
/// What is known of a request once it has ended.
mod finished;
/// A small world that tests share.
#[cfg(test)]
pub(crate) mod fixture;
/// Lines that are written by a thread of their own.
mod lines;
/// Every metric: its name, what it says, its labels.
pub mod metrics;
/// Where everything is counted and logged.
mod recorder;
/// Handles of metrics, looked up once for each table.
mod series;
/// The gauges that follow the snapshot.
mod state;
/// Spans of recorded requests.
mod traces;
/// The process's own log.
mod tracing;

pub(crate) use access_log::Time;
pub use certificates::CertificateEnd;
pub use finished::Finished;
pub use lines::Lines;
pub use recorder::{BufferedBytes, ConnectionGuard, Recorder};
pub use traces::{Attempted, Exporter, Origin, Sampling, Traced};
pub use tracing::{LogError, log_to_stderr};

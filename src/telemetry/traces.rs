//! Traces: the spans of recorded requests, handed over by requests and sent to an OTLP collector by a task of its own.
//!
//! Why not OpenTelemetry's own SDK: its tracer draws ids and its processor drops spans by itself, so that edges could
//! not agree on a trace and nobody could count what was lost. What goes over the wire is written down in [`wire`], and
//! the tests read it with OpenTelemetry's own messages.
//!
//! Never: keeps a request waiting, wakes anybody from its path, holds a table alive, or takes more memory than its
//! queue has room for.

/// The task that sends.
mod exporter;
/// Which traces are recorded.
mod sampling;
/// What a recorded request is said to have been.
mod span;
/// The messages of OTLP.
mod wire;

use prometheus::IntCounterVec;
use tokio::sync::mpsc::{self, Receiver, Sender};

pub use exporter::{Exporter, Origin};
pub use sampling::Sampling;
pub use span::{Attempted, Traced};

use crate::settings::Collector;
use crate::telemetry::finished::Finished;
use span::Record;

/// Recorded requests that wait at most: each of some two kilobytes, and never more than thirty.
const ROOM: usize = 2_048;

/// Where recorded requests are handed over.
pub(super) struct Traces {
    queue: Sender<Record>,
    zone: Option<Box<str>>,
    outcomes: Outcomes,
}

/// What becomes of a recorded request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// The collector took it.
    Exported,
    /// There was no room.
    Dropped,
    /// The collector will not take it, in whole or in part.
    Refused,
    /// The collector was not reached, or had no room, several times over.
    Failed,
    /// The process ended first.
    Unsent,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Exported, Self::Dropped, Self::Refused, Self::Failed, Self::Unsent];

    const fn code(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unsent => "unsent",
        }
    }
}

/// Counts them; every recorded request becomes one of them.
#[derive(Clone)]
struct Outcomes(IntCounterVec);

impl Outcomes {
    fn of(traces: &IntCounterVec) -> Self {
        let outcomes = Self(traces.clone());
        // All are shown from the beginning, so that a first loss is a rise.
        Outcome::ALL.into_iter().for_each(|outcome| outcomes.count(outcome, 0));
        outcomes
    }

    fn count(&self, outcome: Outcome, requests: u64) {
        if let Ok(counter) = self.0.get_metric_with_label_values(&[outcome.code()]) {
            counter.inc_by(requests);
        }
    }
}

impl Traces {
    /// Where to hand over, and what sends it on to `to`; `traces` counts what becomes of it.
    pub fn to(to: Collector, origin: Origin, traces: &IntCounterVec) -> (Self, Exporter) {
        Self::with_room(to, origin, traces, ROOM)
    }

    fn with_room(to: Collector, origin: Origin, traces: &IntCounterVec, room: usize) -> (Self, Exporter) {
        let (queue, records): (Sender<Record>, Receiver<Record>) = mpsc::channel(room);
        let outcomes = Outcomes::of(traces);
        let zone = origin.zone.clone();
        let exporter = Exporter::new(records, to, origin, outcomes.clone());
        (Self { queue, zone, outcomes }, exporter)
    }

    /// Hands over a request that is recorded; drops and counts it where there is no room.
    pub fn push(&self, finished: &Finished<'_>, traced: &Traced<'_>) {
        match self.queue.try_reserve() {
            // Nobody waits on the other side, so nobody is woken.
            Ok(place) => place.send(Record::of(finished, traced, self.zone.as_deref())),
            Err(_) => self.outcomes.count(Outcome::Dropped, 1),
        }
    }
}

#[cfg(test)]
mod tests;

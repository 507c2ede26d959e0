//! The place of a request in a trace: what came with it, whether it is recorded, and its attempts at regions.
//!
//! By the W3C's rules. A client's word is kept: its trace goes on, recorded where it records it. Where it said nothing
//! that holds, a trace begins here, and its id tells whether it is recorded. Who does not record is not in the trace:
//! the region then hangs on to whatever the client named.
//!
//! Never: costs anything where nothing is recorded but the trace's own header.

use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::proxy::chance;
use crate::proxy::headers::trace::{TraceParent, trace_state};
use crate::proxy::retry::Failure;
use crate::proxy::state::{CurrentAttempt, RequestState};
use crate::telemetry::{Attempted, Sampling};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Attempts that are told of at most.
const MOST_ATTEMPTS: usize = 16;

/// What is kept of a request that is recorded.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// The span that it belongs to; `None`: the trace began here.
    pub parent: Option<u64>,
    /// The `tracestate` that came with it; empty: none that holds.
    pub state: String,
    /// Its attempts so far.
    pub attempts: Vec<Attempted>,
}

/// Where a request stands in its trace.
pub(super) struct Entered {
    /// Its own span if it is recorded, else what its region shall hang on to.
    pub trace: TraceParent,
    /// `None`: it is not recorded.
    pub spans: Option<Box<Spans>>,
    /// Whether its `tracestate` says nothing that holds, and is not passed on.
    pub drops_state: bool,
}

/// Finds it. `sampling`: which traces that begin here are recorded; `None`: nothing is, whoever began it.
pub(super) fn enter(headers: &HeaderMap, sampling: Option<Sampling>) -> Entered {
    let parent = parent(headers);
    let trace = parent.unwrap_or_else(|| TraceParent::begun(chance::draw_wide(), chance::draw(), false));
    let recorded = match (sampling, parent) {
        (None, _) => false,
        (Some(_), Some(parent)) => parent.sampled,
        (Some(sampling), None) => sampling.takes(trace.trace),
    };
    if !recorded {
        // As it came, or not at all: to change one of the two fields alone would be to lie.
        let drops_state = parent.is_none() && headers.contains_key(TRACESTATE);
        return Entered { trace, spans: None, drops_state };
    }
    let fields = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    let state = parent.and_then(|_| trace_state(fields));
    let drops_state = state.is_none() && headers.contains_key(TRACESTATE);
    let own = match parent {
        Some(parent) => parent.continued(chance::draw()),
        None => TraceParent { sampled: true, ..trace },
    };
    let spans = Spans {
        parent: parent.map(|parent| parent.span),
        state: state.unwrap_or_default(),
        attempts: Vec::new(),
    };
    Entered { trace: own, spans: Some(Box::new(spans)), drops_state }
}

/// The client's, if there is exactly one and it is valid.
fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let first = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    TraceParent::read(first.as_bytes())
}

impl Spans {
    /// An attempt begins.
    pub fn begin(&mut self, attempt: &CurrentAttempt) {
        if self.attempts.len() < MOST_ATTEMPTS {
            self.attempts.push(Attempted {
                span: chance::draw().max(1),
                region: attempt.region,
                endpoint: attempt.endpoint,
                address: attempt.address,
                began: attempt.began,
                ended: None,
                status: None,
                failure: None,
            });
        }
    }

    /// The attempt at hand was answered.
    pub fn answered(&mut self, status: u16) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = Some(status);
        }
    }

    /// The attempt at hand failed at `now`.
    pub fn failed(&mut self, failure: Failure, now: Duration) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended = Some(now);
            attempt.failure = failure.told();
            if let Failure::Status(status) = failure {
                attempt.status = Some(status);
            }
        }
    }
}

impl RequestState {
    /// The `traceparent` of the attempt at hand.
    pub(super) fn trace_onward(&self) -> TraceParent {
        let attempt = self.spans.as_ref().and_then(|spans| spans.attempts.last());
        attempt.map_or(self.trace, |attempt| TraceParent { span: attempt.span, ..self.trace })
    }
}

#[cfg(test)]
mod tests;

//! Rhumb as Pingora knows it: what all requests share, and the steps of one that need no Pingora phase.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};
use rhumb_decision::reason::Refusal;
use rhumb_decision::units::Key;
use rhumb_decision::{Decision, decide};

use crate::control::clock::Clock;
use crate::control::news::Newsdesk;
use crate::control::outcome::Outcomes;
use crate::control::snapshot::Reader;
use crate::keys::KeyStore;
use crate::proxy::broken;
use crate::proxy::chance;
use crate::proxy::country::Countries;
use crate::proxy::facts;
use crate::proxy::gateway::{self, Gateway};
use crate::proxy::grpc;
use crate::proxy::headers::trace::RequestId;
use crate::proxy::headers::{StripRules, to_strip, via};
use crate::proxy::held::Holds;
use crate::proxy::onward::X_REQUEST_ID;
use crate::proxy::prepared::Cache;
use crate::proxy::repeats::Repeats;
use crate::proxy::state::RequestState;
use crate::proxy::traced::{self, Entered, TRACESTATE};
use crate::settings::{Edge, Limits};
use crate::telemetry::{Finished, Recorder, Sampling, Traced};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What all requests share.
pub(crate) struct Rhumb {
    pub(super) reader: Reader,
    pub(super) clock: Clock,
    pub(super) recorder: Recorder,
    pub(super) outcomes: Outcomes,
    pub(super) cache: Cache,
    pub(super) edge: Edge,
    /// Its entry in `Via`.
    pub(super) via: HeaderValue,
    pub(super) limits: Limits,
    pub(super) proxies: Box<[IpNet]>,
    pub(super) countries: Countries,
    /// What makes this process a gateway; `None`: it is an edge.
    pub(super) gateway: Option<Gateway>,
    /// Where ownership is told of that is newer than what is known here.
    pub(super) newsdesk: Newsdesk,
    /// What signs requests; `None`: nothing does.
    pub(super) signing: Option<Arc<KeyStore>>,
    /// What signs pins; `None`: there are none.
    pub(super) pins: Option<Arc<KeyStore>>,
    /// Where writes with a key were sent before.
    pub(super) repeats: Repeats,
    /// Which traces that begin here are recorded; `None`: nothing is recorded.
    pub(super) sampling: Option<Sampling>,
    pub(super) closing: Arc<AtomicBool>,
    /// Writes that wait for their tenant's ownership.
    pub(super) holds: Arc<Holds>,
}

impl Rhumb {
    /// Whether the process is about to stop.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Sets how long this session may stall.
    pub(super) fn set_limits(&self, session: &mut Session, state: &RequestState) {
        let idle = self.limits.idle_timeout;
        let line = state.arrived.as_ref().map(|arrived| &arrived.line);
        if let Some(line) = line.filter(|_| self.is_closing()) {
            line.set_last();
        }
        if line.is_some_and(|line| line.is_last()) {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(idle.as_secs().max(1)));
        }
        session.set_read_timeout(Some(idle));
        // What a client of HTTP/1 takes is measured where it is written: a time for each write would be another measure.
        let each_write = session.is_custom().then_some(idle);
        session.set_write_timeout(each_write);
        session.set_total_drain_timeout(Some(idle));
    }

    /// Reads what the head says of client, trace and id; finds what has to come off; looks for a loop.
    ///
    /// # Errors
    /// Why the request is refused before anything is decided.
    pub(super) fn prepare(&self, session: &Session, state: &mut RequestState) -> Result<(), Refusal> {
        let headers = &session.req_header().headers;
        let id = headers.get(X_REQUEST_ID).map(HeaderValue::as_bytes);
        if id.is_some() {
            state.id = RequestId::kept_or_made(id, chance::draw_wide());
        }
        let Entered { trace, spans, drops_state } = traced::enter(headers, self.sampling);
        (state.trace, state.spans) = (trace, spans);
        state.from_edge = self.proven(session.req_header(), state)?;
        let is_from_edge = state.from_edge.is_some();
        let arrived = state.arrived.as_ref().ok_or(Refusal::BadRequest)?;
        let asked = facts::host(headers, arrived);
        // The connection of an edge is for every host.
        if !is_from_edge && arrived.identity.as_ref().is_some_and(|identity| identity.is_misdirected(asked)) {
            return Err(Refusal::Misdirected);
        }
        let drawn = &mut state.facts;
        let is_proxy = !arrived.relayed && facts::is_trusted(&self.proxies, arrived.peer.ip());
        drawn.trusted = is_from_edge || is_proxy;
        let believed: &[IpNet] = if drawn.trusted { &self.proxies } else { &[] };
        let client = facts::client(headers, arrived.peer, is_from_edge, believed);
        drawn.client = Some(client);
        drawn.chance = Key(chance::draw());
        drawn.hour = self.clock.hour();
        drawn.strong = facts::strong(headers);
        drawn.idempotency_key = facts::has_idempotency_key(headers);
        if state.prepared.by_session {
            drawn.session = facts::session(headers, state.current.table().tenancy(), client);
        }
        if state.prepared.by_country {
            drawn.country = self.countries.of(headers, drawn.trusted, client);
        }
        let rules = StripRules {
            expected: if is_from_edge { &gateway::EXPECTED } else { &state.prepared.tenant_headers },
            also: if drawn.trusted { &[] } else { self.countries.header() },
        };
        let strip = to_strip(headers, &rules);
        for (header, times) in strip.spoofed.iter() {
            self.recorder.spoofed(header, u64::from(times));
        }
        state.strip = strip.remove;
        if drops_state {
            state.strip.push(TRACESTATE);
        }
        self.read_pins(headers, state);
        let passed = headers.get_all(header::VIA).iter().map(HeaderValue::as_bytes);
        let cdn = headers.get_all(CDN_LOOP).iter().map(HeaderValue::as_bytes);
        via::check_loop(passed, cdn, self.edge.id.as_str()).map_err(|via::Looped| Refusal::Loop)?;
        Ok(())
    }

    /// Decides where the request goes now; `None` where it cannot even be asked about.
    pub(super) fn decide(&self, request: &RequestHeader, state: &RequestState) -> Option<Decision> {
        if self.gateway.is_some() {
            return self.gated(request, state).map(|(decision, _)| decision);
        }
        let arrived = state.arrived.as_deref()?;
        let tenants = facts::tenant_names(&request.headers, &state.prepared.tenant_headers).ok()?;
        let here = (state.prepared.source, self.edge.zone.as_ref().map(|zone| zone.as_str()));
        let decision = decide(&facts::facts(request, arrived, state, &tenants, here), &state.current);
        Some(self.heeding(decision, state))
    }

    /// Sets when the request has to be over: by its policy, and where it is a gRPC call by what its client says.
    ///
    /// # Errors
    /// What its client says makes no sense.
    pub(super) fn set_deadline(
        &self,
        headers: &HeaderMap,
        state: &mut RequestState,
        decision: Option<&Decision>,
    ) -> Result<(), Refusal> {
        let policy = decision.and_then(|decision| state.current.table().policy(decision.policy));
        let timeout = policy.and_then(|policy| policy.timeout).map(|timeout| timeout.duration());
        let own = if state.grpc { grpc::timeout(headers)? } else { None };
        let own = own.into_iter().chain(self.left_by_edge(state)).min();
        let began = state.arrived.as_ref().map_or(Duration::ZERO, |arrived| arrived.began);
        if policy.is_some_and(|policy| policy.timeout.is_none())
            && let Some(arrived) = &state.arrived
        {
            arrived.owed.drops(); // a stream has its own pace
        }
        let timeout = timeout.into_iter().chain(own).min();
        state.deadline = timeout.map(|timeout| began.saturating_add(timeout));
        Ok(())
    }

    /// The region has agreed on another protocol: what was said of a request's time and size no longer holds, and the
    /// client's connection moves all that still comes.
    ///
    /// # Errors
    /// The region has not agreed in a way that anybody else would understand.
    pub(super) fn open_tunnel(&self, session: &mut Session, state: &mut RequestState) -> pingora::Result<()> {
        let line = state.arrived.as_ref().map(|arrived| &arrived.line);
        if !line.is_some_and(|line| line.open_tunnel(self.limits.tunnel_idle_timeout)) {
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        state.tunnel = true;
        state.deadline = None;
        if let Some(arrived) = &state.arrived {
            arrived.line.end_in(None);
            arrived.owed.nothing();
        }
        // A tunnel's silence is measured where it moves.
        session.set_read_timeout(None);
        Ok(())
    }

    /// Whether the client waits for nothing any more because its request is late.
    pub(super) fn gave_up_late(&self, error: &Error, state: &RequestState) -> bool {
        *error.esource() == ErrorSource::Downstream
            && *error.etype() == ErrorType::ReadError
            && state.is_late(self.clock.elapsed())
    }

    /// What a failure of Pingora's means to the client; `None` where nobody is left to tell.
    pub(super) fn refusal_for(&self, error: &Error, state: &RequestState) -> Option<Refusal> {
        match (error.esource(), error.etype()) {
            _ if state.tunnel => None,
            _ if self.gave_up_late(error, state) => Some(Refusal::Deadline),
            (_, ErrorType::ReadTimedout) if state.is_late(self.clock.elapsed()) => Some(Refusal::Deadline),
            _ if stalled(error) == Some(REQUEST_STALLED) => Some(Refusal::RequestTimeout),
            (ErrorSource::Downstream, ErrorType::WriteError | ErrorType::WriteTimedout) => None,
            (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::ConnectionClosed) => None,
            // It spoke on after its request, which may have been carried out by now: no answer would be true.
            (ErrorSource::Downstream, ErrorType::ConnectError) => None,
            (ErrorSource::Downstream, _) => Some(Refusal::BadRequest),
            (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Some(Refusal::Deadline),
            _ if broken::is_silence(error) => Some(Refusal::Deadline),
            _ => Some(Refusal::UpstreamFailed),
        }
    }

    /// Tells the recorder that a request is over; `status`: what the client got, or 0.
    pub(super) fn finished(&self, session: &Session, state: &RequestState, status: u16) {
        let now = self.clock.elapsed();
        let request = session.req_header();
        let host = state.arrived.as_deref().map_or("", |arrived| facts::host(&request.headers, arrived));
        let began = state.arrived.as_ref().map_or(now, |arrived| arrived.began);
        let identity = state.arrived.as_ref().and_then(|arrived| arrived.identity.as_ref());
        let trace = TraceId::of(state.trace.trace);
        let tunnel = state.arrived.as_ref().map(|arrived| arrived.line.carried()).filter(|_| state.tunnel);
        let (up, down) = tunnel.map_or((0, 0), |carried| (carried.to_region(), carried.to_client()));
        self.recorder.request_finished(&Finished {
            snapshot: &state.current,
            decision: state.decision.as_ref(),
            refusal: state.refusal,
            source: self.source(state),
            status,
            attempts: state.attempts,
            duration: now.saturating_sub(began),
            region_duration: state.region_took,
            request_bytes: (session.body_bytes_read() as u64).saturating_add(up),
            response_bytes: (session.body_bytes_sent() as u64).saturating_add(down),
            client: state.facts.client,
            client_identity: identity.and_then(|identity| identity.name()),
            edge: state.from_edge.as_ref().map(|edge| &*edge.name),
            method: request.method.as_str(),
            host,
            path: request.uri.path(),
            request_id: state.id.as_str(),
            trace_id: trace.as_str(),
            endpoint: state.attempt.as_ref().map(|attempt| attempt.address),
            wall: state.wall,
            traced: state.spans.as_deref().map(|spans| Traced {
                trace: state.trace.trace,
                span: state.trace.span,
                parent: spans.parent,
                state: &spans.state,
                attempts: &spans.attempts,
                now,
                wall: self.clock.wall(),
                scheme: state.arrived.as_ref().map_or("http", |arrived| arrived.scheme.as_str()),
                version: match request.version {
                    http::Version::HTTP_2 => "2",
                    http::Version::HTTP_10 => "1.0",
                    _ => "1.1",
                },
            }),
        });
    }
}

/// The limits that a client has come up against who sends too slowly, or takes too slowly what is sent.
pub(super) const REQUEST_STALLED: &str = "request_stalled";
pub(super) const RESPONSE_STALLED: &str = "response_stalled";
/// The limit of a tunnel that carried nothing.
pub(super) const TUNNEL_IDLE: &str = "tunnel_idle_timeout";

/// The limit of what waits for all clients together.
pub(super) const BUFFERED_BYTES: &str = "buffered_bytes";

/// The limit that ended the request because of its client's pace, if one did.
pub(super) fn stalled(error: &Error) -> Option<&'static str> {
    if *error.esource() != ErrorSource::Downstream {
        return None;
    }
    let is = |kind| {
        let cause = error.root_cause().downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == kind)
    };
    let too_slow = || is(std::io::ErrorKind::TimedOut);
    match error.etype() {
        ErrorType::ReadTimedout => Some(REQUEST_STALLED),
        ErrorType::ReadError if too_slow() => Some(REQUEST_STALLED),
        ErrorType::WriteTimedout => Some(RESPONSE_STALLED),
        ErrorType::WriteError if too_slow() => Some(RESPONSE_STALLED),
        ErrorType::WriteError if is(std::io::ErrorKind::OutOfMemory) => Some(BUFFERED_BYTES),
        _ => None,
    }
}

/// A trace's id in hexadecimal digits, without an allocation.
pub(super) struct TraceId([u8; 32]);

impl TraceId {
    /// The digits of `trace`.
    pub fn of(trace: u128) -> Self {
        let mut digits = [b'0'; 32];
        for (at, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(trace >> (4 * at) & 0xf) as usize];
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::headers::trace::TraceParent;

    #[test]
    fn a_traces_id_reads_as_in_its_header() {
        let trace = TraceParent::begun(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 1, false);
        assert_eq!(TraceId::of(trace.trace).as_str(), &trace.to_string()[3..35]);
    }
}

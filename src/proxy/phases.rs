//! The phases of a request, as Pingora asks for them: it asks, then obeys.
//!
//! Never: decides where a request goes; that is [`rhumb_decision::decide`].

use std::any::Any;
use std::os::fd::RawFd;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};
use rhumb_decision::reason::Refusal;
use rhumb_decision::table::Operation;

use crate::proxy::answer;
use crate::proxy::broken;
use crate::proxy::fail;
use crate::proxy::grpc;
use crate::proxy::headers::{is_pin, response_leftovers, sets_pin};
use crate::proxy::old_client;
use crate::proxy::onward::{self, Own};
use crate::proxy::retry::Failure;
use crate::proxy::rhumb::{Rhumb, stalled};
use crate::proxy::signature;
use crate::proxy::state::{Arrived, RequestState};
use crate::proxy::uncased;

/// The most interim responses to one request; services send one or two.
const MOST_INTERIM: u8 = 32;

#[async_trait]
impl ProxyHttp for Rhumb {
    type CTX = RequestState;

    fn new_ctx(&self) -> RequestState {
        let current = self.reader.current();
        let prepared = self.cache.of(current.table());
        RequestState::new(current, prepared, self.clock.wall())
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        state: &mut RequestState,
        passed: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(arrived) = passed.downcast::<Arrived>() {
            arrived.line.set_parsed();
            state.arrived = Some(arrived);
        }
    }

    async fn request_filter(&self, session: &mut Session, state: &mut RequestState) -> Result<bool> {
        uncased::forget_spelling(session.req_header_mut());
        if state.arrived.is_none() {
            // A stream has no connection of its own to tell it by: its head carries it.
            state.arrived = session.req_header_mut().extensions_mut().remove();
        }
        self.set_limits(session, state);
        if session.req_header().version == http::Version::HTTP_10 {
            session.downstream_modules_ctx = old_client::modules();
            session.as_downstream_mut().set_ignore_info_resp(true);
        }
        fail::point(session.req_header().uri.path());
        if self.answers_itself(session, state).await? {
            return Ok(true);
        }
        if let Err(refusal) = self.prepare(session, state) {
            state.refusal = Some(refusal);
        } else if state.arrived.as_ref().is_some_and(|arrived| arrived.max_forwards == Some(0)) {
            answer::options(session.as_downstream_mut()).await?;
            return Ok(true);
        } else {
            let decision = match &self.gateway {
                Some(_) => self.admit(session.req_header(), state).await,
                None => match self.decide_first(session.req_header(), state) {
                    Some(made) => match self.settled(session, state, made).await {
                        Some(settled) => Some(settled),
                        // Its client has gone, and nothing was sent: there is nobody to answer.
                        None => return Err(Error::new_down(ErrorType::ConnectionClosed)),
                    },
                    None => None,
                },
            };
            state.refusal = decision.as_ref().map_or(Some(Refusal::BadRequest), |made| made.refusal());
            let headers = &session.req_header().headers;
            state.grpc = grpc::is_call(headers);
            if let Err(refusal) = self.set_deadline(headers, state, decision.as_ref()) {
                state.refusal = Some(refusal);
            }
            if let Some(arrived) = state.arrived.as_ref().filter(|arrived| arrived.upgrade) {
                arrived.line.end_in(state.remaining(self.clock.elapsed()));
            }
            state.decision = decision;
        }
        let Some(refusal) = state.refusal else { return Ok(false) };
        self.refuse(session, refusal, state).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, state: &mut RequestState) -> Result<Box<HttpPeer>> {
        if let Some(pause) = state.pause.take() {
            tokio::time::sleep(pause).await;
        }
        self.next_peer(session, state).map_err(|refusal| {
            state.refusal = Some(refusal);
            Error::new_in(ErrorType::HTTPStatus(refusal.status()))
        })
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        digest: Option<&Digest>,
        state: &mut RequestState,
    ) -> Result<()>
    where
        RequestState: Send + Sync,
    {
        let Some(attempt) = &state.attempt else { return Ok(()) };
        if state.arrived.as_ref().is_some_and(|arrived| arrived.upgrade) {
            return Ok(()); // proved in its handshake, see `upgrade`
        }
        let peers = state.prepared.peers(attempt.region);
        let Some(proof) = peers.and_then(|peers| peers.proof()) else { return Ok(()) };
        let remaining = state.remaining(self.clock.elapsed());
        // Kept connections too: one that carries several requests is shared before its first has been proved.
        if proof.holds(digest, attempt.address, remaining).await {
            return Ok(());
        }
        state.is_unproven = true;
        Err(Error::new_up(ErrorType::InvalidCert))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        state: &mut RequestState,
    ) -> Result<()> {
        let (Some(arrived), Some(decision)) = (&state.arrived, &state.decision) else {
            return Err(Error::new_in(ErrorType::InternalError));
        };
        let speaks_http2 = request.version == http::Version::HTTP_2;
        if !arrived.upgrade && speaks_http2 != self.is_to_speak_http2(state) {
            // TLS ended with another protocol than the table says. Nothing has been sent.
            state.unspoken = true;
            return Err(Error::new_up(ErrorType::H2Error));
        }
        if speaks_http2 && request.remove_header(&header::EXPECT).is_some() && arrived.expects {
            // Over HTTP/2 the region's go-ahead would not come through, and the client waits for one.
            session.as_downstream_mut().write_continue_response().await?;
        }
        let came = &session.req_header().headers;
        let own = Own { id: self.edge.id.as_str(), via: &self.via, source: &state.prepared.source_name };
        let remaining = state.remaining(self.clock.elapsed());
        let version = request.version;
        uncased::change(request, |onward| {
            onward::write(came, (onward, version), state, arrived, decision, &own, remaining)?;
            self.repeats.mark(onward, decision, state);
            Ok::<(), Box<Error>>(())
        })??;
        if let Some(keys) = &self.signing {
            signature::sign(request, &keys.keys(), self.clock.wall())?;
        }
        state.sent = true;
        self.remember(state);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        state: &mut RequestState,
    ) -> Result<()> {
        if let (true, Some(arrived)) = (end_of_stream, &state.arrived) {
            arrived.owed.nothing();
        }
        if state.tunnel {
            return Ok(());
        }
        state.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        if state.body_bytes > self.limits.body_bytes {
            state.refusal = Some(Refusal::BodyTooLarge);
            return Err(Error::new_down(ErrorType::HTTPStatus(Refusal::BodyTooLarge.status())));
        }
        if state.is_late(self.clock.elapsed()) {
            state.refusal = Some(Refusal::Deadline);
            return Err(Error::new_in(ErrorType::ReadTimedout));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        state: &mut RequestState,
    ) -> Result<()> {
        let upgrades = state.arrived.as_ref().is_some_and(|arrived| arrived.upgrade);
        match response.status.as_u16() {
            101 if upgrades => self.open_tunnel(session, state)?,
            // Nobody asked for another protocol.
            101 => return Err(Error::new_up(ErrorType::InvalidHTTPHeader)),
            100..200 if state.is_late(self.clock.elapsed()) => {
                return Err(Error::new_up(ErrorType::ReadTimedout));
            }
            100..200 => {
                state.interim = state.interim.saturating_add(1);
                return match state.interim {
                    0..=MOST_INTERIM => Ok(()),
                    _ => Err(Error::new_up(ErrorType::InvalidHTTPHeader)),
                };
            }
            _ => {}
        }
        let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            // Nobody asked for it, and where such a body ends, nobody could tell the client.
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        let status = response.status.as_u16();
        self.region_answered(state, status);
        self.heed_gateway(session, response, state).await?;
        if self.may_retry_status(state, status) && self.go_on(session, state, Failure::Status(status)).is_ok()
        {
            self.region_failed(state, Failure::Status(status));
            state.leaves_response = true;
            return Err(Error::new_up(ErrorType::HTTPStatus(status)));
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        state: &mut RequestState,
    ) -> Result<()> {
        for name in response_leftovers(&response.headers) {
            response.remove_header(&name);
        }
        if sets_pin(&response.headers) {
            let cookies: Vec<_> = response.headers.get_all(header::SET_COOKIE).iter().cloned().collect();
            response.remove_header(&header::SET_COOKIE);
            for cookie in cookies.into_iter().filter(|cookie| !is_pin(cookie)) {
                response.append_header(header::SET_COOKIE, cookie)?;
            }
        }
        if response.status.is_informational() {
            return Ok(());
        }
        if self.is_closing() {
            end_connection(session, state);
        }
        if matches!(response.status.as_u16(), 204 | 304) {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        if let Some(arrived) = &state.arrived {
            if arrived.upgrade {
                // What came after its head was meant for another protocol, if for anything.
                end_connection(session, state);
            }
            let length = response.headers.get(header::CONTENT_LENGTH);
            arrived.backlog.begin(length.and_then(|length| length.to_str().ok()?.parse().ok()));
            if length.is_none() {
                // It may go on for long without a word, so waiting for one has to end.
                arrived.line.end_in(state.remaining(self.clock.elapsed()));
            }
        }
        if session.req_header().version == http::Version::HTTP_10 {
            // An older client cannot read chunks: the end of the connection is the end of the body.
            let ends = !response.headers.contains_key(header::CONTENT_LENGTH);
            if ends {
                end_connection(session, state);
            }
            // Until it came to that end in order, whatever drops the connection has cut the answer.
            if let Some(arrived) = &state.arrived {
                arrived.line.set_cut(ends);
            }
        }
        self.forget_if_nothing_was_written(response, state);
        self.tell_consistency(&session.req_header().headers, response, state)?;
        if self.edge.show_region {
            show_region(response, state)?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        state: &mut RequestState,
    ) -> Result<Option<Duration>> {
        if let (Some(arrived), Some(body)) = (&state.arrived, body) {
            arrived.backlog.came(body.len());
        }
        if end_of_stream {
            state.write = None; // the region is done with it, however slowly its client takes the answer
        }
        if state.is_late(self.clock.elapsed()) {
            // A piece has just come: it is the client who takes its time, or there is too much. Held against the
            // region, it would let anybody who reads slowly put a sound region out of service.
            return Err(Error::new_in(ErrorType::ReadTimedout));
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        state: &mut RequestState,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.region_failed(state, Failure::Connect);
        let outcome = self.go_on(session, state, Failure::Connect);
        error.set_retry(outcome.is_ok());
        if let Err(given_up) = outcome {
            state.refusal = Some(self.unreachable(state, given_up));
        }
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        state: &mut RequestState,
        client_reused: bool,
    ) -> Box<Error> {
        if std::mem::take(&mut state.leaves_response) {
            error.set_retry(true);
            return error;
        }
        if std::mem::take(&mut state.is_unproven) {
            return self.fail_to_connect(session, peer, state, error);
        }
        let stale = client_reused && error.retry == RetryType::ReusedOnly;
        error.set_retry(false);
        if self.gave_up_late(&error, state) && !answer::has_begun(session.as_downstream()) {
            self.region_failed(state, Failure::Timeout);
        }
        if *error.esource() == ErrorSource::Upstream && state.refusal.is_none() && !state.tunnel {
            let unspoken = std::mem::take(&mut state.unspoken);
            let failure = if unspoken { Failure::Connect } else { broken::failure(&error, stale) };
            self.region_failed(state, failure);
            error.set_retry(self.go_on(session, state, failure).is_ok());
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        state: &mut RequestState,
    ) -> FailToProxy
    where
        RequestState: Send + Sync,
    {
        let fault = state.arrived.as_ref().and_then(|arrived| arrived.fault.get());
        let refusal =
            fault.map(|cause| cause.refusal()).or(state.refusal).or_else(|| self.refusal_for(error, state));
        if !answer::has_begun(session.as_downstream()) {
            state.refusal = refusal;
        } else if let Some(arrived) = &state.arrived
            && answer::ends_with_connection(session.as_downstream())
        {
            arrived.line.set_cut(true);
        }
        if refusal == Some(Refusal::Deadline) && state.grpc {
            let _ = answer::break_off_call(session.as_downstream_mut(), Refusal::Deadline).await;
        }
        if let Some(refusal) = refusal {
            // Nobody knows what became of a write whose answer was lost.
            let pin = self.issue(&session.req_header().headers, None, state);
            let more = |head: &mut ResponseHeader| pin.map_or(Ok(()), |pin| pin.write(head));
            end_connection(session, state);
            let _ = answer::refuse_with(session.as_downstream_mut(), refusal, state.id.as_str(), more).await;
        }
        FailToProxy { error_code: refusal.map_or(0, Refusal::status), can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _state: &RequestState, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _state: &RequestState,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, state: &mut RequestState)
    where
        RequestState: Send + Sync,
    {
        match (error, &state.arrived) {
            (Some(error), _) => {
                let limit = match state.arrived.as_ref().filter(|_| state.tunnel) {
                    Some(arrived) => arrived.line.limit(),
                    None => stalled(error).filter(|_| !self.gave_up_late(error, state)),
                };
                if let Some(limit) = limit {
                    self.recorder.limit_reached(limit);
                }
                if let Some(arrived) = &state.arrived {
                    arrived.line.set_last();
                }
                tracing::debug!(request_id = state.id.as_str(), %error, "a request failed");
            }
            (None, Some(arrived)) => arrived.line.set_cut(false),
            (None, None) => {}
        }
        if let Some(arrived) = &state.arrived {
            arrived.backlog.end();
        }
        self.settle(state);
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        self.tally(state, status);
        if !state.is_check {
            self.finished(session, state, status);
        }
    }
}

/// The client's connection ends with this request.
fn end_connection(session: &mut Session, state: &RequestState) {
    session.set_keepalive(None);
    if let Some(arrived) = &state.arrived {
        arrived.line.set_last();
    }
}

/// Tells the client where its answer came from, and how old it may be.
fn show_region(response: &mut ResponseHeader, state: &RequestState) -> Result<()> {
    let Some(attempt) = &state.attempt else { return Ok(()) };
    response.insert_header("X-Served-Region", state.prepared.region(attempt.region))?;
    let read = state.decision.as_ref().filter(|decision| decision.operation == Operation::Read);
    let lag = read.and_then(|read| {
        let view = state.current.health().region(attempt.region)?;
        view.lag_behind(read.owner.filter(|owner| *owner != attempt.region)?)
    });
    if let Some(lag) = lag {
        response.insert_header("X-Staleness-Seconds", lag.duration().as_secs_f64().to_string())?;
    }
    Ok(())
}

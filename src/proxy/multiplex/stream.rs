//! One stream as Pingora's session: its body in, its response out, and nobody waited for without end.
//!
//! Why not Pingora's own: that one waits for a body as long as a client likes, drops interim responses, and cannot be
//! told whom it belongs to. This one does the same and sets bounds.
//!
//! Never: ends a response that is not whole as if it were. What is dropped before its end is reset.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::date::get_cached_date;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, OrErr, Result};

use super::fate::Fate;
use super::letdown::{broken_off, late, stalled};
use crate::proxy::backlog::Backlog;
use crate::proxy::line::Line;
use crate::proxy::pace::{Demand, Owed, Pace};
use crate::proxy::sessions::what_sessions_share;
use crate::proxy::state::Arrived;

/// So many interim responses are passed on, and no more: they wait for no window.
const MOST_INTERIM: u8 = 8;
/// Fields that mean a connection and cannot stand in HTTP/2.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// One stream.
pub(super) struct Stream {
    head: RequestHeader,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    out: Option<SendStream<Bytes>>,
    written: Option<Box<ResponseHeader>>,
    interim: u8,
    ended: bool,
    body_ended: bool,
    read: usize,
    sent: usize,
    kept: Option<FixedBuffer>,
    digest: Arc<Digest>,
    fate: Arc<Fate>,
    /// When its request has to be over, once that is told; `None`: its head did not pass the gate.
    line: Option<Arc<Line>>,
    /// What of its body the client still owes; `None`: its head did not pass the gate.
    owed: Option<Arc<Owed>>,
    /// What of its response waits for the client; `None`: its head did not pass the gate.
    backlog: Option<Arc<Backlog>>,
    /// The bytes that have to move in the time that either side may take; the times themselves are told later.
    least: u64,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    reading: Pace,
    writing: Pace,
    drain_timeout: Option<Duration>,
}

impl Stream {
    /// A stream with a head to be served, and the ways to its body and its response. `least`: how many bytes of
    /// either have to move in the time that the client may take.
    pub fn new(
        head: RequestHeader,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        digest: &Arc<Digest>,
        fate: &Arc<Fate>,
        least: u64,
    ) -> Self {
        let arrived = head.extensions.get::<Box<Arrived>>();
        Self {
            line: arrived.map(|arrived| Arc::clone(&arrived.line)),
            owed: arrived.map(|arrived| Arc::clone(&arrived.owed)),
            backlog: arrived.map(|arrived| Arc::clone(&arrived.backlog)),
            least,
            head,
            body,
            respond,
            out: None,
            written: None,
            interim: 0,
            ended: false,
            body_ended: false,
            read: 0,
            sent: 0,
            kept: None,
            digest: Arc::clone(digest),
            fate: Arc::clone(fate),
            read_timeout: None,
            write_timeout: None,
            reading: Pace::default(),
            writing: Pace::default(),
            drain_timeout: None,
        }
    }

    /// The next piece of the body; `None`: it is whole.
    ///
    /// Once a response has begun a client may be as slow as the request's time allows: the region has taken it on.
    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let demand = if self.written.is_some() { None } else { self.demanded() };
        let Self { body, reading, .. } = self;
        let next = reading.within(demand, |cx| body.poll_data(cx)).await;
        match next.ok_or_else(|| stalled(ErrorType::ReadTimedout))? {
            None => {
                self.body_ended = true;
                Ok(None)
            }
            Some(Ok(piece)) => {
                if let Some(demand) = demand {
                    self.reading.moved(piece.len(), demand);
                }
                self.read += piece.len();
                if let Some(kept) = &mut self.kept {
                    kept.write_to_buffer(&piece);
                }
                // The stream may be gone by now; then there is nobody to give room to.
                let _ = self.body.flow_control().release_capacity(piece.len());
                Ok(Some(piece))
            }
            Some(Err(cause)) => {
                if cause.is_remote() && cause.is_reset() {
                    self.fate.give_up();
                }
                Err(Error::because(ErrorType::ReadError, "reading the body of a stream", cause).into_down())
            }
        }
    }

    /// How fast the body has to come, if at all.
    fn demanded(&self) -> Option<Demand> {
        let usual = Demand { within: self.read_timeout?, least: self.least };
        match &self.owed {
            Some(owed) => owed.demand(usual),
            None => Some(usual),
        }
    }

    /// Waits until the client gives the stream up.
    async fn given_up(&mut self) -> Box<Error> {
        let Self { out, respond, .. } = self;
        let reset = poll_fn(|cx| match out {
            Some(out) => out.poll_reset(cx),
            None => respond.poll_reset(cx),
        });
        let cause = reset.await;
        if cause.is_ok() {
            self.fate.give_up();
        }
        match cause {
            Ok(reason) => {
                Error::explain(ErrorType::ConnectionClosed, format!("the stream was reset: {reason}"))
            }
            Err(cause) => Error::because(ErrorType::ConnectionClosed, "the stream ended", cause),
        }
        .into_down()
    }

    fn head_out(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.ended || self.written.is_some() {
            return Ok(());
        }
        for name in &HOP_BY_HOP {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            return self.interim_out(&head);
        }
        if !head.headers.contains_key(header::DATE) {
            head.insert_header(header::DATE, get_cached_date())?;
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        let out = self.respond.send_response(response, end);
        self.out = Some(out.or_err(ErrorType::WriteError, "writing the head of a response")?);
        self.fate.answer();
        self.written = Some(head);
        self.ended = end;
        Ok(())
    }

    fn interim_out(&mut self, head: &ResponseHeader) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "no stream can switch its protocol");
        }
        self.interim = self.interim.saturating_add(1);
        if self.interim > MOST_INTERIM {
            return Ok(());
        }
        let response = Response::from_parts(head.as_owned_parts(), ());
        self.respond.send_informational(response).or_err(ErrorType::WriteError, "writing an interim response")
    }

    /// Hands a piece of the response over as the client makes room for it.
    async fn piece_out(&mut self, mut piece: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let least = self.least;
        let demand = self.write_timeout.map(|within| Demand { within, least });
        let Self { out: Some(out), writing, backlog, .. } = self else {
            return Error::e_explain(ErrorType::InternalError, "a body without a head");
        };
        while !piece.is_empty() {
            out.reserve_capacity(piece.len());
            let next = writing.within(demand, |cx| match (out.poll_capacity(cx), &*backlog) {
                (Poll::Pending, Some(backlog)) => backlog.poll_broken_off(cx).map(Err),
                (room, _) => room.map(Ok),
            });
            let room = match next.await {
                None => return Err(stalled(ErrorType::WriteTimedout)),
                Some(Err(())) => return Err(broken_off()),
                Some(Ok(None)) => return Error::e_explain(ErrorType::WriteError, "the stream is closed"),
                Some(Ok(Some(room))) => room.or_err(ErrorType::WriteError, "waiting for a window")?,
            };
            let part = piece.split_to(room.min(piece.len()));
            if let Some(demand) = demand {
                writing.moved(part.len(), demand);
            }
            if let Some(backlog) = backlog {
                backlog.took(part.len());
            }
            self.sent += part.len();
            let last = end && piece.is_empty();
            out.send_data(part, last).or_err(ErrorType::WriteError, "writing a body")?;
            self.ended = last;
        }
        if end && !self.ended {
            out.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending a body")?;
            self.ended = true;
        }
        Ok(())
    }

    fn trailers_out(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Some(out) = &mut self.out else {
            return Error::e_explain(ErrorType::InternalError, "trailers without a head");
        };
        out.send_trailers(trailers).or_err(ErrorType::WriteError, "writing trailers")?;
        self.ended = true;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match &mut self.out {
            Some(out) if !self.ended => {
                out.send_data(Bytes::new(), true).or_err(ErrorType::WriteError, "ending a response")?;
                self.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended && self.written.is_some() {
            // Part of an answer is no answer.
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

#[async_trait]
impl Session for Stream {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.next_piece().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        let timeout = self.drain_timeout;
        let drain = async {
            while !self.is_body_done() {
                self.next_piece().await?;
            }
            Ok(())
        };
        match timeout {
            None => drain.await,
            Some(most) => {
                pingora::time::timeout(most, drain).await.map_err(|_| stalled(ErrorType::ReadTimedout))?
            }
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.head_out(head, end).map_err(|error| error.into_down())
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.head_out(Box::new(head.clone()), end).map_err(|error| error.into_down())
    }

    async fn write_body(&mut self, piece: Bytes, end: bool) -> Result<()> {
        self.piece_out(piece, end).await.map_err(|error| error.into_down())
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.trailers_out(trailers).map_err(|error| error.into_down())
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut over = false;
        for task in tasks {
            let last = match task {
                HttpTask::Header(head, end) => {
                    self.write_response_header(head, end).await?;
                    end
                }
                HttpTask::Body(piece, end) => {
                    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                        self.write_body(piece, end).await?;
                    }
                    end
                }
                HttpTask::UpgradedBody(..) => {
                    return Error::e_explain(ErrorType::InternalError, "another protocol on a stream");
                }
                HttpTask::Trailer(Some(trailers)) => {
                    self.write_trailers(*trailers).await?;
                    true
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::Failed(error) => return Err(error),
            };
            over |= last;
        }
        if over {
            self.finish().await?;
        }
        Ok(over)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.head.method, self.head.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        if !self.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    fn is_body_done(&mut self) -> bool {
        self.body_ended || self.is_body_empty() || self.body.is_end_stream()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end().map_err(|error| error.into_down())
    }

    fn is_body_empty(&mut self) -> bool {
        let length = self.head.headers.get(header::CONTENT_LENGTH);
        self.read == 0
            && (self.body.is_end_stream() || length.is_some_and(|length| length.as_bytes() == b"0"))
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let ends = self.line.as_ref().and_then(|line| line.ends());
        let next = async {
            if no_body_expected || self.is_body_done() {
                return Err(self.given_up().await);
            }
            self.next_piece().await
        };
        match ends {
            None => next.await,
            Some(ends) => tokio::time::timeout_at(ends, next).await.unwrap_or_else(|_| Err(late())),
        }
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    what_sessions_share!();
}

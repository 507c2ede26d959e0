//! One client's HTTP/2 connection: its requests at once, each on a stream.
//!
//! Why an accept loop here: the one that Pingora has starts tasks that nobody holds, waits for a connection's first
//! bytes without end, and hides the head of a stream until it has changed it. Here every head meets the gate as it
//! came, and whatever a connection may use up has a bound.
//!
//! Never: serves a stream whose head did not pass the gate; outlives a client that neither asks nor reads.

mod fate;
mod head;
mod letdown;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{Digest, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::proxy::answer;
use crate::proxy::chance;
use crate::proxy::client::{Client, Rest};
use crate::proxy::connection::{Conversation, Origin, method};
use crate::proxy::gate::GateCause;
use crate::proxy::headers::trace::RequestId;
use crate::proxy::seats::Seat;

use fate::Fate;
use stream::Stream;

/// What every client begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The preface, and the head of the SETTINGS that has to follow it.
const OPENING: usize = PREFACE.len() + 9;
/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;

/// What a client may send on one stream before the region has taken it. A region 100 ms away gets 2.5 MB a second.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection, and so the most that uploads on it can fill.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What of a response waits here for the connection, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// The longest list of fields, however long heads may be: a small frame can spell a long one.
const HEADER_LIST: usize = 64 * 1024;
/// What the list counts for a field beyond its bytes (RFC 9113, 6.5.2).
const FIELD_COST: usize = 32;
/// So many streams of a connection may be refused, by the gate or before it, until it is closed.
const MOST_REFUSED: usize = 32;
/// So many streams may be reset before they were even looked at.
const MOST_RESET_UNSEEN: usize = 20;
/// So many may be reset before their answer began, unless that is the lesser part of all.
const MOST_RESET_EARLY: usize = 100;
/// How long a client without a request has to answer to the end of its connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether a connection begins with HTTP/2; `head` holds its first bytes, up to a blank line.
pub(super) fn begins(head: &[u8]) -> bool {
    head.starts_with(b"PRI * HTTP/2.0\r\n\r\n")
}

impl Conversation {
    /// Serves an HTTP/2 connection until it ends, or `closing` turns true and its requests are answered.
    /// `came`: what was read of it.
    pub(super) async fn multiplex(
        self: &Arc<Self>,
        mut client: Box<Client>,
        mut came: BytesMut,
        closing: watch::Receiver<bool>,
    ) {
        match pingora::time::timeout(self.header_timeout, opens(&mut client, &mut came)).await {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                self.recorder.parser_refused();
                return Shutdown::shutdown(client.as_mut()).await;
            }
            Ok(None) => return,
            Err(_) => return self.recorder.limit_reached("header_timeout"),
        }
        client.limit(Rest::HeldFirst, came);
        let origin = Origin::of(&client);
        let digest = Arc::new(client.digest());
        let seat = Arc::clone(client.seat());
        let least = client.demand().least;
        // What is written while a client takes nothing fails by itself; so does this.
        let Ok(wire) = self.options().handshake(*client).await else { return };
        let connection = Multiplexed {
            conversation: Arc::clone(self),
            seat,
            origin,
            digest,
            least,
            wire,
            streams: JoinSet::new(),
            closing,
            served: 0,
            refused: 0,
            reset_early: 0,
        };
        connection.run().await;
    }

    fn options(&self) -> Builder {
        let fields = self.gate.header_bytes + FIELD_COST * self.gate.header_count;
        let mut options = Builder::new();
        options
            .max_concurrent_streams(small(self.streams))
            .max_header_list_size(small(fields.min(HEADER_LIST)))
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MOST_RESET_UNSEEN)
            .max_local_error_reset_streams(Some(MOST_REFUSED));
        options
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads preface and the head of the first frame. `Some(false)`: they are something else. `None`: the client is gone.
async fn opens(client: &mut Client, came: &mut BytesMut) -> Option<bool> {
    loop {
        let preface = came.get(..PREFACE.len().min(came.len())).unwrap_or_default();
        if !PREFACE.starts_with(preface) {
            return Some(false);
        }
        if let Some([_, _, _, kind, flags, stream @ ..]) = came.get(PREFACE.len()..OPENING) {
            let is_ack = flags & 1 == 1;
            return Some(*kind == SETTINGS && !is_ack && stream.iter().all(|byte| *byte == 0));
        }
        came.reserve(OPENING);
        if !client.read_buf(came).await.is_ok_and(|read| read > 0) {
            return None;
        }
    }
}

/// A connection whose opening is done.
struct Multiplexed {
    conversation: Arc<Conversation>,
    seat: Arc<Seat>,
    origin: Origin,
    digest: Arc<Digest>,
    /// Bytes of a body that have to move in the time that its client may take.
    least: u64,
    wire: Connection<Client, Bytes>,
    /// The requests under way; what each ends with is whether the client gave it up before its answer began.
    streams: JoinSet<bool>,
    closing: watch::Receiver<bool>,
    served: usize,
    refused: usize,
    reset_early: usize,
}

/// A request, and the way to answer it.
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// What a connection wakes up for.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once; a box would cost every request")]
enum Event {
    /// The process stops.
    Closing,
    /// A request is over.
    Ended(Result<bool, JoinError>),
    /// A request, or the end of the connection.
    Asked(Option<Result<Asked, h2::Error>>),
    /// Nobody has asked for long.
    Quiet,
}

impl Multiplexed {
    async fn run(mut self) {
        let farewell = self.conversation.requests.greet();
        self.serve().await;
        // What is left of its requests learns that the client is gone, and is logged.
        let Self { wire, mut streams, conversation, .. } = self;
        drop(wire);
        drop(farewell);
        let rest = async { while streams.join_next().await.is_some() {} };
        let _ = pingora::time::timeout(conversation.idle_timeout, rest).await;
    }

    async fn serve(&mut self) {
        let idle_timeout = self.conversation.idle_timeout;
        let mut ends = Instant::now() + idle_timeout;
        let mut leaving = false;
        loop {
            let quiet = self.streams.is_empty();
            let event = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing), if !leaving => Event::Closing,
                Some(ended) = self.streams.join_next() => Event::Ended(ended),
                asked = self.wire.accept() => Event::Asked(asked),
                () = tokio::time::sleep_until(ends), if quiet => Event::Quiet,
            };
            match event {
                Event::Asked(Some(Ok((request, respond)))) => {
                    if !self.seat.work() {
                        return; // somebody else has its place
                    }
                    self.take(request, respond);
                    let most = self.conversation.most_requests;
                    if !leaving && most.is_some_and(|most| self.served >= most.get()) {
                        self.conversation.recorder.limit_reached("requests_per_connection");
                        leaving = true;
                        self.wire.graceful_shutdown();
                    }
                }
                Event::Asked(Some(Err(cause))) => {
                    tracing::debug!(peer = %self.origin.peer.address, %cause, "an HTTP/2 connection failed");
                    return;
                }
                Event::Asked(None) => return,
                Event::Ended(ended) => {
                    self.note(ended);
                    if self.streams.is_empty() {
                        self.seat.wait(self.conversation.clock.elapsed());
                    }
                    ends = Instant::now() + if leaving { FAREWELL } else { idle_timeout };
                }
                Event::Quiet if leaving => return,
                Event::Closing | Event::Quiet => {
                    if matches!(event, Event::Quiet) {
                        self.conversation.recorder.limit_reached("idle_timeout");
                    }
                    leaving = true;
                    ends = Instant::now() + FAREWELL;
                    self.wire.graceful_shutdown();
                }
            }
        }
    }

    fn take(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.served += 1;
        let conversation = Arc::clone(&self.conversation);
        let began = conversation.clock.elapsed();
        let (parts, body) = request.into_parts();
        let fate = Arc::new(Fate::default());
        let (head, refused) = head::check(parts, &body, &conversation.gate, self.origin.clone(), began);
        let stream = Stream::new(head, body, respond, &self.digest, &fate, self.least);
        let under_way = conversation.requests.enter();
        match refused {
            None => {
                let closing = self.closing.clone();
                self.streams.spawn(async move {
                    let session = ServerSession::new_custom(Box::new(stream));
                    conversation.proxy.process_new_http(session, &closing).await;
                    drop(under_way);
                    fate.was_given_up_early()
                });
            }
            Some(cause) => {
                self.refused += 1;
                let origin = self.origin.clone();
                self.streams.spawn(async move {
                    conversation.refuse_stream(stream, cause, &origin, began).await;
                    drop(under_way);
                    false
                });
                if self.refused >= MOST_REFUSED {
                    self.calm("refused_streams");
                }
            }
        }
    }

    fn note(&mut self, ended: Result<bool, JoinError>) {
        match ended {
            Ok(true) => {
                self.reset_early += 1;
                if self.reset_early > MOST_RESET_EARLY && self.reset_early * 2 > self.served {
                    self.calm("reset_streams");
                }
            }
            Ok(false) => {}
            Err(cause) if cause.is_panic() => {
                tracing::error!(%cause, "a request panicked; its stream was closed");
            }
            Err(_) => {}
        }
    }

    /// Ends a connection whose client does nothing but cost.
    fn calm(&mut self, cause: &'static str) {
        self.conversation.recorder.gate_refused(cause);
        self.wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    }
}

impl Conversation {
    /// Answers a stream whose head the gate refused.
    async fn refuse_stream(&self, stream: Stream, cause: GateCause, origin: &Origin, began: Duration) {
        self.recorder.gate_refused(cause.code());
        let refusal = cause.refusal();
        let id = RequestId::kept_or_made(None, chance::draw_wide());
        let mut session = ServerSession::new_custom(Box::new(stream));
        session.set_write_timeout(Some(self.idle_timeout));
        let answered = answer::refuse(&mut session, refusal, id.as_str()).await;
        let status = if answered.is_ok() { refusal.status() } else { 0 };
        let asked = session.req_header().method.clone();
        self.record_refusal(refusal, status, origin, method(asked.as_str().as_bytes()), id.as_str(), began);
    }
}

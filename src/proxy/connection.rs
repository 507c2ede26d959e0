//! One client's connection: its requests one after another, each head read whole and checked before anything else.
//!
//! Why here: the HTTP parser behind waits for a head as long as a client likes to send it, byte by byte, and repairs
//! what is ambiguous. So heads are read here, within a time and a size, and the gate sees the bytes as they came.
//!
//! Never: serves two requests of a connection at once, or lets one wait for the other's body.

mod asked;

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use arrayvec::ArrayVec;
use bytes::BytesMut;
use http::header;
use pingora::apps::HttpServerApp;
use pingora::protocols::Shutdown;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use rhumb_decision::reason::Refusal;
use rhumb_decision::units::RegionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::control::clock::Clock;
use crate::control::snapshot::Reader;
use crate::proxy::answer;
use crate::proxy::backlog::Backlog;
use crate::proxy::chance;
use crate::proxy::client::{Client, Speaks};
use crate::proxy::exchange::{Exchange, Left};
use crate::proxy::gate::{Body, Expect, GateCause, GateLimits, Head, HttpVersion, Upgrade};
use crate::proxy::headers::forward::Scheme;
use crate::proxy::headers::trace::RequestId;
use crate::proxy::identity::ClientIdentity;
use crate::proxy::limits::Requests;
use crate::proxy::line::Line;
use crate::proxy::multiplex;
use crate::proxy::pace::{Alarm, Owed};
use crate::proxy::rhumb::Rhumb;
use crate::proxy::socket::Peer;
use crate::proxy::state::Arrived;
use crate::telemetry::{Finished, Recorder};

use asked::Asked;

/// How much is read of a head at once.
const CHUNK: usize = 4096;

/// What all connections share.
pub(super) struct Conversation {
    pub proxy: Arc<HttpProxy<Rhumb>>,
    pub reader: Reader,
    pub clock: Clock,
    pub recorder: Recorder,
    pub region: Box<str>,
    pub gate: GateLimits,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    /// Requests that one connection may bring; `None`: any number.
    pub most_requests: Option<NonZeroUsize>,
    pub streams: usize,
    pub requests: Arc<Requests>,
}

/// What came of waiting for a request.
enum Next {
    Request(Asked),
    Refused(Refusal, BytesMut, Duration),
    /// The connection begins with HTTP/2: what was read of it.
    Http2(BytesMut),
    Gone,
}

/// Where the requests of a connection come from.
#[derive(Clone)]
pub(super) struct Origin {
    pub peer: Peer,
    /// Who it is, by its certificate.
    pub identity: Option<Arc<ClientIdentity>>,
    pub scheme: Scheme,
    /// Where a request tells what it needs of the connection.
    pub line: Arc<Line>,
    /// Set when a body's framing made no sense.
    pub fault: Arc<OnceLock<GateCause>>,
    /// What the client owes of the body at hand.
    pub owed: Arc<Owed>,
    /// What of a response waits for the client.
    pub backlog: Arc<Backlog>,
}

impl Origin {
    /// What `client` is told by.
    pub fn of(client: &Client) -> Self {
        Self {
            peer: client.peer(),
            identity: client.identity().cloned(),
            scheme: if client.is_tls() { Scheme::Https } else { Scheme::Http },
            line: client.line(),
            fault: client.fault(),
            owed: client.owed(),
            backlog: client.backlog(),
        }
    }
}

impl Conversation {
    /// Serves the requests of a connection until it ends, `leaving` turns true between two of them, or one was
    /// answered after `closing` turned true.
    pub async fn hold(
        self: &Arc<Self>,
        client: Client,
        closing: watch::Receiver<bool>,
        mut leaving: watch::Receiver<bool>,
    ) {
        let (fault, back) = (client.fault(), Arc::default());
        let leaves = pin!(leaving.wait_for(|leaving| *leaving));
        let mut between = Between { leaves, alarm: Alarm::default(), patience: self.header_timeout };
        let mut client = Box::new(client);
        let mut brought = 0_usize;
        let mut may_change = match client.speaks() {
            Speaks::Http2 => return Box::pin(self.multiplex(client, BytesMut::new(), closing)).await,
            Speaks::Either => true,
            Speaks::Http1 => false,
        };
        loop {
            let next = self.next(&mut client, may_change, &mut between).await;
            may_change = false;
            let asked = match next {
                Next::Request(asked) => asked,
                Next::Http2(came) => return Box::pin(self.multiplex(client, came, closing)).await,
                Next::Refused(refusal, head, began) => {
                    return self.refuse(client, refusal, &head, began).await;
                }
                Next::Gone => return Shutdown::shutdown(client.as_mut()).await,
            };
            if !client.seat().work() {
                return; // somebody else has its place
            }
            let seat = Arc::clone(client.seat());
            brought += 1;
            if self.most_requests.is_some_and(|most| brought >= most.get()) {
                self.recorder.limit_reached("requests_per_connection");
                client.line().set_last();
            }
            let under_way = self.requests.enter();
            let left = match asked {
                Asked::Exchange(head, body, came) => {
                    let exchange = Exchange::new(head, body, came, client, &back);
                    let session = ServerSession::new_custom(Box::new(exchange));
                    self.proxy.process_new_http(session, &closing).await;
                    back.take()
                }
                Asked::Other(head, arrived) => self.serve_other(client, head, arrived, &closing).await,
            };
            if let Some(cause) = fault.get() {
                self.recorder.gate_refused(cause.code());
            }
            client = match left {
                Left::Open(client) if !client.is_spent() => client,
                Left::Open(mut client) | Left::Done(mut client) => {
                    return Shutdown::shutdown(client.as_mut()).await;
                }
                Left::Broken => return,
            };
            drop(under_way);
            seat.wait(self.clock.elapsed());
            between.patience = self.idle_timeout;
        }
    }

    /// Serves a request as Pingora's own session, which reads it once more.
    async fn serve_other(
        &self,
        client: Box<Client>,
        head: BytesMut,
        arrived: Box<Arrived>,
        closing: &watch::Receiver<bool>,
    ) -> Left {
        let line = client.line();
        let mut session = ServerSession::new_http1(client);
        session.set_keepalive(Some(self.idle_timeout.as_secs().max(1)));
        session.set_pipelined_prefix(head);
        session.set_connection_user_context(Some(arrived));
        let reused = self.proxy.process_new_http(session, closing).await;
        if !line.take_parsed() {
            self.recorder.parser_refused();
        }
        let stream = reused.map(|reused| pingora::apps::ReusedHttpStream::consume(reused).0);
        match stream.map(|stream| stream.into_any().downcast::<Client>()) {
            Some(Ok(client)) => Left::Open(client),
            _ => Left::Broken,
        }
    }

    /// Waits for the next head, as long as `between` says until it begins and the header timeout until it is whole.
    /// `may_change`: what begins is HTTP/2, where its first bytes say so.
    async fn next(
        &self,
        client: &mut Client,
        may_change: bool,
        between: &mut Between<'_, impl Future>,
    ) -> Next {
        let mut head = client.take_held();
        if head.is_empty() {
            match between.begun(client, &mut head).await {
                Begun::Yes => {}
                Begun::TooLate => {
                    self.recorder.limit_reached("idle_timeout");
                    return Next::Gone;
                }
                Begun::Gone => return Next::Gone,
            }
        }
        let began = self.clock.elapsed();
        client.seat().wait(began);
        let most = self.gate.header_bytes;
        match pingora::time::timeout(self.header_timeout, read_head(client, &mut head, most)).await {
            Ok(HeadRead::Whole | HeadRead::Ended) => {}
            Ok(HeadRead::Gone) => return Next::Gone,
            Err(_) => {
                self.recorder.limit_reached("header_timeout");
                return Next::Refused(Refusal::RequestTimeout, head, began);
            }
        }
        if may_change && multiplex::begins(&head) {
            return Next::Http2(head);
        }
        match asked::check(&mut head, &self.gate, client, began) {
            Ok(asked) => Next::Request(asked),
            Err(cause) => self.refused(cause, head, began),
        }
    }

    /// The gate refused a head, or what came of a body with it.
    fn refused(&self, cause: GateCause, head: BytesMut, began: Duration) -> Next {
        self.recorder.gate_refused(cause.code());
        Next::Refused(cause.refusal(), head, began)
    }

    /// Answers a head that went no further, and ends the connection.
    async fn refuse(&self, mut client: Box<Client>, refusal: Refusal, head: &[u8], began: Duration) {
        let origin = Origin::of(&client);
        let id = RequestId::kept_or_made(None, chance::draw_wide());
        let method = method(head);
        let answer = answer::raw(refusal, id.as_str(), method != "HEAD");
        let write = async {
            let written = client.write_all(&answer).await;
            Shutdown::shutdown(client.as_mut()).await;
            written.is_ok()
        };
        let written = pingora::time::timeout(self.idle_timeout, write).await.unwrap_or(false);
        let status = if written { refusal.status() } else { 0 };
        self.record_refusal(refusal, status, &origin, method, id.as_str(), began);
    }

    /// Counts and logs a request that the gate refused; `status`: what was answered, or 0.
    pub(super) fn record_refusal(
        &self,
        refusal: Refusal,
        status: u16,
        origin: &Origin,
        method: &str,
        id: &str,
        began: Duration,
    ) {
        let snapshot = self.reader.current();
        self.recorder.request_finished(&Finished {
            snapshot: &snapshot,
            decision: None,
            refusal: Some(refusal),
            source: snapshot.table().region_named(&self.region).unwrap_or(RegionId(u8::MAX)),
            status,
            attempts: 0,
            duration: self.clock.elapsed().saturating_sub(began),
            region_duration: None,
            request_bytes: 0,
            response_bytes: 0,
            client: Some(origin.peer.address.ip().to_canonical()),
            client_identity: origin.identity.as_ref().and_then(|identity| identity.name()),
            edge: None,
            method,
            host: "",
            path: "",
            request_id: id,
            trace_id: "",
            endpoint: None,
            wall: self.clock.wall(),
            traced: None,
        });
    }
}

/// What is known of a request once its head has passed the gate.
pub(super) fn arrived(origin: Origin, head: &Head<'_>, began: Duration) -> Box<Arrived> {
    let mut ignored = ArrayVec::new();
    if head.upgrade == Upgrade::Ignored {
        ignored.push(header::UPGRADE);
    }
    // An older client knows no interim answers.
    let old = head.version == HttpVersion::Http10;
    if head.expect == Expect::Ignored || (head.expect == Expect::Continue && old) {
        ignored.push(header::EXPECT);
    }
    Box::new(Arrived {
        peer: origin.peer.address,
        relayed: origin.peer.relayed,
        identity: origin.identity,
        scheme: origin.scheme,
        began,
        host_len: head.host.name().len(),
        host: head.host.rewritten().then(|| head.host.name().into()),
        has_body: !matches!(head.body, Body::None | Body::Length(0)),
        expects: head.expect == Expect::Continue && !old,
        upgrade: head.upgrade == Upgrade::WebSocket,
        ignored,
        takes_trailers: false,
        max_forwards: head.max_forwards,
        line: origin.line,
        fault: origin.fault,
        owed: origin.owed,
        backlog: origin.backlog,
    })
}

/// What a connection waits for between two requests. It is set up once, and asked again each time.
struct Between<'a, L> {
    /// Ready once the process leaves.
    leaves: Pin<&'a mut L>,
    alarm: Alarm,
    /// How long a head may take to begin.
    patience: Duration,
}

/// What came of waiting for a head.
enum Begun {
    Yes,
    TooLate,
    /// The client is gone, or the process leaves.
    Gone,
}

impl<L: Future> Between<'_, L> {
    /// Waits for the first bytes of a head.
    async fn begun(&mut self, client: &mut Client, head: &mut BytesMut) -> Begun {
        let due = Instant::now() + self.patience;
        let mut begins = pin!(begin(client, head));
        poll_fn(|cx| match begins.as_mut().poll(cx) {
            Poll::Ready(true) => Poll::Ready(Begun::Yes),
            Poll::Ready(false) => Poll::Ready(Begun::Gone),
            Poll::Pending if self.leaves.as_mut().poll(cx).is_ready() => Poll::Ready(Begun::Gone),
            Poll::Pending => self.alarm.poll(cx, due).map(|()| Begun::TooLate),
        })
        .await
    }
}

/// Waits for the first bytes of a head; false when the client is gone.
async fn begin(client: &mut Client, head: &mut BytesMut) -> bool {
    client.readable().await;
    head.reserve(CHUNK);
    client.read_buf(head).await.is_ok_and(|read| read > 0)
}

/// How far a head could be read.
enum HeadRead {
    /// To its blank line, or to the limit.
    Whole,
    /// To an orderly end before it: the client may still read what is wrong.
    Ended,
    Gone,
}

/// Reads on until `head` holds a whole head or more than `most` bytes of one.
async fn read_head(client: &mut Client, head: &mut BytesMut, most: usize) -> HeadRead {
    let mut seen = 0;
    loop {
        if head_ends(head, seen) || head.len() > most {
            return HeadRead::Whole;
        }
        seen = head.len().saturating_sub(3);
        head.reserve(CHUNK);
        match client.read_buf(head).await {
            Ok(1..) => {}
            Ok(0) => return HeadRead::Ended,
            Err(_) => return HeadRead::Gone,
        }
    }
}

/// Whether a blank line ends the head, in any spelling; bytes before `seen` hold none.
fn head_ends(head: &[u8], seen: usize) -> bool {
    // One empty line before the request line is nothing; what begins with more of them is no head.
    let begin = if head.starts_with(b"\r\n") { 2 } else { 0 };
    if head.get(begin).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) && head.len() > begin + 1 {
        return true;
    }
    let from = seen.max(begin);
    let Some(rest) = head.get(from..) else { return false };
    memchr::memchr_iter(b'\n', rest).any(|at| {
        let after = rest.get(at + 1..).unwrap_or_default();
        after.starts_with(b"\n") || after.starts_with(b"\r\n")
    })
}

/// The method that a head begins with, as far as it is one.
pub(super) fn method(head: &[u8]) -> &str {
    let end = head.iter().take(32).position(|byte| !byte.is_ascii_uppercase()).unwrap_or(0);
    head.get(..end).and_then(|method| str::from_utf8(method).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_a_blank_line_however_it_arrives() {
        for (whole, ends) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody", true),
            ("GET / HTTP/1.1\nHost: a\n\n", true),
            ("GET / HTTP/1.1\nHost: a\n\r\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", false),
            ("\r\n", false),
            ("", false),
        ] {
            assert_eq!(head_ends(whole.as_bytes(), 0), ends, "{whole:?}");
            let mut seen = 0;
            let found = (0..=whole.len()).any(|end| {
                let part = &whole.as_bytes()[..end];
                let found = head_ends(part, seen);
                seen = part.len().saturating_sub(3);
                found
            });
            assert_eq!(found, ends, "byte by byte: {whole:?}");
        }
    }

    #[test]
    fn a_method_is_told_only_where_there_is_one() {
        for (head, said) in [("GET / x", "GET"), ("get / x", ""), ("", ""), ("\u{1}\u{2}", ""), ("G\0", "G")]
        {
            assert_eq!(method(head.as_bytes()), said);
        }
    }
}

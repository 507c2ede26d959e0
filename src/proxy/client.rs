//! The connection to a client: plain or TLS, its writes gathered, its reads kept within the request at hand.
//!
//! What lies beyond the end of a request is held back here until the next request is read, so the HTTP server
//! never sees a byte that does not belong to the request it serves. A connection that waits holds no buffer.
//!
//! Never: interprets what it carries.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{Digest, SocketDigest};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::proxy::arrival::Own;
use crate::proxy::backlog::Backlog;
use crate::proxy::gate::{Chunks, GateCause};
use crate::proxy::identity::ClientIdentity;
use crate::proxy::line::Line;
use crate::proxy::pace::{Demand, Owed, Pace};
use crate::proxy::seats::Seat;
use crate::proxy::socket::{Io, Peer};

mod closed;
mod ends;
mod known;
mod tunnel;

use tunnel::Tunnel;

/// Writes up to this size wait for a flush, so that a head and a small body leave together.
const GATHERED: usize = 16 * 1024;

/// The room for writes that a waiting connection keeps.
const SPARED: usize = 4 * 1024;

/// The end of the request at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// All of the connection, and first what was held back.
    HeldFirst,
    /// This many bytes are still to come.
    Bytes(u64),
    /// Chunks are still to come, and have come so far.
    Chunks(Chunks),
    /// Only the content tells: another protocol.
    Unknown,
}

/// The versions of HTTP that a connection may begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    /// HTTP/1 alone.
    Http1,
    /// HTTP/1, or HTTP/2 without asking.
    Either,
    /// HTTP/2, as was agreed on.
    Http2,
}

/// A client's connection.
pub(super) struct Client {
    io: Io,
    peer: Peer,
    socket: Arc<SocketDigest>,
    ssl: Option<Arc<SslDigest>>,
    identity: Option<Arc<ClientIdentity>>,
    rest: Rest,
    /// What came after the end of the request.
    held: BytesMut,
    /// What waits for a flush.
    out: Vec<u8>,
    ended: bool,
    line: Arc<Line>,
    /// Runs while a request that has to be over waits for it.
    expires: Option<Pin<Box<Sleep>>>,
    h2c: bool,
    /// Whether the request had trailers.
    trailers: bool,
    /// How fast it has to send what it owes, and to take what is written to it.
    demand: Demand,
    owed: Arc<Owed>,
    seat: Arc<Seat>,
    backlog: Arc<Backlog>,
    reading: Pace,
    writing: Pace,
    fault: Arc<OnceLock<GateCause>>,
    tunnel: Option<Box<Tunnel>>,
}

impl Client {
    /// A connection in the clear. `own`: what it is held to.
    pub fn plain(stream: TcpStream, peer: Peer, own: Own) -> Self {
        let fd = stream.as_raw_fd();
        Self::new(Io::Plain(stream), fd, (peer, own), None)
    }

    /// A connection whose handshake is done and said this of the client; otherwise as [`Self::plain`].
    pub fn tls(stream: TlsStream<TcpStream>, peer: Peer, own: Own, identity: Arc<ClientIdentity>) -> Self {
        let (tcp, session) = stream.get_ref();
        let fd = tcp.as_raw_fd();
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let digest = SslDigest::new("", version, None, None, Vec::new());
        let mut client = Self::new(Io::Tls(Box::new(stream)), fd, (peer, own), Some(Arc::new(digest)));
        client.identity = Some(identity);
        client
    }

    fn new(io: Io, fd: RawFd, (peer, own): (Peer, Own), ssl: Option<Arc<SslDigest>>) -> Self {
        let Own { demand, seat, backlog } = own;
        io.bound_unsent();
        let socket = SocketDigest::from_raw_fd(fd);
        let _ = socket.peer_addr.set(Some(PeerAddress::Inet(peer.address)));
        Self {
            io,
            peer,
            socket: Arc::new(socket),
            ssl,
            identity: None,
            rest: Rest::Unknown,
            held: BytesMut::new(),
            out: Vec::new(),
            ended: false,
            line: Arc::default(),
            expires: None,
            h2c: false,
            trailers: false,
            demand,
            owed: Arc::default(),
            seat,
            backlog,
            reading: Pace::default(),
            writing: Pace::default(),
            fault: Arc::default(),
            tunnel: None,
        }
    }

    /// The other end.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Who it is by its handshake; `None`: there was none.
    pub const fn identity(&self) -> Option<&Arc<ClientIdentity>> {
        self.identity.as_ref()
    }

    /// Whether the connection is encrypted.
    pub const fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Which HTTP it begins with, as far as that is known before its first byte.
    pub fn speaks(&self) -> Speaks {
        match &self.io {
            Io::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => Speaks::Http2,
            Io::Plain(_) if self.h2c => Speaks::Either,
            Io::Plain(_) | Io::Tls(_) => Speaks::Http1,
        }
    }

    /// Whether it may begin with HTTP/2 in the clear.
    pub fn with_h2c(mut self, h2c: bool) -> Self {
        self.h2c = h2c;
        self
    }

    /// What is known of its two ends, as requests carry it along.
    pub fn digest(&self) -> Digest {
        Digest {
            socket_digest: Some(Arc::clone(&self.socket)),
            ssl_digest: self.ssl.clone(),
            ..Digest::default()
        }
    }

    /// Where the request at hand tells it what it needs.
    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// Where it sits.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// How fast it has to send what it owes, and to take what is written to it.
    pub const fn demand(&self) -> Demand {
        self.demand
    }

    /// What of a response waits for it.
    pub fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }

    /// What it owes of the request at hand.
    pub fn owed(&self) -> Arc<Owed> {
        Arc::clone(&self.owed)
    }

    /// Where it says what is wrong with the body at hand; reading it fails then.
    pub fn fault(&self) -> Arc<OnceLock<GateCause>> {
        Arc::clone(&self.fault)
    }

    /// Whether no further request may follow. Nobody sends trailers on, so a client and a service that disagree about
    /// where they end must not share what comes behind them.
    pub const fn is_spent(&self) -> bool {
        self.trailers
    }

    /// What was held back, and from now on anything may be read and nothing is owed.
    pub fn take_held(&mut self) -> BytesMut {
        self.rest = Rest::Unknown;
        self.owed.nothing();
        self.reading.rest();
        self.writing.rest();
        self.backlog.end();
        self.line.end_in(None);
        self.expires = None;
        if self.out.is_empty() && self.out.capacity() > SPARED {
            self.out = Vec::new();
        }
        std::mem::take(&mut self.held)
    }

    /// Holds back `after`, and whatever comes beyond `rest`, until the next [`Self::take_held`].
    pub fn limit(&mut self, rest: Rest, after: BytesMut) {
        self.rest = self.whole(rest);
        self.held = after;
    }

    /// The same; chunks that have come to their end are no bytes to come.
    fn whole(&mut self, rest: Rest) -> Rest {
        match rest {
            Rest::Chunks(chunks) if chunks.is_over() => {
                self.trailers = chunks.has_trailers();
                Rest::Bytes(0)
            }
            rest => rest,
        }
    }

    /// What is put there goes out with the next flush, behind what was written before.
    pub const fn gathered(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Waits until there is something to read, or the end; takes no buffer meanwhile where the connection is plain.
    pub async fn readable(&self) {
        if let Io::Plain(stream) = &self.io {
            let _ = stream.ready(Interest::READABLE).await;
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(idle) = this.line.tunnel() {
            return this.poll_tunnel(cx, idle);
        }
        let read = this.poll_some(cx, buf);
        if read.is_ready() { read } else { this.poll_expired(cx) }
    }
}

impl Client {
    /// Fails what waits for a client once the request at hand has to be over.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(ends) = self.line.ends() else { return Poll::Pending };
        let expires = self.expires.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(ends)));
        if expires.deadline() != ends {
            expires.as_mut().reset(ends);
        }
        expires.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what belongs to the request at hand.
    fn poll_some(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self;
        match &mut this.rest {
            Rest::HeldFirst => {
                if this.held.is_empty() {
                    this.held = BytesMut::new();
                    this.rest = Rest::Unknown;
                    return Pin::new(this).poll_read(cx, buf);
                }
                let part = this.held.split_to(this.held.len().min(buf.remaining()));
                buf.put_slice(&part);
                Poll::Ready(Ok(()))
            }
            Rest::Unknown => {
                let before = buf.filled().len();
                ready!(this.poll_in(cx, buf))?;
                this.ended = buf.filled().len() == before && buf.capacity() > before;
                Poll::Ready(Ok(()))
            }
            &mut Rest::Chunks(mut chunks) => {
                let before = buf.filled().len();
                ready!(this.poll_in(cx, buf))?;
                let came = buf.filled().get(before..).unwrap_or_default();
                this.ended = came.is_empty() && buf.capacity() > before;
                match chunks.read(came) {
                    Ok(None) => this.rest = Rest::Chunks(chunks),
                    Ok(Some(body)) => {
                        this.held.extend_from_slice(came.get(body..).unwrap_or_default());
                        buf.set_filled(before + body);
                        this.rest = this.whole(Rest::Chunks(chunks));
                    }
                    Err(cause) => {
                        // Nobody has set it yet: no further read is asked for.
                        let _ = this.fault.set(cause);
                        buf.set_filled(before);
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Rest::Bytes(0) => {
                // All of the request is read. The end of the connection is still news; anything else has to wait.
                if !this.held.is_empty() {
                    return Poll::Pending;
                }
                let mut early = [0_u8; 1024];
                let mut early = ReadBuf::new(&mut early);
                ready!(Pin::new(&mut this.io).poll_read(cx, &mut early))?;
                if early.filled().is_empty() {
                    this.ended = true;
                    return Poll::Ready(Ok(()));
                }
                this.held.extend_from_slice(early.filled());
                Poll::Pending
            }
            Rest::Bytes(left) => {
                let (left, before) = (*left, buf.filled().len());
                let read = match usize::try_from(left) {
                    Ok(most) if most < buf.remaining() => {
                        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
                        ready!(this.poll_in(cx, &mut part))?;
                        let read = part.filled().len();
                        buf.advance(read);
                        read
                    }
                    _ => {
                        ready!(this.poll_in(cx, buf))?;
                        buf.filled().len() - before
                    }
                };
                this.rest = Rest::Bytes(left.saturating_sub(read as u64));
                this.ended = read == 0;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Client {
    /// Reads, and fails where what is owed comes too slowly.
    fn poll_in(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(demand) = self.owed.demand(self.demand) else { return read };
        if read.is_ready() {
            self.reading.moved(buf.filled().len() - before, demand);
            return read;
        }
        self.reading.poll_too_slow(cx, demand).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Passes on what a write came to, of which so many bytes went; fails it where the other end takes too little.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        went: usize,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || went > 0 {
            self.writing.moved(went, self.demand);
            self.backlog.took(went);
        }
        if written.is_ready() {
            return written;
        }
        if self.backlog.poll_broken_off(cx).is_ready() {
            // What the system keeps of it goes too: nobody is going to take that either.
            self.line.set_cut(true);
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        self.writing.poll_too_slow(cx, self.demand).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Hands what waits to the connection.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) else {
                break Poll::Ready(Ok(()));
            };
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => sent += written,
                Poll::Ready(Err(cause)) => break Poll::Ready(Err(cause)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.out.drain(..sent);
        self.in_time(cx, result, sent)
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() + buf.len() > GATHERED && !this.out.is_empty() {
            ready!(this.poll_out(cx))?;
        }
        if buf.len() >= GATHERED {
            let written = Pin::new(&mut this.io).poll_write(cx, buf);
            let went = if let Poll::Ready(Ok(went)) = written { went } else { 0 };
            return this.in_time(cx, written, went);
        }
        this.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.in_time(cx, flushed, 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        this.in_time(cx, shut, 0)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.peer.address)
            .field("tls", &self.is_tls())
            .finish_non_exhaustive()
    }
}

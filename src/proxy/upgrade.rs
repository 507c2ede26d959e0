//! The connection to a region for a request that asks for another protocol.
//!
//! Why our own: the HTTP library moves a tunnel's two ways by turns, and one that is full both ways stands still. So it
//! gets a stand-in that it reads heads and documents from; once the region agrees, the connection itself goes to the
//! client's side, with all that the region said behind its head.
//!
//! Never: a byte of a request before a region that has to prove who it is has proved it; used for a second request.

mod head;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BufMut, BytesMut};
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, OrErr, Result};
use rhumb_decision::table::RegionTls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::client::TlsStream;

use crate::certificates::known::KnownLeaves;
use crate::certificates::region::{Towards, system_roots};
use crate::proxy::line::Line;

use head::Head;

/// What is read at once until the region has answered.
const CHUNK: usize = 4 * 1024;
/// The longest heads that are looked at; what goes on without an end is for the parser behind to refuse.
const MOST: usize = 256 * 1024;
/// The only version that has another protocol to offer to those who ask for it.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Who a region over TLS has to prove to be.
pub(super) struct Secured {
    tls: RegionTls,
    known: KnownLeaves,
    towards: OnceCell<Option<Towards>>,
}

impl Secured {
    /// What `tls` demands; `known` learns the leaves that prove it.
    pub fn new(tls: &RegionTls, known: &KnownLeaves) -> Self {
        Self { tls: tls.clone(), known: known.clone(), towards: OnceCell::new() }
    }

    /// Worked out once: the system's authorities may have to be read for it.
    async fn towards(&self) -> Option<&Towards> {
        let make = async || {
            let roots = match Towards::own_roots(&self.tls) {
                Some(roots) => roots,
                None => system_roots().await?,
            };
            Towards::new(&self.tls, roots, &PROTOCOLS)
        };
        self.towards.get_or_init(make).await.as_ref()
    }
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured").finish_non_exhaustive()
    }
}

/// How one request gets to its region.
#[derive(Debug)]
pub(super) struct Passage {
    /// `None`: in the clear.
    pub tls: Option<Arc<Secured>>,
    /// The longest wait for the connection, and for a handshake over it.
    pub within: Duration,
    /// The longest wait for the next bytes of an answer.
    pub silent: Duration,
    /// Where the connection goes once the region agrees.
    pub line: Arc<Line>,
}

#[async_trait]
impl Connect for Passage {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "no address");
        };
        let timed_out = |_| "in time";
        let tcp = pingora::time::timeout(self.within, TcpStream::connect(address))
            .await
            .explain_err(ErrorType::ConnectTimedout, timed_out)?
            .or_err(ErrorType::ConnectError, "towards a region")?;
        tcp.set_nodelay(true).or_err(ErrorType::ConnectError, "towards a region")?;
        let road = match &self.tls {
            None => Road::Plain(tcp),
            Some(secured) => {
                let Some(towards) = secured.towards().await else {
                    return Error::e_explain(
                        ErrorType::TLSHandshakeFailure,
                        "its TLS settings cannot be used",
                    );
                };
                let session = pingora::time::timeout(self.within, towards.connect(tcp, &secured.known))
                    .await
                    .explain_err(ErrorType::TLSHandshakeTimedout, timed_out)?
                    .or_err(ErrorType::TLSHandshakeFailure, "towards a region")?;
                Road::Tls(Box::new(session))
            }
        };
        let stand_in = StandIn {
            stage: Stage::Heads,
            road: Some(road),
            came: BytesMut::new(),
            free: 0,
            silent: self.silent,
            alarm: None,
            line: Arc::clone(&self.line),
        };
        Ok(Stream::from(VirtualSocketStream::new(Box::new(stand_in))))
    }
}

/// A connection to a region, plain or under TLS.
#[derive(Debug)]
pub(super) enum Road {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Road {
    /// Makes the drop a reset: the region must not take what it got for the whole.
    pub fn cut(&self) {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(session) => session.get_ref().0,
        };
        // A socket that cannot be reset is gone already.
        let _ = tcp.set_zero_linger();
    }
}

/// The region's side of a tunnel.
#[derive(Debug)]
pub(super) struct Onward {
    pub road: Road,
    /// What the region said behind the head in which it agreed.
    pub early: BytesMut,
}

/// Where the answer to a request has got to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Interim ones, and then the head that counts.
    Heads,
    /// A document: all that still comes is for the parser.
    Document,
    /// A tunnel: nothing more is to be had here.
    Tunnel,
}

/// What the HTTP library takes for the connection.
#[derive(Debug)]
struct StandIn {
    stage: Stage,
    road: Option<Road>,
    /// What came and was not handed on.
    came: BytesMut,
    /// How much of it may be.
    free: usize,
    silent: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    line: Arc<Line>,
}

impl StandIn {
    /// Looks at what came: what may be handed on, and what follows it.
    fn look(&mut self) {
        match head::first(&self.came) {
            Some(Head { bytes, status }) => {
                self.free = bytes;
                if status == Some(101) {
                    self.stage = Stage::Tunnel;
                    let early = self.came.split_off(bytes);
                    if let Some(road) = self.road.take() {
                        self.line.bring(Onward { road, early });
                    }
                } else if !status.is_some_and(|status| (100..200).contains(&status)) {
                    self.stage = Stage::Document;
                }
            }
            None if self.came.len() > MOST => self.stage = Stage::Document,
            None => {}
        }
    }

    /// Reads on while heads come. Ready and nothing new: the region has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(road) = &mut self.road else { return Poll::Pending };
        self.came.reserve(CHUNK);
        let read = pin!(road.read_buf(&mut (&mut self.came).limit(CHUNK))).poll(cx);
        if ready!(read)? == 0 {
            self.stage = Stage::Document;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.stage == Stage::Document {
                self.free = self.came.len();
            }
            if self.free > 0 {
                let some = self.free.min(buf.remaining());
                buf.put_slice(self.came.get(..some).unwrap_or_default());
                self.came.advance(some);
                self.free -= some;
                return Poll::Ready(Ok(()));
            }
            match (self.stage, &mut self.road) {
                (Stage::Heads, _) => {
                    self.look();
                    if self.free == 0 && self.stage == Stage::Heads {
                        ready!(self.poll_more(cx))?;
                    }
                }
                (Stage::Document, Some(road)) => return Pin::new(road).poll_read(cx, buf),
                (Stage::Document | Stage::Tunnel, _) => return Poll::Pending,
            }
        }
    }

    /// Fails what has waited for the region for too long. A tunnel has limits of its own.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stage == Stage::Tunnel {
            return Poll::Pending;
        }
        let silent = self.silent;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + silent)));
        alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn onto<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut Road>) -> Poll<io::Result<T>>,
        gone: io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match &mut self.road {
            Some(road) => write(Pin::new(road)),
            None => Poll::Ready(gone),
        }
    }
}

impl AsyncRead for StandIn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.poll_some(cx, buf);
        if read.is_ready() {
            this.alarm = None;
            return read;
        }
        this.poll_silent(cx)
    }
}

impl AsyncWrite for StandIn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // What belongs to a tunnel never comes this way.
        let gone = Err(io::ErrorKind::BrokenPipe.into());
        self.get_mut().onto(|road| road.poll_write(cx, buf), gone)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().onto(|road| road.poll_flush(cx), Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().onto(|road| road.poll_shutdown(cx), Ok(()))
    }
}

impl VirtualSocket for StandIn {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(()) // set when it was made
    }
}

impl AsyncRead for Road {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(session) => Pin::new(session).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Road {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(session) => Pin::new(session).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(session) => Pin::new(session).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(session) => Pin::new(session).poll_shutdown(cx),
        }
    }
}

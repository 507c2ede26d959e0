//! One check of one endpoint: connect, perhaps TLS, perhaps one GET, within one timeout.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rhumb_decision::checks::{Answer, Probed};
use rhumb_decision::table::CheckKind;
use rhumb_decision::units::{Micros, Millis};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::identity::Identities;
use super::report::{MAX_BODY, Report, parse_body};
use super::{Failure, Target};
use crate::certificates::known::KnownLeaves;
use crate::certificates::region::Towards;
use crate::control::clock::Clock;

const AGENT: &str = concat!("rhumb-health/", env!("CARGO_PKG_VERSION"));

/// The most of an answer's head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How late a timer may be, beyond half its span, before the process must have stood still.
const LATE: std::time::Duration = std::time::Duration::from_millis(250);

/// Asks one endpoint.
pub(super) struct Asker {
    address: SocketAddr,
    timeout: std::time::Duration,
    question: Question,
    clock: Clock,
    known: KnownLeaves,
}

enum Question {
    Connect,
    Get { tls: Tls, http2: bool, request: Option<Box<Request<Empty<Bytes>>>> },
}

enum Tls {
    None,
    With(Box<Towards>),
    /// The table asks for it, and it cannot be set up.
    Impossible,
}

impl Asker {
    pub(super) fn new(target: &Target, identities: &Identities, clock: Clock, known: KnownLeaves) -> Self {
        let question = match &target.check.kind {
            CheckKind::Tcp => Question::Connect,
            CheckKind::Http { path } => Question::Get {
                tls: match target.session() {
                    None => Tls::None,
                    Some(session) => {
                        identities.of(session).map_or(Tls::Impossible, |to| Tls::With(Box::new(to)))
                    }
                },
                http2: target.http2,
                request: if target.http2 {
                    request_in_http2(path, &target.host, target.tls.is_some()).map(Box::new)
                } else {
                    request(path, &target.host).map(Box::new)
                },
            },
        };
        Self { address: target.address, timeout: target.check.timeout.duration(), question, clock, known }
    }

    /// Asks once. No answer is [`Answer::Down`], and then says why.
    ///
    /// `None`: no answer was seen, but this process itself stood still meanwhile, for want of a processor or because
    /// the machine slept; that says nothing about the endpoint.
    ///
    /// What it says of copies and positions is as old as the last value says.
    pub(super) async fn ask(&self) -> Option<(Probed, Option<Failure>, Millis)> {
        let began = self.clock.elapsed();
        let mut round_trip = None;
        let asked = tokio::time::timeout(self.timeout, self.exchange(&mut round_trip));
        let (probed, failure, age) = match asked.await.unwrap_or(Err(Failure::Timeout)) {
            Ok(report) => {
                let age = report.age;
                (said(report), None, age)
            }
            Err(Failure::Timeout) if self.stood_still_since(began) => return None,
            Err(failure) => (Probed::plain(Answer::Down), Some(failure), Millis(0)),
        };
        Some((Probed { round_trip, ..probed }, failure, age))
    }

    /// Whether a wait that began then ended so late that nobody can have looked at the time.
    fn stood_still_since(&self, began: std::time::Duration) -> bool {
        self.clock.elapsed().saturating_sub(began) > self.timeout * 3 / 2 + LATE
    }

    async fn exchange(&self, round_trip: &mut Option<Micros>) -> Result<Report, Failure> {
        let began = self.clock.elapsed();
        let stream = TcpStream::connect(self.address).await.map_err(|_| Failure::Connect)?;
        let took = self.clock.elapsed().saturating_sub(began);
        *round_trip = Some(Micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
        let (tls, http2, request) = match &self.question {
            Question::Connect => return Ok(Report::default()),
            Question::Get { tls, http2, request } => {
                (tls, *http2, request.as_deref().ok_or(Failure::Protocol)?.clone())
            }
        };
        match tls {
            Tls::None => get(stream, http2, request).await,
            Tls::Impossible => Err(Failure::Tls),
            Tls::With(towards) => {
                let session = towards.connect(stream, &self.known).await;
                let session = session.map_err(|_| Failure::Tls)?;
                if http2 && session.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Failure::Protocol);
                }
                get(session, http2, request).await
            }
        }
    }
}

/// `None` where path or host cannot be written into a request.
fn request(path: &str, host: &str) -> Option<Request<Empty<Bytes>>> {
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .ok()
}

/// The same for HTTP/2, which names the host in its target and has no fields about the connection.
fn request_in_http2(path: &str, host: &str, tls: bool) -> Option<Request<Empty<Bytes>>> {
    let target = http::Uri::builder().scheme(if tls { "https" } else { "http" }).authority(host);
    Request::get(target.path_and_query(path).build().ok()?)
        .version(http::Version::HTTP_2)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json")
        .body(Empty::new())
        .ok()
}

/// A 200 without a report is UP for everything.
fn said(report: Report) -> Probed {
    Probed {
        answer: report.status.unwrap_or(Answer::Up),
        capabilities: report.capabilities,
        replication: report.replication,
        position: report.position,
        round_trip: None,
    }
}

async fn get<S>(stream: S, http2: bool, request: Request<Empty<Bytes>>) -> Result<Report, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if http2 {
        return get_in_http2(stream, request).await;
    }
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::Protocol)?;
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(|_| Failure::Protocol)?;
        match response.status() {
            StatusCode::OK => Ok(parse_body(&body(pin!(response.into_body())).await?)),
            other => Err(Failure::Status(other.as_u16())),
        }
    });
    // The connection may be over before its answer has been taken.
    tokio::select! {
        answered = &mut answer => answered,
        _ = connection => answer.await,
    }
}

async fn get_in_http2<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Report, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut settings = h2::client::Builder::new();
    settings.enable_push(false).max_header_list_size(MAX_HEAD as u32);
    let handshake = settings.handshake::<_, Bytes>(stream).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::Protocol)?;
    let mut answer = pin!(async move {
        let (response, _) = sender.send_request(request.map(drop), true).map_err(|_| Failure::Protocol)?;
        let response = response.await.map_err(|_| Failure::Protocol)?;
        match response.status() {
            StatusCode::OK => Ok(parse_body(&body(pin!(Streamed(response.into_body()))).await?)),
            other => Err(Failure::Status(other.as_u16())),
        }
    });
    tokio::select! {
        answered = &mut answer => answered,
        _ = connection => answer.await,
    }
}

/// The body of an answer in HTTP/2. What was read is given back to the flow control at once.
struct Streamed(h2::RecvStream);

impl Body for Streamed {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = ready!(self.0.poll_data(context));
        Poll::Ready(data.map(|data| {
            let data = data?;
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        }))
    }
}

/// The body, if it came whole; empty where it is longer than a report may be, which then is not waited for.
async fn body<B: Body<Data = Bytes>>(mut body: Pin<&mut B>) -> Result<Vec<u8>, Failure> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(Vec::new());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Protocol)?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > MAX_BODY {
                return Ok(Vec::new());
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole)
}

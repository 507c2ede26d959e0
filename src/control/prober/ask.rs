//! One check of one endpoint: connect, perhaps TLS, perhaps one GET, within one timeout.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rhumb_decision::checks::{Answer, Probed};
use rhumb_decision::table::CheckKind;
use rhumb_decision::units::Micros;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::identity::{Identities, Identity};
use super::report::{MAX_BODY, Report, parse_body};
use super::{Failure, Target};
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
}

enum Question {
    Connect,
    Get { tls: Tls, request: Option<Box<Request<Empty<Bytes>>>> },
}

enum Tls {
    None,
    With(Identity),
    /// The table asks for it, and it cannot be set up.
    Impossible,
}

impl Asker {
    pub(super) fn new(target: &Target, identities: &Identities, clock: Clock) -> Self {
        let question = match &target.check.kind {
            CheckKind::Tcp => Question::Connect,
            CheckKind::Http { path } => Question::Get {
                tls: match &target.tls {
                    None => Tls::None,
                    Some(tls) => identities.of(tls).map_or(Tls::Impossible, Tls::With),
                },
                request: request(path, &target.host).map(Box::new),
            },
        };
        Self { address: target.address, timeout: target.check.timeout.duration(), question, clock }
    }

    /// Asks once. No answer is [`Answer::Down`], and then says why.
    ///
    /// `None`: no answer was seen, but this process itself stood still meanwhile, for want of a processor or because
    /// the machine slept; that says nothing about the endpoint.
    pub(super) async fn ask(&self) -> Option<(Probed, Option<Failure>)> {
        let began = self.clock.elapsed();
        let mut round_trip = None;
        let asked = tokio::time::timeout(self.timeout, self.exchange(&mut round_trip));
        let (probed, failure) = match asked.await.unwrap_or(Err(Failure::Timeout)) {
            Ok(report) => (said(report), None),
            Err(Failure::Timeout) if self.stood_still_since(began) => return None,
            Err(failure) => (Probed::plain(Answer::Down), Some(failure)),
        };
        Some((Probed { round_trip, ..probed }, failure))
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
        let (tls, request) = match &self.question {
            Question::Connect => return Ok(Report::default()),
            Question::Get { tls, request } => (tls, request.as_deref().ok_or(Failure::Protocol)?.clone()),
        };
        match tls {
            Tls::None => get(stream, request).await,
            Tls::Impossible => Err(Failure::Tls),
            Tls::With(identity) => {
                let connector = TlsConnector::from(identity.config.clone());
                let session = connector.connect(identity.server_name.clone(), stream).await;
                get(session.map_err(|_| Failure::Tls)?, request).await
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

async fn get<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Report, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::Protocol)?;
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(|_| Failure::Protocol)?;
        match response.status() {
            StatusCode::OK => Ok(parse_body(&body(response.into_body()).await?)),
            other => Err(Failure::Status(other.as_u16())),
        }
    });
    // The connection may be over before its answer has been taken.
    tokio::select! {
        answered = &mut answer => answered,
        _ = connection => answer.await,
    }
}

/// The body, if it came whole; empty where it is longer than a report may be, which then is not waited for.
async fn body(mut body: Incoming) -> Result<Vec<u8>, Failure> {
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

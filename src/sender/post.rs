//! A connection of its own, one POST, one answer.
//!
//! Why a connection for each: there are a few a second at most, and none that is kept can go stale.
//!
//! Never: follows a redirect, reads an answer without end, or waits longer than it is let.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const AGENT: &str = concat!("rhumb/", env!("CARGO_PKG_VERSION"));

/// The most of an answer that is read, in bytes: its head, and again its body.
const MAX_ANSWER: usize = 64 * 1024;

/// Where something is sent, and what it is.
#[derive(Clone, Debug)]
pub struct To {
    /// Whether by TLS.
    pub is_tls: bool,
    /// A name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Both, as a `Host` field names them.
    pub authority: String,
    /// The path, and the query if there is one.
    pub path: String,
    /// What the content is: a media type.
    pub content: &'static str,
    /// Whether an answer of this status may be another one later.
    pub is_passing: fn(u16) -> bool,
}

/// Why it was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// It may do better later; not before this time has gone by, where it says so.
    #[error("{why}")]
    Yet {
        /// What went wrong.
        why: String,
        /// How long to wait, where it says so.
        after: Option<Duration>,
    },
    /// It never will.
    #[error("{why}")]
    Ever {
        /// What went wrong.
        why: String,
    },
}

fn yet(why: impl ToString) -> Untaken {
    Untaken::Yet { why: why.to_string(), after: None }
}

/// Sends to one receiver.
pub struct Post {
    to: To,
    /// How its certificate is verified, once that is known.
    tls: Option<TlsConnector>,
}

impl Post {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(to: To) -> Self {
        Self { to, tls: None }
    }

    /// Sends this; returns what was answered, empty where that is longer than anyone reads.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn send(&mut self, body: Bytes) -> Result<Bytes, Untaken> {
        let request = Request::post(&self.to.path)
            .header(HOST, &self.to.authority)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, self.to.content)
            .header(CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|cause| Untaken::Ever { why: cause.to_string() })?;
        let stream = TcpStream::connect((self.to.host.as_str(), self.to.port)).await.map_err(yet)?;
        if !self.to.is_tls {
            return exchange(stream, request, self.to.is_passing).await;
        }
        let name = ServerName::try_from(self.to.host.clone()).map_err(yet)?;
        let session = self.connector().await?.connect(name, stream).await.map_err(yet)?;
        exchange(session, request, self.to.is_passing).await
    }

    /// The system's authorities are read once. Reading them may wait for a disk, so it waits elsewhere.
    async fn connector(&mut self) -> Result<TlsConnector, Untaken> {
        if let Some(connector) = &self.tls {
            return Ok(connector.clone());
        }
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(yet)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(yet)?.with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(self.tls.insert(connector).clone())
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    is_passing: fn(u16) -> bool,
) -> Result<Bytes, Untaken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = http1::Builder::new().max_buf_size(MAX_ANSWER).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(yet)?;
    let mut answer =
        pin!(async move { judge(sender.send_request(request).await.map_err(yet)?, is_passing).await });
    // The connection may be over before its answer has been taken.
    tokio::select! {
        judged = &mut answer => judged,
        _ = connection => answer.await,
    }
}

async fn judge(response: Response<Incoming>, is_passing: fn(u16) -> bool) -> Result<Bytes, Untaken> {
    let status = response.status();
    if status.is_success() {
        let whole = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        // It has taken it, whatever else it wanted to say.
        return Ok(whole.map_or_else(|_| Bytes::new(), |body| body.to_bytes()));
    }
    let why = format!("it answered {status}");
    if !is_passing(status.as_u16()) {
        return Err(Untaken::Ever { why });
    }
    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    Err(Untaken::Yet { why, after: after.map(Duration::from_secs) })
}

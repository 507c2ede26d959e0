//! One client's connection, in the protocol that is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use memchr::memmem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::options::Options;
use crate::requests::{Ask, BODY, LIE, MANAGED, Method, WRITTEN};

/// What came of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Right,
    /// Another region answered than had to.
    WrongRegion,
    /// The region was not told what it has to be: a client's lie got through, say.
    WrongHeaders,
    /// Another status, or another body.
    WrongAnswer,
}

/// How clients reach a contender.
#[derive(Clone)]
pub struct Way {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    h2: bool,
    /// Anybody may answer, and be told anything: the contender does not route.
    any: bool,
}

impl Way {
    /// `--to ADDRESS`, `--proto h1`, `tls` or `h2`, `--ca FILE` for the latter two, `--any` for one that does not route.
    pub fn of(options: &Options) -> Self {
        let protocol: String = options.or("proto", "h1".to_owned());
        let tls =
            (protocol != "h1").then(|| connector(options.get::<String>("ca").as_str(), protocol == "h2"));
        Self { address: options.get("to"), tls, h2: protocol == "h2", any: options.has("any") }
    }

    pub const fn is_http2(&self) -> bool {
        self.h2
    }

    pub async fn connect(&self) -> io::Result<Wire> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Wire::Http1(Box::new(Http1::new(stream, self.any)))) };
        let name = ServerName::try_from("bench.app.example").map_err(io::Error::other)?;
        let stream = tls.connect(name, stream).await?;
        if !self.h2 {
            return Ok(Wire::Http1(Box::new(Http1::new(stream, self.any))));
        }
        let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Wire::Http2(Http2 { sender, any: self.any, text: Vec::new() }))
    }
}

fn connector(ca: &str, h2: bool) -> TlsConnector {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("certificates") {
        roots.add(certificate.expect("a certificate")).expect("a certificate authority");
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = if h2 { vec![b"h2".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    TlsConnector::from(Arc::new(config))
}

/// A connection. Streams of one HTTP/2 connection are clones of it.
pub enum Wire {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Wire {
    /// Sends a request and waits for its whole answer.
    pub async fn ask(&mut self, ask: &Ask) -> io::Result<Outcome> {
        match self {
            Self::Http1(wire) => wire.ask(ask).await,
            Self::Http2(wire) => wire.ask(ask).await,
        }
    }

    /// The same connection for one more stream; `None`: it carries one request at a time.
    pub fn stream(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(wire) => {
                Some(Self::Http2(Http2 { sender: wire.sender.clone(), any: wire.any, text: Vec::new() }))
            }
        }
    }

    /// Whether the other side said that it takes no further request.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Http1(wire) if wire.is_over)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

pub struct Http1 {
    stream: Box<dyn Stream>,
    out: Vec<u8>,
    came: Vec<u8>,
    told: Vec<u8>,
    any: bool,
    is_over: bool,
}

impl Http1 {
    fn new(stream: impl Stream + 'static, any: bool) -> Self {
        Self {
            stream: Box::new(stream),
            out: Vec::with_capacity(512),
            came: Vec::with_capacity(2048),
            told: Vec::with_capacity(128),
            any,
            is_over: false,
        }
    }

    async fn ask(&mut self, ask: &Ask) -> io::Result<Outcome> {
        self.write(ask);
        self.stream.write_all(&self.out).await?;
        self.came.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.came).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = memmem::find(&self.came, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let mut seen = Seen { status: self.came.starts_with(b"HTTP/1.1 200 "), ..Seen::default() };
        let mut length = 0;
        let mut rest = &self.came[..head - 2];
        while let Some(end) = memmem::find(rest, b"\r\n") {
            let line = &rest[..end];
            rest = &rest[end + 2..];
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"x-served-by") {
                seen.region = value == ask.target().as_bytes();
            } else if name.eq_ignore_ascii_case(b"x-was-told") {
                self.told.clear();
                ask.write_told(&mut self.told);
                seen.told = value == self.told;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.is_over |= value.eq_ignore_ascii_case(b"close");
            }
        }
        if ask.method == Method::Head {
            length = 0;
        }
        while self.came.len() < head + length {
            if self.stream.read_buf(&mut self.came).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        seen.body = ask.method == Method::Head || &self.came[head..] == BODY;
        Ok(seen.outcome(self.any))
    }

    fn write(&mut self, ask: &Ask) {
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(ask.method().as_bytes());
        out.extend_from_slice(b" /v1/cases/4711 HTTP/1.1\r\nHost: ");
        ask.write_host(out);
        out.extend_from_slice(b"\r\nUser-Agent: rhumb-bench/1\r\nAccept: */*\r\n");
        out.extend_from_slice(MANAGED[ask.spoofed].as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(LIE.as_bytes());
        if ask.method == Method::Post {
            out.extend_from_slice(b"\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n");
            out.extend_from_slice(WRITTEN);
        } else {
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
}

const _: () = assert!(WRITTEN.len() == 27, "the head says so");

/// What an answer looked like.
#[derive(Default)]
struct Seen {
    status: bool,
    region: bool,
    told: bool,
    body: bool,
}

impl Seen {
    const fn outcome(&self, any: bool) -> Outcome {
        match self {
            Self { status: false, .. } | Self { body: false, .. } => Outcome::WrongAnswer,
            _ if any => Outcome::Right,
            Self { region: false, .. } => Outcome::WrongRegion,
            Self { told: false, .. } => Outcome::WrongHeaders,
            _ => Outcome::Right,
        }
    }
}

pub struct Http2 {
    sender: SendRequest<Bytes>,
    any: bool,
    text: Vec<u8>,
}

impl Http2 {
    async fn ask(&mut self, ask: &Ask) -> io::Result<Outcome> {
        self.text.clear();
        self.text.extend_from_slice(b"https://");
        ask.write_host(&mut self.text);
        self.text.extend_from_slice(b"/v1/cases/4711");
        let is_post = ask.method == Method::Post;
        let mut request = Request::builder()
            .method(ask.method())
            .uri(self.text.as_slice())
            .header("user-agent", "rhumb-bench/1")
            .header("accept", "*/*")
            .header(MANAGED[ask.spoofed], LIE);
        if is_post {
            request =
                request.header("content-type", "application/json").header("content-length", WRITTEN.len());
        }
        let request = request.body(()).map_err(io::Error::other)?;
        let ready = self.sender.clone().ready().await.map_err(io::Error::other)?;
        let (response, mut body) = {
            let mut ready = ready;
            ready.send_request(request, !is_post).map_err(io::Error::other)?
        };
        if is_post {
            body.send_data(Bytes::from_static(WRITTEN), true).map_err(io::Error::other)?;
        }
        let (head, mut body) = response.await.map_err(io::Error::other)?.into_parts();
        let value = |name: &str| head.headers.get(name).map_or(b"".as_slice(), |value| value.as_bytes());
        self.text.clear();
        ask.write_told(&mut self.text);
        let mut seen = Seen {
            status: head.status == 200,
            region: value("x-served-by") == ask.target().as_bytes(),
            told: value("x-was-told") == self.text,
            body: false,
        };
        self.text.clear();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(io::Error::other)?;
            let _ = body.flow_control().release_capacity(piece.len());
            self.text.extend_from_slice(&piece);
        }
        seen.body = ask.method == Method::Head || self.text == BODY;
        Ok(seen.outcome(self.any))
    }
}

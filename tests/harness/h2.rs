//! A client that speaks HTTP/2 as browsers do: over TLS by agreement, or in the clear unasked.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::region::RUNTIME;
use super::request::Ask;
use super::wait::PATIENCE;
use super::wire::{Answer, End};

/// An HTTP/2 connection.
pub struct H2 {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

/// A request whose head was sent.
pub struct Asked {
    response: ResponseFuture,
    /// Where its body goes.
    pub body: SendStream<Bytes>,
}

/// A response of which the head has come.
pub struct Replying {
    head: http::response::Parts,
    /// Where its body comes from.
    pub body: RecvStream,
    ahead: Vec<u8>,
    interim: Vec<u16>,
}

/// A response, and what HTTP/1 would not have shown of it.
#[derive(Debug)]
pub struct Reply {
    /// What HTTP/1 would have shown.
    pub answer: Answer,
    /// What trailed it.
    pub trailers: HeaderMap,
    /// Whether its head was all of it.
    pub head_only: bool,
    /// How it broke off.
    pub reset: Option<Reason>,
}

impl Reply {
    /// What came after its body under this name.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Deref for Reply {
    type Target = Answer;
    fn deref(&self) -> &Answer {
        &self.answer
    }
}

impl H2 {
    /// A connection in the clear.
    pub fn plain(address: SocketAddr) -> H2 {
        H2::built(address, &Builder::new())
    }

    /// The same; `None`: nobody takes it.
    pub fn try_plain(address: SocketAddr) -> Option<H2> {
        wait(async {
            let tcp = TcpStream::connect(address).await.ok()?;
            Some(H2::over(tcp, "http", &Builder::new()).await)
        })
    }

    /// The same, with settings of the client's own.
    pub fn built(address: SocketAddr, builder: &Builder) -> H2 {
        wait(async { H2::over(TcpStream::connect(address).await.unwrap(), "http", builder).await })
    }

    /// A connection over TLS to the server of this name, which has to agree on HTTP/2.
    pub fn secured(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> H2 {
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        wait(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            H2::over(stream, "https", &Builder::new()).await
        })
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
        builder: &Builder,
    ) -> H2 {
        let (send, connection) = builder.handshake(stream).await.unwrap();
        H2 { send, driver: tokio::spawn(connection), scheme }
    }

    /// Sends a request and its body, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, ask: &Ask) -> Reply {
        self.send(ask).reply().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Sends a request and its body.
    #[track_caller]
    pub fn send(&mut self, ask: &Ask) -> Asked {
        let (head, body) = ask.parts(self.scheme);
        let mut asked = self.begin(head, body.is_none());
        if let Some(body) = body {
            asked.give(body, true);
        }
        asked
    }

    /// The same; an error where nothing could be sent: the server has said that it takes no more, or is gone. What
    /// becomes of a body that is no longer taken, the answer tells.
    pub fn try_send(&mut self, ask: &Ask) -> Result<Asked, h2::Error> {
        let (head, body) = ask.parts(self.scheme);
        let mut asked = self.try_begin(head, body.is_none())?;
        if let Some(body) = body {
            let _ = asked.try_give(body, true);
        }
        Ok(asked)
    }

    /// Sends the head of a request; `ends`: and all of it.
    #[track_caller]
    pub fn begin(&mut self, head: Request<()>, ends: bool) -> Asked {
        self.try_begin(head, ends).unwrap()
    }

    fn try_begin(&mut self, head: Request<()>, ends: bool) -> Result<Asked, h2::Error> {
        let send = self.send.clone();
        let ready = wait(send.ready());
        let (response, body) = ready.and_then(|mut ready| ready.send_request(head, ends))?;
        Ok(Asked { response, body })
    }

    /// Waits until the server has ended the connection; the error is what it said, if it was one.
    pub fn ended(self) -> Result<(), h2::Error> {
        drop(self.send);
        wait(self.driver).unwrap()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // A stream is dropped where its connection runs.
        let _inside = RUNTIME.enter();
    }
}

impl Asked {
    /// Sends a piece of the body, as the server makes room for it.
    pub fn give(&mut self, piece: impl Into<Bytes>, ends: bool) {
        assert!(self.try_give(piece.into(), ends).is_ok(), "the server closed the stream");
    }

    /// The same; an error where the server closed the stream.
    pub fn try_give(&mut self, mut piece: Bytes, ends: bool) -> Result<(), h2::Error> {
        wait(async {
            while !piece.is_empty() {
                self.body.reserve_capacity(piece.len());
                let Some(room) = poll_fn(|cx| self.body.poll_capacity(cx)).await.transpose()? else {
                    return Err(h2::Error::from(Reason::STREAM_CLOSED));
                };
                let part = piece.split_to(room.min(piece.len()));
                let last = ends && piece.is_empty();
                self.body.send_data(part, last)?;
                if last {
                    return Ok(());
                }
            }
            if ends { self.body.send_data(Bytes::new(), true) } else { Ok(()) }
        })
    }

    /// Waits for an interim response of this status.
    #[track_caller]
    pub fn early(&mut self, status: u16) {
        let early = wait(poll_fn(|cx| self.response.poll_informational(cx)));
        assert_eq!(early.expect("an interim response").unwrap().status(), status);
    }

    /// Waits for the head of the answer.
    pub fn head(&mut self) -> Result<Replying, h2::Error> {
        wait(async {
            let mut interim = Vec::new();
            let response = poll_fn(|cx| {
                // Asked for the answer while nothing has come, the library would skip what comes just then.
                while let Some(Ok(early)) = ready!(self.response.poll_informational(cx)) {
                    interim.push(early.status().as_u16());
                }
                Pin::new(&mut self.response).poll(cx)
            })
            .await?;
            let (head, body) = response.into_parts();
            Ok(Replying { head, body, ahead: Vec::new(), interim })
        })
    }

    /// Waits for the whole answer, however it ends; an error where not even its head came.
    pub fn reply(&mut self) -> Result<Reply, h2::Error> {
        self.head().map(Replying::rest)
    }

    /// Gives the request up.
    pub fn reset(mut self, reason: Reason) {
        self.body.send_reset(reason);
    }
}

impl Replying {
    /// Its status.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Waits for so many bytes of its body.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            let piece = wait(self.body.data()).expect("more of a body").unwrap();
            let _ = self.body.flow_control().release_capacity(piece.len());
            self.ahead.extend_from_slice(&piece);
        }
        self.ahead.drain(..length).collect()
    }

    /// Waits for all of it.
    pub fn rest(mut self) -> Reply {
        let head_only = self.body.is_end_stream();
        let (mut bytes, mut reset, mut trailers) = (std::mem::take(&mut self.ahead), None, HeaderMap::new());
        wait(async {
            while let Some(piece) = self.body.data().await {
                match piece {
                    Ok(piece) => {
                        let _ = self.body.flow_control().release_capacity(piece.len());
                        bytes.extend_from_slice(&piece);
                    }
                    Err(error) => {
                        reset = Some(error.reason().unwrap_or(Reason::CONNECT_ERROR));
                        return;
                    }
                }
            }
            match self.body.trailers().await {
                Ok(came) => trailers = came.unwrap_or_default(),
                Err(error) => reset = error.reason(),
            }
        });
        let headers = self.head.headers.iter();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let answer = Answer {
            status: self.head.status.as_u16(),
            headers: headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
            body: bytes,
            end: if reset.is_none() { End::Whole } else { End::Aborted },
            interim: self.interim,
        };
        Reply { answer, head_only, reset, trailers }
    }
}

impl Ask {
    /// The same request for HTTP/2.
    fn parts(&self, scheme: &str) -> (Request<()>, Option<Bytes>) {
        let mut lines = self.head.split("\r\n");
        let target = lines.next().unwrap().split(' ').nth(1).unwrap();
        let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        let host = fields.iter().find(|(name, _)| *name == "Host").unwrap().1;
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(target).build().unwrap();
        let method = Method::from_bytes(self.method.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields.into_iter().filter(|(name, _)| *name != "Host") {
            request = request.header(name, value);
        }
        let body = self.body.clone().map(Bytes::from);
        if let Some(body) = &body {
            request = request.header("content-length", body.len());
        }
        (request.body(()).unwrap(), body)
    }

    /// Its head alone, for a body that comes later.
    pub fn head_for_h2(&self, scheme: &str) -> Request<()> {
        self.parts(scheme).0
    }
}

/// Waits for it on the runtime of the harness, and no longer than for anything.
#[track_caller]
fn wait<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async { timeout(PATIENCE, work).await }).expect("something came in time")
}

//! A gRPC service of a toy region: `lab.Echo`, in all four kinds of calls. A message is any bytes.
//!
//! Never: compresses, or knows what a message says.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, BufMut, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::echo::text;
use super::service::Entrance;
use super::state::{Execution, RegionState};

/// Longest message.
const MOST: usize = 64 * 1024 * 1024;
/// Messages that wait for a client to take them.
const AHEAD: usize = 4;

/// The codes that are used here.
const OK: u16 = 0;
const INVALID_ARGUMENT: u16 = 3;
const FAILED_PRECONDITION: u16 = 9;
const UNIMPLEMENTED: u16 = 12;

/// Answers a call of `/lab.Echo/METHOD`.
///
/// - `Unary` and `ClientStream` answer with all that came in one message; `ServerStream` with the one that came,
///   `x-count` times, `x-every-ms` apart; `Bidi` with each message as it comes; `Fail` with status 9 and no message.
/// - What it was asked with stands in the response: `x-seen-NAME` for `te`, `grpc-timeout`,
///   `x-request-timeout-ms`, `x-metadata` and `x-metadata-bin`. The trailers have `x-region`.
/// - Calls count as writes, executed once their messages have come whole.
pub(super) async fn call(
    State(entrance): State<Entrance>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let region = entrance.region;
    let in_flight = region.request_arrived(true);
    let (head, body) = request.into_parts();
    let is_grpc =
        text(&head.headers, "content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
    if !is_grpc {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let (sender, replies) = mpsc::channel(AHEAD);
    let mut response = Response::new(Body::new(Replies(replies)));
    *response.headers_mut() = seen(&head.headers);
    let known = ["Unary", "ClientStream", "ServerStream", "Bidi"].contains(&method.as_str());
    if !known {
        // Trailers only: the status stands in the head, and nothing follows.
        let status = if method == "Fail" { FAILED_PRECONDITION } else { UNIMPLEMENTED };
        response.headers_mut().extend(status_of(status, region.name()));
        *response.body_mut() = Body::empty();
        return response;
    }
    let count = number(&head.headers, "x-count").unwrap_or(1);
    let every = Duration::from_millis(number(&head.headers, "x-every-ms").unwrap_or(0));
    let done = Execution {
        id: text(&head.headers, "idempotency-key").or_else(|| text(&head.headers, "x-write-id")),
        tenant: text(&head.headers, "x-tenant-id"),
        key: None,
        method: "POST".to_owned(),
        path: head.uri.path().to_owned(),
        owner_region: text(&head.headers, "x-owner-region"),
        owner_epoch: text(&head.headers, "x-owner-epoch"),
        body_bytes: 0,
        position: 0,
        at: Instant::now(),
    };
    entrance.tasks.start(async move {
        let _in_flight = in_flight;
        let call = Call { messages: Messages { body, ahead: BytesMut::new() }, sender };
        call.answer(&method, (count, every), &region, done).await;
    });
    response
}

struct Call {
    messages: Messages,
    sender: mpsc::Sender<Frame<Bytes>>,
}

impl Call {
    /// Ends without trailers where the client went away, or broke off.
    async fn answer(mut self, method: &str, pace: (u64, Duration), region: &RegionState, done: Execution) {
        let mut status = OK;
        let mut whole = BytesMut::new();
        loop {
            match self.messages.next().await {
                Ok(Some(message)) if method == "Bidi" => {
                    if self.say(&message).await.is_err() {
                        return;
                    }
                }
                Ok(Some(message)) => whole.extend_from_slice(&message),
                Ok(None) => break,
                Err(Broken::Off) => return,
                Err(Broken::Message) => {
                    status = INVALID_ARGUMENT;
                    break;
                }
            }
        }
        if status == OK {
            let body_bytes = whole.len() as u64;
            let _ = region.execute(Execution { body_bytes, ..done }, None);
            let (count, every) = if method == "ServerStream" { pace } else { (1, Duration::ZERO) };
            for nth in 0..if method == "Bidi" { 0 } else { count } {
                if nth > 0 {
                    tokio::select! {
                        () = tokio::time::sleep(every) => {}
                        () = self.sender.closed() => return,
                    }
                }
                if self.say(&whole).await.is_err() {
                    return;
                }
            }
        }
        let _ = self.sender.send(Frame::trailers(status_of(status, region.name()))).await;
    }

    async fn say(&mut self, message: &[u8]) -> Result<(), mpsc::error::SendError<Frame<Bytes>>> {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
        framed.put_slice(message);
        self.sender.send(Frame::data(framed.freeze())).await
    }
}

/// The messages of a request.
struct Messages {
    body: Body,
    ahead: BytesMut,
}

enum Broken {
    /// The request ended before it was whole.
    Off,
    /// What came is no message.
    Message,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.ahead.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Err(Broken::Off),
                None if self.ahead.is_empty() => return Ok(None),
                None => return Err(Broken::Message),
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some((mut head, rest)) = self.ahead.split_at_checked(5) else { return Ok(None) };
        let compressed = head.get_u8() != 0;
        let length = head.get_u32() as usize;
        if compressed || length > MOST {
            return Err(Broken::Message);
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.ahead.advance(5);
        Ok(Some(self.ahead.split_to(length).freeze()))
    }
}

/// Data and trailers as they are made.
struct Replies(mpsc::Receiver<Frame<Bytes>>);

impl HttpBody for Replies {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

fn seen(asked: &HeaderMap) -> HeaderMap {
    let mut seen = HeaderMap::new();
    seen.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    for (name, shown) in [
        ("te", "x-seen-te"),
        ("grpc-timeout", "x-seen-grpc-timeout"),
        ("x-request-timeout-ms", "x-seen-x-request-timeout-ms"),
        ("x-metadata", "x-seen-x-metadata"),
        ("x-metadata-bin", "x-seen-x-metadata-bin"),
    ] {
        for value in asked.get_all(name) {
            seen.append(shown, value.clone());
        }
    }
    seen
}

fn status_of(status: u16, region: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    if let Ok(region) = region.parse() {
        trailers.insert("x-region", region);
    }
    if status != OK {
        trailers.insert("grpc-message", HeaderValue::from_static("as asked"));
    }
    trailers
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::PATIENCE;
    use super::super::{Protocols, RunningRegion, ToyRegion};
    use super::*;
    use http::Request;
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    struct Answered {
        head: http::response::Parts,
        body: Vec<u8>,
        trailers: Option<HeaderMap>,
    }

    async fn region() -> RunningRegion {
        ToyRegion::new("eu-west-1").speaks(Protocols::Http2).start().await.unwrap()
    }

    /// Calls `method` with `body`, which is sent as it is.
    async fn ask(
        region: &RunningRegion,
        method: &str,
        headers: &[(&str, &str)],
        body: &'static [u8],
    ) -> Answered {
        let stream = TcpStream::connect(region.address()).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        let mut request = Request::post(format!("http://toy/lab.Echo/{method}"));
        request = request.header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(body), true).unwrap();
        let read = async {
            let (head, mut reader) = response.await.unwrap().into_parts();
            let mut body = Vec::new();
            while let Some(data) = reader.data().await {
                let data = data.unwrap();
                reader.flow_control().release_capacity(data.len()).unwrap();
                body.extend_from_slice(&data);
            }
            Answered { head, body, trailers: reader.trailers().await.unwrap() }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    const TWO: &[u8] = b"\0\0\0\0\x02hi\0\0\0\0\x01!";

    #[tokio::test]
    async fn each_kind_of_call_answers_in_its_own_way_and_counts_once() {
        let eu = region().await;
        for (method, headers, expected) in [
            ("Unary", &[][..], &b"\0\0\0\0\x03hi!"[..]),
            ("ClientStream", &[], b"\0\0\0\0\x03hi!"),
            ("Bidi", &[], TWO),
            ("ServerStream", &[("x-count", "2")], b"\0\0\0\0\x03hi!\0\0\0\0\x03hi!"),
        ] {
            let answered = ask(&eu, method, headers, TWO).await;
            assert_eq!(answered.body, expected, "{method}");
            assert_eq!(answered.head.headers["x-seen-te"], "trailers");
            let trailers = answered.trailers.unwrap();
            assert_eq!(
                (&trailers["grpc-status"], &trailers["x-region"]),
                (&"0".parse().unwrap(), &"eu-west-1".parse().unwrap())
            );
        }
        assert_eq!((eu.writes_seen(), eu.writes_executed(), eu.in_flight()), (4, 4, 0));
    }

    #[tokio::test]
    async fn a_call_that_fails_has_its_status_in_the_head_and_no_trailers() {
        let eu = region().await;
        for (method, status) in [("Fail", "9"), ("Nothing", "12")] {
            let answered = ask(&eu, method, &[], b"").await;
            assert_eq!(
                (&answered.head.headers["grpc-status"], answered.trailers),
                (&status.parse::<HeaderValue>().unwrap(), None)
            );
        }
        let broken = ask(&eu, "Unary", &[], b"\0\0\0\0\x09half").await;
        assert_eq!(broken.trailers.unwrap()["grpc-status"], "3");
        assert_eq!(eu.writes_executed(), 0);
    }
}

//! The service of a toy region: a key-value store below `/kv/`, an echo everywhere else, and a few paths
//! that behave in a way worth testing.
//!
//! Of a key, PUT and POST set the value, PATCH appends to it, DELETE removes it, and every answer has what is there then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::bodies::{Filler, Paced};
use super::echo::{Echo, Secured, Taken, take, text};
use super::grpc::call;
use super::state::{Execution, RegionState, Status};
use super::store::{Change, Slot, Written};
use super::tasks::Tasks;
use super::websocket::websocket;

/// Longest value of a key.
const MOST_VALUE: usize = 1024 * 1024;
/// Longest pause that a request may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Where a request came in, and over what.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) region: Arc<RegionState>,
    pub(super) endpoint: SocketAddr,
    pub(super) tls: Option<Secured>,
    /// What goes on beside the requests of the connection, or after them.
    pub(super) tasks: Tasks,
}

/// The service, as seen through one entrance.
pub(super) fn routes(entrance: Entrance) -> Router {
    Router::new()
        .route("/stream", any(stream))
        .route("/events", any(events))
        .route("/bytes", any(bytes))
        .route("/slow", any(slow))
        .route("/status/{code}", any(status))
        .fallback(echo)
        .layer(from_fn_with_state(entrance.clone(), receive))
        .route("/health", any(health))
        .route("/ws", any(websocket))
        .route("/ws/{kind}", any(websocket))
        .route("/lab.Echo/{method}", any(call))
        .layer(from_fn_with_state(entrance.clone(), hear))
        .with_state(entrance)
}

/// A silent region takes a request in, and lets it wait until it speaks again or nobody waits any more.
async fn hear(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    entrance.region.heard().await;
    next.run(request).await
}

/// What every request goes through, `/health` excepted: it is counted, read to its end, executed if it is
/// a write, and echoed to the handler of its path, unless it was told to fail.
async fn receive(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    let region = &entrance.region;
    let (head, body) = request.into_parts();
    let is_write = matches!(head.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let _in_flight = region.request_arrived(is_write);
    let mut echo = Echo::of(&head, region.name(), entrance.endpoint.to_string(), entrance.tls.clone());
    if let Some(tenant) = &echo.tenant {
        region.tenant_arrived(tenant);
    }
    let stores = echo.key.is_some() && matches!(head.method, Method::POST | Method::PUT | Method::PATCH);

    let Ok(taken) = take(body, if stores { MOST_VALUE } else { 0 }).await else {
        return problem(&echo, StatusCode::BAD_REQUEST, "the body ended before it was complete");
    };
    let Taken { digest, trailers, kept } = taken;
    (echo.body, echo.trailers) = (digest, trailers);
    let failure = region.next_failure();
    let mut written = None;
    if is_write && failure.is_none_or(|failure| failure.execute) {
        if !region.accepts_writes() {
            return problem(&echo, StatusCode::SERVICE_UNAVAILABLE, "this region takes no writes");
        }
        if stores && kept.is_none() {
            return problem(&echo, StatusCode::PAYLOAD_TOO_LARGE, "a value has at most 1 MiB");
        }
        match execute(region, &head.headers, &echo, kept.filter(|_| stores)) {
            Some(done) => written = Some(done),
            None => return problem(&echo, StatusCode::INSUFFICIENT_STORAGE, "the store is full"),
        }
    }
    if let Some(held) = slot(&echo).and_then(|slot| region.read(&slot)) {
        echo.value = held.value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned());
        echo.position = Some(held.position.to_string());
        echo.written_by = Some(held.region.to_string());
    }
    if let Some(written) = written {
        echo.position = Some(written.position.to_string());
    }
    tokio::time::sleep(region.delay()).await;
    let mut response = match failure {
        Some(failure) => problem(&echo, failure.status, "told to fail"),
        None => {
            let mut request = Request::from_parts(head, Body::empty());
            request.extensions_mut().insert(Arc::new(echo));
            request.extensions_mut().insert(Created(written.is_some_and(|done| done.created)));
            next.run(request).await
        }
    };
    if let Some(written) = written.filter(|_| region.tells().positions()) {
        response.headers_mut().insert("x-write-position", written.position.into());
    }
    response
}

/// Whether the request created the key it wrote.
#[derive(Clone, Copy)]
struct Created(bool);

async fn echo(
    Extension(echo): Extension<Arc<Echo>>,
    Extension(Created(created)): Extension<Created>,
) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(&*echo)).into_response()
}

#[derive(Deserialize)]
struct Pace {
    #[serde(default = "three")]
    chunks: u64,
    #[serde(default)]
    every_ms: u64,
}

async fn stream(State(entrance): State<Entrance>, Query(pace): Query<Pace>) -> Response {
    let body = Paced::new(entrance.region.name(), pace.chunks, pause(pace.every_ms));
    ([("content-type", "text/plain")], Body::new(body)).into_response()
}

async fn events(State(entrance): State<Entrance>, Query(pace): Query<Pace>) -> Response {
    let body = Paced::new(entrance.region.name(), pace.chunks, pause(pace.every_ms)).events();
    ([("content-type", "text/event-stream"), ("cache-control", "no-store")], Body::new(body)).into_response()
}

#[derive(Deserialize)]
struct Length {
    n: u64,
}

async fn bytes(Query(Length { n }): Query<Length>) -> Response {
    ([("content-type", "application/octet-stream")], Body::new(Filler { left: n })).into_response()
}

#[derive(Deserialize)]
struct Pause {
    ms: u64,
}

async fn slow(Query(Pause { ms }): Query<Pause>, Extension(echo): Extension<Arc<Echo>>) -> Response {
    tokio::time::sleep(pause(ms)).await;
    Json(&*echo).into_response()
}

async fn status(Path(code): Path<u16>, Extension(echo): Extension<Arc<Echo>>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
            response
        }
        Ok(status) if code >= 200 => (status, Json(&*echo)).into_response(),
        _ => {
            problem(&echo, StatusCode::BAD_REQUEST, "not the code of an answer; ask for one from 200 to 999")
        }
    }
}

async fn health(State(entrance): State<Entrance>) -> Response {
    let report = entrance.region.report(Instant::now());
    let status = if report.status == Status::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(report)).into_response()
}

fn execute(
    region: &RegionState,
    headers: &http::HeaderMap,
    echo: &Echo,
    value: Option<Bytes>,
) -> Option<Written> {
    let change = match (echo.method.as_str(), value) {
        ("DELETE", _) => Some(Change::Delete),
        ("PATCH", Some(more)) => Some(Change::Append(more)),
        (_, value) => value.map(Change::Put),
    };
    let change = slot(echo).zip(change);
    let done = Execution {
        id: text(headers, "idempotency-key").or_else(|| text(headers, "x-write-id")),
        tenant: echo.tenant.clone(),
        key: echo.key.clone(),
        method: echo.method.clone(),
        path: echo.path.clone(),
        owner_region: text(headers, "x-owner-region"),
        owner_epoch: text(headers, "x-owner-epoch"),
        body_bytes: echo.body.bytes,
        position: 0,
        at: Instant::now(),
    };
    region.execute(done, change).ok()
}

fn slot(echo: &Echo) -> Option<Slot> {
    let key = echo.key.clone()?;
    Some(Slot { tenant: echo.tenant.clone().unwrap_or_default(), key })
}

fn problem(echo: &Echo, status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "region": echo.region, "error": what }))).into_response()
}

fn pause(ms: u64) -> Duration {
    Duration::from_millis(ms).min(LONGEST_PAUSE)
}

fn three() -> u64 {
    3
}

#[cfg(test)]
mod tests {
    use super::super::ToyRegion;
    use super::super::testing::{PATIENCE, answer, ask};
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_echo_says_who_answered_and_everything_that_came() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let headers = [("X-Thing", "one"), ("x-thing", "two"), ("X-Tenant-ID", "acme")];
        let said = ask(eu.address(), "GET", "/v1/cases?q=1%202", &headers, b"").await.json;
        assert_eq!(said["region"], "eu-west-1");
        assert_eq!(said["endpoint"], eu.address().to_string());
        assert_eq!((said["method"].as_str(), said["path"].as_str()), (Some("GET"), Some("/v1/cases")));
        assert_eq!((said["query"].as_str(), said["tenant"].as_str()), (Some("q=1%202"), Some("acme")));
        assert_eq!(said["headers"]["x-thing"], json!(["one", "two"]));
        assert_eq!((eu.reads_seen(), eu.writes_seen()), (1, 0));
    }

    #[tokio::test]
    async fn a_write_is_logged_with_the_headers_it_was_decided_by() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let headers = [
            ("X-Tenant-ID", "acme"),
            ("X-Owner-Region", "eu-west-1"),
            ("X-Owner-Epoch", "7"),
            ("X-Write-Id", "w-1"),
        ];
        let put = ask(eu.address(), "PUT", "/kv/color", &headers, b"blue").await;
        assert_eq!((put.status, put.header("x-write-position")), (201, Some("1")));
        assert_eq!((put.json["value"].as_str(), put.json["body"]["bytes"].as_u64()), (Some("blue"), Some(4)));
        assert_eq!(ask(eu.address(), "PUT", "/kv/color", &headers, b"red").await.status, 200);
        let first = Execution {
            id: Some("w-1".to_owned()),
            tenant: Some("acme".to_owned()),
            key: Some("color".to_owned()),
            method: "PUT".to_owned(),
            path: "/kv/color".to_owned(),
            owner_region: Some("eu-west-1".to_owned()),
            owner_epoch: Some("7".to_owned()),
            body_bytes: 4,
            position: 1,
            at: eu.executions()[0].at,
        };
        assert_eq!(eu.executions()[0], first);
        assert!(eu.executions()[0].at <= eu.executions()[1].at);
        assert_eq!((eu.executions_of("w-1"), eu.position()), (2, 2));
        assert_eq!(eu.tenants_seen(), ["acme"]);
    }

    #[tokio::test]
    async fn a_write_elsewhere_is_logged_and_its_body_digested() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let body = vec![b'x'; 3 * 1024 * 1024];
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let said = ask(eu.address(), method, "/v1/cases", &[], &body).await;
            assert_eq!((said.status, said.json["body"]["bytes"].as_u64()), (200, Some(body.len() as u64)));
            let sha256 = said.json["body"]["sha256"].as_str().unwrap();
            assert_eq!(sha256, super::super::echo::hex(&<sha2::Sha256 as sha2::Digest>::digest(&body)));
        }
        assert_eq!((eu.writes_executed(), eu.position()), (4, 4));
        assert_eq!(ask(eu.address(), "PUT", "/kv/large", &[], &body).await.status, 413);
        assert_eq!(eu.writes_executed(), 4);
    }

    #[tokio::test]
    async fn a_region_tells_of_its_copies_what_it_was_told_to_tell() {
        use super::super::Tells;
        let (eu, us) =
            (ToyRegion::new("eu").start().await.unwrap(), ToyRegion::new("us").start().await.unwrap());
        eu.replicate_from(&us, Duration::ZERO);
        for (tells, positions, lags) in [
            (Tells::Both, true, true),
            (Tells::Positions, true, false),
            (Tells::Lags, false, true),
            (Tells::Nothing, false, false),
        ] {
            eu.set_tells(tells);
            let said = ask(eu.address(), "GET", "/health", &[], b"").await.json;
            let of_us = &said["replication"]["us"];
            assert_eq!((said["position"].is_string(), of_us["position"].is_string()), (positions, positions));
            assert_eq!(of_us["lag_seconds"].is_number(), lags);
            let put = ask(eu.address(), "PUT", "/kv/a", &[], b"1").await;
            assert_eq!(put.header("x-write-position").is_some(), positions);
        }
    }

    #[tokio::test]
    async fn a_patch_appends_to_the_value() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        assert_eq!(ask(eu.address(), "PATCH", "/kv/a", &[], b"one ").await.status, 201);
        let patched = ask(eu.address(), "PATCH", "/kv/a", &[], b"two ").await;
        assert_eq!((patched.status, patched.json["value"].as_str()), (200, Some("one two ")));
        assert_eq!(ask(eu.address(), "GET", "/kv/a", &[], b"").await.json["value"], "one two ");
    }

    #[tokio::test]
    async fn a_deleted_value_is_gone() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        ask(eu.address(), "PUT", "/kv/a", &[], b"1").await;
        ask(eu.address(), "DELETE", "/kv/a", &[], b"").await;
        let read = ask(eu.address(), "GET", "/kv/a", &[], b"").await.json;
        assert_eq!((&read["value"], read["position"].as_str()), (&serde_json::Value::Null, Some("2")));
    }

    #[tokio::test]
    async fn a_write_whose_body_ends_early_is_never_executed() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let mut stream = TcpStream::connect(eu.address()).await.unwrap();
        stream.write_all(b"PUT /kv/a HTTP/1.1\r\nHost: toy\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!((eu.writes_seen(), eu.writes_executed()), (1, 0));
    }

    #[tokio::test]
    async fn a_silent_region_accepts_and_answers_nobody_until_it_speaks_again() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        eu.set_silent(true);
        let gone = TcpStream::connect(eu.address()).await.unwrap();
        let write = b"PUT /kv/gone HTTP/1.1\r\nHost: toy\r\nContent-Length: 1\r\n\r\n1";
        {
            let mut gone = gone;
            gone.write_all(write).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(50), gone.read(&mut [0])).await;
            assert!(answer.is_err(), "it says nothing");
        }
        let mut health = TcpStream::connect(eu.address()).await.unwrap();
        health.write_all(b"GET /health HTTP/1.1\r\nHost: toy\r\nConnection: close\r\n\r\n").await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(50), health.read(&mut [0])).await;
        assert!(answer.is_err(), "not of its health either");
        assert_eq!((eu.health_checks_seen(), eu.writes_seen(), eu.writes_executed()), (0, 0, 0));
        eu.set_silent(false);
        let mut said = Vec::new();
        tokio::time::timeout(PATIENCE, health.read_to_end(&mut said)).await.unwrap().unwrap();
        assert!(said.starts_with(b"HTTP/1.1 200"), "who still waits is answered");
        assert_eq!(ask(eu.address(), "PUT", "/kv/a", &[], b"1").await.status, 201);
        assert_eq!(eu.writes_executed(), 1, "who had gone is forgotten");
    }

    #[tokio::test]
    async fn a_region_that_takes_no_writes_says_so_and_executes_none() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        eu.set_accepts_writes(false);
        assert_eq!(ask(eu.address(), "PUT", "/kv/a", &[], b"1").await.status, 503);
        assert_eq!((eu.writes_seen(), eu.writes_executed()), (1, 0));
    }

    #[tokio::test]
    async fn trailers_are_echoed_apart_from_headers() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let mut stream = TcpStream::connect(eu.address()).await.unwrap();
        let request =
            b"POST /t HTTP/1.1\r\nHost: toy\r\nConnection: close\r\nTE: trailers\r\nTrailer: X-Late\r\n\
            Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: yes\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let said = answer(&all).json;
        assert_eq!(said["trailers"], json!({ "x-late": ["yes"] }));
        assert_eq!(said["headers"]["x-late"], serde_json::Value::Null);
    }

    #[tokio::test]
    async fn the_other_paths_stream_fill_wait_and_answer_as_asked() {
        let eu = ToyRegion::new("eu-west-1").start().await.unwrap();
        let streamed = ask(eu.address(), "GET", "/stream?chunks=2&every_ms=1", &[], b"").await;
        assert_eq!(streamed.body, b"chunk 1 of 2 from eu-west-1\nchunk 2 of 2 from eu-west-1\n");
        let filled = ask(eu.address(), "GET", "/bytes?n=100000", &[], b"").await;
        assert_eq!((filled.body.len(), filled.header("content-length")), (100_000, Some("100000")));
        assert_eq!(ask(eu.address(), "GET", "/slow?ms=1", &[], b"").await.json["path"], "/slow");
        assert_eq!(ask(eu.address(), "GET", "/status/418", &[], b"").await.status, 418);
        let empty = ask(eu.address(), "POST", "/status/204", &[], b"x").await;
        assert_eq!((empty.status, empty.body.len()), (204, 0));
        assert_eq!(ask(eu.address(), "GET", "/status/99", &[], b"").await.status, 400);
        assert_eq!(ask(eu.address(), "GET", "/bytes?n=many", &[], b"").await.status, 400);
        assert_eq!((eu.reads_seen(), eu.writes_executed()), (6, 1));
    }
}

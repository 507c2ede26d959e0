//! Whoever should not be there, and what should not be said.

use std::time::Duration;

use axum::body::Body;
use serde_json::json;

use super::{no_tokens, side, side_with};
use crate::telemetry::fixture;

#[tokio::test]
async fn a_change_needs_its_reason_and_nothing_unknown() {
    let mut side = side();
    for (path, body) in [
        ("/v1/table/accept", json!({"hash": "def"})),
        ("/v1/table/accept", json!({"hash": "def", "reason": "  "})),
        ("/v1/table/accept", json!({"hash": "def", "reason": "a\nb"})),
        ("/v1/table/accept", json!({"hash": "def", "reason": "a".repeat(1_001)})),
        ("/v1/table/accept", json!({"hash": "def", "reason": "x", "force": true})),
        ("/v1/table/rollback", json!({})),
        ("/v1/table/reload", json!({"path": "/etc/passwd"})),
    ] {
        assert_eq!(side.post(path, &body).await.reason(), (400, "bad_request".into()), "{path} {body}");
    }
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn a_change_without_a_token_is_refused_whatever_its_path() {
    let mut side = side();
    let tokens: &[&[(&str, &str)]] = &[
        &[],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "Bearer goo")],
        &[("authorization", "Bearer goodx")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic good")],
        &[("authorization", "good")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer good")],
        &[("authorization", "Bearer good"), ("authorization", "Bearer good")],
    ];
    for headers in tokens {
        for path in ["/v1/drains", "/v1/table/reload", "/v1/table/reload?token=good", "/nowhere"] {
            let answer = side.ask("POST", path, headers, "").await;
            assert_eq!(answer.reason(), (401, "unauthorized".into()), "{path} {headers:?}");
            assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert!(!answer.text.contains("good"));
            // Each in a second of its own: how many a second has room for is another matter.
            side.clock.advance(Duration::from_secs(1));
        }
    }
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
    let known = side.ask("POST", "/v1/drain", &[("authorization", "bearer good")], "").await;
    assert_eq!(known.reason(), (404, "not_found".into()));
}

#[tokio::test]
async fn without_a_token_there_are_no_changes_and_closed_reads_are_closed() {
    let none = side_with(|state| state.tokens = no_tokens(), fixture::snapshot(1), None);
    assert_eq!(none.post("/v1/table/reload", &json!({})).await.reason().0, 401);
    assert_eq!(none.get("/v1/table").await.status, 200);
    let closed = side_with(|state| state.open_reads = false, fixture::snapshot(1), None);
    for path in ["/v1/table", "/v1/status", "/metrics", "/v1/nowhere"] {
        assert_eq!(closed.get(path).await.reason().0, 401, "{path}");
    }
    let explain = closed.ask("POST", "/v1/explain", &[("content-type", "application/json")], "{}").await;
    assert_eq!(explain.reason().0, 401);
    let open = side();
    let explain = open.ask("POST", "/v1/explain", &[("content-type", "application/json")], "{}").await;
    assert_eq!(explain.status, 200, "explain follows the rule for reads");
    for path in ["/healthz", "/readyz"] {
        assert_ne!(closed.get(path).await.status, 401, "{path}");
    }
    let shown = closed.ask("GET", "/v1/table", &[("authorization", "Bearer good")], "").await;
    assert_eq!(shown.status, 200);
}

#[tokio::test]
async fn a_stranger_by_name_is_turned_away() {
    let side = side();
    for host in [
        "evil.test",
        "evil.test:9900",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        "10.0.0.1:9900",
        "",
        "a b",
    ] {
        for path in ["/v1/status", "/", "/v1/nowhere"] {
            let answer = side.ask("GET", path, &[("host", host)], "").await;
            assert_eq!(answer.reason(), (403, "forbidden_host".into()), "{host} {path}");
        }
        for path in ["/healthz", "/metrics"] {
            assert_eq!(side.ask("GET", path, &[("host", host)], "").await.status, 200, "{host} {path}");
        }
    }
    for host in ["127.0.0.1:9900", "localhost", "LOCALHOST:9900", "[::1]:9900", "127.0.0.1:19900"] {
        assert_eq!(side.ask("GET", "/v1/status", &[("host", host)], "").await.status, 200, "{host}");
    }
    let two = [("host", "localhost"), ("host", "evil.test")];
    assert_eq!(side.ask("GET", "/v1/status", &two, "").await.reason().0, 403);
    let absolute = side.ask("GET", "http://evil.test/v1/status", &[], "").await;
    assert_eq!(absolute.reason().0, 403);
    for origin in ["http://evil.test", "null", "http://localhost:3000", "http://127.0.0.1:9900.evil.test"] {
        let headers = [("origin", origin), ("authorization", "Bearer good")];
        assert_eq!(side.ask("POST", "/v1/table/reload", &headers, "").await.reason().0, 403, "{origin}");
    }
    let own = side.ask("GET", "/v1/status", &[("origin", "http://127.0.0.1:9900")], "").await;
    assert_eq!(own.status, 200);
}

#[tokio::test]
async fn a_name_is_told_by_all_of_it_however_it_is_written() {
    let side = side();
    for host in ["[::1]", "[::1]:9900", "[0:0:0:0:0:0:0:1]", "127.1.2.3", "127.0.0.1:1", "localhost."] {
        assert_eq!(side.ask("GET", "/v1/status", &[("host", host)], "").await.status, 200, "{host}");
    }
    for host in [
        "[::2]:9900",
        "[::1",
        "::1",
        "[::1]evil.test",
        "[::ffff:10.0.0.1]:9900",
        "0.0.0.0:9900",
        "[::]:9900",
        "127.0.0.1@evil.test",
        "evil.test#127.0.0.1",
        "127.0.0.1:99000",
        "127.0.0.1:",
        "127.1",
        "2130706433",
        "127.0.0.1, evil.test",
    ] {
        let status = side.ask("GET", "/v1/status", &[("host", host)], "").await.status;
        assert_eq!(status, 403, "{host}");
    }
    // An absolute target does not speak for a foreign Host, nor the other way round.
    for (target, host) in [
        ("http://evil.test/v1/status", "127.0.0.1:9900"),
        ("http://127.0.0.1:9900/v1/status", "evil.test"),
        ("http://localhost@evil.test/v1/status", "localhost"),
    ] {
        let refused = side.ask("GET", target, &[("host", host)], "").await;
        assert_eq!(refused.reason(), (403, "forbidden_host".into()), "{target} {host}");
    }
    let own = side.ask("GET", "http://127.0.0.1:9900/v1/status", &[("host", "127.0.0.1:9900")], "").await;
    assert_eq!(own.status, 200);
    // As of HTTP/1.0: no Host at all.
    assert_eq!(side.ask("GET", "/v1/status", &[("host", "")], "").await.reason().0, 403);
}

#[tokio::test]
async fn a_page_of_another_origin_is_a_stranger_however_it_names_itself() {
    let mut side = side();
    for origin in [
        "null",
        "http://127.0.0.1",
        "https://127.0.0.1:9900",
        "http://localhost:9900",
        "http://[::1]:9900",
        "http://127.0.0.1:9900/",
        "http://127.0.0.1:9900@evil.test",
        "127.0.0.1:9900",
        "file://",
        "http://",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let headers = [("origin", origin), ("authorization", "Bearer good")];
            let refused = side.ask(method, "/v1/table/reload", &headers, "").await;
            assert_eq!(refused.reason(), (403, "forbidden_host".into()), "{method} {origin}");
        }
    }
    let two = [("origin", "http://127.0.0.1:9900"), ("origin", "http://evil.test")];
    assert_eq!(side.ask("GET", "/v1/status", &two, "").await.reason().0, 403);
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn no_header_makes_another_request_of_one() {
    let mut side = side();
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let headers = [("authorization", "Bearer good"), (name, "POST")];
        let answer = side.ask("GET", "/v1/table/reload", &headers, "").await;
        assert_eq!(answer.reason().0, 405, "{name}");
        let headers = [(name, "GET")];
        assert_eq!(side.ask("POST", "/v1/table/reload", &headers, "").await.reason().0, 401, "{name}");
    }
    for name in ["x-original-url", "x-rewrite-url", "x-forwarded-host", "forwarded"] {
        let headers = [(name, "/healthz")];
        assert_eq!(side.ask("POST", "/v1/table/reload", &headers, "").await.reason().0, 401, "{name}");
    }
    for path in
        ["/v1/table/reload?_method=GET", "/v1/explain/../table/reload", "/v1/explain/", "/v1/explain;x"]
    {
        assert_eq!(side.ask("POST", path, &[], "{}").await.reason().0, 401, "{path}");
    }
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn a_body_is_json_by_one_name_alone() {
    let side = side();
    for kind in [
        "application/json, text/plain",
        "text/plain; application/json",
        "text/json",
        "application/json text/plain",
        "multipart/form-data; boundary=application/json",
        "application/problem+json",
    ] {
        let headers = [("authorization", "Bearer good"), ("content-type", kind)];
        let answer = side.ask("POST", "/v1/explain", &headers, "{}").await;
        assert_eq!(answer.reason(), (415, "unsupported_media_type".into()), "{kind}");
    }
    let two = [("content-type", "application/json"), ("content-type", "text/plain")];
    assert_eq!(side.ask("POST", "/v1/explain", &two, "{}").await.reason().0, 415);
    for kind in ["application/json", "Application/JSON", "application/json ; charset=utf-8"] {
        let answer = side.ask("POST", "/v1/explain", &[("content-type", kind)], "{}").await;
        assert_eq!(answer.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn no_answer_lets_another_page_in() {
    let side = side();
    for origin in ["http://evil.test", "http://127.0.0.1:9900"] {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = side.ask("OPTIONS", "/v1/table/reload", &headers, "").await;
        assert!(answer.status.is_client_error());
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        assert_eq!(
            (&answer.headers["cache-control"], &answer.headers["x-content-type-options"]),
            (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn get_changes_nothing_and_odd_paths_lead_nowhere() {
    let mut side = side();
    let good = [("authorization", "Bearer good")];
    for path in ["/v1/table/reload", "/v1/table/accept", "/v1/explain"] {
        let answer = side.ask("GET", path, &good, "").await;
        assert_eq!(answer.reason(), (405, "method_not_allowed".into()), "{path}");
        assert_eq!(answer.headers["allow"], "POST", "{path}");
    }
    for (method, path) in [("POST", "/v1/table"), ("DELETE", "/v1/tenants/acme"), ("PUT", "/metrics")] {
        assert_eq!(side.ask(method, path, &good, "").await.reason().0, 405, "{method} {path}");
    }
    for path in
        ["/v1/../metrics", "/metrics/..;/v1/table", "//v1/table", "/V1/table", "/v1/table/", "/v1/drain"]
    {
        assert_eq!(side.get(path).await.reason(), (404, "not_found".into()), "{path}");
    }
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn bodies_are_bounded_typed_and_not_deep() {
    let side = side();
    let json_headers =
        [("authorization", "Bearer good"), ("content-type", "application/json; charset=utf-8")];
    let long = "x".repeat(64 * 1024 + 1);
    for path in ["/v1/explain", "/v1/drains", "/v1/table/reload"] {
        let answer = side.ask("POST", path, &json_headers, long.clone()).await;
        assert_eq!(answer.reason(), (413, "body_too_large".into()), "{path}");
    }
    // Its length is not told beforehand: it is counted as it comes.
    let unknown = Body::new(Endless);
    assert_eq!(side.ask("POST", "/v1/explain", &json_headers, unknown).await.reason().0, 413);
    for body in [
        "[".repeat(60_000),
        "{\"headers\":".repeat(5_000),
        String::new(),
        "\u{0}".into(),
        "{\"path\":\"/\",\"path\":\"/\"}".into(),
    ] {
        let answer = side.ask("POST", "/v1/explain", &json_headers, body).await;
        assert_eq!(answer.reason(), (400, "bad_request".into()));
    }
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let headers = [("authorization", "Bearer good"), ("content-type", kind)];
        let answer = side.ask("POST", "/v1/explain", &headers, "{}").await;
        assert_eq!(answer.reason(), (415, "unsupported_media_type".into()), "{kind}");
    }
}

/// A body of which there is always more.
struct Endless;

impl axum::body::HttpBody for Endless {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Self::Data::from_static(&[b' '; 1_024])))))
    }
}

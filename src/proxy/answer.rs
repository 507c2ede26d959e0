//! Refusal to response: the one place where a status, its headers and its body are written.
//!
//! Never: tells anything internal, or writes once a region's response has begun.

use bytes::Bytes;
use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use rhumb_decision::reason::Refusal;

use crate::proxy::grpc;

/// The methods that are let through, as `Allow` names them.
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// In which form a client reads a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A status and a problem document (RFC 9457).
    Problem,
    /// Status 200 and a gRPC status in the head, as a response that has trailers only.
    Grpc,
}

impl Form {
    /// The form for a request with this `Content-Type`.
    pub fn of(content_type: Option<&[u8]>) -> Self {
        if grpc::is_grpc(content_type) { Self::Grpc } else { Self::Problem }
    }
}

/// After how many seconds it makes sense to ask again; `None` where it does not.
///
/// Full queues empty within a second; owners, freezes and health take a few.
pub(super) const fn retry_after(refusal: Refusal) -> Option<&'static str> {
    match (refusal, refusal.status()) {
        (Refusal::Overloaded, _) => Some("1"),
        (_, 503) => Some("5"),
        _ => None,
    }
}

/// The body: type, title, status, reason, request id.
pub(super) fn problem(refusal: Refusal, request_id: &str) -> String {
    let (code, title, status) = (refusal.code(), refusal.title(), refusal.status());
    format!(
        r#"{{"type":"urn:rhumb:refusal:{code}","title":"{title}","status":{status},"reason":"{code}","request_id":"{request_id}"}}"#
    )
}

/// Answers for a session that was given up.
///
/// Does nothing when a final response has begun: then only closing tells the client.
///
/// # Errors
/// The client is gone.
pub(super) async fn refuse(
    session: &mut ServerSession,
    refusal: Refusal,
    request_id: &str,
) -> pingora::Result<()> {
    refuse_with(session, refusal, request_id, |_| Ok(())).await
}

/// The same; `more` adds what else its head has to say.
///
/// # Errors
/// The client is gone, or `more` failed.
pub(super) async fn refuse_with(
    session: &mut ServerSession,
    refusal: Refusal,
    request_id: &str,
    more: impl FnOnce(&mut ResponseHeader) -> pingora::Result<()>,
) -> pingora::Result<()> {
    if has_begun(session) {
        return Ok(());
    }
    refuse_saying(session, refusal, request_id, more).await
}

/// Answers for a session that nothing was written to; `more` adds what else its head has to say.
///
/// # Errors
/// The client is gone, or `more` failed.
pub(super) async fn refuse_saying(
    session: &mut ServerSession,
    refusal: Refusal,
    request_id: &str,
    more: impl FnOnce(&mut ResponseHeader) -> pingora::Result<()>,
) -> pingora::Result<()> {
    let request = session.req_header();
    let form = Form::of(request.headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes));
    let head_only = request.method == http::Method::HEAD;
    let (mut head, body) = response(refusal, request_id, form)?;
    more(&mut head)?;
    if (head_only || body.is_empty()) && is_stream(session) {
        // One frame says it all; trailers alone are a head with nothing after it.
        if form == Form::Grpc {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        session.response_duplex_vec(vec![HttpTask::Header(Box::new(head), true)]).await?;
        return Ok(());
    }
    session.write_response_header(Box::new(head)).await?;
    if !head_only {
        session.write_response_body(body, true).await?;
    }
    session.finish_body().await
}

/// Ends a call whose response has begun with a status of ours, where the protocol has trailers to say it in.
///
/// # Errors
/// The client is gone.
pub(super) async fn break_off_call(session: &mut ServerSession, refusal: Refusal) -> pingora::Result<()> {
    if !is_stream(session) || !has_begun(session) {
        return Ok(());
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", u16::from(refusal.grpc()).into());
    if let Ok(message) = format!("{}: {}", refusal.code(), refusal.title()).parse() {
        trailers.insert("grpc-message", message);
    }
    session.write_response_trailers(trailers).await
}

/// Whether it came as a stream of HTTP/2.
fn is_stream(session: &ServerSession) -> bool {
    session.req_header().version == http::Version::HTTP_2
}

/// Whether a final response has begun.
pub(super) fn has_begun(session: &ServerSession) -> bool {
    session.response_written().is_some_and(|head| !head.status.is_informational() || head.status == 101)
}

/// Whether the response that has begun ends where the connection does: its head tells no other end.
pub(super) fn ends_with_connection(session: &ServerSession) -> bool {
    session.response_written().is_some_and(|head| {
        head.status != 101
            && !head.headers.contains_key(header::CONTENT_LENGTH)
            && !head.headers.contains_key(header::TRANSFER_ENCODING)
    })
}

fn response(refusal: Refusal, request_id: &str, form: Form) -> pingora::Result<(ResponseHeader, Bytes)> {
    let (status, kind, body) = match form {
        Form::Problem => {
            (refusal.status(), "application/problem+json", Bytes::from(problem(refusal, request_id)))
        }
        Form::Grpc => (200, "application/grpc", Bytes::new()),
    };
    let mut head = ResponseHeader::build_no_case(status, Some(8))?;
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(seconds) = retry_after(refusal) {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if status == 405 {
        head.insert_header(header::ALLOW, ALLOW)?;
    }
    if form == Form::Grpc {
        head.insert_header("grpc-status", refusal.grpc().to_string())?;
        head.insert_header("grpc-message", format!("{}: {}", refusal.code(), refusal.title()))?;
    }
    Ok((head, body))
}

/// The whole response in bytes, for a connection that no session was made for; it closes the connection.
/// `with_body`: false after HEAD.
pub(super) fn raw(refusal: Refusal, request_id: &str, with_body: bool) -> Vec<u8> {
    let status = refusal.status();
    let phrase = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let body = problem(refusal, request_id);
    let mut text = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n",
        phrase.unwrap_or("Refused"),
        body.len()
    );
    if let Some(seconds) = retry_after(refusal) {
        text.push_str(&format!("Retry-After: {seconds}\r\n"));
    }
    if status == 405 {
        text.push_str(&format!("Allow: {ALLOW}\r\n"));
    }
    text.push_str("\r\n");
    if with_body {
        text.push_str(&body);
    }
    text.into_bytes()
}

/// Answers `OPTIONS` whose `Max-Forwards` has run out: this process is the one that was asked.
///
/// # Errors
/// The client is gone.
pub(super) async fn options(session: &mut ServerSession) -> pingora::Result<()> {
    let mut head = ResponseHeader::build_no_case(204, Some(4))?;
    head.insert_header(header::ALLOW, ALLOW)?;
    session.write_response_header(Box::new(head)).await?;
    session.finish_body().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_a_problem_document_with_its_own_reason() {
        for refusal in Refusal::ALL {
            let (head, body) = response(refusal, "id-1", Form::Problem).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(head.status.as_u16(), refusal.status());
            assert_eq!(body["status"], refusal.status());
            assert_eq!(body["reason"], refusal.code());
            assert_eq!(body["request_id"], "id-1");
            assert_eq!(body["title"], refusal.title());
            assert_eq!(head.headers.contains_key(header::RETRY_AFTER), refusal.status() == 503);
            assert_eq!(head.headers.contains_key(header::ALLOW), refusal.status() == 405);
        }
    }

    #[test]
    fn grpc_gets_a_status_in_the_head_and_no_body() {
        let (head, body) = response(Refusal::OwnerUnavailable, "id-1", Form::Grpc).unwrap();
        assert_eq!((head.status.as_u16(), body.len()), (200, 0));
        assert_eq!(head.headers["grpc-status"], "14");
        assert_eq!(head.headers["content-type"], "application/grpc");
        assert_eq!(head.headers["retry-after"], "5");
    }

    #[test]
    fn the_form_follows_the_content_type() {
        for (kind, form) in [
            ("application/grpc", Form::Grpc),
            ("Application/gRPC+proto", Form::Grpc),
            ("application/grpc; charset=x", Form::Grpc),
            ("application/grpc-web", Form::Problem),
            ("application/json", Form::Problem),
            ("", Form::Problem),
        ] {
            assert_eq!(Form::of(Some(kind.as_bytes())), form, "{kind}");
        }
        assert_eq!(Form::of(None), Form::Problem);
    }

    #[test]
    fn a_raw_answer_is_one_whole_response() {
        let text = String::from_utf8(raw(Refusal::Overloaded, "id-1", true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.contains("Connection: close") && head.contains("Retry-After: 1"));
    }
}

//! The head of a stream: checked, and then written as the head of an HTTP/1 request would be.
//!
//! Why: rules, logs and regions then see one form of it, whatever the client speaks. The authority becomes `Host`,
//! the target a path, and the crumbs of a cookie one field.
//!
//! Never: repairs what the gate would refuse.

use std::sync::Arc;
use std::time::Duration;

use h2::RecvStream;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use pingora::http::RequestHeader;

use crate::proxy::connection::{Origin, arrived};
use crate::proxy::gate::{GateCause, GateLimits, check_stream};

/// Checks the head of a stream: returns it with what is known of the request, or as it came and why it is refused.
pub(super) fn check(
    parts: Parts,
    body: &RecvStream,
    limits: &GateLimits,
    origin: Origin,
    began: Duration,
) -> (RequestHeader, Option<GateCause>) {
    let checked = check_stream(&parts, body.is_end_stream(), limits).map(|head| {
        // What one stream needs is no other's business.
        let backlog = origin.backlog.another();
        let own = Origin { line: Arc::default(), owed: Arc::default(), backlog, ..origin };
        let mut arrived = arrived(own, &head, began);
        if arrived.has_body {
            arrived.owed.a_body();
        }
        arrived.takes_trailers = parts.headers.get(header::TE).is_some_and(|te| te == "trailers");
        (arrived, head.target.rewritten.then(|| head.target.origin_form()))
    });
    let written = checked.and_then(|(arrived, target)| {
        let (target, host) = place(&parts, target).ok_or(GateCause::TargetForm)?;
        Ok((arrived, target, host))
    });
    match written {
        Ok((arrived, target, host)) => {
            let mut parts = parts;
            parts.uri = target;
            if let Some(host) = host {
                parts.headers.insert(header::HOST, host);
            }
            if body.is_end_stream() && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
                // The end of a stream says it; in HTTP/1 many services insist on a length.
                parts.headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
            }
            join_crumbs(&mut parts.headers);
            parts.extensions.insert(arrived);
            (RequestHeader::from(parts), None)
        }
        Err(cause) => (RequestHeader::from(parts), Some(cause)),
    }
}

/// The path as rules see it, and the host, if the authority names it.
fn place(parts: &Parts, rewritten: Option<String>) -> Option<(Uri, Option<HeaderValue>)> {
    let target = match rewritten {
        Some(target) => PathAndQuery::try_from(target).ok()?,
        None => parts.uri.path_and_query()?.clone(),
    };
    let host = match parts.uri.authority() {
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).ok()?),
        None => None,
    };
    Some((Uri::from(target), host))
}

/// Makes one `Cookie` of many (RFC 9113, 8.2.3), and gives back the room that they took.
fn join_crumbs(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let Ok(cookie) = HeaderValue::from_bytes(&joined) else { return };
    let mut fewer = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::COOKIE) {
        fewer.append(name.clone(), value.clone());
    }
    fewer.insert(header::COOKIE, cookie);
    *headers = fewer;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_become_one_cookie_and_other_fields_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("x", "2"), ("cookie", "c=3")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        join_crumbs(&mut headers);
        let all =
            |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("cookie"), ["a=1; b=2; c=3"]);
        assert_eq!(all("x"), ["1", "2"]);
    }

    #[test]
    fn one_cookie_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        join_crumbs(&mut headers);
        assert_eq!(headers[header::COOKIE], "a=1; b=2");
    }
}

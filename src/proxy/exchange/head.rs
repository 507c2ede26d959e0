//! The head of a request that passed the gate, as everything behind it reads it.
//!
//! Why not Pingora's parser: it would read the same bytes a second time, and keep the spelling of every name in a map of
//! its own, that nobody asks for. What the gate saw is what is meant, so the fields are taken from where it saw them.
//!
//! Never: sees a head that did not pass the gate.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use pingora::http::RequestHeader;

use crate::proxy::gate::GateCause;

/// Where a field's name is in a head, and where its value.
pub(in crate::proxy) type Place = (Range<usize>, Range<usize>);

/// Makes a head of `bytes`, in which the fields are at `places`; `target`: in origin form.
///
/// # Errors
/// A target with a byte that no URI has (RFC 3986, 2): whoever reads it behind may take it for anything.
pub(in crate::proxy) fn read(
    bytes: &Bytes,
    method: Method,
    target: String,
    places: &[Place],
) -> Result<RequestHeader, GateCause> {
    let mut fields = HeaderMap::with_capacity(places.len());
    for (name, value) in places {
        let name = HeaderName::from_bytes(bytes.get(name.clone()).unwrap_or_default());
        let name = name.map_err(|_| GateCause::FieldName)?;
        let value = if value.end <= bytes.len() { bytes.slice(value.clone()) } else { Bytes::new() };
        fields.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| GateCause::ControlByte)?);
    }
    let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| GateCause::TargetByte)?;
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = Uri::from(target);
    parts.headers = fields;
    Ok(parts.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::gate::{self, EncodedSlash, GateLimits};

    const LIMITS: GateLimits = GateLimits {
        header_bytes: 4096,
        header_count: 20,
        uri_bytes: 512,
        body_bytes: 1000,
        encoded_slash: EncodedSlash::Refuse,
    };

    /// A head as it is read here.
    fn ours(raw: &'static str) -> Result<RequestHeader, GateCause> {
        let mut places = Vec::new();
        let head =
            gate::check_fields(raw.as_bytes(), &LIMITS, |name, value| places.push((name, value))).unwrap();
        let bytes = Bytes::from_static(raw.as_bytes());
        let method = Method::from_bytes(head.method.as_bytes()).unwrap();
        read(&bytes, method, head.target.origin_form(), &places)
    }

    #[test]
    fn every_field_is_taken_from_where_the_gate_saw_it() {
        let head = ours(
            "\r\nPOST /a/b?c=%20d HTTP/1.1\r\nHost:acme.app.example\r\nX-One: \t 1 2 \t\r\nx-ONE:3\r\nX-Empty:\r\n\
             Content-Length:  5\r\nAccept-Language: \u{e9}\r\n\r\nhello",
        )
        .unwrap();
        assert_eq!((head.method.as_str(), head.raw_path()), ("POST", &b"/a/b?c=%20d"[..]));
        assert_eq!((head.version, head.has_case()), (http::Version::HTTP_11, false));
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 6] = [
            ("host", b"acme.app.example"),
            ("x-one", b"1 2"),
            ("x-one", b"3"),
            ("x-empty", b""),
            ("content-length", b"5"),
            ("accept-language", "\u{e9}".as_bytes()),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_target_goes_on_as_the_gate_wrote_it() {
        for (line, target) in [
            ("GET / HTTP/1.1", "/"),
            ("GET /%41?x HTTP/1.1", "/A?x"),
            ("GET http://acme.app.example/x?y HTTP/1.1", "/x?y"),
            ("OPTIONS * HTTP/1.1", "*"),
            ("GET /a^{|}'\"?{q}|^` HTTP/1.1", "/a^{|}'\"?{q}|^`"),
        ] {
            let raw = format!("{line}\r\nHost: acme.app.example\r\nX: y\r\n\r\n");
            let Ok(checked) = gate::check(raw.as_bytes(), &LIMITS) else {
                panic!("the gate takes no {line}")
            };
            assert_eq!(checked.target.origin_form(), target);
            let head = ours(raw.leak()).unwrap();
            assert_eq!(head.raw_path(), target.as_bytes(), "{line}");
            assert_eq!((head.headers.len(), head.headers["x"].as_bytes()), (2, &b"y"[..]));
        }
    }

    #[test]
    fn a_byte_that_no_uri_has_is_refused() {
        for target in ["/a<b", "/a>b", "/a?<script>", "/a`b"] {
            let raw = format!("GET {target} HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
            assert_eq!(ours(raw.leak()).err(), Some(GateCause::TargetByte), "{target}");
        }
    }
}

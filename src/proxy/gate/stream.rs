//! The same check for a head that came as an HTTP/2 stream.
//!
//! Frames leave less to guess than text does: where a field ends, and where the head does, is beyond doubt. What
//! remains is what two programs may still read differently, above all once it is written out as HTTP/1.
//!
//! Never: looks at what the HTTP/2 library refuses by itself, such as fields for the connection alone.

use http::header;
use http::request::Parts;
use rhumb_decision::target::{self, normalise_host};

use super::fields::Fields;
use super::{Body, GateCause, GateLimits, Head, HttpVersion, check_method, text_len, trimmed, visible_len};

/// Checks the head of a stream.
///
/// - `ends`: whether the stream ends with its head.
/// - Errors: the first cause found. The stream must be answered or reset then; the connection may go on.
/// - Crumbs of `Cookie` count as the one field that they are sent on as.
pub fn check_stream<'a>(parts: &'a Parts, ends: bool, limits: &GateLimits) -> Result<Head<'a>, GateCause> {
    let method = check_method(parts.method.as_str().as_bytes())?;
    let raw_target = parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    check_target(parts, raw_target, method, limits.uri_bytes)?;
    let (target, _) = target::parse(raw_target, method, limits.encoded_slash)?;
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());

    let mut fields = Fields::default();
    let mut bytes = method.len() + raw_target.len() + authority.map_or(0, <[u8]>::len);
    let mut has_cookie = false;
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        bytes += name.len() + value.len() + 4;
        if bytes > limits.header_bytes {
            return Err(GateCause::HeaderBytes);
        }
        if text_len(value) != value.len() {
            return Err(GateCause::ControlByte);
        }
        if trimmed(value).len() != value.len() {
            return Err(GateCause::FieldSpace);
        }
        if name == header::COOKIE.as_str().as_bytes() && std::mem::replace(&mut has_cookie, true) {
            continue;
        }
        if fields.count() == limits.header_count {
            return Err(GateCause::HeaderCount);
        }
        fields.see(name, value)?;
    }

    let host = match authority {
        None => fields.host()?,
        Some(authority) => {
            let host = normalise_host(authority)?;
            match fields.host() {
                Ok(same) if same.authority() != host.authority() => return Err(GateCause::HostMismatch),
                Ok(_) | Err(GateCause::HostMissing) => host,
                Err(cause) => return Err(cause),
            }
        }
    };
    let body = match (fields.body(HttpVersion::Http2, limits.body_bytes)?, ends) {
        (Body::Length(1..), true) => return Err(GateCause::ContentLength),
        (Body::None, false) => Body::Chunked,
        (body, _) => body,
    };
    Ok(Head {
        method,
        version: HttpVersion::Http2,
        target,
        host,
        body,
        upgrade: fields.upgrade(HttpVersion::Http2),
        expect: fields.expect(),
        close: fields.close(),
        max_forwards: if method == "OPTIONS" { fields.max_forwards() } else { None },
        bytes,
        fields: fields.count(),
    })
}

/// Only a path, or `*` with OPTIONS: scheme and authority have places of their own.
fn check_target(parts: &Parts, raw: &[u8], method: &str, limit: usize) -> Result<(), GateCause> {
    if raw.len() > limit {
        return Err(GateCause::UriBytes);
    }
    match raw.get(visible_len(raw)) {
        None => {}
        Some(0x80..) => return Err(GateCause::TargetByte),
        Some(_) => return Err(GateCause::ControlByte),
    }
    let scheme = parts.uri.scheme_str();
    let is_http = scheme.is_none_or(|scheme| scheme == "http" || scheme == "https");
    let is_path = raw.first() == Some(&b'/') || (raw == b"*" && method == "OPTIONS");
    if is_http && is_path { Ok(()) } else { Err(GateCause::TargetForm) }
}

#[cfg(test)]
mod tests {
    use super::super::EncodedSlash;
    use super::*;
    use http::Request;

    const LIMITS: GateLimits = GateLimits {
        header_bytes: 4096,
        header_count: 8,
        uri_bytes: 128,
        body_bytes: 1000,
        encoded_slash: EncodedSlash::Refuse,
    };

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn cause(method: &str, uri: &str, fields: &[(&str, &str)], ends: bool) -> Option<GateCause> {
        check_stream(&parts(method, uri, fields), ends, &LIMITS).err()
    }

    const URI: &str = "https://acme.test/a";

    #[test]
    fn an_ordinary_head_passes_and_says_what_it_is() {
        let parts = parts("POST", "https://Acme.test:8443/a/%62?q=1", &[("content-length", "5"), ("x", "y")]);
        let head = check_stream(&parts, false, &LIMITS).unwrap();
        assert_eq!((head.host.name(), head.host.port()), ("acme.test", Some(8443)));
        assert_eq!(head.target.origin_form(), "/a/b?q=1");
        assert_eq!((head.body, head.fields), (Body::Length(5), 2));
    }

    #[test]
    fn the_end_of_a_body_is_its_length_or_the_end_of_the_stream() {
        let body = |fields: &[(&str, &str)], ends| {
            check_stream(&parts("POST", URI, fields), ends, &LIMITS).map(|head| head.body)
        };
        assert_eq!(body(&[], true), Ok(Body::None));
        assert_eq!(body(&[], false), Ok(Body::Chunked));
        assert_eq!(body(&[("content-length", "0")], true), Ok(Body::Length(0)));
        assert_eq!(body(&[("content-length", "9")], false), Ok(Body::Length(9)));
        assert_eq!(body(&[("content-length", "9")], true), Err(GateCause::ContentLength));
        assert_eq!(body(&[("content-length", "1001")], false), Err(GateCause::BodyBytes));
    }

    #[test]
    fn every_rule_of_the_gate_holds_for_a_stream() {
        let long = format!("https://acme.test/{}", "a".repeat(128));
        let big = "v".repeat(4096);
        let nine: Vec<(&str, &str)> = (0..9).map(|_| ("x", "y")).collect();
        for (method, uri, fields, expected) in [
            ("TRACE", URI, &[][..], GateCause::MethodForbidden),
            ("CONNECT", URI, &[], GateCause::MethodForbidden),
            ("GET", &long, &[], GateCause::UriBytes),
            ("GET", "https://acme.test/a/../b", &[], GateCause::DotSegment),
            ("GET", "https://acme.test/a/%2e%2e/b", &[], GateCause::DotSegment),
            ("GET", "https://acme.test/a%2fb", &[], GateCause::EncodedSlash),
            ("GET", "https://acme.test/a%00", &[], GateCause::EncodedControl),
            ("GET", "https://acme.test/a?b=%0d%0a", &[], GateCause::EncodedControl),
            ("GET", "https://acme.test//a", &[], GateCause::EmptySegment),
            ("GET", "ftp://acme.test/a", &[], GateCause::TargetForm),
            ("GET", "https://-_-..test/a", &[], GateCause::HostMalformed),
            ("GET", "/a", &[], GateCause::HostMissing),
            ("GET", "/a", &[("host", "a.test"), ("host", "a.test")], GateCause::HostRepeated),
            ("GET", URI, &[("host", "other.test")], GateCause::HostMismatch),
            ("GET", URI, &[("host", "acme.test:8443")], GateCause::HostMismatch),
            ("GET", URI, &[("content-length", "007")], GateCause::ContentLength),
            (
                "GET",
                URI,
                &[("content-length", "1"), ("content-length", "1")],
                GateCause::RepeatedContentLength,
            ),
            ("GET", URI, &[("content_length", "1")], GateCause::FramingAlias),
            ("GET", URI, &[("transfer_encoding", "chunked")], GateCause::FramingAlias),
            ("GET", URI, &[("connection", "x-owner-epoch")], GateCause::Nomination),
            ("GET", URI, &[("x", " y")], GateCause::FieldSpace),
            ("GET", URI, &[("x", "y\t")], GateCause::FieldSpace),
            ("GET", URI, &[("x", &big)], GateCause::HeaderBytes),
            ("GET", URI, &nine, GateCause::HeaderCount),
        ] {
            assert_eq!(cause(method, uri, fields, false), Some(expected), "{method} {uri} {fields:?}");
        }
    }

    #[test]
    fn a_host_beside_the_authority_may_spell_it_otherwise() {
        assert_eq!(cause("GET", URI, &[("host", "ACME.test.")], true), None);
        assert_eq!(cause("GET", "/a", &[("host", "acme.test")], true), None);
    }

    #[test]
    fn crumbs_count_as_one_field_and_all_their_bytes() {
        let many: Vec<(&str, &str)> = (0..50).map(|_| ("cookie", "a=b")).collect();
        assert_eq!(cause("GET", URI, &many, true), None);
        let too_many: Vec<(&str, &str)> = (0..500).map(|_| ("cookie", "a=b")).collect();
        assert_eq!(cause("GET", URI, &too_many, true), Some(GateCause::HeaderBytes));
    }
}

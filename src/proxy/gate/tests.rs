//! One fault per row; what a good head yields; and that no bytes at all break the gate.

use super::*;
use crate::proxy::target::normalise_host;
use proptest::prelude::*;
use std::borrow::Cow;

const LIMITS: GateLimits = GateLimits {
    header_bytes: 2048,
    header_count: 20,
    uri_bytes: 256,
    body_bytes: 1000,
    encoded_slash: EncodedSlash::Refuse,
};

/// A GET of `/r` at `a.test` with these further lines.
fn get(lines: &str) -> String {
    format!("GET /r HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n")
}

fn cause(head: impl AsRef<[u8]>) -> Option<GateCause> {
    check(head.as_ref(), &LIMITS).err()
}

fn passed(head: &str) -> Head<'_> {
    check(head.as_bytes(), &LIMITS).unwrap_or_else(|cause| panic!("{cause:?}: {head:?}"))
}

#[test]
fn a_head_tells_what_later_steps_need() {
    let text = "POST /v1/cases?x=1 HTTP/1.1\r\nHost: Acme.Test:8080\r\ncontent-length: 12\r\nExpect: 100-Continue\r\n\r\nbody";
    let head = passed(text);
    assert_eq!((head.method, head.version), ("POST", HttpVersion::Http11));
    assert_eq!(
        (&*head.target.path, head.target.query, head.target.rewritten),
        ("/v1/cases", Some("x=1"), false)
    );
    assert_eq!((head.host.name(), head.host.port(), head.host.rewritten()), ("acme.test", Some(8080), true));
    assert_eq!((head.body, head.expect, head.upgrade), (Body::Length(12), Expect::Continue, Upgrade::None));
    assert_eq!((head.bytes, head.fields, head.max_forwards), (text.len() - 4, 3, None));
}

#[test]
fn a_usual_head_is_borrowed_whole() {
    let text = get("Cookie: a=b\r\nX: \t padded \t\r\nEmpty:\r\nH: \u{e9}\u{20ac}\r\n");
    let head = passed(&text);
    assert!(matches!(head.target.path, Cow::Borrowed("/r")));
    assert!(!head.host.rewritten());
    assert_eq!(head.fields, 5);
}

#[test]
fn request_lines_are_strict() {
    for (line, expected) in [
        ("", GateCause::RequestLine),
        ("GET", GateCause::RequestLine),
        ("GET /r", GateCause::RequestLine),
        ("GET  /r HTTP/1.1", GateCause::RequestLine),
        (" GET /r HTTP/1.1", GateCause::Method),
        ("GET\t/r\tHTTP/1.1", GateCause::RequestLine),
        ("G=T /r HTTP/1.1", GateCause::RequestLine),
        ("G\u{e9}T /r HTTP/1.1", GateCause::RequestLine),
        ("GET /r  HTTP/1.1", GateCause::Version),
        ("GET /r x HTTP/1.1", GateCause::Version),
        ("GET /r HTTP/1.1 ", GateCause::Version),
        ("GET /r HTTP/1.2", GateCause::Version),
        ("GET /r HTTP/2.0", GateCause::Version),
        ("GET /r HTTP/0.9", GateCause::Version),
        ("GET /r ", GateCause::Version),
        ("GET /r http/1.1", GateCause::Version),
        ("GET /r HTTP/1.1x", GateCause::Version),
        ("GET /r HTTP/01.1", GateCause::Version),
        ("GET /r\0 HTTP/1.1", GateCause::ControlByte),
        ("GET /r\t HTTP/1.1", GateCause::ControlByte),
        ("GET /\u{e9} HTTP/1.1", GateCause::TargetByte),
        ("GET ?x HTTP/1.1", GateCause::TargetForm),
        ("GET * HTTP/1.1", GateCause::TargetForm),
        ("GET /a/../b HTTP/1.1", GateCause::DotSegment),
        ("GET http://b.test/ HTTP/1.1", GateCause::HostMismatch),
        ("GET http://a.test:81/ HTTP/1.1", GateCause::HostMismatch),
        ("TRACE /r HTTP/1.1", GateCause::MethodForbidden),
        ("trace /r HTTP/1.1", GateCause::MethodForbidden),
        ("CONNECT / HTTP/1.1", GateCause::MethodForbidden),
        ("CONNECT a.test:443 HTTP/1.1", GateCause::MethodForbidden),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", GateCause::Method),
        ("\r\n\r\nGET /r HTTP/1.1", GateCause::RequestLine),
    ] {
        assert_eq!(cause(format!("{line}\r\nHost: a.test\r\n\r\n")), Some(expected), "{line:?}");
    }
}

#[test]
fn targets_and_methods_that_pass() {
    for (line, method, wire) in [
        ("get /r HTTP/1.0", "get", "/r"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "/"),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "*"),
        ("GET HTTP://A.test:80/x?y HTTP/1.1", "GET", "/x?y"),
        ("GET /%7euser HTTP/1.1", "GET", "/~user"),
        ("\r\nGET / HTTP/1.1", "GET", "/"),
    ] {
        let text = format!("{line}\r\nHost: a.test\r\n\r\n");
        let head = passed(&text);
        assert_eq!((head.method, head.target.origin_form().as_str()), (method, wire), "{line:?}");
    }
}

#[test]
fn lines_are_strict() {
    for (lines, expected) in [
        ("X: 1\n", GateCause::BareLf),
        ("X: 1\rY: 2\r\n", GateCause::BareCr),
        ("\rX: 1\r\n", GateCause::BareCr),
        ("\nX: 1\r\n", GateCause::BareLf),
        ("X: 1\r\n folded\r\n", GateCause::ObsFold),
        ("X: 1\r\n\tfolded\r\n", GateCause::ObsFold),
        (" X: 1\r\n", GateCause::ObsFold),
        ("X : 1\r\n", GateCause::SpaceBeforeColon),
        ("X\t: 1\r\n", GateCause::SpaceBeforeColon),
        (": 1\r\n", GateCause::FieldName),
        ("X\r\n", GateCause::FieldName),
        ("X\0: 1\r\n", GateCause::FieldName),
        ("X\u{ad}: 1\r\n", GateCause::FieldName),
        ("(X): 1\r\n", GateCause::FieldName),
        ("X: a\0b\r\n", GateCause::ControlByte),
        ("X: a\u{b}b\r\n", GateCause::ControlByte),
        ("X: a\u{7f}b\r\n", GateCause::ControlByte),
    ] {
        assert_eq!(cause(get(lines)), Some(expected), "{lines:?}");
    }
    for first in ["GET /r HTTP/1.1\n", "GET /r HTTP/1.1\r\r\n", "\nGET /r HTTP/1.1\r\n"] {
        let found = cause(format!("{first}Host: a.test\r\n\r\n"));
        assert!(matches!(found, Some(GateCause::BareLf | GateCause::BareCr)), "{first:?} {found:?}");
    }
}

#[test]
fn framing_is_said_once_and_in_one_way() {
    for (lines, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", GateCause::BothFramings),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", GateCause::BothFramings),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", GateCause::RepeatedContentLength),
        ("Content-Length: 5, 5\r\n", GateCause::ContentLength),
        ("Content-Length:\r\n", GateCause::ContentLength),
        ("Content-Length: 05\r\n", GateCause::ContentLength),
        ("Content-Length: 00\r\n", GateCause::ContentLength),
        ("Content-Length: +5\r\n", GateCause::ContentLength),
        ("Content-Length: -0\r\n", GateCause::ContentLength),
        ("Content-Length: 0x5\r\n", GateCause::ContentLength),
        ("Content-Length: 5 5\r\n", GateCause::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", GateCause::ContentLength),
        ("Content-Length: 18446744073709551615\r\n", GateCause::BodyBytes),
        ("Content-Length: 1001\r\n", GateCause::BodyBytes),
        ("Transfer-Encoding: identity\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: chunked;a=b\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding:\r\n", GateCause::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", GateCause::RepeatedTransferEncoding),
        ("Content_Length: 5\r\n", GateCause::FramingAlias),
        ("transfer.encoding: chunked\r\n", GateCause::FramingAlias),
    ] {
        assert_eq!(cause(get(lines)), Some(expected), "{lines:?}");
    }
    assert_eq!(
        cause("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some(GateCause::OldTransferEncoding)
    );
    for (lines, body) in [
        ("", Body::None),
        ("Content-Length: 0\r\n", Body::Length(0)),
        ("CONTENT-LENGTH:1000 \r\n", Body::Length(1000)),
        ("Transfer-Encoding: Chunked\r\n", Body::Chunked),
    ] {
        assert_eq!(passed(&get(lines)).body, body, "{lines:?}");
    }
}

#[test]
fn there_is_one_host() {
    assert_eq!(cause("GET / HTTP/1.1\r\n\r\n"), Some(GateCause::HostMissing));
    assert_eq!(cause("GET / HTTP/1.0\r\n\r\n"), Some(GateCause::HostMissing));
    assert_eq!(cause("GET http://a.test/ HTTP/1.1\r\n\r\n"), Some(GateCause::HostMissing));
    assert_eq!(cause(get("hOST: a.test\r\n")), Some(GateCause::HostRepeated));
    assert_eq!(cause("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Some(GateCause::HostMalformed));
    assert_eq!(cause("GET / HTTP/1.1\r\nHost: a.test b.test\r\n\r\n"), Some(GateCause::HostMalformed));
}

#[test]
fn a_connection_header_takes_nothing_off_that_matters() {
    for (value, expected) in [
        ("x-owner-region", GateCause::Nomination),
        ("close, X_Tenant.ID", GateCause::Nomination),
        ("X-Rhumb-Anything", GateCause::Nomination),
        ("x-forwarded-for", GateCause::Nomination),
        ("via", GateCause::Nomination),
        ("Host", GateCause::Nomination),
        ("Cookie", GateCause::Nomination),
        ("close, authorization", GateCause::Nomination),
        ("Idempotency_Key", GateCause::Nomination),
        (":authority", GateCause::NominationToken),
        ("\"X-Owner-Region\"", GateCause::NominationToken),
        ("close keep-alive", GateCause::NominationToken),
        ("a,b,c,d,e,f,g,h,i,j", GateCause::NominationCount),
        ("a,b,c,d,e\r\nConnection: f,g,h,i,j", GateCause::NominationCount),
    ] {
        assert_eq!(cause(get(&format!("Connection: {value}\r\n"))), Some(expected), "{value}");
    }
    for value in [
        "",
        "close",
        "Keep-Alive, TE",
        "x-private,,",
        "a,b,c,d,e,f,g,h,i",
        "Content-Length",
        "http2-settings",
    ] {
        passed(&get(&format!("Connection: {value}\r\n")));
    }
}

#[test]
fn only_a_proper_websocket_request_is_an_upgrade() {
    for (version, lines, expected) in [
        ("1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", Upgrade::WebSocket),
        ("1.1", "Upgrade: websocket\r\nConnection: close\r\nConnection: upgrade\r\n", Upgrade::WebSocket),
        ("1.1", "Upgrade: websocket\r\n", Upgrade::Ignored),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", Upgrade::Ignored),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", Upgrade::Ignored),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", Upgrade::Ignored),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", Upgrade::Ignored),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", Upgrade::Ignored),
        ("1.1", "Connection: Upgrade\r\n", Upgrade::None),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a.test\r\n{lines}\r\n");
        assert_eq!(passed(&text).upgrade, expected, "{version} {lines:?}");
    }
}

#[test]
fn an_expectation_is_the_known_one_or_ignored() {
    for (lines, expected) in [
        ("", Expect::None),
        ("Expect: 100-continue\r\n", Expect::Continue),
        ("Expect: y 100-continue\r\n", Expect::Ignored),
        ("Expect:\r\n", Expect::Ignored),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", Expect::Ignored),
    ] {
        assert_eq!(passed(&get(lines)).expect, expected, "{lines:?}");
    }
}

#[test]
fn max_forwards_is_read_for_options_alone() {
    for (method, value, expected) in [
        ("OPTIONS", "0", Some(0)),
        ("OPTIONS", "10", Some(10)),
        ("OPTIONS", "x", None),
        ("OPTIONS", "4294967296", None),
        ("GET", "0", None),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: {value}\r\n\r\n");
        assert_eq!(passed(&text).max_forwards, expected, "{method} {value}");
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let with = |value: usize| get(&format!("X: {}\r\n", "a".repeat(value)));
    let room = LIMITS.header_bytes - with(0).len();
    assert_eq!(cause(with(room)), None);
    assert_eq!(cause(with(room + 1)), Some(GateCause::HeaderBytes));
    assert_eq!(cause(&with(room + 1).as_bytes()[..LIMITS.header_bytes + 1]), Some(GateCause::HeaderBytes));
    assert_eq!(cause(get(&"X: 1\r\n".repeat(19))), None);
    assert_eq!(cause(get(&"X: 1\r\n".repeat(20))), Some(GateCause::HeaderCount));

    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(cause(target(256)), None);
    assert_eq!(cause(target(257)), Some(GateCause::UriBytes));
    assert_eq!(cause(target(100_000)), Some(GateCause::UriBytes));
    assert_eq!(passed(&format!("{}{}", get(""), "b".repeat(9000))).bytes, get("").len());
}

#[test]
fn a_head_that_stops_anywhere_is_refused() {
    let whole = get("Connection: close\r\n");
    for end in 0..whole.len() {
        assert_eq!(cause(&whole.as_bytes()[..end]), Some(GateCause::Truncated), "{:?}", &whole[..end]);
    }
}

#[test]
fn causes_tell_the_client_one_of_five_reasons() {
    for (cause, code) in [
        (GateCause::BareLf, "bad_request"),
        (GateCause::MethodForbidden, "method_not_allowed"),
        (GateCause::HeaderBytes, "head_too_large"),
        (GateCause::HeaderCount, "head_too_large"),
        (GateCause::UriBytes, "uri_too_long"),
        (GateCause::BodyBytes, "body_too_large"),
    ] {
        assert_eq!(cause.refusal().code(), code, "{}", cause.code());
    }
}

/// Bytes that heads are made of, so that random ones come near the edge of what passes.
fn head_bytes() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "GET",
        " ",
        "/",
        "/a",
        "%2e",
        "%00",
        "..",
        ";",
        "?",
        " HTTP/1.1",
        "\r\n",
        "\r",
        "\n",
        "\r\n\r\n",
        "Host: a.test",
        "Host:",
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "Connection: x",
        ":",
        "\t",
        "\0",
        "X: y",
        "\u{e9}",
        "http://a.test",
        "OPTIONS",
        "*",
    ]);
    prop::collection::vec(parts, 0..16).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_bytes_break_the_gate(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let refused = cause(&bytes).is_some();
        prop_assert!(refused);
    }

    #[test]
    fn what_passes_is_in_normal_form(bytes in head_bytes()) {
        let mut framed = b"GET /r HTTP/1.1\r\nHost: a.test\r\n".to_vec();
        framed.extend_from_slice(&bytes);
        for bytes in [bytes, framed] {
            if let Ok(head) = check(&bytes, &LIMITS) {
                let text = String::from_utf8_lossy(&bytes[..head.bytes]).into_owned();
                prop_assert!(text.ends_with("\r\n\r\n"));
                prop_assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
                prop_assert_eq!(text.matches('\r').count(), text.matches("\r\n").count());
                prop_assert_eq!(text.to_ascii_lowercase().matches("\r\nhost:").count(), 1);
                prop_assert!(normalise_host(head.host.authority().as_bytes()).is_ok());
                let again = target::parse(head.target.path.as_bytes(), head.method, EncodedSlash::Refuse);
                prop_assert!(!again.unwrap().0.rewritten);
            }
        }
    }
}

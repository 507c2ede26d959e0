//! Path and query of a request.

use super::{EncodedSlash, GateCause};
use crate::bytes::{hex_pair, is_visible};
use std::borrow::Cow;

/// Brings a path to its normal form.
///
/// - `path`: from the leading `/` up to, not including, the `?`.
/// - Normal form: escapes of letters, digits, `-`, `.`, `_` and `~` are written plainly, the digits of all
///   others in upper case. Both spellings are equal by RFC 3986, and a rule must not tell them apart.
/// - Errors: what [`GateCause`] lists for paths. Dot segments are found behind path parameters
///   (`..;x`), encoded slashes, and any depth of encoding (`%252e`).
/// - Borrows what is in normal form already.
pub fn normalise_path(path: &[u8], slash: EncodedSlash) -> Result<Cow<'_, str>, GateCause> {
    let normal = survey(path, slash)?;
    let text = str::from_utf8(path).map_err(|_| GateCause::TargetByte)?;
    if normal {
        return Ok(Cow::Borrowed(text));
    }
    let rewritten = rewrite(text);
    survey(rewritten.as_bytes(), slash)?; // `%25%32e` shows its dot only now
    Ok(Cow::Owned(rewritten))
}

/// Checks a query, which is passed on as it came.
///
/// - `query`: what follows the `?`.
/// - Errors: a fragment, a byte that is not visible ASCII, an encoded control byte. A stray `%`, an encoded
///   slash and escapes that are no UTF-8 are the service's business: no rule reads the query.
pub fn check_query(query: &[u8]) -> Result<&str, GateCause> {
    for (at, &byte) in query.iter().enumerate() {
        match byte {
            b'#' => return Err(GateCause::Fragment),
            b'%' if query.get(at + 1..).and_then(hex_pair).is_some_and(|byte| byte.is_ascii_control()) => {
                return Err(GateCause::EncodedControl);
            }
            _ if is_visible(byte) => {}
            _ => return Err(GateCause::TargetByte),
        }
    }
    str::from_utf8(query).map_err(|_| GateCause::TargetByte)
}

/// Looks for faults; whether there is none and the path is in normal form.
fn survey(path: &[u8], slash: EncodedSlash) -> Result<bool, GateCause> {
    let mut normal = true;
    let mut at = 0;
    while let Some(rest @ &[byte, ..]) = path.get(at..) {
        at += match byte {
            b'/' => slash_len(rest)?,
            b'%' => {
                let escape = escape(rest, slash)?;
                normal &= escape.normal;
                escape.len
            }
            b'\\' => return Err(GateCause::Backslash),
            b'#' => return Err(GateCause::Fragment),
            _ if is_visible(byte) => 1,
            _ => return Err(GateCause::TargetByte),
        };
    }
    Ok(normal)
}

/// An escape, or several that spell one character.
struct Escape {
    len: usize,
    normal: bool,
}

/// A slash and what begins behind it.
fn slash_len(rest: &[u8]) -> Result<usize, GateCause> {
    match rest {
        [_, b'/', ..] => Err(GateCause::EmptySegment),
        [_, next @ ..] if is_dot_segment(next) => Err(GateCause::DotSegment),
        [..] => Ok(1),
    }
}

fn escape(rest: &[u8], slash: EncodedSlash) -> Result<Escape, GateCause> {
    let value = rest.get(1..).and_then(hex_pair).ok_or(GateCause::PercentEscape)?;
    let mut escape = Escape { len: 3, normal: in_upper_case(rest) };
    match value {
        b'/' if slash == EncodedSlash::Refuse => return Err(GateCause::EncodedSlash),
        b'\\' => return Err(GateCause::Backslash),
        0x80.. => return character(rest),
        control if control.is_ascii_control() => return Err(GateCause::EncodedControl),
        plain if is_unreserved(plain) => escape.normal = false,
        _ => {}
    }
    // A service that decodes once more than it should would begin a segment here.
    if let Some((b'/' | b'\\', len)) = unit(rest)
        && rest.get(len..).is_some_and(is_dot_segment)
    {
        return Err(GateCause::DotSegment);
    }
    Ok(escape)
}

/// The escapes that together spell one character beyond ASCII.
fn character(rest: &[u8]) -> Result<Escape, GateCause> {
    let mut bytes = [0_u8; 4];
    let mut normal = true;
    for count in 0..bytes.len() {
        let escape = rest.get(3 * count..).unwrap_or_default();
        let [b'%', digits @ ..] = escape else { break };
        bytes[count] = hex_pair(digits).ok_or(GateCause::PathEncoding)?;
        normal &= in_upper_case(escape);
        if str::from_utf8(&bytes[..=count]).is_ok() {
            return Ok(Escape { len: 3 * (count + 1), normal });
        }
    }
    Err(GateCause::PathEncoding)
}

/// Whether a segment that begins here is `.` or `..`, however spelled, with path parameters or without.
fn is_dot_segment(segment: &[u8]) -> bool {
    if !matches!(segment.first(), Some(b'.' | b'%')) {
        return false;
    }
    let mut rest = segment;
    let mut dots = 0;
    loop {
        match unit(rest) {
            Some((b'.', len)) if dots < 2 => {
                dots += 1;
                rest = rest.get(len..).unwrap_or_default();
            }
            None | Some((b'/' | b'\\' | b';', _)) => return dots > 0,
            Some(_) => return false,
        }
    }
}

/// The byte at the start, its escapes undone however deep, and how many bytes spell it.
fn unit(bytes: &[u8]) -> Option<(u8, usize)> {
    let (&first, mut rest) = bytes.split_first()?;
    if first != b'%' {
        return Some((first, 1));
    }
    while let [b'2', b'5', deeper @ ..] = rest {
        rest = deeper;
    }
    let spelled = bytes.len() - rest.len();
    Some(hex_pair(rest).map_or((b'%', spelled), |byte| (byte, spelled + 2)))
}

fn rewrite(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((plain, escape)) = rest.split_once('%') {
        out.push_str(plain);
        let (digits, behind) = escape.split_at_checked(2).unwrap_or((escape, ""));
        match hex_pair(digits.as_bytes()).filter(|&byte| is_unreserved(byte)) {
            Some(byte) => out.push(char::from(byte)),
            None => {
                out.push('%');
                out.extend(digits.chars().map(|digit| digit.to_ascii_uppercase()));
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Whether an escape's digits are in upper case.
fn in_upper_case(escape: &[u8]) -> bool {
    !escape.iter().take(3).any(u8::is_ascii_lowercase)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> Result<String, GateCause> {
        normalise_path(path.as_bytes(), EncodedSlash::Refuse).map(Cow::into_owned)
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/v1/cases/search",
            "/...",
            "/.a",
            "/a.",
            "/..a",
            "/a..b/c",
            "/.well-known/x",
            "/a;x=..",
            "/%20",
            "/%C3%A9",
            "/%F0%9F%98%80",
            "/a%25",
            "/%252F",
            "/a|b\"<>^`{}",
            "/;x",
            "/a:b@c",
            "/%3B",
            "/%25.",
        ] {
            let normal = normalise_path(path.as_bytes(), EncodedSlash::Refuse).unwrap();
            assert!(matches!(normal, Cow::Borrowed(same) if same == path), "{path} became {normal}");
        }
    }

    #[test]
    fn equal_spellings_become_one() {
        for (path, expected) in [
            ("/%74/t2", "/t/t2"),
            ("/v1/cases/%73earch", "/v1/cases/search"),
            ("/%7euser", "/~user"),
            ("/a%2eb", "/a.b"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%3b", "/a%3B"),
            ("/%41%2D%5f%7E%30", "/A-_~0"),
            ("/100%25%41", "/100%25A"),
        ] {
            assert_eq!(normal(path), Ok(expected.to_owned()), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in [
            "/.",
            "/..",
            "/./a",
            "/../a",
            "/a/.",
            "/a/..",
            "/a/../b",
            "/%2e",
            "/%2E%2e/a",
            "/.%2e/a",
            "/%2e./a",
            "/..;/a",
            "/..;x=1/a",
            "/.;/a",
            "/..;",
            "/%2e%2e;x",
            "/..%3b/a",
            "/%252e%252e/a",
            "/.%25252e",
            "/a/..%252fb",
            "/a%252f../b",
            "/a%252F%2e%2E",
            "/..%255c",
            "/%25%32e",
            "/a/%2e%2e%253bx",
        ] {
            assert_eq!(normal(path), Err(GateCause::DotSegment), "{path}");
        }
    }

    #[test]
    fn each_fault_has_its_cause() {
        for (path, cause) in [
            ("//", GateCause::EmptySegment),
            ("//a", GateCause::EmptySegment),
            ("/a//b", GateCause::EmptySegment),
            ("/a%2fb", GateCause::EncodedSlash),
            ("/a%2Fb", GateCause::EncodedSlash),
            ("/a\\b", GateCause::Backslash),
            ("/a%5cb", GateCause::Backslash),
            ("/%", GateCause::PercentEscape),
            ("/%2", GateCause::PercentEscape),
            ("/%zz", GateCause::PercentEscape),
            ("/%u0041", GateCause::PercentEscape),
            ("/%00", GateCause::EncodedControl),
            ("/%0d", GateCause::EncodedControl),
            ("/%0A", GateCause::EncodedControl),
            ("/%09", GateCause::EncodedControl),
            ("/%7f", GateCause::EncodedControl),
            ("/%c0%ae", GateCause::PathEncoding),
            ("/%e0%80%af", GateCause::PathEncoding),
            ("/%E9", GateCause::PathEncoding),
            ("/%E9/a", GateCause::PathEncoding),
            ("/%C3%zz", GateCause::PathEncoding),
            ("/%80", GateCause::PathEncoding),
            ("/%ed%a0%80", GateCause::PathEncoding),
            ("/%f5%80%80%80", GateCause::PathEncoding),
            ("/a#b", GateCause::Fragment),
            ("/a b", GateCause::TargetByte),
            ("/a\tb", GateCause::TargetByte),
            ("/é", GateCause::TargetByte),
        ] {
            assert_eq!(normal(path), Err(cause), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_passes_where_allowed_but_hides_no_dot_segment() {
        let pass = |path: &'static str| normalise_path(path.as_bytes(), EncodedSlash::Pass);
        assert_eq!(pass("/a%2Fb").unwrap(), "/a%2Fb");
        assert_eq!(pass("/a%2fb").unwrap(), "/a%2Fb");
        assert_eq!(pass("/a%2F..%2Fb"), Err(GateCause::DotSegment));
        assert_eq!(pass("/..%2Fb"), Err(GateCause::DotSegment));
        assert_eq!(pass("/a%2f%2e%2e"), Err(GateCause::DotSegment));
        assert_eq!(pass("/a%5Cb"), Err(GateCause::Backslash));
    }

    #[test]
    fn a_query_is_passed_on_unless_it_hides_a_control_byte() {
        for query in ["", "a=b&c", "u=http://x/../y//z", "50%", "q=%E9", "x=%2F%5C\\", "%", "%2", "?"] {
            assert_eq!(check_query(query.as_bytes()), Ok(query));
        }
        for query in ["%00", "a=%0d%0aX: y", "%0A", "%7F"] {
            assert_eq!(check_query(query.as_bytes()), Err(GateCause::EncodedControl), "{query}");
        }
        assert_eq!(check_query(b"a b"), Err(GateCause::TargetByte));
        assert_eq!(check_query(b"\xe9"), Err(GateCause::TargetByte));
        assert_eq!(check_query(b"a#b"), Err(GateCause::Fragment));
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(path in "/([a-z./;]|%[0-9a-fA-F]{2}|%25){0,12}") {
            for slash in [EncodedSlash::Refuse, EncodedSlash::Pass] {
                if let Ok(first) = normalise_path(path.as_bytes(), slash) {
                    let again = normalise_path(first.as_bytes(), slash);
                    prop_assert!(matches!(&again, Ok(Cow::Borrowed(same)) if *same == first), "{} {:?}", first, again);
                }
            }
        }

        #[test]
        fn a_path_that_passes_has_no_dot_segment_after_two_rounds_of_decoding(
            path in "/([a/.;]|%2[eEfF]|%25|%5[cC]|2[eEfF]){0,10}"
        ) {
            if normalise_path(path.as_bytes(), EncodedSlash::Pass).is_ok() {
                let mut decoded = path;
                for _ in 0..2 {
                    decoded = decode(&decoded);
                    for segment in decoded.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap()) {
                        prop_assert!(!matches!(segment, "." | ".."), "{}", decoded);
                    }
                }
            }
        }

        #[test]
        fn no_bytes_break_it(path in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = normalise_path(&path, EncodedSlash::Pass).map(|path| assert!(path.is_ascii()));
            let _ = check_query(&path).map(|query| assert!(query.is_ascii()));
        }
    }

    fn decode(path: &str) -> String {
        let mut out = Vec::new();
        let bytes = path.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            match hex_pair(&bytes[at + 1..]).filter(|_| bytes[at] == b'%') {
                Some(byte) => {
                    out.push(byte);
                    at += 3;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

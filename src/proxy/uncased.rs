//! Heads without the spelling of their names.
//!
//! Pingora keeps the spelling in a second map beside the fields, and each field that is set or taken off is looked for in
//! both, its name parsed and copied. Without it a field costs a quarter, and a head is copied and dropped for half. Names
//! go out in lower case then, but for a few usual ones: as over HTTP/2, and as other proxies send them.
//!
//! Never: changes a target.

use http::header::HeaderMap;
use http::request::Parts;
use pingora::http::RequestHeader;

/// Forgets how the names of `head` are spelled.
pub(super) fn forget_spelling(head: &mut RequestHeader) {
    if head.has_case() && is_in_uri(head) {
        let parts = taken(head);
        *head = parts.into();
    }
}

/// Changes the fields of `head`, whose spelling is forgotten.
pub(super) fn change<T>(
    head: &mut RequestHeader,
    change: impl FnOnce(&mut HeaderMap) -> T,
) -> pingora::Result<T> {
    let target = (!is_in_uri(head)).then(|| head.raw_path().to_vec());
    let mut parts = taken(head);
    let changed = change(&mut parts.headers);
    *head = parts.into();
    if let Some(target) = target {
        head.set_raw_path(&target)?;
    }
    Ok(changed)
}

/// The parts of `head`, in whose place nothing is left.
fn taken(head: &mut RequestHeader) -> Parts {
    let nothing = http::Request::new(()).into_parts().0;
    std::mem::replace(head, nothing.into()).into()
}

/// Whether the URI alone says what the target is, byte by byte.
fn is_in_uri(head: &RequestHeader) -> bool {
    let target = head.uri.path_and_query().map(|target| target.as_str().as_bytes());
    head.uri.authority().is_none() && target == Some(head.raw_path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{HOST, HeaderValue};

    fn head(target: &[u8]) -> RequestHeader {
        let mut head = RequestHeader::build("PUT", target, None).unwrap();
        head.insert_header("X-One", "1").unwrap();
        head.append_header("x-one", "2").unwrap();
        head.insert_header("HOST", "acme.app.example").unwrap();
        head
    }

    #[test]
    fn everything_but_the_spelling_is_kept() {
        for target in [&b"/"[..], b"/a/b?c=%20d", b"*", b"/?", b"//a"] {
            let mut head = head(target);
            forget_spelling(&mut head);
            assert_eq!((head.method.as_str(), head.raw_path(), head.has_case()), ("PUT", target, false));
            assert_eq!(head.headers.get_all("x-one").iter().collect::<Vec<_>>(), ["1", "2"]);
            let set =
                change(&mut head, |fields| fields.insert(HOST, HeaderValue::from_static("other.example")));
            assert_eq!(set.unwrap().unwrap(), "acme.app.example");
            assert_eq!(
                (head.raw_path(), head.headers.get(HOST).unwrap().as_bytes()),
                (target, &b"other.example"[..])
            );
            let mut wire = Vec::new();
            head.header_to_h1_wire(&mut wire);
            assert_eq!(wire, b"x-one: 1\r\nx-one: 2\r\nHost: other.example\r\n");
        }
    }

    #[test]
    fn a_target_that_no_uri_holds_stays_as_it_came() {
        for target in [&b"http://acme.app.example/a?b"[..], b"/\xff", b"acme.app.example:443"] {
            let mut head = head(target);
            forget_spelling(&mut head);
            assert_eq!(head.raw_path(), target);
            change(&mut head, |fields| fields.clear()).unwrap();
            assert_eq!((head.raw_path(), head.headers.len()), (target, 0));
        }
    }
}

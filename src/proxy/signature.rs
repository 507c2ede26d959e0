//! The signature under what Rhumb says of a request: `X-Rhumb-Signature`, by which a region knows that an edge set
//! the managed headers. `docs/signature.md` tells services how to check it, and a test holds it to that page.
//!
//! What is signed is read from the request as it is about to be sent, so the two cannot differ.
//!
//! Never: says anything of a body, or of headers that are not in the list.

use std::fmt::Write;
use std::time::Duration;

use arrayvec::ArrayString;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use ring::hmac;

use crate::keys::{Key, Keys, LONGEST_NAME};

/// The header.
const NAME: HeaderName = HeaderName::from_static("x-rhumb-signature");

/// The headers that are signed, in the order of their lines; one that is absent is an empty line.
static SIGNED: [HeaderName; 7] = [
    HeaderName::from_static("x-tenant-id"),
    HeaderName::from_static("x-source-region"),
    HeaderName::from_static("x-target-region"),
    HeaderName::from_static("x-owner-region"),
    HeaderName::from_static("x-owner-epoch"),
    HeaderName::from_static("x-request-region-policy"),
    HeaderName::from_static("x-region-hops"),
];

/// HMAC-SHA256 in base64url without padding.
const MAC: usize = 43;

/// `v1;kid=`, a name, `;t=`, a number of at most 20 digits, `;mac=`, and the mac.
const LONGEST: usize = 7 + LONGEST_NAME + 3 + 20 + 5 + MAC;

/// Signs `request`, which has all its other headers, with the first of `keys` at `now` since 1970.
///
/// # Errors
/// None that a key file could cause: there is a first key, and its name fits into a header.
pub(super) fn sign(request: &mut RequestHeader, keys: &Keys, now: Duration) -> Result<()> {
    let value = keys.first().and_then(|key| value(request, key, now.as_secs()));
    request.insert_header(NAME, value.ok_or_else(|| Error::new_in(ErrorType::InternalError))?)
}

fn value(request: &RequestHeader, key: &Key, time: u64) -> Option<HeaderValue> {
    let mut text = ArrayString::<LONGEST>::new();
    write!(text, "v1;kid={};t={time};mac=", key.name()).ok()?;
    let mut mac = [0; MAC];
    let written = URL_SAFE_NO_PAD.encode_slice(tag(request, key.hmac(), time), &mut mac).ok()?;
    text.try_push_str(str::from_utf8(mac.get(..written)?).ok()?).ok()?;
    HeaderValue::from_str(&text).ok()
}

/// The mac over `v1`, time, method, path and query, and the signed headers: one line each, no line end at the end.
fn tag(request: &RequestHeader, key: &hmac::Key, time: u64) -> hmac::Tag {
    let mut digits = ArrayString::<20>::new();
    // No number has more digits.
    let _ = write!(digits, "{time}");
    let mut mac = hmac::Context::with_key(key);
    let method = request.method.as_str().as_bytes();
    for line in [b"v1", digits.as_bytes(), method] {
        mac.update(line);
        mac.update(b"\n");
    }
    mac.update(request.raw_path());
    for name in &SIGNED {
        mac.update(b"\n");
        mac.update(request.headers.get(name).map_or(b"".as_slice(), HeaderValue::as_bytes));
    }
    mac.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that services are checked by.
    const PAGE: &str = include_str!("../../docs/signature.md");

    /// The fenced blocks of the page that are marked so.
    fn blocks(mark: &str) -> Vec<&'static str> {
        let opened = PAGE.split("```").skip(1).step_by(2);
        opened.filter_map(|block| block.strip_prefix(mark)?.strip_prefix('\n')).collect()
    }

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.insert_header((*name).to_owned(), *value).unwrap();
        }
        request
    }

    fn signed(mut request: RequestHeader, keys: &Keys, time: u64) -> String {
        sign(&mut request, keys, Duration::from_secs(time)).unwrap();
        let mut values = request.headers.get_all(NAME).iter();
        let value = values.next().unwrap().to_str().unwrap().to_owned();
        assert!(values.next().is_none());
        value
    }

    fn keys(text: &str) -> Keys {
        Keys::parse("sign.keys".as_ref(), text.as_bytes()).unwrap()
    }

    #[test]
    fn every_vector_of_the_page_is_what_an_edge_sends() {
        let (keys, vectors) = (keys(blocks("keys")[0]), blocks("http"));
        assert_eq!(vectors.len(), 2, "one with a tenant, one without");
        for vector in vectors {
            let mut lines = vector.lines();
            let mut first = lines.next().unwrap().split(' ');
            let (method, target) = (first.next().unwrap(), first.next().unwrap());
            let mut headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
            let (_, expected) = headers.pop().filter(|(name, _)| *name == "X-Rhumb-Signature").unwrap();
            let time = expected.split(";t=").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
            let found = signed(request(method, target, &headers), &keys, time.parse().unwrap());
            assert_eq!(found, expected, "{vector}");
        }
    }

    #[test]
    fn the_page_shows_the_text_that_is_signed() {
        let (text, first) = (blocks("text")[0].trim_end_matches('\n'), blocks("http")[0]);
        let key = keys(blocks("keys")[0]);
        let mac = hmac::sign(key.first().unwrap().hmac(), text.as_bytes());
        let mac = URL_SAFE_NO_PAD.encode(mac);
        assert!(first.contains(&format!(";mac={mac}\n")), "{mac}");
        assert_eq!(text.split('\n').count(), 4 + SIGNED.len());
    }

    #[test]
    fn every_line_counts() {
        let keys = keys(blocks("keys")[0]);
        let names: Vec<_> = SIGNED.iter().map(HeaderName::as_str).collect();
        let all: Vec<_> = names.iter().map(|name| (*name, "7")).collect();
        let plain = signed(request("GET", "/a?b", &all), &keys, 7);
        let mut others = vec![
            signed(request("POST", "/a?b", &all), &keys, 7),
            signed(request("GET", "/a?c", &all), &keys, 7),
            signed(request("GET", "/a", &all), &keys, 7),
            signed(request("GET", "/a?b", &all), &keys, 8),
        ];
        for (nth, name) in names.iter().enumerate() {
            for value in [None, Some((*name, "8"))] {
                let mut headers = all.clone();
                headers.splice(nth..=nth, value);
                others.push(signed(request("GET", "/a?b", &headers), &keys, 7));
            }
        }
        let mac = |value: &str| value.split(";mac=").nth(1).unwrap().to_owned();
        let macs: std::collections::HashSet<_> =
            others.iter().chain([&plain]).map(|value| mac(value)).collect();
        assert_eq!(macs.len(), others.len() + 1, "no two alike");
    }

    #[test]
    fn what_a_client_sent_in_its_place_is_gone_and_the_longest_name_fits() {
        let name = "n".repeat(LONGEST_NAME);
        let keys = keys(&format!("{name} {}=", "A".repeat(43)));
        let mut forged = request("GET", "/", &[]);
        forged.append_header("X-Rhumb-Signature", "v1;kid=a;t=1;mac=x").unwrap();
        forged.append_header("x-rhumb-signature", "v1;kid=a;t=2;mac=y").unwrap();
        let value = signed(forged, &keys, u64::MAX);
        assert!(value.starts_with(&format!("v1;kid={name};t={};mac=", u64::MAX)), "{value}");
        assert_eq!(value.len(), LONGEST);
    }

    #[test]
    fn a_target_is_signed_as_it_is_sent() {
        let keys = keys(blocks("keys")[0]);
        let target = "/a%2Fb/%7Ec?q=%20&q";
        let one = request("GET", target, &[]);
        assert_eq!(one.raw_path(), target.as_bytes());
        assert_ne!(signed(one, &keys, 1), signed(request("GET", "/a/b/~c?q=%20&q", &[]), &keys, 1));
        assert_eq!(request("OPTIONS", "*", &[]).raw_path(), b"*");
    }
}

//! The signature under what Rhumb says of a request: `X-Rhumb-Signature`, by which a region knows that an edge set
//! the managed headers. `docs/signature.md` tells services how to check it, and a test holds it to that page. A gateway
//! checks it here.
//!
//! What is signed is read from the request as it is about to be sent, and what is checked from the request as it came,
//! so neither can differ from what is acted upon.
//!
//! Never: says anything of a body, or of headers that are not in the list.

use std::fmt::Write;
use std::time::Duration;

use arrayvec::ArrayString;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use ring::hmac;

use crate::keys::{Key, Keys, LONGEST_NAME};

/// The header.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-rhumb-signature");

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

/// How far the time of a signature may be from ours, in seconds: a clock that is off, and a request on its way. The
/// page tells services the same.
const OFF: u64 = 300;

/// Why a signature proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unsigned {
    /// There is none.
    Missing,
    /// There are several, or it is written otherwise.
    Malformed,
    /// Nobody here has a key of that name.
    UnknownKey,
    /// It was made too long ago, or is yet to be made.
    Stale,
    /// It was made with another secret, or under something else.
    Wrong,
}

/// Signs `request`, which has all its other headers, with the first of `keys` at `now` since 1970.
///
/// # Errors
/// None that a key file could cause: there is a first key, and its name fits into a header.
pub(super) fn sign(request: &mut RequestHeader, keys: &Keys, now: Duration) -> Result<()> {
    let value = keys.first().and_then(|key| value(request, key, now.as_secs()));
    request.insert_header(NAME, value.ok_or_else(|| Error::new_in(ErrorType::InternalError))?)
}

/// The name of the key among `keys` that `request` is signed with.
///
/// - `now`: since 1970.
///
/// # Errors
/// Why it proves nothing.
pub(super) fn check(request: &RequestHeader, keys: &Keys, now: Duration) -> Result<Box<str>, Unsigned> {
    let written = Written::of(&request.headers)?;
    let mut text = Vec::with_capacity(256);
    written.holds(keys, now, |time| {
        lines(request, time, |part| text.extend_from_slice(part));
        text
    })
}

/// The name of the key that an announcement of ownership is signed with.
///
/// - `region`: the region that it is for.
///
/// # Errors
/// Why it proves nothing.
pub(super) fn check_announcement(
    headers: &HeaderMap,
    region: &str,
    body: &[u8],
    keys: &Keys,
    now: Duration,
) -> Result<Box<str>, Unsigned> {
    Written::of(headers)?.holds(keys, now, |time| announced(time, region, body))
}

/// A signature, taken apart.
struct Written<'a> {
    key: &'a str,
    time: &'a str,
    mac: [u8; 32],
}

impl<'a> Written<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Unsigned> {
        let mut values = headers.get_all(NAME).iter();
        let value = values.next().ok_or(Unsigned::Missing)?;
        let whole = value.to_str().ok().filter(|text| text.len() <= LONGEST && values.next().is_none());
        whole.and_then(Self::read).ok_or(Unsigned::Malformed)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (key, rest) = text.strip_prefix("v1;kid=")?.split_once(";t=")?;
        let (time, mac) = rest.split_once(";mac=")?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        Some(Self { key, time, mac: mac.try_into().ok()? })
    }

    fn holds(
        &self,
        keys: &Keys,
        now: Duration,
        over: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<Box<str>, Unsigned> {
        let time: u64 = self.time.parse().map_err(|_| Unsigned::Malformed)?;
        if time.to_string() != self.time {
            return Err(Unsigned::Malformed);
        }
        let key = keys.named(self.key).ok_or(Unsigned::UnknownKey)?;
        if time.abs_diff(now.as_secs()) > OFF {
            return Err(Unsigned::Stale);
        }
        hmac::verify(key.hmac(), &over(time), &self.mac).map_err(|_| Unsigned::Wrong)?;
        Ok(key.name().into())
    }
}

fn value(request: &RequestHeader, key: &Key, time: u64) -> Option<HeaderValue> {
    let mut text = ArrayString::<LONGEST>::new();
    write!(text, "v1;kid={};t={time};mac=", key.name()).ok()?;
    let mut mac = [0; MAC];
    let written = URL_SAFE_NO_PAD.encode_slice(tag(request, key.hmac(), time), &mut mac).ok()?;
    text.try_push_str(str::from_utf8(mac.get(..written)?).ok()?).ok()?;
    HeaderValue::from_str(&text).ok()
}

fn tag(request: &RequestHeader, key: &hmac::Key, time: u64) -> hmac::Tag {
    let mut mac = hmac::Context::with_key(key);
    lines(request, time, |part| mac.update(part));
    mac.sign()
}

/// What is signed: `v1`, time, method, path and query, and the signed headers: one line each, no line end at the end.
fn lines(request: &RequestHeader, time: u64, mut part: impl FnMut(&[u8])) {
    let mut digits = ArrayString::<20>::new();
    // No number has more digits.
    let _ = write!(digits, "{time}");
    let method = request.method.as_str().as_bytes();
    for line in [b"v1", digits.as_bytes(), method] {
        part(line);
        part(b"\n");
    }
    part(request.raw_path());
    for name in &SIGNED {
        part(b"\n");
        part(request.headers.get(name).map_or(b"".as_slice(), HeaderValue::as_bytes));
    }
}

/// What is signed of an announcement: `v1-ownership`, time, region, and SHA-256 of the body in hexadecimal digits.
fn announced(time: u64, region: &str, body: &[u8]) -> Vec<u8> {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1-ownership\n{time}\n{region}\n{digits}").into_bytes()
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

    const NOW: u64 = 1_750_000_000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn signed_request(keys: &Keys) -> RequestHeader {
        let names: Vec<_> = SIGNED.iter().map(|name| (name.as_str(), "7")).collect();
        let mut request = request("GET", "/a%20b?c=%2f", &names);
        sign(&mut request, keys, at(NOW)).unwrap();
        request
    }

    #[test]
    fn what_was_signed_is_what_is_checked() {
        let keys = keys(blocks("keys")[0]);
        let signed = signed_request(&keys);
        let name: Box<str> = keys.first().unwrap().name().into();
        for now in [NOW, NOW + OFF, NOW - OFF] {
            assert_eq!(check(&signed, &keys, at(now)), Ok(name.clone()), "{now}");
        }
        for now in [NOW + OFF + 1, NOW - OFF - 1, 0] {
            assert_eq!(check(&signed, &keys, at(now)), Err(Unsigned::Stale), "{now}");
        }
    }

    #[test]
    fn what_was_changed_after_it_was_signed_proves_nothing() {
        let keys = keys(blocks("keys")[0]);
        for name in &SIGNED {
            let mut changed = signed_request(&keys);
            changed.insert_header(name, "8").unwrap();
            assert_eq!(check(&changed, &keys, at(NOW)), Err(Unsigned::Wrong), "{name}");
            changed.remove_header(name);
            assert_eq!(check(&changed, &keys, at(NOW)), Err(Unsigned::Wrong), "{name} is gone");
        }
        let mut changed = signed_request(&keys);
        changed.set_method(http::Method::POST);
        assert_eq!(check(&changed, &keys, at(NOW)), Err(Unsigned::Wrong));
        let mut changed = signed_request(&keys);
        changed.set_uri("/a%20b?c=/".parse().unwrap());
        assert_eq!(check(&changed, &keys, at(NOW)), Err(Unsigned::Wrong));
    }

    #[test]
    fn another_secret_or_another_name_proves_nothing() {
        let other = |name: &str| keys(&format!("{name} {}=", "A".repeat(43)));
        let keys = keys(blocks("keys")[0]);
        let signed = signed_request(&keys);
        let same_name = other(keys.first().unwrap().name());
        assert_eq!(check(&signed, &same_name, at(NOW)), Err(Unsigned::Wrong));
        assert_eq!(check(&signed, &other("other"), at(NOW)), Err(Unsigned::UnknownKey));
    }

    #[test]
    fn a_signature_is_written_in_one_way_alone() {
        let keys = keys(blocks("keys")[0]);
        let good = signed_request(&keys).headers[NAME].to_str().unwrap().to_owned();
        let time = format!("t={NOW}");
        for odd in [
            String::new(),
            "v1".to_owned(),
            good.replace("v1;", "v2;"),
            good.replace(";t=", "; t="),
            good.replace(&time, &format!("t=0{NOW}")),
            good.replace(&time, &format!("t=+{NOW}")),
            good.replace(&time, "t=-1"),
            good.replace(&time, "t="),
            good.replace(&time, &format!("t={}0", u64::MAX)),
            format!("{good}="),
            format!("{good};"),
            good[..good.len() - 2].to_owned(),
            format!("v1;kid={};t=1;mac=A", "n".repeat(LONGEST)),
        ] {
            let mut changed = signed_request(&keys);
            changed.insert_header(NAME, &odd).unwrap();
            assert_eq!(check(&changed, &keys, at(NOW)), Err(Unsigned::Malformed), "{odd}");
        }
        let mut twice = signed_request(&keys);
        twice.append_header(NAME, good).unwrap();
        assert_eq!(check(&twice, &keys, at(NOW)), Err(Unsigned::Malformed), "twice");
        let mut none = signed_request(&keys);
        none.remove_header(&NAME);
        assert_eq!(check(&none, &keys, at(NOW)), Err(Unsigned::Missing));
    }

    #[test]
    fn an_announcement_is_signed_for_its_region_and_body() {
        let keys = keys(blocks("keys")[0]);
        let key = keys.first().unwrap();
        // SHA-256 of "abc", as FIPS 180 has it.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mac = hmac::sign(key.hmac(), format!("v1-ownership\n{NOW}\neu\n{digest}").as_bytes());
        let value = format!("v1;kid={};t={NOW};mac={}", key.name(), URL_SAFE_NO_PAD.encode(mac));
        let mut headers = HeaderMap::new();
        headers.insert(NAME, value.parse().unwrap());
        let told =
            |region: &str, body: &str| check_announcement(&headers, region, body.as_bytes(), &keys, at(NOW));
        assert_eq!(told("eu", "abc"), Ok(key.name().into()));
        assert_eq!((told("us", "abc"), told("eu", "abd")), (Err(Unsigned::Wrong), Err(Unsigned::Wrong)));
        let mut as_a_request = request("POST", "/", &[]);
        as_a_request.insert_header(NAME, headers[NAME].clone()).unwrap();
        assert_eq!(check(&as_a_request, &keys, at(NOW)), Err(Unsigned::Wrong), "one is not the other");
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

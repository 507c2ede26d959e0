//! Pins between clients and the decision: read off requests, handed out with answers.
//!
//! A client gets its pin twice, as a cookie and as a header, and may send back either or both. What it sends is for
//! this process: no region sees it.
//!
//! A write gets one when it *may* have been committed. That is every answer of a region but a 4xx: with that, a
//! service says that it did not do what it was asked, unless it names a position after all. A 5xx says nothing, and
//! so does an answer that was lost once the request was on its way. A pin too many costs a read its nearness for a
//! few seconds; one too few costs a client its own write.
//!
//! What is written later than the head of the answer (through a tunnel, or while a stream goes on) is not covered.
//!
//! Never: believes a pin that no key of ours has signed; allocates for a request that shows none.

/// A pin as text.
pub mod seal;

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use pingora::Result;
use pingora::http::ResponseHeader;
use rhumb_decision::operated::Now;
use rhumb_decision::pin::{Pin, PinUse, Shown};
use rhumb_decision::table::Operation;
use rhumb_decision::units::{Key, Millis, Wall, position};

use crate::keys::Keys;
use crate::proxy::headers::forward::Scheme;
use crate::proxy::onward;
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::RequestState;
use seal::{LONGEST, open, seal};

const TOKEN: HeaderName = HeaderName::from_static("x-consistency-token");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consistency");
const WRITE_POSITION: HeaderName = HeaderName::from_static("x-write-position");

/// The cookie over TLS. Browsers take it from nobody but the host itself.
const SECURE_COOKIE: &str = "__Host-rhumb-pin";
/// The cookie in the clear.
const PLAIN_COOKIE: &str = "rhumb-pin";
/// What both names end in, and what no other cookie of a request is likely to hold.
const MARK: &[u8] = b"rhumb-pin";

/// Pins of one request that are looked at; a client has one or two.
const MOST: usize = 4;

/// What a request shows of pins.
#[derive(Debug)]
pub(super) struct Carried {
    /// Those that are ours.
    pins: ArrayVec<Pin, MOST>,
    /// When they were read.
    now: Now,
    /// Whether a cookie holds one, which then has to come off.
    in_cookies: bool,
}

impl Carried {
    /// As the decision wants them; `None` where none is ours.
    pub fn shown(&self) -> Option<Shown<'_>> {
        Some(Shown { pins: &self.pins, now: self.now }).filter(|shown| !shown.pins.is_empty())
    }
}

/// A pin on its way to a client.
pub(super) struct Issued {
    cookie: HeaderValue,
    token: HeaderValue,
}

impl Issued {
    /// Adds it to a response's head.
    ///
    /// # Errors
    /// None that a sealed pin could cause.
    pub fn write(self, head: &mut ResponseHeader) -> Result<()> {
        head.append_header(header::SET_COOKIE, self.cookie)?;
        head.insert_header(TOKEN, self.token)
    }
}

impl Rhumb {
    /// Reads the pins of a request, and sees to it that none goes further.
    pub(super) fn read_pins(&self, headers: &HeaderMap, state: &mut RequestState) {
        let Some(keys) = &self.pins else { return };
        let has_token = headers.contains_key(TOKEN);
        let in_cookies = headers.get_all(header::COOKIE).iter().any(holds_pin);
        if !has_token && !in_cookies {
            return;
        }
        if has_token {
            state.strip.push(TOKEN);
        }
        let now = Now { at: self.clock.now(), wall: self.wall() };
        let mut pins = ArrayVec::new();
        let keys = keys.keys();
        for (count, text) in texts(headers).enumerate() {
            match known(text, count, &keys) {
                Ok(pin) => pins.push(pin),
                Err(outcome) => self.recorder.pin(outcome),
            }
        }
        state.pins = Some(Box::new(Carried { pins, now, in_cookies }));
    }

    /// What a client gets for a write that was on its way to a region; `None`: it wrote nothing, or is promised
    /// nothing.
    ///
    /// - `came`: the head of its request.
    /// - `answer`: the region's; `None`: it was lost.
    pub(super) fn issue(
        &self,
        came: &HeaderMap,
        answer: Option<&ResponseHeader>,
        state: &RequestState,
    ) -> Option<Issued> {
        let keys = self.pins.as_ref()?;
        let decision = state.decision.as_ref().filter(|made| made.operation == Operation::Write)?;
        let attempt = state.attempt.as_ref().filter(|_| state.sent)?;
        if answer.is_some_and(|head| !may_have_committed(head)) {
            return None;
        }
        let table = state.current.table();
        let promised = table.policy(decision.policy)?.reads.read_your_writes;
        if promised == Millis(0) {
            return None;
        }
        let pin = Pin {
            tenant: Key::of(table.tenants().id(decision.tenant?).as_bytes()),
            region: table.region(attempt.region)?.hash,
            at: self.wall(),
            position: answer.and_then(write_position),
        };
        let scheme = onward::scheme(came, state.facts.trusted, state.arrived.as_ref()?);
        let issued = issued(&pin, &keys.keys(), scheme, promised)?;
        self.recorder.pin("issued");
        Some(issued)
    }

    /// Tells a client what its answer is worth: a pin for what it wrote, or that a read is older than that may be.
    ///
    /// # Errors
    /// None that a sealed pin could cause.
    pub(super) fn tell_consistency(
        &self,
        came: &HeaderMap,
        response: &mut ResponseHeader,
        state: &RequestState,
    ) -> Result<()> {
        if state.decision.as_ref().is_some_and(|decision| decision.pin == Some(PinUse::Lost)) {
            response.insert_header(CONSISTENCY, HeaderValue::from_static("local"))?;
        }
        match self.issue(came, Some(response), state) {
            Some(issued) => issued.write(response),
            None => Ok(()),
        }
    }

    fn wall(&self) -> Wall {
        Wall(u64::try_from(self.clock.wall().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Whether a region's answer leaves room for what was asked of it to have been done. See the head of this file.
pub(super) fn may_have_committed(answer: &ResponseHeader) -> bool {
    !answer.status.is_client_error() || write_position(answer).is_some()
}

fn write_position(answer: &ResponseHeader) -> Option<u128> {
    position(answer.headers.get(WRITE_POSITION)?.as_bytes())
}

/// The pin that `text` is, the `count`th of its request from 0.
fn known(text: &[u8], count: usize, keys: &Keys) -> std::result::Result<Pin, &'static str> {
    if count >= MOST {
        return Err("surplus");
    }
    open(text, keys).map_err(seal::NoPin::code)
}

fn issued(pin: &Pin, keys: &Keys, scheme: Scheme, promised: Millis) -> Option<Issued> {
    let sealed = seal(pin, keys)?;
    let (name, secure) = match scheme {
        Scheme::Https => (SECURE_COOKIE, " Secure;"),
        Scheme::Http => (PLAIN_COOKIE, ""),
    };
    let seconds = promised.0.div_ceil(1_000);
    let mut cookie = ArrayString::<{ LONGEST + 112 }>::new();
    write!(cookie, "{name}={sealed}; Path=/; Max-Age={seconds};{secure} HttpOnly; SameSite=Lax").ok()?;
    let value = |text: &str| HeaderValue::from_str(text).ok();
    Some(Issued { cookie: value(&cookie)?, token: value(&sealed)? })
}

fn holds_pin(field: &HeaderValue) -> bool {
    memmem::find(field.as_bytes(), MARK).is_some()
}

/// What a request says where pins stand: in its tokens, then in its cookies. Over TLS, the cookie that somebody got
/// in the clear counts too: whoever forges neither can forge the other.
fn texts(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let tokens = headers.get_all(TOKEN).iter().map(|value| value.as_bytes().trim_ascii());
    let fields = headers.get_all(header::COOKIE).iter().filter(|field| holds_pin(field));
    tokens.chain(fields.flat_map(|field| pairs(field.as_bytes())).filter_map(pin_of))
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

/// What the pin among cookies says; `None`: this pair is another cookie.
fn pin_of(pair: &[u8]) -> Option<&[u8]> {
    let name = [SECURE_COOKIE, PLAIN_COOKIE].into_iter().find_map(|name| pair.strip_prefix(name.as_bytes()));
    let value = name?.trim_ascii_start();
    value.strip_prefix(b"=").map(<[u8]>::trim_ascii).or(value.is_empty().then_some(value))
}

/// Takes the pins off the cookies of a request; the others stay as they came.
pub(super) fn take_off(onward: &mut HeaderMap, carried: Option<&Carried>) {
    if !carried.is_some_and(|carried| carried.in_cookies) {
        return;
    }
    let fields: Vec<HeaderValue> = onward.get_all(header::COOKIE).iter().cloned().collect();
    onward.remove(header::COOKIE);
    for field in fields {
        if !holds_pin(&field) {
            onward.append(header::COOKIE, field);
            continue;
        }
        let others: Vec<&[u8]> =
            pairs(field.as_bytes()).filter(|pair| !pair.is_empty() && pin_of(pair).is_none()).collect();
        // What is left of a field is a field.
        if let (false, Ok(left)) = (others.is_empty(), HeaderValue::from_bytes(&others.join(&b"; "[..]))) {
            onward.append(header::COOKIE, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::parse("pin.keys".as_ref(), format!("one {}=\n", "A".repeat(43)).as_bytes()).unwrap()
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn found(fields: &[(&'static str, &str)]) -> Vec<String> {
        let headers = headers(fields);
        texts(&headers).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_pin_is_found_in_its_header_and_in_both_cookies() {
        let fields = [
            ("x-consistency-token", " a "),
            ("cookie", "sid=1; __Host-rhumb-pin=b; c=d"),
            ("cookie", "rhumb-pin = c;rhumb-pin=;rhumb-pin"),
        ];
        assert_eq!(found(&fields), ["a", "b", "c", "", ""]);
    }

    #[test]
    fn what_only_looks_like_a_pin_is_none() {
        let cookies = "sid=rhumb-pin; rhumb-pin2=x; my-rhumb-pin=x; __Secure-rhumb-pin=x; RHUMB-PIN=x";
        assert_eq!(found(&[("cookie", cookies), ("x-consistency", "strong")]), [""; 0]);
        assert!(!headers(&[("cookie", "sid=1; theme=dark")]).get_all("cookie").iter().any(holds_pin));
    }

    fn sent_on(cookies: &[&str]) -> Vec<String> {
        let mut request = HeaderMap::new();
        for cookie in cookies {
            request.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let in_cookies = request.get_all(header::COOKIE).iter().any(holds_pin);
        let now = Now { at: Millis(0), wall: Wall(0) };
        take_off(&mut request, Some(&Carried { pins: ArrayVec::new(), now, in_cookies }));
        let left = request.get_all(header::COOKIE).iter();
        left.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn regions_get_all_other_cookies_and_no_pin() {
        let many = ["a=b", "__Host-rhumb-pin=x; c=d;e=\"f\"; rhumb-pin=y", "rhumb-pin=x", "rhumb-pin2=z"];
        assert_eq!(sent_on(&many), ["a=b", "c=d; e=\"f\"", "rhumb-pin2=z"]);
        assert_eq!(sent_on(&["a=b;  c=d"]), ["a=b;  c=d"], "what holds none is as it came");
    }

    #[test]
    fn a_cookie_says_who_may_send_it_and_for_how_long() {
        let pin = Pin { tenant: Key(1), region: 2, at: Wall(3), position: Some(4) };
        let cookie = |scheme, promised| {
            let issued = issued(&pin, &keys(), scheme, Millis(promised)).unwrap();
            let (cookie, token) = (issued.cookie.to_str().unwrap(), issued.token.to_str().unwrap());
            cookie.replace(token, "PIN")
        };
        let secure = "__Host-rhumb-pin=PIN; Path=/; Max-Age=10; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(cookie(Scheme::Https, 10_000), secure);
        assert_eq!(cookie(Scheme::Http, 1), "rhumb-pin=PIN; Path=/; Max-Age=1; HttpOnly; SameSite=Lax");
        assert!(cookie(Scheme::Https, u64::MAX).contains("Max-Age=18446744073709552;"), "all fits");
    }

    #[test]
    fn only_so_many_are_looked_at() {
        let sealed = seal(&Pin { tenant: Key(1), region: 2, at: Wall(3), position: None }, &keys()).unwrap();
        assert!(known(sealed.as_bytes(), MOST - 1, &keys()).is_ok());
        assert_eq!(known(sealed.as_bytes(), MOST, &keys()), Err("surplus"));
        assert_eq!(known(b"v1.AAAA", 0, &keys()), Err("malformed"));
    }
}

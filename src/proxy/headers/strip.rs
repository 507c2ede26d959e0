//! Which fields to take off a message before anybody reads it.

use super::{Class, classify, folds_to};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that a region may not send to a client: what Rhumb alone says there, what was meant for the connection
/// between the two, and where else the service is: that way would lead around the edge, past residency and ownership.
const FROM_REGIONS: &[&str] = &[
    "Alt-Svc",
    "X-Served-Region",
    "X-Staleness-Seconds",
    "X-Consistency",
    "X-Consistency-Token",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
];

/// What is particular to a request when it is stripped.
#[derive(Debug, Clone, Copy, Default)]
pub struct StripRules<'a> {
    /// Managed headers that clients may send, because tenancy names them. They are removed like the others
    /// once they were read, but only in another spelling do they count as spoofed.
    pub expected: &'a [HeaderName],
    /// Further headers to remove in every spelling: the country header, when the peer is not trusted.
    pub also: &'a [HeaderName],
}

/// Managed headers that a client sent, and how many of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoofed(Vec<(&'static str, u32)>);

impl Spoofed {
    /// Each header's own name, a bounded label, and the number of fields removed, at least 1.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().copied()
    }

    /// Whether the client sent none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn count(&mut self, name: &'static str, fields: u32) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += fields,
            None => self.0.push((name, fields)),
        }
    }
}

/// What to take off a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strip {
    /// Names to remove, with all their values.
    pub remove: Vec<HeaderName>,
    /// Which of these were attempts to speak for Rhumb.
    pub spoofed: Spoofed,
}

/// Finds what to take off a request: every managed, forwarding and removed header, in every spelling.
///
/// Read from the map first what is still needed: tenancy's header, the forwarding chain of a trusted
/// proxy, the request id. Allocates nothing when there is nothing to remove.
#[must_use]
pub fn to_strip(headers: &HeaderMap, rules: &StripRules<'_>) -> Strip {
    let mut strip = Strip::default();
    for name in headers.keys() {
        let spelled = name.as_str().as_bytes();
        let class = classify(spelled);
        if let Some(Class::Managed(managed)) = class
            && !rules.expected.contains(name)
        {
            let fields = headers.get_all(name).iter().count();
            strip.spoofed.count(managed.name, fields.try_into().unwrap_or(u32::MAX));
        }
        if class.is_some() || rules.also.iter().any(|also| folds_to(spelled, also.as_str())) {
            strip.remove.push(name.clone());
        }
    }
    strip
}

/// Takes off a request what [`to_strip`] finds.
pub fn strip_request(headers: &mut HeaderMap, rules: &StripRules<'_>) -> Spoofed {
    let strip = to_strip(headers, rules);
    for name in &strip.remove {
        headers.remove(name);
    }
    strip.spoofed
}

/// Finds what to take off a region's response: managed headers in every spelling, what Rhumb alone tells
/// clients, and what was meant for the connection between the two, by name or by the region's `Connection`.
///
/// Framing fields, `Connection` and `Upgrade` stay: they are the server's business.
#[must_use]
pub fn response_leftovers(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut remove: Vec<_> = headers.keys().filter(|name| is_leftover(name)).cloned().collect();
    for option in headers.get_all(header::CONNECTION).iter().flat_map(options) {
        if let Ok(name) = HeaderName::from_bytes(option)
            && headers.contains_key(&name)
            && !is_framing(&name)
            && !remove.contains(&name)
        {
            remove.push(name);
        }
    }
    remove
}

/// Cookies that Rhumb alone may set: the pin, over TLS and in the clear.
const PINS: [&str; 2] = ["__Host-rhumb-pin", "rhumb-pin"];

/// Whether a response sets a pin.
#[must_use]
pub fn sets_pin(headers: &HeaderMap) -> bool {
    headers.get_all(header::SET_COOKIE).iter().any(is_pin)
}

/// Whether the value of a `Set-Cookie` sets a pin, in whatever case: some clients fold it.
#[must_use]
pub fn is_pin(cookie: &HeaderValue) -> bool {
    let name = cookie.as_bytes().split(|&byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    PINS.iter().any(|pin| name.trim_ascii().eq_ignore_ascii_case(pin.as_bytes()))
}

/// Takes off a region's response what [`response_leftovers`] finds.
pub fn strip_response(headers: &mut HeaderMap) {
    for name in response_leftovers(headers) {
        headers.remove(name);
    }
}

fn is_leftover(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    matches!(classify(name), Some(Class::Managed(_)))
        || FROM_REGIONS.iter().any(|known| folds_to(name, known))
}

fn is_framing(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
}

/// The connection options that may name another field: all but the two usual ones.
fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let options = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| {
        !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(pair).collect::<Vec<_>>().into_iter().fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_client_loses_every_managed_header_and_each_one_counts() {
        let mut headers = map(&[
            ("Host", "a.test"),
            ("X-Owner-Region", "us"),
            ("X-Owner-Region", "ap"),
            ("X_OWNER.region", "us"),
            ("X-Rhumb-Hop", "1"),
            ("X-Rhumb-Forwarded-By", "edge"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X_Method_Override", "PUT"),
            ("Accept", "*/*"),
        ]);
        let spoofed = strip_request(&mut headers, &StripRules::default());
        assert_eq!(names(&headers), ["accept", "host"]);
        let mut counted: Vec<_> = spoofed.iter().collect();
        counted.sort_unstable();
        assert_eq!(counted, [("X-Owner-Region", 3), ("X-Rhumb-*", 2)]);
    }

    #[test]
    fn a_header_that_tenancy_names_goes_uncounted_but_only_as_it_is_named() {
        let expected = [HeaderName::from_static("x-tenant-id")];
        let rules = StripRules { expected: &expected, also: &[] };
        let mut headers = map(&[("X-Tenant-ID", "acme")]);
        assert!(strip_request(&mut headers, &rules).is_empty());
        assert!(headers.is_empty());

        let mut headers = map(&[("X-Tenant-ID", "acme"), ("X_Tenant_ID", "globex")]);
        let spoofed = strip_request(&mut headers, &rules);
        assert_eq!(spoofed.iter().collect::<Vec<_>>(), [("X-Tenant-ID", 1)]);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_configured_header_goes_in_every_spelling() {
        let also = [HeaderName::from_static("cf-ipcountry")];
        let mut headers = map(&[("CF-IPCountry", "DE"), ("CF_IPCountry", "FR"), ("CF-Ray", "x")]);
        assert!(strip_request(&mut headers, &StripRules { expected: &[], also: &also }).is_empty());
        assert_eq!(names(&headers), ["cf-ray"]);
    }

    #[test]
    fn a_pin_is_known_by_its_name() {
        for cookie in
            ["__Host-rhumb-pin=v1.x; Secure", "rhumb-pin=x", " RHUMB-PIN = x", "rhumb-pin", "rhumb-pin;x"]
        {
            assert!(is_pin(&HeaderValue::from_static(cookie)), "{cookie}");
        }
        for cookie in ["sid=rhumb-pin", "rhumb-pin2=x", "a=b; rhumb-pin=x", "", "=rhumb-pin"] {
            assert!(!is_pin(&HeaderValue::from_static(cookie)), "{cookie}");
        }
    }

    #[test]
    fn nothing_to_remove_is_nothing_allocated() {
        let headers = map(&[("Host", "a.test"), ("Accept", "*/*"), ("X-Api-Key", "k"), ("Cookie", "a=b")]);
        let strip = to_strip(&headers, &StripRules::default());
        assert_eq!(strip, Strip::default());
        assert_eq!((strip.remove.capacity(), strip.spoofed.0.capacity()), (0, 0));
    }

    #[test]
    fn a_region_speaks_neither_for_rhumb_nor_to_the_clients_connection() {
        let mut headers = map(&[
            ("Content-Type", "text/plain"),
            ("Content-Length", "2"),
            ("Connection", "keep-alive, x-private, Content-Length, upgrade"),
            ("Upgrade", "websocket"),
            ("X-Private", "1"),
            ("X_Owner_Region", "us"),
            ("X-Rhumb-Refusal", "stale_epoch"),
            ("X-Served-Region", "us"),
            ("x_staleness_seconds", "1"),
            ("X-Consistency-Token", "forged"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Status", "origin"),
            ("Via", "1.1 cache"),
        ]);
        headers.insert("alt-svc", HeaderValue::from_static("h3=\"evil.test:443\""));
        strip_response(&mut headers);
        assert_eq!(
            names(&headers),
            ["connection", "content-length", "content-type", "proxy-status", "upgrade", "via"]
        );
    }
}

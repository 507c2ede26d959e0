//! Who the client is, and how a region is told: `X-Forwarded-For`, `X-Forwarded-Proto`, `Forwarded`.
//!
//! What came in these headers is believed only from a trusted proxy, and of a chain only the end that
//! trusted proxies wrote. `X-Forwarded-Host` needs no function: it is the request's own host.

use crate::proxy::gate::trimmed;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The most addresses that are read from a chain, and sent on; nearest first.
const CHAIN: usize = 20;

/// How a client reached the first trusted process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in `X-Forwarded-Proto`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The address of the client behind trusted proxies.
///
/// - `peer`: the other end of the connection.
/// - `chain`: the values of all `X-Forwarded-For` fields, in the order they came.
/// - Returns the nearest address that is not a trusted proxy's; if all are, the farthest. Reading stops at
///   the first entry that is no address. IPv4 in IPv6 is unwrapped.
pub fn client_address<'v>(
    peer: IpAddr,
    chain: impl DoubleEndedIterator<Item = &'v [u8]>,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut nearest_first = addresses(chain);
    while trusts(client) {
        match nearest_first.next() {
            Some(next) => client = next,
            None => break,
        }
    }
    client
}

/// Writes the value of `X-Forwarded-For` for the region.
///
/// - `trusted`: whether `peer` is a trusted proxy. If so its chain is kept, in order, as far as it consists of
///   addresses and at most the nearest 20 of them; `peer` comes last in either case.
pub fn forwarded_for<'v>(
    peer: IpAddr,
    chain: impl DoubleEndedIterator<Item = &'v [u8]>,
    trusted: bool,
    value: &mut String,
) {
    if trusted {
        let nearest_first: Vec<_> = addresses(chain).collect();
        for address in nearest_first.iter().rev() {
            write_address(*address, value);
            value.push_str(", ");
        }
    }
    write_address(peer, value);
}

/// How the client reached the first trusted process.
///
/// - `received`: the value of `X-Forwarded-Proto`, believed if `trusted` and its last entry is `http` or
///   `https`.
/// - `here`: how this process was reached.
#[must_use]
pub fn forwarded_scheme(received: Option<&[u8]>, trusted: bool, here: Scheme) -> Scheme {
    let last = received.filter(|_| trusted).and_then(|value| value.rsplit(|&byte| byte == b',').next());
    match last.map(trimmed) {
        Some(value) if value.eq_ignore_ascii_case(b"https") => Scheme::Https,
        Some(value) if value.eq_ignore_ascii_case(b"http") => Scheme::Http,
        _ => here,
    }
}

/// Writes the value of `Forwarded` (RFC 7239) for the region: one element, what came is dropped.
///
/// - `client`: as [`client_address`] found it.
/// - `authority`: host and port as in [`Host::authority`](crate::proxy::target::Host::authority).
pub fn forwarded(client: IpAddr, authority: &str, scheme: Scheme, value: &mut String) {
    let (before, after) = if client.to_canonical().is_ipv4() { ("for=", "") } else { ("for=\"[", "]\"") };
    value.push_str(before);
    write_address(client, value);
    value.push_str(after);
    let (before, after) = if authority.contains([':', '[']) { (";host=\"", "\"") } else { (";host=", "") };
    for part in [before, authority, after, ";proto=", scheme.as_str()] {
        value.push_str(part);
    }
}

/// As `Display` writes it, but that takes ten times as long over four numbers.
fn write_address(address: IpAddr, value: &mut String) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    value.push('.');
                }
                let digits = [octet / 100, octet / 10 % 10, octet % 10];
                let zeros = if octet > 99 { 0 } else { 1 + usize::from(octet < 10) };
                value.extend(digits.into_iter().skip(zeros).map(|digit| char::from(b'0' + digit)));
            }
        }
        IpAddr::V6(address) => {
            // Writing to a text cannot fail.
            let _ = write!(value, "{address}");
        }
    }
}

/// The addresses of a chain, nearest first, up to the first entry that is none.
fn addresses<'v>(chain: impl DoubleEndedIterator<Item = &'v [u8]>) -> impl Iterator<Item = IpAddr> {
    chain.rev().flat_map(|value| value.rsplit(|&byte| byte == b',')).take(CHAIN).map_while(address)
}

/// One entry: an address, with or without a port, an IPv6 one with or without brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(trimmed(entry)).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn chain<'v>(values: &'v [&'v str]) -> impl DoubleEndedIterator<Item = &'v [u8]> {
        values.iter().map(|value| value.as_bytes())
    }

    fn written_for<'v>(
        peer: IpAddr,
        chain: impl DoubleEndedIterator<Item = &'v [u8]>,
        trusted: bool,
    ) -> String {
        let mut value = String::new();
        forwarded_for(peer, chain, trusted, &mut value);
        value
    }

    fn is_private(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.is_private())
    }

    #[test]
    fn every_number_of_an_address_is_written_as_others_write_it() {
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 255 - octet, 0, octet]);
            let mut value = String::new();
            write_address(address, &mut value);
            assert_eq!(value, address.to_string());
        }
    }

    #[test]
    fn the_client_is_the_nearest_address_that_is_no_trusted_proxy() {
        for (peer, values, client) in [
            ("203.0.113.9", &["192.0.2.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.1", " 10.0.0.2:4711\t"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.1,"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            assert_eq!(client_address(ip(peer), chain(values), is_private), ip(client), "{peer} {values:?}");
        }
    }

    #[test]
    fn a_chain_is_extended_for_a_trusted_proxy_and_begun_anew_for_others() {
        let values = ["192.0.2.1, 10.0.0.3", "10.0.0.2"];
        assert_eq!(
            written_for(ip("10.0.0.1"), chain(&values), true),
            "192.0.2.1, 10.0.0.3, 10.0.0.2, 10.0.0.1"
        );
        assert_eq!(written_for(ip("203.0.113.9"), chain(&values), false), "203.0.113.9");
        assert_eq!(written_for(ip("10.0.0.1"), chain(&["x\u{e9}, 192.0.2.1"]), true), "192.0.2.1, 10.0.0.1");
        assert_eq!(written_for(ip("::ffff:192.0.2.7"), chain(&[]), false), "192.0.2.7");
    }

    #[test]
    fn a_long_chain_is_cut_to_its_nearest_entries() {
        let long: Vec<_> = (0..2000).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
        let joined = long.join(", ");
        let value = written_for(ip("10.0.0.1"), chain(&[joined.as_str()]), true);
        assert_eq!(value, format!("{}, 10.0.0.1", long[2000 - CHAIN..].join(", ")));
        assert_eq!(
            client_address(ip("10.0.0.1"), chain(&[joined.as_str()]), is_private),
            ip(&long[2000 - CHAIN])
        );
    }

    #[test]
    fn the_scheme_is_believed_from_trusted_proxies_only() {
        for (received, trusted, expected) in [
            (None, true, Scheme::Http),
            (Some("https"), true, Scheme::Https),
            (Some("https"), false, Scheme::Http),
            (Some("http, HTTPS "), true, Scheme::Https),
            (Some("gopher"), true, Scheme::Http),
            (Some(""), true, Scheme::Http),
        ] {
            assert_eq!(
                forwarded_scheme(received.map(str::as_bytes), trusted, Scheme::Http),
                expected,
                "{received:?}"
            );
        }
        assert_eq!(forwarded_scheme(Some(b"http"), true, Scheme::Https), Scheme::Http);
    }

    #[test]
    fn forwarded_quotes_what_is_no_token() {
        for (client, authority, expected) in [
            ("192.0.2.1", "a.test", "for=192.0.2.1;host=a.test;proto=https"),
            ("192.0.2.1", "a.test:8080", "for=192.0.2.1;host=\"a.test:8080\";proto=https"),
            ("2001:db8::1", "[::1]", "for=\"[2001:db8::1]\";host=\"[::1]\";proto=https"),
            ("::ffff:192.0.2.1", "a.test", "for=192.0.2.1;host=a.test;proto=https"),
        ] {
            let mut value = String::new();
            forwarded(ip(client), authority, Scheme::Https, &mut value);
            assert_eq!(value, expected);
        }
    }
}

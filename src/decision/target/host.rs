//! The host that a request asks for.

use super::GateCause;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A host in normal form: lower case, no trailing dot, the port apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    name: Cow<'a, str>,
    port: Option<u16>,
    rewritten: bool,
}

impl Host<'_> {
    /// The name for look-ups: 1 to 253 bytes of letters, digits, `-`, `_` and `.`, or an IPv6 address in
    /// brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, 1 to 65535, if one was given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it came in another spelling than [`authority`](Self::authority).
    #[must_use]
    pub fn rewritten(&self) -> bool {
        self.rewritten
    }

    /// Name and port as a Host field carries them.
    #[must_use]
    pub fn authority(&self) -> Cow<'_, str> {
        match self.port {
            None => Cow::Borrowed(&self.name),
            Some(port) => Cow::Owned(format!("{}:{port}", self.name)),
        }
    }
}

/// Reads a Host field or the authority of a target.
///
/// - Takes names of labels of 1 to 63 letters, digits, `-` and `_`, which IPv4 addresses are too, and IPv6
///   addresses in brackets; one trailing dot; a port without leading zeros. No user, no escapes, no other
///   alphabets: those come as A-labels.
/// - Errors: [`GateCause::HostMalformed`].
/// - Borrows unless a letter is upper case or an IPv6 address is not in its canonical form.
pub fn normalise_host(authority: &[u8]) -> Result<Host<'_>, GateCause> {
    host(authority).ok_or(GateCause::HostMalformed)
}

fn host(authority: &[u8]) -> Option<Host<'_>> {
    let end = match authority.first()? {
        b'[' => authority.iter().position(|&byte| byte == b']')? + 1,
        _ => authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at(end);
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        [..] => return None,
    };
    let plain = name.strip_suffix(b".").unwrap_or(name);
    let text = str::from_utf8(plain).ok()?;
    let name_in_form = match text.strip_prefix('[') {
        Some(address) => ipv6(text, address.strip_suffix(']')?)?,
        None => registered(text)?,
    };
    let rewritten = plain.len() != name.len() || matches!(name_in_form, Cow::Owned(_));
    Some(Host { name: name_in_form, port, rewritten })
}

fn registered(name: &str) -> Option<Cow<'_, str>> {
    let mut label = 0;
    let mut upper = false;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                label += 1;
                upper = true;
            }
            b'.' if label > 0 => label = 0,
            _ => return None,
        }
        if label > 63 {
            return None;
        }
    }
    if label == 0 || name.len() > 253 {
        return None;
    }
    Some(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

fn ipv6<'a>(bracketed: &'a str, address: &str) -> Option<Cow<'a, str>> {
    let canonical = format!("[{}]", address.parse::<Ipv6Addr>().ok()?);
    Some(if canonical == bracketed { Cow::Borrowed(bracketed) } else { Cow::Owned(canonical) })
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || matches!(digits, [] | [b'0', ..]) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_brought_to_one_form() {
        for (given, name, port, rewritten) in [
            ("a.test", "a.test", None, false),
            ("a.test:8080", "a.test", Some(8080), false),
            ("A.Test", "a.test", None, true),
            ("a.test.", "a.test", None, true),
            ("a.test.:65535", "a.test", Some(65535), true),
            ("localhost", "localhost", None, false),
            ("10.0.0.1:1", "10.0.0.1", Some(1), false),
            ("xn--t1-9ja.example.test", "xn--t1-9ja.example.test", None, false),
            ("under_score.test", "under_score.test", None, false),
            ("-.test", "-.test", None, false),
            ("[::1]", "[::1]", None, false),
            ("[::1]:80", "[::1]", Some(80), false),
            ("[0:0::1]", "[::1]", None, true),
            ("[2001:DB8::A]", "[2001:db8::a]", None, true),
        ] {
            let host = normalise_host(given.as_bytes()).unwrap();
            assert_eq!((host.name(), host.port(), host.rewritten()), (name, port, rewritten), "{given}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = format!("{}.test", "a".repeat(64));
        let long_name = "a.".repeat(127) + "a";
        for given in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a...",
            "a b",
            "a,b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%00",
            "a@b",
            "u:p@a",
            "a:",
            "a:0",
            "a:00080",
            "a:80:80",
            "a:8a",
            "a:+80",
            "a:65536",
            "a:999999",
            ":80",
            "::1",
            "[::1",
            "[::1].",
            "[::1]x",
            "[::1]:",
            "x[::1]",
            "[]",
            "[::1%25lo]",
            "[1.2.3.4]",
            "[v1.a]",
            "é.test",
            "a\0",
            "a\t",
            "*.test",
            long_label.as_str(),
            long_name.as_str(),
        ] {
            assert_eq!(normalise_host(given.as_bytes()), Err(GateCause::HostMalformed), "{given:?}");
        }
        assert_eq!(normalise_host(b"a\xff"), Err(GateCause::HostMalformed));
    }

    #[test]
    fn a_host_in_normal_form_is_borrowed() {
        for given in ["a.test", "a.test.", "[::1]:80"] {
            let host = normalise_host(given.as_bytes()).unwrap();
            assert!(matches!(host.name, Cow::Borrowed(_)), "{given}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(given in "[a-zA-Z0-9_.:\\[\\]-]{0,20}") {
            if let Ok(host) = normalise_host(given.as_bytes()) {
                let authority = host.authority().into_owned();
                let again = normalise_host(authority.as_bytes()).unwrap();
                prop_assert!(!again.rewritten());
                prop_assert_eq!(again.authority(), authority.as_str());
            }
        }
    }
}

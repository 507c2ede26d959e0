//! Host, path and query: what passes is in the one normal form, means what was sent, and shows no dot segment, no slash
//! that was refused and no control byte however often it is decoded on its way.

use std::borrow::Cow;

use rhumb_decision::target::{self, EncodedSlash, Host, check_query, normalise_host, normalise_path};

/// The first byte chooses the method and what becomes of an encoded slash; the others are the target, and are taken for
/// a host, a path and a query of their own too.
pub fn check(bytes: &[u8]) -> bool {
    let Some((first, raw)) = bytes.split_first() else { return false };
    let method = if first & 1 == 0 { "GET" } else { "OPTIONS" };
    let slash = if first & 2 == 0 { EncodedSlash::Refuse } else { EncodedSlash::Pass };
    let whole = target::parse(raw, method, slash);
    if let Ok((target, authority)) = &whole {
        match &*target.path {
            "*" => assert_eq!(method, "OPTIONS"),
            path => normal_path(path, slash),
        }
        let sent = target.origin_form();
        let (again, none) =
            target::parse(sent.as_bytes(), method, slash).expect("its own normal form is refused");
        assert!(none.is_none() && !again.rewritten);
        assert_eq!((&again.path, again.query), (&target.path, target.query));
        assert_eq!(target.rewritten, sent.as_bytes() != raw);
        assert_eq!(authority.is_some(), !matches!(raw[0], b'/' | b'*'));
    }
    let host = normalise_host(raw);
    if let Ok(host) = &host {
        normal_host(raw, host);
    }
    let path = normalise_path(raw, slash);
    if let Ok(path) = &path
        && raw.first() == Some(&b'/')
    {
        assert_eq!(unescaped(raw), unescaped(path.as_bytes()), "it means something else now");
        assert_eq!(matches!(path, Cow::Borrowed(_)), path.as_bytes() == raw);
        normal_path(path, slash);
    }
    if let Ok(query) = check_query(raw) {
        assert_eq!(query.as_bytes(), raw);
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        assert!(!unescaped(raw).iter().any(u8::is_ascii_control));
    }
    whole.is_ok() || host.is_ok()
}

/// Holds that a path is in normal form.
pub fn normal_path(path: &str, slash: EncodedSlash) {
    let again = normalise_path(path.as_bytes(), slash).expect("its own normal form is refused");
    assert!(matches!(again, Cow::Borrowed(same) if same == path), "{path} becomes {again}");
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    assert!(!path.contains("//") && !path.contains(['\\', '#']), "{path}");
    for (at, _) in path.match_indices('%') {
        let digits = path.get(at + 1..at + 3).expect("an escape is cut off");
        let value = u8::from_str_radix(digits, 16).expect("an escape is no number");
        assert!(!digits.bytes().any(|digit| digit.is_ascii_lowercase()), "{path}");
        assert!(!value.is_ascii_alphanumeric() && !b"-._~\\".contains(&value), "{path}");
        assert!(!value.is_ascii_control(), "{path}");
        assert!(value != b'/' || slash == EncodedSlash::Pass, "{path}");
    }
    let mut decoded = path.as_bytes().to_vec();
    for round in 1..=2 {
        decoded = unescaped(&decoded);
        assert!(round > 1 || str::from_utf8(&decoded).is_ok(), "{path}");
        for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
            let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
            assert!(
                !matches!(name, b"." | b".."),
                "{path} has a dot segment once it is decoded {round} times"
            );
        }
    }
}

fn normal_host(raw: &[u8], host: &Host<'_>) {
    let authority = host.authority().into_owned();
    let again = normalise_host(authority.as_bytes()).expect("its own normal form is refused");
    assert!(!again.rewritten() && again.authority() == authority, "{authority}");
    assert_eq!(host.rewritten(), authority.as_bytes() != raw, "{authority}");
    let name = host.name();
    assert!(!name.is_empty() && name.len() <= 253 && !name.ends_with('.'));
    assert!(host.port() != Some(0));
    match name.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']').expect("a bracket is open");
            assert!(address.parse::<std::net::Ipv6Addr>().is_ok());
        }
        None => {
            assert!(name.split('.').all(|label| (1..=63).contains(&label.len())), "{name}");
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
            assert!(raw.to_ascii_lowercase().starts_with(name.as_bytes()));
        }
    }
}

/// The bytes with every escape undone once; what is no escape stays.
pub fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &behind[2..];
            }
            None => {
                out.push(first);
                rest = behind;
            }
        }
    }
    out
}

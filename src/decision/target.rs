//! Where a request goes: host, path and query in the one form that rules see and the region gets.
//!
//! Why: two spellings of one path that a rule tells apart and a service does not are a way around the
//! rule. So a spelling is either the normal one, or equal to it by RFC 3986 and rewritten, or refused.
//!
//! Never: resolves a dot segment, merges slashes, or guesses; never allocates for what is normal already.

mod cause;
mod host;
mod path;

pub use cause::GateCause;
pub use host::{Host, normalise_host};
pub use path::{check_query, normalise_path};

use std::borrow::Cow;

/// What becomes of `%2F` in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlash {
    /// The request is refused.
    #[default]
    Refuse,
    /// It stays, encoded, for rules and region alike.
    Pass,
}

/// A request's target in origin form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path, in normal form, beginning with `/`; or `*`, with OPTIONS only.
    pub path: Cow<'a, str>,
    /// What follows the first `?`, as it came. An empty query is not the same as none.
    pub query: Option<&'a str>,
    /// Whether the region must get other bytes than came: [`origin_form`](Self::origin_form).
    pub rewritten: bool,
}

impl Target<'_> {
    /// Path and query as the region gets them.
    #[must_use]
    pub fn origin_form(&self) -> String {
        let mut form = String::with_capacity(self.path.len() + self.query.map_or(0, |query| query.len() + 1));
        form.push_str(&self.path);
        if let Some(query) = self.query {
            form.push('?');
            form.push_str(query);
        }
        form
    }
}

/// The authority of a target in absolute form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    host: Host<'a>,
    default_port: u16,
}

impl Authority<'_> {
    /// Whether it is the same place as `host`, the scheme's own port said or not.
    #[must_use]
    pub fn names(&self, host: &Host<'_>) -> bool {
        self.host.name() == host.name()
            && self.host.port().unwrap_or(self.default_port) == host.port().unwrap_or(self.default_port)
    }
}

/// Reads a request target: origin form, absolute form over http or https, or `*` with OPTIONS.
///
/// - Returns the target, and the authority if the form is absolute; the caller compares it with Host.
/// - Errors: [`GateCause::TargetForm`] for every other form, else what is wrong with host, path or query.
pub fn parse<'a>(
    raw: &'a [u8],
    method: &str,
    slash: EncodedSlash,
) -> Result<(Target<'a>, Option<Authority<'a>>), GateCause> {
    if raw.first() == Some(&b'/') {
        return Ok((origin(raw, slash)?, None));
    }
    if raw == b"*" && method == "OPTIONS" {
        return Ok((Target { path: Cow::Borrowed("*"), query: None, rewritten: false }, None));
    }
    let (rest, default_port) = strip_scheme(raw).ok_or(GateCause::TargetForm)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let authority = Authority { host: normalise_host(authority)?, default_port };
    let target = match rest.first() {
        Some(b'/') => origin(rest, slash)?,
        Some(_) => Target { path: Cow::Borrowed("/"), ..query_only(rest)? },
        None if method == "OPTIONS" => Target { path: Cow::Borrowed("*"), query: None, rewritten: true },
        None => Target { path: Cow::Borrowed("/"), query: None, rewritten: true },
    };
    Ok((Target { rewritten: true, ..target }, Some(authority)))
}

fn origin(raw: &[u8], slash: EncodedSlash) -> Result<Target<'_>, GateCause> {
    let end = raw.iter().position(|&byte| byte == b'?').unwrap_or(raw.len());
    let (path, rest) = raw.split_at(end);
    let path = normalise_path(path, slash)?;
    let rewritten = matches!(path, Cow::Owned(_));
    Ok(Target { path, rewritten, ..query_only(rest)? })
}

/// A target of which only the query is known: `rest` is empty or begins with `?`.
fn query_only(rest: &[u8]) -> Result<Target<'_>, GateCause> {
    let query = match rest {
        [] => None,
        [b'?', query @ ..] => Some(check_query(query)?),
        [..] => return Err(GateCause::Fragment),
    };
    Ok(Target { path: Cow::Borrowed("/"), query, rewritten: false })
}

fn strip_scheme(raw: &[u8]) -> Option<(&[u8], u16)> {
    [(&b"http://"[..], 80), (&b"https://"[..], 443)].into_iter().find_map(|(scheme, port)| {
        let (start, rest) = raw.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some((rest, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str, method: &str) -> Result<(String, bool, Option<String>), GateCause> {
        let (target, authority) = parse(raw.as_bytes(), method, EncodedSlash::Refuse)?;
        Ok((
            target.origin_form(),
            target.rewritten,
            authority.map(|authority| authority.host.authority().to_string()),
        ))
    }

    #[test]
    fn origin_form_stays_as_it_is() {
        for raw in ["/", "/a/b", "/a?", "/a?b=c?d//../%2f", "/?x", "/a/"] {
            assert_eq!(parsed(raw, "GET"), Ok((raw.to_owned(), false, None)), "{raw}");
        }
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        let host = Some("a.test:8080".to_owned());
        for (raw, method, wire) in [
            ("http://a.test:8080/x?y", "GET", "/x?y"),
            ("HTTPS://A.test:8080", "GET", "/"),
            ("http://a.test.:8080?y", "GET", "/?y"),
            ("http://a.test:8080", "OPTIONS", "*"),
            ("http://a.test:8080/", "OPTIONS", "/"),
        ] {
            assert_eq!(parsed(raw, method), Ok((wire.to_owned(), true, host.clone())), "{raw}");
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        for (raw, cause) in [
            ("*", GateCause::TargetForm),
            ("", GateCause::TargetForm),
            ("?x", GateCause::TargetForm),
            ("a.test:80", GateCause::TargetForm),
            ("@a.test/", GateCause::TargetForm),
            ("ftp://a.test/", GateCause::TargetForm),
            ("unix:/run/x", GateCause::TargetForm),
            ("http:/a.test", GateCause::TargetForm),
            ("http:///x", GateCause::HostMalformed),
            ("http://u@a.test/", GateCause::HostMalformed),
            ("http://a.test#x", GateCause::Fragment),
            ("http://a.test/../x", GateCause::DotSegment),
            ("/a#b", GateCause::Fragment),
            ("/a?b#c", GateCause::Fragment),
        ] {
            assert_eq!(parsed(raw, "GET"), Err(cause), "{raw}");
        }
    }

    #[test]
    fn an_authority_names_a_host_with_or_without_the_port_of_its_scheme() {
        for (raw, host, same) in [
            ("http://a.test/", "a.test", true),
            ("http://a.test:80/", "A.test.", true),
            ("http://a.test/", "a.test:80", true),
            ("https://a.test/", "a.test:443", true),
            ("https://a.test/", "a.test:80", false),
            ("http://a.test:81/", "a.test", false),
            ("http://b.test/", "a.test", false),
        ] {
            let (_, authority) = parse(raw.as_bytes(), "GET", EncodedSlash::Refuse).unwrap();
            let host = normalise_host(host.as_bytes()).unwrap();
            assert_eq!(authority.unwrap().names(&host), same, "{raw} {}", host.name());
        }
    }
}

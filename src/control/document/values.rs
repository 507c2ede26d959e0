//! Values that only the table has, each checked while it is read: patterns, templates, endpoints, hours.
//!
//! Hosts and paths are brought to the form in which requests are matched, so that a rule and a request cannot
//! disagree about a spelling.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use rhumb_decision::bytes::token_len;
use rhumb_decision::spiffe::{self, Template};
use rhumb_decision::table::{
    Address, CertificateSource, HostPattern, HostTemplate, PathPattern, PathTemplate,
};
use rhumb_decision::target::{EncodedSlash, normalise_host, normalise_path};

use crate::problem::values::read_as_text;

/// The placeholder of a template.
const TENANT: &str = "{tenant}";

/// A text that may be shown in a message: escaped, and cut where it would fill the screen.
pub(super) fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// A host as routes name it: a name, or `*.` and what it must end with.
pub(super) struct HostText(pub HostPattern);

impl FromStr for HostText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |fix: &str| format!("\"{}\" is no host pattern; {fix}", shown(text));
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            return Err(wrong("a star stands in front only, as in \"*.app.example\""));
        }
        let host = normalise_host(name.as_bytes())
            .map_err(|_| wrong("write one such as \"api.app.example\" or \"*.app.example\""))?;
        if host.port().is_some() {
            return Err(wrong("leave out the port, rules do not see it"));
        }
        Ok(Self(match text.starts_with("*.") {
            true => HostPattern::Under(format!(".{}", host.name()).into()),
            false => HostPattern::Exact(host.name().into()),
        }))
    }
}

/// A host in which `{tenant}` stands for the tenant's name.
pub(super) struct HostTemplateText(pub HostTemplate);

impl FromStr for HostTemplateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |fix: &str| format!("\"{}\" is no host template; {fix}", shown(text));
        let (before, after) = around_tenant(text).ok_or_else(|| {
            wrong("write {tenant} where the tenant stands, once, as in \"{tenant}.app.example\"")
        })?;
        let sample = format!("{before}t{after}");
        let host = normalise_host(sample.as_bytes())
            .map_err(|_| wrong("write one such as \"{tenant}.app.example\""))?;
        if host.port().is_some() {
            return Err(wrong("leave out the port, rules do not see it"));
        }
        let after = after.strip_suffix('.').unwrap_or(after);
        Ok(Self(HostTemplate {
            before: before.to_ascii_lowercase().into(),
            after: after.to_ascii_lowercase().into(),
        }))
    }
}

/// A path in which the segment `{tenant}` stands for the tenant's name.
pub(super) struct PathTemplateText(pub PathTemplate);

impl FromStr for PathTemplateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |fix: &str| format!("\"{}\" is no path template; {fix}", shown(text));
        let (before, after) = around_tenant(text)
            .ok_or_else(|| wrong("write {tenant} where the tenant stands, once, as in \"/t/{tenant}\""))?;
        if !before.starts_with('/') {
            return Err(wrong("begin with a slash, as in \"/t/{tenant}\""));
        }
        if !before.ends_with('/') || !(after.is_empty() || after.starts_with('/')) {
            return Err(wrong("{tenant} is a whole segment, as in \"/t/{tenant}/api\""));
        }
        let after = after.strip_suffix('/').unwrap_or(after);
        Ok(Self(PathTemplate {
            before: normal_path(before).map_err(|fix| wrong(&fix))?,
            after: match after {
                "" => "".into(),
                after => normal_path(after).map_err(|fix| wrong(&fix))?,
            },
        }))
    }
}

/// What of a client's certificate names the tenant: `uri`, `subject`, or a SPIFFE id with `{tenant}` in it.
pub(super) struct CertificateText(pub CertificateSource);

impl FromStr for CertificateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uri" => return Ok(Self(CertificateSource::Uri)),
            "subject" => return Ok(Self(CertificateSource::Subject)),
            _ => {}
        }
        let template = Template::parse(text).map(|template| Self(CertificateSource::Template(template)));
        template.ok_or_else(|| {
            format!(
                "\"{}\" names no part of a certificate; write \"uri\", \"subject\", or a SPIFFE id in which one \
                 segment is the tenant, as in \"spiffe://prod.example/tenant/{TENANT}\"",
                shown(text)
            )
        })
    }
}

/// A SPIFFE id.
pub(super) struct SpiffeText(pub Box<str>);

impl FromStr for SpiffeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !spiffe::is_id(text) {
            return Err(format!(
                "\"{}\" is no SPIFFE id; write one such as \"spiffe://prod.example/region/eu\"",
                shown(text)
            ));
        }
        Ok(Self(text.into()))
    }
}

fn around_tenant(text: &str) -> Option<(&str, &str)> {
    text.split_once(TENANT)
        .filter(|(before, after)| !before.contains(['{', '}']) && !after.contains(['{', '}']))
}

/// A path as routes name it: a prefix on whole segments, or `=` and the exact path.
pub(super) struct PathText(pub PathPattern);

impl FromStr for PathText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |fix: &str| format!("\"{}\" is no path pattern; {fix}", shown(text));
        let (exact, path) = match text.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, text),
        };
        if !path.starts_with('/') {
            return Err(wrong("begin with a slash, as in \"/v1/cases\", or with =/ for an exact path"));
        }
        if path.contains(['*', '{', '}']) {
            return Err(wrong("a path covers all below it already, write it without * and {}"));
        }
        let path = normal_path(path).map_err(|fix| wrong(&fix))?;
        Ok(Self(match exact {
            true => PathPattern::Exact(path),
            false => PathPattern::Under(path.strip_suffix('/').unwrap_or(&path).into()),
        }))
    }
}

/// The path in the form that rules see. Errors: what to write instead.
fn normal_path(path: &str) -> Result<Box<str>, String> {
    if path.contains('?') {
        return Err("leave out the query, rules do not see it".into());
    }
    match normalise_path(path.as_bytes(), EncodedSlash::Pass) {
        Ok(path) => Ok(path.as_ref().into()),
        Err(cause) => Err(format!("no request has such a path ({})", cause.code().replace('_', " "))),
    }
}

/// The path that checks ask for; a query may follow.
pub(super) struct CheckPath(pub Box<str>);

impl FromStr for CheckPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\');
        if !text.starts_with('/') || !text.bytes().all(fits) {
            return Err(format!("\"{}\" is no path; write one such as \"/health\"", shown(text)));
        }
        Ok(Self(text.into()))
    }
}

/// A header's name, in lower case.
pub(super) struct HeaderText(pub Box<str>);

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_token(text) {
            return Err(format!("\"{}\" is no header name; write one such as \"X-Tenant-ID\"", shown(text)));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// A cookie's name.
pub(super) struct CookieText(pub String);

impl FromStr for CookieText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_token(text) {
            return Err(format!("\"{}\" is no cookie name; write one such as \"sid\"", shown(text)));
        }
        Ok(Self(text.into()))
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && token_len(text.as_bytes()) == text.len()
}

/// A method that requests may have.
pub(super) struct MethodText(pub String);

impl FromStr for MethodText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const STANDARD: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let upper = text.to_ascii_uppercase();
        if matches!(upper.as_str(), "TRACE" | "CONNECT") {
            return Err(format!("{upper} is refused from everyone; leave it out"));
        }
        if !is_token(text) {
            return Err(format!("\"{}\" is no method; write one such as \"POST\"", shown(text)));
        }
        if text != upper && STANDARD.contains(&upper.as_str()) {
            return Err(format!("\"{text}\" is not the method {upper}; write \"{upper}\""));
        }
        Ok(Self(text.into()))
    }
}

/// A country: two letters.
pub(super) struct CountryText(pub [u8; 2]);

impl FromStr for CountryText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [one @ b'A'..=b'Z', two @ b'A'..=b'Z'] => Ok(Self([*one, *two])),
            [one, two] if one.is_ascii_alphabetic() && two.is_ascii_alphabetic() => {
                Err(format!("\"{text}\" is not in capitals; write \"{}\"", text.to_ascii_uppercase()))
            }
            _ => Err(format!("\"{}\" is no country; write two letters such as \"DE\"", shown(text))),
        }
    }
}

/// How an endpoint is found: `10.1.0.10:8080`, `[::1]:80`, `eu.internal:8080`, or `srv:_http._tcp.eu.internal`,
/// where `srv:` may be left out of a name that begins with `_`.
pub(super) struct EndpointText(pub Address);

impl FromStr for EndpointText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |fix: &str| format!("\"{}\" is no endpoint; {fix}", shown(text));
        if let Some((scheme, rest)) = text.split_once("://") {
            let plain = rest.split('/').next().unwrap_or_default();
            let fix = format!("write \"{}\" without {}://", shown(plain), shown(scheme));
            return Err(wrong(&fix));
        }
        let service = text.strip_prefix("srv:").or_else(|| text.starts_with('_').then_some(text));
        if let Some(service) = service {
            let name = host_name(service).ok_or_else(|| {
                wrong("write a name such as \"srv:_http._tcp.eu.internal\", without a port")
            })?;
            return Ok(Self(Address::Service(name)));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(wrong("a port is a number from 1 to 65535")),
                _ => Ok(Self(Address::Socket(address))),
            };
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            let fix = format!("write the port too, such as \"{}\"", SocketAddr::new(ip, 8080));
            return Err(wrong(&fix));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(wrong(&format!("write the port too, such as \"{}:8080\"", shown(text))));
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port.parse::<u16>() {
            Ok(port) if digits && port > 0 => port,
            _ => return Err(wrong("a port is a number from 1 to 65535")),
        };
        match host_name(host) {
            Some(host) => Ok(Self(Address::Name { host, port })),
            None => Err(wrong("write one such as \"10.1.0.10:8080\" or \"eu.internal:8080\"")),
        }
    }
}

/// A name that DNS can hold, in lower case; a dot at its end stays. Numbers alone are no name.
fn host_name(text: &str) -> Option<Box<str>> {
    if text.contains(['[', ':']) {
        return None;
    }
    let host = normalise_host(text.as_bytes()).ok()?;
    let last = host.name().rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit());
    (!number).then(|| text.to_ascii_lowercase().into())
}

/// What is tried again: `connect`, `reset`, or a status.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryOn {
    Connect,
    Reset,
    Status(u16),
}

impl FromStr for RetryOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<u16>()) {
            ("connect", _) => Ok(Self::Connect),
            ("reset", _) => Ok(Self::Reset),
            (_, Ok(status @ (429 | 500..=599))) if text.len() == 3 => Ok(Self::Status(status)),
            _ => Err(format!(
                "\"{}\" cannot be tried again; write \"connect\", \"reset\", \"429\" or a status from \"500\" to \"599\"",
                shown(text)
            )),
        }
    }
}

/// The consistency of a route's reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsistencyText {
    Strong,
    Local,
}

impl FromStr for ConsistencyText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strong" => Ok(Self::Strong),
            "local" => Ok(Self::Local),
            "session" => Err("a route cannot ask for \"session\", a client does, by the pin it was given; \
                              write \"strong\" or \"local\""
                .into()),
            _ => Err(format!("must not be \"{}\"; write \"strong\" or \"local\"", shown(text))),
        }
    }
}

/// A span of hours as a schedule's key, such as `00-08`: from, to. Errors: as `what; fix`.
pub(super) fn hours(text: &str) -> Result<(u8, u8), String> {
    let hour = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|hour| digits && *hour <= 24)
    };
    match text.split_once('-').map(|(from, to)| (hour(from), hour(to))) {
        Some((Some(from), Some(to))) if from < to => Ok((from, to)),
        Some((Some(from), Some(to))) => Err(format!(
            "\"{from:02}-{to:02}\" ends before it begins; write two spans, up to \"24\" and from \"00\""
        )),
        _ => Err(format!("\"{}\" is no span of hours; write one such as \"00-08\"", shown(text))),
    }
}

read_as_text! {
    HostText: "a host in quotes such as \"*.app.example\"",
    HostTemplateText: "a host in quotes such as \"{tenant}.app.example\"",
    PathTemplateText: "a path in quotes such as \"/t/{tenant}\"",
    CertificateText: "\"uri\", \"subject\" or a SPIFFE id in quotes with {tenant} in it",
    SpiffeText: "a SPIFFE id in quotes such as \"spiffe://prod.example/region/eu\"",
    PathText: "a path in quotes such as \"/v1/cases\"",
    CheckPath: "a path in quotes such as \"/health\"",
    HeaderText: "a header name in quotes",
    CookieText: "a cookie name in quotes",
    MethodText: "a method in quotes such as \"POST\"",
    CountryText: "a country in quotes such as \"DE\"",
    EndpointText: "an address in quotes such as \"10.1.0.10:8080\"",
    RetryOn: "\"connect\", \"reset\" or a status in quotes such as \"503\"",
    ConsistencyText: "\"strong\" or \"local\"",
}

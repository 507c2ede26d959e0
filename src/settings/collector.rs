//! The URL of an OTLP collector, taken apart once.
//!
//! Why not the text alone: what cannot be asked is then a mistake of the settings file, with its line, and not a
//! failure that shows hours later in a metric. Never: a secret within it; an URL is shown around.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::problem::values::read_as_text;

/// What the collector takes spans by, below its base URL.
const SIGNAL: &str = "/v1/traces";

/// Where spans are sent: `http` or `https`, a host, perhaps a port and a path that stands before `/v1/traces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Collector {
    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Its name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port; that of the scheme where none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it takes spans.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}{SIGNAL}", self.path)
    }

    /// Host and port as a `Host` field names them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// As it would be written.
impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

const EXAMPLE: &str = "write one such as \"http://127.0.0.1:4318\"";

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(format!("\"{shown}\" is no URL of http or https; {EXAMPLE}"));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            // Not shown: what stands before the @ may be a password.
            return Err(
                "a URL must not hold a name and password; let the collector's network keep others out".into(),
            );
        }
        if text.contains(['?', '#']) {
            return Err(format!("\"{shown}\" holds a query or a fragment; write it without"));
        }
        let path = path.trim_end_matches('/');
        if path.ends_with(SIGNAL) {
            return Err(format!("\"{shown}\" ends in {SIGNAL}, which is added to it; write it without"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
        let parted = host_and_port(authority, if tls { 443 } else { 80 }).filter(|_| path.bytes().all(plain));
        let (host, port) = parted.ok_or_else(|| format!("\"{shown}\" is no URL; {EXAMPLE}"))?;
        Ok(Self { tls, host, port, path: path.to_owned() })
    }
}

/// A name or address without brackets, and a port; `None`: it is neither.
pub(super) fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            let host = Some(host).filter(|host| (1..=253).contains(&host.len()) && host.bytes().all(fits))?;
            (host.to_owned(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => default,
        None => return None,
    };
    (port != 0).then_some((host, port))
}

read_as_text! {
    Collector: "a URL in quotes such as \"http://127.0.0.1:4318\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Collector, String> {
        text.parse()
    }

    #[test]
    fn a_base_url_is_taken_apart() {
        for (text, tls, authority, path) in [
            ("http://127.0.0.1:4318", false, "127.0.0.1:4318", "/v1/traces"),
            ("http://127.0.0.1:4318/", false, "127.0.0.1:4318", "/v1/traces"),
            ("https://otel.example/tenant-7/otlp/", true, "otel.example:443", "/tenant-7/otlp/v1/traces"),
            ("http://[2001:db8::1]:4318", false, "[2001:db8::1]:4318", "/v1/traces"),
            ("http://[::1]", false, "[::1]:80", "/v1/traces"),
            ("http://collector", false, "collector:80", "/v1/traces"),
        ] {
            let read = read(text).unwrap();
            assert_eq!(
                (read.is_tls(), read.authority().as_str(), read.path().as_str()),
                (tls, authority, path)
            );
        }
        assert_eq!(read("https://otel.example/a/").unwrap().to_string(), "https://otel.example:443/a");
        assert_eq!(read("http://[::1]:4318").unwrap().host(), "::1");
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_what_to_write() {
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "HTTP://127.0.0.1:4318",
            "http://",
            "http://:4318",
            "http://host:",
            "http://host:+1",
            "http://host:0",
            "http://host:65536",
            "http://ho st:4318",
            "http://[::1:4318",
            "http://[::1]4318",
            "http://[host]:4318",
            "http://host/a b",
            "http://host/a\r\nb",
            "http://höst:4318",
        ] {
            let told = read(text).unwrap_err();
            assert!(
                told.contains("write one such as \"http://127.0.0.1:4318\"") && !told.contains('\n'),
                "{told}"
            );
        }
        assert!(
            read("http://c:4318/v1/traces/").unwrap_err().ends_with("which is added to it; write it without")
        );
        assert!(read("http://c:4318?a=b").unwrap_err().contains("query"));
        let told = read("http://user:secret@c:4318").unwrap_err();
        assert!(told.contains("password;") && !told.contains("secret"), "{told}");
    }
}

//! The URL of a webhook, taken apart once.
//!
//! Never: shown whole; its path or query is often the secret by which it lets a sender in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::collector::host_and_port;
use crate::problem::values::read_as_text;

/// Where events are sent: `http` or `https`, a host, perhaps a port, a path and a query.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    tls: bool,
    host: String,
    port: u16,
    path: String,
}

impl Webhook {
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

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
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

/// Without its path.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Webhook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write one such as \"https://host.example/path\"";
        if text.contains('@') {
            // Not shown: what stands before the @ may be a password.
            return Err(format!("a URL must not hold a name and password; {EXAMPLE}"));
        }
        let no_url = || format!("\"{}\" is no URL; {EXAMPLE}", text.escape_debug());
        if text.contains('#') {
            return Err(format!("\"{}\" holds a fragment; write it without", text.escape_debug()));
        }
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(no_url()),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%/?".contains(&byte);
        let parted = host_and_port(authority, if tls { 443 } else { 80 }).filter(|_| path.bytes().all(plain));
        let (host, port) = parted.ok_or_else(no_url)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host, port, path })
    }
}

read_as_text! {
    Webhook: "a URL in quotes such as \"https://host.example/path\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_what_may_be_secret() {
        for (text, tls, authority, path) in [
            ("https://hooks.example/services/T0/s3cret", true, "hooks.example:443", "/services/T0/s3cret"),
            ("http://127.0.0.1:9000", false, "127.0.0.1:9000", "/"),
            ("http://[::1]:9000/?token=s3cret", false, "[::1]:9000", "/?token=s3cret"),
            ("http://pager?a=b", false, "pager:80", "/?a=b"),
        ] {
            let read: Webhook = text.parse().unwrap();
            assert_eq!((read.is_tls(), read.authority().as_str(), read.path()), (tls, authority, path));
            assert!(!format!("{read} {read:?}").contains("s3cret"), "{read:?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_what_to_write() {
        for text in [
            "",
            "pager",
            "ftp://x",
            "http://",
            "http://:1",
            "http://host:0",
            "http://host:65536",
            "http://ho st/",
            "http://host/a b",
            "http://host/\r\nX: 1",
            "http://user:secret@host/",
        ] {
            let told = text.parse::<Webhook>().unwrap_err();
            assert!(told.contains("write one such as \"https://host.example/path\""), "{told}");
            assert!(!told.contains("secret") && !told.contains('\n'), "{told}");
        }
        assert!("http://host/#a".parse::<Webhook>().unwrap_err().contains("fragment"));
    }
}

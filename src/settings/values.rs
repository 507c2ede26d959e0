//! Values that only the settings have, each checked while it is read.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use rhumb_decision::spiffe::Pattern;

use crate::problem::values::{FileName, read_as_text};

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// To standard output. The default.
    Stdout,
    /// Nowhere.
    Off,
    /// To the end of a file.
    File(PathBuf),
}

/// `log.access` as written.
pub(super) enum AccessText {
    Stdout,
    Off,
    File(FileName),
}

impl FromStr for AccessText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "off" => Ok(Self::Off),
            file => file.parse().map(Self::File),
        }
    }
}

/// An IP address and a port.
pub(super) struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let wrong =
            |fix: String| Err(format!("\"{}\" is no IP address and port; {fix}", text.escape_debug()));
        if let Ok(ip) = text.parse::<IpAddr>() {
            return wrong(format!("write the port too, such as \"{}\"", SocketAddr::new(ip, 8080)));
        }
        match text.rsplit_once(':') {
            Some(("" | "*", port)) if port.parse::<u16>().is_ok() => {
                wrong(format!("write \"0.0.0.0:{port}\""))
            }
            Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
                wrong(format!("write \"127.0.0.1:{port}\""))
            }
            Some((ip, port)) if ip.parse::<IpAddr>().is_ok() && !port.is_empty() => {
                wrong("a port is a number from 0 to 65535".into())
            }
            _ => wrong("write one such as \"0.0.0.0:8080\" or \"[::]:8080\"".into()),
        }
    }
}

/// A network, or a single address as a network of one.
pub(super) struct Network(pub IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| Self(network.trunc())).map_err(|_| {
            format!("\"{}\" is no network; write one such as \"10.0.0.0/8\"", text.escape_debug())
        })
    }
}

/// A header's name, in lower case.
pub(super) struct HeaderName(pub String);

impl FromStr for HeaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(token) {
            return Err(format!(
                "\"{}\" is no header name; write one such as \"CF-IPCountry\"",
                text.escape_debug()
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Who is let in: a SPIFFE id, in which `*` stands for one segment.
pub(super) struct Identity(pub Pattern);

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Pattern::parse(text).map(Self).ok_or_else(|| {
            format!(
                "\"{}\" is no identity; write one such as \"spiffe://prod.example/edge/*\"",
                text.escape_debug()
            )
        })
    }
}

read_as_text! {
    AccessText: "\"stdout\", \"off\" or a path",
    Address: "an address in quotes such as \"0.0.0.0:8080\"",
    Network: "a network in quotes such as \"10.0.0.0/8\"",
    HeaderName: "a header name in quotes",
    Identity: "an identity in quotes such as \"spiffe://prod.example/edge/*\"",
}

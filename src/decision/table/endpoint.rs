//! Where a region takes requests, and how that place is checked.

use std::net::SocketAddr;

use crate::units::{CellId, Millis};

/// One address, or one name, at which a region takes requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// The zone it stands in.
    pub zone: Option<Box<str>>,
    /// The cell it belongs to; always given where the region has cells.
    pub cell: Option<CellId>,
    /// Its share among the endpoints of its region or cell; 1 unless said otherwise, never 0.
    pub weight: u16,
}

/// How an endpoint is found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// As it stands.
    Socket(SocketAddr),
    /// By the A and AAAA records of a host.
    Name {
        /// The host's name.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// By the SRV records of a name: `_http._tcp.eu.internal`.
    Service(Box<str>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// How endpoints are checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The time between two checks of an endpoint.
    pub interval: Millis,
    /// The longest that one check may take.
    pub timeout: Millis,
    /// Good answers in a row that make an endpoint up; at least 1.
    pub rise: u32,
    /// Bad answers in a row that make it down; at least 1.
    pub fall: u32,
}

/// What a check asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckKind {
    /// GET this path.
    Http {
        /// The path.
        path: Box<str>,
    },
    /// Connect only.
    Tcp,
}

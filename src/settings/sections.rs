//! The sections of the settings, as the parts of Rhumb see them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use rhumb_decision::spiffe::Pattern;
use serde::Deserialize;

use super::collector::Collector;
use super::values::Access;
use super::webhook::Webhook;
use crate::problem::values::Name;

/// `[edge]`: where this process stands and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The source region of every request that enters here.
    pub region: Name,
    /// The zone within the region.
    pub zone: Option<Name>,
    /// Names this process in `Via`. Default: host name and admin port.
    pub id: Name,
    /// Whom it takes requests from.
    pub role: Role,
    /// Worker threads; 0 is one per core.
    pub threads: usize,
    /// Tell clients which region served them.
    pub show_region: bool,
}

/// `edge.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// From clients, for every region. The default.
    Edge,
    /// From edges that prove themselves, for the endpoints of its own region.
    Gateway,
}

/// One of `[[listeners]]`: an address that clients reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Whether a client may begin with HTTP/2 in the clear, without asking. Plain listeners only.
    pub h2c: bool,
    /// Whether trusted proxies say with the PROXY protocol whom each connection comes from.
    pub proxy_protocol: bool,
}

/// The TLS side of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificates, chosen by SNI; at least one, and the first is the default.
    pub certificates: Vec<Certificate>,
    /// Mutual TLS, if clients may or must show a certificate.
    pub clients: Option<ClientCertificates>,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

/// A certificate chain and its key, PEM files both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The leaf first, then its issuers.
    pub chain: PathBuf,
    /// The private key of the leaf.
    pub key: PathBuf,
}

/// How clients prove themselves by certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that may have signed them.
    pub ca: PathBuf,
    /// Whether a client may come without one.
    pub auth: ClientAuth,
    /// The SPIFFE ids that are let in; empty: every certificate of the authorities is.
    pub ids: Box<[Pattern]>,
}

/// `tls.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// A client may come without a certificate; a bad one is refused.
    Optional,
    /// A client without a good certificate is refused. The default where a client CA is named.
    Required,
}

/// `[limits]`: what a client may use up. Every one is above 0 unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections.
    pub connections: usize,
    /// Open connections of one client address.
    pub connections_per_address: usize,
    /// Bytes of a request's head.
    pub header_bytes: u64,
    /// Header fields of a request.
    pub header_count: usize,
    /// Bytes of a request target.
    pub uri_bytes: u64,
    /// Bytes of a request's body.
    pub body_bytes: u64,
    /// Requests of one connection, one after another; 0 sets no end.
    pub requests_per_connection: usize,
    /// TLS handshakes of one client address in a second; 0 sets no limit.
    pub handshakes_per_address: usize,
    /// Bytes of a body that a client has to send or take within the idle timeout, of the time spent waiting for it.
    pub min_progress: u64,
    /// Bytes of responses that clients have not taken yet, in all.
    pub buffered_bytes: u64,
    /// Writes that wait at once for their tenant's ownership; 0 lets none wait.
    pub held_writes: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: usize,
    /// Longest time for a request's head, in all.
    pub header_timeout: Duration,
    /// Longest time between requests, and for a stalled body or client.
    pub idle_timeout: Duration,
    /// The longest that a WebSocket carries nothing in either direction.
    pub tunnel_idle_timeout: Duration,
    /// Graceful stop: longest wait for requests in flight; 0 waits for none.
    pub drain_timeout: Duration,
    /// Longest wait for a new process that takes this one's place to get ready.
    pub upgrade_timeout: Duration,
    /// What becomes of `%2F` in a path.
    pub encoded_slash: EncodedSlash,
}

/// `limits.encoded_slash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncodedSlash {
    /// The request is refused. The default.
    Refuse,
    /// It is sent on as it came.
    Pass,
}

impl From<EncodedSlash> for rhumb_decision::target::EncodedSlash {
    fn from(written: EncodedSlash) -> Self {
        match written {
            EncodedSlash::Refuse => Self::Refuse,
            EncodedSlash::Pass => Self::Pass,
        }
    }
}

/// `[trust]`: whom forwarding headers are believed from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Networks whose `X-Forwarded-For`, `X-Forwarded-Proto` and country header are believed.
    pub proxies: Vec<IpNet>,
    /// Carries the client's country; lower case.
    pub country_header: Option<String>,
    /// A MaxMind database of countries by address.
    pub country_database: Option<PathBuf>,
}

/// `[admin]`: the side for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Port 0 takes a free one. One that others reach has TLS, tokens and no open reads.
    pub address: SocketAddr,
    /// Who may read and who may change things.
    pub token_file: TokenFile,
    /// Reading needs no token.
    pub open_reads: bool,
    /// `None`: plain HTTP, on loopback. One certificate, and never HTTP/2.
    pub tls: Option<ListenerTls>,
}

/// Where the admin token stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// The file.
    pub path: PathBuf,
    /// Whether the settings name it, so that its absence is a mistake. Else it is the default, and without
    /// such a file there are no changes by HTTP.
    pub named: bool,
}

/// `[dns]`: whom the names of endpoints are looked up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// The name servers; none: those of the system, as `/etc/resolv.conf` and `/etc/hosts` name them.
    pub servers: Vec<SocketAddr>,
}

/// `[table]`: the routing table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSettings {
    /// The table's file.
    pub path: PathBuf,
    /// Take changes of the file as they come.
    pub watch: bool,
    /// Percent, 0 to 100: a new table that re-homes or drops more tenants than this is not taken unasked.
    pub max_moved: f64,
}

/// `[state]`: what outlives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    /// The folder of operators' changes and the last good table.
    pub dir: PathBuf,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least serious message that is still written.
    pub level: Level,
    /// One JSON object per request.
    pub access: Access,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What an operator must act upon.
    Error,
    /// What an operator should know.
    Warn,
    /// What happened. The default.
    Info,
    /// Why it happened.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    /// The word that stands in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `[tracing]`: spans by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// The collector; `None`: no traces.
    pub otlp: Option<Collector>,
    /// The share of requests that are traced where no client has decided it, 0 to 1.
    pub sample: f64,
}

/// `[pin]`: keys for the pin that lets a client who wrote read its own write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pin {
    /// Key file; `None`: made once and kept in the state folder.
    pub keys_file: Option<PathBuf>,
}

/// `[signature]`: keys for the signature that regions verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// Key file; `None`: nothing is signed.
    pub keys_file: Option<PathBuf>,
}

/// `[gateway]`: which edges a gateway believes. One of both is written where the role is `gateway`, and nothing where
/// it is not. An edge that proves itself in either way is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gateway {
    /// Their SPIFFE ids, in which `*` stands for one segment.
    pub edges: Vec<Pattern>,
    /// Keys that edges sign with.
    pub keys_file: Option<PathBuf>,
}

/// `[alerts]`: where events are announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// Takes each event as JSON.
    pub webhook: Option<Webhook>,
}

//! What may be written in a settings file: one wire shape per section, every key optional and with its line.

use serde::Deserialize;

use super::collector::Collector;
use super::sections::{ClientAuth, EncodedSlash, Level, Role};
use super::values::{AccessText, Address, HeaderName, Identity, Network};
use super::webhook::Webhook;
use crate::problem::given::Given;
use crate::problem::units::{Period, Size};
use crate::problem::values::{FileName, Name, Number, Whole};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SettingsDoc {
    pub edge: Given<EdgeDoc>,
    pub listeners: Given<Vec<Given<ListenerDoc>>>,
    pub limits: Given<LimitsDoc>,
    pub trust: Given<TrustDoc>,
    pub admin: Given<AdminDoc>,
    pub dns: Given<DnsDoc>,
    pub table: Given<TableDoc>,
    pub state: Given<StateDoc>,
    pub log: Given<LogDoc>,
    pub tracing: Given<TracingDoc>,
    pub pin: Given<KeysDoc>,
    pub signature: Given<KeysDoc>,
    pub gateway: Given<GatewayDoc>,
    pub alerts: Given<AlertsDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EdgeDoc {
    pub region: Given<Name>,
    pub zone: Given<Name>,
    pub id: Given<Name>,
    pub role: Given<Role>,
    pub threads: Given<Whole<0, 1024>>,
    pub show_region: Given<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ListenerDoc {
    pub address: Given<Address>,
    pub tls: Given<TlsDoc>,
    pub http2: Given<bool>,
    pub h2c: Given<bool>,
    pub proxy_protocol: Given<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TlsDoc {
    pub certificates: Given<Vec<Given<CertificateDoc>>>,
    pub client_ca: Given<FileName>,
    pub client_auth: Given<ClientAuth>,
    pub client_ids: Given<Vec<Given<Identity>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CertificateDoc {
    pub chain: Given<FileName>,
    pub key: Given<FileName>,
}

/// A head of more than 1 MiB or 256 fields never reaches a limit: the HTTP parser stops it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LimitsDoc {
    pub connections: Given<Whole<1, 10_000_000>>,
    pub connections_per_address: Given<Whole<1, 10_000_000>>,
    pub header_bytes: Given<Size<1024, { 1 << 20 }>>,
    pub header_count: Given<Whole<1, 256>>,
    pub uri_bytes: Given<Size<64, { 1 << 20 }>>,
    pub body_bytes: Given<Size>,
    pub requests_per_connection: Given<Whole<0, 1_000_000_000>>,
    pub handshakes_per_address: Given<Whole<0, 1_000_000>>,
    pub min_progress: Given<Size<1, { 1 << 30 }>>,
    pub buffered_bytes: Given<Size<{ 1 << 20 }>>,
    pub held_writes: Given<Whole<0, 1_000_000>>,
    pub streams: Given<Whole<1, 1000>>,
    pub header_timeout: Given<Period<1>>,
    pub idle_timeout: Given<Period<1>>,
    pub tunnel_idle_timeout: Given<Period<1>>,
    pub drain_timeout: Given<Period>,
    pub upgrade_timeout: Given<Period<1>>,
    pub encoded_slash: Given<EncodedSlash>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TrustDoc {
    pub proxies: Given<Vec<Given<Network>>>,
    pub country_header: Given<HeaderName>,
    pub country_database: Given<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AdminDoc {
    pub address: Given<Address>,
    pub token_file: Given<FileName>,
    pub open_reads: Given<bool>,
    pub tls: Given<AdminTlsDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AdminTlsDoc {
    pub certificate: Given<CertificateDoc>,
    pub client_ca: Given<FileName>,
    pub client_ids: Given<Vec<Given<Identity>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DnsDoc {
    pub servers: Given<Vec<Given<Address>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TableDoc {
    pub path: Given<FileName>,
    pub watch: Given<bool>,
    pub max_moved: Given<Number<0, 100>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StateDoc {
    pub dir: Given<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LogDoc {
    pub level: Given<Level>,
    pub access: Given<AccessText>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TracingDoc {
    pub otlp: Given<Collector>,
    pub sample: Given<Number<0, 1>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct KeysDoc {
    pub keys_file: Given<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GatewayDoc {
    pub edges: Given<Vec<Given<Identity>>>,
    pub keys_file: Given<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AlertsDoc {
    pub webhook: Given<Webhook>,
}

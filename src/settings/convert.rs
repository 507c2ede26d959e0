//! The one door from what was written to what it means: defaults, what is required, and what must agree.

mod admin;
mod gateway;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Settings;
use super::document::{
    DnsDoc, EdgeDoc, KeysDoc, LimitsDoc, ListenerDoc, LogDoc, SettingsDoc, TableDoc, TlsDoc, TracingDoc,
    TrustDoc,
};
use super::sections::{
    Alerts, Certificate, ClientAuth, ClientCertificates, Dns, Edge, EncodedSlash, Level, Limits, Listener,
    ListenerTls, Log, Pin, Role, Signature, StateSettings, TableSettings, Tracing, Trust,
};
use super::values::{Access, AccessText};
use crate::problem::Problems;
use crate::problem::given::Given;
use crate::problem::toml::Document;
use crate::problem::values::{FileName, Name};

/// Makes settings of what was read. `None` when something required is missing or bad, which is told.
pub(super) fn settings(
    document: Document<SettingsDoc>,
    host_name: &str,
    problems: &mut Problems,
) -> Option<Settings> {
    let file = problems.file().to_path_buf();
    let mut to = Conversion { file: &file, whole: document.whole, problems };
    let doc = document.shape;
    let gateway = to.gateway(&doc);
    let admin = to.admin(doc.admin);
    let edge = to.edge(doc.edge, host_name, admin.address.port());
    let trust = doc.trust;
    // A list of proxies that is not all good is told already.
    let trusts_proxies = trust.get().is_some_and(|trust| match &trust.proxies {
        Given::Absent => false,
        Given::Bad(_) => true,
        Given::Good(_, proxies) => !proxies.is_empty(),
    });
    let listeners = to.listeners(doc.listeners, admin.address, trusts_proxies);
    let table = to.table(doc.table);
    let settings = Settings {
        edge: edge?,
        listeners,
        limits: limits(doc.limits.good().unwrap_or_default()),
        trust: to.trust(trust.good().unwrap_or_default()),
        admin,
        dns: to.dns(doc.dns.good().unwrap_or_default()),
        table: table?,
        state: StateSettings { dir: to.path_or(doc.state.good().unwrap_or_default().dir, "state") },
        log: to.log(doc.log.good().unwrap_or_default()),
        tracing: tracing(doc.tracing.good().unwrap_or_default()),
        pin: Pin { keys_file: to.keys_file(doc.pin) },
        signature: Signature { keys_file: to.keys_file(doc.signature) },
        gateway,
        alerts: Alerts { webhook: doc.alerts.good().unwrap_or_default().webhook.good() },
        file: file.clone(),
    };
    Some(settings)
}

struct Conversion<'a> {
    file: &'a Path,
    whole: bool,
    problems: &'a mut Problems,
}

impl Conversion<'_> {
    /// A value that must be there. What is missing is told at the line of what should hold it, and not at
    /// all where it may stand in a part that could not be read.
    fn required<T>(&mut self, value: Given<T>, line: u32, at: &str, fix: &str) -> Option<T> {
        if value.is_absent() && self.whole {
            self.problems.tell(line, at, "is missing", fix);
        }
        value.good()
    }

    /// A section of which at least one key is required; one that is bad as a whole misses nothing more.
    fn section<T: Default>(&mut self, section: Given<T>) -> Option<(u32, T)> {
        match section {
            Given::Absent => Some((0, T::default())),
            Given::Bad(_) => None,
            Given::Good(line, doc) => Some((line, doc)),
        }
    }

    fn path(&self, name: FileName) -> PathBuf {
        name.beside(self.file)
    }

    fn path_or(&self, name: Given<FileName>, default: &str) -> PathBuf {
        name.good().map_or_else(|| self.file.with_file_name(default), |name| self.path(name))
    }

    fn edge(&mut self, edge: Given<EdgeDoc>, host_name: &str, admin_port: u16) -> Option<Edge> {
        let (line, doc) = self.section(edge)?;
        let region =
            self.required(doc.region, line, "edge.region", "under [edge], write region = \"eu-west-1\"");
        Some(Edge {
            region: region?,
            zone: doc.zone.good(),
            id: match doc.id {
                Given::Absent => default_id(host_name, admin_port)?,
                id => id.good()?,
            },
            role: doc.role.or(Role::Edge),
            threads: doc.threads.or(0),
            show_region: doc.show_region.or(false),
        })
    }

    fn listeners(
        &mut self,
        written: Given<Vec<Given<ListenerDoc>>>,
        admin: SocketAddr,
        trusts_proxies: bool,
    ) -> Vec<Listener> {
        const FIX: &str = "write [[listeners]] and below it address = \"0.0.0.0:8080\"";
        let line = written.line();
        let docs = self.required(written, line, "listeners", FIX);
        if docs.as_ref().is_some_and(Vec::is_empty) {
            self.problems.tell(line, "listeners", "there is none", FIX);
        }
        let mut listeners: Vec<Listener> = Vec::new();
        for (index, doc) in docs.unwrap_or_default().into_iter().enumerate() {
            let Given::Good(line, doc) = doc else { continue };
            let at = format!("listeners[{index}]");
            let address_at = format!("{at}.address");
            let address_line = doc.address.line();
            let (http2, h2c) = self.versions(&doc, &at);
            let tls = self.tls(doc.tls, http2, &at);
            if let (Given::Good(line, true), false, true) = (&doc.proxy_protocol, trusts_proxies, self.whole)
            {
                self.problems.tell(
                    *line,
                    format!("{at}.proxy_protocol"),
                    "no proxy is trusted to say whom a connection comes from",
                    "under [trust], write proxies = [\"10.0.0.0/8\"], or leave this out",
                );
            }
            let proxy_protocol = doc.proxy_protocol.or(false);
            let fix = "write address = \"0.0.0.0:8080\"";
            let Some(address) = self.required(doc.address, line, &address_at, fix) else { continue };
            let address = address.0;
            let taken = listeners.iter().find(|other| overlap(other.address, address));
            if let Some(taken) = taken {
                let what = format!("{address} is taken by another listener, {}", taken.address);
                self.problems.tell(address_line, &address_at, what, "write another port");
            } else if overlap(address, admin) {
                let what = format!("{address} is taken by the admin side, {admin}");
                self.problems.tell(address_line, &address_at, what, "write another port");
            }
            listeners.push(Listener { address, tls, h2c, proxy_protocol });
        }
        listeners
    }

    /// Whether a TLS listener offers HTTP/2, and whether a plain one takes it unasked.
    fn versions(&mut self, doc: &ListenerDoc, at: &str) -> (bool, bool) {
        let plain = doc.tls.is_absent() && self.whole;
        if plain && doc.http2.is_written() {
            let fix = "write h2c = true to take HTTP/2 in the clear, or leave this out";
            let what = "is agreed on within TLS, and the listener has none";
            self.problems.tell(doc.http2.line(), format!("{at}.http2"), what, fix);
        }
        if doc.tls.is_written() && doc.h2c.is_written() {
            let fix = "leave this out: HTTP/2 is offered within TLS unless http2 = false";
            let what = "is HTTP/2 in the clear, and the listener has TLS";
            self.problems.tell(doc.h2c.line(), format!("{at}.h2c"), what, fix);
        }
        (doc.http2.get().copied().unwrap_or(true), doc.h2c.get().copied().unwrap_or(false))
    }

    fn tls(&mut self, tls: Given<TlsDoc>, http2: bool, at: &str) -> Option<ListenerTls> {
        const FIX: &str = "write tls.certificates = [{ chain = \"edge.pem\", key = \"edge.key\" }]";
        let Given::Good(line, doc) = tls else { return None };
        let at = format!("{at}.tls");
        let certificates_at = format!("{at}.certificates");
        let certificates_line = doc.certificates.line();
        let docs = self.required(doc.certificates, line, &certificates_at, FIX);
        if docs.as_ref().is_some_and(Vec::is_empty) {
            self.problems.tell(certificates_line, &certificates_at, "there is none", FIX);
        }
        let mut certificates = Vec::new();
        for (index, doc) in docs.unwrap_or_default().into_iter().enumerate() {
            let Given::Good(line, doc) = doc else { continue };
            let at = format!("{certificates_at}[{index}]");
            let chain =
                self.required(doc.chain, line, &format!("{at}.chain"), "name the PEM file of the chain");
            let key = self.required(doc.key, line, &format!("{at}.key"), "name the PEM file of the key");
            if let (Some(chain), Some(key)) = (chain, key) {
                certificates.push(Certificate { chain: self.path(chain), key: self.path(key) });
            }
        }
        if let (Given::Good(line, _), true) = (&doc.client_auth, doc.client_ca.is_absent())
            && self.whole
        {
            self.problems.tell(
                *line,
                format!("{at}.client_auth"),
                "there is no client_ca to judge client certificates by",
                "write tls.client_ca too, or leave this out",
            );
        }
        let ids_line = doc.client_ids.line();
        if doc.client_ids.is_written() && self.whole {
            let at = format!("{at}.client_ids");
            if doc.client_ca.is_absent() {
                let what = "there is no client_ca to judge client certificates by";
                self.problems.tell(ids_line, &at, what, "write tls.client_ca too, or leave this out");
            }
            if doc.client_ids.get().is_some_and(Vec::is_empty) {
                let fix = "name who may come, or leave this out to let every certificate of client_ca in";
                self.problems.tell(ids_line, &at, "there is none", fix);
            }
        }
        let ids = doc.client_ids.good().unwrap_or_default().into_iter().filter_map(Given::good);
        let ids = ids.map(|id| id.0).collect();
        let auth = doc.client_auth.or(ClientAuth::Required);
        let clients = doc.client_ca.good().map(|ca| ClientCertificates { ca: self.path(ca), auth, ids });
        Some(ListenerTls { certificates, clients, http2 })
    }

    fn trust(&self, doc: TrustDoc) -> Trust {
        let proxies = doc.proxies.good().unwrap_or_default();
        Trust {
            proxies: proxies.into_iter().filter_map(Given::good).map(|network| network.0).collect(),
            country_header: doc.country_header.good().map(|header| header.0),
            country_database: doc.country_database.good().map(|name| self.path(name)),
        }
    }

    fn dns(&mut self, doc: DnsDoc) -> Dns {
        let line = doc.servers.line();
        let written = doc.servers.good();
        if written.as_ref().is_some_and(Vec::is_empty) {
            let fix = "name one such as \"10.0.0.2:53\", or leave this out for those of /etc/resolv.conf";
            self.problems.tell(line, "dns.servers", "there is none", fix);
        }
        let servers = written.unwrap_or_default().into_iter().filter_map(Given::good);
        Dns { servers: servers.map(|address| address.0).collect() }
    }

    fn table(&mut self, table: Given<TableDoc>) -> Option<TableSettings> {
        let (line, doc) = self.section(table)?;
        let path =
            self.required(doc.path, line, "table.path", "under [table], write path = \"routing.toml\"");
        Some(TableSettings {
            path: self.path(path?),
            watch: doc.watch.or(true),
            max_moved: doc.max_moved.or(10.0),
        })
    }

    fn log(&self, doc: LogDoc) -> Log {
        Log {
            level: doc.level.or(Level::Info),
            access: match doc.access.good() {
                None | Some(AccessText::Stdout) => Access::Stdout,
                Some(AccessText::Off) => Access::Off,
                Some(AccessText::File(name)) => Access::File(self.path(name)),
            },
        }
    }

    fn keys_file(&self, section: Given<KeysDoc>) -> Option<PathBuf> {
        section.good()?.keys_file.good().map(|name| self.path(name))
    }
}

fn limits(doc: LimitsDoc) -> Limits {
    Limits {
        connections: doc.connections.or(20_000),
        connections_per_address: doc.connections_per_address.or(1000),
        header_bytes: doc.header_bytes.or(32 << 10),
        header_count: doc.header_count.or(100),
        uri_bytes: doc.uri_bytes.or(8 << 10),
        body_bytes: doc.body_bytes.or(1 << 30),
        requests_per_connection: doc.requests_per_connection.or(10_000),
        handshakes_per_address: doc.handshakes_per_address.or(100),
        min_progress: doc.min_progress.or(4 << 10),
        buffered_bytes: doc.buffered_bytes.or(256 << 20),
        held_writes: doc.held_writes.or(2_000),
        streams: doc.streams.or(100),
        header_timeout: doc.header_timeout.or(Duration::from_secs(10)),
        idle_timeout: doc.idle_timeout.or(Duration::from_secs(60)),
        tunnel_idle_timeout: doc.tunnel_idle_timeout.or(Duration::from_secs(300)),
        drain_timeout: doc.drain_timeout.or(Duration::from_secs(30)),
        upgrade_timeout: doc.upgrade_timeout.or(Duration::from_secs(60)),
        encoded_slash: doc.encoded_slash.or(EncodedSlash::Refuse),
    }
}

fn tracing(doc: TracingDoc) -> Tracing {
    Tracing { otlp: doc.otlp.good(), sample: doc.sample.or(0.01) }
}

/// Whether a second socket at `two` would find `one` in its place. Port 0 takes a free port each time.
fn overlap(one: SocketAddr, two: SocketAddr) -> bool {
    let everywhere = |ip: std::net::IpAddr| ip.is_unspecified();
    one.port() == two.port()
        && one.port() != 0
        && one.is_ipv4() == two.is_ipv4()
        && (one.ip() == two.ip() || everywhere(one.ip()) || everywhere(two.ip()))
}

/// Host name and admin port, with a dash for every character that a name cannot hold.
fn default_id(host_name: &str, admin_port: u16) -> Option<Name> {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let host: String = host_name.chars().take(100).map(|c| if fits(&c) { c } else { '-' }).collect();
    format!("{host}-{admin_port}").parse().ok()
}

//! One toy region: its endpoints, and the handle that keeps it alive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::LabError;
use super::door::{Bound, Door, Serve};
use super::echo::{Secured, hex};
use super::replication::replicate;
use super::service::{Entrance, routes};
use super::state::{RegionState, Status};
use super::tasks::Tasks;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Header fields of one request: well above what an edge lets through.
const MOST_HEADERS: usize = 512;

/// A region that has not been started.
pub struct ToyRegion {
    name: String,
    endpoints: Vec<Wanted>,
    tls: Option<Arc<ServerConfig>>,
    protocols: Protocols,
    capabilities: BTreeMap<String, Status>,
}

/// The versions of HTTP that a region speaks: told apart by a connection's first bytes, and with TLS by ALPN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocols {
    /// HTTP/1.1 alone.
    #[default]
    Http1,
    /// HTTP/2 alone; in the clear by prior knowledge.
    Http2,
    /// Either.
    Both,
}

#[derive(Clone, Copy)]
enum Wanted {
    Exactly(SocketAddr),
    Rather(SocketAddr),
}

impl ToyRegion {
    /// A region with one endpoint on a free port of 127.0.0.1, that reports the capabilities `read` and
    /// `write` as up.
    pub fn new(name: impl Into<String>) -> ToyRegion {
        let capabilities = ["read", "write"].map(|name| (name.to_owned(), Status::Up)).into();
        ToyRegion {
            name: name.into(),
            endpoints: Vec::new(),
            tls: None,
            protocols: Protocols::default(),
            capabilities,
        }
    }

    /// Adds an endpoint at `address`; the first one added replaces the default. Port 0 takes a free one.
    pub fn at(mut self, address: SocketAddr) -> ToyRegion {
        self.endpoints.push(Wanted::Exactly(address));
        self
    }

    /// Adds an endpoint at `address`, or on any free port beside it if that one is taken.
    pub fn prefer(mut self, address: SocketAddr) -> ToyRegion {
        self.endpoints.push(Wanted::Rather(address));
        self
    }

    /// Gives it `count` endpoints on free ports of 127.0.0.1, all of them the same store.
    pub fn endpoints(mut self, count: usize) -> ToyRegion {
        self.endpoints = vec![Wanted::Exactly(anywhere()); count];
        self
    }

    /// Serves TLS by `config` at every endpoint; a verifier of client certificates in it is obeyed.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> ToyRegion {
        self.tls = Some(config);
        self
    }

    /// Speaks these versions of HTTP.
    pub fn speaks(mut self, protocols: Protocols) -> ToyRegion {
        self.protocols = protocols;
        self
    }

    /// Reports a further capability, or one of the two it has otherwise.
    pub fn capability(mut self, name: impl Into<String>, status: Status) -> ToyRegion {
        self.capabilities.insert(name.into(), status);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it on the current runtime.
    ///
    /// - Errors: an address that cannot be had; nothing keeps running then.
    pub async fn start(mut self) -> Result<RunningRegion, LabError> {
        if self.endpoints.is_empty() {
            self.endpoints.push(Wanted::Exactly(anywhere()));
        }
        let runtime = Handle::current();
        let state = Arc::new(RegionState::new(&self.name, self.capabilities));
        let mut doors = Vec::new();
        for wanted in self.endpoints {
            let bound = wanted.take()?;
            let tls = self.tls.as_deref().map(|config| self.protocols.over(config));
            let serve = serve(Arc::clone(&state), bound.address, tls, self.protocols);
            doors.push(Door::open(bound, runtime.clone(), serve)?);
        }
        let addresses = doors.iter().map(Door::address).collect();
        let mut background = JoinSet::new();
        background.spawn(replicate(Arc::clone(&state)));
        Ok(RunningRegion { state, addresses, doors: Mutex::new(doors), background })
    }
}

/// A region that runs. It stops when this is dropped: connections are cut, ports given up.
///
/// Its controls and counters are those of [`RegionState`].
pub struct RunningRegion {
    state: Arc<RegionState>,
    addresses: Vec<SocketAddr>,
    doors: Mutex<Vec<Door>>,
    background: JoinSet<()>,
}

impl RunningRegion {
    /// The address of its first endpoint.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(anywhere)
    }

    /// The addresses of all its endpoints. They stay the same in the dark.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its controls and counters, to be shared with other tasks and threads. They do not keep it running.
    pub fn state(&self) -> Arc<RegionState> {
        Arc::clone(&self.state)
    }

    /// Makes it follow `source` with a lag of `lag`.
    pub fn replicate_from(&self, source: &RunningRegion, lag: Duration) {
        self.state.follow(&source.state, lag, Instant::now());
    }

    /// Cuts every connection and refuses new ones at every endpoint. Replication to and from the region
    /// stops too. All of that holds when this returns.
    ///
    /// - Errors: a port could not be kept for the return; the region is dark all the same.
    pub async fn go_dark(&self) -> Result<(), LabError> {
        let mut doors = self.doors.lock().await;
        self.state.set_reachable(false);
        let mut outcome = Ok(());
        for door in doors.iter_mut() {
            outcome = outcome.and(door.go_dark().await);
        }
        outcome
    }

    /// Listens again at every endpoint, on the same ports.
    ///
    /// - Errors: a port that is no longer to be had; the other endpoints are back.
    pub async fn come_back(&self) -> Result<(), LabError> {
        let mut doors = self.doors.lock().await;
        self.state.set_reachable(true);
        let mut outcome = Ok(());
        for door in doors.iter_mut() {
            outcome = outcome.and(door.come_back());
        }
        outcome
    }

    /// The same as [`go_dark`](Self::go_dark) for one endpoint; an address it does not have changes
    /// nothing. Replication goes on while any endpoint is left.
    pub async fn go_dark_at(&self, address: SocketAddr) -> Result<(), LabError> {
        let mut doors = self.doors.lock().await;
        let outcome = match doors.iter_mut().find(|door| door.address() == address) {
            Some(door) => door.go_dark().await,
            None => Ok(()),
        };
        self.state.set_reachable(doors.iter().any(Door::is_open));
        outcome
    }

    /// Brings one endpoint back.
    pub async fn come_back_at(&self, address: SocketAddr) -> Result<(), LabError> {
        let mut doors = self.doors.lock().await;
        let outcome = match doors.iter_mut().find(|door| door.address() == address) {
            Some(door) => door.come_back(),
            None => Ok(()),
        };
        self.state.set_reachable(doors.iter().any(Door::is_open));
        outcome
    }

    /// Stops the region, and waits until all is closed.
    pub async fn stop(mut self) {
        self.background.shutdown().await;
        for door in self.doors.get_mut() {
            door.shut().await;
        }
    }
}

impl Deref for RunningRegion {
    type Target = RegionState;

    fn deref(&self) -> &RegionState {
        &self.state
    }
}

impl Protocols {
    /// Offers them over TLS, where there is a choice to be made.
    fn over(self, config: &ServerConfig) -> TlsAcceptor {
        let mut config = config.clone();
        match self {
            Protocols::Http1 => {}
            Protocols::Http2 => config.alpn_protocols = vec![b"h2".to_vec()],
            Protocols::Both => config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Wanted {
    fn take(self) -> Result<Bound, LabError> {
        match self {
            Wanted::Exactly(address) => Bound::take(address),
            Wanted::Rather(address) => {
                Bound::take(address).or_else(|_| Bound::take(SocketAddr::new(address.ip(), 0)))
            }
        }
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn serve(
    region: Arc<RegionState>,
    endpoint: SocketAddr,
    tls: Option<TlsAcceptor>,
    protocols: Protocols,
) -> Serve {
    Arc::new(move |stream| {
        let entrance = Entrance { region: Arc::clone(&region), endpoint, tls: None, tasks: Tasks::default() };
        Box::pin(connection(stream, entrance, tls.clone(), protocols))
    })
}

/// Serves one connection to its end. How it ends is the client's to see, so errors go nowhere.
async fn connection(
    stream: TcpStream,
    mut entrance: Entrance,
    tls: Option<TlsAcceptor>,
    protocols: Protocols,
) {
    entrance.region.connection_arrived();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(acceptor) = tls else { return http(stream, entrance, protocols).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        entrance.tls = Some(Secured {
            server_name: session.server_name().map(str::to_owned),
            client_certificate_sha256: certificate
                .map(|der| hex(&<sha2::Sha256 as sha2::Digest>::digest(der))),
        });
        http(stream, entrance, protocols).await;
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    entrance: Entrance,
    protocols: Protocols,
) {
    let tasks = entrance.tasks.clone();
    let held = tasks.hold();
    let service = TowerToHyperService::new(routes(entrance));
    let stream = TokioIo::new(stream);
    // How a connection ends is the client's to see.
    match protocols {
        Protocols::Http1 => {
            let mut builder = http1::Builder::new();
            let _ = builder.max_headers(MOST_HEADERS).serve_connection(stream, service).with_upgrades().await;
        }
        Protocols::Http2 => {
            let _ = http2::Builder::new(tasks).serve_connection(stream, service).await;
        }
        Protocols::Both => {
            let mut builder = auto::Builder::new(tasks);
            builder.http1().max_headers(MOST_HEADERS);
            let _ = builder.serve_connection_with_upgrades(stream, service).await;
        }
    }
    held.finish().await;
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PATIENCE, ask, ask_on, eventually};
    use super::*;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    async fn eu() -> RunningRegion {
        ToyRegion::new("eu-west-1").start().await.unwrap()
    }

    #[tokio::test]
    async fn a_dark_region_refuses_connections_and_comes_back_with_its_data() {
        let eu = eu().await;
        ask(eu.address(), "PUT", "/kv/a", &[], b"kept").await;
        eu.go_dark().await.unwrap();
        let refused = TcpStream::connect(eu.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        eu.come_back().await.unwrap();
        assert_eq!(ask(eu.address(), "GET", "/kv/a", &[], b"").await.json["value"], "kept");
    }

    #[tokio::test]
    async fn endpoints_share_the_store_and_go_dark_one_by_one() {
        let eu = ToyRegion::new("eu-west-1").endpoints(2).start().await.unwrap();
        let [first, second] = eu.addresses() else { panic!("two endpoints") };
        ask(*first, "PUT", "/kv/a", &[], b"shared").await;
        eu.go_dark_at(*first).await.unwrap();
        assert!(TcpStream::connect(*first).await.is_err());
        let read = ask(*second, "GET", "/kv/a", &[], b"").await;
        assert_eq!(read.json["value"], "shared");
        assert_eq!(read.json["endpoint"], second.to_string());
        eu.come_back_at(*first).await.unwrap();
        assert_eq!(ask(*first, "GET", "/kv/a", &[], b"").await.json["value"], "shared");
    }

    #[tokio::test]
    async fn a_preferred_port_that_is_taken_is_replaced_by_a_free_one() {
        let taken = std::net::TcpListener::bind(anywhere()).unwrap();
        let address = taken.local_addr().unwrap();
        let eu = ToyRegion::new("eu-west-1").prefer(address).start().await.unwrap();
        assert_ne!(eu.address(), address);
        assert_eq!(ask(eu.address(), "GET", "/", &[], b"").await.status, 200);
        let refused = ToyRegion::new("us-east-1").at(address).start().await.err().unwrap();
        assert_eq!(refused.to_string(), format!("cannot listen on {address}"));
    }

    #[tokio::test]
    async fn a_dropped_region_cuts_its_connections_and_closes_its_ports() {
        let eu = eu().await;
        let address = eu.address();
        let mut held = TcpStream::connect(address).await.unwrap();
        held.write_all(b"GET /stream?chunks=2&every_ms=600000 HTTP/1.1\r\nHost: toy\r\n\r\n").await.unwrap();
        held.read_u8().await.unwrap();
        drop(eu);
        eventually(async || TcpStream::connect(address).await.is_err()).await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, held.read_to_end(&mut rest)).await.expect("an end");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a stream that was cut never looks complete");
    }

    #[tokio::test]
    async fn a_region_that_is_down_says_503_on_health_and_still_serves() {
        let eu =
            ToyRegion::new("eu-west-1").capability("case.search", Status::Degraded).start().await.unwrap();
        eu.set_capability("write", Status::Down);
        let up = ask(eu.address(), "GET", "/health", &[], b"").await;
        assert_eq!((up.status, up.json["status"].as_str()), (200, Some("UP")));
        assert_eq!(
            up.json["capabilities"],
            serde_json::json!({ "read": "UP", "write": "DOWN", "case.search": "DEGRADED" })
        );
        assert_eq!(up.json["position"], "0");
        eu.set_status(Status::Down);
        let down = ask(eu.address(), "GET", "/health", &[], b"").await;
        assert_eq!((down.status, down.json["status"].as_str()), (503, Some("DOWN")));
        assert_eq!(ask(eu.address(), "PUT", "/kv/a", &[], b"1").await.status, 201);
        assert_eq!((eu.health_checks_seen(), eu.requests_seen(), eu.writes_executed()), (2, 1, 1));
    }

    #[tokio::test]
    async fn a_told_failure_is_counted_and_executed_only_where_told() {
        let eu = eu().await;
        let write = [("Idempotency-Key", "w-1")];
        eu.fail_next(1, StatusCode::BAD_GATEWAY);
        assert_eq!(ask(eu.address(), "POST", "/v1/cases", &write, b"").await.status, 502);
        assert_eq!((eu.writes_seen(), eu.executions_of("w-1")), (1, 0));
        eu.execute_then_fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(eu.address(), "POST", "/v1/cases", &write, b"").await.status, 503);
        assert_eq!((eu.writes_seen(), eu.executions_of("w-1")), (2, 1));
        assert_eq!(ask(eu.address(), "POST", "/v1/cases", &write, b"").await.status, 200);
        assert_eq!(eu.executions_of("w-1"), 2);
    }

    #[tokio::test]
    async fn a_delayed_write_is_executed_before_its_answer() {
        let eu = eu().await;
        eu.set_delay(Duration::from_secs(600));
        let mut stream = TcpStream::connect(eu.address()).await.unwrap();
        stream.write_all(b"PUT /kv/a HTTP/1.1\r\nHost: toy\r\nContent-Length: 1\r\n\r\n1").await.unwrap();
        eventually(async || eu.writes_executed() == 1).await;
        assert_eq!(eu.in_flight(), 1);
        drop(stream);
        eventually(async || eu.in_flight() == 0).await;
    }

    #[tokio::test]
    async fn over_tls_only_a_client_with_the_right_certificate_is_served_and_its_certificate_is_echoed() {
        let authority = authority();
        let leaf = |name| signed(&authority, name);
        let roots = || {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            Arc::new(roots)
        };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(), provider.clone()).build().unwrap();
        let (chain, key) = leaf("eu.internal");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        let eu = ToyRegion::new("eu-west-1").tls(Arc::new(server)).start().await.unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots());

        let (chain, key) = leaf("edge");
        let shown = hex(&<sha2::Sha256 as sha2::Digest>::digest(&chain[0]));
        let known = TlsConnector::from(Arc::new(client.clone().with_client_auth_cert(chain, key).unwrap()));
        let name = ServerName::try_from("eu.internal").unwrap();
        let stream = TcpStream::connect(eu.address()).await.unwrap();
        let stream = known.connect(name.clone(), stream).await.unwrap();
        let answer = ask_on(stream, "GET", "/", &[], b"").await;
        assert_eq!(answer.json["tls"]["server_name"], "eu.internal");
        assert_eq!(answer.json["tls"]["client_certificate_sha256"], shown.as_str());

        let unknown = TlsConnector::from(Arc::new(client.with_no_client_auth()));
        let stream = TcpStream::connect(eu.address()).await.unwrap();
        let refused = match unknown.connect(name, stream).await {
            Ok(mut stream) => stream.read_u8().await.is_err(), // TLS 1.3 tells a client at its first read
            Err(_) => true,
        };
        assert!(refused);
        assert_eq!((eu.connections_seen(), eu.requests_seen()), (2, 1));
    }

    type Authority = (rcgen::Certificate, rcgen::Issuer<'static, rcgen::KeyPair>);

    fn authority() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate, rcgen::Issuer::new(params, key))
    }

    fn signed(authority: &Authority, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.1).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

//! A Pingora proxy that routes nothing: every request goes to one upstream, by connections that are kept.
//!
//! What it shares with Rhumb: Pingora, its features and the rest of the lock file; the build profile; the allocator; a
//! scheduler for each thread (`work_stealing = false`), and one thread; no modules, the compression that Pingora
//! registers by itself among them; 4 KiB to read and to write for a client's connection; 512 kept connections to
//! upstreams, for 30 s each; the time limits of an attempt; a peer that is made once and cloned; TLS by the same
//! rustls with the same certificate.
//!
//! What it does not: it runs Pingora's own server and listeners, as whoever writes a proxy with Pingora does, where
//! Rhumb has its own accept loop, reads heads itself and checks them; it has no gate, no limits, no tenants, no
//! decision, no headers, no metrics, no log and no health checks.

use std::time::Duration;

use async_trait::async_trait;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::modules::http::HttpModules;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme};

use crate::options::Options;

/// As in `src/proxy/server.rs`.
const KEPT_CONNECTIONS: usize = 512;
/// As `CHUNK` in `src/proxy/connection.rs` and `SPARED` in `src/proxy/client.rs`.
const BUFFER: usize = 4096;

struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _context: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

/// Listens at `--listen ADDRESS`, with `--tls ADDRESS`, `--chain FILE` and `--key FILE` there too; all goes to
/// `--upstream ADDRESS`.
pub fn run(options: &Options) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        // It ends when it is told to, and not after five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { peer: peer(options) });
    let buffers = L4BufferSettings::new(BUFFER, BUFFER);
    service.add_listener(ListenerConfig::tcp(options.get::<String>("listen")).l4_buffer(buffers));
    if let Some(address) = options.text("tls") {
        let (chain, key): (String, String) = (options.get("chain"), options.get("key"));
        let mut tls = TlsSettings::intermediate(&chain, &key).expect("a certificate and its key");
        tls.enable_h2();
        service.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers).tls(tls));
    }
    server.add_service(service);
    server.run_forever();
}

/// With the limits that `src/proxy/peer.rs` sets for an attempt.
fn peer(options: &Options) -> HttpPeer {
    let mut settings = PeerOptions::new();
    settings.connection_timeout = Some(Duration::from_secs(1));
    settings.total_connection_timeout = Some(Duration::from_secs(3));
    settings.read_timeout = Some(Duration::from_secs(30));
    settings.write_timeout = Some(Duration::from_secs(30));
    settings.idle_timeout = Some(Duration::from_secs(30));
    HttpPeer {
        _address: PeerAddress::Inet(options.get("upstream")),
        scheme: Scheme::HTTP,
        sni: String::new(),
        proxy: None,
        client_cert_key: None,
        group_key: 0,
        options: settings,
    }
}

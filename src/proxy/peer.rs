//! Endpoint to Pingora's peer: address, TLS, timeouts.
//!
//! Never: resolves a name. Peers are made from socket addresses alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rhumb_decision::table::{Region, RegionTls};
use rhumb_decision::units::mix;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::known::KnownLeaves;
use crate::proxy::line::Line;
use crate::proxy::proof::Proof;
use crate::proxy::upgrade::{Passage, Secured};

/// The longest wait for a connection: a region that does not even take one is asked for no longer, so that a read goes
/// on elsewhere while its client still waits.
const CONNECT: Duration = Duration::from_secs(1);
/// With TLS the same bound holds for the connection and for the handshake, which takes more round trips.
const HANDSHAKE: Duration = Duration::from_secs(2);
pub(super) const CONNECT_AND_HANDSHAKE: Duration = Duration::from_secs(3);
/// How long a connection without a request is kept. Shorter than servers usually wait before they close one.
const KEPT: Duration = Duration::from_secs(30);
/// The same for HTTP/2, whose servers say when they will take no further request, so none is lost in between.
const KEPT_HTTP2: Duration = Duration::from_secs(60);
/// Requests at once over one connection: what servers allow by default, and few enough to lose with a connection.
const STREAMS: u32 = 100;
/// What a region may send of one response before the client takes it. A client that stalls costs no more memory,
/// and over a way of 100 ms a response still flows at 2.5 MiB a second.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all responses of a connection: so much that clients who stall cannot stop the others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// How often a connection is asked whether it still stands; one that does not answer within five seconds is given
/// up. Less than the 350 s after which gateways forget an idle connection, more than the five minutes below which
/// gRPC servers take pings for an attack.
const PING: Duration = Duration::from_secs(320);
/// The longest wait for the next bytes of a response that has no time limit.
const STREAM: Duration = Duration::from_secs(3_600);

/// What all peers of a region have in common, made once for a table.
pub(super) struct PeerTemplate {
    peer: HttpPeer,
    proof: Option<Proof>,
    /// Who the region has to prove to be to a connection of our own; `None`: it speaks in the clear.
    secured: Option<Arc<Secured>>,
    /// Whether requests to it are HTTP/2.
    pub http2: bool,
}

/// The TLS texts of a region cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the TLS settings of region {region} cannot be used: {what}")]
pub(super) struct Unusable {
    region: Box<str>,
    what: &'static str,
}

impl PeerTemplate {
    /// The template for `region`.
    ///
    /// # Errors
    /// Its certificates or key cannot be read. Whoever read the table has refused such texts, as a rule.
    pub fn new(region: &Region, known: &KnownLeaves) -> Result<Self, Unusable> {
        let mut peer = HttpPeer {
            _address: PeerAddress::Inet(SocketAddr::from(([0, 0, 0, 0], 0))),
            scheme: Scheme::HTTP,
            sni: String::new(),
            proxy: None,
            client_cert_key: None,
            group_key: region.hash,
            options: PeerOptions::new(),
        };
        let unusable = |what| Unusable { region: region.name.clone(), what };
        let mut proof = None;
        if let Some(tls) = &region.tls {
            add_tls(&mut peer, tls).map_err(unusable)?;
            if tls.spiffe_id.is_some() {
                proof = Some(Proof::new(tls, known).ok_or_else(|| unusable("its id cannot be verified"))?);
            }
        }
        peer.options.idle_timeout = Some(KEPT);
        if region.http2 {
            // 2 at the least: Pingora would remember a region that once failed at it, for as long as it runs.
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = STREAMS as usize;
            peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
            peer.options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            peer.options.h2_ping_interval = Some(PING);
            peer.options.idle_timeout = Some(KEPT_HTTP2);
            peer.group_key = mix(peer.group_key ^ 2);
        }
        let secured = region.tls.as_ref().map(|tls| Arc::new(Secured::new(tls, known)));
        Ok(Self { peer, proof, secured, http2: region.http2 })
    }

    /// A peer at `address` for a request that leaves HTTP behind, which HTTP/2 has no way to. Its connection is made
    /// for it alone, by [`Passage`], and proves there all that the region has to prove.
    ///
    /// - `tunnel_idle`: the longest that a tunnel may carry nothing. - `line`: to the client's connection, which takes
    ///   over once the region agrees.
    pub fn for_upgrade(
        &self,
        address: SocketAddr,
        remaining: Option<Duration>,
        stalled: Duration,
        tunnel_idle: Duration,
        line: &Arc<Line>,
    ) -> Box<HttpPeer> {
        let mut peer = self.at(address, remaining, stalled);
        let within = peer.options.connection_timeout.unwrap_or(CONNECT);
        // What is below HTTP is no concern of the HTTP library's: no TLS, no pool, and no time limit for reading. It
        // would not see that a tunnel moves.
        peer.scheme = Scheme::HTTP;
        peer.sni = String::new();
        peer.client_cert_key = None;
        peer.group_key = mix(peer.group_key ^ 3);
        peer.options.set_http_version(1, 1);
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer.options.read_timeout = None;
        peer.options.write_timeout = Some(stalled);
        peer.options.custom_l4 = Some(Arc::new(Passage {
            tls: self.secured.clone(),
            within,
            silent: tunnel_idle.saturating_add(stalled),
            line: Arc::clone(line),
        }));
        peer
    }

    /// What its connections have to prove besides what the handshake proves; `None`: nothing.
    pub const fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// A peer at `address`.
    ///
    /// - `remaining`: what is left of the request's time; no wait is longer. `None`: no limit.
    /// - `stalled`: the longest wait for the region to take what is sent.
    pub fn at(&self, address: SocketAddr, remaining: Option<Duration>, stalled: Duration) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        let within = |most: Duration| Some(remaining.map_or(most, |remaining| remaining.min(most)));
        peer._address = PeerAddress::Inet(address);
        peer.options.connection_timeout =
            within(if peer.scheme == Scheme::HTTPS { HANDSHAKE } else { CONNECT });
        peer.options.total_connection_timeout = within(CONNECT_AND_HANDSHAKE);
        peer.options.read_timeout = Some(remaining.unwrap_or(STREAM));
        peer.options.write_timeout = within(stalled);
        peer
    }
}

fn add_tls(peer: &mut HttpPeer, tls: &RegionTls) -> Result<(), &'static str> {
    if tls.server_name.is_empty() {
        return Err("server_name is empty");
    }
    peer.scheme = Scheme::HTTPS;
    peer.sni = tls.server_name.to_string();
    peer.group_key = mix(peer.group_key ^ mix(tls.identity));
    // Without the name it is the id that proves the region, and without either it would be anybody.
    peer.options.verify_hostname = tls.by_name || tls.spiffe_id.is_none();
    if let Some(pem) = &tls.ca {
        let authorities = certificates(pem).ok_or("ca holds no certificates")?;
        let parsed: Vec<WrappedX509> =
            authorities.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect();
        let authorities: Arc<CaType> = Arc::from(parsed);
        peer.options.ca = Some(authorities);
    }
    if let Some(own) = &tls.certificate {
        let chain = certificates(&own.chain).ok_or("certificate.chain holds no certificates")?;
        let key =
            PrivateKeyDer::from_pem_slice(&own.key).map_err(|_| "certificate.key holds no private key")?;
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())));
    }
    Ok(())
}

/// The certificates of a PEM text, at least one, all of which Pingora's X.509 parser takes: it panics otherwise.
fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found: Vec<Vec<u8>> = found.ok()?.into_iter().map(|der| der.to_vec()).collect();
    let sound = found.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok());
    (sound && !found.is_empty()).then_some(found)
}

//! Proof that a connection leads to the region that the table means, where the table gives its SPIFFE id.
//!
//! Why: the library that connects verifies chain and name and shows no more of a certificate than its digest. A leaf
//! that is not known yet is looked at with a handshake of our own, before a byte of a request is sent; the connection
//! at hand is used only if it turns out to be that leaf.
//!
//! Never: lets a connection pass that could not be proved, be it new or kept.

use std::net::SocketAddr;
use std::time::Duration;

use pingora::protocols::Digest;
use rhumb_decision::table::RegionTls;
use tokio::net::TcpStream;

use crate::certificates::known::KnownLeaves;
use crate::certificates::region::Towards;

/// The longest that a look at a leaf may take.
const LOOK: Duration = Duration::from_secs(3);

/// What a server may want to speak before it shows its certificate.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the connections to one region have to prove.
pub(super) struct Proof {
    towards: Towards,
    known: KnownLeaves,
}

impl Proof {
    /// What `tls` demands; `None`: its texts cannot be used, or name no authority.
    pub fn new(tls: &RegionTls, known: &KnownLeaves) -> Option<Self> {
        let towards = Towards::new(tls, Towards::own_roots(tls)?, &PROTOCOLS)?;
        Some(Self { towards, known: known.clone() })
    }

    /// Whether the connection of this digest leads to the region, whose endpoint is at `address`.
    ///
    /// - `remaining`: what is left of the request's time; `None`: it has no limit.
    pub async fn holds(
        &self,
        connection: Option<&Digest>,
        address: SocketAddr,
        remaining: Option<Duration>,
    ) -> bool {
        let shown = connection.and_then(|digest| digest.ssl_digest.as_ref());
        let shown = shown.and_then(|shown| shown.cert_digest.as_slice().try_into().ok());
        let Some(shown) = shown else { return false };
        let identity = self.towards.identity();
        if self.known.has(identity, &shown) {
            return true;
        }
        let look = async {
            let stream = TcpStream::connect(address).await?;
            self.towards.connect(stream, &self.known).await
        };
        let most = remaining.map_or(LOOK, |remaining| remaining.min(LOOK));
        match pingora::time::timeout(most, look).await {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => tracing::debug!(%address, %cause, "a region does not prove who it is"),
            Err(_) => tracing::debug!(%address, "a region does not prove in time who it is"),
        }
        self.known.has(identity, &shown)
    }
}

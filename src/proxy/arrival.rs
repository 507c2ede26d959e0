//! What a connection has to get past before its first request: whom it comes from, whether there is room for it, and
//! the TLS handshake.
//!
//! Never: believes an announcement of a proxy that is not trusted; such a connection's first bytes are its client's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rhumb_decision::reason::Refusal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::certificates::listener::CertificateStore;
use crate::control::clock::Clock;
use crate::proxy::answer;
use crate::proxy::backlog::{Backlog, Backlogs};
use crate::proxy::chance;
use crate::proxy::client::Client;
use crate::proxy::facts::is_trusted;
use crate::proxy::handshakes::Handshakes;
use crate::proxy::headers::trace::RequestId;
use crate::proxy::limits::{Connections, Full, Place};
use crate::proxy::pace::Demand;
use crate::proxy::preamble::{self, Announced, PreambleCause};
use crate::proxy::seats::Seat;
use crate::proxy::socket::Peer;
use crate::telemetry::Recorder;

/// How much of an announcement is looked at once.
const GLANCE: usize = 256;

/// The way into one listener.
pub(super) struct Arrival {
    /// `None`: connections are in the clear.
    pub certificates: Option<Arc<CertificateStore>>,
    /// Whether a client may begin with HTTP/2 in the clear.
    pub h2c: bool,
    /// Proxies that have to say whom each connection comes from; none on most listeners.
    pub announcers: Arc<[IpNet]>,
    /// Whose many handshakes are those of many clients.
    pub proxies: Arc<[IpNet]>,
    pub connections: Arc<Connections>,
    pub handshakes: Arc<Handshakes>,
    pub backlogs: Arc<Backlogs>,
    pub clock: Clock,
    pub recorder: Recorder,
    /// The longest for an announcement, and again for a handshake.
    pub timeout: Duration,
    /// How fast a client has to be.
    pub demand: Demand,
}

/// What one connection is held to.
pub(super) struct Own {
    /// How fast it has to send what it owes, and to take what is written to it.
    pub demand: Demand,
    /// Where it sits.
    pub seat: Arc<Seat>,
    /// What waits for it.
    pub backlog: Arc<Backlog>,
}

/// Why there is no announcement.
enum Unannounced {
    Refused(PreambleCause),
    Gone,
}

impl Arrival {
    /// A place for a connection from `peer`; one that is refused is told so, if that takes no wait.
    pub fn admit(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Place> {
        let entered = self.connections.enter(self.clock.elapsed()).and_then(|mut place| {
            if !self.announces(peer) {
                place.belongs_to(peer.ip())?;
            }
            Ok(place)
        });
        entered.map_err(|full| self.refuse(stream, full)).ok()
    }

    /// The client, once it may ask; `None`: there is none.
    pub async fn receive(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: &mut Place,
    ) -> Option<Client> {
        let _ = stream.set_nodelay(true);
        let peer = if self.announces(peer) {
            let announced = pingora::time::timeout(self.timeout, announcement(&mut stream)).await;
            let Ok(announced) = announced else {
                self.recorder.limit_reached("header_timeout");
                return None;
            };
            let peer = self.announced(announced, peer)?;
            if let Err(full) = place.belongs_to(peer.address.ip()) {
                self.refuse(&stream, full);
                return None;
            }
            peer
        } else {
            Peer { address: peer, relayed: false }
        };
        let Some(store) = &self.certificates else {
            return Some(Client::plain(stream, peer, self.own(place.seat())).with_h2c(self.h2c));
        };
        let address = peer.address.ip();
        if !is_trusted(&self.proxies, address) && !self.handshakes.may_begin(address, self.clock.elapsed()) {
            self.recorder.limit_reached("handshakes_per_address");
            return None;
        }
        self.shake_hands(stream, peer, place.seat(), &store.offer()).await
    }

    /// What a client is held to that sits there.
    pub fn own(&self, seat: &Arc<Seat>) -> Own {
        Own { demand: self.demand, seat: Arc::clone(seat), backlog: self.backlogs.one() }
    }

    /// Whether a connection from `peer` begins with an announcement.
    fn announces(&self, peer: SocketAddr) -> bool {
        is_trusted(&self.announcers, peer.ip())
    }

    /// Whom the proxy at `proxy` speaks for.
    fn announced(&self, read: Result<Announced, Unannounced>, proxy: SocketAddr) -> Option<Peer> {
        match read {
            Ok(Announced::Client(address)) => Some(Peer { address, relayed: false }),
            Ok(Announced::Nobody) => Some(Peer { address: proxy, relayed: true }),
            Ok(Announced::Proxy) => Some(Peer { address: proxy, relayed: false }),
            Err(Unannounced::Refused(cause)) => {
                self.recorder.gate_refused(cause.code());
                tracing::debug!(%proxy, cause = cause.code(), "a PROXY header was refused");
                None
            }
            Err(Unannounced::Gone) => None,
        }
    }

    fn refuse(&self, stream: &TcpStream, full: Full) {
        self.recorder.limit_reached(full.code());
        if self.certificates.is_none() {
            let id = RequestId::kept_or_made(None, chance::draw_wide());
            let _ = stream.try_write(&answer::raw(Refusal::Overloaded, id.as_str(), true));
        }
    }
}

/// Reads what the proxy says, and not a byte more: what follows is left in the socket.
async fn announcement(stream: &mut TcpStream) -> Result<Announced, Unannounced> {
    let mut said = Vec::new();
    loop {
        let before = said.len();
        said.resize(before + GLANCE, 0);
        let new = stream.peek(&mut said[before..]).await.map_err(|_| Unannounced::Gone)?;
        if new == 0 {
            return Err(Unannounced::Gone);
        }
        said.truncate(before + new);
        let read = preamble::read(&said).map_err(Unannounced::Refused)?;
        // As long as the header is not whole, all that came is part of it.
        let end = read.map_or(said.len(), |preamble| preamble.bytes);
        stream.read_exact(&mut said[before..end]).await.map_err(|_| Unannounced::Gone)?;
        if let Some(preamble) = read {
            return Ok(preamble.announced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, there) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    #[tokio::test]
    async fn nothing_beyond_an_announcement_is_read() {
        for header in [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(),
            [b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x03\x84", [7; 900].as_slice()].concat(),
        ] {
            let (mut proxy, mut edge) = pair().await;
            proxy.write_all(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()).await.unwrap();
            assert!(announcement(&mut edge).await.is_ok());
            let mut next = [0; 16];
            edge.read_exact(&mut next).await.unwrap();
            assert_eq!(&next, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn an_announcement_may_come_in_pieces() {
        let (mut proxy, mut edge) = pair().await;
        proxy.set_nodelay(true).unwrap();
        let pieces = async {
            for byte in b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n" {
                proxy.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (said, ()) = tokio::join!(announcement(&mut edge), pieces);
        let client = "[2001:db8::7]:12345".parse().unwrap();
        assert!(said.is_ok_and(|announced| announced == Announced::Client(client)));
    }

    #[tokio::test]
    async fn a_proxy_that_leaves_is_no_proxy() {
        let (mut proxy, mut edge) = pair().await;
        proxy.write_all(b"PROXY TCP4 192.0.2.7").await.unwrap();
        drop(proxy);
        assert!(matches!(announcement(&mut edge).await, Err(Unannounced::Gone)));
    }
}

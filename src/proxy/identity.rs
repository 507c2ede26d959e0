//! Who a client is by its TLS handshake, read once for each connection.
//!
//! Never: believes a certificate that the handshake did not verify, or a request for another host than the one that
//! the connection was made for, where clients are known by their certificates.

use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::Presented;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::certificates::leaf::Leaf;
use crate::certificates::listener::Offer;
use crate::proxy::arrival::Arrival;
use crate::proxy::client::Client;
use crate::proxy::seats::Seat;
use crate::proxy::socket::Peer;

/// What a handshake said of a client. Every request of its connection shares it.
#[derive(Debug)]
pub(super) struct ClientIdentity {
    spiffe_id: Option<Box<str>>,
    subject: Option<Box<str>>,
    /// The host that the connection was made for; `None`: clients of this listener are not known by certificates, so
    /// a connection serves every host.
    asked: Option<Asked>,
}

/// Which host a connection was made for.
#[derive(Debug)]
enum Asked {
    /// The one that the client named in its handshake, in lower case.
    Name(Box<str>),
    /// It named none: any that the certificate it was shown is for.
    Shown(Arc<Leaf>),
}

/// The certificate of a client has ended, though its handshake went well: it resumed an earlier session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended;

impl ClientIdentity {
    /// What `session` says, whose handshake is done.
    ///
    /// - `default`: the certificate that a client is shown that names no host; `None` where the listener does not ask
    ///   for certificates of clients.
    /// - `now`: since 1970.
    ///
    /// # Errors
    /// The client's certificate has ended.
    pub fn of(session: &ServerConnection, default: Option<&Arc<Leaf>>, now: Duration) -> Result<Self, Ended> {
        let leaf = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
        // What the verifier took and this reader does not names nobody.
        let leaf = leaf.and_then(|leaf| Leaf::read(leaf).ok());
        if leaf.as_ref().is_some_and(|leaf| leaf.not_after < now) {
            return Err(Ended);
        }
        let asked = default.map(|default| match session.server_name() {
            Some(name) => Asked::Name(name.to_ascii_lowercase().into()),
            None => Asked::Shown(Arc::clone(default)),
        });
        let (spiffe_id, subject) = leaf.map(|leaf| (leaf.spiffe_id, leaf.common_name)).unwrap_or_default();
        Ok(Self { spiffe_id, subject, asked })
    }

    /// What a decision reads of it.
    pub fn presented(&self) -> Presented<'_> {
        Presented { spiffe_id: self.spiffe_id.as_deref(), subject: self.subject.as_deref() }
    }

    /// The SPIFFE id, else the common name of the subject; for the log.
    pub fn name(&self) -> Option<&str> {
        self.spiffe_id.as_deref().or(self.subject.as_deref())
    }

    /// Whether a request for `host`, in normal form, came by a connection that was made for another.
    ///
    /// Only listeners that ask for certificates tell hosts apart: a client that was let in for one host could
    /// otherwise speak to another, whose listener would have judged it anew.
    pub fn is_misdirected(&self, host: &str) -> bool {
        match &self.asked {
            None => false,
            Some(Asked::Name(name)) => **name != *host,
            Some(Asked::Shown(leaf)) => !leaf.is_for(host),
        }
    }
}

impl Arrival {
    /// Makes a session with a client, in time; `None`: none came about, which is counted.
    pub async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: Peer,
        seat: &Arc<Seat>,
        offer: &Offer,
    ) -> Option<Client> {
        let handshake = TlsAcceptor::from(Arc::clone(&offer.config)).accept(stream);
        let stream = match pingora::time::timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => {
                tracing::debug!(peer = %peer.address, %cause, "a TLS handshake failed");
                self.recorder.gate_refused("handshake");
                return None;
            }
            Err(_) => {
                self.recorder.limit_reached("handshake_timeout");
                return None;
            }
        };
        match ClientIdentity::of(stream.get_ref().1, offer.default.as_ref(), self.clock.wall()) {
            Ok(identity) => Some(Client::tls(stream, peer, self.own(seat), Arc::new(identity))),
            Err(Ended) => {
                tracing::debug!(peer = %peer.address, "a session was resumed after its client's certificate ended");
                self.recorder.gate_refused("handshake");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_for(asked: Option<Asked>) -> ClientIdentity {
        ClientIdentity { spiffe_id: None, subject: None, asked }
    }

    #[test]
    fn a_connection_is_for_the_host_that_it_was_made_for() {
        let named = made_for(Some(Asked::Name("acme.app.example".into())));
        assert!(!named.is_misdirected("acme.app.example"));
        for host in ["globex.app.example", "app.example", "acme.app.example.evil", "", "192.0.2.1"] {
            assert!(named.is_misdirected(host), "{host}");
        }
        let leaf = Leaf {
            dns: vec!["*.app.example".into()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            spiffe_id: None,
            common_name: None,
            not_after: Duration::MAX,
        };
        let unnamed = made_for(Some(Asked::Shown(Arc::new(leaf))));
        assert!(!unnamed.is_misdirected("acme.app.example") && !unnamed.is_misdirected("192.0.2.1"));
        assert!(unnamed.is_misdirected("other.example") && unnamed.is_misdirected("192.0.2.2"));
    }

    #[test]
    fn where_nobody_asks_for_certificates_a_connection_is_for_every_host() {
        assert!(!made_for(None).is_misdirected("any.example"));
    }

    #[test]
    fn the_log_names_the_id_before_the_subject() {
        let identity = |spiffe_id: Option<&str>, subject: Option<&str>| ClientIdentity {
            spiffe_id: spiffe_id.map(Into::into),
            subject: subject.map(Into::into),
            asked: None,
        };
        assert_eq!(identity(Some("spiffe://d/a"), Some("b")).name(), Some("spiffe://d/a"));
        assert_eq!(identity(None, Some("b")).name(), Some("b"));
        assert_eq!(identity(None, None).name(), None);
    }
}

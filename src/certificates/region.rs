//! TLS towards a region: who it must be, and a handshake that proves it.
//!
//! A region is proved by its chain, by its name unless the table gives an id instead, and by its SPIFFE id where the
//! table gives one.
//!
//! Never: a session without all of that proved, and none that is resumed: it would not look at the certificate again.

use std::io;
use std::sync::Arc;

use rhumb_decision::table::{ClientCertificate, RegionTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::known::{Digest, KnownLeaves};
use super::leaf::Leaf;

/// How one region is spoken to, and who it must prove to be.
#[derive(Clone)]
pub struct Towards {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    identity: u64,
    /// Whether an id has to be proved.
    by_id: bool,
}

impl Towards {
    /// Whom `tls` means.
    ///
    /// - `roots`: the authorities to believe. - `protocols`: what to offer by ALPN.
    /// - `None`: a text of it cannot be used. Whoever read the table has refused such texts, as a rule.
    #[must_use]
    pub fn new(tls: &RegionTls, roots: Arc<RootCertStore>, protocols: &[&[u8]]) -> Option<Self> {
        let server_name = ServerName::try_from(tls.server_name.to_string()).ok()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(tls, roots, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &tls.certificate {
            Some(ClientCertificate { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().ok()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key).ok()?).ok()?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        let by_id = tls.spiffe_id.is_some();
        Some(Self { config: Arc::new(config), server_name, identity: tls.identity, by_id })
    }

    /// The authorities that `tls` names itself; `None`: it leaves them to the system.
    #[must_use]
    pub fn own_roots(tls: &RegionTls) -> Option<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(tls.ca.as_deref()?).flatten());
        Some(Arc::new(roots))
    }

    /// The hash of everything that it was made of.
    #[must_use]
    pub const fn identity(&self) -> u64 {
        self.identity
    }

    /// Makes a session over `stream`. Where an id was proved with it, `known` learns the leaf.
    ///
    /// # Errors
    /// The other end did not prove to be the one that is meant, or the connection broke.
    pub async fn connect<S>(&self, stream: S, known: &KnownLeaves) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.server_name.clone(), stream).await?;
        if self.by_id
            && let Some(leaf) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)
        {
            known.add(self.identity, digest(leaf));
        }
        Ok(stream)
    }
}

/// The system's authorities. Reading them may wait for a disk, so it waits elsewhere.
pub async fn system_roots() -> Option<Arc<RootCertStore>> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.ok()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Some(Arc::new(roots))
}

fn digest(leaf: &CertificateDer<'_>) -> Digest {
    Sha256::digest(leaf).into()
}

/// Chain, then name, then id.
#[derive(Debug)]
struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    by_name: bool,
    spiffe_id: Option<Box<str>>,
}

impl Verifier {
    fn new(tls: &RegionTls, roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Option<Self> {
        let chain = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
        // Neither name nor id would be any server of the authority.
        let by_name = tls.by_name || tls.spiffe_id.is_none();
        Some(Self { chain, by_name, spiffe_id: tls.spiffe_id.clone() })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chain.verify_server_cert(leaf, others, server_name, ocsp, now) {
            Ok(_) => {}
            // The name is judged last: what is only of another name has a good chain.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.by_name => {}
            Err(cause) => return Err(cause),
        }
        if let Some(wanted) = &self.spiffe_id {
            let read = Leaf::read(leaf).ok().and_then(|leaf| leaf.spiffe_id);
            if read.as_ref() != Some(wanted) {
                return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

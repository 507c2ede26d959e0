//! TLS towards regions: one client configuration for each identity, built when it first appears.
//!
//! Never: a connection without a verified name. Where a configuration cannot be built, there is no connection.

use std::collections::HashMap;
use std::sync::Arc;

use rhumb_decision::table::{ClientCertificate, RegionTls};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// How one region is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
}

/// The identities in use; `None`: it cannot be built.
#[derive(Default)]
pub(super) struct Identities {
    known: HashMap<(u64, bool), Option<Identity>>,
    system: Option<Arc<RootCertStore>>,
}

impl Identities {
    /// Builds what is new among `wanted` and forgets what is not wanted. Each comes with whether HTTP/2 is spoken.
    pub(super) async fn prepare<'t>(&mut self, wanted: impl Iterator<Item = (&'t RegionTls, bool)>) {
        let wanted: HashMap<(u64, bool), &RegionTls> =
            wanted.map(|(tls, http2)| ((tls.identity, http2), tls)).collect();
        self.known.retain(|identity, _| wanted.contains_key(identity));
        for (identity, tls) in wanted {
            if self.known.contains_key(&identity) {
                continue;
            }
            let roots = match &tls.ca {
                Some(pem) => Some(Arc::new(authorities(pem))),
                None => self.system().await,
            };
            let built = roots.and_then(|roots| build(tls, identity.1, roots));
            self.known.insert(identity, built);
        }
    }

    /// The identity for `tls`, if [`Self::prepare`] could build it.
    pub(super) fn of(&self, (tls, http2): (&RegionTls, bool)) -> Option<Identity> {
        self.known.get(&(tls.identity, http2)).cloned().flatten()
    }

    /// The system's authorities, read once. Reading them may wait for a disk, so it waits elsewhere.
    async fn system(&mut self) -> Option<Arc<RootCertStore>> {
        if self.system.is_none() {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.ok()?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            self.system = Some(Arc::new(roots));
        }
        self.system.clone()
    }
}

fn authorities(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    roots
}

fn build(tls: &RegionTls, http2: bool, roots: Arc<RootCertStore>) -> Option<Identity> {
    let server_name = ServerName::try_from(tls.server_name.to_string()).ok()?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots);
    let mut config = match &tls.certificate {
        Some(ClientCertificate { chain, key }) => {
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().ok()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key).ok()?).ok()?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    // A resumed session would not look at the certificate again, and so never see it expire.
    config.resumption = Resumption::disabled();
    Some(Identity { config: Arc::new(config), server_name })
}

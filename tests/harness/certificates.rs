//! Certificates made for one test, in memory and as files.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to say; by default it is good for a long time and says nothing.
#[derive(Clone, Default)]
pub struct Says {
    /// Names and addresses.
    pub names: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The common name of its subject.
    pub subject: Option<String>,
    /// From the beginning of the first year to the beginning of the second.
    pub years: Option<(i32, i32)>,
}

impl Says {
    /// It is for these names.
    pub fn names(names: &[&str]) -> Says {
        Says { names: names.iter().map(ToString::to_string).collect(), ..Says::default() }
    }

    /// It carries this URI too.
    pub fn uri(mut self, uri: &str) -> Says {
        self.uris.push(uri.to_owned());
        self
    }

    /// Its subject has this common name.
    pub fn subject(mut self, name: &str) -> Says {
        self.subject = Some(name.to_owned());
        self
    }

    /// It is good from the beginning of one year to that of another.
    pub fn years(mut self, from: i32, until: i32) -> Says {
        self.years = Some((from, until));
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        let uris = self.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.subject {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        if let Some((from, until)) = self.years {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
        }
        params
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate that says so: chain and key, as PEM.
    pub fn issue(&self, says: &Says) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (says.params().signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A certificate for `name`: chain and key, as PEM.
    pub fn leaf(&self, name: &str) -> (String, String) {
        self.issue(&Says::names(&[name]))
    }

    /// The same as files `NAME.pem` and `NAME.key` in `folder`.
    pub fn leaf_in(&self, folder: &Path, name: &str) {
        write_pair(folder, name, &self.leaf(name));
    }

    /// It alone, as what a client trusts.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// Writes a pair as the files `NAME.pem` and `NAME.key`.
pub fn write_pair(folder: &Path, name: &str, (chain, key): &(String, String)) {
    std::fs::write(folder.join(format!("{name}.pem")), chain).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

/// A certificate that signed itself.
pub fn self_signed(says: &Says) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (says.params().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn der((chain, key): &(String, String)) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
}

/// A TLS server named `name`; `clients`: whose clients it takes, and no others.
pub fn server_config(authority: &Authority, name: &str, clients: Option<&Authority>) -> Arc<ServerConfig> {
    server_with(&authority.leaf(name), clients)
}

/// A TLS server that shows this pair; `clients` as in [`server_config`].
pub fn server_with(pair: &(String, String), clients: Option<&Authority>) -> Arc<ServerConfig> {
    server_showing(Arc::new(rustls::sign::SingleCertAndKey::from(certified(pair))), clients)
}

/// A TLS server that shows what `resolver` says.
pub fn server_showing(
    resolver: Arc<dyn ResolvesServerCert>,
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(clients.roots(), provider).build().unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    Arc::new(builder.with_cert_resolver(resolver))
}

/// A pair, as a server shows it.
pub fn certified(pair: &(String, String)) -> rustls::sign::CertifiedKey {
    let (chain, key) = der(pair);
    rustls::sign::CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).unwrap()
}

/// A TLS client that trusts `authority`; `own`: with a certificate of its own, made by this authority.
pub fn client_config(authority: &Authority, own: Option<&Authority>) -> Arc<ClientConfig> {
    client_with(authority, own.map(|own| own.leaf("client")).as_ref())
}

/// A TLS client that trusts `authority` and shows this pair, if any.
pub fn client_with(authority: &Authority, own: Option<&(String, String)>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    Arc::new(match own {
        Some(own) => {
            let (chain, key) = der(own);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

//! Certificates by name: what a TLS listener shows, and whom it believes.
//!
//! Never: replaces what works by what cannot be read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

use crate::settings::{Certificate, ClientAuth, ClientCertificates, ListenerTls};

/// The TLS side of one listener: read from files, and read again when asked to.
pub struct CertificateStore {
    settings: ListenerTls,
    current: ArcSwap<ServerConfig>,
}

impl CertificateStore {
    /// Reads what `settings` names: TLS 1.2 and 1.3, certificates by SNI, the first for all other names.
    ///
    /// # Errors
    /// Every file that cannot be used, with the reason.
    pub fn open(settings: &ListenerTls) -> Result<Self, Vec<String>> {
        let current = ArcSwap::new(Arc::new(read(settings)?));
        Ok(Self { settings: settings.clone(), current })
    }

    /// Reads the files again; connections that begin from now on see them.
    ///
    /// # Errors
    /// Every file that cannot be used, with the reason; what was read before stays.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        self.current.store(Arc::new(read(&self.settings)?));
        Ok(())
    }

    /// What the next connection is accepted with.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn read(settings: &ListenerTls) -> Result<ServerConfig, Vec<String>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut problems = Vec::new();
    let mut keep = |told: String| problems.push(told);
    let certificates: Vec<_> = settings
        .certificates
        .iter()
        .filter_map(|certificate| load(certificate, &provider).map_err(&mut keep).ok())
        .collect();
    let verifier = match &settings.clients {
        Some(clients) => verifier(clients, &provider).map_err(&mut keep).ok(),
        None => Some(WebPkiClientVerifier::no_client_auth()),
    };
    let names =
        (certificates.len() == settings.certificates.len()).then(|| ByName::new(certificates)).flatten();
    let (Some(names), Some(verifier)) = (names, verifier) else {
        if problems.is_empty() {
            problems.push("the listener has no certificate".to_owned());
        }
        return Err(problems);
    };
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|cause| vec![format!("TLS cannot be set up: {cause}")])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(names));
    config.alpn_protocols = match settings.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// Reads one chain and its key, and holds them against each other.
fn load(certificate: &Certificate, provider: &CryptoProvider) -> Result<Named, String> {
    let (chain_file, key_file) = (&certificate.chain, &certificate.key);
    let chain = chain(chain_file)?;
    let key = PrivateKeyDer::from_pem_slice(&file(key_file)?)
        .map_err(|cause| format!("{}: holds no private key in PEM: {cause}", key_file.display()))?;
    let leaf = chain.first().ok_or_else(|| format!("{}: holds no certificate", chain_file.display()))?;
    let names = names(leaf).map_err(|cause| format!("{}: {cause}", chain_file.display()))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => {
            format!("{}: is not the key of {}", key_file.display(), chain_file.display())
        }
        cause => format!("{} with {}: {cause}", chain_file.display(), key_file.display()),
    })?;
    Ok(Named { names, key: Arc::new(key) })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file(path)?).collect();
    let chain = chain.map_err(|cause| format!("{}: is no PEM: {cause}", path.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: holds no certificate in PEM", path.display()));
    }
    Ok(chain)
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|cause| format!("{}: cannot be read: {cause}", path.display()))
}

/// The DNS names that a certificate is for, in lower case.
fn names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|cause| format!("is no certificate: {cause}"))?;
    let alternative = parsed.subject_alternative_name().map_err(|cause| format!("has bad names: {cause}"))?;
    let all = alternative.iter().flat_map(|names| &names.value.general_names);
    Ok(all
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect())
}

fn verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in chain(&clients.ca)? {
        roots.add(authority).map_err(|cause| format!("{}: {cause}", clients.ca.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match clients.auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    builder.build().map_err(|cause| format!("{}: {cause}", clients.ca.display()))
}

struct Named {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// Chooses a certificate by the name that a client asks for.
#[derive(Debug)]
struct ByName {
    /// Whole names, and those that begin with `*.` without the star.
    names: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    /// `None` without a certificate. Where two are for one name, the first is taken.
    fn new(certificates: Vec<Named>) -> Option<Self> {
        let default = Arc::clone(&certificates.first()?.key);
        let mut names = HashMap::new();
        for Named { names: own, key } in certificates {
            for name in own {
                let name = name.strip_prefix('*').map(str::to_owned).unwrap_or(name);
                names.entry(name).or_insert_with(|| Arc::clone(&key));
            }
        }
        Some(Self { names, default })
    }

    fn choose(&self, asked: Option<&str>) -> Arc<CertifiedKey> {
        let found = asked.and_then(|asked| {
            let asked = asked.to_ascii_lowercase();
            let exact = self.names.get(&asked);
            exact.or_else(|| self.names.get(asked.get(asked.find('.')?..)?))
        });
        Arc::clone(found.unwrap_or(&self.default))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, hosts: &[&str]) -> Certificate {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let made = rcgen::generate_simple_self_signed(hosts).unwrap();
            let (chain, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
            std::fs::write(&chain, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            Certificate { chain, key }
        }
    }

    fn tls(certificates: Vec<Certificate>) -> ListenerTls {
        ListenerTls { certificates, clients: None, http2: true }
    }

    #[test]
    fn a_name_finds_its_certificate_and_any_other_the_first() {
        let files = Files::new();
        let provider = rustls::crypto::ring::default_provider();
        let certificates = [
            files.write("one", &["a.example"]),
            files.write("wild", &["*.app.example", "a.example"]),
            files.write("exact", &["acme.app.example"]),
        ];
        let named: Vec<_> = certificates.iter().map(|c| load(c, &provider).unwrap()).collect();
        let keys: Vec<_> = named.iter().map(|named| Arc::clone(&named.key)).collect();
        let by_name = ByName::new(named).unwrap();
        for (asked, at) in [
            (Some("a.example"), 0),
            (Some("A.Example"), 0),
            (Some("globex.app.example"), 1),
            (Some("acme.app.example"), 2),
            (Some("x.y.app.example"), 0),
            (Some("app.example"), 0),
            (None, 0),
        ] {
            assert!(Arc::ptr_eq(&by_name.choose(asked), &keys[at]), "{asked:?}");
        }
    }

    #[test]
    fn every_bad_file_is_named_with_its_reason() {
        let files = Files::new();
        let good = files.write("good", &["a.example"]);
        let other = files.write("other", &["b.example"]);
        std::fs::write(files.path("text.pem"), "no certificate").unwrap();
        let settings = tls(vec![
            Certificate { chain: good.chain.clone(), key: other.key.clone() },
            Certificate { chain: files.path("none.pem"), key: good.key.clone() },
            Certificate { chain: files.path("text.pem"), key: good.key.clone() },
            Certificate { chain: good.chain.clone(), key: good.chain.clone() },
        ]);
        let told = CertificateStore::open(&settings).err().unwrap();
        assert_eq!(told.len(), 4, "{told:#?}");
        for (told, part) in told.iter().zip([
            "other.key: is not the key of",
            "none.pem: cannot be read",
            "text.pem: holds no certificate",
            "good.pem: holds no private key",
        ]) {
            assert!(told.contains(part), "{told} lacks {part}");
        }
    }

    #[test]
    fn a_reload_that_fails_keeps_what_was_there() {
        let files = Files::new();
        let certificate = files.write("one", &["a.example"]);
        let store = CertificateStore::open(&tls(vec![certificate.clone()])).unwrap();
        let before = store.config();
        std::fs::write(&certificate.key, "broken").unwrap();
        assert!(store.reload().unwrap_err()[0].contains("one.key"));
        assert!(Arc::ptr_eq(&before, &store.config()));
        files.write("one", &["b.example"]);
        store.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &store.config()));
    }
}

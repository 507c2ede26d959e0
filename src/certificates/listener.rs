//! Certificates by name: what a TLS listener shows, and whom it believes.
//!
//! Each pair of chain and key is taken by itself, and so are the authorities for clients: one that cannot be used
//! leaves what it was to replace in force, and keeps no other from being taken.
//!
//! Never: replaces what works by what cannot be read.

mod by_name;
mod clients;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use crate::certificates::leaf::{Leaf, first_end};
use crate::certificates::pem;
use crate::settings::{Certificate, ListenerTls};
use by_name::{ByName, Named};
use clients::Clients;

/// The TLS side of one listener: read from files, and read again when asked to.
pub struct CertificateStore {
    settings: ListenerTls,
    provider: Arc<CryptoProvider>,
    /// What was read last, for each file that could be used.
    loaded: Mutex<Loaded>,
    current: ArcSwap<Offer>,
}

/// What a connection is accepted with.
pub struct Offer {
    /// For the next handshake.
    pub config: Arc<ServerConfig>,
    /// The certificate that is shown to a client that names no host; `None`: clients show none here.
    pub default: Option<Arc<Leaf>>,
    leaves: Vec<Arc<Leaf>>,
}

#[derive(Clone)]
struct Loaded {
    pairs: Vec<Pair>,
    clients: Option<Clients>,
    /// Whether HTTP/2 is offered.
    http2: bool,
}

/// A chain with its key, and the texts that it was read from.
#[derive(Clone)]
struct Pair {
    named: Named,
    text: (Vec<u8>, Vec<u8>),
    ends: Duration,
}

/// What came of reading the files again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reloaded {
    /// How many pairs and bundles of authorities are new.
    pub taken: usize,
    /// Every file that cannot be used, with the reason; what was read before stays.
    pub refused: Vec<String>,
}

/// One certificate of a listener, and when it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lasting {
    /// `listener`, or `client_ca`.
    pub kind: &'static str,
    /// Its file, as the settings name it.
    pub file: String,
    /// When the first certificate in it ends, since 1970.
    pub ends: Duration,
}

impl CertificateStore {
    /// Reads what `settings` names: TLS 1.2 and 1.3, certificates by SNI, the first for all other names.
    ///
    /// # Errors
    /// Every file that cannot be used, with the reason.
    pub fn open(settings: &ListenerTls) -> Result<Self, Vec<String>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut problems = Vec::new();
        let mut keep = |told: String| problems.push(told);
        let pairs: Vec<_> = settings
            .certificates
            .iter()
            .filter_map(|certificate| Pair::load(certificate, &provider).map_err(&mut keep).ok())
            .collect();
        let clients = settings.clients.as_ref().map(|clients| Clients::load(clients, &provider)).transpose();
        let clients = clients.map_err(&mut keep);
        let loaded = match clients {
            Ok(clients) if problems.is_empty() => Loaded { pairs, clients, http2: settings.http2 },
            _ => return Err(problems),
        };
        let current = ArcSwap::from_pointee(loaded.offer(&provider).map_err(|told| vec![told])?);
        Ok(Self { settings: settings.clone(), provider, loaded: Mutex::new(loaded), current })
    }

    /// Reads the files again; connections that begin from now on see what could be taken, others go on.
    ///
    /// Where nothing is new, nothing changes, and clients may go on to resume their sessions.
    pub fn reload(&self) -> Reloaded {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = loaded.clone();
        let mut outcome = Reloaded::default();
        for (pair, certificate) in new.pairs.iter_mut().zip(&self.settings.certificates) {
            match Pair::load(certificate, &self.provider) {
                Ok(same) if same.text == pair.text => {}
                Ok(other) => {
                    *pair = other;
                    outcome.taken += 1;
                }
                Err(told) => outcome.refused.push(told),
            }
        }
        if let (Some(clients), Some(settings)) = (&mut new.clients, &self.settings.clients) {
            match Clients::load(settings, &self.provider) {
                Ok(same) if same.text == clients.text => {}
                Ok(other) => {
                    *clients = other;
                    outcome.taken += 1;
                }
                Err(told) => outcome.refused.push(told),
            }
        }
        if outcome.taken > 0 {
            match new.offer(&self.provider) {
                Ok(offer) => {
                    self.current.store(Arc::new(offer));
                    *loaded = new;
                }
                Err(told) => outcome = Reloaded { taken: 0, refused: vec![told] },
            }
        }
        outcome
    }

    /// The files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = std::path::PathBuf> {
        let pairs = self.settings.certificates.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        pairs.chain(self.settings.clients.as_ref().map(|clients| &clients.ca)).cloned()
    }

    /// When what is in force ends.
    pub fn lasting(&self) -> Vec<Lasting> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = loaded.pairs.iter().zip(&self.settings.certificates);
        let pairs = pairs.map(|(pair, settings)| ("listener", &settings.chain, pair.ends));
        let clients = loaded.clients.as_ref().zip(self.settings.clients.as_ref());
        let clients = clients.map(|(clients, settings)| ("client_ca", &settings.ca, clients.ends));
        let all = pairs.chain(clients);
        all.map(|(kind, file, ends)| Lasting { kind, file: file.display().to_string(), ends }).collect()
    }

    /// Whether one of its certificates is for this host: a name in lower case, or an address.
    pub fn is_for(&self, host: &str) -> bool {
        self.current.load().leaves.iter().any(|leaf| leaf.is_for(host))
    }

    /// What the next connection is accepted with.
    pub fn offer(&self) -> Arc<Offer> {
        self.current.load_full()
    }
}

impl Loaded {
    /// Each offer has a store of sessions of its own: a session is resumed only where it was made, under the
    /// certificates and authorities that it was made under. `http2`: HTTP/2 is offered beside HTTP/1.1.
    fn offer(&self, provider: &Arc<CryptoProvider>) -> Result<Offer, String> {
        let names = ByName::new(self.pairs.iter().map(|pair| &pair.named))
            .ok_or_else(|| "the listener has no certificate".to_owned())?;
        let verifier = match &self.clients {
            Some(clients) => Arc::clone(&clients.verifier),
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&versions)
            .map_err(|cause| format!("TLS cannot be set up: {cause}"))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(names));
        config.alpn_protocols = match self.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        let first = self.pairs.first().filter(|_| self.clients.is_some());
        let default = first.map(|pair| Arc::clone(&pair.named.leaf));
        let leaves = self.pairs.iter().map(|pair| Arc::clone(&pair.named.leaf)).collect();
        Ok(Offer { config: Arc::new(config), default, leaves })
    }
}

impl Pair {
    /// Reads one chain and its key, and holds them against each other.
    fn load(certificate: &Certificate, provider: &CryptoProvider) -> Result<Self, String> {
        let (chain_file, key_file) = (&certificate.chain, &certificate.key);
        let text = (pem::file(chain_file)?, pem::file(key_file)?);
        let chain = pem::chain(&text.0).map_err(|told| format!("{}: {told}", chain_file.display()))?;
        let key = pem::key(&text.1).map_err(|told| format!("{}: {told}", key_file.display()))?;
        let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
        let leaf = Leaf::read(first).map_err(|told| format!("{}: {told}", chain_file.display()))?;
        let ends = first_end(chain.iter().map(AsRef::as_ref)).unwrap_or(leaf.not_after);
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|cause| match cause {
            rustls::Error::InconsistentKeys(_) => {
                format!("{}: is not the key of {}", key_file.display(), chain_file.display())
            }
            cause => format!("{} with {}: {cause}", chain_file.display(), key_file.display()),
        })?;
        Ok(Self { named: Named { leaf: Arc::new(leaf), key: Arc::new(key) }, text, ends })
    }
}

#[cfg(test)]
mod tests;

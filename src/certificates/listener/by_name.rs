//! Chooses a certificate by the name that a client asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificates::leaf::Leaf;

/// A certificate and what it says.
#[derive(Clone)]
pub(super) struct Named {
    pub leaf: Arc<Leaf>,
    pub key: Arc<CertifiedKey>,
}

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct ByName {
    /// Whole names, and those that begin with `*.` without the star.
    names: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    /// `None` without a certificate. The first is for all other names; where two are for one name, the first is taken.
    pub fn new<'n>(certificates: impl IntoIterator<Item = &'n Named>) -> Option<Self> {
        let mut certificates = certificates.into_iter().peekable();
        let default = Arc::clone(&certificates.peek()?.key);
        let mut names = HashMap::new();
        for Named { leaf, key } in certificates {
            for name in &leaf.dns {
                let name = name.strip_prefix('*').unwrap_or(name);
                names.entry(name.to_owned()).or_insert_with(|| Arc::clone(key));
            }
        }
        Some(Self { names, default })
    }

    /// The certificate for `asked`; a client may ask for nothing.
    pub fn choose(&self, asked: Option<&str>) -> Arc<CertifiedKey> {
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

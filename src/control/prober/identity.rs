//! TLS towards regions: one configuration for each identity, built when it first appears.
//!
//! Never: a connection without a verified name or id. Where a configuration cannot be built, there is no connection.

use std::collections::HashMap;
use std::sync::Arc;

use rhumb_decision::table::RegionTls;
use rustls::RootCertStore;

use crate::certificates::region::{Towards, system_roots};

/// The identities in use; `None`: it cannot be built.
#[derive(Default)]
pub(in crate::control) struct Identities {
    known: HashMap<(u64, bool), Option<Towards>>,
    system: Option<Arc<RootCertStore>>,
}

impl Identities {
    /// Builds what is new among `wanted` and forgets what is not wanted. Each comes with whether HTTP/2 is spoken.
    pub(in crate::control) async fn prepare<'t>(
        &mut self,
        wanted: impl Iterator<Item = (&'t RegionTls, bool)>,
    ) {
        let wanted: HashMap<(u64, bool), &RegionTls> =
            wanted.map(|(tls, http2)| ((tls.identity, http2), tls)).collect();
        self.known.retain(|identity, _| wanted.contains_key(identity));
        for (identity, tls) in wanted {
            if self.known.contains_key(&identity) {
                continue;
            }
            let roots = match Towards::own_roots(tls) {
                Some(roots) => Some(roots),
                None => self.system().await,
            };
            let protocol: &[u8] = if identity.1 { b"h2" } else { b"http/1.1" };
            let built = roots.and_then(|roots| Towards::new(tls, roots, &[protocol]));
            self.known.insert(identity, built);
        }
    }

    /// The identity for `tls`, if [`Self::prepare`] could build it.
    pub(in crate::control) fn of(&self, (tls, http2): (&RegionTls, bool)) -> Option<Towards> {
        self.known.get(&(tls.identity, http2)).cloned().flatten()
    }

    /// The system's authorities, read once.
    async fn system(&mut self) -> Option<Arc<RootCertStore>> {
        if self.system.is_none() {
            self.system = system_roots().await;
        }
        self.system.clone()
    }
}

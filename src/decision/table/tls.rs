//! TLS towards a region.
//!
//! Never: shows a key, or any other bytes of the texts, when it is printed.

/// TLS towards a region. The texts are PEM and have been parsed once, so that they can be.
#[derive(Clone, PartialEq, Eq)]
pub struct RegionTls {
    /// The name that the region is asked for, and that its certificate must carry unless an id does instead; never
    /// empty.
    pub server_name: Box<str>,
    /// Whether its certificate must carry that name.
    pub by_name: bool,
    /// The SPIFFE id that its certificate must carry; `None`: the name is enough.
    pub spiffe_id: Option<Box<str>>,
    /// The authorities to believe; `None`: the system's.
    pub ca: Option<Box<[u8]>>,
    /// What Rhumb shows of itself.
    pub certificate: Option<ClientCertificate>,
    /// A hash of all of the above: connections are shared only where it is equal.
    pub identity: u64,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub chain: Box<[u8]>,
    /// The private key.
    pub key: Box<[u8]>,
}

impl std::fmt::Debug for RegionTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionTls")
            .field("server_name", &self.server_name)
            .field("spiffe_id", &self.spiffe_id)
            .field("own_ca", &self.ca.is_some())
            .field("client_certificate", &self.certificate.is_some())
            .finish_non_exhaustive()
    }
}

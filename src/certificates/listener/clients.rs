//! Which clients a listener lets in by their certificates: signed by its authorities, and with an id of its list.
//!
//! Never: takes a good chain for a good client where a list says who may come.

use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::spiffe::Pattern;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use crate::certificates::leaf::{Leaf, first_end};
use crate::certificates::pem;
use crate::settings::{ClientAuth, ClientCertificates};

/// The authorities of one listener, read.
#[derive(Clone)]
pub(super) struct Clients {
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// What they were read from.
    pub text: Vec<u8>,
    /// When the first of them ends, since 1970.
    pub ends: Duration,
}

impl Clients {
    /// Reads the authorities that `settings` names.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn load(settings: &ClientCertificates, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let told = |cause: &dyn std::fmt::Display| format!("{}: {cause}", settings.ca.display());
        let text = pem::file(&settings.ca)?;
        let authorities = pem::chain(&text).map_err(|cause| told(&cause))?;
        let ends = first_end(authorities.iter().map(AsRef::as_ref)).unwrap_or_default();
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|cause| told(&cause))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match settings.auth {
            ClientAuth::Optional => builder.allow_unauthenticated(),
            ClientAuth::Required => builder,
        };
        let chain = builder.build().map_err(|cause| told(&cause))?;
        let verifier = match &settings.ids[..] {
            [] => chain,
            ids => Arc::new(ById { chain, ids: ids.into() }),
        };
        Ok(Self { verifier, text, ends })
    }
}

/// The chain, and then the id.
#[derive(Debug)]
struct ById {
    chain: Arc<dyn ClientCertVerifier>,
    ids: Box<[Pattern]>,
}

impl ClientCertVerifier for ById {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(leaf, others, now)?;
        let id = Leaf::read(leaf).ok().and_then(|leaf| leaf.spiffe_id);
        if id.is_some_and(|id| self.ids.iter().any(|pattern| pattern.matches(&id))) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
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

//! TLS towards a region as written: files that are read and tried once, so that a request never finds out.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rhumb_decision::spiffe::trust_domain;
use rhumb_decision::table::{ClientCertificate, RegionTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

use super::convert::Conversion;
use super::places::At;
use super::shape::{CertificateDoc, TlsDoc};
use crate::problem::given::Given;
use crate::problem::values::FileName;

/// Makes the TLS side of a region; `None` where there is none, or where something is wrong, which is told.
pub(super) fn region(at: &At, written: Given<TlsDoc>, to: &mut Conversion<'_>) -> Option<RegionTls> {
    let Given::Good(_, doc) = to.seen(at, written) else { return None };
    let name_at = at.key("server_name");
    let fix = "write the name that the region's certificate carries, as in server_name = \"eu.internal\"";
    let spiffe_at = at.key("spiffe_id");
    let spiffe_written = doc.spiffe_id.is_written();
    let spiffe_id = to.seen(&spiffe_at, doc.spiffe_id).good().map(|id| id.0);
    if spiffe_id.is_some() && doc.ca.is_absent() && to.whole {
        let what = "no public authority vouches for SPIFFE ids";
        to.tell(&spiffe_at, what, "name the authority of its trust domain too, as in ca = \"regions.pem\"");
    }
    let by_name = doc.server_name.is_written();
    let server_name = match spiffe_id.as_deref().and_then(trust_domain).filter(|_| !by_name) {
        Some(domain) => Some(domain.to_owned()),
        None if spiffe_written && !by_name => None,
        None => to.required(&name_at, doc.server_name, fix),
    };
    if let Some(name) = server_name.as_ref().filter(|name| ServerName::try_from(name.as_str()).is_err()) {
        let what = match name.as_str() {
            "" => "is empty".to_owned(),
            name => format!("\"{}\" is no name that a certificate could carry", super::values::shown(name)),
        };
        to.tell(&name_at, what, fix);
    }
    let ca_written = doc.ca.is_written();
    let ca = pem(&at.key("ca"), doc.ca, to);
    let ca_sound = ca.as_ref().is_none_or(|(path, pem)| authorities(&at.key("ca"), path, pem, to));
    let certificate_written = doc.certificate.is_written();
    let certificate = certificate(&at.key("certificate"), doc.certificate, to);
    let server_name: Box<str> = server_name?.into();
    if spiffe_written && spiffe_id.is_none() {
        return None;
    }
    if (ca_written && (ca.is_none() || !ca_sound)) || (certificate_written && certificate.is_none()) {
        return None;
    }
    let ca: Option<Box<[u8]>> = ca.map(|(_, pem)| pem.as_ref().into());
    let mut tls = RegionTls { server_name, by_name, spiffe_id, ca, certificate, identity: 0 };
    tls.identity = identity(&tls);
    Some(tls)
}

/// The text of a PEM file, and the path that was named.
fn pem(at: &At, written: Given<FileName>, to: &mut Conversion<'_>) -> Option<(PathBuf, Rc<[u8]>)> {
    let path = to.seen(at, written).good()?.beside(to.path);
    match to.files.pem(&path) {
        Ok(pem) => Some((path, pem)),
        Err(wrong) => {
            to.tell(at, wrong.what, wrong.fix);
            None
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(none) if none.is_empty() => Err("holds no certificate".into()),
        Ok(all) => Ok(all),
        Err(e) => Err(format!("is no PEM file: {e}")),
    }
}

/// Whether a file holds certificates that can be believed in.
fn authorities(at: &At, path: &std::path::Path, pem: &[u8], to: &mut Conversion<'_>) -> bool {
    let mut store = RootCertStore::empty();
    let tried = certificates(pem).and_then(|all| {
        all.into_iter().try_for_each(|one| {
            store.add(one).map_err(|e| format!("holds a certificate that cannot be an authority: {e}"))
        })
    });
    match tried {
        Ok(()) => true,
        Err(why) => {
            to.tell(at, format!("{} {why}", path.display()), "name a PEM file of certificates");
            false
        }
    }
}

fn certificate(
    at: &At,
    written: Given<CertificateDoc>,
    to: &mut Conversion<'_>,
) -> Option<ClientCertificate> {
    let Given::Good(_, doc) = to.seen(at, written) else { return None };
    let (chain_at, key_at) = (at.key("chain"), at.key("key"));
    for (at, missing, what) in
        [(&chain_at, doc.chain.is_absent(), "chain"), (&key_at, doc.key.is_absent(), "key")]
    {
        if missing && to.whole {
            to.tell(at, "is missing", format!("name the PEM file of the {what}"));
        }
    }
    let chain = pem(&chain_at, doc.chain, to);
    let key = pem(&key_at, doc.key, to);
    let chain_der = chain.as_ref().and_then(|(path, pem)| match certificates(pem) {
        Ok(all) => Some(all),
        Err(why) => {
            to.tell(
                &chain_at,
                format!("{} {why}", path.display()),
                "name the PEM file of the chain, leaf first",
            );
            None
        }
    });
    let key_der = key.as_ref().and_then(|(path, pem)| match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Some(key),
        Err(e) => {
            let what = format!("{} holds no private key: {e}", path.display());
            to.tell(&key_at, what, "name the PEM file of the key");
            None
        }
    });
    if let Err(why) = belong_together(chain_der?, key_der?) {
        let shown = |file: &Option<(PathBuf, Rc<[u8]>)>| {
            file.as_ref().map(|(path, _)| path.display().to_string()).unwrap_or_default()
        };
        let what = format!("{} and {} do not go together: {why}", shown(&chain), shown(&key));
        to.tell(at, what, "name the key that the first certificate of the chain was made for");
        return None;
    }
    Some(ClientCertificate { chain: chain?.1.as_ref().into(), key: key?.1.as_ref().into() })
}

fn belong_together(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .map(drop)
}

fn identity(tls: &RegionTls) -> u64 {
    let mut all = Sha256::new();
    let chain = tls.certificate.as_ref().map(|certificate| certificate.chain.as_ref());
    let key = tls.certificate.as_ref().map(|certificate| certificate.key.as_ref());
    let (name, by_name) = (tls.server_name.as_bytes(), [u8::from(tls.by_name)]);
    let spiffe_id = tls.spiffe_id.as_deref().map(str::as_bytes);
    for part in [Some(name), Some(&by_name[..]), spiffe_id, tls.ca.as_deref(), chain, key] {
        // The length first, so that no part can run on into the next; none is not empty.
        all.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        all.update(part.unwrap_or_default());
    }
    let digest: [u8; 32] = all.finalize().into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

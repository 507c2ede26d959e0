//! Are the files that the settings name there, and do keys belong to their certificates?
//!
//! Never: says whether a client would believe a certificate; that is for clients to say.

use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::admin::tokens::Tokens;
use crate::keys::Keys;
use crate::problem::Problems;
use crate::settings::{Certificate, ListenerTls, Settings};

/// Every problem of the certificates, keys and other files that `settings` name. The table and its files are not
/// among them.
pub fn check(settings: &Settings) -> Problems {
    let mut problems = Problems::of(&settings.file);
    for tls in settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        own(tls, "listeners.tls", &mut problems);
    }
    if let Some(tls) = &settings.admin.tls {
        own(tls, "admin.tls", &mut problems);
    }
    if let Err(told) = Tokens::read(&settings.admin.token_file) {
        problems.append(told);
    }
    if let Some(database) = &settings.trust.country_database
        && let Err(cause) = contents(database)
    {
        unreadable(database, &cause, "trust.country_database", &mut problems);
    }
    let keys = [&settings.signature.keys_file, &settings.pin.keys_file].into_iter().flatten();
    keys.filter_map(|file| Keys::read(file).err()).for_each(|told| problems.append(told));
    problems
}

fn own(tls: &ListenerTls, named_by: &str, problems: &mut Problems) {
    for certificate in &tls.certificates {
        pair(certificate, named_by, problems);
    }
    if let Some(clients) = &tls.clients {
        authorities(&clients.ca, named_by, problems);
    }
}

fn pair(certificate: &Certificate, named_by: &str, problems: &mut Problems) {
    let chain = chain(&certificate.chain, named_by, problems);
    let key = key(&certificate.key, named_by, problems);
    let (Some(chain), Some(key)) = (chain, key) else { return };
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let what =
                format!("the key does not belong to the certificate in {}", certificate.chain.display());
            tell(&certificate.key, &what, "name the key that the certificate was made for", problems);
        }
        Err(rustls::Error::InvalidCertificate(cause)) => {
            tell(&certificate.chain, &format!("the first certificate is malformed: {cause:?}"), "", problems);
        }
        Err(cause) => {
            let fix = "use an ECDSA, Ed25519 or RSA key in PEM";
            tell(&certificate.key, &format!("the key is not usable: {cause}"), fix, problems);
        }
    }
}

fn chain(file: &Path, named_by: &str, problems: &mut Problems) -> Option<Vec<CertificateDer<'static>>> {
    let pem = pem(file, named_by, problems)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            let fix = "begin with -----BEGIN CERTIFICATE-----, the leaf first";
            tell(file, "no certificate is in it", fix, problems);
            None
        }
        Ok(chain) => Some(chain),
        Err(cause) => {
            tell(file, &format!("it is not PEM: {cause}"), "", problems);
            None
        }
    }
}

fn key(file: &Path, named_by: &str, problems: &mut Problems) -> Option<PrivateKeyDer<'static>> {
    let pem = pem(file, named_by, problems)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => Some(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            tell(file, "no private key is in it", "begin with -----BEGIN PRIVATE KEY-----", problems);
            None
        }
        // The cause may quote the line that it stumbled over.
        Err(_) => {
            tell(file, "it is not PEM", "begin with -----BEGIN PRIVATE KEY-----", problems);
            None
        }
    }
}

fn authorities(file: &Path, named_by: &str, problems: &mut Problems) {
    let Some(chain) = chain(file, named_by, problems) else { return };
    let mut roots = RootCertStore::empty();
    for (turn, authority) in chain.into_iter().enumerate() {
        if let Err(cause) = roots.add(authority) {
            tell(file, &format!("certificate {} cannot be an authority: {cause}", turn + 1), "", problems);
        }
    }
}

fn pem(file: &Path, named_by: &str, problems: &mut Problems) -> Option<Vec<u8>> {
    contents(file).map_err(|cause| unreadable(file, &cause, named_by, problems)).ok()
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a FIFO waits for its writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(no_file());
    }
    std::fs::read(file)
}

fn no_file() -> io::Error {
    io::Error::other("it is not an ordinary file")
}

fn unreadable(file: &Path, cause: &io::Error, key: &str, problems: &mut Problems) {
    tell(
        file,
        &format!("cannot be read: {cause}"),
        &format!("it is named by {key} in the settings"),
        problems,
    );
}

fn tell(file: &Path, what: &str, fix: &str, problems: &mut Problems) {
    let mut there = Problems::of(file);
    there.tell(0, "", what, fix);
    problems.append(there);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::fs;

    fn made() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["app.example".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    /// What is told of a listener with this chain and key, without the folder's name.
    fn told(chain: &str, key: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("chain.pem"), chain).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        let text = r#"
            edge.region = "eu"
            table.path = "routing.toml"
            [[listeners]]
            address = "127.0.0.1:0"
            tls.certificates = [{ chain = "chain.pem", key = "key.pem" }]
            tls.client_ca = "chain.pem"
        "#;
        let settings = Settings::parse(&folder.path().join("rhumb.toml"), text, "host").unwrap();
        let problems = check(&settings);
        let place = |file: &Path| file.file_name().unwrap().to_string_lossy().into_owned();
        let told = problems.list().into_iter().map(|problem| format!("{}: {problem}", place(&problem.file)));
        told.map(|line| line.replace(folder.path().to_str().unwrap(), "")).collect()
    }

    #[test]
    fn a_key_that_belongs_to_its_certificate_is_no_problem() {
        let (chain, key) = made();
        assert_eq!(told(&chain, &key), Vec::<String>::new());
    }

    #[test]
    fn a_key_of_another_certificate_is_told() {
        let ((chain, _), (_, other)) = (made(), made());
        assert_eq!(
            told(&chain, &other),
            ["key.pem: the key does not belong to the certificate in /chain.pem; \
              name the key that the certificate was made for"]
        );
    }

    #[test]
    fn files_without_what_they_should_hold_are_told_each() {
        assert_eq!(
            told("", "nothing\n"),
            [
                "chain.pem: no certificate is in it; begin with -----BEGIN CERTIFICATE-----, the leaf first",
                "chain.pem: no certificate is in it; begin with -----BEGIN CERTIFICATE-----, the leaf first",
                "key.pem: no private key is in it; begin with -----BEGIN PRIVATE KEY-----",
            ]
        );
    }

    #[test]
    fn a_named_file_that_is_not_there_or_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let text = "edge.region = \"eu\"\ntable.path = \"t\"\nadmin.token_file = \"none\"\n\
                    trust.country_database = \".\"\nlisteners = [{ address = \"127.0.0.1:0\" }]\n";
        let settings = Settings::parse(&folder.path().join("rhumb.toml"), text, "host").unwrap();
        let told: Vec<_> = check(&settings).list().into_iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "cannot be read: No such file or directory (os error 2); it is named by admin.token_file in the settings",
                "cannot be read: it is not an ordinary file; it is named by trust.country_database in the settings",
            ]
        );
    }
}

//! PEM files: chains of certificates and private keys, read from ordinary files of a size that makes sense.
//!
//! Never: says anything of a key's text, or waits for a FIFO.

use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// No chain, key or bundle of authorities is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// The bytes of an ordinary file.
///
/// # Errors
/// A sentence that names the file.
pub fn file(path: &Path) -> Result<Vec<u8>, String> {
    let told = |cause: io::Error| format!("{}: cannot be read: {cause}", path.display());
    // Asked before opening: to open a FIFO waits for its writer.
    if !std::fs::metadata(path).map_err(told)?.is_file() {
        return Err(format!("{}: is not an ordinary file", path.display()));
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read.map_err(told)? as u64 {
        0..=LONGEST => Ok(bytes),
        _ => Err(format!("{}: is longer than a file of certificates may be", path.display())),
    }
}

/// The certificates of a PEM text, at least one.
///
/// # Errors
/// What is wrong with it, for a sentence that begins with the file.
pub fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("holds no certificate in PEM".into()),
        Ok(chain) => Ok(chain),
        Err(cause) => Err(format!("is no PEM: {cause}")),
    }
}

/// The private key of a PEM text.
///
/// # Errors
/// As [`chain`].
pub fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // The cause may quote the line that it stumbled over.
    PrivateKeyDer::from_pem_slice(text).map_err(|_| "holds no private key in PEM".into())
}

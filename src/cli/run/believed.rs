//! Whom a gateway believes, as the settings name it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::Failure;
use crate::keys::KeyStore;
use crate::proxy::server::Believed;
use crate::settings::{Gateway, Role, Settings};

/// Whom the settings let a gateway believe; `None`: this process is an edge. A file that it signs by as well is read once.
///
/// Errors: everything that is wrong with the file of keys.
pub fn open(settings: &Settings, signing: Option<&Arc<KeyStore>>) -> Result<Option<Believed>, Failure> {
    if settings.edge.role != Role::Gateway {
        return Ok(None);
    }
    let Gateway { edges, keys_file } = &settings.gateway;
    let open = |path: &PathBuf| match signing.filter(|keys| keys.path() == path) {
        Some(same) => Ok(Arc::clone(same)),
        None => KeyStore::open(path).map(Arc::new),
    };
    let keys = keys_file.as_ref().map(open).transpose()?;
    if let Some(keys) = &keys {
        tracing::info!("edges are believed that sign with one of these keys: {}", keys.keys().names());
    }
    Ok(Some(Believed { edges: edges.clone(), keys }))
}

/// Each key file once.
pub fn files(signing: Option<&Arc<KeyStore>>, believed: Option<&Believed>) -> Vec<Arc<KeyStore>> {
    let believed = believed.and_then(|believed| believed.keys.as_ref());
    let other = believed.filter(|keys| !signing.is_some_and(|signing| Arc::ptr_eq(signing, keys)));
    signing.into_iter().chain(other).cloned().collect()
}

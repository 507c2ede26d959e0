//! The keys that sign what is sent to regions, and those that a gateway believes edges by: read at a start, and again at
//! a SIGHUP and when their file changes.
//!
//! Never: leaves an edge that is to sign, or a gateway that is to check, without a key.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Failure;
use crate::control::source;
use crate::keys::{KeyStore, Reread};
use crate::proxy::server::Believed;
use crate::settings::{Gateway, Role, Settings, Signature};
use crate::telemetry::Recorder;

/// The keys that the settings name, if they name any.
///
/// Errors: everything that is wrong with their file.
pub fn open(settings: &Signature) -> Result<Option<Arc<KeyStore>>, Failure> {
    let Some(path) = &settings.keys_file else { return Ok(None) };
    let keys = KeyStore::open(path)?;
    tracing::info!("requests to regions are signed; keys: {}; the first signs", keys.keys().names());
    Ok(Some(Arc::new(keys)))
}

/// Whom a gateway believes; `None`: this process is an edge. A file that it signs by as well is read once.
///
/// Errors: everything that is wrong with the file of keys.
pub fn believed(settings: &Settings, signing: Option<&Arc<KeyStore>>) -> Result<Option<Believed>, Failure> {
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

/// Reads the keys again, and says what came of it.
pub fn reread(keys: &KeyStore, recorder: &Recorder) {
    match keys.reload() {
        Ok(Reread::Unchanged) => {}
        Ok(Reread::Taken) => {
            recorder.signature_keys_read("taken");
            tracing::info!("signature keys taken: {}; the first signs", keys.keys().names());
        }
        Err(problems) => {
            recorder.signature_keys_read("refused");
            tracing::error!("signature keys were not taken, the old ones stay\n{problems}");
        }
    }
}

/// Reads the keys again whenever their file has changed, for as long as the process lives.
pub async fn follow(keys: Arc<KeyStore>, recorder: Recorder) {
    let paths: Arc<[PathBuf]> = Arc::from([keys.path().to_path_buf()]);
    // The sender is held: the watch ends when nobody can name another file.
    let (_named, named) = watch::channel(paths);
    let (changed, mut was_changed) = mpsc::channel(1);
    let reading = async {
        while was_changed.recv().await.is_some() {
            reread(&keys, &recorder);
        }
    };
    tokio::join!(source::run(named, changed), reading);
}

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
use crate::settings::Signature;
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

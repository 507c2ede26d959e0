//! The keys that sign what is sent to regions, those that a gateway believes edges by, and those that sign the pins of
//! clients: read at a start, and again at
//! a SIGHUP and when their file changes.
//!
//! Never: leaves an edge that is to sign, or a gateway that is to check, without a key.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Failure;
use crate::control::source;
use crate::keys::{KeyStore, Reread};
use crate::settings::{Settings, Signature};
use crate::telemetry::Recorder;

/// The keys' file in the state folder, where the settings name none for pins.
const PINS: &str = "pin.keys";

/// What keys are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// They sign requests to regions.
    Signature,
    /// They sign the pins of clients.
    Pins,
}

/// The keys that the settings name for requests, if they name any.
///
/// Errors: everything that is wrong with their file.
pub fn open(settings: &Signature) -> Result<Option<Arc<KeyStore>>, Failure> {
    let Some(path) = &settings.keys_file else { return Ok(None) };
    let keys = KeyStore::open(path)?;
    tracing::info!("requests to regions are signed; keys: {}; the first signs", keys.keys().names());
    Ok(Some(Arc::new(keys)))
}

/// The keys for pins: those that the settings name, else those in the state folder, made when they are first needed.
///
/// Errors: everything that is wrong with their file.
pub fn open_pins(settings: &Settings) -> Result<Arc<KeyStore>, Failure> {
    let keys = match &settings.pin.keys_file {
        Some(path) => KeyStore::open(path)?,
        None => KeyStore::open_or_make(&settings.state.dir.join(PINS))?,
    };
    Ok(Arc::new(keys))
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature keys",
            Self::Pins => "pin keys",
        }
    }

    fn count(self, recorder: &Recorder, outcome: &'static str) {
        match self {
            Self::Signature => recorder.signature_keys_read(outcome),
            Self::Pins => recorder.pin_keys_read(outcome),
        }
    }

    /// Reads the keys again, and says what came of it.
    pub fn reread(self, keys: &KeyStore, recorder: &Recorder) {
        match keys.reload() {
            Ok(Reread::Unchanged) => {}
            Ok(Reread::Taken) => {
                self.count(recorder, "taken");
                tracing::info!("{} taken: {}; the first signs", self.name(), keys.keys().names());
            }
            Err(problems) => {
                self.count(recorder, "refused");
                tracing::error!("{} were not taken, the old ones stay\n{problems}", self.name());
            }
        }
    }

    /// Reads the keys again whenever their file has changed, for as long as the process lives.
    pub async fn follow(self, keys: Arc<KeyStore>, recorder: Recorder) {
        let paths: Arc<[PathBuf]> = Arc::from([keys.path().to_path_buf()]);
        // The sender is held: the watch ends when nobody can name another file.
        let (_named, named) = watch::channel(paths);
        let (changed, mut was_changed) = mpsc::channel(1);
        let reading = async {
            while was_changed.recv().await.is_some() {
                self.reread(&keys, &recorder);
            }
        };
        tokio::join!(source::run(named, changed), reading);
    }
}

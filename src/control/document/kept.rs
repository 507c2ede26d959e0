//! `kept.json`: which copy in a folder stands for which path, and the hash of them all.
//!
//! It is written last, so a folder without it holds nothing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The list's name within its folder.
pub(super) const LIST: &str = "kept.json";

/// A list longer than this is none of ours.
const LONGEST: u64 = 16 << 20;

/// What stands in `kept.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptFiles {
    /// As [`super::Document::hash`].
    pub hash: String,
    /// The files in the order in which they were read; the first is the TOML.
    pub files: Vec<KeptFile>,
}

/// One copy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptFile {
    /// The path that it stands for, as it was named.
    pub path: PathBuf,
    /// Its name within the folder.
    pub copy: String,
}

impl KeptFiles {
    /// Writes the list, durably.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(LIST))?;
        file.write_all(&text)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    /// Reads the list.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(folder.join(LIST))?.take(LONGEST).read_to_end(&mut text)?;
        let list: Self = serde_json::from_slice(&text)?;
        let plain = |copy: &str| Path::new(copy).file_name().is_some_and(|name| name == copy);
        match list.files.iter().find(|file| !plain(&file.copy)) {
            Some(odd) => Err(io::Error::other(format!("{:?} is no file of the folder", odd.copy))),
            None => Ok(list),
        }
    }

    /// The copies by the path that each stands for.
    pub fn by_path(&self, folder: &Path) -> BTreeMap<PathBuf, PathBuf> {
        self.files.iter().map(|file| (file.path.clone(), folder.join(&file.copy))).collect()
    }
}

//! The files of a journal: their names, and the checkpoint.
//!
//! Never: a file that others can read; a checkpoint that is half written.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::line::{Hash, seal, unseal, version};
use super::{FORMAT, JournalError, LARGEST_CHECKPOINT, TORN_KEPT};

const CHECKPOINT: &str = "checkpoint.json";
const SEGMENT: &str = ".jsonl";
const TORN: &str = "torn-";

/// The folder of a journal.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
}

/// A place in the chain: an entry and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub seq: u64,
    pub hash: Hash,
}

impl Link {
    /// Before the first entry of all.
    pub(super) const START: Self = Self { seq: 0, hash: Hash::NONE };
}

/// What a checkpoint says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Checkpoint {
    /// The last entry that `state` has in it.
    pub at: Link,
    /// The revision then.
    pub revision: u64,
    /// The last entry that is no longer kept.
    pub gone: Link,
    /// What all entries up to `at` come to.
    pub state: Value,
    /// Whether it is as it was written.
    pub sound: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doc {
    v: u64,
    seq: u64,
    seq_hash: String,
    revision: u64,
    gone: u64,
    gone_hash: String,
    state: Value,
    #[serde(skip_serializing, default, rename = "hash")]
    _hash: String,
}

impl Shelf {
    pub(super) fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("journal") }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, for its owner alone.
    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if self.folder.metadata()?.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        }
        if let Some(above) = self.folder.parent() {
            File::open(above)?.sync_all()?;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    pub(super) fn name(first: u64) -> String {
        format!("{first:020}{SEGMENT}")
    }

    pub(super) fn path(&self, first: u64) -> PathBuf {
        self.folder.join(Self::name(first))
    }

    /// The numbers of the first entries of all segments, lowest first; none where there is no folder.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for name in self.names()? {
            let number = name.strip_suffix(SEGMENT).filter(|digits| digits.len() == 20);
            found.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let listing = match std::fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let mut names = Vec::new();
        for entry in listing {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A segment to append to; a new one is on the disk, with its name, when this returns.
    pub(super) fn append_to(&self, first: u64) -> io::Result<File> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(first))?;
        file.sync_all()?;
        self.sync()?;
        Ok(file)
    }

    pub(super) fn remove(&self, first: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(first))
    }

    /// Keeps what was torn off before entry `seq`, beside the few that were torn off before it.
    pub(super) fn keep_aside(&self, seq: u64, torn: &[u8]) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("{TORN}{seq:020}"));
        self.put(&path, torn)?;
        let mut kept = self.names()?;
        kept.retain(|name| name.starts_with(TORN) && !name.ends_with(".new"));
        for old in kept.iter().rev().skip(TORN_KEPT) {
            std::fs::remove_file(self.folder.join(old))?;
        }
        Ok(path)
    }

    /// Writes a file whole, or leaves the one that is there.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&fresh, path));
        if written.is_err() {
            // On a full disk it would take room from what comes next.
            let _ = std::fs::remove_file(&fresh);
        }
        written?;
        self.sync()
    }

    pub(super) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let doc = Doc {
            v: FORMAT,
            seq: checkpoint.at.seq,
            seq_hash: checkpoint.at.hash.to_string(),
            revision: checkpoint.revision,
            gone: checkpoint.gone.seq,
            gone_hash: checkpoint.gone.hash.to_string(),
            state: checkpoint.state.clone(),
            _hash: String::new(),
        };
        let (mut sealed, _) = seal(&serde_json::to_string(&doc)?, Hash::NONE);
        let too_much = sealed.len() as u64 >= LARGEST_CHECKPOINT;
        if too_much || parse(sealed.as_bytes()).is_err() {
            let why =
                if too_much { "the state is too large to keep" } else { "the state would not read back" };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        sealed.push('\n');
        self.put(&self.checkpoint_path(), sealed.as_bytes())
    }

    pub(super) fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    /// The checkpoint; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be opened, or cannot be understood: the inner error says why, in words.
    pub(super) fn checkpoint(&self) -> Result<Option<Result<Checkpoint, String>>, JournalError> {
        let path = self.checkpoint_path();
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(JournalError::at(&path))?,
        };
        let mut text = Vec::new();
        file.take(LARGEST_CHECKPOINT).read_to_end(&mut text).map_err(JournalError::at(&path))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        match version(text) {
            Ok(found) if found > FORMAT => Err(JournalError::Newer { path, found }),
            _ => Ok(Some(parse(text))),
        }
    }
}

fn parse(text: &[u8]) -> Result<Checkpoint, String> {
    let doc: Doc = serde_json::from_slice(text).map_err(|e| format!("it cannot be read: {e}"))?;
    let hash = |digits: &str| Hash::parse(digits).ok_or_else(|| format!("{digits:?} is no hash"));
    Ok(Checkpoint {
        at: Link { seq: doc.seq, hash: hash(&doc.seq_hash)? },
        revision: doc.revision,
        gone: Link { seq: doc.gone, hash: hash(&doc.gone_hash)? },
        state: doc.state,
        sound: unseal(text).is_some_and(|(body, hash)| Hash::NONE.then(body) == hash),
    })
}

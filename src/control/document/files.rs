//! Reads the files of a table: ordinary ones only, hashed and copied as they are read.
//!
//! Never: waits for a FIFO or a device, takes a file that changed under its hands, or holds a CSV in memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::kept::{KeptFile, KeptFiles};

/// Why a file gives nothing.
#[derive(Debug)]
pub(super) struct Wrong {
    /// What is wrong.
    pub what: String,
    /// What to do instead; may be empty.
    pub fix: &'static str,
}

fn wrong(what: impl Into<String>, fix: &'static str) -> Wrong {
    Wrong { what: what.into(), fix }
}

/// What a file is for, and so how large it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Tenants,
    Pem,
}

impl Kind {
    const fn limit(self) -> (u64, &'static str, &'static str) {
        match self {
            Self::Table => (64 << 20, "64 MiB", "put the tenants into a CSV, named in tenancy.files"),
            Self::Tenants => (4 << 30, "4 GiB", "split it"),
            Self::Pem => (1 << 20, "1 MiB", "name a PEM file"),
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Table => "toml",
            Self::Tenants => "csv",
            Self::Pem => "pem",
        }
    }
}

/// Where files are read.
pub(super) enum Origin {
    /// Where they are named.
    Disk,
    /// From copies, by the path that each stands for.
    Kept(BTreeMap<PathBuf, PathBuf>),
    /// Nowhere: a text alone was given.
    Nowhere,
}

/// All the files of one reading.
pub(super) struct Files {
    origin: Origin,
    copies: Option<Copies>,
    mentioned: Vec<PathBuf>,
    digests: Vec<[u8; 32]>,
    pems: HashMap<PathBuf, Rc<[u8]>>,
}

struct Copies {
    folder: PathBuf,
    files: Vec<KeptFile>,
    failed: Option<String>,
}

impl Files {
    /// Reads from `origin`; with `copy_to`, an empty folder, copies all that is read.
    pub fn new(origin: Origin, copy_to: Option<&Path>) -> Self {
        let copies =
            copy_to.map(|folder| Copies { folder: folder.to_path_buf(), files: Vec::new(), failed: None });
        Self { origin, copies, mentioned: Vec::new(), digests: Vec::new(), pems: HashMap::new() }
    }

    /// Every file that was asked for, there or not.
    pub fn mentioned(&self) -> Vec<PathBuf> {
        self.mentioned.clone()
    }

    /// Notes that the table names a file, even if it is not read.
    pub fn mention(&mut self, path: &Path) {
        if !self.mentioned.iter().any(|known| known == path) {
            self.mentioned.push(path.to_path_buf());
        }
    }

    /// Where the text of `path` really stands.
    pub fn real(&self, path: &Path) -> PathBuf {
        match &self.origin {
            Origin::Kept(copies) => copies.get(path).cloned().unwrap_or_else(|| path.to_path_buf()),
            Origin::Disk | Origin::Nowhere => path.to_path_buf(),
        }
    }

    /// SHA-256, in hex, of the list of what `sha256sum` says of each file, in the order in which they were read: the
    /// TOML, PEM files by region, CSV files as listed.
    pub fn hash(&self) -> String {
        let mut all = Sha256::new();
        for digest in &self.digests {
            all.update(hex(digest));
            all.update("\n");
        }
        hex(&all.finalize())
    }

    /// Writes down which copy stands for which path, once everything was read. `Some`: why there is no such list.
    pub fn keep(self) -> Option<String> {
        let hash = self.hash();
        let copies = self.copies?;
        let failed = match copies.failed {
            Some(failed) => Some(failed),
            None => {
                KeptFiles { hash, files: copies.files }.write(&copies.folder).err().map(|e| e.to_string())
            }
        };
        failed.map(|why| format!("no copy in {}: {why}", copies.folder.display()))
    }

    /// The whole text of the table.
    pub fn table(&mut self, path: &Path) -> Result<Vec<u8>, Wrong> {
        self.whole(path, Kind::Table)
    }

    /// A PEM file, read once however often it is named.
    pub fn pem(&mut self, path: &Path) -> Result<Rc<[u8]>, Wrong> {
        if let Some(known) = self.pems.get(path) {
            return Ok(Rc::clone(known));
        }
        let text: Rc<[u8]> = self.whole(path, Kind::Pem)?.into();
        self.pems.insert(path.to_path_buf(), Rc::clone(&text));
        Ok(text)
    }

    fn whole(&mut self, path: &Path, kind: Kind) -> Result<Vec<u8>, Wrong> {
        let mut stream = self.open(path, kind)?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).map_err(|e| unreadable(path, &e))?;
        self.done(stream)?;
        Ok(text)
    }

    /// Opens a file to be read as a stream, to its end, and then given to [`Self::done`].
    pub fn open(&mut self, path: &Path, kind: Kind) -> Result<BufReader<Stream>, Wrong> {
        self.mention(path);
        let real = match &self.origin {
            Origin::Disk => path.to_path_buf(),
            Origin::Nowhere => return Err(wrong("names a file, and a text alone was given", "leave it out")),
            Origin::Kept(copies) => match copies.get(path) {
                Some(copy) => copy.clone(),
                None => return Err(wrong(format!("there is no copy of {}", path.display()), "")),
            },
        };
        let (file, before) = open(&real, kind)?;
        let copy = self.copies.as_mut().and_then(|copies| copies.begin(path, kind));
        let (limit, ..) = kind.limit();
        let stream = Stream {
            path: path.to_path_buf(),
            file,
            before,
            kind,
            left: limit,
            length: 0,
            digest: Sha256::new(),
            copy,
            failed: None,
        };
        Ok(BufReader::with_capacity(256 << 10, stream))
    }

    /// Takes a stream that was read to its end.
    pub fn done(&mut self, stream: BufReader<Stream>) -> Result<(), Wrong> {
        let mut stream = stream.into_inner();
        let path = &stream.path;
        let after = stream.file.metadata().map_err(|e| unreadable(path, &e))?;
        let print = |m: &Metadata| (m.size(), m.mtime(), m.mtime_nsec());
        // What lies in /proc and the like has no size, so only an ordinary size is held against what was read.
        let cut = after.size() > 0 && after.size() != stream.length;
        if cut || print(&after) != print(&stream.before) {
            let what = format!("{} changed while it was read", path.display());
            return Err(wrong(what, "write a new file and rename it over the old one"));
        }
        if let (Some(copy), None) = (&stream.copy, &stream.failed) {
            stream.failed = copy.sync_all().err();
        }
        if let (Some(copies), Some(failed)) = (&mut self.copies, stream.failed) {
            copies.failed.get_or_insert(failed.to_string());
        }
        self.digests.push(stream.digest.finalize().into());
        Ok(())
    }
}

impl Copies {
    /// The file to copy `path` into. Holds private keys as well, so it is for nobody else.
    fn begin(&mut self, path: &Path, kind: Kind) -> Option<File> {
        let copy = format!("{}.{}", self.files.len(), kind.suffix());
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join(&copy));
        self.files.push(KeptFile { path: path.to_path_buf(), copy });
        made.map_err(|e| self.failed.get_or_insert(e.to_string()).clone()).ok()
    }
}

/// A file that is hashed and copied as it is read.
pub(super) struct Stream {
    path: PathBuf,
    file: File,
    before: Metadata,
    kind: Kind,
    left: u64,
    length: u64,
    digest: Sha256,
    copy: Option<File>,
    failed: Option<io::Error>,
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        let new = into.get(..count).unwrap_or_default();
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let (_, limit, _) = self.kind.limit();
            io::Error::other(format!("it is larger than {limit}"))
        })?;
        self.length += count as u64;
        self.digest.update(new);
        if let (Some(copy), None) = (&mut self.copy, &self.failed) {
            self.failed = copy.write_all(new).err();
        }
        Ok(count)
    }
}

/// Opens an ordinary file that is not too large.
fn open(path: &Path, kind: Kind) -> Result<(File, Metadata), Wrong> {
    // Asked before opening: to open some devices does something.
    let there = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    ordinary(path, there.file_type())?;
    // And a FIFO may have taken its place: to open one would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| unreadable(path, &e))?;
    let opened = file.metadata().map_err(|e| unreadable(path, &e))?;
    ordinary(path, opened.file_type())?;
    let (limit, shown, fix) = kind.limit();
    if opened.size() > limit {
        return Err(wrong(format!("{} is larger than {shown}", path.display()), fix));
    }
    Ok((file, opened))
}

fn ordinary(path: &Path, kind: FileType) -> Result<(), Wrong> {
    let noun = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(wrong(format!("{} is {noun}", path.display()), "name an ordinary file"))
}

/// What is told of a file that cannot be read.
pub(super) fn unreadable(path: &Path, cause: &io::Error) -> Wrong {
    match cause.kind() {
        io::ErrorKind::NotFound => wrong(format!("there is no file {}", path.display()), ""),
        _ => wrong(format!("{} cannot be read: {cause}", path.display()), ""),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(in crate::control) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

//! The folder of one edge: its settings, its table, its state.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is gone with this value.
pub struct Folder(TempDir);

impl Folder {
    /// An empty one.
    pub fn new() -> Folder {
        Folder(tempfile::Builder::new().prefix("rhumb-test-").tempdir().unwrap())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in place.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// Writes a file beside, and renames it over.
    pub fn rename_over(&self, name: &str, text: impl AsRef<[u8]>) {
        let new = self.file(&format!(".{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file(name)).unwrap();
    }

    /// Makes `name` a link to `..data/name`, where `..data` is a link to a folder: as Kubernetes mounts a ConfigMap.
    /// A second call swaps `..data`.
    pub fn swap_link(&self, name: &str, text: impl AsRef<[u8]>) {
        let version = tempfile::Builder::new().prefix("..v").tempdir_in(self.path()).unwrap().keep();
        std::fs::write(version.join(name), text).unwrap();
        let new = self.file("..data_tmp");
        std::os::unix::fs::symlink(version.file_name().unwrap(), &new).unwrap();
        std::fs::rename(new, self.file("..data")).unwrap();
        if !self.file(name).is_symlink() {
            let _ = std::fs::remove_file(self.file(name));
            std::os::unix::fs::symlink(format!("..data/{name}"), self.file(name)).unwrap();
        }
    }
}

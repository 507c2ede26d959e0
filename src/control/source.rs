//! Sees that the table's files changed: however they were written, and only once they are quiet.
//!
//! File-system events make it quick; a slow poll makes it sure. What counts is what `stat` says of each file after
//! following links, so a write in place, a rename over and a swapped link all look alike.
//!
//! Never: reads a file, or takes one that is still being written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long a file must not have changed before it is read.
const QUIET: Duration = Duration::from_millis(100);

/// The longest between two looks, where no event comes: with [`QUIET`] twice, within a second.
const POLL: Duration = Duration::from_millis(700);

/// What `stat` says of one file; `None`: there is none.
type Print = Option<(u64, u64, u64, i64, i64, i64)>;

fn print(path: &Path) -> Print {
    let of =
        |m: Metadata| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime_nsec() ^ m.ctime());
    std::fs::metadata(path).ok().map(of)
}

/// Watches the files of a table.
pub struct Files {
    paths: Vec<PathBuf>,
    seen: Vec<Print>,
    events: mpsc::Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Files {
    /// Watches `paths`, as they are now. Where the system gives no events, the poll alone serves.
    #[must_use]
    pub fn watch(paths: Vec<PathBuf>) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
            // One token is enough: it means "look".
            let _ = sender.try_send(());
        });
        let watcher =
            watcher.inspect_err(|e| tracing::warn!("no file-system events, polling alone: {e}")).ok();
        let mut files = Self { paths: Vec::new(), seen: Vec::new(), events, watcher, watched: Vec::new() };
        files.now(paths);
        files
    }

    /// Watches these from now on, as they are now.
    pub fn now(&mut self, paths: Vec<PathBuf>) {
        self.paths = paths;
        self.seen = self.prints();
        let folders = folders(&self.paths);
        if let Some(watcher) = &mut self.watcher {
            for gone in self.watched.iter().filter(|folder| !folders.contains(folder)) {
                // A folder that vanished is not watched any more anyway.
                let _ = watcher.unwatch(gone);
            }
            for new in folders.iter().filter(|folder| !self.watched.contains(folder)) {
                if let Err(e) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::debug!("no file-system events from {}: {e}", new.display());
                }
            }
        }
        self.watched = folders;
    }

    /// Waits until a file has changed and all have been quiet. Safe to cancel.
    pub async fn changed(&mut self) {
        loop {
            if self.prints() == self.seen {
                // Either an event or the poll's turn: look again.
                let _ = timeout(POLL, self.events.recv()).await;
                continue;
            }
            let before = self.prints();
            sleep(QUIET).await;
            if self.prints() == before {
                self.seen = before;
                return;
            }
        }
    }

    fn prints(&self) -> Vec<Print> {
        self.paths.iter().map(|path| print(path)).collect()
    }
}

/// The folders in which a change of `paths` can show: their own, and those that their links lead through.
fn folders(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folders.iter().any(|known| known == parent) {
            folders.push(parent.to_path_buf());
        }
    };
    for path in paths {
        add(path);
        if let Ok(real) = path.canonicalize() {
            add(&real);
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn notices(files: &mut Files, change: impl FnOnce()) -> bool {
        change();
        timeout(Duration::from_secs(20), files.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_of_changing_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("t.toml"), "one").unwrap();
        let mut files = Files::watch(vec![at("t.toml")]);
        assert!(notices(&mut files, || std::fs::write(at("t.toml"), "two!").unwrap()).await, "in place");
        assert!(
            notices(&mut files, || {
                std::fs::write(at("new"), "three").unwrap();
                std::fs::rename(at("new"), at("t.toml")).unwrap();
            })
            .await,
            "renamed over"
        );
        assert!(notices(&mut files, || std::fs::remove_file(at("t.toml")).unwrap()).await, "vanished");
        assert!(notices(&mut files, || std::fs::create_dir(at("t.toml")).unwrap()).await, "a directory now");
    }

    #[tokio::test]
    async fn a_swapped_link_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..v1", "..v2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("t.toml"), version).unwrap();
        }
        std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/t.toml", at("t.toml")).unwrap();
        let mut files = Files::watch(vec![at("t.toml")]);
        let swap = || {
            std::os::unix::fs::symlink("..v2", at("..tmp")).unwrap();
            std::fs::rename(at("..tmp"), at("..data")).unwrap();
        };
        assert!(notices(&mut files, swap).await);
    }

    #[tokio::test]
    async fn a_file_that_is_left_alone_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, "one").unwrap();
        let mut files = Files::watch(vec![path]);
        tokio::time::pause();
        assert!(timeout(Duration::from_secs(60), files.changed()).await.is_err());
    }
}

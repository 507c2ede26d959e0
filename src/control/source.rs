//! Sees that the table's files changed: however they were written, and only once they are quiet.
//!
//! File-system events make it quick; a slow poll makes it sure. What counts is what `stat` says of each file after
//! following links, so a write in place, a rename over and a swapped link all look alike.
//!
//! Never: reads a file, or takes one that is still being written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

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

/// Watches the files that `paths` names, and tells `changed` of every change, as long as both ends are held.
///
/// A file that is named anew counts as changed: whoever read it may have read it a moment before it changed.
pub async fn run(mut paths: watch::Receiver<Arc<[PathBuf]>>, changed: mpsc::Sender<()>) {
    let mut files = Files::new();
    loop {
        let named = Arc::clone(&paths.borrow_and_update());
        files.follow(&named);
        tokio::select! {
            more = paths.changed() => if more.is_err() { return },
            () = files.changed() => if changed.send(()).await.is_err() { return },
        }
    }
}

/// The files of a table, as they were when they were last told of.
struct Files {
    seen: Vec<(PathBuf, Option<Print>)>,
    /// What they are like now, and since when.
    settling: Option<(Vec<Print>, Instant)>,
    events: mpsc::Receiver<()>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Files {
    /// No files yet. Where the system gives no events, the poll alone serves.
    fn new() -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
            // One token is enough: it means "look".
            let _ = sender.try_send(());
        });
        let watcher =
            watcher.inspect_err(|e| tracing::warn!("no file-system events, polling alone: {e}")).ok();
        Self { seen: Vec::new(), settling: None, events, watcher, watched: Vec::new() }
    }

    /// Watches these from now on; what is known of those that it watched already stays.
    fn follow(&mut self, paths: &[PathBuf]) {
        let known = std::mem::take(&mut self.seen);
        let print =
            |path: &PathBuf| known.iter().find(|(known, _)| known == path).and_then(|(_, print)| *print);
        self.seen = paths.iter().map(|path| (path.clone(), print(path))).collect();
        let folders = folders(paths);
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
    async fn changed(&mut self) {
        loop {
            let now: Vec<Print> = self.seen.iter().map(|(path, _)| print(path)).collect();
            if self.seen.iter().map(|(_, print)| *print).eq(now.iter().copied().map(Some)) {
                self.settling = None;
                // Either an event or the poll's turn: look again.
                let _ = timeout(POLL, self.events.recv()).await;
                continue;
            }
            match &self.settling {
                Some((before, since)) if *before == now => {
                    if since.elapsed() >= QUIET {
                        for ((_, seen), now) in self.seen.iter_mut().zip(now) {
                            *seen = Some(now);
                        }
                        self.settling = None;
                        return;
                    }
                    sleep_until(*since + QUIET).await;
                }
                _ => self.settling = Some((now, Instant::now())),
            }
        }
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

    /// Files that have been told of once, as after the first reading.
    async fn watching(path: PathBuf) -> Files {
        let mut files = Files::new();
        files.follow(&[path]);
        timeout(PATIENCE, files.changed()).await.unwrap();
        files
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn notices(files: &mut Files, change: impl FnOnce()) -> bool {
        change();
        timeout(PATIENCE, files.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_of_changing_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("t.toml"), "one").unwrap();
        let mut files = watching(at("t.toml")).await;
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
        let mut files = watching(at("t.toml")).await;
        let swap = || {
            std::os::unix::fs::symlink("..v2", at("..tmp")).unwrap();
            std::fs::rename(at("..tmp"), at("..data")).unwrap();
        };
        assert!(notices(&mut files, swap).await);
    }

    #[tokio::test]
    async fn a_change_is_seen_however_often_the_wait_is_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, "one").unwrap();
        let mut files = watching(path.clone()).await;
        std::fs::write(&path, "two!").unwrap();
        let cut_short = async { while timeout(QUIET / 10, files.changed()).await.is_err() {} };
        timeout(PATIENCE, cut_short).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_left_alone_is_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, "one").unwrap();
        let mut files = watching(path).await;
        tokio::time::pause();
        assert!(timeout(Duration::from_secs(60), files.changed()).await.is_err());
    }
}

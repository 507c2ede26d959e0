use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::Command;

use super::super::tape::Medium;
use super::*;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// A write takes no byte.
    Full,
    /// A write takes so many bytes, and the next one none.
    Short(usize),
    /// A write is interrupted, and the next one takes a single byte.
    Interrupted,
    ReadOnly,
    Sync,
    Cut,
}

thread_local! {
    /// What goes wrong next; the calls that do not fit it go well.
    static PLAN: RefCell<VecDeque<Wrong>> = const { RefCell::new(VecDeque::new()) };
}

/// A file on which things go wrong as planned.
#[derive(Debug)]
struct Failing(File);

fn planned(fits: impl Fn(Wrong) -> bool) -> Option<Wrong> {
    PLAN.with_borrow_mut(|plan| plan.pop_front_if(|wrong| fits(*wrong)))
}

impl Medium for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match planned(|wrong| !matches!(wrong, Wrong::Sync | Wrong::Cut)) {
            None => Medium::write(&mut self.0, bytes),
            Some(Wrong::Short(length)) => {
                PLAN.with_borrow_mut(|plan| plan.push_front(Wrong::Full));
                Medium::write(&mut self.0, &bytes[..length.min(bytes.len())])
            }
            Some(Wrong::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
            Some(Wrong::ReadOnly) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let wrong = planned(|wrong| matches!(wrong, Wrong::Sync));
        wrong.map_or_else(|| self.0.sync_all(), |_| Err(io::Error::other("the disk is ill")))
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let wrong = planned(|wrong| matches!(wrong, Wrong::Cut));
        wrong.map_or_else(|| self.0.set_len(length), |_| Err(io::Error::other("the disk is ill")))
    }
}

/// A journal of three entries whose next calls go wrong as planned.
fn failing(plan: &[Wrong]) -> (tempfile::TempDir, FileJournal) {
    let folder = tempfile::tempdir().unwrap();
    let opened = FileJournal::open_on(folder.path(), TIGHT, |file| Box::new(Failing(file))).unwrap();
    let mut journal = opened.journal;
    append_to(&mut journal, 3);
    PLAN.set(plan.iter().copied().collect());
    (folder, journal)
}

fn bytes(dir: &Path) -> Vec<u8> {
    segments(dir).iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn a_write_that_fails_leaves_nothing_and_the_next_one_succeeds() {
    let shorts = (0..500).step_by(7).map(Wrong::Short);
    for wrong in [Wrong::Full, Wrong::ReadOnly].into_iter().chain(shorts) {
        let (folder, mut journal) = failing(&[wrong]);
        let before = bytes(folder.path());
        match journal.append(record(4)) {
            Err(AppendError::Failed(_)) => assert_eq!(bytes(folder.path()), before, "after {wrong:?}"),
            // So many bytes are the whole line.
            other => assert!(other.is_ok() && matches!(wrong, Wrong::Short(300..)), "{wrong:?}: {other:?}"),
        }
        PLAN.take();
        append_to(&mut journal, 6);
        let opened = open(folder.path());
        assert_eq!((folded(&opened.replay), opened.broken, opened.torn), (sum_to(6), Vec::new(), None));
    }
}

#[test]
fn a_write_that_is_interrupted_goes_on() {
    let (folder, mut journal) = failing(&[Wrong::Interrupted, Wrong::Interrupted]);
    append_to(&mut journal, 4);
    assert!(PLAN.take().is_empty());
    assert_eq!(folded(&open(folder.path()).replay), sum_to(4));
}

#[test]
fn half_a_line_that_cannot_be_cut_off_closes_the_journal_until_it_is_opened_anew() {
    for plan in [[Wrong::Short(40), Wrong::Cut], [Wrong::Short(40), Wrong::Sync]] {
        let (folder, mut journal) = failing(&plan);
        assert!(matches!(journal.append(record(4)), Err(AppendError::Unsure(_))));
        assert!(PLAN.take().is_empty(), "all of it went wrong");
        let before = bytes(folder.path());
        let closed = journal.append(record(4)).unwrap_err();
        assert!(matches!(closed, AppendError::Closed(_)), "{closed}");
        assert!(matches!(journal.checkpoint(&sum_to(3)), Err(AppendError::Closed(_))));
        assert_eq!(bytes(folder.path()), before, "nothing is written any more");
        drop(journal);
        let mut opened = open(folder.path());
        assert_eq!((folded(&opened.replay), opened.broken), (sum_to(3), Vec::new()));
        append_to(&mut opened.journal, 5);
        assert!(opened.journal.reader().verify().unwrap().is_sound());
    }
}

#[test]
fn a_sync_that_fails_is_not_asked_again() {
    for (plan, may_be_there) in [(vec![Wrong::Sync], false), (vec![Wrong::Sync, Wrong::Cut], true)] {
        let (folder, mut journal) = failing(&plan);
        assert!(matches!(journal.append(record(4)), Err(AppendError::Unsure(_))));
        assert!(matches!(journal.append(record(4)), Err(AppendError::Closed(_))));
        assert_eq!(journal.seq(), 3);
        let opened = open(folder.path());
        let last = if may_be_there { 4 } else { 3 };
        assert_eq!((folded(&opened.replay), opened.broken), (sum_to(last), Vec::new()));
    }
}

#[test]
fn a_segment_that_cannot_be_begun_is_a_failed_append_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    append_to(&mut journal, 1);
    let full = Record { reason: "x".repeat(2000), ..record(2) };
    // A folder stands where the next segment would.
    let place = folder.path().join("journal/00000000000000000002.jsonl");
    std::fs::create_dir(&place).unwrap();
    assert!(matches!(journal.append(full), Err(AppendError::Failed(_))));
    assert!(matches!(journal.append(record(2)), Err(AppendError::Failed(_))), "no way back to the old one");
    std::fs::remove_dir(&place).unwrap();
    append_to(&mut journal, 5);
    assert_eq!(folded(&open(folder.path()).replay), sum_to(5));
}

/// A file system in memory, gone with this value.
struct Small(tempfile::TempDir);

impl Small {
    fn mounted(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "rhumb-test"]).arg(folder.path());
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn on_a_disk_that_is_full_changes_are_refused_and_nothing_is_lost() {
    let Some(disk) = Small::mounted("size=64k") else {
        // Past the capture of the test runner.
        let _ = io::stderr().write_all(b"\nSKIPPED: a full disk needs root and mount\n");
        return;
    };
    let (dir, ballast) = (disk.0.path(), disk.0.path().join("ballast"));
    std::fs::write(&ballast, [0; 16 * 1024]).unwrap();
    let mut journal = open(dir).journal;
    let refused = loop {
        match journal.append(record(journal.seq() + 1)) {
            Ok(_) => assert!(journal.seq() < 1000, "64 KiB hold no thousand entries"),
            Err(refused) => break refused,
        }
    };
    let AppendError::Failed(cause) = refused else { panic!("{refused}") };
    assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
    let last = journal.seq();
    assert!(
        matches!(journal.append(record(last + 1)), Err(AppendError::Failed(_))),
        "still full, still open"
    );
    let kept = journal.checkpoint(&json!({"sum": 0, "much": "x".repeat(9000)}));
    assert!(matches!(kept, Err(AppendError::Failed(_))), "the checkpoint from before counts");
    let opened = open(dir);
    assert_eq!((folded(&opened.replay), opened.broken, opened.torn), (sum_to(last), Vec::new(), None));
    drop(opened.journal);

    std::fs::remove_file(ballast).unwrap();
    append_to(&mut journal, last + 20);
    let found = journal.reader().verify().unwrap();
    assert!(found.is_sound() && found.last.unwrap().0 == last + 20, "there is room again: {found:?}");
}

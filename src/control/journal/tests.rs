use std::path::Path;

use serde_json::{Value, json};

use super::*;

mod chain;
mod crash;
mod faults;
mod format;
mod kill;
mod pages;

/// So small that a few entries fill a segment.
const TIGHT: Limits = Limits { segment_bytes: 1500, segments: 3 };

/// The `number`th change: it adds its number to what the changes come to.
fn record(number: u64) -> Record {
    Record {
        time: WallTime::from_millis(1_780_000_000_000 + number * 1000),
        actor: if number.is_multiple_of(2) { "night-shift" } else { "deploy" }.to_owned(),
        source: "127.0.0.1:50312".to_owned(),
        action: if number.is_multiple_of(3) { Action::DrainBegan } else { Action::Weight },
        region: Some(if number.is_multiple_of(5) { "eu-west-1" } else { "us-east-1" }.to_owned()),
        reason: format!(
            "case {number}: \"länger\"\nand {}",
            "x".repeat(usize::try_from(number % 7).unwrap())
        ),
        before: json!({"weight": 100}),
        after: json!({"weight": number % 100}),
        generation: number * 10,
        revision: number,
        change: Some(json!({"add": number})),
    }
}

fn open(dir: &Path) -> Opened {
    FileJournal::open_within(dir, TIGHT).unwrap()
}

/// Appends what is missing up to `last`, with checkpoints where they are due.
fn append_to(journal: &mut FileJournal, last: u64) {
    while journal.seq() < last {
        let entry = journal.append(record(journal.seq() + 1)).unwrap();
        assert_eq!(entry.record, record(entry.seq));
        if journal.checkpoint_is_due() {
            journal.checkpoint(&sum_to(entry.seq)).unwrap();
        }
    }
}

/// What the changes up to `last` come to.
fn sum_to(last: u64) -> Value {
    json!({"sum": last * (last + 1) / 2})
}

/// What a replay comes to.
fn folded(replay: &Replay) -> Value {
    let began = replay.state.as_ref().map_or(0, |state| state["sum"].as_u64().unwrap());
    let added =
        |entry: &Entry| entry.record.change.as_ref().map_or(0, |change| change["add"].as_u64().unwrap());
    json!({"sum": began + replay.entries.iter().map(added).sum::<u64>()})
}

/// The segments of a journal, oldest first.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let listing = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        listing.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    found.sort();
    found
}

/// A copy of a journal, to spoil.
fn copy(dir: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    std::fs::create_dir(copied.path().join("journal")).unwrap();
    for entry in std::fs::read_dir(dir.join("journal")).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), copied.path().join("journal").join(entry.file_name())).unwrap();
    }
    copied
}

#[test]
fn what_was_appended_is_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.replay, opened.torn, opened.broken), (Replay::default(), None, Vec::new()));
    let mut journal = opened.journal;
    append_to(&mut journal, 3);
    let again = open(folder.path());
    assert_eq!(again.replay.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(again.replay.entries.iter().all(|entry| entry.record == record(entry.seq)));
    assert_eq!((again.journal.seq(), again.journal.revision()), (3, 3));
}

#[test]
fn a_replay_begins_at_the_checkpoint_and_old_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    for last in 1..=120 {
        append_to(&mut journal, last);
        // At most what is kept behind a checkpoint, and what came since.
        assert!(segments(folder.path()).len() <= TIGHT.segments + 2, "at {last}");
        let replay = open(folder.path()).replay;
        assert_eq!(folded(&replay), sum_to(last));
        assert!(replay.entries.len() < 12, "the checkpoint is the beginning");
    }
    assert!(!segments(folder.path())[0].ends_with("00000000000000000001.jsonl"), "the first segment is gone");
    let verified = journal.reader().verify().unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.anchor, verified.last.unwrap().0), (Anchor::Checkpoint, 120));
    assert_eq!(verified.first.unwrap() + verified.entries, 121);
}

#[test]
fn a_change_that_comes_too_late_is_told_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    append_to(&mut journal, 5);
    let late = journal.append(record(5)).unwrap_err();
    assert!(matches!(late, AppendError::Raced { given: 5, last: 5 }), "{late}");
    // What changes nothing stays at the revision, and is never below.
    let told = |revision| Record { change: None, action: Action::Failover, ..record(revision) };
    assert!(matches!(journal.append(told(4)), Err(AppendError::Raced { given: 4, last: 5 })));
    assert_eq!(journal.append(told(5)).unwrap().seq, 6);
    assert_eq!(journal.append(record(6)).unwrap().seq, 7);
    assert_eq!(open(folder.path()).journal.revision(), 6);
}

#[test]
fn the_revision_outlives_a_checkpoint_and_the_entries_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    append_to(&mut journal, 4);
    journal.checkpoint(&sum_to(4)).unwrap();
    std::fs::remove_file(&segments(folder.path())[0]).unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.journal.seq(), opened.journal.revision()), (4, 4));
    assert_eq!(opened.broken[0].fault, Fault::Missing { from: 1, to: 4 });
    let mut journal = opened.journal;
    append_to(&mut journal, 6);
    assert_eq!(folded(&open(folder.path()).replay), sum_to(6));
}

#[test]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("journal")).unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("journal"), open_to_all).unwrap();
    let mut journal = open(folder.path()).journal;
    append_to(&mut journal, 20);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("journal")), 0o700);
    let listing = std::fs::read_dir(folder.path().join("journal")).unwrap();
    let modes: Vec<_> = listing.map(|entry| mode(&entry.unwrap().path())).collect();
    assert!(modes.len() > 2 && modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
}

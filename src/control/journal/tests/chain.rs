use super::*;

/// A journal of two segments and a bit, all of it kept, and its lines by number.
fn written() -> (tempfile::TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    for number in 1..=9 {
        journal.append(record(number)).unwrap();
    }
    assert!(segments(folder.path()).len() >= 3);
    (folder, 9)
}

fn verify(dir: &Path) -> Verified {
    JournalReader::of(dir).verify().unwrap()
}

/// Lets `edit` at the lines of the segment at `at`, and says what is broken first then.
fn broken_by(dir: &Path, at: usize, edit: impl FnOnce(&mut Vec<String>)) -> (u64, &'static str) {
    let spoiled = copy(dir);
    let path = &segments(spoiled.path())[at];
    let mut lines: Vec<_> = std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    edit(&mut lines);
    std::fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let broken = verify(spoiled.path()).broken.unwrap();
    assert_eq!(broken.file, path.file_name().unwrap().to_str().unwrap());
    (broken.seq, broken.fault.code())
}

#[test]
fn a_byte_that_is_flipped_anywhere_is_told_with_its_line() {
    let (folder, last) = written();
    assert!(verify(folder.path()).is_sound());
    for path in segments(folder.path()) {
        let text = std::fs::read(&path).unwrap();
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        for at in 0..text.len() {
            let mut spoiled = text.clone();
            spoiled[at] ^= 1 << (at % 8);
            std::fs::write(&path, &spoiled).unwrap();
            let line = text[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            let found = verify(folder.path());
            let Some(broken) = found.broken else {
                // Without its line break the last line of all is half a line.
                assert!(found.unfinished.is_some() && first + line - 1 == last && at == text.len() - 1);
                continue;
            };
            assert_eq!(broken.file, path.file_name().unwrap().to_str().unwrap());
            assert_eq!(broken.line, line, "byte {at} of {broken}");
        }
        std::fs::write(&path, &text).unwrap();
    }
}

#[test]
fn a_line_that_is_missing_moved_or_doubled_is_told_by_its_number() {
    let (folder, _) = written();
    let dir = folder.path();
    let lines = |at: usize| std::fs::read_to_string(&segments(dir)[at]).unwrap().lines().count();
    assert!(lines(1) >= 3, "the case needs three lines in a segment");
    let first: u64 = lines(0) as u64 + 1;
    assert_eq!(broken_by(dir, 1, |lines| drop(lines.remove(1))), (first + 1, "missing"));
    assert_eq!(broken_by(dir, 1, |lines| drop(lines.remove(0))), (first, "missing"));
    assert_eq!(broken_by(dir, 1, |lines| lines.swap(0, 1)), (first, "missing"));
    assert_eq!(broken_by(dir, 1, |lines| lines.insert(1, lines[0].clone())), (first, "out_of_order"));
    assert_eq!(broken_by(dir, 1, |lines| lines[1] = "x".repeat(3 * LONGEST_LINE)), (first + 1, "too_long"));
    let edited = broken_by(dir, 1, |lines| lines[1] = lines[1].replace("\"weight\":100", "\"weight\":10"));
    assert_eq!(edited, (first + 1, "edited"));
}

#[test]
fn a_segment_that_is_missing_is_told() {
    let (folder, _) = written();
    std::fs::remove_file(&segments(folder.path())[1]).unwrap();
    let (names, broken) = (segments(folder.path()), verify(folder.path()).broken.unwrap());
    assert!(names[1].ends_with(&broken.file) && broken.line == 1);
    assert!(matches!(broken.fault, Fault::Missing { from: 2.., .. }), "{broken}");
}

#[test]
fn a_beginning_that_is_gone_hangs_on_the_checkpoint_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    append_to(&mut open(dir).journal, 60);
    assert_eq!(verify(dir).anchor, Anchor::Checkpoint);

    let shorter = copy(dir);
    std::fs::remove_file(&segments(shorter.path())[0]).unwrap();
    let found = verify(shorter.path());
    assert_eq!((found.anchor, found.broken.unwrap().fault.code()), (Anchor::Nothing, "missing"));

    let edited = copy(dir);
    let path = edited.path().join("journal/checkpoint.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"sum\":", "\"sum\": ")).unwrap();
    let found = verify(edited.path());
    assert_eq!((found.anchor, found.broken.unwrap().file.as_str()), (Anchor::Nothing, "checkpoint.json"));

    let unheld = copy(dir);
    std::fs::remove_file(unheld.path().join("journal/checkpoint.json")).unwrap();
    let found = verify(unheld.path());
    assert_eq!((found.anchor, found.is_sound()), (Anchor::Nothing, false));
    let refused = FileJournal::open_within(unheld.path(), TIGHT).unwrap_err().to_string();
    assert!(
        refused.contains("checkpoint.json: it is missing") && refused.contains("move the folder"),
        "{refused}"
    );
}

#[test]
fn an_end_that_the_checkpoint_knows_of_and_that_is_gone_is_told() {
    let (folder, last) = written();
    let mut journal = open(folder.path()).journal;
    journal.checkpoint(&sum_to(last)).unwrap();
    let path = segments(folder.path()).pop().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: Vec<_> = text.lines().collect();
    std::fs::write(&path, kept[..kept.len() - 1].iter().map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    assert_eq!(verify(folder.path()).broken.unwrap().fault, Fault::Missing { from: last, to: last });
    let opened = open(folder.path());
    assert_eq!((opened.journal.seq(), opened.broken.len()), (last, 1), "its number is not given twice");
}

#[test]
fn what_stands_behind_a_broken_line_is_replayed_and_the_break_is_told() {
    let (folder, last) = written();
    let path = &segments(folder.path())[0];
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, text.replacen("\"v\":2", "\"v\":x", 1)).unwrap();
    let mut opened = open(folder.path());
    assert_eq!(
        opened.broken.iter().map(|broken| (broken.seq, broken.fault.code())).collect::<Vec<_>>(),
        [(1, "unreadable")]
    );
    assert_eq!(opened.replay.entries.len() as u64, last - 1);
    append_to(&mut opened.journal, last + 3);
    let found = verify(folder.path());
    assert_eq!((found.breaks, found.broken.unwrap().seq, found.last.unwrap().0), (1, 1, last + 3));
}

#[test]
fn an_entry_that_stands_twice_is_replayed_once() {
    let (folder, last) = written();
    let path = &segments(folder.path())[1];
    let text = std::fs::read_to_string(path).unwrap();
    let doubled = text.lines().next().unwrap();
    std::fs::write(path, format!("{doubled}\n{text}")).unwrap();
    let opened = open(folder.path());
    assert_eq!(folded(&opened.replay), sum_to(last));
    assert_eq!(opened.broken[0].fault, Fault::OutOfOrder);
}

use std::fs;

use super::*;

/// Random numbers of a seed; `SEED=7` replays one.
pub fn dice() -> impl FnMut(u64) -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={state}");
    move |below| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Cuts the last segment off at `length` and checks what a start makes of it.
fn check_torn_at(dir: &Path, length: usize) {
    let torn = copy(dir);
    let path = segments(torn.path()).pop().unwrap();
    let text = fs::read(&path).unwrap();
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let (kept, rest) = text.split_at(length);
    fs::write(&path, kept).unwrap();
    let half = kept.iter().rev().take_while(|byte| **byte != b'\n').count();
    let last = first - 1 + kept.iter().filter(|byte| **byte == b'\n').count() as u64;
    let reader = JournalReader::of(torn.path()).verify().unwrap();
    assert_eq!(reader.unfinished, (half > 0).then_some(half as u64), "a reader tells it and leaves it");
    assert_eq!(fs::read(&path).unwrap(), kept);

    let mut opened = open(torn.path());
    assert_eq!(opened.broken, Vec::new(), "cut at {length}");
    assert_eq!((opened.journal.seq(), folded(&opened.replay)), (last, sum_to(last)), "cut at {length}");
    match opened.torn {
        None => assert_eq!(half, 0),
        Some(told) => {
            assert_eq!(told.length, half as u64);
            assert_eq!(fs::read(told.aside.unwrap()).unwrap(), &kept[length - half..]);
        }
    }
    // What would have completed the half line does not come to stand behind it.
    append_to(&mut opened.journal, last + 2);
    let found = opened.journal.reader().verify().unwrap();
    assert!(found.is_sound() && found.last.unwrap().0 == last + 2 && found.unfinished.is_none(), "{found:?}");
    assert!(open(torn.path()).torn.is_none());
    assert!(rest.len() + length == text.len());
}

#[test]
fn a_crash_at_any_byte_of_the_last_lines_loses_none_before() {
    let folder = tempfile::tempdir().unwrap();
    append_to(&mut open(folder.path()).journal, 14);
    let path = segments(folder.path()).pop().unwrap();
    let length = fs::read(&path).unwrap().len();
    assert!(length > 600, "the case needs two lines");
    for at in 0..=length {
        check_torn_at(folder.path(), at);
    }
}

#[test]
fn a_crash_at_a_random_byte_of_a_longer_journal_loses_none_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = dice();
    let mut journal = open(folder.path()).journal;
    for _ in 0..60 {
        // Without a checkpoint: what it has in it was acknowledged, and no crash takes it away.
        for _ in 0..=dice(4) {
            journal.append(record(journal.seq() + 1)).unwrap();
        }
        let path = segments(folder.path()).pop().unwrap();
        let length = fs::metadata(&path).unwrap().len();
        check_torn_at(folder.path(), usize::try_from(dice(length + 1)).unwrap());
    }
}

#[test]
fn zeros_that_a_power_cut_left_at_the_end_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    append_to(&mut open(folder.path()).journal, 6);
    let path = segments(folder.path()).pop().unwrap();
    let mut text = fs::read(&path).unwrap();
    text.extend([0; 4096]);
    fs::write(&path, text).unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.torn.unwrap().length, folded(&opened.replay)), (4096, sum_to(6)));
}

#[test]
fn a_crash_between_the_steps_of_a_checkpoint_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut journal = open(dir).journal;
    while segments(dir).len() < TIGHT.segments + 2 {
        journal.append(record(journal.seq() + 1)).unwrap();
    }
    let (last, before) = (journal.seq(), copy(dir));
    journal.checkpoint(&sum_to(last)).unwrap();
    let after = copy(dir);
    assert_eq!(segments(after.path()).len(), TIGHT.segments);

    // Half of the new one was written, beside the place.
    fs::write(before.path().join("journal/checkpoint.new"), "{\"v\":1,\"se").unwrap();
    assert_eq!(folded(&open(before.path()).replay), sum_to(last));

    // It was written, and no segment, or one, is gone yet.
    for path in segments(before.path()) {
        let checkpoint = before.path().join("journal/checkpoint.json");
        fs::copy(after.path().join("journal/checkpoint.json"), checkpoint).unwrap();
        let left = copy(before.path());
        assert!(JournalReader::of(left.path()).verify().unwrap().is_sound());
        let opened = open(left.path());
        assert_eq!((folded(&opened.replay), opened.broken), (sum_to(last), Vec::new()));
        assert_eq!(segments(left.path()).len(), TIGHT.segments, "what is gone is removed at last");
        if segments(before.path()).len() > TIGHT.segments {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_segment_that_was_begun_and_holds_nothing_yet_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    append_to(&mut journal, 2);
    fs::write(folder.path().join("journal/00000000000000000003.jsonl"), "").unwrap();
    let opened = open(folder.path());
    assert_eq!((folded(&opened.replay), opened.torn), (sum_to(2), None));
    let mut journal = opened.journal;
    append_to(&mut journal, 4);
    assert_eq!(folded(&open(folder.path()).replay), sum_to(4));
    assert_eq!(segments(folder.path()).len(), 2);
}

#[test]
fn few_torn_ends_are_kept() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=12 {
        append_to(&mut open(folder.path()).journal, number);
        let path = segments(folder.path()).pop().unwrap();
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"v\":1,").unwrap();
        assert_eq!(open(folder.path()).torn.unwrap().length, 7);
    }
    let names = fs::read_dir(folder.path().join("journal")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut torn: Vec<_> = names.filter(|name| name.to_str().unwrap().starts_with("torn-")).collect();
    torn.sort();
    assert_eq!((torn.len(), torn[0].to_str().unwrap()), (TORN_KEPT, "torn-00000000000000000006"));
}

#[test]
fn a_torn_end_that_cannot_be_kept_is_cut_off_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    append_to(&mut open(folder.path()).journal, 2);
    let path = segments(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"v\":1"].concat()).unwrap();
    fs::create_dir(folder.path().join("journal/torn-00000000000000000003")).unwrap();
    let opened = open(folder.path());
    assert_eq!(opened.torn, Some(Torn { length: 6, aside: None }));
    assert_eq!((fs::read(&path).unwrap(), folded(&opened.replay)), (whole, sum_to(2)));
}

use super::*;

fn numbers(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.seq).collect()
}

fn forty() -> (tempfile::TempDir, FileJournal) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal =
        FileJournal::open_within(folder.path(), Limits { segments: 100, ..TIGHT }).unwrap().journal;
    append_to(&mut journal, 40);
    (folder, journal)
}

#[test]
fn pages_follow_one_another_to_the_last_entry() {
    let (_folder, journal) = forty();
    let mut seen = Vec::new();
    let mut ask = Ask { limit: 7, ..Ask::default() };
    loop {
        let page = journal.page(&ask).unwrap();
        assert!(page.entries.len() <= 7 && page.unreadable == 0);
        seen.extend(numbers(&page));
        let Some(next) = page.next else { break };
        ask.since = next;
    }
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert_eq!(numbers(&journal.page(&Ask::default()).unwrap()), seen, "without a limit it is all");
    assert_eq!(journal.page(&Ask { since: u64::MAX, ..Ask::default() }).unwrap(), Page::default());
}

#[test]
fn every_filter_holds_alone_and_with_the_others() {
    let (_folder, journal) = forty();
    let all = |fits: &dyn Fn(u64) -> bool| (1..=40).filter(|number| fits(*number)).collect::<Vec<_>>();
    let found = |ask: Ask| numbers(&journal.page(&ask).unwrap());
    let actor = Some("night-shift".to_owned());
    let action = Some(Action::DrainBegan);
    let region = Some("eu-west-1".to_owned());
    let until = Some(record(30).time);
    assert_eq!(found(Ask { since: 33, ..Ask::default() }), all(&|n| n > 33));
    assert_eq!(found(Ask { until, ..Ask::default() }), all(&|n| n <= 30));
    assert_eq!(found(Ask { actor: actor.clone(), ..Ask::default() }), all(&|n| n % 2 == 0));
    assert_eq!(found(Ask { action, ..Ask::default() }), all(&|n| n % 3 == 0));
    assert_eq!(found(Ask { region: region.clone(), ..Ask::default() }), all(&|n| n % 5 == 0));
    assert_eq!(found(Ask { since: 1, until, actor, action, region, limit: 3 }), [30]);
}

#[test]
fn a_page_says_how_many_lines_it_could_not_read() {
    let (folder, journal) = forty();
    let path = &segments(folder.path())[1];
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, text.replacen("{\"v\":2", "{\"v\":", 1)).unwrap();
    let page = journal.page(&Ask::default()).unwrap();
    assert_eq!((page.entries.len(), page.unreadable), (39, 1));
}

#[test]
fn there_is_nothing_to_read_where_no_journal_is_yet() {
    let folder = tempfile::tempdir().unwrap();
    let reader = JournalReader::of(folder.path());
    assert_eq!(reader.page(&Ask::default()).unwrap(), Page::default());
    let found = reader.verify().unwrap();
    assert!(found.is_sound() && found.entries == 0 && found.last.is_none());
    assert!(!folder.path().join("journal").exists(), "a reader makes nothing");
}

#[test]
fn a_reader_sees_whole_lines_while_a_writer_writes_and_removes() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let reader = journal.reader();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            append_to(&mut journal, 300);
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let (mut before, mut rounds) = (0, 0);
        loop {
            let ended = done.load(std::sync::atomic::Ordering::Acquire);
            let found = reader.verify().unwrap();
            assert!(found.is_sound(), "{found:?}");
            let last = found.last.map_or(0, |(seq, _)| seq);
            assert!(last >= before, "{last} after {before}");
            let page = reader.page(&Ask { since: before.saturating_sub(5), ..Ask::default() }).unwrap();
            assert_eq!(page.unreadable, 0);
            (before, rounds) = (last, rounds + 1);
            if ended {
                break;
            }
        }
        assert!(before == 300 && rounds > 1, "{rounds} rounds, {before} entries");
    });
}

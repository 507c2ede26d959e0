use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::crash::dice;
use super::*;

/// Set in the process that appends; its value is the state folder.
const CHILD: &str = "RHUMB_JOURNAL_CHILD";

/// How often the process is killed; `RHUMB_KILLS=500` for the long form.
fn kills() -> u64 {
    std::env::var("RHUMB_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(100)
}

/// The other process: appends and acknowledges until it is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut journal = open(Path::new(&dir)).journal;
    let mut out = std::io::stdout();
    loop {
        let next = journal.seq() + 1;
        append_to(&mut journal, next);
        writeln!(out, "\nkept {next}").and_then(|()| out.flush()).unwrap();
    }
}

#[test]
fn a_process_that_is_killed_at_any_moment_has_lost_nothing_that_it_acknowledged() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dice = dice();
    let (mut acknowledged, mut torn) = (0, 0);
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    for kill in 0..kills() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        let mut hear = |line: std::io::Result<String>| {
            if let Some(number) = line.unwrap().strip_prefix("kept ") {
                last = number.parse::<u64>().ok().or(last);
            }
        };
        // One acknowledgement at least, so that it writes; then some, and some part of the next.
        let some = 3 + 2 * dice(30);
        for line in heard.by_ref().take(usize::try_from(some + 4).unwrap()) {
            hear(line);
        }
        // The moment of the kill, not a wait for something.
        std::thread::sleep(Duration::from_micros(dice(3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        heard.for_each(hear);
        let last = last.unwrap_or_else(|| panic!("the process {kill} acknowledged nothing"));
        assert!(last > acknowledged);

        let opened = open(folder.path());
        let seq = opened.journal.seq();
        assert!(seq == last || seq == last + 1, "{last} were acknowledged, {seq} are there, kill {kill}");
        assert_eq!((folded(&opened.replay), opened.broken), (sum_to(seq), Vec::new()), "kill {kill}");
        torn += u64::from(opened.torn.is_some());
        let found = opened.journal.reader().verify().unwrap();
        assert!(found.is_sound(), "{found:?}");
        for step in opened.journal.reader().walk().unwrap() {
            let Step::Entry(entry) = step.unwrap() else { panic!("the chain is whole") };
            assert_eq!(entry.record, record(entry.seq));
        }
        acknowledged = seq;
    }
    println!("{} kills, {acknowledged} entries, {torn} torn ends, acknowledged ones lost: 0", kills());
}

/// Not a test of a figure: a disk is as fast as it is.
#[test]
#[ignore = "measures how many entries a second come to the disk here; run it with --ignored --nocapture"]
fn entries_per_second() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = FileJournal::open(folder.path()).unwrap().journal;
    let clock = crate::control::clock::Clock::system();
    append_to(&mut journal, 2000);
    let took = clock.elapsed().as_secs_f64();
    println!("2000 entries, each on the disk: {took:.2} s, {:.0} a second", 2000.0 / took);
    assert_eq!(folded(&FileJournal::open(folder.path()).unwrap().replay), sum_to(2000));
}

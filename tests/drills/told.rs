//! What a drill tells: one line with its number and what was observed; that it was skipped, and why.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// The turns of the drills of one process.
static TURNS: RwLock<()> = RwLock::new(());

/// A drill that others may run beside.
pub fn beside() -> RwLockReadGuard<'static, ()> {
    TURNS.read().unwrap_or_else(PoisonError::into_inner)
}

/// A drill that takes the machine for itself.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the long drills have their full length.
pub fn in_full() -> bool {
    std::env::var("DRILLS").is_ok_and(|length| length == "full")
}

/// `full` under `DRILLS=full`, else `short`.
pub fn length<T>(short: T, full: T) -> T {
    if in_full() { full } else { short }
}

/// Waits for what may take longer than anything else in the tests.
#[track_caller]
pub fn patiently(what: &str, at_most: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < at_most, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The line of one drill.
pub struct Row {
    text: String,
}

/// Begins the line of the drill of this number.
pub fn row(number: &str, fault: &str) -> Row {
    Row { text: format!("drill {number} | {fault} |") }
}

impl Row {
    /// Adds something that was observed.
    pub fn saw(mut self, what: &str, how_much: impl std::fmt::Display) -> Row {
        let begun = self.text.ends_with('|');
        write!(self.text, "{} {what} {how_much}", if begun { "" } else { ";" }).unwrap();
        self
    }

    /// Adds a span of time, in seconds.
    pub fn took(self, what: &str, span: Duration) -> Row {
        self.saw(what, format!("{:.2} s", span.as_secs_f64()))
    }

    /// Tells it, past the capture of the test runner.
    pub fn tell(self) {
        tell(&self.text);
    }
}

fn tell(line: &str) {
    // One write, so that the lines of drills that run at once do not mix.
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// Says that a drill was not run, and why; it counts as skipped, not as passed.
pub fn skipped(number: &str, why: &str) {
    tell(&format!("drill {number} | SKIPPED: {why}"));
}

/// Whether this process may make namespaces, mounts and limits.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().take(3).eq(["Uid:", "0", "0"]))
}

/// Whether there is such a command.
pub fn has(command: &str) -> bool {
    let look = format!("command -v {command}");
    Command::new("sh").args(["-c", &look]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Set in a process that a drill started inside a namespace of its own.
const INSIDE: &str = "DRILL_INSIDE";

/// Whether the drill goes on here; otherwise it was run, or skipped, by another process.
///
/// The drill `test` is started once more under `unshare` with `namespaces`, after `prepare`, a line of shell; so what
/// it does to network or mounts ends with it and touches nobody else.
pub fn inside(number: &str, test: &str, namespaces: &[&str], prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshared = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["sh", "-c", script]).stdin(Stdio::null());
        command
    };
    let tried = || unshared(prepare).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = is_root() && has("unshare") && tried().is_ok_and(|status| status.success());
    if !can {
        skipped(number, "needs root, namespaces, and what they are set up with");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let script = format!("{prepare} && exec {} --exact {test} --nocapture", this.display());
    let output = unshared(&script).env(INSIDE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    said[1].lines().filter(|line| line.starts_with("drill ")).for_each(tell);
    assert!(output.status.success(), "inside its namespace:\n{}\n{}", said[0], said[1]);
    assert!(said[0].contains("1 passed"), "there is no test {test}:\n{}", said[0]);
    false
}

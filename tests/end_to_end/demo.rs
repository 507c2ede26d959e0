//! `rhumb demo`, as its first visitor sees it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::harness::{Answer, Ran, ask, await_some, collect, eventually, rhumb, signal};

/// One demo at a time chooses its ports.
static CHOOSING: Mutex<()> = Mutex::new(());

struct Demo {
    child: Child,
    said: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
    _folder: tempfile::TempDir,
    temporary: PathBuf,
}

impl Demo {
    fn start(words: &[&str]) -> Demo {
        let _choosing = CHOOSING.lock();
        let folder = tempfile::tempdir().unwrap();
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let mut command = rhumb(&[&["demo"], words].concat());
        command.env("TMPDIR", &temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, log) = (Arc::default(), Arc::default());
        collect(child.stdout.take().unwrap(), Arc::clone(&said));
        collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let mut demo = Demo { child, said, log, _folder: folder, temporary };
        eventually("the demo says what to try", || {
            assert!(demo.child.try_wait().unwrap().is_none(), "the demo ended: {}", demo.log());
            demo.said().contains("Ctrl-C")
        });
        demo
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The commands it prints, in order: lines that continue are one.
    fn commands(&self) -> Vec<String> {
        let said = self.said().replace("\\\n", " ");
        let lines = said.lines().map(str::trim);
        lines.filter(|line| line.contains("curl -s")).map(str::to_owned).collect()
    }

    /// Ends it as Ctrl-C does; it leaves nothing.
    fn interrupt(mut self) {
        signal(self.child.id(), "INT");
        let status = await_some("the demo ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.log());
        let left: Vec<_> = std::fs::read_dir(&self.temporary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!self.log().contains("panicked at"), "{}", self.log());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what a printed line says: what stands before curl by a shell, curl's own request by this process, so that
/// neither curl nor a resolver of `*.localhost` is needed.
fn run(line: &str) -> Answer {
    let (before, curl) = line.split_at(line.find("curl").unwrap());
    let before = before.trim().trim_end_matches("&&").trim();
    if !before.is_empty() {
        assert!(Command::new("sh").arg("-c").arg(before).status().unwrap().success(), "{before}");
    }
    let words = words(curl);
    let (mut method, mut headers, mut body, mut url) = (None, Vec::new(), None, None);
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-s" | "-i" => {}
            "-X" => method = words.next().cloned(),
            "-d" => body = words.next().cloned(),
            "-H" => headers.push(words.next().unwrap().split_once(": ").unwrap()),
            other => url = Some(other.strip_prefix("http://").unwrap().to_owned()),
        }
    }
    let url = url.unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    let port: u16 = host.rsplit(':').next().unwrap().parse().unwrap();
    let mut asked = ask(&method.unwrap_or_else(|| "GET".to_owned()), host, path);
    for (name, value) in headers {
        asked = asked.header(name, value);
    }
    if let Some(body) = body {
        asked = asked.body(body);
    }
    asked.to(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The words of a command line, with single quotes taken off.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn each_line_that_the_demo_prints_shows_what_it_promises() {
    let demo = Demo::start(&[]);
    let commands = demo.commands();
    assert_eq!(commands.len(), 5, "{}", demo.said());
    let read = run(&commands[0]);
    assert_eq!(read.region(), "eu-west-1", "a read is answered nearby");
    assert_eq!(read.header("x-served-region"), Some("eu-west-1"));
    let write = run(&commands[1]);
    assert_eq!(write.region(), "us-east-1", "a write goes home");
    eventually("the read shows the write", || run(&commands[0]).json()["value"] == "hello");
    let spoofed = run(&commands[2]);
    assert_eq!(spoofed.seen("x-owner-region").as_deref(), Some("us-east-1"));
    assert!(!spoofed.json()["headers"].to_string().contains("mars"), "{}", spoofed.text());
    let drained = run(&commands[3]);
    assert_eq!(drained.region(), "us-east-1", "one second is enough for a drain: {}", demo.log());
    let refused = run(&commands[4]);
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "write_frozen"));
    demo.interrupt();
}

#[test]
fn the_explain_line_of_the_demo_works_as_printed() {
    let demo = Demo::start(&[]);
    let said = demo.said();
    let line = said.lines().find(|line| line.contains(" explain ")).expect("an explain line");
    let ran = Ran::of(Command::new("sh").arg("-c").arg(line));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("us-east-1"), "{}", ran.stdout);
    demo.interrupt();
}

#[test]
fn two_demos_share_a_machine_and_load_is_traffic_that_succeeds() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = Demo::start(&[]);
    let second = Demo::start(&["--load"]);
    assert_ne!(first.commands()[0], second.commands()[0], "each has a port of its own");
    for demo in [&first, &second] {
        assert_eq!(run(&demo.commands()[0]).region(), "eu-west-1");
    }
    eventually("traffic is told of", || second.said().contains("Traffic flows"));
    let busy = taken.local_addr().unwrap().port().to_string();
    let refused = Ran::of(&mut rhumb(&["demo", "--port", &busy]));
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains(&busy), "{}", refused.stderr);
    first.interrupt();
    second.interrupt();
}

#[test]
fn a_demo_lives_in_one_folder_and_a_stop_ends_it_too() {
    let mut demo = Demo::start(&[]);
    let folders: BTreeSet<_> =
        std::fs::read_dir(&demo.temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1);
    assert!(folders.iter().all(|folder| Path::exists(&folder.join("routing.toml"))));
    signal(demo.child.id(), "TERM");
    assert!(await_some("it ends", || demo.child.try_wait().unwrap()).success());
    assert_eq!(std::fs::read_dir(&demo.temporary).unwrap().count(), 0);
}

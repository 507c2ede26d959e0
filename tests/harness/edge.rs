//! An edge: the real binary, in a process of its own, with its files in a folder of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::folder::Folder;
use super::request::{Ask, get};
use super::routing::Routing;
use super::wait::{await_some, eventually};
use super::wire::{Answer, Wire};

/// The operator's token of every edge.
pub const TOKEN: &str = "secret-of-the-tests";

/// How often a start is tried where somebody else took the port meanwhile.
const TRIES: usize = 5;

/// Where edges listen: below what the system hands out by itself.
const PORTS: Range<u16> = 12_000..32_000;

/// What an edge says once it has said all that there is to say of its start.
const OPEN: &str = "requests are taken at";

/// An edge to be.
pub struct EdgeBuilder {
    sections: BTreeMap<String, Vec<String>>,
    listeners: Vec<String>,
    table: Option<String>,
    arguments: Vec<String>,
    under: Vec<String>,
    environment: Vec<(String, String)>,
    stdout: Stdio,
    folder: Folder,
}

/// An edge in `eu-west-1` with this table.
pub fn edge(routing: &Routing) -> EdgeBuilder {
    EdgeBuilder {
        sections: BTreeMap::new(),
        listeners: vec![String::new()],
        table: Some(routing.text()),
        arguments: Vec::new(),
        under: Vec::new(),
        environment: Vec::new(),
        stdout: Stdio::null(),
        folder: Folder::new(),
    }
    .set("edge", "region = \"eu-west-1\"")
    .set("edge", "id = \"edge-1\"")
    .set("edge", "threads = 1")
    .set("admin", "token_file = \"admin.token\"")
    .set("table", "path = \"routing.toml\"")
    .set("log", "access = \"access.log\"")
}

impl EdgeBuilder {
    /// Adds a line to a section of the settings; a line with the same key is replaced.
    pub fn set(mut self, section: &str, line: &str) -> EdgeBuilder {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let lines = self.sections.entry(section.to_owned()).or_default();
        lines.retain(|old| key(old) != key(line));
        lines.push(line.to_owned());
        self
    }

    /// Adds a listener with these keys besides its address.
    pub fn listener(mut self, keys: &str) -> EdgeBuilder {
        self.listeners.push(keys.to_owned());
        self
    }

    /// Writes a file beside the settings.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> EdgeBuilder {
        self.folder.write(name, text);
        self
    }

    /// Does something to the folder before the start.
    pub fn prepare(self, work: impl FnOnce(&Folder)) -> EdgeBuilder {
        work(&self.folder);
        self
    }

    /// Adds an argument to `rhumb run`.
    pub fn argument(mut self, argument: &str) -> EdgeBuilder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs it by a command that becomes it, such as `taskset -c 0`.
    #[allow(dead_code, reason = "the drills say more than the stories")]
    pub fn under(mut self, command: &[&str]) -> EdgeBuilder {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets a variable of its environment.
    #[allow(dead_code, reason = "the drills say more than the stories")]
    pub fn environment(mut self, name: &str, value: &str) -> EdgeBuilder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes its standard output.
    #[allow(dead_code, reason = "the drills say more than the stories")]
    pub fn stdout(mut self, to: impl Into<Stdio>) -> EdgeBuilder {
        self.stdout = to.into();
        self
    }

    /// Lives in the folder of an edge that was stopped, with the files that are there.
    pub fn again_in(mut self, folder: Folder) -> EdgeBuilder {
        self.folder = folder;
        self.table = None;
        self
    }

    /// Starts it and waits until it takes requests.
    #[track_caller]
    pub fn start(mut self) -> Edge {
        for _ in 0..TRIES {
            let mut edge = self.spawn();
            if edge.is_up() {
                return edge;
            }
            let log = edge.log();
            assert!(log.contains("cannot be listened on"), "the edge did not start:\n{log}");
            self.folder = edge.take_folder();
        }
        panic!("no free port in {TRIES} tries");
    }

    /// Starts it and does not wait.
    pub fn launch(mut self) -> Edge {
        self.spawn()
    }

    /// Starts it, expects it to give up, and returns what came of it.
    #[track_caller]
    pub fn fail(mut self) -> Ran {
        let mut edge = self.spawn();
        let status = edge.ended();
        Ran {
            code: status.code(),
            stdout: String::new(),
            stderr: edge.log(),
            folder: Some(edge.take_folder()),
        }
    }

    fn spawn(&mut self) -> Edge {
        let addresses: Vec<_> = self.listeners.iter().map(|_| free_port()).collect();
        let admin = free_port();
        let folder = std::mem::replace(&mut self.folder, Folder::new());
        folder.write("admin.token", TOKEN);
        if let Some(table) = &self.table {
            folder.write("routing.toml", table);
        }
        folder.write("rhumb.toml", self.settings(&addresses, admin));
        let words = self.under.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_rhumb")]);
        let words: Vec<_> = words.collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["run", "-c"]).arg(folder.file("rhumb.toml")).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let stdout = std::mem::replace(&mut self.stdout, Stdio::null());
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = collect(child.stderr.take().unwrap(), Arc::clone(&log));
        Edge { addresses, admin, child, log, reader: Some(reader), folder: Some(folder) }
    }

    fn settings(&self, addresses: &[SocketAddr], admin: SocketAddr) -> String {
        let mut text = String::new();
        for (address, keys) in addresses.iter().zip(&self.listeners) {
            writeln!(text, "[[listeners]]\naddress = \"{address}\"\n{keys}\n").unwrap();
        }
        for (section, lines) in &self.sections {
            writeln!(text, "[{section}]\n{}", lines.join("\n")).unwrap();
            if section == "admin" {
                writeln!(text, "address = \"{admin}\"").unwrap();
            }
        }
        text
    }
}

/// An edge that runs, or has run. Its process is killed when this is dropped, and its log may hold no panic.
pub struct Edge {
    addresses: Vec<SocketAddr>,
    /// Where its admin side listens.
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    folder: Option<Folder>,
}

impl Edge {
    /// Where its first listener is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where its `nth` listener is, counted from 0.
    pub fn listener(&self, nth: usize) -> SocketAddr {
        self.addresses[nth]
    }

    /// A connection to its first listener.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::to(self.address())
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &Ask) -> Answer {
        request.to(self.address())
    }

    /// A GET.
    #[track_caller]
    pub fn get(&self, host: &str, path: &str) -> Answer {
        self.ask(&get(host, path))
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        self.folder.as_ref().unwrap()
    }

    /// Its log as far as it has come: since the start at least up to where requests are taken, after
    /// [`Edge::says`] up to that line, and all of it once the process has ended.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log holds this: what it says comes by a thread and a pipe, and so a moment later.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// Takes no offence at the panics in its log so far.
    #[allow(dead_code, reason = "the drills say more than the stories")]
    pub fn may_have_panicked(&self) {
        let mut log = self.log.lock().unwrap();
        *log = log.replace("panicked at", "panicked as asked at");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends its process a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Whether its process has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until its process has ended, and its log is complete.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let status = await_some("the process ends", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Stops it in order; its folder is left.
    #[track_caller]
    pub fn stop(mut self) -> Folder {
        self.signal("TERM");
        let status = self.ended();
        assert!(status.success(), "{status}:\n{}", self.log());
        self.take_folder()
    }

    /// Kills it; its folder is left.
    pub fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.ended();
        self.take_folder()
    }

    /// A figure of its process, as `/proc/PID/status` has it: kibibytes, or a count.
    pub fn figure(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Runs a command of the same binary against this edge, with the token.
    pub fn rhumb(&self, words: &[&str]) -> Ran {
        self.rhumb_with(words, Some(TOKEN))
    }

    /// The same with another token, or none.
    pub fn rhumb_with(&self, words: &[&str], token: Option<&str>) -> Ran {
        Ran::of(&mut self.command(words, token))
    }

    /// Such a command, to be started by whoever watches it.
    pub fn command(&self, words: &[&str], token: Option<&str>) -> Command {
        let mut command = rhumb(words);
        command.arg("--admin").arg(format!("http://{}", self.admin));
        if let Some(token) = token {
            command.env("RHUMB_TOKEN", token);
        }
        command
    }

    /// Starts a process that is to take the place of this one, by the same files, and does not wait. The folder stays
    /// where it is.
    #[allow(dead_code, reason = "each test uses its own part of the harness")]
    pub fn successor(&self) -> Edge {
        self.process(&["--upgrade"])
    }

    /// Kills it, starts a process by the same files at the same addresses, and waits until that takes requests.
    #[allow(dead_code, reason = "each test uses its own part of the harness")]
    #[track_caller]
    pub fn kill_and_start_again(&mut self) -> Edge {
        self.die();
        self.start_again()
    }

    /// Kills it and leaves everything as it is.
    pub fn die(&mut self) {
        self.child.kill().unwrap();
        self.ended();
    }

    /// Starts a process by the files and at the addresses of one that has died, and waits until that takes requests.
    #[track_caller]
    pub fn start_again(&mut self) -> Edge {
        let mut again = self.process(&[]);
        again.folder = self.folder.take();
        assert!(again.is_up(), "it did not start again:\n{}", again.log());
        again
    }

    fn process(&self, words: &[&str]) -> Edge {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rhumb"));
        command.arg("run").args(words).arg("-c").arg(self.folder().file("rhumb.toml"));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = collect(child.stderr.take().unwrap(), Arc::clone(&log));
        let (addresses, admin) = (self.addresses.clone(), self.admin);
        Edge { addresses, admin, child, log, reader: Some(reader), folder: None }
    }

    /// Starts such a process and waits until it has taken this one's place, and its folder. This one is left to end.
    #[allow(dead_code, reason = "each test uses its own part of the harness")]
    #[track_caller]
    pub fn upgrade(&mut self) -> Edge {
        let mut next = self.successor();
        eventually("the new process serves", || {
            assert!(next.is_alive(), "the new process gave up:\n{}", next.log());
            next.log().contains("serves in place of the one before")
        });
        self.says("this one ends after its last request");
        next.folder = self.folder.take();
        next
    }

    /// Takes the folder of a process whose place this one has taken.
    #[allow(dead_code, reason = "each test uses its own part of the harness")]
    pub fn inherit(&mut self, folder: Folder) {
        self.folder = Some(folder);
    }

    /// Waits for readiness and an open door, and for the line that says so: whatever it had to say of its start has
    /// come by then, and it is this process that answers. False: the process ended first.
    fn is_up(&mut self) -> bool {
        let mut ended = false;
        eventually("the edge is ready", || {
            ended = !self.is_alive();
            let is_open = || self.addresses.iter().all(|address| TcpStream::connect(address).is_ok());
            ended || (self.log().contains(OPEN) && is_ready(self.admin) && is_open())
        });
        if ended {
            self.ended();
        }
        !ended
    }

    /// Its folder, for whoever comes next.
    pub fn take_folder(&mut self) -> Folder {
        self.folder.take().unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let log = self.log();
        if std::thread::panicking() {
            println!("the edge's log:\n{log}");
        } else {
            assert!(!log.contains("panicked at"), "the edge panicked:\n{log}");
        }
    }
}

/// What came of a command.
pub struct Ran {
    /// Its exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// The folder it lived in, if it was an edge.
    pub folder: Option<Folder>,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Ran {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ran { code: output.status.code(), stdout, stderr, folder: None }
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
}

/// A command of the binary, without the caller's token.
pub fn rhumb(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rhumb"));
    command.args(words).env_remove("RHUMB_TOKEN");
    command
}

/// Sends a process a signal.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

/// Gathers what a process says.
pub fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

fn is_ready(admin: SocketAddr) -> bool {
    TcpStream::connect(admin).is_ok()
        && get("localhost", "/readyz").try_to(admin).is_some_and(|answer| answer.status == 200)
}

/// A port that nobody listens on and that this process has not handed out yet.
///
/// The system would hand out one port twice while nobody is bound to it, and lend it to an outgoing connection. So
/// the ports come from below its own range, each once, from a start that differs between processes.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS.len() {
        let nth = std::process::id().wrapping_mul(127).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(nth % PORTS.len() as u32).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

//! Clients that append to shared lists and read them strongly, without a pause, and note what they were told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::history::{Act, Did, Moment, Write};
use crate::harness::{Answer, Ask, Edge, Toy, Wire, ask, eventually, get, now};

pub const HOST: &str = "acme.app.example";

/// Lists that are in use at a time.
const LISTS: u64 = 3;

/// What distinguishes the writes of two clients.
const MOST_WRITES: Write = 1 << 32;

/// One client, on one connection.
pub struct Client {
    wire: Wire,
    since: Instant,
    next: Write,
    is_past_the_edge: bool,
}

impl Client {
    /// The `nth` client of a test whose clock began at `since`.
    pub fn new(nth: usize, address: SocketAddr, since: Instant) -> Client {
        let next = MOST_WRITES * nth as u64;
        Client { wire: Wire::to(address), since, next, is_past_the_edge: false }
    }

    /// One that asks a region by itself, as nobody should.
    pub fn past_the_edge(nth: usize, region: &Toy, since: Instant) -> Client {
        Client { is_past_the_edge: true, ..Client::new(nth, region.address(), since) }
    }

    /// Appends a write of its own.
    pub fn append(&mut self, list: &str) -> (Did, Answer) {
        let write = self.next;
        self.next += 1;
        let id = write.to_string();
        self.does(
            list,
            ask("PATCH", HOST, &path(list)).header("X-Write-Id", &id).body(format!("{id} ")),
            |_| Act::Wrote(write),
        )
    }

    /// Reads what its owner has.
    pub fn read(&mut self, list: &str) -> (Did, Answer) {
        self.does(list, get(HOST, &path(list)).header("X-Consistency", "strong"), |answer| {
            let list = answer.json()["value"].as_str().unwrap_or_default().to_owned();
            Act::Read(list.split_whitespace().map(|write| write.parse().unwrap()).collect())
        })
    }

    fn does(&mut self, list: &str, mut asked: Ask, act: impl FnOnce(&Answer) -> Act) -> (Did, Answer) {
        if self.is_past_the_edge {
            asked = asked.header("X-Tenant-ID", "acme");
        }
        let sent = self.moment();
        let answer = asked.on(&mut self.wire);
        let answered = (answer.status < 300).then(|| self.moment());
        (Did { key: list.to_owned(), act: act(&answer), sent, answered }, answer)
    }

    fn moment(&self) -> Moment {
        self.since.elapsed().as_nanos().try_into().unwrap()
    }
}

fn path(list: &str) -> String {
    format!("/kv/{list}")
}

/// Many of them.
pub struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Told>>,
}

struct Shared {
    over: AtomicBool,
    round: AtomicU64,
    answers: Vec<AtomicU64>,
}

/// What clients were told.
#[derive(Default)]
pub struct Told {
    pub history: Vec<Did>,
    /// Whatever was not a success.
    pub errors: Vec<String>,
    /// The longest that a write took.
    pub longest: Duration,
}

impl Clients {
    /// So many that write and so many that read, through each of these edges.
    pub fn begin(edges: &[&Edge], writers: usize, readers: usize, since: Instant) -> Clients {
        let each = writers + readers;
        let answers = (0..edges.len() * each).map(|_| AtomicU64::default()).collect();
        let shared = Arc::new(Shared { over: AtomicBool::default(), round: AtomicU64::default(), answers });
        let begin = |nth: usize| {
            let (shared, writes) = (Arc::clone(&shared), nth % each < writers);
            let client = Client::new(nth, edges[nth / each].address(), since);
            thread::spawn(move || shared.busy(nth, client, writes))
        };
        Clients { threads: (0..edges.len() * each).map(begin).collect(), shared }
    }

    /// Waits until each has had two answers to what it sent since; then they turn to new lists.
    pub fn go_on(&self) {
        let answers = || self.shared.answers.iter().map(|answers| answers.load(Relaxed));
        // The first may have been under way before.
        let until: Vec<_> = answers().map(|answers| answers + 3).collect();
        eventually("all clients go on", || answers().zip(&until).all(|(now, until)| now >= *until));
        self.shared.round.fetch_add(1, Relaxed);
    }

    /// Lets them end with the request they are at.
    pub fn end(self) -> Told {
        self.shared.over.store(true, Relaxed);
        let mut all = Told::default();
        for thread in self.threads {
            let told = thread.join().unwrap();
            all.history.extend(told.history);
            all.errors.extend(told.errors);
            all.longest = all.longest.max(told.longest);
        }
        all
    }
}

impl Shared {
    fn busy(&self, nth: usize, mut client: Client, writes: bool) -> Told {
        let mut told = Told::default();
        for number in nth as u64.. {
            if self.over.load(Relaxed) {
                break;
            }
            let list = format!("{}-{}", self.round.load(Relaxed), number % LISTS);
            let began = now();
            let (did, answer) = if writes { client.append(&list) } else { client.read(&list) };
            if writes {
                told.longest = told.longest.max(began.elapsed());
            }
            if did.answered.is_none() {
                told.errors.push(format!("{did:?}: {answer:?} {}", answer.text()));
            }
            if writes || did.answered.is_some() {
                told.history.push(did);
            }
            self.answers[nth].fetch_add(1, Relaxed);
        }
        told
    }
}

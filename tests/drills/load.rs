//! Clients under load: each sends one request after another, keeps its connection as a browser would, and notes what
//! came of every one.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use h2::Reason;

use crate::harness::{Answer, Ask, End, H2, PATIENCE, Wire, ask, eventually};

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// GETs of the tenant under test.
    Read,
    /// POSTs of the tenant under test, each with an id of its own.
    Write,
    /// A read or a write in turn, every 50 ms, of a tenant that the fault does not touch.
    Victim,
}

/// What came of one request.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: Kind,
    /// Of a write.
    pub id: Option<String>,
    pub began: Instant,
    pub ended: Instant,
    /// 0: no answer.
    pub status: u16,
    /// Whether the answer came to its end.
    pub whole: bool,
    /// Of a refusal.
    pub reason: Option<String>,
    /// Who answered.
    pub region: Option<String>,
}

impl Event {
    /// Whether it was answered well, to the end.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status) && self.whole
    }
}

/// Where clients go, and what they speak there.
#[derive(Clone, Copy)]
enum Door {
    Http1(SocketAddr),
    Http2(SocketAddr),
}

/// Clients to be.
pub struct Load {
    door: Door,
    clients: Vec<Client>,
}

#[derive(Clone)]
struct Client {
    door: Door,
    kind: Kind,
    tenant: &'static str,
    path: String,
    pace: Duration,
}

/// No clients yet, of the edge at `address`.
pub fn load(address: SocketAddr) -> Load {
    Load { door: Door::Http1(address), clients: Vec::new() }
}

impl Load {
    /// Those who are added from here on speak HTTP/2, to this address.
    pub fn http2(mut self, address: SocketAddr) -> Load {
        self.door = Door::Http2(address);
        self
    }

    /// Adds `count` readers of `tenant`.
    pub fn readers(self, count: usize, tenant: &'static str) -> Load {
        self.clients(count, Kind::Read, tenant, "/v1/cases", Duration::from_millis(5))
    }

    /// Adds `count` writers for `tenant`.
    pub fn writers(self, count: usize, tenant: &'static str) -> Load {
        self.clients(count, Kind::Write, tenant, "/v1/cases", Duration::from_millis(5))
    }

    /// Adds the victim.
    pub fn victim(self, tenant: &'static str) -> Load {
        self.clients(1, Kind::Victim, tenant, "/v1/cases", Duration::from_millis(50))
    }

    /// Adds `count` clients, that pause for `pace` between an answer and the next request.
    pub fn clients(
        mut self,
        count: usize,
        kind: Kind,
        tenant: &'static str,
        path: &str,
        pace: Duration,
    ) -> Load {
        let client = Client { door: self.door, kind, tenant, path: path.to_owned(), pace };
        self.clients.extend(std::iter::repeat_n(client, count));
        self
    }

    /// Lets them begin, and waits until each has had a good answer.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let clients = self.clients.into_iter().enumerate().map(|(number, client)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || client.run(number, &shared))
        });
        let clients: Vec<_> = clients.collect();
        let count = clients.len() as u64;
        let running = Running { shared, clients };
        eventually("every client has been answered", || {
            running.shared.answered_once.load(Ordering::SeqCst) == count
        });
        running
    }
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    events: Mutex<Vec<Event>>,
    answered_once: AtomicU64,
    farewells: Farewells,
}

/// The goodbyes that clients of HTTP/2 were told.
#[derive(Default, Debug)]
struct Farewells {
    /// All of them.
    heard: AtomicU64,
    /// Those that came while a request was on its way and left it out.
    left_out: AtomicU64,
}

/// A connection that a client keeps.
enum Kept {
    Http1(Wire),
    Http2(H2),
}

/// Clients at work.
pub struct Running {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Running {
    /// How many requests have ended that this holds for.
    pub fn count(&self, holds: impl Fn(&Event) -> bool) -> usize {
        self.shared.events.lock().unwrap().iter().filter(|event| holds(event)).count()
    }

    /// Goes on until so many more requests have ended that this holds for.
    #[track_caller]
    pub fn until(&self, more: usize, what: &str, holds: impl Fn(&Event) -> bool) {
        let before = self.count(&holds);
        eventually(what, || self.count(&holds) >= before + more);
    }

    /// Lets every client finish its request, and returns what came of all.
    pub fn stop(self) -> Seen {
        self.shared.done.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client got stuck");
        }
        let mut events = std::mem::take(&mut *self.shared.events.lock().unwrap());
        events.sort_by_key(|event| event.ended);
        let farewells = &self.shared.farewells;
        let [farewells, left_out] =
            [&farewells.heard, &farewells.left_out].map(|number| number.load(Ordering::Relaxed));
        Seen { events, farewells, left_out }
    }
}

impl Client {
    fn run(self, number: usize, shared: &Shared) {
        let mut kept = None;
        let mut well = false;
        for nth in 0_u64.. {
            if shared.done.load(Ordering::SeqCst) {
                return;
            }
            let writes = self.kind == Kind::Write || self.kind == Kind::Victim && nth % 2 == 1;
            let id = writes.then(|| format!("{}-{number}-{nth}", self.tenant));
            let event = self.once(&mut kept, id, shared);
            if event.is_good() && !well {
                well = true;
                shared.answered_once.fetch_add(1, Ordering::SeqCst);
            }
            shared.events.lock().unwrap().push(event);
            std::thread::sleep(self.pace);
        }
    }

    fn once(&self, kept: &mut Option<Kept>, id: Option<String>, shared: &Shared) -> Event {
        let host = format!("{}.app.example", self.tenant);
        let asked = match &id {
            None => ask("GET", &host, &self.path),
            Some(id) => ask("POST", &host, &self.path).header("X-Write-Id", id).body(id.as_bytes()),
        };
        let began = Instant::now();
        let answer = match self.door {
            Door::Http1(address) => exchange(address, kept, &asked.bytes()),
            Door::Http2(address) => exchange_http2(address, kept, &asked, &shared.farewells),
        };
        let (status, whole) = answer.as_ref().map_or((0, false), |a| (a.status, a.end != End::Aborted));
        let json = answer.as_ref().and_then(|a| serde_json::from_slice::<serde_json::Value>(&a.body).ok());
        let text = |key| json.as_ref().and_then(|json| json[key].as_str()).map(str::to_owned);
        let keeps = answer.as_ref().is_some_and(|a| {
            whole && a.end == End::Whole && a.header("connection").is_none_or(|said| said != "close")
        });
        if !keeps {
            *kept = None;
        }
        Event {
            kind: self.kind,
            id,
            began,
            ended: Instant::now(),
            status,
            whole,
            reason: text("reason"),
            region: text("region"),
        }
    }
}

/// Sends a request on the connection that was kept, or on a new one.
fn exchange(address: SocketAddr, kept: &mut Option<Kept>, request: &[u8]) -> Option<Answer> {
    if kept.is_none() {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        // Longer than any deadline of the drills, so a request that hangs is told from one that is late.
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        *kept = Some(Kept::Http1(Wire::over(stream)));
    }
    let Some(Kept::Http1(wire)) = kept else { return None };
    wire.try_send(request).then(|| wire.answer_to("GET"))?
}

/// The same over HTTP/2. Where the server has said goodbye, another connection is opened. A request whose stream the
/// goodbye leaves out was not begun with (RFC 9113, 6.8), so it is sent again; the regions tell whether that is true.
fn exchange_http2(
    address: SocketAddr,
    kept: &mut Option<Kept>,
    request: &Ask,
    farewells: &Farewells,
) -> Option<Answer> {
    loop {
        if kept.is_none() {
            *kept = Some(Kept::Http2(H2::try_plain(address)?));
        }
        let Some(Kept::Http2(h2)) = kept else { return None };
        let (error, sent) = match h2.try_send(request) {
            Ok(mut asked) => match asked.reply() {
                Ok(reply) => return Some(reply.answer),
                Err(error) => (error, true),
            },
            Err(error) => (error, false),
        };
        if !(error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)) {
            return None;
        }
        farewells.heard.fetch_add(1, Ordering::Relaxed);
        farewells.left_out.fetch_add(u64::from(sent), Ordering::Relaxed);
        *kept = None;
    }
}

/// What came of all requests, in the order in which they ended.
pub struct Seen {
    pub events: Vec<Event>,
    /// How often a client of HTTP/2 was told goodbye, and opened another connection.
    pub farewells: u64,
    /// How often that left out a request which was on its way, and was sent again.
    pub left_out: u64,
}

/// How many successes in a row say that all is well again.
const IN_A_ROW: usize = 100;

impl Seen {
    /// Those of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// How many of one kind there are that this holds for.
    pub fn count(&self, kind: Kind, holds: impl Fn(&Event) -> bool) -> usize {
        self.of(kind).filter(|event| holds(event)).count()
    }

    /// How many of one kind were not answered well.
    pub fn failed(&self, kind: Kind) -> usize {
        self.count(kind, |event| !event.is_good())
    }

    /// From `fault` to the beginning of the first of a hundred successes in a row; `None`: they never came.
    pub fn recovered(&self, kind: Kind, fault: Instant) -> Option<Duration> {
        let (mut row, mut first) = (0, fault);
        for event in self.of(kind).filter(|event| event.ended >= fault) {
            if !event.is_good() {
                row = 0;
                continue;
            }
            if row == 0 {
                first = event.began.max(fault);
            }
            row += 1;
            if row == IN_A_ROW {
                return Some(first - fault);
            }
        }
        None
    }

    /// The slowest of those that this holds for.
    pub fn slowest(&self, holds: impl Fn(&Event) -> bool) -> Duration {
        let took = self.events.iter().filter(|event| holds(event)).map(|event| event.ended - event.began);
        took.max().unwrap_or_default()
    }

    /// The time that 99 of 100 requests of one kind stayed under.
    pub fn p99(&self, kind: Kind) -> Duration {
        let mut took: Vec<_> = self.of(kind).map(|event| event.ended - event.began).collect();
        took.sort();
        took.get(took.len() * 99 / 100).or(took.last()).copied().unwrap_or_default()
    }

    /// How often each outcome came up among one kind: `200×12 503 owner_unavailable×3`.
    pub fn outcomes(&self, kind: Kind) -> String {
        let mut counted = std::collections::BTreeMap::new();
        for event in self.of(kind) {
            let said = match (event.status, event.whole, &event.reason) {
                (0, ..) => "no answer".to_owned(),
                (status, false, _) => format!("{status} cut off"),
                (status, true, Some(reason)) => format!("{status} {reason}"),
                (status, true, None) => status.to_string(),
            };
            *counted.entry(said).or_insert(0_usize) += 1;
        }
        let told: Vec<_> = counted.into_iter().map(|(said, times)| format!("{said}×{times}")).collect();
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    }
}

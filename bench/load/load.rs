//! The clients. Two loads, over the same stream of requests:
//!
//! - *closed*: each connection asks again once it is answered, so the contender is never without work;
//! - *at a rate* (`--rate N`): requests come when they are due, whatever has become of those before. What a request waits
//!   for a free connection counts, so a contender that stands still for a second is seen to have done so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::options::Options;
use crate::requests::Ask;
use crate::usage::Watched;
use crate::wire::{Outcome, Way, Wire};

/// So long after the end an answer may still come.
const LATE: Duration = Duration::from_secs(5);

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(10);

/// What all connections share.
struct Clients {
    way: Way,
    tenants: u64,
    next: Cell<u64>,
    /// What was due from then on counts.
    counts_from: Cell<Option<Instant>>,
    is_over: Cell<bool>,
    tally: RefCell<Tally>,
    /// Requests that are due, with their number and when they were.
    due: RefCell<VecDeque<(u64, Instant)>>,
    came_due: Notify,
}

#[derive(Default)]
struct Tally {
    right: u64,
    errors: u64,
    wrong_region: u64,
    wrong_headers: u64,
    wrong_answer: u64,
    /// The first thing that went wrong, in words.
    first: Option<String>,
    /// Of each answer: when its request was due, and how long it took from then, in nanoseconds.
    took: Vec<(Instant, u64)>,
}

impl Tally {
    fn add(&mut self, outcome: &std::io::Result<Outcome>) {
        match outcome {
            Ok(Outcome::Right) => self.right += 1,
            Ok(Outcome::WrongRegion) => self.wrong_region += 1,
            Ok(Outcome::WrongHeaders) => self.wrong_headers += 1,
            Ok(Outcome::WrongAnswer) => self.wrong_answer += 1,
            Err(_) => self.errors += 1,
        }
        if !matches!(outcome, Ok(Outcome::Right)) && self.first.is_none() {
            self.first = Some(format!("{outcome:?}").replace(['"', '\\'], "'"));
        }
    }
}

impl Clients {
    async fn connect(&self) -> Wire {
        loop {
            match self.way.connect().await {
                Ok(wire) => return wire,
                Err(cause) => {
                    self.tally.borrow_mut().add(&Err(cause));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Asks one after the other, until it is over.
    async fn closed(self: Rc<Self>, mut wire: Wire) {
        while !self.is_over.get() {
            let number = self.next.replace(self.next.get() + 1);
            let began = Instant::now();
            self.ask(&mut wire, number, began).await;
        }
    }

    /// Asks what is due, until it is over.
    async fn at_rate(self: Rc<Self>, mut wire: Wire) {
        while !self.is_over.get() {
            let next = self.due.borrow_mut().pop_front();
            match next {
                Some((number, due)) => self.ask(&mut wire, number, due).await,
                None => self.came_due.notified().await,
            }
        }
    }

    async fn ask(&self, wire: &mut Wire, number: u64, due: Instant) {
        let outcome = wire.ask(&Ask::nth(number, self.tenants)).await;
        let counts = self.counts_from.get().is_some_and(|from| due >= from);
        if counts {
            self.tally.borrow_mut().took.push((due, due.elapsed().as_nanos() as u64));
        }
        // What went wrong counts whenever it did.
        if counts || !matches!(outcome, Ok(Outcome::Right)) {
            self.tally.borrow_mut().add(&outcome);
        }
        if outcome.is_err() || wire.is_over() {
            *wire = self.connect().await;
        }
    }
}

/// `--connections N` (with `--streams N` each, over HTTP/2), `--warmup SECONDS`, `--seconds SECONDS`, `--rate N`,
/// `--first N` is the number of the first request, `--timeline FILE` takes every single time.
pub async fn run(options: &Options) {
    let way = Way::of(options);
    let watched = Watched::of(options.text("pids").unwrap_or_default(), options.or("hertz", 100));
    let streams = if way.is_http2() { options.or("streams", 8) } else { 1 };
    let rate: u64 = options.or("rate", 0);
    let clients = Rc::new(Clients {
        way,
        tenants: options.or("tenants", 100_000),
        next: Cell::new(options.or("first", 0)),
        counts_from: Cell::new(None),
        is_over: Cell::new(false),
        tally: RefCell::default(),
        due: RefCell::default(),
        came_due: Notify::new(),
    });
    for _ in 0..options.or("connections", 64_usize) {
        let wire = clients.connect().await;
        for stream in 0..streams {
            let own = if stream + 1 == streams { None } else { wire.stream() };
            if let Some(own) = own {
                start(&clients, own, rate > 0);
            }
        }
        start(&clients, wire, rate > 0);
    }
    let warmup = Duration::from_secs_f64(options.or("warmup", 1.0));
    let length = Duration::from_secs_f64(options.get("seconds"));
    let began = if rate > 0 {
        at_rate(&clients, &watched, rate, warmup, length).await
    } else {
        tokio::time::sleep(warmup).await;
        let began = Begun::now(&watched);
        clients.counts_from.set(Some(began.at));
        tokio::time::sleep(length).await;
        began
    };
    let took = began.at.elapsed();
    let cpu = watched.cpu().saturating_sub(began.cpu);
    let answered = clients.tally.borrow().took.len();
    if rate > 0 {
        settle(&clients, began.expected).await;
    }
    clients.is_over.set(true);
    report(options, &clients, &began, took, cpu, answered);
}

/// Gives what was asked in time a while to be answered.
async fn settle(clients: &Clients, expected: usize) {
    let until = Instant::now() + LATE;
    while clients.tally.borrow().took.len() < expected && Instant::now() < until {
        tokio::time::sleep(AGAIN).await;
    }
}

fn start(clients: &Rc<Clients>, wire: Wire, at_rate: bool) {
    let clients = Rc::clone(clients);
    if at_rate {
        tokio::task::spawn_local(clients.at_rate(wire));
    } else {
        tokio::task::spawn_local(clients.closed(wire));
    }
}

/// The moment from which answers count.
struct Begun {
    at: Instant,
    wall: SystemTime,
    cpu: u64,
    /// How many answers have to come.
    expected: usize,
}

impl Begun {
    fn now(watched: &Watched) -> Self {
        Self { at: Instant::now(), wall: SystemTime::now(), cpu: watched.cpu(), expected: 0 }
    }
}

/// Hands out requests as they come due, by a timer of the system: the runtime's own is a millisecond coarse.
async fn at_rate(
    clients: &Clients,
    watched: &Watched,
    rate: u64,
    warmup: Duration,
    length: Duration,
) -> Begun {
    let every = Duration::from_nanos(1_000_000_000 / rate);
    let timer =
        rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).expect("a timer");
    let spec = Timespec { tv_sec: every.as_secs() as i64, tv_nsec: i64::from(every.subsec_nanos()) };
    let setting = Itimerspec { it_interval: spec, it_value: spec };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting).expect("a timer");
    #[expect(deprecated, reason = "what replaces it is unsafe; the timer is owned here until it is dropped")]
    let timer = AsyncFd::new(timer).expect("a timer");
    let start = Instant::now();
    let mut due = start + every;
    let mut begun: Option<Begun> = None;
    loop {
        wait(&timer).await;
        let now = Instant::now();
        if begun.as_ref().is_some_and(|begun| now >= begun.at + length)
            && let Some(begun) = begun.take()
        {
            return begun;
        }
        if begun.is_none() && now >= start + warmup {
            let new = Begun::now(watched);
            clients.counts_from.set(Some(new.at));
            due = new.at;
            clients.due.borrow_mut().clear();
            begun = Some(new);
        }
        while due <= now {
            let number = clients.next.replace(clients.next.get() + 1);
            clients.due.borrow_mut().push_back((number, due));
            clients.came_due.notify_one();
            due += every;
            if let Some(begun) = &mut begun {
                begun.expected += 1;
            }
        }
    }
}

/// Until the timer has run out once more.
async fn wait(timer: &AsyncFd<OwnedFd>) {
    loop {
        let mut ready = timer.readable().await.expect("a timer");
        if ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?)).is_ok() {
            return;
        }
    }
}

fn report(options: &Options, clients: &Clients, began: &Begun, took: Duration, cpu: u64, answered: usize) {
    let mut tally = clients.tally.borrow_mut();
    let unanswered = began.expected.saturating_sub(tally.took.len()) as u64;
    if let Some(path) = options.text("timeline") {
        timeline(path, began, &tally.took);
    }
    let mut times: Vec<u64> = tally.took.drain(..).map(|(_, took)| took).collect();
    times.sort_unstable();
    let first = tally.first.take().unwrap_or_default();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(place).copied().unwrap_or(0) as f64 / 1000.0
    };
    let seconds = took.as_secs_f64();
    let per_request = cpu as f64 / 1000.0 / answered.max(1) as f64;
    println!(
        r#"{{"answered": {answered}, "seconds": {seconds:.4}, "rps": {:.1}, "cpu_us": {per_request:.3}, "busy": {:.4}, "p50_us": {:.1}, "p99_us": {:.1}, "p999_us": {:.1}, "max_us": {:.1}, "right": {}, "errors": {}, "unanswered": {unanswered}, "wrong_region": {}, "wrong_headers": {}, "wrong_answer": {}, "first_wrong": "{}"}}"#,
        answered as f64 / seconds,
        cpu as f64 / took.as_nanos() as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        tally.right,
        tally.errors,
        tally.wrong_region,
        tally.wrong_headers,
        tally.wrong_answer,
        first,
    );
}

/// Pairs of numbers of 8 bytes, in the machine's order: when a request was due, in nanoseconds since 1970, and how long it
/// took.
fn timeline(path: &str, began: &Begun, took: &[(Instant, u64)]) {
    let begin = began.wall.duration_since(UNIX_EPOCH).expect("a clock that is right").as_nanos() as u64;
    let mut bytes = Vec::with_capacity(took.len() * 16);
    for (due, took) in took {
        let after = due.saturating_duration_since(began.at).as_nanos() as u64;
        bytes.extend_from_slice(&(begin + after).to_ne_bytes());
        bytes.extend_from_slice(&took.to_ne_bytes());
    }
    std::fs::write(path, bytes).expect("the timeline is written");
}

//! Clients of a drill: each sends one request after another, and writes down what came of every one.
//!
//! Each key has one writer, who writes 1, 2, 3 and so on, so that whoever reads knows how old an answer is.
//!
//! Never: sends a request twice. What a region executed twice, the edge sent twice.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HeaderMap};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::history::{Ask, Asked, Came, History};
use super::world::{DEADLINE, Tenants};
use crate::control::clock::Clock;

/// Writers of the tenant under test, each with a key of its own.
const WRITERS: usize = 3;
/// Local readers of it.
const READERS: usize = 2;
/// Between an answer and the next request of a writer or reader.
const PAUSE: Duration = Duration::from_millis(10);
/// The same of whoever only shows that others go on.
const CALM: Duration = Duration::from_millis(30);
/// Every so many writes, the writer reads with its pin.
const READ_BACK: u64 = 3;
/// No request of a sound edge takes so long.
const PATIENCE: Duration = Duration::from_secs(DEADLINE.as_secs() + 3);

/// Clients at work, until they are told to end.
pub struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    edges: Vec<SocketAddr>,
    clock: Clock,
    tenants: Tenants,
    done: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    /// The newest number of each writer's key that was acknowledged.
    acknowledged: [AtomicU64; WRITERS],
}

impl Load {
    /// Begins to ask the edges at `edges`, each client one of them; times are by `clock`.
    pub fn begin(on: &Handle, edges: &[SocketAddr], clock: &Clock, tenants: &Tenants) -> Self {
        let shared = Arc::new(Shared {
            edges: edges.to_vec(),
            clock: clock.clone(),
            tenants: tenants.clone(),
            done: AtomicBool::new(false),
            asked: Mutex::default(),
            acknowledged: Default::default(),
        });
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn_on(write(Arc::clone(&shared), writer), on);
        }
        for reader in 0..READERS {
            tasks.spawn_on(read(Arc::clone(&shared), Ask::Local, reader), on);
        }
        for reader in 0..edges.len() {
            tasks.spawn_on(read(Arc::clone(&shared), Ask::Strong, reader), on);
        }
        tasks.spawn_on(bound(Arc::clone(&shared)), on);
        tasks.spawn_on(calm(Arc::clone(&shared)), on);
        Self { shared, tasks }
    }

    /// What has been asked so far.
    pub fn so_far<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        let mut asked = self.shared.lock();
        let history = History(std::mem::take(&mut *asked));
        let seen = look(&history);
        *asked = history.0;
        seen
    }

    /// How many of these have been answered well.
    pub fn good(&self, asks: &[Ask]) -> usize {
        self.so_far(|history| history.of(asks).filter(|asked| asked.is_good()).count())
    }

    /// Lets every client finish, reads each key once more at its owner, and hands out what was asked.
    pub async fn end(mut self) -> History {
        self.shared.done.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
        let mut wire = Wire::to(&self.shared, 0);
        for writer in 0..WRITERS {
            self.shared.read_once(&mut wire, Ask::Strong, writer).await;
        }
        History(std::mem::take(&mut *self.shared.lock()))
    }
}

async fn write(shared: Arc<Shared>, writer: usize) {
    let (key, tenant) = (shared.key(writer), shared.tenants.main.clone());
    let mut wire = Wire::to(&shared, writer);
    let mut pin = None;
    for number in 1.. {
        if shared.is_done() {
            return;
        }
        let put = Sent::put(&tenant, &key, number);
        let (asked, headers) = shared.ask(&mut wire, Ask::Write, &key, number, put).await;
        if let Some(token) = headers.and_then(|headers| headers.get("x-consistency-token").cloned()) {
            pin = Some(token);
        }
        if asked.is_good() {
            shared.newest(writer).store(number, Ordering::SeqCst);
        }
        shared.note(asked);
        if let (true, Some(pin)) = (number % READ_BACK == 0, &pin) {
            let acknowledged = shared.newest(writer).load(Ordering::SeqCst);
            let mut get = Sent::get(&tenant, &key);
            get.0.headers_mut().insert("x-consistency-token", pin.clone());
            let (asked, _) = shared.ask(&mut wire, Ask::Session, &key, acknowledged, get).await;
            shared.note(asked);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(shared: Arc<Shared>, ask: Ask, first: usize) {
    let mut wire = Wire::to(&shared, first);
    for turn in first.. {
        if shared.is_done() {
            return;
        }
        shared.read_once(&mut wire, ask, turn % WRITERS).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn bound(shared: Arc<Shared>) {
    let (tenant, mut wire) = (shared.tenants.bound.clone(), Wire::to(&shared, 0));
    for number in 1.. {
        if shared.is_done() {
            return;
        }
        let put = Sent::put(&tenant, &tenant, number);
        let (asked, _) = shared.ask(&mut wire, Ask::Bound, &tenant, number, put).await;
        shared.note(asked);
        tokio::time::sleep(CALM).await;
    }
}

async fn calm(shared: Arc<Shared>) {
    let (tenant, mut wire) = (shared.tenants.calm.clone(), Wire::to(&shared, 0));
    for number in 1.. {
        if shared.is_done() {
            return;
        }
        let sent =
            if number % 2 == 0 { Sent::get(&tenant, &tenant) } else { Sent::put(&tenant, &tenant, number) };
        let (asked, _) = shared.ask(&mut wire, Ask::Calm, &tenant, number, sent).await;
        shared.note(asked);
        tokio::time::sleep(CALM).await;
    }
}

impl Shared {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, asked: Asked) {
        self.lock().push(asked);
    }

    fn key(&self, writer: usize) -> String {
        format!("{}-{writer}", self.tenants.main)
    }

    fn newest(&self, writer: usize) -> &AtomicU64 {
        let [first, ..] = &self.acknowledged;
        self.acknowledged.get(writer).unwrap_or(first)
    }

    async fn read_once(&self, wire: &mut Wire, ask: Ask, writer: usize) {
        let (key, acknowledged) = (self.key(writer), self.newest(writer).load(Ordering::SeqCst));
        let mut get = Sent::get(&self.tenants.main, &key);
        if ask == Ask::Strong {
            get.0.headers_mut().insert("x-consistency", hyper::header::HeaderValue::from_static("strong"));
        }
        let (asked, _) = self.ask(wire, ask, &key, acknowledged, get).await;
        self.note(asked);
    }

    /// Sends it, and waits for what comes; the headers are those of an answer.
    async fn ask(
        &self,
        wire: &mut Wire,
        ask: Ask,
        key: &str,
        number: u64,
        sent: Sent,
    ) -> (Asked, Option<HeaderMap>) {
        let began = self.clock.elapsed();
        let answer = tokio::time::timeout(PATIENCE, wire.send(sent)).await;
        let ended = self.clock.elapsed();
        let (came, headers) = match answer {
            Ok(Ok((status, headers, body))) => (came(status, &headers, &body), Some(headers)),
            Ok(Err(why)) => (Came::Nothing(why), None),
            Err(_) => (Came::Hung, None),
        };
        (Asked { ask, key: key.to_owned(), number, began, ended, came }, headers)
    }
}

fn came(status: u16, headers: &HeaderMap, body: &Bytes) -> Came {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |key: &str| said.get(key).and_then(Value::as_str).map(str::to_owned);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Came::Answer {
        status,
        reason: word("reason").or_else(|| word("error")),
        region: header("x-served-region"),
        value: word("value").and_then(|value| value.parse().ok()),
        degraded: header("x-consistency").as_deref() == Some("local"),
    }
}

/// A request to be sent.
struct Sent(Request<Full<Bytes>>);

impl Sent {
    fn get(tenant: &str, key: &str) -> Self {
        Self::new("GET", tenant, key, String::new())
    }

    fn put(tenant: &str, key: &str, number: u64) -> Self {
        let mut put = Self::new("PUT", tenant, key, number.to_string());
        if let Ok(id) = format!("{key}-{number}").parse() {
            put.0.headers_mut().insert("x-write-id", id);
        }
        put
    }

    fn new(method: &str, tenant: &str, key: &str, body: String) -> Self {
        let request = Request::builder().method(method).uri(format!("/kv/{key}"));
        let request = request.header("host", format!("{tenant}.localhost")).body(Full::from(body));
        Self(request.unwrap_or_default())
    }
}

type Driven = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is kept from one request to the next.
struct Wire {
    edge: SocketAddr,
    kept: Option<(SendRequest<Full<Bytes>>, Driven)>,
}

impl Wire {
    /// A wire of the client of this number.
    fn to(shared: &Shared, client: usize) -> Self {
        let edge = shared.edges.get(client % shared.edges.len().max(1));
        Self { edge: edge.copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))), kept: None }
    }

    /// Sends it once. A connection on which anything went wrong is not kept.
    async fn send(&mut self, sent: Sent) -> Result<(u16, HeaderMap, Bytes), String> {
        let (mut sender, mut driven) = match self.kept.take() {
            Some(kept) => kept,
            None => connect(self.edge).await?,
        };
        let (answer, over) = {
            let mut exchange = std::pin::pin!(async {
                sender.ready().await?;
                let answer = sender.send_request(sent.0).await?;
                let (head, body) = answer.into_parts();
                Ok((head, body.collect().await?.to_bytes()))
            });
            tokio::select! {
                answer = &mut exchange => (answer, false),
                // It is over, and may have left an answer behind.
                () = &mut driven => (exchange.as_mut().await, true),
            }
        };
        let (head, body) = answer.map_err(|cause: hyper::Error| told(&cause))?;
        let closes =
            head.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        if !over && !closes {
            self.kept = Some((sender, driven));
        }
        Ok((head.status.as_u16(), head.headers, body))
    }
}

async fn connect(edge: SocketAddr) -> Result<(SendRequest<Full<Bytes>>, Driven), String> {
    let stream = TcpStream::connect(edge).await.map_err(|cause| format!("no connection: {cause}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|cause| told(&cause))?;
    let driven = Box::pin(async move {
        // How it ends, the exchange on it tells.
        let _ = connection.await;
    });
    Ok((sender, driven))
}

fn told(cause: &hyper::Error) -> String {
    format!("no answer: {cause}")
}

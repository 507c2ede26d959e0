//! What a fault region has seen: bytes, requests and counts, in bounded memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::state::lock;
use super::wire::Head;

/// Bytes that are kept of one connection.
pub(super) const MOST_BYTES: usize = 64 * 1024;
/// Connections that are kept, and requests; the counters go on beyond.
const MOST_CONNECTIONS: usize = 4096;
const MOST_REQUESTS: usize = 100_000;

/// One connection that brought more than health checks: the first 64 KiB of what came, health checks
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// As they came.
    pub bytes: Vec<u8>,
    /// Whether more came than was kept.
    pub cut: bool,
}

/// One request whose head came whole, `/health` excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// The target, as sent.
    pub target: String,
    /// `Idempotency-Key`, else `X-Write-Id`.
    pub id: Option<String>,
    /// `X-Tenant-ID`.
    pub tenant: Option<String>,
    /// `X-Owner-Epoch`.
    pub epoch: Option<String>,
    /// Whether its body came whole too: a region that executes requests would have executed this one.
    pub whole: bool,
}

/// What a fault region has seen. Reached through [`RunningFaultRegion`](super::RunningFaultRegion).
#[derive(Default)]
pub struct Ledger {
    records: Kept<Recorded>,
    seen: Kept<SeenRequest>,
    connections: AtomicU64,
    begun: AtomicU64,
    whole: AtomicU64,
    unasked: AtomicU64,
    health_checks: AtomicU64,
}

/// Newest last; each entry is still being written by its connection.
type Kept<T> = Mutex<VecDeque<Arc<Mutex<T>>>>;

impl Ledger {
    /// What each connection brought, oldest first: the last 4096 of them.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.records).iter().map(|kept| lock(kept).clone()).collect()
    }

    /// The requests seen, oldest first: the last 100,000 of them.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.seen).iter().map(|kept| lock(kept).clone()).collect()
    }

    /// How often a request of this `Idempotency-Key` or `X-Write-Id` came whole.
    pub fn executions_of(&self, id: &str) -> usize {
        self.requests().iter().filter(|seen| seen.whole && seen.id.as_deref() == Some(id)).count()
    }

    /// Requests whose head came whole, `/health` excepted.
    pub fn requests_begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// Requests whose body came whole too.
    pub fn whole_requests(&self) -> u64 {
        self.whole.load(SeqCst)
    }

    /// How often the region has spoken later than it was asked, and is done with it.
    pub fn unasked_said(&self) -> u64 {
        self.unasked.load(SeqCst)
    }

    /// Requests for `/health`.
    pub fn health_checks_seen(&self) -> u64 {
        self.health_checks.load(SeqCst)
    }

    /// Connections accepted, for whatever purpose.
    pub fn connections_seen(&self) -> u64 {
        self.connections.load(SeqCst)
    }

    pub(super) fn connection_arrived(&self) {
        self.connections.fetch_add(1, SeqCst);
    }

    pub(super) fn spoke_unasked(&self) {
        self.unasked.fetch_add(1, SeqCst);
    }

    pub(super) fn health_check_arrived(&self) {
        self.health_checks.fetch_add(1, SeqCst);
    }

    pub(super) fn open_record(&self) -> Arc<Mutex<Recorded>> {
        keep(&self.records, MOST_CONNECTIONS, Recorded::default())
    }

    pub(super) fn request_arrived(&self, head: &Head) -> Arc<Mutex<SeenRequest>> {
        self.begun.fetch_add(1, SeqCst);
        let (method, target) = (head.method.clone(), head.target.clone());
        let (tenant, epoch) = (head.tenant.clone(), head.epoch.clone());
        let seen = SeenRequest { method, target, id: head.id.clone(), tenant, epoch, whole: false };
        keep(&self.seen, MOST_REQUESTS, seen)
    }

    pub(super) fn request_is_whole(&self, seen: &Mutex<SeenRequest>) {
        lock(seen).whole = true;
        self.whole.fetch_add(1, SeqCst);
    }
}

fn keep<T>(all: &Kept<T>, most: usize, new: T) -> Arc<Mutex<T>> {
    let new = Arc::new(Mutex::new(new));
    let mut all = lock(all);
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(Arc::clone(&new));
    new
}

/// Adds what came to a record, as far as there is room.
pub(super) fn note(record: &Mutex<Recorded>, bytes: &[u8]) {
    let mut record = lock(record);
    let room = MOST_BYTES - record.bytes.len();
    record.cut |= bytes.len() > room;
    record.bytes.extend(bytes.iter().take(room));
}

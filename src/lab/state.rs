//! The state one toy region shares between its endpoints, its replication and whoever holds its handle:
//! what it says of itself, how it misbehaves on request, and what it has seen.
//!
//! What a region reports and what it does are apart on purpose: a region that reports its writes `DOWN`
//! still executes one that arrives, so that a test can see a request that should never have come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::replication::Link;
use super::store::{Change, Full, Slot, Store, Versioned, Written};

/// Executions that are remembered one by one; the counters go on beyond.
const REMEMBERED: usize = 100_000;
/// Tenants that are remembered.
const MOST_TENANTS: usize = 100_000;

/// How a region, or a capability of it, says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Takes traffic.
    Up,
    /// Takes traffic, with reluctance.
    Degraded,
    /// Takes none.
    Down,
}

/// One write that a region executed, by the headers it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// `Idempotency-Key`, else `X-Write-Id`.
    pub id: Option<String>,
    /// `X-Tenant-ID`.
    pub tenant: Option<String>,
    /// The key, for a write below `/kv/`.
    pub key: Option<String>,
    /// The method, as sent.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// `X-Owner-Region`, as sent.
    pub owner_region: Option<String>,
    /// `X-Owner-Epoch`, as sent.
    pub owner_epoch: Option<String>,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// The position that the write took.
    pub position: u64,
    /// When it was executed, by the one clock of all regions of this process.
    pub at: Instant,
}

/// What a region knows, reports and counts. Reached through
/// [`RunningRegion`](super::RunningRegion), or shared with [`RunningRegion::state`](super::RunningRegion::state).
pub struct RegionState {
    name: Arc<str>,
    dials: Mutex<Dials>,
    executions: Mutex<VecDeque<Execution>>,
    tenants: Mutex<BTreeSet<String>>,
    counts: Counts,
    pub(super) store: Mutex<Store>,
    pub(super) links: Mutex<Vec<Link>>,
    pub(super) wake: Arc<Notify>,
    reachable: AtomicBool,
    silent: watch::Sender<bool>,
}

/// What a region tells of how far its copy goes. Its writes carry their position where it tells positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// Positions and lags.
    Both,
    /// Positions alone.
    Positions,
    /// Lags alone.
    Lags,
    /// Neither.
    Nothing,
}

impl Tells {
    pub(super) fn positions(self) -> bool {
        matches!(self, Tells::Both | Tells::Positions)
    }

    fn lags(self) -> bool {
        matches!(self, Tells::Both | Tells::Lags)
    }
}

struct Dials {
    tells: Tells,
    status: Status,
    capabilities: BTreeMap<String, Status>,
    delay: Duration,
    failures: Option<Failures>,
    accepts_writes: bool,
}

#[derive(Clone, Copy)]
struct Failures {
    left: u64,
    status: StatusCode,
    execute: bool,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    requests: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    executed: AtomicU64,
    health_checks: AtomicU64,
    in_flight: AtomicU64,
}

/// What is to become of one request that was told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) execute: bool,
}

/// Counts a request as in flight for as long as it lives.
pub(super) struct InFlight(Arc<RegionState>);

impl RegionState {
    pub(super) fn new(name: &str, capabilities: BTreeMap<String, Status>) -> RegionState {
        let name: Arc<str> = name.into();
        RegionState {
            store: Mutex::new(Store::new(Arc::clone(&name))),
            name,
            dials: Mutex::new(Dials {
                tells: Tells::Both,
                status: Status::Up,
                capabilities,
                delay: Duration::ZERO,
                failures: None,
                accepts_writes: true,
            }),
            executions: Mutex::default(),
            tenants: Mutex::default(),
            counts: Counts::default(),
            links: Mutex::default(),
            wake: Arc::default(),
            reachable: AtomicBool::new(true),
            silent: watch::Sender::new(false),
        }
    }

    /// The region's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `/health` says from now on; `Down` makes it answer 503. Requests are served as before.
    pub fn set_status(&self, status: Status) {
        lock(&self.dials).status = status;
    }

    /// What `/health` says of one capability from now on; a new name is added.
    pub fn set_capability(&self, name: &str, status: Status) {
        lock(&self.dials).capabilities.insert(name.to_owned(), status);
    }

    /// Holds every later answer back for `delay`, `/health` excepted. The work is done before the wait:
    /// who gives up meanwhile gives up on something that happened.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.dials).delay = delay;
    }

    /// Whether it accepts connections and requests, `/health` included, and neither executes nor answers them: a black
    /// hole to its clients. A request whose client has gone is forgotten; replication goes on.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Answers the next `count` requests with `status`, `/health` excepted, and does not execute them.
    pub fn fail_next(&self, count: u64, status: StatusCode) {
        lock(&self.dials).failures = Some(Failures { left: count, status, execute: false });
    }

    /// The same, but executes the writes among them: the answer that tempts a proxy to send twice.
    pub fn execute_then_fail_next(&self, count: u64, status: StatusCode) {
        lock(&self.dials).failures = Some(Failures { left: count, status, execute: true });
    }

    /// What `/health` and the answers to writes tell of positions and lags from now on.
    pub fn set_tells(&self, tells: Tells) {
        lock(&self.dials).tells = tells;
    }

    /// Whether writes are executed (the default) or answered 503 by the region itself.
    pub fn set_accepts_writes(&self, accepts: bool) {
        lock(&self.dials).accepts_writes = accepts;
    }

    /// The writes executed, oldest first: the last 100,000 of them.
    pub fn executions(&self) -> Vec<Execution> {
        lock(&self.executions).iter().cloned().collect()
    }

    /// How often the write of this `Idempotency-Key` or `X-Write-Id` was executed.
    pub fn executions_of(&self, id: &str) -> usize {
        lock(&self.executions).iter().filter(|done| done.id.as_deref() == Some(id)).count()
    }

    /// The tenants of the requests that arrived, by `X-Tenant-ID`.
    pub fn tenants_seen(&self) -> Vec<String> {
        lock(&self.tenants).iter().cloned().collect()
    }

    /// Writes executed since the start.
    pub fn writes_executed(&self) -> u64 {
        self.counts.executed.load(SeqCst)
    }

    /// Requests that arrived since the start, `/health` excepted.
    pub fn requests_seen(&self) -> u64 {
        self.counts.requests.load(SeqCst)
    }

    /// Writes among them (POST, PUT, PATCH, DELETE), executed or not.
    pub fn writes_seen(&self) -> u64 {
        self.counts.writes.load(SeqCst)
    }

    /// The rest of them.
    pub fn reads_seen(&self) -> u64 {
        self.counts.reads.load(SeqCst)
    }

    /// Requests for `/health`.
    pub fn health_checks_seen(&self) -> u64 {
        self.counts.health_checks.load(SeqCst)
    }

    /// Connections accepted since the start, for whatever purpose.
    pub fn connections_seen(&self) -> u64 {
        self.counts.connections.load(SeqCst)
    }

    /// Requests whose answer has not begun, `/health` excepted.
    pub fn in_flight(&self) -> u64 {
        self.counts.in_flight.load(SeqCst)
    }

    /// The position of the region's own last write; 0 before the first.
    pub fn position(&self) -> u64 {
        lock(&self.store).position()
    }

    pub(super) fn connection_arrived(&self) {
        self.counts.connections.fetch_add(1, SeqCst);
    }

    pub(super) fn request_arrived(self: &Arc<Self>, is_write: bool) -> InFlight {
        self.counts.requests.fetch_add(1, SeqCst);
        let kind = if is_write { &self.counts.writes } else { &self.counts.reads };
        kind.fetch_add(1, SeqCst);
        self.counts.in_flight.fetch_add(1, SeqCst);
        InFlight(Arc::clone(self))
    }

    pub(super) fn tenant_arrived(&self, tenant: &str) {
        let mut tenants = lock(&self.tenants);
        if tenants.len() < MOST_TENANTS && !tenants.contains(tenant) {
            tenants.insert(tenant.to_owned());
        }
    }

    pub(super) fn tells(&self) -> Tells {
        lock(&self.dials).tells
    }

    pub(super) fn delay(&self) -> Duration {
        lock(&self.dials).delay
    }

    pub(super) fn accepts_writes(&self) -> bool {
        lock(&self.dials).accepts_writes
    }

    /// What the next request is told to fail with, if it is; counts it.
    pub(super) fn next_failure(&self) -> Option<Failure> {
        let mut dials = lock(&self.dials);
        let failures = dials.failures.as_mut().filter(|failures| failures.left > 0)?;
        failures.left -= 1;
        Some(Failure { status: failures.status, execute: failures.execute })
    }

    pub(super) fn read(&self, slot: &Slot) -> Option<Versioned> {
        lock(&self.store).read(slot)
    }

    /// Waits while the region is silent.
    pub(super) async fn heard(&self) {
        // The sender lives as long as `self`.
        let _ = self.silent.subscribe().wait_for(|silent| !*silent).await;
    }

    /// Executes one write; `done.position` and `done.at` are filled in here.
    pub(super) fn execute(
        &self,
        mut done: Execution,
        change: Option<(Slot, Change)>,
    ) -> Result<Written, Full> {
        let mut store = lock(&self.store);
        done.at = Instant::now();
        let written = store.write(change, done.at)?;
        drop(store);
        done.position = written.position;
        self.counts.executed.fetch_add(1, SeqCst);
        let mut executions = lock(&self.executions);
        if executions.len() == REMEMBERED {
            executions.pop_front();
        }
        executions.push_back(done);
        Ok(written)
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(SeqCst)
    }

    pub(super) fn set_reachable(&self, reachable: bool) {
        self.reachable.store(reachable, SeqCst);
    }

    /// The answer of `/health`.
    pub(super) fn report(&self, now: Instant) -> Report {
        self.counts.health_checks.fetch_add(1, SeqCst);
        let mut replication = self.replication(now);
        let position = self.position().to_string();
        let dials = lock(&self.dials);
        for told in replication.values_mut() {
            told.lag_seconds = told.lag_seconds.filter(|_| dials.tells.lags());
            told.position = told.position.take().filter(|_| dials.tells.positions());
        }
        let position = dials.tells.positions().then_some(position);
        Report { status: dials.status, capabilities: dials.capabilities.clone(), position, replication }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.counts.in_flight.fetch_sub(1, SeqCst);
    }
}

/// The body of `/health`.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) status: Status,
    capabilities: BTreeMap<String, Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    replication: BTreeMap<String, Replicated>,
}

/// How far a region has followed another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Replicated {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lag_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<String>,
}

/// A toy goes on after a panic elsewhere: what it holds is never half changed.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

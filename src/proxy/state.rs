//! What is kept of one request while it runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrayvec::ArrayVec;
use http::header::HeaderName;
use rhumb_decision::reason::Refusal;
use rhumb_decision::units::{EndpointId, Key, RegionId};
use rhumb_decision::{Attempt, Decision};

use crate::control::live::{InFlight, Retrying, WriteInFlight};
use crate::control::snapshot::Current;
use crate::proxy::backlog::Backlog;
use crate::proxy::gate::GateCause;
use crate::proxy::gateway::FromEdge;
use crate::proxy::headers::forward::Scheme;
use crate::proxy::headers::trace::{RequestId, TraceParent};
use crate::proxy::identity::ClientIdentity;
use crate::proxy::line::Line;
use crate::proxy::pace::Owed;
use crate::proxy::pins::Carried;
use crate::proxy::prepared::Prepared;
use crate::proxy::repeats::Keyed;
use crate::proxy::rhumb::Rhumb;
use crate::proxy::traced::Spans;

/// How many endpoints one request may have tried; more are not asked.
pub(super) const MOST_TRIED: usize = 16;

/// What the connection learned of a request when it read its head, and passes on with it.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whether that is a proxy that could not name whom it speaks for.
    pub relayed: bool,
    /// Who the client is by its TLS handshake; `None`: there was none.
    pub identity: Option<Arc<ClientIdentity>>,
    /// How it was reached.
    pub scheme: Scheme,
    /// When the first byte of the head came, on the monotonic clock.
    pub began: Duration,
    /// How many bytes of the `Host` field are its name, where it came in normal form.
    pub host_len: usize,
    /// The host's name, where it came otherwise.
    pub host: Option<Box<str>>,
    /// Whether a body follows.
    pub has_body: bool,
    /// Whether its client waits for a go-ahead before it sends the body.
    pub expects: bool,
    /// Whether it asks for another protocol, properly.
    pub upgrade: bool,
    /// Fields that mean nothing and are taken off: an `Upgrade`, an `Expect`.
    pub ignored: ArrayVec<HeaderName, 2>,
    /// Whether the client takes what trails a response, which only HTTP/2 carries to it.
    pub takes_trailers: bool,
    /// `Max-Forwards` of OPTIONS.
    pub max_forwards: Option<u32>,
    /// Where to tell the connection what the request needs of it.
    pub line: Arc<Line>,
    /// What the client owes of its body.
    pub owed: Arc<Owed>,
    /// What of its response waits for the client.
    pub backlog: Arc<Backlog>,
    /// Set when the body's framing made no sense.
    pub fault: Arc<OnceLock<GateCause>>,
}

/// The request at hand. Small: one is made for each.
pub(crate) struct RequestState {
    /// What it is decided on, from its first byte to its last.
    pub(super) current: Arc<Current>,
    /// The same table, prepared.
    pub(super) prepared: Arc<Prepared>,
    /// How it arrived; `None` only before it was told.
    pub(super) arrived: Option<Box<Arrived>>,
    /// When it began, since 1970.
    pub(super) wall: Duration,
    /// Facts that the head alone does not hold.
    pub(super) facts: Drawn,
    /// At a gateway, the edge that it came from; `None`: this process is none, or nobody has proved to be an edge.
    pub(super) from_edge: Option<Box<FromEdge>>,
    /// Its id.
    pub(super) id: RequestId,
    /// Its place in a trace.
    pub(super) trace: TraceParent,
    /// What is recorded of it; `None`: nothing is.
    pub(super) spans: Option<Box<Spans>>,
    /// Fields to take off before it is sent on.
    pub(super) strip: Vec<HeaderName>,
    /// The pins that its client showed; `None`: none.
    pub(super) pins: Option<Box<Carried>>,
    /// A write with an `Idempotency-Key`, and where it was before.
    pub(super) keyed: Option<Box<Keyed>>,
    /// The last decision.
    pub(super) decision: Option<Decision>,
    /// Why it is answered here.
    pub(super) refusal: Option<Refusal>,
    /// Endpoints that failed.
    pub(super) tried: ArrayVec<Attempt, MOST_TRIED>,
    /// Attempts so far.
    pub(super) attempts: u8,
    /// Those among them, of a read, that a kept connection ate: the region had closed it before it heard of them.
    pub(super) stale: u8,
    /// The attempt at hand.
    pub(super) attempt: Option<CurrentAttempt>,
    /// Whether any of it may have reached a region.
    pub(super) sent: bool,
    /// How long the region took to begin its response.
    pub(super) region_took: Option<Duration>,
    /// Holds its place in the budget of the region that it goes on to.
    pub(super) retrying: Option<Retrying>,
    /// Since when it meets a gateway's fence, on the monotonic clock.
    pub(super) frozen_since: Option<Duration>,
    /// Counts it as a write in flight, from when it may be sent on.
    pub(super) write: Option<WriteInFlight>,
    /// When it has to be over, on the monotonic clock.
    pub(super) deadline: Option<Duration>,
    /// How long to wait before the next attempt.
    pub(super) pause: Option<Duration>,
    /// Whether the connection at hand leads to somebody who is not the region.
    pub(super) is_unproven: bool,
    /// Interim responses so far.
    pub(super) interim: u8,
    /// Whether the region's response is given up for a further attempt.
    pub(super) leaves_response: bool,
    /// Whether the region speaks another protocol than the table says; nothing was sent to it.
    pub(super) unspoken: bool,
    /// Whether it was a check of health that a gateway answered: nobody's request.
    pub(super) is_check: bool,
    /// Whether it was decided anew because a gateway knew a newer ownership.
    pub(super) redirected: bool,
    /// Whether it is a gRPC call.
    pub(super) grpc: bool,
    /// Whether it has become a tunnel.
    pub(super) tunnel: bool,
    /// Bytes of the request's body in this attempt.
    pub(super) body_bytes: u64,
}

/// What was drawn or looked up for a request once, and holds for all its decisions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    /// The client behind trusted proxies.
    pub client: Option<IpAddr>,
    /// Whether the peer is a trusted proxy.
    pub trusted: bool,
    /// What its session hashed to.
    pub session: Key,
    /// Drawn for it.
    pub chance: Key,
    /// The client's country.
    pub country: Option<[u8; 2]>,
    /// The hour, UTC.
    pub hour: u8,
    /// Whether it asks for a strong read.
    pub strong: bool,
    /// Whether it carries an `Idempotency-Key`.
    pub idempotency_key: bool,
    /// Whether it has waited as long as it may for its tenant's ownership.
    pub waited: bool,
}

/// One attempt, and what counts for it while it runs.
pub(super) struct CurrentAttempt {
    pub region: RegionId,
    pub endpoint: EndpointId,
    pub address: SocketAddr,
    pub began: Duration,
    /// Whether it is the one request that tries an ejected endpoint.
    pub on_trial: bool,
    /// Whether it has answered or failed.
    pub settled: bool,
    _in_flight: Option<InFlight>,
    _retrying: Option<Retrying>,
}

impl CurrentAttempt {
    pub fn new(
        at: Attempt,
        address: SocketAddr,
        began: Duration,
        on_trial: bool,
        counts: (Option<InFlight>, Option<Retrying>),
    ) -> Self {
        let Attempt { region, endpoint } = at;
        let (_in_flight, _retrying) = counts;
        Self { region, endpoint, address, began, on_trial, settled: false, _in_flight, _retrying }
    }
}

impl CurrentAttempt {
    /// Whether it has claimed the trial of this endpoint and does not know its end yet.
    pub fn holds_trial_of(&self, at: Attempt) -> bool {
        self.on_trial && !self.settled && (self.region, self.endpoint) == (at.region, at.endpoint)
    }
}

impl RequestState {
    /// A request that begins `now` (monotonic; `wall`: since 1970) on this snapshot.
    pub(super) fn new(current: Arc<Current>, prepared: Arc<Prepared>, wall: Duration) -> Self {
        Self {
            current,
            prepared,
            arrived: None,
            wall,
            facts: Drawn {
                client: None,
                trusted: false,
                session: Key(0),
                chance: Key(0),
                country: None,
                hour: 0,
                strong: false,
                idempotency_key: false,
                waited: false,
            },
            from_edge: None,
            id: RequestId::kept_or_made(None, super::chance::draw_wide()),
            trace: TraceParent { trace: 0, span: 0, sampled: false },
            spans: None,
            strip: Vec::new(),
            pins: None,
            keyed: None,
            decision: None,
            refusal: None,
            tried: ArrayVec::new(),
            attempts: 0,
            stale: 0,
            attempt: None,
            sent: false,
            region_took: None,
            retrying: None,
            frozen_since: None,
            write: None,
            deadline: None,
            pause: None,
            is_unproven: false,
            interim: 0,
            leaves_response: false,
            unspoken: false,
            is_check: false,
            redirected: false,
            grpc: false,
            tunnel: false,
            body_bytes: 0,
        }
    }

    /// Goes on with what is in force now; false: that is what it has. Whatever was tried was of another snapshot, whose
    /// ids may mean others.
    pub(super) fn renew(&mut self, rhumb: &Rhumb) -> bool {
        let current = rhumb.reader.current();
        let is_other = current.generation() != self.current.generation();
        if is_other {
            self.prepared = rhumb.cache.of(current.table());
            self.current = current;
            self.tried.clear();
            self.attempt = None;
        }
        is_other
    }

    /// What is left of its time at `now`; `None`: it has no limit.
    pub(super) fn remaining(&self, now: Duration) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(now))
    }

    /// Whether its time is up at `now`.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.remaining(now) == Some(Duration::ZERO)
    }
}

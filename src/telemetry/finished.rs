//! What is known of a request once it has ended.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rhumb_decision::reason::Refusal;
use rhumb_decision::units::RegionId;
use rhumb_decision::{Decision, Snapshot};

use crate::telemetry::traces::Traced;

/// One request, from its head to its last byte.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    /// What it was decided on.
    pub snapshot: &'a Snapshot,
    /// The last decision; `None`: it was refused before one was made.
    pub decision: Option<&'a Decision>,
    /// Why Rhumb answered by itself.
    pub refusal: Option<Refusal>,
    /// The region of this edge.
    pub source: RegionId,
    /// The status that the client got; 0: it left before an answer.
    pub status: u16,
    /// Tries in all; 0: nothing was sent.
    pub attempts: u8,
    /// From the first byte of the head to the end.
    pub duration: Duration,
    /// The part of it that the region took; `None`: nothing was sent.
    pub region_duration: Option<Duration>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Whom it came from.
    pub client: Option<IpAddr>,
    /// Whom its certificate names: the SPIFFE id, else the common name. `None`: it showed none.
    pub client_identity: Option<&'a str>,
    /// At a gateway, the edge that sent it: its SPIFFE id, or `key` and the name of its key. `None`: none did.
    pub edge: Option<&'a str>,
    /// The method, as it came.
    pub method: &'a str,
    /// The host, as far as it is known.
    pub host: &'a str,
    /// The path without the query.
    pub path: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The trace it belongs to; empty: none.
    pub trace_id: &'a str,
    /// The endpoint that answered, or was asked last.
    pub endpoint: Option<SocketAddr>,
    /// When it began: since 1970.
    pub wall: Duration,
    /// Its spans; `None`: it is not recorded for a trace.
    pub traced: Option<Traced<'a>>,
}

//! What a recorded request is said to have been: its span, and one for each attempt at a region.
//!
//! Names are those of OpenTelemetry's conventions for HTTP where they have one, and otherwise `rhumb.` with the word of
//! the access log. This is the only place that names them.
//!
//! Never: the query of a target, a header, or what a certificate says; a text longer than its bound.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use rhumb_decision::Decision;
use rhumb_decision::reason::Refusal;
use rhumb_decision::units::{EndpointId, RegionId};

use crate::telemetry::finished::Finished;

/// The longest text of an attribute, in bytes; a path may be as long as a head allows.
const LONGEST: usize = 1_024;

/// The longest `tracestate` that a span carries: what everybody has to take. A longer one is passed on all the same.
const LONGEST_STATE: usize = 512;

/// The methods that a span's name may hold; whatever else a client writes may be anything.
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// The place of a recorded request in its trace, and what the access log does not ask for.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// The trace.
    pub trace: u128,
    /// The request's own span.
    pub span: u64,
    /// The span that it belongs to; `None`: the trace began here.
    pub parent: Option<u64>,
    /// The `tracestate` that came with it; empty: none.
    pub state: &'a str,
    /// The attempts at regions, in their order.
    pub attempts: &'a [Attempted],
    /// When it ended, on the monotonic clock.
    pub now: Duration,
    /// The same moment since 1970.
    pub wall: Duration,
    /// `http` or `https`, as the client came.
    pub scheme: &'static str,
    /// The client's version of HTTP.
    pub version: &'static str,
}

/// One attempt at a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Its own span.
    pub span: u64,
    /// The region.
    pub region: RegionId,
    /// The endpoint within it.
    pub endpoint: EndpointId,
    /// Where that is.
    pub address: SocketAddr,
    /// When it began, on the monotonic clock.
    pub began: Duration,
    /// When it failed; `None`: it went on until the request ended.
    pub ended: Option<Duration>,
    /// The status that the region answered with.
    pub status: Option<u16>,
    /// How it failed, where no status tells it.
    pub failure: Option<&'static str>,
}

/// A request as it waits to be sent: nothing in it belongs to a table.
#[derive(Debug)]
pub(super) struct Record {
    pub trace: u128,
    pub state: Box<str>,
    pub request: Span,
    pub attempts: Vec<Span>,
}

/// One span.
#[derive(Debug)]
pub(super) struct Span {
    pub id: u64,
    pub parent: Option<u64>,
    pub name: Cow<'static, str>,
    /// Since 1970.
    pub began: Duration,
    /// Since 1970.
    pub ended: Duration,
    pub attributes: Vec<(&'static str, Value)>,
    pub is_error: bool,
}

/// The value of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A code of a closed list.
    Code(&'static str),
    /// Anything else.
    Text(Box<str>),
    Number(i64),
}

/// Attributes in the making; what is not known is left out.
struct Attributes(Vec<(&'static str, Value)>);

impl Attributes {
    fn code(&mut self, name: &'static str, code: Option<&'static str>) {
        self.0.extend(code.map(|code| (name, Value::Code(code))));
    }

    fn text(&mut self, name: &'static str, text: Option<&str>) {
        let text = text.filter(|text| !text.is_empty());
        self.0.extend(text.map(|text| (name, Value::Text(cut(text).into()))));
    }

    fn number(&mut self, name: &'static str, number: Option<u64>) {
        let whole = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.extend(number.map(|number| (name, Value::Number(whole(number)))));
    }

    fn method(&mut self, method: &str) {
        let known = known(method);
        self.code("http.request.method", Some(known.unwrap_or("_OTHER")));
        if known.is_none() {
            self.text("http.request.method_original", Some(method));
        }
    }
}

impl Record {
    /// - `zone`: that of the edge.
    pub fn of(finished: &Finished<'_>, traced: &Traced<'_>, zone: Option<&str>) -> Self {
        let attempts = (0..).zip(traced.attempts);
        Self {
            trace: traced.trace,
            state: if traced.state.len() <= LONGEST_STATE { traced.state.into() } else { Box::default() },
            request: request(finished, traced, zone),
            attempts: attempts.map(|(nth, attempt)| call(finished, traced, nth, attempt)).collect(),
        }
    }
}

fn request(finished: &Finished<'_>, traced: &Traced<'_>, zone: Option<&str>) -> Span {
    let table = finished.snapshot.table();
    let decision = finished.decision;
    let region = |id: Option<RegionId>| id.map(|id| table.region_name(id));
    let route = decision.and_then(|decision| table.route(decision.route?)).map(|route| &*route.name);
    let target = decision.and_then(Decision::target);
    let status = (finished.status != 0).then_some(finished.status);
    let error = error(finished.refusal, status);
    let mut all = Attributes(Vec::with_capacity(28));
    all.method(finished.method);
    all.code("url.scheme", Some(traced.scheme));
    all.text("url.path", Some(finished.path));
    all.text("server.address", Some(finished.host));
    let client = finished.client.map(|client| client.to_string());
    all.text("client.address", client.as_deref());
    all.code("network.protocol.version", Some(traced.version));
    all.number("http.response.status_code", status.map(u64::from));
    all.number("http.request.body.size", Some(finished.request_bytes));
    all.number("http.response.body.size", Some(finished.response_bytes));
    all.text("error.type", error.as_deref());
    all.text("rhumb.request_id", Some(finished.request_id));
    all.text("rhumb.tenant", decision.and_then(|made| made.tenant).map(|tenant| table.tenants().id(tenant)));
    all.code("rhumb.operation", decision.map(|decision| decision.operation.code()));
    all.text("rhumb.route", route);
    let policy = decision.and_then(|decision| table.policy(decision.policy));
    all.text("rhumb.policy", policy.map(|policy| &*policy.name));
    all.text("rhumb.source_region", Some(table.region_name(finished.source)));
    all.text("rhumb.source_zone", zone);
    all.text("rhumb.target_region", region(target));
    all.text("rhumb.target_zone", traced.attempts.last().and_then(|last| zone_of(finished, last)));
    all.text("rhumb.owner_region", region(decision.and_then(|decision| decision.owner)));
    all.number("rhumb.epoch", decision.and_then(|decision| decision.epoch).map(|epoch| epoch.0));
    all.code("rhumb.failover_reason", decision.and_then(Decision::failover).map(|reason| reason.code()));
    all.code("rhumb.refusal", finished.refusal.map(Refusal::code));
    all.number("rhumb.attempts", Some(u64::from(finished.attempts)));
    all.number("rhumb.generation", Some(finished.snapshot.generation().0));
    let method = known(finished.method).unwrap_or("HTTP");
    Span {
        id: traced.span,
        parent: traced.parent,
        // Routes are of the table: few, and nobody's secret.
        name: route.map_or(Cow::Borrowed(method), |route| Cow::Owned(format!("{method} {}", cut(route)))),
        began: traced.wall.saturating_sub(finished.duration),
        ended: traced.wall,
        attributes: all.0,
        is_error: error.is_some(),
    }
}

fn call(finished: &Finished<'_>, traced: &Traced<'_>, nth: u64, attempt: &Attempted) -> Span {
    let table = finished.snapshot.table();
    let at = |moment: Duration| traced.wall.saturating_sub(traced.now.saturating_sub(moment));
    let answered = attempt.status.filter(|status| *status >= 400).map(|status| status.to_string());
    let error = attempt.failure.map(Cow::Borrowed).or(answered.map(Cow::Owned));
    let mut all = Attributes(Vec::with_capacity(12));
    all.method(finished.method);
    let ip = attempt.address.ip().to_string();
    all.text("server.address", Some(&ip));
    all.number("server.port", Some(u64::from(attempt.address.port())));
    all.text("network.peer.address", Some(&ip));
    all.number("network.peer.port", Some(u64::from(attempt.address.port())));
    all.number("http.response.status_code", attempt.status.map(u64::from));
    all.number("http.request.resend_count", (nth > 0).then_some(nth));
    all.text("error.type", error.as_deref());
    all.text("rhumb.request_id", Some(finished.request_id));
    all.text("rhumb.target_region", Some(table.region_name(attempt.region)));
    all.text("rhumb.target_zone", zone_of(finished, attempt));
    Span {
        id: attempt.span,
        parent: Some(traced.span),
        name: Cow::Borrowed(known(finished.method).unwrap_or("HTTP")),
        began: at(attempt.began),
        ended: at(attempt.ended.unwrap_or(traced.now)),
        attributes: all.0,
        is_error: error.is_some(),
    }
}

/// What went wrong, by the convention for servers: a client's mistake is not the server's error.
fn error(refusal: Option<Refusal>, status: Option<u16>) -> Option<Cow<'static, str>> {
    match (refusal, status) {
        (Some(refusal), _) if refusal.status() >= 500 => Some(Cow::Borrowed(refusal.code())),
        (_, Some(status @ 500..)) => Some(Cow::Owned(status.to_string())),
        (_, None) => Some(Cow::Borrowed("client_left")),
        _ => None,
    }
}

fn zone_of<'a>(finished: &Finished<'a>, attempt: &Attempted) -> Option<&'a str> {
    finished.snapshot.health().region(attempt.region)?.endpoint(attempt.endpoint)?.zone.as_deref()
}

fn known(method: &str) -> Option<&'static str> {
    METHODS.iter().find(|known| **known == method).copied()
}

/// As much of it as an attribute may hold.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default()
}

#[cfg(test)]
mod tests;

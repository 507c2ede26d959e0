//! The request as a region gets it: what clients may not say is off, what Rhumb says is on.

use std::fmt::Write;
use std::time::Duration;

use bytes::BytesMut;
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use pingora::{Error, ErrorType, Result};
use rhumb_decision::gateway::Shown;
use rhumb_decision::{Course, Decision};

use crate::proxy::facts::X_FORWARDED_FOR;
use crate::proxy::grpc::{self, GRPC_TIMEOUT};
use crate::proxy::headers::forward::{Scheme, forwarded, forwarded_for, forwarded_scheme};
use crate::proxy::headers::via::via;
use crate::proxy::pins;
use crate::proxy::state::{Arrived, RequestState};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");
const X_SOURCE_REGION: HeaderName = HeaderName::from_static("x-source-region");
const X_TARGET_REGION: HeaderName = HeaderName::from_static("x-target-region");
const X_FAILOVER_REASON: HeaderName = HeaderName::from_static("x-failover-reason");
pub(super) const X_OWNER_REGION: HeaderName = HeaderName::from_static("x-owner-region");
pub(super) const X_OWNER_EPOCH: HeaderName = HeaderName::from_static("x-owner-epoch");
const X_REQUEST_REGION_POLICY: HeaderName = HeaderName::from_static("x-request-region-policy");
const X_REGION_HOPS: HeaderName = HeaderName::from_static("x-region-hops");
pub(super) const X_PRIOR_ATTEMPT_REGION: HeaderName = HeaderName::from_static("x-prior-attempt-region");

/// How many fields are set at most, so that there is room for them at once.
const SET: usize = 20;
/// As many bytes as the values of most requests come to.
const TEXT: usize = 384;

/// What this process says of itself.
pub(super) struct Own<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its entry in `Via`.
    pub via: &'a HeaderValue,
    /// Its region.
    pub source: &'a HeaderValue,
}

/// Writes Rhumb's own fields, last, over the client's request.
///
/// - `came`: the head as the client sent it; `onward`: what goes to the region in `version`, cleaned of what was meant
///   for the connection.
/// - `remaining`: what is left of the request's time; `None`: no limit.
///
/// # Errors
/// A value that cannot stand in a header; nothing that passed the gate holds one.
pub(super) fn write(
    came: &HeaderMap,
    (onward, version): (&mut HeaderMap, Version),
    state: &RequestState,
    arrived: &Arrived,
    decision: &Decision,
    own: &Own<'_>,
    remaining: Option<Duration>,
) -> Result<()> {
    for name in state.strip.iter().chain(&arrived.ignored) {
        onward.remove(name);
    }
    pins::take_off(onward, state.pins.as_deref());
    onward.reserve(SET);
    if version == Version::HTTP_2 {
        // From HTTP/2 to HTTP/2, Pingora lets what was meant for this process pass.
        for name in [header::PROXY_AUTHORIZATION, header::PROXY_AUTHENTICATE, header::TRAILER] {
            onward.remove(name);
        }
        if arrived.takes_trailers {
            // It was taken off as meant for the connection, and so it is: this process hands on what trails a response.
            onward.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    let mut text = Text(BytesMut::with_capacity(TEXT));
    match &state.from_edge {
        Some(edge) => shown(onward, &edge.shown, &mut text)?,
        None => managed(onward, state, decision, own.source, &mut text)?,
    }
    forwarding(came, onward, state, arrived, &mut text)?;
    let is_first = !came.contains_key(header::VIA);
    let passed = came.get_all(header::VIA).iter().map(HeaderValue::as_bytes);
    let through =
        if is_first { own.via.clone() } else { text.value(&via(passed, state.facts.trusted, own.id))? };
    onward.insert(header::VIA, through);
    onward.insert(X_REQUEST_ID, text.value(state.id.as_str())?);
    onward.insert(TRACEPARENT, text.bytes(&state.trace_onward().text())?);
    if let Some(remaining) = remaining {
        let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX).max(1);
        onward.insert(X_REQUEST_TIMEOUT_MS, text.number(millis)?);
        if state.grpc {
            onward.insert(GRPC_TIMEOUT, text.value(&grpc::written(remaining))?);
        }
    }
    if let Some(forwards) = arrived.max_forwards {
        onward.insert(header::MAX_FORWARDS, HeaderValue::from(forwards.saturating_sub(1)));
    }
    Ok(())
}

/// What the region is told of the client.
fn forwarding(
    came: &HeaderMap,
    onward: &mut HeaderMap,
    state: &RequestState,
    arrived: &Arrived,
    text: &mut Text,
) -> Result<()> {
    let (trusted, mut written) = (state.facts.trusted, String::with_capacity(128));
    let chain = came.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    forwarded_for(arrived.peer.ip(), chain, trusted, &mut written);
    onward.insert(X_FORWARDED_FOR, text.value(&written)?);
    let scheme = scheme(came, trusted, arrived);
    onward.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    if let Some(host) = came.get(header::HOST) {
        onward.insert(X_FORWARDED_HOST, host.clone());
        if let (Some(client), Ok(authority)) = (state.facts.client, host.to_str()) {
            written.clear();
            forwarded(client, authority, scheme, &mut written);
            onward.insert(header::FORWARDED, text.value(&written)?);
        }
    }
    Ok(())
}

/// How the client reached the first process that is trusted.
pub(super) fn scheme(came: &HeaderMap, trusted: bool, arrived: &Arrived) -> Scheme {
    let proto = came.get_all(X_FORWARDED_PROTO).iter().next_back().map(HeaderValue::as_bytes);
    forwarded_scheme(proto, trusted, arrived.scheme)
}

fn managed(
    onward: &mut HeaderMap,
    state: &RequestState,
    decision: &Decision,
    source: &HeaderValue,
    text: &mut Text,
) -> Result<()> {
    let prepared = &state.prepared;
    if let Some(tenant) = decision.tenant {
        onward.insert(X_TENANT_ID, text.value(state.current.table().tenants().id(tenant))?);
    }
    onward.insert(X_SOURCE_REGION, source.clone());
    if let Course::Forward { region, failover, .. } = decision.course {
        onward.insert(X_TARGET_REGION, prepared.region(region));
        if let Some(reason) = failover {
            onward.insert(X_FAILOVER_REASON, HeaderValue::from_static(reason.code()));
        }
    }
    if let Some(owner) = decision.owner {
        onward.insert(X_OWNER_REGION, prepared.region(owner));
    }
    if let Some(epoch) = decision.epoch {
        onward.insert(X_OWNER_EPOCH, text.number(epoch.0)?);
    }
    onward.insert(X_REQUEST_REGION_POLICY, prepared.policy(decision.policy));
    onward.insert(X_REGION_HOPS, HeaderValue::from_static("1"));
    Ok(())
}

/// What an edge showed, and one hop more.
fn shown(onward: &mut HeaderMap, shown: &Shown, text: &mut Text) -> Result<()> {
    if let Some(tenant) = &shown.tenant {
        onward.insert(X_TENANT_ID, text.value(tenant)?);
    }
    onward.insert(X_SOURCE_REGION, text.value(&shown.source)?);
    onward.insert(X_TARGET_REGION, text.value(&shown.target)?);
    if let Some(reason) = shown.failover {
        onward.insert(X_FAILOVER_REASON, HeaderValue::from_static(reason.code()));
    }
    if let Some((owner, epoch)) = &shown.ownership {
        onward.insert(X_OWNER_REGION, text.value(owner)?);
        onward.insert(X_OWNER_EPOCH, text.number(epoch.0)?);
    }
    onward.insert(X_REQUEST_REGION_POLICY, text.value(&shown.policy)?);
    if let Some((region, epoch)) = &shown.prior {
        onward.insert(X_PRIOR_ATTEMPT_REGION, text.value(&format!("{region};epoch={}", epoch.0))?);
    }
    onward.insert(X_REGION_HOPS, text.number(u64::from(shown.hops) + 1)?);
    Ok(())
}

/// The values of one request, in one piece of memory.
struct Text(BytesMut);

impl Text {
    /// A text as a header's value.
    fn value(&mut self, text: &str) -> Result<HeaderValue> {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, text: &[u8]) -> Result<HeaderValue> {
        self.0.extend_from_slice(text);
        self.written()
    }

    /// A number as a header's value.
    fn number(&mut self, number: u64) -> Result<HeaderValue> {
        let _ = write!(self.0, "{number}"); // memory takes whatever is written
        self.written()
    }

    fn written(&mut self) -> Result<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).map_err(unfit)
    }
}

fn unfit(cause: InvalidHeaderValue) -> Box<Error> {
    Error::because(ErrorType::InvalidHTTPHeader, "a value that cannot stand in a header", cause)
}

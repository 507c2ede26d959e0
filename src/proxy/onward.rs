//! The request as a region gets it: what clients may not say is off, what Rhumb says is on.

use std::time::Duration;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::RequestHeader;
use rhumb_decision::gateway::Shown;
use rhumb_decision::{Course, Decision};

use crate::proxy::facts::X_FORWARDED_FOR;
use crate::proxy::grpc::{self, GRPC_TIMEOUT};
use crate::proxy::headers::forward::{Scheme, forwarded, forwarded_for, forwarded_scheme};
use crate::proxy::headers::via::via;
use crate::proxy::pins;
use crate::proxy::state::{Arrived, RequestState};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Writes Rhumb's own fields, last, over the client's request.
///
/// - `came`: the head as the client sent it; `onward`: what goes to the region, cleaned of what was meant for the
///   connection.
/// - `remaining`: what is left of the request's time; `None`: no limit.
///
/// # Errors
/// A value that cannot stand in a header; nothing that passed the gate holds one.
pub(super) fn write(
    came: &HeaderMap,
    onward: &mut RequestHeader,
    state: &RequestState,
    arrived: &Arrived,
    decision: &Decision,
    (edge, source): (&str, &HeaderValue),
    remaining: Option<Duration>,
) -> Result<()> {
    for name in state.strip.iter().chain(&arrived.ignored) {
        onward.remove_header(name);
    }
    pins::take_off(onward, state.pins.as_deref())?;
    // From HTTP/2 to HTTP/2, Pingora lets what was meant for this process pass.
    for name in [header::PROXY_AUTHORIZATION, header::PROXY_AUTHENTICATE, header::TRAILER] {
        onward.remove_header(&name);
    }
    if onward.version == Version::HTTP_2 && arrived.takes_trailers {
        // It was taken off as meant for the connection, and so it is: this process hands on what trails a response.
        onward.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    managed(onward, state, decision, source)?;
    let trusted = state.facts.trusted;
    let chain = came.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    onward.insert_header("X-Forwarded-For", forwarded_for(arrived.peer.ip(), chain, trusted))?;
    let scheme = scheme(came, trusted, arrived);
    onward.insert_header("X-Forwarded-Proto", HeaderValue::from_static(scheme.as_str()))?;
    if let Some(host) = came.get(header::HOST) {
        onward.insert_header("X-Forwarded-Host", host.clone())?;
        if let (Some(client), Ok(authority)) = (state.facts.client, host.to_str()) {
            onward.insert_header("Forwarded", forwarded(client, authority, scheme))?;
        }
    }
    let passed = came.get_all(header::VIA).iter().map(HeaderValue::as_bytes);
    onward.insert_header("Via", via(passed, trusted, edge))?;
    onward.insert_header("X-Request-ID", state.id.as_str())?;
    onward.insert_header("traceparent", state.trace_onward().to_string())?;
    if let Some(remaining) = remaining {
        let millis = remaining.as_millis().max(1).to_string();
        onward.insert_header("X-Request-Timeout-Ms", millis)?;
        if state.grpc {
            onward.insert_header(GRPC_TIMEOUT, grpc::written(remaining))?;
        }
    }
    if let Some(forwards) = arrived.max_forwards {
        onward.insert_header(header::MAX_FORWARDS, forwards.saturating_sub(1))?;
    }
    Ok(())
}

/// How the client reached the first process that is trusted.
pub(super) fn scheme(came: &HeaderMap, trusted: bool, arrived: &Arrived) -> Scheme {
    let proto = came.get_all(X_FORWARDED_PROTO).iter().next_back().map(HeaderValue::as_bytes);
    forwarded_scheme(proto, trusted, arrived.scheme)
}

fn managed(
    onward: &mut RequestHeader,
    state: &RequestState,
    decision: &Decision,
    source: &HeaderValue,
) -> Result<()> {
    let prepared = &state.prepared;
    if let Some(edge) = &state.from_edge {
        return shown(onward, &edge.shown);
    }
    if let Some(tenant) = decision.tenant {
        onward.insert_header("X-Tenant-ID", state.current.table().tenants().id(tenant))?;
    }
    onward.insert_header("X-Source-Region", source.clone())?;
    if let Course::Forward { region, failover, .. } = decision.course {
        onward.insert_header("X-Target-Region", prepared.region(region))?;
        if let Some(reason) = failover {
            onward.insert_header("X-Failover-Reason", HeaderValue::from_static(reason.code()))?;
        }
    }
    if let Some(owner) = decision.owner {
        onward.insert_header("X-Owner-Region", prepared.region(owner))?;
    }
    if let Some(epoch) = decision.epoch {
        onward.insert_header("X-Owner-Epoch", HeaderValue::from(epoch.0))?;
    }
    onward.insert_header("X-Request-Region-Policy", prepared.policy(decision.policy))?;
    onward.insert_header("X-Region-Hops", HeaderValue::from_static("1"))
}

/// What an edge showed, and one hop more.
fn shown(onward: &mut RequestHeader, shown: &Shown) -> Result<()> {
    if let Some(tenant) = &shown.tenant {
        onward.insert_header("X-Tenant-ID", &**tenant)?;
    }
    onward.insert_header("X-Source-Region", &*shown.source)?;
    onward.insert_header("X-Target-Region", &*shown.target)?;
    if let Some(reason) = shown.failover {
        onward.insert_header("X-Failover-Reason", HeaderValue::from_static(reason.code()))?;
    }
    if let Some((owner, epoch)) = &shown.ownership {
        onward.insert_header("X-Owner-Region", &**owner)?;
        onward.insert_header("X-Owner-Epoch", HeaderValue::from(epoch.0))?;
    }
    onward.insert_header("X-Request-Region-Policy", &*shown.policy)?;
    if let Some((region, epoch)) = &shown.prior {
        onward.insert_header("X-Prior-Attempt-Region", format!("{region};epoch={}", epoch.0))?;
    }
    onward.insert_header("X-Region-Hops", HeaderValue::from(u16::from(shown.hops) + 1))
}

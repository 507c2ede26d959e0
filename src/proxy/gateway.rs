//! A process at a region's ingress, which takes requests from edges alone.
//!
//! What differs from an edge is here: an edge proves itself ([`proof`]), what it shows with a request is read instead of
//! removed ([`claims`]), the request is judged by it and goes to an endpoint of this region ([`entry`]); health and
//! announcements of ownership are answered here ([`health`], [`announcement`], [`fences`]).
//!
//! Never: believes a word of anybody who has not proved to be an edge; passes a write that is not counted as in flight
//! before it is judged.

mod announcement;
mod claims;
mod entry;
mod fences;
mod health;
mod proof;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use rhumb_decision::gateway::Shown;
use rhumb_decision::spiffe::Pattern;

pub(super) use claims::EXPECTED;
pub(super) use entry::X_RHUMB_REFUSAL;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use serde_json::Value;

use crate::keys::KeyStore;
use crate::proxy::headers::{Class, classify};
use crate::proxy::rhumb::Rhumb;
use crate::proxy::signature;
use crate::proxy::state::RequestState;

/// Whom this gateway believes.
pub(crate) struct Gateway {
    edges: Box<[Pattern]>,
    keys: Option<Arc<KeyStore>>,
    fences: fences::Fences,
}

impl Gateway {
    /// A gateway that believes edges of these ids, and those that sign with one of `keys`.
    pub fn new(edges: &[Pattern], keys: Option<Arc<KeyStore>>) -> Self {
        Self { edges: edges.into(), keys, fences: fences::Fences::default() }
    }
}

/// A request that an edge has sent on.
pub(super) struct FromEdge {
    /// Who: its SPIFFE id, or `key` and the name of the key that it signs with.
    pub name: Box<str>,
    /// What it shows.
    pub shown: Shown,
    /// What it leaves of the request's time, where it says.
    pub leaves: Option<Duration>,
}

impl Rhumb {
    /// Answers what a gateway is asked itself, and not for others: how its region is, and announcements of ownership.
    /// False where `session` asks for something else.
    ///
    /// # Errors
    /// Whoever asked is gone.
    pub(super) async fn answers_itself(
        &self,
        session: &mut Session,
        state: &mut RequestState,
    ) -> Result<bool> {
        let (Some(gateway), Some(arrived)) = (&self.gateway, &state.arrived) else { return Ok(false) };
        let (table, here) = (state.current.table(), state.prepared.source);
        let (status, said) = if health::is_asked(session.req_header(), table, here) {
            let Some(view) = state.current.health().region(here) else { return Ok(false) };
            state.is_check = true;
            health::report(view, table, self.clock.now())
        } else if announcement::is_told(session) {
            self.announced(gateway, session, arrived).await
        } else {
            return Ok(false);
        };
        answer_json(session, status, &said).await.map(|()| true)
    }
}

async fn answer_json(session: &mut Session, status: StatusCode, said: &Value) -> Result<()> {
    let body = Bytes::from(said.to_string());
    let mut head = ResponseHeader::build_no_case(status, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if status == StatusCode::UNAUTHORIZED {
        head.insert_header(header::WWW_AUTHENTICATE, "X-Rhumb-Signature")?;
    }
    let is_head = session.req_header().method == Method::HEAD;
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(head)).await?;
    if !is_head {
        downstream.write_response_body(body, true).await?;
    }
    downstream.finish_body().await
}

/// Whether an edge has sent a request on that came with these headers, as far as they say: a check of health and an
/// announcement come without any word of an edge's about a request.
///
/// Why it matters: an edge takes whatever path its client names, and no client may speak for the edge.
fn is_sent_on(headers: &HeaderMap) -> bool {
    let is_of_a_request = |class| matches!(class, Some(Class::Managed(_)));
    headers.keys().any(|name| *name != signature::NAME && is_of_a_request(classify(name.as_str().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_edge_sends_on_is_known_by_any_header_of_its_own() {
        let headers = |names: &[&'static str]| {
            let mut map = HeaderMap::new();
            for name in names {
                map.insert(*name, "1".parse().unwrap());
            }
            map
        };
        assert!(!is_sent_on(&headers(&["host", "x-rhumb-signature", "user-agent"])));
        for name in ["x-target-region", "x_target_region", "x-region-hops", "x-rhumb-other"] {
            assert!(is_sent_on(&headers(&["host", "x-rhumb-signature", name])), "{name}");
        }
    }
}

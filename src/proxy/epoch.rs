//! What an edge makes of a gateway that knows a newer ownership: it learns, decides once more, and sends the request
//! again if all of it is still at hand.
//!
//! Why that is safe: a gateway judges before it sends anything on, so what it refused was done nowhere.
//!
//! Never: believes this of a region that the table does not call a gateway; sends a request on more than once for it.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use rhumb_decision::gateway::epoch;
use rhumb_decision::reason::Refusal;
use rhumb_decision::tenants::is_tenant_id;
use rhumb_decision::units::Epoch;
use rhumb_decision::{Course, Decision};

use crate::control::news::News;
use crate::proxy::answer;
use crate::proxy::gateway::X_RHUMB_REFUSAL;
use crate::proxy::onward::{X_OWNER_EPOCH, X_OWNER_REGION};
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::RequestState;

/// How soon a request is sent again that met a fence.
const ASKS_AGAIN: Duration = Duration::from_millis(50);

impl Rhumb {
    /// Looks at the head of a region's answer for what its gateway may say of ownership. Where nothing comes of it, the
    /// answer goes on to the client.
    ///
    /// # Errors
    /// The answer is given up: the request is sent again, or refused for what is known now.
    pub(super) async fn heed_gateway(
        &self,
        session: &mut Session,
        response: &ResponseHeader,
        state: &mut RequestState,
    ) -> Result<()> {
        let Some(attempt) = &state.attempt else { return Ok(()) };
        let region = attempt.region;
        let is_gateway = state.current.table().region(region).is_some_and(|region| region.gateway);
        if !is_gateway {
            return Ok(());
        }
        if only(&response.headers, &X_RHUMB_REFUSAL) == Some(Refusal::WriteFrozen.code()) {
            return self.wait_for_gateway(session, response, state);
        }
        if !is_stale_epoch(&response.headers) {
            return Ok(());
        }
        self.recorder.epoch_mismatch(&state.current, region);
        // A gateway judges before it sends anything on: the region has not heard of this request.
        self.forget_if_nothing_was_written(response, state);
        state.sent = false;
        // It is the gateway's answer that the client gets, unless there is a better one.
        state.refusal = Some(Refusal::StaleEpoch);
        let tenant = state.decision.as_ref().and_then(|decision| decision.tenant);
        let tenant = tenant.map(|tenant| state.current.table().tenants().id(tenant));
        let (Some(tenant), Some((owner, epoch))) = (tenant, told(&response.headers)) else { return Ok(()) };
        let news = News { tenant: tenant.into(), owner, epoch };
        if let Err(cause) = self.newsdesk.tell(vec![news]).await {
            tracing::warn!(?cause, "a newer ownership that a gateway told of is not kept");
            return Ok(());
        }
        let is_whole = !session.as_downstream().retry_buffer_truncated();
        let may_go_on = is_whole
            && !state.redirected
            && !answer::has_begun(session.as_downstream())
            && !state.is_late(self.clock.elapsed());
        if may_go_on { self.decide_anew(session, state).await } else { Ok(()) }
    }

    /// The gateway has a fence before this tenant, as its ownership is about to move: the request is sent again in a
    /// moment, for as long as a write may be held.
    fn wait_for_gateway(
        &self,
        session: &Session,
        response: &ResponseHeader,
        state: &mut RequestState,
    ) -> Result<()> {
        self.forget_if_nothing_was_written(response, state);
        state.sent = false;
        let now = self.clock.elapsed();
        let since = *state.frozen_since.get_or_insert(now);
        let policy = state.decision.as_ref().and_then(|made| state.current.table().policy(made.policy));
        let hold = policy.map_or(Duration::ZERO, |policy| policy.writes.hold.duration());
        let may_go_on = now.saturating_sub(since) < hold
            && !session.as_downstream().retry_buffer_truncated()
            && !answer::has_begun(session.as_downstream())
            && !state.is_late(now);
        if !may_go_on {
            state.refusal = Some(Refusal::WriteFrozen);
            return Ok(());
        }
        state.pause = Some(ASKS_AGAIN);
        state.leaves_response = true;
        Err(Error::new_up(ErrorType::HTTPStatus(Refusal::WriteFrozen.status())))
    }

    /// On what is in force now, which has what was told. Where its tenant is moving, a write waits as any does.
    async fn decide_anew(&self, session: &mut Session, state: &mut RequestState) -> Result<()> {
        let before = state.decision.as_ref().map(|decision| bearing(decision, state));
        if !state.renew(self) {
            return Ok(());
        }
        // It is sent on nowhere now; what is decided next is counted by itself.
        state.write = None;
        let Some(decision) = self.decide(session.req_header(), state) else { return Ok(()) };
        let Some(decision) = self.settled(session, state, decision).await else {
            return Err(Error::new_down(ErrorType::ConnectionClosed));
        };
        let (course, after) = (decision.course, bearing(&decision, state));
        state.decision = Some(decision);
        let refusal = match course {
            // The gateway would say the same again.
            Course::Forward { .. } if before == Some(after) => Refusal::StaleEpoch,
            Course::Forward { region, .. } => {
                state.redirected = true;
                state.refusal = None;
                state.leaves_response = true;
                self.recorder.retried(&state.current, region, "epoch", "again");
                return Err(Error::new_up(ErrorType::HTTPStatus(Refusal::StaleEpoch.status())));
            }
            Course::Hold { .. } => Refusal::WriteFrozen,
            Course::Refuse { because } => because,
        };
        state.refusal = Some(refusal);
        Err(Error::new_in(ErrorType::HTTPStatus(refusal.status())))
    }
}

/// Where a decision leads and under which epoch, by names that outlive its snapshot.
fn bearing(decision: &Decision, state: &RequestState) -> (Option<Epoch>, Box<str>) {
    let target = decision.target().map(|target| state.current.table().region_name(target));
    (decision.epoch, target.unwrap_or_default().into())
}

fn is_stale_epoch(headers: &HeaderMap) -> bool {
    only(headers, &X_RHUMB_REFUSAL) == Some(Refusal::StaleEpoch.code())
}

/// The ownership that a gateway tells of; `None`: nothing that could be one.
fn told(headers: &HeaderMap) -> Option<(Box<str>, Epoch)> {
    let owner = only(headers, &X_OWNER_REGION).filter(|owner| is_tenant_id(owner.as_bytes()))?;
    Some((owner.into(), epoch(only(headers, &X_OWNER_EPOCH)?)?))
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_gateways_word_is_one_refusal_one_owner_and_one_epoch() {
        let whole =
            headers(&[("x-rhumb-refusal", "stale_epoch"), ("x-owner-region", "us"), ("x-owner-epoch", "8")]);
        assert!(is_stale_epoch(&whole));
        assert_eq!(told(&whole), Some(("us".into(), Epoch(8))));
        for (name, value) in [
            ("x-owner-region", "us"),
            ("x-owner-region", "eu"),
            ("x-owner-epoch", "9"),
            ("x-rhumb-refusal", "stale_epoch"),
        ] {
            let mut twice = whole.clone();
            twice.append(name, value.parse().unwrap());
            assert!(told(&twice).is_none() || !is_stale_epoch(&twice), "{name}: {value}");
        }
        for (name, value) in [
            ("x-owner-region", "u s"),
            ("x-owner-region", ""),
            ("x-owner-epoch", "-1"),
            ("x-owner-epoch", "18446744073709551615"),
            ("x-owner-epoch", "eight"),
        ] {
            let mut odd = whole.clone();
            odd.insert(name, value.parse().unwrap());
            assert_eq!(told(&odd), None, "{name}: {value}");
        }
        assert!(!is_stale_epoch(&headers(&[("x-rhumb-refusal", "misdirected")])));
        assert_eq!(told(&headers(&[("x-owner-epoch", "8")])), None);
    }
}

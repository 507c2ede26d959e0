//! The way of a request into a gateway: proved, read, counted, judged.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use rhumb_decision::gateway::{self, Gated};
use rhumb_decision::reason::Refusal;
use rhumb_decision::table::Operation;
use rhumb_decision::units::RegionId;
use rhumb_decision::{Decision, Presented};

use super::{FromEdge, claims};
use crate::control::news::News;
use crate::proxy::answer;
use crate::proxy::facts;
use crate::proxy::held::owned_key;
use crate::proxy::onward::{X_OWNER_EPOCH, X_OWNER_REGION};
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::RequestState;

/// Tells an edge that a refusal is a gateway's, and which.
pub(in crate::proxy) const X_RHUMB_REFUSAL: HeaderName = HeaderName::from_static("x-rhumb-refusal");

impl Rhumb {
    /// The edge that sent this request on, with what it shows; `None`: this process is no gateway.
    ///
    /// # Errors
    /// Nobody proved to be an edge, or what it shows makes no sense.
    pub(in crate::proxy) fn proven(
        &self,
        request: &RequestHeader,
        state: &RequestState,
    ) -> Result<Option<Box<FromEdge>>, Refusal> {
        let Some(gateway) = &self.gateway else { return Ok(None) };
        let arrived = state.arrived.as_deref().ok_or(Refusal::BadRequest)?;
        // Whoever is no edge has come to the wrong place: what it wants to reach is reached through one.
        let name = gateway.edge(arrived, request, self.clock.wall()).map_err(|unproven| {
            self.recorder.unproven(unproven.code());
            Refusal::Misdirected
        })?;
        let shown = claims::shown(&request.headers)?;
        let leaves = claims::leaves(&request.headers);
        Ok(Some(Box::new(FromEdge { name, shown, leaves })))
    }

    /// Judges a request, on a snapshot that its count as a write and its look for a fence go before; news that it brings is
    /// kept first.
    /// `None` where it cannot even be asked about.
    pub(in crate::proxy) async fn admit(
        &self,
        request: &RequestHeader,
        state: &mut RequestState,
    ) -> Option<Decision> {
        let (mut decision, mut news) = self.gated(request, state)?;
        let mut is_fenced = false;
        if decision.operation == Operation::Write
            && let Some(tenant) = owned_key(&decision, &state.current)
        {
            state.write = Some(state.current.live.writes.enter(tenant));
            // Before what holds: whoever finds a fence gone that was lifted finds what it was lifted for.
            is_fenced = self.gateway.as_ref().is_some_and(|it| it.fences.stands(tenant, || self.clock.now()));
            // Whoever waits for writes to end sees this one, or else it sees what they wait with.
            if state.renew(self) {
                (decision, news) = self.gated(request, state)?;
            }
        }
        if let Some(told) = news {
            let kept = self.newsdesk.tell(vec![told]).await;
            state.renew(self);
            (decision, news) = self.gated(request, state)?;
            let needs_the_owner = owned_key(&decision, &state.current).is_some();
            if (kept.is_err() || news.is_some()) && needs_the_owner && decision.refusal().is_none() {
                // What holds is not kept here, so a restart would forget it.
                decision.course = rhumb_decision::Course::Refuse { because: Refusal::OwnerUnavailable };
            }
        }
        if is_fenced && decision.refusal().is_none() && decision.operation == Operation::Write {
            // Its edge holds it, and asks again in a moment.
            decision.course = rhumb_decision::Course::Refuse { because: Refusal::WriteFrozen };
        }
        if decision.refusal() == Some(Refusal::StaleEpoch) {
            self.recorder.epoch_mismatch(&state.current, state.prepared.source);
        }
        Some(decision)
    }

    /// The decision of a gateway, and the news that the request brings.
    pub(in crate::proxy) fn gated(
        &self,
        request: &RequestHeader,
        state: &RequestState,
    ) -> Option<(Decision, Option<News>)> {
        let (edge, arrived) = (state.from_edge.as_deref()?, state.arrived.as_deref()?);
        let tenants = facts::tenant_names(&request.headers, &state.prepared.tenant_headers).ok()?;
        let here = (self.source(state), self.edge.zone.as_ref().map(|zone| zone.as_str()));
        let mut facts = facts::facts(request, arrived, state, &tenants, here);
        // What an edge presents says who the edge is.
        facts.client = Presented::default();
        let Gated { decision, news } =
            gateway::decide(&facts, &edge.shown, &state.current, state.prepared.source);
        let news = news.map(|(tenant, claim)| News {
            tenant: tenant.into(),
            owner: claim.owner.into(),
            epoch: claim.epoch,
        });
        Some((decision, news))
    }

    /// Where a request entered: the region of this process, or at a gateway that of the edge.
    pub(in crate::proxy) fn source(&self, state: &RequestState) -> RegionId {
        let shown = state.from_edge.as_ref().map(|edge| &edge.shown.source);
        let entered = shown.and_then(|source| state.current.table().region_named(source));
        entered.unwrap_or(state.prepared.source)
    }

    /// What an edge leaves of a request's time.
    pub(in crate::proxy) fn left_by_edge(&self, state: &RequestState) -> Option<Duration> {
        state.from_edge.as_ref().and_then(|edge| edge.leaves)
    }

    /// Refuses a request that nothing was sent of to anybody. An edge is told which refusal it is, and what holds.
    ///
    /// # Errors
    /// The client is gone.
    pub(in crate::proxy) async fn refuse(
        &self,
        session: &mut Session,
        refusal: Refusal,
        state: &RequestState,
    ) -> Result<()> {
        let mut also = Vec::new();
        if state.from_edge.is_some() {
            also.push((X_RHUMB_REFUSAL, HeaderValue::from_static(refusal.code())));
        }
        if let (true, Some(decision), Refusal::StaleEpoch) =
            (state.from_edge.is_some(), &state.decision, refusal)
        {
            also.extend(decision.owner.map(|owner| (X_OWNER_REGION, state.prepared.region(owner))));
            also.extend(decision.epoch.map(|epoch| (X_OWNER_EPOCH, HeaderValue::from(epoch.0))));
        }
        answer::refuse_saying(session.as_downstream_mut(), refusal, state.id.as_str(), |head| {
            also.into_iter().try_for_each(|(name, value)| head.insert_header(name, value))
        })
        .await
    }
}

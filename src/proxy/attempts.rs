//! From one attempt to the next: the peer to ask, what its failure means, and where the request goes on.

use std::time::Duration;

use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use rhumb_decision::health::Passive;
use rhumb_decision::reason::Refusal;
use rhumb_decision::table::Operation;
use rhumb_decision::units::{Millis, PolicyId, RegionId};
use rhumb_decision::{Attempt, Course, Decision};

use crate::control::live::Retrying;
use crate::proxy::answer;
use crate::proxy::peer::CONNECT_AND_HANDSHAKE;
use crate::proxy::retry::{self, Failed, Failure, Scope};
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::{CurrentAttempt, RequestState};

/// Kept connections that may break under one read without costing it an attempt. A region that restarts, or closes
/// after every answer, leaves several behind.
const MOST_STALE: u8 = 4;

/// How late a failure may be told, beyond half of its time, before the process must have stood still.
const LATE: Duration = Duration::from_millis(250);

/// Why a request does not go on after a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GivenUp {
    /// The rules forbid a further attempt, or attempts or time have run out.
    Forbidden,
    /// The region's budget for retries is spent.
    Budget,
    /// The decision refuses: nobody else may take it.
    Refused(Refusal),
}

impl Rhumb {
    /// The peer for the decision at hand; takes a place among the region's requests.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn next_peer(
        &self,
        session: &Session,
        state: &mut RequestState,
    ) -> Result<Box<HttpPeer>, Refusal> {
        let now = self.clock.elapsed();
        let remaining = state.remaining(now);
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            return Err(Refusal::Deadline);
        }
        loop {
            let course = state.decision.as_ref().map(|decision| decision.course);
            let at = match course {
                Some(Course::Forward { region, endpoint, .. }) => Attempt { region, endpoint },
                Some(Course::Refuse { because }) => return Err(because),
                // It was waited for before the first attempt; a later one does not begin on another snapshot.
                Some(Course::Hold { .. }) => return Err(Refusal::WriteFrozen),
                None => return Err(Refusal::BadRequest),
            };
            let view = state.current.health().region(at.region).and_then(|view| view.endpoint(at.endpoint));
            let view = view.ok_or(Refusal::NoRegion)?;
            let live = state.current.live.region(at.region);
            let on_trial = match view.passive {
                Passive::OnTrial(number) => {
                    let counts = live.and_then(|live| live.endpoints.get(at.endpoint.index()));
                    let mine = state.attempt.as_ref().is_some_and(|attempt| attempt.holds_trial_of(at));
                    if !mine && !counts.is_some_and(|counts| counts.claim_trial(number)) {
                        // Another request tries this endpoint; to this one it is as good as ejected.
                        state.tried.try_push(at).map_err(|_| Refusal::NoRegion)?;
                        state.decision = self.decide(session.req_header(), state);
                        continue;
                    }
                    true
                }
                Passive::Trusted | Passive::Ejected => false,
            };
            let peers = state.prepared.peers(at.region).ok_or(Refusal::UpstreamFailed)?;
            if state.grpc && !peers.http2 {
                // HTTP/1 has no room for what a call ends with.
                return Err(Refusal::UpstreamFailed);
            }
            let stalled = self.limits.idle_timeout;
            let peer = match state.arrived.as_ref().filter(|arrived| arrived.upgrade) {
                Some(arrived) => {
                    let idle = self.limits.tunnel_idle_timeout;
                    peers.for_upgrade(view.address, remaining, stalled, idle, &arrived.line)
                }
                None => peers.at(view.address, remaining, stalled),
            };
            let in_flight = live.map(|live| live.counts.enter());
            let counts = (in_flight, state.retrying.take());
            let attempt = CurrentAttempt::new(at, view.address, now, on_trial, counts);
            if let Some(spans) = &mut state.spans {
                spans.begin(&attempt);
            }
            state.attempt = Some(attempt);
            state.attempts = state.attempts.saturating_add(1);
            state.body_bytes = 0;
            return Ok(peer);
        }
    }

    /// Whether the attempt at hand goes to a region that is to be spoken to in HTTP/2.
    pub(super) fn is_to_speak_http2(&self, state: &RequestState) -> bool {
        let peers = state.attempt.as_ref().and_then(|attempt| state.prepared.peers(attempt.region));
        peers.is_some_and(|peers| peers.http2)
    }

    /// After a failed attempt: decides where the request goes on, and how long it waits before.
    ///
    /// # Errors
    /// Why it does not go on. The decision at hand then stays as it was.
    pub(super) fn go_on(
        &self,
        session: &mut Session,
        state: &mut RequestState,
        failure: Failure,
    ) -> Result<(), GivenUp> {
        let region = state.attempt.as_ref().map(|attempt| attempt.region);
        let outcome = self.find_next(session, state, failure);
        if let Some(region) = region {
            let outcome = match outcome {
                Ok(()) => "again",
                Err(GivenUp::Budget) => "no_budget",
                Err(_) => "gave_up",
            };
            self.recorder.retried(&state.current, region, failure.kind(), outcome);
        }
        outcome
    }

    fn find_next(
        &self,
        session: &mut Session,
        state: &mut RequestState,
        failure: Failure,
    ) -> Result<(), GivenUp> {
        let reads = state.decision.as_ref().is_some_and(|decision| decision.operation == Operation::Read);
        if failure == Failure::Stale && reads && state.stale < MOST_STALE {
            state.stale += 1;
        }
        let scope = self.scope(session, state, failure).ok_or(GivenUp::Forbidden)?;
        let attempt = state.attempt.as_ref().ok_or(GivenUp::Forbidden)?;
        let last = Attempt { region: attempt.region, endpoint: attempt.endpoint };
        let before = state.decision.as_ref().ok_or(GivenUp::Forbidden)?;
        let same = before.clone();
        let next = if scope == Scope::Endpoint {
            same
        } else {
            state.tried.try_push(last).map_err(|_| GivenUp::Forbidden)?;
            let other = self.decide(session.req_header(), state).ok_or(GivenUp::Forbidden)?;
            if failure == Failure::Refused && goes_elsewhere(&other, last, scope).is_err() {
                // It has room for this one in a moment; nobody else has.
                state.tried.pop();
                same
            } else {
                other
            }
        };
        let region = goes_elsewhere(&next, last, scope).map_err(GivenUp::Refused)?;
        // Where nobody heard the first attempt, nothing is done twice: the budget is for what costs a region work.
        if !matches!(failure, Failure::Connect | Failure::Stale | Failure::GoneAway) {
            state.retrying = Some(self.budget(state, region, next.policy).ok_or(GivenUp::Budget)?);
        }
        if region == last.region && failure != Failure::Connect && scope != Scope::Endpoint {
            let pause = retry::pause(state.attempts, state.facts.chance);
            state.pause = Some(state.remaining(self.clock.elapsed()).map_or(pause, |rest| rest.min(pause)));
        }
        state.decision = Some(next);
        Ok(())
    }

    fn scope(&self, session: &Session, state: &RequestState, failure: Failure) -> Option<Scope> {
        let decision = state.decision.as_ref()?;
        let policy = state.current.table().policy(decision.policy)?;
        retry::scope(&Failed {
            failure,
            method: session.req_header().method.as_str(),
            operation: decision.operation,
            retries: &policy.retries,
            attempts: state.attempts.saturating_sub(state.stale),
            response_begun: answer::has_begun(session.as_downstream()),
            body_kept: !session.as_downstream().retry_buffer_truncated(),
            idempotency_key: state.facts.idempotency_key,
            at_owner: decision.owner.is_some() && decision.owner == decision.target(),
            remaining: state.remaining(self.clock.elapsed()),
        })
    }

    fn budget(&self, state: &RequestState, region: RegionId, policy: PolicyId) -> Option<Retrying> {
        let percent = state.current.table().policy(policy)?.retries.budget_percent;
        let now = Millis(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        state.current.live.region(region)?.counts.retry(percent, now)
    }

    /// Whether a response of this status is one that the policy would rather have from elsewhere.
    pub(super) fn may_retry_status(&self, state: &RequestState, status: u16) -> bool {
        let policy = state.decision.as_ref().and_then(|made| state.current.table().policy(made.policy));
        policy.is_some_and(|policy| policy.retries.on_status.contains(&status))
    }

    /// The attempt at hand was answered: a row of failures is over, and so is a trial.
    pub(super) fn region_answered(&self, state: &mut RequestState, status: u16) {
        if let Some(spans) = &mut state.spans {
            spans.answered(status);
        }
        let Some(attempt) = &mut state.attempt else { return };
        attempt.settled = true;
        state.region_took = Some(self.clock.elapsed().saturating_sub(attempt.began));
        let Some(counts) = state.current.live.endpoint(attempt.region, attempt.endpoint) else { return };
        if counts.succeeded() || attempt.on_trial {
            let region = state.current.table().region_name(attempt.region);
            if !self.outcomes.succeeded(region, attempt.address) {
                self.recorder.outcome_dropped();
            }
        }
    }

    /// The attempt at hand failed: counts it, and tells the steward once the row is as long as its checks demand.
    pub(super) fn region_failed(&self, state: &mut RequestState, failure: Failure) {
        if let Some(spans) = &mut state.spans {
            spans.failed(failure, self.clock.elapsed());
        }
        let (Some(attempt), Some(reason)) = (&mut state.attempt, failure.reason()) else { return };
        attempt.settled = true;
        self.recorder.region_failed(&state.current, state.prepared.source, attempt.region, reason);
        // A trial is told of in any case: without a word of how it went there would be no other.
        let (began, on_trial) = (attempt.began, attempt.on_trial);
        let unseen = !on_trial && self.stood_still_since(began, failure, state.deadline);
        if !matches!(failure, Failure::Status(_)) && !unseen {
            self.report_failure(state);
        }
    }

    /// Whether an attempt that began then failed so long after its time was up that nobody here can have looked at
    /// the time: this process stood still, and that says nothing about the region. As for health checks.
    fn stood_still_since(&self, began: Duration, failure: Failure, deadline: Option<Duration>) -> bool {
        let most = match failure {
            Failure::Timeout => deadline.map(|deadline| deadline.saturating_sub(began)),
            Failure::Connect => Some(CONNECT_AND_HANDSHAKE),
            _ => None,
        };
        let took = self.clock.elapsed().saturating_sub(began);
        most.is_some_and(|most| took > most * 3 / 2 + LATE)
    }

    fn report_failure(&self, state: &RequestState) {
        let Some(attempt) = &state.attempt else { return };
        let Some(counts) = state.current.live.endpoint(attempt.region, attempt.endpoint) else { return };
        let Some(region) = state.current.table().region(attempt.region) else { return };
        let in_a_row = counts.failed();
        if (in_a_row >= region.check.fall || attempt.on_trial)
            && !self.outcomes.failed(&region.name, attempt.address, in_a_row)
        {
            self.recorder.outcome_dropped();
        }
    }

    /// The request is over: a trial that came to nothing counts as failed, so that there will be another.
    pub(super) fn settle(&self, state: &RequestState) {
        if state.attempt.as_ref().is_some_and(|attempt| attempt.on_trial && !attempt.settled) {
            self.report_failure(state);
        }
    }

    /// Counts what became of the request at the region that it was sent to last; `status`: what the client got.
    pub(super) fn tally(&self, state: &RequestState, status: u16) {
        let Some(attempt) = &state.attempt else { return };
        let Some(live) = state.current.live.region(attempt.region) else { return };
        let is_read = state.decision.as_ref().is_some_and(|made| made.operation == Operation::Read);
        live.counts.tally.count(is_read, status == 0 || status >= 500, state.region_took);
    }

    /// What to answer when no connection came about and the request does not go on.
    pub(super) fn unreachable(&self, state: &RequestState, given_up: GivenUp) -> Refusal {
        let operation = state.decision.as_ref().map(|decision| decision.operation);
        match given_up {
            GivenUp::Refused(because) => because,
            _ if state.is_late(self.clock.elapsed()) => Refusal::Deadline,
            _ if operation == Some(Operation::Write) => Refusal::OwnerUnavailable,
            _ => Refusal::NoRegion,
        }
    }
}

/// The region where `next` sends a request whose `last` attempt allows a further one within `scope`.
///
/// # Errors
/// Why it may not go there.
fn goes_elsewhere(next: &Decision, last: Attempt, scope: Scope) -> Result<RegionId, Refusal> {
    match next.course {
        Course::Refuse { because } => Err(because),
        Course::Hold { .. } => Err(Refusal::WriteFrozen),
        Course::Forward { region, .. } if scope == Scope::Region && region != last.region => {
            Err(match next.operation {
                Operation::Write => Refusal::OwnerUnavailable,
                Operation::Read => Refusal::NoRegion,
            })
        }
        Course::Forward { region, .. } => Ok(region),
    }
}

//! Writes that wait while their tenant's ownership moves, and the count of those that do not wait any more.
//!
//! A write is counted before the snapshot is looked at for the last time, and a transfer looks at the count after it
//! has published the freeze: so either the write sees the freeze, or the transfer sees the write.
//!
//! Never: keeps more writes waiting than it was told; lets a later write of a tenant pass an earlier one; reads a byte
//! of a body that waits.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::proxy::Session;
use rhumb_decision::ownership::State;
use rhumb_decision::table::Operation;
use rhumb_decision::units::Key;
use rhumb_decision::{Consistency, Course, Decision};
use tokio::sync::Notify;

use crate::control::snapshot::Current;
use crate::proxy::client::Client;
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::RequestState;

/// The writes that wait, in the order in which they came, tenant by tenant.
#[derive(Debug)]
pub(super) struct Holds {
    most: usize,
    waiting: AtomicUsize,
    queues: Mutex<HashMap<u64, VecDeque<Arc<Notify>>>>,
}

/// A place in a tenant's queue; given up when dropped, and the next is told.
#[derive(Debug)]
pub(super) struct Place {
    holds: Arc<Holds>,
    key: u64,
    turn: Arc<Notify>,
}

impl Holds {
    /// Room for `most` writes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, waiting: AtomicUsize::new(0), queues: Mutex::default() })
    }

    /// Whether a write of this tenant waits.
    fn has_queue(&self, key: Key) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
            && self.queues.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key.0)
    }

    /// The last place in a tenant's queue; `None`: there is no room.
    fn join(self: &Arc<Self>, key: Key) -> Option<Place> {
        let one_more = |waiting| (waiting < self.most).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        let turn = Arc::new(Notify::new());
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(key.0).or_default().push_back(Arc::clone(&turn));
        drop(queues);
        Some(Place { holds: Arc::clone(self), key: key.0, turn })
    }
}

impl Place {
    /// Waits until nobody of the tenant is before it. Safe to cancel.
    async fn turn(&self) {
        while !self.is_first() {
            self.turn.notified().await;
        }
    }

    fn is_first(&self) -> bool {
        let queues = self.holds.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(&self.key).and_then(VecDeque::front).is_none_or(|first| Arc::ptr_eq(first, &self.turn))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.holds.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&self.key) {
            queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
            match queue.front() {
                Some(next) => next.notify_one(),
                None => drop(queues.remove(&self.key)),
            }
        }
        drop(queues);
        self.holds.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How a wait ended.
enum Waited {
    /// It is its turn, and where it has to be, something newer is in force.
    Turn,
    /// It has waited as long as it may.
    TooLong,
    /// Its client has gone.
    Left,
}

impl Rhumb {
    /// The decision that holds at the moment in which the request may be sent on: a write is counted from then on, and
    /// one whose tenant moves has waited. `None`: its client has gone meanwhile.
    pub(super) async fn settled(
        &self,
        session: &mut Session,
        state: &mut RequestState,
        mut decision: Decision,
    ) -> Option<Decision> {
        let Some(key) = owned_key(&decision, &state.current) else { return Some(decision) };
        let began = self.clock.elapsed();
        let mut place: Option<Place> = None;
        let ended = loop {
            let mut newer = true;
            let waits = match decision.course {
                Course::Refuse { .. } => break "timed_out",
                // Whoever came before it goes before it.
                Course::Forward { .. }
                    if place.is_none() && is_write(&decision) && self.holds.has_queue(key) =>
                {
                    newer = false;
                    self.hold_of(&decision, state)
                }
                Course::Forward { .. } => {
                    if is_write(&decision) {
                        state.write = Some(state.current.live.writes.enter(key));
                    }
                    let current = self.reader.current();
                    if current.generation() == state.current.generation()
                        || holds_on(&decision, state, &current)
                    {
                        break "released";
                    }
                    state.write = None;
                    decision = self.decide_on(current, session, state)?;
                    continue;
                }
                Course::Hold { at_most } => at_most.duration(),
            };
            if place.is_none() {
                match self.holds.join(key) {
                    Some(joined) => {
                        place = Some(joined);
                        self.recorder.write_held();
                    }
                    None => {
                        self.recorder.limit_reached("held_writes");
                        self.recorder.write_waited("turned_away", Duration::ZERO);
                        state.facts.waited = true;
                        let current = Arc::clone(&state.current);
                        return self.decide_on(current, session, state);
                    }
                }
            }
            let Some(joined) = &place else { break "timed_out" };
            let spent = self.clock.elapsed().saturating_sub(began);
            let left = waits.saturating_sub(spent);
            let left = state.remaining(self.clock.elapsed()).map_or(left, |rest| rest.min(left));
            match self.wait(session, state, (joined, newer), left).await {
                Waited::Turn => {}
                Waited::TooLong => state.facts.waited = true,
                Waited::Left => {
                    self.recorder.write_waited("left", self.clock.elapsed().saturating_sub(began));
                    return None;
                }
            }
            let current = self.reader.current();
            decision = self.decide_on(current, session, state)?;
        };
        if place.is_some() {
            self.recorder.write_waited(ended, self.clock.elapsed().saturating_sub(began));
        }
        Some(decision)
    }

    /// How long a write may wait behind others of its tenant.
    fn hold_of(&self, decision: &Decision, state: &RequestState) -> Duration {
        let policy = state.current.table().policy(decision.policy);
        policy.map_or(Duration::ZERO, |policy| policy.writes.hold.duration())
    }

    /// Decides on another snapshot; `None` where the request cannot even be asked about.
    fn decide_on(
        &self,
        current: Arc<Current>,
        session: &Session,
        state: &mut RequestState,
    ) -> Option<Decision> {
        state.prepared = self.cache.of(current.table());
        state.current = current;
        self.decide(session.req_header(), state)
    }

    async fn wait(
        &self,
        session: &mut Session,
        state: &RequestState,
        (place, newer): (&Place, bool),
        left: Duration,
    ) -> Waited {
        let mut reader = self.reader.clone();
        let seen = state.current.generation();
        let turn = async {
            place.turn().await;
            while newer && reader.current().generation() == seen {
                if !reader.changed().await {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = turn => Waited::Turn,
            () = tokio::time::sleep(left) => Waited::TooLong,
            () = gone(session) => Waited::Left,
        }
    }
}

/// Waits until the client has ended the connection, or given the stream up. Safe to cancel.
async fn gone(session: &mut Session) {
    if session.is_custom() {
        // Nothing of its body is read by this.
        let _ = session.as_downstream_mut().read_body_or_idle(true).await;
        return;
    }
    let client =
        session.as_downstream().stream().and_then(|stream| (**stream).as_any().downcast_ref::<Client>());
    match client {
        Some(client) => client.closed().await,
        None => std::future::pending().await,
    }
}

fn is_write(decision: &Decision) -> bool {
    decision.operation == Operation::Write
}

/// The key of the tenant whose ownership the request depends on; `None`: it depends on nobody's.
pub(super) fn owned_key(decision: &Decision, current: &Current) -> Option<Key> {
    let is_strong = decision.consistency == Some(Consistency::Strong);
    let tenant = decision.tenant.filter(|_| is_write(decision) || is_strong)?;
    Some(Key::of(current.table().tenants().id(tenant).as_bytes()))
}

/// Whether the ownership that was decided on is the one of a newer snapshot too.
fn holds_on(decision: &Decision, state: &RequestState, newer: &Current) -> bool {
    let Some(id) = decision.tenant.map(|tenant| state.current.table().tenants().id(tenant)) else {
        return false;
    };
    let Some(row) = newer.table().tenants().find(id) else { return false };
    let now = newer.ownership().of(id, &row);
    // One epoch has one owner; where two were seen, its state says so.
    let is_open = match now.state {
        State::Active => true,
        State::Settling | State::Disputed | State::Ownerless => false,
        State::Frozen { .. } | State::ReadOnly | State::Moving => !is_write(decision),
    };
    decision.epoch == Some(now.epoch) && is_open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_have_their_turns_in_the_order_in_which_they_came() {
        let holds = Holds::new(10);
        let key = Key(7);
        let (first, second) = (holds.join(key).unwrap(), holds.join(key).unwrap());
        let other = holds.join(Key(8)).unwrap();
        first.turn().await;
        other.turn().await;
        assert!(!second.is_first());
        tokio::join!(second.turn(), async { drop(first) });
        assert!(second.is_first() && holds.has_queue(key));
        drop((second, other));
        assert!(!holds.has_queue(key) && holds.queues.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_leaves_from_the_middle_lets_the_next_one_up() {
        let holds = Holds::new(10);
        let [first, second, third] = [(); 3].map(|()| holds.join(Key(7)).unwrap());
        drop(second);
        drop(first);
        third.turn().await;
    }

    #[test]
    fn there_is_room_for_so_many_and_again_once_one_has_gone() {
        let holds = Holds::new(2);
        let (first, _second) = (holds.join(Key(1)).unwrap(), holds.join(Key(2)).unwrap());
        assert!(holds.join(Key(3)).is_none());
        drop(first);
        assert!(holds.join(Key(3)).is_some());
    }
}

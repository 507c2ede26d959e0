//! Which region a write with an `Idempotency-Key` was sent to, and what becomes of it when it comes again.
//!
//! A service knows its own keys. What it cannot know is that a write was sent to the owner before it, whose answer was
//! lost and whose copy may not have arrived. So the edge remembers, for a while and only so many, and says it.
//!
//! Never: grows beyond its bound, reads a clock, or keeps a key itself.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use hashbrown::HashMap;

use crate::policy::OnOwnerChange;
use crate::tenants::BySeedless;
use crate::units::{Epoch, Millis};

/// An attempt at a write: where, and under which ownership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempted<P> {
    /// The region that it was sent to.
    pub region: P,
    /// The epoch under which it was sent.
    pub epoch: Epoch,
}

/// The latest attempts with one key, at most one for each region, the last one last.
///
/// Two: that a write was at its owner again, and refused there, does not tell what became of it at the one before.
pub type Attempts<P> = ArrayVec<Attempted<P>, 2>;

/// What becomes of a write whose key was seen before.
#[derive(PartialEq, Eq, Debug)]
pub enum Repeat<'a, P> {
    /// It was nowhere but where it is to go, and that region knows what became of it.
    Same,
    /// It goes on, and says where it was before.
    Marked(&'a Attempted<P>),
    /// It goes nowhere: what became of it elsewhere is unknown.
    Refused,
}

impl<'a, P: PartialEq> Repeat<'a, P> {
    /// What becomes of a write that was `before` and is to go to `target` now.
    #[must_use]
    pub fn of(before: &'a [Attempted<P>], target: &P, rule: OnOwnerChange) -> Self {
        let elsewhere = before.iter().rev().find(|attempted| attempted.region != *target);
        match (elsewhere, rule) {
            (None, _) => Self::Same,
            (Some(attempted), OnOwnerChange::Mark) => Self::Marked(attempted),
            (Some(_), OnOwnerChange::Refuse) => Self::Refused,
        }
    }
}

/// What was remembered of one attempt, to take it back by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    id: u128,
    number: u64,
    /// Whether nothing was known of the key before.
    first: bool,
}

/// The attempts of one set of keys: the latest of each; the key that came longest ago is forgotten first.
#[derive(Debug)]
pub struct Memory<P> {
    most: usize,
    lasts: Millis,
    known: HashMap<u128, Kept<P>, BySeedless>,
    /// Every attempt that was remembered, oldest first; of a key that came again, only the last still counts.
    order: VecDeque<(u128, u64)>,
    number: u64,
}

#[derive(Debug)]
struct Kept<P> {
    attempts: Attempts<P>,
    at: Millis,
    number: u64,
}

impl<P: Clone + PartialEq> Memory<P> {
    /// Knows nothing yet.
    ///
    /// - `most`: attempts that are remembered at once, those that a later one of the same key replaced included.
    /// - `lasts`: how long each is.
    #[must_use]
    pub fn new(most: usize, lasts: Millis) -> Self {
        Self { most, lasts, known: HashMap::default(), order: VecDeque::new(), number: 0 }
    }

    /// The attempts with this key, as known at `at`; none where it is new.
    ///
    /// - `id`: stands for tenant and key; whoever hands it in sees to it that no two are alike.
    #[must_use]
    pub fn recall(&self, id: u128, at: Millis) -> Attempts<P> {
        let kept = self.known.get(&id).filter(|kept| at.since(kept.at) < self.lasts);
        kept.map(|kept| kept.attempts.clone()).unwrap_or_default()
    }

    /// A write is about to be sent. Returns how to take that back, and how many attempts were forgotten before their
    /// time to make room.
    pub fn record(&mut self, id: u128, attempted: Attempted<P>, at: Millis) -> (Ticket, usize) {
        let mut attempts = self.recall(id, at);
        let first = attempts.is_empty();
        attempts.retain(|earlier| earlier.region != attempted.region);
        if attempts.is_full() {
            attempts.remove(0);
        }
        attempts.push(attempted);
        self.number += 1;
        let number = self.number;
        self.known.insert(id, Kept { attempts, at, number });
        self.order.push_back((id, number));
        (Ticket { id, number, first }, self.make_room(at))
    }

    /// The attempt is known to have written nothing. It is forgotten, unless there was an earlier one with its key, or
    /// there has been a later one: of those nobody knows.
    pub fn forget(&mut self, ticket: Ticket) {
        let is_last = self.known.get(&ticket.id).is_some_and(|kept| kept.number == ticket.number);
        if is_last && ticket.first {
            self.known.remove(&ticket.id);
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn make_room(&mut self, at: Millis) -> usize {
        let mut before_their_time = 0;
        while let Some((id, number)) = self.order.front().copied() {
            let kept = self.known.get(&id).filter(|kept| kept.number == number);
            let is_over = kept.is_none_or(|kept| at.since(kept.at) >= self.lasts);
            if !is_over && self.order.len() <= self.most {
                break;
            }
            if kept.is_some() {
                self.known.remove(&id);
                before_their_time += usize::from(!is_over);
            }
            self.order.pop_front();
        }
        before_their_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::mix;

    const LASTS: Millis = Millis(1_000);

    fn at(region: &'static str, epoch: u64) -> Attempted<&'static str> {
        Attempted { region, epoch: Epoch(epoch) }
    }

    fn known(memory: &Memory<&'static str>, id: u128, now: u64) -> Vec<(&'static str, u64)> {
        memory.recall(id, Millis(now)).iter().map(|it| (it.region, it.epoch.0)).collect()
    }

    #[test]
    fn the_last_attempt_is_known_until_its_time_is_over() {
        let mut memory = Memory::new(10, LASTS);
        assert_eq!(known(&memory, 1, 0), []);
        memory.record(1, at("eu", 7), Millis(0));
        memory.record(1, at("eu", 8), Millis(500));
        assert_eq!(known(&memory, 1, 1_499), [("eu", 8)]);
        assert_eq!(known(&memory, 1, 1_500), []);
        assert_eq!(known(&memory, 2, 500), [], "another key");
    }

    #[test]
    fn the_last_two_regions_are_known_the_latest_last() {
        let mut memory = Memory::new(10, LASTS);
        for (n, attempted) in [at("eu", 7), at("us", 8), at("eu", 9), at("ap", 10)].into_iter().enumerate() {
            memory.record(1, attempted, Millis(n as u64));
        }
        assert_eq!(known(&memory, 1, 9), [("eu", 9), ("ap", 10)]);
    }

    #[test]
    fn a_repeat_is_the_policys_to_judge_once_it_was_elsewhere() {
        let (mark, refuse) = (OnOwnerChange::Mark, OnOwnerChange::Refuse);
        let (eu, both) = ([at("eu", 7)], [at("eu", 7), at("us", 8)]);
        for rule in [mark, refuse] {
            assert_eq!(Repeat::of(&eu, &"eu", rule), Repeat::Same);
            assert_eq!(Repeat::of(&[], &"eu", rule), Repeat::Same);
        }
        assert_eq!(Repeat::of(&eu, &"us", mark), Repeat::Marked(&at("eu", 7)));
        assert_eq!(Repeat::of(&eu, &"us", refuse), Repeat::Refused);
        assert_eq!(
            Repeat::of(&both, &"us", mark),
            Repeat::Marked(&at("eu", 7)),
            "it is still not known there"
        );
        assert_eq!(Repeat::of(&both, &"eu", mark), Repeat::Marked(&at("us", 8)));
        assert_eq!(Repeat::of(&both, &"ap", mark), Repeat::Marked(&at("us", 8)), "the latest");
    }

    #[test]
    fn an_attempt_that_wrote_nothing_is_forgotten_and_no_other() {
        let mut memory = Memory::new(10, LASTS);
        let (only, _) = memory.record(1, at("eu", 7), Millis(0));
        memory.forget(only);
        assert_eq!(known(&memory, 1, 0), []);
        let (first, _) = memory.record(2, at("eu", 7), Millis(0));
        let (second, _) = memory.record(2, at("eu", 7), Millis(1));
        memory.forget(second);
        assert_eq!(known(&memory, 2, 1), [("eu", 7)], "what became of the first is unknown");
        memory.forget(first);
        assert_eq!(known(&memory, 2, 1), [("eu", 7)], "what becomes of the second is unknown");
        let (late, _) = memory.record(2, at("us", 8), Millis(5_000));
        memory.forget(late);
        assert_eq!(known(&memory, 2, 5_000), [], "what is over is no earlier attempt");
    }

    #[test]
    fn the_oldest_make_room_and_are_counted_unless_their_time_was_over() {
        let mut memory = Memory::new(3, LASTS);
        for id in 0..3 {
            assert_eq!(memory.record(id, at("eu", 7), Millis(u64::try_from(id).unwrap())).1, 0);
        }
        assert_eq!(memory.record(0, at("eu", 7), Millis(10)).1, 0, "its own older attempt made room");
        assert_eq!(memory.record(9, at("eu", 7), Millis(11)).1, 1);
        assert_eq!(known(&memory, 1, 11), []);
        assert!([0, 2, 9].iter().all(|id| known(&memory, *id, 11).len() == 1));
        assert_eq!(memory.record(7, at("eu", 7), Millis(9_000)).1, 0, "none of them counted any more");
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn whatever_comes_it_stays_within_its_bound_and_knows_the_latest() {
        for seed in 0..64_u64 {
            let mut memory = Memory::new(16, LASTS);
            let mut now = 0;
            for step in 0..2_000_u64 {
                let draw = mix(seed << 32 | step);
                now += draw % 90;
                let id = u128::from(draw >> 8 & 31);
                let region = ["eu", "us", "ap"][(draw >> 16) as usize % 3];
                let (ticket, _) = memory.record(id, at(region, step), Millis(now));
                assert_eq!(known(&memory, id, now).last(), Some(&(region, step)), "seed {seed}");
                assert!(memory.len() <= 16 && memory.order.len() <= 16, "seed {seed}, step {step}");
                if draw.is_multiple_of(7) {
                    memory.forget(ticket);
                }
            }
        }
    }
}

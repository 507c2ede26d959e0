//! The gateways of regions: what they make of requests and of what an edge tells them, as `proxy::gateway` has it.
//!
//! Three premises are held here, as the protocol rests on them (`docs/ownership.md`, "How it is held"): once one gateway of
//! a region knows of a switch, the others lose no fence before they know too; what a gateway was told is kept before the
//! time is over that it prolongs a fence by; and a fence that has ended is not raised again by a repeat of its order.

use std::ops::Range;

use rhumb_decision::gateway::{Claim, Judgement, Known, Needs, Said as Shown, Writers, judge};
use rhumb_decision::units::Epoch;

use crate::flights::At;
use crate::world::{Broken, GATES, Region, World, name};

/// A gateway, by its place in what is simulated.
pub type Gate = usize;

/// How long a fence stands, at least, once what was told under it is being kept.
const KEPT_WITHIN: u64 = 60;

/// How long keeping it takes, at most.
const KEEPS: u64 = 40;

/// How long writes in flight are waited for.
const SETTLES: u64 = 60;

/// How old a signature may be, or how young.
const SIGNED: u64 = 300;

/// A fence that stands at a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    pub id: u64,
    /// By the gateway's own clock.
    pub until: u64,
}

/// What a gateway is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Let nothing pass for so long; 0 lifts it.
    Fence {
        id: u64,
        span: u64,
    },
    /// This fence has held.
    Fenced(u64),
    Plain,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    Yes,
    KnowsBetter(Region, Epoch),
    Lapsed,
    No,
}

/// How far a gateway is with what it was told, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Coming,
    /// It is being written down.
    Keeping(u64),
    /// Writes in flight are waited for.
    Settling(u64),
    Over(Said),
}

/// An announcement on its way to a gateway, or its answer on its way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The edge that says it.
    pub by: usize,
    pub to: Gate,
    pub owner: Region,
    pub epoch: Epoch,
    pub word: Word,
    /// What its edge's wall clock showed.
    pub signed: u64,
    pub stage: Stage,
    /// Whether anybody waits for the answer.
    pub awaited: bool,
}

impl Announcement {
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }
}

/// The region of a gateway.
pub const fn home_of(gate: Gate) -> Region {
    gate / GATES
}

impl World {
    /// The gateways of a region.
    pub fn gates(&self, region: Region) -> Range<Gate> {
        let first = region * GATES;
        if self.run.bare == Some(region) { first..first } else { first..first + GATES }
    }

    pub fn known_at(&self, gate: Gate) -> Known<'static> {
        let now = self.gateways[gate].ownership();
        Known {
            ownership: Claim { owner: name(self.number(now.owner)), epoch: now.epoch },
            disputed: self.gateways[gate].is_disputed(),
            writers: Writers::Owner,
        }
    }

    /// A request arrives at a region, at either of its gateways where it has any.
    pub fn arrive(&mut self, flight: usize, here: Region, epoch: Epoch) {
        let is_write = self.flights[flight].is_write;
        let Some(gate) = self.some_gate(here) else {
            self.happens("no gateway in its way");
            self.flights[flight].at = At::Passed { by: None, at: here, epoch };
            return;
        };
        if !self.is_proven(gate, self.flights[flight].signed) {
            return self.refuse(flight);
        }
        self.checks.shown(&gate.to_string(), epoch, here);
        let known = self.known_at(gate);
        let claim = Claim { owner: name(here), epoch };
        let said = Shown { target: name(here), claim: Some(claim), is_ownership: true };
        let needs = if is_write { Needs::Write } else { Needs::Owner };
        let judged = judge(&said, Some(&known), needs, name(here));
        if let Some(Claim { owner, epoch }) = judged.news {
            self.gateway_learns(gate, owner, epoch);
        }
        let verdict = if self.broken == Broken::NoFencing { Judgement::Pass } else { judged.verdict };
        if verdict == Judgement::Pass && self.is_fenced(gate) && self.broken != Broken::NoFencing {
            return self.meet_fence(flight);
        }
        match verdict {
            Judgement::Pass => {
                if is_write {
                    self.checks.let_go_on(&gate.to_string(), epoch, here);
                }
                self.flights[flight].waits_since = None;
                self.flights[flight].at = At::Passed { by: Some(gate), at: here, epoch };
            }
            Judgement::StaleEpoch(Claim { owner, epoch }) => {
                self.happens("refused stale");
                self.flights[flight].at = At::Stale { owner: self.named(owner), epoch };
            }
            Judgement::SplitBrain | Judgement::Misdirected => {
                self.happens("refused split brain");
                self.refuse(flight);
            }
        }
    }

    /// Whether who signed it is believed: a signature has its time, by the wall clocks of both sides.
    fn is_proven(&mut self, gate: Gate, signed: u64) -> bool {
        let is_fresh = self.gateways[gate].clock.wall(self.now).abs_diff(signed) <= SIGNED;
        if self.run.by_signature && !is_fresh {
            self.happens("unproven, by a wall clock");
        }
        !self.run.by_signature || is_fresh
    }

    /// Its edge sends it again in a moment, as it was, and counts it all the while.
    fn meet_fence(&mut self, flight: usize) {
        self.happens("met a fence");
        if self.flights[flight].left {
            self.over(flight);
        } else if self.has_waited(flight) {
            self.refuse(flight);
        } else {
            self.flights[flight].signed = self.edges[self.flights[flight].edge].clock.wall(self.now);
        }
    }

    fn is_fenced(&self, gate: Gate) -> bool {
        let stands = |fence: Fence| fence.until > self.gate_time(gate) || self.others_know(gate);
        self.fences[gate].is_some_and(stands)
    }

    /// The first premise: whether it may not lose its fence now.
    pub fn has_to_stand(&self, gate: Gate) -> bool {
        self.fences[gate].is_some() && self.others_know(gate)
    }

    fn stands(&self, gate: Gate, id: u64) -> bool {
        self.is_fenced(gate) && self.fences[gate].is_some_and(|fence| fence.id == id)
    }

    /// The first that it learns of an ownership above its own.
    pub fn gateway_learns(&mut self, gate: Gate, owner: &str, epoch: Epoch) {
        let disputed = self.gateways[gate].is_disputed();
        if self.broken == Broken::IgnoresASecondOwner && self.gateways[gate].ownership().epoch == epoch {
            return;
        }
        self.gateways[gate].learn(owner, epoch, self.now);
        if !disputed && self.gateways[gate].is_disputed() {
            self.happens("split brain noticed by a gateway");
        }
    }

    /// A gateway goes a step further with what it was told: what it is asked for holds at once, and it says so once
    /// nothing is in flight.
    pub fn hear(&mut self, at: usize) {
        let Announcement { to, owner, epoch, word, signed, stage, .. } = self.announcements[at].clone();
        let now = self.gate_time(to);
        let better = self.better_known(to, owner, epoch);
        let stage = match (stage, word) {
            (Stage::Over(_), _) => return,
            (Stage::Coming, _) if !self.is_proven(to, signed) => Stage::Over(Said::No),
            (Stage::Coming, Word::Fence { id, span: 0 }) => {
                self.lift(to, id);
                Stage::Over(Said::Yes)
            }
            (Stage::Coming, Word::Fence { .. }) if better.is_some() => Stage::Over(better.unwrap()),
            (Stage::Coming, Word::Fence { id, .. }) if self.has_ended(to, id) => Stage::Over(Said::No),
            (Stage::Coming, Word::Fence { id, span }) => {
                if !self.raised.insert((to, id)) {
                    self.happens("a fence raised again");
                }
                self.fences[to] = Some(Fence { id, until: now + span });
                Stage::Settling(now)
            }
            (Stage::Coming, Word::Fenced(id)) if self.gateways[to].ownership().epoch < epoch => {
                if !self.stands(to, id) && self.broken != Broken::BelievesThatItsFenceHeld {
                    Stage::Over(Said::Lapsed)
                } else if self.others_stand(to, id, epoch) {
                    self.prolong(to, now);
                    Stage::Keeping(now)
                } else {
                    Stage::Over(Said::No)
                }
            }
            (Stage::Coming, Word::Fenced(_) | Word::Plain) => Stage::Keeping(now),
            (Stage::Keeping(_), _) => {
                self.checks.shown(&to.to_string(), epoch, owner);
                self.gateway_learns(to, name(owner), epoch);
                better.map_or(Stage::Settling(now), Stage::Over)
            }
            (Stage::Settling(_), _) if self.at_gateway(to) == 0 => {
                if let Word::Fenced(id) = word {
                    self.lift(to, id);
                }
                Stage::Over(Said::Yes)
            }
            (Stage::Settling(began), _) if now - began > SETTLES => {
                if let Word::Fence { id, .. } = word {
                    self.lift(to, id);
                }
                Stage::Over(Said::No)
            }
            (Stage::Settling(_), _) => stage,
        };
        self.announcements[at].stage = stage;
    }

    /// The third premise: nobody orders a fence again that has ended, and is still to be said to have held.
    fn has_ended(&self, gate: Gate, id: u64) -> bool {
        self.broken != Broken::ARepeatRaisesAFenceAgain
            && self.raised.contains(&(gate, id))
            && !self.stands(gate, id)
            && self.is_in_use(id)
    }

    /// What it knows better: a higher epoch, or another owner at the same.
    fn better_known(&self, gate: Gate, owner: Region, epoch: Epoch) -> Option<Said> {
        let known = self.gateways[gate].ownership();
        let knows = self.number(known.owner);
        let agrees = known.epoch < epoch || (known.epoch == epoch && knows == owner);
        (!agrees).then_some(Said::KnowsBetter(knows, known.epoch))
    }

    fn lift(&mut self, gate: Gate, id: u64) {
        if self.fences[gate].is_some_and(|fence| fence.id == id) {
            self.fences[gate] = None;
        }
    }

    /// The others of its region.
    fn others(&self, gate: Gate) -> impl Iterator<Item = Gate> + use<> {
        self.gates(home_of(gate)).filter(move |other| *other != gate)
    }

    /// The first premise: whether the other gateways know this epoch too, or are behind the same fence.
    fn others_stand(&self, gate: Gate, id: u64, epoch: Epoch) -> bool {
        self.broken == Broken::AFenceIsLostWhileOthersKnow
            || self
                .others(gate)
                .all(|other| self.gateways[other].ownership().epoch >= epoch || self.stands(other, id))
    }

    /// Whether others of its region know of a switch that it does not know of, or are about to.
    fn others_know(&self, gate: Gate) -> bool {
        let knows = |gate: Gate| self.gateways[gate].ownership().epoch;
        let is_kept = |other| {
            let is_there = |one: &&Announcement| one.to == other && matches!(one.stage, Stage::Keeping(_));
            self.announcements.iter().filter(is_there).any(|one| one.epoch > knows(gate))
        };
        self.broken != Broken::AFenceIsLostWhileOthersKnow
            && self.others(gate).any(|other| knows(other) > knows(gate) || is_kept(other))
    }

    /// A fence that has held goes on to do so until what was told under it is kept.
    fn prolong(&mut self, gate: Gate, now: u64) {
        if self.broken != Broken::FenceEndsBeforeItIsKept
            && let Some(fence) = &mut self.fences[gate]
        {
            fence.until = fence.until.max(now + KEPT_WITHIN);
        }
    }

    /// What ends by itself: fences, and, by the second premise, the time that it takes to keep what was told.
    pub fn time_passes(&mut self) {
        for gate in 0..self.fences.len() {
            if !self.is_fenced(gate) {
                self.fences[gate] = None;
            }
        }
        for at in 0..self.announcements.len() {
            let Announcement { to, stage, .. } = self.announcements[at];
            if matches!(stage, Stage::Keeping(since) if self.gate_time(to) - since > KEEPS) {
                self.hear(at);
            }
        }
    }
}

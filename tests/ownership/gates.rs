//! The gateways of regions: what they make of requests and of what an edge tells them, as `proxy::gateway` has it.

use std::ops::Range;

use rhumb_decision::gateway::{Claim, Judgement, Known, Needs, Said as Shown, Writers, judge};
use rhumb_decision::owned::Change;
use rhumb_decision::ownership::State;
use rhumb_decision::units::Epoch;

use crate::flights::At;
use crate::world::{Broken, GATES, REGIONS, Region, World, name};

/// A gateway, by its place in what is simulated.
pub type Gate = usize;

/// How long a fence stands, at least, once what was told under it is being kept.
const KEPT_WITHIN: u64 = 60;

/// How long whoever tells waits until it is kept; it may be kept later, and longer than a fence stands.
const LATE: u64 = 120;

/// How long writes in flight are waited for.
const SETTLES: u64 = 60;

/// How old a signature may be, or how young.
const SIGNED: u64 = 300;

/// A fence that stands at a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    /// Whose it is: that lifts it.
    pub id: u64,
    /// No other has it, not even one of the same order.
    pub number: u64,
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
    /// The fence of this number has held.
    Fenced(u64),
    Plain,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// It does; and under which number a fence stands, where it was to raise one.
    Yes(u64),
    KnowsBetter(Region, Epoch),
    Lapsed,
    No,
}

/// How far a gateway is with what it was told, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Coming,
    /// It is being written down, which takes so long; what was known better as it came.
    Keeping {
        since: u64,
        takes: u64,
        better: Option<Said>,
    },
    /// Writes in flight are waited for; under which number a fence was raised for it.
    Settling(u64, u64),
    Over(Said),
}

/// Who waits for the answer to an announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    Mover,
    Crier,
    /// Nobody any more.
    Gone,
}

/// An announcement on its way to a gateway, or its answer on its way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The edge that says it, and when by its clock.
    pub by: usize,
    pub began: u64,
    pub asker: Asker,
    pub to: Gate,
    pub owner: Region,
    pub epoch: Epoch,
    pub word: Word,
    /// What its edge's wall clock showed.
    pub signed: u64,
    pub stage: Stage,
}

impl Announcement {
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Whether a transfer waits for its answer.
    pub fn is_awaited(&self) -> bool {
        self.asker == Asker::Mover
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

    pub fn all_gates(&self) -> Vec<Gate> {
        (0..REGIONS).flat_map(|region| self.gates(region)).collect()
    }

    pub fn known_at(&self, gate: Gate) -> Known<'static> {
        let now = self.gateways[gate].ownership();
        Known {
            ownership: Claim { owner: name(self.number(now.owner)), epoch: now.epoch },
            disputed: now.state == State::Disputed,
            withheld: now.state == State::Settling,
            writers: Writers::Owner,
        }
    }

    /// A request arrives at a region, at either of its gateways where it has any: it is counted there, and then a fence is
    /// looked for.
    pub fn arrive(&mut self, flight: usize, here: Region, epoch: Epoch) {
        let Some(gate) = self.some_gate(here) else {
            self.happens("no gateway in its way");
            self.flights[flight].at = At::Passed { by: None, at: here, epoch };
            return;
        };
        if !self.is_proven(gate, self.flights[flight].signed) {
            return self.refuse(flight);
        }
        let fenced = self.is_fenced(gate);
        if self.broken != Broken::LooksForAFenceOnceItHasJudged || self.may_pass(flight, gate, epoch) {
            self.flights[flight].at = At::Counted { by: gate, epoch, fenced };
        }
    }

    /// Then it is judged by what is known, and passes unless it is a write that met a fence.
    pub fn pass(&mut self, flight: usize, gate: Gate, (epoch, fenced): (Epoch, bool)) {
        let is_late = self.broken == Broken::LooksForAFenceOnceItHasJudged;
        let fenced = if is_late { self.is_fenced(gate) } else { fenced };
        if !is_late && !self.may_pass(flight, gate, epoch) {
            return;
        }
        let here = home_of(gate);
        if self.flights[flight].is_write && fenced && self.broken != Broken::NoFencing {
            self.happens("met a fence");
            return self.ask_again(flight, here, epoch);
        }
        self.flights[flight].waits_since = None;
        self.flights[flight].at = At::Passed { by: Some(gate), at: here, epoch };
    }

    /// Whether it is judged to pass; otherwise it is on its way back.
    fn may_pass(&mut self, flight: usize, gate: Gate, epoch: Epoch) -> bool {
        let (here, is_write) = (home_of(gate), self.flights[flight].is_write);
        self.checks.shown(&gate.to_string(), epoch, here);
        let known = self.known_at(gate);
        let claim = Claim { owner: name(here), epoch };
        let said = Shown { target: name(here), claim: Some(claim), is_ownership: true };
        let needs = if is_write { Needs::Write } else { Needs::Owner };
        let judged = judge(&said, Some(&known), needs, name(here));
        if let Some(Claim { owner, epoch }) = judged.news {
            self.gateway_learns(gate, owner, epoch);
        }
        match if self.broken == Broken::NoFencing { Judgement::Pass } else { judged.verdict } {
            Judgement::Pass => {
                if is_write {
                    self.checks.let_go_on(&gate.to_string(), epoch, here);
                }
                return true;
            }
            Judgement::StaleEpoch(Claim { owner, epoch }) => {
                self.happens("refused stale");
                self.flights[flight].at = At::Stale { owner: self.named(owner), epoch };
            }
            Judgement::SplitBrain | Judgement::Misdirected => {
                self.happens("refused split brain");
                self.refuse(flight);
            }
            Judgement::Withheld => {
                self.happens("met what is withheld");
                self.ask_again(flight, here, epoch);
            }
        }
        false
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
    fn ask_again(&mut self, flight: usize, to: Region, epoch: Epoch) {
        if self.flights[flight].left {
            self.over(flight);
        } else if self.has_waited(flight) {
            self.refuse(flight);
        } else {
            self.flights[flight].at = At::Sent { to, epoch };
            self.flights[flight].signed = self.edges[self.flights[flight].edge].clock.wall(self.now);
        }
    }

    fn is_fenced(&self, gate: Gate) -> bool {
        self.fences[gate].is_some_and(|fence| fence.until > self.gate_time(gate))
    }

    fn stands(&self, gate: Gate, number: u64) -> bool {
        self.broken == Broken::BelievesThatItsFenceHeld
            || (self.is_fenced(gate) && self.fences[gate].is_some_and(|fence| fence.number == number))
    }

    /// The first that it learns of an ownership above its own.
    pub fn gateway_learns(&mut self, gate: Gate, owner: &str, epoch: Epoch) {
        let disputed = self.gateways[gate].is_disputed();
        if self.broken == Broken::IgnoresASecondOwner && self.gateways[gate].ownership().epoch == epoch {
            return;
        }
        self.gateways[gate].learn(owner, epoch, self.now, Change::Learn);
        if !disputed && self.gateways[gate].is_disputed() {
            self.happens("split brain noticed by a gateway");
        }
    }

    fn gateway_withholds(&mut self, gate: Gate, owner: &str, epoch: Epoch) {
        if self.broken == Broken::TellsWhatIsWithheld {
            return self.gateway_learns(gate, owner, epoch);
        }
        self.gateways[gate].learn(owner, epoch, self.now, Change::Withhold);
        if self.broken == Broken::WithholdsInMemoryOnly {
            self.gateways[gate].withholds_in_memory_only();
        }
    }

    /// An edge tells a gateway something.
    pub fn announce_to(
        &mut self,
        to: Gate,
        (by, asker): (usize, Asker),
        (owner, epoch): (Region, Epoch),
        word: Word,
    ) {
        let (began, signed) = (self.edge_time(by), self.edges[by].clock.wall(self.now));
        let stage = Stage::Coming;
        self.announcements.push(Announcement { by, began, asker, to, owner, epoch, word, signed, stage });
    }

    /// A gateway goes a step further with what it was told.
    pub fn hear(&mut self, at: usize) {
        let Announcement { to, owner, epoch, word, signed, stage, .. } = self.announcements[at].clone();
        let now = self.gate_time(to);
        let stage = match stage {
            Stage::Over(_) => return,
            Stage::Coming if !self.is_proven(to, signed) => Stage::Over(Said::No),
            Stage::Coming => self.hear_first(to, (owner, epoch), word),
            Stage::Keeping { since, takes, .. } if now - since < takes => return,
            Stage::Keeping { since, better, .. } => {
                self.checks.shown(&to.to_string(), epoch, owner);
                match word {
                    Word::Fenced(_) => self.gateway_withholds(to, name(owner), epoch),
                    Word::Fence { .. } | Word::Plain => self.gateway_learns(to, name(owner), epoch),
                }
                match (better, word) {
                    _ if now - since > LATE => {
                        self.happens("kept too late");
                        Stage::Over(Said::No)
                    }
                    (Some(better), _) => Stage::Over(better),
                    (None, Word::Fenced(number)) => self.look_once_more(to, number),
                    // What its region owns is written there from now on, and need not end.
                    (None, _) if owner == home_of(to) => Stage::Over(Said::Yes(0)),
                    (None, _) => Stage::Settling(now, 0),
                }
            }
            Stage::Settling(_, number) if self.at_gateway(to) == 0 => Stage::Over(Said::Yes(number)),
            Stage::Settling(began, number) if now - began > SETTLES => {
                self.lift(to, |fence| fence.number == number);
                Stage::Over(Said::No)
            }
            Stage::Settling(..) => stage,
        };
        self.announcements[at].stage = stage;
    }

    fn hear_first(&mut self, to: Gate, (owner, epoch): (Region, Epoch), word: Word) -> Stage {
        let now = self.gate_time(to);
        let better = self.better_known(to, owner, epoch);
        match (word, better) {
            (Word::Fence { id, span: 0 }, _) => {
                self.lift(to, |fence| fence.id == id);
                Stage::Over(Said::Yes(0))
            }
            (Word::Fence { .. } | Word::Fenced(_), Some(better)) => Stage::Over(better),
            (Word::Plain, Some(Said::No)) => Stage::Over(Said::No),
            (Word::Fence { id, span }, None) => {
                if !self.raised.insert((to, id)) {
                    self.happens("a fence raised again");
                }
                let number = self.draw_number(id);
                self.fences[to] = Some(Fence { id, number, until: now + span });
                Stage::Settling(now, number)
            }
            (Word::Fenced(number), None) if !self.stands(to, number) => Stage::Over(Said::Lapsed),
            (Word::Fenced(_), None) => {
                if let Some(fence) = &mut self.fences[to] {
                    fence.until = fence.until.max(now + KEPT_WITHIN);
                }
                self.keeps(now, None)
            }
            (Word::Plain, better) => self.keeps(now, better),
        }
    }

    /// Most is kept at once, and some of it when a fence may have ended meanwhile.
    fn keeps(&mut self, since: u64, better: Option<Said>) -> Stage {
        let takes =
            if !self.is_quiet && self.chance.percent(20) { 40 + self.chance.below(100) as u64 } else { 0 };
        Stage::Keeping { since, takes, better }
    }

    /// What was announced under a fence is kept: it is taken if the fence still stands.
    fn look_once_more(&mut self, gate: Gate, number: u64) -> Stage {
        if !self.stands(gate, number) && self.broken != Broken::DoesNotLookOnceMoreAfterKeeping {
            self.happens("a fence lapsed while its news was kept");
            return Stage::Over(Said::Lapsed);
        }
        self.lift(gate, |fence| fence.number == number);
        Stage::Over(Said::Yes(0))
    }

    fn draw_number(&mut self, id: u64) -> u64 {
        if self.broken == Broken::NumberOfAFenceIsItsId {
            return id;
        }
        self.last_number += 1;
        self.last_number
    }

    /// What it knows better: a higher epoch, or another owner at the same. While that is withheld it does not say which.
    fn better_known(&mut self, gate: Gate, owner: Region, epoch: Epoch) -> Option<Said> {
        let known = self.gateways[gate].ownership();
        let knows = self.number(known.owner);
        if known.epoch < epoch || (known.epoch == epoch && knows == owner) {
            return None;
        }
        if self.gateways[gate].withholds() {
            self.happens("withheld from an edge");
            return Some(Said::No);
        }
        Some(Said::KnowsBetter(knows, known.epoch))
    }

    fn lift(&mut self, gate: Gate, is_it: impl Fn(&Fence) -> bool) {
        if self.fences[gate].as_ref().is_some_and(is_it) {
            self.fences[gate] = None;
        }
    }

    /// What ends by itself: fences.
    pub fn time_passes(&mut self) {
        for gate in 0..self.fences.len() {
            if !self.is_fenced(gate) {
                self.fences[gate] = None;
            }
        }
    }
}

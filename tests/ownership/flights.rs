//! Writes and strong reads on their way: from an edge's decision to the answer, step by step.

use rhumb_decision::gateway::{Claim, Judgement, Known, Needs, Said, Writers, judge};
use rhumb_decision::ownership::State;
use rhumb_decision::units::Epoch;
use rhumb_decision::{Course, Decision, Facts, decide};

use crate::world::{Broken, Region, TENANT, World, name};

/// One request.
pub struct Flight {
    pub id: u64,
    pub edge: usize,
    pub is_write: bool,
    /// What a strong read has to see.
    pub floor: u128,
    pub at: At,
    /// Whether its edge still counts it as in flight.
    pub counted: bool,
    /// Whether it was sent again for a gateway's word.
    pub again: bool,
}

/// Where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Decided on, and not yet counted.
    Decided { owner: Region, epoch: Epoch },
    /// Held at its edge.
    Held,
    /// On its way to a gateway.
    Sent { to: Region, epoch: Epoch },
    /// Passed by the gateway, about to be executed.
    Passed { at: Region, epoch: Epoch },
    /// Executed; the answer is on its way.
    Answered { by: Region },
    /// Refused by a gateway, with what it knows; that is on its way.
    Refused { owner: Region, epoch: Epoch },
    /// Over.
    Over,
}

fn is_moving(state: State) -> bool {
    matches!(state, State::Moving | State::Settling)
}

impl World {
    /// A client sends a write, or a strong read.
    pub fn ask(&mut self, edge: usize, is_write: bool) {
        let id = self.next_id;
        self.next_id += 1;
        let floor = self.checks.floor();
        let at = At::Held;
        let flight = Flight { id, edge, is_write, floor, at, counted: false, again: false };
        self.flights.push(flight);
        let last = self.flights.len() - 1;
        self.decide_for(last);
    }

    fn decision(&self, edge: usize, is_write: bool) -> Decision {
        let node = &self.edges[edge];
        let snapshot = self.snapshot(&node.owned);
        let method = if is_write { "POST" } else { "GET" };
        let host = format!("{TENANT}.app.example");
        decide(&Facts { strong: !is_write, ..Facts::new(method, &host, "/", self.ids[0]) }, &snapshot)
    }

    /// A local read of a client near `from`: all that matters of it here is what its gateway learns.
    pub fn read_a_copy(&mut self, edge: usize, from: Region) {
        let node = &self.edges[edge];
        let host = format!("{TENANT}.app.example");
        let facts = Facts::new("GET", &host, "/", self.ids[from]);
        let decision = decide(&facts, &self.snapshot(&node.owned));
        let Course::Forward { region, .. } = decision.course else { return };
        let mut shown = decision.owner.zip(decision.epoch);
        if self.broken == Broken::TellsBeforeTheRelease {
            let known = node.ownership(&self.table);
            shown = Some((known.owner, known.epoch));
        }
        let owner = shown.map(|(owner, epoch)| Claim { owner: name(self.number(owner)), epoch });
        let here = self.number(region);
        let known = self.known_at(here);
        let said = Said { target: name(here), claim: owner, is_ownership: true };
        if let Some(Claim { owner, epoch }) = judge(&said, Some(&known), Needs::Copy, name(here)).news {
            self.happens("learned from a read");
            self.gateways[here].learn(&self.table, owner, epoch, self.now);
        }
    }

    fn known_at(&self, here: Region) -> Known<'static> {
        let now = self.gateways[here].ownership(&self.table);
        Known {
            ownership: Claim { owner: name(self.number(now.owner)), epoch: now.epoch },
            disputed: now.state == State::Disputed,
            writers: Writers::Owner,
        }
    }

    /// Decides, or decides anew.
    fn decide_for(&mut self, flight: usize) {
        let Flight { edge, is_write, .. } = self.flights[flight];
        let decision = self.decision(edge, is_write);
        let moving = self.edges[edge].ownership(&self.table);
        let ignores = self.broken == Broken::NoFreeze && is_moving(moving.state);
        let at = match decision.course {
            Course::Forward { region, .. } => {
                At::Decided { owner: self.number(region), epoch: decision.epoch.unwrap() }
            }
            Course::Hold { .. } if ignores => {
                At::Decided { owner: self.number(moving.owner), epoch: moving.epoch }
            }
            Course::Hold { .. } => {
                self.happens("held");
                At::Held
            }
            Course::Refuse { .. } => At::Over,
        };
        self.flights[flight].at = at;
    }

    /// One step of a request.
    pub fn fly(&mut self, flight: usize) {
        match self.flights[flight].at {
            At::Held => self.decide_for(flight),
            At::Decided { owner, epoch } => self.count_and_send(flight, owner, epoch),
            At::Sent { to, epoch } => self.arrive(flight, to, epoch),
            At::Passed { at, epoch } => self.execute(flight, at, epoch),
            At::Answered { by } => self.answer(flight, by),
            At::Refused { owner, epoch } => self.hear_refusal(flight, owner, epoch),
            At::Over => {}
        }
    }

    /// Counted first, then looked once more at what is in force; as `proxy::held` does.
    fn count_and_send(&mut self, flight: usize, owner: Region, epoch: Epoch) {
        let Flight { edge, is_write, .. } = self.flights[flight];
        let now = self.edges[edge].ownership(&self.table);
        let is_open = now.state == State::Active
            || (!is_write && !matches!(now.state, State::Disputed | State::Settling))
            || (self.broken == Broken::NoFreeze && is_moving(now.state));
        if now.epoch == epoch && is_open {
            self.flights[flight].counted = is_write;
            self.flights[flight].at = At::Sent { to: owner, epoch };
        } else {
            self.decide_for(flight);
        }
    }

    /// At the gateway.
    fn arrive(&mut self, flight: usize, here: Region, epoch: Epoch) {
        let is_write = self.flights[flight].is_write;
        let known = self.known_at(here);
        let claim = Claim { owner: name(here), epoch };
        let said = Said { target: name(here), claim: Some(claim), is_ownership: true };
        let needs = if is_write { Needs::Write } else { Needs::Owner };
        let judged = judge(&said, Some(&known), needs, name(here));
        if let Some(Claim { owner, epoch }) = judged.news {
            self.gateways[here].learn(&self.table, owner, epoch, self.now);
        }
        let verdict = if self.broken == Broken::NoFencing { Judgement::Pass } else { judged.verdict };
        let is_fenced = self.fenced[here].is_some_and(|(_, until)| until > self.now);
        if verdict == Judgement::Pass && is_fenced && self.broken != Broken::NoFencing {
            // Its edge asks again in a moment.
            self.happens("met a fence");
            self.flights[flight].counted = false;
            self.flights[flight].at = At::Held;
            return;
        }
        self.flights[flight].at = match verdict {
            Judgement::Pass => At::Passed { at: here, epoch },
            Judgement::StaleEpoch(Claim { owner, epoch }) => {
                self.happens("refused stale");
                At::Refused { owner: self.named(owner), epoch }
            }
            Judgement::SplitBrain | Judgement::Misdirected => {
                self.flights[flight].counted = false;
                At::Over
            }
        };
    }

    fn execute(&mut self, flight: usize, here: Region, epoch: Epoch) {
        let Flight { id, is_write, floor, .. } = self.flights[flight];
        if is_write {
            let position = self.stores[here].write(id, self.now);
            self.checks.executed(id, here, epoch, position, &self.stores);
        } else {
            self.happens("strong read");
            self.checks.read(floor, self.stores[here].seen);
        }
        self.flights[flight].at = At::Answered { by: here };
    }

    fn answer(&mut self, flight: usize, _by: Region) {
        let Flight { id, is_write, counted, .. } = self.flights[flight];
        // Whoever gave up waiting hears nothing.
        if is_write && counted {
            self.checks.acknowledged(id);
            self.happens("acknowledged");
            self.done += 1;
        }
        self.over(flight);
    }

    fn hear_refusal(&mut self, flight: usize, owner: Region, epoch: Epoch) {
        let Flight { edge, is_write, counted, again, .. } = self.flights[flight];
        if is_write && !counted {
            return self.over(flight);
        }
        let before = self.edges[edge].ownership(&self.table).epoch;
        self.edges[edge].learn(&self.table, name(owner), epoch, self.now);
        if self.edges[edge].ownership(&self.table).epoch > before {
            self.happens("learned from a refusal");
        }
        self.flights[flight].counted = false;
        if again {
            return self.over(flight);
        }
        self.flights[flight].again = true;
        self.decide_for(flight);
    }

    /// The edge gives up on it, or loses its connection. Where it is by then it goes on.
    pub fn give_up(&mut self, flight: usize) {
        let Flight { counted, at, .. } = &mut self.flights[flight];
        if *counted {
            *counted = false;
            self.happens("given up by its edge");
        } else if matches!(at, At::Held | At::Decided { .. }) {
            self.over(flight);
        }
    }

    pub fn over(&mut self, flight: usize) {
        self.flights[flight].counted = false;
        self.flights[flight].at = At::Over;
    }

    /// Writes that edge `edge` counts as in flight.
    pub fn in_flight(&self, edge: usize) -> usize {
        self.flights.iter().filter(|flight| flight.edge == edge && flight.counted).count()
    }

    /// Writes that are in flight through a gateway.
    pub fn at_gateway(&self, here: Region) -> usize {
        let is_here = |flight: &&Flight| matches!(flight.at, At::Passed { at, .. } if at == here);
        self.flights.iter().filter(|flight| flight.is_write).filter(is_here).count()
    }
}

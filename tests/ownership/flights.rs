//! Writes and strong reads on their way, as their edge has them: from its decision to what its client is told.

use rhumb_decision::gateway::{Claim, Needs, Said, judge};
use rhumb_decision::ownership::State;
use rhumb_decision::units::Epoch;
use rhumb_decision::{Course, Decision, Facts, decide};

use crate::gates::Gate;
use crate::world::{Broken, Region, TENANT, World, name};

/// How long a request may be held, or be sent again to a gateway that has a fence.
const HOLD: u64 = 133;

/// One request.
pub struct Flight {
    pub id: u64,
    pub edge: usize,
    pub is_write: bool,
    /// What a strong read has to see.
    pub floor: usize,
    /// What it saw.
    pub saw: Vec<u64>,
    /// Since when it has been waiting at its edge.
    pub waits_since: Option<u64>,
    pub at: At,
    /// What its edge's wall clock showed as it was sent.
    pub signed: u64,
    /// Whether its edge counts it as in flight.
    pub counted: bool,
    /// Whether nobody waits for its answer any more.
    pub left: bool,
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
    /// On its way to a region.
    Sent { to: Region, epoch: Epoch },
    /// Counted by a gateway, with whether a fence stood there then; about to be judged.
    Counted { by: Gate, epoch: Epoch, fenced: bool },
    /// Passed by a gateway, where there is one, about to be executed.
    Passed { by: Option<Gate>, at: Region, epoch: Epoch },
    /// Executed; the answer is on its way.
    Answered,
    /// Refused by a gateway, with what it knows; that is on its way.
    Stale { owner: Region, epoch: Epoch },
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
        let floor = self.checks.asked(id, is_write);
        self.flights.push(Flight {
            id,
            edge,
            is_write,
            floor,
            saw: Vec::new(),
            waits_since: None,
            at: At::Held,
            signed: 0,
            counted: false,
            left: false,
            again: false,
        });
        let last = self.flights.len() - 1;
        self.decide_for(last);
    }

    fn decision(&self, edge: usize, is_write: bool) -> Decision {
        let snapshot = self.snapshot(edge);
        let method = if is_write { "POST" } else { "GET" };
        let host = format!("{TENANT}.app.example");
        decide(&Facts { strong: !is_write, ..Facts::new(method, &host, "/", self.ids[0]) }, &snapshot)
    }

    /// A local read of a client near `from`: all that matters of it here is what its gateway learns.
    pub fn read_a_copy(&mut self, edge: usize, from: Region) {
        let host = format!("{TENANT}.app.example");
        let facts = Facts::new("GET", &host, "/", self.ids[from]);
        let decision = decide(&facts, &self.snapshot(edge));
        let Course::Forward { region, .. } = decision.course else { return };
        let mut shown = decision.owner.zip(decision.epoch);
        if self.broken == Broken::TellsBeforeTheRelease {
            let known = self.edges[edge].ownership();
            shown = Some((known.owner, known.epoch));
        }
        let here = self.number(region);
        let Some(gate) = self.some_gate(here) else { return };
        if let Some((owner, epoch)) = shown {
            self.checks.shown(&gate.to_string(), epoch, self.number(owner));
        }
        let claim = shown.map(|(owner, epoch)| Claim { owner: name(self.number(owner)), epoch });
        let said = Said { target: name(here), claim, is_ownership: true };
        let known = self.known_at(gate);
        if let Some(Claim { owner, epoch }) = judge(&said, Some(&known), Needs::Copy, name(here)).news {
            self.happens("learned from a read");
            self.gateway_learns(gate, owner, epoch);
        }
    }

    /// Decides, or decides anew.
    fn decide_for(&mut self, flight: usize) {
        let Flight { edge, is_write, .. } = self.flights[flight];
        let decision = self.decision(edge, is_write);
        let moving = self.edges[edge].ownership();
        let ignores = self.broken == Broken::NoFreeze && is_moving(moving.state);
        match decision.course {
            Course::Forward { region, .. } => {
                let (owner, epoch) = (self.number(region), decision.epoch.unwrap());
                self.flights[flight].at = At::Decided { owner, epoch };
            }
            Course::Hold { .. } if ignores => {
                let (owner, epoch) = (self.number(moving.owner), moving.epoch);
                self.flights[flight].at = At::Decided { owner, epoch };
            }
            Course::Hold { .. } => {
                self.happens("held");
                self.flights[flight].at = At::Held;
                if self.has_waited(flight) {
                    self.happens("held too long");
                    self.refuse(flight);
                }
            }
            Course::Refuse { .. } => self.refuse(flight),
        }
    }

    /// Whether it has waited for as long as it may, by its edge's clock.
    pub fn has_waited(&mut self, flight: usize) -> bool {
        let now = self.edge_time(self.flights[flight].edge);
        now - *self.flights[flight].waits_since.get_or_insert(now) > HOLD
    }

    /// One step of a request.
    pub fn fly(&mut self, flight: usize) {
        match self.flights[flight].at {
            At::Held => self.wait(flight),
            At::Decided { owner, epoch } => self.count_and_send(flight, owner, epoch),
            At::Sent { to, epoch } => self.arrive(flight, to, epoch),
            At::Counted { by, epoch, fenced } => self.pass(flight, by, (epoch, fenced)),
            At::Passed { at, epoch, .. } => self.execute(flight, at, epoch),
            At::Answered => self.answer(flight),
            At::Stale { owner, epoch } => self.hear_refusal(flight, owner, epoch),
            At::Over => {}
        }
    }

    /// It is decided on anew once something newer is in force, or its time is over.
    fn wait(&mut self, flight: usize) {
        let Flight { edge, is_write, .. } = self.flights[flight];
        let waits = match self.edges[edge].ownership().state {
            State::Moving | State::Frozen { .. } => is_write,
            state => state == State::Settling,
        };
        if !waits || self.has_waited(flight) {
            self.decide_for(flight);
        }
    }

    /// Counted first, then looked once more at what is in force; as `proxy::held` does.
    fn count_and_send(&mut self, flight: usize, owner: Region, epoch: Epoch) {
        let Flight { edge, is_write, .. } = self.flights[flight];
        let now = self.edges[edge].ownership();
        let is_open = now.state == State::Active
            || (!is_write && !matches!(now.state, State::Disputed | State::Settling))
            || (self.broken == Broken::NoFreeze && is_moving(now.state));
        if now.epoch == epoch && is_open {
            if is_write {
                self.checks.let_go_on(["edge 0", "edge 1"][edge], epoch, owner);
            }
            self.flights[flight].counted = is_write;
            self.flights[flight].waits_since = None;
            self.flights[flight].signed = self.edges[edge].clock.wall(self.now);
            self.flights[flight].at = At::Sent { to: owner, epoch };
        } else {
            self.decide_for(flight);
        }
    }

    fn execute(&mut self, flight: usize, here: Region, epoch: Epoch) {
        let Flight { id, is_write, .. } = self.flights[flight];
        if is_write {
            self.stores[here].write(id, self.now);
            self.checks.executed(id, here, epoch, &self.stores);
        } else {
            self.happens("strong read");
            self.flights[flight].saw = self.stores[here].all();
        }
        self.flights[flight].at = At::Answered;
    }

    fn answer(&mut self, flight: usize) {
        let Flight { id, is_write, left, floor, .. } = self.flights[flight];
        // Whoever gave up waiting hears nothing.
        if !left && is_write {
            self.checks.acknowledged(id);
            self.happens("acknowledged");
            self.done += 1;
        } else if !left {
            self.checks.read(id, floor, &self.flights[flight].saw);
        }
        self.over(flight);
    }

    fn hear_refusal(&mut self, flight: usize, owner: Region, epoch: Epoch) {
        let Flight { edge, left, again, .. } = self.flights[flight];
        if left {
            return self.over(flight);
        }
        let before = self.edges[edge].ownership();
        self.edge_learns(edge, owner, epoch);
        let now = self.edges[edge].ownership();
        if now.epoch > before.epoch {
            self.happens("learned from a refusal");
        }
        self.flights[flight].counted = false;
        // Where nothing is new the gateway would say the same again.
        if again || now == before {
            return self.refuse(flight);
        }
        self.happens("sent again");
        self.flights[flight].again = true;
        self.decide_for(flight);
    }

    /// The edge gives up on it, or loses its connection. Where it is by then it goes on.
    pub fn give_up(&mut self, flight: usize) {
        self.leave_bare_region(flight);
        let Flight { counted, at, .. } = self.flights[flight];
        if counted {
            self.happens("given up by its edge");
        }
        self.flights[flight].counted = false;
        self.flights[flight].left = true;
        if matches!(at, At::Held | At::Decided { .. }) {
            self.over(flight);
        }
    }

    /// A region without gateways has nobody who counts what its edge gave up on: that it ends at once is taken for granted.
    pub fn leave_bare_region(&mut self, flight: usize) {
        let is_there = |at: At| match at {
            At::Sent { to, .. } => self.run.bare == Some(to),
            At::Passed { by, .. } => by.is_none(),
            _ => false,
        };
        if is_there(self.flights[flight].at) {
            if self.chance.percent(50) {
                while matches!(self.flights[flight].at, At::Sent { .. } | At::Passed { .. }) {
                    self.fly(flight);
                }
            } else {
                self.over(flight);
            }
        }
    }

    /// Its client is told that it was refused.
    pub fn refuse(&mut self, flight: usize) {
        let Flight { id, left, .. } = self.flights[flight];
        if !left {
            self.checks.refused(id);
        }
        self.over(flight);
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
    pub fn at_gateway(&self, here: Gate) -> usize {
        let is_here = |flight: &&Flight| match flight.at {
            At::Counted { by, .. } => by == here,
            At::Passed { by, .. } => by == Some(here),
            _ => false,
        };
        self.flights.iter().filter(|flight| flight.is_write).filter(is_here).count()
    }

    /// Any one of the region's gateways; `None`: it has none.
    pub fn some_gate(&mut self, region: Region) -> Option<Gate> {
        let gates = self.gates(region);
        (!gates.is_empty()).then(|| gates.start + self.chance.below(gates.len()))
    }
}

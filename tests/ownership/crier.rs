//! Tells every gateway who owns what was moved, again and again until it has said that it knows, as `control::crier` does.
//! Each gateway is told by itself: the rounds of that code are one of the orders in which this may happen.

use rhumb_decision::ownership::State;
use rhumb_decision::units::Epoch;

use crate::gates::{Announcement, Asker, Gate, Said, Stage, Word};
use crate::world::{Broken, GATES, REGIONS, World};

/// How long a gateway may take to answer.
const PATIENCE: u64 = 90;

/// The epoch of the tenant's row: who knows no higher one has nothing to tell.
const ROW: Epoch = Epoch(1);

/// What each gateway has said that it knows; lost in a crash.
#[derive(Default)]
pub struct Crier {
    known: [Option<Epoch>; REGIONS * GATES],
}

impl World {
    /// An edge tells each gateway what it has not said to know, unless an answer of it is still to come.
    pub fn cry(&mut self, edge: usize) {
        if self.broken == Broken::NobodyIsToldAfterwards {
            return;
        }
        for gate in self.all_gates() {
            let is_it = |one: &Announcement| one.by == edge && one.to == gate && one.asker == Asker::Crier;
            match self.announcements.iter().position(is_it) {
                Some(asked) => self.take_answer(edge, gate, asked),
                None => self.cry_to(edge, gate),
            }
        }
    }

    fn take_answer(&mut self, edge: usize, gate: Gate, asked: usize) {
        let Announcement { epoch, began, stage, .. } = self.announcements[asked];
        let Stage::Over(said) = stage else {
            if self.edge_time(edge) - began > PATIENCE {
                self.announcements[asked].asker = Asker::Gone;
            }
            return;
        };
        self.announcements[asked].asker = Asker::Gone;
        match said {
            Said::Yes(_) => {}
            Said::KnowsBetter(owner, epoch) => {
                self.happens("the crier learned");
                self.edge_learns(edge, owner, epoch);
            }
            Said::Lapsed | Said::No => return,
        }
        self.criers[edge].known[gate] = Some(epoch);
    }

    fn cry_to(&mut self, edge: usize, gate: Gate) {
        let now = self.edges[edge].ownership();
        let disputed = now.state == State::Disputed;
        let is_told = now.state != State::Settling && (disputed || now.epoch > ROW);
        if !is_told || (!disputed && self.criers[edge].known[gate] == Some(now.epoch)) {
            return;
        }
        self.happens("cried");
        let owner = self.number(now.owner);
        self.announce_to(gate, (edge, Asker::Crier), (owner, now.epoch), Word::Plain);
    }
}

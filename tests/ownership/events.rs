//! What goes wrong, what operators want, and the end, at which nothing goes wrong any more.

use rhumb_decision::owned::{Change, Subject};
use rhumb_decision::ownership::Mark;
use rhumb_decision::transfer::{Event, To, Wanted, Which};
use rhumb_decision::units::Epoch;

use crate::crier::Crier;
use crate::flights::At;
use crate::gates::{Announcement, Asker, Said, Stage, Word};
use crate::mover::Mover;
use crate::world::{EDGES, GATES, REGIONS, Region, TENANT, World, name};

impl World {
    pub fn lose_announcement(&mut self) {
        if let Some(which) = self.some_announcement().filter(|_| self.chance.percent(40)) {
            self.announcements.swap_remove(which);
        }
    }

    /// What was told a while ago arrives once more; nobody waits for the answer.
    pub fn repeat_announcement(&mut self) {
        let surplus = self.told.len().saturating_sub(12);
        self.told.drain(..surplus);
        if !self.told.is_empty() {
            let any = self.chance.below(self.told.len());
            let is_fence =
                |told: &Announcement| matches!(told.word, Word::Fence { id, .. } if self.is_in_use(id));
            let fence = self.told.iter().skip(any).position(is_fence).map(|after| any + after);
            let which = fence.unwrap_or(any);
            self.announcements.push(Announcement { asker: Asker::Gone, ..self.told[which].clone() });
            self.happens("told again");
        }
    }

    pub fn operate(&mut self, edge: usize) {
        let going = self.edges[edge].owned.transfers().find(|transfer| !transfer.phase.is_over());
        let (going, now) = (going.map(|transfer| transfer.id), self.now);
        match (going, self.chance.below(10)) {
            (None, 0..7) => {
                let unplanned = !self.run.planned_only
                    && self.chance.percent(if self.run.both_operate { 60 } else { 30 });
                self.happens(if unplanned { "unplanned" } else { "planned" });
                let owner = self.number(self.edges[edge].ownership().owner);
                let to = To::Region(name((owner + 1 + self.chance.below(REGIONS - 1)) % REGIONS).into());
                let which = Which::Tenant(TENANT.into());
                let wanted = Wanted { which, to, unplanned, every: None };
                let id = self.edges[edge].owned.next_transfer();
                self.edges[edge].apply(&Change::Begin { id, wanted, total: 1 }, now).unwrap();
            }
            (Some(id), 0) if self.chance.percent(30) => {
                self.happens("cancelled");
                // It may just have ended.
                let _ = self.edges[edge].apply(&Change::Step { id, event: Event::Cancel }, now);
            }
            (_, 9) if self.run.both_operate && self.edges[edge].is_disputed() => {
                let owner = self.chance.below(REGIONS);
                self.resolve(edge, owner);
            }
            (_, 7..10) => {
                let subject = Subject::Tenant(TENANT.into());
                let change = match self.edges[edge].owned.mark(&subject) {
                    Some(_) => Change::Unmark { subject },
                    None if self.chance.percent(80) => return,
                    None => Change::Mark { subject, mark: Mark::Frozen },
                };
                let until = self.chance.percent(50).then(|| 1 + self.chance.below(200) as u64);
                self.edges[edge].apply_until(&change, now, until).unwrap();
            }
            _ => {}
        }
    }

    /// An operator says who owns the tenant, at one edge, under an epoch above all that it was told.
    pub fn resolve(&mut self, edge: usize, owner: Region) {
        self.happens("resolved");
        let epoch = Epoch(self.edges[edge].ownership().epoch.0 + 1);
        let change = Change::Resolve { tenant: TENANT.into(), owner: name(owner).into(), epoch };
        self.edges[edge].apply(&change, self.now).unwrap();
        self.checks.shown(["edge 0", "edge 1"][edge], epoch, owner);
    }

    /// Somebody sets a wall clock, forward or back, often wrongly.
    pub fn set_a_clock(&mut self) {
        self.happens("a wall clock jumped");
        let ahead = if self.chance.percent(40) { 0 } else { self.chance.below(4_000) as i64 - 2_000 };
        let which = self.chance.below(EDGES + REGIONS * GATES);
        let clocks = self.edges.iter_mut().chain(&mut self.gateways);
        clocks.skip(which).take(1).for_each(|node| node.clock.set(ahead));
    }

    pub fn crash_edge(&mut self) {
        let edge = self.chance.below(self.run.edges());
        self.happens("edge crashed");
        for flight in 0..self.flights.len() {
            if self.flights[flight].edge == edge {
                self.leave_bare_region(flight);
                self.flights[flight].counted = false;
                self.flights[flight].left = true;
                if !matches!(
                    self.flights[flight].at,
                    At::Sent { .. } | At::Counted { .. } | At::Passed { .. }
                ) {
                    self.over(flight);
                }
            }
        }
        self.edges[edge].crash(self.now);
        self.movers[edge] = Mover::default();
        self.criers[edge] = Crier::default();
        self.announcements.iter_mut().filter(|one| one.by == edge).for_each(|one| one.asker = Asker::Gone);
    }

    /// What it had passed on goes on at its region; nobody hears of it.
    pub fn crash_gateway(&mut self) {
        let here = self.chance.below(self.gateways.len());
        // What it has not sent on yet, it never does; whoever waits for that hears nothing.
        for flight in 0..self.flights.len() {
            if matches!(self.flights[flight].at, At::Counted { by, .. } if by == here) {
                self.over(flight);
            }
        }
        // A gateway that ends with writes under way cannot say that none is: the region ends them first.
        let passed: Vec<usize> = (0..self.flights.len())
            .filter(|at| matches!(self.flights[*at].at, At::Passed { by, .. } if by == Some(here)))
            .collect();
        passed.into_iter().for_each(|flight| self.fly(flight));
        self.happens("gateway crashed");
        self.gateways[here].crash(self.now);
        self.fences[here] = None;
        for one in self.announcements.iter_mut().filter(|one| one.to == here) {
            if matches!(one.stage, Stage::Keeping { .. } | Stage::Settling(..)) {
                one.stage = Stage::Over(Said::No);
            }
        }
    }
}

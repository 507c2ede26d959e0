//! What goes wrong, what operators want, and the end, at which nothing goes wrong any more.

use rhumb_decision::owned::{Change, Subject};
use rhumb_decision::ownership::{Mark, State};
use rhumb_decision::transfer::{Event, To, Wanted, Which};

use crate::flights::At;
use crate::gates::{Announcement, Said, Stage, Word};
use crate::mover::Mover;
use crate::region::replicate;
use crate::world::{EDGES, GATES, REGIONS, TENANT, World, name};

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
            self.announcements.push(Announcement { awaited: false, ..self.told[which].clone() });
            self.happens("told again");
        }
    }

    pub fn operate(&mut self, edge: usize) {
        let going = self.edges[edge].owned.transfers().find(|transfer| !transfer.phase.is_over());
        let (going, now) = (going.map(|transfer| transfer.id), self.now);
        match (going, self.chance.below(10)) {
            (None, 0..7) => {
                let unplanned = !self.run.planned_only && self.chance.percent(30);
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
                if !matches!(self.flights[flight].at, At::Sent { .. } | At::Passed { .. }) {
                    self.over(flight);
                }
            }
        }
        self.edges[edge].crash(self.now);
        self.movers[edge] = Mover::default();
        self.announcements.iter_mut().filter(|one| one.by == edge).for_each(|one| one.awaited = false);
    }

    /// What it had passed on goes on at its region; nobody hears of it.
    pub fn crash_gateway(&mut self) {
        let here = self.chance.below(self.gateways.len());
        if self.has_to_stand(here) {
            return;
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
            if matches!(one.stage, Stage::Keeping(_) | Stage::Settling(_)) {
                one.stage = Stage::Over(Said::No);
            }
        }
    }

    /// Nothing goes wrong any more: every transfer ends, and a write succeeds through each edge. What does not, is told.
    pub fn quiet_down(&mut self) -> Option<String> {
        let (subject, edges) = (Subject::Tenant(TENANT.into()), self.run.edges());
        for edge in 0..edges {
            if self.edges[edge].owned.mark(&subject).is_some() {
                self.edges[edge].apply(&Change::Unmark { subject: subject.clone() }, self.now).unwrap();
            }
        }
        self.edges.iter_mut().chain(&mut self.gateways).for_each(|node| node.clock.set(0));
        for round in 0..200 {
            self.all_goes_on();
            if round % 8 == 0 {
                (0..edges).for_each(|edge| self.read_a_copy(edge, round / 8 % REGIONS));
            }
            if round == 140 {
                let going = |edge: &usize| {
                    let node = &self.edges[*edge];
                    let is_going = node.owned.transfers().any(|transfer| !transfer.phase.is_over());
                    is_going || node.ownership().state != State::Active
                };
                if (0..edges).any(|edge| going(&edge)) {
                    return Some("a transfer does not end".to_owned());
                }
                self.done = 0;
                (0..edges).for_each(|edge| self.ask(edge, true));
            }
            if round == 180 {
                (0..edges).for_each(|edge| self.ask(edge, false));
            }
        }
        (self.done < edges).then(|| "no write succeeds once all is quiet".to_owned())
    }

    fn all_goes_on(&mut self) {
        self.now += 6;
        self.time_passes();
        self.freeze_late(0);
        self.drive(0);
        (0..self.announcements.len()).for_each(|one| self.hear(one));
        self.announcements.retain(|one| one.awaited || !one.is_over());
        for (from, to) in (0..REGIONS).flat_map(|from| (0..REGIONS).map(move |to| (from, to))) {
            while from != to && replicate(&mut self.stores, from, to, self.now) {}
        }
        self.report(0);
        while !self.movers[0].coming.is_empty() {
            self.deliver_report(0);
        }
        (0..self.flights.len()).for_each(|flight| self.fly(flight));
        self.flights.retain(|flight| flight.at != At::Over);
        self.look();
    }

    /// Why what clients saw could not have come from one log; of runs that may lose nothing.
    pub fn unlinearizable(&self) -> Option<String> {
        self.checks.history.problem().filter(|_| self.run.planned_only)
    }
}

//! What goes wrong, what operators want, and the end, at which nothing goes wrong any more.

use rhumb_decision::owned::{Change, Subject};
use rhumb_decision::ownership::{Mark, State};
use rhumb_decision::transfer::{Event, To, Wanted, Which};
use rhumb_decision::units::Epoch;

use crate::flights::At;
use crate::gates::{Announcement, Said, Stage, Word};
use crate::mover::Mover;
use crate::node::Node;
use crate::region::replicate;
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
            self.announcements.push(Announcement { awaited: false, ..self.told[which].clone() });
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
    fn resolve(&mut self, edge: usize, owner: Region) {
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
        if self.run.both_operate
            && let Some(problem) = self.meet_and_resolve()
        {
            return Some(problem);
        }
        for round in 0..200 {
            self.all_goes_on();
            if round % 8 == 0 {
                (0..edges).for_each(|edge| self.read_a_copy(edge, round / 8 % REGIONS));
            }
            if round == 140 {
                if self.edges[..edges]
                    .iter()
                    .any(|node| node.is_moving() || node.ownership().state != State::Active)
                {
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

    /// Both edges have moved ownership. Once every gateway was shown what both of them know, no write succeeds where they
    /// name two owners of one epoch; an operator resolves that at the first edge, and where the second one has seen two
    /// owners itself, there too, as it sends nothing that it could be told better by.
    fn meet_and_resolve(&mut self) -> Option<String> {
        for _ in 0..140 {
            self.all_goes_on();
            self.show_all();
        }
        if self.edges.iter().any(Node::is_moving) {
            return Some("a transfer does not end".to_owned());
        }
        let [one, other] = [0, 1].map(|edge: usize| self.edges[edge].ownership());
        if one.epoch == other.epoch && one.owner != other.owner {
            self.happens("two owners to the end");
            if !self.gateways.iter().all(Node::is_disputed) {
                return Some("a gateway was shown two owners, and does not say so".to_owned());
            }
            self.done = 0;
            (0..EDGES).for_each(|edge| self.ask(edge, true));
            (0..20).for_each(|_| self.all_goes_on());
            if self.done > 0 {
                return Some("a write succeeds while the tenant has two owners".to_owned());
            }
        }
        let owner = self.number(one.owner);
        for _ in 0..8 {
            let is_split = self.edges.iter().chain(&self.gateways).any(Node::is_disputed);
            // Again, where it was behind: the epoch that it gave out had an owner already.
            if is_split {
                self.resolve(0, owner);
            }
            if self.edges[1].is_disputed() {
                self.happens("resolved at the other edge as well");
                self.resolve(1, owner);
            }
            (0..EDGES).for_each(|edge| self.ask(edge, true));
            for _ in 0..6 {
                self.all_goes_on();
                self.show_all();
            }
        }
        None
    }

    /// Local reads show every gateway what both edges know.
    fn show_all(&mut self) {
        for (edge, from) in (0..EDGES).flat_map(|edge| (0..REGIONS).map(move |from| (edge, from))) {
            self.read_a_copy(edge, from);
        }
    }

    fn all_goes_on(&mut self) {
        self.now += 6;
        self.time_passes();
        self.freeze_late(0);
        (0..self.run.operators()).for_each(|edge| self.drive(edge));
        (0..self.announcements.len()).for_each(|one| self.hear(one));
        self.announcements.retain(|one| one.awaited || !one.is_over());
        for (from, to) in (0..REGIONS).flat_map(|from| (0..REGIONS).map(move |to| (from, to))) {
            while from != to && replicate(&mut self.stores, from, to, self.now) {}
        }
        for edge in 0..self.run.operators() {
            self.report(edge);
            while !self.movers[edge].coming.is_empty() {
                self.deliver_report(edge);
            }
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

//! The end, at which nothing goes wrong any more: whatever was begun has to end, and all have to agree.

use rhumb_decision::owned::{Change, Subject};
use rhumb_decision::ownership::State;

use crate::flights::At;
use crate::gates::Asker;
use crate::node::Node;
use crate::region::replicate;
use crate::world::{EDGES, REGIONS, TENANT, World};

impl World {
    /// Nothing goes wrong any more: every transfer ends, every gateway knows, and a write succeeds through each edge. What
    /// does not, is told.
    pub fn quiet_down(&mut self) -> Option<String> {
        self.is_quiet = true;
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
        if self.done < edges {
            return Some("no write succeeds once all is quiet".to_owned());
        }
        let holds = self.edges[0].ownership();
        let knows = |node: &Node| node.ownership() == holds && !node.withholds();
        self.all_gates()
            .into_iter()
            .find(|gate| !knows(&self.gateways[*gate]))
            .map(|gate| format!("gateway {gate} does not hear who owns the tenant"))
    }

    /// Both edges have moved ownership. Once every gateway was told what both of them know, no write succeeds where they
    /// name two owners of one epoch. One resolution at one edge ends that everywhere; two, if the first gave out an epoch
    /// that had an owner already, as its edge was behind.
    fn meet_and_resolve(&mut self) -> Option<String> {
        (0..140).for_each(|_| self.all_but_the_criers_go_on());
        // Or else whoever resolves it does so before all know what there is.
        if self.chance.percent(50) {
            (0..40).for_each(|_| self.all_goes_on());
        }
        if self.edges.iter().any(Node::is_moving) {
            return Some("a transfer does not end".to_owned());
        }
        let [one, other] = [0, 1].map(|edge: usize| self.edges[edge].ownership());
        if one.epoch == other.epoch && one.owner != other.owner {
            self.happens("two owners to the end");
            (0..40).for_each(|_| self.all_goes_on());
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
        let behind = usize::from(self.edges[1].ownership().epoch < self.edges[0].ownership().epoch);
        let edge = if self.chance.percent(60) { behind } else { 1 - behind };
        while self.edges.iter().chain(&self.gateways).any(Node::is_disputed) {
            let owner = self.number(self.edges[edge].ownership().owner);
            let highest = self.edges.iter().chain(&self.gateways).map(|node| node.ownership().epoch).max();
            self.resolve(edge, owner);
            let was_behind = Some(self.edges[edge].ownership().epoch) <= highest;
            (0..EDGES).for_each(|edge| self.ask(edge, true));
            (0..40).for_each(|_| self.all_goes_on());
            if was_behind {
                self.happens("resolved once more, as its edge was behind");
            } else if self.edges.iter().chain(&self.gateways).any(Node::is_disputed) {
                return Some("a resolution does not end a split brain".to_owned());
            }
        }
        None
    }

    fn all_goes_on(&mut self) {
        (0..self.run.edges()).for_each(|edge| self.cry(edge));
        self.all_but_the_criers_go_on();
    }

    fn all_but_the_criers_go_on(&mut self) {
        self.now += 6;
        self.time_passes();
        self.freeze_late(0);
        (0..self.run.operators()).for_each(|edge| self.drive(edge));
        (0..self.announcements.len()).for_each(|one| self.hear(one));
        self.announcements.retain(|one| one.asker != Asker::Gone || !one.is_over());
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

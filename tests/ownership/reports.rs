//! What regions report of their copies, and what an edge knows of that.

use rhumb_decision::health::HealthView;
use rhumb_decision::units::{Generation, Millis};
use rhumb_decision::{Snapshot, Weights};
use std::rc::Rc;
use std::sync::Arc;

use crate::region::{copied_until, reached};
use crate::world::{REGIONS, World};

/// What a region reports: true at the time it was asked, or later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Report {
    asked: u64,
    position: u128,
    reached: [u128; REGIONS],
    lag: [u64; REGIONS],
}

/// A snapshot, and what it was made of.
pub struct Made {
    changes: u64,
    known: [Option<Report>; REGIONS],
    snapshot: Rc<Snapshot>,
}

impl World {
    /// What an edge decides on; made anew only once something of it has changed, as that takes most of the time.
    pub fn snapshot(&self, edge: usize) -> Rc<Snapshot> {
        let (changes, known) = (self.edges[edge].changes, self.movers[edge].known);
        let mut made = self.made[edge].borrow_mut();
        if let Some(made) = made.as_ref().filter(|made| made.changes == changes && made.known == known) {
            return Rc::clone(&made.snapshot);
        }
        let snapshot = Rc::new(self.make_snapshot(edge));
        *made = Some(Made { changes, known, snapshot: Rc::clone(&snapshot) });
        snapshot
    }

    /// All regions up, with what the edge was told of their copies.
    fn make_snapshot(&self, edge: usize) -> Snapshot {
        let mut health = HealthView::all_up(&self.table);
        for (region, known) in self.movers[edge].known.iter().enumerate() {
            let Some(report) = known else { continue };
            let view = &mut health.regions[self.ids[region].index()];
            view.reported = Some(Millis(report.asked));
            view.position = self.run.by_position.then_some(report.position);
            for (other, id) in self.ids.iter().enumerate().filter(|(other, _)| *other != region) {
                if self.run.by_position {
                    view.reached[id.index()] = Some(report.reached[other]);
                } else {
                    view.lag[id.index()] = Some(Millis(report.lag[other]));
                }
            }
        }
        let (owned, weights) = (&self.edges[edge].owned, Weights::configured(&self.table));
        Snapshot::new(Generation(1), Arc::clone(&self.table), health, owned.over(&self.table), weights)
    }

    /// The regions that a batch waits for, or else any: what those report is wanted soon.
    pub fn wanted(&mut self, edge: usize) -> (usize, usize) {
        let awaited: Vec<usize> =
            self.edges[edge].owned.awaited().into_iter().map(|name| self.named(name)).collect();
        match awaited[..] {
            [from, to] if self.chance.percent(90) => (from, to),
            _ => {
                let from = self.chance.below(REGIONS);
                (from, (from + 1 + self.chance.below(REGIONS - 1)) % REGIONS)
            }
        }
    }

    /// A region reports to an edge.
    pub fn report(&mut self, edge: usize) {
        let (from, to) = self.wanted(edge);
        let region = if self.chance.percent(50) { from } else { to };
        // Who begins anew has asked nobody before.
        let asked = self.edge_time(edge).saturating_sub(self.chance.below(12) as u64);
        let (stores, now, clock) = (&self.stores, self.now, &self.regions[region]);
        // By the region's own clock; it is held against one that runs otherwise.
        let behind = |other: usize| clock.time(now) - clock.time(copied_until(stores, other, region, now));
        let report = Report {
            asked,
            position: stores[region].position(),
            reached: std::array::from_fn(|other| reached(stores, other, region)),
            lag: std::array::from_fn(behind),
        };
        self.movers[edge].coming.push((region, report));
    }

    pub fn deliver_report(&mut self, edge: usize) {
        let Some(last) = self.movers[edge].coming.len().checked_sub(1) else { return };
        let which = self.chance.below(last + 1);
        let mover = &mut self.movers[edge];
        let (region, report) = mover.coming.swap_remove(which);
        // One that comes late does not take the place of a newer one.
        if mover.known[region].is_none_or(|known| known.asked < report.asked) {
            mover.known[region] = Some(report);
        }
    }
}

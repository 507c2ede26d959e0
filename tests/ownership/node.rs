//! A process that knows who owns what: what is in force, and what of it is kept across a crash.

use std::sync::Arc;

use rhumb_decision::operated::By;
use rhumb_decision::owned::{Change, News, Owned, Parts, Refused};
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::table::Table;
use rhumb_decision::transfer::{Event, Step};
use rhumb_decision::units::{Epoch, Wall};

use crate::clock::Clock;
use crate::world::TENANT;

/// An edge or a gateway.
pub struct Node {
    table: Arc<Table>,
    pub owned: Owned,
    kept: Parts,
    ownership: Ownership,
    /// How often what is in force here has changed.
    pub changes: u64,
    pub clock: Clock,
}

impl Node {
    pub fn new(table: &Arc<Table>, clock: Clock) -> Self {
        let (table, owned) = (Arc::clone(table), Owned::default());
        let ownership = over(&owned, &table);
        Self { table, owned, kept: Parts::default(), ownership, changes: 0, clock }
    }

    /// Does what the desk does: keeps what a replay has to find, and then puts the change in force.
    pub fn apply(&mut self, change: &Change, now: u64) -> Result<(), Refused> {
        self.apply_until(change, now, None)
    }

    /// The same, until its wall clock has gone on by so much.
    pub fn apply_until(&mut self, change: &Change, now: u64, span: Option<u64>) -> Result<(), Refused> {
        let keep = self.is_kept(change);
        self.puts_in_force(self.owned.apply(change, &self.by(now, span), self.clock.both(now))?);
        if keep {
            self.kept = self.owned.parts();
        }
        Ok(())
    }

    fn by(&self, now: u64, span: Option<u64>) -> By {
        let wall = self.clock.wall(now);
        let until = span.map(|span| Wall(wall + span));
        By { actor: "x".into(), reason: "".into(), since: Wall(wall), until }
    }

    /// What has come to its end by its wall clock; whether there was any. A replay finds it again, so it is not kept.
    pub fn expire(&mut self, now: u64) -> bool {
        let due = self.owned.due(self.clock.both(now));
        for change in &due {
            let after = self.owned.apply(change, &self.by(now, None), self.clock.both(now)).unwrap();
            self.puts_in_force(after);
        }
        !due.is_empty()
    }

    /// As `control::desk::own` has it.
    fn is_kept(&self, change: &Change) -> bool {
        let Change::Step { id, event } = change else { return true };
        match event {
            Event::Freeze(_) | Event::Quiet | Event::Aim(_) | Event::Wake => false,
            Event::Abort(_) => {
                let batch = self.owned.transfer(*id).and_then(|transfer| transfer.batch.as_ref());
                batch.is_some_and(|batch| batch.step == Step::Switch)
            }
            _ => true,
        }
    }

    /// The process ends and begins again with what was kept.
    pub fn crash(&mut self, now: u64) {
        self.clock.begin(now);
        self.puts_in_force(Owned::new(self.kept.clone()));
    }

    fn puts_in_force(&mut self, owned: Owned) {
        self.ownership = over(&owned, &self.table);
        self.owned = owned;
        self.changes += 1;
    }

    /// What a process that had kept nothing of its last change would begin with.
    pub fn keeps(&self) -> Parts {
        self.kept.clone()
    }

    /// Forgets what was kept since.
    pub fn kept_only(&mut self, earlier: Parts) {
        self.kept = earlier;
    }

    /// The ownership that is in force here.
    pub const fn ownership(&self) -> Ownership {
        self.ownership
    }

    pub fn is_disputed(&self) -> bool {
        self.ownership.state == State::Disputed
    }

    /// Whether a transfer goes on here.
    pub fn is_moving(&self) -> bool {
        self.owned.transfers().any(|transfer| !transfer.phase.is_over())
    }

    /// Whether others are not to hear of what it knows.
    pub fn withholds(&self) -> bool {
        self.owned.is_withheld(TENANT)
    }

    /// Forgets, with its next crash, that it is withheld.
    pub fn withholds_in_memory_only(&mut self) {
        self.kept.moved.values_mut().for_each(|part| part.withheld = false);
    }

    /// Takes news where it is some, as `control::desk::own` has it.
    pub fn learn(&mut self, owner: &str, epoch: Epoch, now: u64, take: fn(Vec<News>) -> Change) {
        let known = self.ownership;
        let newer = take(vec![News { tenant: TENANT.into(), owner: owner.into(), epoch }]);
        let is_released =
            self.withholds() && self.owned.apply(&newer, &self.by(now, None), self.clock.both(now)).is_ok();
        let change = if epoch > known.epoch || is_released {
            newer
        } else if epoch == known.epoch && self.table.region_name(known.owner) != owner {
            Change::Dispute { tenant: TENANT.into(), epoch }
        } else {
            return;
        };
        match self.apply(&change, now) {
            Ok(()) | Err(Refused::NoNews) => {}
            Err(refused) => panic!("news is refused: {refused}"),
        }
    }
}

fn over(owned: &Owned, table: &Table) -> Ownership {
    owned.over(table).of(TENANT, &table.tenants().find(TENANT).unwrap())
}

//! A process that knows who owns what: what is in force, and what of it is kept across a crash.

use std::sync::Arc;

use rhumb_decision::operated::{By, Now};
use rhumb_decision::owned::{Change, News, Owned, Parts, Refused};
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::table::Table;
use rhumb_decision::transfer::{Event, Step};
use rhumb_decision::units::{Epoch, Millis, Wall};

use crate::world::TENANT;

/// An edge or a gateway.
pub struct Node {
    table: Arc<Table>,
    pub owned: Owned,
    kept: Parts,
    ownership: Ownership,
}

impl Node {
    pub fn new(table: &Arc<Table>) -> Self {
        let (table, owned) = (Arc::clone(table), Owned::default());
        let ownership = over(&owned, &table);
        Self { table, owned, kept: Parts::default(), ownership }
    }

    /// Does what the desk does: keeps what a replay has to find, and then puts the change in force.
    pub fn apply(&mut self, change: &Change, at: u64) -> Result<(), Refused> {
        let by = By { actor: "x".into(), reason: "".into(), since: Wall(at), until: None };
        let now = Now { at: Millis(at), wall: Wall(at) };
        let keep = self.is_kept(change);
        self.owned = self.owned.apply(change, &by, now)?;
        self.ownership = over(&self.owned, &self.table);
        if keep {
            self.kept = self.owned.parts();
        }
        Ok(())
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
    pub fn crash(&mut self) {
        self.owned = Owned::new(self.kept.clone());
        self.ownership = over(&self.owned, &self.table);
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

    /// Takes news where it is some.
    pub fn learn(&mut self, owner: &str, epoch: Epoch, at: u64) {
        let now = self.ownership;
        let change = if epoch > now.epoch {
            Change::Learn(vec![News { tenant: TENANT.into(), owner: owner.into(), epoch }])
        } else if epoch == now.epoch && self.table.region_name(now.owner) != owner {
            Change::Dispute { tenant: TENANT.into(), epoch }
        } else {
            return;
        };
        match self.apply(&change, at) {
            Ok(()) | Err(Refused::NoNews) => {}
            Err(refused) => panic!("news is refused: {refused}"),
        }
    }
}

fn over(owned: &Owned, table: &Table) -> Ownership {
    owned.over(table).of(TENANT, &table.tenants().find(TENANT).unwrap())
}

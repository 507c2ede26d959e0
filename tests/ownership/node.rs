//! A process that knows who owns what: what is in force, and what of it is kept across a crash.

use rhumb_decision::operated::{By, Now};
use rhumb_decision::owned::{Change, News, Owned, Parts, Refused};
use rhumb_decision::ownership::Ownership;
use rhumb_decision::table::Table;
use rhumb_decision::transfer::{Event, Step};
use rhumb_decision::units::{Epoch, Millis, Wall};

use crate::world::TENANT;

/// An edge or a gateway.
#[derive(Default)]
pub struct Node {
    pub owned: Owned,
    kept: Parts,
}

impl Node {
    /// Does what the desk does: keeps what a replay has to find, and then puts the change in force.
    pub fn apply(&mut self, change: &Change, at: u64) -> Result<(), Refused> {
        let by = By { actor: "x".into(), reason: "".into(), since: Wall(at), until: None };
        let now = Now { at: Millis(at), wall: Wall(at) };
        let keep = self.is_kept(change);
        self.owned = self.owned.apply(change, &by, now)?;
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
    pub fn ownership(&self, table: &Table) -> Ownership {
        self.owned.over(table).of(TENANT, &table.tenants().find(TENANT).unwrap())
    }

    /// Takes news where it is some.
    pub fn learn(&mut self, table: &Table, owner: &str, epoch: Epoch, at: u64) {
        let now = self.ownership(table);
        let change = if epoch > now.epoch {
            Change::Learn(vec![News { tenant: TENANT.into(), owner: owner.into(), epoch }])
        } else if epoch == now.epoch && table.region_name(now.owner) != owner {
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

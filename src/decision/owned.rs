//! What was done to ownership at run time, apart from the table: who owns what now, what is frozen, what is being moved.
//!
//! By name throughout, so that it outlives tables and processes. A pure machine: a change and a time go in, the state
//! after it comes out; the log of changes, applied in order, is the state.
//!
//! Never: an epoch that falls; two owners of one epoch taken for one; anything frozen by a transfer that is over.

mod change;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{Change, News, Refused, Subject};

use crate::operated::{By, Now};
use crate::ownership::{Mark, Names, Ownerships, Said, Saids};
use crate::table::Table;
use crate::transfer::{Batch, Event, Misfit, Step, Transfer, TransferId};
use crate::units::{Epoch, Millis, Wall};

/// A mark, with who set it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marked {
    /// What is set.
    pub mark: Mark,
    /// By whom, why, until when.
    pub by: By,
}

/// Transfers that are over and still told of.
const KEPT: usize = 50;

/// The state of ownership. A clone shares everything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Owned {
    names: Names,
    said: Saids,
    marks: Arc<BTreeMap<Subject, Marked>>,
    drilled: Arc<BTreeMap<Box<str>, Wall>>,
    transfers: Arc<BTreeMap<TransferId, Transfer>>,
    last: u64,
}

/// What was said of one tenant.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MovedPart {
    /// Who owns it, and since which epoch.
    pub owner: Option<(Box<str>, Epoch)>,
    /// At which epoch that is disputed.
    pub disputed: Option<Epoch>,
    /// Whether others are not to hear of the owner yet.
    pub withheld: bool,
}

/// What was written down of an [`Owned`], to be read again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Parts {
    /// What was said of tenants, by their ids.
    pub moved: BTreeMap<Box<str>, MovedPart>,
    /// What is set.
    pub marks: Vec<(Subject, Marked)>,
    /// When the last drill with a region was passed.
    pub drilled: BTreeMap<Box<str>, Wall>,
    /// The transfers, oldest first.
    pub transfers: Vec<Transfer>,
    /// The highest number that any transfer had.
    pub last: u64,
}

impl Owned {
    /// The state of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let mut owned = Self::default();
        for (tenant, MovedPart { owner, disputed, withheld }) in parts.moved {
            let moved = owner.and_then(|(owner, epoch)| Some((owned.names.number(&owner)?, epoch)));
            owned.said.set(&tenant, Said { moved, disputed, withheld, ..Said::default() });
        }
        for (subject, marked) in parts.marks {
            owned.note_mark(&subject, Some(marked.mark));
            Arc::make_mut(&mut owned.marks).insert(subject, marked);
        }
        owned.drilled = Arc::new(parts.drilled);
        let highest = parts.transfers.iter().map(|transfer| transfer.id.0).max().unwrap_or(0);
        owned.last = highest.max(parts.last);
        for transfer in parts.transfers {
            owned.hold(&transfer, true);
            Arc::make_mut(&mut owned.transfers).insert(transfer.id, transfer);
        }
        owned
    }

    /// What of it has to be written down. A batch that has not been switched is left out: nothing has changed by it.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let moved = self.said.iter().filter(|(_, said)| said.moved.is_some() || said.disputed.is_some());
        let moved = moved.map(|(tenant, said)| {
            let owner = said.moved.map(|(name, epoch)| (self.names.name(name).into(), epoch));
            (tenant.into(), MovedPart { owner, disputed: said.disputed, withheld: said.withheld })
        });
        let switched = |batch: &Batch| batch.step == Step::Switch;
        Parts {
            moved: moved.collect(),
            marks: self.marks.iter().map(|(subject, marked)| (subject.clone(), marked.clone())).collect(),
            drilled: BTreeMap::clone(&self.drilled),
            transfers: self
                .transfers
                .values()
                .map(|t| Transfer { batch: t.batch.clone().filter(switched), ..t.clone() })
                .collect(),
            last: self.last,
        }
    }

    /// Ownership in force over the rows of `table`.
    #[must_use]
    pub fn over(&self, table: &Table) -> Ownerships {
        let regions = self.marks.iter().filter_map(|(subject, marked)| match subject {
            Subject::Region(name) => Some((name.as_ref(), marked.mark)),
            Subject::Tenant(_) => None,
        });
        Ownerships::new(self.said.clone(), &self.names, regions, table)
    }

    /// Who owns a tenant by what was said at run time, and since which epoch; `None`: its row says.
    #[must_use]
    pub fn owner(&self, tenant: &str) -> Option<(&str, Epoch)> {
        self.said.of(tenant).moved.map(|(name, epoch)| (self.names.name(name), epoch))
    }

    /// How many tenants have an owner that was said at run time.
    #[must_use]
    pub fn moved(&self) -> usize {
        self.said.iter().filter(|(_, said)| said.moved.is_some()).count()
    }

    /// Every owner that was said at run time: tenant, owner, epoch; in no particular order.
    pub fn owners(&self) -> impl Iterator<Item = (&str, &str, Epoch)> {
        self.said.iter().filter_map(|(tenant, said)| {
            let (name, epoch) = said.moved?;
            Some((tenant, self.names.name(name), epoch))
        })
    }

    /// Whether others are not to hear of this tenant's owner yet.
    #[must_use]
    pub fn is_withheld(&self, tenant: &str) -> bool {
        self.said.of(tenant).withheld
    }

    /// Every tenant of which an owner or a dispute was said at run time: nobody else's can be disputed.
    /// In no particular order.
    pub fn suspects(&self) -> impl Iterator<Item = &str> {
        let said = self.said.iter().filter(|(_, said)| said.moved.is_some() || said.disputed.is_some());
        said.map(|(tenant, _)| tenant)
    }

    /// What is set on tenants and regions, with who set it.
    pub fn marks(&self) -> impl ExactSizeIterator<Item = (&Subject, &Marked)> {
        self.marks.iter()
    }

    /// What is set there.
    #[must_use]
    pub fn mark(&self, subject: &Subject) -> Option<&Marked> {
        self.marks.get(subject)
    }

    /// When the last drill with a region was passed.
    #[must_use]
    pub fn drilled(&self, region: &str) -> Option<Wall> {
        self.drilled.get(region).copied()
    }

    /// The transfers that are told of, oldest first.
    pub fn transfers(&self) -> impl DoubleEndedIterator<Item = &Transfer> + ExactSizeIterator {
        self.transfers.values()
    }

    /// The transfer of this number.
    #[must_use]
    pub fn transfer(&self, id: TransferId) -> Option<&Transfer> {
        self.transfers.get(&id)
    }

    /// The number of the transfer that begins next.
    #[must_use]
    pub const fn next_transfer(&self) -> TransferId {
        TransferId(self.last.saturating_add(1))
    }

    /// The state after `change`, as one that was written down is read again: what came before it and was not written, or
    /// had come by itself, is made up for.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn replay(&self, change: &Change, by: &By, now: Now) -> Result<Self, Refused> {
        let before = match change {
            // A release is made even where it cannot be written, as writes wait for it.
            Change::Step { id, event }
                if matches!(
                    event,
                    Event::Freeze(_) | Event::Raise(_) | Event::WaveOver { .. } | Event::Fail(_)
                ) && self.transfer(*id).is_some_and(Transfer::is_switched) =>
            {
                self.apply(&Change::Step { id: *id, event: Event::Release }, by, now)?
            }
            _ => self.clone(),
        };
        let is_cancel = matches!(change, Change::Step { event: Event::Cancel, .. });
        match before.apply(change, by, now) {
            // Its time was up, which nobody had seen yet when it was taken away.
            Err(Refused::NothingSet(_)) => Ok(before),
            // Its batch was not written, so the first time that it was ended was the end.
            Err(Refused::Misfit(_, Misfit::Over)) if is_cancel => Ok(before),
            after => after,
        }
    }

    /// The state after `change`.
    ///
    /// - `by`: who does it.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn apply(&self, change: &Change, by: &By, now: Now) -> Result<Self, Refused> {
        let mut next = self.clone();
        match change {
            Change::Learn(news) | Change::Withhold(news) => {
                let withheld = matches!(change, Change::Withhold(_));
                let mut any = false;
                for one in news {
                    any |= next.learn(one, withheld)?;
                }
                if !any {
                    return Err(Refused::NoNews);
                }
            }
            Change::Dispute { tenant, epoch } => {
                let said = next.said.of(tenant);
                if said.moved.is_some_and(|(_, known)| known > *epoch) || said.disputed >= Some(*epoch) {
                    return Err(Refused::NoNews);
                }
                next.said.set(tenant, Said { disputed: Some(*epoch), ..said });
            }
            Change::Resolve { tenant, owner, epoch } => {
                let said = next.said.of(tenant);
                let floor = said.moved.map(|(_, known)| known).max(said.disputed);
                if floor.is_some_and(|floor| *epoch <= floor) {
                    return Err(Refused::EpochFalls {
                        tenant: tenant.clone(),
                        known: floor.unwrap_or(*epoch),
                    });
                }
                next.own(tenant, owner, *epoch)?;
            }
            Change::Mark { subject, mark } => {
                if by.until.is_some_and(|until| until <= now.wall) {
                    return Err(Refused::Past);
                }
                next.note_mark(subject, Some(*mark));
                Arc::make_mut(&mut next.marks)
                    .insert(subject.clone(), Marked { mark: *mark, by: by.clone() });
            }
            Change::Unmark { subject } => {
                if Arc::make_mut(&mut next.marks).remove(subject).is_none() {
                    return Err(Refused::NothingSet(subject.clone()));
                }
                next.note_mark(subject, None);
            }
            Change::Drilled(regions) => {
                let drilled = Arc::make_mut(&mut next.drilled);
                drilled.extend(regions.iter().map(|region| (region.clone(), by.since)));
            }
            Change::Begin { id, wanted, total } => next.begin(*id, wanted, *total, by)?,
            Change::Step { id, event } => next.step(*id, event, now.at)?,
        }
        Ok(next)
    }

    /// What the marks' ends bring by `now`, each to be applied.
    #[must_use]
    pub fn due(&self, now: Now) -> Vec<Change> {
        let is_up = |marked: &Marked| marked.by.until.is_some_and(|until| until <= now.wall);
        let ended = self.marks.iter().filter(|(_, marked)| is_up(marked));
        ended.map(|(subject, _)| Change::Unmark { subject: subject.clone() }).collect()
    }

    /// The regions that a batch waits for, by name: what they report is wanted soon.
    #[must_use]
    pub fn awaited(&self) -> Vec<&str> {
        let batches = self.transfers.values().filter_map(|transfer| transfer.batch.as_ref());
        batches.flat_map(|batch| [batch.from.as_ref(), batch.to.as_ref()]).collect()
    }

    /// The same state in a process whose clock began elsewhere: what was `was` there is `at` here, `passed` later.
    #[must_use]
    pub fn rebased(&self, was: Millis, passed: Millis, at: Millis) -> Self {
        use crate::transfer::Phase;
        let mut next = self.clone();
        for transfer in Arc::make_mut(&mut next.transfers).values_mut() {
            if let Phase::Waiting { until } = &mut transfer.phase {
                *until = at.after(until.since(was).since(passed));
            }
            if let Some(batch) = &mut transfer.batch {
                batch.began = at;
            }
        }
        next
    }

    /// Whether it was news. What was withheld is, once it no longer is.
    fn learn(&mut self, news: &News, withheld: bool) -> Result<bool, Refused> {
        let said = self.said.of(&news.tenant);
        let is_same = |name| self.names.name(name) == &*news.owner;
        match said.moved {
            Some((name, known)) if known == news.epoch && said.withheld && !withheld && is_same(name) => {
                self.said.set(&news.tenant, Said { withheld: false, ..said });
                return Ok(true);
            }
            Some((_, known)) if known >= news.epoch => return Ok(false),
            _ => {}
        }
        self.own(&news.tenant, &news.owner, news.epoch)?;
        let said = self.said.of(&news.tenant);
        self.said.set(&news.tenant, Said { withheld, ..said });
        Ok(true)
    }

    fn own(&mut self, tenant: &str, owner: &str, epoch: Epoch) -> Result<(), Refused> {
        let said = self.said.of(tenant);
        if let Some((_, known)) = said.moved.filter(|(_, known)| *known >= epoch) {
            return Err(Refused::EpochFalls { tenant: tenant.into(), known });
        }
        let name = self.names.number(owner).ok_or(Refused::TooManyRegions)?;
        let disputed = said.disputed.filter(|disputed| *disputed >= epoch);
        self.said.set(tenant, Said { moved: Some((name, epoch)), disputed, withheld: false, ..said });
        Ok(())
    }

    fn note_mark(&mut self, subject: &Subject, mark: Option<Mark>) {
        if let Subject::Tenant(id) = subject {
            let said = self.said.of(id);
            self.said.set(id, Said { mark, ..said });
        }
    }

    fn begin(
        &mut self,
        id: TransferId,
        wanted: &crate::transfer::Wanted,
        total: u64,
        by: &By,
    ) -> Result<(), Refused> {
        if id.0 <= self.last {
            return Err(Refused::NumberTaken(id));
        }
        let transfers = Arc::make_mut(&mut self.transfers);
        transfers.insert(id, Transfer::begin(id, wanted.clone(), by.clone(), total));
        let over = transfers.values().filter(|transfer| transfer.phase.is_over());
        let forgotten = over.clone().count().saturating_sub(KEPT);
        let forgotten: Vec<_> = over.map(|transfer| transfer.id).take(forgotten).collect();
        transfers.retain(|id, _| !forgotten.contains(id));
        self.last = id.0;
        Ok(())
    }

    fn step(&mut self, id: TransferId, event: &Event, at: Millis) -> Result<(), Refused> {
        let before = self.transfer(id).ok_or(Refused::NoTransfer(id))?.clone();
        let after = before.step(event, at).map_err(|misfit| Refused::Misfit(id, misfit))?;
        match (event, &before.batch) {
            (Event::Freeze(batch), _) => {
                let taken = |member: &&crate::transfer::Member| self.said.of(&member.tenant).moving;
                if let Some(member) = batch.members.iter().find(taken) {
                    return Err(Refused::Moving(member.tenant.clone()));
                }
            }
            (Event::Raise(batch), _) => {
                for member in &batch.members {
                    self.own(&member.tenant, &batch.to, member.epoch)?;
                }
            }
            _ => {}
        }
        self.hold(&before, false);
        self.hold(&after, true);
        Arc::make_mut(&mut self.transfers).insert(id, after);
        Ok(())
    }

    /// Writes of the batch under way wait, or no longer.
    fn hold(&mut self, transfer: &Transfer, moving: bool) {
        let settling = moving && transfer.batch.as_ref().is_some_and(|batch| batch.step == Step::Switch);
        for member in transfer.batch.iter().flat_map(|batch| &batch.members) {
            let said = self.said.of(&member.tenant);
            self.said.set(&member.tenant, Said { moving, settling, ..said });
        }
    }
}

#[cfg(test)]
mod tests;

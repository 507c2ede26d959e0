//! What must never be, seen from above: by all that regions executed and all that clients were told.

use std::collections::{BTreeMap, BTreeSet};

use rhumb_decision::units::Epoch;

use crate::history::History;
use crate::region::Store;
use crate::world::{REGIONS, Region};

/// One write that was executed.
struct Executed {
    region: Region,
    epoch: Epoch,
}

/// The highest epoch that a process was shown, and everybody who was said to own it.
struct Shown {
    epoch: Epoch,
    owners: BTreeSet<Region>,
}

#[derive(Default)]
pub struct Checks {
    /// Whether ownership is moved at one edge alone, so that one epoch has one owner.
    single: bool,
    executed: BTreeMap<u64, Executed>,
    owner_of: BTreeMap<Epoch, Region>,
    highest: Option<Epoch>,
    /// Epochs that began without waiting: what they may lose is said beforehand.
    unplanned: Vec<Epoch>,
    /// In the order in which clients were told.
    acknowledged: Vec<u64>,
    refused: BTreeSet<u64>,
    epochs: BTreeMap<String, Epoch>,
    shown: BTreeMap<String, Shown>,
    /// What clients saw.
    pub history: History,
    violation: Option<String>,
}

impl Checks {
    pub fn new(single: bool) -> Self {
        Self { single, ..Self::default() }
    }

    /// The first thing that was seen and must never be.
    pub fn violation(&mut self) -> Option<String> {
        self.violation.take()
    }

    fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Ownership under this epoch was taken without waiting.
    pub fn without_waiting(&mut self, epoch: Epoch) {
        self.unplanned.push(epoch);
    }

    fn is_planned_above(&self, epoch: Epoch) -> bool {
        !self.unplanned.iter().any(|unplanned| *unplanned > epoch)
    }

    /// A region executed a write that it was sent under `epoch`.
    pub fn executed(&mut self, id: u64, region: Region, epoch: Epoch, stores: &[Store; REGIONS]) {
        if self.executed.contains_key(&id) {
            return self.violated(format!("I3: write {id} was executed twice"));
        }
        if self.refused.contains(&id) {
            self.violated(format!("I3: write {id} was executed, and its client told that it was refused"));
        }
        if self.single {
            self.began(region, epoch, stores);
        }
        self.executed.insert(id, Executed { region, epoch });
    }

    /// The owner of an epoch executes under it, by then has all that was written before, and nobody before it writes on.
    fn began(&mut self, region: Region, epoch: Epoch, stores: &[Store; REGIONS]) {
        let owner = *self.owner_of.entry(epoch).or_insert(region);
        if owner != region {
            self.violated(format!("I1: regions {owner} and {region} both executed under epoch {}", epoch.0));
        }
        match self.highest {
            Some(highest) if highest > epoch && self.is_planned_above(epoch) => {
                self.violated(format!(
                    "I1: region {region} executed under {}, below epoch {}",
                    epoch.0, highest.0
                ));
            }
            Some(highest) if highest >= epoch => {}
            _ => {
                // The first write under it: by then a planned owner has all that was written before.
                let lost = self.executed.iter().find(|(id, before)| {
                    before.region != region
                        && self.is_planned_above(before.epoch)
                        && !stores[region].has(**id)
                });
                if let Some((lost, before)) = lost {
                    let (lost, at) = (*lost, before.epoch.0);
                    self.violated(format!(
                        "write {lost} of epoch {at} had not been copied when region {region} began under {}",
                        epoch.0
                    ));
                }
                self.highest = Some(epoch);
            }
        }
    }

    /// A client was told that its write succeeded.
    pub fn acknowledged(&mut self, id: u64) {
        if !self.executed.contains_key(&id) {
            self.violated(format!("I3: write {id} was acknowledged and executed nowhere"));
        }
        self.acknowledged.push(id);
        self.history.wrote(id);
    }

    /// A client was told that its write, or its read, was refused.
    pub fn refused(&mut self, id: u64) {
        if self.executed.contains_key(&id) {
            self.violated(format!("I3: write {id} was refused, and has been executed"));
        }
        self.refused.insert(id);
        self.history.refused(id);
    }

    /// A client asks for a write or a strong read; how much of what was acknowledged a read has to see.
    pub fn asked(&mut self, id: u64, is_write: bool) -> usize {
        self.history.asked(id, is_write);
        self.acknowledged.len()
    }

    /// A strong read that began when `floor` held saw this.
    pub fn read(&mut self, id: u64, floor: usize, saw: &[u64]) {
        self.history.read(id, saw);
        let missed = self.acknowledged[..floor].iter().find(|id| !saw.contains(id)).copied();
        if let Some(missed) = missed.filter(|_| self.single && self.unplanned.is_empty()) {
            self.violated(format!(
                "I4: a strong read did not see {missed}, which was acknowledged before it"
            ));
        }
    }

    /// The epoch in force at a process.
    pub fn knows(&mut self, who: &str, epoch: Epoch) {
        let before = self.epochs.get(who).copied();
        if before.is_some_and(|before| before > epoch) {
            self.violated(format!("the epoch fell at {who}, from {} to {}", before.unwrap().0, epoch.0));
        }
        if before != Some(epoch) {
            self.epochs.insert(who.to_owned(), epoch);
        }
    }

    /// A process was shown who owns the tenant.
    pub fn shown(&mut self, who: &str, epoch: Epoch, owner: Region) {
        match self.shown.get_mut(who) {
            Some(known) if known.epoch > epoch => {}
            Some(known) if known.epoch == epoch => drop(known.owners.insert(owner)),
            _ => drop(self.shown.insert(who.to_owned(), Shown { epoch, owners: [owner].into() })),
        }
    }

    /// A process let a write go on to `region`, under `epoch`.
    pub fn let_go_on(&mut self, who: &str, epoch: Epoch, region: Region) {
        let Some(Shown { epoch: known, owners }) = self.shown.get(who) else { return };
        let (known, others) = (*known, owners.iter().any(|owner| *owner != region));
        if known > epoch {
            self.violated(format!("I5: a write of epoch {} passed {who}, shown {} before", epoch.0, known.0));
        } else if known == epoch && others {
            let epoch = epoch.0;
            self.violated(format!(
                "I5: a write of epoch {epoch} passed {who}, which knew another owner of it"
            ));
        }
    }
}

//! What must never be, seen from above: by all that regions executed and all that clients were told.

use std::collections::BTreeMap;

use rhumb_decision::units::Epoch;

use crate::region::Store;
use crate::world::{REGIONS, Region};

/// One write that was executed.
struct Executed {
    region: Region,
    epoch: Epoch,
    position: u128,
}

#[derive(Default)]
pub struct Checks {
    executed: BTreeMap<u64, Executed>,
    owner_of: BTreeMap<Epoch, Region>,
    highest: Option<Epoch>,
    /// Epochs that began without waiting: what they may lose is said beforehand.
    unplanned: Vec<Epoch>,
    acknowledged: u128,
    epochs: BTreeMap<&'static str, Epoch>,
    violation: Option<String>,
}

impl Checks {
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
    pub fn executed(
        &mut self,
        id: u64,
        region: Region,
        epoch: Epoch,
        position: u128,
        stores: &[Store; REGIONS],
    ) {
        if self.executed.contains_key(&id) {
            return self.violated(format!("I3: write {id} was executed twice"));
        }
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
                let lost = self.executed.iter().find(|(_, before)| {
                    before.region != region
                        && self.is_planned_above(before.epoch)
                        && position_taken(stores, before.region, region) < before.position
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
        self.executed.insert(id, Executed { region, epoch, position });
    }

    /// A client was told that its write succeeded.
    pub fn acknowledged(&mut self, id: u64) {
        match self.executed.get(&id) {
            Some(executed) if self.unplanned.is_empty() => {
                self.acknowledged = self.acknowledged.max(executed.position);
            }
            Some(_) => {}
            None => self.violated(format!("I3: write {id} was acknowledged and executed nowhere")),
        }
    }

    /// What a strong read that begins now must at least see.
    pub fn floor(&self) -> u128 {
        self.acknowledged
    }

    /// A strong read that began when `floor` held saw all up to `seen`.
    pub fn read(&mut self, floor: u128, seen: u128) {
        if self.unplanned.is_empty() && seen < floor {
            self.violated(format!("I4: a strong read saw {seen}, and {floor} was acknowledged before it"));
        }
    }

    /// The epoch in force at a process.
    pub fn knows(&mut self, who: &'static str, epoch: Epoch) {
        let before = self.epochs.insert(who, epoch);
        if before.is_some_and(|before| before > epoch) {
            self.violated(format!("the epoch fell at {who}, from {} to {}", before.unwrap().0, epoch.0));
        }
    }
}

fn position_taken(stores: &[Store; REGIONS], from: Region, to: Region) -> u128 {
    crate::region::reached(stores, from, to)
}

//! Where a tenant's requests go before and after, by the walk that live traffic takes.

use crate::classify::Routed;
use crate::decide::Asked;
use crate::decision::{Course, Decision};
use crate::facts::Facts;
use crate::scope::Place;
use crate::snapshot::Snapshot;
use crate::table::Operation;
use crate::tenants::Tenant;
use crate::units::{Key, PlacementId, RegionId, RegionSet, Weight};

/// Who takes something; `None`: nobody.
pub(super) type Seat = Option<Place>;

/// Who takes something before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seats {
    pub before: Seat,
    pub after: Seat,
}

impl Seats {
    /// Where it moves to.
    pub fn moved(self) -> Seat {
        self.after.filter(|after| self.before.is_some_and(|before| before != *after))
    }

    pub const fn stranded(self) -> bool {
        self.before.is_some() && self.after.is_none()
    }
}

/// Two worlds that differ by one weight.
pub(super) struct Worlds<'a> {
    pub before: &'a Snapshot,
    pub after: Snapshot,
    pub place: Place,
    pub source: RegionId,
    pub hour: u8,
}

impl<'a> Worlds<'a> {
    pub fn new(before: &'a Snapshot, question: &super::Question) -> Self {
        let weights = question.place.with_weight(before.weights().clone(), question.to);
        Self {
            before,
            after: before.with_weights(weights),
            place: question.place,
            source: question.source,
            hour: question.hour,
        }
    }

    /// Where a plain request of this tenant goes, all its requests together.
    pub fn of_tenant(&self, operation: Operation, id: &str, tenant: &Tenant<'_>) -> Seats {
        let seat = |snapshot| {
            self.seat(snapshot, operation, None, Key(0), |asked, decision| {
                asked.of_tenant(id, tenant, decision).ok()
            })
        };
        Seats { before: seat(self.before), after: seat(&self.after) }
    }

    /// The same for those of its requests that these regions cover, before and after.
    pub fn supposed(
        &self,
        operation: Operation,
        id: &str,
        tenant: &Tenant<'_>,
        before: RegionSet,
        after: RegionSet,
    ) -> Seats {
        let seat = |snapshot, covering| {
            self.seat(snapshot, operation, Some(covering), Key(0), |asked, decision| {
                asked.of_tenant(id, tenant, decision).ok()
            })
        };
        Seats { before: seat(self.before, before), after: seat(&self.after, after) }
    }

    /// Where a read of somebody whom nobody owns goes.
    pub fn placed(&self, placement: PlacementId, name: &str) -> Seats {
        let key = Key::of(name.as_bytes());
        let seat = |snapshot| {
            self.seat(snapshot, Operation::Read, None, key, |asked, decision| {
                asked.placed(placement, name, decision).ok()
            })
        };
        Seats { before: seat(self.before), after: seat(&self.after) }
    }

    /// The weight of a region before, as a share.
    pub fn share_before(&self, region: RegionId) -> f64 {
        share(self.before.weights().region(region))
    }

    /// The weight of a region after, as a share.
    pub fn share_after(&self, region: RegionId) -> f64 {
        share(self.after.weights().region(region))
    }

    fn seat(
        &self,
        snapshot: &Snapshot,
        operation: Operation,
        supposed: Option<RegionSet>,
        key: Key,
        ask: impl FnOnce(&Asked<'_>, &mut Decision) -> Option<Course>,
    ) -> Seat {
        let facts = Facts {
            session: key,
            chance: key,
            hour: self.hour,
            idempotency_key: true,
            ..Facts::new("", "", "", self.source)
        };
        let routed = Routed::plain(operation);
        let mut decision = Decision::begun(&routed, self.source, snapshot.generation());
        let asked = Asked { facts: &facts, snapshot, routed, supposed };
        let Some(Course::Forward { region, endpoint, .. }) = ask(&asked, &mut decision) else { return None };
        // Cells are told apart where one of them is what changes.
        let apart = self.place.cell.is_some() && region == self.place.region;
        let view = snapshot.health().region(region).filter(|_| apart);
        Some(Place { region, cell: view.and_then(|view| view.endpoint(endpoint)?.cell) })
    }
}

fn share(weight: Weight) -> f64 {
    f64::from(weight.as_hundredths()) / 10_000.0
}

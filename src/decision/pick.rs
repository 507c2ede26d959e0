//! The walk through the candidates, one verdict each; and the endpoint within the region that was chosen.
//!
//! Never: chooses a region of weight 0 for a local read, or one outside the residency for anything.

use arrayvec::ArrayVec;

use crate::decision::{Candidate, Verdicts};
use crate::facts::Facts;
use crate::health::{EndpointView, RegionView};
use crate::pin::Following;
use crate::reason::{FailoverReason, Verdict};
use crate::snapshot::Snapshot;
use crate::table::{Operation, Region, Role};
use crate::units::{
    CapabilityId, CellId, EndpointId, Key, Lot, MAX_REGIONS, Millis, RegionId, RegionSet, Weight, mix,
};

/// What candidates are held against.
pub(crate) struct Walk<'a> {
    pub snapshot: &'a Snapshot,
    pub facts: &'a Facts<'a>,
    pub operation: Operation,
    pub capability: CapabilityId,
    /// Where residency and class of data allow the request to go.
    pub allowed: RegionSet,
    /// Which regions hold a copy that may answer.
    pub members: RegionSet,
    /// What covers whom.
    pub lots: Lots,
    /// The region that follows ownership, not weight.
    pub unweighed: Option<RegionId>,
    /// The owner after a transfer: it acts as active.
    pub acting: Option<RegionId>,
    /// Whom a session read follows, and who may answer it before them.
    pub following: Following,
    /// The owner, and the lag behind it beyond which a copy is stale.
    pub staleness: Option<(RegionId, Millis)>,
    /// The cell that the tenant is sealed in, and what chooses one where none is named.
    pub cell: (Option<&'a str>, Key),
    /// Whether another region than the first preference may take it.
    pub failover: bool,
    /// Whether a later attempt may go to another region than the first one did.
    pub across_regions: bool,
}

/// Whose lots are drawn.
#[derive(Clone, Copy)]
pub(crate) enum Lots {
    /// Those of this key, as for live traffic.
    Of(Key),
    /// Supposed ones, for a plan: of the regions whose weight divides keys, these cover it.
    Supposed(RegionSet),
}

impl Lots {
    fn cover(self, id: RegionId, region: &Region, weight: Weight) -> bool {
        match self {
            Self::Of(key) => weight.takes(Lot::draw(region.hash, key)),
            Self::Supposed(covering) => {
                weight == Weight::FULL || (weight > Weight::NONE && covering.contains(id))
            }
        }
    }
}

/// What the walk came to.
pub(crate) enum Outcome {
    /// This region takes it.
    Chosen { region: RegionId, endpoint: EndpointId, failover: Option<FailoverReason> },
    /// Nobody does.
    Nobody(Why),
}

/// The most telling things about a walk that found nobody.
pub(crate) struct Why {
    /// A region was fit but for residency.
    pub only_residency: bool,
    /// A region was fit but for the requests that it has in flight.
    pub only_saturated: bool,
    /// The first preference, and what became of it.
    pub first: Option<Candidate>,
}

enum Judged {
    Fit {
        standby: bool,
    },
    /// Its weight is above 0, and but for its lot it is fit.
    ButForItsLot {
        standby: bool,
    },
    Unfit(Verdict),
}

impl Walk<'_> {
    /// Asks the regions in this order; tells a verdict for each.
    pub fn through(&self, order: &[RegionId], verdicts: &mut Verdicts) -> Outcome {
        let only = self.facts.tried.first().filter(|_| !self.across_regions).map(|attempt| attempt.region);
        let mut first: Option<usize> = None;
        let mut chosen: Option<usize> = None;
        let mut fallbacks: [Option<usize>; 3] = [None; 3];
        for region in order {
            let at = verdicts.0.len();
            if chosen.is_some() || (first.is_some() && !self.failover) {
                verdicts.push(*region, Verdict::NotNeeded);
                continue;
            }
            if first.is_none() && self.allowed.and(self.members).contains(*region) {
                first = Some(at);
            }
            // A retry that may not leave the first attempt's region still says why that was not the first preference.
            let here = only.is_none_or(|only| only == *region);
            let (verdict, fallback) = match self.judge(*region) {
                Judged::Fit { standby: false } if !here => (Verdict::NotNeeded, None),
                Judged::Fit { standby: false } => {
                    chosen = Some(at);
                    (Verdict::Chosen, None)
                }
                Judged::Fit { standby: true } => (Verdict::Role, Some(0)),
                Judged::ButForItsLot { standby } => (Verdict::Drained, Some(1 + usize::from(standby))),
                Judged::Unfit(verdict) => (verdict, None),
            };
            if let Some(place) = fallback.filter(|_| here).and_then(|rank| fallbacks.get_mut(rank)) {
                place.get_or_insert(at);
            }
            verdicts.push(*region, verdict);
        }
        let taker = chosen.or_else(|| fallbacks.into_iter().flatten().next());
        let first = first.and_then(|at| verdicts.0.get(at).copied());
        let endpoint = |at: usize| {
            let candidate = verdicts.0.get(at)?;
            Some((candidate.region, self.endpoint(candidate.region)?))
        };
        let Some((at, (region, endpoint))) = taker.and_then(|at| Some((at, endpoint(at)?))) else {
            return Outcome::Nobody(self.why(first, verdicts));
        };
        let failover = first
            .filter(|first| first.region != region)
            .and_then(|first| FailoverReason::from_verdict(first.verdict));
        if let Some(candidate) = verdicts.0.get_mut(at) {
            candidate.verdict = Verdict::Chosen;
        }
        Outcome::Chosen { region, endpoint, failover }
    }

    fn why(&self, first: Option<Candidate>, verdicts: &Verdicts) -> Why {
        let fit_but_for = |verdict: Verdict| {
            verdicts.0.iter().any(|candidate| {
                candidate.verdict == verdict
                    && self.members.contains(candidate.region)
                    && self.fit_in_itself(candidate.region).is_ok()
            })
        };
        Why {
            only_residency: fit_but_for(Verdict::Residency),
            only_saturated: fit_but_for(Verdict::Saturated),
            first,
        }
    }

    /// The filters, in their order; the first that fails speaks.
    fn judge(&self, region: RegionId) -> Judged {
        if !self.allowed.contains(region) {
            return Judged::Unfit(Verdict::Residency);
        }
        if !self.members.contains(region) {
            return Judged::Unfit(Verdict::NoReplica);
        }
        let fit = match self.fit_in_itself(region) {
            Ok(fit) => fit,
            Err(verdict) => return Judged::Unfit(verdict),
        };
        let follows = self.following.followed.contains(region);
        if !self.following.keeping.contains(region) {
            return Judged::Unfit(Verdict::Stale);
        }
        if let Some((owner, limit)) = self.staleness
            && region != owner
            && !follows
            && fit.view.lag_behind(owner).is_some_and(|lag| lag > limit)
        {
            return Judged::Unfit(Verdict::Stale);
        }
        let weight =
            if self.is_unweighed(region) { Weight::FULL } else { self.snapshot.weights().region(region) };
        let covered = self.lots.cover(region, fit.region, weight);
        let standby = fit.region.role == Role::Standby && self.acting != Some(region) && !follows;
        let rest = if self.facts.saturated.contains(region) {
            Err(Verdict::Saturated)
        } else if self.candidates(region, &fit).next().is_none() {
            Err(Verdict::Tried)
        } else {
            Ok(())
        };
        match (covered, rest) {
            (true, Ok(())) => Judged::Fit { standby },
            (true, Err(verdict)) => Judged::Unfit(verdict),
            (false, Ok(())) if weight > Weight::NONE => Judged::ButForItsLot { standby },
            (false, _) => Judged::Unfit(Verdict::Drained),
        }
    }

    /// Whether it follows ownership, or the client's own write, and not weight.
    fn is_unweighed(&self, region: RegionId) -> bool {
        self.unweighed == Some(region) || self.following.followed.contains(region)
    }

    /// Role, cell and health: what a region is, whatever the request's weight and history.
    fn fit_in_itself(&self, id: RegionId) -> Result<Fit<'_>, Verdict> {
        let region = self.snapshot.table().region(id).ok_or(Verdict::NoReplica)?;
        let may = match region.role {
            Role::Active | Role::Standby => true,
            Role::ReadOnly => self.operation == Operation::Read,
            Role::Off => false,
        };
        if !may {
            return Err(Verdict::Role);
        }
        let cell = self.cell(id, region)?;
        let view = self.snapshot.health().region(id).ok_or(Verdict::Unhealthy)?;
        let fit = Fit { region, view, cell };
        if !view.endpoints.iter().any(|endpoint| self.takes(endpoint, cell)) {
            return Err(Verdict::Unhealthy);
        }
        Ok(fit)
    }

    fn takes(&self, endpoint: &EndpointView, cell: Option<CellId>) -> bool {
        (cell.is_none() || endpoint.cell == cell) && endpoint.status(self.capability).takes_traffic()
    }

    /// The cell that serves the tenant there; `None` where the region is whole.
    ///
    /// The one its row names, else rendezvous hashing (Thaler and Ravishankar, 1998): the cell of the highest score
    /// that takes the key by its lot, so a cell's weight moves its own tenants and touches nobody else's.
    fn cell(&self, id: RegionId, region: &Region) -> Result<Option<CellId>, Verdict> {
        if region.cells.is_empty() {
            return Ok(None);
        }
        let (named, key) = self.cell;
        if let Some(cell) = named.and_then(|name| region.cell_named(name)) {
            return Ok(Some(cell));
        }
        let weights = self.snapshot.weights();
        let mut below: Option<(u64, u8)> = None;
        let mut any: Option<CellId> = None;
        let mut highest: Option<CellId> = None;
        for _ in 0..region.cells.len() {
            let scores = (0..=u8::MAX).zip(&region.cells).map(|(at, cell)| (mix(mix(cell.hash) ^ key.0), at));
            let next = scores.filter(|score| below.is_none_or(|below| *score < below)).max();
            let Some((score, at)) = next else { break };
            below = Some((score, at));
            let (cell, weight) = (CellId(at), weights.cell(id, CellId(at)));
            highest.get_or_insert(cell);
            let lot = region.cells.get(cell.index()).map(|cell| Lot::draw(cell.hash, key));
            if lot.is_some_and(|lot| weight.takes(lot)) {
                return Ok(Some(cell));
            }
            if any.is_none() && weight > Weight::NONE {
                any = Some(cell);
            }
        }
        // What follows ownership goes to the tenant's cell, drained or not.
        any.or(highest.filter(|_| self.is_unweighed(id))).map(Some).ok_or(Verdict::Drained)
    }

    fn candidates<'f>(
        &'f self,
        region: RegionId,
        fit: &Fit<'f>,
    ) -> impl Iterator<Item = (EndpointId, &'f EndpointView)> + Clone + use<'f> {
        let cell = fit.cell;
        (0..=u16::MAX)
            .map(EndpointId)
            .zip(&fit.view.endpoints)
            .filter(move |(id, endpoint)| self.takes(endpoint, cell) && !self.facts.has_tried(region, *id))
    }

    /// One endpoint of the region, by weight and chance; those of the edge's own zone before others.
    fn endpoint(&self, region: RegionId) -> Option<EndpointId> {
        let fit = self.fit_in_itself(region).ok()?;
        let candidates = self.candidates(region, &fit);
        let same_zone = |endpoint: &EndpointView| {
            self.facts.zone.is_some_and(|zone| endpoint.zone.as_deref().is_some_and(|other| other == zone))
        };
        let near = candidates.clone().any(|(_, endpoint)| same_zone(endpoint));
        let among = candidates.filter(|(_, endpoint)| !near || same_zone(endpoint));
        let total: u64 = among.clone().map(|(_, endpoint)| u64::from(endpoint.weight)).sum();
        let drawn = u128::from(mix(self.facts.chance.0 ^ self.facts.tried.len() as u64));
        let mut point = ((drawn * u128::from(total)) >> 64) as u64;
        for (id, endpoint) in among {
            match point.checked_sub(u64::from(endpoint.weight)) {
                Some(left) => point = left,
                None => return Some(id),
            }
        }
        None
    }
}

struct Fit<'a> {
    region: &'a Region,
    view: &'a RegionView,
    cell: Option<CellId>,
}

/// An order of regions, each once.
#[derive(Default)]
pub(crate) struct Order {
    regions: ArrayVec<RegionId, MAX_REGIONS>,
    among: RegionSet,
}

impl Order {
    /// Adds those of `regions` that it does not have yet.
    pub fn then(mut self, regions: impl IntoIterator<Item = RegionId>) -> Self {
        for region in regions {
            if !self.among.contains(region) {
                self.among.insert(region);
                // A table has no more regions than the order has room for.
                let _ = self.regions.try_push(region);
            }
        }
        self
    }

    pub fn as_slice(&self) -> &[RegionId] {
        &self.regions
    }
}

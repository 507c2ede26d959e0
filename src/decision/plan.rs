//! What a change of one weight would do, before it is made.
//!
//! Every tenant that could be touched takes the walk of live traffic twice, under the weights as they are and as they
//! would be. So a plan says what will happen, as long as the snapshot is the one that it was made on.
//!
//! Never: an estimate where a number can be had; a stranded tenant among those that move.

mod divided;
mod seats;

use std::collections::{BTreeMap, HashMap};

use crate::ownership::Ownership;
use crate::policy::{Policy, Sticky, WritesTo};
use crate::scope::Place;
use crate::snapshot::Snapshot;
use crate::table::Operation;
use crate::tenants::{Profile, Tenant};
use crate::units::{Generation, PlacementId, RegionId, RegionSet, Weight};
use divided::{Shares, divide};
use seats::{Seats, Worlds};

/// Stranded tenants that are named.
const NAMED: usize = 100;

/// Made-up names by which the share of a placement is measured.
const SAMPLE: usize = 10_000;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Where requests enter.
    pub source: RegionId,
    /// Whose weight changes.
    pub place: Place,
    /// To what.
    pub to: Weight,
    /// The hour of the day, UTC, for placements by schedule.
    pub hour: u8,
}

/// What would happen to reads that no route concerns, and to writes.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What was asked.
    pub question: Question,
    /// The weight as it is in effect.
    pub from: Weight,
    /// The snapshot that it was made on.
    pub generation: Generation,
    /// Tenants of the table.
    pub tenants: usize,
    /// Tenants all of whose reads move, where their policy keeps those together.
    pub moving: usize,
    /// Tenants whose policy divides reads by session or request, and of whom some or all move.
    pub divided: usize,
    /// Where reads move to, most first.
    pub destinations: Vec<Destination>,
    /// Tenants whose reads somebody takes now, and nobody would; of divided ones, some of the reads.
    pub stranded: Stranded,
    /// Tenants whose reads nobody takes now, and somebody would; of divided ones, some of the reads.
    pub served_again: usize,
    /// The share of all tenants' reads that moves, each tenant counting alike: 0.0 to 1.0.
    pub reads_share: f64,
    /// The reads that the place takes now, in tenants; those of divided ones are parts of one.
    pub reads_here: f64,
    /// What of `reads_here` moves elsewhere: times the rate of requests there, it is the rate that moves.
    pub reads_leaving: f64,
    /// What becomes of writes there.
    pub writes: Writes,
    /// What becomes of reads of those whom the table does not have; `None`: they are refused.
    pub placement: Option<Placed>,
}

/// Where reads move to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Destination {
    /// Where: a region, or another cell where the plan is of a cell.
    pub place: Place,
    /// Tenants that move there whole.
    pub tenants: usize,
    /// Reads that move there, in tenants; those of divided ones are parts of one.
    pub reads: f64,
}

/// Tenants whom nobody would serve.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stranded {
    /// How many.
    pub count: usize,
    /// The first hundred, by name.
    pub first: Vec<Box<str>>,
}

/// What becomes of writes, in tenants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Writes {
    /// Those whose writes stay, as the region owns them and ownership follows no weight.
    pub staying: usize,
    /// Those of whose writes some or all move: of several writers, or of a cell.
    pub moving: usize,
    /// Those of whose writes some or all would be refused for it.
    pub stranded: usize,
}

/// What becomes of reads that a placement rules; measured by a sample of names, in shares of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Placed {
    /// The placement.
    pub placement: PlacementId,
    /// What moves.
    pub moving: f64,
    /// What nobody takes any more.
    pub stranded: f64,
    /// Where it moves to, with its share, most first.
    pub destinations: Vec<(Place, f64)>,
}

/// What `question` comes to on `snapshot`.
///
/// - A read is a plain one: no route, no class of data, nothing saturated, nothing tried.
/// - Exact for tenants whose reads stay together; of those that are divided, exact shares.
/// - A region that is no candidate of a tenant changes nothing for it, so such tenants cost a glance.
#[must_use]
pub fn plan(snapshot: &Snapshot, question: &Question) -> Plan {
    let worlds = Worlds::new(snapshot, question);
    let mut tally = Tally::new(&worlds);
    for (id, tenant) in snapshot.table().tenants().iter() {
        tally.tenant(id, &tenant);
    }
    tally.plan(question)
}

/// A profile by where it stands, and the owner: tenants of the same alike read alike, but for the cells of each.
type Kind = (*const Profile, RegionId);

struct Tally<'a> {
    worlds: &'a Worlds<'a>,
    /// The regions that have cells.
    celled: RegionSet,
    alike: HashMap<Kind, Shares>,
    destinations: BTreeMap<Place, (usize, f64)>,
    moving: usize,
    divided: usize,
    stranded: Stranded,
    served_again: usize,
    reads_here: f64,
    reads_leaving: f64,
    writes: Writes,
}

impl<'a> Tally<'a> {
    fn new(worlds: &'a Worlds<'a>) -> Self {
        let table = worlds.before.table();
        let celled = |id: &RegionId| table.region(*id).is_some_and(|region| !region.cells.is_empty());
        Self {
            worlds,
            celled: table.region_ids().filter(celled).collect(),
            alike: HashMap::new(),
            destinations: BTreeMap::new(),
            moving: 0,
            divided: 0,
            stranded: Stranded::default(),
            served_again: 0,
            reads_here: 0.0,
            reads_leaving: 0.0,
            writes: Writes::default(),
        }
    }

    fn tenant(&mut self, id: &str, tenant: &Tenant<'_>) {
        let ownership = self.worlds.before.ownership().of(id, tenant);
        let profile = tenant.profile;
        let members = profile.read_set.with(ownership.owner).and(profile.allowed);
        let Some(policy) = self.worlds.before.table().policy(profile.policy) else { return };
        if !members.contains(self.worlds.place.region) {
            return;
        }
        if policy.sticky == Sticky::Tenant {
            self.reads_together(id, self.worlds.of_tenant(Operation::Read, id, tenant));
        } else {
            self.reads_divided(id, tenant, ownership, members);
        }
        self.writes(id, tenant, policy, ownership, members);
    }

    fn reads_together(&mut self, id: &str, seats: Seats) {
        if let Some(place) = seats.moved() {
            self.moving += 1;
            let destination = self.destinations.entry(place).or_default();
            *destination = (destination.0 + 1, destination.1 + 1.0);
        }
        self.share(seats, 1.0);
        if seats.stranded() {
            self.stranded.tell(id);
        }
        self.served_again += usize::from(seats.before.is_none() && seats.after.is_some());
    }

    fn reads_divided(&mut self, id: &str, tenant: &Tenant<'_>, ownership: Ownership, members: RegionSet) {
        let worlds = self.worlds;
        let fresh = || divide(worlds, Operation::Read, id, tenant, members);
        // Which cell a tenant has is its own, and with it which regions are fit.
        let shares = if members.and(self.celled).is_empty() {
            let kind = (std::ptr::from_ref(tenant.profile), ownership.owner);
            self.alike.entry(kind).or_insert_with(fresh).clone()
        } else {
            fresh()
        };
        for (seats, share) in &shares {
            if let Some(place) = seats.moved() {
                self.destinations.entry(place).or_default().1 += share;
            }
            self.share(*seats, *share);
        }
        let any = |what: fn(&Seats) -> bool| shares.iter().any(|(seats, _)| what(seats));
        self.divided += usize::from(any(|seats| seats.moved().is_some()));
        if any(|seats| seats.stranded()) {
            self.stranded.tell(id);
        }
        self.served_again += usize::from(any(|seats| seats.before.is_none() && seats.after.is_some()));
    }

    fn share(&mut self, seats: Seats, share: f64) {
        if seats.before == Some(self.worlds.place) {
            self.reads_here += share;
            self.reads_leaving += if seats.moved().is_some() { share } else { 0.0 };
        }
    }

    /// A single writer's writes follow ownership; only which cell takes them may change. Several writers' follow weight.
    fn writes(
        &mut self,
        id: &str,
        tenant: &Tenant<'_>,
        policy: &Policy,
        ownership: Ownership,
        members: RegionSet,
    ) {
        let (worlds, place) = (self.worlds, self.worlds.place);
        let together = || vec![(worlds.of_tenant(Operation::Write, id, tenant), 1.0)];
        let shares = match policy.writes.to {
            WritesTo::Nobody => return,
            WritesTo::Owner if ownership.owner != place.region => return,
            WritesTo::Owner if place.cell.is_none() => {
                self.writes.staying += 1;
                return;
            }
            WritesTo::Local if policy.sticky != Sticky::Tenant => {
                divide(worlds, Operation::Write, id, tenant, members)
            }
            WritesTo::Owner | WritesTo::Local => together(),
        };
        let any = |what: &dyn Fn(&Seats) -> bool| usize::from(shares.iter().any(|(seats, _)| what(seats)));
        self.writes.moving += any(&|seats| seats.moved().is_some());
        self.writes.stranded += any(&|seats| seats.stranded());
        if policy.writes.to == WritesTo::Owner {
            self.writes.staying += any(&|seats| seats.before == Some(place) && seats.after == Some(place));
        }
    }

    fn plan(self, question: &Question) -> Plan {
        let table = self.worlds.before.table();
        let mut destinations: Vec<_> = self.destinations.into_iter().map(destination).collect();
        destinations.sort_by(|a, b| b.reads.total_cmp(&a.reads).then(a.place.cmp(&b.place)));
        // A sum of nothing is minus zero, which would be shown.
        let moved = destinations.iter().fold(0.0, |sum, destination| sum + destination.reads);
        let tenants = table.tenants().len();
        Plan {
            question: *question,
            from: question.place.weight(self.worlds.before.weights()),
            generation: self.worlds.before.generation(),
            tenants,
            moving: self.moving,
            divided: self.divided,
            destinations,
            stranded: self.stranded,
            served_again: self.served_again,
            reads_share: if tenants == 0 { 0.0 } else { moved / tenants as f64 },
            reads_here: self.reads_here,
            reads_leaving: self.reads_leaving,
            writes: self.writes,
            placement: table.tenancy().unknown.map(|placement| placed(self.worlds, placement)),
        }
    }
}

const fn destination((place, (tenants, reads)): (Place, (usize, f64))) -> Destination {
    Destination { place, tenants, reads }
}

fn placed(worlds: &Worlds<'_>, placement: PlacementId) -> Placed {
    let (mut moving, mut stranded) = (0, 0);
    let mut to: BTreeMap<Place, usize> = BTreeMap::new();
    for number in 0..SAMPLE {
        let seats = worlds.placed(placement, &number.to_string());
        if let Some(place) = seats.moved() {
            moving += 1;
            *to.entry(place).or_default() += 1;
        }
        stranded += usize::from(seats.stranded());
    }
    let share = |count: usize| count as f64 / SAMPLE as f64;
    let mut destinations: Vec<_> = to.into_iter().map(|(place, count)| (place, share(count))).collect();
    destinations.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Placed { placement, moving: share(moving), stranded: share(stranded), destinations }
}

impl Stranded {
    fn tell(&mut self, id: &str) {
        self.count += 1;
        let at = self.first.partition_point(|earlier| **earlier < *id);
        if at < NAMED {
            self.first.truncate(NAMED - 1);
            self.first.insert(at, id.into());
        }
    }
}

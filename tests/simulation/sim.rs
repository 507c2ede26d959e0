//! One run: the world as it is, three edges that follow it, and model regions that take what edges send.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhumb_decision::compare::compare;
use rhumb_decision::health::{Passive, Status};
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::table::{Operation, Table};
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{Epoch, Millis};
use rhumb_decision::{Course, Decision, Weights};

use crate::chance::Chance;
use crate::desk::Desk;
use crate::requests::Request;
use crate::spec::Spec;
use crate::tables::{self, REGIONS, TENANTS};
use crate::truth::{Moved, Published, in_force};
use crate::world::World;

const EDGES: [&str; 3] = ["eu-west-1", "us-east-1", "aa-north-1"];

/// How often each kind of thing happened.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Seen(BTreeMap<&'static str, u64>);

const KINDS: [&str; 28] = [
    "change refused",
    "drain_advanced",
    "drain_begun",
    "drain_expired",
    "drain_paused",
    "drain_resumed",
    "drain_stopped",
    "drain_undone",
    "drained region or cell gone",
    "fenced",
    "frozen",
    "health",
    "lag",
    "moved",
    "read forwarded",
    "read refused",
    "restarted",
    "retried",
    "round trip",
    "second drain refused",
    "table of wrong epochs refused",
    "table taken",
    "table with faults refused",
    "weight_cleared",
    "weight_expired",
    "weight_set",
    "write executed",
    "write refused",
];

impl Seen {
    fn count(&mut self, kind: &'static str) {
        assert!(KINDS.contains(&kind), "{kind:?} is not in the list");
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, times)| *self.0.entry(kind).or_default() += times);
    }

    pub fn missing(&self) -> Vec<&'static str> {
        KINDS.into_iter().filter(|kind| !self.0.contains_key(kind)).collect()
    }
}

/// What is known of a region's endpoints and copy, kept by name across tables.
#[derive(Clone, Default)]
struct Known {
    endpoints: BTreeMap<usize, (Status, Option<Status>, Passive)>,
    lag: BTreeMap<&'static str, u64>,
    round_trip: Option<u64>,
}

pub struct Simulation {
    pub seen: Seen,
    chance: Chance,
    hour: u8,
    generation: u64,
    spec: Spec,
    table: Table,
    moved: BTreeMap<String, Moved>,
    known: BTreeMap<&'static str, Known>,
    desk: Desk,
    published: Arc<Published>,
    edges: [Arc<Published>; 3],
    in_flight: Vec<Request>,
    highest: BTreeMap<String, u64>,
    owners: BTreeMap<(String, u64), String>,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let (spec, table) = loop {
            let spec = tables::first(&mut chance);
            if let Ok(table) = spec.table() {
                break (spec, table);
            }
        };
        let (moved, known, desk) = (BTreeMap::new(), BTreeMap::new(), Desk::new());
        let world = world(&table, &moved, &known, desk.operated.weights(&table), 1);
        let published = Arc::new(publication(&spec, &moved, &world));
        Self {
            seen: Seen::default(),
            chance,
            hour: 0,
            generation: 1,
            spec,
            table,
            moved,
            known,
            desk,
            edges: std::array::from_fn(|_| Arc::clone(&published)),
            published,
            in_flight: Vec::new(),
            highest: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.chance.below(100) {
            0..35 => self.ask(),
            35..60 => self.go_on(),
            60..70 => self.flap(),
            70..75 => self.lag(),
            75..77 => self.measure(),
            77..80 => self.operate(),
            80..83 => self.time_passes(),
            83..88 => self.transfer(),
            88..90 => self.freeze(),
            90..97 => self.push(),
            _ => self.hour = (self.hour + 1) % 24,
        }
        for edge in &mut self.edges {
            if self.chance.percent(30) {
                *edge = Arc::clone(&self.published);
            }
        }
    }

    /// Also once its tenant was dropped and came back.
    pub fn never_an_epoch_that_falls(&mut self) -> &mut Self {
        for tenant in TENANTS {
            let Some(now) = self.published.in_force(tenant) else { continue };
            let highest = self.highest.entry(tenant.into()).or_insert(now.epoch);
            assert!(now.epoch >= *highest, "the epoch of {tenant} fell from {highest} to {}", now.epoch);
            *highest = now.epoch;
        }
        self
    }

    pub fn never_two_owners_at_one_epoch(&mut self) -> &mut Self {
        for tenant in TENANTS {
            let Some(now) = self.published.in_force(tenant) else { continue };
            let owner = self.owners.entry((tenant.into(), now.epoch)).or_insert_with(|| now.owner.clone());
            assert_eq!(*owner, now.owner, "{tenant} has two owners at epoch {}", now.epoch);
        }
        self
    }

    /// A request enters at an edge.
    fn ask(&mut self) {
        let at = self.chance.below(EDGES.len());
        let request = Request::new(&mut self.chance, Arc::clone(&self.edges[at]), EDGES[at], self.hour);
        self.attempt(request);
    }

    /// A request whose last attempt failed is sent again, on the snapshot that it began with.
    fn go_on(&mut self) {
        if !self.in_flight.is_empty() {
            let at = self.chance.below(self.in_flight.len());
            let request = self.in_flight.swap_remove(at);
            self.seen.count("retried");
            self.attempt(request);
        }
    }

    fn attempt(&mut self, mut request: Request) {
        let decision = request.decide(&request.on.snapshot);
        request.never_what_must_not_be(&decision);
        assert_eq!(decision, request.decide(&request.on.snapshot), "the same facts decided otherwise");
        let read = decision.operation == Operation::Read;
        let Course::Forward { region, endpoint, .. } = decision.course else {
            self.seen.count(if read { "read refused" } else { "write refused" });
            return;
        };
        if self.chance.percent(30) {
            request.tried.push(rhumb_decision::Attempt { region, endpoint });
            self.in_flight.push(request);
        } else if read {
            self.seen.count("read forwarded");
        } else {
            self.write_arrives(&request, &decision);
        }
    }

    /// A region refuses a write of an older epoch than it knows of, and executes any other.
    fn write_arrives(&mut self, request: &Request, decision: &Decision) {
        let (Some(epoch), Some(target)) = (decision.epoch, decision.target()) else { return };
        let Some(now) = self.published.in_force(request.tenant) else { return };
        if epoch.0 < now.epoch {
            self.seen.count("fenced");
            return;
        }
        self.seen.count("write executed");
        let region = request.on.snapshot.table().region_name(target);
        if request.has_one_writer() {
            assert_eq!(region, now.owner, "{} wrote at a region that does not own it", request.tenant);
        }
    }

    fn known(&mut self) -> &mut Known {
        let (name, _) = self.chance.of(&REGIONS);
        self.known.entry(name).or_default()
    }

    fn flap(&mut self) {
        let statuses = [Status::Up, Status::Up, Status::Up, Status::Degraded, Status::Down, Status::Unknown];
        let (checked, reported) = (self.chance.of(&statuses), self.chance.of(&statuses));
        let reported = self.chance.percent(20).then_some(reported);
        let passives = [Passive::Trusted, Passive::Trusted, Passive::Ejected, Passive::OnTrial(1)];
        let passive = self.chance.of(&passives);
        let at = self.chance.below(3);
        self.known().endpoints.insert(at, (checked, reported, passive));
        self.happened("health");
    }

    fn lag(&mut self) {
        let (behind, _) = self.chance.of(&REGIONS);
        let lag = self.chance.below(120_000) as u64;
        self.known().lag.insert(behind, lag);
        self.happened("lag");
    }

    fn measure(&mut self) {
        let round_trip = self.chance.below(200) as u64;
        self.known().round_trip = Some(round_trip);
        self.happened("round trip");
    }

    /// An operator sets a weight, or begins, pauses, stops or undoes a drain.
    fn operate(&mut self) {
        let did = self.desk.act(&mut self.chance, &self.table);
        self.happened(did);
        if !self.desk.operated.dangling(&self.table).is_empty() {
            self.seen.count("drained region or cell gone");
        }
    }

    /// Ramps go on and times are up; now and then the process was another in between.
    fn time_passes(&mut self) {
        if self.chance.percent(10) {
            self.desk.restart(&mut self.chance, &self.table);
            self.happened("restarted");
        }
        for brought in self.desk.time_passes(&mut self.chance) {
            self.happened(brought);
        }
    }

    /// Ownership moves, under a higher epoch; now and then somebody repeats an old one, which must not count.
    fn transfer(&mut self) {
        let tenant = self.chance.of(&TENANTS);
        let Some(now) = in_force(&self.spec, &self.moved, tenant) else { return };
        let row = &self.spec.tenants[tenant];
        let mut to = row.standby.clone();
        to.push(row.home.clone());
        let owner = self.chance.of(&to);
        let behind = self.chance.percent(15);
        let epoch = if behind { row.epoch } else { now.epoch + 1 + self.chance.below(2) as u64 };
        if behind && self.moved.contains_key(tenant) {
            return;
        }
        let state = if self.chance.percent(90) { State::Active } else { State::Frozen { waits: true } };
        self.moved.insert(tenant.into(), Moved { owner, epoch, state });
        self.happened("moved");
    }

    /// One tenant's state changes, without a new table.
    fn freeze(&mut self) {
        let tenant = self.chance.of(&TENANTS);
        let state = self.chance.of(&TenantState::ALL);
        let Some(row) = self.spec.tenants.get_mut(tenant) else { return };
        row.state = state;
        let tenants = self.table.tenants().with(tenant, Epoch(row.epoch), state).unwrap();
        self.table = self.table.with_tenants(tenants);
        self.happened("frozen");
    }

    /// Somebody pushes a table: it is taken whole, or changes nothing.
    fn push(&mut self) {
        let spec = tables::changed(&mut self.chance, &self.spec, &self.highest);
        let Ok(table) = spec.table() else {
            self.seen.count("table with faults refused");
            return;
        };
        let before = self.everything();
        let ownership = self.world().snapshot().ownership().clone();
        let difference = compare(&self.table, &ownership, &table);
        assert_eq!(self.everything(), before, "to look at a table changed something");
        if !difference.epoch_faults.is_empty() {
            self.seen.count("table of wrong epochs refused");
            return;
        }
        // A moved owner that the new table no longer has was overruled by a higher epoch, or the table was refused.
        self.moved.retain(|_, moved| spec.regions.contains_key(&moved.owner));
        (self.spec, self.table) = (spec, table);
        self.happened("table taken");
    }

    fn world(&self) -> World {
        self.world_of(&self.table)
    }

    fn world_of(&self, table: &Table) -> World {
        world(table, &self.moved, &self.known, self.desk.operated.weights(table), self.generation)
    }

    /// What is decided for every tenant at every edge.
    fn everything(&self) -> Vec<Decision> {
        let mut chance = Chance::new(7);
        let snapshot = self.world().snapshot();
        (0..12)
            .map(|_| {
                Request::new(&mut chance, Arc::clone(&self.published), EDGES[0], self.hour).decide(&snapshot)
            })
            .collect()
    }

    fn happened(&mut self, kind: &'static str) {
        self.seen.count(kind);
        self.generation += 1;
        self.published = Arc::new(publication(&self.spec, &self.moved, &self.world()));
        if self.chance.percent(10) {
            self.a_table_built_anew_decides_alike();
        }
    }

    /// What was changed step by step is what its rows, read afresh, would be.
    fn a_table_built_anew_decides_alike(&mut self) {
        let table = self.spec.table().unwrap();
        let anew = publication(&self.spec, &self.moved, &self.world_of(&table));
        let request = Request::new(&mut self.chance, Arc::clone(&self.published), EDGES[1], self.hour);
        assert_eq!(request.decide(&self.published.snapshot), request.decide(&anew.snapshot));
    }
}

fn publication(spec: &Spec, moved: &BTreeMap<String, Moved>, world: &World) -> Published {
    let table = &world.table;
    let weights = table.region_ids().map(|id| (table.region_name(id).to_owned(), world.weights.region(id)));
    Published {
        spec: spec.clone(),
        moved: moved.clone(),
        weights: weights.collect(),
        snapshot: world.snapshot(),
    }
}

fn world(
    table: &Table,
    moved: &BTreeMap<String, Moved>,
    known: &BTreeMap<&'static str, Known>,
    weights: Weights,
    generation: u64,
) -> World {
    let mut world = World::well(table.clone());
    (world.generation, world.weights) = (generation, weights);
    for (name, known) in known {
        let Some(id) = table.region_named(name) else { continue };
        let view = &mut world.health.regions[id.index()];
        for (at, (checked, reported, passive)) in &known.endpoints {
            if let Some(endpoint) = view.endpoints.get_mut(*at) {
                (endpoint.checked, endpoint.passive) = (*checked, *passive);
                endpoint.capabilities[0] = *reported;
            }
        }
        for (behind, lag) in &known.lag {
            if let Some(behind) = table.region_named(behind) {
                view.lag[behind.index()] = Some(Millis(*lag));
            }
        }
        if let Some(round_trip) = known.round_trip {
            world.measured(name, Millis(round_trip));
        }
    }
    for (tenant, moved) in moved {
        let owner = world.region(&moved.owner);
        let (epoch, state) = (Epoch(moved.epoch), moved.state);
        world.moved.insert(tenant.clone(), Ownership { owner, epoch, state });
    }
    world
}

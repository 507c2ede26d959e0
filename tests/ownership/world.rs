//! Two edges, three regions with two gateways each, what is between them, and chance.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rhumb_decision::owned::Change;
use rhumb_decision::table::{Role, Table};
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{Epoch, RegionId, Weight};

use crate::chance::Chance;
use crate::checks::Checks;
use crate::clock::Clock;
use crate::crier::Crier;
use crate::flights::{At, Flight};
use crate::gates::{Announcement, Asker, Fence, Gate, Word};
use crate::mover::Mover;
use crate::node::Node;
use crate::region::{Store, replicate};
use crate::reports::Made;
use crate::spec::{RegionSpec, Spec, TenantSpec};

pub const TENANT: &str = "acme";
pub const REGIONS: usize = 3;
/// Gateways of a region that has any.
pub const GATES: usize = 2;
pub const EDGES: usize = 2;
const NAMES: [&str; REGIONS] = ["ap-south-1", "eu-west-1", "us-east-1"];

/// A region, by its place in what is simulated.
pub type Region = usize;

/// What is left out, one at a time, to show that it is missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    NoFencing,
    NoFence,
    NoFreeze,
    EpochNotRaised,
    NotCaughtUp,
    CountedBeforeTheFreeze,
    ReleasedWithoutTheOldOwnersWord,
    ForgetsTheSwitchInACrash,
    TellsBeforeTheRelease,
    OnlyOneGatewayFenced,
    BelievesThatItsFenceHeld,
    DoesNotLookOnceMoreAfterKeeping,
    NumberOfAFenceIsItsId,
    TellsWhatIsWithheld,
    WithholdsInMemoryOnly,
    LooksForAFenceOnceItHasJudged,
    NobodyIsToldAfterwards,
    IgnoresASecondOwner,
    /// A premise: `caught_up` allows for a tenth.
    LagsAreToldByASlowClock,
}

/// What a run is like from its beginning to its end.
#[derive(Clone, Copy)]
pub struct Run {
    /// Whether copies tell positions, or else their lag.
    pub by_position: bool,
    /// Whether only planned moves are asked for, so that nothing may be lost at all.
    pub planned_only: bool,
    /// A region without gateways: then the edge that moves ownership is the only one there is.
    pub bare: Option<Region>,
    /// Whether both edges move ownership, which they are told not to.
    pub both_operate: bool,
    /// Whether edges prove themselves by signatures, whose time is looked at, or else by certificates.
    pub by_signature: bool,
}

impl Run {
    fn draw(chance: &mut Chance, broken: Broken) -> Self {
        let by_lag = broken == Broken::LagsAreToldByASlowClock;
        let by_position = chance.percent(70) && !by_lag;
        let split = broken == Broken::IgnoresASecondOwner;
        let planned_only = !split && (broken != Broken::Nothing || chance.percent(50));
        let is_bare = broken == Broken::Nothing && chance.percent(20);
        let bare = is_bare.then(|| chance.below(REGIONS));
        let both_operate = split || (!planned_only && bare.is_none() && chance.percent(60));
        Self { by_position, planned_only, bare, both_operate, by_signature: chance.percent(20) }
    }

    /// How many edges move ownership.
    pub const fn operators(&self) -> usize {
        if self.both_operate { EDGES } else { 1 }
    }

    /// How many edges send anything.
    pub const fn edges(&self) -> usize {
        if self.bare.is_some() { 1 } else { EDGES }
    }
}

pub struct World {
    pub chance: Chance,
    pub broken: Broken,
    pub run: Run,
    pub now: u64,
    /// Whether nothing goes wrong any more.
    pub is_quiet: bool,
    pub table: Arc<Table>,
    pub ids: [RegionId; REGIONS],
    pub edges: [Node; EDGES],
    pub movers: [Mover; EDGES],
    pub criers: [Crier; EDGES],
    pub made: [RefCell<Option<Made>>; EDGES],
    pub gateways: [Node; REGIONS * GATES],
    pub fences: [Option<Fence>; REGIONS * GATES],
    pub last_fence: u64,
    pub last_number: u64,
    /// The clocks of regions: what tells how far a copy lags.
    pub regions: [Clock; REGIONS],
    pub stores: [Store; REGIONS],
    /// Until when nothing is copied from one region to another.
    stalled: [[u64; REGIONS]; REGIONS],
    pub flights: Vec<Flight>,
    pub announcements: Vec<Announcement>,
    /// What was told last, which may come again.
    pub told: VecDeque<Announcement>,
    /// Which fences stood at which gateways, some time or other.
    pub raised: BTreeSet<(Gate, u64)>,
    pub next_id: u64,
    pub done: usize,
    pub checks: Checks,
    pub happened: BTreeMap<&'static str, u64>,
}

pub const fn name(region: Region) -> &'static str {
    NAMES[region]
}

fn table(bare: Option<Region>) -> Table {
    let region = |at: usize| RegionSpec {
        jurisdiction: ["in", "eu", "us"][at],
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: GATES,
        cells: false,
        gateway: bare != Some(at),
    };
    let tenant = TenantSpec {
        home: NAMES[0].into(),
        standby: vec![NAMES[1].into(), NAMES[2].into()],
        replicas: Vec::new(),
        residency: Vec::new(),
        policy: "default",
        epoch: 1,
        state: TenantState::Active,
    };
    let spec = Spec {
        regions: (0..REGIONS).map(|at| (NAMES[at].to_owned(), region(at))).collect(),
        tenants: [(TENANT.to_owned(), tenant)].into(),
        unknown: None,
    };
    spec.table().unwrap()
}

impl World {
    pub fn new(seed: u64, broken: Broken) -> Self {
        let mut chance = Chance::new(seed);
        let run = Run::draw(&mut chance, broken);
        let table = Arc::new(table(run.bare));
        let ids = NAMES.map(|name| table.region_named(name).unwrap());
        let mut node = |_| Node::new(&table, Clock::new(&mut chance));
        let (edges, gateways) = (std::array::from_fn(&mut node), std::array::from_fn(&mut node));
        let is_slow = broken == Broken::LagsAreToldByASlowClock;
        let regions = [(); REGIONS].map(|()| if is_slow { Clock::slow() } else { Clock::new(&mut chance) });
        Self {
            chance,
            broken,
            run,
            now: 1,
            is_quiet: false,
            ids,
            edges,
            movers: Default::default(),
            criers: Default::default(),
            made: Default::default(),
            gateways,
            fences: [None; REGIONS * GATES],
            last_fence: 0,
            last_number: 0,
            regions,
            stores: Default::default(),
            stalled: [[0; REGIONS]; REGIONS],
            flights: Vec::new(),
            announcements: Vec::new(),
            told: VecDeque::new(),
            raised: BTreeSet::new(),
            next_id: 1,
            done: 0,
            checks: Checks::new(!run.both_operate),
            happened: BTreeMap::new(),
            table,
        }
    }

    pub fn happens(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    pub fn number(&self, id: RegionId) -> Region {
        self.ids.iter().position(|known| *known == id).unwrap()
    }

    pub fn named(&self, name: &str) -> Region {
        NAMES.iter().position(|known| *known == name).unwrap()
    }

    /// By the monotonic clock of an edge.
    pub const fn edge_time(&self, edge: usize) -> u64 {
        self.edges[edge].clock.time(self.now)
    }

    /// By that of a gateway.
    pub const fn gate_time(&self, gate: usize) -> u64 {
        self.gateways[gate].clock.time(self.now)
    }

    pub fn edge_learns(&mut self, edge: usize, owner: Region, epoch: Epoch) {
        let disputed = self.edges[edge].is_disputed();
        self.checks.shown(&format!("edge {edge}"), epoch, owner);
        self.edges[edge].learn(name(owner), epoch, self.now, Change::Learn);
        if !disputed && self.edges[edge].is_disputed() {
            self.happens("split brain noticed by an edge");
        }
    }

    pub fn step(&mut self) {
        self.now += 1 + self.chance.below(2) as u64;
        self.time_passes();
        for edge in 0..EDGES {
            if self.edges[edge].expire(self.now) {
                self.happens("a mark ended by itself");
            }
        }
        let operator = self.chance.below(self.run.operators());
        match self.chance.below(200) {
            0..18 => {
                let (edge, is_write) = (self.some_edge(), self.chance.percent(80));
                self.ask(edge, is_write);
            }
            18..69 => self.something_flies(),
            69..70 => self.set_a_clock(),
            70..74 => {
                if let Some(flight) = self.some_flight() {
                    self.give_up(flight);
                }
            }
            74..96 => self.copy(operator),
            96..114 => self.report(operator),
            114..119 => {
                let (edge, from) = (self.some_edge(), self.chance.below(REGIONS));
                self.read_a_copy(edge, from);
            }
            119..140 => self.deliver_report(operator),
            140..164 => self.drive(operator),
            164..188 => self.hear_something(),
            188..189 => self.lose_announcement(),
            189..190 => self.repeat_announcement(),
            190..197 => self.operate(operator),
            197..198 => {
                let edge = self.some_edge();
                self.cry(edge);
            }
            198..199 => self.crash_edge(),
            _ => self.crash_gateway(),
        }
        self.flights.retain(|flight| flight.at != At::Over);
        self.look();
    }

    pub fn look(&mut self) {
        for (edge, node) in self.edges.iter().enumerate() {
            self.checks.knows(["edge 0", "edge 1"][edge], node.ownership().epoch);
        }
        for (gate, node) in self.gateways.iter().enumerate() {
            self.checks.knows(["0", "1", "2", "3", "4", "5"][gate], node.ownership().epoch);
        }
    }

    fn some_edge(&mut self) -> usize {
        self.chance.below(self.run.edges())
    }

    fn some_flight(&mut self) -> Option<usize> {
        let last = self.flights.len().checked_sub(1)?;
        Some(self.chance.below(last + 1))
    }

    /// Any one goes a step further: so they overtake each other.
    fn something_flies(&mut self) {
        for _ in 0..4 {
            let Some(flight) = self.some_flight() else { return };
            self.fly(flight);
            if self.flights[flight].waits_since.is_none() {
                return;
            }
        }
    }

    /// A few writes are copied, or none for a while.
    fn copy(&mut self, operator: usize) {
        let (from, to) = self.wanted(operator);
        let stalls = if self.broken == Broken::LagsAreToldByASlowClock { 30 } else { 5 };
        if self.chance.percent(stalls) {
            self.stalled[from][to] = self.now + self.chance.below(400) as u64;
        }
        if self.stalled[from][to] > self.now {
            return self.happens("copying stalled");
        }
        for _ in 0..=self.chance.below(12) {
            replicate(&mut self.stores, from, to, self.now);
        }
    }

    fn hear_something(&mut self) {
        self.freeze_late(0);
        for _ in 0..2 {
            if let Some(which) = self.some_announcement() {
                self.hear(which);
            }
        }
    }

    pub fn some_announcement(&mut self) -> Option<usize> {
        self.announcements.retain(|one| one.asker != Asker::Gone || !one.is_over());
        let last = self.announcements.len().checked_sub(1)?;
        let which = self.chance.below(last + 1);
        // Most of what no transfer waits for comes late.
        let soon = if matches!(self.announcements[which].word, Word::Fence { .. }) { 60 } else { 20 };
        if self.announcements[which].is_awaited() || self.chance.percent(soon) {
            return Some(which);
        }
        self.announcements.iter().position(|one| one.is_awaited() && !one.is_over()).or(Some(which))
    }
}

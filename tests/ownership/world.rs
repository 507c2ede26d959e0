//! Two edges, two regions with their gateways, what is between them, and chance.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhumb_decision::health::HealthView;
use rhumb_decision::owned::{Change, Owned, Subject};
use rhumb_decision::ownership::{Mark, State};
use rhumb_decision::table::{Role, Table};
use rhumb_decision::tenants::TenantState;
use rhumb_decision::transfer::{Batch, Event, To, TransferId, Wanted, Which};
use rhumb_decision::units::{Generation, Millis, RegionId, Weight};
use rhumb_decision::{Snapshot, Weights};

use crate::chance::Chance;
use crate::checks::Checks;
use crate::flights::{At, Flight};
use crate::mover::{Announcement, Waits};
use crate::node::Node;
use crate::region::{Store, copied_until, reached, replicate};
use crate::spec::{RegionSpec, Spec, TenantSpec};

pub const TENANT: &str = "acme";
pub const REGIONS: usize = 2;
const NAMES: [&str; REGIONS] = ["eu-west-1", "us-east-1"];

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
}

/// What a region reports: true at the time it was asked, or later.
#[derive(Clone, Copy, Default)]
struct Report {
    asked: u64,
    position: u128,
    reached: u128,
    lag: u64,
}

pub struct World {
    chance: Chance,
    pub broken: Broken,
    pub now: u64,
    pub table: Arc<Table>,
    pub ids: [RegionId; REGIONS],
    pub edges: [Node; 2],
    pub gateways: [Node; REGIONS],
    pub stores: [Store; REGIONS],
    pub flights: Vec<Flight>,
    pub announcements: Vec<Announcement>,
    pub waits: Option<Waits>,
    pub counted_before: Option<(TransferId, Batch)>,
    /// The fence that the batch at hand is behind.
    pub fence: Option<u64>,
    pub fences: u64,
    /// Which fence stands at each gateway, and until when.
    pub fenced: [Option<(u64, u64)>; REGIONS],
    /// What the first edge knows, and what is on its way to it.
    known: [Option<Report>; REGIONS],
    coming: Vec<(Region, Report)>,
    by_position: bool,
    /// Whether only planned moves are asked for, so that nothing may be lost at all.
    planned_only: bool,
    pub next_id: u64,
    pub done: u64,
    pub checks: Checks,
    pub happened: BTreeMap<&'static str, u64>,
}

pub fn name(region: Region) -> &'static str {
    NAMES[region]
}

fn table() -> Table {
    let region = |jurisdiction| RegionSpec {
        jurisdiction,
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: 1,
        cells: false,
        gateway: true,
    };
    let tenant = TenantSpec {
        home: NAMES[0].into(),
        standby: vec![NAMES[1].into()],
        replicas: Vec::new(),
        residency: Vec::new(),
        policy: "default",
        epoch: 1,
        state: TenantState::Active,
    };
    let spec = Spec {
        regions: [(NAMES[0].to_owned(), region("eu")), (NAMES[1].to_owned(), region("us"))].into(),
        tenants: [(TENANT.to_owned(), tenant)].into(),
        unknown: None,
    };
    spec.table().unwrap()
}

impl World {
    pub fn new(seed: u64, broken: Broken) -> Self {
        let mut chance = Chance::new(seed);
        let table = Arc::new(table());
        let ids = NAMES.map(|name| table.region_named(name).unwrap());
        let by_position = chance.percent(70);
        let planned_only = broken != Broken::Nothing || chance.percent(60);
        Self {
            chance,
            broken,
            now: 1,
            table,
            ids,
            edges: Default::default(),
            gateways: Default::default(),
            stores: Default::default(),
            flights: Vec::new(),
            announcements: Vec::new(),
            waits: None,
            counted_before: None,
            fence: None,
            fences: 0,
            fenced: [None; REGIONS],
            known: [None; REGIONS],
            coming: Vec::new(),
            by_position,
            planned_only,
            next_id: 1,
            done: 0,
            checks: Checks::default(),
            happened: BTreeMap::new(),
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

    /// What an edge decides on: all regions up, with what the first edge was told of their copies.
    pub fn snapshot(&self, owned: &Owned) -> Snapshot {
        let mut health = HealthView::all_up(&self.table);
        for (region, known) in self.known.iter().enumerate() {
            let (Some(report), other) = (known, self.ids[1 - region]) else { continue };
            let view = &mut health.regions[self.ids[region].index()];
            view.reported = Some(Millis(report.asked));
            if self.by_position {
                view.position = Some(report.position);
                view.reached[other.index()] = Some(report.reached);
            } else {
                view.lag[other.index()] = Some(Millis(report.lag));
            }
        }
        let weights = Weights::configured(&self.table);
        Snapshot::new(Generation(1), Arc::clone(&self.table), health, owned.over(&self.table), weights)
    }

    pub fn step(&mut self) {
        self.now += 1 + self.chance.below(4) as u64;
        match self.chance.below(100) {
            0..8 => {
                let (edge, is_write) = (self.chance.below(2), self.chance.percent(80));
                self.ask(edge, is_write);
            }
            8..45 => self.something_flies(),
            45..48 => {
                if let Some(flight) = self.some_flight() {
                    self.give_up(flight);
                }
            }
            48..60 => {
                let from = self.chance.below(REGIONS);
                replicate(&mut self.stores, from, 1 - from);
            }
            60..64 => self.report(),
            64..67 => {
                let (edge, from) = (self.chance.below(2), self.chance.below(REGIONS));
                self.read_a_copy(edge, from);
            }
            67..72 => self.deliver_report(),
            72..88 => self.drive(),
            88..92 => self.freeze_late_or_hear(),
            92..94 => self.lose_announcement(),
            94..97 => self.operate(),
            97..98 => self.crash_edge(),
            98..99 => self.crash_gateway(),
            _ => {
                if let Some(last) = self.announcements.len().checked_sub(1) {
                    let which = self.chance.below(last + 1);
                    self.hear(which);
                }
            }
        }
        self.flights.retain(|flight| flight.at != At::Over);
        self.look();
    }

    fn look(&mut self) {
        let of = |node: &Node| node.ownership(&self.table).epoch;
        let epochs = [
            ("the first edge", of(&self.edges[0])),
            ("the second edge", of(&self.edges[1])),
            ("the first gateway", of(&self.gateways[0])),
            ("the second gateway", of(&self.gateways[1])),
        ];
        epochs.into_iter().for_each(|(who, epoch)| self.checks.knows(who, epoch));
    }

    fn some_flight(&mut self) -> Option<usize> {
        let last = self.flights.len().checked_sub(1)?;
        Some(self.chance.below(last + 1))
    }

    /// Any one goes a step further: so they overtake each other.
    fn something_flies(&mut self) {
        if let Some(flight) = self.some_flight() {
            self.fly(flight);
        }
    }

    fn report(&mut self) {
        let region = self.chance.below(REGIONS);
        let asked = self.now - self.chance.below(self.now.min(20) as usize) as u64;
        let other = 1 - region;
        let report = Report {
            asked,
            position: self.stores[region].position(),
            reached: reached(&self.stores, other, region),
            lag: self.now - copied_until(&self.stores, other, region, self.now),
        };
        self.coming.push((region, report));
    }

    fn deliver_report(&mut self) {
        let Some(last) = self.coming.len().checked_sub(1) else { return };
        let which = self.chance.below(last + 1);
        let (region, report) = self.coming.swap_remove(which);
        // One that comes late does not take the place of a newer one.
        if self.known[region].is_none_or(|known| known.asked < report.asked) {
            self.known[region] = Some(report);
        }
    }

    fn freeze_late_or_hear(&mut self) {
        if self.counted_before.is_some() {
            self.freeze_late();
        } else if let Some(last) = self.announcements.len().checked_sub(1) {
            let which = self.chance.below(last + 1);
            self.hear(which);
        }
    }

    fn lose_announcement(&mut self) {
        if let Some(last) = self.announcements.len().checked_sub(1) {
            let which = self.chance.below(last + 1);
            self.announcements.swap_remove(which);
        }
    }

    fn operate(&mut self) {
        let going = self.edges[0].owned.transfers().find(|transfer| !transfer.phase.is_over()).map(|t| t.id);
        let now = self.now;
        match (going, self.chance.below(10)) {
            (None, 0..7) => {
                let unplanned = !self.planned_only && self.chance.percent(30);
                self.happens(if unplanned { "unplanned" } else { "planned" });
                let owner = self.number(self.edges[0].ownership(&self.table).owner);
                let to = To::Region(name(1 - owner).into());
                let which = Which::Tenant(TENANT.into());
                let wanted = Wanted { which, to, unplanned, every: None };
                let id = self.edges[0].owned.next_transfer();
                self.edges[0].apply(&Change::Begin { id, wanted, total: 1 }, now).unwrap();
            }
            (Some(id), 0..2) => {
                self.happens("cancelled");
                // It may just have ended.
                let _ = self.edges[0].apply(&Change::Step { id, event: Event::Cancel }, now);
            }
            (_, 7..9) => {
                let subject = Subject::Tenant(TENANT.into());
                let change = match self.edges[0].owned.mark(&subject) {
                    Some(_) => Change::Unmark { subject },
                    None => Change::Mark { subject, mark: Mark::Frozen },
                };
                self.edges[0].apply(&change, now).unwrap();
            }
            _ => {}
        }
    }

    fn crash_edge(&mut self) {
        let edge = self.chance.below(2);
        self.happens("edge crashed");
        self.edges[edge].crash();
        for flight in &mut self.flights {
            if flight.edge == edge {
                flight.counted = false;
                if matches!(
                    flight.at,
                    At::Held | At::Decided { .. } | At::Answered { .. } | At::Refused { .. }
                ) {
                    flight.at = At::Over;
                }
            }
        }
        if edge == 0 {
            self.waits = None;
            self.counted_before = None;
            self.fence = None;
            self.announcements.iter_mut().for_each(|one| one.awaited = false);
        }
    }

    /// What it had passed on goes on at its region; nobody hears of it.
    fn crash_gateway(&mut self) {
        let here = self.chance.below(REGIONS);
        // A gateway that ends with writes under way cannot say that none is: the region ends them first.
        let passed: Vec<usize> = (0..self.flights.len())
            .filter(|at| matches!(self.flights[*at].at, At::Passed { at, .. } if at == here))
            .collect();
        passed.into_iter().for_each(|flight| self.fly(flight));
        self.happens("gateway crashed");
        self.gateways[here].crash();
        self.fenced[here] = None;
    }

    /// Nothing goes wrong any more: every transfer ends, and a write succeeds through both edges. What does not, is told.
    pub fn quiet_down(&mut self) -> Option<String> {
        let subject = Subject::Tenant(TENANT.into());
        if self.edges[0].owned.mark(&subject).is_some() {
            self.edges[0].apply(&Change::Unmark { subject }, self.now).unwrap();
        }
        for round in 0..400 {
            self.now += 3;
            self.freeze_late();
            self.drive();
            (0..self.announcements.len()).for_each(|one| self.hear(one));
            self.announcements.retain(|one| one.awaited || one.said.is_none());
            for from in 0..REGIONS {
                while replicate(&mut self.stores, from, 1 - from) {}
            }
            self.report();
            while !self.coming.is_empty() {
                self.deliver_report();
            }
            (0..self.flights.len()).for_each(|flight| self.fly(flight));
            self.flights.retain(|flight| flight.at != At::Over);
            self.look();
            if round == 200 {
                let going = self.edges[0].owned.transfers().any(|transfer| !transfer.phase.is_over());
                if going || self.edges[0].ownership(&self.table).state != State::Active {
                    return Some("a transfer does not end".to_owned());
                }
                self.done = 0;
                (0..2).for_each(|edge| self.ask(edge, true));
            }
        }
        (self.done < 2).then(|| "no write succeeds once all is quiet".to_owned())
    }
}

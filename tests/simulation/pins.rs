//! Clients that write and read, regions that copy from each other and report of it, late and not always.
//!
//! Held against what the copies truly have: no read that a pin bound is older than the write that it stands for.

use std::collections::BTreeMap;

use rhumb_decision::health::Status;
use rhumb_decision::operated::Now;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::pin::{Pin, PinUse, SKEW, Shown};
use rhumb_decision::units::{Epoch, Key, Millis, RegionId, Wall, Weight};
use rhumb_decision::{Course, Decision, Facts, Snapshot, decide};

use crate::chance::Chance;
use crate::table;
use crate::world::World;

const REGIONS: [&str; 4] = ["ap", "eu", "us", "za"];
const TENANTS: [&str; 4] = ["single", "multi", "strict", "passive"];
const EDGES: usize = 3;
/// The wall clock of an edge that goes right, when the run begins.
const BEGAN: u64 = 1_800_000_000_000;

const TABLE: &str = r#"
    tenancy.from = [{ host = "{tenant}.app.example" }]
    [regions]
    ap = { jurisdiction = "x", endpoints = ["10.0.0.1:80"], near = ["eu", "us"] }
    eu = { jurisdiction = "x", endpoints = ["10.0.0.2:80"], near = ["us"] }
    us = { jurisdiction = "x", endpoints = ["10.0.0.3:80"], near = ["eu"] }
    za = { jurisdiction = "x", endpoints = ["10.0.0.4:80"], role = "standby" }
    [policies]
    default = {}
    multi = { topology = "active-active" }
    passive = { topology = "active-passive" }
    strict = { reads = { on_pin_lost = "refuse", read_your_writes = "30s" } }
    [tenants]
    single = { home = "eu", standby = ["za", "us"], replicas = ["ap"] }
    multi = { home = "us", standby = ["eu", "ap"], policy = "multi" }
    strict = { home = "us", standby = ["eu"], replicas = ["ap", "za"], policy = "strict" }
    passive = { home = "eu", standby = ["us"], replicas = ["ap"], policy = "passive" }
"#;

/// A write, as a region took it: its place in the region's own order.
#[derive(Clone, Copy)]
struct Write {
    at: u64,
    position: u64,
}

/// One region as it is, and what was last heard of it.
#[derive(Default)]
struct Region {
    writes: Vec<Write>,
    /// Of each other region, everything that was written there up to then.
    has: [u64; REGIONS.len()],
    /// Taken down at one time, heard at a later one.
    on_its_way: Option<Report>,
    heard: Option<Report>,
}

#[derive(Clone, Copy)]
struct Report {
    asked_at: u64,
    lag: [Option<u64>; REGIONS.len()],
    reached: [Option<u64>; REGIONS.len()],
}

/// What a client keeps, and what it stands for.
#[derive(Clone, Copy)]
struct Kept {
    pin: Pin,
    region: usize,
    write: Write,
}

/// An edge: the snapshot that it has, and how wrong its clock goes.
struct Edge {
    snapshot: Snapshot,
    source: usize,
    ahead: i64,
}

/// Clients, edges and regions of one run.
pub struct Pins {
    chance: Chance,
    now: u64,
    world: World,
    regions: [Region; REGIONS.len()],
    edges: Vec<Edge>,
    kept: BTreeMap<&'static str, Kept>,
    /// How often each thing happened.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Pins {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let world = World::well(table::table(TABLE.parse().unwrap()));
        let edge = |source| Edge { snapshot: world.snapshot(), source, ahead: 0 };
        let edges = (0..EDGES).map(edge).collect();
        let now = 3_600_000 + chance.below(1_000) as u64;
        let regions = std::array::from_fn(|_| Region { has: [now; REGIONS.len()], ..Region::default() });
        let (kept, seen) = (BTreeMap::new(), BTreeMap::new());
        Self { chance, now, world, regions, edges, kept, seen }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.chance.below(100) {
            0..10 => self.write(),
            10..40 => self.read(),
            40..60 => self.copy(),
            60..88 => self.report(),
            88..92 => self.flap(),
            92..94 => self.transfer(),
            94..95 => self.restore(),
            95..97 => self.weigh(),
            _ => self.clock_goes_wrong(),
        }
        let longest = if self.chance.percent(3) { 20_000 } else { 700 };
        self.now += self.chance.below(longest) as u64;
        let snapshot = self.world.snapshot();
        for edge in &mut self.edges {
            if self.chance.percent(40) {
                edge.snapshot = snapshot.clone();
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// What `edge` decides, and when that is by its own clocks.
    fn decide(&self, edge: usize, tenant: &str, method: &str, pins: &[Pin]) -> (Decision, Now) {
        let edge = &self.edges[edge];
        let wall = Wall((BEGAN + self.now).saturating_add_signed(edge.ahead));
        let now = Now { at: Millis(self.now), wall };
        let host = format!("{tenant}.app.example");
        let facts = Facts {
            pin: Some(Shown { pins, now }).filter(|shown| !shown.pins.is_empty()),
            ..Facts::new(method, &host, "/", RegionId(edge.source as u8))
        };
        (decide(&facts, &edge.snapshot), now)
    }

    fn write(&mut self) {
        let (edge, tenant) = (self.chance.below(EDGES), self.chance.of(&TENANTS));
        let (decision, _) = self.decide(edge, tenant, "POST", &[]);
        let Course::Forward { region, .. } = decision.course else { return };
        let at = self.now;
        let taken = &mut self.regions[region.index()];
        let write = Write { at, position: taken.writes.last().map_or(1, |last| last.position + 1) };
        taken.writes.push(write);
        // The answer takes its time, and the region need not say its position.
        self.now += self.chance.below(300) as u64;
        let (_, then) = self.decide(edge, tenant, "POST", &[]);
        let position = self.chance.percent(60).then_some(u128::from(write.position));
        let pin = Pin {
            tenant: Key::of(tenant.as_bytes()),
            region: Key::of(REGIONS[region.index()].as_bytes()).0,
            at: then.wall,
            position,
        };
        self.kept.insert(tenant, Kept { pin, region: region.index(), write });
        self.count("written");
    }

    fn read(&mut self) {
        let (edge, tenant) = (self.chance.below(EDGES), self.chance.of(&TENANTS));
        // A client of several tenants shows what it has.
        let pins: Vec<Pin> = self.kept.values().map(|kept| kept.pin).collect();
        if pins.is_empty() {
            return;
        }
        let (decision, _) = self.decide(edge, tenant, "GET", &pins);
        let Some(used) = decision.pin else { panic!("a pin of {tenant} was not looked at") };
        self.count(used.code());
        let kept = self.kept.get(tenant).copied();
        assert_eq!(kept.is_none(), used == PinUse::Foreign, "{tenant} has a pin of its own or not");
        let Some(kept) = kept else { return };
        let Some(target) = decision.target() else {
            return self.count("refused");
        };
        if matches!(used, PinUse::Pinned | PinUse::Satisfied) {
            let (region, write) = (kept.region, kept.write);
            let has = target.index() == region || self.regions[target.index()].has[region] >= write.at;
            assert!(
                has,
                "{} answered {tenant} without write {} of {}, as {}",
                REGIONS[target.index()],
                write.position,
                REGIONS[region],
                used.code()
            );
            let by_position = kept.pin.position.is_some();
            self.count(match (used, by_position) {
                (PinUse::Pinned, _) => "followed",
                (_, true) => "satisfied with a position",
                (_, false) => "satisfied by lag alone",
            });
        }
    }

    /// A copy takes what the other regions have written, of each up to some moment.
    fn copy(&mut self) {
        let to = self.chance.below(REGIONS.len());
        for from in 0..REGIONS.len() {
            let behind = self.chance.below(3_000) as u64;
            let has = &mut self.regions[to].has[from];
            *has = (*has).max(self.now.saturating_sub(behind));
        }
    }

    /// A region is asked, or says what it was asked for, or that is heard.
    fn report(&mut self) {
        let at = self.chance.below(REGIONS.len());
        if let Some(report) = self.regions[at].on_its_way.take() {
            self.regions[at].heard = Some(report);
            return self.show(at);
        }
        let asked_at = self.now;
        self.now += self.chance.below(400) as u64; // then it looks
        let mut report = Report { asked_at, lag: [None; REGIONS.len()], reached: [None; REGIONS.len()] };
        for from in 0..REGIONS.len() {
            let has = self.regions[at].has[from];
            let last = self.regions[from].writes.iter().rev().find(|write| write.at <= has);
            report.lag[from] = self.chance.percent(80).then_some(self.now - has);
            report.reached[from] = last.map(|write| write.position).filter(|_| self.chance.percent(70));
        }
        self.regions[at].on_its_way = Some(report);
    }

    fn show(&mut self, at: usize) {
        let view = &mut self.world.health.regions[at];
        let heard = self.regions[at].heard;
        view.reported = heard.map(|report| Millis(report.asked_at));
        for from in 0..REGIONS.len() {
            view.lag[from] = heard.and_then(|report| report.lag[from]).map(Millis);
            view.reached[from] = heard.and_then(|report| report.reached[from]).map(u128::from);
        }
    }

    /// A region goes down, and later up. What it said before it went down is forgotten.
    fn flap(&mut self) {
        let region = self.chance.of(&REGIONS);
        let status = self.chance.of(&[Status::Up, Status::Up, Status::Down]);
        self.world.becomes(region, status);
    }

    /// A region comes back from a backup: its copies are older than they were. Every edge has seen it down meanwhile.
    fn restore(&mut self) {
        let at = self.chance.below(REGIONS.len());
        let back = self.chance.below(20_000) as u64;
        let region = &mut self.regions[at];
        region.has = region.has.map(|has| has.saturating_sub(back));
        (region.on_its_way, region.heard) = (None, None);
        self.show(at);
        let snapshot = self.world.snapshot();
        self.edges.iter_mut().for_each(|edge| edge.snapshot = snapshot.clone());
        self.count("restored");
    }

    fn transfer(&mut self) {
        let (tenant, owner) = (self.chance.of(&TENANTS), self.chance.below(REGIONS.len()));
        let epoch = self.world.moved.get(tenant).map_or(2, |moved| moved.epoch.0 + 1);
        let moved = Ownership { owner: RegionId(owner as u8), epoch: Epoch(epoch), state: State::Active };
        self.world.moved.insert(tenant.to_owned(), moved);
    }

    fn weigh(&mut self) {
        let (region, percent) = (self.chance.of(&REGIONS), self.chance.of(&[0, 50, 100]));
        self.world.weigh(region, Weight::percent(percent));
    }

    /// Any two clocks stay within what is said of them.
    fn clock_goes_wrong(&mut self) {
        let half = SKEW.0 as i64 / 2;
        let ahead = self.chance.below(SKEW.0 as usize + 1) as i64 - half;
        let at = self.chance.below(EDGES);
        self.edges[at].ahead = ahead;
    }
}

//! One case: what is given, what is asked, what is expected; and how a decision differs from that.

use std::collections::BTreeMap;
use std::path::Path;

use rhumb_decision::health::{Passive, Status};
use rhumb_decision::operated::Now;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::pin::{Pin, PinUse, Shown};
use rhumb_decision::reason::{FailoverReason, Refusal};
use rhumb_decision::units::{Epoch, Key, Millis, RegionId, Wall};
use rhumb_decision::{Attempt, Consistency, Course, Decision, Facts, Presented, decide};
use serde::Deserialize;

use crate::table;
use crate::world::World;

/// One file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The table of those cases that name none.
    table: Option<String>,
    case: Vec<Case>,
}

impl CaseFile {
    pub fn cases(self) -> impl Iterator<Item = Case> {
        let table = self.table;
        self.case.into_iter().map(move |mut case| {
            case.given.table = case.given.table.or_else(|| table.clone());
            case
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The rule, in one sentence.
    pub say: String,
    #[serde(default)]
    given: Given,
    #[serde(default)]
    ask: Ask,
    expect: Expect,
}

/// How the world differs from the table, all of whose regions are up.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Given {
    /// A file of `tests/cases/tables`; `three_regions` where neither case nor file names one.
    table: Option<String>,
    /// What `tenancy.unknown` says instead.
    unknown: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
    #[serde(default)]
    cells: BTreeMap<String, BTreeMap<String, f64>>,
    /// Places that are down, degraded, not asked yet: `region`, `region#0`, `region:capability`.
    #[serde(default)]
    down: Vec<String>,
    #[serde(default)]
    degraded: Vec<String>,
    #[serde(default)]
    not_asked: Vec<String>,
    /// Places that traffic has thrown out, or that one request may try.
    #[serde(default)]
    ejected: Vec<String>,
    #[serde(default)]
    on_trial: Vec<String>,
    /// How far a region's copy lags behind another: `us-east-1 = { eu-west-1 = "61s" }`.
    #[serde(default)]
    lag: BTreeMap<String, BTreeMap<String, String>>,
    /// Up to which of another region's positions a copy goes: `eu-west-1 = { us-east-1 = 12 }`.
    #[serde(default)]
    reached: BTreeMap<String, BTreeMap<String, u64>>,
    /// How long ago a region was asked for what it reports.
    #[serde(default)]
    reported: BTreeMap<String, String>,
    #[serde(default)]
    rtt: BTreeMap<String, String>,
    /// Ownership that was moved.
    #[serde(default)]
    owner: BTreeMap<String, OwnerDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerDoc {
    region: String,
    epoch: u64,
    #[serde(default = "active")]
    state: String,
}

fn active() -> String {
    "active".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ask {
    host: String,
    method: String,
    path: String,
    from: String,
    /// Values of the headers that may name a tenant.
    headers: Vec<String>,
    /// What the client's certificate says.
    spiffe_id: Option<String>,
    subject: Option<String>,
    body: bool,
    upgrade: bool,
    strong: bool,
    /// The pins that it shows.
    pins: Vec<PinDoc>,
    idempotency_key: bool,
    /// Whether it has waited as long as it may.
    waited: bool,
    zone: Option<String>,
    session: String,
    chance: u64,
    country: Option<String>,
    hour: u8,
    saturated: Vec<String>,
    /// Endpoints at which attempts have failed: `eu-west-1#0`.
    tried: Vec<String>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            host: "acme.app.example".into(),
            method: "GET".into(),
            path: "/v1/cases".into(),
            from: "eu-west-1".into(),
            headers: Vec::new(),
            spiffe_id: None,
            subject: None,
            body: false,
            upgrade: false,
            strong: false,
            pins: Vec::new(),
            idempotency_key: false,
            waited: false,
            zone: None,
            session: String::new(),
            chance: 0,
            country: None,
            hour: 0,
            saturated: Vec::new(),
            tried: Vec::new(),
        }
    }
}

/// A write that the client has made: where, and how long ago; `in` is a time to come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinDoc {
    region: String,
    ago: Option<String>,
    #[serde(rename = "in")]
    ahead: Option<String>,
    position: Option<u64>,
    #[serde(default = "acme")]
    tenant: String,
}

fn acme() -> String {
    "acme".into()
}

/// When every case is decided: long after the process began.
const NOW: Now = Now { at: Millis(3_600_000), wall: Wall(1_800_000_000_000) };

impl PinDoc {
    fn pin(&self) -> Pin {
        let span = |written: &Option<String>| written.as_deref().map_or(0, |span| table::millis(span).0);
        Pin {
            tenant: Key::of(self.tenant.as_bytes()),
            region: Key::of(self.region.as_bytes()).0,
            at: Wall(NOW.wall.0 + span(&self.ahead) - span(&self.ago)),
            position: self.position.map(u128::from),
        }
    }
}

/// What is not mentioned is not compared, but for `failover`; `"none"` is the absence of a value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    target: Option<String>,
    /// The endpoint's number within its region.
    endpoint: Option<u16>,
    refusal: Option<String>,
    /// How long it may wait, in milliseconds.
    hold: Option<u64>,
    status: Option<u16>,
    failover: Option<String>,
    #[serde(default)]
    verdicts: BTreeMap<String, String>,
    /// The candidates, in the order in which they were asked.
    order: Option<Vec<String>>,
    tenant: Option<String>,
    owner: Option<String>,
    epoch: Option<u64>,
    policy: Option<String>,
    route: Option<String>,
    operation: Option<String>,
    consistency: Option<String>,
    /// What became of the pin.
    pin: Option<String>,
    service: Option<String>,
    capability: Option<String>,
}

const NONE: &str = "none";

const STATES: [State; 6] = [
    State::Active,
    State::Frozen { waits: true },
    State::ReadOnly,
    State::Moving,
    State::Settling,
    State::Disputed,
];

impl Case {
    /// Decides, and says in which points the decision is not what the case expects.
    pub fn differences(&self) -> Vec<String> {
        let world = self.given.world();
        let snapshot = world.snapshot();
        let decision = self.ask.put(&world, |facts| decide(facts, &snapshot));
        self.expect.against(&decision, &world)
    }
}

impl Given {
    fn world(&self) -> World {
        let name = self.table.as_deref().unwrap_or("three_regions");
        let file = format!("{}/../../tests/cases/tables/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(Path::new(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let mut written: toml::Table = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        if let Some(unknown) = &self.unknown {
            written["tenancy"].as_table_mut().unwrap().insert("unknown".into(), unknown.as_str().into());
        }
        for (region, role) in &self.roles {
            let region = written["regions"][region].as_table_mut().unwrap();
            region.insert("role".into(), role.as_str().into());
        }
        let mut world = World::well(table::table(written));
        for (region, weight) in &self.weights {
            world.weigh(region, table::percent(*weight));
        }
        for (region, cells) in &self.cells {
            cells.iter().for_each(|(cell, weight)| world.weigh_cell(region, cell, table::percent(*weight)));
        }
        let states = [
            (&self.down, Status::Down),
            (&self.degraded, Status::Degraded),
            (&self.not_asked, Status::Unknown),
        ];
        for (places, status) in states {
            places.iter().for_each(|place| world.becomes(place, status));
        }
        self.ejected.iter().for_each(|place| world.traffic_says(place, Passive::Ejected));
        self.on_trial.iter().for_each(|place| world.traffic_says(place, Passive::OnTrial(1)));
        for (region, behind) in &self.lag {
            behind.iter().for_each(|(owner, lag)| world.lags(region, owner, table::millis(lag)));
        }
        for (region, of) in &self.reached {
            of.iter().for_each(|(source, position)| world.reaches(region, source, u128::from(*position)));
        }
        for (region, ago) in &self.reported {
            world.reported(region, Millis(NOW.at.0 - table::millis(ago).0));
        }
        for (region, round_trip) in &self.rtt {
            world.measured(region, table::millis(round_trip));
        }
        for (tenant, doc) in &self.owner {
            let state = STATES
                .into_iter()
                .find(|state| match state {
                    State::Settling => doc.state == "settling",
                    other => other.code() == doc.state,
                })
                .unwrap();
            let owner = world.region(&doc.region);
            world.moved.insert(tenant.clone(), Ownership { owner, epoch: Epoch(doc.epoch), state });
        }
        world
    }
}

impl Ask {
    fn put(&self, world: &World, to: impl FnOnce(&Facts<'_>) -> Decision) -> Decision {
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        let attempts = self.tried.iter().map(|place| world.endpoint(place));
        let tried: Vec<Attempt> = attempts.map(|(region, endpoint)| Attempt { region, endpoint }).collect();
        let pins: Vec<Pin> = self.pins.iter().map(PinDoc::pin).collect();
        let source = if self.from == "nowhere" { RegionId(255) } else { world.region(&self.from) };
        to(&Facts {
            tenant_headers: &headers,
            client: Presented { spiffe_id: self.spiffe_id.as_deref(), subject: self.subject.as_deref() },
            has_body: self.body,
            upgrade: self.upgrade,
            strong: self.strong,
            pin: Some(Shown { pins: &pins, now: NOW }).filter(|shown| !shown.pins.is_empty()),
            idempotency_key: self.idempotency_key,
            waited: self.waited,
            zone: self.zone.as_deref(),
            session: Key::of(self.session.as_bytes()),
            chance: Key(self.chance),
            country: self.country.as_deref().map(table::country),
            hour: self.hour,
            saturated: world.regions(&self.saturated),
            tried: &tried,
            ..Facts::new(&self.method, &self.host, &self.path, source)
        })
    }
}

impl Expect {
    fn against(&self, decision: &Decision, world: &World) -> Vec<String> {
        let courses = [self.target.is_some(), self.refusal.is_some(), self.hold.is_some()];
        assert!(
            courses.into_iter().filter(|is| *is).count() == 1,
            "a case expects either a target, a refusal or a hold"
        );
        let table = &world.table;
        let name = |region: Option<RegionId>| region.map_or(NONE, |region| table.region_name(region));
        let mut told = Told::default();
        told.hold("target", self.target.as_deref().or(Some(NONE)), name(decision.target()));
        told.hold(
            "refusal",
            self.refusal.as_deref().or(Some(NONE)),
            decision.refusal().map_or(NONE, Refusal::code),
        );
        let failover = decision.failover().map_or(NONE, FailoverReason::code);
        told.hold("failover", self.failover.as_deref().or(Some(NONE)), failover);
        let endpoint = match decision.course {
            Course::Forward { endpoint, .. } => Some(endpoint.0),
            Course::Hold { .. } | Course::Refuse { .. } => None,
        };
        let hold = match decision.course {
            Course::Hold { at_most } => Some(at_most.0),
            Course::Forward { .. } | Course::Refuse { .. } => None,
        };
        told.hold("hold", Some(self.hold), hold);
        told.hold("endpoint", self.endpoint.map(Some), endpoint);
        told.hold("status", self.status.map(Some), decision.refusal().map(Refusal::status));
        told.hold(
            "tenant",
            self.tenant.as_deref(),
            decision.tenant.map_or(NONE, |at| table.tenants().id(at)),
        );
        told.hold("owner", self.owner.as_deref(), name(decision.owner));
        told.hold("epoch", self.epoch.map(Some), decision.epoch.map(|epoch| epoch.0));
        let policy = table.policy(decision.policy).map_or(NONE, |policy| &policy.name);
        told.hold("policy", self.policy.as_deref(), policy);
        let route = decision.route.and_then(|route| table.route(route)).map_or(NONE, |route| &route.name);
        told.hold("route", self.route.as_deref(), route);
        told.hold("operation", self.operation.as_deref(), decision.operation.code());
        let consistency = decision.consistency.map_or(NONE, Consistency::code);
        told.hold("consistency", self.consistency.as_deref(), consistency);
        told.hold("pin", self.pin.as_deref(), decision.pin.map_or(NONE, PinUse::code));
        told.hold("service", self.service.as_deref(), table.service_name(decision.service));
        told.hold("capability", self.capability.as_deref(), table.capability_name(decision.capability));
        let candidates = decision.verdicts.as_slice();
        for (region, verdict) in &self.verdicts {
            let id = world.region(region);
            let found = candidates.iter().find(|candidate| candidate.region == id);
            let found = found.map_or(NONE, |candidate| candidate.verdict.code());
            told.hold(&format!("verdicts.{region}"), Some(verdict.as_str()), found);
        }
        let order: Vec<&str> = candidates.iter().map(|c| table.region_name(c.region)).collect();
        told.hold("order", self.order.as_ref().map(|o| o.iter().map(String::as_str).collect()), order);
        if !told.0.is_empty() {
            let all =
                candidates.iter().map(|c| format!("{} {}", table.region_name(c.region), c.verdict.code()));
            told.0.push(format!("    candidates: {}", all.collect::<Vec<_>>().join(", ")));
        }
        told.0
    }
}

#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn hold<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: Option<T>, found: T) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.0.push(format!("    {what}: expected {expected:?}, decided {found:?}"));
        }
    }
}

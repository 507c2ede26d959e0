//! Requests on their way, and what must never become of one.

use std::sync::Arc;

use rhumb_decision::ownership::State;
use rhumb_decision::policy::WritesTo;
use rhumb_decision::table::Operation;
use rhumb_decision::units::{Key, RegionId, RegionSet, Weight};
use rhumb_decision::{Attempt, Consistency, Course, Decision, Facts, Snapshot, decide};

use crate::chance::Chance;
use crate::spec::{EVIDENCE, LEDGER, SEARCH, policy};
use crate::tables::TENANTS;
use crate::truth::Published;

/// One request; it stays on the snapshot that it began with.
pub struct Request {
    pub on: Arc<Published>,
    pub tenant: &'static str,
    method: &'static str,
    path: &'static str,
    source: &'static str,
    strong: bool,
    session: u64,
    chance: u64,
    hour: u8,
    saturated: Option<String>,
    pub tried: Vec<Attempt>,
}

impl Request {
    pub fn new(chance: &mut Chance, on: Arc<Published>, source: &'static str, hour: u8) -> Self {
        let names: Vec<String> = on.spec.regions.keys().cloned().collect();
        let saturated =
            chance.percent(5).then(|| names.get(chance.below(names.len().max(1))).cloned()).flatten();
        Self {
            on,
            tenant: if chance.percent(10) { "stranger" } else { chance.of(&TENANTS) },
            method: chance.of(&["GET", "GET", "GET", "POST", "PUT", "DELETE"]),
            path: chance.of(&["/", "/v1/cases", SEARCH, LEDGER, EVIDENCE]),
            source,
            strong: chance.percent(20),
            session: chance.draw(),
            chance: chance.draw(),
            hour,
            saturated,
            tried: Vec::new(),
        }
    }

    pub fn decide(&self, snapshot: &Snapshot) -> Decision {
        let host = format!("{}.app.example", self.tenant);
        let id = |name: &str| snapshot.table().region_named(name);
        // An edge may stand in a region that the table no longer has.
        let source = id(self.source).unwrap_or(RegionId(255));
        let facts = Facts {
            strong: self.strong,
            session: Key(self.session),
            chance: Key(self.chance),
            hour: self.hour,
            saturated: self.saturated.iter().filter_map(|name| id(name)).collect::<RegionSet>(),
            tried: &self.tried,
            ..Facts::new(self.method, &host, self.path, source)
        };
        decide(&facts, snapshot)
    }

    /// Holds a decision against what was published, by names.
    pub fn never_what_must_not_be(&self, decision: &Decision) {
        let Self { on, tenant, path, .. } = self;
        let name = |region| on.snapshot.table().region_name(region);
        let row = on.spec.tenants.get(*tenant);
        let in_force = on.in_force(tenant);
        assert_eq!(decision.tenant.is_some(), row.is_some(), "{tenant} is in the table or not");
        let Course::Forward { region, endpoint, .. } = decision.course else { return };
        let target = name(region);
        let said = format!("{} {path} of {tenant} from {} to {target}", self.method, self.source);
        assert!(on.spec.may_reach(row, path, target), "outside the residency: {said}");
        let view = on.snapshot.health().region(region).and_then(|view| view.endpoint(endpoint)).unwrap();
        assert!(view.status(decision.capability).takes_traffic(), "to an endpoint that is unfit: {said}");
        assert!(!self.tried.contains(&Attempt { region, endpoint }), "tried already: {said}");
        let weighed = row.is_none() || decision.consistency == Some(Consistency::Local);
        assert!(!weighed || on.weights[target] > Weight::NONE, "to a region of weight 0: {said}");
        if self.tried.first().is_some_and(|first| first.region != region) {
            assert!(decision.operation == Operation::Read, "a write went on in another region: {said}");
        }
        let (Some(row), Some(in_force)) = (row, in_force) else { return };
        assert_eq!(decision.epoch.map(|epoch| epoch.0), Some(in_force.epoch), "another epoch: {said}");
        if decision.operation == Operation::Write {
            assert!(row.writes_at(target, &in_force.owner), "a write outside its owner: {said}");
            assert!(in_force.state == State::Active, "a write of a tenant that takes none: {said}");
        } else {
            assert!(row.reads_at(target, &in_force.owner), "a read outside its read set: {said}");
            let strong = decision.consistency == Some(Consistency::Strong);
            assert!(!strong || target == in_force.owner, "a strong read outside its owner: {said}");
        }
    }

    /// Whether only one region may take this tenant's writes.
    pub fn has_one_writer(&self) -> bool {
        let row = self.on.spec.tenants.get(self.tenant);
        row.is_some_and(|row| policy(row.policy).writes.to == WritesTo::Owner)
    }
}

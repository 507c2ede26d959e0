//! What holds for every decision, whatever the world and whatever the request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and says so by panicking"
)]

#[path = "properties/plans.rs"]
mod plans;
#[path = "harness/spec.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod spec;
#[path = "harness/table.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod table;
#[path = "harness/world.rs"]
#[allow(dead_code, reason = "each test file uses its own part of the harness")]
mod world;
#[path = "properties/worlds.rs"]
mod worlds;

use proptest::prelude::*;
use rhumb_decision::policy::{Sticky, WritesTo};
use rhumb_decision::reason::Verdict;
use rhumb_decision::table::{Operation, Role};
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{EndpointId, Key, Lot, RegionId, RegionSet, Weight};
use rhumb_decision::{Attempt, Consistency, Course, Facts, decide};

use spec::{RegionSpec, Spec, TenantSpec, policy};
use world::World;
use worlds::{Given, Request, given, request};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_path_leads_out_of_the_residency(given in given(), request in request()) {
        for target in journey(&given, &request) {
            let tenant = given.spec.tenants.get(&request.tenant);
            prop_assert!(given.spec.may_reach(tenant, &request.path, &target), "{target} is forbidden");
        }
    }

    #[test]
    fn weight_0_takes_no_local_read_and_no_placement(given in given(), request in request()) {
        let snapshot = given.world.snapshot();
        let decision = request.put(|facts| decide(facts, &snapshot));
        let weighed = decision.consistency == Some(Consistency::Local) || decision.tenant.is_none();
        if let Some(target) = decision.target().filter(|_| weighed) {
            prop_assert!(given.world.weights.region(target) > Weight::NONE);
        }
    }

    #[test]
    fn a_single_writers_writes_go_to_its_owner_alone(given in given(), request in request()) {
        let snapshot = given.world.snapshot();
        let decision = request.put(|facts| decide(facts, &snapshot));
        let Some(tenant) = given.spec.tenants.get(&request.tenant) else { return Ok(()) };
        let to = policy(tenant.policy).writes.to;
        if decision.operation == Operation::Write && to != WritesTo::Local {
            let (owner, epoch) = given.in_force(&request.tenant);
            prop_assert!(to == WritesTo::Owner || decision.target().is_none());
            if let Some(target) = decision.target() {
                prop_assert_eq!(given.world.table.region_name(target), owner);
                prop_assert_eq!(decision.owner, Some(target));
                prop_assert_eq!(decision.epoch.map(|epoch| epoch.0), Some(epoch));
            }
        }
    }

    #[test]
    fn a_read_stays_within_its_read_set(given in given(), request in request()) {
        let snapshot = given.world.snapshot();
        let decision = request.put(|facts| decide(facts, &snapshot));
        let Some(tenant) = given.spec.tenants.get(&request.tenant) else { return Ok(()) };
        if let Some(target) = decision.target().filter(|_| decision.operation == Operation::Read) {
            let (owner, _) = given.in_force(&request.tenant);
            let target = given.world.table.region_name(target);
            prop_assert!(tenant.reads_at(target, owner));
            prop_assert!(decision.consistency != Some(Consistency::Strong) || target == owner);
        }
    }

    #[test]
    fn the_same_facts_and_snapshot_give_the_same_decision(given in given(), request in request()) {
        let (one, other) = (given.world.snapshot(), given.world.clone().snapshot());
        let first = request.put(|facts| decide(facts, &one));
        prop_assert_eq!(&first, &request.put(|facts| decide(facts, &one)));
        prop_assert_eq!(&first, &request.put(|facts| decide(facts, &other)));
    }

    #[test]
    fn a_tenants_reads_are_never_split(given in given(), request in request(), others in prop::collection::vec(any::<u64>(), 4)) {
        let Some(tenant) = given.spec.tenants.get(&request.tenant) else { return Ok(()) };
        if policy(tenant.policy).sticky != Sticky::Tenant {
            return Ok(());
        }
        let snapshot = given.world.snapshot();
        let first = request.put(|facts| decide(facts, &snapshot));
        for other in others {
            let again = Request { chance: other, session: other.rotate_left(7), ..request.clone() };
            let again = again.put(|facts| decide(facts, &snapshot));
            prop_assert_eq!((first.target(), first.refusal()), (again.target(), again.refusal()));
        }
    }

    #[test]
    fn every_region_is_judged_at_most_once_and_one_is_chosen_when_one_takes_it(given in given(), request in request()) {
        let snapshot = given.world.snapshot();
        let decision = request.put(|facts| decide(facts, &snapshot));
        let mut seen = RegionSet::EMPTY;
        for candidate in decision.verdicts.as_slice() {
            prop_assert!(!seen.contains(candidate.region), "{:?} is judged twice", candidate.region);
            seen.insert(candidate.region);
            let chosen = candidate.verdict == Verdict::Chosen;
            prop_assert_eq!(chosen, decision.target() == Some(candidate.region));
        }
        prop_assert!(decision.target().is_none_or(|target| seen.contains(target)));
    }

    #[test]
    fn an_endpoint_is_fit_untried_and_of_its_region(given in given(), request in request()) {
        let snapshot = given.world.snapshot();
        let decision = request.put(|facts| decide(facts, &snapshot));
        if let Course::Forward { region, endpoint, .. } = decision.course {
            let view = snapshot.health().region(region).and_then(|view| view.endpoint(endpoint)).unwrap();
            prop_assert!(view.status(decision.capability).takes_traffic());
            prop_assert!(!request.tried.contains(&(region.0, endpoint.0)));
            prop_assert!(!request.saturated.contains(&region.0));
        }
    }

    #[test]
    fn nothing_that_a_client_or_an_edge_says_makes_a_decision_panic(
        given in given(),
        (host, path, method) in (".{0,60}", ".{0,60}", ".{0,12}"),
        names in prop::collection::vec(".{0,140}", 0..3),
        source in any::<u8>(),
        tried in prop::collection::vec((any::<u8>(), any::<u16>()), 0..6),
        saturated in prop::collection::vec(any::<u8>(), 0..6),
        (hour, country, chance, flags) in (any::<u8>(), any::<Option<[u8; 2]>>(), any::<u64>(), any::<[bool; 4]>()),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tried: Vec<Attempt> = tried
            .into_iter()
            .map(|(region, endpoint)| Attempt { region: RegionId(region), endpoint: EndpointId(endpoint) })
            .collect();
        let [has_body, upgrade, strong, idempotency_key] = flags;
        let facts = Facts {
            tenant_headers: &names, has_body, upgrade, strong, idempotency_key, country, hour,
            zone: Some(&host), session: Key(chance), chance: Key(chance), tried: &tried,
            saturated: saturated.into_iter().map(RegionId).collect(),
            ..Facts::new(&method, &host, &path, RegionId(source))
        };
        let decision = decide(&facts, &given.world.snapshot());
        prop_assert!(decision.target().is_some() != decision.refusal().is_some());
    }

    #[test]
    fn a_weight_takes_exactly_what_a_lower_one_takes_and_the_lots_between(place in any::<u64>(), key in any::<u64>(), low in 0_u16..=10_000, more in 0_u16..=10_000) {
        let lot = Lot::draw(place, Key(key));
        let (low, high) = (low.min(more), low.max(more));
        let takes = |weight| Weight::hundredths(weight).takes(lot);
        prop_assert!(!takes(low) || takes(high));
        prop_assert!(takes(10_000) && !takes(0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_drain_moves_only_its_own_keys_and_raising_it_brings_the_same_ones_back(
        given in given(),
        region in any::<prop::sample::Index>(),
        percent in 1_u8..=100,
        source in any::<prop::sample::Index>(),
    ) {
        let count = given.world.table.regions().len();
        let drained = RegionId(region.index(count) as u8);
        let source = RegionId(source.index(count) as u8);
        let mut given = given;
        given.crowd(500);
        let at = |percent: u8| {
            let mut world = given.world.clone();
            world.weights = world.weights.with_region(drained, Weight::percent(percent));
            let snapshot = world.snapshot();
            given.spec.tenants.keys().map(|tenant| {
                let host = format!("{tenant}.app.example");
                decide(&Facts::new("GET", &host, "/", source), &snapshot).target()
            }).collect::<Vec<_>>()
        };
        let (before, after, again) = (at(percent), at(percent - 1), at(percent));
        prop_assert_eq!(&before, &again);
        let hash = given.world.table.region(drained).unwrap().hash;
        let mut moved = 0;
        for ((tenant, before), after) in given.spec.tenants.keys().zip(&before).zip(&after) {
            let lot = Lot::draw(hash, Key::of(tenant.as_bytes()));
            let between = !Weight::percent(percent - 1).takes(lot) && Weight::percent(percent).takes(lot);
            // The last step to 0 moves besides what stayed only because no region's lot covered it.
            let left = *before == Some(drained) && (between || percent == 1);
            prop_assert!(before == after || left, "{tenant} moved from {before:?} to {after:?}");
            moved += usize::from(between && before != after);
        }
        // One percent of 500 keys is 5.
        prop_assert!(moved <= 25, "{moved} keys moved by one percent");
    }
}

#[test]
fn a_drain_to_nothing_takes_a_hundred_steps_of_one_percent() {
    const TENANTS: usize = 5_000;
    let region = |jurisdiction| RegionSpec {
        jurisdiction,
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: 1,
        cells: false,
        gateway: false,
    };
    let tenant = TenantSpec {
        home: "eu-west-1".into(),
        standby: Vec::new(),
        replicas: vec!["us-east-1".into()],
        residency: Vec::new(),
        epoch: 1,
        policy: "default",
        state: TenantState::Active,
    };
    let spec = Spec {
        regions: [("eu-west-1", "eu"), ("us-east-1", "us")].map(|(n, j)| (n.to_owned(), region(j))).into(),
        tenants: (0..TENANTS).map(|i| (format!("tenant-{i}"), tenant.clone())).collect(),
        unknown: None,
    };
    let mut world = World::well(spec.table().unwrap());
    let (eu, us) = (world.region("eu-west-1"), world.region("us-east-1"));
    let hosts: Vec<String> = spec.tenants.keys().map(|tenant| format!("{tenant}.app.example")).collect();
    let mut at = |percent: u8| -> Vec<RegionId> {
        world.weigh("eu-west-1", Weight::percent(percent));
        let snapshot = world.snapshot();
        hosts.iter().map(|h| decide(&Facts::new("GET", h, "/", eu), &snapshot).target().unwrap()).collect()
    };
    let mut before = at(100);
    assert!(before.iter().all(|target| *target == eu));
    for percent in (0..100).rev() {
        let after = at(percent);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let back =
            before.iter().zip(&after).filter(|(before, after)| **before == us && **after == eu).count();
        assert_eq!(back, 0, "a tenant came back while the weight fell to {percent}");
        assert!(
            (20..=90).contains(&moved),
            "{moved} of {TENANTS} tenants moved at {percent}, about 50 expected"
        );
        assert_eq!(at(percent + 1), before, "raising the weight to {} brings others back", percent + 1);
        before = after;
    }
    assert!(before.iter().all(|target| *target == us));
}

#[test]
fn as_many_cells_as_a_region_may_have_are_all_served() {
    let region = RegionSpec {
        jurisdiction: "eu",
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: 256,
        cells: true,
        gateway: false,
    };
    let tenant = TenantSpec {
        home: "eu-west-1".into(),
        standby: Vec::new(),
        replicas: Vec::new(),
        residency: Vec::new(),
        epoch: 1,
        policy: "default",
        state: TenantState::Active,
    };
    let spec = Spec {
        regions: [("eu-west-1".to_owned(), region)].into(),
        tenants: (0..5_000).map(|i| (format!("t{i}"), tenant.clone())).collect(),
        unknown: None,
    };
    let snapshot = World::well(spec.table().unwrap()).snapshot();
    let mut served = [false; 256];
    for id in spec.tenants.keys() {
        let host = format!("{id}.app.example");
        match decide(&Facts::new("POST", &host, "/", RegionId(0)), &snapshot).course {
            Course::Forward { endpoint, .. } => served[endpoint.index()] = true,
            other => panic!("{id} is not served: {other:?}"),
        }
    }
    assert_eq!(served, [true; 256]);
}

/// Where the request goes, then where each retry goes, until nobody is left.
fn journey(given: &Given, request: &Request) -> Vec<String> {
    let snapshot = given.world.snapshot();
    let mut request = request.clone();
    let mut targets = Vec::new();
    for _ in 0..32 {
        let decision = request.put(|facts| decide(facts, &snapshot));
        let Course::Forward { region, endpoint, .. } = decision.course else { break };
        targets.push(snapshot.table().region_name(region).to_owned());
        request.tried.push((region.0, endpoint.0));
    }
    targets
}

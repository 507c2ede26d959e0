//! One test for each rule of the decision, in the order of the rules, and one for ties.

use rhumb_decision::health::Status;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::reason::{FailoverReason, Refusal, Verdict};
use rhumb_decision::table::Operation;
use rhumb_decision::units::{Epoch, Millis, RegionSet, Weight};
use rhumb_decision::{Attempt, Consistency, Decision, Facts, decide};

use crate::table::table;
use crate::world::World;

fn world(name: &str) -> World {
    let text = match name {
        "three_regions" => include_str!("../cases/tables/three_regions.toml"),
        "five_regions" => include_str!("../cases/tables/five_regions.toml"),
        "jurisdictions" => include_str!("../cases/tables/jurisdictions.toml"),
        other => panic!("there is no table {other:?}"),
    };
    World::well(table(text.parse().unwrap()))
}

fn get<'a>(world: &World, host: &'a str, from: &str) -> Facts<'a> {
    Facts::new("GET", host, "/v1/cases", world.region(from))
}

fn post<'a>(world: &World, host: &'a str, from: &str) -> Facts<'a> {
    Facts { method: "POST", ..get(world, host, from) }
}

fn target(world: &World, facts: &Facts<'_>) -> String {
    let decision = decide(facts, &world.snapshot());
    decision.target().map_or_else(String::new, |region| world.table.region_name(region).to_owned())
}

fn verdicts(world: &World, decision: &Decision) -> Vec<(String, Verdict)> {
    let name = |region| world.table.region_name(region).to_owned();
    decision.verdicts.as_slice().iter().map(|c| (name(c.region), c.verdict)).collect()
}

#[test]
fn rule_1_only_a_normalised_host_names_a_tenant() {
    let world = world("three_regions");
    assert_eq!(target(&world, &get(&world, "acme.app.example", "eu-west-1")), "eu-west-1");
    for host in ["ACME.APP.EXAMPLE", "acme.app.example.", "acme.app.example:8443"] {
        let decision = decide(&get(&world, host, "eu-west-1"), &world.snapshot());
        assert_eq!(decision.refusal(), Some(Refusal::TenantMissing), "{host}");
    }
}

#[test]
fn rule_2_a_conflict_is_told_before_an_unknown_tenant_and_that_before_an_unfit_region() {
    let mut world = world("three_regions");
    world.becomes("eu-west-1", Status::Down);
    let refusal = |host: &str, header: &[&str]| {
        let facts = Facts { tenant_headers: header, ..post(&world, host, "eu-west-1") };
        decide(&facts, &world.snapshot()).refusal()
    };
    assert_eq!(refusal("nobody.app.example", &["acme"]), Some(Refusal::TenantConflict));
    assert_eq!(refusal("nobody.app.example", &[]), Some(Refusal::TenantUnknown));
    assert_eq!(refusal("acme.app.example", &[]), Some(Refusal::OwnerUnavailable));
}

#[test]
fn rule_3_the_first_route_that_matches_speaks_and_the_method_only_where_none_does() {
    let world = world("three_regions");
    let snapshot = world.snapshot();
    let search = Facts { path: "/v1/cases/search", ..post(&world, "acme.app.example", "eu-west-1") };
    assert_eq!(decide(&search, &snapshot).operation, Operation::Read);
    let plain = Facts { path: "/v1/cases", ..search };
    assert_eq!(decide(&plain, &snapshot).operation, Operation::Write);
}

#[test]
fn rule_4_a_strong_read_of_route_or_client_overrides_the_local_one() {
    let world = world("three_regions");
    let snapshot = world.snapshot();
    let local = get(&world, "globex.app.example", "eu-west-1");
    assert_eq!(decide(&local, &snapshot).consistency, Some(Consistency::Local));
    let by_client = Facts { strong: true, ..local };
    let by_route = Facts { path: "/v1/ledger", ..local };
    for facts in [by_client, by_route] {
        let decision = decide(&facts, &snapshot);
        assert_eq!(decision.consistency, Some(Consistency::Strong));
        assert_eq!(decision.target(), Some(world.region("us-east-1")));
    }
}

#[test]
fn rule_5_a_write_goes_to_the_owner_and_is_never_sent_elsewhere() {
    let mut world = world("three_regions");
    assert_eq!(target(&world, &post(&world, "globex.app.example", "eu-west-1")), "us-east-1");
    world.becomes("us-east-1", Status::Down);
    let decision = decide(&post(&world, "globex.app.example", "eu-west-1"), &world.snapshot());
    assert_eq!(decision.refusal(), Some(Refusal::OwnerUnavailable));
    assert_eq!(verdicts(&world, &decision), [("us-east-1".into(), Verdict::Unhealthy)]);
}

#[test]
fn rule_6_a_strong_read_goes_to_the_owner_past_every_nearer_copy() {
    let world = world("three_regions");
    let facts = Facts { strong: true, ..get(&world, "everywhere.app.example", "us-east-1") };
    assert_eq!(target(&world, &facts), "eu-west-1");
}

#[test]
fn rule_7_the_filters_speak_in_their_order() {
    // Everything is wrong with the source region at once; what speaks is taken away, one by one.
    let mut world = world("three_regions");
    let tried: Vec<Attempt> = ["us-east-1#0"]
        .map(|place| world.endpoint(place))
        .map(|(region, endpoint)| Attempt { region, endpoint })
        .into();
    let full: RegionSet = [world.region("us-east-1")].into_iter().collect();
    world.weigh("us-east-1", Weight::NONE);
    world.lags("us-east-1", "eu-west-1", Millis(3_600_000));
    world.becomes("us-east-1", Status::Down);
    let told = |world: &World, tenant: &str, saturated: RegionSet| {
        let host = format!("{tenant}.app.example");
        let facts = Facts { saturated, tried: &tried, ..get(world, &host, "us-east-1") };
        decide(&facts, &world.snapshot()).verdicts.as_slice()[0].verdict
    };
    let off = {
        let text = include_str!("../cases/tables/three_regions.toml")
            .replace("countries = [\"US\", \"CA\"]", "role = \"off\"");
        World { table: World::well(table(text.parse().unwrap())).table, ..world.clone() }
    };
    assert_eq!(told(&off, "acme", full), Verdict::Residency);
    assert_eq!(told(&off, "lonely", full), Verdict::NoReplica);
    assert_eq!(told(&off, "everywhere", full), Verdict::Role);
    assert_eq!(told(&world, "everywhere", full), Verdict::Unhealthy);
    world.becomes("us-east-1", Status::Up);
    assert_eq!(told(&world, "everywhere", full), Verdict::Stale);
    world.lags("us-east-1", "eu-west-1", Millis(0));
    assert_eq!(told(&world, "everywhere", full), Verdict::Drained);
    world.weigh("us-east-1", Weight::FULL);
    assert_eq!(told(&world, "everywhere", full), Verdict::Saturated);
    assert_eq!(told(&world, "everywhere", RegionSet::EMPTY), Verdict::Tried);
}

#[test]
fn rule_8_weights_rule_reads_and_not_writes() {
    let mut world = world("three_regions");
    world.weigh("eu-west-1", Weight::NONE);
    let snapshot = world.snapshot();
    let read = decide(&get(&world, "acme.app.example", "eu-west-1"), &snapshot);
    assert_eq!(read.failover(), Some(FailoverReason::Drained));
    let write = decide(&post(&world, "acme.app.example", "eu-west-1"), &snapshot);
    assert_eq!(write.target(), Some(world.region("eu-west-1")));
}

#[test]
fn rule_9_a_placement_is_for_those_whom_nobody_owns() {
    let world = world("jurisdictions");
    assert_eq!(target(&world, &post(&world, "stranger.app.example", "us-east-1")), "us-east-1");
    assert_eq!(target(&world, &post(&world, "acme.app.example", "us-east-1")), "eu-west-1");
}

#[test]
fn rule_10_residency_beats_ownership() {
    let mut world = world("three_regions");
    let moved = Ownership { owner: world.region("us-east-1"), epoch: Epoch(99), state: State::Active };
    world.moved.insert("acme".into(), moved);
    let decision = decide(&post(&world, "acme.app.example", "us-east-1"), &world.snapshot());
    assert_eq!((decision.target(), decision.refusal()), (None, Some(Refusal::Residency)));
}

#[test]
fn rule_11_the_refusal_is_the_most_telling_one() {
    let mut world = world("jurisdictions");
    let evidence = Facts { path: "/v1/evidence", ..get(&world, "acme.app.example", "eu-west-1") };
    let refusal = |world: &World, facts: &Facts<'_>| decide(facts, &world.snapshot()).refusal();
    assert_eq!(refusal(&world, &evidence), Some(Refusal::Residency));
    let both = [world.region("eu-west-1"), world.region("eu-central-1")].into_iter().collect();
    let full = Facts { path: "/v1/cases", saturated: both, ..evidence };
    assert_eq!(refusal(&world, &full), Some(Refusal::Overloaded));
    ["eu-west-1", "eu-central-1"].iter().for_each(|region| world.becomes(region, Status::Down));
    assert_eq!(refusal(&world, &full), Some(Refusal::NoRegion));
    assert_eq!(refusal(&world, &evidence), Some(Refusal::NoRegion));
}

#[test]
fn ties_of_distance_go_by_name() {
    let mut world = world("five_regions");
    for (region, millis) in [("us-west-2", 20), ("eu-west-1", 21), ("ap-south-1", 24), ("eu-central-1", 19)] {
        world.measured(region, Millis(millis));
    }
    let source = world.region("us-east-1");
    let order: Vec<String> =
        world.snapshot().preference(source).iter().map(|r| world.table.region_name(*r).to_owned()).collect();
    assert_eq!(order, ["us-east-1", "eu-central-1", "ap-south-1", "eu-west-1", "us-west-2"]);
}

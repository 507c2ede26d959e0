//! A small world that the tests of signals and of the admin side share: two regions in Europe and one in America.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::draft::{Draft, EndpointDraft, RegionDraft, RouteDraft, TenancyDraft, TenantRow};
use rhumb_decision::health::{EndpointView, HealthView, Passive, RegionView, Status};
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::table::{
    Address, Check, CheckKind, HostTemplate, PathPattern, PathTemplate, Role, Source, Table,
};
use rhumb_decision::units::{Generation, Millis, RegionId, Weight};
use rhumb_decision::{Decision, Snapshot, Weights};

use crate::telemetry::Finished;

const REGIONS: [(&str, &str); 3] = [("eu-central-1", "eu"), ("eu-west-1", "eu"), ("us-east-1", "us")];

fn region(at: u16, name: &str, jurisdiction: &str) -> RegionDraft {
    let near: &[&str] = if name == "eu-west-1" { &["eu-central-1"] } else { &[] };
    RegionDraft {
        jurisdiction: jurisdiction.into(),
        role: Role::Active,
        weight: Weight::FULL,
        near: Some(near.iter().map(ToString::to_string).collect()),
        countries: Vec::new(),
        capacity: Some(1_000),
        max_in_flight: None,
        gateway: false,
        check: Check {
            kind: CheckKind::Http { path: "/health".into() },
            interval: Millis(2_000),
            timeout: Millis(1_000),
            rise: 2,
            fall: 3,
        },
        tls: None,
        http2: false,
        cells: if at == 2 { BTreeMap::from([("a".into(), Weight::percent(40))]) } else { BTreeMap::new() },
        endpoints: vec![EndpointDraft {
            address: Address::Socket(([127, 0, 0, 1], 1_000 + at).into()),
            zone: Some(format!("{name}a")),
            cell: (at == 2).then(|| "a".into()),
            weight: 1,
        }],
    }
}

/// The table; the tenants are `acme` at home in America, with a copy in Europe, and `globex`, at home in Europe and
/// bound to it.
pub(crate) fn table(with_us: bool) -> Table {
    let regions = (0..).zip(REGIONS).filter(|(_, (name, _))| with_us || *name != "us-east-1");
    let draft = Draft {
        tenancy: TenancyDraft {
            from: vec![
                Source::Host(HostTemplate { before: "".into(), after: ".app.example".into() }),
                Source::Header("x-tenant-id".into()),
                Source::Path(PathTemplate { before: "/t/".into(), after: "".into() }),
            ],
            ..TenancyDraft::default()
        },
        regions: regions.map(|(at, (name, j))| (name.to_owned(), region(at, name, j))).collect(),
        routes: vec![RouteDraft {
            name: "case-write".into(),
            path: Some(PathPattern::Under("/v1/cases".into())),
            methods: Some(vec!["POST".into()]),
            service: Some("case-service".into()),
            capability: Some("case.write".into()),
            ..RouteDraft::default()
        }],
        ..Draft::default()
    };
    let (mut builder, faults) = draft.build();
    assert!(faults.is_empty(), "{faults:?}");
    if with_us {
        let acme = TenantRow {
            id: "acme",
            home: "us-east-1",
            replicas: "eu-west-1",
            epoch: "7",
            ..TenantRow::default()
        };
        builder.tenant(&acme, 1).unwrap();
    }
    let globex = TenantRow {
        id: "globex",
        home: "eu-west-1",
        standby: "eu-central-1",
        residency: "eu",
        ..TenantRow::default()
    };
    builder.tenant(&globex, 2).unwrap();
    builder.finish().unwrap_or_else(|repeated| panic!("{repeated:?}"))
}

fn up(table: &Table, lag: Option<Millis>) -> HealthView {
    let view = |region: &rhumb_decision::table::Region| RegionView {
        endpoints: region
            .endpoints
            .iter()
            .map(|endpoint| EndpointView {
                address: match endpoint.address {
                    Address::Socket(address) => address,
                    _ => unreachable!("the table above names sockets only"),
                },
                declared: 0,
                zone: endpoint.zone.clone(),
                cell: endpoint.cell,
                weight: 1,
                checked: Status::Up,
                capabilities: Box::new([]),
                passive: Passive::Trusted,
            })
            .collect(),
        lag: table
            .region_ids()
            .map(|of| lag.filter(|_| table.region_name(of) == "us-east-1" && *region.name == *"eu-west-1"))
            .collect(),
        ..RegionView::default()
    };
    HealthView { regions: table.regions().iter().map(view).collect() }
}

fn with(generation: u64, table: Table, lag: Option<Millis>) -> Snapshot {
    let (health, weights) = (up(&table, lag), Weights::configured(&table));
    Snapshot::new(Generation(generation), Arc::new(table), health, Ownerships::default(), weights)
}

/// Everything is up; Europe lags 0.8 s behind America.
pub(crate) fn snapshot(generation: u64) -> Snapshot {
    with(generation, table(true), Some(Millis(800)))
}

/// The same, with no lag reported.
pub(crate) fn without_lag(generation: u64) -> Snapshot {
    with(generation, table(true), None)
}

/// Europe alone.
pub(crate) fn without_us(generation: u64) -> Snapshot {
    with(generation, table(false), None)
}

/// The same with this region at weight 0.
pub(crate) fn drained(snapshot: &Snapshot, region: &str) -> Snapshot {
    let table = snapshot.table();
    let weights = snapshot.weights().clone().with_region(table.region_named(region).unwrap(), Weight::NONE);
    let (health, ownership) = (snapshot.health().clone(), snapshot.ownership().clone());
    Snapshot::new(snapshot.generation(), Arc::clone(table), health, ownership, weights)
}

/// A request that ended.
pub(crate) fn finished<'a>(
    snapshot: &'a Snapshot,
    source: RegionId,
    decision: Option<&'a Decision>,
    status: u16,
) -> Finished<'a> {
    Finished {
        snapshot,
        decision,
        refusal: None,
        source,
        status,
        attempts: 0,
        duration: Duration::from_millis(2),
        region_duration: None,
        request_bytes: 10,
        response_bytes: 20,
        client: Some([192, 0, 2, 7].into()),
        client_identity: None,
        method: "POST",
        host: "acme.app.example",
        path: "/v1/cases",
        request_id: "id",
        trace_id: "",
        endpoint: None,
        wall: Duration::from_millis(1_785_319_200_042),
        traced: None,
    }
}

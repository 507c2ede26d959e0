//! A routing table from the keys of `routing.toml`, for the tests of the pure crate alone.
//!
//! Why: the real reader lives with files and watchers, which the decision must not need. Never: forgives a mistake;
//! a table that a test wrote badly is the test's fault, and panics.

use std::collections::BTreeMap;

use rhumb_decision::draft::{
    Draft, EndpointDraft, Hours, PlacementDraft, RegionDraft, RouteDraft, TenancyDraft, TenantRow,
};
use rhumb_decision::policy::{Idempotency, OnPinLost, Policy, ReadsFrom, Sticky, Topology, WritesTo};
use rhumb_decision::spiffe::Template;
use rhumb_decision::table::{
    Address, CertificateSource, Check, CheckKind, HostPattern, HostTemplate, Operation, PathPattern,
    PathTemplate, Role, Safety, Source, Table,
};
use rhumb_decision::units::{Millis, Weight};
use serde::Deserialize;

/// The table that `written` describes.
pub fn table(written: toml::Table) -> Table {
    let doc: TableDoc = written.try_into().unwrap_or_else(|error| panic!("not a table: {error}"));
    doc.build()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableDoc {
    tenancy: TenancyDoc,
    regions: BTreeMap<String, RegionDoc>,
    #[serde(default)]
    policies: BTreeMap<String, PolicyDoc>,
    #[serde(default)]
    routes: Vec<RouteDoc>,
    #[serde(default)]
    data_classes: BTreeMap<String, ClassDoc>,
    #[serde(default)]
    placements: BTreeMap<String, PlacementDoc>,
    #[serde(default)]
    tenants: BTreeMap<String, TenantDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenancyDoc {
    from: Vec<SourceDoc>,
    unknown: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SourceDoc {
    Host(String),
    Header(String),
    Path(String),
    Certificate(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionDoc {
    jurisdiction: String,
    endpoints: Vec<EndpointDoc>,
    near: Option<Vec<String>>,
    weight: Option<f64>,
    role: Option<String>,
    #[serde(default)]
    countries: Vec<String>,
    #[serde(default)]
    cells: BTreeMap<String, CellDoc>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndpointDoc {
    Plain(String),
    Full { address: String, zone: Option<String>, cell: Option<String>, weight: Option<u16> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CellDoc {
    weight: f64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PolicyDoc {
    topology: Option<String>,
    sticky: Option<String>,
    #[serde(default)]
    reads: ReadsDoc,
    #[serde(default)]
    writes: WritesDoc,
    #[serde(default)]
    retries: RetriesDoc,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReadsDoc {
    from: Option<String>,
    failover: Option<bool>,
    max_staleness: Option<String>,
    read_your_writes: Option<String>,
    on_pin_lost: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WritesDoc {
    to: Option<String>,
    idempotency: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RetriesDoc {
    across_regions: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteDoc {
    name: String,
    host: Option<String>,
    path: Option<String>,
    methods: Option<Vec<String>>,
    operation: Option<String>,
    service: Option<String>,
    capability: Option<String>,
    data_class: Option<String>,
    consistency: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassDoc {
    jurisdictions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacementDoc {
    by: String,
    #[serde(default)]
    shares: BTreeMap<String, u32>,
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    hours: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantDoc {
    home: String,
    #[serde(default)]
    standby: Vec<String>,
    #[serde(default)]
    replicas: Vec<String>,
    #[serde(default)]
    residency: Vec<String>,
    epoch: Option<u64>,
    policy: Option<String>,
    cell: Option<String>,
    state: Option<String>,
}

impl TableDoc {
    fn build(self) -> Table {
        let draft = Draft {
            tenancy: TenancyDraft {
                from: self.tenancy.from.into_iter().map(SourceDoc::meaning).collect(),
                unknown: self.tenancy.unknown,
                session_cookie: None,
            },
            regions: self.regions.into_iter().map(|(name, doc)| (name, doc.meaning())).collect(),
            policies: self.policies.into_iter().map(|(name, doc)| (name, doc.meaning())).collect(),
            routes: self.routes.into_iter().map(RouteDoc::meaning).collect(),
            data_classes: self
                .data_classes
                .into_iter()
                .map(|(name, doc)| (name, doc.jurisdictions))
                .collect(),
            placements: self.placements.into_iter().map(|(name, doc)| (name, doc.meaning())).collect(),
            safety: Safety::default(),
        };
        let (mut builder, faults) = draft.build();
        assert!(faults.is_empty(), "the table has faults: {faults:#?}");
        for (id, doc) in &self.tenants {
            let (standby, replicas, residency) =
                (doc.standby.join(" "), doc.replicas.join(" "), doc.residency.join(" "));
            let epoch = doc.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
            let row = TenantRow {
                id,
                home: &doc.home,
                standby: &standby,
                replicas: &replicas,
                residency: &residency,
                epoch: &epoch,
                policy: doc.policy.as_deref().unwrap_or_default(),
                cell: doc.cell.as_deref().unwrap_or_default(),
                state: doc.state.as_deref().unwrap_or_default(),
            };
            let added = builder.tenant(&row, 0);
            assert!(added.is_ok(), "tenant {id} has faults: {added:#?}");
        }
        builder.finish().unwrap()
    }
}

impl SourceDoc {
    fn meaning(self) -> Source {
        match self {
            Self::Header(name) => Source::Header(name.to_ascii_lowercase().into()),
            Self::Host(template) => {
                let (before, after) = template.split_once("{tenant}").unwrap();
                Source::Host(HostTemplate { before: before.into(), after: after.into() })
            }
            Self::Path(template) => {
                let (before, after) = template.split_once("{tenant}").unwrap();
                Source::Path(PathTemplate { before: before.into(), after: after.into() })
            }
            Self::Certificate(source) => Source::Certificate(match source.as_str() {
                "uri" => CertificateSource::Uri,
                "subject" => CertificateSource::Subject,
                template => CertificateSource::Template(Template::parse(template).unwrap()),
            }),
        }
    }
}

impl RegionDoc {
    fn meaning(self) -> RegionDraft {
        let role = self.role.as_deref().unwrap_or("active");
        RegionDraft {
            jurisdiction: self.jurisdiction,
            role: Role::ALL.into_iter().find(|r| r.code() == role).unwrap(),
            weight: percent(self.weight.unwrap_or(100.0)),
            near: self.near,
            countries: self.countries.iter().map(|c| country(c)).collect(),
            capacity: None,
            max_in_flight: None,
            gateway: false,
            check: check(),
            tls: None,
            http2: false,
            cells: self.cells.into_iter().map(|(name, doc)| (name, percent(doc.weight))).collect(),
            endpoints: self.endpoints.into_iter().map(EndpointDoc::meaning).collect(),
        }
    }
}

impl EndpointDoc {
    fn meaning(self) -> EndpointDraft {
        let (address, zone, cell, weight) = match self {
            Self::Plain(address) => (address, None, None, None),
            Self::Full { address, zone, cell, weight } => (address, zone, cell, weight),
        };
        EndpointDraft {
            address: Address::Socket(address.parse().unwrap()),
            zone,
            cell,
            weight: weight.unwrap_or(1),
        }
    }
}

impl PolicyDoc {
    fn meaning(self) -> Policy {
        let topology = self.topology.as_deref().unwrap_or("single-writer");
        let mut policy = Topology::ALL.into_iter().find(|t| t.code() == topology).unwrap().preset();
        if let Some(sticky) = self.sticky {
            policy.sticky = one_of(
                &sticky,
                [("tenant", Sticky::Tenant), ("session", Sticky::Session), ("request", Sticky::Request)],
            );
        }
        if let Some(from) = self.reads.from {
            policy.reads.from = one_of(&from, [("local", ReadsFrom::Local), ("owner", ReadsFrom::Owner)]);
        }
        policy.reads.failover = self.reads.failover.unwrap_or(policy.reads.failover);
        if let Some(limit) = self.reads.max_staleness {
            policy.reads.max_staleness = millis(&limit);
        }
        if let Some(promised) = self.reads.read_your_writes {
            policy.reads.read_your_writes = millis(&promised);
        }
        if let Some(lost) = self.reads.on_pin_lost {
            policy.reads.on_pin_lost =
                one_of(&lost, [("stale", OnPinLost::Stale), ("refuse", OnPinLost::Refuse)]);
        }
        if let Some(to) = self.writes.to {
            policy.writes.to = one_of(&to, [("owner", WritesTo::Owner), ("local", WritesTo::Local)]);
        }
        if let Some(idempotency) = self.writes.idempotency {
            policy.writes.idempotency = one_of(
                &idempotency,
                [("required", Idempotency::Required), ("optional", Idempotency::Optional)],
            );
        }
        policy.retries.across_regions = self.retries.across_regions.unwrap_or(policy.retries.across_regions);
        policy
    }
}

impl RouteDoc {
    fn meaning(self) -> RouteDraft {
        RouteDraft {
            name: self.name,
            host: self.host.map(|host| match host.strip_prefix('*') {
                Some(under) => HostPattern::Under(under.into()),
                None => HostPattern::Exact(host.into()),
            }),
            path: self.path.map(|path| match path.strip_prefix('=') {
                Some(exact) => PathPattern::Exact(exact.into()),
                None => PathPattern::Under(path.trim_end_matches('/').into()),
            }),
            methods: self.methods,
            operation: self.operation.map(|operation| {
                one_of(&operation, [("read", Operation::Read), ("write", Operation::Write)])
            }),
            service: self.service,
            capability: self.capability,
            data_class: self.data_class,
            strong: self.consistency.is_some_and(|c| one_of(&c, [("strong", true), ("local", false)])),
            policy: self.policy,
        }
    }
}

impl PlacementDoc {
    fn meaning(self) -> PlacementDraft {
        match self.by.as_str() {
            "nearest" => PlacementDraft::Nearest,
            "latency" => PlacementDraft::Latency,
            "geo" => PlacementDraft::Geo,
            "weighted" => PlacementDraft::Weighted(self.shares),
            "primary" => PlacementDraft::Primary(self.order),
            "schedule" => PlacementDraft::Schedule(self.hours.into_iter().map(hours).collect()),
            other => panic!("there is no placement by {other:?}"),
        }
    }
}

fn hours((written, region): (String, String)) -> Hours {
    let (from, to) = written.split_once('-').unwrap();
    Hours { from: from.parse().unwrap(), to: to.parse().unwrap(), region, written }
}

fn one_of<T: Copy, const N: usize>(written: &str, known: [(&str, T); N]) -> T {
    known.iter().find(|(name, _)| *name == written).unwrap_or_else(|| panic!("{written:?} is no such word")).1
}

/// Two upper-case letters.
pub fn country(written: &str) -> [u8; 2] {
    written.as_bytes().try_into().unwrap()
}

/// A weight from percent.
pub fn percent(written: f64) -> Weight {
    Weight::hundredths((written * 100.0).round() as u16)
}

/// A span of time from `60s`, `250ms` or `5m`.
pub fn millis(written: &str) -> Millis {
    let (number, unit) = written.split_at(written.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let factor = one_of(unit, [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]);
    Millis(number.parse::<u64>().unwrap() * factor)
}

/// How regions are checked, which no decision reads.
pub fn check() -> Check {
    let kind = CheckKind::Tcp;
    Check { kind, interval: Millis(2_000), timeout: Millis(1_000), rise: 2, fall: 3 }
}

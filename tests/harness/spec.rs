//! A table as plain data by names, for tests that make tables up, and what such a table promises.
//!
//! Why: a decision must be held against something that was not worked out by the code that made it. The questions
//! here (who may own, where may it go) are answered from names alone, without ids, sets or profiles.

use std::collections::BTreeMap;

use rhumb_decision::draft::{
    Draft, EndpointDraft, Hours, PlacementDraft, RegionDraft, RouteDraft, TableBuilder, TenancyDraft,
    TenantRow,
};
use rhumb_decision::policy::{Policy, Sticky, Topology, WritesTo};
use rhumb_decision::table::{Address, HostTemplate, Operation, PathPattern, Role, Safety, Source, Table};
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::Weight;

use crate::table::check;

/// A table by names.
#[derive(Clone, Debug)]
pub struct Spec {
    pub regions: BTreeMap<String, RegionSpec>,
    pub tenants: BTreeMap<String, TenantSpec>,
    /// What becomes of unknown tenants: refused, or the name of one of [`PLACEMENTS`].
    pub unknown: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct RegionSpec {
    pub jurisdiction: &'static str,
    pub role: Role,
    pub weight: Weight,
    pub near: Option<Vec<String>>,
    pub endpoints: usize,
    /// One cell for each endpoint.
    pub cells: bool,
    /// Whether its endpoints are gateways of ours.
    pub gateway: bool,
}

#[derive(Clone, Debug)]
pub struct TenantSpec {
    pub home: String,
    pub standby: Vec<String>,
    pub replicas: Vec<String>,
    pub residency: Vec<&'static str>,
    pub epoch: u64,
    pub policy: &'static str,
    pub state: TenantState,
}

pub const PLACEMENTS: [&str; 6] = ["nearest", "latency", "geo", "weighted", "primary", "schedule"];

pub const POLICIES: [&str; 9] =
    ["default", "passive", "multi", "at-home", "amber", "by-session", "by-request", "stay", "one-region"];

/// Reads a search, a strong read, and a class of data that may only be in the first region's jurisdiction.
pub const SEARCH: &str = "/v1/search";
pub const LEDGER: &str = "/v1/ledger";
pub const EVIDENCE: &str = "/v1/evidence";

/// The policy of this name.
pub fn policy(name: &str) -> Policy {
    let topology = match name {
        "passive" => Topology::ActivePassive,
        "multi" => Topology::ActiveActive,
        "at-home" => Topology::HomeOnly,
        "amber" => Topology::ReadOnly,
        _ => Topology::SingleWriter,
    };
    let mut policy = topology.preset();
    match name {
        "by-session" => policy.sticky = Sticky::Session,
        "by-request" => policy.sticky = Sticky::Request,
        "stay" => policy.reads.failover = false,
        "one-region" => policy.retries.across_regions = false,
        _ => {}
    }
    policy
}

impl Spec {
    /// The table, or why there is none.
    pub fn table(&self) -> Result<Table, String> {
        let mut builder = self.builder()?;
        for (id, tenant) in &self.tenants {
            let (standby, replicas, residency) =
                (tenant.standby.join(" "), tenant.replicas.join(" "), tenant.residency.join(" "));
            let epoch = tenant.epoch.to_string();
            let row = TenantRow {
                id,
                home: &tenant.home,
                standby: &standby,
                replicas: &replicas,
                residency: &residency,
                epoch: &epoch,
                policy: tenant.policy,
                cell: "",
                state: tenant.state.code(),
            };
            builder.tenant(&row, 0).map_err(|faults| format!("{id}: {faults:?}"))?;
        }
        builder.finish().map_err(|repeated| format!("{repeated:?}"))
    }

    /// All but the tenants, for those who stream them in.
    pub fn builder(&self) -> Result<TableBuilder, String> {
        let (builder, faults) = self.draft().build();
        if faults.is_empty() { Ok(builder) } else { Err(format!("{faults:?}")) }
    }

    fn draft(&self) -> Draft {
        let first = self.regions.keys().next().cloned().unwrap_or_default();
        let last = self.regions.keys().next_back().cloned().unwrap_or_default();
        let route = |name: &str, path: &str| RouteDraft {
            name: name.into(),
            path: Some(PathPattern::Under(path.into())),
            ..RouteDraft::default()
        };
        let search = RouteDraft {
            operation: Some(Operation::Read),
            capability: Some("search".into()),
            ..route("search", SEARCH)
        };
        let ledger = RouteDraft { strong: true, ..route("ledger", LEDGER) };
        let evidence = RouteDraft { data_class: Some("evidence".into()), ..route("evidence", EVIDENCE) };
        let span = |written: &str, from, to, region: &str| Hours {
            written: written.into(),
            from,
            to,
            region: region.into(),
        };
        let placements = [
            PlacementDraft::Nearest,
            PlacementDraft::Latency,
            PlacementDraft::Geo,
            PlacementDraft::Weighted(self.regions.keys().map(|name| (name.clone(), 10)).collect()),
            PlacementDraft::Primary(self.regions.keys().rev().cloned().collect()),
            PlacementDraft::Schedule(vec![span("00-12", 0, 12, &first), span("12-24", 12, 24, &last)]),
        ];
        Draft {
            tenancy: TenancyDraft {
                from: vec![
                    Source::Header("x-tenant-id".into()),
                    Source::Host(HostTemplate { before: "".into(), after: ".app.example".into() }),
                ],
                unknown: self.unknown.map(str::to_owned),
                session_cookie: None,
            },
            regions: self.regions.iter().map(|(name, region)| (name.clone(), region.draft(name))).collect(),
            policies: POLICIES.into_iter().map(|name| (name.to_owned(), policy(name))).collect(),
            routes: vec![search, ledger, evidence],
            data_classes: BTreeMap::from([("evidence".into(), self.class())]),
            placements: PLACEMENTS.into_iter().map(str::to_owned).zip(placements).collect(),
            safety: Safety::default(),
        }
    }

    /// Where data of the class `evidence` may be.
    fn class(&self) -> Vec<String> {
        self.regions.values().next().map(|region| region.jurisdiction.to_owned()).into_iter().collect()
    }

    /// Whether a request of `tenant` for `path` may reach `region`.
    pub fn may_reach(&self, tenant: Option<&TenantSpec>, path: &str, region: &str) -> bool {
        let jurisdiction = self.regions[region].jurisdiction;
        let resides = tenant.is_none_or(|t| t.residency.is_empty() || t.residency.contains(&jurisdiction));
        let class = !path.starts_with(EVIDENCE) || self.class().iter().any(|allowed| allowed == jurisdiction);
        resides && class
    }
}

impl RegionSpec {
    fn draft(&self, name: &str) -> RegionDraft {
        // A name of our own for each endpoint, as addresses must differ.
        let endpoint = |at: usize| EndpointDraft {
            address: Address::Name { host: format!("{at}.{name}.internal").into(), port: 8080 },
            zone: Some(format!("zone-{}", at % 2)),
            cell: self.cells.then(|| format!("cell-{at}")),
            weight: 1 + at as u16,
        };
        let cells =
            (0..if self.cells { self.endpoints } else { 0 }).map(|at| (format!("cell-{at}"), Weight::FULL));
        RegionDraft {
            jurisdiction: self.jurisdiction.into(),
            role: self.role,
            weight: self.weight,
            near: self.near.clone(),
            countries: vec![[b'A' + (name.len() % 26) as u8, b'X']],
            capacity: None,
            max_in_flight: None,
            gateway: self.gateway,
            check: check(),
            tls: None,
            http2: false,
            cells: cells.collect(),
            endpoints: (0..self.endpoints).map(endpoint).collect(),
        }
    }
}

impl TenantSpec {
    /// Whether `region` may answer its reads when `owner` owns it.
    pub fn reads_at(&self, region: &str, owner: &str) -> bool {
        region == owner
            || region == self.home
            || self.has(&self.standby, region)
            || self.has(&self.replicas, region)
    }

    /// Whether `region` may take its writes when `owner` owns it.
    pub fn writes_at(&self, region: &str, owner: &str) -> bool {
        match policy(self.policy).writes.to {
            WritesTo::Owner => region == owner,
            WritesTo::Local => region == owner || region == self.home || self.has(&self.standby, region),
            WritesTo::Nobody => false,
        }
    }

    fn has(&self, list: &[String], region: &str) -> bool {
        list.iter().any(|name| name == region)
    }
}

//! From what was written to a table, or all its faults at once.
//!
//! A [`Draft`] holds names; [`Draft::build`] turns them into ids and checks that each refers to something. Then
//! tenants come row by row, streamed, and [`TableBuilder::finish`] gives the table. Each fault names the key it is
//! about, so that a reader of files can say the line.
//!
//! Never: stops at the first fault, or lets one through.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::policy::Policy;
use crate::table::{
    Address, Cell, Check, DataClass, Endpoint, HostPattern, Operation, PathPattern, Placement, PlacementRule,
    Region, RegionTls, Role, Route, Safety, Source, Table, Tenancy,
};
use crate::tenants::{
    BySeedless, MAX_TENANT_ID, Profile, ProfileId, Repeated, TenantState, Tenants, TenantsBuilder,
    is_tenant_id,
};
use crate::units::{
    CapabilityId, CellId, ClassId, Epoch, Key, MAX_REGIONS, PlacementId, PolicyId, RegionId, RegionSet,
    ServiceId, Weight,
};

/// What was written: names, not ids; values typed, not yet held against each other.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// How requests name their tenant.
    pub tenancy: TenancyDraft,
    /// The regions, by name.
    pub regions: BTreeMap<String, RegionDraft>,
    /// The policies, by name; `default` is added where it is missing.
    pub policies: BTreeMap<String, Policy>,
    /// The routes, in order.
    pub routes: Vec<RouteDraft>,
    /// Classes of data: the jurisdictions of each.
    pub data_classes: BTreeMap<String, Vec<String>>,
    /// The placements, by name.
    pub placements: BTreeMap<String, PlacementDraft>,
    /// What every change obeys.
    pub safety: Safety,
}

/// See [`Tenancy`].
#[derive(Clone, Debug, Default)]
pub struct TenancyDraft {
    /// Where to look.
    pub from: Vec<Source>,
    /// `None`: reject; else the name of a placement.
    pub unknown: Option<String>,
    /// The session's cookie.
    pub session_cookie: Option<String>,
}

/// See [`Region`].
#[derive(Clone, Debug)]
pub struct RegionDraft {
    /// Where it lies in law.
    pub jurisdiction: String,
    /// What it may do.
    pub role: Role,
    /// Its weight.
    pub weight: Weight,
    /// Names of regions.
    pub near: Option<Vec<String>>,
    /// Two upper-case letters each.
    pub countries: Vec<[u8; 2]>,
    /// Requests per second.
    pub capacity: Option<u32>,
    /// Requests in flight.
    pub max_in_flight: Option<u32>,
    /// Whether its endpoints are gateways.
    pub gateway: bool,
    /// How endpoints are checked.
    pub check: Check,
    /// TLS.
    pub tls: Option<RegionTls>,
    /// HTTP/2.
    pub http2: bool,
    /// Cells with their weights.
    pub cells: BTreeMap<String, Weight>,
    /// Endpoints.
    pub endpoints: Vec<EndpointDraft>,
}

/// See [`Endpoint`].
#[derive(Clone, Debug)]
pub struct EndpointDraft {
    /// Where.
    pub address: Address,
    /// The zone.
    pub zone: Option<String>,
    /// The name of a cell.
    pub cell: Option<String>,
    /// The share; at least 1.
    pub weight: u16,
}

/// See [`Route`].
#[derive(Clone, Debug, Default)]
pub struct RouteDraft {
    /// Its name; empty: it has none.
    pub name: String,
    /// Hosts.
    pub host: Option<HostPattern>,
    /// Paths.
    pub path: Option<PathPattern>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// Operation.
    pub operation: Option<Operation>,
    /// Service; `None`: `default`.
    pub service: Option<String>,
    /// Capability.
    pub capability: Option<String>,
    /// The name of a class of data.
    pub data_class: Option<String>,
    /// Whether reads are strong.
    pub strong: bool,
    /// The name of a policy.
    pub policy: Option<String>,
}

/// See [`PlacementRule`].
#[derive(Clone, Debug)]
pub enum PlacementDraft {
    /// The source region, then its near ones.
    Nearest,
    /// The lowest measured round trip.
    Latency,
    /// By country.
    Geo,
    /// Shares by name of region.
    Weighted(BTreeMap<String, u32>),
    /// Names of regions in order.
    Primary(Vec<String>),
    /// Hours from (inclusive) to (exclusive), with the name of a region and the key as it was written.
    Schedule(Vec<Hours>),
}

/// One span of a schedule.
#[derive(Clone, Debug)]
pub struct Hours {
    /// As it was written: `00-08`.
    pub written: String,
    /// The first hour, 0 to 23.
    pub from: u8,
    /// The hour at which it ends, 1 to 24.
    pub to: u8,
    /// The name of a region.
    pub region: String,
}

/// As many policies, routes, services, capabilities, classes or placements as their ids can number.
const MAX_NAMED: usize = u16::MAX as usize;

/// One thing that is wrong with a draft.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The key it is about, from the top: `["regions", "eu-west-1", "near"]`; entries of a list by their number.
    pub at: Vec<String>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

/// One tenant, as it was written. Lists are separated by spaces; what is empty is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// The name of its home.
    pub home: &'a str,
    /// Names of regions.
    pub standby: &'a str,
    /// Names of regions.
    pub replicas: &'a str,
    /// Jurisdictions.
    pub residency: &'a str,
    /// The epoch, in decimals; empty: 1.
    pub epoch: &'a str,
    /// The name of a policy; empty: `default`.
    pub policy: &'a str,
    /// The name of a cell.
    pub cell: &'a str,
    /// `active`, `frozen` or `read-only`; empty: `active`.
    pub state: &'a str,
}

/// One thing that is wrong with a tenant's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowFault {
    /// The column, or key, it is about.
    pub column: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

/// A table that waits for its tenants.
pub struct TableBuilder {
    table: Table,
    tenants: TenantsBuilder,
    profiles: HashMap<Box<str>, ProfileId, BySeedless>,
    key: String,
}

impl Draft {
    /// Holds names against each other.
    ///
    /// Returns every fault of the draft. With faults there is still a builder, so that tenants are held against the
    /// names that were written and their faults are told too; its table is not to be used.
    #[must_use]
    pub fn build(self) -> (TableBuilder, Vec<Fault>) {
        let mut faults = Faults(Vec::new());
        if self.regions.is_empty() {
            faults.tell(&["regions"], "the table has no region".into(), "add [regions.NAME]".into());
        }
        if self.regions.len() > MAX_REGIONS {
            let what = format!(
                "{} regions are more than the {MAX_REGIONS} that one table may have",
                self.regions.len()
            );
            faults.tell(&["regions"], what, "split the table".into());
        }
        for (key, count) in [
            ("policies", self.policies.len()),
            ("routes", self.routes.len()),
            ("data_classes", self.data_classes.len()),
            ("placements", self.placements.len()),
        ] {
            if count >= MAX_NAMED {
                let what = format!("{count} entries are more than one table may have");
                faults.tell(&[key], what, format!("write fewer than {MAX_NAMED}"));
            }
        }
        let names = Names {
            regions: self.regions.keys().take(MAX_REGIONS).cloned().collect(),
            policies: policy_names(&self.policies),
            classes: self.data_classes.keys().cloned().collect(),
            placements: self.placements.keys().cloned().collect(),
        };
        let regions: Box<[Region]> = self
            .regions
            .into_iter()
            .take(MAX_REGIONS)
            .map(|(name, r)| region(name, r, &names, &mut faults))
            .collect();
        let classes =
            self.data_classes.into_iter().map(|(n, j)| class(n, j, &regions, &mut faults)).collect();
        let placements =
            self.placements.into_iter().map(|(n, p)| placement(n, p, &names, &mut faults)).collect();
        let tenancy = tenancy(self.tenancy, &names, &mut faults);
        let mut interned = Interned::default();
        let routes: Box<[Route]> = self
            .routes
            .into_iter()
            .enumerate()
            .map(|(at, r)| route(at, r, &names, &mut interned, &mut faults))
            .collect();
        unique_route_names(&routes, &mut faults);
        let safety = safety(self.safety, regions.len(), &mut faults);
        let policies = policies(self.policies, &names);
        let table = Table {
            tenancy,
            regions,
            policies,
            routes,
            services: interned.services.into(),
            capabilities: interned.capabilities.into(),
            classes,
            placements,
            safety,
            tenants: Tenants::none(),
        };
        let builder = TableBuilder {
            table,
            tenants: TenantsBuilder::default(),
            profiles: HashMap::with_hasher(BySeedless),
            key: String::new(),
        };
        (builder, faults.0)
    }
}

impl TableBuilder {
    /// Adds a tenant. `mark` is the caller's own (a line, say); it comes back where a tenant was given twice.
    ///
    /// # Errors
    /// Everything that is wrong with the row; nothing is added then.
    pub fn tenant(&mut self, row: &TenantRow<'_>, mark: u64) -> Result<(), Vec<RowFault>> {
        let mut faults = Vec::new();
        if !is_tenant_id(row.id.as_bytes()) {
            let what = format!("{:?} cannot name a tenant", shortened(row.id));
            let fix = format!("write 1 to {MAX_TENANT_ID} characters of A-Z, a-z, 0-9, '.', '_' and '-'");
            faults.push(RowFault { column: "id", what, fix });
        }
        let epoch = match row.epoch {
            "" => Epoch(1),
            written => written.parse().map(Epoch).unwrap_or_else(|_| {
                let what = format!("{:?} is not an epoch", shortened(written));
                faults.push(RowFault {
                    column: "epoch",
                    what,
                    fix: "write a whole number, 1 or more".into(),
                });
                Epoch(1)
            }),
        };
        if epoch.0 == 0 {
            let fix = "epochs begin at 1".into();
            faults.push(RowFault { column: "epoch", what: "0 is not an epoch".into(), fix });
        }
        let state = match row.state {
            "" => TenantState::Active,
            written => TenantState::ALL.into_iter().find(|s| s.code() == written).unwrap_or_else(|| {
                let what = format!("there is no state {:?}", shortened(written));
                let fix = "write \"active\", \"frozen\" or \"read-only\"".into();
                faults.push(RowFault { column: "state", what, fix });
                TenantState::Active
            }),
        };
        self.key.clear();
        for column in [row.home, row.standby, row.replicas, row.residency, row.policy, row.cell] {
            self.key.push_str(column);
            self.key.push('\u{1f}');
        }
        let profile = match self.profiles.get(self.key.as_str()) {
            Some(known) => *known,
            None => match profile(&self.table, row, &mut faults) {
                Some(new) if faults.is_empty() => {
                    let id = self.tenants.profile(new);
                    self.profiles.insert(self.key.as_str().into(), id);
                    id
                }
                _ => return Err(faults),
            },
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        self.tenants.add(row.id, profile, epoch, state, mark);
        Ok(())
    }

    /// Builds the table.
    ///
    /// # Errors
    /// The tenants that were given more than once.
    pub fn finish(self) -> Result<Table, Vec<Repeated>> {
        let tenants = self.tenants.build()?;
        Ok(Table { tenants, ..self.table })
    }
}

struct Names {
    regions: Vec<String>,
    policies: Vec<String>,
    classes: Vec<String>,
    placements: Vec<String>,
}

impl Names {
    fn region(&self, name: &str) -> Option<RegionId> {
        self.regions.binary_search_by(|n| n.as_str().cmp(name)).ok().map(|at| RegionId(at as u8))
    }
}

struct Faults(Vec<Fault>);

impl Faults {
    fn tell(&mut self, at: &[&str], what: String, fix: String) {
        self.0.push(Fault { at: at.iter().map(ToString::to_string).collect(), what, fix });
    }

    /// A name that refers to nothing, with the nearest one that would.
    fn no_such(&mut self, at: &[&str], kind: &str, name: &str, known: &[String]) {
        let (what, fix) = no_such(kind, name, known.iter().map(String::as_str));
        self.tell(at, what, fix);
    }
}

/// The two sentences about a name that refers to nothing.
fn no_such<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> (String, String) {
    let what = format!("there is no {kind} {:?}", shortened(name));
    let near = known
        .clone()
        .map(|k| (strsim::damerau_levenshtein(k, name), k))
        .min()
        .filter(|(distance, k)| *distance <= k.len().max(3) / 3);
    let fix = match near {
        Some((_, near)) => format!("did you mean {near:?}?"),
        None => {
            let mut names: Vec<_> = known.take(9).map(|k| format!("{k:?}")).collect();
            if names.len() == 9 {
                names.truncate(8);
                names.push("…".into());
            }
            if names.is_empty() {
                format!("add the {kind} first")
            } else {
                format!("there are {}", names.join(", "))
            }
        }
    };
    (what, fix)
}

/// What was written, cut where it would fill the screen.
fn shortened(written: &str) -> String {
    let mut short: String = written.chars().take(80).collect();
    if short.len() < written.len() {
        short.push('…');
    }
    short
}

fn policy_names(policies: &BTreeMap<String, Policy>) -> Vec<String> {
    let others = policies.keys().filter(|name| *name != "default").cloned();
    std::iter::once("default".to_owned()).chain(others).collect()
}

fn policies(mut written: BTreeMap<String, Policy>, names: &Names) -> Box<[Policy]> {
    names
        .policies
        .iter()
        .map(|name| {
            let policy =
                written.remove(name).unwrap_or_else(|| crate::policy::Topology::SingleWriter.preset());
            Policy { name: name.as_str().into(), ..policy }
        })
        .collect()
}

fn region(name: String, draft: RegionDraft, names: &Names, faults: &mut Faults) -> Region {
    let at = ["regions", name.as_str()];
    let near = draft.near.map(|near| {
        let mut ids = Vec::new();
        for (i, other) in near.iter().enumerate() {
            let place = [at[0], at[1], "near", &i.to_string()];
            match names.region(other) {
                None => faults.no_such(&place, "region", other, &names.regions),
                Some(id) if ids.contains(&id) => {
                    faults.tell(&place, format!("{other:?} is named twice"), "name each region once".into());
                }
                Some(_) if *other == name => {
                    faults.tell(&place, "a region is not near itself".into(), "leave it out".into());
                }
                Some(id) => ids.push(id),
            }
        }
        ids.into_boxed_slice()
    });
    let cells: Box<[Cell]> = draft
        .cells
        .iter()
        .take(256)
        .map(|(cell, weight)| Cell {
            name: cell.as_str().into(),
            hash: Key::of(format!("{name}/{cell}").as_bytes()).0,
            weight: *weight,
        })
        .collect();
    if draft.cells.len() > cells.len() {
        let what = format!("{} cells are more than the 256 that a region may have", draft.cells.len());
        faults.tell(&["regions", &name, "cells"], what, "split the region".into());
    }
    if draft.endpoints.is_empty() {
        let fix = "write endpoints = [\"10.1.0.10:8080\"]".into();
        faults.tell(&["regions", &name, "endpoints"], "the region has no endpoint".into(), fix);
    }
    let cell_names: Vec<String> = draft.cells.keys().cloned().collect();
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (i, endpoint) in draft.endpoints.into_iter().enumerate() {
        let place = ["regions", name.as_str(), "endpoints", &i.to_string()];
        let cell = match &endpoint.cell {
            Some(cell) => {
                let found = cell_names.iter().position(|c| c == cell).map(|c| CellId(c as u8));
                if found.is_none() {
                    faults.no_such(&place, "cell", cell, &cell_names);
                }
                found
            }
            None if cell_names.is_empty() => None,
            None => {
                let what = format!("the region has cells, and {} names none", endpoint.address);
                faults.tell(&place, what, "write { address = \"…\", cell = \"…\" }".into());
                None
            }
        };
        if endpoints.iter().any(|e| e.address == endpoint.address) {
            let what = format!("{} is named twice", endpoint.address);
            faults.tell(&place, what, "name each endpoint once".into());
        }
        let zone = endpoint.zone.map(String::into_boxed_str);
        endpoints.push(Endpoint { address: endpoint.address, zone, cell, weight: endpoint.weight.max(1) });
    }
    for (c, cell) in cell_names.iter().enumerate() {
        if !endpoints.iter().any(|e| e.cell == Some(CellId(c as u8))) {
            let what = format!("no endpoint belongs to cell {cell:?}");
            faults.tell(
                &["regions", &name, "cells", cell],
                what,
                format!("give an endpoint cell = {cell:?}"),
            );
        }
    }
    Region {
        hash: Key::of(name.as_bytes()).0,
        name: name.into(),
        jurisdiction: draft.jurisdiction.into(),
        role: draft.role,
        weight: draft.weight,
        near,
        countries: draft.countries.into(),
        capacity: draft.capacity,
        max_in_flight: draft.max_in_flight,
        gateway: draft.gateway,
        check: draft.check,
        tls: draft.tls,
        http2: draft.http2,
        cells,
        endpoints: endpoints.into(),
    }
}

fn jurisdictions(regions: &[Region]) -> Vec<String> {
    let mut all: Vec<String> = regions.iter().map(|region| region.jurisdiction.to_string()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn within(regions: &[Region], jurisdictions: &[Box<str>]) -> RegionSet {
    let ids = (0_u8..).zip(regions);
    ids.filter(|(_, region)| jurisdictions.contains(&region.jurisdiction))
        .map(|(id, _)| RegionId(id))
        .collect()
}

fn class(name: String, written: Vec<String>, regions: &[Region], faults: &mut Faults) -> DataClass {
    let known = jurisdictions(regions);
    if written.is_empty() {
        let what = "the class allows no jurisdiction".into();
        faults.tell(
            &["data_classes", &name, "jurisdictions"],
            what,
            "name one, or leave the class out".into(),
        );
    }
    for (i, jurisdiction) in written.iter().enumerate() {
        if !known.contains(jurisdiction) {
            let place = ["data_classes", name.as_str(), "jurisdictions", &i.to_string()];
            faults.no_such(&place, "jurisdiction", jurisdiction, &known);
        }
    }
    let jurisdictions: Box<[Box<str>]> = written.into_iter().map(String::into_boxed_str).collect();
    DataClass { name: name.into(), allowed: within(regions, &jurisdictions), jurisdictions }
}

fn placement(name: String, draft: PlacementDraft, names: &Names, faults: &mut Faults) -> Placement {
    let mut known = |key: &[&str], region: &str| {
        let id = names.region(region);
        if id.is_none() {
            let place: Vec<&str> =
                ["placements", name.as_str()].into_iter().chain(key.iter().copied()).collect();
            faults.no_such(&place, "region", region, &names.regions);
        }
        id
    };
    let by = match draft {
        PlacementDraft::Nearest => PlacementRule::Nearest,
        PlacementDraft::Latency => PlacementRule::Latency,
        PlacementDraft::Geo => PlacementRule::Geo,
        PlacementDraft::Weighted(shares) => {
            let total: u64 = shares.values().map(|share| u64::from(*share)).sum();
            let shares: Box<[_]> = shares
                .iter()
                .filter_map(|(region, share)| Some((known(&["shares", region], region)?, *share)))
                .collect();
            if total == 0 || total > u64::from(u32::MAX) {
                let fix = "write shares = { NAME = 70, OTHER = 30 }".into();
                faults.tell(&["placements", &name, "shares"], format!("the shares add up to {total}"), fix);
            }
            PlacementRule::Weighted(shares)
        }
        PlacementDraft::Primary(order) => {
            let ids: Box<[_]> = order
                .iter()
                .enumerate()
                .filter_map(|(i, region)| known(&["order", &i.to_string()], region))
                .collect();
            if order.is_empty() {
                let fix = "name at least one region".into();
                faults.tell(&["placements", &name, "order"], "the order is empty".into(), fix);
            }
            PlacementRule::Primary(ids)
        }
        PlacementDraft::Schedule(spans) => {
            let mut hours = [None; 24];
            let mut twice = Vec::new();
            for span in &spans {
                let Some(region) = known(&["hours", &span.written], &span.region) else { continue };
                for hour in span.from..span.to.min(24) {
                    if hours.get_mut(usize::from(hour)).is_some_and(|slot| slot.replace(region).is_some()) {
                        twice.push(span.written.clone());
                    }
                }
            }
            twice.dedup();
            for written in twice {
                let what = format!("{written:?} covers an hour that another span covers");
                faults.tell(&["placements", &name, "hours", &written], what, "cover each hour once".into());
            }
            let missing = hours.iter().position(Option::is_none);
            if let Some(hour) = missing {
                let what = format!("no span covers the hour {hour:02}");
                let fix = "cover all 24 hours, as in \"00-08\" and \"08-24\"".into();
                faults.tell(&["placements", &name, "hours"], what, fix);
            }
            PlacementRule::Schedule(Box::new(hours.map(|region| region.unwrap_or(RegionId(0)))))
        }
    };
    Placement { name: name.into(), by }
}

fn tenancy(draft: TenancyDraft, names: &Names, faults: &mut Faults) -> Tenancy {
    if draft.from.is_empty() {
        let fix = "write from = [{ host = \"{tenant}.app.example\" }]".into();
        faults.tell(&["tenancy", "from"], "requests have no way to name their tenant".into(), fix);
    }
    let unknown = draft.unknown.and_then(|name| {
        let found = names.placements.iter().position(|n| *n == name).map(|at| PlacementId(at as u16));
        if found.is_none() {
            faults.no_such(&["tenancy", "unknown"], "placement", &name, &names.placements);
        }
        found
    });
    Tenancy {
        sources: draft.from.into(),
        unknown,
        session_cookie: draft.session_cookie.map(String::into_boxed_str),
    }
}

struct Interned {
    services: Vec<Box<str>>,
    capabilities: Vec<Box<str>>,
}

impl Default for Interned {
    fn default() -> Self {
        Self { services: vec!["default".into()], capabilities: vec!["read".into(), "write".into()] }
    }
}

fn intern(list: &mut Vec<Box<str>>, name: &str) -> u16 {
    let at = list.iter().position(|known| known.as_ref() == name).unwrap_or_else(|| {
        list.push(name.into());
        list.len() - 1
    });
    at as u16
}

fn route(at: usize, draft: RouteDraft, names: &Names, interned: &mut Interned, faults: &mut Faults) -> Route {
    let at = at.to_string();
    let mut named = |key: &str, kind: &str, name: &Option<String>, known: &[String]| {
        let name = name.as_ref()?;
        let found = known.iter().position(|k| k == name);
        if found.is_none() {
            faults.no_such(&["routes", &at, key], kind, name, known);
        }
        found.map(|at| at as u16)
    };
    let class = named("data_class", "data class", &draft.data_class, &names.classes).map(ClassId);
    let policy = named("policy", "policy", &draft.policy, &names.policies).map(PolicyId);
    if draft.strong && draft.operation == Some(Operation::Write) {
        let what = "consistency is for reads, and this route writes".into();
        faults.tell(&["routes", &at, "consistency"], what, "leave it out".into());
    }
    if draft.methods.as_ref().is_some_and(Vec::is_empty) {
        faults.tell(
            &["routes", &at, "methods"],
            "the list is empty".into(),
            "leave it out for all methods".into(),
        );
    }
    Route {
        name: if draft.name.is_empty() { format!("route-{at}").into() } else { draft.name.into() },
        host: draft.host,
        path: draft.path,
        methods: draft.methods.map(|methods| methods.into_iter().map(String::into_boxed_str).collect()),
        operation: draft.operation,
        service: ServiceId(draft.service.map_or(0, |name| intern(&mut interned.services, &name))),
        capability: draft.capability.map(|name| CapabilityId(intern(&mut interned.capabilities, &name))),
        class,
        strong: draft.strong,
        policy,
    }
}

fn unique_route_names(routes: &[Route], faults: &mut Faults) {
    for (at, route) in routes.iter().enumerate() {
        if routes.iter().take(at).any(|earlier| earlier.name == route.name) {
            let what = format!("there is another route {:?} above", route.name);
            faults.tell(&["routes", &at.to_string(), "name"], what, "give each route its own name".into());
        }
    }
}

fn safety(written: Safety, regions: usize, faults: &mut Faults) -> Safety {
    if written.min_regions_serving as usize > regions {
        let what = format!("{} regions must serve, and there are {regions}", written.min_regions_serving);
        faults.tell(&["safety", "min_regions_serving"], what, format!("write {regions} or less"));
    }
    if !(0.0..=1.0).contains(&written.max_drained_share) {
        let what = format!("{} is not a share", written.max_drained_share);
        faults.tell(&["safety", "max_drained_share"], what, "write 0.0 to 1.0".into());
    }
    written
}

/// What the row has in common with others, held against the table; `None` when its home is unknown.
fn profile(table: &Table, row: &TenantRow<'_>, faults: &mut Vec<RowFault>) -> Option<Profile> {
    let before = faults.len();
    let names = table.regions.iter().map(|region| region.name.as_ref());
    let mut list = |column: &'static str, written: &str| -> Box<[RegionId]> {
        let mut ids = Vec::new();
        for name in written.split_ascii_whitespace() {
            match table.region_named(name) {
                Some(id) if ids.contains(&id) => {
                    let what = format!("{name:?} is named twice");
                    faults.push(RowFault { column, what, fix: "name each region once".into() });
                }
                Some(id) => ids.push(id),
                None => {
                    let (what, fix) = no_such("region", name, names.clone());
                    faults.push(RowFault { column, what, fix });
                }
            }
        }
        ids.into_boxed_slice()
    };
    let standby = list("standby", row.standby);
    let replicas = list("replicas", row.replicas);
    let home = table.region_named(row.home);
    if home.is_none() {
        let (what, fix) = match row.home {
            "" => ("the tenant has no home".into(), "name its home region".into()),
            home => no_such("region", home, names),
        };
        faults.push(RowFault { column: "home", what, fix });
    }
    let residency: Box<[Box<str>]> = row.residency.split_ascii_whitespace().map(Box::from).collect();
    let known = jurisdictions(&table.regions);
    for jurisdiction in residency.iter().filter(|j| !known.iter().any(|k| *k == ***j)) {
        let (what, fix) = no_such("jurisdiction", jurisdiction, known.iter().map(String::as_str));
        faults.push(RowFault { column: "residency", what, fix });
    }
    if residency.is_empty() && table.safety.require_residency {
        let what = "the tenant has no residency, and safety.require_residency is true".into();
        faults.push(RowFault {
            column: "residency",
            what,
            fix: "name the jurisdictions it may reach".into(),
        });
    }
    let policy = match row.policy {
        "" => Some(0),
        name => table.policies.iter().position(|policy| policy.name.as_ref() == name),
    };
    if policy.is_none() {
        let (what, fix) = no_such("policy", row.policy, table.policies.iter().map(|p| p.name.as_ref()));
        faults.push(RowFault { column: "policy", what, fix });
    }
    if !row.cell.is_empty() && !table.regions.iter().any(|region| region.cell_named(row.cell).is_some()) {
        let cells = table.regions.iter().flat_map(|region| &region.cells).map(|cell| cell.name.as_ref());
        let (what, fix) = no_such("cell", row.cell, cells);
        faults.push(RowFault { column: "cell", what, fix });
    }
    let home = home?;
    let allowed = if residency.is_empty() { RegionSet::ALL } else { within(&table.regions, &residency) };
    let members = [
        ("home", std::slice::from_ref(&home)),
        ("standby", standby.as_ref()),
        ("replicas", replicas.as_ref()),
    ];
    for (column, ids) in members {
        for id in ids.iter().filter(|id| !residency.is_empty() && !allowed.contains(**id)) {
            let jurisdiction = table.region(*id).map_or("", |region| &region.jurisdiction);
            let name = table.region_name(*id);
            let what = format!(
                "{name:?} lies in {jurisdiction:?}, outside the tenant's residency ({})",
                row.residency
            );
            let fix = format!("add {jurisdiction:?} to the residency, or name a region that lies in it");
            faults.push(RowFault { column, what, fix });
        }
    }
    for (column, ids) in [("standby", &standby), ("replicas", &replicas)] {
        if ids.contains(&home) {
            let what = format!("{:?} is the tenant's home already", row.home);
            faults.push(RowFault { column, what, fix: "leave it out".into() });
        }
    }
    if faults.len() > before {
        return None;
    }
    let may_own: RegionSet = standby.iter().copied().chain([home]).collect();
    Some(Profile {
        home,
        read_set: replicas.iter().copied().fold(may_own, RegionSet::with),
        may_own,
        standby,
        replicas,
        residency,
        allowed,
        policy: PolicyId(policy? as u16),
        cell: (!row.cell.is_empty()).then(|| row.cell.into()),
    })
}

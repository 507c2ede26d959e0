//! The routing table: built whole by [`crate::draft`], then only read.
//!
//! Never: a name that refers to nothing. Whoever holds a `Table` holds the proof.

use std::net::SocketAddr;

use crate::policy::Policy;
use crate::tenants::Tenants;
use crate::units::{
    CapabilityId, CellId, ClassId, Millis, PlacementId, PolicyId, RegionId, RegionSet, RouteId, ServiceId,
    Weight,
};

/// What the table says of tenants, regions and routes.
#[derive(Clone)]
pub struct Table {
    pub(crate) tenancy: Tenancy,
    pub(crate) regions: Box<[Region]>,
    pub(crate) policies: Box<[Policy]>,
    pub(crate) routes: Box<[Route]>,
    pub(crate) services: Box<[Box<str>]>,
    pub(crate) capabilities: Box<[Box<str>]>,
    pub(crate) classes: Box<[DataClass]>,
    pub(crate) placements: Box<[Placement]>,
    pub(crate) safety: Safety,
    pub(crate) tenants: Tenants,
}

impl Table {
    /// How requests name their tenant.
    #[must_use]
    pub const fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// The regions, by [`RegionId`], sorted by name.
    #[must_use]
    pub const fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Every region's id.
    pub fn region_ids(&self) -> impl DoubleEndedIterator<Item = RegionId> + Clone + use<> {
        (0..self.regions.len() as u8).map(RegionId)
    }

    /// The region of this id. Ids of another table may name another region, or none.
    #[must_use]
    pub fn region(&self, id: RegionId) -> Option<&Region> {
        self.regions.get(id.index())
    }

    /// The region's name; empty for an id of another table.
    #[must_use]
    pub fn region_name(&self, id: RegionId) -> &str {
        self.region(id).map_or("", |region| &region.name)
    }

    /// The region of this name.
    #[must_use]
    pub fn region_named(&self, name: &str) -> Option<RegionId> {
        self.regions
            .binary_search_by(|region| region.name.as_ref().cmp(name))
            .ok()
            .map(|at| RegionId(at as u8))
    }

    /// The policies, by [`PolicyId`]; the first is `default`.
    #[must_use]
    pub const fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The policy of this id.
    #[must_use]
    pub fn policy(&self, id: PolicyId) -> Option<&Policy> {
        self.policies.get(id.index())
    }

    /// The routes, in the order in which they are tried.
    #[must_use]
    pub const fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route of this id.
    #[must_use]
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.index())
    }

    /// The services, by [`ServiceId`]; the first is `default`.
    #[must_use]
    pub const fn services(&self) -> &[Box<str>] {
        &self.services
    }

    /// The service's name.
    #[must_use]
    pub fn service_name(&self, id: ServiceId) -> &str {
        self.services.get(id.index()).map_or("", |name| name)
    }

    /// The capabilities that routes name, by [`CapabilityId`]; the first two are `read` and `write`.
    #[must_use]
    pub const fn capabilities(&self) -> &[Box<str>] {
        &self.capabilities
    }

    /// The capability's name.
    #[must_use]
    pub fn capability_name(&self, id: CapabilityId) -> &str {
        self.capabilities.get(id.index()).map_or("", |name| name)
    }

    /// The capability of this name, if any route names it.
    #[must_use]
    pub fn capability_named(&self, name: &str) -> Option<CapabilityId> {
        self.capabilities.iter().position(|c| c.as_ref() == name).map(|at| CapabilityId(at as u16))
    }

    /// Classes of data that narrow residency.
    #[must_use]
    pub fn class(&self, id: ClassId) -> Option<&DataClass> {
        self.classes.get(id.index())
    }

    /// The placements, by [`PlacementId`].
    #[must_use]
    pub const fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The placement of this id.
    #[must_use]
    pub fn placement(&self, id: PlacementId) -> Option<&Placement> {
        self.placements.get(id.index())
    }

    /// What every change obeys.
    #[must_use]
    pub const fn safety(&self) -> &Safety {
        &self.safety
    }

    /// The tenants.
    #[must_use]
    pub const fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// The same table with other tenants, as after [`Tenants::with`].
    #[must_use]
    pub fn with_tenants(&self, tenants: Tenants) -> Self {
        Self { tenants, ..self.clone() }
    }
}

/// How requests name their tenant, and what becomes of those that name an unknown one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenancy {
    /// Where to look; all that yield a name must agree.
    pub sources: Box<[Source]>,
    /// What becomes of a tenant that the table does not have; `None`: refused.
    pub unknown: Option<PlacementId>,
    /// The cookie whose value is the session; `None`: the client's address is.
    pub session_cookie: Option<Box<str>>,
}

impl Tenancy {
    /// The headers that may name a tenant, in lower case, in the order of the sources.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|source| match source {
            Source::Header(name) => Some(name.as_ref()),
            Source::Host(_) | Source::Path(_) => None,
        })
    }
}

/// One place in which a request may name its tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A label of the host.
    Host(HostTemplate),
    /// A header, in lower case.
    Header(Box<str>),
    /// A segment of the path.
    Path(PathTemplate),
}

/// `{tenant}.app.example`: one label, or part of one, is the tenant. In lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostTemplate {
    /// What stands before the tenant.
    pub before: Box<str>,
    /// What stands after it.
    pub after: Box<str>,
}

impl HostTemplate {
    /// The tenant that `host` names, without dots and not empty.
    #[must_use]
    pub fn tenant<'h>(&self, host: &'h str) -> Option<&'h str> {
        let tenant = host.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!tenant.is_empty() && !tenant.contains('.')).then_some(tenant)
    }
}

/// `/t/{tenant}`: the segment after these names the tenant; more may follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathTemplate {
    /// What stands before the tenant, with the slash at its end: `/t/`.
    pub before: Box<str>,
    /// What must follow it on whole segments, without a slash at the end; empty: anything.
    pub after: Box<str>,
}

impl PathTemplate {
    /// The tenant that `path` names, not empty.
    #[must_use]
    pub fn tenant<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.before)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (tenant, tail) = rest.split_at_checked(end)?;
        (!tenant.is_empty() && is_prefix_on_segments(&self.after, tail)).then_some(tenant)
    }
}

/// A place with its own copy of the service and its data.
#[derive(Clone, PartialEq, Debug)]
pub struct Region {
    /// Its name.
    pub name: Box<str>,
    /// The hash of its name: its lots are drawn by it.
    pub hash: u64,
    /// Where it lies in law.
    pub jurisdiction: Box<str>,
    /// What it may do.
    pub role: Role,
    /// The share of its reads that it takes, as configured.
    pub weight: Weight,
    /// Which regions are near, nearest first; `None`: as measured.
    pub near: Option<Box<[RegionId]>>,
    /// The countries whose clients it is for: two upper-case letters each.
    pub countries: Box<[[u8; 2]]>,
    /// Requests per second that it is built for.
    pub capacity: Option<u32>,
    /// Requests in flight that it may have from this edge.
    pub max_in_flight: Option<u32>,
    /// Whether its endpoints are Rhumb gateways, whose refusals edges believe.
    pub gateway: bool,
    /// How its endpoints are checked.
    pub check: Check,
    /// TLS towards it; `None`: plain.
    pub tls: Option<RegionTls>,
    /// Whether to speak HTTP/2 to it.
    pub http2: bool,
    /// Its sealed parts; empty: it is whole.
    pub cells: Box<[Cell]>,
    /// Where it takes requests.
    pub endpoints: Box<[Endpoint]>,
}

impl Region {
    /// The cell of this name.
    #[must_use]
    pub fn cell_named(&self, name: &str) -> Option<CellId> {
        self.cells.iter().position(|cell| cell.name.as_ref() == name).map(|at| CellId(at as u8))
    }
}

/// What a region may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Everything.
    Active,
    /// Reads when no active region is fit; writes only once ownership was transferred to it.
    Standby,
    /// Reads.
    ReadOnly,
    /// Nothing.
    Off,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Active, Self::Standby, Self::ReadOnly, Self::Off];

    /// The name, as in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::ReadOnly => "read-only",
            Self::Off => "off",
        }
    }
}

/// A sealed part of a region that serves a fixed share of its tenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Its name.
    pub name: Box<str>,
    /// The hash of region and name: its lots are drawn by it.
    pub hash: u64,
    /// The share of its hashed tenants that it keeps, as configured.
    pub weight: Weight,
}

/// One address, or one name, at which a region takes requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// The zone it stands in.
    pub zone: Option<Box<str>>,
    /// The cell it belongs to; always given where the region has cells.
    pub cell: Option<CellId>,
    /// Its share among the endpoints of its region or cell; 1 unless said otherwise, never 0.
    pub weight: u16,
}

/// How an endpoint is found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// As it stands.
    Socket(SocketAddr),
    /// By the A and AAAA records of a host.
    Name {
        /// The host's name.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// By the SRV records of a name: `_http._tcp.eu.internal`.
    Service(Box<str>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// How endpoints are checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The time between two checks of an endpoint.
    pub interval: Millis,
    /// The longest that one check may take.
    pub timeout: Millis,
    /// Good answers in a row that make an endpoint up; at least 1.
    pub rise: u32,
    /// Bad answers in a row that make it down; at least 1.
    pub fall: u32,
}

/// What a check asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckKind {
    /// GET this path.
    Http {
        /// The path.
        path: Box<str>,
    },
    /// Connect only.
    Tcp,
}

/// TLS towards a region. The texts are PEM and have been parsed once, so that they can be.
#[derive(Clone, PartialEq, Eq)]
pub struct RegionTls {
    /// The name that the region's certificate must carry; never empty.
    pub server_name: Box<str>,
    /// The authorities to believe; `None`: the system's.
    pub ca: Option<Box<[u8]>>,
    /// What Rhumb shows of itself.
    pub certificate: Option<ClientCertificate>,
    /// A hash of all of the above: connections are shared only where it is equal.
    pub identity: u64,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub chain: Box<[u8]>,
    /// The private key.
    pub key: Box<[u8]>,
}

impl std::fmt::Debug for RegionTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionTls")
            .field("server_name", &self.server_name)
            .field("own_ca", &self.ca.is_some())
            .field("client_certificate", &self.certificate.is_some())
            .finish_non_exhaustive()
    }
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

impl Operation {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One `[[routes]]` entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its name.
    pub name: Box<str>,
    /// Which hosts; `None`: all.
    pub host: Option<HostPattern>,
    /// Which paths; `None`: all.
    pub path: Option<PathPattern>,
    /// Which methods, as they are written; `None`: all.
    pub methods: Option<Box<[Box<str>]>>,
    /// What it does; `None`: as the method says.
    pub operation: Option<Operation>,
    /// The service it belongs to.
    pub service: ServiceId,
    /// The capability it needs; `None`: `read` or `write`, as the operation says.
    pub capability: Option<CapabilityId>,
    /// The class of data it touches.
    pub class: Option<ClassId>,
    /// Whether its reads go to the owner.
    pub strong: bool,
    /// The policy it obeys; `None`: the tenant's.
    pub policy: Option<PolicyId>,
}

/// Which hosts a route is for; in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostPattern {
    /// This one.
    Exact(Box<str>),
    /// Every name that ends so; begins with a dot.
    Under(Box<str>),
}

impl HostPattern {
    /// Whether `host`, normalised, is one of them.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name.as_ref(),
            Self::Under(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_ref()),
        }
    }
}

/// Which paths a route is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathPattern {
    /// This one.
    Exact(Box<str>),
    /// This one and all below it, on whole segments; without a slash at the end.
    Under(Box<str>),
}

impl PathPattern {
    /// Whether `path`, normalised and without query, is one of them.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_ref(),
            Self::Under(prefix) => is_prefix_on_segments(prefix, path),
        }
    }
}

fn is_prefix_on_segments(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A class of data that narrows residency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataClass {
    /// Its name.
    pub name: Box<str>,
    /// Where it may be.
    pub jurisdictions: Box<[Box<str>]>,
    /// The regions that lie there.
    pub allowed: RegionSet,
}

/// How requests without an owned tenant choose their region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its name.
    pub name: Box<str>,
    /// The rule.
    pub by: PlacementRule,
}

/// The rule of a placement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlacementRule {
    /// The source region, then its near ones.
    Nearest,
    /// The lowest measured round trip.
    Latency,
    /// The region for the client's country, else the nearest.
    Geo,
    /// Fixed shares, by the key; the sum is above 0.
    Weighted(Box<[(RegionId, u32)]>),
    /// The first that is fit.
    Primary(Box<[RegionId]>),
    /// By the hour, UTC: one entry for each of the 24; then the nearest.
    Schedule(Box<[RegionId; 24]>),
}

/// What every drain, freeze, transfer and table change obeys.
#[derive(Clone, PartialEq, Debug)]
pub struct Safety {
    /// Regions that must keep serving.
    pub min_regions_serving: u32,
    /// The share of the declared capacity that may be drained: 0.0 to 1.0.
    pub max_drained_share: f64,
    /// Whether a tenant without residency is refused at load.
    pub require_residency: bool,
}

impl Default for Safety {
    fn default() -> Self {
        Self { min_regions_serving: 1, max_drained_share: 0.5, require_residency: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_on_a_segment() {
        let under = PathPattern::Under("/v1/cases".into());
        assert!(under.matches("/v1/cases") && under.matches("/v1/cases/7"));
        assert!(!under.matches("/v1/casesx") && !under.matches("/v1"));
        assert!(PathPattern::Under("".into()).matches("/anything"));
        assert!(!PathPattern::Exact("/v1".into()).matches("/v1/"));
    }

    #[test]
    fn a_host_template_takes_one_label() {
        let template = HostTemplate { before: "".into(), after: ".app.example".into() };
        assert_eq!(template.tenant("acme.app.example"), Some("acme"));
        for host in
            ["a.b.app.example", ".app.example", "app.example", "acme.app.example.evil", "acmeapp.example"]
        {
            assert_eq!(template.tenant(host), None, "{host}");
        }
    }

    #[test]
    fn a_path_template_takes_one_segment() {
        let template = PathTemplate { before: "/t/".into(), after: "".into() };
        assert_eq!(template.tenant("/t/acme/v1"), Some("acme"));
        assert_eq!(template.tenant("/t/acme"), Some("acme"));
        for path in ["/t/", "/t//x", "/x/t/acme", "/tt/acme"] {
            assert_eq!(template.tenant(path), None, "{path}");
        }
        let api = PathTemplate { before: "/t/".into(), after: "/api".into() };
        assert_eq!((api.tenant("/t/acme/api/x"), api.tenant("/t/acme/apix")), (Some("acme"), None));
    }

    #[test]
    fn a_host_pattern_covers_what_lies_under_it() {
        let under = HostPattern::Under(".app.example".into());
        assert!(under.matches("a.app.example") && under.matches("a.b.app.example"));
        assert!(
            !under.matches("app.example") && !under.matches(".app.example") && !under.matches("xapp.example")
        );
    }
}

//! The routing table: built whole by [`crate::draft`], then only read.
//!
//! Never: a name that refers to nothing. Whoever holds a `Table` holds the proof.

mod class;
mod endpoint;
mod placement;
mod region;
mod route;
mod safety;
mod tenancy;
mod tls;

pub use class::DataClass;
pub use endpoint::{Address, Check, CheckKind, Endpoint};
pub use placement::{Placement, PlacementRule};
pub use region::{Cell, Region, Role};
pub use route::{HostPattern, Operation, PathPattern, Route};
pub use safety::Safety;
pub use tenancy::{CertificateSource, HostTemplate, PathTemplate, Source, Tenancy};
pub use tls::{ClientCertificate, RegionTls};

use crate::policy::Policy;
use crate::tenants::Tenants;
use crate::units::{CapabilityId, ClassId, PlacementId, PolicyId, RegionId, RouteId, ServiceId};

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

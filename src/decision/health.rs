//! What a snapshot knows of regions: which endpoints take what, how far copies lag, how far away they are.
//!
//! Never: healthy by default. What nobody has asked is [`Status::Unknown`] and takes nothing.

use std::net::{Ipv4Addr, SocketAddr};

use crate::table::{Address, Endpoint, Region, Table};
use crate::units::{CapabilityId, CellId, EndpointId, Micros, Millis, RegionId};

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Status {
    /// Nobody has asked yet. Takes nothing.
    Unknown,
    /// Takes nothing.
    Down,
    /// Takes traffic, and says that it suffers.
    Degraded,
    /// Takes traffic.
    Up,
}

impl Status {
    /// Whether it takes traffic.
    #[must_use]
    pub const fn takes_traffic(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// The stable code, as regions write it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Down => "DOWN",
            Self::Degraded => "DEGRADED",
            Self::Up => "UP",
        }
    }
}

/// The health of every region of a table, by [`RegionId`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HealthView {
    /// One for each region of the table.
    pub regions: Box<[RegionView]>,
}

impl HealthView {
    /// Every region of `table` up and without lag, one address for each endpoint: for questions that nobody live answers.
    ///
    /// An endpoint by name gets an unspecified address; nothing may be sent there.
    #[must_use]
    pub fn all_up(table: &Table) -> Self {
        let lag: Box<[_]> = vec![None; table.regions().len()].into();
        let unreported: Box<[_]> = vec![None; table.regions().len()].into();
        let region = |region: &Region| RegionView {
            endpoints: (0..)
                .zip(&region.endpoints)
                .map(|(at, endpoint)| EndpointView::up(at, endpoint))
                .collect(),
            lag: lag.clone(),
            reached: unreported.clone(),
            position: None,
            reported: None,
            round_trip: None,
        };
        Self { regions: table.regions().iter().map(region).collect() }
    }

    /// What is known of `region`.
    #[must_use]
    pub fn region(&self, region: RegionId) -> Option<&RegionView> {
        self.regions.get(region.index())
    }
}

/// What is known of one region.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RegionView {
    /// Its endpoints, resolved.
    pub endpoints: Box<[EndpointView]>,
    /// How far its copy lags behind each region, by [`RegionId`]; `None`: not reported.
    pub lag: Box<[Option<Millis>]>,
    /// Up to which of each region's own positions its copy goes, by [`RegionId`]; `None`: not every endpoint says.
    ///
    /// The smallest that an endpoint reports: whoever is asked may be that one.
    pub reached: Box<[Option<u128>]>,
    /// Its own position, the largest that an endpoint reports; `None`: not every endpoint says.
    pub position: Option<u128>,
    /// When the oldest report that the figures above rest on was asked for, on the edge's monotonic clock; `None`:
    /// nothing was reported. What a region wrote before it was asked, less its lag, is in its copy.
    pub reported: Option<Millis>,
    /// The measured round trip; `None`: not measured.
    pub round_trip: Option<Micros>,
}

impl RegionView {
    /// The best status that any endpoint reports for `capability`.
    #[must_use]
    pub fn status(&self, capability: CapabilityId) -> Status {
        self.endpoints.iter().map(|endpoint| endpoint.status(capability)).max().unwrap_or(Status::Unknown)
    }

    /// The best status that any endpoint reports of itself.
    #[must_use]
    pub fn overall(&self) -> Status {
        self.endpoints.iter().map(EndpointView::overall).max().unwrap_or(Status::Unknown)
    }

    /// How far its copy lags behind `owner`.
    #[must_use]
    pub fn lag_behind(&self, owner: RegionId) -> Option<Millis> {
        self.lag.get(owner.index()).copied().flatten()
    }

    /// Up to which of `source`'s own positions its copy goes.
    #[must_use]
    pub fn reached_of(&self, source: RegionId) -> Option<u128> {
        self.reached.get(source.index()).copied().flatten()
    }

    /// The endpoint of this id.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&EndpointView> {
        self.endpoints.get(id.index())
    }
}

/// Whether traffic has broken an endpoint's checks' word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Passive {
    /// Nothing is wrong.
    Trusted,
    /// It takes nothing until its time is up.
    Ejected,
    /// Its time is up: one request may try it. Whoever sends it must claim this trial first; each has its number.
    OnTrial(u32),
}

/// One address of a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointView {
    /// Where.
    pub address: SocketAddr,
    /// Which of the table's endpoints it came from.
    pub declared: u16,
    /// The zone it stands in.
    pub zone: Option<Box<str>>,
    /// The cell it belongs to.
    pub cell: Option<CellId>,
    /// Its share among its equals; never 0.
    pub weight: u16,
    /// What its checks say.
    pub checked: Status,
    /// What it reports of each capability, by [`CapabilityId`]; `None`: as `checked`.
    pub capabilities: Box<[Option<Status>]>,
    /// What traffic says.
    pub passive: Passive,
}

impl EndpointView {
    fn up(declared: u16, endpoint: &Endpoint) -> Self {
        let address = match &endpoint.address {
            Address::Socket(address) => *address,
            Address::Name { port, .. } => SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)),
            Address::Service(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        Self {
            address,
            declared,
            zone: endpoint.zone.clone(),
            cell: endpoint.cell,
            weight: endpoint.weight,
            checked: Status::Up,
            capabilities: Box::default(),
            passive: Passive::Trusted,
        }
    }

    /// What it reports for `capability`, checks and traffic together.
    #[must_use]
    pub fn status(&self, capability: CapabilityId) -> Status {
        let overall = self.overall();
        if !overall.takes_traffic() {
            return overall;
        }
        self.capabilities.get(capability.index()).copied().flatten().unwrap_or(self.checked)
    }

    /// What it reports of itself, checks and traffic together.
    #[must_use]
    pub const fn overall(&self) -> Status {
        match self.passive {
            Passive::Ejected => Status::Down,
            Passive::Trusted | Passive::OnTrial(_) => self.checked,
        }
    }
}

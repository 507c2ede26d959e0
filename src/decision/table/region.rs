//! A region as the table declares it, with its cells. How it is now, [`crate::health`] says.

use super::endpoint::{Check, Endpoint};
use super::tls::RegionTls;
use crate::units::{CellId, RegionId, Weight};

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

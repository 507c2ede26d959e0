//! How requests without an owned tenant choose their region.

use crate::units::RegionId;

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

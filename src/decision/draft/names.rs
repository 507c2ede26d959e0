//! The names that a draft may refer to, each list in the order of its ids.

use crate::units::RegionId;

/// What was named; a place in a list is an id.
pub(super) struct Names {
    pub(super) regions: Vec<String>,
    pub(super) policies: Vec<String>,
    pub(super) classes: Vec<String>,
    pub(super) placements: Vec<String>,
}

impl Names {
    pub(super) fn region(&self, name: &str) -> Option<RegionId> {
        self.regions.binary_search_by(|n| n.as_str().cmp(name)).ok().map(|at| RegionId(at as u8))
    }
}

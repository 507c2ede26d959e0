//! Data that may be in fewer places than its tenant.

use crate::units::RegionSet;

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

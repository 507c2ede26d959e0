//! What no change may break.

/// What every drain, freeze, transfer and table change obeys.
#[derive(Clone, PartialEq, Debug)]
pub struct Safety {
    /// Regions that must keep serving.
    pub min_regions_serving: u32,
    /// The share of the declared capacity that may be drained: 0.0 to 1.0.
    pub max_drained_share: f64,
    /// The share of all tenants that one command may move: 0.0 to 1.0.
    pub max_moved_share: f64,
    /// Whether a tenant without residency is refused at load.
    pub require_residency: bool,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            min_regions_serving: 1,
            max_drained_share: 0.5,
            max_moved_share: 1.0,
            require_residency: false,
        }
    }
}

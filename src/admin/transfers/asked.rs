//! What operators write when they ask something of ownership.
//!
//! Never: judges a value; that is done where it is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose ownership is to move: of a tenant, of a share of what a region owns, or of a share of those at home there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct BeginTransfer {
    /// The tenant; instead of `from` or `home`.
    pub(super) tenant: Option<String>,
    /// The region whose tenants are to move away.
    pub(super) from: Option<String>,
    /// The region whose tenants are to come home from wherever they are owned.
    pub(super) home: Option<String>,
    /// How many of them, in percent: 0 to 100; all unless said.
    pub(super) share: Option<f64>,
    /// A region, `standby` or `home`; left out: `standby`, or `home` where `home` is given.
    pub(super) to: Option<String>,
    /// The time between two waves of that share, until nobody is left, such as `5m`; left out: one wave.
    pub(super) every: Option<String>,
    /// Wait for nothing: the old owner is gone. Writes that it acknowledged may be lost.
    #[serde(default)]
    pub(super) unplanned: bool,
    /// In one line of at most 1000 bytes.
    pub(super) reason: String,
    /// Safety rules that may be broken, by their codes.
    #[serde(default)]
    pub(super) r#override: Vec<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// The same, without doing it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct PlanTransfer {
    pub(super) tenant: Option<String>,
    pub(super) from: Option<String>,
    pub(super) home: Option<String>,
    pub(super) share: Option<f64>,
    pub(super) to: Option<String>,
    #[serde(default)]
    pub(super) unplanned: bool,
}

/// Why writes are paused, and until when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct SetMark {
    /// `frozen`: writes wait a while and are then refused; `read-only`: they are refused. `frozen` unless said.
    pub(super) mode: Option<String>,
    /// In one line of at most 1000 bytes.
    pub(super) reason: String,
    /// How long it is to hold, such as `2h`; left out: until it is undone.
    pub(super) expires_in: Option<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Reason {
    /// In one line of at most 1000 bytes.
    pub(super) reason: String,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Who owns a tenant from now on, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Resolve {
    /// The region.
    pub(super) owner: String,
    /// In one line of at most 1000 bytes.
    pub(super) reason: String,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// A drill that was passed, with which regions.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct PassedDrill {
    /// The regions that took part.
    pub(super) regions: Vec<String>,
    /// In one line of at most 1000 bytes.
    pub(super) reason: String,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// What was kept of a drill.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DrillKept")]
pub(in crate::admin) struct DrillKept {
    pub(super) regions: Vec<String>,
    pub(super) revision: u64,
    pub(super) dry_run: bool,
}

//! From what was written to a table, or all its faults at once.
//!
//! A [`Draft`] holds names; [`Draft::build`] turns them into ids and checks that each refers to something. Then
//! tenants come row by row, streamed, and [`TableBuilder::finish`] gives the table. Each fault names the key it is
//! about, so that a reader of files can say the line.
//!
//! Never: stops at the first fault, or lets one through.

mod classes;
mod faults;
mod names;
mod placements;
mod policies;
mod profile;
mod regions;
mod routes;
mod rows;
mod safety;
mod tenancy;

pub use faults::Fault;
pub use placements::{Hours, PlacementDraft};
pub use regions::{EndpointDraft, RegionDraft};
pub use routes::RouteDraft;
pub use rows::{RowFault, TableBuilder, TenantRow};
pub use tenancy::TenancyDraft;

use std::collections::BTreeMap;

use crate::policy::Policy;
use crate::table::{Region, Route, Safety, Table};
use crate::tenants::Tenants;
use crate::units::MAX_REGIONS;
use classes::class;
use faults::Faults;
use names::Names;
use placements::placement;
use policies::{policies, policy_names};
use regions::region;
use routes::{Interned, route, unique_route_names};
use safety::safety;
use tenancy::tenancy;

/// As many policies, routes, services, capabilities, classes or placements as their ids can number.
const MAX_NAMED: usize = u16::MAX as usize;

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
        (TableBuilder::new(table), faults.0)
    }
}

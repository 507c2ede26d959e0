//! What a tenant has in common with others: its regions, residency, policy and cell, held against the table.

use super::classes::{jurisdictions, within};
use super::faults::no_such;
use super::rows::{RowFault, TenantRow};
use crate::table::Table;
use crate::tenants::Profile;
use crate::units::{PolicyId, RegionId, RegionSet};

/// What the row has in common with others, held against the table; `None` when its home is unknown.
pub(super) fn profile(table: &Table, row: &TenantRow<'_>, faults: &mut Vec<RowFault>) -> Option<Profile> {
    let before = faults.len();
    let names = table.regions.iter().map(|region| region.name.as_ref());
    let mut list = |column: &'static str, written: &str| -> Box<[RegionId]> {
        let mut ids = Vec::new();
        for name in written.split_ascii_whitespace() {
            match table.region_named(name) {
                Some(id) if ids.contains(&id) => {
                    let what = format!("{name:?} is named twice");
                    faults.push(RowFault { column, what, fix: "name each region once".into() });
                }
                Some(id) => ids.push(id),
                None => {
                    let (what, fix) = no_such("region", name, names.clone());
                    faults.push(RowFault { column, what, fix });
                }
            }
        }
        ids.into_boxed_slice()
    };
    let standby = list("standby", row.standby);
    let replicas = list("replicas", row.replicas);
    let home = table.region_named(row.home);
    if home.is_none() {
        let (what, fix) = match row.home {
            "" => ("the tenant has no home".into(), "name its home region".into()),
            home => no_such("region", home, names),
        };
        faults.push(RowFault { column: "home", what, fix });
    }
    let residency: Box<[Box<str>]> = row.residency.split_ascii_whitespace().map(Box::from).collect();
    let known = jurisdictions(&table.regions);
    for jurisdiction in residency.iter().filter(|j| !known.iter().any(|k| *k == ***j)) {
        let (what, fix) = no_such("jurisdiction", jurisdiction, known.iter().map(String::as_str));
        faults.push(RowFault { column: "residency", what, fix });
    }
    if residency.is_empty() && table.safety.require_residency {
        let what = "the tenant has no residency, and safety.require_residency is true".into();
        faults.push(RowFault {
            column: "residency",
            what,
            fix: "name the jurisdictions it may reach".into(),
        });
    }
    let policy = match row.policy {
        "" => Some(0),
        name => table.policies.iter().position(|policy| policy.name.as_ref() == name),
    };
    if policy.is_none() {
        let (what, fix) = no_such("policy", row.policy, table.policies.iter().map(|p| p.name.as_ref()));
        faults.push(RowFault { column: "policy", what, fix });
    }
    if !row.cell.is_empty() && !table.regions.iter().any(|region| region.cell_named(row.cell).is_some()) {
        let cells = table.regions.iter().flat_map(|region| &region.cells).map(|cell| cell.name.as_ref());
        let (what, fix) = no_such("cell", row.cell, cells);
        faults.push(RowFault { column: "cell", what, fix });
    }
    let home = home?;
    let allowed = if residency.is_empty() { RegionSet::ALL } else { within(&table.regions, &residency) };
    let members = [
        ("home", std::slice::from_ref(&home)),
        ("standby", standby.as_ref()),
        ("replicas", replicas.as_ref()),
    ];
    for (column, ids) in members {
        for id in ids.iter().filter(|id| !residency.is_empty() && !allowed.contains(**id)) {
            let jurisdiction = table.region(*id).map_or("", |region| &region.jurisdiction);
            let name = table.region_name(*id);
            let what = format!(
                "{name:?} lies in {jurisdiction:?}, outside the tenant's residency ({})",
                row.residency
            );
            let fix = format!("add {jurisdiction:?} to the residency, or name a region that lies in it");
            faults.push(RowFault { column, what, fix });
        }
    }
    for (column, ids) in [("standby", &standby), ("replicas", &replicas)] {
        if ids.contains(&home) {
            let what = format!("{:?} is the tenant's home already", row.home);
            faults.push(RowFault { column, what, fix: "leave it out".into() });
        }
    }
    if faults.len() > before {
        return None;
    }
    let may_own: RegionSet = standby.iter().copied().chain([home]).collect();
    Some(Profile {
        home,
        read_set: replicas.iter().copied().fold(may_own, RegionSet::with),
        may_own,
        standby,
        replicas,
        residency,
        allowed,
        policy: PolicyId(policy? as u16),
        cell: (!row.cell.is_empty()).then(|| row.cell.into()),
    })
}

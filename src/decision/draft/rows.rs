//! Tenants, row by row: each is checked as it comes, and kept small.
//!
//! Rows that share all but id, epoch and state share a [`Profile`](crate::tenants::Profile), which is worked out once.

use hashbrown::HashMap;

use super::faults::shortened;
use super::profile::profile;
use crate::table::Table;
use crate::tenants::{
    BySeedless, MAX_TENANT_ID, ProfileId, Repeated, TenantState, TenantsBuilder, is_tenant_id,
};
use crate::units::Epoch;

/// One tenant, as it was written. Lists are separated by spaces; what is empty is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// The name of its home.
    pub home: &'a str,
    /// Names of regions.
    pub standby: &'a str,
    /// Names of regions.
    pub replicas: &'a str,
    /// Jurisdictions.
    pub residency: &'a str,
    /// The epoch, in decimals; empty: 1.
    pub epoch: &'a str,
    /// The name of a policy; empty: `default`.
    pub policy: &'a str,
    /// The name of a cell.
    pub cell: &'a str,
    /// `active`, `frozen` or `read-only`; empty: `active`.
    pub state: &'a str,
}

/// One thing that is wrong with a tenant's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowFault {
    /// The column, or key, it is about.
    pub column: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

/// A table that waits for its tenants.
pub struct TableBuilder {
    table: Table,
    tenants: TenantsBuilder,
    profiles: HashMap<Box<str>, ProfileId, BySeedless>,
    key: String,
}

impl TableBuilder {
    /// A builder that gives `table` its tenants.
    pub(super) fn new(table: Table) -> Self {
        let profiles = HashMap::with_hasher(BySeedless);
        Self { table, tenants: TenantsBuilder::default(), profiles, key: String::new() }
    }

    /// Adds a tenant. `mark` is the caller's own (a line, say); it comes back where a tenant was given twice.
    ///
    /// # Errors
    /// Everything that is wrong with the row; nothing is added then.
    pub fn tenant(&mut self, row: &TenantRow<'_>, mark: u64) -> Result<(), Vec<RowFault>> {
        let mut faults = Vec::new();
        if !is_tenant_id(row.id.as_bytes()) {
            let what = format!("{:?} cannot name a tenant", shortened(row.id));
            let fix = format!("write 1 to {MAX_TENANT_ID} characters of A-Z, a-z, 0-9, '.', '_' and '-'");
            faults.push(RowFault { column: "id", what, fix });
        }
        let epoch = match row.epoch {
            "" => Epoch(1),
            written => written.parse().map(Epoch).unwrap_or_else(|_| {
                let what = format!("{:?} is not an epoch", shortened(written));
                faults.push(RowFault {
                    column: "epoch",
                    what,
                    fix: "write a whole number, 1 or more".into(),
                });
                Epoch(1)
            }),
        };
        if epoch.0 == 0 {
            let fix = "epochs begin at 1".into();
            faults.push(RowFault { column: "epoch", what: "0 is not an epoch".into(), fix });
        }
        let state = match row.state {
            "" => TenantState::Active,
            written => TenantState::ALL.into_iter().find(|s| s.code() == written).unwrap_or_else(|| {
                let what = format!("there is no state {:?}", shortened(written));
                let fix = "write \"active\", \"frozen\" or \"read-only\"".into();
                faults.push(RowFault { column: "state", what, fix });
                TenantState::Active
            }),
        };
        self.key.clear();
        for column in [row.home, row.standby, row.replicas, row.residency, row.policy, row.cell] {
            self.key.push_str(column);
            self.key.push('\u{1f}');
        }
        let profile = match self.profiles.get(self.key.as_str()) {
            Some(known) => *known,
            None => match profile(&self.table, row, &mut faults) {
                Some(new) if faults.is_empty() => {
                    let id = self.tenants.profile(new);
                    self.profiles.insert(self.key.as_str().into(), id);
                    id
                }
                _ => return Err(faults),
            },
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        self.tenants.add(row.id, profile, epoch, state, mark);
        Ok(())
    }

    /// Builds the table.
    ///
    /// # Errors
    /// The tenants that were given more than once.
    pub fn finish(self) -> Result<Table, Vec<Repeated>> {
        self.finish_pausing(|| {})
    }

    /// The same; calls `pause` every now and then, for whoever must not keep others waiting.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_pausing(self, pause: impl FnMut()) -> Result<Table, Vec<Repeated>> {
        let tenants = self.tenants.build(pause)?;
        Ok(Table { tenants, ..self.table })
    }
}

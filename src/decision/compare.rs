//! What a new table would move, and whether its epochs allow it.
//!
//! Ids of two tables number differently, so regions are compared by name.

mod edits;

pub use edits::{Edit, edits};

use crate::ownership::Ownerships;
use crate::table::Table;
use crate::tenants::{Profile, Tenant};
use crate::units::{Epoch, RegionId};

/// What lies between two tables.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    /// Tenants that both have, whose home differs.
    pub rehomed: usize,
    /// Tenants that only the old one has.
    pub dropped: usize,
    /// Tenants that only the new one has.
    pub added: usize,
    /// Tenants that both have, whose home is the same and something else differs.
    pub changed: usize,
    /// The share of the old one's tenants that the new one re-homes or drops, in percent.
    pub moved_percent: f64,
    /// The first tenants that differ, by name.
    pub examples: Vec<Moved>,
    /// Tenants whose epoch forbids the change; the first thousand.
    pub epoch_faults: Vec<EpochFault>,
    /// Regions that only the new one has.
    pub regions_added: Vec<String>,
    /// Regions that only the old one has.
    pub regions_dropped: Vec<String>,
    /// What differs besides tenants, key by key.
    pub edits: Vec<Edit>,
}

/// One tenant that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Its id.
    pub tenant: String,
    /// Its home in the old table.
    pub from: Option<String>,
    /// Its home in the new one.
    pub to: Option<String>,
}

/// A tenant whose epoch is too low for what the new table says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochFault {
    /// Its id.
    pub tenant: String,
    /// The epoch in force.
    pub in_force: Epoch,
    /// The epoch that was written.
    pub written: Epoch,
    /// Whether home or owner changes.
    pub moves: bool,
}

const EXAMPLES: usize = 20;
const TOLD: usize = 1_000;

/// So many tenants are compared between two pauses: some ten microseconds.
const BETWEEN_PAUSES: usize = 64;

/// Holds `new` against `old` and the ownership in force.
#[must_use]
pub fn compare(old: &Table, ownership: &Ownerships, new: &Table) -> Difference {
    compare_pausing(old, ownership, new, || {})
}

/// The same; calls `pause` every now and then, for whoever must not keep others waiting.
#[must_use]
pub fn compare_pausing(
    old: &Table,
    ownership: &Ownerships,
    new: &Table,
    mut pause: impl FnMut(),
) -> Difference {
    let mut difference = Difference {
        regions_added: only_in(new, old),
        regions_dropped: only_in(old, new),
        edits: edits(old, new),
        ..Difference::default()
    };
    let renumbered: Vec<Option<RegionId>> =
        old.regions().iter().map(|region| new.region_named(&region.name)).collect();
    let in_new = |id: RegionId| renumbered.get(id.index()).copied().flatten();
    let mut alike = Alike::default();
    let mut kept = 0;
    for (count, (id, before)) in old.tenants().iter().enumerate() {
        if count % BETWEEN_PAUSES == 0 {
            pause();
        }
        let now = ownership.of(id, &before);
        let from = old.region_name(before.profile.home);
        let Some(after) = new.tenants().find(id) else {
            difference.dropped += 1;
            difference.example(id, from, None);
            continue;
        };
        kept += 1;
        let rehomed = in_new(before.profile.home) != Some(after.profile.home);
        let owner_moves = match in_new(now.owner) {
            None => true,
            Some(owner) => owner != after.profile.home && after.epoch != before.epoch,
        };
        if rehomed {
            difference.rehomed += 1;
            difference.example(id, from, Some(new.region_name(after.profile.home)));
        } else if after.epoch != before.epoch
            || after.state != before.state
            || !alike.are(old, new, &before, &after)
        {
            difference.changed += 1;
        }
        let falls = after.epoch < before.epoch;
        let moves = rehomed || owner_moves;
        if (falls || (moves && after.epoch <= now.epoch)) && difference.epoch_faults.len() < TOLD {
            let in_force = now.epoch;
            difference.epoch_faults.push(EpochFault {
                tenant: id.to_owned(),
                in_force,
                written: after.epoch,
                moves,
            });
        }
    }
    difference.added = new.tenants().len() - kept;
    let moved = difference.rehomed + difference.dropped;
    difference.moved_percent =
        if moved == 0 { 0.0 } else { 100.0 * moved as f64 / old.tenants().len() as f64 };
    difference.epoch_faults.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    difference
}

impl Difference {
    fn example(&mut self, tenant: &str, from: &str, to: Option<&str>) {
        let at = self.examples.partition_point(|earlier| *earlier.tenant < *tenant);
        if at < EXAMPLES {
            self.examples.truncate(EXAMPLES - 1);
            let (from, to) = (Some(from.to_owned()), to.map(str::to_owned));
            self.examples.insert(at, Moved { tenant: tenant.to_owned(), from, to });
        }
    }
}

fn only_in(these: &Table, others: &Table) -> Vec<String> {
    let names = these.regions().iter().map(|region| region.name.as_ref());
    names.filter(|name| others.region_named(name).is_none()).map(str::to_owned).collect()
}

/// Whether two profiles say the same; remembered, as many tenants share few profiles.
#[derive(Default)]
struct Alike(std::collections::HashMap<(*const Profile, *const Profile), bool>);

impl Alike {
    fn are(&mut self, old: &Table, new: &Table, before: &Tenant<'_>, after: &Tenant<'_>) -> bool {
        let (a, b) = (before.profile, after.profile);
        *self.0.entry((a, b)).or_insert_with(|| {
            let names = |table: &Table, ids: &[RegionId]| -> Vec<String> {
                ids.iter().map(|id| table.region_name(*id).to_owned()).collect()
            };
            let policy = |table: &Table, id| table.policy(id).map(|policy| policy.name.clone());
            names(old, &a.standby) == names(new, &b.standby)
                && names(old, &a.replicas) == names(new, &b.replicas)
                && a.residency == b.residency
                && a.cell == b.cell
                && policy(old, a.policy) == policy(new, b.policy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{Draft, EndpointDraft, RegionDraft, TenancyDraft, TenantRow};
    use crate::ownership::{Ownership, State};
    use crate::table::{Address, Check, CheckKind, Role, Source};
    use crate::units::{Millis, Weight};

    /// A table of these regions, with rows of id, home and epoch.
    fn table(regions: &[&str], rows: &[(&str, &str, &str)]) -> Table {
        let region = |name: &str| RegionDraft {
            jurisdiction: "eu".into(),
            role: Role::Active,
            weight: Weight::FULL,
            near: None,
            countries: Vec::new(),
            capacity: None,
            max_in_flight: None,
            gateway: false,
            check: Check {
                kind: CheckKind::Tcp,
                interval: Millis(2_000),
                timeout: Millis(1_000),
                rise: 2,
                fall: 3,
            },
            tls: None,
            http2: false,
            cells: (0..256).map(|cell| (format!("{cell:03}"), Weight::FULL)).collect(),
            endpoints: (0..256)
                .map(|cell| EndpointDraft {
                    address: Address::Name { host: format!("{cell}.{name}").into(), port: 80 },
                    zone: None,
                    cell: Some(format!("{cell:03}")),
                    weight: 1,
                })
                .collect(),
        };
        let draft = Draft {
            tenancy: TenancyDraft { from: vec![Source::Header("t".into())], ..TenancyDraft::default() },
            regions: regions.iter().map(|name| ((*name).to_owned(), region(name))).collect(),
            ..Draft::default()
        };
        let (mut builder, faults) = draft.build();
        assert_eq!(faults, []);
        for (id, home, epoch) in rows {
            builder.tenant(&TenantRow { id, home, epoch, ..TenantRow::default() }, 0).unwrap();
        }
        builder.finish().unwrap()
    }

    fn moved(on: &Table, tenant: &str, owner: RegionId, epoch: u64) -> Ownerships {
        let ownership = Ownership { owner, epoch: Epoch(epoch), state: State::Active };
        Ownerships::supposed([(tenant, ownership)], on)
    }

    fn faulty(difference: &Difference) -> Vec<(&str, u64, u64, bool)> {
        let faults = difference.epoch_faults.iter();
        faults.map(|f| (f.tenant.as_str(), f.in_force.0, f.written.0, f.moves)).collect()
    }

    #[test]
    fn a_table_differs_not_from_itself() {
        let one = table(&["a", "b"], &[("acme", "a", "7"), ("globex", "b", "")]);
        assert_eq!(compare(&one, &Ownerships::default(), &one), Difference::default());
    }

    #[test]
    fn every_kind_of_difference_is_counted() {
        let old = table(
            &["a", "b"],
            &[("gone", "a", ""), ("kept", "a", ""), ("moved", "a", "1"), ("raised", "a", "1")],
        );
        let new = table(
            &["a", "b", "c"],
            &[("kept", "a", ""), ("moved", "b", "2"), ("new", "c", ""), ("raised", "a", "2")],
        );
        let d = compare(&old, &Ownerships::default(), &new);
        assert_eq!((d.rehomed, d.dropped, d.added, d.changed), (1, 1, 1, 1));
        assert!((d.moved_percent - 50.0).abs() < 1e-9);
        assert_eq!((d.regions_added, d.regions_dropped), (vec!["c".to_owned()], vec![]));
        assert_eq!(d.epoch_faults, []);
    }

    #[test]
    fn a_new_home_needs_a_higher_epoch() {
        let old = table(&["a", "b"], &[("acme", "a", "7")]);
        for (epoch, faults) in [("6", 1), ("7", 1), ("8", 0)] {
            let d = compare(&old, &Ownerships::default(), &table(&["a", "b"], &[("acme", "b", epoch)]));
            assert_eq!(d.epoch_faults.len(), faults, "epoch {epoch}");
        }
    }

    #[test]
    fn an_epoch_never_falls() {
        let (old, new) = (table(&["a"], &[("acme", "a", "7")]), table(&["a"], &[("acme", "a", "6")]));
        assert_eq!(faulty(&compare(&old, &Ownerships::default(), &new)), [("acme", 7, 6, false)]);
    }

    #[test]
    fn regions_that_are_numbered_otherwise_are_the_same_by_name() {
        let (old, new) =
            (table(&["b", "c"], &[("acme", "c", "")]), table(&["a", "b", "c"], &[("acme", "c", "")]));
        let d = compare(&old, &Ownerships::default(), &new);
        assert_eq!((d.rehomed, d.changed, d.epoch_faults.len()), (0, 0, 0));
        let same_number = table(&["a", "b"], &[("acme", "b", "")]);
        assert_eq!(compare(&old, &Ownerships::default(), &same_number).rehomed, 1);
    }

    #[test]
    fn a_moved_owner_is_overruled_by_a_higher_epoch_alone() {
        let old = table(&["a", "b"], &[("acme", "a", "7")]);
        let moved = moved(&old, "acme", RegionId(1), 9);
        for (epoch, faults) in [("7", 0), ("8", 1), ("9", 1), ("10", 0)] {
            let d = compare(&old, &moved, &table(&["a", "b"], &[("acme", "a", epoch)]));
            assert_eq!(d.epoch_faults.len(), faults, "epoch {epoch}");
        }
    }

    #[test]
    fn a_table_may_not_drop_the_region_that_a_tenant_was_moved_to() {
        let (old, new) = (table(&["a", "b"], &[("acme", "a", "7")]), table(&["a"], &[("acme", "a", "7")]));
        assert_eq!(
            faulty(&compare(&old, &moved(&old, "acme", RegionId(1), 9), &new)),
            [("acme", 9, 7, true)]
        );
        let raised = table(&["a"], &[("acme", "a", "10")]);
        assert_eq!(compare(&old, &moved(&old, "acme", RegionId(1), 9), &raised).epoch_faults, []);
    }

    #[test]
    fn long_work_pauses_and_comes_to_the_same() {
        let ids: Vec<String> = (0..10 * BETWEEN_PAUSES).map(|i| format!("t{i}")).collect();
        let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), "a", "")).collect();
        let (old, new, mut pauses) = (table(&["a"], &rows), table(&["a"], &rows[1..]), 0);
        let paused = compare_pausing(&old, &Ownerships::default(), &new, || pauses += 1);
        assert_eq!((pauses, paused), (10, compare(&old, &Ownerships::default(), &new)));
    }

    #[test]
    fn examples_are_the_first_by_name() {
        let ids: Vec<String> = (0..100).map(|i| format!("t{i:02}")).collect();
        let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), "a", "")).collect();
        let d = compare(&table(&["a"], &rows), &Ownerships::default(), &table(&["a"], &[]));
        assert_eq!((d.dropped, d.examples.len()), (100, EXAMPLES));
        assert!(
            d.examples.iter().zip(&ids).all(|(example, id)| example.tenant == *id && example.to.is_none())
        );
    }
}

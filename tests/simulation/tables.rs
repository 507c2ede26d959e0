//! Tables that somebody might push: mostly well meant, some of them wrong.

use std::collections::BTreeMap;

use rhumb_decision::table::Role;
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::Weight;

use crate::chance::Chance;
use crate::spec::{PLACEMENTS, POLICIES, RegionSpec, Spec, TenantSpec};

/// Every region there could be, by name and jurisdiction. The first comes and goes, and renumbers all others.
pub const REGIONS: [(&str, &str); 6] = [
    ("aa-north-1", "eu"),
    ("eu-central-1", "eu"),
    ("eu-west-1", "eu"),
    ("id-jakarta-1", "id"),
    ("us-east-1", "us"),
    ("us-west-2", "us"),
];

pub const TENANTS: [&str; 8] = ["acme", "bank", "court", "dairy", "epic", "fjord", "globex", "hooli"];

/// The table that a run begins with.
pub fn first(chance: &mut Chance) -> Spec {
    let regions = REGIONS[1..].iter().map(|(name, j)| ((*name).to_owned(), region(chance, j))).collect();
    let mut spec = Spec { regions, tenants: BTreeMap::new(), unknown: Some(chance.of(&PLACEMENTS)) };
    for name in TENANTS {
        let tenant = tenant(chance, &spec, 1);
        spec.tenants.insert(name.into(), tenant);
    }
    spec
}

/// The same table with a few changes. `highest` is the highest epoch that each tenant ever had.
pub fn changed(chance: &mut Chance, spec: &Spec, highest: &BTreeMap<String, u64>) -> Spec {
    let before = spec;
    let mut spec = spec.clone();
    for _ in 0..=chance.below(3) {
        change(chance, &mut spec, highest);
    }
    // A table remembers nobody whom an earlier one dropped, so whoever brings a tenant back raises its epoch.
    for (name, row) in spec.tenants.iter_mut().filter(|(name, _)| !before.tenants.contains_key(*name)) {
        row.epoch = row.epoch.max(highest.get(name).map_or(1, |known| known + 1));
    }
    spec
}

fn change(chance: &mut Chance, spec: &mut Spec, highest: &BTreeMap<String, u64>) {
    let name = chance.of(&TENANTS);
    let known = highest.get(name).copied().unwrap_or(0);
    let names: Vec<String> = spec.regions.keys().cloned().collect();
    match chance.below(10) {
        // Another home, or the same: under a higher epoch, the same, or a lower one.
        0..=3 => {
            let made = tenant(chance, spec, 0);
            if let Some(row) = spec.tenants.get_mut(name) {
                let epoch = [known + 1, known + 5, row.epoch, known, row.epoch.saturating_sub(1)];
                *row = TenantSpec { epoch: chance.of(&epoch), ..made };
            }
        }
        4 => {
            if let Some(row) = spec.tenants.get_mut(name) {
                row.epoch = chance.of(&[known + 1, known, row.epoch, row.epoch + 1]);
            }
        }
        5 => {
            spec.tenants.remove(name);
        }
        6 if !spec.tenants.contains_key(name) => {
            let back = tenant(chance, spec, known + 1);
            spec.tenants.insert(name.into(), back);
        }
        6 | 7 => {
            let (name, jurisdiction) = chance.of(&REGIONS);
            if spec.regions.remove(name).is_none() {
                let back = region(chance, jurisdiction);
                spec.regions.insert(name.into(), back);
            }
        }
        8 => {
            let changed = chance.of(&names);
            let (role, weight) = (role(chance), weight(chance));
            if let Some(region) = spec.regions.get_mut(&changed) {
                (region.role, region.weight) = (role, weight);
            }
        }
        _ => spec.unknown = chance.percent(80).then(|| chance.of(&PLACEMENTS)),
    }
}

fn region(chance: &mut Chance, jurisdiction: &'static str) -> RegionSpec {
    RegionSpec {
        jurisdiction,
        role: role(chance),
        weight: Weight::FULL,
        near: None,
        endpoints: 1 + chance.below(3),
        cells: chance.percent(20),
        gateway: false,
    }
}

fn role(chance: &mut Chance) -> Role {
    if chance.percent(75) { Role::Active } else { chance.of(&Role::ALL) }
}

/// 0 and 100 more often than what lies between.
pub fn weight(chance: &mut Chance) -> Weight {
    match chance.below(4) {
        0 => Weight::NONE,
        1 => Weight::FULL,
        _ => Weight::hundredths(chance.below(10_001) as u16),
    }
}

fn tenant(chance: &mut Chance, spec: &Spec, epoch: u64) -> TenantSpec {
    let names: Vec<String> = spec.regions.keys().cloned().collect();
    let home = names.get(chance.below(names.len().max(1))).cloned().unwrap_or_default();
    let others: Vec<String> = names.into_iter().filter(|name| *name != home).collect();
    let jurisdiction = spec.regions.get(&home).map_or("eu", |region| region.jurisdiction);
    let residency = if chance.percent(50) { vec![jurisdiction] } else { Vec::new() };
    // Now and then a list that leaves the residency: such a table is refused whole.
    let careless = chance.percent(3);
    let legal: Vec<String> = others
        .into_iter()
        .filter(|name| {
            careless || residency.is_empty() || residency.contains(&spec.regions[name].jurisdiction)
        })
        .collect();
    let standby = chance.some(&legal, 50);
    let rest: Vec<String> = legal.into_iter().filter(|name| !standby.contains(name)).collect();
    TenantSpec {
        home,
        standby,
        replicas: chance.some(&rest, 50),
        residency,
        epoch,
        policy: chance.of(&POLICIES),
        state: if chance.percent(85) { TenantState::Active } else { chance.of(&TenantState::ALL) },
    }
}

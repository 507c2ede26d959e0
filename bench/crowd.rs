//! Tables with as many tenants as a bench wants.

use rhumb_decision::draft::TenantRow;
use rhumb_decision::table::{Role, Table};
use rhumb_decision::units::Weight;

use crate::spec::{RegionSpec, Spec};

const REGIONS: [(&str, &str); 4] =
    [("ap-south-1", "in"), ("eu-central-1", "eu"), ("eu-west-1", "eu"), ("us-east-1", "us")];

/// The id of the tenant of this number.
#[allow(dead_code, reason = "the bench of tables alone asks for single tenants")]
pub fn id(number: usize) -> String {
    format!("tenant-{number:07}")
}

/// Four regions and `count` tenants at home in them, two in three of which have standby, replica and residency.
pub fn table(count: usize, epoch: &str) -> Table {
    let region = |jurisdiction| RegionSpec {
        jurisdiction,
        role: Role::Active,
        weight: Weight::FULL,
        near: None,
        endpoints: 2,
        cells: false,
        gateway: false,
    };
    let spec = Spec {
        regions: REGIONS.map(|(name, jurisdiction)| (name.to_owned(), region(jurisdiction))).into(),
        tenants: std::collections::BTreeMap::new(),
        unknown: None,
    };
    let mut builder = spec.builder().unwrap();
    let mut written = String::new();
    for number in 0..count {
        written.clear();
        std::fmt::Write::write_fmt(&mut written, format_args!("tenant-{number:07}")).unwrap();
        let row = match number % 3 {
            0 => TenantRow { home: "us-east-1", replicas: "eu-west-1", ..TenantRow::default() },
            1 => TenantRow {
                home: "eu-west-1",
                standby: "eu-central-1",
                residency: "eu",
                ..TenantRow::default()
            },
            _ => TenantRow { home: "ap-south-1", ..TenantRow::default() },
        };
        builder.tenant(&TenantRow { id: &written, epoch, ..row }, number as u64).unwrap();
    }
    builder.finish().unwrap()
}

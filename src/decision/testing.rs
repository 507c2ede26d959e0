//! Small tables for the tests within this crate.

use crate::draft::{Draft, EndpointDraft, RegionDraft, TenancyDraft, TenantRow};
use crate::table::{Address, Check, CheckKind, Role, Safety, Source, Table};
use crate::units::{Millis, Weight};

/// One region, whose jurisdiction is its name; whole unless it is given cells.
pub(crate) struct Here {
    pub name: &'static str,
    pub role: Role,
    pub weight: u8,
    pub capacity: Option<u32>,
    pub cells: &'static [(&'static str, u8)],
}

/// An active region of full weight, built for a hundred requests a second.
pub(crate) fn here(name: &'static str) -> Here {
    Here { name, role: Role::Active, weight: 100, capacity: Some(100), cells: &[] }
}

/// A table of these regions, with rows of id, home, replicas and residency.
pub(crate) fn table(regions: &[Here], safety: Safety, rows: &[[&str; 4]]) -> Table {
    let draft = Draft {
        tenancy: TenancyDraft { from: vec![Source::Header("t".into())], ..TenancyDraft::default() },
        regions: regions.iter().map(|here| (here.name.to_owned(), here.draft())).collect(),
        safety,
        ..Draft::default()
    };
    let (mut builder, faults) = draft.build();
    assert_eq!(faults, []);
    for [id, home, replicas, residency] in rows {
        builder.tenant(&TenantRow { id, home, replicas, residency, ..TenantRow::default() }, 0).unwrap();
    }
    builder.finish().unwrap()
}

impl Here {
    fn draft(&self) -> RegionDraft {
        let kind = CheckKind::Tcp;
        let (interval, timeout) = (Millis(2_000), Millis(1_000));
        let endpoint = |cell: Option<&str>| EndpointDraft {
            address: Address::Name {
                host: format!("{}.{}", cell.unwrap_or("all"), self.name).into(),
                port: 80,
            },
            zone: None,
            cell: cell.map(str::to_owned),
            weight: 1,
        };
        let cells = self.cells.iter().map(|(name, weight)| ((*name).to_owned(), Weight::percent(*weight)));
        RegionDraft {
            jurisdiction: self.name.into(),
            role: self.role,
            weight: Weight::percent(self.weight),
            near: None,
            countries: Vec::new(),
            capacity: self.capacity,
            max_in_flight: None,
            gateway: false,
            check: Check { kind, interval, timeout, rise: 2, fall: 3 },
            tls: None,
            http2: false,
            cells: cells.collect(),
            endpoints: match self.cells {
                [] => vec![endpoint(None)],
                cells => cells.iter().map(|(name, _)| endpoint(Some(name))).collect(),
            },
        }
    }
}

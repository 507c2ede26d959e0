//! Regions with their cells and endpoints, as written and held against each other.

use std::collections::BTreeMap;

use super::faults::Faults;
use super::names::Names;
use crate::table::{Address, Cell, Check, Endpoint, Region, RegionTls, Role};
use crate::units::{CellId, Key, Weight};

/// See [`Region`].
#[derive(Clone, Debug)]
pub struct RegionDraft {
    /// Where it lies in law.
    pub jurisdiction: String,
    /// What it may do.
    pub role: Role,
    /// Its weight.
    pub weight: Weight,
    /// Names of regions.
    pub near: Option<Vec<String>>,
    /// Two upper-case letters each.
    pub countries: Vec<[u8; 2]>,
    /// Requests per second.
    pub capacity: Option<u32>,
    /// Requests in flight.
    pub max_in_flight: Option<u32>,
    /// Whether its endpoints are gateways.
    pub gateway: bool,
    /// How endpoints are checked.
    pub check: Check,
    /// TLS.
    pub tls: Option<RegionTls>,
    /// HTTP/2.
    pub http2: bool,
    /// Cells with their weights.
    pub cells: BTreeMap<String, Weight>,
    /// Endpoints.
    pub endpoints: Vec<EndpointDraft>,
}

/// See [`Endpoint`].
#[derive(Clone, Debug)]
pub struct EndpointDraft {
    /// Where.
    pub address: Address,
    /// The zone.
    pub zone: Option<String>,
    /// The name of a cell.
    pub cell: Option<String>,
    /// The share; at least 1.
    pub weight: u16,
}

pub(super) fn region(name: String, draft: RegionDraft, names: &Names, faults: &mut Faults) -> Region {
    let at = ["regions", name.as_str()];
    let near = draft.near.map(|near| {
        let mut ids = Vec::new();
        for (i, other) in near.iter().enumerate() {
            let place = [at[0], at[1], "near", &i.to_string()];
            match names.region(other) {
                None => faults.no_such(&place, "region", other, &names.regions),
                Some(id) if ids.contains(&id) => {
                    faults.tell(&place, format!("{other:?} is named twice"), "name each region once".into());
                }
                Some(_) if *other == name => {
                    faults.tell(&place, "a region is not near itself".into(), "leave it out".into());
                }
                Some(id) => ids.push(id),
            }
        }
        ids.into_boxed_slice()
    });
    let cells: Box<[Cell]> = draft
        .cells
        .iter()
        .take(256)
        .map(|(cell, weight)| Cell {
            name: cell.as_str().into(),
            hash: Key::of(format!("{name}/{cell}").as_bytes()).0,
            weight: *weight,
        })
        .collect();
    if draft.cells.len() > cells.len() {
        let what = format!("{} cells are more than the 256 that a region may have", draft.cells.len());
        faults.tell(&["regions", &name, "cells"], what, "split the region".into());
    }
    // What takes nothing needs no place to take it: so a gateway's table names the regions that it does not stand in.
    if draft.endpoints.is_empty() && draft.role != Role::Off {
        let fix = "write endpoints = [\"10.1.0.10:8080\"], or role = \"off\"".into();
        faults.tell(&["regions", &name, "endpoints"], "the region has no endpoint".into(), fix);
    }
    let cell_names: Vec<String> = draft.cells.keys().cloned().collect();
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (i, endpoint) in draft.endpoints.into_iter().enumerate() {
        let place = ["regions", name.as_str(), "endpoints", &i.to_string()];
        let cell = match &endpoint.cell {
            Some(cell) => {
                let found = cell_names.iter().position(|c| c == cell).map(|c| CellId(c as u8));
                if found.is_none() {
                    faults.no_such(&place, "cell", cell, &cell_names);
                }
                found
            }
            None if cell_names.is_empty() => None,
            None => {
                let what = format!("the region has cells, and {} names none", endpoint.address);
                faults.tell(&place, what, "write { address = \"…\", cell = \"…\" }".into());
                None
            }
        };
        if endpoints.iter().any(|e| e.address == endpoint.address) {
            let what = format!("{} is named twice", endpoint.address);
            faults.tell(&place, what, "name each endpoint once".into());
        }
        let zone = endpoint.zone.map(String::into_boxed_str);
        endpoints.push(Endpoint { address: endpoint.address, zone, cell, weight: endpoint.weight.max(1) });
    }
    for (c, cell) in cell_names.iter().enumerate() {
        if !endpoints.iter().any(|e| e.cell == Some(CellId(c as u8))) {
            let what = format!("no endpoint belongs to cell {cell:?}");
            faults.tell(
                &["regions", &name, "cells", cell],
                what,
                format!("give an endpoint cell = {cell:?}"),
            );
        }
    }
    Region {
        hash: Key::of(name.as_bytes()).0,
        name: name.into(),
        jurisdiction: draft.jurisdiction.into(),
        role: draft.role,
        weight: draft.weight,
        near,
        countries: draft.countries.into(),
        capacity: draft.capacity,
        max_in_flight: draft.max_in_flight,
        gateway: draft.gateway,
        check: draft.check,
        tls: draft.tls,
        http2: draft.http2,
        cells,
        endpoints: endpoints.into(),
    }
}

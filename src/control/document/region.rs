//! A region as written.

use rhumb_decision::draft::{EndpointDraft, RegionDraft};
use rhumb_decision::table::{Check, CheckKind, Role};
use rhumb_decision::units::{Millis, Weight};

use super::convert::Conversion;
use super::places::At;
use super::policy::millis;
use super::shape::{CheckDoc, EndpointDoc, HealthDoc, List, RegionDoc, RoleDoc};
use super::values::EndpointText;
use crate::problem::given::{Given, TextOr};
use crate::problem::values::{Name, Whole};

/// So many endpoints of one region, all of which are compared and checked.
const MOST_ENDPOINTS: usize = 1000;

/// Makes a region. A bad one stays a region, of which nothing more is told.
pub(super) fn region(at: &At, written: Given<RegionDoc>, to: &mut Conversion<'_>) -> RegionDraft {
    if !matches!(written, Given::Good(..)) {
        to.places.doubt_below(at.clone());
        to.doubts.residency = true;
        to.doubts.cell = true;
        return draft(RegionDoc::default());
    }
    let mut doc = written.good().unwrap_or_default();
    let jurisdiction = std::mem::take(&mut doc.jurisdiction);
    let jurisdiction = to.required(&at.key("jurisdiction"), jurisdiction, "write jurisdiction = \"eu\"");
    to.doubts.residency |= jurisdiction.is_none();
    let endpoints = endpoints(at, std::mem::take(&mut doc.endpoints), to);
    let near = doc.near.is_written().then(|| {
        let (near, _) = to.list(&at.key("near"), std::mem::take(&mut doc.near));
        near.into_iter().map(String::from).collect()
    });
    let (countries, _) = to.list(&at.key("countries"), std::mem::take(&mut doc.countries));
    let check = check(&at.key("health"), std::mem::take(&mut doc.health), to);
    let tls = super::tls::region(&at.key("tls"), std::mem::take(&mut doc.tls), to);
    let cells_at = at.key("cells");
    let (cells, mut cells_known) = to.named(&cells_at, std::mem::take(&mut doc.cells));
    cells_known &= cells.iter().all(|(_, cell)| cell.get().is_some());
    if !cells_known {
        to.places.doubt_below(at.key("endpoints"));
        to.places.doubt_below(cells_at);
        to.doubts.cell = true;
    }
    let cells = cells.into_iter().map(|(name, cell)| {
        (name, cell.good().and_then(|cell| cell.weight.good()).map_or(Weight::FULL, weight))
    });
    RegionDraft {
        jurisdiction: jurisdiction.map(String::from).unwrap_or_default(),
        near,
        countries: countries.into_iter().map(|country| country.0).collect(),
        check,
        tls,
        cells: cells.collect(),
        endpoints,
        ..draft(doc)
    }
}

/// The simple keys; the others are as by default.
fn draft(doc: RegionDoc) -> RegionDraft {
    let count = |given: Given<Whole<1, { u32::MAX as u64 }>>| {
        given.good().map(|count| u32::try_from(count.0).unwrap_or(u32::MAX))
    };
    RegionDraft {
        jurisdiction: String::new(),
        role: match doc.role.good() {
            Some(RoleDoc::Standby) => Role::Standby,
            Some(RoleDoc::ReadOnly) => Role::ReadOnly,
            Some(RoleDoc::Off) => Role::Off,
            Some(RoleDoc::Active) | None => Role::Active,
        },
        weight: doc.weight.good().map_or(Weight::FULL, weight),
        near: None,
        countries: Vec::new(),
        capacity: count(doc.capacity),
        max_in_flight: count(doc.max_in_flight),
        gateway: matches!(doc.gateway.good(), Some(true)),
        check: default_check(),
        tls: None,
        http2: matches!(doc.http.good(), Some(Whole(2))),
        cells: std::collections::BTreeMap::new(),
        endpoints: Vec::new(),
    }
}

fn weight(percent: Whole<0, 100>) -> Weight {
    Weight::percent(u8::try_from(percent.0).unwrap_or(100))
}

fn endpoints(region: &At, written: List<TextOr<EndpointDoc>>, to: &mut Conversion<'_>) -> Vec<EndpointDraft> {
    let at = region.key("endpoints");
    if written.is_absent() && !to.whole {
        to.places.doubt_below(at.clone());
    }
    let (written, mut sound) = to.list(&at, written);
    if written.len() > MOST_ENDPOINTS {
        let what = format!("{} endpoints are more than the {MOST_ENDPOINTS} of one region", written.len());
        to.tell(&at, what, "name a balancer in front of them, or an SRV name");
    }
    let mut endpoints = Vec::new();
    for (index, written) in written.into_iter().take(MOST_ENDPOINTS).enumerate() {
        match endpoint(&at.entry(index), written, to) {
            // Where an earlier one was bad, the numbers shift; the line is what counts.
            Some(endpoint) => {
                let line = to.places.line(&at.entry(index));
                to.places.see(at.entry(endpoints.len()), line);
                endpoints.push(endpoint);
            }
            None => sound = false,
        }
    }
    if !sound {
        to.places.doubt(at);
        to.places.doubt_below(region.key("cells"));
    }
    endpoints
}

fn endpoint(at: &At, written: TextOr<EndpointDoc>, to: &mut Conversion<'_>) -> Option<EndpointDraft> {
    let text = |name: Given<Name>| name.good().map(String::from);
    match written {
        TextOr::Text(text) => match text.parse::<EndpointText>() {
            Ok(EndpointText(address)) => Some(EndpointDraft { address, zone: None, cell: None, weight: 1 }),
            Err(message) => {
                to.tell_message(at, &message);
                None
            }
        },
        TextOr::Table(doc) => {
            // A cell that could not be read must not be told as missing.
            let cell_bad = matches!(doc.cell, Given::Bad(_));
            let address =
                to.required(&at.key("address"), doc.address, "write { address = \"10.1.0.10:8080\" }")?.0;
            let weight = doc.weight.good().and_then(|weight| u16::try_from(weight.0).ok()).unwrap_or(1);
            let endpoint = EndpointDraft { address, zone: text(doc.zone), cell: text(doc.cell), weight };
            (!cell_bad).then_some(endpoint)
        }
    }
}

fn default_check() -> Check {
    Check {
        kind: CheckKind::Http { path: "/health".into() },
        interval: Millis(2_000),
        timeout: Millis(1_000),
        rise: 2,
        fall: 3,
    }
}

fn check(at: &At, written: Given<HealthDoc>, to: &mut Conversion<'_>) -> Check {
    let mut check = default_check();
    let Given::Good(_, doc) = written else { return check };
    let path_at = at.key("path");
    to.places.see(path_at.clone(), doc.path.line());
    if doc.check.get() == Some(&CheckDoc::Tcp) {
        if doc.path.is_written() {
            to.tell(&path_at, "check = \"tcp\" connects only and asks for no path", "leave it out");
        }
        check.kind = CheckKind::Tcp;
    } else if let Some(path) = doc.path.good() {
        check.kind = CheckKind::Http { path: path.0 };
    }
    let count = |given: Given<Whole<1, 1000>>, default: u32| {
        given.good().and_then(|count| u32::try_from(count.0).ok()).unwrap_or(default)
    };
    Check {
        kind: check.kind,
        interval: doc.interval.good().map_or(check.interval, millis),
        timeout: doc.timeout.good().map_or(check.timeout, millis),
        rise: count(doc.rise, check.rise),
        fall: count(doc.fall, check.fall),
    }
}

//! What is known of the regions while the process runs, by name, so that it outlives tables: addresses, checks, counts.
//!
//! Never: takes an endpoint on trust. One that nobody has checked is unknown, and takes nothing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use rhumb_decision::checks::EndpointChecks;
use rhumb_decision::health::{EndpointView, HealthView, RegionView, Status};
use rhumb_decision::table::{Address, Endpoint, Region, Table};
use rhumb_decision::units::Millis;

use crate::control::live::{EndpointCounts, Live, LiveRegion, RegionCounts};
use crate::control::outcome::Outcome;
use crate::control::prober::{Seen, Target};
use crate::control::resolver::{Name, Resolved};

type Place = (Box<str>, SocketAddr);

/// The tables whose regions are looked after: one that is about to come into force, and the one in force.
pub type Tables = [Arc<Table>];

/// Addresses, checks and counts of every region.
#[derive(Default)]
pub struct Roster {
    addresses: HashMap<Name, Vec<SocketAddr>>,
    checks: HashMap<Place, EndpointChecks>,
    endpoint_counts: HashMap<Place, Arc<EndpointCounts>>,
    region_counts: HashMap<Box<str>, Arc<RegionCounts>>,
}

impl Roster {
    /// Keeps what `tables` still name, makes room for what they name anew, and forgets the rest.
    pub fn follow(&mut self, tables: &Tables) {
        let names: HashSet<Name> = tables.iter().flat_map(|table| names(table)).collect();
        self.addresses.retain(|name, _| names.contains(name));
        let places: HashSet<Place> = tables.iter().flat_map(|table| self.places(table)).collect();
        self.checks.retain(|place, _| places.contains(place));
        self.endpoint_counts.retain(|place, _| places.contains(place));
        for place in places {
            self.endpoint_counts.entry(place.clone()).or_default();
            self.checks.entry(place).or_default();
        }
        self.region_counts.retain(|name, _| region(tables, name).is_some());
        for region in tables.iter().flat_map(|table| table.regions()) {
            self.region_counts.entry(region.name.clone()).or_default();
        }
    }

    /// What the prober is to ask; where tables differ over a place, the first speaks.
    #[must_use]
    pub fn targets(&self, tables: &Tables) -> Arc<[Target]> {
        let mut once = HashSet::new();
        let of = |region: &Region| {
            let targets = self.endpoints(region).map(|(_, endpoint, address)| Target {
                region: region.name.clone(),
                address,
                check: region.check.clone(),
                tls: region.tls.clone(),
                host: host(&endpoint.address),
            });
            targets.collect::<Vec<_>>()
        };
        let targets = tables.iter().flat_map(|table| table.regions()).flat_map(of);
        targets.filter(|target| once.insert((target.region.clone(), target.address))).collect()
    }

    /// What the resolver is to look up.
    #[must_use]
    pub fn names(&self, tables: &Tables) -> Arc<[Name]> {
        let mut once = HashSet::new();
        tables.iter().flat_map(|table| names(table)).filter(|name| once.insert(name.clone())).collect()
    }

    /// A name has these addresses now.
    pub fn resolved(&mut self, tables: &Tables, resolved: Resolved) {
        if let Some(failure) = resolved.failure {
            let kept = resolved.addresses.len();
            tracing::warn!(name = ?resolved.name, "not resolved ({}); {kept} addresses kept", failure.code());
        }
        self.addresses.insert(resolved.name, resolved.addresses);
        self.follow(tables);
    }

    /// A check came back; returns what of the view changed.
    pub fn probed(&mut self, tables: &Tables, seen: &Seen) -> Changed {
        let Some(Region { check, .. }) = region(tables, &seen.region) else { return Changed::Nothing };
        let Some(checks) = self.checks.get_mut(&(seen.region.clone(), seen.address)) else {
            return Changed::Nothing;
        };
        if checks.probed(&seen.probed, seen.at, check) { Changed::Standing } else { Changed::Figures }
    }

    /// Traffic told of an endpoint; returns what of the view changed.
    pub fn told(&mut self, tables: &Tables, outcome: &Outcome, at: Millis) -> Changed {
        let Some(Region { check, .. }) = region(tables, &outcome.region) else { return Changed::Nothing };
        let Some(checks) = self.checks.get_mut(&(outcome.region.clone(), outcome.address)) else {
            return Changed::Nothing;
        };
        let changed =
            if outcome.failures == 0 { checks.succeeded(at) } else { checks.failed_in_a_row(at, check) };
        if changed { Changed::Standing } else { Changed::Nothing }
    }

    /// Time has passed; returns what of the view changed.
    pub fn tick(&mut self, at: Millis) -> Changed {
        let mut changed = Changed::Nothing;
        for checks in self.checks.values_mut() {
            if checks.tick(at) {
                changed = Changed::Standing;
            }
        }
        changed
    }

    /// Whether every endpoint of `table` has been checked once and every name looked up.
    #[must_use]
    pub fn knows(&self, table: &Table) -> bool {
        let known = |place| self.checks.get(&place).is_some_and(|checks| checks.checked() != Status::Unknown);
        names(table).all(|name| self.addresses.contains_key(&name)) && self.places(table).all(known)
    }

    /// What decisions read, and what counts beside it.
    #[must_use]
    pub fn view(&self, table: &Table) -> (HealthView, Live) {
        let (views, live): (Vec<_>, Vec<_>) =
            table.regions().iter().map(|region| self.region(table, region)).unzip();
        (HealthView { regions: views.into() }, Live { regions: live.into() })
    }

    fn region(&self, table: &Table, region: &Region) -> (RegionView, LiveRegion) {
        let mut view = RegionView { lag: vec![None; table.regions().len()].into(), ..RegionView::default() };
        let mut endpoints = Vec::new();
        let mut counts = Vec::new();
        for (declared, endpoint, address) in self.endpoints(region) {
            let place = (region.name.clone(), address);
            let Some(checks) = self.checks.get(&place) else { continue };
            endpoints.push(EndpointView {
                address,
                declared,
                zone: endpoint.zone.clone(),
                cell: endpoint.cell,
                weight: endpoint.weight,
                checked: checks.checked(),
                capabilities: checks.capabilities(table),
                passive: checks.passive(),
            });
            counts.push(self.endpoint_counts.get(&place).cloned().unwrap_or_default());
            if !checks.checked().takes_traffic() {
                continue;
            }
            // Of several reports the largest lag counts: whoever is asked may be that one.
            for (source, lag) in table.regions().iter().zip(&mut view.lag) {
                *lag = (*lag).max(checks.lag_behind(&source.name));
            }
            let nearer = checks.round_trip().filter(|new| view.round_trip.is_none_or(|known| *new < known));
            view.round_trip = nearer.or(view.round_trip);
        }
        view.endpoints = endpoints.into();
        let live = LiveRegion {
            counts: self.region_counts.get(&region.name).cloned().unwrap_or_default(),
            endpoints: counts.into(),
        };
        (view, live)
    }

    fn places<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Place> + 'a {
        let of =
            |region: &'a Region| self.endpoints(region).map(|(_, _, address)| (region.name.clone(), address));
        table.regions().iter().flat_map(of)
    }

    /// The addresses of a region, each once, with the endpoint that it came from.
    fn endpoints<'a>(
        &'a self,
        region: &'a Region,
    ) -> impl Iterator<Item = (u16, &'a Endpoint, SocketAddr)> + 'a {
        let mut seen = HashSet::new();
        (0_u16..)
            .zip(&region.endpoints)
            .flat_map(|(declared, endpoint)| {
                let addresses: &[SocketAddr] = match &endpoint.address {
                    Address::Socket(address) => std::slice::from_ref(address),
                    other => {
                        name(other).and_then(|name| self.addresses.get(&name)).map_or(&[], Vec::as_slice)
                    }
                };
                addresses.iter().map(move |address| (declared, endpoint, *address))
            })
            .filter(move |(_, _, address)| seen.insert(*address))
            .take(usize::from(u16::MAX))
    }
}

/// What of a view changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Changed {
    /// Nothing.
    Nothing,
    /// Lags and round trips: worth telling now and then.
    Figures,
    /// Who takes traffic: worth telling at once.
    Standing,
}

fn region<'t>(tables: &'t Tables, name: &str) -> Option<&'t Region> {
    tables.iter().find_map(|table| table.region(table.region_named(name)?))
}

fn names(table: &Table) -> impl Iterator<Item = Name> + '_ {
    table.regions().iter().flat_map(|region| region.endpoints.iter().filter_map(|e| name(&e.address)))
}

fn name(address: &Address) -> Option<Name> {
    match address {
        Address::Socket(_) => None,
        Address::Name { host, port } => Some(Name::Host { host: host.clone(), port: *port }),
        Address::Service(service) => Some(Name::Service(service.clone())),
    }
}

fn host(address: &Address) -> Box<str> {
    address.to_string().into()
}

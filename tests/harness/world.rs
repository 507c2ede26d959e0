//! One moment of the world, by names: a table, how its regions are, what operators changed, who owns what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rhumb_decision::Snapshot;
use rhumb_decision::Weights;
use rhumb_decision::health::{EndpointView, HealthView, Passive, RegionView, Status};
use rhumb_decision::ownership::{Ownership, Ownerships};
use rhumb_decision::table::{Address, Table};
use rhumb_decision::units::{
    CapabilityId, CellId, EndpointId, Generation, Micros, Millis, RegionId, RegionSet, Weight,
};

/// A world that is whole and well until something is said against it.
#[derive(Clone)]
pub struct World {
    pub table: Arc<Table>,
    pub health: HealthView,
    pub weights: Weights,
    pub moved: BTreeMap<String, Ownership>,
    pub generation: u64,
}

impl World {
    /// Every endpoint up, no lag and no round trip known, weights as configured.
    pub fn well(table: Table) -> Self {
        let regions = table.regions().iter().map(|region| RegionView {
            endpoints: region
                .endpoints
                .iter()
                .enumerate()
                .map(|(at, endpoint)| EndpointView {
                    address: match endpoint.address {
                        Address::Socket(address) => address,
                        Address::Name { .. } | Address::Service(_) => SocketAddr::from(([127, 0, 0, 1], 1)),
                    },
                    declared: at as u16,
                    zone: endpoint.zone.clone(),
                    cell: endpoint.cell,
                    weight: endpoint.weight,
                    checked: Status::Up,
                    capabilities: vec![None; table.capabilities().len()].into(),
                    passive: Passive::Trusted,
                })
                .collect(),
            lag: vec![None; table.regions().len()].into(),
            reached: vec![None; table.regions().len()].into(),
            ..RegionView::default()
        });
        let health = HealthView { regions: regions.collect() };
        let weights = Weights::configured(&table);
        Self { table: Arc::new(table), health, weights, moved: BTreeMap::new(), generation: 1 }
    }

    pub fn snapshot(&self) -> Snapshot {
        let moved = self.moved.iter().map(|(id, ownership)| (id.as_str(), *ownership));
        Snapshot::new(
            Generation(self.generation),
            Arc::clone(&self.table),
            self.health.clone(),
            Ownerships::supposed(moved, &self.table),
            self.weights.clone(),
        )
    }

    pub fn region(&self, name: &str) -> RegionId {
        self.table.region_named(name).unwrap_or_else(|| panic!("the table has no region {name:?}"))
    }

    pub fn regions(&self, names: &[String]) -> RegionSet {
        names.iter().map(|name| self.region(name)).collect()
    }

    pub fn weigh(&mut self, region: &str, weight: Weight) {
        let id = self.region(region);
        self.weights = self.weights.clone().with_region(id, weight);
    }

    pub fn weigh_cell(&mut self, region: &str, cell: &str, weight: Weight) {
        let id = self.region(region);
        let cell = self.cell(id, cell);
        self.weights = self.weights.clone().with_cell(id, cell, weight);
    }

    fn cell(&self, region: RegionId, name: &str) -> CellId {
        let found = self.table.region(region).and_then(|region| region.cell_named(name));
        found.unwrap_or_else(|| panic!("there is no cell {name:?}"))
    }

    /// Sets how `place` is: `region`, `region#0`, `region:capability` or `region#0:capability`.
    pub fn becomes(&mut self, place: &str, status: Status) {
        let (place, capability) = match place.split_once(':') {
            Some((place, name)) => (place, Some(self.capability(name))),
            None => (place, None),
        };
        for endpoint in self.endpoints(place) {
            match capability {
                None => endpoint.checked = status,
                Some(id) => *endpoint.capabilities.get_mut(id.index()).unwrap() = Some(status),
            }
        }
    }

    /// What traffic says of `place`: `region` or `region#0`.
    pub fn traffic_says(&mut self, place: &str, passive: Passive) {
        for endpoint in self.endpoints(place) {
            endpoint.passive = passive;
        }
    }

    pub fn lags(&mut self, region: &str, behind: &str, lag: Millis) {
        let (region, behind) = (self.region(region), self.region(behind));
        self.view(region).lag[behind.index()] = Some(lag);
    }

    pub fn reaches(&mut self, region: &str, source: &str, position: u128) {
        let (region, source) = (self.region(region), self.region(source));
        self.view(region).reached[source.index()] = Some(position);
    }

    pub fn reported(&mut self, region: &str, asked_at: Millis) {
        let region = self.region(region);
        self.view(region).reported = Some(asked_at);
    }

    pub fn measured(&mut self, region: &str, round_trip: Millis) {
        let region = self.region(region);
        self.view(region).round_trip = Some(Micros(round_trip.0 * 1_000));
    }

    /// The endpoint of `region#0`.
    pub fn endpoint(&self, place: &str) -> (RegionId, EndpointId) {
        let (region, at) = place.split_once('#').unwrap_or_else(|| panic!("{place:?} names no endpoint"));
        (self.region(region), EndpointId(at.parse().unwrap()))
    }

    fn capability(&self, name: &str) -> CapabilityId {
        self.table.capability_named(name).unwrap_or_else(|| panic!("no route needs {name:?}"))
    }

    fn view(&mut self, region: RegionId) -> &mut RegionView {
        self.health.regions.get_mut(region.index()).unwrap()
    }

    fn endpoints(&mut self, place: &str) -> &mut [EndpointView] {
        if !place.contains('#') {
            let region = self.region(place);
            return &mut self.view(region).endpoints;
        }
        let (region, at) = self.endpoint(place);
        std::slice::from_mut(self.view(region).endpoints.get_mut(at.index()).unwrap())
    }
}

//! Everything a decision reads, immutable and numbered.

use std::sync::Arc;

use crate::health::HealthView;
use crate::ownership::Ownerships;
use crate::table::Table;
use crate::units::{CellId, Generation, RegionId, Weight};

/// Everything a decision reads: table, health, weights, ownership.
#[derive(Clone)]
pub struct Snapshot {
    generation: Generation,
    table: Arc<Table>,
    health: HealthView,
    ownership: Ownerships,
    weights: Weights,
    orders: Orders,
}

impl Snapshot {
    /// A snapshot of these parts; works out once which region is how near to which.
    #[must_use]
    pub fn new(
        generation: Generation,
        table: Arc<Table>,
        health: HealthView,
        ownership: Ownerships,
        weights: Weights,
    ) -> Self {
        let orders = Orders::new(&table, &health);
        Self { generation, table, health, ownership, weights, orders }
    }

    /// A snapshot of `table` for questions that nobody live answers: every region up and without lag, weights as
    /// configured, nothing moved.
    #[must_use]
    pub fn offline(table: Arc<Table>) -> Self {
        let (health, weights) = (HealthView::all_up(&table), Weights::configured(&table));
        Self::new(Generation(0), table, health, Ownerships::default(), weights)
    }

    /// The same world under other weights.
    #[must_use]
    pub fn with_weights(&self, weights: Weights) -> Self {
        Self { weights, ..self.clone() }
    }

    /// Its number; each publication is one higher.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The table in force.
    #[must_use]
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What is known of the regions.
    #[must_use]
    pub const fn health(&self) -> &HealthView {
        &self.health
    }

    /// Who owns what.
    #[must_use]
    pub const fn ownership(&self) -> &Ownerships {
        &self.ownership
    }

    /// The weights in effect.
    #[must_use]
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Every region, in the order in which requests that enter at `source` prefer them.
    #[must_use]
    pub fn preference(&self, source: RegionId) -> &[RegionId] {
        self.orders.from.get(source.index()).map_or(&[], |order| order)
    }

    /// Every region, lowest measured round trip first, then by name.
    #[must_use]
    pub fn by_round_trip(&self) -> &[RegionId] {
        &self.orders.by_round_trip
    }
}

/// The weights in effect: as configured, with what operators changed laid over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weights {
    regions: Box<[Weight]>,
    cells: Box<[Box<[Weight]>]>,
}

impl Weights {
    /// As the table configures them.
    #[must_use]
    pub fn configured(table: &Table) -> Self {
        Self {
            regions: table.regions().iter().map(|region| region.weight).collect(),
            cells: table
                .regions()
                .iter()
                .map(|region| region.cells.iter().map(|cell| cell.weight).collect())
                .collect(),
        }
    }

    /// The same with another weight for `region`.
    #[must_use]
    pub fn with_region(mut self, region: RegionId, weight: Weight) -> Self {
        if let Some(place) = self.regions.get_mut(region.index()) {
            *place = weight;
        }
        self
    }

    /// The same with another weight for a cell of `region`.
    #[must_use]
    pub fn with_cell(mut self, region: RegionId, cell: CellId, weight: Weight) -> Self {
        if let Some(place) = self.cells.get_mut(region.index()).and_then(|cells| cells.get_mut(cell.index()))
        {
            *place = weight;
        }
        self
    }

    /// The weight of `region`; none for a region of another table.
    #[must_use]
    pub fn region(&self, region: RegionId) -> Weight {
        self.regions.get(region.index()).copied().unwrap_or(Weight::NONE)
    }

    /// The weight of a cell; none for a cell of another table.
    #[must_use]
    pub fn cell(&self, region: RegionId, cell: CellId) -> Weight {
        let cells = self.cells.get(region.index());
        cells.and_then(|cells| cells.get(cell.index())).copied().unwrap_or(Weight::NONE)
    }
}

/// Field order is precedence: distance first, then the name. The least is asked first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Preference<'a> {
    distance: Distance,
    name: &'a str,
}

/// Earlier variants come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Source,
    Near(usize),
    Measured(u64),
    Elsewhere,
}

#[derive(Clone)]
struct Orders {
    from: Box<[Box<[RegionId]>]>,
    by_round_trip: Box<[RegionId]>,
}

impl Orders {
    fn new(table: &Table, health: &HealthView) -> Self {
        let from = table.region_ids().map(|source| {
            let near = table.region(source).and_then(|region| region.near.as_deref());
            sorted(table, |region| match near {
                _ if region == source => Distance::Source,
                Some(near) => {
                    near.iter().position(|n| *n == region).map_or(Distance::Elsewhere, Distance::Near)
                }
                None => measured(health, region),
            })
        });
        Self { from: from.collect(), by_round_trip: sorted(table, |region| measured(health, region)) }
    }
}

/// Steps of 5 ms: a round trip that trembles must not send a tenant's reads to and fro.
const ROUND_TRIP_STEP_MICROS: u64 = 5_000;

fn measured(health: &HealthView, region: RegionId) -> Distance {
    let round_trip = health.region(region).and_then(|view| view.round_trip);
    round_trip.map_or(Distance::Elsewhere, |micros| Distance::Measured(micros.0 / ROUND_TRIP_STEP_MICROS))
}

fn sorted(table: &Table, distance: impl Fn(RegionId) -> Distance) -> Box<[RegionId]> {
    let mut order: Box<[RegionId]> = table.region_ids().collect();
    order.sort_by_cached_key(|region| Preference {
        distance: distance(*region),
        name: table.region_name(*region),
    });
    order
}

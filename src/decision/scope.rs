//! What an operator's weight or drain is about.
//!
//! Never: an id. Tables number anew, and what an operator said outlives them; a name is looked up each time.

use std::fmt;

use crate::snapshot::Weights;
use crate::table::Table;
use crate::units::{CellId, RegionId, Weight};

/// A region, or one of its cells, by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope {
    /// The region's name.
    pub region: Box<str>,
    /// The cell's name; `None`: the whole region.
    pub cell: Option<Box<str>>,
}

impl Scope {
    /// The whole region of this name.
    #[must_use]
    pub fn region(name: &str) -> Self {
        Self { region: name.into(), cell: None }
    }

    /// One cell of a region.
    #[must_use]
    pub fn cell(region: &str, cell: &str) -> Self {
        Self { region: region.into(), cell: Some(cell.into()) }
    }

    /// Where it is in `table`; `None`: the table has no such region or cell.
    #[must_use]
    pub fn find(&self, table: &Table) -> Option<Place> {
        let id = table.region_named(&self.region)?;
        let region = table.region(id)?;
        match &self.cell {
            None => Some(Place { region: id, cell: None }),
            Some(name) => Some(Place { region: id, cell: Some(region.cell_named(name)?) }),
        }
    }
}

/// `eu-west-1`, or `eu-west-1/a` for a cell.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        self.cell.as_ref().map_or(Ok(()), |cell| write!(f, "/{cell}"))
    }
}

/// A region, or one of its cells, of one table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The region.
    pub region: RegionId,
    /// The cell; `None`: the whole region.
    pub cell: Option<CellId>,
}

impl Place {
    /// Its name.
    #[must_use]
    pub fn scope(self, table: &Table) -> Scope {
        let cells = table.region(self.region).map_or(&[][..], |region| &region.cells);
        let cell = self.cell.and_then(|cell| cells.get(cell.index()));
        Scope { region: table.region_name(self.region).into(), cell: cell.map(|cell| cell.name.clone()) }
    }

    /// Its weight among `weights`.
    #[must_use]
    pub fn weight(self, weights: &Weights) -> Weight {
        match self.cell {
            None => weights.region(self.region),
            Some(cell) => weights.cell(self.region, cell),
        }
    }

    /// `weights` with another one for it.
    #[must_use]
    pub fn with_weight(self, weights: Weights, weight: Weight) -> Weights {
        match self.cell {
            None => weights.with_region(self.region, weight),
            Some(cell) => weights.with_cell(self.region, cell, weight),
        }
    }
}

//! What the settings file and all that it names say, read without an edge.
//!
//! Never: writes anything, resolves a name, or asks a region.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhumb_decision::health::{EndpointView, HealthView, Passive, RegionView, Status};
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::table::{Address, Region, Table};
use rhumb_decision::units::{Generation, Millis};
use rhumb_decision::{Snapshot, Weights};

use super::certificates;
use crate::problem::Problems;
use crate::settings::Settings;

/// Settings and table, both sound.
pub struct Files {
    /// The settings.
    pub settings: Settings,
    /// The table that they name.
    pub table: Arc<Table>,
    /// SHA-256 of everything that the table was read from, in hex.
    pub hash: String,
}

/// Reads the settings in `config`, the table that they name, and what both of them name.
///
/// Errors: every problem of all of them; where the settings are unusable, of the table that they mean.
pub fn read(config: &Path) -> Result<Files, Problems> {
    let settings = Settings::read(config).map_err(|mut problems| {
        if let Some((path, region)) = meant(config)
            && let Err(more) = table(&path, &region)
        {
            problems.append(more);
        }
        problems
    })?;
    let mut problems = certificates::check(&settings);
    match table(&settings.table.path, settings.edge.region.as_str()) {
        Ok((table, hash)) if problems.is_empty() => Ok(Files { settings, table: Arc::new(table), hash }),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.append(more);
            Err(problems)
        }
    }
}

/// The table and the region that unusable settings mean, if that much can be read.
fn meant(config: &Path) -> Option<(PathBuf, String)> {
    if !std::fs::metadata(config).ok()?.is_file() {
        return None;
    }
    let settings: toml::Table = std::fs::read_to_string(config).ok()?.parse().ok()?;
    let text = |section: &str, key: &str| settings.get(section)?.get(key)?.as_str().map(str::to_owned);
    let path = text("table", "path").filter(|path| !path.is_empty())?;
    Some((config.parent()?.join(path), text("edge", "region")?))
}

fn table(path: &Path, _edge_region: &str) -> Result<(Table, String), Problems> {
    let mut problems = Problems::of(path);
    problems.tell(0, "", "tables are not wired yet", "");
    Err(problems)
}

/// A snapshot of `table` in which every region is up and no copy lags: nobody was asked.
pub fn snapshot(table: Arc<Table>) -> Snapshot {
    let regions = table.regions();
    let health =
        HealthView { regions: regions.iter().map(|region| healthy(region, regions.len())).collect() };
    let weights = Weights::configured(&table);
    Snapshot::new(Generation(0), table, health, Ownerships::default(), weights)
}

fn healthy(region: &Region, regions: usize) -> RegionView {
    let endpoints = region.endpoints.iter().enumerate().map(|(declared, endpoint)| EndpointView {
        address: nominal(&endpoint.address),
        declared: u16::try_from(declared).unwrap_or(u16::MAX),
        zone: endpoint.zone.clone(),
        cell: endpoint.cell,
        weight: endpoint.weight,
        checked: Status::Up,
        capabilities: Box::default(),
        passive: Passive::Trusted,
    });
    RegionView {
        endpoints: endpoints.collect(),
        lag: vec![Some(Millis(0)); regions].into(),
        round_trip: None,
    }
}

/// An address to stand for a name that nobody resolves here; nothing is ever sent to it.
fn nominal(address: &Address) -> SocketAddr {
    match address {
        Address::Socket(address) => *address,
        Address::Name { port, .. } => SocketAddr::from(([0, 0, 0, 0], *port)),
        Address::Service(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::table_of;
    use rhumb_decision::{Facts, decide};

    #[test]
    fn unasked_regions_are_up_and_without_lag_by_name_and_by_address() {
        let endpoints = [
            ("eu", Address::Name { host: "eu.internal".into(), port: 80 }),
            ("us", Address::Service("_http._tcp.us.internal".into())),
        ];
        let snapshot = snapshot(Arc::new(table_of(&endpoints, &[("acme", "us", "eu")])));
        let eu = snapshot.table().region_named("eu").unwrap();
        let us = snapshot.table().region_named("us").unwrap();
        let asked = |method| decide(&Facts::new(method, "acme.app.example", "/", eu), &snapshot).target();
        assert_eq!((asked("GET"), asked("POST")), (Some(eu), Some(us)));
    }

    #[test]
    fn unusable_settings_still_name_their_table() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("rhumb.toml");
        let meant_by = |text: &str| {
            std::fs::write(&config, text).unwrap();
            meant(&config)
        };
        assert_eq!(
            meant_by("nonsense = 1\nedge.region = \"eu\"\ntable.path = \"t.toml\""),
            Some((folder.path().join("t.toml"), "eu".to_owned()))
        );
        assert_eq!(meant_by("table.path = \"t.toml\""), None);
        assert_eq!(meant_by("not toml at all"), None);
        assert_eq!(meant(folder.path()), None);
    }
}

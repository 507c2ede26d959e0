//! What the settings file and all that it names say, read without an edge.
//!
//! Never: writes anything, resolves a name, or asks a region.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhumb_decision::table::Table;

use super::certificates;
use crate::control::document::{self, Document, Reading};
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

/// Reads the settings in `config` and the table that they name: what a decision needs.
///
/// Errors: every problem of both; where the settings are unusable, also of the table that they mean.
pub fn read(config: &Path) -> Result<Files, Problems> {
    read_with(config, |settings| Problems::of(&settings.file))
}

/// The same, and holds the certificates and all else that the settings name to be there and sound.
///
/// Errors: every problem of all of them.
pub fn read_all(config: &Path) -> Result<Files, Problems> {
    read_with(config, certificates::check)
}

fn read_with(config: &Path, more: impl Fn(&Settings) -> Problems) -> Result<Files, Problems> {
    let settings = Settings::read(config).map_err(|mut problems| {
        if let Some((path, region)) = meant(config)
            && let Err(more) = table(&path, &region)
        {
            problems.append(more);
        }
        problems
    })?;
    let mut problems = more(&settings);
    match table(&settings.table.path, settings.edge.region.as_str()) {
        Ok(Document { table, hash, .. }) if problems.is_empty() => {
            Ok(Files { settings, table: Arc::new(table), hash })
        }
        Ok(_) => Err(problems),
        Err(more) => {
            problems.append(more);
            Err(problems)
        }
    }
}

fn table(path: &Path, edge_region: &str) -> Result<Document, Problems> {
    document::read(&Reading { path, edge_region, copy_to: None }).map_err(|unreadable| unreadable.problems)
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

#[cfg(test)]
mod tests {
    use super::*;

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

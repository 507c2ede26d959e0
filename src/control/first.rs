//! The first table of a process: the one in the files, or nothing; or, where it was asked for, the last good one.
//!
//! Never: changes what is kept; whoever begins with the table says so, by [`Copied::keep`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhumb_decision::compare::compare;
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::table::Table;

use crate::control::clock::Clock;
use crate::control::document::{self, Document, Reading};
use crate::control::judge::epoch_problems;
use crate::control::kept::Kept;
use crate::control::snapshot::{Origin, Rejected};
use crate::problem::Problems;

/// The table that a process begins with.
pub struct First {
    /// The table.
    pub table: Arc<Table>,
    /// Where it came from.
    pub origin: Origin,
    /// The files to watch.
    pub files: Vec<PathBuf>,
    /// Its files, where they are to be kept.
    pub copied: Option<Copied>,
}

/// Copies of a table's files that wait to be kept, until the process is sure to begin; gone when dropped.
pub struct Copied(Kept);

impl Copied {
    /// The table is in force.
    pub fn keep(self) {
        self.0.take().unwrap_or_else(|e| tracing::error!("the table could not be kept: {e}"));
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.0.discard();
    }
}

/// How a process is to begin.
pub struct Start<'a> {
    /// The table's file.
    pub path: &'a Path,
    /// The region in which the edge stands.
    pub edge_region: &'a str,
    /// The tables kept by earlier runs.
    pub kept: &'a Kept,
    /// Whether the last good table will do where the files hold none.
    pub last_good: bool,
}

/// Reads the first table.
///
/// # Errors
/// Every problem of the files, and of the last good table where that was asked for.
pub fn first(start: &Start<'_>, clock: &Clock) -> Result<First, Problems> {
    let first = read(start, clock);
    if !first.as_ref().is_ok_and(|first| first.copied.is_some()) {
        start.kept.discard();
    }
    first
}

fn read(start: &Start<'_>, clock: &Clock) -> Result<First, Problems> {
    let copy = start.kept.reading();
    if let Err(e) = &copy {
        tracing::error!("tables cannot be kept in {}: {e}", start.kept.current().display());
    }
    let copy = copy.ok();
    let reading = Reading { path: start.path, edge_region: start.edge_region, copy_to: copy.as_deref() };
    let (hash, problems, files) = match document::read(&reading) {
        Ok(document) => match held_against_kept(start, &document) {
            Kind::Same => return Ok(taken(document, clock, None)),
            Kind::Sound => {
                if let Some(why) = &document.not_kept {
                    tracing::error!("the table could not be kept for a later start: {why}");
                }
                let to_keep = copy.is_some() && document.not_kept.is_none();
                let copied = to_keep.then(|| Copied(start.kept.clone()));
                return Ok(First { copied, ..taken(document, clock, None) });
            }
            Kind::WentBack(problems) => {
                tracing::warn!(
                    "an operator went back from the table in the files; the one before stays in force"
                );
                let files = document.files.clone();
                return kept(start, clock, Some((document.hash, problems, true)), files);
            }
            Kind::Unsound(problems) => (document.hash, problems, document.files),
        },
        Err(unreadable) => (unreadable.hash, unreadable.problems, unreadable.files),
    };
    if !start.last_good {
        return Err(problems);
    }
    tracing::error!("the files hold no usable table; starting from the last good one\n{problems}");
    kept(start, clock, Some((hash, problems, false)), files)
}

enum Kind {
    Same,
    Sound,
    WentBack(Problems),
    Unsound(Problems),
}

/// Epochs only rise, across a restart too; what an operator went back from is not taken by itself.
fn held_against_kept(start: &Start<'_>, document: &Document) -> Kind {
    if start.kept.refused().as_deref() == Some(document.hash.as_str()) && start.kept.current().exists() {
        return Kind::WentBack(went_back(start.path, &document.hash));
    }
    let folder = start.kept.current();
    match document::kept_hash(&folder) {
        None => return Kind::Sound,
        Some(hash) if hash == document.hash => return Kind::Same,
        Some(_) => {}
    }
    let Ok(before) = document::read_kept(&folder, start.edge_region, None) else {
        // A kept table that this edge cannot use says nothing of epochs.
        return Kind::Sound;
    };
    let difference = compare(&before.table, &Ownerships::default(), &document.table);
    let problems = epoch_problems(&difference, start.path, |tenant| document.place(tenant));
    if problems.is_empty() { Kind::Sound } else { Kind::Unsound(problems) }
}

/// The problem of a table that an operator went back from.
#[must_use]
pub fn went_back(file: &Path, hash: &str) -> Problems {
    let mut problems = Problems::of(file);
    let fix = format!("write another table, or take it after all: rhumb table accept {hash} --reason \"…\"");
    problems.tell(0, "", "an operator went back from this table", fix);
    problems
}

fn kept(
    start: &Start<'_>,
    clock: &Clock,
    rejected: Option<(String, Problems, bool)>,
    files: Vec<PathBuf>,
) -> Result<First, Problems> {
    let document =
        document::read_kept(&start.kept.current(), start.edge_region, None).map_err(|unreadable| {
            let mut all = rejected.as_ref().map(|(_, problems, _)| problems.clone()).unwrap_or_default();
            all.append(unreadable.problems);
            all
        })?;
    let rejected = rejected.map(|(hash, problems, acceptable)| {
        Arc::new(Rejected { hash, at: clock.wall(), acceptable, problems })
    });
    let mut first = taken(document, clock, rejected);
    first.origin.last_good = true;
    first.files = files;
    Ok(first)
}

fn taken(document: Document, clock: &Clock, rejected: Option<Arc<Rejected>>) -> First {
    let origin = Origin {
        hash: document.hash,
        loaded_at: clock.wall(),
        loaded_on: clock.now(),
        last_good: false,
        rejected,
    };
    First { table: Arc::new(document.table), origin, files: document.files, copied: None }
}

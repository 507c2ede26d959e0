//! Reads the files again and judges what they hold: on a thread of its own, against the table in force.
//!
//! Never: changes what is in force. It says what may be; the steward does it.

use std::path::PathBuf;
use std::sync::Arc;

use rhumb_decision::compare::Difference;
use rhumb_decision::table::Table;

use crate::control::document::{self, Document, Reading, Unreadable};
use crate::control::first::went_back;
use crate::control::judge::{InForce, Judgement, judge};
use crate::control::snapshot::{Current, Origin, Rejected};
use crate::control::steward::Charge;

/// What a reading is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// To take what the files hold.
    Reload,
    /// To say what they would change.
    Diff,
    /// To take what they hold, if it is of this hash, however much it moves.
    Accept(String),
    /// To take the table before the one in force.
    Rollback,
    /// To say what that would change.
    DiffBack,
}

impl Wanted {
    /// Whether it may change what is in force.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Diff | Self::DiffBack)
    }

    /// What is counted when it was done.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Reload | Self::Diff => "taken",
            Self::Accept(_) => "accepted",
            Self::Rollback | Self::DiffBack => "rolled_back",
        }
    }
}

/// What came of a reading.
pub enum Judged {
    /// This is to be in force.
    Taken {
        /// The table.
        table: Arc<Table>,
        /// Where it came from.
        origin: Origin,
        /// The files to watch from now on; `None`: as before.
        files: Option<Vec<PathBuf>>,
        /// What it changes.
        difference: Difference,
    },
    /// What is in force stays, and nothing is wrong.
    Unchanged {
        /// The hash of what was read.
        hash: String,
        /// How many tenants it has.
        tenants: usize,
        /// What it would change.
        difference: Difference,
        /// The files to watch from now on; `None`: as before.
        files: Option<Vec<PathBuf>>,
        /// What stays refused.
        rejected: Option<Arc<Rejected>>,
    },
    /// What is in force stays: this is wrong.
    Refused {
        /// What, and why.
        rejected: Rejected,
        /// The files to watch from now on; `None`: as before.
        files: Option<Vec<PathBuf>>,
    },
    /// There is nothing to do it with.
    Impossible(String),
}

/// Reads and judges.
#[must_use]
pub fn judged(charge: &Charge, current: &Current, wanted: &Wanted) -> Judged {
    match wanted {
        Wanted::Rollback => rollback(charge, current, false),
        Wanted::DiffBack => rollback(charge, current, true),
        Wanted::Diff => diff(charge, current),
        Wanted::Reload | Wanted::Accept(_) => {
            let judged = reload(charge, current, wanted);
            charge.kept.discard();
            judged
        }
    }
}

fn reload(charge: &Charge, current: &Current, wanted: &Wanted) -> Judged {
    let copy = charge.kept.reading().inspect_err(|e| tracing::error!("tables cannot be kept: {e}")).ok();
    let reading = Reading { path: &charge.path, edge_region: &charge.edge_region, copy_to: copy.as_deref() };
    let document = match document::read(&reading) {
        Ok(document) => document,
        Err(unreadable) => return unread(charge, *unreadable, true),
    };
    if let Wanted::Accept(hash) = wanted
        && *hash != document.hash
    {
        return Judged::Impossible(format!(
            "the files hold another table by now, of hash {}: look at it first",
            document.hash
        ));
    }
    if document.hash == current.origin.hash {
        return Judged::Unchanged {
            hash: document.hash,
            tenants: document.table.tenants().len(),
            difference: Difference::default(),
            files: Some(document.files),
            rejected: None,
        };
    }
    let accepted = matches!(wanted, Wanted::Accept(_));
    let Judgement { difference, problems, acceptable } = held_against(charge, current, &document, accepted);
    if !problems.is_empty() {
        let rejected = Rejected { hash: document.hash, at: charge.clock.wall(), acceptable, problems };
        return Judged::Refused { rejected, files: Some(document.files) };
    }
    if !accepted && charge.kept.refused().as_deref() == Some(document.hash.as_str()) {
        let problems = went_back(&charge.path, &document.hash);
        let rejected = Rejected { hash: document.hash, at: charge.clock.wall(), acceptable: true, problems };
        return Judged::Refused { rejected, files: Some(document.files) };
    }
    if let Some(why) = &document.not_kept {
        tracing::error!("the table could not be kept for a later start: {why}");
    } else if copy.is_some() {
        let kept = charge.kept.take().and_then(|()| charge.kept.refuse(None));
        kept.unwrap_or_else(|e| tracing::error!("the table could not be kept for a later start: {e}"));
    }
    let origin = origin(charge, document.hash, None);
    Judged::Taken { table: Arc::new(document.table), origin, files: Some(document.files), difference }
}

fn diff(charge: &Charge, current: &Current) -> Judged {
    let reading = Reading { path: &charge.path, edge_region: &charge.edge_region, copy_to: None };
    match document::read(&reading) {
        Err(unreadable) => unread(charge, *unreadable, true),
        Ok(document) => {
            let judgement = held_against(charge, current, &document, true);
            if !judgement.problems.is_empty() {
                let (hash, problems) = (document.hash, judgement.problems);
                let rejected = Rejected { hash, at: charge.clock.wall(), acceptable: false, problems };
                return Judged::Refused { rejected, files: Some(document.files) };
            }
            Judged::Unchanged {
                hash: document.hash,
                tenants: document.table.tenants().len(),
                difference: judgement.difference,
                files: None,
                rejected: None,
            }
        }
    }
}

/// The epoch rules hold on the way back too: what was moved is not unmoved by an older row.
fn rollback(charge: &Charge, current: &Current, dry_run: bool) -> Judged {
    let folder = charge.kept.previous();
    if !folder.exists() {
        return Judged::Impossible("no table before this one is kept".into());
    }
    let document = match document::read_kept(&folder, &charge.edge_region, None) {
        Ok(document) => document,
        Err(unreadable) => return unread(charge, *unreadable, false),
    };
    let Judgement { difference, problems, .. } = held_against(charge, current, &document, true);
    if !problems.is_empty() {
        let rejected = Rejected { hash: document.hash, at: charge.clock.wall(), acceptable: false, problems };
        return Judged::Refused { rejected, files: None };
    }
    if dry_run {
        return Judged::Unchanged {
            hash: document.hash,
            tenants: document.table.tenants().len(),
            difference,
            files: None,
            rejected: None,
        };
    }
    let gone_back_from = &current.origin.hash;
    if let Err(e) = charge.kept.refuse(Some(gone_back_from)).and_then(|()| charge.kept.swap()) {
        return Judged::Impossible(format!(
            "the state folder cannot be written, so nothing was changed: {e}"
        ));
    }
    let rejected = Rejected {
        hash: gone_back_from.clone(),
        at: charge.clock.wall(),
        acceptable: true,
        problems: went_back(&charge.path, gone_back_from),
    };
    let origin = origin(charge, document.hash, Some(Arc::new(rejected)));
    Judged::Taken { table: Arc::new(document.table), origin, files: None, difference }
}

fn held_against(charge: &Charge, current: &Current, document: &Document, accepted: bool) -> Judgement {
    let in_force = InForce { table: current.table(), ownership: current.ownership() };
    let max_moved = (!accepted).then_some(charge.max_moved);
    judge(&in_force, &document.table, max_moved, &charge.path, |tenant| document.place(tenant))
}

/// - `watched`: whether its files are those to watch.
fn unread(charge: &Charge, Unreadable { hash, problems, files }: Unreadable, watched: bool) -> Judged {
    let files = watched.then_some(files);
    let rejected = Rejected { hash, at: charge.clock.wall(), acceptable: false, problems };
    Judged::Refused { rejected, files }
}

fn origin(charge: &Charge, hash: String, rejected: Option<Arc<Rejected>>) -> Origin {
    Origin { hash, loaded_at: charge.clock.wall(), loaded_on: charge.clock.now(), last_good: false, rejected }
}

//! What became of regions between two snapshots: the failovers and recoveries that nobody asked for.
//!
//! Never: tells of a region that one of the two does not have; a table says that itself.

use rhumb_decision::Snapshot;
use rhumb_decision::health::Status;

/// A region whose standing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Its name.
    pub region: String,
    /// How it was.
    pub before: Status,
    /// How it is.
    pub after: Status,
}

impl Transition {
    /// Whether it took traffic and no longer does.
    #[must_use]
    pub fn is_failover(&self) -> bool {
        self.before.takes_traffic() && !self.after.takes_traffic()
    }

    /// Whether it takes traffic again, or for the first time.
    #[must_use]
    pub fn is_recovery(&self) -> bool {
        !self.before.takes_traffic() && self.after.takes_traffic()
    }
}

/// The regions that both snapshots have and whose standing differs, by name.
#[must_use]
pub fn between(before: &Snapshot, after: &Snapshot) -> Vec<Transition> {
    let standing = |snapshot: &Snapshot, name: &str| {
        let id = snapshot.table().region_named(name)?;
        Some(snapshot.health().region(id).map_or(Status::Unknown, |view| view.overall()))
    };
    let of = |name: &str| {
        let (before, after) = (standing(before, name)?, standing(after, name)?);
        (before != after).then(|| Transition { region: name.to_owned(), before, after })
    };
    after.table().regions().iter().filter_map(|region| of(&region.name)).collect()
}

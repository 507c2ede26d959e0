//! One publisher, many readers: the only swap.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rhumb_decision::Snapshot;
use rhumb_decision::operated::Operated;
use rhumb_decision::owned::Owned;
use rhumb_decision::table::Table;
use tokio::sync::watch;

use crate::control::live::Live;
use crate::problem::Problems;

/// What is in force: the snapshot, what counts beside it, and where it came from.
pub struct Current {
    /// What decisions read.
    pub snapshot: Snapshot,
    /// What counts while requests run, by the ids of this snapshot.
    pub live: Live,
    /// Where the table came from.
    pub origin: Arc<Origin>,
    /// What operators set.
    pub operators: Operators,
}

/// What operators set, laid over the table.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    /// Their weights and drains.
    pub state: Operated,
    /// What was done to ownership.
    pub owned: Owned,
    /// Raised by every change of theirs, and of the table.
    pub revision: u64,
    /// Why nothing can be changed at the moment; `None`: it can.
    pub trouble: Option<String>,
}

impl Deref for Current {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// Where a table came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// SHA-256 of everything that it was read from, in hex.
    pub hash: String,
    /// When it was taken: since 1970.
    pub loaded_at: std::time::Duration,
    /// When it was taken, on the monotonic clock.
    pub loaded_on: rhumb_decision::units::Millis,
    /// Whether it is the kept last good table, taken because the files held none.
    pub last_good: bool,
    /// What is wrong with the files that were read since, and were not taken; `None`: nothing.
    pub rejected: Option<Arc<Rejected>>,
}

/// A table that was read and not taken.
#[derive(Debug)]
pub struct Rejected {
    /// SHA-256 of everything that it was read from, in hex: what `accept` wants.
    pub hash: String,
    /// When it was refused: since 1970.
    pub at: std::time::Duration,
    /// Whether it would be taken once accepted: it is sound, and only moves more than `max_moved`.
    pub acceptable: bool,
    /// What is wrong.
    pub problems: Problems,
}

/// Publishes; there is one.
pub struct Publisher {
    current: Arc<ArcSwap<Current>>,
    generation: watch::Sender<u64>,
    /// Tables that were in force. Requests on them may still be under way, and the last of them is not to be the one
    /// that frees a hundred megabytes.
    replaced: Vec<Arc<Table>>,
}

/// Reads what is in force.
#[derive(Clone)]
pub struct Reader {
    current: Arc<ArcSwap<Current>>,
    generation: watch::Receiver<u64>,
}

/// A publisher and its readers, with `first` in force.
#[must_use]
pub fn channel(first: Current) -> (Publisher, Reader) {
    let (sender, receiver) = watch::channel(first.generation().0);
    let current = Arc::new(ArcSwap::from_pointee(first));
    (
        Publisher { current: Arc::clone(&current), generation: sender, replaced: Vec::new() },
        Reader { current, generation: receiver },
    )
}

impl Publisher {
    /// Puts `next` in force. Whoever holds an earlier one keeps it.
    pub fn publish(&mut self, next: Current) {
        let generation = next.generation().0;
        let next = Arc::new(next);
        let before = self.current.swap(Arc::clone(&next));
        if !Arc::ptr_eq(before.table(), next.table()) {
            self.replaced.push(Arc::clone(before.table()));
        }
        self.generation.send_replace(generation);
    }

    /// Tables that nobody else has any more, to be dropped where that may take its time.
    pub fn unused(&mut self) -> Vec<Arc<Table>> {
        self.replaced.extract_if(.., |table| Arc::strong_count(table) == 1).collect()
    }
}

impl Reader {
    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Waits until something newer is in force than at the last call; false when nothing more will come.
    pub async fn changed(&mut self) -> bool {
        self.generation.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document;
    use rhumb_decision::health::HealthView;
    use rhumb_decision::ownership::Ownerships;
    use rhumb_decision::snapshot::Weights;
    use rhumb_decision::units::Generation;

    const TABLE: &str = "[tenancy]\nfrom = [{ header = \"X-Tenant\" }]\n[regions.eu]\njurisdiction = \"eu\"\n\
        endpoints = [\"127.0.0.1:1\"]\n[tenants]\nacme.home = \"eu\"\n";

    fn current(table: &Arc<Table>, generation: u64) -> Current {
        let snapshot = Snapshot::new(
            Generation(generation),
            Arc::clone(table),
            HealthView::default(),
            Ownerships::default(),
            Weights::configured(table),
        );
        Current { snapshot, live: Live::default(), origin: Arc::default(), operators: Operators::default() }
    }

    #[test]
    fn a_replaced_table_is_let_go_here_once_nobody_else_has_it() {
        let [first, second] = [TABLE, TABLE].map(|text| Arc::new(document::parse(text).unwrap()));
        let (mut publisher, reader) = channel(current(&first, 1));
        publisher.publish(current(&first, 2));
        let request = reader.current();
        publisher.publish(current(&second, 3));
        publisher.publish(current(&second, 4));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert!(publisher.unused().is_empty(), "a request is on it");
        drop(request);
        assert!(weak.upgrade().is_some(), "the request did not free it");
        assert_eq!(publisher.unused().len(), 1);
        assert!(weak.upgrade().is_none() && publisher.unused().is_empty());
        assert_eq!(reader.current().generation(), Generation(4));
    }
}

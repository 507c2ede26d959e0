//! What one toy region remembers: the values of its tenants, and the log of what it wrote itself.
//!
//! Never: reads a clock or talks to a socket. Time comes in with every call, so a test decides how old
//! an entry is.
//!
//! Positions are Lamport numbers: a new write is numbered above everything this region has seen, its
//! own or a neighbour's. So the greater position is the later write even after ownership moved, and
//! "last writer wins" needs no synchronised clocks.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes that values and log may take together; a toy that fills a machine is no toy.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// What an entry costs besides its key and value, roughly.
const ENTRY_BYTES: usize = 128;

/// Whose value: a tenant's name for it. Requests without a tenant share the empty name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) tenant: String,
    pub(super) key: String,
}

/// A value, or the fact that it was deleted, with the write that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versioned {
    pub(super) value: Option<Bytes>,
    pub(super) position: u64,
    pub(super) region: Arc<str>,
}

/// What a write does to a value.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Bytes),
    /// Adds to the end of what is there, so that a read shows every write before it, in order.
    Append(Bytes),
    Delete,
}

/// One write of this region, as its followers get it. A write outside `/kv/` has no change to ship, yet
/// takes a position, so that followers can reach it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) position: u64,
    pub(super) at: Instant,
    pub(super) change: Option<(Slot, Option<Bytes>)>,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) position: u64,
    /// True when the key held nothing before.
    pub(super) created: bool,
}

/// The store has no room left; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Names one follower of a store's log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follower(usize);

/// What a follower is due now.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) entries: Vec<Entry>,
    /// When the oldest entry that is not due yet was written.
    pub(super) next: Option<Instant>,
}

pub(super) struct Store {
    region: Arc<str>,
    seen: u64,
    own: u64,
    values: HashMap<Slot, Versioned>,
    log: VecDeque<Entry>,
    followers: Vec<(Arc<Notify>, u64)>,
    bytes: usize,
    most: usize,
}

impl Store {
    pub(super) fn new(region: Arc<str>) -> Store {
        Store {
            region,
            seen: 0,
            own: 0,
            values: HashMap::new(),
            log: VecDeque::new(),
            followers: Vec::new(),
            bytes: 0,
            most: MOST_BYTES,
        }
    }

    /// The position of the last write of this region itself.
    pub(super) fn position(&self) -> u64 {
        self.own
    }

    pub(super) fn read(&self, slot: &Slot) -> Option<Versioned> {
        self.values.get(slot).cloned()
    }

    /// Takes one write at `at`, and wakes the followers.
    pub(super) fn write(&mut self, change: Option<(Slot, Change)>, at: Instant) -> Result<Written, Full> {
        let change = change.map(|(slot, change)| {
            let value = self.after(&slot, change);
            (slot, value)
        });
        let cost = cost(change.as_ref());
        if self.bytes.saturating_add(2 * cost) > self.most {
            return Err(Full);
        }
        self.seen += 1;
        self.own = self.seen;
        let mut created = false;
        if let Some((slot, value)) = &change {
            let version =
                Versioned { value: value.clone(), position: self.own, region: Arc::clone(&self.region) };
            created = self.put(slot.clone(), version).is_none_or(|before| before.value.is_none());
        }
        if !self.followers.is_empty() {
            self.bytes += cost;
            self.log.push_back(Entry { position: self.own, at, change });
            self.followers.iter().for_each(|(wake, _)| wake.notify_one());
        }
        Ok(Written { position: self.own, created })
    }

    /// What the value becomes.
    fn after(&self, slot: &Slot, change: Change) -> Option<Bytes> {
        let held = || self.values.get(slot).and_then(|held| held.value.as_deref()).unwrap_or_default();
        match change {
            Change::Put(value) => Some(value),
            Change::Append(more) => Some([held(), more.as_ref()].concat().into()),
            Change::Delete => None,
        }
    }

    /// Adds a follower, and gives it what is there already: every value, and the position they reach to.
    pub(super) fn follow(&mut self, wake: Arc<Notify>) -> (Follower, Vec<(Slot, Versioned)>, u64) {
        self.followers.push((wake, self.own));
        let values = self.values.iter().map(|(slot, version)| (slot.clone(), version.clone())).collect();
        (Follower(self.followers.len() - 1), values, self.own)
    }

    /// The entries after `follower`'s last that were written at or before `until`; they count as taken.
    pub(super) fn due(&mut self, follower: Follower, until: Instant) -> Due {
        let Some((_, taken)) = self.followers.get_mut(follower.0) else {
            return Due { entries: Vec::new(), next: None };
        };
        let mut due = Due { entries: Vec::new(), next: None };
        let first = self.log.partition_point(|entry| entry.position <= *taken);
        for entry in self.log.range(first..) {
            if entry.at > until {
                due.next = Some(entry.at);
                break;
            }
            *taken = entry.position;
            due.entries.push(entry.clone());
        }
        self.forget_what_all_have();
        due
    }

    /// Takes a neighbour's value if it is the later one.
    pub(super) fn merge(&mut self, slot: Slot, version: Versioned) {
        self.saw(version.position);
        let later = self.values.get(&slot).is_none_or(|held| {
            (version.position, &version.region) > (held.position, &held.region) // the name settles a tie
        });
        if later {
            self.put(slot, version);
        }
    }

    /// Loses every value that `region` wrote after `position`. What stood there before is not known any more.
    pub(super) fn forget_of(&mut self, region: &str, position: u64) {
        let bytes = &mut self.bytes;
        self.values.retain(|slot, version| {
            let stays = &*version.region != region || version.position <= position;
            if !stays {
                *bytes -= size(slot, version.value.as_ref());
            }
            stays
        });
    }

    /// Notes a neighbour's position, so that the next write here is numbered above it.
    pub(super) fn saw(&mut self, position: u64) {
        self.seen = self.seen.max(position);
    }

    fn put(&mut self, slot: Slot, version: Versioned) -> Option<Versioned> {
        self.bytes += size(&slot, version.value.as_ref());
        match self.values.entry(slot) {
            Place::Occupied(mut held) => {
                self.bytes -= size(held.key(), held.get().value.as_ref());
                Some(held.insert(version))
            }
            Place::Vacant(empty) => {
                empty.insert(version);
                None
            }
        }
    }

    fn forget_what_all_have(&mut self) {
        let all = self.followers.iter().map(|(_, taken)| *taken).min().unwrap_or(self.own);
        let known = self.log.partition_point(|entry| entry.position <= all);
        for entry in self.log.drain(..known) {
            self.bytes -= cost(entry.change.as_ref());
        }
    }
}

fn size(slot: &Slot, value: Option<&Bytes>) -> usize {
    ENTRY_BYTES + slot.tenant.len() + slot.key.len() + value.map_or(0, Bytes::len)
}

fn cost(change: Option<&(Slot, Option<Bytes>)>) -> usize {
    change.map_or(ENTRY_BYTES, |(slot, value)| size(slot, value.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slot(key: &str) -> Slot {
        Slot { tenant: "acme".to_owned(), key: key.to_owned() }
    }

    fn put(store: &mut Store, key: &str, value: &'static str, at: Instant) -> Written {
        store.write(Some((slot(key), Change::Put(value.into()))), at).unwrap()
    }

    fn version(value: &'static str, position: u64, region: &str) -> Versioned {
        Versioned { value: Some(Bytes::from(value)), position, region: region.into() }
    }

    #[test]
    fn positions_rise_above_everything_seen() {
        let (mut store, now) = (Store::new("eu".into()), Instant::now());
        assert_eq!(put(&mut store, "a", "1", now), Written { position: 1, created: true });
        store.merge(slot("b"), version("2", 40, "us"));
        assert_eq!(store.position(), 1, "a neighbour's write is not one of its own");
        assert_eq!(put(&mut store, "b", "3", now), Written { position: 41, created: false });
    }

    #[test]
    fn the_later_write_wins_whatever_order_it_arrives_in() {
        let mut store = Store::new("ap".into());
        store.merge(slot("a"), version("new", 9, "eu"));
        store.merge(slot("a"), version("old", 8, "us"));
        assert_eq!(store.read(&slot("a")), Some(version("new", 9, "eu")));
        store.merge(slot("a"), version("tie", 9, "us"));
        assert_eq!(store.read(&slot("a")), Some(version("tie", 9, "us")));
    }

    #[test]
    fn a_follower_gets_each_entry_once_and_only_when_old_enough() {
        let (mut store, start) = (Store::new("eu".into()), Instant::now());
        put(&mut store, "before", "0", start);
        let (follower, base, reached) = store.follow(Arc::default());
        assert_eq!((base.len(), reached), (1, 1));
        let later = start + Duration::from_secs(5);
        put(&mut store, "a", "1", start);
        put(&mut store, "b", "2", later);

        let due = store.due(follower, start);
        assert_eq!(due.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [2]);
        assert_eq!(due.next, Some(later));
        let due = store.due(follower, later);
        assert_eq!(due.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [3]);
        assert!(store.due(follower, later).entries.is_empty());
        assert!(store.log.is_empty(), "what all followers have is not kept");
    }

    #[test]
    fn a_deleted_key_can_be_created_again() {
        let (mut store, now) = (Store::new("eu".into()), Instant::now());
        put(&mut store, "a", "1", now);
        assert!(!store.write(Some((slot("a"), Change::Delete)), now).unwrap().created);
        assert!(put(&mut store, "a", "2", now).created);
    }

    #[test]
    fn what_is_appended_goes_behind_what_is_there_and_followers_get_all_of_it() {
        let (mut store, now) = (Store::new("eu".into()), Instant::now());
        let (follower, ..) = store.follow(Arc::default());
        let mut append = |more: &'static str| {
            store.write(Some((slot("a"), Change::Append(more.into()))), now).unwrap().created
        };
        assert_eq!((append("one "), append("two ")), (true, false));
        assert_eq!(store.read(&slot("a")), Some(version("one two ", 2, "eu")));
        let due = store.due(follower, now);
        let values = due.entries.into_iter().map(|entry| entry.change.unwrap().1.unwrap());
        assert_eq!(values.collect::<Vec<_>>(), ["one ", "one two "]);
    }

    #[test]
    fn a_full_store_refuses_and_says_so() {
        let (mut store, now) = (Store::new("eu".into()), Instant::now());
        store.most = 600;
        put(&mut store, "a", "1", now);
        let large = Bytes::from(vec![0; 600]);
        assert_eq!(store.write(Some((slot("b"), Change::Put(large))), now), Err(Full));
        assert_eq!(store.position(), 1);
        assert!(!put(&mut store, "a", "2", now).created, "what fits still goes in");
    }
}

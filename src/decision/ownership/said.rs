//! What was said of tenants at run time, over the rows of whatever table: a map that is cheap to copy and to change.
//!
//! A million tenants may have moved. One change copies one shard and shares the others.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::units::{Epoch, Key};

/// What an operator set on a tenant or a region at run time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mark {
    /// Writes are paused.
    Frozen,
    /// Reads only.
    ReadOnly,
}

impl Mark {
    /// Every mark.
    pub const ALL: [Self; 2] = [Self::Frozen, Self::ReadOnly];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::ReadOnly => "read-only",
        }
    }

    /// The one of this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.code() == code)
    }
}

/// A name in [`Names`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameId(u16);

impl NameId {
    /// Its position.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The names of regions that ever owned what was moved. Numbers stay.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names(Arc<Vec<Box<str>>>);

impl Names {
    /// The number of `name`, which is added where it is new; `None` once 65,536 are known.
    pub fn number(&mut self, name: &str) -> Option<NameId> {
        if let Some(known) = self.0.iter().position(|known| **known == *name) {
            return u16::try_from(known).ok().map(NameId);
        }
        let number = u16::try_from(self.0.len()).ok()?;
        Arc::make_mut(&mut self.0).push(name.into());
        Some(NameId(number))
    }

    /// The name of this number.
    #[must_use]
    pub fn name(&self, id: NameId) -> &str {
        self.0.get(id.index()).map_or("", |name| name)
    }

    /// All names, by number.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// What was said of one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Said {
    /// Who owns it, and since which epoch.
    pub moved: Option<(NameId, Epoch)>,
    /// What an operator set.
    pub mark: Option<Mark>,
    /// Whether its ownership is being moved.
    pub moving: bool,
    /// Whether it has its new owner already.
    pub settling: bool,
    /// Whether others are not to hear of that owner yet.
    pub withheld: bool,
    /// The epoch at which somebody else was seen to own it too.
    pub disputed: Option<Epoch>,
}

impl Said {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    key: Key,
    id: Box<str>,
    said: Said,
}

const SHARDS: usize = 256;

/// What was said, by tenant. A clone shares everything.
#[derive(Clone, Default)]
pub struct Saids {
    /// None, or [`SHARDS`] of them.
    shards: Arc<[Arc<HashTable<Entry>>]>,
    len: usize,
}

impl Saids {
    /// Whether nothing was said of anybody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Of how many tenants something was said.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// What was said of the tenant `id`, whose hash is `key`.
    #[must_use]
    pub fn get(&self, key: Key, id: &str) -> Option<&Said> {
        let shard = self.shards.get(shard_of(key))?;
        shard.find(key.0, |entry| entry.key == key && *entry.id == *id).map(|entry| &entry.said)
    }

    /// The same for a tenant whose hash is not at hand.
    #[must_use]
    pub fn of(&self, id: &str) -> Said {
        self.get(Key::of(id.as_bytes()), id).copied().unwrap_or_default()
    }

    /// Says `said` of the tenant `id` from now on.
    pub fn set(&mut self, id: &str, said: Said) {
        let key = Key::of(id.as_bytes());
        if self.shards.is_empty() {
            self.shards = (0..SHARDS).map(|_| Arc::default()).collect();
        }
        // A swap of one shard, so that the others stay shared.
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(shard_of(key)) else { return };
        let shard = Arc::make_mut(shard);
        let found = shard.find_entry(key.0, |entry| entry.key == key && *entry.id == *id);
        match (found, said.is_nothing()) {
            (Ok(entry), true) => {
                entry.remove();
                self.len -= 1;
            }
            (Ok(mut entry), false) => entry.get_mut().said = said,
            (Err(_), true) => {}
            (Err(_), false) => {
                shard.insert_unique(key.0, Entry { key, id: id.into(), said }, |entry| entry.key.0);
                self.len += 1;
            }
        }
    }

    /// Everything that was said, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Said)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|entry| (entry.id.as_ref(), &entry.said))
    }
}

impl PartialEq for Saids {
    fn eq(&self, other: &Self) -> bool {
        let same = || self.iter().all(|(id, said)| other.get(Key::of(id.as_bytes()), id) == Some(said));
        Arc::ptr_eq(&self.shards, &other.shards) || (self.len == other.len && same())
    }
}

impl Eq for Saids {}

impl std::fmt::Debug for Saids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// By bits that the tables within do not look at first.
const fn shard_of(key: Key) -> usize {
    (key.0 >> 24) as usize % SHARDS
}

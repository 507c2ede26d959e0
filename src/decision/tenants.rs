//! The tenants of a table: a sharded, immutable map, built for a million rows.
//!
//! A row is 15 bytes and its id. What rows have in common (home, standbys, residency, policy) is kept once, as a
//! [`Profile`]. One tenant's change copies one shard and shares the rest.
//!
//! Never: a row that names a region or policy that the table does not have.

mod build;

use std::sync::Arc;

pub use build::{Repeated, TenantsBuilder};

use crate::units::{Epoch, Key, PolicyId, RegionId, RegionSet};

/// The longest tenant id, in bytes.
pub const MAX_TENANT_ID: usize = 128;

/// Whether `id` could name a tenant: 1 to 128 bytes of `[A-Za-z0-9._-]`.
#[must_use]
pub fn is_tenant_id(id: &[u8]) -> bool {
    !id.is_empty()
        && id.len() <= MAX_TENANT_ID
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What may be done with a tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TenantState {
    /// Everything.
    Active,
    /// Writes are paused.
    Frozen,
    /// Reads only.
    ReadOnly,
}

impl TenantState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Frozen, Self::ReadOnly];

    /// The name, as in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::ReadOnly => "read-only",
        }
    }
}

/// What many tenants have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Profile {
    /// The region the tenant was assigned to.
    pub home: RegionId,
    /// Regions that may become owner, in order of preference.
    pub standby: Box<[RegionId]>,
    /// Regions that may answer reads besides.
    pub replicas: Box<[RegionId]>,
    /// Home, standbys and replicas.
    pub read_set: RegionSet,
    /// Home and standbys.
    pub may_own: RegionSet,
    /// The jurisdictions its requests may reach; empty: any.
    pub residency: Box<[Box<str>]>,
    /// The regions that lie in those.
    pub allowed: RegionSet,
    /// The policy it obeys unless its route says otherwise.
    pub policy: PolicyId,
    /// The cell it is sealed in, where a region has one of this name.
    pub cell: Option<Box<str>>,
}

/// Which profile: a position in [`Tenants::profiles`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProfileId(pub u32);

/// Where a tenant's id stands; resolved by [`Tenants::id`] of the same map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantRef {
    shard: u32,
    offset: u32,
    len: u8,
}

/// One tenant, as found.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'a> {
    /// Where its id stands.
    pub at: TenantRef,
    /// The hash of its id: what stays together under `sticky = "tenant"`.
    pub key: Key,
    /// The epoch of the row.
    pub epoch: Epoch,
    /// The state of the row.
    pub state: TenantState,
    /// What it has in common with others.
    pub profile: &'a Profile,
}

/// What a row says, apart from its id.
#[derive(Clone, Copy)]
struct Row {
    epoch: u64,
    profile: ProfileId,
    state: TenantState,
}

/// Rows stand behind each other as bytes, each with its id, in the order of their keys. Where pages begin stands beside
/// those of all other shards, half a megabyte for a million tenants, which caches keep: to find a tenant is to wait for far
/// memory once, at its page, and to read on there.
#[derive(Clone)]
struct Shard {
    bytes: Arc<[u8]>,
    /// Where the rows of each page begin, and at last where those of the last one end.
    pages: [u32; PAGES_A_SHARD + 1],
}

impl Default for Shard {
    fn default() -> Self {
        Self { bytes: Arc::new([]), pages: [0; PAGES_A_SHARD + 1] }
    }
}

/// Epoch, profile, state, length of the id, a byte of its hash; then the id.
const HEAD: usize = 15;

/// Bytes of a line of a cache.
const LINE: usize = 64;

/// The byte of a key by which most rows that are not meant are told apart without looking at their ids.
const fn tag(key: Key) -> u8 {
    key.0 as u8
}

impl Row {
    fn head(self, key: Key, id: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.epoch.to_le_bytes());
        head[8..12].copy_from_slice(&self.profile.0.to_le_bytes());
        head[12] = self.state as u8;
        head[13] = id.len() as u8;
        head[14] = tag(key);
        head
    }

    fn from_head(head: [u8; HEAD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, state, _, _] = head;
        Self {
            epoch: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            profile: ProfileId(u32::from_le_bytes([i, j, k, l])),
            state: match state {
                0 => TenantState::Active,
                1 => TenantState::Frozen,
                _ => TenantState::ReadOnly,
            },
        }
    }
}

impl Shard {
    fn find(&self, page: usize, key: Key, id: &[u8]) -> Option<u32> {
        let (begin, end) = (*self.pages.get(page)?, *self.pages.get(page + 1)?);
        let mut rest = self.bytes.get(begin as usize..end as usize)?;
        // Asked for at once, the lines of a page come together; each row is found only by the one before it.
        std::hint::black_box(rest.iter().step_by(LINE).fold(0, |all, byte| all ^ byte));
        let mut at = begin;
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let (here, next) = behind.split_at_checked(usize::from(head[13]))?;
            if head[14] == tag(key) && here == id {
                return Some(at);
            }
            at += (HEAD + here.len()) as u32;
            rest = next;
        }
        None
    }

    /// Where each row begins.
    fn rows(&self) -> impl Iterator<Item = u32> {
        let end = self.bytes.len();
        std::iter::successors(Some(0), |at| Some(at + (HEAD + id_at(&self.bytes, *at).len()) as u32))
            .take_while(move |at| (*at as usize) < end)
    }

    fn row(&self, at: u32) -> Option<Row> {
        self.bytes.get(at as usize..)?.first_chunk().copied().map(Row::from_head)
    }
}

/// The id of the row at `at`.
fn id_at(bytes: &[u8], at: u32) -> &[u8] {
    let Some((head, rest)) = bytes.get(at as usize..).and_then(<[u8]>::split_first_chunk::<HEAD>) else {
        return &[];
    };
    rest.get(..usize::from(head[13])).unwrap_or_default()
}

/// The page of a key among all pages of `shards` shards: keys in order fall into pages in order.
fn page_of(key: Key, shards: usize) -> usize {
    ((u128::from(key.0) * (shards * PAGES_A_SHARD) as u128) >> 64) as usize
}

/// The tenants of a table.
#[derive(Clone)]
pub struct Tenants {
    shards: Box<[Shard]>,
    profiles: Arc<[Profile]>,
    len: usize,
}

/// A shard is small enough to copy for one tenant's change, and its pages hold eight rows each: two or three lines of a
/// cache that lie side by side.
const TENANTS_A_SHARD: usize = 512;
const PAGES_A_SHARD: usize = 64;

impl Tenants {
    /// No tenants.
    #[must_use]
    pub fn none() -> Self {
        Self { shards: Box::new([Shard::default()]), profiles: Arc::new([]), len: 0 }
    }

    /// How many tenants there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the tenants have in common, by [`ProfileId`].
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The tenant of this id, if the table has it.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Tenant<'_>> {
        let key = Key::of(id.as_bytes());
        let (number, page) = self.place_of(key);
        let shard = self.shards.get(number)?;
        self.tenant(number, shard, shard.find(page, key, id.as_bytes())?, key)
    }

    /// The id at `at`; empty when `at` comes from another map.
    #[must_use]
    pub fn id(&self, at: TenantRef) -> &str {
        let start = at.offset as usize;
        self.shards
            .get(at.shard as usize)
            .and_then(|shard| shard.bytes.get(start..start + usize::from(at.len)))
            .and_then(|id| std::str::from_utf8(id).ok())
            .unwrap_or_default()
    }

    /// Every tenant, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Tenant<'_>)> {
        self.shards.iter().enumerate().flat_map(move |(at, shard)| {
            shard.rows().filter_map(move |row| {
                let id = std::str::from_utf8(id_at(&shard.bytes, row)).ok()?;
                Some((id, self.tenant(at, shard, row, Key::of(id.as_bytes()))?))
            })
        })
    }

    /// The same tenants with this one's epoch and state changed; one shard is copied, the others are shared.
    ///
    /// Returns `None` when there is no such tenant.
    #[must_use]
    pub fn with(&self, id: &str, epoch: Epoch, state: TenantState) -> Option<Self> {
        let key = Key::of(id.as_bytes());
        let (number, page) = self.place_of(key);
        let shard = self.shards.get(number)?;
        let row = shard.find(page, key, id.as_bytes())?;
        let changed = Row { epoch: epoch.0, state, ..shard.row(row)? };
        let mut shards = self.shards.clone();
        let bytes = Arc::make_mut(&mut shards.get_mut(number)?.bytes);
        *bytes.get_mut(row as usize..)?.first_chunk_mut()? = changed.head(key, id.as_bytes());
        Some(Self { shards, profiles: Arc::clone(&self.profiles), len: self.len })
    }

    /// Bytes held on the heap, profiles left out.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes.len() + size_of::<Shard>()).sum()
    }

    /// Shard and page.
    fn place_of(&self, key: Key) -> (usize, usize) {
        let page = page_of(key, self.shards.len());
        (page / PAGES_A_SHARD, page % PAGES_A_SHARD)
    }

    fn tenant(&self, number: usize, shard: &Shard, at: u32, key: Key) -> Option<Tenant<'_>> {
        let (row, len) = (shard.row(at)?, id_at(&shard.bytes, at).len() as u8);
        Some(Tenant {
            at: TenantRef { shard: number as u32, offset: at + HEAD as u32, len },
            key,
            epoch: Epoch(row.epoch),
            state: row.state,
            profile: self.profiles.get(row.profile.0 as usize)?,
        })
    }
}

/// XXH3 for the standard map, where keys come from the operator's own file.
#[derive(Clone, Copy, Default)]
pub(crate) struct BySeedless;

impl std::hash::BuildHasher for BySeedless {
    type Hasher = xxhash_rust::xxh3::Xxh3Default;
    fn build_hasher(&self) -> Self::Hasher {
        Self::Hasher::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            home: RegionId(0),
            standby: Box::new([]),
            replicas: Box::new([]),
            read_set: RegionSet::ALL,
            may_own: RegionSet::ALL,
            residency: Box::new([]),
            allowed: RegionSet::ALL,
            policy: PolicyId(0),
            cell: None,
        }
    }

    fn map(ids: impl IntoIterator<Item = String>) -> Result<Tenants, Vec<Repeated>> {
        gathered(ids).build(|| {})
    }

    fn gathered(ids: impl IntoIterator<Item = String>) -> TenantsBuilder {
        let mut builder = TenantsBuilder::default();
        let shared = builder.profile(profile());
        for (line, id) in ids.into_iter().enumerate() {
            assert!(builder.add(&id, shared, Epoch(7), TenantState::Active, line as u64));
        }
        builder
    }

    #[test]
    fn no_more_than_a_shard_is_done_between_two_pauses() {
        let mut pauses = 0;
        gathered((0..10_000).map(|i| format!("tenant-{i}"))).build(|| pauses += 1).unwrap();
        assert_eq!(
            pauses,
            2 * (10_000 / TENANTS_A_SHARD + 1),
            "once for what is sorted in, once for what is packed"
        );
    }

    #[test]
    fn every_tenant_is_found_and_no_other() {
        let tenants = map((0..10_000).map(|i| format!("tenant-{i}"))).unwrap();
        assert_eq!(tenants.len(), 10_000);
        for i in 0..10_000 {
            let id = format!("tenant-{i}");
            let found = tenants.find(&id).unwrap();
            assert_eq!((tenants.id(found.at), found.epoch), (id.as_str(), Epoch(7)));
        }
        assert!(tenants.find("tenant-10000").is_none() && tenants.find("").is_none());
        assert_eq!(tenants.iter().count(), 10_000);
    }

    #[test]
    fn ids_of_every_length_are_found_and_may_change() {
        let ids: Vec<String> = (1..=MAX_TENANT_ID).map(|len| "x".repeat(len)).collect();
        let mut tenants = map(ids.iter().cloned()).unwrap();
        for id in &ids {
            tenants = tenants.with(id, Epoch(id.len() as u64), TenantState::ReadOnly).unwrap();
        }
        for id in &ids {
            let found = tenants.find(id).unwrap();
            assert_eq!((found.epoch, found.state), (Epoch(id.len() as u64), TenantState::ReadOnly));
            assert_eq!(tenants.id(found.at), id);
        }
    }

    #[test]
    fn an_empty_map_finds_nothing() {
        let tenants = map([]).unwrap();
        assert!(tenants.is_empty() && tenants.find("acme").is_none());
    }

    #[test]
    fn a_repeated_tenant_is_told_with_both_places() {
        let ids = ["a", "b", "a", "c", "b"].map(String::from);
        let repeated = map(ids).err().unwrap();
        let told: Vec<_> = repeated.iter().map(|r| (r.id.as_str(), r.first, r.again)).collect();
        assert_eq!(told, [("a", 0, 2), ("b", 1, 4)]);
    }

    #[test]
    fn one_change_copies_one_shard() {
        let tenants = map((0..10_000).map(|i| format!("tenant-{i}"))).unwrap();
        let changed = tenants.with("tenant-42", Epoch(8), TenantState::Frozen).unwrap();
        assert_eq!(changed.find("tenant-42").unwrap().epoch, Epoch(8));
        assert_eq!(tenants.find("tenant-42").unwrap().epoch, Epoch(7));
        let pairs = tenants.shards.iter().zip(&changed.shards);
        let copied = pairs.filter(|(a, b)| !Arc::ptr_eq(&a.bytes, &b.bytes)).count();
        assert_eq!(copied, 1);
        assert!(tenants.with("nobody", Epoch(8), TenantState::Active).is_none());
    }

    #[test]
    fn a_million_tenants_stay_under_a_hundred_bytes_each() {
        let tenants = map((0..1_000_000).map(|i| format!("tenant-{i:07}"))).unwrap();
        let each = tenants.heap_bytes() / tenants.len();
        assert!(each <= 100, "{each} bytes a tenant");
    }

    #[test]
    fn only_plain_ids_name_a_tenant() {
        assert!(is_tenant_id(b"Acme_1.eu-x") && is_tenant_id(&[b'a'; 128]));
        for bad in [&b""[..], b"a b", b"a/b", b"\xc3\xa4", b"a\0", &[b'a'; 129]] {
            assert!(!is_tenant_id(bad), "{bad:?}");
        }
    }
}

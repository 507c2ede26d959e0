//! The tenants of a table: a sharded, immutable map, built for a million rows.
//!
//! A row is 14 bytes and its id. What rows have in common (home, standbys, residency, policy) is kept once, as a
//! [`Profile`]. One tenant's change copies one shard and shares the rest.
//!
//! Never: a row that names a region or policy that the table does not have.

use std::sync::Arc;

use hashbrown::HashTable;

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

/// Rows stand behind each other as bytes, each with its id, and the map holds where: to find a tenant is to wait for
/// memory about once, where a map of rows beside a list of ids would wait twice.
#[derive(Default, Clone)]
struct Shard {
    bytes: Box<[u8]>,
    at: HashTable<u32>,
}

/// Epoch, profile, state and length of the id; then the id.
const HEAD: usize = 14;

impl Row {
    fn head(self, id: &[u8]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.epoch.to_le_bytes());
        head[8..12].copy_from_slice(&self.profile.0.to_le_bytes());
        head[12] = self.state as u8;
        head[13] = id.len() as u8;
        head
    }

    fn from_head(head: [u8; HEAD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, state, _] = head;
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
    fn find(&self, key: Key, id: &[u8]) -> Option<u32> {
        self.at.find(within(key), |at| id_at(&self.bytes, *at) == id).copied()
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

/// The high bits choose the shard, so the map within a shard goes by the others.
const fn within(key: Key) -> u64 {
    key.0.rotate_left(32)
}

/// The tenants of a table.
#[derive(Clone)]
pub struct Tenants {
    shards: Box<[Arc<Shard>]>,
    profiles: Arc<[Profile]>,
    len: usize,
}

/// About this many tenants share a shard: copying one is cheap, the list of shards stays short, and a map of 1,024
/// places is well filled and yet does not spill over.
const TENANTS_A_SHARD: usize = 768;

impl Tenants {
    /// No tenants.
    #[must_use]
    pub fn none() -> Self {
        Self { shards: Box::new([Arc::default()]), profiles: Arc::new([]), len: 0 }
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
        let at = self.shard_of(key);
        let shard = self.shards.get(at)?;
        self.tenant(at, shard, shard.find(key, id.as_bytes())?, key)
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
            shard.at.iter().filter_map(move |row| {
                let id = std::str::from_utf8(id_at(&shard.bytes, *row)).ok()?;
                Some((id, self.tenant(at, shard, *row, Key::of(id.as_bytes()))?))
            })
        })
    }

    /// The same tenants with this one's epoch and state changed; one shard is copied, the others are shared.
    ///
    /// Returns `None` when there is no such tenant.
    #[must_use]
    pub fn with(&self, id: &str, epoch: Epoch, state: TenantState) -> Option<Self> {
        let key = Key::of(id.as_bytes());
        let at = self.shard_of(key);
        let mut shard = Shard::clone(self.shards.get(at)?);
        let row = shard.find(key, id.as_bytes())?;
        let changed = Row { epoch: epoch.0, state, ..shard.row(row)? };
        let head = shard.bytes.get_mut(row as usize..)?.first_chunk_mut()?;
        *head = changed.head(id.as_bytes());
        let mut shards = self.shards.clone();
        *shards.get_mut(at)? = Arc::new(shard);
        Some(Self { shards, profiles: Arc::clone(&self.profiles), len: self.len })
    }

    /// Bytes held on the heap, profiles left out.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let of = |shard: &Shard| shard.bytes.len() + shard.at.allocation_size() + size_of::<Shard>();
        self.shards.iter().map(|shard| of(shard) + size_of::<Arc<Shard>>()).sum()
    }

    fn shard_of(&self, key: Key) -> usize {
        shard_of(key, self.shards.len())
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

fn shard_of(key: Key, shards: usize) -> usize {
    ((u128::from(key.0) * shards as u128) >> 64) as usize
}

/// Gathers rows, then builds the map in one go.
#[derive(Default)]
pub struct TenantsBuilder {
    ids: Vec<u8>,
    rows: Vec<Gathered>,
    profiles: Vec<Profile>,
}

struct Gathered {
    key: Key,
    start: usize,
    len: u8,
    row: Row,
    line: u64,
}

/// A tenant that was given twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repeated {
    /// Its id.
    pub id: String,
    /// The caller's mark of the first row.
    pub first: u64,
    /// The caller's mark of the later row.
    pub again: u64,
}

impl TenantsBuilder {
    /// Keeps a profile and gives its id. The caller keeps equal ones together.
    pub fn profile(&mut self, profile: Profile) -> ProfileId {
        self.profiles.push(profile);
        ProfileId((self.profiles.len() - 1) as u32)
    }

    /// Adds a row. `mark` is the caller's own (a line, say) and comes back in [`Repeated`].
    ///
    /// Returns false, and adds nothing, when `id` could not name a tenant ([`is_tenant_id`]).
    pub fn add(&mut self, id: &str, profile: ProfileId, epoch: Epoch, state: TenantState, mark: u64) -> bool {
        if !is_tenant_id(id.as_bytes()) || profile.0 as usize >= self.profiles.len() {
            return false;
        }
        let row = Row { epoch: epoch.0, profile, state };
        let (start, len) = (self.ids.len(), id.len() as u8);
        self.ids.extend_from_slice(id.as_bytes());
        self.rows.push(Gathered { key: Key::of(id.as_bytes()), start, len, row, line: mark });
        true
    }

    /// Builds the map.
    ///
    /// # Errors
    /// The tenants that were given more than once, the first thousand of them.
    pub fn build(self) -> Result<Tenants, Vec<Repeated>> {
        let count = self.rows.len() / TENANTS_A_SHARD + 1;
        let mut sizes = vec![(0_usize, 0_usize); count];
        for gathered in &self.rows {
            if let Some((rows, bytes)) = sizes.get_mut(shard_of(gathered.key, count)) {
                *rows += 1;
                *bytes += HEAD + usize::from(gathered.len);
            }
        }
        let mut shards: Vec<(Vec<u8>, HashTable<u32>)> = sizes
            .iter()
            .map(|(rows, bytes)| (Vec::with_capacity(*bytes), HashTable::with_capacity(*rows)))
            .collect();
        let mut repeated = Vec::new();
        for gathered in &self.rows {
            let Some((bytes, rows)) = shards.get_mut(shard_of(gathered.key, count)) else { continue };
            let id = self.id(gathered);
            let (hash, at) = (within(gathered.key), bytes.len() as u32);
            if rows.find(hash, |row| id_at(bytes, *row) == id).is_some() {
                repeated.push((id, gathered.line));
                continue;
            }
            bytes.extend_from_slice(&gathered.row.head(id));
            bytes.extend_from_slice(id);
            rows.insert_unique(hash, at, |row| within(Key::of(id_at(bytes, *row))));
        }
        if !repeated.is_empty() {
            return Err(self.first_rows_of(&repeated));
        }
        let shards = shards
            .into_iter()
            .map(|(bytes, at)| Arc::new(Shard { bytes: bytes.into_boxed_slice(), at }))
            .collect();
        Ok(Tenants { shards, profiles: self.profiles.into(), len: self.rows.len() })
    }

    fn id(&self, gathered: &Gathered) -> &[u8] {
        self.ids.get(gathered.start..gathered.start + usize::from(gathered.len)).unwrap_or_default()
    }

    fn first_rows_of(&self, repeated: &[(&[u8], u64)]) -> Vec<Repeated> {
        const TOLD: usize = 1_000;
        let mut firsts = hashbrown::HashMap::<&[u8], u64, BySeedless>::with_hasher(BySeedless);
        for (id, _) in repeated.iter().take(TOLD) {
            firsts.insert(id, 0);
        }
        for gathered in self.rows.iter().rev() {
            if let Some(first) = firsts.get_mut(self.id(gathered)) {
                *first = gathered.line;
            }
        }
        let told = repeated.iter().take(TOLD);
        told.map(|(id, again)| Repeated {
            id: String::from_utf8_lossy(id).into_owned(),
            first: firsts.get(id).copied().unwrap_or_default(),
            again: *again,
        })
        .collect()
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
        let mut builder = TenantsBuilder::default();
        let shared = builder.profile(profile());
        for (line, id) in ids.into_iter().enumerate() {
            assert!(builder.add(&id, shared, Epoch(7), TenantState::Active, line as u64));
        }
        builder.build()
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
        let copied = tenants.shards.iter().zip(&changed.shards).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
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

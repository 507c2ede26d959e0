//! The tenants of a table: a sharded, immutable map, built for a million rows.
//!
//! A row is 24 bytes and its id. What rows have in common (home, standbys, residency, policy) is kept once, as a
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

#[derive(Clone, Copy, PartialEq, Eq)]
struct Row {
    epoch: u64,
    offset: u32,
    profile: ProfileId,
    len: u8,
    state: TenantState,
}

#[derive(Default, Clone)]
struct Shard {
    ids: Box<[u8]>,
    rows: HashTable<Row>,
}

impl Shard {
    fn id(&self, row: &Row) -> &[u8] {
        let start = row.offset as usize;
        self.ids.get(start..start + usize::from(row.len)).unwrap_or_default()
    }

    fn find(&self, key: Key, id: &[u8]) -> Option<&Row> {
        self.rows.find(within(key), |row| self.id(row) == id)
    }
}

/// The low bits choose the shard, so the map within a shard goes by the others.
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

/// About this many tenants share a shard: copying one is cheap, and the list of shards stays short.
const TENANTS_A_SHARD: usize = 512;
const MAX_SHARDS: usize = 1 << 14;

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
        let row = self.shards.get(at)?.find(key, id.as_bytes())?;
        self.tenant(at, row, key)
    }

    /// The id at `at`; empty when `at` comes from another map.
    #[must_use]
    pub fn id(&self, at: TenantRef) -> &str {
        let start = at.offset as usize;
        self.shards
            .get(at.shard as usize)
            .and_then(|shard| shard.ids.get(start..start + usize::from(at.len)))
            .and_then(|id| std::str::from_utf8(id).ok())
            .unwrap_or_default()
    }

    /// Every tenant, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Tenant<'_>)> {
        self.shards.iter().enumerate().flat_map(move |(at, shard)| {
            shard.rows.iter().filter_map(move |row| {
                let id = std::str::from_utf8(shard.id(row)).ok()?;
                Some((id, self.tenant(at, row, Key::of(id.as_bytes()))?))
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
        let Shard { ids, rows } = &mut shard;
        let row = rows.find_mut(within(key), |row| {
            let start = row.offset as usize;
            ids.get(start..start + usize::from(row.len)) == Some(id.as_bytes())
        })?;
        row.epoch = epoch.0;
        row.state = state;
        let mut shards = self.shards.clone();
        *shards.get_mut(at)? = Arc::new(shard);
        Some(Self { shards, profiles: Arc::clone(&self.profiles), len: self.len })
    }

    /// Bytes held on the heap, profiles left out.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let of = |shard: &Shard| shard.ids.len() + shard.rows.allocation_size() + size_of::<Shard>();
        self.shards.iter().map(|shard| of(shard) + size_of::<Arc<Shard>>()).sum()
    }

    fn shard_of(&self, key: Key) -> usize {
        key.0 as usize & (self.shards.len().wrapping_sub(1))
    }

    fn tenant(&self, shard: usize, row: &Row, key: Key) -> Option<Tenant<'_>> {
        Some(Tenant {
            at: TenantRef { shard: shard as u32, offset: row.offset, len: row.len },
            key,
            epoch: Epoch(row.epoch),
            state: row.state,
            profile: self.profiles.get(row.profile.0 as usize)?,
        })
    }
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
        let row = Row { epoch: epoch.0, offset: 0, profile, len: id.len() as u8, state };
        let start = self.ids.len();
        self.ids.extend_from_slice(id.as_bytes());
        self.rows.push(Gathered { key: Key::of(id.as_bytes()), start, row, line: mark });
        true
    }

    /// Builds the map.
    ///
    /// # Errors
    /// The tenants that were given more than once, the first thousand of them.
    pub fn build(self) -> Result<Tenants, Vec<Repeated>> {
        let count = (self.rows.len() / TENANTS_A_SHARD).next_power_of_two().min(MAX_SHARDS);
        let mut sizes = vec![(0_usize, 0_usize); count];
        let shard_of = |key: Key| key.0 as usize & (count - 1);
        for gathered in &self.rows {
            if let Some((rows, bytes)) = sizes.get_mut(shard_of(gathered.key)) {
                *rows += 1;
                *bytes += usize::from(gathered.row.len);
            }
        }
        let mut shards: Vec<(Vec<u8>, HashTable<Row>)> = sizes
            .iter()
            .map(|(rows, bytes)| (Vec::with_capacity(*bytes), HashTable::with_capacity(*rows)))
            .collect();
        let mut repeated = Vec::new();
        for gathered in &self.rows {
            let Some((ids, rows)) = shards.get_mut(shard_of(gathered.key)) else { continue };
            let id = self
                .ids
                .get(gathered.start..gathered.start + usize::from(gathered.row.len))
                .unwrap_or_default();
            let same = |row: &Row| {
                let start = row.offset as usize;
                ids.get(start..start + usize::from(row.len)) == Some(id)
            };
            if rows.find(within(gathered.key), same).is_some() {
                repeated.push((id, gathered.line));
                continue;
            }
            let row = Row { offset: ids.len() as u32, ..gathered.row };
            ids.extend_from_slice(id);
            let hash = |row: &Row| {
                let start = row.offset as usize;
                within(Key::of(ids.get(start..start + usize::from(row.len)).unwrap_or_default()))
            };
            rows.insert_unique(within(gathered.key), row, hash);
        }
        if !repeated.is_empty() {
            return Err(self.first_rows_of(&repeated));
        }
        let shards = shards
            .into_iter()
            .map(|(ids, rows)| Arc::new(Shard { ids: ids.into_boxed_slice(), rows }))
            .collect();
        Ok(Tenants { shards, profiles: self.profiles.into(), len: self.rows.len() })
    }

    fn first_rows_of(&self, repeated: &[(&[u8], u64)]) -> Vec<Repeated> {
        const TOLD: usize = 1_000;
        let mut firsts = hashbrown::HashMap::<&[u8], u64, BySeedless>::with_hasher(BySeedless);
        for (id, _) in repeated.iter().take(TOLD) {
            firsts.insert(id, 0);
        }
        for gathered in self.rows.iter().rev() {
            let id = self.ids.get(gathered.start..gathered.start + usize::from(gathered.row.len));
            if let Some(first) = id.and_then(|id| firsts.get_mut(id)) {
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

//! Tenants are gathered row by row, then ordered and packed in one go.
//!
//! Never: reads memory far apart. Rows go to their shard as they came, and are ordered there, where they fit a cache.

use super::{
    BySeedless, HEAD, PAGES_A_SHARD, Profile, ProfileId, Row, Shard, TENANTS_A_SHARD, TenantState, Tenants,
    id_at, is_tenant_id, page_of,
};
use crate::units::{Epoch, Key};

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
    mark: u64,
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
        self.rows.push(Gathered { key: Key::of(id.as_bytes()), start, len, row, mark });
        true
    }

    /// Builds the map; calls `pause` every now and then, for whoever must not keep others waiting.
    ///
    /// # Errors
    /// The tenants that were given more than once, the first thousand of them.
    pub fn build(self, mut pause: impl FnMut()) -> Result<Tenants, Vec<Repeated>> {
        const TOLD: usize = 1_000;
        let count = self.rows.len() / TENANTS_A_SHARD + 1;
        let mut loose: Vec<Loose> = std::iter::repeat_with(Loose::default).take(count).collect();
        for (before, gathered) in self.rows.iter().enumerate() {
            if before % TENANTS_A_SHARD == 0 {
                pause();
            }
            let number = page_of(gathered.key, count) / PAGES_A_SHARD;
            if let Some(shard) = loose.get_mut(number) {
                shard.add(gathered, self.id(gathered));
            }
        }
        let len = self.rows.len();
        let mut repeated = Vec::new();
        let shards = loose.into_iter().zip(0..).map(|(shard, number)| {
            pause();
            let shard = shard.in_order(&mut repeated);
            shard.packed(number, count)
        });
        let shards = shards.collect();
        if repeated.is_empty() {
            return Ok(Tenants { shards, profiles: self.profiles.into(), len });
        }
        repeated.sort_by_key(|repeated: &Repeated| repeated.again);
        repeated.truncate(TOLD);
        Err(repeated)
    }

    fn id(&self, gathered: &Gathered) -> &[u8] {
        self.ids.get(gathered.start..gathered.start + usize::from(gathered.len)).unwrap_or_default()
    }
}

/// The rows of one shard as they came.
#[derive(Default)]
struct Loose {
    bytes: Vec<u8>,
    rows: Vec<LooseRow>,
}

/// Field order is precedence: by key, then as they came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LooseRow {
    key: u64,
    at: u32,
    mark: u64,
}

impl Loose {
    fn add(&mut self, gathered: &Gathered, id: &[u8]) {
        let (key, at) = (gathered.key.0, self.bytes.len() as u32);
        self.rows.push(LooseRow { key, at, mark: gathered.mark });
        self.bytes.extend_from_slice(&gathered.row.head(gathered.key, id));
        self.bytes.extend_from_slice(id);
    }

    /// Sorts the rows, and tells those whose id an earlier one has.
    fn in_order(mut self, repeated: &mut Vec<Repeated>) -> Self {
        self.rows.sort_unstable();
        // Equal keys are nearly always equal ids; equal ids always have equal keys.
        for alike in self.rows.chunk_by(|a, b| a.key == b.key).filter(|alike| alike.len() > 1) {
            let mut firsts = hashbrown::HashMap::<&[u8], u64, BySeedless>::with_hasher(BySeedless);
            for again in alike {
                let id = id_at(&self.bytes, again.at);
                if let Some(first) = firsts.get(id).copied() {
                    let id = String::from_utf8_lossy(id).into_owned();
                    repeated.push(Repeated { id, first, again: again.mark });
                } else {
                    firsts.insert(id, again.mark);
                }
            }
        }
        self
    }

    /// Shard `number` of `shards`, from rows in order.
    fn packed(&self, number: usize, shards: usize) -> Shard {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut pages = [0; PAGES_A_SHARD + 1];
        let mut rest = self.rows.iter().peekable();
        for (page, begin) in (number * PAGES_A_SHARD..).zip(&mut pages[..PAGES_A_SHARD]) {
            *begin = bytes.len() as u32;
            while let Some(row) = rest.next_if(|next| page_of(Key(next.key), shards) == page) {
                let end = row.at as usize + HEAD + id_at(&self.bytes, row.at).len();
                bytes.extend_from_slice(self.bytes.get(row.at as usize..end).unwrap_or_default());
            }
        }
        pages[PAGES_A_SHARD] = bytes.len() as u32;
        Shard { bytes: bytes.into(), pages }
    }
}

//! What a table means in headers and peers, worked out once for each table and not for each request.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::{HeaderName, HeaderValue};
use rhumb_decision::policy::Sticky;
use rhumb_decision::table::{PlacementRule, Region, Table};
use rhumb_decision::units::{PolicyId, RegionId};

use crate::certificates::known::KnownLeaves;
use crate::proxy::peer::PeerTemplate;

/// One table, prepared.
pub(super) struct Prepared {
    table: Arc<Table>,
    regions: Box<[PreparedRegion]>,
    policies: Box<[HeaderValue]>,
    /// The region of this edge; one that no table has, where the table does not know it.
    pub source: RegionId,
    /// Its name as a header's value.
    pub source_name: HeaderValue,
    /// The headers that may name a tenant.
    pub tenant_headers: Box<[HeaderName]>,
    /// The regions that take only so many requests at once.
    pub limited: Box<[(RegionId, u32)]>,
    /// Whether any policy goes by sessions.
    pub by_session: bool,
    /// Whether any placement goes by countries.
    pub by_country: bool,
}

struct PreparedRegion {
    name: HeaderValue,
    tls: Option<u64>,
    peers: Option<Arc<PeerTemplate>>,
}

impl Prepared {
    fn new(table: &Arc<Table>, source: &str, known: &KnownLeaves, before: Option<&Self>) -> Self {
        let tenant_headers = table.tenancy().headers().filter_map(|name| HeaderName::try_from(name).ok());
        let limited = table.region_ids().zip(table.regions());
        Self {
            source: table.region_named(source).unwrap_or(RegionId(u8::MAX)),
            source_name: value(source),
            regions: table.regions().iter().map(|region| prepared(region, known, before)).collect(),
            policies: table.policies().iter().map(|policy| value(&policy.name)).collect(),
            tenant_headers: tenant_headers.collect(),
            limited: limited.filter_map(|(id, region)| Some((id, region.max_in_flight?))).collect(),
            by_session: table.policies().iter().any(|policy| policy.sticky == Sticky::Session),
            by_country: table.placements().iter().any(|placement| placement.by == PlacementRule::Geo),
            table: Arc::clone(table),
        }
    }

    /// The region's name as a header's value.
    pub fn region(&self, region: RegionId) -> HeaderValue {
        self.regions.get(region.index()).map_or_else(|| value(""), |region| region.name.clone())
    }

    /// The policy's name as a header's value.
    pub fn policy(&self, policy: PolicyId) -> HeaderValue {
        self.policies.get(policy.index()).cloned().unwrap_or_else(|| value(""))
    }

    /// The peers of a region; `None` where its TLS texts cannot be used.
    pub fn peers(&self, region: RegionId) -> Option<&Arc<PeerTemplate>> {
        self.regions.get(region.index())?.peers.as_ref()
    }
}

/// The prepared form of the table in force.
pub(super) struct Cache {
    source: Box<str>,
    known: KnownLeaves,
    last: ArcSwapOption<Prepared>,
}

impl Cache {
    /// For an edge that stands in the region of this name.
    ///
    /// - `known`: the leaves of regions that proved their id.
    pub fn new(source: &str, known: KnownLeaves) -> Self {
        Self { source: source.into(), known, last: ArcSwapOption::empty() }
    }

    /// The prepared form of `table`; made now when it is the first request on this table that asks.
    pub fn of(&self, table: &Arc<Table>) -> Arc<Prepared> {
        let last = self.last.load_full();
        match last {
            Some(prepared) if Arc::ptr_eq(&prepared.table, table) => prepared,
            last => {
                let prepared = Arc::new(Prepared::new(table, &self.source, &self.known, last.as_deref()));
                self.last.store(Some(Arc::clone(&prepared)));
                prepared
            }
        }
    }
}

/// Takes the peers over from the table before, where the region has the same name, protocol and TLS.
fn prepared(region: &Region, leaves: &KnownLeaves, before: Option<&Prepared>) -> PreparedRegion {
    let tls = region.tls.as_ref().map(|tls| tls.identity);
    let known = before.and_then(|before| {
        let known = before.regions.get(before.table.region_named(&region.name)?.index())?;
        let same = |peers: &&Arc<PeerTemplate>| known.tls == tls && peers.http2 == region.http2;
        known.peers.as_ref().filter(same).cloned()
    });
    let peers = known.or_else(|| match PeerTemplate::new(region, leaves) {
        Ok(peers) => Some(Arc::new(peers)),
        Err(unusable) => {
            tracing::error!(%unusable, "requests to it will fail");
            None
        }
    });
    PreparedRegion { name: value(&region.name), tls, peers }
}

/// A name of the table as a header's value; the table's reader lets nothing through that could not be one.
fn value(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::draft::Draft;

    #[test]
    fn a_table_is_prepared_once() {
        let table = |_| Arc::new(Draft::default().build().0.finish().unwrap());
        let (one, other) = (table(1), table(2));
        let cache = Cache::new("eu", KnownLeaves::default());
        let prepared = cache.of(&one);
        assert!(Arc::ptr_eq(&prepared, &cache.of(&one)) && !Arc::ptr_eq(&prepared, &cache.of(&other)));
    }
}

//! What may be written in a routing table: one wire shape per table of the file, every key optional and with its
//! line. What a value means is for the conversions beside this file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::values::{
    CertificateText, CheckPath, ConsistencyText, CookieText, CountryText, EndpointText, HeaderText,
    HostTemplateText, HostText, MethodText, PathTemplateText, PathText, RetryOn, SpiffeText,
};
use crate::problem::given::{Given, TextOr};
use crate::problem::units::Period;
use crate::problem::values::{FileName, Name, Number, Whole};

/// A list whose elements each have a line and survive a bad neighbour.
pub(super) type List<T> = Given<Vec<Given<T>>>;

/// Tables by name.
pub(super) type Named<T> = Given<BTreeMap<String, Given<T>>>;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RoutingDoc {
    pub tenancy: Given<TenancyDoc>,
    pub regions: Named<RegionDoc>,
    pub policies: Named<PolicyDoc>,
    pub routes: List<RouteDoc>,
    pub data_classes: Named<ClassDoc>,
    pub placements: Named<PlacementDoc>,
    pub tenants: Named<TenantDoc>,
    pub safety: Given<SafetyDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TenancyDoc {
    pub from: List<SourceDoc>,
    pub unknown: Given<Name>,
    pub session: Given<SessionDoc>,
    pub files: List<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SourceDoc {
    pub host: Given<HostTemplateText>,
    pub header: Given<HeaderText>,
    pub path: Given<PathTemplateText>,
    pub certificate: Given<CertificateText>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SessionDoc {
    pub cookie: Given<CookieText>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RegionDoc {
    pub jurisdiction: Given<Name>,
    pub endpoints: List<TextOr<EndpointDoc>>,
    pub near: List<Name>,
    pub weight: Given<Whole<0, 100>>,
    pub role: Given<RoleDoc>,
    pub countries: List<CountryText>,
    pub capacity: Given<Whole<1, { u32::MAX as u64 }>>,
    pub max_in_flight: Given<Whole<1, { u32::MAX as u64 }>>,
    pub gateway: Given<bool>,
    pub health: Given<HealthDoc>,
    pub tls: Given<TlsDoc>,
    pub http: Given<Whole<1, 2>>,
    pub cells: Named<CellDoc>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RoleDoc {
    Active,
    Standby,
    ReadOnly,
    Off,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EndpointDoc {
    pub address: Given<EndpointText>,
    pub zone: Given<Name>,
    pub cell: Given<Name>,
    pub weight: Given<Whole<1, 1000>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct HealthDoc {
    pub check: Given<CheckDoc>,
    pub path: Given<CheckPath>,
    pub interval: Given<Period<10, 3_600_000>>,
    pub timeout: Given<Period<1, 60_000>>,
    pub rise: Given<Whole<1, 1000>>,
    pub fall: Given<Whole<1, 1000>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckDoc {
    Http,
    Tcp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TlsDoc {
    pub server_name: Given<String>,
    pub spiffe_id: Given<SpiffeText>,
    pub ca: Given<FileName>,
    pub certificate: Given<CertificateDoc>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CertificateDoc {
    pub chain: Given<FileName>,
    pub key: Given<FileName>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CellDoc {
    pub weight: Given<Whole<0, 100>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyDoc {
    pub topology: Given<TopologyDoc>,
    pub sticky: Given<StickyDoc>,
    pub reads: Given<ReadsDoc>,
    pub writes: Given<WritesDoc>,
    pub retries: Given<RetriesDoc>,
    pub timeout: Given<Period>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TopologyDoc {
    ActivePassive,
    SingleWriter,
    ActiveActive,
    HomeOnly,
    ReadOnly,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StickyDoc {
    Tenant,
    Session,
    Request,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ReadsDoc {
    pub from: Given<ReadsFromDoc>,
    pub failover: Given<bool>,
    pub max_staleness: Given<Period>,
    pub read_your_writes: Given<Period>,
    pub on_pin_lost: Given<OnPinLostDoc>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReadsFromDoc {
    Local,
    Owner,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnPinLostDoc {
    Stale,
    Refuse,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WritesDoc {
    pub to: Given<WritesToDoc>,
    pub hold: Given<Period>,
    pub failover: Given<WriteFailoverDoc>,
    pub after: Given<Period>,
    pub cooldown: Given<Period>,
    pub max_lag: Given<Period>,
    pub idempotency: Given<IdempotencyDoc>,
    pub on_owner_change: Given<OnOwnerChangeDoc>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WritesToDoc {
    Owner,
    Local,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WriteFailoverDoc {
    Manual,
    Automatic,
    Never,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdempotencyDoc {
    Optional,
    Required,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnOwnerChangeDoc {
    Mark,
    Refuse,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RetriesDoc {
    pub attempts: Given<Whole<1, 10>>,
    pub across_regions: Given<bool>,
    pub budget: Given<Whole<0, 100>>,
    pub on: List<RetryOn>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RouteDoc {
    pub name: Given<Name>,
    pub host: Given<HostText>,
    pub path: Given<PathText>,
    pub methods: List<MethodText>,
    pub operation: Given<OperationDoc>,
    pub service: Given<Name>,
    pub capability: Given<Name>,
    pub data_class: Given<Name>,
    pub consistency: Given<ConsistencyText>,
    pub policy: Given<Name>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OperationDoc {
    Read,
    Write,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ClassDoc {
    pub jurisdictions: List<Name>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PlacementDoc {
    pub by: Given<ByDoc>,
    pub shares: Named<Whole<0, 1_000_000>>,
    pub order: List<Name>,
    pub hours: Named<Name>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ByDoc {
    Nearest,
    Latency,
    Geo,
    Weighted,
    Primary,
    Schedule,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TenantDoc {
    pub home: Given<Name>,
    pub standby: List<Name>,
    pub replicas: List<Name>,
    pub residency: List<Name>,
    pub epoch: Given<Whole<1, { i64::MAX as u64 }>>,
    pub policy: Given<Name>,
    pub cell: Given<Name>,
    pub state: Given<StateDoc>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StateDoc {
    Active,
    Frozen,
    ReadOnly,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SafetyDoc {
    pub min_regions_serving: Given<Whole<0, { u32::MAX as u64 }>>,
    pub max_drained_share: Given<Number<0, 1>>,
    pub max_moved_share: Given<Number<0, 1>>,
    pub require_residency: Given<bool>,
}

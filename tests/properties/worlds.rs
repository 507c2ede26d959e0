//! Worlds and requests made up by chance, small enough to shrink.

use proptest::prelude::*;
use rhumb_decision::health::{Passive, Status};
use rhumb_decision::operated::Now;
use rhumb_decision::ownership::{Ownership, State};
use rhumb_decision::pin::{Pin, Shown};
use rhumb_decision::table::Role;
use rhumb_decision::tenants::TenantState;
use rhumb_decision::units::{EndpointId, Epoch, Key, Micros, Millis, RegionId, Wall, Weight};
use rhumb_decision::{Attempt, Decision, Facts};

use crate::spec::{EVIDENCE, LEDGER, PLACEMENTS, POLICIES, RegionSpec, SEARCH, Spec, TenantSpec};
use crate::world::World;

const NAMES: [&str; 6] =
    ["ap-south-1", "eu-central-1", "eu-west-1", "id-jakarta-1", "us-east-1", "us-west-2"];
const JURISDICTIONS: [&str; 3] = ["eu", "us", "id"];

/// A world, and the table by names that it was built from.
#[derive(Clone)]
pub struct Given {
    pub spec: Spec,
    pub world: World,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { spec, world } = self;
        f.debug_struct("Given")
            .field("spec", spec)
            .field("health", &world.health)
            .field("weights", &world.weights)
            .field("moved", &world.moved)
            .finish()
    }
}

impl Given {
    /// Owner and epoch of a tenant of the table, worked out from names.
    pub fn in_force(&self, tenant: &str) -> (&str, u64) {
        let row = &self.spec.tenants[tenant];
        match self.world.moved.get(tenant).filter(|moved| moved.epoch.0 > row.epoch) {
            Some(moved) => (self.world.table.region_name(moved.owner), moved.epoch.0),
            None => (&row.home, row.epoch),
        }
    }

    /// Adds as many more tenants like each one, moved as it was.
    pub fn multiply(&mut self, copies: usize) {
        for (name, tenant) in self.spec.tenants.clone() {
            for copy in 0..copies {
                let like = format!("{name}-{copy}");
                if let Some(moved) = self.world.moved.get(&name) {
                    self.world.moved.insert(like.clone(), *moved);
                }
                self.spec.tenants.insert(like, tenant.clone());
            }
        }
        self.world.table = std::sync::Arc::new(self.spec.table().unwrap());
    }

    /// Fills the table with tenants that live as the first one does, whose reads are sticky by tenant.
    pub fn crowd(&mut self, count: usize) {
        let first = self.spec.tenants.values().next().unwrap().clone();
        let policy = if first.policy.starts_with("by-") { "default" } else { first.policy };
        let like = TenantSpec { policy, ..first };
        self.spec.tenants = (0..count).map(|i| (format!("crowd-{i}"), like.clone())).collect();
        let weights = self.world.weights.clone();
        let health = self.world.health.clone();
        self.world = World { weights, health, ..World::well(self.spec.table().unwrap()) };
    }
}

#[derive(Clone, Debug)]
struct RegionMade {
    jurisdiction: usize,
    role: Role,
    weight: u8,
    near: Option<Vec<prop::sample::Index>>,
    endpoints: Vec<(Status, Option<Status>, Passive)>,
    cells: bool,
    lag: Vec<Option<u64>>,
    round_trip: Option<u64>,
}

#[derive(Clone, Debug)]
struct TenantMade {
    home: prop::sample::Index,
    standby: u8,
    replicas: u8,
    residency: u8,
    policy: usize,
    state: TenantState,
    moved: Option<(prop::sample::Index, i8, TenantState)>,
}

/// Any world of two to six regions.
pub fn given() -> impl Strategy<Value = Given> {
    let regions = prop::collection::vec(region(), 2..=NAMES.len());
    let tenants = prop::collection::vec(tenant(), 1..=3);
    let unknown = prop::option::of(prop::sample::select(&PLACEMENTS[..]));
    (regions, tenants, unknown).prop_map(|(regions, tenants, unknown)| built(&regions, &tenants, unknown))
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        5 => Just(Status::Up),
        1 => Just(Status::Degraded),
        1 => Just(Status::Down),
        1 => Just(Status::Unknown),
    ]
}

fn passive() -> impl Strategy<Value = Passive> {
    prop_oneof![6 => Just(Passive::Trusted), 1 => Just(Passive::Ejected), 1 => Just(Passive::OnTrial(3))]
}

fn state() -> impl Strategy<Value = TenantState> {
    prop_oneof![5 => Just(TenantState::Active), 1 => Just(TenantState::Frozen), 1 => Just(TenantState::ReadOnly)]
}

fn region() -> impl Strategy<Value = RegionMade> {
    let role = prop_oneof![
        5 => Just(Role::Active),
        1 => Just(Role::Standby),
        1 => Just(Role::ReadOnly),
        1 => Just(Role::Off),
    ];
    let weight = prop_oneof![3 => Just(100_u8), 2 => Just(0), 2 => 0_u8..=100];
    let near = prop::option::of(prop::collection::vec(any::<prop::sample::Index>(), 0..4));
    let endpoints = prop::collection::vec((status(), prop::option::of(status()), passive()), 1..=3);
    let lag = prop::collection::vec(prop::option::weighted(0.3, 0_u64..120_000), NAMES.len());
    let round_trip = prop::option::of(0_u64..200_000);
    (0..JURISDICTIONS.len(), role, weight, near, endpoints, prop::bool::weighted(0.2), lag, round_trip)
        .prop_map(|(jurisdiction, role, weight, near, endpoints, cells, lag, round_trip)| RegionMade {
            jurisdiction,
            role,
            weight,
            near,
            endpoints,
            cells,
            lag,
            round_trip,
        })
}

fn tenant() -> impl Strategy<Value = TenantMade> {
    let moved = prop::option::weighted(0.4, (any::<prop::sample::Index>(), -1_i8..=3, state()));
    let sets = (any::<u8>(), any::<u8>(), 0_u8..8);
    (any::<prop::sample::Index>(), sets, 0..POLICIES.len(), state(), moved).prop_map(
        |(home, (standby, replicas, residency), policy, state, moved)| TenantMade {
            home,
            standby,
            replicas,
            residency,
            policy,
            state,
            moved,
        },
    )
}

fn built(regions: &[RegionMade], tenants: &[TenantMade], unknown: Option<&'static str>) -> Given {
    let names = &NAMES[..regions.len()];
    let spec = Spec {
        regions: names
            .iter()
            .zip(regions)
            .map(|(name, made)| ((*name).to_owned(), made.spec(name, names)))
            .collect(),
        tenants: tenants
            .iter()
            .enumerate()
            .map(|(i, made)| (format!("t{i}"), made.spec(names, regions)))
            .collect(),
        unknown,
    };
    let mut world = World::well(spec.table().unwrap());
    for (view, made) in world.health.regions.iter_mut().zip(regions) {
        for (endpoint, (checked, reported, passive)) in view.endpoints.iter_mut().zip(&made.endpoints) {
            endpoint.checked = *checked;
            endpoint.capabilities[0] = *reported;
            endpoint.passive = *passive;
        }
        for (lag, made) in view.lag.iter_mut().zip(&made.lag) {
            *lag = made.map(Millis);
        }
        view.round_trip = made.round_trip.map(Micros);
    }
    for (i, made) in tenants.iter().enumerate() {
        let Some((region, above, state)) = made.moved else { continue };
        let owner = RegionId(region.index(names.len()) as u8);
        let epoch = Epoch(10_u64.saturating_add_signed(i64::from(above)));
        world.moved.insert(format!("t{i}"), Ownership { owner, epoch, state: set(state) });
    }
    Given { spec, world }
}

impl RegionMade {
    fn spec(&self, name: &str, names: &[&str]) -> RegionSpec {
        let near = self.near.as_ref().map(|near| {
            let mut chosen: Vec<String> = Vec::new();
            for other in near.iter().map(|index| names[index.index(names.len())]) {
                if other != name && !chosen.iter().any(|c| c == other) {
                    chosen.push(other.into());
                }
            }
            chosen
        });
        RegionSpec {
            jurisdiction: JURISDICTIONS[self.jurisdiction],
            role: self.role,
            weight: Weight::percent(self.weight),
            near,
            endpoints: self.endpoints.len(),
            cells: self.cells,
            gateway: false,
        }
    }
}

impl TenantMade {
    fn spec(&self, names: &[&str], regions: &[RegionMade]) -> TenantSpec {
        let home = self.home.index(names.len());
        let known: Vec<usize> = regions.iter().map(|region| region.jurisdiction).collect();
        let mut residency: Vec<usize> =
            (0..JURISDICTIONS.len()).filter(|j| self.residency >> j & 1 == 1 && known.contains(j)).collect();
        if !residency.is_empty() && !residency.contains(&known[home]) {
            residency.push(known[home]);
        }
        let legal = |i: &usize| *i != home && (residency.is_empty() || residency.contains(&known[*i]));
        let of = |mask: u8| {
            (0..names.len())
                .filter(|i| mask >> i & 1 == 1)
                .filter(legal)
                .map(|i| names[i].to_owned())
                .collect()
        };
        TenantSpec {
            home: names[home].into(),
            standby: of(self.standby),
            replicas: of(self.replicas & !self.standby),
            residency: residency.iter().map(|j| JURISDICTIONS[*j]).collect(),
            epoch: 10,
            policy: POLICIES[self.policy],
            state: self.state,
        }
    }
}

/// A request by a tenant that may be in the table or not.
#[derive(Clone, Debug)]
pub struct Request {
    pub tenant: String,
    pub method: &'static str,
    pub path: String,
    pub source: u8,
    pub strong: bool,
    /// The region in which its client has just written.
    pub wrote_at: Option<u8>,
    pub session: u64,
    pub chance: u64,
    pub hour: u8,
    pub saturated: Vec<u8>,
    pub tried: Vec<(u8, u16)>,
}

/// Any request that names a tenant well.
pub fn request() -> impl Strategy<Value = Request> {
    let tenant = prop::sample::select(&["t0", "t0", "t1", "t2", "stranger"][..]);
    let method = prop::sample::select(&["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "BREW"][..]);
    let path = prop::sample::select(&["/", "/v1/cases", SEARCH, LEDGER, EVIDENCE][..]);
    let flags = (any::<bool>(), prop::option::of(0_u8..7));
    let draws = (any::<u64>(), any::<u64>(), 0_u8..24);
    let saturated = prop::collection::vec(0_u8..6, 0..2);
    let tried = prop::collection::vec((0_u8..6, 0_u16..3), 0..4);
    (tenant, method, path, 0_u8..7, flags, draws, saturated, tried).prop_map(
        |(tenant, method, path, source, (strong, wrote_at), (session, chance, hour), saturated, tried)| {
            Request {
                tenant: tenant.into(),
                method,
                path: path.into(),
                source,
                strong,
                wrote_at,
                session,
                chance,
                hour,
                saturated,
                tried,
            }
        },
    )
}

impl Request {
    pub fn put(&self, to: impl FnOnce(&Facts<'_>) -> Decision) -> Decision {
        let host = format!("{}.app.example", self.tenant);
        let attempts = self.tried.iter();
        let tried: Vec<Attempt> = attempts
            .map(|(region, endpoint)| Attempt { region: RegionId(*region), endpoint: EndpointId(*endpoint) })
            .collect();
        let now = Now { at: Millis(9_000), wall: Wall(9_000) };
        let pin = |region: u8| {
            let name = NAMES.get(usize::from(region)).unwrap_or(&"nowhere");
            let (tenant, region) = (Key::of(self.tenant.as_bytes()), Key::of(name.as_bytes()).0);
            Pin { tenant, region, at: now.wall, position: None }
        };
        let pins: Vec<Pin> = self.wrote_at.map(pin).into_iter().collect();
        to(&Facts {
            strong: self.strong,
            pin: Some(Shown { pins: &pins, now }),
            session: Key(self.session),
            chance: Key(self.chance),
            hour: self.hour,
            zone: Some("zone-1"),
            country: Some(*b"KX"),
            saturated: self.saturated.iter().map(|region| RegionId(*region)).collect(),
            tried: &tried,
            ..Facts::new(self.method, &host, &self.path, RegionId(self.source))
        })
    }
}

/// What an operator set, where it would be this state in a row.
fn set(state: TenantState) -> State {
    match state {
        TenantState::Frozen => State::Frozen { waits: true },
        other => other.into(),
    }
}

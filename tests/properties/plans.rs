//! A plan says what happens: held against decisions, tenant by tenant, before and after.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rhumb_decision::plan::{Plan, Question, plan};
use rhumb_decision::policy::{Sticky, WritesTo};
use rhumb_decision::scope::Place;
use rhumb_decision::units::{CellId, Key, Lot, RegionId, Weight, mix};
use rhumb_decision::{Course, Facts, Snapshot, decide};

use crate::spec::policy;
use crate::worlds::{Given, given};

/// Who takes something, before and after.
type Seats = (Option<Place>, Option<Place>);

/// Keys that stand for the sessions of a tenant.
const SESSIONS: u64 = 200;

/// What is asked of a random world: which region or cell, the weights of cells, and the new weight.
#[derive(Clone, Debug)]
struct Asked {
    region: prop::sample::Index,
    cell: Option<prop::sample::Index>,
    cells: Vec<u8>,
    to: u8,
    source: prop::sample::Index,
}

fn asked() -> impl Strategy<Value = Asked> {
    let index = || any::<prop::sample::Index>();
    let percent = || prop_oneof![2 => Just(0_u8), 2 => Just(100), 2 => 0_u8..=100];
    let cells = prop::collection::vec(percent(), 3);
    (index(), prop::option::weighted(0.4, index()), cells, percent(), index())
        .prop_map(|(region, cell, cells, to, source)| Asked { region, cell, cells, to, source })
}

/// A world with many tenants, and the two snapshots that a plan lies between.
struct Case {
    given: Given,
    question: Question,
    before: Snapshot,
    after: Snapshot,
}

impl Case {
    fn new(mut given: Given, asked: &Asked, copies: usize) -> Self {
        given.multiply(copies);
        let table = given.world.table.clone();
        for region in table.region_ids() {
            for (cell, percent) in (0..table.region(region).unwrap().cells.len()).zip(&asked.cells) {
                let (cell, weight) = (CellId(cell as u8), Weight::percent(*percent));
                given.world.weights = given.world.weights.clone().with_cell(region, cell, weight);
            }
        }
        let region = RegionId(asked.region.index(table.regions().len()) as u8);
        let cells = table.region(region).unwrap().cells.len();
        let cell = asked.cell.filter(|_| cells > 0).map(|cell| CellId(cell.index(cells) as u8));
        let place = Place { region, cell };
        let source = RegionId(asked.source.index(table.regions().len()) as u8);
        let question = Question { source, place, to: Weight::percent(asked.to), hour: 7 };
        let before = given.world.snapshot();
        given.world.weights = place.with_weight(given.world.weights, question.to);
        let after = given.world.snapshot();
        Self { given, question, before, after }
    }

    fn plan(&self) -> Plan {
        plan(&self.before, &self.question)
    }

    /// Who takes it, cells told apart where one of them changes.
    fn seat(&self, snapshot: &Snapshot, method: &str, name: &str, key: Key) -> Option<Place> {
        let host = format!("{name}.app.example");
        let facts = Facts {
            session: key,
            chance: key,
            hour: self.question.hour,
            ..Facts::new(method, &host, "/", self.question.source)
        };
        let Course::Forward { region, endpoint, .. } = decide(&facts, snapshot).course else { return None };
        let place = self.question.place;
        let apart = place.cell.is_some() && region == place.region;
        let view = snapshot.health().region(region).and_then(|view| view.endpoint(endpoint)).unwrap();
        Some(Place { region, cell: view.cell.filter(|_| apart) })
    }

    fn seats(&self, method: &str, name: &str, key: Key) -> Seats {
        (self.seat(&self.before, method, name, key), self.seat(&self.after, method, name, key))
    }

    /// The regions whose lots cover `key`, before and after, and how large a share of all keys is covered so.
    fn covered(&self, key: Key) -> (Vec<[bool; 2]>, f64) {
        let mut share = 1.0;
        let table = &self.given.world.table;
        let covers = table.region_ids().map(|id| {
            let lot = Lot::draw(table.region(id).unwrap().hash, key);
            let weights = [&self.before, &self.after].map(|snapshot| snapshot.weights().region(id));
            let [low, high] = [weights[0].min(weights[1]), weights[0].max(weights[1])];
            let covers = weights.map(|weight| weight.takes(lot));
            share *= match covers {
                [true, true] => low.as_percent(),
                [false, false] => 100.0 - high.as_percent(),
                _ => high.as_percent() - low.as_percent(),
            } / 100.0;
            covers
        });
        (covers.collect(), share)
    }
}

/// What is counted by asking for one decision after the other.
#[derive(Default, Debug)]
struct Counted {
    moving: usize,
    destinations: BTreeMap<Place, (usize, f64)>,
    stranded: Vec<String>,
    served_again: usize,
    here: f64,
    leaving: f64,
    /// The shares of divided tenants that no key was found for, in tenants.
    unknown: f64,
}

impl Counted {
    fn seats(&mut self, case: &Case, seats: Seats, share: f64) {
        let moves = matches!(seats, (Some(before), Some(after)) if before != after);
        if let (true, Some(after)) = (moves, seats.1) {
            self.destinations.entry(after).or_default().1 += share;
        }
        if seats.0 == Some(case.question.place) {
            self.here += share;
            self.leaving += if moves { share } else { 0.0 };
        }
    }
}

fn counted(case: &Case) -> Counted {
    let mut counted = Counted::default();
    for (name, tenant) in &case.given.spec.tenants {
        if policy(tenant.policy).sticky == Sticky::Tenant {
            let seats = case.seats("GET", name, Key(0));
            counted.seats(case, seats, 1.0);
            match seats {
                (Some(before), Some(after)) if before != after => {
                    counted.moving += 1;
                    counted.destinations.get_mut(&after).unwrap().0 += 1;
                }
                (Some(_), None) => counted.stranded.push(name.clone()),
                (None, Some(_)) => counted.served_again += 1,
                _ => {}
            }
            continue;
        }
        // Keys that the same regions cover fare alike, so one of each kind stands for its share.
        let mut kinds: BTreeMap<Vec<[bool; 2]>, (Seats, f64)> = BTreeMap::new();
        for session in 0..SESSIONS {
            let key = Key(mix(session + 1));
            let (kind, share) = case.covered(key);
            let seats = case.seats("GET", name, key);
            let known = kinds.entry(kind).or_insert((seats, share));
            assert_eq!(known.0, seats, "{name}: two keys that the same regions cover part");
        }
        for (seats, share) in kinds.values() {
            counted.seats(case, *seats, *share);
        }
        counted.unknown += 1.0 - kinds.values().map(|(_, share)| share).sum::<f64>();
        let any = |what: fn(&Seats) -> bool| kinds.values().any(|(s, _)| what(s));
        if any(|seats| seats.0.is_some() && seats.1.is_none()) {
            counted.stranded.push(name.clone());
        }
        counted.served_again += usize::from(any(|seats| seats.0.is_none() && seats.1.is_some()));
    }
    counted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_counts_exactly_what_decisions_do_tenant_by_tenant(given in given(), asked in asked()) {
        let case = Case::new(given, &asked, 8);
        let (plan, counted) = (case.plan(), counted(&case));
        prop_assert_eq!(plan.tenants, case.given.spec.tenants.len());
        prop_assert_eq!(plan.moving, counted.moving);
        let about = |planned: f64, counted_: f64| (planned - counted_).abs() <= counted.unknown + 1e-9;
        let mut places: Vec<_> = counted.destinations.keys().copied().collect();
        places.extend(plan.destinations.iter().map(|destination| destination.place));
        for place in places {
            let planned = plan.destinations.iter().find(|destination| destination.place == place);
            let planned = planned.map_or((0, 0.0), |destination| (destination.tenants, destination.reads));
            let counted = counted.destinations.get(&place).copied().unwrap_or_default();
            prop_assert_eq!(planned.0, counted.0, "tenants to {:?}", place);
            prop_assert!(about(planned.1, counted.1), "reads to {place:?}: {} and {}", planned.1, counted.1);
        }
        let moved: f64 = counted.destinations.values().map(|(_, reads)| reads).sum();
        prop_assert!(about(plan.reads_share * plan.tenants as f64, moved));
        prop_assert!(about(plan.reads_here, counted.here) && about(plan.reads_leaving, counted.leaving));
        if counted.unknown < 1e-9 {
            prop_assert_eq!(plan.stranded.count, counted.stranded.len());
            prop_assert_eq!(plan.served_again, counted.served_again);
            let named: Vec<&str> = plan.stranded.first.iter().map(AsRef::as_ref).collect();
            prop_assert_eq!(named, counted.stranded.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_plan_knows_which_writes_stay_and_which_follow_a_weight(given in given(), asked in asked()) {
        let case = Case::new(given, &asked, 8);
        let place = case.question.place;
        let (mut staying, mut moving, mut stranded) = (0, 0, 0);
        for (name, tenant) in &case.given.spec.tenants {
            // An owner outside the residency takes nothing, so nothing stays with it.
            let region = case.given.world.table.region_name(place.region);
            let legal = case.given.spec.may_reach(Some(tenant), "/", region);
            let owned = case.given.in_force(name).0 == region && legal;
            let seats = case.seats("POST", name, Key(0));
            let moves = matches!(seats, (Some(before), Some(after)) if before != after);
            moving += usize::from(moves);
            stranded += usize::from(seats.0.is_some() && seats.1.is_none());
            match policy(tenant.policy).writes.to {
                WritesTo::Owner if place.cell.is_none() => {
                    prop_assert_eq!(seats.0, seats.1, "the writes of {} follow a weight", name);
                    staying += usize::from(owned);
                }
                WritesTo::Owner => staying += usize::from(seats.0 == Some(place) && seats.1 == Some(place)),
                WritesTo::Local | WritesTo::Nobody => {}
            }
        }
        let writes = case.plan().writes;
        prop_assert_eq!((writes.staying, writes.moving, writes.stranded), (staying, moving, stranded));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_measures_a_placement_by_what_decisions_do_with_strangers(given in given(), asked in asked()) {
        let case = Case::new(given, &asked, 0);
        let Some(placed) = case.plan().placement else {
            prop_assert!(case.given.spec.unknown.is_none());
            return Ok(());
        };
        let (mut moving, mut stranded) = (0_u16, 0_u16);
        for number in 0..10_000 {
            let name = number.to_string();
            let seats = case.seats("GET", &name, Key::of(name.as_bytes()));
            moving += u16::from(matches!(seats, (Some(before), Some(after)) if before != after));
            stranded += u16::from(seats.0.is_some() && seats.1.is_none());
        }
        prop_assert_eq!((placed.moving, placed.stranded), (f64::from(moving) / 1e4, f64::from(stranded) / 1e4));
        let sum: f64 = placed.destinations.iter().map(|(_, share)| share).sum();
        prop_assert!((sum - placed.moving).abs() < 1e-9);
    }
}

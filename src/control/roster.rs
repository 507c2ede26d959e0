//! What is known of the regions while the process runs, by name, so that it outlives tables: addresses, checks, counts.
//!
//! Never: takes an endpoint on trust. One that nobody has checked is unknown, and takes nothing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use rhumb_decision::checks::EndpointChecks;
use rhumb_decision::health::{EndpointView, HealthView, RegionView, Status};
use rhumb_decision::table::{Address, Endpoint, Region, Table};
use rhumb_decision::units::Millis;

use crate::control::live::{EndpointCounts, Live, LiveRegion, RegionCounts};
use crate::control::outcome::Outcome;
use crate::control::prober::{Seen, Target};
use crate::control::resolver::{Name, Resolved};

type Place = (Box<str>, SocketAddr);

/// The tables whose regions are looked after: one that is about to come into force, and the one in force.
pub type Tables = [Arc<Table>];

/// The longest that anything new waits for its first checks before what it replaces is let go.
pub const WARM_UP: Millis = Millis(1_000);

/// Addresses, checks and counts of every region.
#[derive(Default)]
pub struct Roster {
    addresses: HashMap<Name, Addresses>,
    failing: HashSet<Name>,
    checks: HashMap<Place, EndpointChecks>,
    endpoint_counts: HashMap<Place, Arc<EndpointCounts>>,
    region_counts: HashMap<Box<str>, Arc<RegionCounts>>,
}

/// The addresses of a name, and until when those that it no longer has serve on: nobody has checked the new ones yet.
#[derive(Default)]
struct Addresses {
    now: Vec<SocketAddr>,
    before: Vec<SocketAddr>,
    until: Millis,
}

impl Roster {
    /// Keeps what `tables` still name, makes room for what they name anew, and forgets the rest.
    pub fn follow(&mut self, tables: &Tables) {
        let names: HashSet<Name> = tables.iter().flat_map(|table| names(table)).collect();
        self.addresses.retain(|name, _| names.contains(name));
        self.failing.retain(|name| names.contains(name));
        let places: HashSet<Place> = tables.iter().flat_map(|table| self.places(table)).collect();
        self.checks.retain(|place, _| places.contains(place));
        self.endpoint_counts.retain(|place, _| places.contains(place));
        for place in places {
            self.endpoint_counts.entry(place.clone()).or_default();
            self.checks.entry(place).or_default();
        }
        self.region_counts.retain(|name, _| region(tables, name).is_some());
        for region in tables.iter().flat_map(|table| table.regions()) {
            self.region_counts.entry(region.name.clone()).or_default();
        }
    }

    /// What the prober is to ask; where tables differ over a place, the first speaks.
    #[must_use]
    pub fn targets(&self, tables: &Tables) -> Arc<[Target]> {
        let mut once = HashSet::new();
        let of = |region: &Region| {
            let targets = self.endpoints(region).map(|(_, endpoint, address)| Target {
                region: region.name.clone(),
                address,
                check: region.check.clone(),
                tls: region.tls.clone(),
                http2: region.http2,
                host: host(&endpoint.address),
            });
            targets.collect::<Vec<_>>()
        };
        let targets = tables.iter().flat_map(|table| table.regions()).flat_map(of);
        targets.filter(|target| once.insert((target.region.clone(), target.address))).collect()
    }

    /// What the resolver is to look up.
    #[must_use]
    pub fn names(&self, tables: &Tables) -> Arc<[Name]> {
        let mut once = HashSet::new();
        tables.iter().flat_map(|table| names(table)).filter(|name| once.insert(name.clone())).collect()
    }

    /// A name has these addresses at `at`; those that it had serve on until the new ones are known.
    pub fn resolved(&mut self, tables: &Tables, resolved: Resolved, at: Millis) {
        if let Some(failure) = resolved.failure {
            let kept = resolved.addresses.len();
            tracing::warn!(name = ?resolved.name, "not resolved ({}); {kept} addresses kept", failure.code());
            self.failing.insert(resolved.name.clone());
        } else if self.failing.remove(&resolved.name) {
            tracing::info!(name = ?resolved.name, "resolved again");
        }
        let known = self.addresses.entry(resolved.name).or_default();
        known.before = std::mem::replace(&mut known.now, resolved.addresses);
        known.before.retain(|address| !known.now.contains(address));
        known.until = at.after(WARM_UP);
        self.follow(tables);
    }

    /// How many names could not be looked up the last time.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.failing.len()
    }

    /// A check came back; returns what of the view changed.
    pub fn probed(&mut self, tables: &Tables, seen: &Seen) -> Changed {
        let Some(Region { check, .. }) = region(tables, &seen.region) else { return Changed::Nothing };
        let Some(checks) = self.checks.get_mut(&(seen.region.clone(), seen.address)) else {
            return Changed::Nothing;
        };
        if checks.probed(&seen.probed, seen.asked_at, seen.at, check) {
            Changed::Standing
        } else {
            Changed::Figures
        }
    }

    /// Traffic told of an endpoint; returns what of the view changed.
    pub fn told(&mut self, tables: &Tables, outcome: &Outcome, at: Millis) -> Changed {
        let Some(Region { check, .. }) = region(tables, &outcome.region) else { return Changed::Nothing };
        let Some(checks) = self.checks.get_mut(&(outcome.region.clone(), outcome.address)) else {
            return Changed::Nothing;
        };
        let changed =
            if outcome.failures == 0 { checks.succeeded() } else { checks.failed_in_a_row(at, check) };
        if changed { Changed::Standing } else { Changed::Nothing }
    }

    /// Time has passed; returns what of the view changed.
    pub fn tick(&mut self, tables: &Tables, at: Millis) -> Changed {
        let mut changed = Changed::Nothing;
        let Self { addresses, checks, .. } = self;
        for known in addresses.values_mut().filter(|known| !known.before.is_empty()) {
            let checked = |(place, checks): (&Place, &EndpointChecks)| {
                !known.now.contains(&place.1) || checks.checked() != Status::Unknown
            };
            if at >= known.until || checks.iter().all(checked) {
                known.before.clear();
                changed = Changed::Standing;
            }
        }
        if changed == Changed::Standing {
            self.follow(tables);
        }
        for checks in self.checks.values_mut() {
            if checks.tick(at) {
                changed = Changed::Standing;
            }
        }
        changed
    }

    /// Whether every endpoint of `table` has been checked once and every name looked up.
    #[must_use]
    pub fn knows(&self, table: &Table) -> bool {
        let known = |place| self.checks.get(&place).is_some_and(|checks| checks.checked() != Status::Unknown);
        names(table).all(|name| self.addresses.contains_key(&name)) && self.places(table).all(known)
    }

    /// What decisions read, and what counts beside it.
    #[must_use]
    pub fn view(&self, table: &Table) -> (HealthView, Live) {
        let (views, live): (Vec<_>, Vec<_>) =
            table.regions().iter().map(|region| self.region(table, region)).unzip();
        (HealthView { regions: views.into() }, Live { regions: live.into() })
    }

    fn region(&self, table: &Table, region: &Region) -> (RegionView, LiveRegion) {
        let (lag, reached) = (vec![None; table.regions().len()], vec![None; table.regions().len()]);
        let mut view = RegionView { lag: lag.into(), reached: reached.into(), ..RegionView::default() };
        let mut reports = 0_usize;
        let mut endpoints = Vec::new();
        let mut counts = Vec::new();
        for (declared, endpoint, address) in self.endpoints(region) {
            let place = (region.name.clone(), address);
            let Some(checks) = self.checks.get(&place) else { continue };
            endpoints.push(EndpointView {
                address,
                declared,
                zone: endpoint.zone.clone(),
                cell: endpoint.cell,
                weight: endpoint.weight,
                checked: checks.checked(),
                capabilities: checks.capabilities(table),
                passive: checks.passive(),
            });
            counts.push(self.endpoint_counts.get(&place).cloned().unwrap_or_default());
            if !checks.checked().takes_traffic() {
                continue;
            }
            // Of several reports the largest lag counts: whoever is asked may be that one.
            for (source, lag) in table.regions().iter().zip(&mut view.lag) {
                *lag = (*lag).max(checks.lag_behind(&source.name));
            }
            // So the least far counts of what their copies have reached, and only where each of them says.
            let first = reports == 0;
            for (source, reached) in table.regions().iter().zip(&mut view.reached) {
                let said = checks.reached_of(&source.name);
                *reached = if first { said } else { (*reached).min(said) };
            }
            // What one endpoint has written, the region has.
            let own = checks.position_reached();
            view.position = if first { own } else { view.position.and_then(|known| Some(known.max(own?))) };
            view.reported = if first { checks.asked_at() } else { view.reported.min(checks.asked_at()) };
            reports += 1;
            let nearer = checks.round_trip().filter(|new| view.round_trip.is_none_or(|known| *new < known));
            view.round_trip = nearer.or(view.round_trip);
        }
        view.endpoints = endpoints.into();
        let live = LiveRegion {
            counts: self.region_counts.get(&region.name).cloned().unwrap_or_default(),
            endpoints: counts.into(),
        };
        (view, live)
    }

    fn places<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Place> + 'a {
        let of =
            |region: &'a Region| self.endpoints(region).map(|(_, _, address)| (region.name.clone(), address));
        table.regions().iter().flat_map(of)
    }

    /// The addresses of a region, each once, with the endpoint that it came from.
    fn endpoints<'a>(
        &'a self,
        region: &'a Region,
    ) -> impl Iterator<Item = (u16, &'a Endpoint, SocketAddr)> + 'a {
        let mut seen = HashSet::new();
        (0_u16..)
            .zip(&region.endpoints)
            .flat_map(|(declared, endpoint)| {
                let (now, before): (&[SocketAddr], &[SocketAddr]) = match &endpoint.address {
                    Address::Socket(address) => (std::slice::from_ref(address), &[]),
                    other => match name(other).and_then(|name| self.addresses.get(&name)) {
                        Some(known) => (&known.now, &known.before),
                        None => (&[], &[]),
                    },
                };
                now.iter().chain(before).map(move |address| (declared, endpoint, *address))
            })
            .filter(move |(_, _, address)| seen.insert(*address))
            .take(usize::from(u16::MAX))
    }
}

/// What of a view changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Changed {
    /// Nothing.
    Nothing,
    /// Lags and round trips: worth telling now and then.
    Figures,
    /// Who takes traffic: worth telling at once.
    Standing,
}

fn region<'t>(tables: &'t Tables, name: &str) -> Option<&'t Region> {
    tables.iter().find_map(|table| table.region(table.region_named(name)?))
}

fn names(table: &Table) -> impl Iterator<Item = Name> + '_ {
    table.regions().iter().flat_map(|region| region.endpoints.iter().filter_map(|e| name(&e.address)))
}

fn name(address: &Address) -> Option<Name> {
    match address {
        Address::Socket(_) => None,
        Address::Name { host, port } => Some(Name::Host { host: host.clone(), port: *port }),
        Address::Service(service) => Some(Name::Service(service.clone())),
    }
}

fn host(address: &Address) -> Box<str> {
    address.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document;
    use rhumb_decision::checks::{Answer, Probed, Replication};

    fn tables() -> [Arc<Table>; 1] {
        let text = r#"
            [tenancy]
            from = [{ header = "X-Tenant-ID" }]
            [regions.eu]
            jurisdiction = "eu"
            endpoints = ["eu.internal:80"]
        "#;
        [Arc::new(document::parse(text).unwrap())]
    }

    /// A region of two endpoints that copies another.
    fn replicated() -> [Arc<Table>; 1] {
        let text = r#"
            [tenancy]
            from = [{ header = "X-Tenant-ID" }]
            [regions.eu]
            jurisdiction = "eu"
            endpoints = ["10.0.0.1:80", "10.0.0.2:80"]
            [regions.us]
            jurisdiction = "us"
            endpoints = ["10.0.0.3:80"]
        "#;
        [Arc::new(document::parse(text).unwrap())]
    }

    fn reached(own: &str, of_us: &str) -> Probed {
        let us = Replication { source: "us".into(), lag: None, position: Some(of_us.into()) };
        Probed { replication: vec![us], position: Some(own.into()), ..Probed::plain(Answer::Up) }
    }

    fn resolved(addresses: &[&str]) -> Resolved {
        let name = Name::Host { host: "eu.internal".into(), port: 80 };
        Resolved { name, addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(), failure: None }
    }

    fn seen(address: &str, answer: Answer) -> Seen {
        let address = address.parse().unwrap();
        Seen {
            region: "eu".into(),
            address,
            probed: Probed::plain(answer),
            failure: None,
            asked_at: Millis(0),
            at: Millis(0),
        }
    }

    fn up(roster: &Roster, tables: &Tables) -> Vec<String> {
        let (health, live) = roster.view(&tables[0]);
        assert_eq!(health.regions[0].endpoints.len(), live.regions[0].endpoints.len());
        let up = health.regions[0].endpoints.iter().filter(|endpoint| endpoint.overall() == Status::Up);
        up.map(|endpoint| endpoint.address.to_string()).collect()
    }

    #[test]
    fn a_name_that_moves_serves_from_where_it_was_until_the_new_place_is_known() {
        let (tables, mut roster) = (tables(), Roster::default());
        roster.follow(&tables);
        assert!(!roster.knows(&tables[0]), "the name has not been looked up");
        roster.resolved(&tables, resolved(&["10.0.0.1:80"]), Millis(0));
        roster.probed(&tables, &seen("10.0.0.1:80", Answer::Up));
        assert!(roster.knows(&tables[0]));
        roster.resolved(&tables, resolved(&["10.0.0.2:80"]), Millis(100));
        assert_eq!(roster.tick(&tables, Millis(200)), Changed::Nothing);
        assert_eq!(up(&roster, &tables), ["10.0.0.1:80"]);
        roster.probed(&tables, &seen("10.0.0.2:80", Answer::Up));
        assert_eq!(roster.tick(&tables, Millis(300)), Changed::Standing);
        assert_eq!(up(&roster, &tables), ["10.0.0.2:80"]);
        assert_eq!(roster.targets(&tables).len(), 1, "the old place is let go");
    }

    #[test]
    fn a_region_has_written_what_one_endpoint_wrote_and_reached_what_every_endpoint_reached() {
        let (tables, mut roster) = (replicated(), Roster::default());
        roster.follow(&tables);
        let mut view = |reports: &[(&str, u64, Probed)]| {
            for (address, asked_at, probed) in reports {
                let seen = Seen { probed: probed.clone(), ..seen(address, Answer::Up) };
                roster
                    .probed(&tables, &Seen { asked_at: Millis(*asked_at), at: Millis(asked_at + 5), ..seen });
            }
            let eu = roster.view(&tables[0]).0.regions[0].clone();
            (eu.position, eu.reached_of(tables[0].region_named("us").unwrap()), eu.reported)
        };
        let (first, second) = ("10.0.0.1:80", "10.0.0.2:80");
        assert_eq!(view(&[]), (None, None, None));
        assert_eq!(
            view(&[(first, 100, reached("9", "40"))]),
            (Some(9), Some(40), Some(Millis(100))),
            "the other takes nothing yet"
        );
        assert_eq!(
            view(&[(second, 150, reached("12", "38"))]),
            (Some(12), Some(38), Some(Millis(100))),
            "the newer report does not hide the older"
        );
        assert_eq!(
            view(&[(first, 200, reached("10", "41"))]),
            (Some(12), Some(38), Some(Millis(150))),
            "nor what only one of them reached"
        );
        assert_eq!(
            view(&[(second, 250, Probed::plain(Answer::Up))]),
            (None, None, Some(Millis(200))),
            "one that does not say may be anywhere"
        );
        assert_eq!(view(&[(second, 300, reached("0/16B3", "-1"))]), (None, None, Some(Millis(200))));
        let down = || (second, 400, Probed::plain(Answer::Down));
        assert_eq!(
            view(&[down(), down(), down()]),
            (Some(10), Some(41), Some(Millis(200))),
            "one that takes no traffic answers nobody"
        );
    }

    #[test]
    fn a_new_place_that_does_not_answer_does_not_keep_the_old_one_for_ever() {
        let (tables, mut roster) = (tables(), Roster::default());
        roster.resolved(&tables, resolved(&["10.0.0.1:80"]), Millis(0));
        roster.probed(&tables, &seen("10.0.0.1:80", Answer::Up));
        roster.resolved(&tables, resolved(&["10.0.0.2:80"]), Millis(100));
        assert_eq!(roster.tick(&tables, Millis(1_100)), Changed::Standing);
        assert_eq!(up(&roster, &tables), [""; 0]);
    }
}

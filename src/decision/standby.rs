//! How ready a standby is to take over, before anybody needs it.
//!
//! Never: takes what nobody reports for good, but for a capacity that nobody declared: then there is no bound to break.

use std::collections::BTreeMap;

use crate::health::Passive;
use crate::snapshot::Snapshot;
use crate::table::{Role, Table};
use crate::transfer::written_capabilities;
use crate::units::{Millis, RegionId, Wall};

/// What is checked of a standby.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Check {
    /// What writes need is up there.
    Capabilities,
    /// Its copy lags no more than the policies allow, behind every region that it stands by for.
    Lag,
    /// It has room for what it would get.
    Headroom,
    /// The certificates towards it last for a week.
    Certificates,
    /// Requests that were made up, the health checks, are answered through the way that requests take.
    Synthetic,
    /// A drill was done with it within thirty days.
    Drill,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 6] =
        [Self::Capabilities, Self::Lag, Self::Headroom, Self::Certificates, Self::Synthetic, Self::Drill];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::Lag => "lag",
            Self::Headroom => "headroom",
            Self::Certificates => "certificates",
            Self::Synthetic => "synthetic",
            Self::Drill => "drill",
        }
    }
}

/// What a region stands by for: the regions that it may take over from, each with the largest lag that is allowed.
pub type Duties = BTreeMap<RegionId, BTreeMap<RegionId, Millis>>;

/// The duties of every region that is a standby of any tenant.
#[must_use]
pub fn duties(table: &Table) -> Duties {
    let mut duties = Duties::new();
    for profile in table.tenants().profiles() {
        let max_lag = table.policy(profile.policy).map_or(Millis(0), |policy| policy.writes.max_lag);
        for standby in &profile.standby {
            let lag = duties.entry(*standby).or_default().entry(profile.home).or_insert(max_lag);
            *lag = max_lag.min(*lag);
        }
    }
    duties
}

/// What is known of a standby besides the snapshot.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Known {
    /// Requests a second that it gets now.
    pub gets: f64,
    /// Requests a second that it would get besides, of the busiest region that it stands by for.
    pub would_get: f64,
    /// Days until the first of the certificates towards it ends; `None`: there are none.
    pub certificate_days: Option<f64>,
    /// When the last drill with it was passed.
    pub drilled: Option<Wall>,
}

/// How ready a standby is.
#[derive(Clone, PartialEq, Debug)]
pub struct Readiness {
    /// The share of the checks that pass: 0.0 to 1.0.
    pub score: f64,
    /// Those that do not, and why.
    pub failing: Vec<(Check, String)>,
}

impl Readiness {
    /// Whether it may take over by itself: every check passes but, if need be, that of the drill.
    #[must_use]
    pub fn may_take_over(&self) -> bool {
        self.failing.iter().all(|(check, _)| *check == Check::Drill)
    }
}

const WEEK: f64 = 7.0;
const DRILLED_WITHIN: Millis = Millis(30 * 24 * 60 * 60 * 1_000);

/// How ready `standby` is for its `duties`.
#[must_use]
pub fn readiness(
    snapshot: &Snapshot,
    standby: RegionId,
    duties: &BTreeMap<RegionId, Millis>,
    known: &Known,
    wall: Wall,
) -> Readiness {
    let judge = |check: &Check| {
        let why = match check {
            Check::Capabilities => capabilities(snapshot, standby),
            Check::Lag => lag(snapshot, standby, duties),
            Check::Headroom => headroom(snapshot, standby, known),
            Check::Certificates => certificates(known),
            Check::Synthetic => synthetic(snapshot, standby),
            Check::Drill => drill(known, wall),
        };
        why.map(|why| (*check, why))
    };
    let failing: Vec<_> = Check::ALL.iter().filter_map(judge).collect();
    let passed = Check::ALL.len() - failing.len();
    Readiness { score: passed as f64 / Check::ALL.len() as f64, failing }
}

fn capabilities(snapshot: &Snapshot, standby: RegionId) -> Option<String> {
    let table = snapshot.table();
    let role = table.region(standby).map(|region| region.role);
    if !matches!(role, Some(Role::Active | Role::Standby)) {
        return Some(format!("its role is {}", role.map_or("off", Role::code)));
    }
    let view = snapshot.health().region(standby);
    let down = written_capabilities(snapshot).into_iter().find_map(|capability| {
        let status = view.map(|view| view.status(capability))?;
        (!status.takes_traffic())
            .then(|| format!("{} is {}", table.capability_name(capability), status.code()))
    });
    match view {
        None => Some("nothing is known of it".to_owned()),
        Some(_) => down,
    }
}

fn lag(snapshot: &Snapshot, standby: RegionId, duties: &BTreeMap<RegionId, Millis>) -> Option<String> {
    let view = snapshot.health().region(standby)?;
    let name = |region: RegionId| snapshot.table().region_name(region);
    duties.iter().find_map(|(owner, limit)| match view.lag_behind(*owner) {
        Some(lag) if lag > *limit => {
            let seconds = |millis: Millis| millis.duration().as_secs_f64();
            Some(format!("{} s behind {}, {} s are the most", seconds(lag), name(*owner), seconds(*limit)))
        }
        None if view.reached_of(*owner).is_none() => {
            Some(format!("it reports neither lag nor position of {}", name(*owner)))
        }
        _ => None,
    })
}

fn headroom(snapshot: &Snapshot, standby: RegionId, known: &Known) -> Option<String> {
    let capacity = f64::from(snapshot.table().region(standby)?.capacity?);
    let room = capacity - known.gets;
    (known.would_get > room).then(|| {
        format!(
            "{:.0} requests a second would come, and it has room for {:.0}",
            known.would_get,
            room.max(0.0)
        )
    })
}

fn certificates(known: &Known) -> Option<String> {
    let days = known.certificate_days.filter(|days| *days < WEEK)?;
    Some(format!("a certificate towards it ends in {days:.1} days"))
}

fn synthetic(snapshot: &Snapshot, standby: RegionId) -> Option<String> {
    let view = snapshot.health().region(standby)?;
    let answers = |checked: bool| {
        view.endpoints.iter().any(|endpoint| {
            endpoint.checked.takes_traffic() && (checked || endpoint.passive == Passive::Trusted)
        })
    };
    match (answers(false), answers(true)) {
        (true, _) => None,
        (false, true) => {
            Some("checks are answered, and requests are not: every endpoint is ejected".to_owned())
        }
        (false, false) => Some("no check is answered".to_owned()),
    }
}

fn drill(known: &Known, wall: Wall) -> Option<String> {
    match known.drilled {
        None => Some("no drill was ever done with it".to_owned()),
        Some(at) if wall.since(at) > DRILLED_WITHIN => {
            Some(format!("the last drill was {} days ago", wall.since(at).0 / 86_400_000))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Status;
    use crate::table::Safety;
    use crate::testing::{here, table};
    use std::sync::Arc;

    fn world() -> (Snapshot, RegionId, BTreeMap<RegionId, Millis>) {
        let table =
            Arc::new(table(&[here("eu"), here("us")], Safety::default(), &[["acme", "eu", "us", ""]]));
        let (eu, us) = (table.region_named("eu").unwrap(), table.region_named("us").unwrap());
        let plain = Snapshot::offline(Arc::clone(&table));
        let mut health = plain.health().clone();
        health.regions[us.index()].lag[eu.index()] = Some(Millis(800));
        let snapshot = with(&plain, health);
        (snapshot, us, BTreeMap::from([(eu, Millis(60_000))]))
    }

    fn with(snapshot: &Snapshot, health: crate::health::HealthView) -> Snapshot {
        let weights = snapshot.weights().clone();
        let ownership = snapshot.ownership().clone();
        Snapshot::new(snapshot.generation(), Arc::clone(snapshot.table()), health, ownership, weights)
    }

    const NOW: Wall = Wall(100 * 86_400_000);

    fn known() -> Known {
        Known { gets: 10.0, would_get: 50.0, certificate_days: Some(40.0), drilled: Some(Wall(NOW.0 - 1)) }
    }

    fn failing(
        snapshot: &Snapshot,
        us: RegionId,
        duties: &BTreeMap<RegionId, Millis>,
        known: &Known,
    ) -> Vec<Check> {
        readiness(snapshot, us, duties, known, NOW).failing.into_iter().map(|(check, _)| check).collect()
    }

    #[test]
    fn a_standby_that_lacks_nothing_is_ready() {
        let (snapshot, us, duties) = world();
        let ready = readiness(&snapshot, us, &duties, &known(), NOW);
        assert_eq!((ready.score, ready.failing.len(), ready.may_take_over()), (1.0, 0, true));
    }

    #[test]
    fn each_check_fails_by_itself_and_takes_a_sixth() {
        let (snapshot, us, duties) = world();
        let eu = *duties.keys().next().unwrap();
        let lagging = |lag: Option<u64>| {
            let mut health = snapshot.health().clone();
            health.regions[us.index()].lag[eu.index()] = lag.map(Millis);
            with(&snapshot, health)
        };
        for lag in [Some(60_001), None] {
            assert_eq!(failing(&lagging(lag), us, &duties, &known()), [Check::Lag]);
        }
        let mut health = snapshot.health().clone();
        health.regions[us.index()].endpoints[0].passive = Passive::Ejected;
        let ejected = failing(&with(&snapshot, health.clone()), us, &duties, &known());
        assert_eq!(ejected, [Check::Capabilities, Check::Synthetic]);
        health.regions[us.index()].endpoints[0].passive = Passive::Trusted;
        health.regions[us.index()].endpoints[0].capabilities = Box::new([None, Some(Status::Down)]);
        assert_eq!(failing(&with(&snapshot, health), us, &duties, &known()), [Check::Capabilities]);
        for (one, check) in [
            (Known { would_get: 91.0, ..known() }, Check::Headroom),
            (Known { certificate_days: Some(6.9), ..known() }, Check::Certificates),
            (Known { drilled: None, ..known() }, Check::Drill),
            (Known { drilled: Some(Wall(NOW.0 - DRILLED_WITHIN.0 - 1)), ..known() }, Check::Drill),
        ] {
            let ready = readiness(&snapshot, us, &duties, &one, NOW);
            assert_eq!(ready.failing.iter().map(|(check, _)| *check).collect::<Vec<_>>(), [check]);
            assert!((ready.score - 5.0 / 6.0).abs() < 1e-9);
            assert_eq!(ready.may_take_over(), check == Check::Drill);
        }
    }

    #[test]
    fn every_code_is_its_own() {
        let codes: std::collections::BTreeSet<_> = Check::ALL.iter().map(|check| check.code()).collect();
        assert_eq!(codes.len(), Check::ALL.len());
    }
}

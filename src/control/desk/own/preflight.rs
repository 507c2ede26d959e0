//! What a transfer would meet, for people and programs to read before it begins.

use rhumb_decision::Snapshot;
use rhumb_decision::safety::Rule;
use rhumb_decision::transfer::{Destination, Unfit, Wanted, Which, choose, fitness};
use rhumb_decision::units::Millis;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{RuleReport, Standing, StrandedReport};

/// What a transfer would meet.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Preflight")]
pub struct Preflight {
    /// Tenants that would move, in the first wave where there are several.
    pub tenants_moving: usize,
    /// Tenants that nobody may take: no standby, outside their residency, or their policy never fails over.
    pub tenants_stranded: StrandedReport,
    /// Tenants that are owned there already.
    pub tenants_there: usize,
    /// Where they would go, and whether that is fit.
    pub destinations: Vec<DestinationFit>,
    /// Safety rules that it would break.
    pub rules_broken: Vec<RuleReport>,
}

/// One place that ownership would move to.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct DestinationFit {
    /// Who owns them.
    pub from: String,
    /// Who is to.
    pub to: String,
    /// How many tenants.
    pub tenants: usize,
    /// How far its copy lags behind; `None`: it does not say.
    pub lag_seconds: Option<f64>,
    /// Requests a second that would come with them, where a share of a region moves.
    pub requests_per_second: Option<f64>,
    /// Requests a second that it has room for; `None`: no capacity is declared.
    pub headroom: Option<f64>,
    /// What stands in the way; nothing: it is fit.
    pub unfit: Vec<UnfitReport>,
}

/// Something that stands in the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Unfit")]
pub struct UnfitReport {
    /// Its code.
    pub check: &'static str,
    /// Why.
    pub why: String,
}

impl UnfitReport {
    /// Whether it is a safety rule, which an operator may set aside.
    #[must_use]
    pub fn is_rule(&self) -> bool {
        self.check == Rule::Capacity.code()
    }
}

impl Preflight {
    /// The rules that it would break.
    #[must_use]
    pub fn rules_broken(&self) -> Vec<Rule> {
        self.rules_broken.iter().filter_map(|broken| Rule::of_code(broken.rule)).collect()
    }

    /// Why it cannot begin, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut why: Vec<String> = Vec::new();
        for to in self.destinations.iter().filter(|to| !to.unfit.is_empty()) {
            let all: Vec<_> = to.unfit.iter().map(|unfit| unfit.why.as_str()).collect();
            why.push(format!("{} cannot take over: {}", to.to, all.join("; ")));
        }
        let capacity = Rule::Capacity.code();
        let rules = self.rules_broken.iter().filter(|broken| broken.rule != capacity);
        why.extend(rules.map(|broken| format!("it would break {} ({})", broken.rule, broken.why)));
        if self.tenants_moving == 0 {
            let StrandedReport { count, first } = &self.tenants_stranded;
            why.push(match (count, self.tenants_there) {
                (0, 0) => "nobody would move".to_owned(),
                (0, there) => format!("all {there} of them are owned there already"),
                (count, _) => format!(
                    "{count} have nowhere to go, the first of them {}: give them a standby within their residency",
                    first.first().map_or("", |first| first)
                ),
            });
        }
        why.join("; ")
    }
}

/// Looks at what `wanted` would meet.
pub(super) fn look(wanted: &Wanted, standing: &Standing) -> Preflight {
    let snapshot = &standing.current.snapshot;
    let chosen = choose(wanted, 0, usize::MAX, snapshot);
    let destinations: Vec<_> =
        chosen.destinations.iter().map(|destination| fit(destination, wanted, standing)).collect();
    let mut rules_broken = Vec::new();
    for to in &destinations {
        let capacity = to.unfit.iter().filter(|unfit| unfit.is_rule());
        rules_broken.extend(capacity.map(|unfit| RuleReport {
            rule: Rule::Capacity.code(),
            why: format!("{}: {}", to.to, unfit.why),
        }));
    }
    let (moving, all) = (chosen.moving(), snapshot.table().tenants().len().max(1));
    let (share, most) = (moving as f64 / all as f64, snapshot.table().safety().max_moved_share);
    if share > most {
        let why = format!("{:.1} % of all tenants would move, and max_moved_share is {most}", share * 100.0);
        rules_broken.push(RuleReport { rule: Rule::MaxMovedShare.code(), why });
    }
    let (count, first) = &chosen.stranded;
    Preflight {
        tenants_moving: moving,
        tenants_stranded: StrandedReport {
            count: *count,
            first: first.iter().map(ToString::to_string).collect(),
        },
        tenants_there: chosen.there,
        destinations,
        rules_broken,
    }
}

fn fit(destination: &Destination, wanted: &Wanted, standing: &Standing) -> DestinationFit {
    let snapshot = &standing.current.snapshot;
    let table = snapshot.table();
    let Destination { from, to, members } = destination;
    let limit = (!wanted.unplanned).then(|| lag_limit(destination, snapshot));
    let rate = |name: &str| standing.traffic.get(name).map_or(0.0, |figures| figures.requests);
    let coming = match &wanted.which {
        Which::OwnedBy(_, share) => Some(rate(table.region_name(*from)) * share.as_percent() / 100.0),
        Which::Under(..) => Some(rate(table.region_name(*from))),
        Which::Tenant(_) | Which::HomeAt(..) => None,
    };
    let capacity = table.region(*to).and_then(|region| region.capacity).map(f64::from);
    let headroom = capacity.map(|capacity| capacity - rate(table.region_name(*to)));
    let load = coming.zip(headroom).map(|(coming, room)| (coming.ceil() as u64, room.max(0.0) as u64));
    let unfit = fitness(snapshot, *from, *to, limit, load);
    let lag = snapshot.health().region(*to).and_then(|view| view.lag_behind(*from));
    DestinationFit {
        from: table.region_name(*from).to_owned(),
        to: table.region_name(*to).to_owned(),
        tenants: members.len(),
        lag_seconds: lag.map(|lag| lag.duration().as_secs_f64()),
        requests_per_second: coming,
        headroom,
        unfit: unfit.iter().map(report).collect(),
    }
}

fn report(unfit: &Unfit) -> UnfitReport {
    UnfitReport { check: unfit.code(), why: unfit.to_string() }
}

/// The lag that a planned transfer of these may meet: what their policies allow, and no more than a hold can last.
pub(in crate::control) fn lag_limit(destination: &Destination, snapshot: &Snapshot) -> Millis {
    let table = snapshot.table();
    let writes = destination.members.iter().filter_map(|(id, _)| {
        let policy = table.policy(table.tenants().find(id)?.profile.policy)?;
        Some(policy.writes.max_lag.min(policy.writes.hold))
    });
    writes.min().unwrap_or(Millis(0))
}

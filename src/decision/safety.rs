//! What no change may break, checked: for operators' commands and for new tables alike.
//!
//! A rule judges a change: what was broken before and gets no worse does not stand in the way.
//!
//! Never: decides whether a broken rule is overridden; that is an operator's, by the rule's code.

use crate::plan::Plan;
use crate::snapshot::Weights;
use crate::table::{Role, Table};
use crate::tenants::Profile;
use crate::units::{CellId, RegionId, Weight};

/// What may be broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Too few regions would serve.
    MinRegionsServing,
    /// Too much of the declared capacity would be drained.
    MaxDrainedShare,
    /// Too many tenants would move by one command.
    MaxMovedShare,
    /// Tenants would be left with nowhere legal to read.
    LastRegionOfResidency,
    /// A region would get more requests than it is built for, by a transfer.
    Capacity,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] = [
        Self::MinRegionsServing,
        Self::MaxDrainedShare,
        Self::MaxMovedShare,
        Self::LastRegionOfResidency,
        Self::Capacity,
    ];

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MinRegionsServing => "min_regions_serving",
            Self::MaxDrainedShare => "max_drained_share",
            Self::MaxMovedShare => "max_moved_share",
            Self::LastRegionOfResidency => "last_region_of_residency",
            Self::Capacity => "capacity",
        }
    }

    /// The rule of this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.code() == code)
    }
}

/// A rule that a change would break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// Why, for people.
    pub why: String,
}

/// A table and the weights in effect on it.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// The table.
    pub table: &'a Table,
    /// The weights.
    pub weights: &'a Weights,
}

/// The rules of the table of `after` that the change from `before` would break, in their order.
///
/// - `plan`: what the change moves, where it was planned; the two rules on tenants are judged by it. Without one, as
///   for a new table, the last one is judged by what the rows with a residency allow, whatever the health of regions:
///   a table says itself where the others' copies are.
#[must_use]
pub fn broken(before: &Standing<'_>, after: &Standing<'_>, plan: Option<&Plan>) -> Vec<Broken> {
    let rules = after.table.safety();
    let mut found = Vec::new();
    let mut say = |rule, why| found.push(Broken { rule, why });
    let (serving, least) = (after.serving(), rules.min_regions_serving as usize);
    if serving < least && serving < before.serving() {
        say(
            Rule::MinRegionsServing,
            format!("{serving} regions would serve, and min_regions_serving is {least}"),
        );
    }
    let (drained, most) = (after.drained_share(), rules.max_drained_share);
    if drained > most && drained > before.drained_share() {
        let percent = drained * 100.0;
        say(
            Rule::MaxDrainedShare,
            format!(
                "{percent:.0} % of the declared capacity would be drained, and max_drained_share is {most}"
            ),
        );
    }
    let most = rules.max_moved_share;
    if let Some(moved) = plan.map(|plan| plan.reads_share).filter(|moved| *moved > most) {
        let percent = moved * 100.0;
        say(
            Rule::MaxMovedShare,
            format!("{percent:.1} % of all tenants would move, and max_moved_share is {most}"),
        );
    }
    let (count, first) = match plan {
        Some(plan) => (plan.stranded.count, plan.stranded.first.first().map(AsRef::as_ref)),
        None => nowhere_now(before, after),
    };
    if let Some(first) = first {
        say(
            Rule::LastRegionOfResidency,
            format!("tenants left with nowhere legal to read: {count}, the first of them {first}"),
        );
    }
    found
}

impl Standing<'_> {
    /// Regions that take reads: a weight above 0 and a role other than off, and where there are cells, one of those.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.table.region_ids().filter(|region| self.serves(*region)).count()
    }

    /// The share of the declared capacity that is drained: 0.0 to 1.0. Cells have equal parts of their region's.
    #[must_use]
    pub fn drained_share(&self) -> f64 {
        let (mut all, mut gone) = (0.0, 0.0);
        for id in self.table.region_ids() {
            let capacity = self.table.region(id).and_then(|region| region.capacity);
            let capacity = f64::from(capacity.unwrap_or_default());
            all += capacity;
            gone += capacity * (1.0 - self.taken(id));
        }
        if all > 0.0 { gone / all } else { 0.0 }
    }

    fn serves(&self, region: RegionId) -> bool {
        self.taken(region) > 0.0
    }

    /// The share of a region's capacity that is not drained.
    fn taken(&self, id: RegionId) -> f64 {
        let Some(region) = self.table.region(id).filter(|region| region.role != Role::Off) else {
            return 0.0;
        };
        let share = |weight: Weight| f64::from(weight.as_hundredths()) / 10_000.0;
        let cells = match region.cells.len() {
            0 => 1.0,
            count => {
                let cells = (0..=u8::MAX).map(CellId).take(count);
                cells.map(|cell| share(self.weights.cell(id, cell))).sum::<f64>() / count as f64
            }
        };
        share(self.weights.region(id)) * cells
    }

    /// Whether some region that serves may answer reads of tenants of this profile.
    fn reads_somewhere(&self, profile: &Profile) -> bool {
        let may = profile.read_set.and(profile.allowed);
        self.table.region_ids().any(|region| may.contains(region) && self.serves(region))
    }
}

/// How many tenants of both tables have nowhere to read after and had before, and the first of them by name.
fn nowhere_now<'a>(before: &Standing<'a>, after: &Standing<'a>) -> (usize, Option<&'a str>) {
    let is_lost = |profile: &Profile| !profile.residency.is_empty() && !after.reads_somewhere(profile);
    let lost = after.table.tenants().profiles().iter().any(is_lost);
    if !lost {
        return (0, None);
    }
    let (old, new) = (before.table.tenants(), after.table.tenants());
    let nowhere = new.iter().filter(|(_, tenant)| is_lost(tenant.profile));
    let newly = nowhere
        .map(|(id, _)| id)
        .filter(|id| old.find(id).is_some_and(|tenant| before.reads_somewhere(tenant.profile)));
    newly.fold((0, None), |(count, first), id| {
        (count + 1, Some(first.map_or(id, |first: &str| first.min(id))))
    })
}

#[cfg(test)]
mod tests;

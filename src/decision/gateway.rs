//! What a region's gateway says to a request: from what an edge showed with it, and what is known here.
//!
//! The gateway is the last that a write passes on its way, so it judges by the highest epoch that either side knows.
//! What an edge shows above that is news: it is taken first, and then judged by.
//!
//! Never: passes a single writer's write while another region owns the tenant at the highest epoch seen; takes for an
//! ownership what a multi-writer policy calls the owner, which is only who takes the write.

mod here;
mod shown;

pub use here::{Gated, decide};
pub use shown::{HIGHEST_EPOCH, MOST_HOPS, Shown, epoch, hops};

use crate::units::Epoch;

/// Who owns a tenant at which epoch, by name: regions of two tables may be numbered otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    /// The owner.
    pub owner: &'a str,
    /// The number of that ownership.
    pub epoch: Epoch,
}

/// What is known here of the tenant that a request is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known<'a> {
    /// Who owns it.
    pub ownership: Claim<'a>,
    /// Whether another owner was seen at the same epoch, and nobody has resolved that.
    pub disputed: bool,
    /// Whether edges are not to hear of it yet.
    pub withheld: bool,
    /// Who may take its writes.
    pub writers: Writers,
}

/// Who may take the writes of a tenant, by its policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writers {
    /// The owner alone.
    Owner,
    /// Any region that may own it.
    Many {
        /// Whether this region is one of those.
        here: bool,
    },
}

/// What a request needs of the region that takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// To write there.
    Write,
    /// What the owner has: a strong read.
    Owner,
    /// A copy: any other read.
    Copy,
}

/// What an edge says of a request, as far as it is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said<'a> {
    /// The region that it was sent to.
    pub target: &'a str,
    /// Whom the edge takes for the owner; `None`: it knows of none.
    pub claim: Option<Claim<'a>>,
    /// Whether that is an ownership, and not merely who takes this write.
    pub is_ownership: bool,
}

/// What a gateway says to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged<'a> {
    /// What is to be kept before `verdict` is acted upon; `None`: nothing that was not known.
    pub news: Option<Claim<'a>>,
    /// What is said once the news is kept.
    pub verdict: Judgement<'a>,
}

/// What becomes of a request at a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement<'a> {
    /// It goes on.
    Pass,
    /// It was meant for another region.
    Misdirected,
    /// It was sent under an older ownership, or this region is not the owner; this is what holds.
    StaleEpoch(Claim<'a>),
    /// Two regions own the tenant at one epoch.
    SplitBrain,
    /// It was sent under an older ownership, and what holds is not to be told yet.
    Withheld,
}

/// What the gateway of the region `here` says.
///
/// - `said`: by an edge that has proved itself.
/// - `known`: of the tenant; `None`: nobody owns what the request is of.
#[must_use]
pub fn judge<'a>(said: &Said<'a>, known: Option<&Known<'a>>, needs: Needs, here: &str) -> Judged<'a> {
    let nothing_new = |verdict| Judged { news: None, verdict };
    if said.target != here {
        return nothing_new(Judgement::Misdirected);
    }
    let Some(known) = known else { return nothing_new(Judgement::Pass) };
    let ownership = said.claim.filter(|_| said.is_ownership);
    let higher = ownership.filter(|claim| claim.epoch > known.ownership.epoch);
    let other = ownership.filter(|claim| {
        claim.epoch == known.ownership.epoch && claim.owner != known.ownership.owner && !known.disputed
    });
    let holds = higher.unwrap_or(known.ownership);
    let disputed = higher.is_none() && (known.disputed || other.is_some());
    let shown = said.claim.map(|claim| claim.epoch);
    let verdict = match (needs, known.writers) {
        (Needs::Write, Writers::Many { here: true }) | (Needs::Copy, _) => Judgement::Pass,
        (Needs::Write, Writers::Many { here: false }) => Judgement::StaleEpoch(holds),
        (Needs::Write, Writers::Owner) | (Needs::Owner, _) if disputed => Judgement::SplitBrain,
        (Needs::Write, Writers::Owner) | (Needs::Owner, _)
            if known.withheld && shown.is_none_or(|shown| shown < holds.epoch) =>
        {
            Judgement::Withheld
        }
        (Needs::Write, Writers::Owner) if shown != Some(holds.epoch) || holds.owner != here => {
            Judgement::StaleEpoch(holds)
        }
        (Needs::Owner, _) if holds.owner != here => Judgement::StaleEpoch(holds),
        (Needs::Write | Needs::Owner, _) => Judgement::Pass,
    };
    Judged { news: higher.or(other), verdict }
}

#[cfg(test)]
mod tests;

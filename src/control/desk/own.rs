//! The desk's side of ownership: what operators and the edge itself do to it, judged, written down, and only then so.
//!
//! Never: an epoch that falls; a switch that is not in the journal.

mod doc;
mod preflight;
mod tell;

use rhumb_decision::operated::By;
use rhumb_decision::owned::{Change, News, Owned, Refused, Subject};
use rhumb_decision::ownership::Mark;
use rhumb_decision::safety::Rule;
use rhumb_decision::tenants::Tenant;
use rhumb_decision::transfer::{Event, To, Transfer, TransferId, Wanted, Which};
use rhumb_decision::units::{Epoch, RegionId, Wall};

pub(in crate::control) use preflight::lag_limit;
pub use preflight::{DestinationFit, Preflight, UnfitReport};

pub(super) use doc::{OwnDoc, OwnedDoc};
pub(super) use tell::is_kept;

use super::{Desk, DeskError, EDGE, Standing, Terms, edge, not_kept};
use crate::control::journal::Record;
use crate::control::operator::Asker;

/// What is wanted of a transfer, in words.
#[must_use]
pub fn words(wanted: &Wanted) -> String {
    let share = |share: &rhumb_decision::units::Weight| match share.as_percent() {
        100.0 => "all".to_owned(),
        percent => format!("{percent} %"),
    };
    let which = match &wanted.which {
        Which::Tenant(id) => format!("tenant {id}"),
        Which::OwnedBy(region, part) => format!("{} of what {region} owns", share(part)),
        Which::HomeAt(region, part) => format!("{} of the tenants at home in {region}", share(part)),
        Which::Under(region, policy) => format!("what {region} owns under policy {policy}"),
    };
    let to = match &wanted.to {
        To::Region(name) => format!("to {name}"),
        To::Standby => "to their standbys".to_owned(),
        To::Home => "home".to_owned(),
    };
    format!("{which} {to}")
}

/// What an operator wants of ownership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnOrder {
    /// Pause writes, or let only reads pass.
    Mark {
        /// Whose.
        subject: Subject,
        /// Which of the two.
        mark: Mark,
    },
    /// Take that back.
    Unmark(Subject),
    /// Say who owns a tenant, under a higher epoch.
    Resolve {
        /// Whom.
        tenant: Box<str>,
        /// Who: a region by name.
        owner: Box<str>,
    },
    /// Move ownership.
    Transfer(Wanted),
    /// End a transfer as soon as nothing of it is half-way.
    Cancel(TransferId),
    /// A drill with these regions was passed.
    Drilled(Vec<Box<str>>),
    /// Let a batch go whose old owner has not said that it knows: it is gone for good.
    Release(TransferId),
}

/// What the edge does to ownership by itself.
#[derive(Clone, PartialEq, Debug)]
pub enum OwnStep {
    /// Another process told of newer ownerships.
    News(Vec<News>),
    /// The same, of what others are not to hear of yet.
    Withheld(Vec<News>),
    /// Something is to be told that changes nothing.
    Told(Box<Record>),
    /// A transfer went on.
    Transfer {
        /// Which.
        id: TransferId,
        /// What happened to it.
        event: Event,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnDone {
    /// What was done; `None`: there was nothing to do.
    pub change: Option<Change>,
    /// What the audit says of it.
    pub told: Option<Record>,
    /// The transfer that it is about, after it.
    pub transfer: Option<Transfer>,
    /// What was seen before a transfer begins.
    pub preflight: Option<Preflight>,
    /// The revision after it.
    pub revision: u64,
    /// Whether nothing was done because only that was asked.
    pub dry_run: bool,
}

impl Desk {
    /// The state of ownership.
    #[must_use]
    pub const fn owned(&self) -> &Owned {
        &self.owned
    }

    /// What a transfer would meet.
    ///
    /// # Errors
    /// It names a region or tenant that the table does not have.
    pub fn preflight(&self, wanted: &Wanted, standing: &Standing) -> Result<Preflight, DeskError> {
        self.known(wanted, standing)?;
        Ok(preflight::look(wanted, standing))
    }

    /// Carries an operator's order out.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is changed then.
    pub fn own(
        &mut self,
        order: &OwnOrder,
        terms: &Terms,
        asker: &Asker,
        standing: &Standing,
    ) -> Result<OwnDone, DeskError> {
        if let Some(based_on) = terms.revision.filter(|based_on| *based_on != self.revision) {
            return Err(DeskError::Late { based_on, now: self.revision });
        }
        let by = By {
            actor: asker.actor.as_str().into(),
            reason: asker.reason.as_str().into(),
            since: standing.now.wall,
            until: terms.holds_for.map(|span| Wall(standing.now.wall.0.saturating_add(span.0))),
        };
        let (change, preflight) = self.own_change(order, terms, standing)?;
        let after = self.owned.apply(&change, &by, standing.now).map_err(own_refused)?;
        if terms.dry_run {
            let transfer = transfer_of(&change, &after).cloned();
            let revision = self.revision;
            return Ok(OwnDone { change: None, told: None, transfer, preflight, revision, dry_run: true });
        }
        let source = asker.source.to_string();
        self.own_kept(change, after, &by, &source, standing, preflight)
    }

    /// Takes in what the edge does by itself.
    ///
    /// # Errors
    /// It does not fit, or cannot be kept; nothing is changed then.
    pub fn own_step(&mut self, step: &OwnStep, standing: &Standing) -> Result<OwnDone, DeskError> {
        let changes = match step {
            OwnStep::News(news) => self.news(news, Change::Learn, standing)?,
            OwnStep::Withheld(news) => self.news(news, Change::Withhold, standing)?,
            OwnStep::Told(record) => {
                self.note(Record::clone(record), standing.now)?;
                let told = Some(Record::clone(record));
                let (change, transfer, preflight) = (None, None, None);
                return Ok(OwnDone {
                    change,
                    told,
                    transfer,
                    preflight,
                    revision: self.revision,
                    dry_run: false,
                });
            }
            OwnStep::Transfer { id, event } => vec![Change::Step { id: *id, event: event.clone() }],
        };
        let revision = self.revision;
        let mut done =
            OwnDone { change: None, told: None, transfer: None, preflight: None, revision, dry_run: false };
        let by = edge(standing.now);
        for change in changes {
            let after = self.owned.apply(&change, &by, standing.now).map_err(own_refused)?;
            done = self.own_kept(change, after, &by, EDGE, standing, None)?;
        }
        Ok(done)
    }

    /// Marks whose time is up; returns an entry for each.
    pub(super) fn own_advance(&mut self, standing: &Standing) -> Vec<Record> {
        let mut told = Vec::new();
        for change in self.owned.due(standing.now) {
            let by = edge(standing.now);
            let Ok(after) = self.owned.apply(&change, &by, standing.now) else { continue };
            let record = tell::record(&change, &self.owned, &after, &by, EDGE, standing);
            self.owned = after;
            told.push(Record { action: crate::control::journal::Action::Expired, ..record });
        }
        told
    }

    /// Writes a change down where a replay has to find it, and puts it in force.
    fn own_kept(
        &mut self,
        change: Change,
        after: Owned,
        by: &By,
        source: &str,
        standing: &Standing,
        preflight: Option<Preflight>,
    ) -> Result<OwnDone, DeskError> {
        let record = tell::record(&change, &self.owned, &after, by, source, standing);
        let mut told = None;
        if is_kept(&change) {
            let written = self.run(standing.now);
            let record = Record {
                change: super::record::write_own(OwnDoc::of(&change), by.until, written),
                revision: self.revision + 1,
                ..record
            };
            match self.store.append(record.clone()) {
                Ok(_) => self.revision += 1,
                // Writes wait for it, and a replay without it announces once more and comes to it again.
                Err(cause) if matches!(change, Change::Step { event: Event::Release, .. }) => {
                    tracing::error!(%cause, "a batch is released, and the journal does not say so");
                }
                Err(cause) => return Err(not_kept(&cause)),
            }
            told = Some(record);
        } else if tell::is_told(&change) {
            let record = Record { revision: self.revision, ..record };
            // Nothing hangs on it: an abort before the switch changes nothing.
            if let Err(cause) = self.store.append(record.clone()) {
                tracing::error!(%cause, "an entry is not in the audit: {}", record.after);
            }
            told = Some(record);
        }
        self.owned = after;
        self.checkpoint_if_due(standing.now);
        let transfer = transfer_of(&change, &self.owned).cloned();
        let revision = self.revision;
        Ok(OwnDone { change: Some(change), told, transfer, preflight, revision, dry_run: false })
    }

    fn own_change(
        &self,
        order: &OwnOrder,
        terms: &Terms,
        standing: &Standing,
    ) -> Result<(Change, Option<Preflight>), DeskError> {
        Ok(match order {
            OwnOrder::Mark { subject, mark } => {
                self.exists(subject, standing)?;
                (Change::Mark { subject: subject.clone(), mark: *mark }, None)
            }
            OwnOrder::Unmark(subject) => (Change::Unmark { subject: subject.clone() }, None),
            OwnOrder::Resolve { tenant, owner } => (self.resolution(tenant, owner, standing)?, None),
            OwnOrder::Drilled(regions) => {
                regions.iter().try_for_each(|name| region(name, standing).map(drop))?;
                (Change::Drilled(regions.clone()), None)
            }
            OwnOrder::Release(id) => (Change::Step { id: *id, event: Event::Release }, None),
            OwnOrder::Cancel(id) => (Change::Step { id: *id, event: Event::Cancel }, None),
            OwnOrder::Transfer(wanted) => {
                let found = self.preflight(wanted, standing)?;
                self.may_begin(wanted, &found, terms)?;
                let total = found.tenants_moving as u64;
                let id = self.owned.next_transfer();
                (Change::Begin { id, wanted: wanted.clone(), total }, Some(found))
            }
        })
    }

    fn may_begin(&self, wanted: &Wanted, found: &Preflight, terms: &Terms) -> Result<(), DeskError> {
        if let Some(other) = self.owned.transfers().find(|other| {
            !other.phase.is_over()
                && other.wanted.which == wanted.which
                && !matches!(wanted.which, Which::Tenant(_))
        }) {
            let what = format!("transfer {} of the same tenants is under way; cancel it first", other.id);
            return Err(DeskError::Unfit(what));
        }
        if found.tenants_moving == 0 {
            return Err(DeskError::Unready(Box::new(found.clone())));
        }
        if found.destinations.iter().any(|to| to.unfit.iter().any(|unfit| !unfit.is_rule())) {
            return Err(DeskError::Unready(Box::new(found.clone())));
        }
        let broken = found.rules_broken();
        let overridden = |rule: &Rule| terms.overrides.contains(rule);
        match broken.iter().all(overridden) {
            true => Ok(()),
            false => Err(DeskError::Unready(Box::new(found.clone()))),
        }
    }

    /// What of `news` is news over the rows of the table: newer owners, which are taken by `take`, or another one at the
    /// epoch in force.
    fn news(
        &self,
        news: &[News],
        take: fn(Vec<News>) -> Change,
        standing: &Standing,
    ) -> Result<Vec<Change>, DeskError> {
        let table = standing.current.snapshot.table();
        let over = self.owned.over(table);
        let (mut newer, mut changes) = (Vec::new(), Vec::new());
        for one in news {
            let Some(row) = table.tenants().find(&one.tenant) else { continue };
            let Some(owner) = table.region_named(&one.owner) else {
                return Err(DeskError::Unknown(format!(
                    "{} is said to be owned by {}, and the table in force has no such region",
                    one.tenant, one.owner
                )));
            };
            let now = over.of(&one.tenant, &row);
            let is_released = || {
                let taken = || self.owned.apply(&take(vec![one.clone()]), &edge(standing.now), standing.now);
                self.owned.is_withheld(&one.tenant) && taken().is_ok()
            };
            if one.epoch > now.epoch || is_released() {
                newer.push(one.clone());
            } else if one.epoch == now.epoch && owner != now.owner {
                let dispute = Change::Dispute { tenant: one.tenant.clone(), epoch: one.epoch };
                if self.owned.apply(&dispute, &edge(standing.now), standing.now).is_ok() {
                    changes.push(dispute);
                }
            }
        }
        if !newer.is_empty() {
            changes.insert(0, take(newer));
        }
        Ok(changes)
    }

    fn resolution(&self, tenant: &str, owner: &str, standing: &Standing) -> Result<Change, DeskError> {
        let table = standing.current.snapshot.table();
        let row = self.row(tenant, standing)?;
        let region = region(owner, standing)?;
        let legal = row.profile.may_own.with(row.profile.home).and(row.profile.allowed);
        if !legal.contains(region) {
            let names = table.region_ids().filter(|id| legal.contains(*id)).map(|id| table.region_name(id));
            return Err(DeskError::Unfit(format!(
                "{owner} may not own {tenant}: its home and standbys within its residency are {}",
                names.collect::<Vec<_>>().join(", ")
            )));
        }
        let now = self.owned.over(table).of(tenant, &row);
        let told = self.owned.owner(tenant).map(|(_, epoch)| epoch);
        let highest = [Some(now.epoch), Some(row.epoch), told].into_iter().flatten().max();
        let epoch = highest.and_then(|epoch| epoch.0.checked_add(1)).map(Epoch);
        let epoch =
            epoch.ok_or_else(|| DeskError::Unfit(format!("{tenant} has the highest epoch there is")))?;
        Ok(Change::Resolve { tenant: tenant.into(), owner: owner.into(), epoch })
    }

    fn known(&self, wanted: &Wanted, standing: &Standing) -> Result<(), DeskError> {
        match &wanted.which {
            Which::Tenant(id) => self.row(id, standing).map(drop)?,
            Which::OwnedBy(name, _) | Which::HomeAt(name, _) | Which::Under(name, _) => {
                region(name, standing).map(drop)?
            }
        }
        match &wanted.to {
            To::Region(name) => region(name, standing).map(drop),
            To::Standby | To::Home => Ok(()),
        }
    }

    fn exists(&self, subject: &Subject, standing: &Standing) -> Result<(), DeskError> {
        match subject {
            Subject::Tenant(id) => self.row(id, standing).map(drop),
            Subject::Region(name) => region(name, standing).map(drop),
        }
    }

    fn row<'a>(&self, id: &str, standing: &'a Standing) -> Result<Tenant<'a>, DeskError> {
        let found = standing.current.snapshot.table().tenants().find(id);
        found.ok_or_else(|| DeskError::Unknown(format!("the table in force has no tenant {id:?}")))
    }
}

fn region(name: &str, standing: &Standing) -> Result<RegionId, DeskError> {
    let table = standing.current.snapshot.table();
    table.region_named(name).ok_or_else(|| {
        let names = table.regions().iter().map(|region| region.name.as_ref());
        let remedy = crate::problem::nearest::remedy(name, "regions", names);
        DeskError::Unknown(format!("the table in force has no region {name:?}; {remedy}"))
    })
}

fn transfer_of<'o>(change: &Change, owned: &'o Owned) -> Option<&'o Transfer> {
    match change {
        Change::Begin { id, .. } | Change::Step { id, .. } => owned.transfer(*id),
        _ => None,
    }
}

fn own_refused(refused: Refused) -> DeskError {
    match refused {
        Refused::NoTransfer(_) => DeskError::Unknown(refused.to_string()),
        other => DeskError::Unfit(other.to_string()),
    }
}

#[cfg(test)]
mod tests;

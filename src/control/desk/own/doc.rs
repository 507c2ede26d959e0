//! Changes of ownership as the journal has them, and the whole state as its checkpoint has it.
//!
//! Never: guesses. What cannot be read is an error that names what is wrong.

use std::collections::BTreeMap;

use rhumb_decision::operated::By;
use rhumb_decision::owned::{Change, Marked, MovedPart, News, Owned, Parts, Subject};
use rhumb_decision::ownership::Mark;
use rhumb_decision::transfer::{Batch, Event, Member, Phase, Step, To, Transfer, TransferId, Wanted, Which};
use rhumb_decision::units::{Epoch, Millis, Wall, Weight};
use serde::{Deserialize, Serialize};

use super::super::record::ByDoc;

/// A change, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::control::desk) enum OwnDoc {
    Learn(Vec<OwnerDoc>),
    Withhold(Vec<OwnerDoc>),
    Dispute { tenant: String, epoch: u64 },
    Resolve { tenant: String, owner: String, epoch: u64 },
    Mark { subject: SubjectDoc, mark: MarkDoc },
    Unmark { subject: SubjectDoc },
    Drilled(Vec<String>),
    Begin { id: u64, wanted: WantedDoc, total: u64 },
    Raise { id: u64, batch: BatchDoc },
    Release { id: u64 },
    WaveOver { id: u64, more: bool },
    Fail { id: u64, why: String },
    Cancel { id: u64 },
}

/// Tenants of one owner, each with its epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control::desk) struct OwnerDoc {
    owner: String,
    tenants: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::control::desk) enum SubjectDoc {
    Tenant(String),
    Region(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::control::desk) enum MarkDoc {
    Frozen,
    ReadOnly,
}

/// Shares in hundredths of a percent, spans in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control::desk) struct WantedDoc {
    which: WhichDoc,
    to: ToDoc,
    unplanned: bool,
    every: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WhichDoc {
    Tenant(String),
    OwnedBy { region: String, share: u16 },
    HomeAt { region: String, share: u16 },
    Under { region: String, policy: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ToDoc {
    Region(String),
    Standby,
    Home,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control::desk) struct BatchDoc {
    from: String,
    to: String,
    tenants: Vec<(String, u64)>,
}

/// The whole state.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control::desk) struct OwnedDoc {
    owners: Vec<OwnerDoc>,
    disputed: Vec<(String, u64)>,
    #[serde(default)]
    withheld: Vec<String>,
    marks: Vec<MarkedDoc>,
    /// When the last drill with a region was passed, in milliseconds since 1970.
    #[serde(default)]
    drilled: BTreeMap<String, u64>,
    transfers: Vec<TransferDoc>,
    last_transfer: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkedDoc {
    subject: SubjectDoc,
    mark: MarkDoc,
    by: ByDoc,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferDoc {
    id: u64,
    wanted: WantedDoc,
    by: ByDoc,
    phase: PhaseDoc,
    batch: Option<BatchDoc>,
    moved: u64,
    total: u64,
    waves: u32,
    trouble: Option<String>,
    ending: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PhaseDoc {
    Running,
    /// On the clock of the process that wrote it.
    Waiting {
        until: u64,
    },
    Done,
    Failed(String),
    Cancelled,
}

impl OwnDoc {
    /// `change` as it is written; `None` for what a replay comes to by itself or without.
    pub fn of(change: &Change) -> Option<Self> {
        Some(match change {
            Change::Learn(news) => Self::Learn(owners_of(news)),
            Change::Withhold(news) => Self::Withhold(owners_of(news)),
            Change::Dispute { tenant, epoch } => Self::Dispute { tenant: tenant.to_string(), epoch: epoch.0 },
            Change::Resolve { tenant, owner, epoch } => {
                Self::Resolve { tenant: tenant.to_string(), owner: owner.to_string(), epoch: epoch.0 }
            }
            Change::Mark { subject, mark } => Self::Mark { subject: subject.into(), mark: (*mark).into() },
            Change::Unmark { subject } => Self::Unmark { subject: subject.into() },
            Change::Drilled(regions) => Self::Drilled(regions.iter().map(ToString::to_string).collect()),
            Change::Begin { id, wanted, total } => {
                Self::Begin { id: id.0, wanted: wanted.into(), total: *total }
            }
            Change::Step { id, event } => {
                let id = id.0;
                match event {
                    Event::Raise(batch) => Self::Raise { id, batch: batch.into() },
                    Event::Release => Self::Release { id },
                    Event::WaveOver { more } => Self::WaveOver { id, more: *more },
                    Event::Fail(why) => Self::Fail { id, why: why.to_string() },
                    Event::Cancel => Self::Cancel { id },
                    Event::Freeze(_)
                    | Event::Quiet
                    | Event::Aim(_)
                    | Event::Abort(_)
                    | Event::Trouble(_)
                    | Event::Wake => return None,
                }
            }
        })
    }

    /// The changes that it stands for, after `owned`. A planned switch stands for all that had to come before it.
    pub fn changes(self, owned: &Owned) -> Vec<Change> {
        let step = |id, event| Change::Step { id: TransferId(id), event };
        match self {
            Self::Learn(owners) => vec![Change::Learn(news_of(owners))],
            Self::Withhold(owners) => vec![Change::Withhold(news_of(owners))],
            Self::Dispute { tenant, epoch } => {
                vec![Change::Dispute { tenant: tenant.into(), epoch: Epoch(epoch) }]
            }
            Self::Resolve { tenant, owner, epoch } => {
                vec![Change::Resolve { tenant: tenant.into(), owner: owner.into(), epoch: Epoch(epoch) }]
            }
            Self::Mark { subject, mark } => {
                vec![Change::Mark { subject: subject.into(), mark: mark.into() }]
            }
            Self::Unmark { subject } => vec![Change::Unmark { subject: subject.into() }],
            Self::Drilled(regions) => {
                vec![Change::Drilled(regions.into_iter().map(Into::into).collect())]
            }
            Self::Begin { id, wanted, total } => {
                vec![Change::Begin { id: TransferId(id), wanted: wanted.into(), total }]
            }
            Self::Raise { id, batch } => {
                let batch = Batch::from(batch);
                let planned =
                    owned.transfer(TransferId(id)).is_some_and(|transfer| !transfer.wanted.unplanned);
                let frozen = Batch { step: Step::Drain, ..batch.clone() };
                let before = [step(id, Event::Freeze(frozen)), step(id, Event::Quiet)];
                let before = before.into_iter().filter(|_| planned);
                before.chain([step(id, Event::Raise(batch))]).collect()
            }
            Self::Release { id } => vec![step(id, Event::Release)],
            Self::WaveOver { id, more } => vec![step(id, Event::WaveOver { more })],
            Self::Fail { id, why } => vec![step(id, Event::Fail(why.into()))],
            Self::Cancel { id } => vec![step(id, Event::Cancel)],
        }
    }
}

impl OwnedDoc {
    pub fn of(owned: &Owned) -> Self {
        let Parts { moved, marks, drilled, transfers, last } = owned.parts();
        let owners = owners(moved.iter().filter_map(|(tenant, part)| {
            part.owner.as_ref().map(|(owner, epoch)| (tenant.as_ref(), owner.as_ref(), *epoch))
        }));
        let disputed = moved.iter().filter_map(|(t, part)| Some((t.to_string(), part.disputed?.0)));
        let withheld = moved.iter().filter(|(_, part)| part.withheld).map(|(tenant, _)| tenant.to_string());
        let marks = marks.iter().map(|(subject, Marked { mark, by })| MarkedDoc {
            subject: subject.into(),
            mark: (*mark).into(),
            by: by.into(),
        });
        Self {
            owners,
            disputed: disputed.collect(),
            withheld: withheld.collect(),
            marks: marks.collect(),
            drilled: drilled.into_iter().map(|(region, at)| (region.into(), at.0)).collect(),
            transfers: transfers.iter().map(TransferDoc::from).collect(),
            last_transfer: last,
        }
    }

    pub fn owned(self) -> Owned {
        let mut moved: BTreeMap<Box<str>, MovedPart> = BTreeMap::new();
        for OwnerDoc { owner, tenants } in self.owners {
            for (tenant, epoch) in tenants {
                moved.entry(tenant.into()).or_default().owner = Some((owner.as_str().into(), Epoch(epoch)));
            }
        }
        for (tenant, epoch) in self.disputed {
            moved.entry(tenant.into()).or_default().disputed = Some(Epoch(epoch));
        }
        for tenant in self.withheld {
            moved.entry(tenant.into()).or_default().withheld = true;
        }
        let marks = self.marks.into_iter().map(|MarkedDoc { subject, mark, by }| {
            (subject.into(), Marked { mark: mark.into(), by: by.into() })
        });
        Owned::new(Parts {
            moved,
            marks: marks.collect(),
            drilled: self.drilled.into_iter().map(|(region, at)| (region.into(), Wall(at))).collect(),
            transfers: self.transfers.into_iter().map(Transfer::from).collect(),
            last: self.last_transfer,
        })
    }
}

fn owners_of(news: &[News]) -> Vec<OwnerDoc> {
    owners(news.iter().map(|one| (one.tenant.as_ref(), one.owner.as_ref(), one.epoch)))
}

fn news_of(owners: Vec<OwnerDoc>) -> Vec<News> {
    let of_one = |OwnerDoc { owner, tenants }: OwnerDoc| {
        let of = move |(tenant, epoch): (String, u64)| News {
            tenant: tenant.into(),
            owner: owner.as_str().into(),
            epoch: Epoch(epoch),
        };
        tenants.into_iter().map(of)
    };
    owners.into_iter().flat_map(of_one).collect()
}

fn owners<'a>(all: impl Iterator<Item = (&'a str, &'a str, Epoch)>) -> Vec<OwnerDoc> {
    let mut by_owner: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
    for (tenant, owner, epoch) in all {
        by_owner.entry(owner).or_default().push((tenant.to_owned(), epoch.0));
    }
    by_owner.into_iter().map(|(owner, tenants)| OwnerDoc { owner: owner.to_owned(), tenants }).collect()
}

impl From<&Subject> for SubjectDoc {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Tenant(id) => Self::Tenant(id.to_string()),
            Subject::Region(name) => Self::Region(name.to_string()),
        }
    }
}

impl From<SubjectDoc> for Subject {
    fn from(doc: SubjectDoc) -> Self {
        match doc {
            SubjectDoc::Tenant(id) => Self::Tenant(id.into()),
            SubjectDoc::Region(name) => Self::Region(name.into()),
        }
    }
}

impl From<Mark> for MarkDoc {
    fn from(mark: Mark) -> Self {
        match mark {
            Mark::Frozen => Self::Frozen,
            Mark::ReadOnly => Self::ReadOnly,
        }
    }
}

impl From<MarkDoc> for Mark {
    fn from(doc: MarkDoc) -> Self {
        match doc {
            MarkDoc::Frozen => Self::Frozen,
            MarkDoc::ReadOnly => Self::ReadOnly,
        }
    }
}

impl From<&Wanted> for WantedDoc {
    fn from(wanted: &Wanted) -> Self {
        let which = match &wanted.which {
            Which::Tenant(id) => WhichDoc::Tenant(id.to_string()),
            Which::OwnedBy(region, share) => {
                WhichDoc::OwnedBy { region: region.to_string(), share: share.as_hundredths() }
            }
            Which::Under(region, policy) => {
                WhichDoc::Under { region: region.to_string(), policy: policy.to_string() }
            }
            Which::HomeAt(region, share) => {
                WhichDoc::HomeAt { region: region.to_string(), share: share.as_hundredths() }
            }
        };
        let to = match &wanted.to {
            To::Region(name) => ToDoc::Region(name.to_string()),
            To::Standby => ToDoc::Standby,
            To::Home => ToDoc::Home,
        };
        Self { which, to, unplanned: wanted.unplanned, every: wanted.every.map(|every| every.0) }
    }
}

impl From<WantedDoc> for Wanted {
    fn from(doc: WantedDoc) -> Self {
        let which = match doc.which {
            WhichDoc::Tenant(id) => Which::Tenant(id.into()),
            WhichDoc::OwnedBy { region, share } => Which::OwnedBy(region.into(), Weight::hundredths(share)),
            WhichDoc::Under { region, policy } => Which::Under(region.into(), policy.into()),
            WhichDoc::HomeAt { region, share } => Which::HomeAt(region.into(), Weight::hundredths(share)),
        };
        let to = match doc.to {
            ToDoc::Region(name) => To::Region(name.into()),
            ToDoc::Standby => To::Standby,
            ToDoc::Home => To::Home,
        };
        Self { which, to, unplanned: doc.unplanned, every: doc.every.map(Millis) }
    }
}

impl From<&Batch> for BatchDoc {
    fn from(batch: &Batch) -> Self {
        let member = |member: &Member| (member.tenant.to_string(), member.epoch.0);
        Self {
            from: batch.from.to_string(),
            to: batch.to.to_string(),
            tenants: batch.members.iter().map(member).collect(),
        }
    }
}

/// A batch is written once it is switched; when it was frozen is past.
impl From<BatchDoc> for Batch {
    fn from(doc: BatchDoc) -> Self {
        let member = |(tenant, epoch): (String, u64)| Member { tenant: tenant.into(), epoch: Epoch(epoch) };
        Self {
            from: doc.from.into(),
            to: doc.to.into(),
            members: doc.tenants.into_iter().map(member).collect(),
            step: Step::Switch,
            began: Millis(0),
            quiet: None,
            aim: None,
        }
    }
}

impl From<&Transfer> for TransferDoc {
    fn from(transfer: &Transfer) -> Self {
        Self {
            id: transfer.id.0,
            wanted: (&transfer.wanted).into(),
            by: (&transfer.by).into(),
            phase: match &transfer.phase {
                Phase::Running => PhaseDoc::Running,
                Phase::Waiting { until } => PhaseDoc::Waiting { until: until.0 },
                Phase::Done => PhaseDoc::Done,
                Phase::Failed(why) => PhaseDoc::Failed(why.to_string()),
                Phase::Cancelled => PhaseDoc::Cancelled,
            },
            batch: transfer.batch.as_ref().map(Into::into),
            moved: transfer.moved,
            total: transfer.total,
            waves: transfer.waves,
            trouble: transfer.trouble.as_deref().map(str::to_owned),
            ending: transfer.ending,
        }
    }
}

impl From<TransferDoc> for Transfer {
    fn from(doc: TransferDoc) -> Self {
        let by: By = doc.by.into();
        Self {
            phase: match doc.phase {
                PhaseDoc::Running => Phase::Running,
                PhaseDoc::Waiting { until } => Phase::Waiting { until: Millis(until) },
                PhaseDoc::Done => Phase::Done,
                PhaseDoc::Failed(why) => Phase::Failed(why.into()),
                PhaseDoc::Cancelled => Phase::Cancelled,
            },
            batch: doc.batch.map(Into::into),
            moved: doc.moved,
            waves: doc.waves,
            trouble: doc.trouble.map(Into::into),
            ending: doc.ending,
            ..Self::begin(TransferId(doc.id), doc.wanted.into(), by, doc.total)
        }
    }
}

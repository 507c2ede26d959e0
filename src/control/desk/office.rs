//! The steward's side of the desk: orders and entries wait here in their order, and one at a time is dealt with on a
//! thread that may wait for the disk, while health goes on.
//!
//! Never: two at once; an entry that keeps an operator waiting for long, or for ever in memory.

use std::collections::VecDeque;

use rhumb_decision::operated::{Now, Operated};
use rhumb_decision::owned::Owned;
use rhumb_decision::scope::Scope;
use rhumb_decision::transfer::Wanted;
use rhumb_decision::units::Weight;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{
    Desk, DeskError, Done, Order, OwnDone, OwnOrder, OwnStep, PlanReport, Preflight, Standing, Terms,
};
use crate::control::journal::Record;
use crate::control::operator::Asker;

/// Entries that may wait; of a flood the oldest go, and the log has them.
const WAITING: usize = 4_096;

/// So many entries are written before another order has its turn.
const AT_ONCE: usize = 64;

/// What is asked of the desk.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// What a weight would do.
    Plan {
        /// Of what.
        scope: Scope,
        /// The weight.
        to: Weight,
    },
    /// An order.
    Order {
        /// What is wanted.
        order: Order,
        /// On what terms.
        terms: Terms,
        /// Who wants it.
        asker: Asker,
    },
    /// What a transfer would meet.
    Preflight(Wanted),
    /// An order about ownership.
    Own {
        /// What is wanted.
        order: OwnOrder,
        /// On what terms.
        terms: Terms,
        /// Who wants it.
        asker: Asker,
    },
    /// What the edge does to ownership by itself.
    Step(OwnStep),
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// The plan.
    Plan(Box<PlanReport>),
    /// What was done.
    Done(Box<Done>),
    /// What a transfer would meet.
    Preflight(Box<Preflight>),
    /// What was done to ownership.
    Own(Box<OwnDone>),
}

/// A request, and where its answer goes.
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Answer, DeskError>>,
}

impl Asked {
    /// It is not dealt with.
    pub fn refuse(self, why: &str) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Err(DeskError::Unfit(why.to_owned())));
    }
}

/// The desk, and what waits for it.
pub struct Office {
    desk: Option<Desk>,
    state: Operated,
    owned: Owned,
    revision: u64,
    asked: VecDeque<Asked>,
    entries: VecDeque<Entry>,
    job: Option<JoinHandle<(Desk, Came)>>,
    trouble: Option<String>,
}

/// An entry to be written: with the revision that it was given, or with the one that holds then.
enum Entry {
    Dated(Record),
    Note(Record),
}

/// What a job came to.
pub enum Came {
    /// An order was dealt with.
    Answer {
        /// What was asked.
        request: Box<Request>,
        /// What came of it.
        answer: Result<Answer, DeskError>,
        /// Where that goes.
        reply: oneshot::Sender<Result<Answer, DeskError>>,
    },
    /// Entries were written, or not.
    Entries {
        /// Why the last could not be.
        failed: Option<DeskError>,
    },
    /// The desk is lost: a panic took it. What is in force stays.
    Lost(String),
}

impl Office {
    /// An office with this desk.
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self {
            state: desk.state().clone(),
            owned: desk.owned().clone(),
            revision: desk.revision(),
            desk: Some(desk),
            asked: VecDeque::new(),
            entries: VecDeque::new(),
            job: None,
            trouble: None,
        }
    }

    /// The operators' state, as far as it is in force.
    #[must_use]
    pub const fn state(&self) -> &Operated {
        &self.state
    }

    /// The state of ownership, as far as it is in force.
    #[must_use]
    pub const fn owned(&self) -> &Owned {
        &self.owned
    }

    /// The revision that goes with it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Why the journal cannot be written; `None`: it can, as far as is known.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether nothing is being written.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    /// A request waits for its turn.
    pub fn ask(&mut self, asked: Asked) {
        self.asked.push_back(asked);
    }

    /// Nobody who waits is kept waiting any longer.
    pub fn turn_away(&mut self, why: &str) {
        self.asked.drain(..).for_each(|asked| asked.refuse(why));
    }

    /// An entry waits to be written.
    pub fn note(&mut self, record: Record) {
        self.wait(Entry::Note(record));
    }

    fn wait(&mut self, entry: Entry) {
        if self.entries.len() >= WAITING {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Another table is in force. Only while nothing is being written: what an order is judged by has to stay.
    pub fn table_changed(&mut self) {
        if let Some(desk) = &mut self.desk {
            desk.table_changed();
            self.revision = desk.revision();
        }
    }

    /// Takes in what time brings, and pauses what a guard stops. Returns what happened; nothing while the desk is at
    /// work.
    pub fn tick(&mut self, standing: &Standing) -> Vec<Record> {
        let Some(desk) = &mut self.desk else { return Vec::new() };
        let told = desk.advance(standing);
        let paused = desk.guard(standing);
        self.state = desk.state().clone();
        self.owned = desk.owned().clone();
        self.revision = desk.revision();
        told.iter().cloned().for_each(|record| self.wait(Entry::Note(record)));
        paused.iter().cloned().for_each(|record| self.wait(Entry::Dated(record)));
        told.into_iter().chain(paused).collect()
    }

    /// Begins with what waits, where the desk is free; entries first, so that the order of things is kept.
    pub fn begin(&mut self, standing: impl FnOnce() -> Standing) {
        if self.job.is_some() || (self.entries.is_empty() && self.asked.is_empty()) {
            return;
        }
        let Some(mut desk) = self.desk.take() else {
            return self.turn_away("the journal's writer broke; start the process again");
        };
        let standing = standing();
        let entries: Vec<_> = self.entries.drain(..self.entries.len().min(AT_ONCE)).collect();
        if entries.is_empty() {
            let Some(Asked { request, reply }) = self.asked.pop_front() else {
                self.desk = Some(desk);
                return;
            };
            self.job = Some(tokio::task::spawn_blocking(move || {
                let answer = dealt_with(&mut desk, &request, &standing);
                (desk, Came::Answer { request: Box::new(request), answer, reply })
            }));
        } else {
            self.job = Some(tokio::task::spawn_blocking(move || {
                let failed = written(&mut desk, entries, standing.now);
                (desk, Came::Entries { failed })
            }));
        }
    }

    /// Waits for the job under way; for ever when there is none. Safe to cancel.
    pub async fn came(&mut self) -> Came {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let came = job.await;
        self.job = None;
        match came {
            Ok((desk, came)) => {
                self.state = desk.state().clone();
                self.owned = desk.owned().clone();
                self.revision = desk.revision();
                self.desk = Some(desk);
                self.trouble = match &came {
                    Came::Answer { answer: Err(DeskError::NotKept(why)), .. } => Some(why.clone()),
                    Came::Entries { failed: Some(why) } => Some(why.to_string()),
                    Came::Answer { answer: Ok(Answer::Done(done)), .. } if !done.dry_run => None,
                    Came::Answer { answer: Ok(Answer::Own(done)), .. } if done.told.is_some() => None,
                    Came::Entries { failed: None } => None,
                    _ => self.trouble.take(),
                };
                came
            }
            Err(cause) => {
                self.trouble = Some(format!("the journal's writer broke: {cause}"));
                Came::Lost(cause.to_string())
            }
        }
    }
}

fn dealt_with(desk: &mut Desk, request: &Request, standing: &Standing) -> Result<Answer, DeskError> {
    match request {
        Request::Plan { scope, to } => {
            desk.plan(scope, *to, standing).map(|plan| Answer::Plan(Box::new(plan)))
        }
        Request::Order { order, terms, asker } => {
            desk.obey(order, terms, asker, standing).map(|done| Answer::Done(Box::new(done)))
        }
        Request::Preflight(wanted) => {
            desk.preflight(wanted, standing).map(|found| Answer::Preflight(Box::new(found)))
        }
        Request::Own { order, terms, asker } => {
            desk.own(order, terms, asker, standing).map(|done| Answer::Own(Box::new(done)))
        }
        Request::Step(step) => desk.own_step(step, standing).map(|done| Answer::Own(Box::new(done))),
    }
}

/// Writes entries until one cannot be; what could not be is in the log.
fn written(desk: &mut Desk, entries: Vec<Entry>, now: Now) -> Option<DeskError> {
    let mut failed = None;
    for entry in entries {
        let (kept, told) = match entry {
            Entry::Note(record) => (desk.note(record.clone(), now), record),
            Entry::Dated(record) => (desk.keep(record.clone(), now), record),
        };
        if let Err(cause) = kept {
            tracing::error!(action = %told.action, region = told.region, reason = told.reason, %cause, "an entry is not in the audit");
            failed = Some(cause);
        }
    }
    failed
}

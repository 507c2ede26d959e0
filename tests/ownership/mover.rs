//! Drives the transfers of the first edge as `control::mover` does, a step at a time: between any two steps anything
//! else may happen.

use rhumb_decision::owned::Change;
use rhumb_decision::transfer::{Batch, Event, Member, Step, Transfer, TransferId, caught_up, choose};
use rhumb_decision::units::{Epoch, Millis};

use crate::world::{Broken, Region, World, name};

/// How long a batch may be frozen.
const PATIENCE: u64 = 120;

/// How long a fence holds: now and then too short.
const FENCED: u64 = 150;

/// What the mover waits for; lost in a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waits {
    Drain {
        began: u64,
    },
    /// For the word of the old owner's gateway that nothing passes there any more.
    Fence {
        began: u64,
        id: u64,
    },
    CatchUp {
        began: u64,
        quiet: u64,
        aim: Option<u128>,
    },
    /// For the word of the old owner's gateway that it knows; `None`: a fence has to be raised anew before.
    Word {
        fence: Option<u64>,
        sent: bool,
    },
    /// The same again, for a batch that is switched already.
    FenceAnew {
        id: u64,
    },
    CatchUpAnew {
        id: u64,
        quiet: u64,
        aim: Option<u128>,
    },
}

/// What a gateway is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Fence { id: u64, until: u64 },
    Fenced(u64),
    Plain,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    Yes,
    KnowsBetter,
    Lapsed,
}

/// An announcement on its way to a gateway, or its answer on its way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    pub to: Region,
    pub owner: Region,
    pub epoch: Epoch,
    pub word: Word,
    pub said: Option<Said>,
    /// Whether anybody waits for the answer.
    pub awaited: bool,
}

impl World {
    /// One step of the mover.
    pub fn drive(&mut self) {
        let going = self.edges[0].owned.transfers().find(|transfer| !transfer.phase.is_over()).cloned();
        let Some(transfer) = going else {
            self.waits = None;
            return;
        };
        match (transfer.batch.clone(), self.waits.clone()) {
            (None, _) => self.begin_batch(&transfer),
            (Some(batch), Some(Waits::Drain { began })) => self.drain(&transfer, &batch, began),
            (Some(batch), Some(Waits::CatchUp { began, quiet, aim })) => {
                self.catch_up(&transfer, &batch, (began, quiet, aim));
            }
            (Some(batch), Some(Waits::Fence { began, id })) => self.fence(&transfer, &batch, began, id),
            (Some(batch), Some(Waits::Word { fence, sent })) => self.word(&transfer, &batch, fence, sent),
            (Some(batch), Some(Waits::FenceAnew { id })) => self.fence_anew(&batch, id),
            (Some(batch), Some(Waits::CatchUpAnew { id, quiet, aim })) => {
                self.catch_up_anew(&batch, id, quiet, aim)
            }
            (Some(batch), None) if batch.step == Step::Switch => {
                self.waits = Some(Waits::Word { fence: None, sent: false });
            }
            (Some(_), None) => self.abort(transfer.id, "nobody drives it any more"),
        }
    }

    fn tell(&mut self, id: TransferId, event: Event) -> bool {
        let change = Change::Step { id, event };
        self.edges[0].apply(&change, self.now).is_ok()
    }

    fn abort(&mut self, id: TransferId, why: &str) {
        self.happens("aborted");
        // What is still on its way is nobody's answer any more.
        self.announcements.iter_mut().for_each(|one| one.awaited = false);
        self.waits = None;
        self.tell(id, Event::Abort(why.into()));
    }

    fn begin_batch(&mut self, transfer: &Transfer) {
        let snapshot = self.snapshot(&self.edges[0].owned);
        let chosen = choose(&transfer.wanted, transfer.waves, usize::MAX, &snapshot);
        let Some(destination) = chosen.destinations.first() else {
            self.tell(transfer.id, Event::WaveOver { more: false });
            return;
        };
        let member = |(tenant, epoch): &(Box<str>, Epoch)| Member {
            tenant: tenant.clone(),
            epoch: if self.broken == Broken::EpochNotRaised { Epoch(epoch.0 - 1) } else { *epoch },
        };
        let batch = Batch {
            from: name(self.number(destination.from)).into(),
            to: name(self.number(destination.to)).into(),
            members: destination.members.iter().map(member).collect(),
            step: Step::Drain,
            began: Millis(self.now),
            quiet: None,
            aim: None,
        };
        if transfer.wanted.unplanned {
            self.raise(transfer.id, batch);
        } else if self.broken == Broken::CountedBeforeTheFreeze {
            if self.in_flight(0) == 0 {
                self.counted_before = Some((transfer.id, batch));
            }
        } else if self.tell(transfer.id, Event::Freeze(batch)) {
            self.waits = Some(Waits::Drain { began: self.now });
        }
    }

    /// The broken order: what was counted before is frozen only now.
    pub fn freeze_late(&mut self) {
        let Some((id, batch)) = self.counted_before.take() else { return };
        if self.tell(id, Event::Freeze(batch)) && self.tell(id, Event::Quiet) {
            self.waits = Some(Waits::CatchUp { began: self.now, quiet: self.now, aim: None });
        }
    }

    fn drain(&mut self, transfer: &Transfer, batch: &Batch, began: u64) {
        if self.in_flight(0) == 0 || self.broken == Broken::NoFreeze {
            // A gateway would refuse a fence for an epoch that is not above its own.
            if matches!(self.broken, Broken::NoFence | Broken::EpochNotRaised) {
                self.tell(transfer.id, Event::Quiet);
                self.waits = Some(Waits::CatchUp { began, quiet: self.now, aim: None });
            } else {
                let id = self.ask_for_fence(batch);
                self.waits = Some(Waits::Fence { began, id });
            }
        } else if transfer.ending || self.now - began > PATIENCE {
            self.abort(transfer.id, "writes were still in flight");
        }
    }

    fn ask_for_fence(&mut self, batch: &Batch) -> u64 {
        self.fences += 1;
        let (id, until) = (self.fences, self.now + FENCED);
        self.announce(batch, Word::Fence { id, until });
        id
    }

    fn announce(&mut self, batch: &Batch, word: Word) {
        let (to, owner) = (self.named(&batch.from), self.named(&batch.to));
        let epoch = batch.members[0].epoch;
        self.announcements.push(Announcement { to, owner, epoch, word, said: None, awaited: true });
    }

    /// The answer that is waited for; `Err`: it was lost on its way.
    fn heard(&mut self) -> Result<Option<Said>, ()> {
        let Some(at) = self.announcements.iter().position(|one| one.awaited) else { return Err(()) };
        match self.announcements[at].said {
            None => Ok(None),
            said => {
                self.announcements.swap_remove(at);
                Ok(said)
            }
        }
    }

    fn fence(&mut self, transfer: &Transfer, _batch: &Batch, began: u64, id: u64) {
        match self.heard() {
            Ok(Some(Said::Yes)) => {
                self.tell(transfer.id, Event::Quiet);
                self.fence = Some(id);
                self.waits = Some(Waits::CatchUp { began, quiet: self.now, aim: None });
            }
            Ok(None) if self.now - began <= PATIENCE => {}
            _ => self.abort(transfer.id, "the old owner's gateway raised no fence"),
        }
    }

    fn fence_anew(&mut self, batch: &Batch, id: u64) {
        match self.heard() {
            Ok(Some(Said::Yes)) => self.waits = Some(Waits::CatchUpAnew { id, quiet: self.now, aim: None }),
            Ok(Some(Said::KnowsBetter)) => self.waits = Some(Waits::Word { fence: Some(id), sent: false }),
            Ok(Some(Said::Lapsed)) | Err(()) => {
                let id = self.ask_for_fence(batch);
                self.waits = Some(Waits::FenceAnew { id });
            }
            Ok(None) => {}
        }
    }

    fn catch_up_anew(&mut self, batch: &Batch, id: u64, quiet: u64, aim: Option<u128>) {
        let (done, aim) = self.has_caught_up(batch, quiet, aim);
        self.waits = Some(Waits::CatchUpAnew { id, quiet, aim });
        if done {
            self.waits = Some(Waits::Word { fence: Some(id), sent: false });
        }
    }

    /// Whether it has, and what it has to reach.
    fn has_caught_up(&mut self, batch: &Batch, quiet: u64, aim: Option<u128>) -> (bool, Option<u128>) {
        let snapshot = self.snapshot(&self.edges[0].owned);
        let region = |name: &str| self.table.region_named(name).unwrap();
        let (from, to) = (region(&batch.from), region(&batch.to));
        let view = snapshot.health().region(from).unwrap();
        let told = view.position.filter(|_| view.reported.is_some_and(|asked| asked.0 > quiet));
        let aim = aim.or(told);
        (caught_up(&snapshot, from, to, Millis(quiet), aim), aim)
    }

    fn catch_up(
        &mut self,
        transfer: &Transfer,
        batch: &Batch,
        (began, quiet, aim): (u64, u64, Option<u128>),
    ) {
        let (done, aim) = self.has_caught_up(batch, quiet, aim);
        self.waits = Some(Waits::CatchUp { began, quiet, aim });
        if done || self.broken == Broken::NotCaughtUp {
            let batch = self.edges[0].owned.transfer(transfer.id).and_then(|t| t.batch.clone()).unwrap();
            self.raise(transfer.id, batch);
        } else if transfer.ending || self.now - began > PATIENCE {
            self.abort(transfer.id, "the new owner had not caught up");
        }
    }

    fn raise(&mut self, id: TransferId, batch: Batch) {
        let unplanned = self.edges[0].owned.transfer(id).is_some_and(|transfer| transfer.wanted.unplanned);
        let epoch = batch.members[0].epoch;
        let before = self.edges[0].keeps();
        if !self.tell(id, Event::Raise(batch)) {
            return self.abort(id, "it could not be switched");
        }
        if self.broken == Broken::ForgetsTheSwitchInACrash {
            self.edges[0].kept_only(before);
        }
        if unplanned {
            self.checks.without_waiting(epoch);
        }
        self.happens("switched");
        self.waits = Some(Waits::Word { fence: self.fence.take(), sent: false });
    }

    /// Tells the old owner's gateway, waits for its word, tells the new one's, and releases.
    fn word(&mut self, transfer: &Transfer, batch: &Batch, fence: Option<u64>, sent: bool) {
        let unplanned = transfer.wanted.unplanned;
        if !sent {
            let word = match fence {
                _ if unplanned
                    || matches!(
                        self.broken,
                        Broken::NoFence | Broken::CountedBeforeTheFreeze | Broken::EpochNotRaised
                    ) =>
                {
                    Word::Plain
                }
                Some(id) => Word::Fenced(id),
                None => {
                    let id = self.ask_for_fence(batch);
                    self.waits = Some(Waits::FenceAnew { id });
                    return;
                }
            };
            self.announce(batch, word);
            self.waits = Some(Waits::Word { fence, sent: true });
            return;
        }
        let heard = self.heard();
        if heard == Ok(Some(Said::KnowsBetter)) {
            let from = self.named(&batch.from);
            let now = self.gateways[from].ownership(&self.table);
            self.edges[0].learn(&self.table, name(self.number(now.owner)), now.epoch, self.now);
        }
        let goes_on = matches!(heard, Ok(Some(Said::Yes | Said::KnowsBetter)))
            || (unplanned && heard != Ok(None))
            || self.broken == Broken::ReleasedWithoutTheOldOwnersWord;
        if goes_on {
            self.announcements.iter_mut().for_each(|one| one.awaited = false);
            let (to, epoch) = (self.named(&batch.to), batch.members[0].epoch);
            let plain = Announcement { to, owner: to, epoch, word: Word::Plain, said: None, awaited: false };
            self.announcements.push(plain);
            self.happens("released");
            self.waits = None;
            self.tell(transfer.id, Event::Release);
        } else if heard != Ok(None) {
            // There is no way back: others may know the new owner, and write there.
            self.happens(if heard == Err(()) { "announced in vain" } else { "a fence lapsed" });
            let fence = fence.filter(|_| heard == Err(()));
            self.waits = Some(Waits::Word { fence, sent: false });
        }
    }

    /// An announcement arrives at a gateway: what it asks for holds at once, and it says so once nothing is in flight.
    pub fn hear(&mut self, at: usize) {
        let Announcement { to, owner, epoch, word, said, .. } = self.announcements[at].clone();
        if said.is_some() {
            return;
        }
        let known = self.gateways[to].ownership(&self.table);
        let (is_news, is_quiet) = (known.epoch < epoch, self.at_gateway(to) == 0);
        let knows_better = known.epoch > epoch || (known.epoch == epoch && self.number(known.owner) != owner);
        let stands = |fence: Option<(u64, u64)>, now: u64| fence.filter(|(_, until)| *until > now);
        let said = match word {
            _ if knows_better => Some(Said::KnowsBetter),
            Word::Fence { id, until } => {
                self.fenced[to] = Some((id, until));
                is_quiet.then_some(Said::Yes)
            }
            Word::Fenced(id)
                if is_news && stands(self.fenced[to], self.now).is_none_or(|(known, _)| known != id) =>
            {
                Some(Said::Lapsed)
            }
            Word::Fenced(_) | Word::Plain => {
                self.gateways[to].learn(&self.table, name(owner), epoch, self.now);
                is_quiet.then_some(Said::Yes)
            }
        };
        if said == Some(Said::Yes) && matches!(word, Word::Fenced(_)) {
            self.fenced[to] = None;
        }
        self.announcements[at].said = said;
    }
}

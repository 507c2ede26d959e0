//! Drives the transfers of an edge as `control::mover` does, a step at a time: between any two steps anything else may
//! happen.

use rhumb_decision::owned::Change;
use rhumb_decision::transfer::{Batch, Event, Member, Step, Transfer, TransferId, caught_up, choose};
use rhumb_decision::units::{Epoch, Millis};

use crate::gates::{Announcement, Said, Stage, Word};
use crate::reports::Report;
use crate::world::{Broken, REGIONS, Region, World, name};

/// How long a batch may be frozen, and gateways take to answer: nine tenths of what a request may be held.
const PATIENCE: u64 = 120;

/// How long a fence is to stand: now and then too short.
const FENCED: u64 = 150;

/// What the mover waits for; times are by its edge's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waits {
    Drain {
        began: u64,
    },
    /// For the word of the old owner's gateways that nothing passes there any more.
    Fence {
        frozen: u64,
        began: u64,
        id: u64,
    },
    CatchUp {
        began: u64,
        quiet: u64,
        aim: Option<u128>,
    },
    /// For nothing: what is switched is to be announced. `None`: a fence has to be raised anew before.
    Announce {
        fence: Option<u64>,
    },
    /// For the word of the old owner's gateways that they know.
    Word {
        began: u64,
    },
    /// The same as before the switch, for a batch that is switched already.
    FenceAnew {
        began: u64,
        id: u64,
    },
    CatchUpAnew {
        began: u64,
        id: u64,
        aim: Option<u128>,
    },
}

/// What an edge knows besides its ownerships; lost in a crash.
#[derive(Default)]
pub struct Mover {
    pub waits: Option<Waits>,
    pub counted_before: Option<(TransferId, Batch)>,
    /// The fence that the batch at hand is behind.
    pub fence: Option<u64>,
    /// How many gateways were told last.
    told: usize,
    /// What regions reported, and what is on its way.
    pub known: [Option<Report>; REGIONS],
    pub coming: Vec<(Region, Report)>,
}

/// What gateways made of what they were told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    /// One has not answered yet.
    Nothing,
    Yes,
    KnowsBetter(Region, Epoch),
    Lapsed,
    No,
}

impl World {
    /// One step of the edge's mover.
    pub fn drive(&mut self, edge: usize) {
        let going = self.edges[edge].owned.transfers().find(|transfer| !transfer.phase.is_over()).cloned();
        let Some(transfer) = going else {
            self.movers[edge].waits = None;
            return;
        };
        let Some(batch) = transfer.batch.clone() else { return self.begin_batch(edge, &transfer) };
        match self.movers[edge].waits.clone() {
            Some(Waits::Drain { began }) => self.drain(edge, &transfer, &batch, began),
            Some(Waits::Fence { frozen, began, id }) => self.fence(edge, &transfer, (frozen, began), id),
            Some(Waits::CatchUp { began, quiet, aim }) => {
                self.catch_up(edge, &transfer, &batch, (began, quiet, aim));
            }
            Some(Waits::Announce { fence }) => self.announce(edge, &transfer, &batch, fence),
            Some(Waits::Word { began }) => self.word(edge, &transfer, &batch, began),
            Some(Waits::FenceAnew { began, id }) => self.fence_anew(edge, began, id),
            Some(Waits::CatchUpAnew { began, id, aim }) => {
                self.catch_up_anew(edge, &batch, (began, id, aim));
            }
            None if batch.step == Step::Switch => self.waits(edge, Waits::Announce { fence: None }),
            None => self.abort(edge, transfer.id, "nobody drives it any more"),
        }
    }

    fn waits(&mut self, edge: usize, waits: Waits) {
        self.movers[edge].waits = Some(waits);
    }

    fn step_of(&mut self, edge: usize, id: TransferId, event: Event) -> bool {
        self.edges[edge].apply(&Change::Step { id, event }, self.now).is_ok()
    }

    fn abort(&mut self, edge: usize, id: TransferId, why: &str) {
        self.happens("aborted");
        // What is still on its way is nobody's answer any more.
        self.listen_no_more(edge);
        let waits = self.movers[edge].waits.take();
        let batch = self.edges[edge].owned.transfer(id).and_then(|transfer| transfer.batch.clone());
        let raised = match waits {
            Some(Waits::Fence { id, .. }) => Some(id),
            _ => self.movers[edge].fence.take(),
        };
        self.step_of(edge, id, Event::Abort(why.into()));
        if let (Some(batch), Some(id)) = (batch, raised) {
            self.tell(edge, &batch.from, &batch, |_| Word::Fence { id, span: 0 });
            self.listen_no_more(edge);
        }
    }

    fn begin_batch(&mut self, edge: usize, transfer: &Transfer) {
        let snapshot = self.snapshot(edge);
        let chosen = choose(&transfer.wanted, transfer.waves, usize::MAX, &snapshot);
        let Some(destination) = chosen.destinations.first() else {
            self.step_of(edge, transfer.id, Event::WaveOver { more: false });
            return;
        };
        let member = |(tenant, epoch): &(Box<str>, Epoch)| Member {
            tenant: tenant.clone(),
            epoch: if self.broken == Broken::EpochNotRaised { Epoch(epoch.0 - 1) } else { *epoch },
        };
        let began = self.edge_time(edge);
        let batch = Batch {
            from: name(self.number(destination.from)).into(),
            to: name(self.number(destination.to)).into(),
            members: destination.members.iter().map(member).collect(),
            step: Step::Drain,
            began: Millis(began),
            quiet: None,
            aim: None,
        };
        if transfer.wanted.unplanned {
            self.raise(edge, transfer.id, batch);
        } else if self.broken == Broken::CountedBeforeTheFreeze {
            if self.in_flight(edge) == 0 {
                self.movers[edge].counted_before = Some((transfer.id, batch));
            }
        } else if self.step_of(edge, transfer.id, Event::Freeze(batch)) {
            self.waits(edge, Waits::Drain { began });
        }
    }

    /// The broken order: what was counted before is frozen only now.
    pub fn freeze_late(&mut self, edge: usize) {
        let Some((id, batch)) = self.movers[edge].counted_before.take() else { return };
        if self.step_of(edge, id, Event::Freeze(batch)) && self.step_of(edge, id, Event::Quiet) {
            let now = self.edge_time(edge);
            self.waits(edge, Waits::CatchUp { began: now, quiet: now, aim: None });
        }
    }

    fn drain(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, began: u64) {
        let now = self.edge_time(edge);
        if self.in_flight(edge) == 0 || self.broken == Broken::NoFreeze {
            // A gateway would refuse a fence for an epoch that is not above its own.
            if matches!(self.broken, Broken::NoFence | Broken::EpochNotRaised) {
                self.step_of(edge, transfer.id, Event::Quiet);
                self.waits(edge, Waits::CatchUp { began, quiet: now, aim: None });
            } else {
                let id = self.ask_for_fence(edge, batch);
                self.waits(edge, Waits::Fence { frozen: began, began: now, id });
            }
        } else if transfer.ending || now - began > PATIENCE {
            self.abort(edge, transfer.id, "writes were still in flight");
        }
    }

    fn ask_for_fence(&mut self, edge: usize, batch: &Batch) -> u64 {
        self.last_fence += 1;
        let id = self.last_fence;
        self.tell(edge, &batch.from, batch, |_| Word::Fence { id, span: FENCED });
        if self.broken == Broken::OnlyOneGatewayFenced {
            self.announcements.pop();
            self.told.pop_back();
            self.movers[edge].told -= 1;
        }
        id
    }

    /// Tells every gateway of a region.
    fn tell(&mut self, edge: usize, region: &str, batch: &Batch, word: impl Fn(usize) -> Word) {
        let (owner, epoch) = (self.named(&batch.to), batch.members[0].epoch);
        let gates = self.gates(self.named(region));
        let signed = self.edges[edge].clock.wall(self.now);
        self.movers[edge].told = gates.len();
        for to in gates {
            let word = word(to);
            let stage = Stage::Coming;
            let announcement =
                Announcement { by: edge, to, owner, epoch, word, signed, stage, awaited: true };
            self.told.push_back(announcement.clone());
            self.announcements.push(announcement);
        }
    }

    /// Whether an edge is still to say that this fence has held.
    pub fn is_in_use(&self, fence: u64) -> bool {
        let is_said = |one: &Announcement| one.word == Word::Fenced(fence) && !one.is_over();
        let is_held = |mover: &Mover| match mover.waits {
            Some(Waits::Fence { id, .. } | Waits::FenceAnew { id, .. } | Waits::CatchUpAnew { id, .. }) => {
                id == fence
            }
            Some(Waits::Announce { fence: id }) => id == Some(fence),
            _ => mover.fence == Some(fence),
        };
        self.announcements.iter().any(is_said) || self.movers.iter().any(is_held)
    }

    fn listen_no_more(&mut self, edge: usize) {
        self.announcements.iter_mut().filter(|one| one.by == edge).for_each(|one| one.awaited = false);
    }

    /// What came of what was told last: all have to say yes, and the first that does not is enough.
    fn heard(&mut self, edge: usize, began: u64) -> Heard {
        let of = self.announcements.iter().filter(|one| one.by == edge && one.awaited);
        let said: Vec<Stage> = of.map(|one| one.stage).collect();
        let answers = said.iter().filter_map(|stage| match stage {
            Stage::Over(said) => Some(*said),
            _ => None,
        });
        let heard = match answers.clone().find(|said| *said != Said::Yes) {
            Some(Said::KnowsBetter(owner, epoch)) => Heard::KnowsBetter(owner, epoch),
            Some(Said::Lapsed) => Heard::Lapsed,
            Some(Said::No | Said::Yes) => Heard::No,
            // One was lost on its way.
            None if said.len() < self.movers[edge].told => Heard::No,
            None if answers.count() == said.len() => Heard::Yes,
            None if self.edge_time(edge) - began > PATIENCE => Heard::No,
            None => return Heard::Nothing,
        };
        self.listen_no_more(edge);
        heard
    }

    fn fence(&mut self, edge: usize, transfer: &Transfer, (frozen, began): (u64, u64), id: u64) {
        match self.heard(edge, began) {
            Heard::Nothing => {}
            Heard::Yes => {
                self.step_of(edge, transfer.id, Event::Quiet);
                self.movers[edge].fence = Some(id);
                let quiet = self.edge_time(edge);
                self.waits(edge, Waits::CatchUp { began: frozen, quiet, aim: None });
            }
            _ => self.abort(edge, transfer.id, "the old owner's gateways raised no fence"),
        }
    }

    fn fence_anew(&mut self, edge: usize, began: u64, id: u64) {
        let now = self.edge_time(edge);
        match self.heard(edge, began) {
            Heard::Nothing => {}
            Heard::Yes => self.waits(edge, Waits::CatchUpAnew { began: now, id, aim: None }),
            // The announcement will say.
            Heard::KnowsBetter(..) => self.waits(edge, Waits::Announce { fence: Some(id) }),
            Heard::Lapsed | Heard::No => self.waits(edge, Waits::Announce { fence: None }),
        }
    }

    fn catch_up_anew(&mut self, edge: usize, batch: &Batch, (began, id, aim): (u64, u64, Option<u128>)) {
        let (done, aim) = self.has_caught_up(edge, batch, began, aim);
        if done {
            self.waits(edge, Waits::Announce { fence: Some(id) });
        } else if self.edge_time(edge) - began > PATIENCE {
            self.waits(edge, Waits::Announce { fence: None });
        } else {
            self.waits(edge, Waits::CatchUpAnew { began, id, aim });
        }
    }

    /// Whether it has, and what it has to reach.
    fn has_caught_up(
        &self,
        edge: usize,
        batch: &Batch,
        quiet: u64,
        aim: Option<u128>,
    ) -> (bool, Option<u128>) {
        let snapshot = self.snapshot(edge);
        let region = |name: &str| self.table.region_named(name).unwrap();
        let (from, to) = (region(&batch.from), region(&batch.to));
        let view = snapshot.health().region(from).unwrap();
        let told = view.position.filter(|_| view.reported.is_some_and(|asked| asked.0 > quiet));
        let aim = aim.or(told);
        (caught_up(&snapshot, from, to, Millis(quiet), aim), aim)
    }

    fn catch_up(
        &mut self,
        edge: usize,
        transfer: &Transfer,
        batch: &Batch,
        (began, quiet, aim): (u64, u64, Option<u128>),
    ) {
        let (done, aim) = self.has_caught_up(edge, batch, quiet, aim);
        self.waits(edge, Waits::CatchUp { began, quiet, aim });
        if done || self.broken == Broken::NotCaughtUp {
            self.raise(edge, transfer.id, batch.clone());
        } else if transfer.ending || self.edge_time(edge) - began > PATIENCE {
            self.abort(edge, transfer.id, "the new owner had not caught up");
        }
    }

    fn raise(&mut self, edge: usize, id: TransferId, batch: Batch) {
        let unplanned = self.edges[edge].owned.transfer(id).is_some_and(|transfer| transfer.wanted.unplanned);
        let (epoch, to) = (batch.members[0].epoch, self.named(&batch.to));
        let before = self.edges[edge].keeps();
        if !self.step_of(edge, id, Event::Raise(batch)) {
            return self.abort(edge, id, "it could not be switched");
        }
        if self.broken == Broken::ForgetsTheSwitchInACrash {
            self.edges[edge].kept_only(before);
        }
        if unplanned {
            self.checks.without_waiting(epoch);
        }
        self.checks.shown(&format!("edge {edge}"), epoch, to);
        self.happens("switched");
        let fence = self.movers[edge].fence.take();
        self.waits(edge, Waits::Announce { fence });
    }

    /// Tells the old owner's gateways; of a planned batch, once it is fenced.
    fn announce(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, fence: Option<u64>) {
        let fences_nothing =
            matches!(self.broken, Broken::NoFence | Broken::CountedBeforeTheFreeze | Broken::EpochNotRaised);
        let began = self.edge_time(edge);
        match fence {
            _ if transfer.wanted.unplanned || fences_nothing => {
                self.tell(edge, &batch.from, batch, |_| Word::Plain);
            }
            Some(id) => {
                let first = self.gates(self.named(&batch.from)).start;
                let only = self.broken == Broken::OnlyOneGatewayFenced;
                let word = |to| if only && to != first { Word::Plain } else { Word::Fenced(id) };
                self.tell(edge, &batch.from, batch, word);
            }
            None => {
                let id = self.ask_for_fence(edge, batch);
                return self.waits(edge, Waits::FenceAnew { began, id });
            }
        }
        self.waits(edge, Waits::Word { began });
    }

    /// Waits for the word of the old owner's gateways, tells the new one's, and releases.
    fn word(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, began: u64) {
        let heard = self.heard(edge, began);
        if let Heard::KnowsBetter(owner, epoch) = heard {
            // Somebody has moved them on; that is what holds now.
            self.edge_learns(edge, owner, epoch);
        }
        let goes_on = matches!(heard, Heard::Yes | Heard::KnowsBetter(..))
            || (transfer.wanted.unplanned && heard != Heard::Nothing)
            || self.broken == Broken::ReleasedWithoutTheOldOwnersWord;
        if goes_on {
            self.listen_no_more(edge);
            self.tell(edge, &batch.to, batch, |_| Word::Plain);
            self.listen_no_more(edge);
            self.happens("released");
            self.movers[edge].waits = None;
            self.step_of(edge, transfer.id, Event::Release);
        } else if heard != Heard::Nothing {
            // There is no way back: others may know the new owner, and write there.
            self.happens(if heard == Heard::Lapsed { "a fence lapsed" } else { "announced in vain" });
            self.waits(edge, Waits::Announce { fence: None });
        }
    }
}

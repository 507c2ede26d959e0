//! Drives the transfers of an edge as `control::mover` does, a step at a time: between any two steps anything else may
//! happen.

use rhumb_decision::owned::Change;
use rhumb_decision::ownership::State;
use rhumb_decision::transfer::{Batch, Event, Member, Step, Transfer, TransferId, caught_up, choose};
use rhumb_decision::units::{Epoch, Millis};

use crate::gates::{Asker, Gate, Said, Stage, Word};
use crate::reports::Report;
use crate::world::{Broken, REGIONS, Region, World, name};

/// How long a batch may be frozen, and gateways take to answer: nine tenths of what a request may be held.
const PATIENCE: u64 = 120;

/// How long a fence is to stand: now and then too short.
const FENCED: u64 = 150;

/// How long gateways take at most that are told once all is switched, and nobody waits for.
const TOLD: u64 = 40;

/// How long it rests once what is switched could not be handed over.
const AGAIN: u64 = 40;

/// The fence that stands at each gateway of a region, by the number that the gateway gave it.
type Standing = Vec<(Gate, u64)>;

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
    },
    CatchUp {
        began: u64,
        quiet: u64,
        aim: Option<u128>,
    },
    /// For a while, until what is switched is handed over once more.
    Again {
        since: u64,
    },
    /// For nothing: what is switched is to be announced. `None`: a fence has to be raised anew before.
    HandOver {
        fence: Option<Standing>,
    },
    /// For the word of the old owner's gateways that they know.
    Word {
        began: u64,
    },
    /// The same as before the switch, for a batch that is switched already.
    FenceAnew {
        began: u64,
    },
    CatchUpAnew {
        began: u64,
        aim: Option<u128>,
        fence: Standing,
    },
    /// For nobody much longer: the new owner's gateways are told, and then, where so, the old one's.
    Told {
        began: u64,
        then_the_old: bool,
    },
}

/// What an edge knows besides its ownerships; lost in a crash.
#[derive(Default)]
pub struct Mover {
    pub waits: Option<Waits>,
    pub counted_before: Option<(TransferId, Batch)>,
    /// The id of the fence that was asked for last, and what it is for is not over.
    raised: Option<u64>,
    /// The fence that the batch at hand is behind.
    fence: Option<Standing>,
    /// How many gateways were told last.
    told: usize,
    /// What regions reported, and what is on its way.
    pub known: [Option<Report>; REGIONS],
    pub coming: Vec<(Region, Report)>,
}

/// What gateways made of what they were told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Heard {
    /// One has not answered yet.
    Nothing,
    Yes(Standing),
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
            Some(Waits::Fence { frozen, began }) => self.fence(edge, &transfer, (frozen, began)),
            Some(Waits::CatchUp { began, quiet, aim }) => {
                self.catch_up(edge, &transfer, &batch, (began, quiet, aim));
            }
            Some(Waits::Again { since }) => {
                if self.edge_time(edge) - since > AGAIN {
                    self.waits(edge, Waits::HandOver { fence: None });
                }
            }
            Some(Waits::HandOver { fence }) => self.hand_over(edge, &transfer, &batch, fence),
            Some(Waits::Word { began }) => self.word(edge, &transfer, &batch, began),
            Some(Waits::FenceAnew { began }) => self.fence_anew(edge, began),
            Some(Waits::CatchUpAnew { began, aim, fence }) => {
                self.catch_up_anew(edge, &batch, (began, aim), fence);
            }
            Some(Waits::Told { began, then_the_old }) => {
                self.told(edge, &transfer, &batch, (began, then_the_old));
            }
            None if batch.step == Step::Switch => self.waits(edge, Waits::HandOver { fence: None }),
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
        self.movers[edge].waits = None;
        self.movers[edge].fence = None;
        let batch = self.edges[edge].owned.transfer(id).and_then(|transfer| transfer.batch.clone());
        let raised = self.movers[edge].raised.take();
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
                self.ask_for_fence(edge, batch);
                self.waits(edge, Waits::Fence { frozen: began, began: now });
            }
        } else if transfer.ending || now - began > PATIENCE {
            self.abort(edge, transfer.id, "writes were still in flight");
        }
    }

    fn ask_for_fence(&mut self, edge: usize, batch: &Batch) {
        self.last_fence += 1;
        let id = self.last_fence;
        self.movers[edge].raised = Some(id);
        self.tell(edge, &batch.from, batch, |_| Word::Fence { id, span: FENCED });
        if self.broken == Broken::OnlyOneGatewayFenced {
            self.announcements.pop();
            self.told.pop_back();
            self.movers[edge].told -= 1;
        }
    }

    /// Tells every gateway of a region.
    fn tell(&mut self, edge: usize, region: &str, batch: &Batch, word: impl Fn(Gate) -> Word) {
        let ownership = (self.named(&batch.to), batch.members[0].epoch);
        let gates = self.gates(self.named(region));
        self.movers[edge].told = gates.len();
        for to in gates {
            self.announce_to(to, (edge, Asker::Mover), ownership, word(to));
            self.told.extend(self.announcements.last().cloned());
        }
    }

    /// Whether an edge is still to say that this fence has held.
    pub fn is_in_use(&self, fence: u64) -> bool {
        self.movers.iter().any(|mover| mover.raised == Some(fence))
    }

    fn listen_no_more(&mut self, edge: usize) {
        let of = self.announcements.iter_mut().filter(|one| one.by == edge && one.is_awaited());
        of.for_each(|one| one.asker = Asker::Gone);
    }

    /// What came of what was told last: all have to say yes, and the first that does not is enough.
    fn heard(&mut self, edge: usize, began: u64, patience: u64) -> Heard {
        let of = self.announcements.iter().filter(|one| one.by == edge && one.is_awaited());
        let said: Vec<(Gate, Stage)> = of.map(|one| (one.to, one.stage)).collect();
        let answers = said.iter().filter_map(|(gate, stage)| match stage {
            Stage::Over(said) => Some((*gate, *said)),
            _ => None,
        });
        let standing = answers.clone().filter_map(|(gate, said)| match said {
            Said::Yes(number) => Some((gate, number)),
            _ => None,
        });
        let heard = match answers.clone().find(|(_, said)| !matches!(said, Said::Yes(_))) {
            Some((_, Said::KnowsBetter(owner, epoch))) => Heard::KnowsBetter(owner, epoch),
            Some((_, Said::Lapsed)) => Heard::Lapsed,
            Some((_, Said::No | Said::Yes(_))) => Heard::No,
            // One was lost on its way.
            None if said.len() < self.movers[edge].told => Heard::No,
            None if answers.count() == said.len() => Heard::Yes(standing.collect()),
            None if self.edge_time(edge) - began > patience => Heard::No,
            None => return Heard::Nothing,
        };
        self.listen_no_more(edge);
        heard
    }

    fn fence(&mut self, edge: usize, transfer: &Transfer, (frozen, began): (u64, u64)) {
        match self.heard(edge, began, PATIENCE) {
            Heard::Nothing => return,
            Heard::Yes(fence) => {
                self.step_of(edge, transfer.id, Event::Quiet);
                self.movers[edge].fence = Some(fence);
                let quiet = self.edge_time(edge);
                return self.waits(edge, Waits::CatchUp { began: frozen, quiet, aim: None });
            }
            Heard::KnowsBetter(owner, epoch) => self.edge_learns(edge, owner, epoch),
            Heard::Lapsed | Heard::No => {}
        }
        self.abort(edge, transfer.id, "the old owner's gateways raised no fence");
    }

    fn fence_anew(&mut self, edge: usize, began: u64) {
        let now = self.edge_time(edge);
        match self.heard(edge, began, PATIENCE) {
            Heard::Nothing => return,
            Heard::Yes(fence) => {
                return self.waits(edge, Waits::CatchUpAnew { began: now, aim: None, fence });
            }
            Heard::KnowsBetter(owner, epoch) => self.edge_learns(edge, owner, epoch),
            Heard::Lapsed | Heard::No => {}
        }
        self.waits(edge, Waits::Again { since: now });
    }

    fn catch_up_anew(
        &mut self,
        edge: usize,
        batch: &Batch,
        (began, aim): (u64, Option<u128>),
        fence: Standing,
    ) {
        let (done, aim) = self.has_caught_up(edge, batch, began, aim);
        if done {
            self.waits(edge, Waits::HandOver { fence: Some(fence) });
        } else if self.edge_time(edge) - began > PATIENCE {
            let since = self.edge_time(edge);
            self.waits(edge, Waits::Again { since });
        } else {
            self.waits(edge, Waits::CatchUpAnew { began, aim, fence });
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
        self.waits(edge, Waits::HandOver { fence });
    }

    /// Tells the old owner's gateways, of a planned batch under the fence; unless somebody has moved the tenant on since, or
    /// owns it too.
    fn hand_over(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, fence: Option<Standing>) {
        let (began, known) = (self.edge_time(edge), self.edges[edge].ownership());
        if known.epoch > batch.members[0].epoch || known.state == State::Disputed {
            self.happens("moved on before its release");
            return self.release(edge, transfer);
        }
        let fences_nothing =
            matches!(self.broken, Broken::NoFence | Broken::CountedBeforeTheFreeze | Broken::EpochNotRaised);
        match fence {
            _ if transfer.wanted.unplanned || fences_nothing => {
                self.tell(edge, &batch.from, batch, |_| Word::Plain);
            }
            Some(fence) => {
                // A gateway that has no number was not fenced, which only that broken variant comes to.
                let number = |to| fence.iter().find(|(gate, _)| *gate == to).map(|(_, number)| *number);
                self.tell(edge, &batch.from, batch, |to| number(to).map_or(Word::Plain, Word::Fenced));
            }
            None => {
                self.ask_for_fence(edge, batch);
                return self.waits(edge, Waits::FenceAnew { began });
            }
        }
        self.waits(edge, Waits::Word { began });
    }

    /// Waits for the word of the old owner's gateways; from then on anybody may hear of it.
    fn word(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, began: u64) {
        let heard = self.heard(edge, began, PATIENCE);
        if let Heard::KnowsBetter(owner, epoch) = heard {
            // Somebody has moved them on; that is what holds now.
            self.edge_learns(edge, owner, epoch);
            return self.waits(edge, Waits::HandOver { fence: None });
        }
        let goes_on = matches!(heard, Heard::Yes(_))
            || (transfer.wanted.unplanned && heard != Heard::Nothing)
            || self.broken == Broken::ReleasedWithoutTheOldOwnersWord;
        if goes_on {
            self.listen_no_more(edge);
            self.tell(edge, &batch.to, batch, |_| Word::Plain);
            let (began, then_the_old) = (self.edge_time(edge), !transfer.wanted.unplanned);
            self.waits(edge, Waits::Told { began, then_the_old });
        } else if heard != Heard::Nothing {
            // There is no way back: others may know the new owner, and write there.
            self.happens(if heard == Heard::Lapsed { "a fence lapsed" } else { "announced in vain" });
            let since = self.edge_time(edge);
            self.waits(edge, Waits::Again { since });
        }
    }

    /// Whoever does not answer now is told by the crier.
    fn told(&mut self, edge: usize, transfer: &Transfer, batch: &Batch, (began, then_the_old): (u64, bool)) {
        if self.heard(edge, began, TOLD) == Heard::Nothing {
            return;
        }
        if !then_the_old {
            return self.release(edge, transfer);
        }
        self.tell(edge, &batch.from, batch, |_| Word::Plain);
        let began = self.edge_time(edge);
        self.waits(edge, Waits::Told { began, then_the_old: false });
    }

    fn release(&mut self, edge: usize, transfer: &Transfer) {
        self.happens("released");
        self.movers[edge].waits = None;
        self.movers[edge].raised = None;
        self.step_of(edge, transfer.id, Event::Release);
    }
}

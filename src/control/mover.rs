//! Drives transfers: asks the world what the machine of a transfer waits for, and tells it what happened.
//!
//! One batch at a time, and between two batches every transfer has its turn. All that it does goes through the desk, so
//! what it switched is in the journal first; what it knows besides may be lost with the process, and is asked again.
//!
//! Never: decides that a batch is quiet or caught up by anything but the counts and the reports of the moment.

mod batches;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::owned::News;
use rhumb_decision::ownership::State;
use rhumb_decision::transfer::{Batch, Event, Member, Phase, Step, Transfer, TransferId, caught_up};
use rhumb_decision::units::{Key, Millis, RegionId};

use crate::control::clock::Clock;
use crate::control::desk::{DeskError, OwnStep};
use crate::control::herald::{FenceId, Herald, Silence, Standing, Word};
use crate::control::operator::Operator;
use crate::control::snapshot::{Current, Reader};
use batches::{Batches, Next};

/// How often the count of writes in flight is looked at, and reports that may have come.
const LOOK: Duration = Duration::from_millis(5);

/// How long after a failed batch the next one begins.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a gateway may take to say that it knows, at least.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// How long a fence holds beyond the time in which its batch has to be switched.
const FENCED: Millis = Millis(10_000);

/// Drives transfers.
pub struct Mover {
    reader: Reader,
    operator: Operator,
    clock: Clock,
    herald: Herald,
    batches: Batches,
    fences: u64,
}

/// Why a batch was given up.
type GivenUp = String;

impl Mover {
    /// A mover of what `reader` shows.
    #[must_use]
    pub fn new(reader: Reader, operator: Operator, clock: Clock, herald: Herald) -> Self {
        Self { reader, operator, clock, herald, batches: Batches::default(), fences: 0 }
    }

    /// Goes on until `stop` is done; what is half-way then is taken up or given up by the next process.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let worked = tokio::select! {
                () = &mut stop => return,
                worked = self.round() => worked,
            };
            if worked {
                continue;
            }
            let pause = self.pause();
            tokio::select! {
                () = &mut stop => return,
                more = self.reader.changed() => if !more { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One batch, or step, of every transfer that has any; whether there was one.
    async fn round(&mut self) -> bool {
        let current = self.reader.current();
        let going: Vec<TransferId> =
            current.operators.owned.transfers().filter(|t| !t.phase.is_over()).map(|t| t.id).collect();
        self.batches.keep(&going);
        let mut worked = false;
        for id in going {
            let current = self.reader.current();
            let Some(transfer) = current.operators.owned.transfer(id).cloned() else { continue };
            worked |= self.advance(&current, &transfer).await;
        }
        worked
    }

    /// How long nothing has to be done.
    fn pause(&self) -> Duration {
        let now = self.clock.now();
        let current = self.reader.current();
        let waits = current.operators.owned.transfers().filter_map(|transfer| match transfer.phase {
            Phase::Waiting { until } => Some(until.since(now).duration()),
            Phase::Running => Some(AGAIN),
            Phase::Done | Phase::Failed(_) | Phase::Cancelled => None,
        });
        waits.min().unwrap_or(Duration::from_secs(60))
    }

    /// Whether there was anything to do.
    async fn advance(&mut self, current: &Arc<Current>, transfer: &Transfer) -> bool {
        match (&transfer.phase, &transfer.batch) {
            (Phase::Waiting { until }, _) if *until > self.clock.now() => return false,
            (Phase::Waiting { .. }, _) => return self.tell(transfer.id, Event::Wake).await.is_ok(),
            // An earlier process had switched it, or could not write that it was released.
            (_, Some(batch)) if batch.step == Step::Switch => {
                return self.hand_over(transfer, batch, None).await;
            }
            (_, Some(_)) => {
                return self
                    .tell(transfer.id, Event::Abort("nobody drives it any more".into()))
                    .await
                    .is_ok();
            }
            _ => {}
        }
        match self.batches.next(current, transfer, self.clock.now()).await {
            Next::Batch(batch) => {
                self.move_batch(transfer, batch).await;
                true
            }
            Next::WaveOver { more } => self.tell(transfer.id, Event::WaveOver { more }).await.is_ok(),
            Next::Later => false,
            Next::Unfit(why) => self.tell(transfer.id, Event::Fail(why.into())).await.is_ok(),
        }
    }

    async fn move_batch(&mut self, transfer: &Transfer, batch: Batch) {
        let fence = self.next_fence();
        let moved = if transfer.wanted.unplanned {
            let raised = self.tell(transfer.id, Event::Raise(batch.clone())).await;
            raised.map(|()| Standing::default()).map_err(|e| e.to_string())
        } else {
            self.freeze_and_switch(transfer, &batch, fence).await
        };
        match moved {
            Ok(standing) => {
                let switched = Batch { step: Step::Switch, ..batch };
                self.hand_over(transfer, &switched, Some(standing)).await;
            }
            Err(why) => {
                self.give_up(transfer, why).await;
                // It lapses by itself; until then writes through other edges would wait for nothing.
                let lift = (&news(&batch)[..], Word::Fence(fence, Millis(0)));
                let current = self.reader.current();
                if let Err(why) = self.herald.tell(&current, &batch.from, lift, ANNOUNCED).await {
                    tracing::warn!(region = %batch.from, %why, "a fence was not lifted; it lapses by itself");
                }
            }
        }
    }

    /// An id that no fence had before, as far as chance allows: two processes begin at different nanoseconds.
    fn next_fence(&mut self) -> FenceId {
        self.fences = self.fences.wrapping_add(1);
        let began = self.clock.wall().as_nanos() as u64;
        FenceId(began.rotate_left(20) ^ self.fences)
    }

    /// A batch that was not switched is let go, and tried again after a while.
    async fn give_up(&mut self, transfer: &Transfer, why: GivenUp) {
        self.batches.rest(transfer.id, self.clock.now().after(Millis(AGAIN.as_millis() as u64)));
        let holds = |t: &Transfer| t.batch.is_some();
        if self.reader.current().operators.owned.transfer(transfer.id).is_some_and(holds)
            && let Err(cause) = self.tell(transfer.id, Event::Abort(why.into())).await
        {
            tracing::error!(transfer = transfer.id.0, %cause, "a batch could not be given up");
        }
    }

    /// Freezes a batch, waits until it is quiet and its new owner has caught up, and switches it. Returns the fence that
    /// it is behind.
    async fn freeze_and_switch(
        &self,
        transfer: &Transfer,
        batch: &Batch,
        fence: FenceId,
    ) -> Result<Standing, GivenUp> {
        let id = transfer.id;
        let began = self.clock.now();
        let patience = self.patience(batch);
        self.tell(id, Event::Freeze(Batch { began, ..batch.clone() })).await.map_err(|e| e.to_string())?;
        loop {
            let writes = &self.reader.current().live.writes;
            let members = batch.members.iter();
            let in_flight: u32 =
                members.map(|member| writes.in_flight(Key::of(member.tenant.as_bytes()))).sum();
            if in_flight == 0 {
                break;
            }
            if self.clock.now().since(began) > patience {
                return Err(format!("{in_flight} writes were still in flight after {} ms", patience.0));
            }
            self.look(id).await?;
        }
        let fenced = self.fence(batch, fence, patience).await;
        let standing = fenced
            .map_err(|silence| format!("the gateways of {} cannot be fenced: {silence}", batch.from))?;
        self.tell(id, Event::Quiet).await.map_err(|e| e.to_string())?;
        self.caught_up(transfer, batch, (began, patience)).await?;
        let raised = self.tell(id, Event::Raise(batch.clone())).await;
        raised.map(|()| standing).map_err(|e| e.to_string())
    }

    /// Other edges write as well: the old owner's gateways let nothing more pass for a while, and have nothing under way.
    async fn fence(&self, batch: &Batch, fence: FenceId, patience: Millis) -> Result<Standing, Silence> {
        let word = Word::Fence(fence, patience.after(FENCED));
        let patience = patience.duration().max(ANNOUNCED);
        let fenced =
            self.herald.tell(&self.reader.current(), &batch.from, (&news(batch), word), patience).await;
        if let Err(Silence::KnowsBetter(newer)) = &fenced {
            self.learn(newer.clone()).await;
        }
        fenced
    }

    /// Waits until the new owner has what the old one had when it became quiet, which is now.
    async fn caught_up(
        &self,
        transfer: &Transfer,
        batch: &Batch,
        (began, patience): (Millis, Millis),
    ) -> Result<(), GivenUp> {
        let quiet = self.clock.now();
        let mut aim = None;
        loop {
            let current = self.reader.current();
            let (from, to) = ends(&current, batch).ok_or("a new table has dropped one of the regions")?;
            if aim.is_none() {
                aim = position_since(&current, from, quiet);
                if let Some(aim) = aim {
                    // For those who watch; a batch that is switched already needs it no more.
                    let _ = self.tell(transfer.id, Event::Aim(aim)).await;
                }
            }
            if caught_up(&current.snapshot, from, to, quiet, aim) {
                return Ok(());
            }
            if self.clock.now().since(began) > patience {
                return Err(format!("{} had not caught up after {} ms", batch.to, patience.0));
            }
            // What is switched has no way back, whoever wants one.
            match batch.step {
                Step::Switch => tokio::time::sleep(LOOK).await,
                Step::Drain | Step::CatchUp => self.look(transfer.id).await?,
            }
        }
    }

    /// Waits a little; whether an operator has ended the transfer meanwhile.
    async fn look(&self, id: TransferId) -> Result<(), GivenUp> {
        tokio::time::sleep(LOOK).await;
        let current = self.reader.current();
        match current.operators.owned.transfer(id) {
            Some(transfer) if !transfer.ending => Ok(()),
            _ => Err("an operator ended the transfer".to_owned()),
        }
    }

    /// A batch that is switched is announced, first to the old owner, and then released. Of a planned one each of the old
    /// owner's gateways has to say that it knows, and tells nobody before all do: whoever heard of the new owner would write
    /// there while another gateway, which has lost its fence, still lets writes pass. Until then writes wait, and they are
    /// told again.
    async fn hand_over(&mut self, transfer: &Transfer, batch: &Batch, fence: Option<Standing>) -> bool {
        let current = self.reader.current();
        let batch = &Batch { members: not_moved_on(&current, batch), ..batch.clone() };
        if batch.members.is_empty() {
            return self.release(transfer).await;
        }
        let news = news(batch);
        let patience = self.patience(batch);
        let longer = patience.duration().max(ANNOUNCED);
        let told = if transfer.wanted.unplanned {
            self.herald.tell(&current, &batch.from, (&news, Word::Plain), longer).await
        } else {
            let standing = match fence {
                Some(standing) => Ok(standing),
                // An earlier process had the fence, or it has lapsed: what passed since has to be copied first.
                None => self.fenced_anew(transfer, batch, patience).await.map_err(Silence::No),
            };
            match standing {
                Ok(fence) => {
                    self.herald.tell(&current, &batch.from, (&news, Word::Fenced(&fence)), longer).await
                }
                Err(silence) => Err(silence),
            }
        };
        match told {
            Ok(_) => {}
            Err(Silence::KnowsBetter(newer)) => {
                self.learn(newer).await;
                return true;
            }
            Err(silence) if transfer.wanted.unplanned => {
                let region = &batch.from;
                tracing::warn!(transfer = transfer.id.0, %region, %silence, "the old owner is not fenced by its gateway");
            }
            Err(silence) => {
                let why = format!("{} has not said that it knows its new owner: {silence}", batch.from);
                let known = self.reader.current().operators.owned.transfer(transfer.id).cloned();
                if known.is_none_or(|known| known.trouble.as_deref() != Some(&why)) {
                    // An operator may have let it go meanwhile: then it has no trouble any more.
                    let _ = self.tell(transfer.id, Event::Trouble(why.into())).await;
                }
                tokio::time::sleep(AGAIN).await;
                return true;
            }
        }
        // From here on other edges may hear of it. Whoever was not told now is told until it knows, see `crier`.
        // Of an unplanned one the old owner was told so already.
        let old = (!transfer.wanted.unplanned).then_some(&batch.from);
        for region in std::iter::once(&batch.to).chain(old) {
            if let Err(why) = self.herald.tell(&current, region, (&news, Word::Plain), ANNOUNCED).await {
                tracing::warn!(transfer = transfer.id.0, %region, %why, "it was not told of the new owner");
            }
        }
        self.release(transfer).await
    }

    async fn release(&mut self, transfer: &Transfer) -> bool {
        match self.tell(transfer.id, Event::Release).await {
            Ok(()) => self.batches.moved(transfer.id),
            Err(cause) => {
                tracing::error!(transfer = transfer.id.0, %cause, "a batch could not be released");
                tokio::time::sleep(AGAIN).await;
            }
        }
        true
    }

    /// Keeps what a gateway knows better; that is what holds now.
    async fn learn(&self, newer: Vec<News>) {
        if let Err(cause) = self.operator.step(OwnStep::News(newer)).await {
            tracing::error!(%cause, "a newer ownership cannot be kept");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Fences the old owner of a batch that is switched already, and waits until the new one has all that passed before.
    async fn fenced_anew(
        &mut self,
        transfer: &Transfer,
        batch: &Batch,
        patience: Millis,
    ) -> Result<Standing, GivenUp> {
        let fence = self.next_fence();
        let standing = self.fence(batch, fence, patience).await.map_err(|silence| silence.to_string())?;
        self.caught_up(transfer, batch, (self.clock.now(), patience)).await.map(|()| standing)
    }

    /// How long the batch may be frozen: nine tenths of what its writes may be held.
    fn patience(&self, batch: &Batch) -> Millis {
        let current = self.reader.current();
        let table = current.table();
        let hold = |tenant: &str| {
            let policy = table.policy(table.tenants().find(tenant)?.profile.policy)?;
            Some(policy.writes.hold.0)
        };
        let shortest = batch.members.iter().filter_map(|member| hold(&member.tenant)).min();
        Millis(shortest.unwrap_or(0).saturating_mul(9) / 10)
    }

    async fn tell(&self, id: TransferId, event: Event) -> Result<(), DeskError> {
        self.operator.step(OwnStep::Transfer { id, event }).await.map(drop)
    }
}

/// What gateways are told of a batch.
fn news(batch: &Batch) -> Vec<News> {
    let of = |member: &Member| News {
        tenant: member.tenant.clone(),
        owner: batch.to.clone(),
        epoch: member.epoch,
    };
    batch.members.iter().map(of).collect()
}

/// Who of a batch is still owned as it says: nobody has moved them on since, or owns them too.
fn not_moved_on(current: &Current, batch: &Batch) -> Box<[Member]> {
    let still = |member: &&Member| {
        let row = current.table().tenants().find(&member.tenant);
        let known = row.map(|row| current.ownership().of(&member.tenant, &row));
        known.is_none_or(|known| known.epoch <= member.epoch && known.state != State::Disputed)
    };
    batch.members.iter().filter(still).cloned().collect()
}

fn ends(current: &Current, batch: &Batch) -> Option<(RegionId, RegionId)> {
    let table = current.table();
    Some((table.region_named(&batch.from)?, table.region_named(&batch.to)?))
}

/// The position of `region`, by reports that were all asked for after `quiet`.
fn position_since(current: &Current, region: RegionId, quiet: Millis) -> Option<u128> {
    let view = current.health().region(region)?;
    view.position.filter(|_| view.reported.is_some_and(|asked| asked > quiet))
}

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
use rhumb_decision::transfer::{Batch, Event, Phase, Step, Transfer, TransferId, caught_up};
use rhumb_decision::units::{Key, Millis, RegionId};

use crate::control::clock::Clock;
use crate::control::desk::{DeskError, OwnStep};
use crate::control::herald::Herald;
use crate::control::operator::Operator;
use crate::control::snapshot::{Current, Reader};
use batches::{Batches, Next};

/// How often the count of writes in flight is looked at, and reports that may have come.
const LOOK: Duration = Duration::from_millis(5);

/// How long after a failed batch the next one begins.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a gateway may take to say that it knows, at least.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// Drives transfers.
pub struct Mover {
    reader: Reader,
    operator: Operator,
    clock: Clock,
    herald: Herald,
    batches: Batches,
}

/// Why a batch was given up.
type GivenUp = String;

impl Mover {
    /// A mover of what `reader` shows.
    #[must_use]
    pub fn new(reader: Reader, operator: Operator, clock: Clock, herald: Herald) -> Self {
        Self { reader, operator, clock, herald, batches: Batches::default() }
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
            (_, Some(batch)) if batch.step == Step::Switch => return self.hand_over(transfer, batch).await,
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
        let moved = if transfer.wanted.unplanned {
            self.tell(transfer.id, Event::Raise(batch.clone())).await.map_err(|e| e.to_string())
        } else {
            self.freeze_and_switch(transfer, &batch).await
        };
        match moved {
            Ok(()) => {
                let switched = Batch { step: Step::Switch, ..batch };
                self.hand_over(transfer, &switched).await;
            }
            Err(why) => self.give_up(transfer, why).await,
        }
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

    /// Freezes a batch, waits until it is quiet and its new owner has caught up, and switches it.
    async fn freeze_and_switch(&self, transfer: &Transfer, batch: &Batch) -> Result<(), GivenUp> {
        let id = transfer.id;
        let began = self.clock.now();
        let patience = self.patience(batch);
        let late = |what: String| async move { what };
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
                return Err(
                    late(format!("{in_flight} writes were still in flight after {} ms", patience.0)).await
                );
            }
            self.look(id).await?;
        }
        self.tell(id, Event::Quiet).await.map_err(|e| e.to_string())?;
        let quiet = self.clock.now();
        let mut aim = None;
        loop {
            let current = self.reader.current();
            let (from, to) = ends(&current, batch).ok_or("a new table has dropped one of the regions")?;
            if aim.is_none() {
                aim = position_since(&current, from, quiet);
                if let Some(aim) = aim {
                    self.tell(id, Event::Aim(aim)).await.map_err(|e| e.to_string())?;
                }
            }
            if caught_up(&current.snapshot, from, to, quiet, aim) {
                break;
            }
            if self.clock.now().since(began) > patience {
                return Err(format!("{} had not caught up after {} ms", batch.to, patience.0));
            }
            self.look(id).await?;
        }
        self.tell(id, Event::Raise(batch.clone())).await.map_err(|e| e.to_string())
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

    /// A batch that is switched is announced, first to the old owner, and then released; a planned one whose old owner
    /// does not say that it knows is taken back.
    async fn hand_over(&mut self, transfer: &Transfer, batch: &Batch) -> bool {
        let news: Vec<News> = batch
            .members
            .iter()
            .map(|member| News {
                tenant: member.tenant.clone(),
                owner: batch.to.clone(),
                epoch: member.epoch,
            })
            .collect();
        let current = self.reader.current();
        let patience = self.patience(batch).duration().max(ANNOUNCED);
        if let Err(why) = self.herald.tell(&current, &batch.from, &news, patience).await {
            if !transfer.wanted.unplanned {
                let why = format!("{} did not say that it knows its new owner: {why}", batch.from);
                self.give_up(transfer, why).await;
                return true;
            }
            tracing::warn!(transfer = transfer.id.0, region = %batch.from, why, "the old owner is not fenced by its gateway");
        }
        // It learns by the first request too, as every request shows the epoch.
        if let Err(why) = self.herald.tell(&current, &batch.to, &news, ANNOUNCED).await {
            tracing::warn!(transfer = transfer.id.0, region = %batch.to, why, "the new owner was not told");
        }
        match self.tell(transfer.id, Event::Release).await {
            Ok(()) => self.batches.moved(transfer.id),
            Err(cause) => {
                tracing::error!(transfer = transfer.id.0, %cause, "a batch could not be released");
                tokio::time::sleep(AGAIN).await;
            }
        }
        true
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

fn ends(current: &Current, batch: &Batch) -> Option<(RegionId, RegionId)> {
    let table = current.table();
    Some((table.region_named(&batch.from)?, table.region_named(&batch.to)?))
}

/// The position of `region`, by reports that were all asked for after `quiet`.
fn position_since(current: &Current, region: RegionId, quiet: Millis) -> Option<u128> {
    let view = current.health().region(region)?;
    view.position.filter(|_| view.reported.is_some_and(|asked| asked > quiet))
}

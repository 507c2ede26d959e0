//! Which tenants move next: a wave is chosen once, and taken from the list batch by batch.
//!
//! Never: moves a tenant that is not as it was when it was chosen.

use std::collections::HashMap;
use std::sync::Arc;

use rhumb_decision::transfer::{
    Batch, Chosen, Destination, Member, Step, Transfer, TransferId, Which, choose, fitness,
};
use rhumb_decision::units::{Epoch, Millis, RegionId};

use crate::control::desk::lag_limit;
use crate::control::snapshot::Current;

/// Tenants of a batch: a region's few thousand tenants move within seconds, and a batch's reports and announcements
/// stay small.
const A_BATCH: usize = 500;

/// How often a destination that is not fit is looked at again before the transfer gives up.
const LOOKS: u32 = 15;

/// What is to be done next.
pub(super) enum Next {
    /// These move.
    Batch(Batch),
    /// Nobody is left in this wave.
    WaveOver {
        /// Whether another one would find somebody.
        more: bool,
    },
    /// It has just failed, or its destination is not fit; look again later.
    Later,
    /// Its destination has not been fit for too long.
    Unfit(String),
}

/// The waves under way.
#[derive(Default)]
pub(super) struct Batches(HashMap<TransferId, Wave>);

/// Who has not moved yet: from where, to where, and each with its epoch to be. By name, as ids are of one table.
type Left = (Box<str>, Box<str>, Vec<(Box<str>, Epoch)>);

struct Wave {
    number: u32,
    left: Vec<Left>,
    taken: usize,
    not_before: Millis,
    unfit: u32,
}

impl Batches {
    /// Forgets all but these.
    pub fn keep(&mut self, going: &[TransferId]) {
        self.0.retain(|id, _| going.contains(id));
    }

    /// The batch that was taken last has moved.
    pub fn moved(&mut self, id: TransferId) {
        if let Some(wave) = self.0.get_mut(&id)
            && let Some((_, _, members)) = wave.left.last_mut()
        {
            let left = members.len().saturating_sub(wave.taken);
            members.truncate(left);
            wave.taken = 0;
        }
    }

    /// Nothing of this transfer is to be tried before `until`.
    pub fn rest(&mut self, id: TransferId, until: Millis) {
        if let Some(wave) = self.0.get_mut(&id) {
            wave.not_before = until;
        }
    }

    /// What `transfer` is to do at `now`.
    pub async fn next(&mut self, current: &Arc<Current>, transfer: &Transfer, now: Millis) -> Next {
        if self.0.get(&transfer.id).is_none_or(|wave| wave.number != transfer.waves) {
            let wave = chosen(current, transfer).await;
            self.0.insert(transfer.id, wave);
        }
        let Some(wave) = self.0.get_mut(&transfer.id) else { return Next::Later };
        if wave.not_before > now {
            return Next::Later;
        }
        while let Some((from, to, members)) = wave.left.last() {
            let begin = members.len().saturating_sub(A_BATCH);
            let some = members.get(begin..).unwrap_or_default();
            wave.taken = some.len();
            let ids = current.table().region_named(from).zip(current.table().region_named(to));
            let Some((from_id, to_id)) = ids else {
                wave.left.pop();
                continue;
            };
            let members = unchanged(current, from_id, some);
            if members.is_empty() {
                match begin {
                    0 => drop(wave.left.pop()),
                    _ => wave.left.last_mut().into_iter().for_each(|(_, _, all)| all.truncate(begin)),
                }
                continue;
            }
            if let Some(why) = unfit(current, transfer, (from_id, to_id), &members) {
                wave.unfit += 1;
                wave.not_before = now.after(Millis(1_000));
                return if wave.unfit > LOOKS { Next::Unfit(format!("{to}: {why}")) } else { Next::Later };
            }
            wave.unfit = 0;
            let member =
                |(tenant, epoch): &(Box<str>, Epoch)| Member { tenant: tenant.clone(), epoch: *epoch };
            return Next::Batch(Batch {
                from: from.clone(),
                to: to.clone(),
                members: members.iter().map(member).collect(),
                step: Step::Drain,
                began: now,
                quiet: None,
                aim: None,
            });
        }
        Next::WaveOver { more: has_more_waves(transfer) }
    }
}

/// Chosen on a thread of its own: there may be a million tenants to look at.
async fn chosen(current: &Arc<Current>, transfer: &Transfer) -> Wave {
    let (on, wanted, waves) = (Arc::clone(current), transfer.wanted.clone(), transfer.waves);
    let chosen = tokio::task::spawn_blocking(move || choose(&wanted, waves, usize::MAX, &on.snapshot)).await;
    // A panic there was told; nobody moves then.
    let Chosen { destinations, .. } = chosen.unwrap_or_default();
    let name = |id: RegionId| current.table().region_name(id).into();
    let left =
        destinations.into_iter().map(|Destination { from, to, members }| (name(from), name(to), members));
    Wave { number: transfer.waves, left: left.collect(), taken: 0, not_before: Millis(0), unfit: 0 }
}

/// Those that are still owned by `from`, under the epoch below the one that they are to get.
fn unchanged(current: &Current, from: RegionId, members: &[(Box<str>, Epoch)]) -> Vec<(Box<str>, Epoch)> {
    let is_as_it_was = |(tenant, epoch): &&(Box<str>, Epoch)| {
        let row = current.table().tenants().find(tenant);
        row.is_some_and(|row| {
            let now = current.ownership().of(tenant, &row);
            now.owner == from && now.epoch.0.checked_add(1) == Some(epoch.0)
        })
    };
    members.iter().filter(is_as_it_was).cloned().collect()
}

/// Why the new owner may not have them now.
fn unfit(
    current: &Current,
    transfer: &Transfer,
    (from, to): (RegionId, RegionId),
    members: &[(Box<str>, Epoch)],
) -> Option<String> {
    let destination = Destination { from, to, members: members.to_vec() };
    let limit = (!transfer.wanted.unplanned).then(|| lag_limit(&destination, &current.snapshot));
    let why: Vec<String> =
        fitness(&current.snapshot, from, to, limit, None).iter().map(ToString::to_string).collect();
    (!why.is_empty()).then(|| why.join("; "))
}

/// Whether the waves so far cover less than all.
fn has_more_waves(transfer: &Transfer) -> bool {
    let share = match &transfer.wanted.which {
        Which::Tenant(_) | Which::Under(..) => return false,
        Which::OwnedBy(_, share) | Which::HomeAt(_, share) => u32::from(share.as_hundredths()),
    };
    transfer.wanted.every.is_some() && share.saturating_mul(transfer.waves.saturating_add(1)) < 10_000
}

//! What the audit says of a change of ownership, and which changes it has to hold.

use rhumb_decision::operated::By;
use rhumb_decision::owned::{Change, Owned, Subject};
use rhumb_decision::ownership::Mark;
use rhumb_decision::transfer::{Batch, Event, Phase};
use serde_json::{Value, json};

use super::super::Standing;
use crate::control::journal::{Action, Record, WallTime};

/// So many tenants are named in an entry; all of them are in what a replay folds.
const NAMED: usize = 10;

/// Whether a replay has to find it. What only waits, and a batch that was never switched, changes nothing.
pub(in crate::control::desk) const fn is_kept(change: &Change) -> bool {
    let Change::Step { event, .. } = change else { return true };
    match event {
        Event::Freeze(_)
        | Event::Quiet
        | Event::Aim(_)
        | Event::Wake
        | Event::Abort(_)
        | Event::Trouble(_) => false,
        Event::Raise(_) | Event::Release | Event::WaveOver { .. } | Event::Fail(_) | Event::Cancel => true,
    }
}

/// Whether the audit tells of it though nothing hangs on it.
pub(super) const fn is_told(change: &Change) -> bool {
    matches!(change, Change::Step { event: Event::Abort(_) | Event::Trouble(_), .. })
}

/// An entry about `change`.
pub(super) fn record(
    change: &Change,
    before: &Owned,
    after: &Owned,
    by: &By,
    source: &str,
    standing: &Standing,
) -> Record {
    let (action, region, was, is) = words(change, before, after, standing);
    let reason = match change {
        Change::Step { event: Event::Abort(why) | Event::Trouble(why) | Event::Fail(why), .. } => {
            why.to_string()
        }
        _ => by.reason.to_string(),
    };
    Record {
        time: WallTime::from_millis(standing.now.wall.0),
        actor: by.actor.to_string(),
        source: source.to_owned(),
        action,
        region,
        reason,
        before: was,
        after: is,
        generation: standing.current.snapshot.generation().0,
        revision: 0,
        change: None,
    }
}

fn words(
    change: &Change,
    before: &Owned,
    after: &Owned,
    standing: &Standing,
) -> (Action, Option<String>, Value, Value) {
    let none = Value::Null;
    match change {
        Change::Learn(news) | Change::Withhold(news) => {
            let named = news.iter().take(NAMED);
            let named: Vec<_> = named
                .map(|one| json!({"tenant": one.tenant, "owner": one.owner, "epoch": one.epoch.0}))
                .collect();
            let owner = news.first().map(|one| one.owner.to_string());
            (Action::OwnershipLearned, owner, none, json!({"tenants": news.len(), "first": named}))
        }
        Change::Dispute { tenant, epoch } => {
            let after = json!({"tenant": tenant, "epoch": epoch.0, "writes": "stopped"});
            (Action::SplitBrain, None, none, after)
        }
        Change::Resolve { tenant, owner, epoch } => {
            let was = before.owner(tenant).map(|(owner, epoch)| json!({"owner": owner, "epoch": epoch.0}));
            let after = json!({"tenant": tenant, "owner": owner, "epoch": epoch.0});
            (Action::SplitBrainResolved, Some(owner.to_string()), was.unwrap_or_default(), after)
        }
        Change::Mark { subject, mark } => {
            let action = match mark {
                Mark::Frozen => Action::Frozen,
                Mark::ReadOnly => Action::ReadOnly,
            };
            let until = after.mark(subject).and_then(|marked| marked.by.until);
            let until = until.map(|until| WallTime::from_millis(until.0).to_string());
            (action, region_of(subject), marked(before, subject), {
                let mut now = marked(after, subject);
                if let (Value::Object(now), Some(until)) = (&mut now, until) {
                    now.insert("until".to_owned(), json!(until));
                }
                now
            })
        }
        Change::Unmark { subject } => {
            (Action::Unfrozen, region_of(subject), marked(before, subject), marked(after, subject))
        }
        Change::Drilled(regions) => {
            (Action::Drill, regions.first().map(ToString::to_string), none, json!({"regions": regions}))
        }
        Change::Begin { id, wanted, total } => {
            let after = json!({
                "transfer": id.0, "what": super::words(wanted), "tenants": total,
                "unplanned": wanted.unplanned,
            });
            (Action::TransferBegan, from_of(wanted), none, after)
        }
        Change::Step { id, event } => {
            let held = before.transfer(*id).and_then(|transfer| transfer.batch.as_ref());
            let transfer = after.transfer(*id);
            let progress = transfer.map_or((0, 0, "over"), |t| (t.moved, t.total, t.phase.code()));
            let mut is = json!({
                "transfer": id.0, "state": progress.2, "moved": progress.0, "tenants": progress.1,
            });
            let add = |is: &mut Value, batch: Option<&Batch>| {
                if let (Value::Object(is), Some(batch)) = (is, batch) {
                    is.insert("batch".to_owned(), named(batch));
                }
            };
            let action = match event {
                Event::Raise(batch) => {
                    add(&mut is, Some(batch));
                    if transfer.is_some_and(|transfer| transfer.wanted.unplanned)
                        && let Value::Object(is) = &mut is
                    {
                        is.insert("may_be_lost".to_owned(), may_be_lost(batch, standing));
                    }
                    Action::TransferSwitched
                }
                Event::Release => {
                    add(&mut is, held);
                    Action::TransferReleased
                }
                Event::Abort(_) => {
                    add(&mut is, held);
                    Action::TransferAborted
                }
                Event::Trouble(_) => {
                    add(&mut is, held);
                    Action::TransferStuck
                }
                Event::WaveOver { .. } => match transfer.map(|transfer| &transfer.phase) {
                    Some(Phase::Done) => Action::TransferDone,
                    _ => Action::TransferWave,
                },
                Event::Fail(_) => Action::TransferFailed,
                _ => Action::TransferCancelled,
            };
            let from = before.transfer(*id).and_then(|transfer| from_of(&transfer.wanted));
            let from = from.or_else(|| held.map(|batch| batch.from.to_string()));
            (action, from, none, is)
        }
    }
}

fn named(batch: &Batch) -> Value {
    let first = batch.members.iter().take(NAMED);
    let first: Vec<_> = first.map(|one| json!({"tenant": one.tenant, "epoch": one.epoch.0})).collect();
    json!({"from": batch.from, "to": batch.to, "tenants": batch.members.len(), "first": first})
}

/// What the new owner did not have when it took over, as far as anybody knows.
fn may_be_lost(batch: &Batch, standing: &Standing) -> Value {
    let snapshot = &standing.current.snapshot;
    let id = |name: &str| snapshot.table().region_named(name);
    let (Some(from), Some(to)) = (id(&batch.from), id(&batch.to)) else { return Value::Null };
    let (old, new) = (snapshot.health().region(from), snapshot.health().region(to));
    let lag = new.and_then(|view| view.lag_behind(from)).map(|lag| lag.duration().as_secs_f64());
    let reached = new.and_then(|view| view.reached_of(from)).map(|position| position.to_string());
    let position = old.and_then(|view| view.position).map(|position| position.to_string());
    json!({
        "says": "writes that the old owner acknowledged and the new one had not copied",
        "lag_seconds": lag, "reached": reached, "position": position,
    })
}

fn marked(owned: &Owned, subject: &Subject) -> Value {
    let mark = owned.mark(subject).map(|marked| marked.mark.code());
    match subject {
        Subject::Tenant(id) => json!({"tenant": id, "set": mark}),
        Subject::Region(name) => json!({"region": name, "set": mark}),
    }
}

fn region_of(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Region(name) => Some(name.to_string()),
        Subject::Tenant(_) => None,
    }
}

fn from_of(wanted: &rhumb_decision::transfer::Wanted) -> Option<String> {
    use rhumb_decision::transfer::Which;
    match &wanted.which {
        Which::Tenant(_) => None,
        Which::OwnedBy(region, _) | Which::HomeAt(region, _) | Which::Under(region, _) => {
            Some(region.to_string())
        }
    }
}

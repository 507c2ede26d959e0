//! The steward and ownership: what is told of it, and whose reports are wanted soon while it moves.

use std::sync::Arc;

use rhumb_decision::owned::Change;
use rhumb_decision::ownership::State;
use rhumb_decision::transfer::Event;
use rhumb_decision::units::Millis;
use serde_json::{Value, json};

use super::Steward;
use crate::control::desk::OwnDone;
use crate::control::events::Kind;
use crate::control::journal::Action;
use crate::control::prober::Target;

/// How often regions are asked that a transfer waits for: a hold lasts seconds, and two reports have to come in it.
const SOON: Millis = Millis(100);

/// So many tenants that two regions claim are told of one by one.
const TOLD: usize = 100;

impl Steward {
    /// Whether a transfer waits for what regions report.
    pub(super) fn awaits_reports(&self) -> bool {
        !self.office.owned().awaited().is_empty()
    }

    /// Regions that a transfer waits for are asked at once and often, until it does no more.
    pub(super) fn hurry_if_awaited(&self) {
        let awaited = self.office.owned().awaited();
        let is_soon = |target: &Target| target.check.interval == SOON;
        if !awaited.is_empty() || self.outputs.targets.borrow().iter().any(is_soon) {
            self.tell_seekers();
        }
    }

    /// The same targets, those of regions that a transfer waits for to be asked soon.
    pub(super) fn hurried(&self, targets: Arc<[Target]>) -> Arc<[Target]> {
        let awaited = self.office.owned().awaited();
        if awaited.is_empty() {
            return targets;
        }
        let hurry = |target: &Target| {
            let mut target = target.clone();
            if awaited.contains(&target.region.as_ref()) {
                target.check.interval = target.check.interval.min(SOON);
            }
            target
        };
        targets.iter().map(hurry).collect()
    }

    /// The files that this process began with give epochs to other owners than the journal does. While it runs, such a
    /// table is refused.
    pub(super) fn announce_disputes(&mut self) {
        let current = self.reader.current();
        let (table, owned) = (current.table(), &current.operators.owned);
        let disputed = owned.owners().filter_map(|(tenant, owner, epoch)| {
            let now = current.ownership().of(tenant, &table.tenants().find(tenant)?);
            let by_row = table.region_name(now.owner);
            (now.state == State::Disputed).then(|| {
                json!({"tenant": tenant, "epoch": epoch.0, "claimed_by": [owner, by_row], "writes": "stopped"})
            })
        });
        let disputed: Vec<_> = disputed.collect();
        for (place, dispute) in disputed.into_iter().enumerate() {
            self.charge.recorder.split_brain();
            if place < TOLD {
                let text = format!("split brain: tenant {}", dispute["tenant"].to_string().trim_matches('"'));
                tracing::error!("{text}");
                self.tell(Kind::SplitBrain, text, dispute.clone());
                self.enter(Action::SplitBrain, None, None, Value::Null, dispute);
            }
        }
    }

    /// Something was done to ownership.
    pub(super) fn announce_own(&self, done: &OwnDone) {
        let recorder = &self.charge.recorder;
        match &done.change {
            Some(Change::Dispute { .. }) => recorder.split_brain(),
            Some(Change::Step { event, .. }) => {
                let batch = match event {
                    Event::Raise(batch) => Some((batch, "switched")),
                    _ => None,
                };
                if let Some((batch, status)) = batch {
                    let tenants = batch.members.len() as u64;
                    recorder.ownership_moved(&batch.from, &batch.to, status, tenants);
                }
            }
            _ => {}
        }
        let Some(record) = &done.told else { return };
        let kind = match &done.change {
            Some(Change::Dispute { .. } | Change::Resolve { .. }) => Kind::SplitBrain,
            None if matches!(record.action, Action::ReadinessLost | Action::ReadinessRegained) => {
                Kind::Readiness
            }
            None => Kind::Failover,
            _ => Kind::Transfer,
        };
        if let (Some(Change::Step { event: Event::Abort(_), .. }), Some(transfer)) =
            (&done.change, &done.transfer)
        {
            let (from, to) = (record.region.as_deref().unwrap_or_default(), record.after.get("batch"));
            let to = to.and_then(|batch| batch.get("to")).and_then(|to| to.as_str()).unwrap_or_default();
            recorder.ownership_moved(from, to, "aborted", 1);
            tracing::warn!(transfer = transfer.id.0, failures = transfer.failures, "a batch was given up");
        }
        let mut text = record.action.code().replace('_', " ");
        for (key, before) in [("transfer", ""), ("tenant", "tenant "), ("region", "region ")] {
            if let Some(value) = record.after.get(key) {
                text = format!("{text}: {before}{}", value.to_string().trim_matches('"'));
            }
        }
        if !record.reason.is_empty() {
            text = format!("{text} ({})", record.reason);
        }
        tracing::warn!(actor = record.actor, "{text}");
        let data = json!({
            "action": record.action.code(), "region": record.region, "after": record.after,
            "actor": record.actor, "reason": record.reason, "revision": done.revision,
        });
        self.tell(kind, text, data);
    }
}

//! What the steward tells: events to those who listen, entries to the audit.
//!
//! Never: waits for either.

use serde_json::{Value, json};

use super::Steward;
use crate::control::desk::office::Request;
use crate::control::desk::{Done, EDGE};
use crate::control::events::Kind;
use crate::control::journal::{Action, Record, WallTime};
use crate::control::operator::{Asker, TableReport};
use crate::control::snapshot::{Current, Rejected};
use crate::control::transitions;
use crate::telemetry::Recorder;

/// The gauges follow what is in force.
pub(super) fn show(recorder: &Recorder, current: &Current) {
    let operators = &current.operators;
    recorder.published(current);
    recorder.operated(current.table(), &operators.state, operators.revision, operators.trouble.is_none());
    recorder.owned(&operators.owned);
}

impl Steward {
    fn time(&self) -> WallTime {
        WallTime::from(self.charge.clock.wall())
    }

    pub(super) fn tell(&self, kind: Kind, text: String, data: Value) {
        self.outputs.events.tell(self.time().to_string(), kind, text, data);
    }

    /// An order was carried out.
    pub(super) fn announce_order(&self, request: &Request, done: &Done) {
        let Request::Order { asker, .. } = request else { return };
        let applied = &done.applied;
        let weight = applied.after.map_or_else(|| "as configured".to_owned(), |w| w.as_percent().to_string());
        let (kind, what) = match &done.drain {
            Some(held) => {
                let ramp = held.drain.ramp();
                let words = format!(
                    "drain {} of {}: {}, {} to {} percent",
                    held.id,
                    held.scope,
                    held.drain.phase().code(),
                    ramp.from.as_percent(),
                    ramp.to.as_percent()
                );
                (Kind::Drain, words)
            }
            None => (Kind::Weight, format!("weight of {}: {weight}", applied.scope)),
        };
        let text = format!("{what}, by {}: {}", asker.actor, asker.reason);
        tracing::warn!(actor = asker.actor, reason = asker.reason, revision = done.revision, "{what}");
        let data = json!({
            "scope": applied.scope.to_string(), "drain": done.drain.as_ref().map(|held| held.id.0),
            "weight": applied.after.map(crate::control::desk::Percent), "revision": done.revision,
            "actor": asker.actor, "reason": asker.reason,
        });
        self.tell(kind, text, data);
    }

    /// Time or a guard did something to a drain or weight; it is in the audit already, or on its way.
    pub(super) fn announce_record(&self, record: &Record) {
        let Record { action, region, reason, after, .. } = record;
        let scope = after.get("scope").and_then(Value::as_str).or(region.as_deref()).unwrap_or_default();
        let kind =
            if after.get("drain").is_some_and(|drain| !drain.is_null()) { Kind::Drain } else { Kind::Weight };
        let mut text = format!("{scope}: {}", action.code().replace('_', " "));
        if !reason.is_empty() {
            text = format!("{text} ({reason})");
        }
        tracing::warn!(reason, "{text}");
        self.tell(
            kind,
            text,
            json!({"action": action.code(), "region": region, "after": after, "reason": reason}),
        );
    }

    /// Another table is in force.
    pub(super) fn announce_table(
        &mut self,
        outcome: &'static str,
        report: &TableReport,
        asker: Option<&Asker>,
    ) {
        let action = match outcome {
            "accepted" => Action::TableAccepted,
            "rolled_back" => Action::TableRolledBack,
            _ => Action::TableTaken,
        };
        let difference = &report.difference;
        let after = json!({
            "hash": report.hash, "tenants": report.tenants, "generation": report.generation,
            "rehomed": difference.rehomed, "dropped": difference.dropped, "added": difference.added,
        });
        self.tell(Kind::Table, format!("table {}: {}", action.code(), report.hash), after.clone());
        self.enter(action, None, asker, Value::Null, after);
    }

    /// The files hold a table that is not taken.
    pub(super) fn announce_refused(&mut self, rejected: &Rejected, asker: Option<&Asker>) {
        let problems: Vec<_> = rejected.problems.list().iter().take(10).map(ToString::to_string).collect();
        let after = json!({"hash": rejected.hash, "acceptable": rejected.acceptable, "problems": problems});
        let first = problems.first().cloned().unwrap_or_default();
        self.tell(Kind::Table, format!("table refused: {first}"), after.clone());
        self.enter(Action::TableRefused, None, asker, Value::Null, after);
    }

    /// What became of regions since `before` was in force.
    pub(super) fn announce_health(&mut self, before: &Current) {
        let current = self.reader.current();
        for change in transitions::between(before, &current) {
            let (was, is) = (change.before.code(), change.after.code());
            let data = json!({"region": change.region, "before": was, "after": is});
            self.tell(Kind::Health, format!("{} was {was} and is {is}", change.region), data.clone());
            let action = match &change {
                change if change.is_failover() => Action::Failover,
                // Its first check is no recovery.
                change if change.is_recovery() && was != "UNKNOWN" => Action::Recovered,
                _ => continue,
            };
            if action == Action::Failover {
                self.tell(
                    Kind::Failover,
                    format!("{} takes no traffic; it goes elsewhere", change.region),
                    data,
                );
            }
            self.enter(action, Some(change.region), None, json!({"health": was}), json!({"health": is}));
        }
    }

    pub(super) fn enter(
        &mut self,
        action: Action,
        region: Option<String>,
        asker: Option<&Asker>,
        before: Value,
        after: Value,
    ) {
        let by = |of: fn(&Asker) -> String| asker.map_or_else(|| EDGE.to_owned(), of);
        self.office.note(Record {
            time: self.time(),
            actor: by(|asker| asker.actor.clone()),
            source: by(|asker| asker.source.to_string()),
            action,
            region,
            reason: asker.map_or_else(String::new, |asker| asker.reason.clone()),
            before,
            after,
            generation: self.reader.current().generation().0,
            revision: self.office.revision(),
            change: None,
        });
    }
}

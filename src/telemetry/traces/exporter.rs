//! The task that sends recorded requests on: what has come in a pause in one message, after a failure ever more rarely.
//!
//! Never: keeps more than one message besides its queue, gives up for good, or outlives its last word.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::span::Record;
use super::{Outcome, Outcomes, wire};
use crate::sender::{End, LONGEST_WAIT, PATIENCE, Post, To, Untaken, wait};
use crate::settings::Collector;

/// How long it rests between two looks: with the queue's room, eight thousand recorded requests a second find a place.
const PAUSE: Duration = Duration::from_millis(250);
/// Recorded requests of one message at most.
const BATCH: usize = 512;
/// How often one message is sent at most.
const TRIES: u32 = 4;

/// Whose spans these are.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The id of the edge.
    pub id: Box<str>,
    /// The zone that it stands in.
    pub zone: Option<Box<str>>,
}

/// Sends what requests hand over.
pub struct Exporter {
    records: Receiver<Record>,
    post: Post,
    to: Collector,
    origin: Origin,
    outcomes: Outcomes,
    /// Failures in a row.
    failures: u32,
    unsent: u64,
}

impl Exporter {
    pub(super) fn new(records: Receiver<Record>, to: Collector, origin: Origin, outcomes: Outcomes) -> Self {
        Self { records, post: Post::new(address(&to)), to, origin, outcomes, failures: 0, unsent: 0 }
    }

    /// Sends until `stop` is over, and then what is left, for as long as `last_words` at most.
    ///
    /// Returns how many recorded requests were left unsent.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send, last_words: Duration) -> u64 {
        let mut stop = pin!(stop);
        let mut end = End::new(stop.as_mut(), last_words);
        loop {
            let batch = self.gather();
            if batch.is_empty() {
                if end.has_come() {
                    break;
                }
                end.rest(PAUSE).await;
                continue;
            }
            let is_full = batch.len() == BATCH;
            self.deliver(&batch, &mut end).await;
            if !end.has_come() && !is_full {
                end.rest(PAUSE).await;
            }
        }
        self.unsent
    }

    /// What waits, up to a message's worth.
    fn gather(&mut self) -> Vec<Record> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            // Asked, not waited for: whoever hands over then has nobody to wake.
            match self.records.try_recv() {
                Ok(record) => batch.push(record),
                Err(_) => break,
            }
        }
        batch
    }

    /// Sends these until they are taken, refused or given up.
    async fn deliver(&mut self, batch: &[Record], end: &mut End<'_, impl Future<Output = ()>>) {
        let body = Bytes::from(wire::request(&self.origin, batch));
        let all = batch.len() as u64;
        // Random as ids are; edges that lost the same collector do not come back to it all at once.
        let chance = batch.first().map_or(0, |record| record.request.id);
        for tried in 1..=TRIES {
            let sent = end.at_most(PATIENCE, self.post.send(body.clone())).await;
            let told = match sent {
                Some(Ok(answer)) => {
                    self.well();
                    let rejected = wire::rejected(&answer).min(all);
                    self.outcomes.count(Outcome::Refused, rejected);
                    return self.outcomes.count(Outcome::Exported, all - rejected);
                }
                Some(Err(untaken)) => untaken,
                None => Untaken::Yet { why: "it did not answer in time".into(), after: None },
            };
            self.ill(&told);
            let after = match told {
                Untaken::Ever { .. } => return self.outcomes.count(Outcome::Refused, all),
                Untaken::Yet { after, .. } => after,
            };
            if end.has_come() {
                self.unsent += all;
                return self.outcomes.count(Outcome::Unsent, all);
            }
            let wait = wait(self.failures, chance).max(after.unwrap_or_default()).min(LONGEST_WAIT);
            if tried == TRIES {
                self.outcomes.count(Outcome::Failed, all);
            }
            // The next message, too, will find this collector.
            end.rest(wait).await;
        }
    }

    /// Spans were taken. Said where they had not been.
    fn well(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the collector at {} takes traces again", self.to);
        }
    }

    /// Spans were not taken. Said once, until they are.
    fn ill(&mut self, told: &Untaken) {
        if self.failures == 0 {
            tracing::warn!(
                "the collector at {} does not take traces: {told}; requests go on without",
                self.to
            );
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// What is sent where, and when it may be sent again: by the specification, four statuses mean that.
fn address(collector: &Collector) -> To {
    To {
        is_tls: collector.is_tls(),
        host: collector.host().to_owned(),
        port: collector.port(),
        authority: collector.authority(),
        path: collector.path(),
        content: "application/x-protobuf",
        is_passing: |status| matches!(status, 429 | 502 | 503 | 504),
    }
}

#[cfg(test)]
mod tests;

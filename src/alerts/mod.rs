//! Tells a webhook what happens, so that pagers, chat and DNS automation can follow: each event as JSON, in order, one
//! at a time, at least once.
//!
//! Events wait in the room that every listener has; where a receiver is too slow for them, the oldest go and are counted.
//!
//! Never: keeps whoever tells an event waiting, passes over an event without counting it, or tells the webhook's path,
//! which may be its secret.

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::control::events::{Event, Events};
use crate::sender::{End, LONGEST_WAIT, PATIENCE, Post, To, Untaken, full_jitter};
use crate::settings::Webhook;
use crate::telemetry::Recorder;

/// How often one event is sent at most, over some minutes.
const TRIES: u32 = 12;

/// Where the edge stands, as alerts say it.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The edge's id.
    pub edge: Box<str>,
    /// Its region.
    pub region: Box<str>,
}

/// Sends events to a webhook.
pub struct Alerts {
    events: Events,
    live: Receiver<Arc<Event>>,
    post: Post,
    to: Webhook,
    whose: Whose,
    recorder: Recorder,
    dice: RandomState,
    /// Failures in a row.
    failures: u32,
    unsent: u64,
}

impl Alerts {
    /// What happens from now on is sent once this runs.
    #[must_use]
    pub fn new(to: Webhook, whose: Whose, events: &Events, recorder: Recorder) -> Self {
        // All are shown from the beginning, so that a first loss is a rise.
        for outcome in ["delivered", "dropped", "refused", "failed", "unsent"] {
            recorder.alerted(outcome, 0);
        }
        let (live, post) = (events.listen(None).live, Post::new(address(&to)));
        let dice = RandomState::new();
        Self { events: events.clone(), live, post, to, whose, recorder, dice, failures: 0, unsent: 0 }
    }

    /// Sends until `stop` is over, and then what is left, for as long as `last_words` at most.
    ///
    /// Returns how many events were left unsent.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send, last_words: Duration) -> u64 {
        let mut stop = pin!(stop);
        let mut end = End::new(stop.as_mut(), last_words);
        loop {
            let came = match end.or_stop(self.live.recv()).await {
                Some(came) => came,
                None => match self.live.try_recv() {
                    Ok(event) => Ok(event),
                    Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                },
            };
            match came {
                Ok(event) => self.deliver(&event, &mut end).await,
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!("{lost} events were too many for the webhook at {}", self.to);
                    self.recorder.alerted("dropped", lost);
                }
                Err(RecvError::Closed) => break,
            }
        }
        self.unsent
    }

    /// Sends this until it is taken, refused or given up.
    async fn deliver(&mut self, event: &Event, end: &mut End<'_, impl Future<Output = ()>>) {
        let body = self.body(event);
        for tried in 1..=TRIES {
            let told = match end.at_most(PATIENCE, self.post.send(body.clone())).await {
                Some(Ok(_)) => {
                    self.well();
                    return self.recorder.alerted("delivered", 1);
                }
                Some(Err(told)) => told,
                None => Untaken::Yet { why: "it did not answer in time".into(), after: None },
            };
            self.ill(&told);
            let after = match told {
                Untaken::Ever { .. } => return self.recorder.alerted("refused", 1),
                Untaken::Yet { after, .. } => after.unwrap_or_default(),
            };
            if end.has_come() {
                self.unsent += 1;
                return self.recorder.alerted("unsent", 1);
            }
            if tried == TRIES {
                self.recorder.alerted("failed", 1);
            }
            // Random in each process, so that edges which lost the same receiver do not come back to it all at once. The
            // next event, too, will find this receiver.
            let chance = self.dice.hash_one((event.number, tried));
            end.rest(full_jitter(self.failures, chance).max(after).min(LONGEST_WAIT)).await;
        }
    }

    fn body(&self, event: &Event) -> Bytes {
        let Event { number, time, kind, text, data } = event;
        let body = json!({
            "id": self.events.id(event), "edge": self.whose.edge, "region": self.whose.region,
            "number": number, "time": time, "kind": kind.code(), "text": text, "data": data,
        });
        Bytes::from(body.to_string())
    }

    /// An event was taken. Said where one had not been.
    fn well(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the webhook at {} takes events again", self.to);
        }
    }

    /// An event was not taken. Said once, until one is.
    fn ill(&mut self, told: &Untaken) {
        if self.failures == 0 {
            tracing::warn!("the webhook at {} does not take events: {told}", self.to);
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// What is sent where. An error of the server may pass; one of ours, or a redirect, will not.
fn address(webhook: &Webhook) -> To {
    To {
        is_tls: webhook.is_tls(),
        host: webhook.host().to_owned(),
        port: webhook.port(),
        authority: webhook.authority(),
        path: webhook.path().to_owned(),
        content: "application/json",
        is_passing: |status| status >= 500 || matches!(status, 408 | 425 | 429),
    }
}

#[cfg(test)]
mod tests;

//! What waits for the steward: readings of the table; orders, what they are judged by, and what is done once they have
//! been dealt with.

use std::sync::Arc;

use rhumb_decision::operated::Now;
use rhumb_decision::units::{RegionId, Wall};

use super::{Errand, Reply, Steward};
use crate::control::desk::Standing;
use crate::control::desk::office::{Answer, Came};
use crate::control::operator::Asker;
use crate::control::reload::Wanted;

impl Steward {
    /// What holds at this moment.
    pub(super) fn standing(&self) -> Standing {
        let current = self.reader.current();
        let clock = &self.charge.clock;
        let wall = u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX);
        Standing {
            // A table without the edge's own region is not taken.
            source: current.table().region_named(&self.charge.edge_region).unwrap_or(RegionId(0)),
            traffic: Arc::clone(&self.outputs.traffic.borrow()),
            now: Now { at: clock.now(), wall: Wall(wall) },
            hour: clock.hour(),
            current,
        }
    }

    /// Queues a reading. A reload that waits already serves whoever asks for another, unless each was asked for by
    /// somebody else: the audit names one.
    pub(super) fn want(&mut self, wanted: Wanted, asker: Option<Asker>, reply: Option<Reply>) {
        match self.queue.iter_mut().find(|waits| waits.serves(&wanted, asker.as_ref())) {
            Some(waits) => {
                waits.asker = waits.asker.take().or(asker);
                waits.replies.extend(reply);
            }
            None => self.queue.push_back(Errand { wanted, asker, replies: reply.into_iter().collect() }),
        }
    }

    /// Begins with the order or entry that waits longest.
    pub(super) fn write_if_wanted(&mut self) {
        let standing = self.standing();
        self.office.begin(|| standing);
    }

    /// An order was dealt with, or entries were written.
    pub(super) fn dealt_with(&mut self, came: Came) {
        match came {
            Came::Answer { request, answer, reply } => {
                if let Ok(Answer::Done(done)) = &answer
                    && !done.dry_run
                {
                    self.publish_again();
                    self.announce_order(&request, done);
                }
                if let Ok(Answer::Own(done)) = &answer {
                    if done.change.is_some() {
                        self.publish_again();
                        self.hurry_if_awaited();
                    }
                    self.announce_own(done);
                }
                // Whoever asked may have gone; what was done stays done.
                let _ = reply.send(answer);
            }
            Came::Entries { failed: None } => {}
            Came::Entries { failed: Some(why) } => tracing::error!(%why, "the journal cannot be written"),
            Came::Lost(why) => {
                tracing::error!(why, "the journal's writer broke; nothing can be changed any more")
            }
        }
    }

    /// Steps of ramps, expiries and guards.
    pub(super) fn let_time_pass(&mut self) {
        let before = self.reader.current();
        let standing = self.standing();
        let happened = self.office.tick(&standing);
        let operators = &before.operators;
        if *self.office.state() != operators.state || *self.office.owned() != operators.owned {
            self.publish_again();
        }
        for record in happened {
            self.announce_record(&record);
        }
    }

    /// Lets go of tables that nobody uses any more, where nobody waits for it.
    pub(super) fn let_go(&mut self) {
        let unused = self.publisher.unused();
        if !unused.is_empty() {
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }

    /// Takes a sample of what regions get.
    pub(super) fn measure(&mut self) {
        let current = self.reader.current();
        let regions = current.table().regions().iter().zip(&current.live.regions);
        let tallies = regions.map(|(region, live)| (region.name.as_ref(), &live.counts.tally));
        if let Some(traffic) = self.meter.sample(self.charge.clock.now(), tallies) {
            self.outputs.traffic.send_replace(Arc::new(traffic));
        }
    }
}

impl Errand {
    /// Whether it does for another reading too.
    fn serves(&self, wanted: &Wanted, asker: Option<&Asker>) -> bool {
        let one_asks = self.asker.is_none() || asker.is_none() || self.asker.as_ref() == asker;
        *wanted == Wanted::Reload && self.wanted == Wanted::Reload && one_asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_reading_serves_all_that_ask_for_a_reload_but_never_two_people() {
        let asker = |actor: &str, reason: &str| {
            Some(Asker { actor: actor.into(), source: Ipv4Addr::LOCALHOST.into(), reason: reason.into() })
        };
        let (nobody, mia, ben) = (None, asker("mia", "new shares"), asker("ben", "new shares"));
        let waits =
            |wanted, asker: &Option<Asker>| Errand { wanted, asker: asker.clone(), replies: Vec::new() };
        for (waiting, comes, serves) in [
            (&nobody, &nobody, true),
            (&nobody, &mia, true),
            (&mia, &nobody, true),
            (&mia, &mia, true),
            (&mia, &ben, false),
            (&mia, &asker("mia", "another"), false),
        ] {
            let waiting = waits(Wanted::Reload, waiting);
            assert_eq!(
                waiting.serves(&Wanted::Reload, comes.as_ref()),
                serves,
                "{:?} {comes:?}",
                waiting.asker
            );
            assert!(!waiting.serves(&Wanted::Diff, comes.as_ref()), "what changes nothing is read by itself");
        }
        assert!(!waits(Wanted::Diff, &nobody).serves(&Wanted::Reload, None));
        assert!(!waits(Wanted::Accept("ab".into()), &mia).serves(&Wanted::Reload, mia.as_ref()));
    }
}

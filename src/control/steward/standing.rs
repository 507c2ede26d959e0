//! The steward and the desk: what orders are judged by, and what is done once they have been dealt with.

use std::sync::Arc;

use rhumb_decision::operated::Now;
use rhumb_decision::units::{RegionId, Wall};

use super::Steward;
use crate::control::desk::Standing;
use crate::control::desk::office::{Answer, Came};

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
                if let Ok(Answer::Own(done)) = &answer
                    && done.change.is_some()
                {
                    self.publish_again();
                    self.hurry_if_awaited();
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

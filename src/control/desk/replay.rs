//! The journal taken up again: every change in its order, and what time brought between them.
//!
//! Never: takes the wall clock's word for time that one process measured itself.

use rhumb_decision::operated::{By, Change, Now, Operated};
use rhumb_decision::owned::Owned;
use rhumb_decision::units::{Millis, Wall};
use serde_json::Value;

use super::edge;
use super::guard::Guards;
use super::record::{self, ReadChange, Run};
use crate::control::journal::Record;

/// What the journal comes to, on a clock of its own that begins with it.
pub(super) struct Replayed {
    state: Operated,
    owned: Owned,
    guards: Guards,
    run: Option<Run>,
    now: Now,
}

impl Replayed {
    pub fn begin(state: Option<&Value>) -> Result<Self, String> {
        let Some(value) = state else {
            let now = Now { at: Millis(0), wall: Wall(0) };
            let (state, owned) = (Operated::default(), Owned::default());
            return Ok(Self { state, owned, guards: Guards::default(), run: None, now });
        };
        let kept =
            record::read_state(value, Millis(0)).map_err(|e| format!("the journal's checkpoint: {e}"))?;
        let now = Now { at: Millis(0), wall: kept.wall };
        // What is written of time in it is by the clock of who wrote it.
        let owned = kept.owned.rebased(Millis(kept.run.at), Millis(0), Millis(0));
        Ok(Self { state: kept.state, owned, guards: kept.guards, run: Some(kept.run), now })
    }

    pub fn fold(&mut self, read: record::Read, told: &Record) -> Result<(), String> {
        let wall = Wall(told.time.millis());
        let passed = match self.run {
            Some(run) if run.id == read.run.id => Millis(read.run.at).since(Millis(run.at)),
            Some(_) => wall.since(self.now.wall),
            None => Millis(0),
        };
        self.run = Some(read.run);
        self.now = Now { at: self.now.at.after(passed), wall };
        self.settle();
        let by = By {
            actor: told.actor.as_str().into(),
            reason: told.reason.as_str().into(),
            since: wall,
            until: read.until,
        };
        match read.change {
            ReadChange::Operated(change) => {
                self.state = self.state.apply(&change, &by, self.now).map_err(|e| e.to_string())?.0;
                if let Change::Begin { id, .. } = change {
                    self.guards.keep(id, read.guards);
                }
            }
            ReadChange::Own(own) => {
                let mut owned = self.owned.clone();
                for change in own.changes(&self.owned) {
                    // A wave that was under way when it was written had been woken.
                    owned = owned.replay(&change, &by, self.now).map_err(|e| e.to_string())?;
                }
                self.owned = owned;
            }
        }
        Ok(())
    }

    /// What time alone had brought by then.
    fn settle(&mut self) {
        for change in self.state.due(self.now) {
            if let Ok((state, _)) = self.state.apply(&change, &edge(self.now), self.now) {
                self.state = state;
            }
        }
        for change in self.owned.due(self.now) {
            if let Ok(owned) = self.owned.apply(&change, &edge(self.now), self.now) {
                self.owned = owned;
            }
        }
    }

    pub fn now(mut self, now: Now) -> (Operated, Owned, Guards) {
        let passed = if self.run.is_some() { now.wall.since(self.now.wall) } else { Millis(0) };
        self.state = self.state.rebased(self.now.at, passed, now.at);
        let state = self.state;
        self.guards.retain(|id| state.drain(id).is_some());
        let owned = self.owned.rebased(self.now.at, passed, now.at);
        (state, owned, self.guards)
    }
}

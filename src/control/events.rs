//! What happens, as it happens: for those who watch, live, and for those who come back after a break.
//!
//! Never: waits for whoever listens. Who is too slow misses events, and is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast;

/// So many events are kept for those who come back.
const KEPT: usize = 1_000;

/// So many may wait for one who listens.
const WAITING: usize = 256;

/// What an event is about: a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An operator's weight.
    Weight,
    /// A drain.
    Drain,
    /// The table.
    Table,
    /// The health of a region.
    Health,
    /// Traffic that goes elsewhere than it would.
    Failover,
    /// Whether this edge takes requests, or a standby could take over.
    Readiness,
    /// Ownership that moves, or is paused.
    Transfer,
    /// Two owners at one epoch.
    SplitBrain,
}

impl Kind {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Drain => "drain",
            Self::Table => "table",
            Self::Health => "health",
            Self::Failover => "failover",
            Self::Readiness => "readiness",
            Self::Transfer => "transfer",
            Self::SplitBrain => "split_brain",
        }
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its place among the events of this process, from 1.
    pub number: u64,
    /// When: RFC 3339.
    pub time: String,
    /// What it is about.
    pub kind: Kind,
    /// What happened, in words.
    pub text: String,
    /// The same for programs.
    pub data: Value,
}

/// Where events are told and heard. All clones are one.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    run: u64,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    events: VecDeque<Arc<Event>>,
}

/// What has happened since, and what happens from now on.
pub struct Listener {
    /// What was missed and is still known, oldest first.
    pub missed: Vec<Arc<Event>>,
    /// What comes.
    pub live: broadcast::Receiver<Arc<Event>>,
}

impl Events {
    /// Nothing has happened.
    ///
    /// - `run`: a number that no other process has.
    #[must_use]
    pub fn new(run: u64) -> Self {
        let (live, _) = broadcast::channel(WAITING);
        Self(Arc::new(Inner { run, kept: Mutex::default(), live }))
    }

    /// Tells what happened.
    pub fn tell(&self, time: String, kind: Kind, text: String, data: Value) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let event = Arc::new(Event { number: kept.last, time, kind, text, data });
        if kept.events.len() >= KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&event));
        // Nobody need listen.
        let _ = self.0.live.send(event);
    }

    /// Listens from now on, and first to what came behind `last`, an id as [`Self::id`] writes it. One of another
    /// process asks for all that is known; `None` asks for nothing that was.
    #[must_use]
    pub fn listen(&self, last: Option<&str>) -> Listener {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match last {
            None => u64::MAX,
            Some(id) => self.number(id).unwrap_or(0),
        };
        let missed = kept.events.iter().filter(|event| event.number > seen).cloned().collect();
        Listener { missed, live: self.0.live.subscribe() }
    }

    /// The id by which whoever comes back names the last event that it saw.
    #[must_use]
    pub fn id(&self, event: &Event) -> String {
        format!("{:x}-{}", self.0.run, event.number)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        (u64::from_str_radix(run, 16) == Ok(self.0.run)).then(|| number.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(events: &Events, text: &str) {
        events.tell(String::new(), Kind::Drain, text.into(), Value::Null);
    }

    fn texts(listener: &Listener) -> Vec<&str> {
        listener.missed.iter().map(|event| event.text.as_str()).collect()
    }

    #[test]
    fn who_comes_back_hears_what_was_missed_and_then_what_comes() {
        let events = Events::new(7);
        ["one", "two", "three"].into_iter().for_each(|text| tell(&events, text));
        assert_eq!(texts(&events.listen(None)), [""; 0]);
        let all = events.listen(Some("7-0"));
        assert_eq!(texts(&all), ["one", "two", "three"]);
        let last = events.id(&all.missed[1]);
        let mut back = events.listen(Some(&last));
        assert_eq!(texts(&back), ["three"]);
        tell(&events, "four");
        assert_eq!(back.live.try_recv().unwrap().text, "four");
    }

    #[test]
    fn an_id_of_another_process_or_of_nobody_asks_for_all_that_is_known() {
        let events = Events::new(7);
        (0..KEPT + 10).for_each(|n| tell(&events, &n.to_string()));
        for foreign in ["8-5", "", "7", "7-x", "-1", "zz-1"] {
            assert_eq!(events.listen(Some(foreign)).missed.len(), KEPT, "{foreign:?}");
        }
        assert_eq!(texts(&events.listen(Some(&format!("7-{}", KEPT + 9)))), [(KEPT + 9).to_string()]);
    }

    #[test]
    fn who_is_too_slow_is_told_and_keeps_nobody_waiting() {
        let events = Events::new(7);
        let mut slow = events.listen(None);
        (0..WAITING + 5).for_each(|n| tell(&events, &n.to_string()));
        assert!(matches!(slow.live.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
        assert_eq!(slow.live.try_recv().unwrap().text, "5");
    }
}

//! Asynchronous replication between toy regions, with a lag that can be set.
//!
//! Each region runs one loop that pulls, from every region it follows, the writes that are older than
//! the lag. A region that is dark neither ships nor receives, so what was not shipped is missing
//! elsewhere until it is back, and its followers report a lag that grows: as it would be.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::state::{RegionState, Replicated, lock};
use super::store::{Follower, Versioned};

/// How often a follower hears from a source that has nothing new.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// How one region follows another.
pub(super) struct Link {
    source: Weak<RegionState>,
    name: Arc<str>,
    follower: Follower,
    lag: Duration,
    /// The position in the source's log up to which everything was taken.
    taken: u64,
    /// Everything that the source wrote up to this moment was taken.
    current_to: Instant,
}

impl RegionState {
    /// Follows `source` with a lag of `lag`: takes what it holds now, and later what it writes.
    pub(super) fn follow(&self, source: &Arc<RegionState>, lag: Duration, now: Instant) {
        let (follower, values, taken) = lock(&source.store).follow(Arc::clone(&self.wake));
        let mut store = lock(&self.store);
        values.into_iter().for_each(|(slot, version)| store.merge(slot, version));
        drop(store);
        lock(&self.links).push(Link {
            source: Arc::downgrade(source),
            name: source.name().into(),
            follower,
            lag,
            taken,
            current_to: now,
        });
        self.wake.notify_one();
    }

    /// How far this region stays behind every region it follows.
    pub fn set_lag(&self, lag: Duration) {
        lock(&self.links).iter_mut().for_each(|link| link.lag = lag);
        self.wake.notify_one();
    }

    /// How far this region stays behind one region it follows; a name it does not follow changes nothing.
    pub fn set_lag_from(&self, source: &str, lag: Duration) {
        let mut links = lock(&self.links);
        links.iter_mut().filter(|link| &*link.name == source).for_each(|link| link.lag = lag);
        self.wake.notify_one();
    }

    /// The position this region has reached in the log of `source`; `None` if it does not follow it.
    pub fn replicated(&self, source: &str) -> Option<u64> {
        lock(&self.links).iter().find(|link| &*link.name == source).map(|link| link.taken)
    }

    /// The copy becomes an older one, as after a restore from a backup: what `source` wrote after `position` is gone,
    /// and nothing is taken from there before the lag is set anew. A name that it does not follow changes nothing.
    pub fn restore(&self, source: &str, position: u64) {
        let mut links = lock(&self.links);
        let Some(link) = links.iter_mut().find(|link| &*link.name == source) else { return };
        (link.lag, link.taken) = (Duration::MAX, position.min(link.taken));
        lock(&self.store).forget_of(source, position);
    }

    /// What `/health` says of replication.
    pub(super) fn replication(&self, now: Instant) -> BTreeMap<String, Replicated> {
        let links = lock(&self.links);
        links.iter().map(|link| (link.name.to_string(), link.report(now))).collect()
    }

    /// Takes all that is due at `now`; says when to look again.
    fn catch_up(&self, now: Instant) -> Instant {
        let mut again = now + HEARTBEAT;
        for link in lock(&self.links).iter_mut() {
            let source = link.source.upgrade().filter(|source| source.is_reachable() && self.is_reachable());
            let Some(source) = source else { continue };
            let Some(until) = now.checked_sub(link.lag) else { continue };
            let due = lock(&source.store).due(link.follower, until);
            link.current_to = until;
            if let Some(next) = due.next.and_then(|next| next.checked_add(link.lag)) {
                again = again.min(next);
            }
            let mut store = lock(&self.store);
            for entry in due.entries {
                link.taken = entry.position;
                store.saw(entry.position);
                if let Some((slot, value)) = entry.change {
                    store.merge(slot, version(value, entry.position, &link.name));
                }
            }
        }
        again
    }
}

/// Keeps `region` up to date with the regions it follows, for as long as it is polled.
pub(super) async fn replicate(region: Arc<RegionState>) {
    loop {
        let again = region.catch_up(Instant::now());
        tokio::select! {
            () = region.wake.notified() => {}
            () = tokio::time::sleep_until(again) => {}
        }
    }
}

impl Link {
    /// A lag that was raised counts at once, one that was lowered when the writes have been taken.
    fn report(&self, now: Instant) -> Replicated {
        let lag = now.saturating_duration_since(self.current_to).max(self.lag);
        // Up: a copy must never seem fresher than it is.
        let lag_seconds = (lag.as_secs_f64() * 1000.0).ceil() / 1000.0;
        Replicated { lag_seconds: Some(lag_seconds), position: Some(self.taken.to_string()) }
    }
}

fn version(value: Option<bytes::Bytes>, position: u64, region: &Arc<str>) -> Versioned {
    Versioned { value, position, region: Arc::clone(region) }
}

#[cfg(test)]
mod tests {
    use super::super::store::{Change, Slot};
    use super::*;
    use bytes::Bytes;

    fn region(name: &str) -> Arc<RegionState> {
        Arc::new(RegionState::new(name, BTreeMap::new()))
    }

    fn slot() -> Slot {
        Slot { tenant: "acme".to_owned(), key: "k".to_owned() }
    }

    fn put(region: &RegionState, value: &'static str, at: Instant) -> u64 {
        lock(&region.store).write(Some((slot(), Change::Put(value.into()))), at).unwrap().position
    }

    fn value(region: &RegionState) -> Option<Bytes> {
        region.read(&slot()).and_then(|held| held.value)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn a_write_arrives_when_it_is_as_old_as_the_lag() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        us.follow(&eu, seconds(5), start);
        let position = put(&eu, "one", start);
        let again = us.catch_up(start + seconds(4));
        assert!(again <= start + seconds(5));
        assert_eq!((value(&us), us.replicated("eu")), (None, Some(0)));
        us.catch_up(start + seconds(5));
        assert_eq!((value(&us), us.replicated("eu")), (Some("one".into()), Some(position)));
    }

    #[tokio::test]
    async fn a_dark_source_ships_nothing_and_its_followers_fall_behind() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        us.follow(&eu, Duration::ZERO, start);
        put(&eu, "one", start);
        eu.set_reachable(false);
        us.catch_up(start + seconds(30));
        assert_eq!(value(&us), None);
        assert_eq!(us.replication(start + seconds(30))["eu"].lag_seconds, Some(30.0));
        eu.set_reachable(true);
        us.catch_up(start + seconds(31));
        assert_eq!(value(&us), Some("one".into()));
        assert_eq!(us.replication(start + seconds(31))["eu"].lag_seconds, Some(0.0));
    }

    #[tokio::test]
    async fn a_raised_lag_shows_at_once_and_a_lowered_one_when_it_is_true() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        us.follow(&eu, Duration::ZERO, start);
        us.set_lag_from("eu", seconds(90));
        assert_eq!(us.replication(start)["eu"].lag_seconds, Some(90.0));
        us.catch_up(start);
        us.set_lag(Duration::ZERO);
        assert_eq!(us.replication(start)["eu"].lag_seconds, Some(90.0));
        us.catch_up(start);
        assert_eq!(us.replication(start)["eu"].lag_seconds, Some(0.0));
    }

    #[tokio::test]
    async fn after_a_move_of_the_owner_the_new_owners_write_is_the_later_one() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        us.follow(&eu, Duration::ZERO, start);
        eu.follow(&us, Duration::ZERO, start);
        put(&eu, "one", start);
        put(&eu, "two", start);
        us.catch_up(start);
        put(&us, "three", start);
        eu.catch_up(start);
        assert_eq!(value(&eu), Some("three".into()));
        assert_eq!(value(&us), value(&eu));
    }

    #[tokio::test]
    async fn a_restored_copy_is_as_old_as_it_says() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        us.follow(&eu, Duration::ZERO, start);
        let (first, _) = (put(&eu, "one", start), put(&eu, "two", start));
        us.catch_up(start);
        us.restore("eu", first);
        assert_eq!((value(&us), us.replicated("eu")), (None, Some(first)));
        us.catch_up(start + seconds(1));
        assert_eq!((value(&us), us.replicated("eu")), (None, Some(first)), "nothing more is taken");
        us.restore("eu", 99);
        assert_eq!(us.replicated("eu"), Some(first), "no restore makes a copy newer");
    }

    #[tokio::test]
    async fn a_late_follower_starts_with_what_was_there() {
        let (eu, us, start) = (region("eu"), region("us"), Instant::now() + seconds(100));
        let position = put(&eu, "one", start);
        us.follow(&eu, seconds(5), start);
        assert_eq!((value(&us), us.replicated("eu")), (Some("one".into()), Some(position)));
    }
}

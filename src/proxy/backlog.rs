//! What the edge holds of responses that clients have not taken yet, in sum: those who do not take are not to use up
//! the memory of those who do.
//!
//! A response counts with what came of it and was not taken. While its client is waited for, it counts with what may
//! be on its way besides, which nobody sees: so the sum is rather too high than too low. Beyond the bound, responses
//! are broken off whose clients have been waited for longest.
//!
//! Never: breaks off a response whose client takes it, or one that has only just begun to wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::telemetry::BufferedBytes;

/// What may wait unseen, while a client is waited for: four pieces of 64 KiB in the pipe from the region, one that is
/// being read, and as much as TLS or HTTP/2 keeps of what they have been given.
const UNSEEN: u64 = 6 * 64 * 1024;

/// Whoever takes so much is not stalled. What a socket takes comes in such portions, however fast a client is.
const PORTION: u64 = 32 * 1024;

/// Nobody is broken off who has been waited for less.
const WAITED: Duration = Duration::from_secs(1);

/// After a search in vain, the next one waits so long.
const PAUSE: Duration = Duration::from_millis(100);

/// All responses together.
pub(super) struct Backlogs {
    most: u64,
    sum: BufferedBytes,
    /// Those whose clients were waited for, by the address of their share.
    waited: Mutex<HashMap<usize, Arc<Share>>>,
    exceeded: Notify,
}

/// What of one response after another waits for the same client, or the same stream of one. What is left of it when
/// it is dropped counts no more.
pub(super) struct Backlog {
    all: Arc<Backlogs>,
    share: Arc<Share>,
}

#[derive(Default)]
struct Share(Mutex<Held>);

#[derive(Default)]
struct Held {
    /// Came and was not taken.
    bytes: u64,
    /// Will still come, where the response says how long it is.
    to_come: Option<u64>,
    /// Counted for what is on its way.
    unseen: u64,
    /// Since when its client is waited for.
    since: Option<Instant>,
    /// Taken since then.
    taken: u64,
    is_listed: bool,
    is_broken_off: bool,
    waker: Option<Waker>,
}

impl Backlogs {
    /// At most `most` bytes in sum, which is told as `sum`.
    pub fn new(most: u64, sum: BufferedBytes) -> Arc<Self> {
        Arc::new(Self { most, sum, waited: Mutex::default(), exceeded: Notify::new() })
    }

    /// For a further client, or stream.
    pub fn one(self: &Arc<Self>) -> Arc<Backlog> {
        Arc::new(Backlog { all: Arc::clone(self), share: Arc::default() })
    }

    /// Breaks responses off whenever there is too much, for as long as it is asked.
    pub async fn keep(&self) -> Infallible {
        loop {
            self.exceeded.notified().await;
            while self.is_exceeded() && self.break_off(Instant::now()) == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    /// Breaks off responses whose clients have been waited for longest, until there is room. Returns how many.
    fn break_off(&self, now: Instant) -> usize {
        let waited: Vec<Arc<Share>> = self.waited().values().cloned().collect();
        let stalled = |share: Arc<Share>| {
            let since = share.held().since.filter(|since| now.duration_since(*since) >= WAITED)?;
            Some((since, share))
        };
        let mut stalled: Vec<_> = waited.into_iter().filter_map(stalled).collect();
        stalled.sort_by_key(|(since, _)| *since);
        let mut broken_off = 0;
        for (since, share) in stalled {
            if !self.is_exceeded() {
                break;
            }
            let mut held = share.held();
            // One whose client has taken something meanwhile stays.
            if held.since == Some(since) {
                self.sum.add(-held.forget());
                held.is_broken_off = true;
                broken_off += 1;
                if let Some(waker) = held.waker.take() {
                    waker.wake();
                }
            }
        }
        broken_off
    }

    fn is_exceeded(&self) -> bool {
        self.sum.get() > self.most
    }

    fn add(&self, bytes: u64) {
        self.sum.add(signed(bytes));
        if self.is_exceeded() {
            self.exceeded.notify_one();
        }
    }

    fn waited(&self) -> MutexGuard<'_, HashMap<usize, Arc<Share>>> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog {
    /// The same for a further stream of this client.
    pub fn another(&self) -> Arc<Self> {
        self.all.one()
    }

    /// A response begins that is so long; `None`: nobody can tell.
    pub fn begin(&self, length: Option<u64>) {
        self.share.held().to_come = length;
    }

    /// A piece of it came.
    pub fn came(&self, bytes: usize) {
        let bytes = bytes as u64;
        let mut held = self.share.held();
        held.to_come = held.to_come.map(|to_come| to_come.saturating_sub(bytes));
        if bytes > 0 && !held.is_broken_off {
            held.bytes += bytes;
            self.all.add(bytes);
        }
    }

    /// The client took so much, of the response or of what stands around it.
    pub fn took(&self, bytes: usize) {
        let mut held = self.share.held();
        let bytes = (bytes as u64).min(held.bytes);
        if bytes == 0 {
            return;
        }
        held.bytes -= bytes;
        held.taken += bytes;
        let mut freed = bytes;
        if held.bytes == 0 || held.taken >= PORTION {
            freed += std::mem::take(&mut held.unseen);
            held.since = None;
        }
        self.all.sum.add(-signed(freed));
    }

    /// The client has to be waited for; ready once its response is broken off.
    pub fn poll_broken_off(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.share.held();
        if held.is_broken_off {
            return Poll::Ready(());
        }
        if held.bytes == 0 {
            return Poll::Pending;
        }
        if held.since.is_none() {
            held.since = Some(Instant::now());
            held.taken = 0;
            held.unseen = held.to_come.map_or(UNSEEN, |to_come| to_come.min(UNSEEN));
            self.all.add(held.unseen);
        }
        if !held.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            held.waker = Some(cx.waker().clone());
        }
        let is_new = !std::mem::replace(&mut held.is_listed, true);
        drop(held);
        if is_new {
            self.all.waited().insert(self.key(), Arc::clone(&self.share));
        }
        Poll::Pending
    }

    /// The response is over, however it ended.
    pub fn end(&self) {
        let held = std::mem::take(&mut *self.share.held());
        if held.is_listed {
            self.all.waited().remove(&self.key());
        }
        let left = held.bytes + held.unseen;
        if left > 0 {
            self.all.sum.add(-signed(left));
        }
    }

    fn key(&self) -> usize {
        Arc::as_ptr(&self.share) as usize
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("bytes", &self.share.held().bytes).finish_non_exhaustive()
    }
}

impl Share {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Counts nothing more. Returns what it counted.
    fn forget(&mut self) -> i64 {
        self.since = None;
        signed(std::mem::take(&mut self.bytes) + std::mem::take(&mut self.unseen))
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Recorder;
    use tokio::task::JoinSet;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);
    const MOST: u64 = 1 << 20;
    const PIECE: usize = 64 * 1024;

    fn backlogs() -> Arc<Backlogs> {
        Backlogs::new(MOST, Recorder::new(SECOND).buffered_bytes())
    }

    fn is_broken_off(backlog: &Backlog) -> bool {
        backlog.poll_broken_off(&Context::from_waker(Waker::noop())).is_ready()
    }

    /// One that has a piece to take, of a response of so many, and is waited for.
    fn stalled(backlogs: &Arc<Backlogs>, pieces: u64) -> Arc<Backlog> {
        let backlog = backlogs.one();
        backlog.begin(Some(pieces * PIECE as u64));
        backlog.came(PIECE);
        assert!(!is_broken_off(&backlog));
        backlog
    }

    #[test]
    fn what_came_counts_until_it_is_taken_and_no_longer_than_the_response() {
        let backlogs = backlogs();
        let (one, two) = (backlogs.one(), backlogs.one());
        one.came(1000);
        two.came(500);
        assert_eq!(backlogs.sum.get(), 1500);
        one.took(300);
        assert_eq!(backlogs.sum.get(), 1200);
        one.took(5000);
        assert_eq!(backlogs.sum.get(), 500, "a head and the frame of a chunk are taken too, and never came");
        one.came(7);
        one.end();
        assert_eq!(backlogs.sum.get(), 500);
        drop(two);
        assert_eq!(backlogs.sum.get(), 0);
    }

    #[test]
    fn who_is_waited_for_counts_with_what_may_be_on_its_way() {
        let backlogs = backlogs();
        let unknown = backlogs.one();
        unknown.came(PIECE);
        assert!(!is_broken_off(&unknown) && !is_broken_off(&unknown));
        assert_eq!(backlogs.sum.get(), PIECE as u64 + UNSEEN, "once");
        unknown.took(PIECE);
        assert_eq!(backlogs.sum.get(), 0);
        drop(unknown);
        let short = stalled(&backlogs, 2);
        assert_eq!(backlogs.sum.get(), 2 * PIECE as u64, "no more than the response is long");
        short.took(PORTION as usize);
        assert_eq!(backlogs.sum.get(), PIECE as u64 - PORTION, "it moves");
        drop(short);
        let silent = backlogs.one();
        assert!(!is_broken_off(&silent));
        assert_eq!(backlogs.sum.get(), 0, "nobody has anything for it");
    }

    #[test]
    fn nothing_is_left_of_responses_that_are_over() {
        let backlogs = backlogs();
        let many: Vec<_> = (0..10).map(|_| stalled(&backlogs, 100)).collect();
        assert_eq!(backlogs.waited().len(), 10);
        many[0].end();
        assert_eq!(backlogs.waited().len(), 9);
        assert!(!is_broken_off(&many[0]), "the next one on this connection is another");
        drop(many);
        assert_eq!((backlogs.waited().len(), backlogs.sum.get()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_waited_for_longest_goes_first_and_no_more_than_have_to() {
        let backlogs = backlogs();
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(stalled(&backlogs, 100));
            advance(SECOND).await;
        }
        assert!(backlogs.sum.get() > MOST);
        assert_eq!(backlogs.break_off(Instant::now()), 2);
        assert!(backlogs.sum.get() <= MOST);
        assert_eq!(all.iter().map(|one| is_broken_off(one)).collect::<Vec<_>>(), [true, true, false, false]);
        let left = backlogs.sum.get();
        all[0].came(PIECE);
        assert_eq!(backlogs.sum.get(), left, "what still comes of it counts no more");
        drop(all);
        assert_eq!(backlogs.sum.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_or_has_only_just_begun_to_wait_stays() {
        let backlogs = backlogs();
        let takes: Vec<_> = (0..4).map(|_| stalled(&backlogs, 100)).collect();
        for _ in 0..20 {
            advance(SECOND / 2).await;
            for one in &takes {
                one.took(PORTION as usize);
                one.came(PORTION as usize);
                assert!(!is_broken_off(one));
            }
            assert!(backlogs.sum.get() > MOST);
            assert_eq!(backlogs.break_off(Instant::now()), 0);
        }
        let drips = &takes[3];
        for _ in 0..10 {
            advance(SECOND / 2).await;
            for one in &takes[..3] {
                one.took(PORTION as usize);
                one.came(PORTION as usize);
                assert!(!is_broken_off(one));
            }
            drips.took(1);
            assert!(!is_broken_off(drips));
        }
        assert_eq!(backlogs.break_off(Instant::now()), 1, "a byte now and then is not enough");
        assert!(is_broken_off(drips));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_it_without_a_further_word() {
        let backlogs = backlogs();
        let all: Vec<_> = (0..4).map(|_| backlogs.one()).collect();
        for one in &all {
            one.came(PIECE);
        }
        let hears = std::future::poll_fn(|cx| {
            let told = all.iter().map(|one| one.poll_broken_off(cx).is_ready()).filter(|told| *told).count();
            if told == 2 { Poll::Ready(()) } else { Poll::Pending }
        });
        let (mut keeper, kept) = (JoinSet::new(), Arc::clone(&backlogs));
        keeper.spawn(async move { kept.keep().await });
        let began = Instant::now();
        assert!(tokio::time::timeout(10 * SECOND, hears).await.is_ok());
        assert!(began.elapsed() < 2 * SECOND);
        assert!(backlogs.sum.get() <= MOST);
    }
}

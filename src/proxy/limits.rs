//! How many connections and requests there are at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::proxy::seats::{Seat, Seats};

/// One lock for each of these; an address always meets the same one.
const SHARDS: usize = 16;

/// Between two looks whether the last connection is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Counts the connections of clients, in all and by address.
pub(super) struct Connections {
    most: usize,
    most_each: usize,
    total: AtomicUsize,
    seats: Seats,
    each: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// The place of one connection; given back when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    /// Whom it counts with.
    address: Option<IpAddr>,
    seat: Arc<Seat>,
    number: usize,
}

/// Which of the limits leaves no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// There are as many connections as there may be.
    InAll,
    /// The address has as many as one may have.
    OfAddress,
}

impl Full {
    /// The label of its metric: the key of the setting.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InAll => "connections",
            Self::OfAddress => "connections_per_address",
        }
    }
}

impl Connections {
    /// At most `most` connections, and of one address `most_each`.
    pub fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_each,
            total: AtomicUsize::new(0),
            seats: Seats::default(),
            each: Default::default(),
        })
    }

    /// A place for a connection that comes at `now`, on the monotonic clock: a free one, or that of somebody who
    /// waits for long. Whom it counts with is told by [`Place::belongs_to`].
    pub fn enter(self: &Arc<Self>, now: Duration) -> Result<Place, Full> {
        let fits = self.counts_one_more() || (self.make_room(now) > 0 && self.counts_one_more());
        if !fits {
            return Err(Full::InAll);
        }
        let seat = Seat::waiting(now);
        let number = self.seats.take(Arc::clone(&seat));
        Ok(Place { connections: Arc::clone(self), address: None, seat, number })
    }

    /// Asks some to go who have waited longest. Returns how many.
    pub fn make_room(&self, now: Duration) -> usize {
        let made = self.seats.give_up(now);
        self.total.fetch_sub(made, Ordering::AcqRel);
        made
    }

    fn counts_one_more(&self) -> bool {
        let fits = self.total.fetch_add(1, Ordering::AcqRel) < self.most;
        if !fits {
            self.total.fetch_sub(1, Ordering::AcqRel);
        }
        fits
    }

    /// Waits until there is none, for `most` at the longest.
    pub async fn wait(&self, most: Duration) {
        let none = async {
            while self.total.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(most, none).await;
    }

    fn shard(&self, address: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        let sum = match address {
            IpAddr::V4(address) => address.octets().iter().map(|byte| usize::from(*byte)).sum::<usize>(),
            IpAddr::V6(address) => address.octets().iter().map(|byte| usize::from(*byte)).sum(),
        };
        &self.each[sum % SHARDS]
    }
}

impl Place {
    /// Counts it with `address`, if that has room. An IPv6 address counts with its /64, which one client has to
    /// itself.
    pub fn belongs_to(&mut self, address: IpAddr) -> Result<(), Full> {
        let address = network(address);
        self.leave_address();
        self.address = Some(address);
        let mut shard = self.connections.shard(address).lock().unwrap_or_else(PoisonError::into_inner);
        let own = shard.entry(address).or_insert(0);
        *own += 1;
        if *own <= self.connections.most_each { Ok(()) } else { Err(Full::OfAddress) }
    }

    /// Where it sits.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    fn leave_address(&mut self) {
        let Some(address) = self.address.take() else { return };
        let mut shard = self.connections.shard(address).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = shard.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                shard.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_address();
        self.connections.seats.leave(self.number);
        // One that was given up counts no more.
        if !self.seat.is_given_up() {
            self.connections.total.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What an address counts with: itself, or its network of IPv6.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

/// Counts the requests under way, so that a stop can wait for them.
#[derive(Default)]
pub(super) struct Requests {
    count: AtomicUsize,
    /// Connections whose clients are to be told that they end.
    greeted: AtomicUsize,
    none: Notify,
}

/// A request under way.
pub(super) struct UnderWay(Arc<Requests>);

/// A connection whose client is to be told that it ends.
pub(super) struct Greeted(Arc<Requests>);

impl Requests {
    /// Counts a request until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> UnderWay {
        self.count.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(self))
    }

    /// Counts a connection that a stop waits for, requests or not, until the guard is dropped.
    pub fn greet(self: &Arc<Self>) -> Greeted {
        self.greeted.fetch_add(1, Ordering::AcqRel);
        Greeted(Arc::clone(self))
    }

    fn is_over(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0 && self.greeted.load(Ordering::Acquire) == 0
    }

    /// Waits until no request is under way and every client that is to be told was told, for `most` at the longest. Returns how many still are.
    pub async fn wait(&self, most: Duration) -> usize {
        let none = async {
            loop {
                let notified = self.none.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.is_over() {
                    return;
                }
                notified.await;
            }
        };
        let _ = tokio::time::timeout(most, none).await;
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl Drop for Greeted {
    fn drop(&mut self) {
        if self.0.greeted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn enter(connections: &Arc<Connections>, address: IpAddr) -> Result<Place, Full> {
        let mut place = connections.enter(Duration::ZERO)?;
        place.belongs_to(address).map(|()| place)
    }

    fn refused(connections: &Arc<Connections>, address: IpAddr) -> Option<Full> {
        enter(connections, address).err()
    }

    #[test]
    fn connections_end_at_their_limits_and_places_come_back() {
        let connections = Connections::new(3, 2);
        let (one, two) = (enter(&connections, v4(1)).unwrap(), enter(&connections, v4(1)).unwrap());
        assert_eq!(refused(&connections, v4(1)), Some(Full::OfAddress), "two of one address");
        let three = enter(&connections, v4(2)).unwrap();
        assert_eq!(refused(&connections, v4(3)), Some(Full::InAll), "three in all");
        drop(one);
        assert_eq!(refused(&connections, v4(1)), None);
        drop((two, three));
        assert_eq!(connections.total.load(Ordering::Acquire), 0);
        assert!(connections.each.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_newcomer_gets_the_place_of_whom_has_waited_longest_but_not_of_whom_works() {
        let connections = Connections::new(3, 3);
        let held: Vec<_> = (1..4).map(|at| connections.enter(Duration::from_secs(at)).unwrap()).collect();
        assert_eq!(
            connections.enter(Duration::from_millis(1500)).err(),
            Some(Full::InAll),
            "all have just come"
        );
        assert!(held[0].seat().work());
        let newcomer = connections.enter(Duration::from_millis(3500)).unwrap();
        let gone: Vec<_> = held.iter().map(|place| place.seat().is_given_up()).collect();
        assert_eq!(gone, [false, true, false]);
        assert_eq!(connections.total.load(Ordering::Acquire), 3);
        drop(held);
        assert_eq!(connections.total.load(Ordering::Acquire), 1, "whose place was given away leaves none");
        drop(newcomer);
        assert_eq!(connections.total.load(Ordering::Acquire), 0);
    }

    #[test]
    fn an_ipv6_client_counts_with_its_network() {
        let connections = Connections::new(9, 1);
        let _one = enter(&connections, "2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(refused(&connections, "2001:db8::ffff:2".parse().unwrap()), Some(Full::OfAddress));
        assert_eq!(refused(&connections, "2001:db8:0:1::1".parse().unwrap()), None);
        assert_eq!(refused(&connections, "::ffff:192.0.2.1".parse().unwrap()), None);
        assert_eq!(refused(&connections, v4(1)), None, "the one before was dropped at once");
    }

    #[test]
    fn a_place_counts_with_the_address_that_was_told_last() {
        let connections = Connections::new(9, 1);
        let mut relayed = enter(&connections, v4(1)).unwrap();
        relayed.belongs_to(v4(2)).unwrap();
        assert_eq!(refused(&connections, v4(1)), None);
        assert_eq!(refused(&connections, v4(2)), Some(Full::OfAddress));
        drop(relayed);
        assert!(connections.each.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_last_request_and_no_longer() {
        let requests = Arc::new(Requests::default());
        assert_eq!(requests.wait(Duration::from_secs(60)).await, 0);
        let one = requests.enter();
        let wait = requests.wait(Duration::from_secs(60));
        tokio::pin!(wait);
        assert!(futures_poll(wait.as_mut()).await.is_none());
        drop(one);
        assert_eq!(wait.await, 0);
        let _two = requests.enter();
        assert_eq!(requests.wait(Duration::ZERO).await, 1);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}

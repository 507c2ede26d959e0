//! What a tunnel carries: bytes from one end to the other, each way by itself.
//!
//! Why here: the HTTP library moves the two ways by turns and waits inside one of them, so a tunnel that is full both
//! ways would stand still. Here a way that cannot go on never holds up the other.
//!
//! Never: interprets what it carries, keeps more of a way than one buffer, or holds a buffer where nothing waits.

mod way;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::pace::{Demand, Pace};

use way::{Failure, Way};

/// One end of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Client,
    Region,
}

/// How a tunnel ended that did not end in order.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing came from either end for too long.
    Idle,
    /// This end took too little of what was sent to it.
    Stalled(End),
    /// This end broke off.
    Off(End, io::Error),
}

/// How long a tunnel waits, and for how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    /// With nothing in either direction.
    pub idle: Duration,
    /// For the client to take what is sent to it.
    pub client: Demand,
    /// For the region to.
    pub region: Demand,
}

impl Patience {
    /// With nothing to come from the one end that is left.
    fn half(&self) -> Duration {
        self.idle.min(self.region.within)
    }
}

/// Bytes that a tunnel has carried so far.
#[derive(Default, Debug)]
pub(super) struct Carried {
    to_region: AtomicU64,
    to_client: AtomicU64,
}

impl Carried {
    /// What went to the region.
    pub fn to_region(&self) -> u64 {
        self.to_region.load(Ordering::Relaxed)
    }

    /// What went to the client.
    pub fn to_client(&self) -> u64 {
        self.to_client.load(Ordering::Relaxed)
    }
}

/// The two ways of one tunnel.
pub(super) struct Relay {
    to_region: Way,
    to_client: Way,
    patience: Patience,
    idle: Pace,
}

impl Relay {
    /// A tunnel in which each end has said something already: `from_client`, `from_region` go first.
    pub fn new(from_client: BytesMut, from_region: BytesMut, patience: Patience) -> Self {
        Self {
            to_region: Way::new(from_client, patience.region),
            to_client: Way::new(from_region, patience.client),
            patience,
            idle: Pace::default(),
        }
    }

    /// Whether the client has said that nothing more comes.
    pub fn client_ended(&self) -> bool {
        self.to_region.has_all()
    }

    /// Moves what can be moved; is ready once both ends have had everything, or the tunnel has broken.
    pub fn poll<C, R>(
        &mut self,
        cx: &mut Context<'_>,
        (client, region): (&mut C, &mut R),
        carried: &Carried,
    ) -> Poll<Result<(), Broken>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        R: AsyncRead + AsyncWrite + Unpin,
    {
        let up = self.to_region.poll(cx, client, region, &carried.to_region);
        let down = self.to_client.poll(cx, region, client, &carried.to_client);
        // Where both broke, a source tells more than a sink that is gone with it.
        match (up, down) {
            (Err(failure), _) => return Poll::Ready(Err(failure.between(End::Client, End::Region))),
            (_, Err(failure)) => return Poll::Ready(Err(failure.between(End::Region, End::Client))),
            (Ok(()), Ok(())) => {}
        }
        if self.to_region.is_over() && self.to_client.is_over() {
            return Poll::Ready(Ok(()));
        }
        let moved = self.to_region.take_moved() + self.to_client.take_moved();
        let left = self.to_region.is_over() || self.to_client.is_over();
        let within = if left { self.patience.half() } else { self.patience.idle };
        let demand = Demand { within, least: 1 };
        if moved > 0 {
            self.idle.moved(moved, demand);
        }
        self.idle.poll_too_slow(cx, demand).map(|()| Err(Broken::Idle))
    }
}

impl Failure {
    /// As it is told of the way from `source` to `sink`.
    fn between(self, source: End, sink: End) -> Broken {
        match self {
            Self::Source(cause) => Broken::Off(source, cause),
            Self::Stalled => Broken::Stalled(sink),
        }
    }
}

#[cfg(test)]
mod tests;

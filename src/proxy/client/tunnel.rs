//! A client's connection that carries a tunnel: whoever reads of it moves the tunnel, and gets its end alone.
//!
//! Never: hands a byte of a tunnel to the HTTP server, which has nothing to do with it any more.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Client, Rest};
use crate::proxy::pace::Demand;
use crate::proxy::rhumb::{RESPONSE_STALLED, TUNNEL_IDLE};
use crate::proxy::tunnel::{Broken, End, Patience, Relay};
use crate::proxy::upgrade::{Onward, Road};

/// The tunnel of a connection.
pub(super) struct Tunnel {
    road: Road,
    relay: Relay,
}

impl Client {
    /// Moves the tunnel. Ready without an error: it has ended in order. `idle`: how long it may carry nothing.
    pub(super) fn poll_tunnel(&mut self, cx: &mut Context<'_>, idle: Duration) -> Poll<io::Result<()>> {
        // The head in which the region agreed goes first.
        ready!(self.poll_out(cx))?;
        if self.tunnel.is_none() {
            self.begin(idle);
        }
        let Some(tunnel) = &mut self.tunnel else { return Poll::Ready(Ok(())) };
        let ends = (&mut self.io, &mut tunnel.road);
        let over = ready!(tunnel.relay.poll(cx, ends, self.line.carried()));
        self.ended |= tunnel.relay.client_ended();
        let ended = match over {
            Ok(()) => Ok(()),
            Err(broken) => Err(self.broke(broken)),
        };
        self.tunnel = None;
        Poll::Ready(ended)
    }

    /// Begins the tunnel, once. What came with the handshake is its first part.
    fn begin(&mut self, idle: Duration) {
        let Some(Onward { road, early }) = self.line.take_onward() else { return };
        self.rest = Rest::Unknown;
        self.out = Vec::new();
        self.writing.rest();
        let region = Demand { within: self.demand.within, least: 1 };
        let patience = Patience { idle, client: self.demand, region };
        let held = std::mem::take(&mut self.held);
        self.tunnel = Some(Box::new(Tunnel { road, relay: Relay::new(held, early, patience) }));
    }

    /// What a break at one end means to the other: one that was reset resets it. Where TLS was cut without a word, the
    /// connection below ended in order, and so does the other.
    fn broke(&self, broken: Broken) -> io::Error {
        match broken {
            Broken::Idle => {
                self.line.met_limit(TUNNEL_IDLE);
                io::ErrorKind::TimedOut.into()
            }
            Broken::Stalled(End::Client) => {
                self.line.met_limit(RESPONSE_STALLED);
                io::ErrorKind::TimedOut.into()
            }
            Broken::Stalled(End::Region) => io::Error::other("the region takes nothing"),
            Broken::Off(_, cause) if cause.kind() == io::ErrorKind::UnexpectedEof => cause,
            Broken::Off(End::Client, cause) => {
                if let Some(tunnel) = &self.tunnel {
                    tunnel.road.cut();
                }
                cause
            }
            Broken::Off(End::Region, cause) => {
                self.line.set_cut(true);
                cause
            }
        }
    }
}

//! Accepts connections on one thread and holds them.
//!
//! Never: waits for one client while others wait to be accepted.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::proxy::arrival::Arrival;
use crate::proxy::connection::Conversation;

/// How long to wait when the system has no room for a further connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Between two lines that say so.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// One listener as one thread sees it.
pub(super) struct Entrance {
    pub socket: TcpListener,
    pub arrival: Arc<Arrival>,
    pub conversation: Arc<Conversation>,
    /// Turns true when no more may come.
    pub is_closing: watch::Receiver<bool>,
    /// Turns true when those that wait for nothing have to go.
    pub is_leaving: watch::Receiver<bool>,
    /// Turns true when those that are here have to go.
    pub is_over: watch::Receiver<bool>,
    /// When it last said that there is no room, on the monotonic clock.
    pub told_at: Option<Duration>,
}

impl Entrance {
    /// Accepts until it is closing, and holds what it accepted until it is over.
    pub async fn accept(mut self) {
        let mut held = JoinSet::new();
        self.accept_while_open(&mut held).await;
        let (mut is_over, socket) = (self.is_over, self.socket);
        drop(socket);
        tokio::select! {
            () = async { while let Some(ended) = held.join_next().await { note(ended) } } => {}
            _ = is_over.wait_for(|over| *over) => {}
        }
    }

    async fn accept_while_open(&mut self, held: &mut JoinSet<()>) {
        let listener = match self.socket.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => listener,
            Err(cause) => {
                tracing::error!(%cause, "a listener cannot be used");
                return;
            }
        };
        let mut is_closing = self.is_closing.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = is_closing.wait_for(|closing| *closing) => return,
                Some(ended) = held.join_next() => {
                    note(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Other threads wait for the same listener: let them have the next one. What is refused costs
                    // nothing, and whoever comes after a crowd of it is not to wait a turn for each.
                    if self.take(stream, peer, held) {
                        tokio::task::yield_now().await;
                    }
                }
                Err(cause) if is_of_one_client(&cause) => {}
                Err(cause) => {
                    self.make_room(&cause);
                    tokio::time::sleep(NO_ROOM).await;
                }
            }
        }
    }

    /// The system has no room, most likely for want of files: some of those who wait have to go.
    fn make_room(&mut self, cause: &io::Error) {
        let now = self.conversation.clock.elapsed();
        let made = self.arrival.connections.make_room(now);
        self.conversation.recorder.limit_reached("open_files");
        if self.told_at.is_none_or(|told| now.saturating_sub(told) >= SAY_AGAIN) {
            self.told_at = Some(now);
            tracing::warn!(
                %cause, made,
                "no connection can be accepted; waiting ones are closed to make room (raise LimitNOFILE=, or lower \
                 limits.connections)"
            );
        }
    }

    /// Whether there was a place for it.
    fn take(&self, stream: TcpStream, peer: SocketAddr, held: &mut JoinSet<()>) -> bool {
        let Some(mut place) = self.arrival.admit(&stream, peer) else { return false };
        let counted = self.conversation.recorder.connection_opened();
        let (arrival, conversation) = (Arc::clone(&self.arrival), Arc::clone(&self.conversation));
        let (closing, leaving) = (self.is_closing.clone(), self.is_leaving.clone());
        held.spawn(async move {
            let _counted = counted;
            let seat = Arc::clone(place.seat());
            let served = async {
                if let Some(client) = arrival.receive(stream, peer, &mut place).await {
                    conversation.hold(client, closing, leaving).await;
                }
            };
            tokio::select! {
                biased;
                () = served => {}
                () = seat.given_up() => conversation.recorder.limit_reached("shed"),
            }
        });
        true
    }
}

/// A panic ends one connection, and is told; nothing else of it remains.
fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(cause) = ended
        && cause.is_panic()
    {
        tracing::error!(%cause, "a request panicked; its connection was closed");
    }
}

/// Whether accepting failed because of the client that was about to come, and not for want of room.
fn is_of_one_client(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}

//! One way of a tunnel: from a source to a sink, with one buffer in between.
//!
//! Never: reads on while what was read before is not written.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::proxy::pace::{Demand, Pace};

/// What is read at once, and so the most that one way keeps.
const CHUNK: usize = 16 * 1024;
/// So many reads in one turn. A way that never has to wait would let the other starve.
const TURN: usize = 8;

/// Why a way cannot go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its source broke off; what came before went on.
    Source(io::Error),
    /// Its sink takes too little.
    Stalled,
}

/// What is known of the source.
enum Source {
    Open,
    Ended,
    Broken(io::Error),
}

/// One way.
pub(super) struct Way {
    /// What was read and is not written.
    waits: BytesMut,
    source: Source,
    /// Whether the sink may still keep something to itself.
    unflushed: bool,
    /// Whether the sink has had everything and its end, or takes nothing any more.
    over: bool,
    demand: Demand,
    pace: Pace,
    moved: usize,
}

impl Way {
    /// A way whose sink is owed `early` before anything else, and has to take what it gets as `demand` says.
    pub fn new(early: BytesMut, demand: Demand) -> Self {
        Self {
            waits: early,
            source: Source::Open,
            unflushed: false,
            over: false,
            demand,
            pace: Pace::default(),
            moved: 0,
        }
    }

    /// Whether nothing goes this way any more.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the source has ended in order.
    pub const fn has_all(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    /// Bytes that were read or written since this was asked last.
    pub fn take_moved(&mut self) -> usize {
        std::mem::take(&mut self.moved)
    }

    /// Moves what can be moved now, and leaves its waker where it has to wait; `carried` counts what the sink took.
    ///
    /// # Errors
    /// The way cannot go on, and so neither can the tunnel.
    pub fn poll<S, T>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut T,
        carried: &AtomicU64,
    ) -> Result<(), Failure>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut turns = 0;
        while !self.over {
            match self.poll_out(cx, sink, carried) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    // Nobody takes anything here any more. Whether that was the sink's last word, the other way tells:
                    // it has what the sink said before, and then its end or what broke it.
                    self.give_up();
                    continue;
                }
                Poll::Pending => {
                    let slow = self.pace.poll_too_slow(cx, self.demand);
                    return if slow.is_ready() { Err(Failure::Stalled) } else { Ok(()) };
                }
            }
            match std::mem::replace(&mut self.source, Source::Open) {
                Source::Open if turns == TURN => {
                    cx.waker().wake_by_ref();
                    return Ok(());
                }
                Source::Open => {
                    turns += 1;
                    if self.poll_in(cx, source).is_pending() {
                        return Ok(());
                    }
                }
                // Written, flushed and told that nothing more comes.
                Source::Ended => {
                    self.source = Source::Ended;
                    self.over = true;
                }
                Source::Broken(cause) => return Err(Failure::Source(cause)),
            }
        }
        Ok(())
    }

    /// Writes what waits, flushes where nothing more is to be had at once, and passes on the end.
    fn poll_out<T>(&mut self, cx: &mut Context<'_>, sink: &mut T, carried: &AtomicU64) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        loop {
            let done = if !self.waits.is_empty() {
                match Pin::new(&mut *sink).poll_write(cx, &self.waits) {
                    Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => {
                        self.waits.advance(written);
                        carried.fetch_add(written as u64, Ordering::Relaxed);
                        self.unflushed = true;
                        self.moves(written);
                        continue;
                    }
                    Poll::Ready(Err(cause)) => Poll::Ready(Err(cause)),
                    Poll::Pending => Poll::Pending,
                }
            } else if self.unflushed {
                match Pin::new(&mut *sink).poll_flush(cx) {
                    Poll::Ready(Ok(())) => {
                        self.unflushed = false;
                        continue;
                    }
                    other => other,
                }
            } else if self.has_all() {
                Pin::new(&mut *sink).poll_shutdown(cx)
            } else {
                Poll::Ready(Ok(()))
            };
            return done;
        }
    }

    /// Reads once. What it came to is in `waits` and `source`.
    fn poll_in<S>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<()>
    where
        S: AsyncRead + Unpin,
    {
        self.waits.reserve(CHUNK);
        let read = pin!(source.read_buf(&mut (&mut self.waits).limit(CHUNK))).poll(cx);
        match read {
            Poll::Ready(Ok(0)) => self.source = Source::Ended,
            Poll::Ready(Ok(read)) => self.moves(read),
            Poll::Ready(Err(cause)) => self.source = Source::Broken(cause),
            Poll::Pending => {
                self.waits = BytesMut::new();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn moves(&mut self, bytes: usize) {
        self.pace.moved(bytes, self.demand);
        self.moved += bytes;
    }

    fn give_up(&mut self) {
        self.waits = BytesMut::new();
        self.over = true;
    }
}

//! Bodies that are made while they are sent: chunks at a steady pace, and a length of filler.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

static PAGE: [u8; 16 * 1024] = [b'.'; 16 * 1024];

/// `left` bytes of filler; the length is known beforehand.
pub(super) struct Filler {
    pub(super) left: u64,
}

/// `count` numbered lines, one chunk each, `every` apart; the length is not known beforehand.
pub(super) struct Paced {
    region: String,
    sent: u64,
    count: u64,
    every: Duration,
    pause: Pin<Box<Sleep>>,
    are_events: bool,
}

impl Paced {
    /// The first chunk goes at once.
    pub(super) fn new(region: &str, count: u64, every: Duration) -> Paced {
        let pause = Box::pin(sleep(Duration::ZERO));
        Paced { region: region.to_owned(), sent: 0, count, every, pause, are_events: false }
    }

    /// The same as server-sent events.
    pub(super) fn events(self) -> Paced {
        Paced { are_events: true, ..self }
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

impl HttpBody for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(PAGE.len());
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PAGE.split_at(length).0)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if self.sent == self.count {
            return Poll::Ready(None);
        }
        if self.pause.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.sent += 1;
        self.pause = Box::pin(sleep(self.every));
        let mut line = format!("chunk {} of {} from {}\n", self.sent, self.count, self.region);
        if self.are_events {
            line = format!("data: {line}\n");
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(line)))))
    }
}

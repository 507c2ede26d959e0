//! The faults a region can be told to commit, one per request.
//!
//! Each is made of four parts, so that a new one is a line: how much of the request is read, what is
//! said, when and how fast, and what becomes of the connection.

use std::time::Duration;

use bytes::Bytes;

/// What becomes of one request, and of its connection.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) reads_body: bool,
    pub(super) delay: Duration,
    pub(super) says: Says,
    pub(super) every_byte: Duration,
    pub(super) then: Then,
}

#[derive(Debug, Clone)]
pub(super) enum Says {
    /// The ordinary answer, with something before it, and something after it: at once, in the same
    /// segment, or so much later.
    Answer { before: Bytes, later: Option<Duration>, after: Bytes },
    /// These bytes instead.
    Raw(Bytes),
}

/// What becomes of a connection once all is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request is awaited on it.
    Keep,
    /// It is closed in order (FIN).
    Close,
    /// Its sending half is closed; it is read on until the other side closes too.
    HalfClose,
    /// It is reset (RST).
    Reset,
    /// Nothing, for as long as the region runs.
    Hang,
}

/// A way to get the end of an answer wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongFraming {
    /// `Content-Length` and `Transfer-Encoding: chunked`.
    Both,
    /// Two `Content-Length` that differ.
    TwoLengths,
    /// A `Content-Length` that is no number.
    NegativeLength,
    /// A chunk size that is no number.
    BadChunkSize,
    /// More bytes than `Content-Length` says.
    TooLong,
    /// A coding that nobody asked for and nobody knows.
    UnknownCoding,
}

impl Fault {
    /// None: a request is answered in order, and the connection kept.
    pub fn answer() -> Fault {
        Fault::answer_between(Bytes::new(), Bytes::new(), Then::Keep)
    }

    /// Answers as if the connection was kept, and closes it: FIN meets an idle pooled connection.
    pub fn answer_then_close() -> Fault {
        Fault::answer_between(Bytes::new(), Bytes::new(), Then::Close)
    }

    /// Answers on seeing the head, and closes its half: the body was not needed.
    pub fn early_answer() -> Fault {
        Fault { reads_body: false, then: Then::HalfClose, ..Fault::answer() }
    }

    /// Answers in order, then says something that nobody asked for, and keeps the connection: a client
    /// that reuses it gets the wrong answer.
    pub fn extra(unasked: impl Into<Bytes>) -> Fault {
        Fault::answer_between(Bytes::new(), unasked.into(), Then::Keep)
    }

    /// The same, but speaks only when the connection has idled for `later`.
    pub fn extra_later(later: Duration, unasked: impl Into<Bytes>) -> Fault {
        let says = Says::Answer { before: Bytes::new(), later: Some(later), after: unasked.into() };
        Fault { says, ..Fault::answer() }
    }

    /// Answers in order, `delay` after the request came.
    pub fn delayed(delay: Duration) -> Fault {
        Fault { delay, ..Fault::answer() }
    }

    /// Answers with `status` and nothing to read.
    pub fn status(status: u16) -> Fault {
        let answer = format!("HTTP/1.1 {status} Toy\r\nContent-Length: 2\r\n\r\n{{}}");
        Fault::raw(answer, Then::Keep)
    }

    /// `count` interim answers (103), then the ordinary one.
    pub fn interim(count: usize) -> Fault {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n".repeat(count);
        Fault::answer_between(hints.into(), Bytes::new(), Then::Keep)
    }

    /// The ordinary answer, one byte at a time.
    pub fn slow_bytes(every: Duration) -> Fault {
        Fault { every_byte: every, ..Fault::answer() }
    }

    /// Resets the connection when the head has come, before the body is read.
    pub fn reset_before_body() -> Fault {
        Fault { reads_body: false, ..Fault::raw("", Then::Reset) }
    }

    /// Resets the connection when the whole request has come: executed, and nobody will know.
    pub fn reset_after_request() -> Fault {
        Fault::raw("", Then::Reset)
    }

    /// Closes the connection when the whole request has come, without a byte of an answer.
    pub fn close_after_request() -> Fault {
        Fault::raw("", Then::Close)
    }

    /// The same, but closes its own half only.
    pub fn half_close() -> Fault {
        Fault::raw("", Then::HalfClose)
    }

    /// Resets the connection after `sent` of `of` bytes of the answer's body.
    pub fn reset_mid_body(sent: usize, of: usize) -> Fault {
        Fault::raw(part(sent, of), Then::Reset)
    }

    /// Closes the connection in order after `sent` of `of` bytes of the answer's body.
    pub fn truncated(sent: usize, of: usize) -> Fault {
        Fault::raw(part(sent, of), Then::Close)
    }

    /// Closes the connection in order after a chunk, without the last one.
    pub fn truncated_chunked() -> Fault {
        Fault::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Then::Close)
    }

    /// Takes the connection and the head, then neither reads nor speaks.
    pub fn hang() -> Fault {
        Fault { reads_body: false, ..Fault::raw("", Then::Hang) }
    }

    /// Takes the whole request, then never speaks.
    pub fn hang_after_request() -> Fault {
        Fault::raw("", Then::Hang)
    }

    /// Falls silent after `sent` of `of` bytes of the answer's body.
    pub fn hang_mid_body(sent: usize, of: usize) -> Fault {
        Fault::raw(part(sent, of), Then::Hang)
    }

    /// Says something that is not HTTP, and closes.
    pub fn garbage() -> Fault {
        Fault::raw(&b"\x16\x03\x01\x00\xff\x00SSH-2.0-nobody\r\n\x00\x01\x02\r\n\r\n"[..], Then::Close)
    }

    /// Answers with an end that cannot be found, or found twice, and keeps the connection.
    pub fn wrong_framing(how: WrongFraming) -> Fault {
        let rest = match how {
            WrongFraming::Both => {
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            }
            WrongFraming::TwoLengths => "Content-Length: 5\r\nContent-Length: 3\r\n\r\nhello",
            WrongFraming::NegativeLength => "Content-Length: -5\r\n\r\nhello",
            WrongFraming::BadChunkSize => "Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
            WrongFraming::TooLong => "Content-Length: 3\r\n\r\nhello",
            WrongFraming::UnknownCoding => "Transfer-Encoding: cipher\r\n\r\nhello",
        };
        Fault::raw(format!("HTTP/1.1 200 OK\r\n{rest}"), Then::Keep)
    }

    /// Says exactly `bytes` when the whole request has come.
    pub fn raw(bytes: impl Into<Bytes>, then: Then) -> Fault {
        Fault::says(Says::Raw(bytes.into()), then)
    }

    /// The same on seeing the head, without waiting for the body.
    #[must_use]
    pub fn before_body(self) -> Fault {
        Fault { reads_body: false, ..self }
    }

    /// The same, one byte at a time.
    #[must_use]
    pub fn slowly(self, every: Duration) -> Fault {
        Fault { every_byte: every, ..self }
    }

    fn answer_between(before: Bytes, after: Bytes, then: Then) -> Fault {
        Fault::says(Says::Answer { before, later: None, after }, then)
    }

    fn says(says: Says, then: Then) -> Fault {
        Fault { reads_body: true, delay: Duration::ZERO, says, every_byte: Duration::ZERO, then }
    }
}

fn part(sent: usize, of: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {of}\r\n\r\n{}", "x".repeat(sent.min(of)))
}

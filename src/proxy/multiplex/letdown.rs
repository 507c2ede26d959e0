//! The errors of a stream whose client does not do its part.
//!
//! Never: speaks against a region. All of them are the client's.

use pingora::{Error, ErrorType};

/// It neither sent nor took enough.
pub(super) fn stalled(what: ErrorType) -> Box<Error> {
    Error::explain(what, "the client let its stream stand still").into_down()
}

/// It let so much wait that others need the room.
pub(super) fn broken_off() -> Box<Error> {
    let cause = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
    Error::because(ErrorType::WriteError, "the client let too much wait", cause).into_down()
}

/// Its request's time is up.
pub(super) fn late() -> Box<Error> {
    Error::explain(ErrorType::ReadError, "the request's time is up").into_down()
}

//! An error of Pingora's, told as how an attempt failed.
//!
//! Why apart: what a region has certainly not begun with may be sent again whatever the method, and only the error of
//! the HTTP/2 library tells that. Pingora's own mark for "try again" also stands on what may have been carried out.
//!
//! Never: decides whether there is a further attempt; that is [`retry`](super::retry).

use std::io;

use h2::Reason;
use pingora::{Error, ErrorType};

use crate::proxy::retry::Failure;

/// How an attempt failed that ended with `error`, which a region caused. `stale`: on a connection that had been kept,
/// and that broke before an answer began.
pub(super) fn failure(error: &Error, stale: bool) -> Failure {
    if let Some(cause) = error.root_cause().downcast_ref::<h2::Error>()
        && let Some(unbegun) = unbegun(cause)
    {
        return unbegun;
    }
    match error.etype() {
        _ if is_silence(error) => Failure::Timeout,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::Timeout,
        _ if stale => Failure::Stale,
        _ => Failure::Reset,
    }
}

/// Whether a connection of our own waited for its other end for too long. The system's word for that means otherwise.
pub(super) fn is_silence(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut && cause.raw_os_error().is_none())
}

/// RFC 9113, sections 6.8 and 8.7. The library gives the error of a GOAWAY to those streams alone that lie beyond the
/// last one it names.
fn unbegun(cause: &h2::Error) -> Option<Failure> {
    match cause.reason().filter(|_| cause.is_remote())? {
        Reason::REFUSED_STREAM if cause.is_reset() => Some(Failure::Refused),
        Reason::NO_ERROR if cause.is_go_away() => Some(Failure::GoneAway),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_ourselves_proves_nothing_about_the_region() {
        let own = h2::Error::from(Reason::REFUSED_STREAM);
        let error = Error::because(ErrorType::H2Error, "while reading", own);
        assert_eq!(failure(&error, false), Failure::Reset);
        assert_eq!(failure(&error, true), Failure::Stale);
    }

    #[test]
    fn silence_on_a_connection_of_our_own_is_a_timeout_and_what_the_system_says_is_not() {
        let own = Error::because(ErrorType::ReadError, "", io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(failure(&own, false), Failure::Timeout);
        let systems = io::Error::from_raw_os_error(libc::ETIMEDOUT);
        assert_eq!(systems.kind(), io::ErrorKind::TimedOut);
        assert_eq!(failure(&Error::because(ErrorType::ReadError, "", systems), false), Failure::Reset);
    }

    #[test]
    fn other_errors_go_by_their_kind() {
        for (kind, told) in [
            (ErrorType::ReadTimedout, Failure::Timeout),
            (ErrorType::WriteTimedout, Failure::Timeout),
            (ErrorType::H2Error, Failure::Reset),
            (ErrorType::ConnectionClosed, Failure::Reset),
        ] {
            assert_eq!(failure(&Error::new_up(kind), false), told);
        }
    }
}

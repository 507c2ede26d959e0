//! May this request be sent again, and where: rules over plain data.
//!
//! Never: reads a clock, draws a number, or knows a connection.

use std::time::Duration;

use rhumb_decision::policy::Retries;
use rhumb_decision::table::Operation;
use rhumb_decision::units::{Key, mix};

/// The first pause before a request goes to the same region again; each further one may be twice as long.
const PAUSE: Duration = Duration::from_millis(25);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// No connection came about: nothing was sent.
    Connect,
    /// A connection that had been kept broke when it was used again: the region may have closed it long before.
    Stale,
    /// The region let it be known that it will not begin with the request, for want of room.
    Refused,
    /// The connection was closed in order, and the region let it be known that it will not begin with the request.
    GoneAway,
    /// The connection broke, or what came was no HTTP.
    Reset,
    /// Nothing came in time.
    Timeout,
    /// The region answered with this status.
    Status(u16),
}

impl Failure {
    /// The label of retries.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Stale | Self::Refused | Self::GoneAway | Self::Reset | Self::Timeout => "reset",
            Self::Status(_) => "status",
        }
    }

    /// What a span says of it; `None`: the status says it.
    pub const fn told(self) -> Option<&'static str> {
        match self {
            Self::Connect => Some("connect_failed"),
            Self::Stale => Some("stale_connection"),
            Self::Refused => Some("refused_stream"),
            Self::GoneAway => Some("gone_away"),
            Self::Reset => Some("reset"),
            Self::Timeout => Some("timeout"),
            Self::Status(_) => None,
        }
    }

    /// The label of failures; `None` where the region did not fail.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Connect => Some("connect_failed"),
            Self::Stale | Self::GoneAway => None,
            Self::Refused | Self::Reset => Some("reset"),
            Self::Timeout => Some("timeout"),
            Self::Status(_) => Some("status"),
        }
    }
}

/// A failed attempt and what matters about its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    /// How it failed.
    pub failure: Failure,
    /// The method.
    pub method: &'a str,
    /// What the request does.
    pub operation: Operation,
    /// The policy's rules.
    pub retries: &'a Retries,
    /// Attempts so far, this one included, without those that kept connections ate.
    pub attempts: u8,
    /// Whether the client has seen part of a response.
    pub response_begun: bool,
    /// Whether everything that was read of the body is still at hand.
    pub body_kept: bool,
    /// Whether the request carries an `Idempotency-Key`.
    pub idempotency_key: bool,
    /// Whether it was sent to the region that owns the tenant.
    pub at_owner: bool,
    /// What is left of its time; `None`: it has no limit.
    pub remaining: Option<Duration>,
}

/// How far a further attempt may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Another endpoint, in any region that the decision chooses.
    Anywhere,
    /// Another endpoint of the same region.
    Region,
    /// The same endpoint, by another connection; nothing speaks against it.
    Endpoint,
}

/// Whether there may be a further attempt, and how far it may go; `None`: this was the last.
///
/// - Nothing sent: another endpoint of the region; for reads, then another region.
/// - Sent, and the region says that it has not begun with it: as if nothing had been sent, while all of it is kept.
/// - Something sent: reads alone, while no response has begun and the body was kept. POST, PUT, PATCH and DELETE
///   never leave the region, and stay there only as a write's owner does, with an `Idempotency-Key`.
/// - A region that did not answer in time is not asked again: it may still be at work.
pub(super) fn scope(failed: &Failed<'_>) -> Option<Scope> {
    let retries = failed.retries;
    if failed.attempts >= retries.attempts || failed.remaining == Some(Duration::ZERO) {
        return None;
    }
    let wanted = match failed.failure {
        Failure::Connect => retries.on_connect,
        Failure::Refused | Failure::GoneAway => retries.on_reset || retries.on_connect,
        Failure::Stale | Failure::Reset => retries.on_reset,
        Failure::Timeout => false,
        Failure::Status(status) => retries.on_status.contains(&status),
    };
    if !wanted {
        return None;
    }
    let read = failed.operation == Operation::Read;
    if failed.failure == Failure::Connect {
        return Some(if read { Scope::Anywhere } else { Scope::Region });
    }
    if failed.response_begun || !failed.body_kept {
        return None;
    }
    match failed.failure {
        Failure::GoneAway => return Some(Scope::Endpoint),
        Failure::Refused => return Some(if read { Scope::Anywhere } else { Scope::Region }),
        _ => {}
    }
    let changes = matches!(failed.method, "POST" | "PUT" | "PATCH" | "DELETE") || !read;
    if changes && !(failed.idempotency_key && failed.at_owner) {
        return None;
    }
    Some(match failed.failure {
        Failure::Stale => Scope::Endpoint,
        _ if changes => Scope::Region,
        _ => Scope::Anywhere,
    })
}

/// How long to wait before a further attempt at the same region: full jitter over a range that doubles from 25 ms
/// to 250 ms.
///
/// - `retry`: 1 for the first.
/// - `chance`: drawn for the request.
pub(super) fn pause(retry: u8, chance: Key) -> Duration {
    let range = PAUSE.saturating_mul(1 << retry.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
    let micros = u128::from(mix(chance.0 ^ u64::from(retry))) * range.as_micros();
    Duration::from_micros((micros >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::policy::Topology;

    fn retries() -> Retries {
        Topology::SingleWriter.preset().retries
    }

    fn failed<'a>(failure: Failure, method: &'a str, retries: &'a Retries) -> Failed<'a> {
        Failed {
            failure,
            method,
            operation: if method == "GET" { Operation::Read } else { Operation::Write },
            retries,
            attempts: 1,
            response_begun: false,
            body_kept: true,
            idempotency_key: false,
            at_owner: true,
            remaining: Some(Duration::from_secs(1)),
        }
    }

    const FAILURES: [Failure; 8] = [
        Failure::Refused,
        Failure::GoneAway,
        Failure::Connect,
        Failure::Stale,
        Failure::Reset,
        Failure::Timeout,
        Failure::Status(503),
        Failure::Status(500),
    ];

    #[test]
    fn the_table_of_methods_and_failures() {
        use Scope::{Anywhere, Endpoint, Region};
        let retries = retries();
        for (method, operation, key, expected) in [
            (
                "GET",
                Operation::Read,
                false,
                [Some(Anywhere), Some(Endpoint), Some(Anywhere), None, Some(Anywhere), None],
            ),
            ("GET", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            ("POST", Operation::Read, false, [Some(Anywhere), None, None, None, None, None]),
            (
                "POST",
                Operation::Read,
                true,
                [Some(Anywhere), Some(Endpoint), Some(Region), None, Some(Region), None],
            ),
            ("POST", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            (
                "POST",
                Operation::Write,
                true,
                [Some(Region), Some(Endpoint), Some(Region), None, Some(Region), None],
            ),
            ("PUT", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            ("PATCH", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            ("DELETE", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            (
                "DELETE",
                Operation::Write,
                true,
                [Some(Region), Some(Endpoint), Some(Region), None, Some(Region), None],
            ),
            ("REPORT", Operation::Write, false, [Some(Region), None, None, None, None, None]),
            (
                "REPORT",
                Operation::Read,
                false,
                [Some(Anywhere), Some(Endpoint), Some(Anywhere), None, Some(Anywhere), None],
            ),
        ] {
            let untouched = if operation == Operation::Read { Anywhere } else { Region };
            let never_begun = [Some(untouched), Some(Endpoint)];
            for (failure, expected) in FAILURES.into_iter().zip(never_begun.into_iter().chain(expected)) {
                let failed = Failed { operation, idempotency_key: key, ..failed(failure, method, &retries) };
                assert_eq!(scope(&failed), expected, "{method} {operation:?} key: {key} {failure:?}");
            }
        }
    }

    #[test]
    fn a_change_with_a_key_is_repeated_at_the_owner_alone() {
        let retries = retries();
        let failed = Failed { idempotency_key: true, ..failed(Failure::Reset, "POST", &retries) };
        assert_eq!(scope(&failed), Some(Scope::Region));
        assert_eq!(scope(&Failed { at_owner: false, ..failed }), None);
    }

    #[test]
    fn nothing_is_sent_again_once_a_response_began_or_the_body_is_gone() {
        let retries = retries();
        let sent =
            [Failure::Refused, Failure::GoneAway, Failure::Stale, Failure::Reset, Failure::Status(503)];
        for failure in sent {
            let failed = failed(failure, "GET", &retries);
            assert!(scope(&failed).is_some());
            assert_eq!(scope(&Failed { response_begun: true, ..failed }), None);
            assert_eq!(scope(&Failed { body_kept: false, ..failed }), None);
        }
    }

    #[test]
    fn attempts_and_time_run_out() {
        let retries = retries();
        for failure in FAILURES {
            let failed = failed(failure, "GET", &retries);
            assert_eq!(scope(&Failed { attempts: 3, ..failed }), None);
            assert_eq!(scope(&Failed { remaining: Some(Duration::ZERO), ..failed }), None);
        }
        let failed = failed(Failure::Connect, "GET", &retries);
        assert!(scope(&Failed { remaining: None, attempts: 2, ..failed }).is_some());
    }

    #[test]
    fn a_policy_chooses_what_is_tried_again() {
        let none = Retries { on_connect: false, on_reset: false, on_status: Box::new([]), ..retries() };
        for failure in FAILURES {
            assert_eq!(scope(&failed(failure, "GET", &none)), None, "{failure:?}");
        }
        let other = Retries { on_status: Box::new([500]), ..retries() };
        assert!(scope(&failed(Failure::Status(500), "GET", &other)).is_some());
        assert_eq!(scope(&failed(Failure::Status(503), "GET", &other)), None);
    }

    #[test]
    fn pauses_stay_in_a_range_that_doubles_and_ends() {
        for chance in 0..1_000 {
            for (retry, most) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (255, 250)] {
                assert!(pause(retry, Key(chance)) <= Duration::from_millis(most));
            }
        }
        let longest = (0..1_000).map(|chance| pause(5, Key(chance))).max().unwrap();
        assert!(longest > Duration::from_millis(240));
    }
}

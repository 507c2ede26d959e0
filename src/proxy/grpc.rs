//! What is particular to gRPC: which requests are calls, and how long a call may take.
//!
//! Never: reads a message.

use std::time::Duration;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use rhumb_decision::reason::Refusal;

/// `grpc-timeout`, which the `http` crate has no constant for.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// More digits may not be sent.
const DIGITS: usize = 8;
/// Larger numbers have more.
const MOST: u128 = 99_999_999;

/// The units, from the finest, and their lengths in nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Whether a request or response of this `Content-Type` is a call's. What browsers send instead is no gRPC.
pub(super) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let grpc = b"application/grpc";
    match content_type.and_then(|value| value.split_at_checked(grpc.len())) {
        Some((kind, [] | [b'+' | b';', ..])) => kind.eq_ignore_ascii_case(grpc),
        _ => false,
    }
}

/// The same for a head.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    is_grpc(headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))
}

/// How long the client waits for its call; `None`: it does not say.
///
/// # Errors
/// It says so twice, or in a way that is not the protocol's: at most eight digits and one of `H M S m u n`.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let mut said = headers.get_all(GRPC_TIMEOUT).iter();
    match (said.next(), said.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => read(value.as_bytes()).map(Some).ok_or(Refusal::BadRequest),
        (Some(_), Some(_)) => Err(Refusal::BadRequest),
    }
}

fn read(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'n' => Duration::from_nanos(number),
        b'u' => Duration::from_micros(number),
        b'm' => Duration::from_millis(number),
        b'S' => Duration::from_secs(number),
        b'M' => Duration::from_secs(number * 60),
        b'H' => Duration::from_secs(number * 3_600),
        _ => return None,
    })
}

/// What is left of a call's time, as the next process is told: rounded down in the finest unit that has room for it,
/// and never more than there is.
pub(super) fn written(left: Duration) -> String {
    let nanos = left.as_nanos();
    let fits = UNITS.iter().map(|(unit, length)| (nanos / length, unit)).find(|(number, _)| *number <= MOST);
    let (number, unit) = fits.unwrap_or((MOST, &b'H'));
    format!("{number}{}", char::from(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[&str]) -> Result<Option<Duration>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(GRPC_TIMEOUT, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        timeout(&headers)
    }

    #[test]
    fn a_timeout_is_read_in_each_of_its_units() {
        for (value, nanos) in [
            ("1n", 1),
            ("99999999n", 99_999_999),
            ("5u", 5_000),
            ("250m", 250_000_000),
            ("0S", 0),
            ("00000001S", 1_000_000_000),
            ("2M", 120_000_000_000),
            ("99999999H", 99_999_999 * 3_600_000_000_000_u128),
        ] {
            assert_eq!(said(&[value]).unwrap().unwrap().as_nanos(), nanos, "{value}");
        }
        assert_eq!(said(&[]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        for odd in [
            "",
            "S",
            "1",
            "100000000n",
            "-1S",
            "+1S",
            "1.5S",
            " 1S",
            "1S ",
            "1 S",
            "1s",
            "1h",
            "1ms",
            "0x1S",
            "1S,2S",
            "\u{661}S",
        ] {
            assert_eq!(said(&[odd]), Err(Refusal::BadRequest), "{odd:?}");
        }
        assert_eq!(said(&["1S", "1S"]), Err(Refusal::BadRequest));
    }

    #[test]
    fn what_is_left_is_told_in_few_digits_and_never_as_more() {
        for (left, told) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_millis(1_500), "1500000u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(86_400), "86400000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(left), told);
            let read = read(told.as_bytes()).unwrap();
            assert!(read <= left, "{told}");
        }
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(Some(kind.as_bytes())), expected, "{kind}");
        }
        assert!(!is_grpc(None));
    }
}

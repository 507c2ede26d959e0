//! Names for a request: `X-Request-ID`, and `traceparent` and `tracestate` as the W3C writes them.
//!
//! Never draws a number: what is random is an argument.

use std::fmt;

use arrayvec::ArrayVec;

/// The longest request id that is kept.
const ID_BYTES: usize = 64;

/// A request's id: 1 to 64 letters, digits, `.`, `_` and `-`, safe in a header, a log and a file name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    bytes: [u8; ID_BYTES],
    len: u8,
}

impl RequestId {
    /// The id that the client sent, if it is well formed; else 32 hexadecimal digits of `random`.
    #[must_use]
    pub fn kept_or_made(received: Option<&[u8]>, random: u128) -> Self {
        received.and_then(Self::kept).unwrap_or_else(|| Self::made(random))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|id| str::from_utf8(id).ok()).unwrap_or_default()
    }

    fn kept(received: &[u8]) -> Option<Self> {
        let fits =
            received.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let mut bytes = [0; ID_BYTES];
        bytes.get_mut(..received.len()).filter(|_| fits && !received.is_empty())?.copy_from_slice(received);
        Some(Self { bytes, len: received.len().try_into().ok()? })
    }

    fn made(random: u128) -> Self {
        let mut bytes = [0; ID_BYTES];
        write_hex(&mut bytes[..32], random);
        Self { bytes, len: 32 }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// A place in a trace: which trace, which span of it, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace, never 0.
    pub trace: u128,
    /// The span, never 0.
    pub span: u64,
    /// Whether whoever began the trace records it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a `traceparent`, of version 00 or a later one that begins alike.
    ///
    /// Returns `None` if it is malformed, or names trace or span 0: then a trace begins here.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, later) = value.split_at_checked(55)?;
        let [v1, v2, b'-', rest @ ..] = known else { return None };
        let version = read_hex(&[*v1, *v2])?;
        let fits = match version {
            0 => later.is_empty(),
            0xff => false,
            _ => matches!(later, [] | [b'-', ..]),
        };
        let (trace, rest) = rest.split_at_checked(32)?;
        let [b'-', rest @ ..] = rest else { return None };
        let (span, rest) = rest.split_at_checked(16)?;
        let [b'-', flags @ ..] = rest else { return None };
        let (trace, span, flags) = (read_hex(trace)?, read_hex(span)?, read_hex(flags)?);
        (fits && trace != 0 && span != 0).then_some(Self {
            trace,
            span: span as u64,
            sampled: flags & 1 == 1,
        })
    }

    /// The beginning of a trace.
    #[must_use]
    pub fn begun(random_trace: u128, random_span: u64, sampled: bool) -> Self {
        Self { trace: random_trace.max(1), span: random_span.max(1), sampled }
    }

    /// As in the header: version 00.
    #[must_use]
    pub fn text(&self) -> [u8; 55] {
        let mut text = *b"00-????????????????????????????????-????????????????-0?";
        write_hex(&mut text[3..35], self.trace);
        write_hex(&mut text[36..52], u128::from(self.span));
        write_hex(&mut text[53..], u128::from(self.sampled));
        text
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn continued(self, random_span: u64) -> Self {
        Self { span: random_span.max(1), ..self }
    }
}

/// As in the header: version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// The most entries that a `tracestate` may have.
const MOST_ENTRIES: usize = 32;

/// What the fields of a `tracestate` say together, in their order.
///
/// Returns `None` where there are none, or the W3C's grammar does not allow them: too many entries, one that is no
/// `key=value`, or a key twice. It is then as if nothing had been sent.
#[must_use]
pub fn trace_state<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut entries: ArrayVec<(&str, &str), MOST_ENTRIES> = ArrayVec::new();
    for field in fields {
        // Empty entries are allowed, and say nothing.
        for entry in str::from_utf8(field).ok()?.split(',').map(|entry| entry.trim_matches([' ', '\t'])) {
            if entry.is_empty() {
                continue;
            }
            let (key, value) = entry.split_once('=').filter(|(key, value)| is_key(key) && is_value(value))?;
            if entries.iter().any(|(other, _)| *other == key) {
                return None;
            }
            entries.try_push((key, value)).ok()?;
        }
    }
    let mut whole = String::new();
    for (key, value) in &entries {
        let comma = if whole.is_empty() { "" } else { "," };
        whole.extend([comma, key, "=", value]);
    }
    (!whole.is_empty()).then_some(whole)
}

/// `key`, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
    let part = |part: &str, digit_first: bool, most: usize| {
        let first = part.bytes().next();
        (1..=most).contains(&part.len())
            && part.bytes().all(rest)
            && first.is_some_and(|first| first.is_ascii_lowercase() || digit_first && first.is_ascii_digit())
    };
    match key.split_once('@') {
        Some((tenant, system)) => part(tenant, true, 241) && part(system, false, 14),
        None => part(key, true, 256),
    }
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

/// Lower-case hexadecimal digits alone, as `traceparent` demands; at most 32 of them.
fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Fills `digits` with the lowest bits of `number`.
fn write_hex(digits: &mut [u8], mut number: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_well_formed_id_is_kept() {
        let longest = "a".repeat(64);
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "A-b_c.9", longest.as_str()] {
            assert_eq!(RequestId::kept_or_made(Some(id.as_bytes()), 7).as_str(), id);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let too_long = "a".repeat(65);
        for id in ["", "../../x", "a b", "a\"b", "a\u{e9}", "a,b", too_long.as_str()] {
            let made = RequestId::kept_or_made(Some(id.as_bytes()), 0xab);
            assert_eq!(made.as_str(), format!("{:032x}", 0xab), "{id}");
        }
        assert_eq!(RequestId::kept_or_made(None, u128::MAX).to_string(), "f".repeat(32));
    }

    #[test]
    fn a_valid_trace_is_read_and_continued() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = TraceParent::read(value.as_bytes()).unwrap();
        assert_eq!(read.to_string(), value);
        assert!(read.sampled);
        let next = read.continued(0xff);
        assert_eq!(next.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ff-01");
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-more";
        assert_eq!(TraceParent::read(later.as_bytes()), Some(TraceParent { sampled: false, ..read }));
    }

    #[test]
    fn an_invalid_trace_is_not_believed() {
        for value in [
            "",
            "00-00000000000000000000000000000000-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
        ] {
            assert_eq!(TraceParent::read(value.as_bytes()), None, "{value}");
        }
    }

    fn state(fields: &[&str]) -> Option<String> {
        trace_state(fields.iter().map(|field| field.as_bytes()))
    }

    #[test]
    fn a_state_that_holds_is_joined_in_its_order() {
        let longest = format!("{}={}", "k".repeat(256), "v".repeat(256));
        let most: Vec<_> = (0..32).map(|at| format!("k{at}=1")).collect();
        for (fields, whole) in [
            (&["a=1"][..], "a=1"),
            (&["a=1,b=2", "c=3"], "a=1,b=2,c=3"),
            (&[" a=1 ,\t,b= 2 3 ", "", ","], "a=1,b= 2 3"),
            (&["0a_-*/@x-1=!~"], "0a_-*/@x-1=!~"),
            (&[&longest], &longest),
            (&[&most.join(",")], &most.join(",")),
        ] {
            assert_eq!(state(fields).as_deref(), Some(whole), "{fields:?}");
        }
    }

    #[test]
    fn a_state_that_does_not_hold_is_none() {
        let (key, value) = (format!("{}=1", "k".repeat(257)), format!("k={}", "v".repeat(257)));
        let many: Vec<_> = (0..33).map(|at| format!("k{at}=1")).collect();
        for fields in [
            &[][..],
            &[""],
            &[" , ,"],
            &["a"],
            &["=1"],
            &["a="],
            &["a =1"],
            &["A=1"],
            &["é=1"],
            &["a=é"],
            &["a=1=2"],
            &["a=\u{7f}"],
            &["a@b@c=1"],
            &["@b=1"],
            &["a@=1"],
            &["a@0=1"],
            &["a=1,a=2"],
            &["a=1", "b=2,a=3"],
            &[&key],
            &[&value],
            &[&many.join(",")],
        ] {
            assert_eq!(state(fields), None, "{fields:?}");
        }
        assert_eq!(trace_state([&b"a=\xff"[..]].into_iter()), None);
    }

    proptest! {
        #[test]
        fn what_is_begun_can_be_read(trace: u128, span: u64, sampled: bool) {
            let begun = TraceParent::begun(trace, span, sampled);
            prop_assert_eq!(TraceParent::read(begun.to_string().as_bytes()), Some(begun));
        }

        #[test]
        fn no_bytes_break_it(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceParent::read(&value);
            let _ = trace_state([&value[..], &value[..]].into_iter());
            let id = RequestId::kept_or_made(Some(&value), 1);
            prop_assert!((1..=64).contains(&id.as_str().len()));
        }
    }

    #[test]
    fn a_trace_of_no_luck_is_valid_all_the_same() {
        assert_eq!(TraceParent::begun(0, 0, false), TraceParent { trace: 1, span: 1, sampled: false });
    }
}

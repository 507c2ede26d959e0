//! Durations and sizes, as operators write them.
//!
//! A bare number is refused: whoever writes `timeout = 30` means seconds as often as milliseconds.

use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer};

use super::values::from_text;
use super::wrong::cut;

/// A duration of `MIN` to `MAX` milliseconds, written as a whole number with `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period<const MIN: u64 = 0, const MAX: u64 = YEAR>(pub Duration);

/// The longest duration anybody may write, in milliseconds: far from every overflow of a clock.
pub const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;

/// Reads `250ms`, `2s`, `5m`, `2h`, `0s`, up to a year.
///
/// Errors: as `what; fix`, when the number or the unit is missing, or the number too large.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let wrong = || {
        format!("\"{}\" is no duration; write a whole number and ms, s, m or h, such as \"5s\"", cut(text))
    };
    let millis = with_unit(text, &units).ok_or_else(wrong)?;
    match millis {
        Some(millis) if millis <= YEAR => Ok(Duration::from_millis(millis)),
        _ => Err(format!("{} is longer than a year; write at most \"8760h\"", cut(text))),
    }
}

/// Reads `32KiB`, `1MiB`, `1GiB`, `512B` as bytes.
///
/// Errors: as `what; fix`, when the number or the unit is missing, or the number too large.
pub fn size(text: &str) -> Result<u64, String> {
    let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    if let Some(bytes) = with_unit(text, &units) {
        return bytes.ok_or_else(|| format!("{} is too large; write a smaller size", cut(text)));
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    let meant = units.iter().skip(1).map(|(unit, _)| *unit).find(|known| {
        let first = known.get(..1).unwrap_or_default();
        unit.eq_ignore_ascii_case(first)
            || unit.eq_ignore_ascii_case(known)
            || unit.eq_ignore_ascii_case(&format!("{first}B"))
    });
    Err(match meant {
        Some(meant) if digits.parse::<u64>().is_ok() => {
            format!("\"{}\" is no size; write \"{digits}{meant}\"", cut(text))
        }
        _ => format!(
            "\"{}\" is no size; write a whole number and B, KiB, MiB or GiB, such as \"32KiB\"",
            cut(text)
        ),
    })
}

/// `None`: not of the form number and unit. `Some(None)`: beyond 64 bits.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<Option<u64>> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let (_, scale) = units.iter().find(|(known, _)| *known == unit)?;
    if digits.is_empty() {
        return None;
    }
    Some(digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale)))
}

impl<const MIN: u64, const MAX: u64> FromStr for Period<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let period = duration(text)?;
        if period < Duration::from_millis(MIN) {
            return Err(format!("{text} is too short; write at least \"{}\"", written(MIN)));
        }
        if period > Duration::from_millis(MAX) {
            return Err(format!("{text} is too long; write at most \"{}\"", written(MAX)));
        }
        Ok(Self(period))
    }
}

/// Milliseconds as one would write them.
fn written(millis: u64) -> String {
    let unit = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find(|(_, scale)| millis >= *scale && millis.is_multiple_of(*scale));
    match unit {
        Some((unit, scale)) => format!("{}{unit}", millis / scale),
        None => format!("{millis}ms"),
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Period<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from_text(from, "a duration such as \"5s\"")
    }
}

impl<const MIN: u64, const MAX: u64> From<Period<MIN, MAX>> for Duration {
    fn from(period: Period<MIN, MAX>) -> Self {
        period.0
    }
}

/// A size of `MIN` to `MAX` bytes, written as a whole number with `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const MIN: u64 = 1, const MAX: u64 = { u64::MAX }>(pub u64);

impl<const MIN: u64, const MAX: u64> FromStr for Size<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match size(text)? {
            bytes if bytes < MIN => Err(format!("{text} is too small; write at least \"{}\"", sized(MIN))),
            bytes if bytes > MAX => Err(format!("{text} is too large; write at most \"{}\"", sized(MAX))),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// Bytes as one would write them.
fn sized(bytes: u64) -> String {
    let unit = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    match unit {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => format!("{bytes}B"),
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from_text(from, "a size such as \"32KiB\"")
    }
}

impl<const MIN: u64, const MAX: u64> From<Size<MIN, MAX>> for u64 {
    fn from(size: Size<MIN, MAX>) -> Self {
        size.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_four_units() {
        let millis = |text| duration(text).map(|d| d.as_millis());
        for (text, wanted) in [
            ("250ms", 250),
            ("2s", 2000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("0s", 0),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(millis(text), Ok(wanted), "{text}");
        }
        for text in ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "5sec", "1h30m", "٣s", "5d"] {
            let wrong = millis(text).unwrap_err();
            assert!(wrong.contains("is no duration; write"), "{text}: {wrong}");
        }
        for text in ["8761h", "99999999999999999999s", "18446744073709551615h"] {
            assert!(millis(text).unwrap_err().contains("longer than a year"), "{text}");
        }
    }

    #[test]
    fn sizes_take_binary_units_and_say_so_to_who_writes_others() {
        for (text, wanted) in
            [("0B", 0), ("512B", 512), ("32KiB", 32768), ("1MiB", 1 << 20), ("3GiB", 3 << 30)]
        {
            assert_eq!(size(text), Ok(wanted), "{text}");
        }
        for (text, meant) in
            [("32KB", "32KiB"), ("32k", "32KiB"), ("1mib", "1MiB"), ("2 GB", "2GiB"), ("1G", "1GiB")]
        {
            assert_eq!(size(text).unwrap_err(), format!("\"{text}\" is no size; write \"{meant}\""));
        }
        for text in ["", "5", "KiB", "1.5MiB", "-1B", "5TiB"] {
            assert!(size(text).unwrap_err().contains("is no size; write a whole number"), "{text}");
        }
        assert!(size("99999999999999GiB").unwrap_err().contains("too large"));
    }

    #[test]
    fn bounds_are_told_as_one_would_write_them() {
        assert_eq!("0s".parse::<Period<1>>().unwrap_err(), "0s is too short; write at least \"1ms\"");
        assert_eq!("2h".parse::<Period<0, 3_600_000>>().unwrap_err(), "2h is too long; write at most \"1h\"");
        assert_eq!("1B".parse::<Size<1024>>().unwrap_err(), "1B is too small; write at least \"1KiB\"");
        assert_eq!(
            "2GiB".parse::<Size<1, 1500>>().unwrap_err(),
            "2GiB is too large; write at most \"1500B\""
        );
        assert_eq!("1024B".parse::<Size<1024>>(), Ok(Size(1024)));
    }
}

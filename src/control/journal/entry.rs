//! What happened, and the place in the order that it was given.
//!
//! Never: a time of its own, or a sense of what a change means: those who write it say both.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use time::{Date, Month, OffsetDateTime, Time};

use super::{Action, Hash};

/// What happened: all that is said of it before it has a place in the order.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// When.
    pub time: WallTime,
    /// Who: the name of a token, or the edge itself.
    pub actor: String,
    /// From where: an address, or `edge`.
    pub source: String,
    /// What.
    pub action: Action,
    /// The region that it is about, by name, where it is about one.
    pub region: Option<String>,
    /// Why, in the words of whoever did it; may be empty.
    pub reason: String,
    /// What was, for people and programs to read.
    pub before: Value,
    /// What is.
    pub after: Value,
    /// The generation of the snapshot that it was based on.
    pub generation: u64,
    /// The revision that it leads to; see [`super::StateStore::append`].
    pub revision: u64,
    /// What a replay folds; `None` where there is nothing to fold, as with a failover.
    pub change: Option<Value>,
}

/// One line of the journal.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its place: the first is 1, and none is left out.
    pub seq: u64,
    /// What happened.
    pub record: Record,
    /// The hash over this line and, through the one before it, over all lines before.
    pub hash: Hash,
}

/// Wall time in milliseconds since 1970, UTC. Written as RFC 3339: `2026-06-01T09:30:00.250Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime(u64);

/// The last millisecond of the year 9999, behind which RFC 3339 has no words.
const LAST: u64 = 253_402_300_799_999;

impl WallTime {
    /// Milliseconds since 1970; what lies behind the year 9999 is its end.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > LAST { LAST } else { millis })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The time that this text is, in exactly the form that it is written in; `None`: it is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
        let byte = |from: usize, to: usize| part(from, to).and_then(|number| u8::try_from(number).ok());
        let month = Month::try_from(byte(5, 7)?).ok()?;
        let date = Date::from_calendar_date(i32::from(part(0, 4)?), month, byte(8, 10)?).ok()?;
        let time = Time::from_hms_milli(byte(11, 13)?, byte(14, 16)?, byte(17, 19)?, part(20, 23)?).ok()?;
        let at = date.with_time(time).assume_utc().unix_timestamp_nanos() / 1_000_000;
        let parsed = Self(u64::try_from(at).ok()?);
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl From<Duration> for WallTime {
    /// Of a span since 1970, as [`crate::control::clock::Clock::wall`] tells it.
    fn from(since_1970: Duration) -> Self {
        Self::from_millis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let milli = self.0 % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

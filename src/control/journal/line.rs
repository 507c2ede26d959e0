//! One entry as one line of JSON, and the chain of hashes that holds the lines together.
//!
//! ```text
//! {"v":1,"seq":7,"time":"…", … ,"change":null,"hash":"<64 hex digits>"}
//! hash = SHA-256( the hash of the line before, as its 64 digits, then this line without `,"hash":"…"` )
//! ```
//!
//! The hash is over the bytes as they stand in the file, so no spelling of the same JSON passes for another.
//!
//! Never: reads or writes a file.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Action, Entry, FORMAT, LONGEST_LINE, Record, WallTime};

/// A link of the chain: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// What stands before a line's hash, and after it.
const OPENS: &[u8] = b",\"hash\":\"";
const CLOSES: &[u8] = b"\"}";

/// How many bytes of a line its hash takes, with what stands around it.
const TAIL: usize = OPENS.len() + 64 + CLOSES.len();

impl Hash {
    /// What stands before the first line of all.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of `body` behind `self`. A body is a JSON object; it comes without its closing brace.
    pub(super) fn then(self, body: &[u8]) -> Self {
        let mut over = Sha256::new();
        over.update(self.to_string());
        over.update(body);
        over.update(b"}");
        Self(over.finalize().into())
    }

    /// Of its 64 digits.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 64 || !lower {
            return None;
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Puts its hash at the end of a JSON object.
pub(super) fn seal(object: &str, before: Hash) -> (String, Hash) {
    let body = object.strip_suffix('}').unwrap_or(object);
    let hash = before.then(body.as_bytes());
    (format!("{body},\"hash\":\"{hash}\"}}"), hash)
}

/// A sealed object taken apart: what its hash is over, and its hash. `None`: it does not end in one.
pub(super) fn unseal(sealed: &[u8]) -> Option<(&[u8], Hash)> {
    let (body, tail) = sealed.split_at_checked(sealed.len().checked_sub(TAIL)?)?;
    let digits = tail.strip_prefix(OPENS)?.strip_suffix(CLOSES)?;
    Some((body, Hash::parse(std::str::from_utf8(digits).ok()?)?))
}

#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    seq: u64,
    time: String,
    actor: &'a str,
    source: &'a str,
    action: &'static str,
    region: Option<&'a str>,
    reason: &'a str,
    before: &'a Value,
    after: &'a Value,
    generation: u64,
    revision: u64,
    change: &'a Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "v")]
    _v: u64,
    seq: u64,
    time: String,
    actor: String,
    source: String,
    action: String,
    region: Option<String>,
    reason: String,
    before: Value,
    after: Value,
    generation: u64,
    revision: u64,
    change: Option<Value>,
    #[serde(rename = "hash")]
    _hash: String,
}

#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

/// Why a line cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unreadable {
    /// It is of this format, which is newer than ours.
    Newer(u64),
    /// It is no entry; why, in words.
    Not(String),
}

/// An entry as its line, without the line break.
///
/// # Errors
/// In words: it is too long, or would not read back as it is, as with JSON that is nested too deep.
pub(super) fn encode(mut record: Record, seq: u64, before: Hash) -> Result<(String, Entry), String> {
    record.change = record.change.filter(|change| !change.is_null());
    let written = Written {
        v: FORMAT,
        seq,
        time: record.time.to_string(),
        actor: &record.actor,
        source: &record.source,
        action: record.action.code(),
        region: record.region.as_deref(),
        reason: &record.reason,
        before: &record.before,
        after: &record.after,
        generation: record.generation,
        revision: record.revision,
        change: &record.change,
    };
    let object = serde_json::to_string(&written).map_err(|e| e.to_string())?;
    let (line, hash) = seal(&object, before);
    if line.len() > LONGEST_LINE {
        return Err(format!("it takes {} bytes, {LONGEST_LINE} are the most", line.len()));
    }
    match decode(line.as_bytes()) {
        Ok(read) if read.seq == seq && read.hash == hash => Ok((line, Entry { seq, record, hash })),
        Ok(_) => Err("it would not read back as it is".to_owned()),
        Err(Unreadable::Not(why)) => Err(format!("it would not read back: {why}")),
        Err(Unreadable::Newer(found)) => Err(format!("it would be of format {found}")),
    }
}

/// The entry that a line is. Whether its hash is right is another question: see [`fits`].
pub(super) fn decode(line: &[u8]) -> Result<Entry, Unreadable> {
    let not = |why: &dyn fmt::Display| Unreadable::Not(why.to_string());
    let v = version(line).map_err(|e| not(&e))?;
    if v > FORMAT {
        return Err(Unreadable::Newer(v));
    }
    if v < 1 {
        return Err(not(&"there is no format 0"));
    }
    let (_, hash) = unseal(line).ok_or_else(|| not(&"it does not end in its hash"))?;
    let read: Read = serde_json::from_slice(line).map_err(|e| not(&e))?;
    let record = Record {
        time: WallTime::parse(&read.time).ok_or_else(|| not(&"its time is none"))?,
        actor: read.actor,
        source: read.source,
        action: Action::of(&read.action).ok_or_else(|| not(&"its action is none"))?,
        region: read.region,
        reason: read.reason,
        before: read.before,
        after: read.after,
        generation: read.generation,
        revision: read.revision,
        change: read.change,
    };
    Ok(Entry { seq: read.seq, record, hash })
}

/// The format that a JSON object says it is of.
pub(super) fn version(object: &[u8]) -> Result<u64, serde_json::Error> {
    Ok(serde_json::from_slice::<Versioned>(object)?.v)
}

/// Whether a line's hash is the right one behind `before`.
pub(super) fn fits(line: &[u8], before: Hash) -> bool {
    unseal(line).is_some_and(|(body, hash)| before.then(body) == hash)
}

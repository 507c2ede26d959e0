//! Wire fields that remember their line and survive a bad value.
//!
//! A wire struct whose every field is a [`Given`] under `#[serde(default)]` is read to its end whatever
//! stands in it: a value that does not fit is told once, where it stands, and leaves `Bad` behind. So the
//! conversion can tell "missing" from "wrong", and a bad region is still a region that was written.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// By this name [`super::tree`] knows that a line is wanted with the value.
pub(super) const GIVEN: &str = "$rhumb::given";
/// By this name [`super::tree`] knows that text and table are both welcome.
pub(super) const TEXT_OR: &str = "$rhumb::text_or";

/// One value of a file: not written, written wrongly (and told), or good.
///
/// Lines are those of the key, from 1; in an array, of the element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing was written.
    #[default]
    Absent,
    /// Something was written that does not fit; the problem is told already.
    Bad(u32),
    /// A value, and its line.
    Good(u32, T),
}

impl<T> Given<T> {
    /// The line, or 0 where nothing was written.
    pub fn line(&self) -> u32 {
        match self {
            Self::Absent => 0,
            Self::Bad(line) | Self::Good(line, _) => *line,
        }
    }

    /// Whether anything was written, good or bad.
    pub fn is_written(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Whether nothing was written.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, if it is good.
    pub fn good(self) -> Option<T> {
        match self {
            Self::Good(_, value) => Some(value),
            _ => None,
        }
    }

    /// A view of the value, if it is good.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Good(_, value) => Some(value),
            _ => None,
        }
    }

    /// The good value, made into another type, or the default. A bad value is told already and takes the
    /// default too, so that the reading can go on.
    pub fn or<U: From<T>>(self, default: U) -> U {
        self.good().map_or(default, U::from)
    }

    /// The same with a borrowed value.
    pub fn as_ref(&self) -> Given<&T> {
        match self {
            Self::Absent => Given::Absent,
            Self::Bad(line) => Given::Bad(*line),
            Self::Good(line, value) => Given::Good(*line, value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(GIVEN, GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value that problem::toml reads")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pair: A) -> Result<Given<T>, A::Error> {
        let line = pair.next_value::<u32>()?;
        Ok(match pair.next_value::<T>() {
            Ok(value) => Given::Good(line, value),
            Err(_) => Given::Bad(line),
        })
    }
}

/// A value that may be written short, as text, or long, as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextOr<T> {
    /// The short form.
    Text(String),
    /// The long form.
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(TEXT_OR, TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text in quotes or a table")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, table: D) -> Result<TextOr<T>, D::Error> {
        T::deserialize(table).map(TextOr::Table)
    }
}

//! A serde deserializer over a parsed TOML tree that tells mistakes where they stand and goes on.
//!
//! Three things differ from the deserializer of the `toml` crate: a key that a struct does not know is told
//! with the name that was probably meant, instead of ending the reading; [`Given`](super::given::Given)
//! fields get the line of their key and outlive a bad value; and every problem carries its dotted path.

use std::cell::RefCell;
use std::fmt;

use ::toml::Spanned;
use ::toml::de::{DeInteger, DeString, DeValue};
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Problems;
use super::given::{GIVEN, TEXT_OR};
use super::nearest;
use super::wrong::{Wrong, cut};

/// What every node of one tree shares.
pub(super) struct Reading {
    /// Where the mistakes go.
    pub problems: RefCell<Problems>,
    /// The offsets at which lines begin.
    pub lines: Lines,
    /// Lines with a syntax error inside a value, told already, in order.
    pub broken: Vec<u32>,
    /// From this line on the tree may be misread: nothing there is told, and every value is bad.
    pub cut: Option<u32>,
}

impl Reading {
    fn unreliable(&self, line: u32) -> bool {
        self.broken.binary_search(&line).is_ok() || self.cut.is_some_and(|cut| line >= cut)
    }

    fn tell(&self, line: u32, at: &Step<'_>, wrong: &Wrong) {
        if !self.unreliable(line) {
            self.problems.borrow_mut().tell(line, at, &wrong.what, &wrong.fix);
        }
    }
}

/// Byte offsets to lines.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub fn of(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// The line of a byte, from 1.
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    /// The byte at which a line, from 1, begins.
    pub fn start(&self, line: u32) -> usize {
        self.0.get((line as usize).saturating_sub(1)).copied().unwrap_or(0)
    }
}

/// The way to a value; written as `routes[2].path`.
pub(super) enum Step<'a> {
    /// The whole document.
    Root,
    /// A key of a table.
    Key(&'a Step<'a>, &'a str),
    /// An element of an array, from 0.
    Index(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (up, key) = match self {
            Self::Root => return Ok(()),
            Self::Index(up, index) => return write!(out, "{up}[{index}]"),
            Self::Key(up, key) => (up, key),
        };
        if !matches!(up, Self::Root) {
            write!(out, "{up}.")?;
        }
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !key.is_empty() && key.bytes().all(bare) {
            out.write_str(key)
        } else {
            write!(out, "\"{}\"", cut(key))
        }
    }
}

/// One value of the tree, with the line of its key and the way to it.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a, 't> {
    pub value: &'t Spanned<DeValue<'t>>,
    pub line: u32,
    pub step: &'a Step<'a>,
    pub reading: &'a Reading,
}

impl<'t> Tree<'_, 't> {
    /// Feeds the value to a seed; a mistake is told before it unwinds.
    fn feed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<S::Value, Wrong> {
        seed.deserialize(self).map_err(|mut wrong| {
            if !wrong.told {
                self.reading.tell(self.line, self.step, &wrong);
                wrong.told = true;
            }
            wrong
        })
    }

    /// Reads the document itself; `None` when its shape has a field that does not survive a bad value.
    pub fn read<T: de::Deserialize<'t>>(self) -> Option<T> {
        self.feed(std::marker::PhantomData).ok()
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self.value.get_ref() {
            DeValue::String(text) => Unexpected::Str(text),
            DeValue::Integer(number) => match integer(number) {
                Some(number) => Unexpected::Signed(number),
                None => Unexpected::Other("a number beyond 64 bits"),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Unexpected::Float(number),
                Err(_) => Unexpected::Other("a number"),
            },
            DeValue::Boolean(value) => Unexpected::Bool(*value),
            DeValue::Datetime(_) => Unexpected::Other("a date"),
            DeValue::Array(_) => Unexpected::Seq,
            DeValue::Table(_) => Unexpected::Map,
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

impl<'t> Deserializer<'t> for Tree<'_, 't> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_borrowed_str(text),
            DeValue::Integer(number) => match integer(number) {
                Some(number) => visitor.visit_i64(number),
                None => Err(Wrong::invalid_type(self.unexpected(), &visitor)),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Wrong::invalid_type(self.unexpected(), &visitor)),
            },
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(_) => Err(Wrong::invalid_type(self.unexpected(), &visitor)),
            DeValue::Array(elements) => {
                let elements = elements.iter().enumerate();
                visitor.visit_seq(Elements { elements, of: self })
            }
            DeValue::Table(table) => {
                let entries = table.iter();
                visitor.visit_map(Entries { entries, known: None, waiting: None, of: self })
            }
        }
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match (name, self.value.get_ref()) {
            (GIVEN, _) => visitor.visit_map(Pair { line: Some(self.line), of: self }),
            (TEXT_OR, DeValue::String(text)) => visitor.visit_borrowed_str(text),
            (TEXT_OR, DeValue::Table(_)) => visitor.visit_newtype_struct(self),
            (TEXT_OR, _) => Err(Wrong::invalid_type(self.unexpected(), &visitor)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                let entries = table.iter();
                visitor.visit_map(Entries { entries, known: Some(fields), waiting: None, of: self })
            }
            _ => Err(Wrong::invalid_type(self.unexpected(), &"a table")),
        }
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value.get_ref() {
            DeValue::String(text) => {
                let text: StrDeserializer<'_, Wrong> = text.as_ref().into_deserializer();
                visitor.visit_enum(text)
            }
            _ => {
                let expected = super::wrong::one_of(variants);
                Err(Wrong::invalid_type(self.unexpected(), &expected.as_str()))
            }
        }
    }

    forward_to_deserialize_any! {
        <W: Visitor<'t>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'a, 't, I> {
    elements: I,
    of: Tree<'a, 't>,
}

impl<'t, I> de::SeqAccess<'t> for Elements<'_, 't, I>
where
    I: ExactSizeIterator<Item = (usize, &'t Spanned<DeValue<'t>>)>,
{
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some((index, value)) = self.elements.next() else { return Ok(None) };
        let reading = self.of.reading;
        let step = Step::Index(self.of.step, index);
        let line = reading.lines.line(value.span().start);
        Tree { value, line, step: &step, reading }.feed(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

/// The entries of a table: all of them, or those a struct knows.
struct Entries<'a, 't, I> {
    entries: I,
    known: Option<&'static [&'static str]>,
    waiting: Option<(u32, &'t str, &'t Spanned<DeValue<'t>>)>,
    of: Tree<'a, 't>,
}

impl<'t, I> de::MapAccess<'t> for Entries<'_, 't, I>
where
    I: Iterator<Item = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)>,
{
    type Error = Wrong;

    fn next_key_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let reading = self.of.reading;
        for (key, value) in self.entries.by_ref() {
            let name: &'t str = key.get_ref();
            let line = reading.lines.line(key.span().start);
            if let Some(known) = self.known.filter(|known| !known.contains(&name)) {
                let wrong = Wrong::new(
                    format!("there is no key \"{}\" here", cut(name)),
                    nearest::remedy(name, "keys here", known.iter().copied()),
                );
                reading.tell(line, &Step::Key(self.of.step, name), &wrong);
                continue;
            }
            self.waiting = Some((line, name, value));
            return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let Some((line, name, value)) = self.waiting.take() else {
            return Err(Wrong::new("a value was asked for before its key", ""));
        };
        let step = Step::Key(self.of.step, name);
        Tree { value, line, step: &step, reading: self.of.reading }.feed(seed)
    }
}

/// What a [`Given`](super::given::Given) asks for: first the line, then the value.
struct Pair<'a, 't> {
    line: Option<u32>,
    of: Tree<'a, 't>,
}

impl<'t> de::MapAccess<'t> for Pair<'_, 't> {
    type Error = Wrong;

    fn next_key_seed<S: DeserializeSeed<'t>>(&mut self, _: S) -> Result<Option<S::Value>, Wrong> {
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        if let Some(line) = self.line.take() {
            let line: U32Deserializer<Wrong> = line.into_deserializer();
            return seed.deserialize(line);
        }
        let table = matches!(self.of.value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
        if self.of.reading.unreliable(self.of.line) && !table {
            return Err(Wrong { told: true, ..Wrong::new("", "") });
        }
        self.of.feed(seed)
    }
}

//! Small value types that wire shapes share: bounded numbers, names, files; and how a value is read from text.
//!
//! Each checks itself while it is read, so that a mistake is told with its line like any other; a wire
//! field of such a type holds a proof. A message has the form `what; fix`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Reads types through their [`std::str::FromStr`], naming what is wanted where no text stands.
macro_rules! read_as_text {
    ($($name:ident: $wanted:literal,)*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::problem::values::from_text(from, $wanted)
            }
        }
    )*};
}
pub(crate) use read_as_text;

/// Reads a value written as text through its [`FromStr`]; `wanted` is what is told where no text stands,
/// such as `a duration such as "5s"`.
pub fn from_text<'de, T, D>(from: D, wanted: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    from.deserialize_str(TextVisitor(wanted, std::marker::PhantomData))
}

struct TextVisitor<T>(&'static str, std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_u64(WholeVisitor::<MIN, MAX>)
    }
}

struct WholeVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for WholeVisitor<MIN, MAX> {
    type Value = Whole<MIN, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(MAX) {
            Ok(i64::MAX) | Err(_) => write!(out, "a whole number of {MIN} or more"),
            Ok(_) => write!(out, "a whole number from {MIN} to {MAX}"),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u64::try_from(number) {
            Ok(whole) if (MIN..=MAX).contains(&whole) => Ok(Whole(whole)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<const MIN: u64, const MAX: u64> From<Whole<MIN, MAX>> for u64 {
    fn from(whole: Whole<MIN, MAX>) -> Self {
        whole.0
    }
}

impl<const MIN: u64, const MAX: u64> From<Whole<MIN, MAX>> for usize {
    fn from(whole: Whole<MIN, MAX>) -> Self {
        usize::try_from(whole.0).unwrap_or(usize::MAX)
    }
}

/// A number from `MIN` to `MAX`, with or without decimals.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Number<const MIN: u32, const MAX: u32>(pub f64);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_f64(NumberVisitor::<MIN, MAX>)
    }
}

struct NumberVisitor<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for NumberVisitor<MIN, MAX> {
    type Value = Number<MIN, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u32::try_from(number) {
            Ok(whole) if (MIN..=MAX).contains(&whole) => Ok(Number(f64::from(whole))),
            _ => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        match number {
            fit if fit >= f64::from(MIN) && fit <= f64::from(MAX) => Ok(Number(fit)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Float(number), &self)),
        }
    }
}

impl<const MIN: u32, const MAX: u32> From<Number<MIN, MAX>> for f64 {
    fn from(number: Number<MIN, MAX>) -> Self {
        number.0
    }
}

/// A name that may stand in headers, labels and paths: 1 to 128 letters, digits, dots, underscores and
/// dashes. Regions, tenants, edges and the like have such names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 128;

/// Whether `text` is a [`Name`].
///
/// Errors: as `what; fix`.
pub fn name(text: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() {
        return Err("the name is empty; write letters, digits, dots, underscores and dashes".into());
    }
    if text.len() > LONGEST_NAME {
        return Err(format!("the name has {} bytes; write at most {LONGEST_NAME}", text.len()));
    }
    match text.chars().find(|c| !u8::try_from(*c).is_ok_and(fits)) {
        Some(odd) => Err(format!(
            "a name must not hold '{}'; write letters, digits, dots, underscores and dashes",
            odd.escape_debug()
        )),
        None => Ok(()),
    }
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        name(text).map(|()| Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from_text(from, "a name in quotes")
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The name of a file or folder, as written: relative to the file it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(PathBuf);

impl FileName {
    /// The path seen from where `file` stands; an absolute path stays as it is.
    pub fn beside(&self, file: &Path) -> PathBuf {
        file.parent().unwrap_or(Path::new("")).join(&self.0)
    }
}

impl FromStr for FileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the path is empty; name a file".into()),
            text if text.contains('\0') => Err("a path must not hold a NUL byte; name a file".into()),
            text => Ok(Self(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from_text(from, "a path in quotes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        assert_eq!(name("eu-west-1.a_B"), Ok(()));
        assert_eq!(name(&"x".repeat(128)), Ok(()));
        assert!(name(&"x".repeat(129)).unwrap_err().starts_with("the name has 129 bytes"));
        for (text, odd) in [("a b", "' '"), ("a/b", "'/'"), ("é", "'é'"), ("a\n", "'\\n'")] {
            assert!(name(text).unwrap_err().contains(odd), "{text}");
        }
        assert!(name("").unwrap_err().contains("empty"));
    }

    #[test]
    fn paths_are_seen_from_their_file() {
        let named = |text: &str| text.parse::<FileName>().unwrap();
        assert_eq!(named("a/b").beside(Path::new("conf/rhumb.toml")), Path::new("conf/a/b"));
        assert_eq!(named("/a").beside(Path::new("conf/rhumb.toml")), Path::new("/a"));
        assert_eq!(named("a").beside(Path::new("rhumb.toml")), Path::new("a"));
        assert!("".parse::<FileName>().is_err());
    }
}

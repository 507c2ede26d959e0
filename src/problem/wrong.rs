//! Why a value does not fit its wire shape, in words for the person who wrote the file.
//!
//! Serde speaks of sequences, maps and `u32`; operators write arrays, tables and numbers.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::nearest;

/// The error type of [`super::tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong.
    pub what: String,
    /// What to write instead; may be empty.
    pub fix: String,
    /// It stands among the problems already and only unwinds.
    pub told: bool,
}

impl Wrong {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into(), told: false }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    /// A message of the form `what; fix` comes apart at the first `"; "`.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once("; ") {
            Some((what, fix)) => Self::new(what, fix),
            None => Self::new(message, ""),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}, not {}", plain(expected), shown(&found)), "")
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(
            format!("must not be \"{}\"", cut(found)),
            match nearest::did_you_mean(found, expected.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write {}", one_of(expected)),
            },
        )
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// As much of a value as a message can carry.
pub(super) fn cut(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut short: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short.replace("\\'", "'").replace("\\\"", "\"")
}

fn plain(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "a string" | "string" | "str" => "a text in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "an array".into(),
        "a map" => "a table".into(),
        "f32" | "f64" => "a number".into(),
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number of 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        _ if words.starts_with("struct ") => "a table".into(),
        _ => words,
    }
}

fn shown(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => format!("{value:?}"),
        Unexpected::Str(text) => format!("\"{}\"", cut(text)),
        Unexpected::Seq => "an array".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::Other(other) => (*other).into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::Error;

    #[test]
    fn the_words_are_those_of_the_file_not_of_serde() {
        let wrong = Wrong::invalid_type(Unexpected::Str("x"), &"u64");
        assert_eq!(wrong.what, "must be a whole number of 0 or more, not \"x\"");
        assert_eq!(Wrong::invalid_type(Unexpected::Map, &"a sequence").what, "must be an array, not a table");
        assert_eq!(
            Wrong::invalid_type(Unexpected::Float(1.0), &"struct Doc").what,
            "must be a table, not 1.0"
        );
    }

    #[test]
    fn a_closed_list_is_told_or_its_nearest_word() {
        let wrong = Wrong::unknown_variant("edgy", &["edge", "gateway"]);
        assert_eq!(
            (wrong.what.as_str(), wrong.fix.as_str()),
            ("must not be \"edgy\"", "did you mean \"edge\"?")
        );
        assert_eq!(
            Wrong::unknown_variant("core", &["a-b", "c-d", "e-f"]).fix,
            r#"write "a-b", "c-d" or "e-f""#
        );
    }

    #[test]
    fn a_long_or_strange_value_is_cut_and_escaped() {
        assert_eq!(cut("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(cut(&"é".repeat(100)).chars().count(), 61);
    }
}

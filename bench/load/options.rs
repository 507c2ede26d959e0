//! What was typed: a command, and `--name value` pairs after it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

pub struct Options {
    pub command: String,
    pairs: BTreeMap<String, String>,
}

impl Options {
    pub fn of(words: impl Iterator<Item = String>) -> Self {
        let mut words = words.peekable();
        let command = words.next_if(|word| !word.starts_with("--")).unwrap_or_default();
        let mut pairs = BTreeMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else { panic!("{word} is no option") };
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            pairs.insert(name.to_owned(), value);
        }
        Self { command, pairs }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.pairs.contains_key(name)
    }

    /// The value of `name`, which has to be there.
    pub fn get<T: FromStr<Err: Debug>>(&self, name: &str) -> T {
        let text = self.text(name).unwrap_or_else(|| panic!("--{name} is missing"));
        text.parse().unwrap_or_else(|cause| panic!("--{name} {text}: {cause:?}"))
    }

    /// The value of `name`, or else `otherwise`.
    pub fn or<T: FromStr<Err: Debug>>(&self, name: &str, otherwise: T) -> T {
        if self.has(name) { self.get(name) } else { otherwise }
    }
}

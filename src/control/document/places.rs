//! Where each key of the table stands, and which of its faults are not worth telling.
//!
//! A draft tells its faults by key, without lines. And a key that was read badly, and told, leaves a gap behind that
//! would be told again in other words: such faults are in doubt and stay unsaid.

use std::collections::HashMap;
use std::fmt;

/// The way to a key from the top: `routes[2].policy`. Entries of a list go by their number, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct At(Vec<String>);

/// Keys whose value is a list, so that a number behind them is one of its entries.
const LISTS: [&str; 7] = ["from", "files", "near", "endpoints", "order", "jurisdictions", "routes"];

impl At {
    /// A key at the top.
    pub fn top(key: &str) -> Self {
        Self(vec![key.into()])
    }

    /// A key below this one.
    pub fn key(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([key.into()]).collect())
    }

    /// An entry of the list that this key holds.
    pub fn entry(&self, index: usize) -> Self {
        self.key(&index.to_string())
    }

    fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl From<Vec<String>> for At {
    fn from(parts: Vec<String>) -> Self {
        Self(parts)
    }
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (turn, part) in self.0.iter().enumerate() {
            let number = part.bytes().all(|byte| byte.is_ascii_digit());
            let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if number && LISTS.contains(&before) {
                write!(out, "[{part}]")?;
            } else {
                out.write_str(if turn > 0 { "." } else { "" })?;
                match !part.is_empty() && part.bytes().all(bare) {
                    true => out.write_str(part)?,
                    false => write!(out, "\"{}\"", super::values::shown(part))?,
                }
            }
            before = part;
        }
        Ok(())
    }
}

/// The lines of all keys, and what is in doubt.
#[derive(Default)]
pub(super) struct Places {
    lines: HashMap<At, u32>,
    doubts: HashMap<At, Doubt>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Itself,
    Below,
}

impl Places {
    /// Notes the line of a key; 0, which is no line, is not noted.
    pub fn see(&mut self, at: At, line: u32) {
        if line > 0 {
            self.lines.insert(at, line);
        }
    }

    /// The line of a key, or of the nearest one above it; 0 when none was seen.
    pub fn line(&self, at: &At) -> u32 {
        let mut at = at.clone();
        loop {
            match (self.lines.get(&at), at.0.pop()) {
                (Some(line), _) => return *line,
                (None, Some(_)) => {}
                (None, None) => return 0,
            }
        }
    }

    /// Faults of this very key are not to be told.
    pub fn doubt(&mut self, at: At) {
        self.doubts.entry(at).or_insert(Doubt::Itself);
    }

    /// Faults of this key and of all below it are not to be told.
    pub fn doubt_below(&mut self, at: At) {
        self.doubts.insert(at, Doubt::Below);
    }

    /// Where a region's jurisdiction is unknown, no class can be held against the jurisdictions.
    pub fn doubt_classes<'n>(&mut self, classes: impl Iterator<Item = &'n String>) {
        for class in classes {
            self.doubt_below(At::top("data_classes").key(class).key("jurisdictions"));
        }
    }

    /// Whether a fault of this key is in doubt.
    pub fn doubted(&self, at: &At) -> bool {
        let hit = |(of, doubt): (&At, &Doubt)| of == at || (*doubt == Doubt::Below && at.starts_with(of));
        self.doubts.iter().any(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_is_written() {
        let at = |parts: &[&str]| At(parts.iter().map(ToString::to_string).collect()).to_string();
        assert_eq!(at(&["routes", "2", "policy"]), "routes[2].policy");
        assert_eq!(at(&["regions", "eu", "near", "0"]), "regions.eu.near[0]");
        assert_eq!(at(&["regions", "eu", "cells", "0"]), "regions.eu.cells.0");
        assert_eq!(at(&["tenants", "a.b", "home"]), "tenants.\"a.b\".home");
    }

    #[test]
    fn a_line_is_that_of_the_nearest_key_above() {
        let mut places = Places::default();
        places.see(At::top("regions"), 3);
        places.see(At::top("regions").key("eu"), 5);
        places.see(At::top("regions").key("us"), 0);
        assert_eq!(places.line(&At::top("regions").key("eu").key("near").entry(0)), 5);
        assert_eq!(places.line(&At::top("regions").key("us")), 3);
        assert_eq!(places.line(&At::top("safety")), 0);
    }

    #[test]
    fn doubt_covers_what_lies_below_only_where_asked() {
        let mut places = Places::default();
        let eu = At::top("regions").key("eu");
        places.doubt(eu.clone());
        assert!(places.doubted(&eu) && !places.doubted(&eu.key("near")));
        places.doubt_below(eu.clone());
        assert!(places.doubted(&eu.key("near")) && !places.doubted(&At::top("regions").key("eu-2")));
    }
}

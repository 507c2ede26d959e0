//! What is wrong with a file: where, what, and what to write instead.
//!
//! Every reader of a file an operator wrote (settings, routing table, tenants CSV) tells all its problems
//! through [`Problems`], so that one look at a message mends the whole file. [`toml`] reads a text into
//! wire shapes without stopping at the first mistake.
//!
//! Never: reads a file, judges what a value means to the proxy, or echoes a whole file back.

/// Wire fields that remember their line and survive a bad value.
pub mod given;
/// The name that was probably meant.
pub mod nearest;
/// TOML text into a wire shape, telling every mistake.
pub mod toml;
mod tree;
/// Durations and sizes.
pub mod units;
/// Small value types that wire shapes share: names, files, bounded numbers.
pub mod values;
mod wrong;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// How many problems of one reading are kept; of the others only the count is.
///
/// A tenants CSV may have a million bad rows; nobody reads more than a screenful.
pub const KEPT: usize = 1000;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was named to the reader.
    #[serde(serialize_with = "as_text")]
    pub file: PathBuf,
    /// The line of the key, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// The column, from 1, where a line alone does not say enough (syntax, CSV).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The key in dotted form, such as `tenants.acme.home`; empty where there is none.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead; empty where nothing useful can be said.
    pub fix: String,
}

fn as_text<S: Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&path.display())
}

/// As one line, without the file: `line 31, tenants.acme.home: what is wrong; what to write`.
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, "line {}", self.line)?;
            if let Some(column) = self.column {
                write!(out, ", column {column}")?;
            }
            if !self.at.is_empty() {
                out.write_str(", ")?;
            }
        }
        out.write_str(&self.at)?;
        if self.line > 0 || !self.at.is_empty() {
            out.write_str(": ")?;
        }
        out.write_str(&self.what)?;
        if !self.fix.is_empty() {
            write!(out, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// All the mistakes one reading found, in one file or several.
///
/// As text: per file a heading with the count, then one line per problem by line number.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    file: PathBuf,
    kept: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// No problems yet; those told next are about `file`.
    pub fn of(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// The file that problems are told about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Tells one problem of a key. `line` is the key's, from 1, or 0 for the whole file; `fix` says what
    /// to write instead and may be empty.
    pub fn tell(
        &mut self,
        line: u32,
        at: impl fmt::Display,
        what: impl fmt::Display,
        fix: impl fmt::Display,
    ) {
        self.tell_at(line, None, at, what, fix);
    }

    /// Like [`Problems::tell`], with a column from 1.
    pub fn tell_at(
        &mut self,
        line: u32,
        column: Option<u32>,
        at: impl fmt::Display,
        what: impl fmt::Display,
        fix: impl fmt::Display,
    ) {
        if self.kept.len() >= KEPT {
            self.left_out += 1;
            return;
        }
        self.kept.push(Problem {
            file: self.file.clone(),
            line,
            column,
            at: one_line(&at),
            what: one_line(&what),
            fix: one_line(&fix),
        });
    }

    /// Takes over what another reading found, in the same file or another one.
    pub fn append(&mut self, other: Problems) {
        self.left_out += other.left_out;
        for problem in other.kept {
            if self.kept.len() >= KEPT {
                self.left_out += 1;
            } else {
                self.kept.push(problem);
            }
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.left_out == 0
    }

    /// How many there are, those not kept included.
    pub fn count(&self) -> usize {
        self.kept.len() + self.left_out
    }

    /// How many beyond [`KEPT`] were counted only.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The problems kept: files in the order in which they first came up, then by line and column.
    pub fn list(&self) -> Vec<&Problem> {
        let mut turn: BTreeMap<&Path, usize> = BTreeMap::new();
        for problem in &self.kept {
            let next = turn.len();
            turn.entry(&problem.file).or_insert(next);
        }
        let mut list: Vec<&Problem> = self.kept.iter().collect();
        list.sort_by_key(|problem| (turn.get(problem.file.as_path()), problem.line, problem.column));
        list
    }

    /// The value if nothing is wrong with it, else all that is.
    ///
    /// Errors: `self` when there is any problem. A reader that has no value has told why.
    pub fn or_value<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            None if self.is_empty() => {
                self.tell(0, "", "the file could not be understood", "");
                Err(self)
            }
            _ => Err(self),
        }
    }
}

/// The text with its control characters written out: what stands in a file must not move a terminal's cursor, or begin a
/// line of its own in a log.
fn one_line(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            control if control.is_control() => clean.extend(control.escape_default()),
            other => clean.push(other),
        }
    }
    clean
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        for (turn, group) in list.chunk_by(|one, next| one.file == next.file).enumerate() {
            let Some(first) = group.first() else { continue };
            if turn > 0 {
                out.write_str("\n")?;
            }
            let noun = if group.len() == 1 { "problem" } else { "problems" };
            write!(out, "{}: {} {noun}", first.file.display(), group.len())?;
            for problem in group {
                write!(out, "\n  {problem}")?;
            }
        }
        if self.left_out > 0 {
            write!(out, "\n  and {} more", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_cannot_break_the_line() {
        let mut problems = Problems::of("tenants.csv");
        problems.tell(4, "tenants.a\u{1b}[2J", "\"x\r\nline 9: all is well\"", "leave \0 out");
        assert_eq!(
            problems.to_string(),
            "tenants.csv: 1 problem\n  \
             line 4, tenants.a\\u{1b}[2J: \"x\\r\\nline 9: all is well\"; leave \\u{0} out"
        );
    }

    #[test]
    fn problems_read_as_the_house_style_says() {
        let mut problems = Problems::of("conf/routing.toml");
        problems.tell(32, "tenants.globex.epoch", "6 is below 7", "write 8");
        problems.tell(
            31,
            "tenants.acme.home",
            r#"there is no region "eu-wset-1""#,
            r#"did you mean "eu-west-1"?"#,
        );
        assert_eq!(
            problems.to_string(),
            "conf/routing.toml: 2 problems\n  \
             line 31, tenants.acme.home: there is no region \"eu-wset-1\"; did you mean \"eu-west-1\"?\n  \
             line 32, tenants.globex.epoch: 6 is below 7; write 8"
        );
    }

    #[test]
    fn files_are_told_apart_and_a_whole_file_has_no_line() {
        let mut table = Problems::of("routing.toml");
        table.tell(7, "tenancy.files", "no such file", "");
        let mut rows = Problems::of("tenants.csv");
        rows.tell_at(9, Some(2), "", "there is no region \"x\"", "");
        rows.tell(0, "", "the file is empty", "");
        table.append(rows);
        assert_eq!(
            table.to_string(),
            "routing.toml: 1 problem\n  line 7, tenancy.files: no such file\n\
             tenants.csv: 2 problems\n  the file is empty\n  line 9, column 2: there is no region \"x\""
        );
    }

    #[test]
    fn only_so_many_are_kept_and_the_rest_are_counted() {
        let mut problems = Problems::of("tenants.csv");
        for line in 1..=2_500 {
            problems.tell(line, "", "bad", "");
        }
        assert_eq!((problems.list().len(), problems.left_out(), problems.count()), (1000, 1500, 2500));
        assert!(problems.to_string().ends_with("\n  and 1500 more"));
        let mut all = Problems::of("routing.toml");
        all.tell(1, "", "bad", "");
        all.append(problems);
        assert_eq!((all.list().len(), all.count()), (1000, 2501));
    }

    #[test]
    fn a_problem_as_json_has_the_documented_keys() {
        let mut problems = Problems::of("routing.toml");
        problems.tell(3, "a.b", "bad", "write good");
        assert_eq!(
            serde_json::to_value(problems.list()).unwrap(),
            serde_json::json!([{"file": "routing.toml", "line": 3, "at": "a.b", "what": "bad", "fix": "write good"}])
        );
    }

    #[test]
    fn a_value_is_given_only_when_nothing_is_wrong() {
        assert_eq!(Problems::of("f").or_value(Some(1)), Ok(1));
        let mut problems = Problems::of("f");
        problems.tell(1, "", "bad", "");
        assert_eq!(problems.clone().or_value(Some(1)), Err(problems));
        assert_eq!(Problems::of("f").or_value(None::<u8>).unwrap_err().count(), 1);
    }
}

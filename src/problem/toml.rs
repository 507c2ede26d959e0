//! Reads a TOML text into a wire shape and tells every mistake with its line, not only the first.
//!
//! What is told here: text that is no text, syntax, unknown keys, values of a wrong type or form. What a
//! good value means, and what is missing, is for the conversion that follows.
//!
//! After a syntax error that may have shifted everything below it (an unclosed bracket, a broken heading)
//! only what stands above is judged: a message about a misreading would send its reader astray.

use std::cell::RefCell;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue, Error};
use serde::de::DeserializeOwned;

use super::Problems;
use super::tree::{Lines, Reading, Step, Tree};
use super::wrong::cut;

/// What a text said.
#[derive(Debug)]
pub struct Document<T> {
    /// The wire shape, complete but for what was told as a problem.
    pub shape: T,
    /// Whether the whole text was understood. If not, do not tell that something is missing or that a name
    /// does not exist: it may stand in the part that could not be read.
    pub whole: bool,
}

/// Reads `text` as TOML in the shape `T`, whose fields should all be [`Given`](super::given::Given) under
/// `#[serde(default)]`.
///
/// Every mistake goes to `problems`. `None`, always with a problem told, means that there is nothing to go
/// on with: no text, or nothing in it.
pub fn read<T: DeserializeOwned>(text: &[u8], problems: &mut Problems) -> Option<Document<T>> {
    let text = decode(text, problems)?;
    let lines = Lines::of(text);
    let (table, errors) = parse(text);
    let (mut broken, mut cut_at) = (Vec::new(), None::<u32>);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let line = lines.line(span.start);
        // Behind the first misreading the parser stumbles over its own footsteps.
        if cut_at.is_some_and(|cut| line >= cut) {
            continue;
        }
        match error.message() {
            message if message == DUPLICATE => {}
            message if CONTAINED.iter().any(|known| message.starts_with(known)) => broken.push(line),
            _ => cut_at = Some(line),
        }
        tell_syntax(error, text, &lines, problems);
    }
    broken.sort_unstable();
    if table.is_empty() && errors.is_empty() {
        problems.tell(0, "", "the file holds no keys", "write at least what is required");
        return None;
    }
    let whole = cut_at.is_none() && table_is_trusted(&errors, text);
    let root = Spanned::new(0..text.len(), DeValue::Table(table));
    let found = RefCell::new(Problems::of(problems.file()));
    let reading = Reading { problems: found, lines, broken, cut: cut_at };
    let shape = Tree { value: &root, line: 0, step: &Step::Root, reading: &reading }.read();
    problems.append(reading.problems.into_inner());
    Some(Document { shape: shape?, whole })
}

/// The parser's words for a key written twice: it keeps the first value, so nothing else is affected.
const DUPLICATE: &str = "duplicate key";

/// The parser's words for mistakes that end with their value. Should they change, fewer problems are told
/// at once, nothing worse; a test below notices.
const CONTAINED: &[&str] =
    &["string values must be quoted", "invalid basic string", "invalid literal string"];

/// A text above this is parsed to its first error only: each error takes memory, and a long garbage file
/// has as many as it has words.
const LONG: usize = 8 * 1024 * 1024;

fn parse(text: &str) -> (DeTable<'_>, Vec<Error>) {
    if text.len() <= LONG {
        let (table, errors) = DeTable::parse_recoverable(text);
        return (table.into_inner(), errors);
    }
    match DeTable::parse(text) {
        Ok(table) => (table.into_inner(), Vec::new()),
        Err(error) => (DeTable::new(), vec![error]),
    }
}

/// A long text with an error has no tree at all.
fn table_is_trusted(errors: &[Error], text: &str) -> bool {
    errors.is_empty() || text.len() <= LONG
}

fn decode<'t>(bytes: &'t [u8], problems: &mut Problems) -> Option<&'t str> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        problems.tell(0, "", "the file is empty", "write at least what is required");
        return None;
    }
    let line_of = |end: usize| {
        let breaks = bytes.iter().take(end).filter(|byte| **byte == b'\n').count();
        u32::try_from(breaks + 1).unwrap_or(u32::MAX)
    };
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        problems.tell(line_of(at), "", "holds a NUL byte, so it is no text file", "name a TOML file");
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let at = error.valid_up_to();
            problems.tell(line_of(at), "", format!("byte {at} is not UTF-8"), "save the file as UTF-8");
            None
        }
    }
}

fn tell_syntax(error: &Error, text: &str, lines: &Lines, problems: &mut Problems) {
    let span = error.span().unwrap_or(0..0);
    let line = lines.line(span.start);
    let before = text.get(lines.start(line)..span.start).unwrap_or_default();
    let column = u32::try_from(before.chars().count() + 1).ok();
    let word = cut(text.get(span).unwrap_or_default());
    let (what, fix) = match error.message() {
        DUPLICATE => (format!("the key \"{word}\" is written twice"), "keep one of the two".to_owned()),
        message if message.starts_with("string values must be quoted") && !word.is_empty() => {
            (format!("{word} is neither a number nor true or false"), format!("as a text, write \"{word}\""))
        }
        message if message.starts_with("string values must be quoted") => {
            ("a value is missing".to_owned(), "write one after the =".to_owned())
        }
        message => match message.split_once(", expected ") {
            Some((what, expected)) => (format!("not TOML: {what}"), format!("expected {expected}")),
            None => (format!("not TOML: {message}"), String::new()),
        },
    };
    problems.tell_at(line, column, "", what, fix);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::problem::given::{Given, TextOr};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Doc {
        edge: Given<Edge>,
        regions: Given<BTreeMap<String, Given<Region>>>,
        routes: Given<Vec<Given<Region>>>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Edge {
        name: Given<String>,
        threads: Given<u32>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Region {
        weight: Given<u8>,
        near: Given<Vec<String>>,
        role: Given<Role>,
        tls: Given<Edge>,
        endpoints: Given<Vec<Given<TextOr<Edge>>>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Role {
        Active,
        ReadOnly,
    }

    fn problems(text: impl AsRef<[u8]>) -> Vec<String> {
        let mut problems = Problems::of("t.toml");
        read::<Doc>(text.as_ref(), &mut problems);
        problems.list().iter().map(ToString::to_string).collect()
    }

    fn shape(text: &str) -> Document<Doc> {
        read(text.as_bytes(), &mut Problems::of("t.toml")).unwrap()
    }

    #[test]
    fn a_good_text_gives_values_with_the_lines_of_their_keys() {
        let text = "[edge]\nname = \"a\"\n\n[regions.eu]\nnear = [\n \"us\",\n]\nrole = \"read-only\"\n\
                    endpoints = [\"a:1\", { name = \"b\" }]\n";
        let doc = shape(text);
        assert!(doc.whole);
        let edge = doc.shape.edge.good().unwrap();
        assert_eq!(edge.name, Given::Good(2, "a".into()));
        assert_eq!(edge.threads, Given::Absent);
        let regions = doc.shape.regions.good().unwrap();
        let eu = &regions["eu"];
        assert_eq!(eu.line(), 4);
        let eu = eu.get().unwrap();
        assert_eq!(eu.near, Given::Good(5, vec!["us".into()]));
        assert_eq!(eu.role, Given::Good(8, Role::ReadOnly));
        let endpoints = eu.endpoints.get().unwrap();
        assert!(matches!(endpoints[0].get(), Some(TextOr::Text(text)) if text == "a:1"));
        assert!(matches!(endpoints[1].get(), Some(TextOr::Table(edge)) if edge.name.get().unwrap() == "b"));
    }

    #[test]
    fn unknown_keys_are_told_at_every_depth_with_the_name_meant() {
        assert_eq!(
            problems(
                "egde = 1\n[edge]\nnmae = \"a\"\n[regions.eu]\nwieght = 3\ntls = { nam = 1, qqq = 2 }\n\
                 [[routes]]\n[[routes]]\nrloe = 1\nendpoints = [{ naem = 1 }]\n"
            ),
            [
                r#"line 1, egde: there is no key "egde" here; did you mean "edge"?"#,
                r#"line 3, edge.nmae: there is no key "nmae" here; did you mean "name"?"#,
                r#"line 5, regions.eu.wieght: there is no key "wieght" here; did you mean "weight"?"#,
                r#"line 6, regions.eu.tls.nam: there is no key "nam" here; did you mean "name"?"#,
                r#"line 6, regions.eu.tls.qqq: there is no key "qqq" here; the keys here are "name", "threads""#,
                r#"line 9, routes[1].rloe: there is no key "rloe" here; did you mean "role"?"#,
                r#"line 10, routes[1].endpoints[0].naem: there is no key "naem" here; did you mean "name"?"#,
            ]
        );
    }

    #[test]
    fn every_value_of_a_wrong_type_is_told_and_leaves_its_name_behind() {
        let text = "edge = 3\n[regions.eu]\nweight = 300\nnear = [\"a\", 2]\nrole = \"actve\"\ntls = []\n\
                    endpoints = [1, \"ok\"]\n[regions]\nus = \"x\"\n";
        assert_eq!(
            problems(text),
            [
                "line 1, edge: must be a table, not 3",
                "line 3, regions.eu.weight: must be a whole number from 0 to 255, not 300",
                "line 4, regions.eu.near[1]: must be a text in quotes, not 2",
                r#"line 5, regions.eu.role: must not be "actve"; did you mean "active"?"#,
                "line 6, regions.eu.tls: must be a table, not an array",
                "line 7, regions.eu.endpoints[0]: must be a text in quotes or a table, not 1",
                r#"line 9, regions.us: must be a table, not "x""#,
            ]
        );
        let doc = shape(text).shape;
        let regions = doc.regions.good().unwrap();
        assert_eq!(regions.keys().collect::<Vec<_>>(), ["eu", "us"]);
        assert!(matches!(regions["us"], Given::Bad(9)));
        assert_eq!(regions["eu"].get().unwrap().weight, Given::Bad(3));
    }

    #[test]
    fn a_syntax_error_that_ends_with_its_value_hides_nothing_else() {
        let text = "[edge]\nname = eu-west-1\nthreads = \"x\"\n[regions.eu]\nweight =\nrole = \"open\nwat = 1\n\
                    [regions.eu]\nnear = 1\n";
        assert_eq!(
            problems(text),
            [
                r#"line 2, column 8: eu-west-1 is neither a number nor true or false; as a text, write "eu-west-1""#,
                r#"line 3, edge.threads: must be a whole number from 0 to 4294967295, not "x""#,
                "line 5, column 9: a value is missing; write one after the =",
                "line 6, column 13: not TOML: invalid basic string; expected `\"`",
                r#"line 7, regions.eu.wat: there is no key "wat" here; the keys here are "weight", "near", "role", "tls", "endpoints""#,
                r#"line 8, column 10: the key "eu" is written twice; keep one of the two"#,
                "line 9, regions.eu.near: must be an array, not 1",
            ]
        );
        let doc = shape(text);
        assert!(doc.whole);
        assert_eq!(doc.shape.edge.get().unwrap().name, Given::Bad(2));
    }

    #[test]
    fn behind_a_broken_heading_or_bracket_nothing_is_told() {
        let heading = "[edge]\nnmae = 1\n[regions.eu\nweight = \"x\"\nwhat = 3\n";
        assert_eq!(
            problems(heading),
            [
                r#"line 2, edge.nmae: there is no key "nmae" here; did you mean "name"?"#,
                "line 3, column 12: not TOML: unclosed table; expected `]`",
            ]
        );
        assert!(!shape(heading).whole);
        let bracket = "[regions.eu]\nnear = [\"a\"\nwhat = 3\n[[routes]]\nx = 1\n";
        assert_eq!(problems(bracket).len(), 1, "{:?}", problems(bracket));
        assert!(!shape(bracket).whole);
    }

    #[test]
    fn what_is_no_text_or_no_document_says_so() {
        assert_eq!(problems(""), ["the file is empty; write at least what is required"]);
        assert_eq!(problems(" \n\n"), ["the file is empty; write at least what is required"]);
        assert_eq!(problems("# only\n"), ["the file holds no keys; write at least what is required"]);
        assert_eq!(
            problems(b"a = 1\n\0\0"),
            ["line 2: holds a NUL byte, so it is no text file; name a TOML file"]
        );
        assert_eq!(
            problems(b"[edge]\nname = \"\xff\"\n"),
            ["line 2: byte 15 is not UTF-8; save the file as UTF-8"]
        );
    }

    #[test]
    fn neither_depth_nor_size_nor_strange_numbers_do_harm() {
        assert_eq!(problems(format!("edge = {}1", "[".repeat(100_000))).len(), 1);
        assert_eq!(problems(format!("{}=1", vec!["a"; 100_000].join("."))).len(), 1);
        assert_eq!(problems("x y z\n".repeat(2_000_000)).len(), 1);
        assert_eq!(
            problems("[edge]\nthreads = 99999999999999999999\nname = 2020-01-01\n"),
            [
                "line 2, edge.threads: must be a whole number from 0 to 4294967295, not a number beyond 64 bits",
                "line 3, edge.name: must be a text in quotes, not a date",
            ]
        );
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_count_lines_alike() {
        assert_eq!(
            problems("\u{feff}[edge]\r\nnmae = 1\r\n"),
            [r#"line 2, edge.nmae: there is no key "nmae" here; did you mean "name"?"#]
        );
    }
}

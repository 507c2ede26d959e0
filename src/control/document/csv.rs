//! A CSV file as rows of fields, with exact lines and in bounded memory.
//!
//! Split by `csv-core` line by line: no value of ours holds a line break, so a quote that is not closed is a mistake
//! of its row and does not swallow the rest of the file. Nothing is allocated per row.

use std::io::{self, BufRead, Read};

use csv_core::ReadRecordResult;

/// The longest row, in bytes: far above the longest lists of regions.
const LONGEST_ROW: usize = 256 << 10;

/// The most fields that a row is split into.
const MOST_FIELDS: usize = 64;

/// Reads rows.
pub(super) struct Rows<R> {
    from: R,
    line: Vec<u8>,
    number: u64,
    core: csv_core::Reader,
    text: Vec<u8>,
    ends: [usize; MOST_FIELDS],
}

/// What stands in one line.
pub(super) enum Row<'a> {
    /// Fields.
    Fields(Fields<'a>),
    /// Something that cannot be split.
    Wrong(WrongRow),
}

/// A line that cannot be split.
pub(super) struct WrongRow {
    /// The field, from 1, where it is known.
    pub column: Option<u32>,
    /// What is wrong.
    pub what: &'static str,
    /// What to write instead.
    pub fix: &'static str,
    /// Whether nothing sensible can follow.
    pub last: bool,
}

/// The fields of one row, without the blanks around them.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The field at `at`, from 0; empty where there is none.
    pub fn get(&self, at: usize) -> &'a str {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(at).copied());
        range.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default().trim_ascii()
    }
}

impl<R: BufRead> Rows<R> {
    /// Rows of `from`.
    pub fn of(from: R) -> Self {
        Self {
            from,
            line: Vec::new(),
            number: 0,
            core: csv_core::Reader::new(),
            text: Vec::new(),
            ends: [0; MOST_FIELDS],
        }
    }

    /// The next row that is not empty, with its line from 1; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<(u64, Row<'_>)>> {
        loop {
            self.line.clear();
            let most = LONGEST_ROW as u64 + 1;
            if self.from.by_ref().take(most).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, self.split())))
    }

    /// Reads to the end without looking.
    pub fn skip_the_rest(&mut self) -> io::Result<()> {
        io::copy(&mut self.from, &mut io::sink()).map(drop)
    }

    fn split(&mut self) -> Row<'_> {
        let whole_line = WrongRow { column: None, what: "", fix: "", last: false };
        if self.line.len() > LONGEST_ROW {
            let (what, fix) = ("the row is longer than 256 KiB", "end each row with a line break");
            return Row::Wrong(WrongRow { what, fix, last: true, ..whole_line });
        }
        if self.line.last() != Some(&b'\n') {
            self.line.push(b'\n');
        }
        self.text.resize(self.line.len(), 0);
        let (result, read, written, ends) = self.core.read_record(&self.line, &mut self.text, &mut self.ends);
        let rest = self.line.get(read..).unwrap_or_default();
        let faulty = match result {
            ReadRecordResult::Record if rest.trim_ascii().is_empty() => None,
            ReadRecordResult::Record => {
                Some(("a carriage return stands within the row", "end rows with a line feed"))
            }
            ReadRecordResult::OutputEndsFull => {
                Some(("the row has more than 64 fields", "write one row a line"))
            }
            _ => {
                Some(("a quote is not closed", "double a quote that belongs to the value, close the others"))
            }
        };
        if faulty.is_some() || !rest.is_empty() {
            self.core.reset();
        }
        if let Some((what, fix)) = faulty {
            return Row::Wrong(WrongRow { what, fix, ..whole_line });
        }
        let ends = self.ends.get(..ends).unwrap_or_default();
        match std::str::from_utf8(self.text.get(..written).unwrap_or_default()) {
            Ok(text) => Row::Fields(Fields { text, ends }),
            Err(e) => {
                let before = ends.iter().filter(|end| **end <= e.valid_up_to()).count();
                let column = u32::try_from(before + 1).ok();
                let (what, fix) = ("the field is not UTF-8", "save the file as UTF-8");
                Row::Wrong(WrongRow { column, what, fix, last: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Vec<String> {
        let mut rows = Rows::of(bytes);
        let mut all = Vec::new();
        while let Some((line, row)) = rows.next().unwrap() {
            all.push(match row {
                Row::Fields(f) => {
                    let fields: Vec<&str> = (0..f.count()).map(|at| f.get(at)).collect();
                    format!("{line} {}", fields.join("|"))
                }
                Row::Wrong(w) => format!("{line}:{:?} {}", w.column, w.what),
            });
        }
        all
    }

    #[test]
    fn lines_are_exact_whatever_the_line_ends() {
        let wanted = ["1 id|home", "3 a|eu", "6 b|us"];
        assert_eq!(rows(b"id,home\n\na,eu\n\n  \nb,us"), wanted);
        assert_eq!(rows(b"\xef\xbb\xbfid,home\r\n\r\na,eu\r\n\r\n\r\nb,us\r\n"), wanted);
    }

    #[test]
    fn quotes_and_blanks_are_taken_off() {
        assert_eq!(rows(b"\"a\", \"eu west\" ,\"x,\"\"y\"\n"), ["1 a|\"eu west\"|x,\"y"]);
        assert_eq!(rows(b" a , b \n,\n"), ["1 a|b", "2 |"]);
    }

    #[test]
    fn a_bad_row_spoils_no_other() {
        assert_eq!(
            rows(b"a,\"b\nc,d\ne\rf,g\nh,\xff\ni,j\n"),
            [
                "1:None a quote is not closed",
                "2 c|d",
                "3:None a carriage return stands within the row",
                "4:Some(2) the field is not UTF-8",
                "5 i|j"
            ]
        );
        let wide = format!("{}\na,b\n", ",".repeat(100));
        assert_eq!(rows(wide.as_bytes()), ["1:None the row has more than 64 fields", "2 a|b"]);
    }

    #[test]
    fn an_endless_row_ends_the_reading_in_bounded_memory() {
        let mut rows = Rows::of(io::BufReader::new(io::repeat(b'x').take(100 << 20)));
        let (line, row) = rows.next().unwrap().unwrap();
        assert!(matches!((line, row), (1, Row::Wrong(WrongRow { last: true, .. }))));
        assert!(rows.line.capacity() < 4 * LONGEST_ROW);
    }
}

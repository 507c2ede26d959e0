//! Where answers go: standard output, or whatever stands for it in a test.
//!
//! Never: holds a lock between two answers, so that the access log of a running edge may go the same way.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::args::Format;
use super::failure::Done;

/// The answer's way to its reader.
pub struct Out<'a> {
    to: &'a mut dyn Write,
    format: Format,
    screen: bool,
}

impl<'a> Out<'a> {
    /// Writes to `to`, in the form of `format`; `screen`: it is a terminal, which may be redrawn.
    pub fn to(to: &'a mut dyn Write, format: Format, screen: bool) -> Self {
        Self { to, format, screen }
    }

    /// Whether it is a terminal, which may be redrawn.
    #[must_use]
    pub const fn is_screen(&self) -> bool {
        self.screen
    }

    /// The form that was asked for.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Writes `text` at once and flushes it; a line break is added where it has none at its end.
    ///
    /// # Errors
    /// [`super::Failure::Closed`] when the reader is gone; [`super::Failure::Failed`] when it cannot be written.
    pub fn text(&mut self, text: &str) -> Done {
        self.to.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            self.to.write_all(b"\n")?;
        }
        self.to.flush()?;
        Ok(())
    }

    /// Writes what the edge answered: as JSON, or as `text` makes of it.
    ///
    /// # Errors
    /// As [`Out::text`].
    pub fn answer(&mut self, value: &Value, text: impl FnOnce(&Value) -> String) -> Done {
        match self.format {
            Format::Json => self.text(&format!("{value:#}")),
            Format::Table => self.text(&text(value)),
        }
    }
}

/// A list: a heading in capitals, one line an entry, columns aligned, nothing behind the last.
pub fn list<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table.to_string())
}

/// A single thing: one `name  value` line for each, values aligned. Values of several lines stay aligned too.
pub fn pairs<'n>(pairs: impl IntoIterator<Item = (&'n str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        for (turn, line) in value.lines().enumerate() {
            let name = if turn == 0 { name } else { "" };
            text.push_str(format!("{name:width$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

fn trimmed(text: &str) -> String {
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_aligned_and_ends_its_lines_early() {
        let rows = [["eu-west-1", "UP", ""], ["us", "DOWN", "off"]].map(|row| row.map(String::from));
        assert_eq!(
            list(["REGION", "HEALTH", "NOTE"], rows),
            "REGION     HEALTH  NOTE\neu-west-1  UP\nus         DOWN    off\n"
        );
    }

    #[test]
    fn an_empty_list_is_its_heading() {
        assert_eq!(list(["REGION", "HEALTH"], []), "REGION  HEALTH\n");
    }

    #[test]
    fn pairs_are_aligned_and_leave_out_what_is_empty() {
        let text =
            pairs([("tenant", "acme".into()), ("cell", String::new()), ("residency", "eu\nuk".into())]);
        assert_eq!(text, "tenant     acme\nresidency  eu\n           uk\n");
    }
}

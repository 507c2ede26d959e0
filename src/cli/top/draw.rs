//! Draws a [`Board`]: the edge, its regions, the one that is looked at, and what happened last.
//!
//! Never: keeps anything from one drawing to the next. What does not fit is left out by its rank, and what is cut short
//! ends with `…`; the region that is looked at is always on the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::board::{Board, Row};

/// A column of figures: its heading, how many are left out after it where the screen is narrow, and what it shows.
struct Column {
    heading: &'static str,
    rank: u8,
    width: usize,
    of: fn(&Row) -> String,
}

/// As they stand, from left to right.
const COLUMNS: [Column; 10] = [
    Column { heading: "CONF", rank: 4, width: 4, of: |row| weight(row.configured) },
    Column { heading: "OPER", rank: 3, width: 4, of: |row| weight(row.operator) },
    Column { heading: "EFF", rank: 0, width: 4, of: |row| weight(row.effective) },
    Column { heading: "REQ/S", rank: 1, width: 5, of: |row| or_none(row.rate.map(compact)) },
    Column { heading: "ERR", rank: 2, width: 4, of: |row| or_none(row.errors.map(percent)) },
    Column { heading: "P50", rank: 10, width: 5, of: |row| or_none(row.p50.map(millis)) },
    Column { heading: "P99", rank: 6, width: 5, of: |row| or_none(row.p99.map(millis)) },
    Column { heading: "IN FL", rank: 7, width: 5, of: |row| or_none(row.in_flight.map(compact)) },
    Column { heading: "ROOM", rank: 9, width: 4, of: |row| or_none(row.headroom.map(percent)) },
    Column { heading: "LAG", rank: 8, width: 4, of: |row| or_none(row.lag.map(seconds)) },
];

/// The bar stands before the figures.
const BAR_RANK: u8 = 5;
const BAR: usize = 6;
const LONGEST_BAR: usize = 24;
const HEALTH: usize = 8;
const LONGEST_NAME: usize = 16;
/// So many lines are left for events, however much else there is.
const EVENTS: usize = 4;

const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const WRONG: Style = Style::new().fg(Color::Red);
const LOST: Style = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, board: &Board) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    let mut head = head(board, width);
    head.truncate((height / 3).max(1));
    let body = height.saturating_sub(head.len() + 1);
    let (detail, events) = (detail(board, width), events(board, width));
    let needed = 1 + board.rows.iter().map(lines_of).sum::<usize>();
    let least = events.len().min(EVENTS);
    let table = needed.min((body / 2).max(body.saturating_sub(detail.len() + least))).min(body);
    let shown = detail.len().min(body.saturating_sub(table + least));
    let (rows, hidden) = rows(board, width, table);
    let mut lines = head;
    let top = lines.len();
    lines.extend(rows);
    lines.resize(top + table, Line::default());
    lines.extend(detail.into_iter().take(shown));
    lines.extend(events);
    lines.truncate(height - 1);
    lines.resize(height - 1, Line::default());
    lines.push(foot(hidden, width));
    for (line, y) in lines.into_iter().zip(area.y..) {
        frame.render_widget(Paragraph::new(line), Rect { y, height: 1, ..area });
    }
}

fn head(board: &Board, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(lost) = &board.lost {
        let said =
            format!("LOST: no answer for {} s, and what is below may be wrong. {}", lost.since, lost.why);
        lines.extend(fold(&said, width).into_iter().map(|line| Line::styled(format!("{line:width$}"), LOST)));
    }
    lines.push(Line::styled(cut(&format!("Rhumb {}", board.edge.name), width), BOLD));
    lines.extend(styled(&board.edge.facts, width, QUIET));
    for transfer in &board.edge.transfers {
        lines.extend(styled(transfer, width, BOLD));
    }
    for trouble in &board.edge.troubles {
        lines.extend(styled(trouble, width, WRONG));
    }
    lines
}

/// The heading and the rows that fit into `height` lines, the chosen one among them; and how many are above and below.
fn rows(board: &Board, width: usize, height: usize) -> (Vec<Line<'static>>, (usize, usize)) {
    let name = board.rows.iter().map(|row| Span::raw(row.name.as_str()).width()).max().unwrap_or(0);
    let plan = Plan::of(name.clamp(6, LONGEST_NAME), width);
    let mut lines = vec![plan.heading()];
    let room = height.saturating_sub(1);
    let heights: Vec<usize> = board.rows.iter().map(lines_of).collect();
    let mut first = 0;
    while first < board.chosen && heights[first..=board.chosen].iter().sum::<usize>() > room {
        first += 1;
    }
    let mut shown = 0;
    for (nth, row) in board.rows.iter().enumerate().skip(first) {
        if lines.len() + heights[nth] > height && nth != board.chosen {
            break;
        }
        shown += 1;
        let dim = if board.lost.is_some() { QUIET } else { Style::new() };
        lines.push(plan.row(row, nth == board.chosen).patch_style(dim));
        for set in &row.set {
            let cell = set.scope.strip_prefix(&row.name).unwrap_or_default();
            let said = format!(
                "  {}{}{}",
                cell.trim_start_matches('/'),
                if cell.is_empty() { "" } else { ": " },
                set.line()
            );
            lines.push(Line::styled(cut(&said, width), QUIET));
        }
    }
    lines.truncate(height);
    (lines, (first, board.rows.len() - first - shown))
}

fn lines_of(row: &Row) -> usize {
    1 + row.set.len()
}

/// Which columns there are, and how wide.
struct Plan {
    name: usize,
    /// 0: none.
    bar: usize,
    columns: Vec<&'static Column>,
}

impl Plan {
    fn of(name: usize, width: usize) -> Self {
        let mut room = width.saturating_sub(1 + name + 1 + HEALTH);
        let mut ranked: Vec<_> = COLUMNS.iter().map(|column| (column.rank, column.width)).collect();
        ranked.push((BAR_RANK, BAR));
        ranked.sort_unstable();
        let mut taken = Vec::new();
        for (rank, width) in ranked {
            if room > width {
                room -= width + 1;
                taken.push(rank);
            }
        }
        let bar = if taken.contains(&BAR_RANK) { (BAR + room).min(LONGEST_BAR) } else { 0 };
        Self { name, bar, columns: COLUMNS.iter().filter(|column| taken.contains(&column.rank)).collect() }
    }

    fn heading(&self) -> Line<'static> {
        let mut said = format!(" {:name$} {:HEALTH$}", "REGION", "HEALTH", name = self.name);
        if self.bar > 0 {
            said.push_str(&format!(" {:bar$}", "WEIGHT", bar = self.bar));
        }
        for Column { heading, width, .. } in &self.columns {
            said.push_str(&format!(" {heading:>width$}"));
        }
        Line::styled(said, BOLD)
    }

    fn row(&self, row: &Row, chosen: bool) -> Line<'static> {
        let name = pad(&cut(&row.name, self.name), self.name);
        let mut spans = vec![
            Span::raw(format!("{}{name} ", if chosen { '>' } else { ' ' })),
            Span::styled(pad(&cut(&row.health, HEALTH), HEALTH), health(&row.health)),
        ];
        if self.bar > 0 {
            spans.push(Span::styled(format!(" {}", bar(row, self.bar)), Style::new().fg(Color::Cyan)));
        }
        let figures = self.columns.iter().map(|Column { width, of, .. }| format!(" {:>width$}", of(row)));
        spans.push(Span::raw(figures.collect::<String>()));
        let line = Line::from(spans);
        if chosen { line.patch_style(BOLD) } else { line }
    }
}

/// What is in effect as full blocks, and up to where it is configured as light ones.
fn bar(row: &Row, width: usize) -> String {
    let blocks = |percent: Option<f64>| {
        let share = percent.unwrap_or(0.0).clamp(0.0, 100.0) / 100.0;
        // A weight above 0 takes something, and is to be seen.
        let least = usize::from(share > 0.0);
        ((share * width as f64).round() as usize).max(least)
    };
    let (effective, configured) = (blocks(row.effective), blocks(row.configured));
    (0..width)
        .map(|at| match at {
            at if at < effective => '█',
            at if at < configured => '░',
            _ => '·',
        })
        .collect()
}

fn health(status: &str) -> Style {
    Style::new().fg(match status {
        "UP" => Color::Green,
        "DOWN" => Color::Red,
        _ => Color::Yellow,
    })
}

fn detail(board: &Board, width: usize) -> Vec<Line<'static>> {
    let Some(row) = board.rows.get(board.chosen) else { return Vec::new() };
    let mut lines = vec![rule(&row.name, width)];
    let set = row.set.iter().map(|set| format!("{}: {}", set.scope, set.line()));
    for said in set.chain(row.more.iter().cloned()) {
        lines.extend(hanging(&said, width));
    }
    lines
}

fn events(board: &Board, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![rule("events, newest first", width)];
    if let Some(why) = &board.deaf {
        lines.extend(styled(&format!("not heard: {why}"), width, WRONG));
    }
    for told in &board.events {
        let time = told.time.split_once('T').map_or("", |(_, time)| time.get(..8).unwrap_or(time));
        lines.extend(hanging(format!("{time} {}: {}", told.kind, told.text).trim_start(), width));
    }
    lines
}

fn foot((above, below): (usize, usize), width: usize) -> Line<'static> {
    let hidden = match (above, below) {
        (0, 0) => String::new(),
        (above, below) => format!("   {above} above, {below} below"),
    };
    Line::styled(cut(&format!("q quit   ↑↓ region{hidden}"), width), QUIET)
}

fn rule(name: &str, width: usize) -> Line<'static> {
    let name = cut(&format!("── {name} "), width);
    let rest = width.saturating_sub(Span::raw(name.as_str()).width());
    Line::styled(format!("{name}{}", "─".repeat(rest)), QUIET)
}

fn styled(text: &str, width: usize, style: Style) -> impl Iterator<Item = Line<'static>> {
    fold(text, width).into_iter().map(move |line| Line::styled(line, style))
}

/// The same, with what is not the first line set in.
fn hanging(text: &str, width: usize) -> Vec<Line<'static>> {
    let mut lines = fold(text, width);
    if lines.len() > 1 {
        let first = lines.remove(0);
        let rest = text.get(first.len()..).unwrap_or_default().trim_start();
        let rest = fold(rest, width.saturating_sub(2).max(1)).into_iter().map(|line| format!("  {line}"));
        lines = std::iter::once(first).chain(rest).collect();
    }
    lines.into_iter().map(Line::from).collect()
}

/// `text` in lines of at most `width` columns, broken at spaces where there are any.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word;
        let room = width.saturating_sub(Span::raw(line.as_str()).width());
        if !line.is_empty() && Span::raw(word).width() >= room {
            lines.push(std::mem::take(&mut line));
        }
        while Span::raw(word).width() > width {
            let (fits, rest) = word.split_at(fitting(word, width).max(first(word)));
            lines.push(fits.to_owned());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// `text` in at most `width` columns; one that was cut ends with `…`.
fn cut(text: &str, width: usize) -> String {
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    format!("{}…", &text[..fitting(text, width.saturating_sub(1))])
}

/// How many bytes of `text` fit into `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
    ends.take_while(|end| Span::raw(&text[..*end]).width() <= width).last().unwrap_or(0)
}

fn first(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(Span::raw(text).width())))
}

fn or_none(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "–".into())
}

/// Four letters at most, and no weight above 0 looks like 0.
fn weight(percent: Option<f64>) -> String {
    or_none(percent.map(|percent| match percent {
        percent if percent > 0.0 && percent < 0.1 => "<0.1".into(),
        percent if percent < 100.0 && percent.fract() != 0.0 => format!("{:.1}", percent.min(99.9)),
        percent => format!("{percent:.0}"),
    }))
}

/// Four letters at most.
fn compact(number: f64) -> String {
    match number {
        n if n < 9.95 && n.fract() != 0.0 => format!("{n:.1}"),
        n if n < 999.5 => format!("{n:.0}"),
        n if n < 9_950.0 => format!("{:.1}k", n / 1e3),
        n if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        n if n < 9_950_000.0 => format!("{:.1}M", n / 1e6),
        n => format!("{:.0}M", n / 1e6),
    }
}

/// Of a share; an error among many requests is not 0.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.1 => "<.1%".into(),
        p if p < 9.95 && p.fract() != 0.0 => format!("{p:.1}%"),
        p => format!("{p:.0}%"),
    }
}

fn millis(time: f64) -> String {
    match time {
        t if t < 9.95 => format!("{t:.1}ms"),
        t if t < 999.5 => format!("{t:.0}ms"),
        t => seconds(t / 1e3),
    }
}

/// Four letters at most.
fn seconds(time: f64) -> String {
    match time {
        t if t < 9.95 => format!("{t:.1}s"),
        t if t < 99.5 => format!("{t:.0}s"),
        t if t < 5_970.0 => format!("{:.0}m", t / 60.0),
        t if t < 356_400.0 => format!("{:.0}h", t / 3_600.0),
        t => format!("{:.0}d", t / 86_400.0),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

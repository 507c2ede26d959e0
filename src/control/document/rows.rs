//! Tenants: rows of `[tenants]` and of CSV files, fed to the table one by one.
//!
//! Never: holds the rows of a CSV, or allocates for a good one.

use std::io::{self, BufRead};

use rhumb_decision::draft::{RowFault, TableBuilder, TenantRow};
use rhumb_decision::tenants::is_tenant_id;

use super::csv::{Fields, Row, Rows};
use super::places::At;
use super::shape::{List, StateDoc, TenantDoc};
use super::values::shown;
use crate::control::aside;
use crate::problem::Problems;
use crate::problem::given::Given;
use crate::problem::nearest::remedy;
use crate::problem::values::Name;

/// Which columns cannot be judged, because what they refer to was read badly; that is told already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowDoubts {
    pub residency: bool,
    pub policy: bool,
    pub cell: bool,
}

impl RowDoubts {
    fn blank<'r>(self, row: TenantRow<'r>) -> TenantRow<'r> {
        let unless = |doubt: bool, value: &'r str| if doubt { "" } else { value };
        TenantRow {
            residency: unless(self.residency, row.residency),
            policy: unless(self.policy, row.policy),
            cell: unless(self.cell, row.cell),
            ..row
        }
    }
}

/// Where a row stands: the number of its file, 0 being the TOML, and its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub file: usize,
    pub line: u32,
}

impl Mark {
    /// As the table's builder carries it.
    pub fn pack(self) -> u64 {
        (self.file as u64) << 32 | u64::from(self.line)
    }

    /// From what the builder gave back.
    pub fn unpack(packed: u64) -> Self {
        Self { file: (packed >> 32) as usize, line: packed as u32 }
    }
}

/// Feeds one row of `[tenants]`.
pub(super) fn inline(
    id: &str,
    line: u32,
    doc: TenantDoc,
    doubts: RowDoubts,
    builder: &mut TableBuilder,
    problems: &mut Problems,
) {
    let at = At::top("tenants").key(id);
    // What is bad was told, and is the default here; only a home has none.
    let home_bad = matches!(doc.home, Given::Bad(_));
    let lines = [
        ("home", doc.home.line()),
        ("standby", doc.standby.line()),
        ("replicas", doc.replicas.line()),
        ("residency", doc.residency.line()),
        ("epoch", doc.epoch.line()),
        ("policy", doc.policy.line()),
        ("cell", doc.cell.line()),
        ("state", doc.state.line()),
    ];
    let residency_bad = !sound(&doc.residency);
    let text = |name: Given<Name>| name.good().map(String::from).unwrap_or_default();
    let (home, policy, cell) = (text(doc.home), text(doc.policy), text(doc.cell));
    let (standby, replicas, residency) = (joined(doc.standby), joined(doc.replicas), joined(doc.residency));
    let epoch = doc.epoch.good().map(|epoch| epoch.0.to_string()).unwrap_or_default();
    let state = match doc.state.good() {
        Some(StateDoc::Frozen) => "frozen",
        Some(StateDoc::ReadOnly) => "read-only",
        Some(StateDoc::Active) | None => "",
    };
    let row = TenantRow {
        id,
        home: &home,
        standby: &standby,
        replicas: &replicas,
        residency: &residency,
        epoch: &epoch,
        policy: &policy,
        cell: &cell,
        state,
    };
    let Err(faults) = builder.tenant(&doubts.blank(row), Mark { file: 0, line }.pack()) else { return };
    for fault in faults {
        let gap = (fault.column == "home" && home_bad)
            || (fault.column == "residency" && (residency_bad || doubts.residency));
        if gap {
            continue;
        }
        let there = lines.iter().find(|(column, _)| *column == fault.column).map_or(0, |(_, line)| *line);
        let at = if fault.column == "id" { at.clone() } else { at.key(fault.column) };
        problems.tell(if there > 0 { there } else { line }, at, fault.what, fault.fix);
    }
}

fn sound(list: &List<Name>) -> bool {
    match list {
        Given::Absent => true,
        Given::Bad(_) => false,
        Given::Good(_, entries) => entries.iter().all(|entry| entry.get().is_some()),
    }
}

fn joined(list: List<Name>) -> String {
    let names = list.good().unwrap_or_default().into_iter().filter_map(Given::good);
    names.map(String::from).collect::<Vec<_>>().join(" ")
}

/// The columns that a CSV may have.
const COLUMNS: [&str; 9] =
    ["id", "home", "standby", "replicas", "residency", "epoch", "policy", "cell", "state"];

/// So many rows are read between two pauses: some twenty microseconds.
const BETWEEN_PAUSES: u64 = 32;

/// After so many bad rows the rest of a file is not looked at: it is the same mistake, or the wrong file.
const BAD_ROWS: usize = 500;

/// Where each of [`COLUMNS`] stands in the rows of one file.
struct Header {
    at: [Option<usize>; COLUMNS.len()],
    width: usize,
}

impl Header {
    /// Reads a header row. `None`: it cannot be used, which is told.
    fn read(fields: Fields<'_>, line: u32, problems: &mut Problems) -> Option<Self> {
        let before = problems.count();
        let mut header = Self { at: [None; COLUMNS.len()], width: fields.count() };
        if fields.count() == 1 && fields.get(0).contains([';', '\t']) {
            let what = "the columns are not separated by commas";
            problems.tell_at(line, Some(1), "", what, "write them as in id,home,residency");
            return None;
        }
        for (at, name) in (0..fields.count()).map(|at| (at, fields.get(at))) {
            let column = u32::try_from(at + 1).ok();
            match COLUMNS.iter().position(|known| *known == name) {
                None => {
                    let what = format!("there is no column \"{}\"", shown(name));
                    problems.tell_at(line, column, "", what, remedy(name, "columns", COLUMNS));
                }
                Some(known) => match header.at.get_mut(known) {
                    Some(Some(_)) => {
                        let what = format!("the column \"{name}\" is there twice");
                        problems.tell_at(line, column, "", what, "keep one of the two");
                    }
                    Some(free) => *free = Some(at),
                    None => {}
                },
            }
        }
        // A misspelt id is told as no column; that it is missing then need not be.
        let spoilt = problems.count() > before;
        for (name, at) in COLUMNS.iter().zip(header.at).take(2) {
            if at.is_none() && !spoilt {
                let what = format!("the column \"{name}\" is missing");
                problems.tell(line, "", what, "begin the file with a header row such as id,home,residency");
            }
        }
        (problems.count() == before).then_some(header)
    }

    fn row<'f>(&self, fields: Fields<'f>) -> TenantRow<'f> {
        let [id, home, standby, replicas, residency, epoch, policy, cell, state] =
            self.at.map(|at| at.map_or("", |at| fields.get(at)));
        TenantRow { id, home, standby, replicas, residency, epoch, policy, cell, state }
    }

    /// The number, from 1, of a column in this file.
    fn column(&self, name: &str) -> Option<u32> {
        let (_, at) = COLUMNS.iter().zip(self.at).find(|(known, _)| **known == name)?;
        u32::try_from(at? + 1).ok()
    }
}

/// Feeds all rows of a CSV file, to its end.
///
/// - `file`: its number in the marks.
/// - `problems`: of this file.
///
/// Errors: the file could not be read to its end.
pub(super) fn csv<R: BufRead>(
    rows: &mut Rows<R>,
    file: usize,
    doubts: RowDoubts,
    builder: &mut TableBuilder,
    problems: &mut Problems,
) -> io::Result<()> {
    let Some(header) = header(rows, problems)? else { return rows.skip_the_rest() };
    let mut bad = 0;
    while let Some((line, row)) = rows.next()? {
        if line.is_multiple_of(BETWEEN_PAUSES) {
            aside::pause();
        }
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let fields = match row {
            Row::Fields(fields) if fields.count() == header.width => fields,
            Row::Fields(fields) => {
                let (has, wants) = (fields.count(), header.width);
                let column = u32::try_from(has.min(wants) + 1).ok();
                let what = format!("the row has {has} fields, and the header names {wants} columns");
                let fix = "write a field for each column, empty where there is nothing";
                problems.tell_at(line, column, "", what, fix);
                bad += 1;
                if bad < BAD_ROWS { continue } else { break }
            }
            Row::Wrong(wrong) => {
                problems.tell_at(line, wrong.column, "", wrong.what, wrong.fix);
                bad += 1;
                if bad < BAD_ROWS && !wrong.last { continue } else { break }
            }
        };
        let row = header.row(fields);
        let Err(faults) = builder.tenant(&doubts.blank(row), Mark { file, line }.pack()) else { continue };
        tell(&row, line, &header, faults, doubts, problems);
        bad += 1;
        if bad >= BAD_ROWS {
            break;
        }
    }
    if bad >= BAD_ROWS {
        problems.tell(0, "", format!("{bad} rows are wrong, and those behind them were not looked at"), "");
    }
    rows.skip_the_rest()
}

fn header<R: BufRead>(rows: &mut Rows<R>, problems: &mut Problems) -> io::Result<Option<Header>> {
    let fix = "begin the file with a header row such as id,home,residency";
    Ok(match rows.next()? {
        None => {
            problems.tell(0, "", "the file is empty", fix);
            None
        }
        Some((line, Row::Wrong(wrong))) => {
            problems.tell_at(line as u32, wrong.column, "", wrong.what, wrong.fix);
            None
        }
        Some((line, Row::Fields(fields))) => Header::read(fields, line as u32, problems),
    })
}

fn tell(
    row: &TenantRow<'_>,
    line: u32,
    header: &Header,
    faults: Vec<RowFault>,
    doubts: RowDoubts,
    problems: &mut Problems,
) {
    for fault in faults.into_iter().filter(|fault| !(doubts.residency && fault.column == "residency")) {
        let at = match is_tenant_id(row.id.as_bytes()) {
            true => At::top("tenants").key(row.id).key(fault.column),
            false => At::top(fault.column),
        };
        problems.tell_at(line, header.column(fault.column), at, fault.what, fault.fix);
    }
}

/// Calls `found` with each id and line of a CSV file, for as much of it as can be read.
pub(super) fn ids<R: BufRead>(from: R, mut found: impl FnMut(&str, u32)) {
    let mut rows = Rows::of(from);
    let Ok(Some(header)) = header(&mut rows, &mut Problems::default()) else { return };
    while let Ok(Some((line, row))) = rows.next() {
        if let Row::Fields(fields) = row {
            found(header.row(fields).id, u32::try_from(line).unwrap_or(u32::MAX));
        }
    }
}

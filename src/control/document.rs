//! Reads the routing table: a TOML file and what it names, CSV files of tenants and PEM files, into a
//! [`Table`], or every problem of all of them at once.
//!
//! Wire shapes stand apart from what the decision knows; between them is one conversion, so a default, a rule and a
//! message each have one place. Every file is read once, hashed and, if asked, copied as it passes.
//!
//! Never: resolves a name, waits for a FIFO, or judges a change against another table. Reading blocks its thread.

mod convert;
mod csv;
pub(in crate::control) mod files;
mod kept;
mod places;
mod policy;
mod region;
mod rows;
mod shape;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rhumb_decision::draft::TableBuilder;
use rhumb_decision::table::Table;
use rhumb_decision::units::Key;

use self::convert::{Conversion, Converted};
use self::files::{Files, Kind, Origin, Wrong};
use self::kept::KeptFiles;
use self::places::{At, Places};
use self::rows::{Mark, RowDoubts};
use crate::control::aside;
use crate::problem::given::Given;
use crate::problem::nearest::remedy;
use crate::problem::{Problems, toml};

/// So many CSV files one table may name.
const MOST_FILES: usize = 1000;

/// What to read, and how.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The table's TOML.
    pub path: &'a Path,
    /// `edge.region` of the settings, which must be one of the table's regions.
    pub edge_region: &'a str,
    /// An empty folder: every file read is copied there as it is read, and `kept.json` says which copy stands for
    /// which path. Without that file, the copies are worth nothing.
    pub copy_to: Option<&'a Path>,
}

/// A table that was read, and nothing is wrong with it.
pub struct Document {
    /// The table.
    pub table: Table,
    /// SHA-256, in hex, of the list of what `sha256sum` says of each file, a line each: the TOML, PEM files, CSV files.
    pub hash: String,
    /// Everything to watch: TOML, CSV and PEM files, as they are named, also where copies were read in their stead.
    pub files: Vec<PathBuf>,
    /// Why [`Reading::copy_to`] holds no usable copy; `None`: it does, or none was asked for.
    pub not_kept: Option<String>,
    stands: Stands,
}

/// A table that was not taken.
#[derive(Debug)]
pub struct Unreadable {
    /// As [`Document::hash`], of what could be read.
    pub hash: String,
    /// What is wrong; never empty.
    pub problems: Problems,
    /// What to watch, as far as it is known; at least the TOML.
    pub files: Vec<PathBuf>,
}

/// Reads a table from its files.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read(reading: &Reading<'_>) -> Result<Document, Box<Unreadable>> {
    load(reading.path, Files::new(Origin::Disk, reading.copy_to), reading.edge_region)
}

/// Reads a table from a folder that an earlier reading filled by [`Reading::copy_to`]; paths are as they were then.
///
/// # Errors
/// The folder holds no list, or another text than it says, or what it holds is wrong by now.
pub fn read_kept(
    folder: &Path,
    edge_region: &str,
    copy_to: Option<&Path>,
) -> Result<Document, Box<Unreadable>> {
    let damaged = |what: String, files: Vec<PathBuf>| {
        let mut problems = Problems::of(folder.join(kept::LIST));
        problems.tell(0, "", what, "start from the table's own files");
        Box::new(Unreadable { hash: String::new(), problems, files })
    };
    let list = KeptFiles::read(folder)
        .map_err(|e| damaged(format!("the kept table cannot be read: {e}"), Vec::new()))?;
    let Some(first) = list.files.first() else {
        return Err(damaged("the kept table has no file".into(), Vec::new()));
    };
    let files = Files::new(Origin::Kept(list.by_path(folder)), copy_to);
    let document = load(&first.path, files, edge_region)?;
    if document.hash != list.hash {
        return Err(damaged("the kept files are not those that were kept".into(), document.files));
    }
    Ok(document)
}

/// The hash of the table kept in a folder, from its list alone; `None`: there is no list.
#[must_use]
pub fn kept_hash(folder: &Path) -> Option<String> {
    KeptFiles::read(folder).ok().map(|list| list.hash)
}

/// Makes a table of a text that names no files, for tests and tools. No region is held to be the edge's.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(text: &str) -> Result<Table, Problems> {
    parse_bytes(text.as_bytes(), None)
}

/// As [`parse`], of bytes that may be no text, and with the rows of one CSV, which needs not be named; what is wrong
/// with those is told of `tenants.csv`.
///
/// # Errors
/// Everything that is wrong with either.
pub fn parse_bytes(text: &[u8], rows: Option<&[u8]>) -> Result<Table, Problems> {
    let mut problems = Problems::of("routing.toml");
    let mut files = Files::new(Origin::Nowhere, None);
    let loaded = build(text, rows, Path::new("routing.toml"), &mut files, None, &mut problems);
    problems.or_value(loaded.map(|loaded| loaded.table))
}

impl Document {
    /// Where a tenant's row stands: file and line. The CSV files are read again for it, once for all tenants; the
    /// line is 0 when the tenant is not in them, or not any more.
    #[must_use]
    pub fn place(&self, tenant: &str) -> (PathBuf, u32) {
        self.stands.place(tenant)
    }
}

/// Where rows stand.
struct Stands {
    toml: PathBuf,
    inline: BTreeMap<String, u32>,
    csvs: Vec<PathBuf>,
    /// Hashes of ids with their marks, sorted; made when first asked for.
    index: OnceLock<Vec<(u64, u64)>>,
}

impl Stands {
    fn place(&self, tenant: &str) -> (PathBuf, u32) {
        if let Some(line) = self.inline.get(tenant) {
            return (self.toml.clone(), *line);
        }
        let index = self.index.get_or_init(|| self.index());
        let key = Key::of(tenant.as_bytes()).0;
        let at = index.partition_point(|(known, _)| *known < key);
        let mark = index.get(at).filter(|(known, _)| *known == key).map(|(_, mark)| Mark::unpack(*mark));
        let found =
            mark.and_then(|mark| Some((self.csvs.get(mark.file.checked_sub(1)?)?.clone(), mark.line)));
        found.unwrap_or_else(|| (self.toml.clone(), 0))
    }

    fn index(&self) -> Vec<(u64, u64)> {
        let mut index = Vec::new();
        let mut files = Files::new(Origin::Disk, None);
        for (turn, path) in self.csvs.iter().enumerate() {
            let Ok(stream) = files.open(path, Kind::Tenants) else { continue };
            rows::ids(stream, |id, line| {
                index.push((Key::of(id.as_bytes()).0, Mark { file: turn + 1, line }.pack()));
            });
        }
        index.sort_unstable();
        index
    }
}

/// A table, and what a document says besides.
struct Loaded {
    table: Table,
    stands: Stands,
}

fn load(path: &Path, mut files: Files, edge_region: &str) -> Result<Document, Box<Unreadable>> {
    let mut problems = Problems::of(files.real(path));
    files.mention(path);
    let loaded = match files.table(path) {
        Ok(text) => build(&text, None, path, &mut files, Some(edge_region), &mut problems),
        Err(Wrong { what, fix }) => {
            problems.tell(0, "", what, fix);
            None
        }
    };
    let (hash, mentioned) = (files.hash(), files.mentioned());
    match problems.or_value(loaded) {
        Ok(Loaded { table, stands }) => {
            let not_kept = files.keep();
            Ok(Document { table, hash, files: mentioned, not_kept, stands })
        }
        Err(problems) => Err(Box::new(Unreadable { hash, problems, files: mentioned })),
    }
}

/// `None`: something is wrong, and told. `rows` are those of a CSV that came without a file.
fn build(
    text: &[u8],
    rows: Option<&[u8]>,
    path: &Path,
    files: &mut Files,
    edge_region: Option<&str>,
    problems: &mut Problems,
) -> Option<Loaded> {
    let document = toml::read(text, problems)?;
    let whole = document.whole;
    let mut to =
        Conversion { whole, path, problems, places: Places::default(), files, doubts: RowDoubts::default() };
    let Converted { draft, csvs, tenants, regions_known } = convert::convert(document, &mut to);
    let Conversion { places, doubts, .. } = to;
    for (_, csv) in &csvs {
        files.mention(csv);
    }
    if !whole || !regions_known {
        // Whatever is named may stand in the part that could not be read.
        return None;
    }
    if let Some(region) = edge_region.filter(|region| !draft.regions.contains_key(*region)) {
        let what = format!("edge.region = \"{}\" of the settings is none of them", values::shown(region));
        let fix = remedy(region, "regions", draft.regions.keys().map(String::as_str));
        let at = At::top("regions");
        problems.tell(places.line(&at), at, what, fix);
    }
    let known = draft.regions.len() <= rhumb_decision::units::MAX_REGIONS;
    let (mut builder, faults) = draft.build();
    for fault in faults {
        let at = At::from(fault.at);
        if !places.doubted(&at) {
            problems.tell(places.line(&at), at, fault.what, fault.fix);
        }
    }
    if !known {
        return None;
    }
    let mut inline = BTreeMap::new();
    for (id, written) in tenants {
        if let Given::Good(line, doc) = written {
            rows::inline(&id, line, doc, doubts, &mut builder, problems);
            inline.insert(id, line);
        }
    }
    for (turn, (at, csv)) in csvs.iter().enumerate() {
        if let Err(Wrong { what, fix }) = stream(csv, turn + 1, doubts, files, &mut builder, problems) {
            problems.tell(places.line(at), at, what, fix);
        }
    }
    let mut csvs: Vec<_> = csvs.iter().map(|(_, csv)| files.real(csv)).collect();
    if let Some(mut rows) = rows {
        csvs.push(PathBuf::from("tenants.csv"));
        let mut found = Problems::of("tenants.csv");
        let read = rows::csv(&mut csv::Rows::of(&mut rows), csvs.len(), doubts, &mut builder, &mut found);
        problems.append(found);
        if let Err(e) = read {
            problems.tell(0, "", format!("tenants.csv cannot be read: {e}"), "");
        }
    }
    let stands = Stands { toml: files.real(path), inline, csvs, index: OnceLock::new() };
    let table = finish(builder, &stands, problems)?;
    Some(Loaded { table, stands })
}

fn stream(
    path: &Path,
    number: usize,
    doubts: RowDoubts,
    files: &mut Files,
    builder: &mut TableBuilder,
    problems: &mut Problems,
) -> Result<(), Wrong> {
    let mut stream: BufReader<_> = files.open(path, Kind::Tenants)?;
    let mut found = Problems::of(files.real(path));
    let read = rows::csv(&mut csv::Rows::of(&mut stream), number, doubts, builder, &mut found);
    problems.append(found);
    read.map_err(|e| files::unreadable(path, &e))?;
    files.done(stream)
}

fn finish(builder: TableBuilder, stands: &Stands, problems: &mut Problems) -> Option<Table> {
    let repeated = match builder.finish_pausing(aside::pause) {
        Ok(table) => return Some(table),
        Err(repeated) => repeated,
    };
    for tenant in repeated {
        let place = |packed: u64| {
            let mark = Mark::unpack(packed);
            let csv = mark.file.checked_sub(1).and_then(|at| stands.csvs.get(at));
            (csv.unwrap_or(&stands.toml), mark.line)
        };
        let ((file, line), (first, first_line)) = (place(tenant.again), place(tenant.first));
        let what = format!("the tenant stands in {} at line {first_line} already", first.display());
        let mut there = Problems::of(file);
        there.tell(line, At::top("tenants").key(&tenant.id), what, "keep one of the two");
        problems.append(there);
    }
    None
}

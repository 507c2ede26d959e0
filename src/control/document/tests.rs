//! The reader as a whole: what is told, and what is made of what was written.

mod disk;
mod keys;
mod policies;
mod sample;
mod tenants;
mod tls;

use std::path::{Path, PathBuf};

use rhumb_decision::table::Table;

use super::*;

/// The least that is a table; its first free line is 8.
const LEAST: &str = "\
[tenancy]
from = [{ header = \"X-Tenant-ID\" }]
[regions.eu]
jurisdiction = \"eu\"
endpoints = [\"127.0.0.1:1\"]
[regions]
us = { jurisdiction = \"us\", endpoints = [\"127.0.0.1:2\"] }
";

/// A folder that goes away with the test, and a table in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(table: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("t.toml", table);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn empty(&self, name: &str) -> PathBuf {
        std::fs::create_dir(self.path(name)).unwrap();
        self.path(name)
    }

    fn read(&self) -> Result<Document, Box<Unreadable>> {
        self.read_and_copy(None)
    }

    fn read_and_copy(&self, copy_to: Option<&Path>) -> Result<Document, Box<Unreadable>> {
        read(&Reading { path: &self.path("t.toml"), edge_region: "eu", copy_to })
    }

    /// What is told, with file names instead of paths.
    #[track_caller]
    fn told(&self) -> Vec<String> {
        let Err(unreadable) = self.read() else { return Vec::new() };
        let folder = format!("{}/", self.0.path().display());
        let shown = |problem: &&crate::problem::Problem| {
            let file = problem.file.display().to_string();
            format!("{file}: {problem}").replace(&folder, "")
        };
        unreadable.problems.list().iter().map(shown).collect()
    }
}

/// The least table with `text` behind it, from line 8.
fn with(text: &str) -> Table {
    parse(&format!("{LEAST}{text}\n")).unwrap()
}

/// All that is told of a text.
fn told(text: &str) -> Vec<String> {
    parse(text).map_or_else(|found| found.list().iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// What is told of `text` behind the least table, which must be exactly one problem.
#[track_caller]
fn wrong(text: &str) -> String {
    let found = told(&format!("{LEAST}{text}\n"));
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found[0].strip_prefix("line 8, ").unwrap_or(&found[0]).to_owned()
}

/// A region's keys, behind the least table: `text` stands on line 9.
#[track_caller]
fn wrong_region(text: &str) -> String {
    let found = told(&format!(
        "{LEAST}[regions.ap]\n{text}\n{}{}",
        if text.contains("jurisdiction") { "" } else { "jurisdiction = \"ap\"\n" },
        if text.contains("endpoints") { "" } else { "endpoints = [\"127.0.0.1:3\"]\n" },
    ));
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found[0].strip_prefix("line 9, regions.ap.").unwrap_or(&found[0]).to_owned()
}

#[test]
fn ten_mistakes_are_ten_messages_on_the_right_lines() {
    let text = r#"[tenancy]
from = [{ host = "app.example" }]
unknown = "pubic"

[regions.eu-west-1]
jurisdiction = "eu"
endpoints = ["10.1.0.10"]
wieght = 50

[regions.us-east-1]
jurisdiction = "us"
endpoints = ["10.2.0.10:8080"]
near = ["eu-wset-1"]
weight = 300

[policies.default]
timeout = 30

[[routes]]
name = "search"
path = "v1/search"

[placements.public]
by = "weighted"
shares = { us-east-1 = 0 }

[tenants]
acme = { home = "eu-west-2", residency = ["eu"] }
"#;
    assert_eq!(
        told(text),
        [
            r#"line 2, tenancy.from[0].host: "app.example" is no host template; write {tenant} where the tenant stands, once, as in "{tenant}.app.example""#,
            r#"line 3, tenancy.unknown: there is no placement "pubic"; did you mean "public"?"#,
            r#"line 7, regions.eu-west-1.endpoints[0]: "10.1.0.10" is no endpoint; write the port too, such as "10.1.0.10:8080""#,
            r#"line 8, regions.eu-west-1.wieght: there is no key "wieght" here; did you mean "weight"?"#,
            r#"line 13, regions.us-east-1.near[0]: there is no region "eu-wset-1"; did you mean "eu-west-1"?"#,
            r#"line 14, regions.us-east-1.weight: must be a whole number from 0 to 100, not 300"#,
            r#"line 17, policies.default.timeout: must be a duration such as "5s", not 30"#,
            r#"line 21, routes[0].path: "v1/search" is no path pattern; begin with a slash, as in "/v1/cases", or with =/ for an exact path"#,
            r#"line 25, placements.public.shares: the shares add up to 0; write shares = { NAME = 70, OTHER = 30 }"#,
            r#"line 28, tenants.acme.home: there is no region "eu-west-2"; did you mean "eu-west-1"?"#,
        ]
    );
}

#[test]
fn what_was_read_badly_is_told_once_and_not_again_by_who_refers_to_it() {
    let text = r#"[tenancy]
from = [{ header = "X-Tenant-ID" }]
unknown = "public"
[regions]
eu = 3
[regions.us]
jurisdiction = 5
weight = "full"
endpoints = [7]
cells = { a = 1, b = { weight = 50 } }
[policies]
fast = []
[data_classes]
evidence = { jurisdictions = ["eu"] }
[placements]
public = "geo"
[[routes]]
policy = "fast"
data_class = "evidence"
[tenants]
acme = { home = "eu", standby = ["us"], residency = ["eu"], policy = "fast", cell = "a" }
globex = { home = "us", residency = ["us"], cell = "zz" }
[safety]
require_residency = true
"#;
    assert_eq!(
        told(text),
        [
            "line 5, regions.eu: must be a table, not 3",
            "line 7, regions.us.jurisdiction: must be a name in quotes, not 5",
            "line 8, regions.us.weight: must be a whole number from 0 to 100, not \"full\"",
            "line 9, regions.us.endpoints[0]: must be a text in quotes or a table, not 7",
            "line 10, regions.us.cells.a: must be a table, not 1",
            "line 12, policies.fast: must be a table, not an array",
            "line 16, placements.public: must be a table, not \"geo\"",
        ]
    );
    let text = LEAST.replace("us =", "us_ =").replace("[regions.eu]", "[regions.eu");
    assert_eq!(told(&text).len(), 1, "{:?}", told(&text));
}

#[test]
fn whole_sections_of_the_wrong_kind_are_told_once() {
    let text = r#"
tenancy = 1
policies = 2
routes = 3
data_classes = 4
placements = 5
tenants = 6
safety = 7
regions.eu = { jurisdiction = "eu", endpoints = ["a:1"] }
"#;
    let found = told(text);
    assert_eq!(found.len(), 7, "{found:?}");
    assert_eq!(
        told("regions = 1\n[tenants]\na = { home = \"x\" }\n[tenancy]\nfrom = [{ header = \"a\" }]\n").len(),
        1
    );
}

#[test]
fn what_is_missing_is_told_where_it_should_stand() {
    assert_eq!(
        told("[regions.eu]\n[tenants]\na = {}\n"),
        [
            "tenancy.from: requests have no way to name their tenant; write from = [{ host = \"{tenant}.app.example\" }]",
            "line 1, regions.eu.jurisdiction: is missing; write jurisdiction = \"eu\"",
            "line 1, regions.eu.endpoints: the region has no endpoint; write endpoints = [\"10.1.0.10:8080\"], \
             or role = \"off\"",
            "line 3, tenants.a.home: the tenant has no home; name its home region",
        ]
    );
    assert_eq!(
        told("[tenancy]\nfrom = [{ header = \"a\" }]\n[tenants]\na = { home = \"x\" }\n"),
        ["regions: the table has no region; add [regions.NAME]"]
    );
}

#[test]
fn more_regions_than_a_table_may_have_is_one_problem() {
    let mut text = String::from("[tenancy]\nfrom = [{ header = \"a\" }]\n[regions]\n");
    for n in 0..200 {
        text.push_str(&format!("r{n:03} = {{ jurisdiction = \"x\", endpoints = [\"127.0.0.1:1\"] }}\n"));
    }
    text.push_str("[tenants]\na = { home = \"r199\" }\n");
    assert_eq!(
        told(&text),
        ["line 3, regions: 200 regions are more than the 128 that one table may have; split the table"]
    );
}

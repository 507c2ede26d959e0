//! Holds the walls between the parts: who may name whom, of ours and from outside; and what else every source file owes.
//!
//! It reads the text of the sources, not what the compiler makes of it, so a breach is told in words that a reader of
//! the table below understands. Tests inside the parts are free: they are the outside, looking in.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources has to stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "architecture/sources.rs"]
mod sources;

use sources::{Named, Source, code, paths, without_tests};

/// What one part may name, in words with spaces between; `*` is anything. What is not listed is not named.
struct Wall {
    /// The part: a folder or file below `src`, without `.rs`. The first that fits a file counts.
    part: &'static str,
    /// Modules of ours, with all that is in them; its own are always free.
    ours: &'static str,
    /// Crates from outside.
    outside: &'static str,
    /// What of the standard library it leaves alone.
    never: &'static str,
}

/// From `control`, requests and the admin side get what is listed: never the steward, nor what feeds it.
const WALLS: &[Wall] = &[
    Wall {
        part: "decision",
        ours: "",
        outside: PURE,
        never: "std::env std::fs std::io std::net::TcpListener std::net::TcpStream \
            std::net::ToSocketAddrs std::net::UdpSocket std::os std::process std::thread \
            std::time::Instant std::time::SystemTime",
    },
    Wall {
        part: "problem",
        ours: "",
        outside: "serde strsim thiserror toml",
        never: "std::fs std::net::TcpStream std::process std::thread std::time::Instant",
    },
    Wall {
        part: "settings",
        ours: "problem decision",
        outside: "ipnet serde toml",
        never: "std::net::TcpListener std::net::TcpStream std::process std::thread",
    },
    Wall {
        part: "keys",
        ours: "problem",
        outside: "arc_swap base64 ring tracing",
        never: "std::process std::thread",
    },
    Wall {
        part: "sender",
        ours: "",
        outside: "bytes http http_body_util hyper hyper_util rustls rustls_native_certs thiserror tokio tokio_rustls",
        never: "std::fs std::process std::thread",
    },
    Wall {
        part: "alerts",
        ours: "control::events sender settings::Webhook telemetry::Recorder",
        outside: "bytes serde_json tokio tracing",
        never: "std::fs std::process std::thread",
    },
    Wall {
        part: "telemetry",
        ours: "decision sender settings::Access settings::Collector settings::Level settings::Log",
        outside: "arc_swap bytes prometheus prost serde serde_json thiserror time tokio tracing tracing_subscriber",
        never: "",
    },
    Wall {
        part: "certificates",
        ours: "decision settings::Certificate settings::ClientAuth settings::ClientCertificates \
            settings::ListenerTls",
        outside: "arc_swap rustls rustls_native_certs sha2 tokio tokio_rustls x509_parser",
        never: "std::net::TcpListener std::net::TcpStream std::process std::thread std::time::Instant",
    },
    Wall {
        part: "control",
        ours: "decision certificates keys problem settings::StateSettings settings::TableSettings telemetry::Recorder",
        outside: "arc_swap bytes csv csv_core futures_util h2 hickory_resolver http http_body_util hyper hyper_util libc \
            notify rustix rustls schemars serde serde_json sha2 tempfile thiserror time tokio tokio_rustls \
            toml tracing",
        never: "",
    },
    Wall {
        part: "proxy",
        ours: "decision certificates keys handover::Inherited control::clock control::live control::news control::outcome \
            control::readiness control::snapshot settings::Edge settings::EncodedSlash settings::Limits \
            settings::Listener settings::ListenerTls settings::Trust telemetry::BufferedBytes telemetry::Recorder \
            telemetry::finished telemetry::Attempted telemetry::Finished telemetry::Sampling telemetry::Traced",
        outside: "arc_swap arrayvec async_trait base64 bytes futures_core h2 http ipnet maxminddb memchr pingora \
            ring rustls serde serde_json socket2 thiserror tokio tokio_rustls tracing x509_parser",
        never: "",
    },
    Wall {
        part: "admin",
        ours: "decision certificates::listener problem control::clock control::desk control::events control::journal \
            control::live control::operator control::overseer control::readiness control::snapshot control::traffic settings::Admin settings::Edge settings::TokenFile telemetry",
        outside: "arc_swap axum futures_core http hyper hyper_util ring rustls schemars serde serde_json sha2 subtle thiserror time \
            tokio tokio_rustls tracing",
        never: "",
    },
    Wall {
        part: "handover",
        ours: "control::hold telemetry::Recorder",
        outside: "rustix thiserror tokio tracing",
        never: "",
    },
    Wall { part: "cli/run", ours: "*", outside: "*", never: "" },
    Wall { part: "cli/signals", ours: "*", outside: "*", never: "" },
    Wall { part: "cli/demo", ours: "*", outside: "*", never: "" },
    // Against a running edge, a drill is an operator like any other; judging and reporting ask nobody.
    Wall {
        part: "cli/drill/live",
        ours: "control::clock cli",
        outside: "serde_json tokio ureq",
        never: "std::net::TcpStream std::process",
    },
    Wall {
        part: "cli/drill/checks",
        ours: "cli",
        outside: "tokio",
        never: "std::net std::process std::thread",
    },
    Wall { part: "cli/drill/history", ours: "", outside: "", never: "std::net std::process std::thread" },
    Wall {
        part: "cli/drill/report",
        ours: "cli",
        outside: "serde",
        never: "std::net std::process std::thread",
    },
    // A game day wires a lab, an edge and clients of its own, as the demo does.
    Wall { part: "cli/drill", ours: "*", outside: "*", never: "" },
    Wall {
        part: "cli",
        ours: "decision problem settings keys certificates::pem control handover telemetry admin cli",
        outside: "anyhow clap clap_complete clap_mangen comfy_table http ipnet maxminddb ratatui rustls rustls_native_certs serde serde_json thiserror \
            time tokio toml tracing ureq",
        never: "",
    },
    Wall {
        part: "lab",
        ours: "",
        outside: "axum base64 bytes http http_body_util hyper hyper_util ring rustls serde serde_json sha2 \
            thiserror tokio tokio_rustls",
        never: "",
    },
    Wall { part: "main", ours: "cli", outside: "mimalloc", never: "" },
    Wall { part: "lib", ours: "*", outside: "", never: "" },
];

/// What the pure crate may depend on: nothing that could do I/O.
const PURE: &str = "arrayvec hashbrown strsim xxhash_rust";

/// The one file that reads time.
const CLOCK: &str = "control/clock.rs";

/// No source file is longer.
const LONGEST: usize = 500;

/// The breaches of one file, `name` below `src`; `crates` are the dependencies, as code names them.
fn breaches(name: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let mut found = shape(name, text);
    let source = Source::new(name);
    let code = code(text);
    for word in ["todo", "unimplemented"] {
        found.extend(code.uses_of_macro(word).map(|line| format!("{name}:{line}: {word}! is left")));
    }
    let Some(wall) = WALLS.iter().find(|wall| source.is_in(wall.part)) else {
        found.push(format!("{name}: no wall is written for it; add its part to tests/architecture.rs"));
        return found;
    };
    if is_test(name) {
        return found;
    }
    let code = without_tests(code);
    for path in paths(&code) {
        let line = path.line;
        let full = source.absolute(&path.names);
        let shown = full.join("::");
        if let Some(breach) = forbidden(wall, &source, &path, &full, crates) {
            found.push(format!("{name}:{line}: {breach}"));
        }
        let reads_time = ["Instant::now", "SystemTime::now"].iter().any(|now| shown.ends_with(now));
        // Tokio's own instants stand still where a test tells them to.
        if reads_time && !under(&shown, "tokio::time") && name != CLOCK {
            found.push(format!("{name}:{line}: only {CLOCK} reads time; take a Clock"));
        }
    }
    found.dedup();
    found
}

/// What a wall says against a path, which is `full` from the top of its crate; `None`: it may stand.
fn forbidden(
    wall: &Wall,
    source: &Source,
    path: &Named,
    full: &[String],
    crates: &BTreeSet<String>,
) -> Option<String> {
    let first = full.first()?.as_str();
    let part = wall.part;
    match first {
        "std" | "core" | "alloc" => {
            let shown = full.join("::");
            let left_alone = wall.never.split(' ').any(|never| under(&shown, never));
            left_alone.then(|| format!("{part} leaves {shown} alone"))
        }
        "crate" => {
            let ours = full.get(1..)?.join("::");
            let other = full.get(1).is_some_and(|named| is_part(named) && named != source.part());
            // A part that a `use` brings in whole is judged by what is then named of it.
            let whole = path.is_use && is_part(&ours);
            let may = wall.ours.split(' ').any(|may| may == "*" || under(&ours, may));
            (other && !whole && !may).then(|| format!("{part} must not name {ours}"))
        }
        krate => {
            let may = wall.outside.split(' ').any(|may| may == "*" || may == krate);
            (crates.contains(krate) && !may).then(|| format!("{part} must not name the crate {krate}"))
        }
    }
}

/// What every file owes, whatever it names.
fn shape(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{name}: {lines} lines; split it by noun, {LONGEST} are the most"));
    }
    if !text.starts_with("//!") && !is_test(name) {
        found
            .push(format!("{name}:1: begin with a //! that says why the file exists and what it never does"));
    }
    for (at, line) in text.lines().enumerate() {
        for word in ["TODO", "FIXME", "XXX"] {
            if line.split(|c: char| !c.is_ascii_alphanumeric()).any(|found| found == word) {
                found.push(format!("{name}:{}: {word} is left", at + 1));
            }
        }
    }
    found
}

/// Whether the file is a test module of its own; `#[cfg(test)]` stands where it is declared.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("/testing.rs")
}

fn is_part(name: &str) -> bool {
    let parts = [
        "problem",
        "settings",
        "keys",
        "certificates",
        "control",
        "handover",
        "proxy",
        "telemetry",
        "sender",
        "alerts",
        "admin",
        "cli",
        "lab",
        "decision",
    ];
    parts.contains(&name)
}

/// Whether `path` is `above` or in it. `rhumb_decision` is our part `decision`.
fn under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder`, by its path from there; build output, history and state left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let skipped = ["target", ".git", "state"].iter().any(|skip| entry.file_name() == *skip);
            if kind.is_dir() && !skipped {
                open.push(path);
            } else if kind.is_file() && !skipped {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn dependencies(manifest: &str, sections: &[&str]) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let names = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
    names.flat_map(|table| table.keys().map(|name| name.replace('-', "_"))).collect()
}

#[test]
fn every_part_names_only_what_its_wall_lets_through() {
    let crates = dependencies("Cargo.toml", &["dependencies", "dev-dependencies"]);
    let src = root().join("src");
    let mut all = Vec::new();
    for path in files(&src) {
        let name = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        if name.ends_with(".rs") && !name.starts_with("zlib/") {
            all.extend(breaches(&name, &fs::read_to_string(&path).unwrap(), &crates));
        }
    }
    assert!(all.is_empty(), "{} breaches:\n  {}\n", all.len(), all.join("\n  "));
}

#[test]
fn the_pure_crate_depends_on_nothing_that_could_do_io() {
    let has = dependencies("src/decision/Cargo.toml", &["dependencies", "build-dependencies"]);
    assert_eq!(has, PURE.split(' ').map(str::to_owned).collect());
}

#[test]
fn no_file_names_a_folder_of_the_machine_it_was_written_on() {
    let places = ["work", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut all = Vec::new();
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                all.push(format!("{}:{}: {line}", path.display(), at + 1));
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The bans of `.deny.toml` that name a version, held without cargo-deny: `h2:<0.4.20`.
#[test]
fn no_version_is_locked_that_is_known_to_be_open_to_attack() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap().parse::<toml::Table>().unwrap();
    let numbers = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u64>>();
    let bans = read(".deny.toml");
    let bans = bans["bans"]["deny"].as_array().unwrap();
    let bans: Vec<_> =
        bans.iter().filter_map(|ban| ban["crate"].as_str().unwrap().split_once(":<")).collect();
    assert!(bans.len() > 5, "{bans:?}");
    for lock in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let lock = read(lock);
        for (krate, fixed) in &bans {
            let all = lock["package"].as_array().unwrap().iter();
            let locked: Vec<_> = all.filter(|package| package["name"].as_str() == Some(krate)).collect();
            assert!(!locked.is_empty(), "{krate} is banned below {fixed} and not in the tree any more");
            for package in locked {
                let version = package["version"].as_str().unwrap();
                assert!(numbers(version) >= numbers(fixed), "{krate} {version} is below {fixed}");
            }
        }
    }
}

/// What the checker says of one line of code in a file of this name.
fn told(name: &str, code: &str) -> Vec<String> {
    let crates = dependencies("Cargo.toml", &["dependencies", "dev-dependencies"]);
    breaches(name, &format!("//! Why.\n{code}\n"), &crates)
}

#[test]
fn a_breach_is_told_however_it_is_written() {
    for (name, code) in [
        ("proxy/peer.rs", "use crate::control::steward::Steward;"),
        ("proxy/peer.rs", "use crate::{control::{clock::Clock, steward}, settings::Edge};"),
        ("proxy/peer.rs", "use crate::control; fn f() { control::steward::run(); }"),
        ("proxy/peer.rs", "use crate::control::*;"),
        ("proxy/peer.rs", "use crate::control as c; fn f() { c::operator::ask(); }"),
        ("proxy/peer.rs", "use super::super::admin::x;"),
        ("proxy/mod.rs", "use super::admin::server;"),
        ("proxy/peer.rs", "fn f() { crate::control::operator::ask(); }"),
        ("proxy/peer.rs", "use crate::settings::Settings;"),
        ("proxy/peer.rs", "use axum::Router;"),
        ("control/source.rs", "fn f(x: ::pingora::Error) {}"),
        ("control/source.rs", "fn f() { prometheus::gather(); }"),
        ("control/source.rs", "use crate::telemetry::names;"),
        ("control/source.rs", "fn f() -> Instant { std::time::Instant::now() }"),
        ("control/source.rs", "fn f() { let _ = SystemTime::now(); }"),
        ("control/source.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
        ("lab/door.rs", "use rhumb_decision::units::Epoch;"),
        ("admin/views.rs", "use crate::proxy::answer;"),
        ("admin/views.rs", "/* a */ use /* b */ pingora as p;"),
        ("cli/check.rs", "use pingora::prelude::*;"),
        ("problem/toml.rs", "use crate::settings::Edge;"),
        ("decision/pick.rs", "use std::fs::File;"),
        ("decision/pick.rs", "use std::{net::{SocketAddr, TcpStream}};"),
        ("decision/pick.rs", "fn f(at: std::time::SystemTime) {}"),
        ("decision/pick.rs", "fn f() { tracing::info!(\"x\"); }"),
        ("decision/pick.rs", "use tokio as t;"),
        ("main.rs", "fn main() { rhumb::control::run() }"),
        ("attic/old.rs", ""),
        ("lab/door.rs", "fn f() { todo!() }"),
        ("lab/door.rs", "// FIXME: later"),
    ] {
        assert_eq!(told(name, code).len(), 1, "{name}: {code}: {:?}", told(name, code));
    }
}

#[test]
fn what_is_allowed_is_not_told() {
    for (name, code) in [
        ("proxy/peer.rs", "use crate::control::{clock::Clock, snapshot::Reader};"),
        ("proxy/peer.rs", "use super::gate; use rhumb_decision::decide; use crate::telemetry::Recorder;"),
        (
            "proxy/peer.rs",
            "// use axum::Router;\nconst A: &str = \"use axum::Router; // \\\" crate::admin::x\";",
        ),
        ("proxy/peer.rs", "const A: &str = r#\"crate::admin::x \" \"#; /* /* axum::x */ axum::y */"),
        ("proxy/peer.rs", "fn f<'a>(x: &'a u8) -> impl Fn() + use<'a> { move || drop(('\"', '\\'', x)) }"),
        ("proxy/peer.rs", "#[cfg(test)]\nmod tests {\n    use crate::lab::Lab;\n    fn f() { todo() }\n}"),
        ("proxy/gate/tests.rs", "use crate::lab::Lab;"),
        ("control/clock.rs", "fn f() { std::time::Instant::now(); }"),
        ("lab/door.rs", "use tokio::time::Instant; fn f() { Instant::now(); }"),
        ("proxy/peer.rs", "use crate::settings; fn f(limits: settings::Limits) {}"),
        ("decision/pick.rs", "use std::net::SocketAddr; use std::time::Duration; use crate::table::Table;"),
        ("cli/run.rs", "use crate::proxy::server; use pingora::server::Server;"),
        ("main.rs", "fn main() { rhumb::cli::main() }"),
    ] {
        assert_eq!(told(name, code), Vec::<String>::new(), "{name}: {code}");
    }
}

#[test]
fn the_code_after_a_test_module_is_still_read() {
    let code = "#[cfg(test)]\nmod tests { fn f() { if true { } } }\nuse crate::admin::x;";
    assert_eq!(told("proxy/peer.rs", code), ["proxy/peer.rs:4: proxy must not name admin::x"]);
}

#[test]
fn a_long_file_and_one_without_a_reason_are_told() {
    let crates = BTreeSet::new();
    let long = format!("//! Why.\n{}", "\n".repeat(LONGEST));
    assert_eq!(breaches("lab/door.rs", &long, &crates).len(), 1);
    assert_eq!(breaches("lab/door.rs", "use std::fmt;\n", &crates).len(), 1);
}

//! The runbooks, done as they stand: every command of every page against a real edge, in the order of its section, as
//! somebody does it who has the program, and as somebody who has `curl` alone.
//!
//! A section begins with what it is about, and a command that fails has failed the page. What a reader puts in for a
//! placeholder is in [`filled`], what a section needs beforehand in [`happens`], and both are nowhere else.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{
    Authority, Collector, Edge, Folder, Ran, Receiver, Routing, TOKEN, Toy, ask, await_some, edge,
    eventually, get, lab, signal,
};

/// What a test does not do, and why; the first word of the command. Nothing at the moment.
const LEFT_OUT: &[(&str, &str)] = &[];

/// What the pages ask a reader to type.
const PROGRAMS: &[&str] = &["rhumb", "curl", "cp"];

/// Commands that the edge refuses as the section stands, as its text says that it may.
const REFUSED: &[(&str, &str, &str)] = &[
    ("bad-table.md", "Table refused", "/v1/table/reload"),
    ("bad-table.md", "Table refused", "rhumb table reload"),
];

/// One section: its commands by blocks.
struct Section {
    page: String,
    title: String,
    blocks: Vec<Vec<String>>,
}

/// A page: what it has one type before all else, then its sections.
fn read(path: &Path) -> (String, Vec<Section>) {
    let text = std::fs::read_to_string(path).unwrap();
    let page = path.file_name().unwrap().to_str().unwrap().to_owned();
    let (mut before, mut sections) = (String::new(), Vec::<Section>::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { page: page.clone(), title: title.to_owned(), blocks: Vec::new() });
        }
        if !line.trim_start().starts_with("```") {
            continue;
        }
        assert_eq!(line.trim_start(), "```sh", "{page}: a block that is not sh is not tested");
        let block: Vec<&str> =
            lines.by_ref().take_while(|line| line.trim() != "```").map(str::trim_start).collect();
        let block = block.join("\n").replace("\\\n", "");
        match sections.last_mut() {
            None => before.push_str(&block),
            Some(section) => section.blocks.push(block.lines().map(str::to_owned).collect()),
        }
    }
    (before, sections)
}

/// What a reader puts in, `ID` and `HASH` as the edge shows them at that moment; and ten minutes are too long here.
fn filled(command: &str, edge: &Edge) -> String {
    let mut text = command.replace("http://127.0.0.1:9900", &format!("http://{}", edge.admin));
    text = text.replace("RHUMB_TOKEN=...", &format!("RHUMB_TOKEN={TOKEN}")).replace("10m", "1s");
    if text.contains("ID") {
        let drains = edge.read("/v1/drains");
        let id =
            drains.as_array().and_then(|all| all.last()).map_or(json!(null), |drain| drain["id"].clone());
        text = text.replace("drains/ID", &format!("drains/{id}")).replace(" ID ", &format!(" {id} "));
    }
    if text.contains("HASH") {
        let rejected = edge.read("/v1/table/rejected");
        text = text.replace("HASH", rejected["hash"].as_str().unwrap_or("none"));
    }
    text
}

/// The world of a section.
struct World {
    regions: (Toy, Toy, Toy),
    routing: Routing,
    edge: Edge,
    _receiver: Receiver,
    _collector: Collector,
}

impl World {
    fn new() -> Self {
        let regions = lab();
        let routing = Routing::of(&[&regions.0, &regions.1, &regions.2])
            .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
        let (receiver, collector) = (Receiver::start(), Collector::start());
        let settings = edge(&routing)
            .set("alerts", &receiver.setting())
            .set("tracing", &collector.setting())
            .set("tracing", "sample = 1.0")
            .prepare(|folder| {
                // The pages say `conf/rhumb.toml`.
                symlink(".", folder.file("conf")).unwrap();
                Authority::new().leaf_in(folder.path(), "one.example");
                program(folder, "curl", "exec curl --noproxy '*' --fail-with-body \"$@\"");
            });
        let tls = r#"tls.certificates = [{ chain = "one.example.pem", key = "one.example.key" }]"#;
        let edge = settings.listener(tls).start();
        let rhumb = format!("exec {} --admin http://{} \"$@\"", env!("CARGO_BIN_EXE_rhumb"), edge.admin);
        program(edge.folder(), "rhumb", &rhumb);
        let world = Self { regions, routing, edge, _receiver: receiver, _collector: collector };
        world.everybody_is_up();
        world
    }

    fn everybody_is_up(&self) {
        for region in ["eu-west-1", "us-east-1", "ap-southeast-1"] {
            eventually("a region is up", || self.edge.health(region) == "UP");
        }
    }

    fn types(&self, before: &str, command: &str) -> Command {
        let folder = self.edge.folder();
        let mut shell = Command::new("bash");
        let path = format!("{}:{}", folder.file("bin").display(), std::env::var("PATH").unwrap());
        shell.args(["-o", "pipefail", "-c"]).arg(format!("{before}\n{command}"));
        shell.current_dir(folder.path()).env("PATH", path).stdin(Stdio::null());
        shell
    }

    fn does(&self, command: &str, before: &str, section: &Section) {
        let (before, typed) = (filled(before, &self.edge), filled(command, &self.edge));
        let ran = Ran::of(&mut self.types(&before, &typed));
        let refused = REFUSED.iter().any(|(page, title, what)| {
            (*page, *title) == (section.page.as_str(), section.title.as_str()) && command.contains(what)
        });
        let place = format!("{}, {}: {typed}", section.page, section.title);
        assert_eq!(ran.code != Some(0), refused, "{place}\n{}{}", ran.stdout, ran.stderr);
        let says = !ran.stdout.trim().is_empty() || (refused && !ran.stderr.is_empty());
        assert!(says || typed.starts_with("cp "), "{place}\nsays nothing");
    }
}

/// Puts a program before all others.
fn program(folder: &Folder, name: &str, script: &str) {
    // The folder of programs itself must not be found first.
    let path = std::env::var("PATH").unwrap();
    std::fs::create_dir_all(folder.file("bin")).unwrap();
    folder.write(&format!("bin/{name}"), format!("#!/bin/bash\nPATH={path:?}\n{script}\n"));
    std::fs::set_permissions(folder.file(&format!("bin/{name}")), PermissionsExt::from_mode(0o755)).unwrap();
}

/// What has happened when somebody opens a section.
fn happens(section: &Section, world: &World) {
    let edge = &world.edge;
    match (section.page.as_str(), section.title.as_str()) {
        ("bad-table.md", "Table refused") => {
            let moved = world.routing.clone().tenant("acme", r#"home = "eu-west-1", epoch = 2"#);
            edge.folder().rename_over("routing.toml", moved.text());
            eventually("it is refused", || edge.read("/v1/table/rejected")["acceptable"] == true);
        }
        ("bad-table.md", "Go back") => {
            let was = edge.hash();
            let other = world.routing.clone().region("eu-west-1", "weight", "90");
            edge.folder().rename_over("routing.toml", other.text());
            eventually("it is taken", || edge.hash() != was);
        }
        ("drain.md", "Paused") => {
            let drain = json!({"region": "eu-west-1", "to": 0, "over": "10m", "reason": "INC-1"});
            let id = edge.change("/v1/drains", &drain).json()["id"].clone();
            assert_eq!(
                edge.change(&format!("/v1/drains/{id}/pause"), &json!({"reason": "look"})).status,
                200
            );
        }
        ("regional-loss.md", "Region down") => {
            world.regions.0.go_dark();
            eventually("it is down", || edge.health("eu-west-1") == "DOWN");
        }
        ("writes-refused.md", _) => {
            world.regions.1.go_dark();
            eventually("it is down", || edge.health("us-east-1") == "DOWN");
            assert_eq!(edge.ask(&ask("POST", "acme.app.example", "/v1/cases")).status, 503);
        }
        ("signals.md", "Spoofed") => {
            edge.ask(&get("acme.app.example", "/").header("X-Owner-Epoch", "9"));
        }
        ("signals.md", "Tokens") => {
            assert_eq!(edge.post_admin("/v1/table/reload", &json!({}), Some("wrong")).status, 401);
        }
        ("signals.md", "Alerts" | "Traces") => {
            edge.get("acme.app.example", "/");
            assert_eq!(edge.rhumb(&["weight", "eu-west-1", "90", "--reason", "told"]).code, Some(0));
            for name in ["rhumb_alerts_total", "rhumb_traces_total"] {
                eventually("it was sent", || {
                    get("localhost", "/metrics").to(edge.admin).text().contains(name)
                });
            }
        }
        _ => {}
    }
}

/// `rhumb run` stays: the edge before it is gone, with files that it could not start with.
fn runs(world: &mut World, command: &str, before: &str, section: &Section) {
    let before = filled(before, &world.edge);
    world.edge.signal("KILL");
    world.edge.ended();
    world.edge.folder().rename_over("routing.toml", "this is no table");
    let command = filled(command, &world.edge);
    let mut running = world.types(&before, &format!("exec {command}")).stderr(Stdio::null()).spawn().unwrap();
    let kept = await_some("it serves by the table that was kept", || {
        let ran = Ran::of(&mut world.types(&before, "rhumb table show"));
        let shown = (ran.code == Some(0)).then_some(ran.stdout);
        shown.or_else(|| running.try_wait().unwrap().map(|ended| ended.to_string()))
    });
    assert!(kept.contains("the last good table"), "{}, {}: {command}\n{kept}", section.page, section.title);
    signal(running.id(), "TERM");
    assert!(running.wait().unwrap().success());
}

/// Does a section; `by` is who does it: with `rhumb` where there is a line of it, or with `curl`.
fn does(section: &Section, before: &str, by: &str) {
    let mut world = World::new();
    happens(section, &world);
    for block in &section.blocks {
        let of = |program: &str| block.iter().filter(|line| line.starts_with(program)).collect::<Vec<_>>();
        let mine = of(by);
        for command in if mine.is_empty() { block.iter().collect() } else { mine } {
            let first = command.split(' ').next().unwrap();
            if LEFT_OUT.iter().any(|(program, _)| *program == first) {
                continue;
            }
            assert!(
                PROGRAMS.contains(&first),
                "{}: {command}\nis to be tested, or left out with a reason",
                section.page
            );
            match command.starts_with("rhumb run ") {
                true => runs(&mut world, command, before, section),
                false => world.does(command, before, section),
            }
        }
    }
}

fn page(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks").join(name);
    let (before, sections) = read(&path);
    let mut done = 0;
    for section in sections.iter().filter(|section| !section.blocks.is_empty()) {
        for by in ["rhumb", "curl"] {
            does(section, &before, by);
            done += 1;
        }
    }
    assert!(done > 0, "{name} has no command");
}

macro_rules! pages {
    ($($test:ident = $file:literal),* $(,)?) => {
        /// Those that are done.
        const PAGES: &[&str] = &[$($file),*];
        $(#[test] fn $test() { page($file); })*
    };
}

pages! {
    bad_table = "bad-table.md",
    drain = "drain.md",
    lost_state = "lost-state.md",
    regional_loss = "regional-loss.md",
    signals = "signals.md",
    writes_refused = "writes-refused.md",
}

#[test]
fn no_page_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let mut there: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, PAGES);
}

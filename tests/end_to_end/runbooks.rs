//! The runbooks, done as they stand: every command of every page against a real edge, in the order of its section, as
//! somebody does it who has the program, and as somebody who has `curl` alone.
//!
//! A section begins with what it is about, and a command that fails has failed the page. What a reader puts in for a
//! placeholder is in [`filled`], what a section needs beforehand and what it has to come to in [`world`], and all of it is
//! nowhere else.

mod world;

use std::path::Path;
use std::process::Stdio;

use crate::harness::{Edge, Ran, TOKEN, await_some, signal};
use world::World;

/// What a test does not do, and why; the first word of the command. Nothing at the moment.
const LEFT_OUT: &[(&str, &str)] = &[];

/// What the pages ask a reader to type.
const PROGRAMS: &[&str] = &["rhumb", "curl", "cp"];

/// Commands that the edge refuses as the section stands, as its text says that it may.
const REFUSED: &[(&str, &str, &str)] = &[
    ("bad-table.md", "Table refused", "/v1/table/reload"),
    ("bad-table.md", "Table refused", "rhumb table reload"),
    ("failback.md", "Failback", "rhumb failback us-east-1 --share 25 --reason"),
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
        let kind = if text.contains("transfers") { "transfers" } else { "drains" };
        let all = edge.read(&format!("/v1/{kind}"));
        let id =
            all.as_array().and_then(|all| all.last()).map_or("none".into(), |last| last["id"].to_string());
        text =
            text.replace(&format!("{kind}/ID"), &format!("{kind}/{id}")).replace(" ID ", &format!(" {id} "));
    }
    if text.contains("HASH") {
        let rejected = edge.read("/v1/table/rejected");
        text = text.replace("HASH", rejected["hash"].as_str().unwrap_or("none"));
    }
    text
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
    let mut world = World::of(section);
    // What has to last as long as somebody reads.
    let _lasting = world.happens(section);
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
                false => does_one(&world, command, before, section),
            }
        }
    }
    world.is_left(section);
}

fn does_one(world: &World, command: &str, before: &str, section: &Section) {
    let (before, typed) = (filled(before, &world.edge), filled(command, &world.edge));
    let ran = Ran::of(&mut world.types(&before, &typed));
    let refused = REFUSED.iter().any(|(page, title, what)| {
        (*page, *title) == (section.page.as_str(), section.title.as_str()) && command.contains(what)
    });
    let place = format!("{}, {}: {typed}", section.page, section.title);
    assert_eq!(ran.code != Some(0), refused, "{place}\n{}{}", ran.stdout, ran.stderr);
    let says = !ran.stdout.trim().is_empty() || (refused && !ran.stderr.is_empty());
    assert!(says || typed.starts_with("cp "), "{place}\nsays nothing");
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
    failback = "failback.md",
    failover = "failover.md",
    lost_state = "lost-state.md",
    migrate_a_tenant = "migrate-a-tenant.md",
    regional_loss = "regional-loss.md",
    signals = "signals.md",
    split_brain = "split-brain.md",
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

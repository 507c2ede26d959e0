//! The table's file is cut, wrong, huge, restless, replaced by something else, or not to be had.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Edge, Routing, Toy, eventually, get, now, toy};
use crate::load::{Event, Kind, Running, load};
use crate::told::{alone, beside, inside, length, patiently, row};
use crate::world::{Held, LATITUDE, check, over, processor_time, routing, usual};

struct World {
    eu: Toy,
    us: Toy,
    table: Routing,
    edge: Edge,
}

fn world() -> World {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    let edge = over(&table).start();
    World { eu, us, table, edge }
}

impl World {
    fn reloads(&self, outcome: &str) -> f64 {
        self.edge.metric("rhumb_table_reloads_total", &[("outcome", outcome)])
    }

    /// Every request was answered, and every write is where it belongs.
    #[track_caller]
    fn nobody_noticed(&self, load: Running) -> (usize, Duration) {
        let seen = load.stop();
        check(&seen, &[&self.eu, &self.us]);
        let failed = seen.failed(Kind::Read) + seen.failed(Kind::Write);
        assert_eq!(failed, 0, "{}; {}", seen.outcomes(Kind::Read), seen.outcomes(Kind::Write));
        (seen.events.len(), seen.p99(Kind::Read))
    }
}

#[test]
fn drill_18_a_table_cut_in_the_middle_is_refused_and_the_old_one_serves() {
    let _turn = beside();
    let world = world();
    let (hash, text) = (world.edge.hash(), world.table.text());
    let load = usual(&world.edge).start();
    let mut refused = 0;
    for part in [0, 1, 3, 5, 7, 9] {
        // Written in place, as by a copy that was cut off.
        let end = (text.len() * part / 10).saturating_sub(3);
        let before = world.reloads("refused");
        world.edge.folder().write("routing.toml", &text[..end]);
        eventually("it is refused", || world.reloads("refused") > before);
        assert_eq!(world.edge.hash(), hash);
        assert!(!world.edge.read("/v1/table/rejected")["problems"].as_array().unwrap().is_empty());
        refused += 1;
    }
    world.edge.says("table refused");
    let (requests, _) = world.nobody_noticed(load);
    row("18", "table empty, or cut off after 10 to 90 %")
        .saw("tables refused", refused)
        .saw("requests", requests)
        .saw("failed", 0)
        .tell();
}

#[test]
fn drill_19_a_wrong_table_is_refused_whole_and_says_why() {
    let _turn = beside();
    let world = world();
    let hash = world.edge.hash();
    let load = usual(&world.edge).start();
    let table = || world.table.clone().tenant("fresh", r#"home = "eu-west-1""#);
    let twice = format!("{}acme = {{ home = \"eu-west-1\" }}\n", table().text());
    let wrong: [(&str, Vec<u8>); 5] = [
        ("mars", table().tenant("lost", r#"home = "mars""#).text().into()),
        ("acme", twice.into()),
        ("near", table().region("eu-west-1", "near", r#"["eu-west-1", "nowhere"]"#).text().into()),
        ("UTF-8", [table().text().as_bytes(), b"# \xff\xfe\n"].concat()),
        (
            "residency",
            table().tenant("bank", r#"home = "us-east-1", residency = ["eu"], epoch = 9"#).text().into(),
        ),
    ];
    for (names, bytes) in wrong {
        let before = world.reloads("refused");
        world.edge.folder().rename_over("routing.toml", bytes);
        eventually("it is refused", || world.reloads("refused") > before);
        let problems = world.edge.read("/v1/table/rejected")["problems"].to_string();
        assert!(problems.contains(names), "{names}: {problems}");
        world.edge.says(names);
        assert_eq!(world.edge.hash(), hash);
        assert_eq!(world.edge.get("fresh.app.example", "/").status, 404, "nothing of it is applied");
    }
    let (requests, _) = world.nobody_noticed(load);
    row("19", "unknown region, tenant twice, bad neighbour, bad UTF-8, home outside the residency")
        .saw("tables refused, each with its reason", 5)
        .saw("requests", requests)
        .saw("failed", 0)
        .tell();
}

/// `count` tenants as a CSV.
fn many(count: usize) -> String {
    let mut text = String::from("id,home,epoch\n");
    for nth in 0..count {
        writeln!(text, "tenant-{nth:07}-of-the-great-table,us-east-1,1").unwrap();
    }
    text
}

#[test]
fn drill_20_a_huge_table_loads_beside_the_requests() {
    let _turn = alone();
    let world = world();
    let count = length(100_000, 1_000_000);
    let load = load(world.edge.address()).readers(2, "acme").writers(1, "acme").victim("globex").start();
    load.until(200, "requests are answered", Event::is_good);
    let text = many(count);
    let size = text.len() / 1024;
    world.edge.folder().write("tenants.csv", text);
    let table = world.table.clone().tenancy("files", r#"["tenants.csv"]"#);
    let written = now();
    world.edge.folder().rename_over("routing.toml", table.text());
    patiently("it is in force", Duration::from_secs(300), || {
        world.edge.metric("rhumb_table_tenants", &[]) > count as f64
    });
    let took = written.elapsed();
    let name = format!("tenant-{:07}-of-the-great-table", count - 1);
    assert_eq!(get(&format!("{name}.app.example"), "/").to(world.edge.address()).region(), "us-east-1");
    let (requests, p99) = world.nobody_noticed(load);
    row("20", &format!("table of {count} tenants, {size} KiB"))
        .took("in force after", took)
        .saw("requests meanwhile and around", requests)
        .saw("failed", 0)
        .saw("p99 of reads", format!("{p99:?}"))
        .tell();
}

#[test]
fn drill_21_a_restless_table_is_coalesced_and_its_epochs_only_rise() {
    let _turn = beside();
    let world = world();
    let load = usual(&world.edge).start();
    let updates = length(300, 1_000);
    let (generation, taken) = (world.edge.generation(), world.reloads("taken"));
    let (began, busy) = (Instant::now(), processor_time(&world.edge));
    let (mut last, mut falls) = (0, 0);
    let epoch = |edge: &Edge| edge.read("/v1/tenants/step")["epoch"].as_u64().unwrap_or_default();
    for nth in 1..=updates {
        let next = world.table.clone().tenant("step", &format!(r#"home = "eu-west-1", epoch = {nth}"#));
        world.edge.folder().rename_over("routing.toml", next.text());
        world.edge.signal("HUP");
        if nth % 20 == 0 && nth > 40 {
            let answer = get("localhost", "/v1/tenants/step").to(world.edge.admin);
            let seen = if answer.status == 200 { epoch(&world.edge) } else { last };
            falls += usize::from(seen < last);
            last = seen;
        }
        let due = Duration::from_millis(10) * nth;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let span = began.elapsed();
    eventually("the last is in force", || epoch(&world.edge) == u64::from(updates));
    let busy = processor_time(&world.edge) - busy;
    let generations = world.edge.generation() - generation;
    let taken = world.reloads("taken") - taken;
    let (requests, _) = world.nobody_noticed(load);
    assert_eq!(falls, 0, "an epoch fell");
    assert!(taken <= f64::from(updates), "each is taken once at most, and {taken} were of {updates}");
    assert!(busy < span + LATITUDE, "{busy:?} of processor time in {span:?}");
    row("21", "a new table a hundred times a second, and a SIGHUP with each")
        .saw("updates", updates)
        .took("in", span)
        .saw("tables taken", taken)
        .saw("generations", generations)
        .took("processor time of the edge", busy)
        .saw("epochs that fell", falls)
        .saw("requests", requests)
        .saw("failed", 0)
        .tell();
}

#[test]
fn drill_22_a_file_may_change_in_any_way_and_become_anything() {
    let _turn = beside();
    let world = world();
    let load = usual(&world.edge).start();
    let (path, threads) = (world.edge.folder().file("routing.toml"), world.edge.figure("Threads"));
    let knows = |name: &str| world.edge.get(&format!("{name}.app.example"), "/").status == 200;
    let mut table = world.table.clone();
    let mut slowest = Duration::ZERO;
    let mut change = |name: &str, write: &dyn Fn(&str)| {
        table = table.clone().tenant(name, r#"home = "eu-west-1""#);
        write(&table.text());
        let written = now();
        eventually("the change is seen", || knows(name));
        slowest = slowest.max(written.elapsed());
    };
    change("in-place", &|text| world.edge.folder().write("routing.toml", text));
    change("renamed", &|text| world.edge.folder().rename_over("routing.toml", text));
    change("linked", &|text| world.edge.folder().swap_link("routing.toml", text));
    change("swapped", &|text| world.edge.folder().swap_link("routing.toml", text));
    assert!(slowest <= Duration::from_secs(1) + LATITUDE, "seen after {slowest:?}");
    let hash = world.edge.hash();
    for what in ["a directory", "a FIFO", "a dangling link"] {
        let before = world.reloads("refused");
        std::fs::remove_file(&path).unwrap();
        match what {
            "a directory" => std::fs::create_dir(&path).unwrap(),
            "a FIFO" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            _ => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
        }
        eventually(what, || world.reloads("refused") > before);
        assert_eq!(world.edge.hash(), hash, "{what}");
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
            world.edge.folder().write("routing.toml", "");
        }
    }
    assert!(world.edge.figure("Threads") <= threads + 4, "a thread waits for the FIFO");
    let (requests, _) = world.nobody_noticed(load);
    row(
        "22",
        "file written in place, renamed over, symlink swapped twice; a directory, a FIFO, a dangling link",
    )
    .took("slowest change in force after", slowest)
    .saw("others refused", 3)
    .saw("requests", requests)
    .saw("failed", 0)
    .tell();
}

#[test]
fn drill_23_a_lost_file_or_a_full_disk_leaves_the_last_good_table_and_a_start_says_what_it_does() {
    let _turn = beside();
    let test =
        "table::drill_23_a_lost_file_or_a_full_disk_leaves_the_last_good_table_and_a_start_says_what_it_does";
    let room = "mkdir -p /tmp/rhumb-drill-23 && mount -t tmpfs -o size=96k tmpfs /tmp/rhumb-drill-23";
    if !inside("23", test, &["--mount"], room) {
        return;
    }
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    let edge = over(&table).set("state", "dir = \"/tmp/rhumb-drill-23\"").start();
    let load = usual(&edge).start();
    // The disk is full: a new table is taken all the same, and that it was not kept is told.
    std::fs::write("/tmp/rhumb-drill-23/filler", vec![0; 64 * 1024]).unwrap();
    let filled = (0..).take_while(|nth| {
        std::fs::write(format!("/tmp/rhumb-drill-23/filler-{nth}"), [0; 4096]).is_ok() && *nth < 100
    });
    let filled = filled.count();
    edge.folder().rename_over("routing.toml", table.clone().tenant("late", r#"home = "eu-west-1""#).text());
    eventually("it is in force", || edge.get("late.app.example", "/").status == 200);
    eventually("it is told", || {
        edge.log().contains("could not be kept") || edge.log().contains("cannot be kept")
    });
    // Permission lost does not stop root; the file gone does.
    let path = edge.folder().file("routing.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    assert!(edge.change("/v1/table/reload", &json!({})).status < 500);
    std::fs::remove_file(&path).unwrap();
    let refused = edge.change("/v1/table/reload", &json!({}));
    assert!(refused.status >= 400, "{}", refused.text());
    load.until(100, "requests go on", Event::is_good);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    let held = Held::by(&edge);
    let folder = edge.stop();
    // A start without the file is refused, and says that the last good table is there for the asking.
    let again = |folder| over(&table).set("state", "dir = \"/tmp/rhumb-drill-23\"").again_in(folder);
    let ran = again(folder).fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--last-good"), "{}", ran.stderr);
    let edge = again(ran.folder.unwrap()).argument("--last-good").start();
    assert_eq!(edge.get("acme.app.example", "/").status, 200);
    row("23", "state disk full; table's file unreadable, then gone; restart without it")
        .saw("blocks that filled the disk", filled)
        .saw("requests", seen.events.len())
        .saw("failed", 0)
        .saw("start without the file", "exit code 2, names --last-good")
        .saw("start with --last-good", "serves")
        .saw("open files", held.files)
        .tell();
}

//! Bad files: refused whole, and the last good table serves.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::harness::{Edge, Ran, Routing, Toy, edge, eventually, lab, rhumb};

fn world() -> (Toy, Toy, Toy, Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1""#);
    (eu, us, ap, routing)
}

/// Ten mistakes, each with a word that its message has.
fn ten_mistakes(routing: &Routing) -> (String, [&'static str; 10]) {
    let text = routing
        .clone()
        .region("eu-west-1", "weight", "101")
        .region("us-east-1", "role", "\"actve\"")
        .region("ap-southeast-1", "nears", "[]")
        .region("eu-west-1", "endpoints", r#"["10.0.0.1"]"#)
        .tenant("acme", r#"home = "eu-wst-1", epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1", residency = ["eu"]"#)
        .tenant("hooli", r#"home = "us-east-1", epoch = "seven""#)
        .tenant("\"bad tenant\"", r#"home = "us-east-1""#)
        .tenant("lost", r#"home = "us-east-1", policy = "nobody""#)
        .and("[[routes]]\nname = \"odd\"\npath = \"no-slash\"")
        .text();
    let words = [
        "weight",
        "role",
        "nears",
        "endpoints",
        "eu-wst-1",
        "residency",
        "hooli",
        "bad tenant",
        "nobody",
        "path",
    ];
    (text, words)
}

#[track_caller]
fn still_serves(edge: &Edge, hash: &str) {
    assert_eq!(edge.hash(), hash);
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(edge.get("globex.app.example", "/").region(), "us-east-1");
}

#[test]
fn ten_mistakes_are_ten_messages_and_nothing_is_applied() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let hash = edge.hash();
    let (text, words) = ten_mistakes(&routing);
    edge.folder().rename_over("routing.toml", &text);
    eventually("it is refused", || {
        edge.read("/v1/table/rejected")["problems"].as_array().is_some_and(|list| !list.is_empty())
    });
    let rejected = edge.read("/v1/table/rejected");
    let problems = rejected["problems"].as_array().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for word in words {
        let told = problems.iter().find(|problem| problem.to_string().contains(word));
        let told = told.unwrap_or_else(|| panic!("nothing is said of {word:?}: {rejected:#}"));
        assert!(told["file"].as_str().unwrap().ends_with("routing.toml"));
        let said = format!("{} {}", told["what"].as_str().unwrap(), told["fix"].as_str().unwrap());
        assert!(said.len() > 20, "what is wrong and what to write: {told}");
        let line = told["line"].as_u64().unwrap() as usize;
        assert!((1..=lines.len()).contains(&line), "{told}");
    }
    assert_eq!(problems.len(), 10, "{rejected:#}");
    assert!(rejected.to_string().contains("did you mean"), "{rejected:#}");
    eventually("it is counted", || {
        edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]) >= 1.0
    });
    edge.says("refused");
    still_serves(&edge, &hash);
    edge.folder().rename_over("routing.toml", routing.clone().tenant("new", r#"home = "eu-west-1""#).text());
    eventually("a sound table is taken", || edge.get("new.app.example", "/").status == 200);
}

#[test]
fn a_file_that_is_no_table_is_refused_and_the_old_table_serves() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let hash = edge.hash();
    let text = routing.text();
    let half = &text[..text.len() / 2];
    let mut refused = 0.0;
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("binary", (0..=255).cycle().take(10_000).collect()),
        ("cut", half.as_bytes()[..half.len() - 3].to_vec()),
        ("not utf-8", [text.as_bytes(), b"# \xff\xfe"].concat()),
        ("spaces", vec![b' '; 100_000]),
    ] {
        edge.folder().rename_over("routing.toml", bytes);
        eventually(what, || edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]) > refused);
        refused = edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]);
        still_serves(&edge, &hash);
    }
}

#[test]
fn something_else_in_the_files_place_blocks_nobody() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let (hash, path) = (edge.hash(), edge.folder().file("routing.toml"));
    let refusals = || edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]);
    let threads = edge.figure("Threads");
    for what in ["vanished", "directory", "dangling link"].into_iter().chain(["fifo"; 20]) {
        let before = refusals();
        let _ = std::fs::remove_file(&path);
        match what {
            "directory" => std::fs::create_dir(&path).unwrap(),
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "dangling link" => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
            _ => {}
        }
        let answer = edge.change("/v1/table/reload", &json!({}));
        assert!(answer.status >= 400, "{what}: {}", answer.text());
        assert!(refusals() > before, "{what}");
        let problems = edge.read("/v1/table/rejected")["problems"].clone();
        assert!(problems.as_array().is_some_and(|list| !list.is_empty()), "{what}: {problems}");
        still_serves(&edge, &hash);
        let _ = std::fs::remove_dir(&path);
    }
    let _ = std::fs::remove_file(&path);
    let now = edge.figure("Threads");
    assert!(now < threads + 10, "threads are blocked: {threads}, then {now}");
    edge.folder().write("routing.toml", routing.tenant("new", r#"home = "eu-west-1""#).text());
    eventually("a sound table is taken", || edge.get("new.app.example", "/").status == 200);
}

#[test]
fn a_file_that_may_not_be_read_is_refused() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let (hash, path) = (edge.hash(), edge.folder().file("routing.toml"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("skipped: whoever runs this may read everything");
        return;
    }
    assert!(edge.change("/v1/table/reload", &json!({})).status >= 400);
    still_serves(&edge, &hash);
}

#[test]
fn a_csv_row_with_a_wrong_column_is_named_by_file_line_and_column() {
    let (_eu, _us, _ap, routing) = world();
    let routing = routing.tenancy("files", r#"["tenants.csv"]"#);
    let edge = edge(&routing).file("tenants.csv", "id,home,epoch\nbulk1,us-east-1,1\n").start();
    let hash = edge.hash();
    let bad =
        "id,home,epoch\nbulk1,us-east-1,1\nbulk2,mars,1\nbulk3,us-east-1,many\nbad tenant,us-east-1,1\n";
    edge.folder().rename_over("tenants.csv", bad);
    let answer = edge.change("/v1/table/reload", &json!({}));
    assert!(answer.status >= 400, "{}", answer.text());
    let problems = edge.read("/v1/table/rejected")["problems"].clone();
    for (line, column, word) in [(3, 2, "mars"), (4, 3, "many"), (5, 1, "bad tenant")] {
        let told = problems.as_array().unwrap().iter().find(|problem| problem["line"] == line);
        let told = told.unwrap_or_else(|| panic!("nothing is said of line {line}: {problems:#}"));
        assert!(told["file"].as_str().unwrap().ends_with("tenants.csv"), "{told}");
        assert_eq!(told["column"], column, "{told}");
        assert!(told["what"].as_str().unwrap().contains(word), "{told}");
    }
    still_serves(&edge, &hash);
}

fn names_all(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "nothing is said of {word:?}:\n{}", ran.stderr);
    }
}

#[test]
fn a_start_with_a_broken_table_ends_with_2_and_names_every_problem() {
    let (_eu, _us, _ap, routing) = world();
    let (text, words) = ten_mistakes(&routing);
    let stopped = edge(&routing).start().stop();
    stopped.write("routing.toml", &text);
    let ran = edge(&routing).again_in(stopped).fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    names_all(&ran, &words);

    let folder = ran.folder.unwrap();
    let settings = folder.file("rhumb.toml");
    let checked = Ran::of(&mut rhumb(&["check", "-c", settings.to_str().unwrap()]));
    assert_eq!(checked.code, Some(2));
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!said.contains("panicked"));
}

#[test]
fn with_last_good_a_start_serves_the_table_kept_and_says_so() {
    let (_eu, _us, _ap, routing) = world();
    let first = edge(&routing).start();
    let hash = first.hash();
    let folder = first.stop();
    folder.write("routing.toml", "this is no table");
    let second = edge(&routing).again_in(folder).argument("--last-good").start();
    still_serves(&second, &hash);
    assert_eq!(second.read("/v1/table")["last_good"], true);
    assert!(!second.read("/v1/table")["problems"].as_array().unwrap().is_empty());
    second.says("last good");
    second.folder().rename_over("routing.toml", routing.tenant("new", r#"home = "eu-west-1""#).text());
    eventually("a sound table is taken", || second.get("new.app.example", "/").status == 200);
    assert_eq!(second.read("/v1/table")["last_good"], false);
}

#[test]
fn a_start_after_a_kill_finds_the_table_in_force() {
    let (_eu, _us, _ap, routing) = world();
    let first = edge(&routing).start();
    let hash = first.hash();
    let folder = first.kill();
    let second = edge(&routing).again_in(folder).start();
    still_serves(&second, &hash);
}

#[test]
fn an_epoch_that_went_back_while_the_edge_was_down_is_refused_at_the_start() {
    let (_eu, _us, _ap, routing) = world();
    let folder = edge(&routing).start().stop();
    folder.write("routing.toml", routing.clone().tenant("acme", r#"home = "eu-west-1", epoch = 6"#).text());
    let ran = edge(&routing).again_in(folder).fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    names_all(&ran, &["acme", "epoch"]);
}

#[test]
fn bad_settings_end_with_2_and_name_every_problem() {
    let (_eu, _us, _ap, routing) = world();
    let bad = edge(&routing)
        .set("edge", "regoin = \"eu\"")
        .set("limits", "connections = 0")
        .set("limits", "header_timeout = \"ten\"")
        .set("admin", "open_reads = \"yes\"");
    let ran = bad.fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    names_all(&ran, &["regoin", "connections", "header_timeout", "open_reads"]);
    let elsewhere = edge(&routing).set("edge", "region = \"mars\"").fail();
    assert_eq!(elsewhere.code, Some(2));
    names_all(&elsewhere, &["mars"]);
}

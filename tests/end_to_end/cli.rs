//! The commands, as they are typed.

use serde_json::Value;

use crate::harness::{Edge, Ran, Routing, Toy, edge, eventually, lab, nobody, rhumb};

fn world() -> ((Toy, Toy, Toy), Routing, Edge) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1""#);
    let edge = edge(&routing).start();
    ((eu, us, ap), routing, edge)
}

#[track_caller]
fn done(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stderr, "");
    &ran.stdout
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is missing in\n{text}"));
}

#[test]
fn status_regions_and_tenant_say_what_the_edge_knows() {
    let (_regions, _routing, edge) = world();
    has(done(&edge.rhumb(&["status"])), &["eu-west-1", "us-east-1", "ap-southeast-1", "edge-1", "UP"]);
    has(done(&edge.rhumb(&["regions"])), &["eu-west-1", "us-east-1", "ap-southeast-1", "100"]);
    has(done(&edge.rhumb(&["regions", "us-east-1"])), &["us-east-1", "active", "UP"]);
    has(done(&edge.rhumb(&["tenant", "get", "acme"])), &["acme", "eu-west-1", "us-east-1", "7"]);
    has(done(&edge.rhumb(&["table", "show"])), &["generation", "hash", "2"]);
}

#[test]
fn every_command_answers_in_json_for_programs() {
    let (_regions, _routing, edge) = world();
    let json = |words: &[&str]| -> Value {
        let ran = edge.rhumb(&[words, &["-o", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.stderr);
        ran.json()
    };
    assert_eq!(json(&["status"])["edge"]["region"], "eu-west-1");
    assert_eq!(json(&["regions"]).as_array().map(Vec::len), Some(3));
    assert_eq!(json(&["regions", "us-east-1"])["region"], "us-east-1");
    assert_eq!(json(&["tenant", "get", "acme"])["epoch"], 7);
    assert!(json(&["table", "show"])["hash"].is_string());
    assert!(json(&["table", "diff"])["difference"].is_object());
    assert_eq!(json(&["table", "reload"])["taken"], false);
    assert_eq!(json(&["explain", "--tenant", "acme", "--method", "POST"])["target_region"], "eu-west-1");
}

#[test]
fn what_is_not_there_and_who_does_not_answer_is_exit_code_1_and_bad_usage_is_2() {
    let (_regions, _routing, edge) = world();
    for words in [&["tenant", "get", "nobody"][..], &["regions", "mars"]] {
        let ran = edge.rhumb(words);
        assert_eq!(ran.code, Some(1), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    let nobody = nobody();
    let ran = Ran::of(rhumb(&["status", "--admin"]).arg(format!("http://{nobody}")));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains(&nobody.to_string()), "{}", ran.stderr);
    for words in [
        &["nonsense"][..],
        &["tenant"],
        &["run"],
        &["explain", "--drain", "eu-west-1=101"],
        &["-o", "xml", "status"],
    ] {
        assert_eq!(Ran::of(&mut rhumb(words)).code, Some(2), "{words:?}");
    }
    assert_eq!(Ran::of(&mut rhumb(&["--help"])).code, Some(0));
    assert_eq!(Ran::of(&mut rhumb(&["--version"])).code, Some(0));
    assert_eq!(Ran::of(&mut rhumb(&["run", "-c", "/nowhere/rhumb.toml"])).code, Some(2));
    assert_eq!(Ran::of(&mut rhumb(&["check", "-c", "/nowhere/rhumb.toml"])).code, Some(2));
}

#[test]
fn a_change_without_the_token_is_refused() {
    let (_regions, _routing, edge) = world();
    for token in [None, Some("wrong")] {
        let ran = edge.rhumb_with(&["table", "reload"], token);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("RHUMB_TOKEN") || ran.stderr.contains("token"), "{}", ran.stderr);
    }
    assert_eq!(edge.rhumb_with(&["regions"], None).code, Some(0));
}

#[test]
fn a_table_is_compared_accepted_and_taken_back_by_command() {
    let (_regions, routing, edge) = world();
    let before = edge.hash();
    assert_eq!(edge.rhumb(&["table", "diff"]).code, Some(0));
    let moved = routing.clone().tenant("more", r#"home = "eu-west-1""#).region("eu-west-1", "weight", "50");
    let moved = moved.tenant("globex", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    edge.folder().rename_over("routing.toml", moved.text());
    eventually("it is in force", || edge.hash() != before);
    let dry = edge.rhumb(&["table", "rollback", "--reason", "a try", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert_ne!(edge.hash(), before);
    let no_reason = edge.rhumb(&["table", "rollback"]);
    assert_eq!(no_reason.code, Some(2));
    done(&edge.rhumb(&["table", "rollback", "--reason", "a mistake"]));
    assert_eq!(edge.hash(), before);
    assert_eq!(edge.read("/v1/regions/eu-west-1")["weight"]["effective"], 100);
}

#[test]
fn a_table_that_moves_many_is_accepted_by_command() {
    let (_regions, routing, edge) = world();
    let before = edge.hash();
    let moved = routing.tenant("globex", r#"home = "ap-southeast-1", epoch = 2"#);
    edge.folder().rename_over("routing.toml", moved.text());
    eventually("it is refused", || {
        edge.read("/v1/table/rejected")["problems"].as_array().is_some_and(|list| !list.is_empty())
    });
    let diff = edge.rhumb(&["table", "diff", "-o", "json"]).json();
    let hash = diff["hash"].as_str().expect("the hash to accept").to_owned();
    assert_eq!(edge.read("/v1/table/rejected")["hash"], hash);
    let words = ["table", "accept", &hash, "--reason", "planned", "--dry-run"];
    assert_eq!(edge.rhumb(&words).code, Some(0));
    assert_eq!(edge.hash(), before);
    assert_eq!(edge.rhumb(&["table", "accept", &before, "--reason", "a typo"]).code, Some(1));
    done(&edge.rhumb(&["table", "accept", &hash, "--reason", "planned"]));
    assert_eq!(edge.hash(), hash);
    assert_eq!(edge.read("/v1/tenants/globex")["owner"], "ap-southeast-1");
}

#[test]
fn explain_says_the_same_of_files_and_of_a_running_edge() {
    let (_regions, _routing, edge) = world();
    let settings = edge.folder().file("rhumb.toml");
    for words in [
        &["--tenant", "acme"][..],
        &["--tenant", "acme", "--method", "POST", "--path", "/v1/cases"],
        &["--tenant", "globex", "--header", "X-Consistency: strong"],
        &["--tenant", "acme", "--from", "us-east-1"],
        &["--tenant", "acme", "--wrote-at", "us-east-1"],
        &["--tenant", "acme", "--drain", "eu-west-1=0"],
        &["--tenant", "acme", "--down", "eu-west-1"],
        &["--tenant", "acme", "--down", "eu-west-1:write", "--method", "POST"],
        &["--host", "nobody.app.example"],
        &["--host", "acme.app.example", "--body"],
    ] {
        let words = [&["explain", "-o", "json"], words].concat();
        let (mut live, mut offline) = (edge.rhumb(&words).json(), {
            let mut command = rhumb(&words);
            Ran::of(command.arg("-c").arg(&settings)).json()
        });
        for answer in [&mut live, &mut offline] {
            answer.as_object_mut().unwrap().remove("generation");
        }
        assert_eq!(live, offline, "{words:?}");
    }
    let both = Ran::of(rhumb(&["explain", "--admin", "http://127.0.0.1:1", "-c"]).arg(&settings));
    assert_eq!(both.code, Some(2));
}

#[test]
fn explain_in_words_names_the_region_and_the_reason() {
    let (_regions, _routing, edge) = world();
    let said = edge.rhumb(&["explain", "--tenant", "acme", "--drain", "eu-west-1=0"]);
    has(done(&said), &["us-east-1", "drained", "eu-west-1"]);
    let refused = edge.rhumb(&["explain", "--tenant", "globex", "--method", "POST", "--down", "us-east-1"]);
    has(done(&refused), &["owner_unavailable", "503"]);
}

#[test]
fn check_finds_sound_files_sound() {
    let (_regions, _routing, edge) = world();
    let settings = edge.folder().file("rhumb.toml");
    let ran = Ran::of(&mut rhumb(&["check", "-c", settings.to_str().unwrap()]));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

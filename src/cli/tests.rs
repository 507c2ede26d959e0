//! The command line as a whole: what is typed, what comes back, and which exit code.

use std::io::{self, Write};

use clap::CommandFactory;
use serde_json::{Value, json};

use super::args::{Arguments, Down, Drain, Header};
use super::testing::{Canned, explain_args, rhumb, rhumb_with};
use super::{World, answer};

mod operators;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn the_arguments_are_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn the_help_has_one_line_for_each_command_and_fits_a_terminal() {
    let ran = rhumb("--help");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (_, commands) = ran.stdout.split_once("\nCommands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let names: Vec<_> = commands.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    let all = "run check explain status top regions tenant region transfer transfers failover failback table plan drain undrain drains weight drill audit completions man token demo";
    assert_eq!(names.join(" "), all);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nExamples:\n"));
}

#[test]
fn every_example_of_the_help_parses() {
    let mut examples = 0;
    for page in ["--help", "explain --help", "drill --help"] {
        let help = rhumb(page).stdout;
        let commands = help.lines().filter_map(|line| line.trim().strip_prefix("rhumb "));
        for line in commands {
            let words =
                line.replace("'X-Consistency: strong'", "X-Consistency:strong").replace("'game day'", "why");
            let words = std::iter::once("rhumb").chain(words.split(' '));
            Arguments::command().try_get_matches_from(words).unwrap();
            examples += 1;
        }
    }
    assert_eq!(examples, 20);
}

#[test]
fn what_cannot_be_meant_is_bad_usage() {
    for words in [
        "",
        "sail",
        "run",
        "check",
        "status --output yaml",
        "explain --drain eu",
        "explain --drain =0",
        "explain --drain eu=101",
        "explain --drain eu=-1",
        "explain --down eu:",
        "explain --down :write",
        "explain --header plain",
        "explain --header a_b\u{e9}:c",
        "explain -c x.toml --admin 127.0.0.1:1",
        "tenant",
        "tenant get",
        "table",
        "table accept",
        "table accept abc --reason why",
        &format!("table accept {HASH}"),
        "table rollback",
        "drain eu --to 0",
        "drain eu --reason why",
        "drain eu --to 101 --reason why",
        "drain eu/ --to 0 --reason why",
        "drain eu --to 0 --over -5m --reason why",
        "drain eu --to 0 --pause-if luck<1 --reason why",
        "undrain eu",
        "drains stop 1",
        "weight eu --reason why",
        "weight eu 4 --clear --reason why",
        "audit --since 1 --before 2",
        "completions tcsh",
        "man sail",
        "status --admin https://edge:9900/v1",
        "drill --seconds 4",
        "drill --go --reason why",
        "drill --region eu --go",
        "drill --region eu --go --dry-run --reason why",
        "drill sail",
        "demo --port 70000",
    ] {
        let ran = rhumb(words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words}: {ran:?}");
        assert!(ran.stderr.contains("error: ") || ran.stderr.contains("Usage: "), "{words}: {ran:?}");
    }
}

#[test]
fn a_reason_of_nothing_is_none() {
    let ran = rhumb_with(["table", "rollback", "--reason", "  "], None);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("say why"), "{}", ran.stderr);
}

#[test]
fn explain_takes_all_that_may_be_supposed() {
    let args = explain_args(&[
        "--tenant",
        "acme",
        "--host",
        "acme.app.example",
        "--method",
        "post",
        "--path",
        "/v1/cases",
        "--header",
        "X-Consistency: strong",
        "--header",
        "a:b:c",
        "--from",
        "us-east-1",
        "--drain",
        "eu=0",
        "--drain",
        "us=50",
        "--down",
        "us",
        "--down",
        "eu:case.write",
        "--body",
    ]);
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    assert_eq!((args.method.as_str(), args.body), ("POST", true));
    assert_eq!(args.header, [header("X-Consistency", "strong"), header("a", "b:c")]);
    let drain = |region: &str, weight| Drain { region: region.into(), weight };
    assert_eq!(args.drain, [drain("eu", 0), drain("us", 50)]);
    let down = |region: &str, capability: Option<&str>| Down {
        region: region.into(),
        capability: capability.map(Into::into),
    };
    assert_eq!(args.down, [down("us", None), down("eu", Some("case.write"))]);
}

#[test]
fn an_edge_that_is_not_there_is_named() {
    // Nobody listens on port 1.
    let ran = rhumb("regions --admin 127.0.0.1:1");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(
        ran.stderr,
        "error: no edge answers at http://127.0.0.1:1; is it running? --admin names another\n"
    );
}

#[test]
fn a_missing_and_an_unknown_token_are_told_apart() {
    let edge = Canned::start(401, r#"{"title":"Unauthorized","detail":"send one"}"#);
    let words = "table rollback --reason why";
    let ran = edge.rhumb(words);
    let wants = format!(
        "error: the edge at {} wants its token: set RHUMB_TOKEN to it; the edge says: send one\n",
        edge.url
    );
    assert_eq!((ran.code, ran.stderr), (1, wants));
    let ran = edge.rhumb_with(words, Some("wrong"));
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("does not take the token in RHUMB_TOKEN"), "{}", ran.stderr);
}

#[test]
fn what_an_edge_cannot_understand_is_bad_usage() {
    let edge = Canned::start(400, r#"{"title":"Bad","detail":"down: there is no region \"eu\""}"#);
    let ran = edge.rhumb("explain --down eu");
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: down: there is no region \"eu\"\n"));
}

#[test]
fn an_edge_of_another_version_is_guessed_at() {
    let ran = Canned::start(405, r#"{"title":"No"}"#).rhumb("table rollback --reason why --dry-run");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("it may be of another version"), "{}", ran.stderr);
}

#[test]
fn the_token_goes_with_every_question() {
    let edge = Canned::start(200, "[]");
    assert_eq!(edge.rhumb_with("regions", Some("secret\n")).code, 0);
    let asked = edge.asked().to_ascii_lowercase();
    assert!(asked.starts_with("get /v1/regions http/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: bearer secret\r\n"), "{asked}");
}

#[test]
fn what_an_edge_refuses_is_said_in_its_words() {
    let edge = Canned::start(404, r#"{"title":"Not found","detail":"there is no region \"eu-wset-1\""}"#);
    let ran = edge.rhumb("regions eu-wset-1");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "error: there is no region \"eu-wset-1\"\n"));
}

#[test]
fn an_answer_that_is_not_json_is_no_edges() {
    let ran = Canned::start(200, "<html>").rhumb("status");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("its answer is not JSON"), "{}", ran.stderr);
    let ran = Canned::start(502, "<html>").rhumb("status");
    assert!(ran.stderr.contains("refuses with status 502"), "{}", ran.stderr);
}

#[test]
fn as_json_an_answer_is_passed_on_whole() {
    let regions = json!({"regions": [{"region": "eu", "weight": {"effective": 100}}], "new": true});
    let edge = Canned::start(200, &regions.to_string());
    let ran = edge.rhumb("regions -o json");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), regions);
}

#[test]
fn a_question_to_a_running_edge_carries_what_was_typed() {
    let edge =
        Canned::start(200, r#"{"target_region":"us","owner_region":"us","operation":"write","epoch":7}"#);
    let ran = edge.rhumb("explain --tenant acme --method POST --path /v1/cases --down eu:x --drain us=5");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("POST /v1/cases of acme goes to us: it owns acme at epoch 7\n"),
        "{ran:?}"
    );
    let asked = edge.asked();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/explain HTTP/1.1\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["tenant"], &body["method"], &body["path"]),
        (&json!("acme"), &json!("POST"), &json!("/v1/cases"))
    );
    assert_eq!((&body["down"], &body["drain"]), (&json!(["eu:x"]), &json!({"us": 5.0})));
}

fn report(taken: bool) -> Value {
    json!({"generation": 42, "hash": HASH, "tenants": 3, "taken": taken, "difference": {
        "rehomed": 1, "dropped": 1, "added": 0, "changed": 2, "moved_percent": 66.666, "epoch_faults": [],
        "regions_added": ["ap"], "regions_dropped": [],
        "examples": [{"tenant": "acme", "from": "eu", "to": "us"}, {"tenant": "globex", "from": "us", "to": null}]}})
}

const DIFFERENCE: &str = "  \
  regions added              ap
  tenants dropped            1
  tenants re-homed           1
  tenants changed otherwise  2
  moved                      66.7 % of the tenants in force

TENANT  HOME  WOULD BE
acme    eu    us
globex  us    (dropped)

";

#[test]
fn a_table_that_is_taken_says_what_it_changed() {
    let edge = Canned::start(200, &report(true).to_string());
    let ran = edge.rhumb("table reload");
    assert_eq!(ran.stdout, format!("taken: generation 42, 3 tenants, hash {HASH}\n{DIFFERENCE}"));
    assert!(edge.asked().starts_with("POST /v1/table/reload "));
}

#[test]
fn a_table_that_is_in_force_already_is_unchanged() {
    let ran = Canned::start(200, &report(false).to_string()).rhumb("table reload");
    assert!(ran.stdout.starts_with("unchanged: "), "{}", ran.stdout);
}

#[test]
fn a_dry_run_only_reads() {
    for words in
        ["table diff", "table reload --dry-run", &format!("table accept {HASH} --reason why --dry-run")]
    {
        let edge = Canned::start(200, &report(true).to_string());
        let ran = edge.rhumb(words);
        assert_eq!(ran.stdout, format!("would change:\n{DIFFERENCE}hash {HASH}\n"), "{words}");
        assert!(edge.asked().starts_with("GET /v1/table/diff "), "{words}");
    }
}

#[test]
fn a_dry_run_of_another_table_is_refused() {
    let other = HASH.replace('0', "f");
    let ran = Canned::start(200, &report(true).to_string())
        .rhumb(&format!("table accept {other} --reason why --dry-run"));
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains(HASH), "{}", ran.stderr);
}

#[test]
fn accepting_says_which_and_why() {
    let edge = Canned::start(200, &report(true).to_string());
    assert_eq!(edge.rhumb(&format!("table accept {HASH} --reason moving")).code, 0);
    let asked = edge.asked();
    assert!(asked.starts_with("POST /v1/table/accept "), "{asked}");
    assert!(asked.ends_with(&json!({"hash": HASH, "reason": "moving"}).to_string()), "{asked}");
}

#[test]
fn a_refused_table_tells_its_problems_and_how_to_take_it_all_the_same() {
    let refused = json!({"title": "The table is refused", "detail": "it moves many", "hash": HASH, "acceptable": true,
        "problems": [{"file": "routing.toml", "line": 3, "at": "tenants", "what": "20.0 % moved", "fix": ""}]});
    let ran = Canned::start(409, &refused.to_string()).rhumb("table reload");
    let said = format!(
        "error: the table is refused; it moves many\nrouting.toml:\n  line 3, tenants: 20.0 % moved\n\
         if it is meant: rhumb table accept {HASH} --reason \"…\"\n"
    );
    assert_eq!((ran.code, ran.stderr), (1, said));
}

#[test]
fn bad_files_are_told_on_the_way_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rhumb.toml");
    std::fs::write(&file, "nonsense = 1\nedge.region = \"eu\"\n").unwrap();
    let config = file.to_str().unwrap();
    let ran = rhumb(&format!("check -c {config}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("line 1, nonsense: "), "{}", ran.stderr);
    let ran = rhumb(&format!("check -o json -c {config}"));
    assert_eq!(ran.code, 2);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&told["sound"], &told["problems"][0]["file"]), (&json!(false), &json!(config)));
}

/// A reader that is gone, as `head -1` is.
struct Gone(io::ErrorKind);

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let edge = Canned::start(200, "[]");
    let regions = ["rhumb", "regions", "--admin", &edge.url];
    let ended = |words: &[&str], kind: io::ErrorKind| {
        let mut stderr = Vec::new();
        let words = words.iter().map(Into::into);
        let world = World { token: None, screen: false, stdout: &mut Gone(kind), stderr: &mut stderr };
        (answer(words, world), String::from_utf8(stderr).unwrap())
    };
    assert_eq!(ended(&regions, io::ErrorKind::BrokenPipe), (0, String::new()));
    assert_eq!(ended(&["rhumb", "--help"], io::ErrorKind::BrokenPipe), (0, String::new()));
    let (code, said) = ended(&regions, io::ErrorKind::StorageFull);
    assert!(code == 1 && said.starts_with("error: cannot write the answer"), "{code} {said}");
}

/// Settings and a table in a folder of their own.
fn files(settings: &str, table: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rhumb.toml");
    std::fs::write(&config, settings).unwrap();
    std::fs::write(folder.path().join("routing.toml"), table).unwrap();
    let config = config.to_str().unwrap().to_owned();
    (folder, config)
}

const SETTINGS: &str = r#"
edge.region = "eu-west-1"
table.path = "routing.toml"
log.level = "info"
[[listeners]]
address = "127.0.0.1:0"
"#;

const TABLE: &str = r#"
[tenancy]
from = [{ host = "{tenant}.app.example" }]

[regions.eu-west-1]
jurisdiction = "eu"
endpoints = ["eu.internal:8080"]

[regions.us-east-1]
jurisdiction = "us"
endpoints = ["10.2.0.10:8080"]

[tenants]
acme = { home = "us-east-1", replicas = ["eu-west-1"], epoch = 7 }
"#;

#[test]
fn sound_files_are_said_to_be() {
    let (_folder, config) = files(SETTINGS, TABLE);
    let ran = rhumb_with(["check", "-c", &config], None);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("2 regions, 1 tenant, 0 routes, hash "),
        "{}",
        ran.stdout
    );
}

#[test]
fn every_problem_of_both_files_is_told_at_once() {
    for settings in [
        SETTINGS.replace("log.level = \"info\"", "nonsense = 1"),
        SETTINGS.replace("address", "tls.certificates = [{ chain = \"none\", key = \"none\" }]\naddress"),
    ] {
        let (folder, config) =
            files(&settings, &TABLE.replace("\"us-east-1\", replicas", "\"us-esat-1\", replicas"));
        let ran = rhumb_with(["check", "-c", &config], None);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        let table = folder.path().join("routing.toml").display().to_string();
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(&format!("{table}: 1 problem\n")),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("did you mean \"us-east-1\"?"), "{}", ran.stderr);
        assert!(ran.stderr.contains("nonsense") || ran.stderr.contains("none: "), "{}", ran.stderr);
    }
}

#[test]
fn files_explain_by_themselves_with_what_is_supposed() {
    let (_folder, config) = files(SETTINGS, TABLE);
    let first_line = |more: &[&str]| {
        let words = ["explain", "-c", &config, "--tenant", "acme", "--path", "/v1/cases"];
        let ran = rhumb_with(words.into_iter().chain(more.iter().copied()), None);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{more:?}");
        ran.stdout.lines().next().unwrap().to_owned()
    };
    let get = "GET /v1/cases of acme goes to ";
    assert_eq!(
        first_line(&["--method", "post"]),
        "POST /v1/cases of acme goes to us-east-1: it owns acme at epoch 7"
    );
    assert_eq!(first_line(&[]), format!("{get}eu-west-1: the request enters there, and it may answer"));
    assert_eq!(
        first_line(&["--from", "us-east-1"]),
        format!("{get}us-east-1: the request enters there, and it may answer")
    );
    assert_eq!(
        first_line(&["--drain", "eu-west-1=0"]),
        format!("{get}us-east-1: eu-west-1 is drained for this key")
    );
    assert_eq!(
        first_line(&["--down", "eu-west-1:read"]),
        format!("{get}us-east-1: eu-west-1 does not report the capability as up")
    );
    assert_eq!(
        first_line(&["--header", "X-Consistency: strong"]),
        format!("{get}us-east-1: the read is strong, and it owns acme at epoch 7")
    );
    assert_eq!(
        first_line(&["--method", "POST", "--down", "us-east-1"]),
        "POST /v1/cases of acme is refused with 503 owner_unavailable: \
         the region that owns this tenant cannot take the request now"
    );
}

#[test]
fn as_json_an_explanation_has_the_documented_keys() {
    let (_folder, config) = files(SETTINGS, TABLE);
    let ran = rhumb_with(["explain", "-c", &config, "-o", "json", "--tenant", "acme"], None);
    let explanation: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        explanation,
        json!({"tenant": "acme", "operation": "read", "consistency": "local", "route": null, "service": "default",
            "capability": "read", "policy": "default", "source_region": "eu-west-1", "owner_region": "us-east-1",
            "epoch": 7, "target_region": "eu-west-1", "failover_reason": null, "refusal": null,
            "candidates": [{"region": "eu-west-1", "verdict": "chosen"}, {"region": "us-east-1", "verdict": "not_needed"}],
            "generation": 0})
    );
}

#[test]
fn what_the_table_does_not_have_cannot_be_supposed() {
    let (_folder, config) = files(SETTINGS, TABLE);
    for supposed in ["--from eu-wset-1", "--drain eu-wset-1=0", "--down eu-wset-1", "--down eu-west-1:fly"] {
        let words = ["explain", "-c", &config].into_iter().chain(supposed.split(' '));
        let ran = rhumb_with(words, None);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{supposed}");
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
}

//! Who may use the admin side: named tokens, how they change while an edge runs, and the way there by TLS.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{
    Authority, Edge, EdgeBuilder, Ran, Routing, Says, Toy, edge, eventually, get, rhumb, toy, write_pair,
};

const TAKEN: (&str, &[(&str, &str)]) = ("rhumb_admin_token_reloads_total", &[("outcome", "taken")]);
const REFUSED: (&str, &[(&str, &str)]) = ("rhumb_admin_token_reloads_total", &[("outcome", "refused")]);

fn line(name: &str, right: &str, token: &str) -> String {
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {right} sha256:{hash}\n")
}

fn world() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    (eu, edge(&routing).set("admin", "token_file = \"tokens\""))
}

fn reload(edge: &Edge, token: &str) -> u16 {
    edge.post_admin("/v1/table/reload", &json!({}), Some(token)).status
}

#[test]
fn each_token_does_what_its_right_says_and_its_name_is_with_the_change() {
    let (eu, edge) = world();
    let edge =
        edge.file("tokens", line("anna", "write", "a-token") + &line("rita", "read", "r-token")).start();
    assert_eq!(reload(&edge, "r-token"), 403);
    assert_eq!(reload(&edge, "a-token"), 200);
    let moved =
        Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#).tenant("new", r#"home = "eu-west-1""#);
    edge.folder().rename_over("routing.toml", moved.text());
    eventually("the table is taken", || edge.read("/v1/table")["tenants"] == 2);
    let back = edge.rhumb_with(&["table", "rollback", "--reason", "as planned"], Some("a-token"));
    assert_eq!(back.code, Some(0), "{}", back.stderr);
    eventually("the log says who and from where", || {
        let log = edge.log();
        let line = log.lines().find(|line| line.contains("as planned")).unwrap_or_default();
        line.contains("anna") && line.contains("127.0.0.1")
    });
    let log = edge.log();
    assert!(!log.contains("a-token") && !log.contains("r-token"), "{log}");
}

#[test]
fn tokens_are_taken_as_their_file_changes_and_a_bad_file_takes_nothing_back() {
    let (_eu, edge) = world();
    let edge = edge.file("tokens", line("anna", "write", "old")).start();
    assert_eq!(reload(&edge, "old"), 200);
    edge.folder().write("tokens", line("anna", "write", "new"));
    eventually("the new token is taken", || edge.metric(TAKEN.0, TAKEN.1) == 1.0);
    assert_eq!((reload(&edge, "old"), reload(&edge, "new")), (401, 200));
    edge.folder().write("tokens", "anna wriet sha256:00\n");
    eventually("the bad file is counted", || edge.metric(REFUSED.0, REFUSED.1) >= 1.0);
    let why = "the right of anna is neither read nor write";
    eventually("the log says why", || edge.log().contains(why));
    assert_eq!(reload(&edge, "new"), 200);
    let refused = edge.metric(REFUSED.0, REFUSED.1);
    edge.signal("HUP");
    eventually("SIGHUP reads it again", || edge.metric(REFUSED.0, REFUSED.1) > refused);
    assert_eq!(reload(&edge, "new"), 200);
}

#[test]
fn a_token_that_the_program_makes_opens_the_edge_whose_file_takes_its_line() {
    let (_eu, edge) = world();
    let edge = edge.file("tokens", line("anna", "write", "first")).start();
    let made = Ran::of(&mut rhumb(&["token", "bert", "--right", "write", "-o", "json"]));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let (token, added) = (made["token"].as_str().unwrap(), made["line"].as_str().unwrap());
    edge.folder().write("tokens", format!("{}{added}\n", line("anna", "write", "first")));
    eventually("it is taken", || edge.metric(TAKEN.0, TAKEN.1) == 1.0);
    assert_eq!((reload(&edge, token), reload(&edge, "first")), (200, 200));
    let plain = Ran::of(&mut rhumb(&["token", "cara"]));
    assert!(
        plain.stdout.starts_with("cara read sha256:") && plain.stdout.lines().count() == 1,
        "{}",
        plain.stdout
    );
    assert!(plain.stderr.contains("shown this once: rhumb_"), "{}", plain.stderr);
    for wrong in [&["token", "a b"][..], &["token", "cara", "--right", "all"], &["token"]] {
        assert_eq!(Ran::of(&mut rhumb(wrong)).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn by_tls_the_commands_reach_an_edge_that_they_can_believe() {
    let (_eu, edge) = world();
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let edge = edge
        .file("tokens", line("anna", "write", "a-token"))
        .set(
            "admin",
            r#"tls = { certificate = { chain = "admin.pem", key = "admin.key" }, client_ca = "ops.pem" }"#,
        )
        .prepare(|folder| {
            let own = servers.issue(&Says::names(&["127.0.0.1", "admin.corp.example"]));
            write_pair(folder.path(), "admin", &own);
            write_pair(folder.path(), "anna", &clients.issue(&Says::names(&["anna"])));
            folder.write("ca.pem", servers.pem());
            folder.write("other.pem", strangers.pem());
            folder.write("ops.pem", clients.pem());
        })
        .launch();
    let address = format!("https://{}", edge.admin);
    let file = |name: &str| edge.folder().file(name);
    let ask = |words: &[&str], ca: &str, own: bool| {
        let mut command = rhumb(words);
        command.args(["--admin", &address, "--ca"]).arg(file(ca)).env("RHUMB_TOKEN", "a-token");
        if own {
            command.arg("--cert").arg(file("anna.pem")).arg("--cert-key").arg(file("anna.key"));
        }
        Ran::of(&mut command)
    };
    eventually("it answers", || ask(&["status"], "ca.pem", true).code == Some(0));
    let reload = ask(&["table", "reload"], "ca.pem", true);
    assert_eq!(reload.code, Some(0), "{}", reload.stderr);
    let stranger = ask(&["status"], "other.pem", true);
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.stderr.contains("--ca names the authorities"), "{}", stranger.stderr);
    assert_eq!(ask(&["status"], "ca.pem", false).code, Some(1), "it shows no certificate");
    assert!(get("localhost", "/healthz").try_to(edge.admin).is_none_or(|answer| answer.status != 200));
    // A new certificate is shown without a new start.
    let other = strangers.issue(&Says::names(&["127.0.0.1"]));
    write_pair(edge.folder().path(), "admin", &other);
    eventually("the new one is shown", || ask(&["status"], "other.pem", true).code == Some(0));
}

#[test]
fn where_others_can_reach_it_nothing_is_open() {
    for (lines, told) in [
        (&[r#"address = "0.0.0.0:0""#][..], "tls = { certificate"),
        (
            &[
                r#"address = "0.0.0.0:0""#,
                r#"tls = { certificate = { chain = "a.pem", key = "a.key" } }"#,
                "open_reads = true",
            ],
            "admin.open_reads",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "edge.region = \"eu-west-1\"\ntable.path = \"t\"\nlisteners = [{{ address = \"127.0.0.1:0\" }}]\n[admin]\n{}\n",
            lines.join("\n")
        );
        std::fs::write(folder.path().join("rhumb.toml"), text).unwrap();
        let ran = Ran::of(rhumb(&["run", "-c"]).arg(folder.path().join("rhumb.toml")));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

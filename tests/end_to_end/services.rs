//! The service on the page for those who write one, as it stands there, behind an edge that moves its tenant.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::{
    Answer, Ask, Edge, Folder, Place, Routing, becomes, edge, eventually, free_port, get, post,
};

const EU: &str = "eu-west-1";
const US: &str = "us-east-1";
const HOST: &str = "acme.app.example";

/// The service of one region; ended when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn service(folder: &Folder, (name, at): (&str, SocketAddr), (other, there): (&str, SocketAddr)) -> Service {
    let mut command = Command::new("python3");
    command.arg("cases.py").args([name, &at.port().to_string(), other, &format!("http://{there}")]);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    Service(command.spawn().expect("python3 runs the service of docs/services.md"))
}

/// The page's program, in a folder of its own.
fn program() -> Folder {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/services.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<_> = page.split("```python\n").skip(1).collect();
    assert_eq!(blocks.len(), 1, "one program");
    let folder = Folder::new();
    folder.write("cases.py", blocks[0].split("```").next().unwrap());
    folder
}

fn does(edge: &Edge, words: &[&str]) {
    let ran = edge.rhumb(&[words, &["--wait", "--reason", "a drill"]].concat());
    assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.stdout, ran.stderr);
}

/// A write past the edge, as one that was sent by an edge and came late.
fn late(region: &str, epoch: &str) -> Ask {
    let headers = [("X-Tenant-ID", "acme"), ("X-Target-Region", region), ("X-Owner-Region", region)];
    let ask = headers.iter().fold(post(HOST, "/v1/cases"), |ask, (name, value)| ask.header(name, value));
    ask.header("X-Owner-Epoch", epoch).body("late")
}

fn titles(answer: &Answer) -> Vec<String> {
    let Value::Array(rows) = answer.json() else { panic!("{}", answer.text()) };
    rows.iter().map(|row| row[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_service_of_the_page_moves_without_an_error_and_refuses_what_comes_late() {
    let folder = program();
    let (eu, us) = ((EU, free_port()), (US, free_port()));
    let _services = (service(&folder, eu, us), service(&folder, us, eu));
    for (_, at) in [eu, us] {
        eventually("it answers checks", || {
            let health = || get(HOST, "/health").try_to(at);
            let is_open = TcpStream::connect(at).is_ok();
            is_open && health().is_some_and(|answer| answer.json().get("replication").is_some())
        });
    }
    let places: [&dyn Place; 2] = [&eu, &us];
    let routing = Routing::of(&places)
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#)
        .and("[policies.default]\nwrites = { hold = \"10s\" }");
    let edge = edge(&routing).start();
    let write = |title: &str, key: &str| {
        edge.ask(&post(HOST, "/v1/cases").header("Idempotency-Key", key).body(title))
    };
    assert_eq!(write("one", "k-1").status, 201);
    does(&edge, &["transfer", "acme", "--to", US]);
    assert_eq!(write("one", "k-1").status, 200, "its copy knows what was done");
    let two = write("two", "k-2");
    assert_eq!(two.status, 201);
    let token = two.header("X-Consistency-Token").expect("a pin").to_owned();
    let own = edge.ask(&get(HOST, "/v1/cases").header("X-Consistency-Token", &token));
    assert_eq!(titles(&own), ["one", "two"], "the client reads its own write");
    let at_home = || titles(&get(HOST, "/v1/cases").header("X-Tenant-ID", "acme").to(eu.1));
    becomes("what is at home", vec!["one".to_owned(), "two".to_owned()], at_home);
    assert_eq!(late(EU, "7").to(eu.1).status, 409, "epoch 8 has been here");
    does(&edge, &["transfer", "acme", "--to", "home"]);
    assert_eq!(write("three", "k-3").status, 201);
    assert_eq!(at_home(), ["one", "two", "three"]);
    assert_eq!(late(EU, "8").to(eu.1).status, 409);
}

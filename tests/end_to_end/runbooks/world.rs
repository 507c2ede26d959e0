//! Where a section of a runbook is done: three regions, an edge before them, what has happened when somebody opens it,
//! and what it has to come to.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use rhumb::lab::Status;
use serde_json::{Value, json};

use super::Section;
use crate::gateway::world::{gateway, with_keys};
use crate::harness::{
    Answer, Authority, Collector, Edge, Folder, Receiver, Routing, Toy, Wire, becomes, edge, eventually, get,
    lab, post,
};

const EU: &str = "eu-west-1";
const US: &str = "us-east-1";
const HOST: &str = "acme.app.example";

/// Who lives in [`US`] and may move to [`EU`], besides acme.
const OTHERS: usize = 20;

/// The world of a section.
pub struct World {
    regions: (Toy, Toy, Toy),
    /// Those before the old owner and the new one, where a section has any.
    gateways: Vec<Edge>,
    routing: Routing,
    pub edge: Edge,
    _receiver: Receiver,
    _collector: Collector,
}

/// What the policy says of writes.
fn writes(section: &Section) -> &'static str {
    match (section.page.as_str(), section.title.as_str()) {
        ("migrate-a-tenant.md", "Stuck") => r#"hold = "60s", max_lag = "1h""#,
        ("migrate-a-tenant.md", "Aborted") => r#"hold = "500ms""#,
        ("failover.md", "By itself") => {
            r#"hold = "10s", failover = "automatic", after = "500ms", cooldown = "2s", max_lag = "30s""#
        }
        _ => r#"hold = "10s""#,
    }
}

impl World {
    pub fn of(section: &Section) -> Self {
        let regions = lab();
        let home = r#"home = "us-east-1", standby = ["eu-west-1"]"#;
        let (gateways, routing) = match (section.page.as_str(), section.title.as_str()) {
            ("migrate-a-tenant.md", "Stuck") => {
                let before = |region| gateway(region, home).start();
                let (us, eu) = (before(&regions.1), before(&regions.0));
                let places = [(EU, eu.address()), (US, us.address())];
                let routing = Routing::of(&[&places[0], &places[1], &regions.2]);
                let fronted = |routing: Routing, region| routing.region(region, "gateway", "true");
                (vec![us, eu], fronted(fronted(routing, EU), US))
            }
            _ => (Vec::new(), Routing::of(&[&regions.0, &regions.1, &regions.2])),
        };
        let mut routing = routing
            .tenant("acme", home)
            .and(&format!("[policies.default]\nwrites = {{ {} }}", writes(section)));
        for number in 0..OTHERS {
            routing = routing.tenant(&format!("other-{number}"), home);
        }
        let (receiver, collector) = (Receiver::start(), Collector::start());
        let signing = edge(&routing).set("signature", "keys_file = \"sign.keys\"");
        let settings = with_keys(signing, "sign.keys")
            .set("alerts", &receiver.setting())
            .set("tracing", &collector.setting())
            .set("tracing", "sample = 1.0")
            // One tenant of twenty-one is more than may move unasked.
            .set("table", "max_moved = 1.0")
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
        let world = Self { regions, gateways, routing, edge, _receiver: receiver, _collector: collector };
        world.everybody_is_up();
        world
    }

    fn everybody_is_up(&self) {
        for region in [EU, US, "ap-southeast-1"] {
            self.becomes_health(region, "UP");
        }
    }

    /// A shell that is about to do this.
    pub fn types(&self, before: &str, command: &str) -> Command {
        let folder = self.edge.folder();
        let mut shell = Command::new("bash");
        let path = format!("{}:{}", folder.file("bin").display(), std::env::var("PATH").unwrap());
        shell.args(["-o", "pipefail", "-c"]).arg(format!("{before}\n{command}"));
        shell.current_dir(folder.path()).env("PATH", path).stdin(Stdio::null());
        shell
    }

    fn becomes_health(&self, region: &str, health: &str) {
        becomes(&format!("the health of {region}"), health.to_owned(), || self.edge.health(region));
    }

    fn write(&self) -> Answer {
        self.edge.ask(&post(HOST, "/v1/cases"))
    }

    /// Owner, epoch and state.
    fn acme(&self) -> (String, u64, String) {
        let tenant = self.edge.read("/v1/tenants/acme");
        let text = |key: &str| tenant[key].as_str().unwrap().to_owned();
        (text("owner"), tenant["epoch"].as_u64().unwrap(), text("state"))
    }

    fn becomes_acme(&self, owner: &str, epoch: u64, state: &str) {
        becomes("acme", (owner.to_owned(), epoch, state.to_owned()), || self.acme());
    }

    /// Begins a transfer, and waits for this state of it.
    fn transfer(&self, asked: &Value, state: &str) {
        let begun = self.edge.change("/v1/transfers", asked);
        assert_eq!(begun.status, 201, "{}", begun.text());
        becomes("the transfer", state.to_owned(), || self.last_transfer());
    }

    fn last_transfer(&self) -> String {
        let all = self.edge.read("/v1/transfers");
        let last = all.as_array().and_then(|all| all.last()).expect("a transfer");
        last["state"].as_str().unwrap().to_owned()
    }

    fn has_moved(&self) {
        self.transfer(&json!({"tenant": "acme", "to": EU, "reason": "INC-7"}), "done");
    }

    /// Tenants whose owner was moved, all of them by the time that it is waited for.
    fn all_moved(&self) {
        becomes("tenants that were moved", Some(OTHERS as u64 + 1), || {
            self.edge.read("/v1/status")["ownership"]["moved"].as_u64()
        });
    }

    fn edits(&self, acme: &str) {
        self.edge.folder().rename_over("routing.toml", self.routing.clone().tenant("acme", acme).text());
    }

    fn refuses_the_table(&self) {
        eventually("it is refused", || self.edge.read("/v1/table/rejected")["acceptable"] == true);
    }

    /// What has happened when somebody opens a section, and has to last while it is read.
    pub fn happens(&mut self, section: &Section) -> Vec<Wire> {
        match (section.page.as_str(), section.title.as_str()) {
            ("bad-table.md", "Table refused") => {
                self.edits(r#"home = "eu-west-1", epoch = 2"#);
                self.refuses_the_table();
            }
            ("bad-table.md", "Go back") => {
                let was = self.edge.hash();
                let other = self.routing.clone().region(EU, "weight", "90");
                self.edge.folder().rename_over("routing.toml", other.text());
                eventually("it is taken", || self.edge.hash() != was);
            }
            ("drain.md", "Paused") => {
                let drain = json!({"region": EU, "to": 0, "over": "10m", "reason": "INC-1"});
                let id = self.edge.change("/v1/drains", &drain).json()["id"].clone();
                let paused = self.edge.change(&format!("/v1/drains/{id}/pause"), &json!({"reason": "look"}));
                assert_eq!(paused.status, 200);
            }
            ("failback.md", _) => {
                assert_eq!(self.write().region(), US);
                self.regions.1.go_dark();
                self.becomes_health(US, "DOWN");
                let gone = json!({"from": US, "to": "standby", "unplanned": true, "reason": "INC-5"});
                self.transfer(&gone, "done");
                assert_eq!(self.write().region(), EU);
                self.regions.1.come_back();
                self.becomes_health(US, "UP");
            }
            ("failover.md", "Region gone") => {
                assert_eq!(self.write().region(), US);
                self.regions.1.go_dark();
                self.becomes_health(US, "DOWN");
            }
            ("failover.md", "By itself") => {
                let writes = |region: &Toy, status| region.set_capability("write", status);
                writes(&self.regions.0, Status::Down);
                eventually("nobody is ready", || {
                    self.edge.read("/v1/regions/eu-west-1")["capabilities"]["write"] == "DOWN"
                });
                writes(&self.regions.1, Status::Down);
                eventually("it is told that nobody takes over", || {
                    let told = self.edge.read("/v1/audit?action=transfer_failed");
                    told["entries"].as_array().is_some_and(|all| !all.is_empty())
                });
                writes(&self.regions.0, Status::Up);
                self.becomes_acme(EU, 2, "active");
            }
            ("migrate-a-tenant.md", "Home") => self.has_moved(),
            ("migrate-a-tenant.md", "Write it into the table") => {
                self.has_moved();
                self.edits(r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 3"#);
                self.refuses_the_table();
            }
            ("migrate-a-tenant.md", "Cancel") => {
                let waves =
                    json!({"from": US, "share": 50, "every": "1h", "to": "standby", "reason": "INC-8"});
                self.transfer(&waves, "waiting");
            }
            ("migrate-a-tenant.md", "Aborted") => {
                self.regions.1.set_delay(Duration::from_secs(60));
                let mut slow = self.edge.wire();
                slow.send(post(HOST, "/v1/cases").bytes());
                eventually("it is in flight", || self.regions.1.in_flight() == 1);
                self.transfer(&json!({"tenant": "acme", "to": EU, "reason": "INC-7"}), "failed");
                return vec![slow];
            }
            ("migrate-a-tenant.md", "Stuck") => return self.falls_silent(),
            ("regional-loss.md", "Region down") => {
                self.regions.0.go_dark();
                self.becomes_health(EU, "DOWN");
            }
            ("split-brain.md", _) => {
                self.has_moved();
                // Another owner gets the epoch of the transfer: a running edge refuses that, one that starts cannot.
                self.edits(r#"home = "us-east-1", standby = ["eu-west-1"], epoch = 2"#);
                self.edge = self.edge.kill_and_start_again();
                self.everybody_is_up();
                assert_eq!(self.write().refusal(), "split_brain");
            }
            ("writes-refused.md", "Write freeze") => {}
            ("writes-refused.md", "Writes held") => {
                let frozen = self.edge.change("/v1/tenants/acme/freeze", &json!({"reason": "INC-9"}));
                assert_eq!(frozen.status, 200);
                let mut held = self.edge.wire();
                held.send(post(HOST, "/v1/cases").bytes());
                becomes("writes that wait", 1.0, || self.edge.metric("rhumb_held_writes", &[]));
                return vec![held];
            }
            ("writes-refused.md", _) => {
                self.regions.1.go_dark();
                self.becomes_health(US, "DOWN");
                assert_eq!(self.write().status, 503);
            }
            ("signals.md", "Spoofed") => {
                self.edge.ask(&get(HOST, "/").header("X-Owner-Epoch", "9"));
            }
            ("signals.md", "Tokens") => {
                let wrong = self.edge.post_admin("/v1/table/reload", &json!({}), Some("wrong"));
                assert_eq!(wrong.status, 401);
            }
            ("signals.md", "Alerts" | "Traces") => {
                self.edge.get(HOST, "/");
                assert_eq!(self.edge.rhumb(&["weight", EU, "90", "--reason", "told"]).code, Some(0));
                for name in ["rhumb_alerts_total", "rhumb_traces_total"] {
                    eventually("it was sent", || {
                        get("localhost", "/metrics").to(self.edge.admin).text().contains(name)
                    });
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// The old owner's gateway is gone between the catch-up and the switch; a write waits for it.
    fn falls_silent(&mut self) -> Vec<Wire> {
        self.regions.0.set_lag_from(US, Duration::from_secs(50));
        eventually("the lag is known", || {
            let lag = self.edge.read("/v1/regions/eu-west-1")["replication"][US]["lag_seconds"].as_f64();
            lag.is_some_and(|lag| lag > 40.0)
        });
        self.transfer(&json!({"tenant": "acme", "to": EU, "reason": "INC-7"}), "running");
        let step = || self.edge.read("/v1/transfers/1")["step"].clone();
        becomes("it waits for the copy", json!("catch_up"), step);
        drop(self.gateways.remove(0));
        self.regions.0.set_lag_from(US, Duration::ZERO);
        becomes("transfers that are stuck", 1.0, || self.stuck());
        let mut held = self.edge.wire();
        held.send(post(HOST, "/v1/cases").bytes());
        becomes("writes that wait", 1.0, || self.edge.metric("rhumb_held_writes", &[]));
        vec![held]
    }

    fn stuck(&self) -> f64 {
        self.edge.metric("rhumb_transfers", &[("step", "stuck")])
    }

    /// What somebody who has done a section has come to.
    pub fn is_left(&self, section: &Section) {
        match (section.page.as_str(), section.title.as_str()) {
            ("migrate-a-tenant.md", "Move") => {
                self.becomes_acme(EU, 2, "active");
                assert_eq!(self.write().region(), EU);
            }
            ("migrate-a-tenant.md", "Home") => {
                self.becomes_acme(US, 3, "active");
                assert_eq!(self.write().region(), US);
            }
            ("migrate-a-tenant.md", "Write it into the table") => {
                self.becomes_acme(EU, 3, "active");
                assert_eq!(self.edge.read("/v1/tenants/acme")["home"], EU);
            }
            ("migrate-a-tenant.md", "In waves") | ("failover.md", "Planned" | "Region gone") => {
                self.all_moved();
                becomes("the transfer", "done".to_owned(), || self.last_transfer());
                assert_eq!(self.write().region(), EU);
            }
            ("migrate-a-tenant.md", "Cancel") => assert_eq!(self.last_transfer(), "cancelled"),
            ("migrate-a-tenant.md", "Aborted") => self.becomes_acme(US, 1, "active"),
            ("migrate-a-tenant.md", "Stuck") => {
                self.becomes_acme(EU, 2, "active");
                becomes("the transfer", "done".to_owned(), || self.last_transfer());
                assert_eq!((self.write().region(), self.stuck()), (EU.to_owned(), 0.0));
                becomes("writes that wait", 0.0, || self.edge.metric("rhumb_held_writes", &[]));
            }
            ("failover.md", "Standby not ready") => becomes("what fails", json!([]), || {
                self.edge.read("/v1/regions/eu-west-1")["readiness"]["failing"].clone()
            }),
            ("failback.md", _) => {
                becomes("the transfer", "done".to_owned(), || self.last_transfer());
                self.becomes_acme(US, 3, "active");
                assert_eq!(self.write().region(), US);
            }
            ("split-brain.md", _) => {
                self.becomes_acme(EU, 3, "active");
                assert_eq!(self.write().region(), EU);
            }
            ("writes-refused.md", "Write freeze" | "Writes held") => {
                self.becomes_acme(US, 1, "active");
                assert_eq!(self.edge.read("/v1/status")["ownership"]["marked"], json!([]));
                becomes("writes that wait", 0.0, || self.edge.metric("rhumb_held_writes", &[]));
            }
            _ => {}
        }
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

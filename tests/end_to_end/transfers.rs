//! Ownership moves under writes, and nobody writes at the wrong region. To and fro: `histories.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rhumb::lab::Status;
use serde_json::json;

use crate::harness::{
    Answer, Edge, Ran, Routing, Toy, Wire, await_some, becomes, edge, eventually, lab, post,
};

const WHY: [&str; 2] = ["--reason", "a drill"];
const HOST: &str = "acme.app.example";

/// Acme at home in eu-west-1, with us-east-1 to take over, and a policy with these keys for writes.
fn world(writes: &str) -> ((Toy, Toy, Toy), Edge) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"]"#)
        .and(&format!("[policies.default]\nwrites = {{ {writes} }}"));
    let edge = edge(&routing).start();
    ((eu, us, ap), edge)
}

fn does(edge: &Edge, words: &[&str], code: i32) -> Ran {
    let ran = edge.rhumb(&[words, &WHY].concat());
    assert_eq!(ran.code, Some(code), "{words:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

fn write(edge: &Edge, id: &str) -> Answer {
    edge.ask(&post(HOST, "/v1/cases").header("X-Write-Id", id))
}

fn held(edge: &Edge) -> f64 {
    edge.metric("rhumb_held_writes", &[])
}

fn owner(edge: &Edge) -> (String, u64, String) {
    let tenant = edge.read("/v1/tenants/acme");
    let text = |key: &str| tenant[key].as_str().unwrap().to_owned();
    (text("owner"), tenant["epoch"].as_u64().unwrap(), text("state"))
}

/// Clients that write without a pause, each with ids of its own.
struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<(String, u16)>>>,
}

impl Writers {
    fn begin(edge: &Edge, clients: usize) -> Writers {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let address = edge.address();
        let client = |client: usize| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut told = Vec::new();
                let mut wire = Wire::to(address);
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("w{client}-{number}");
                    let answer = post(HOST, "/v1/cases").header("X-Write-Id", &id).on(&mut wire);
                    told.push((id, answer.status));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                told
            })
        };
        let threads = (0..clients).map(client).collect();
        Writers { stop, done, threads }
    }

    /// Waits until so many more have been answered.
    fn go_on(&self, more: u64) {
        let until = self.done.load(Ordering::Relaxed) + more;
        eventually("writes go on", || self.done.load(Ordering::Relaxed) >= until);
    }

    fn end(self) -> Vec<(String, u16)> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

/// Every write was executed once, at the owner of the epoch that it carried; the epochs that regions owned under.
fn executed_at_owners(regions: &[&Toy]) -> Vec<BTreeSet<u64>> {
    let mut once = BTreeSet::new();
    let mut epochs = Vec::new();
    for region in regions {
        let mut here = BTreeSet::new();
        for execution in region.state().executions() {
            assert_eq!(execution.owner_region.as_deref(), Some(region.name()), "{execution:?}");
            let id = execution.id.unwrap();
            assert!(once.insert(id.clone()), "{id} was executed twice");
            here.insert(execution.owner_epoch.unwrap().parse().unwrap());
        }
        epochs.push(here);
    }
    for (at, here) in epochs.iter().enumerate() {
        let others = epochs.iter().enumerate().filter(|(other, _)| *other != at);
        assert!(
            others.clone().all(|(_, other)| here.is_disjoint(other)),
            "two owners of one epoch: {epochs:?}"
        );
    }
    epochs
}

#[test]
fn writes_wait_while_an_operator_paused_them_and_then_go_on() {
    let ((eu, ..), edge) = world(r#"hold = "20s""#);
    does(&edge, &["tenant", "freeze", "acme"], 0);
    assert_eq!(owner(&edge).2, "frozen");
    let waiting: Vec<_> = (0..5)
        .map(|number| {
            let mut wire = edge.wire();
            wire.send(post(HOST, "/v1/cases").header("X-Write-Id", &format!("held-{number}")).bytes());
            becomes("writes that wait", f64::from(number + 1), || held(&edge));
            wire
        })
        .collect();
    assert_eq!(edge.get(HOST, "/").status, 200, "reads go on");
    assert_eq!(eu.writes_seen(), 0);
    does(&edge, &["tenant", "unfreeze", "acme"], 0);
    for mut wire in waiting {
        assert_eq!(wire.answer().status, 200);
    }
    assert!((0..5).all(|number| eu.executions_of(&format!("held-{number}")) == 1));
}

#[test]
fn a_write_that_waited_as_long_as_it_may_is_refused_and_one_whose_client_left_is_forgotten() {
    let ((eu, ..), edge) = world(r#"hold = "300ms""#);
    does(&edge, &["region", "freeze", "eu-west-1"], 0);
    let refused = write(&edge, "late");
    assert_eq!((refused.status, refused.refusal()), (503, "write_frozen".into()));
    assert!(refused.header("retry-after").is_some());
    does(&edge, &["region", "freeze", "eu-west-1", "--mode", "read-only"], 0);
    assert_eq!(write(&edge, "now").refusal(), "owner_read_only");
    does(&edge, &["region", "unfreeze", "eu-west-1"], 0);
    assert_eq!(write(&edge, "after").status, 200);
    assert_eq!((eu.executions_of("late"), eu.executions_of("now")), (0, 0));
}

#[test]
fn a_client_that_leaves_while_it_waits_costs_nothing_and_is_not_executed() {
    let ((eu, ..), edge) = world(r#"hold = "60s""#);
    does(&edge, &["tenant", "freeze", "acme"], 0);
    let mut wire = edge.wire();
    // Half of a body waits to be read when its client goes.
    wire.send(
        b"POST /v1/cases HTTP/1.1\r\nHost: acme.app.example\r\nX-Write-Id: gone\r\nContent-Length: 9\r\n\r\nhalf",
    );
    becomes("it waits", 1.0, || held(&edge));
    drop(wire);
    becomes("it has been let go", 0.0, || held(&edge));
    does(&edge, &["tenant", "unfreeze", "acme"], 0);
    assert_eq!(write(&edge, "next").status, 200);
    assert_eq!(eu.executions_of("gone"), 0);
}

#[test]
fn more_writes_than_may_wait_are_refused_at_once() {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1""#)
        .and("[policies.default]\nwrites = { hold = \"60s\" }");
    let edge = edge(&routing).set("limits", "held_writes = 1").start();
    does(&edge, &["tenant", "freeze", "acme"], 0);
    let mut first = edge.wire();
    first.send(post(HOST, "/v1/cases").bytes());
    becomes("it waits", 1.0, || held(&edge));
    assert_eq!(write(&edge, "second").refusal(), "write_frozen");
    does(&edge, &["tenant", "unfreeze", "acme"], 0);
    assert_eq!(first.answer().status, 200);
}

#[test]
fn a_standby_that_does_not_catch_up_gets_nothing_and_writes_go_on_where_they_were() {
    let ((eu, us, _ap), edge) = world(r#"hold = "1s""#);
    us.set_lag_from("eu-west-1", Duration::from_millis(950));
    let writers = Writers::begin(&edge, 2);
    eventually("the lag is known", || {
        let lag = edge.read("/v1/regions/us-east-1")["replication"]["eu-west-1"]["lag_seconds"].as_f64();
        lag.is_some_and(|lag| lag > 0.5)
    });
    let ran = does(&edge, &["transfer", "acme", "--to", "us-east-1", "--wait"], 1);
    assert!(ran.stderr.contains("had not caught up after 900 ms"), "{}", ran.stderr);
    assert_eq!(owner(&edge), ("eu-west-1".into(), 1, "active".into()));
    writers.go_on(5);
    let told = writers.end();
    assert!(told.iter().all(|(_, status)| *status == 200), "a pause, and no error: {told:?}");
    assert_eq!((us.writes_seen(), eu.writes_executed() as usize), (0, told.len()));
}

#[test]
fn a_write_in_flight_is_waited_for_and_one_that_takes_too_long_stops_the_transfer() {
    let ((eu, us, _ap), edge) = world(r#"hold = "500ms""#);
    eu.set_delay(Duration::from_secs(30));
    let mut slow = edge.wire();
    slow.send(post(HOST, "/v1/cases").header("X-Write-Id", "slow").bytes());
    eventually("it is in flight", || eu.in_flight() == 1);
    let ran = does(&edge, &["transfer", "acme", "--to", "us-east-1", "--wait"], 1);
    assert!(ran.stderr.contains("1 writes were still in flight"), "{}", ran.stderr);
    assert_eq!(owner(&edge), ("eu-west-1".into(), 1, "active".into()));
    eu.set_delay(Duration::ZERO);
    drop(slow);
    eventually("the write is over", || eu.in_flight() == 0);
    does(&edge, &["transfer", "acme", "--to", "us-east-1", "--wait"], 0);
    assert_eq!(write(&edge, "next").region(), "us-east-1");
    assert_eq!(us.executions_of("next"), 1);
}

#[test]
fn an_owner_that_is_gone_is_failed_over_without_waiting_and_the_audit_says_what_may_be_lost() {
    let ((eu, us, _ap), edge) = world(r#"hold = "5s""#);
    assert_eq!(write(&edge, "before").status, 200);
    eu.go_dark();
    becomes("its health", "DOWN".to_owned(), || edge.health("eu-west-1"));
    assert_eq!(write(&edge, "down").refusal(), "owner_unavailable");
    let told = does(&edge, &["failover", "eu-west-1"], 1);
    assert!(told.stderr.contains("--unplanned"), "{}", told.stderr);
    does(&edge, &["failover", "eu-west-1", "--unplanned", "--wait"], 0);
    let answer = write(&edge, "after");
    assert_eq!((answer.status, answer.region()), (200, "us-east-1".into()));
    assert_eq!(us.executions().last().unwrap().owner_epoch.as_deref(), Some("2"));
    let audit = edge.rhumb(&["audit", "--action", "transfer_switched", "-o", "json"]).stdout;
    assert!(audit.contains("may_be_lost"), "{audit}");
    // It is back, and owns nothing until it has caught up and somebody says so.
    eu.come_back();
    becomes("its health", "UP".to_owned(), || edge.health("eu-west-1"));
    assert_eq!(write(&edge, "still").region(), "us-east-1");
    let asked = does(&edge, &["failback", "eu-west-1"], 1);
    assert!(asked.stderr.contains("--approve") && asked.stdout.contains("eu-west-1"), "{}", asked.stderr);
    does(&edge, &["failback", "eu-west-1", "--share", "100", "--approve", "--wait"], 0);
    assert_eq!(owner(&edge), ("eu-west-1".into(), 3, "active".into()));
    assert_eq!(write(&edge, "home").region(), "eu-west-1");
    executed_at_owners(&[&eu, &us]);
}

#[test]
fn what_was_moved_outlives_a_kill_and_a_transfer_goes_on() {
    let (eu, us, ap) = lab();
    let mut routing = Routing::of(&[&eu, &us, &ap]);
    for number in 0..40 {
        routing = routing.tenant(&format!("t{number}"), r#"home = "eu-west-1", standby = ["us-east-1"]"#);
    }
    let mut first = edge(&routing).start();
    // Waves that no test waits for: the first is over at once, and the second is not due.
    let words = ["transfer", "--from", "eu-west-1", "--share", "50", "--every", "1h"];
    does(&first, &words, 0);
    let state = |edge: &Edge| edge.read("/v1/transfers/1")["state"].as_str().unwrap().to_owned();
    becomes("the transfer", "waiting".to_owned(), || state(&first));
    let moved = first.read("/v1/transfers/1")["moved"].as_u64().unwrap();
    assert!((5..36).contains(&moved), "about half of forty: {moved}");
    let second = first.kill_and_start_again();
    assert_eq!(state(&second), "waiting");
    assert_eq!(second.read("/v1/status")["ownership"]["moved"].as_u64(), Some(moved));
    does(&second, &["transfers", "cancel", "1"], 0);
    assert_eq!(state(&second), "cancelled");
    does(&second, &["transfer", "--from", "eu-west-1", "--wait"], 0);
    assert_eq!(second.read("/v1/status")["ownership"]["moved"].as_u64(), Some(40));
    let list = second.rhumb(&["transfers"]).stdout;
    assert!(list.contains("cancelled") && list.contains("done"), "{list}");
}

#[test]
fn two_owners_at_one_epoch_stop_writes_until_somebody_says_who_it_is() {
    let ((_eu, us, _ap), mut first) = world(r#"hold = "5s""#);
    does(&first, &["transfer", "acme", "--to", "us-east-1", "--wait"], 0);
    // Somebody edits the table while no edge runs, and gives another owner the epoch that a transfer has taken.
    let folder = first.take_folder();
    drop(first);
    let table = std::fs::read_to_string(folder.file("routing.toml")).unwrap();
    let edited = table.replace(r#"home = "eu-west-1", standby"#, r#"home = "eu-west-1", epoch = 2, standby"#);
    assert_ne!(table, edited);
    let mut builder = edge(&Routing::of(&[])).again_in(folder);
    builder = builder.file("routing.toml", edited);
    let second = builder.start();
    assert_eq!(owner(&second).2, "split-brain");
    second.counts("rhumb_split_brain_detected_total", &[], 1.0);
    let alarm = || second.rhumb(&["audit", "--action", "split_brain", "-o", "json"]).stdout;
    eventually("the audit says so", || alarm().contains("\"claimed_by\""));
    assert_eq!(write(&second, "torn").refusal(), "split_brain");
    let acme = json!({"tenant": "acme", "epoch": 2, "claimed_by": ["eu-west-1", "us-east-1"]});
    assert_eq!(second.read("/v1/disputes"), json!({"count": 1, "first": [acme]}));
    let told = does(&second, &["tenant", "resolve", "acme", "--owner", "ap-southeast-1"], 1);
    assert!(told.stderr.contains("may not own"), "{}", told.stderr);
    does(&second, &["tenant", "resolve", "acme", "--owner", "us-east-1"], 0);
    assert_eq!(owner(&second), ("us-east-1".into(), 3, "active".into()));
    assert_eq!(second.read("/v1/disputes"), json!({"count": 0, "first": []}));
    assert_eq!(write(&second, "whole").region(), "us-east-1");
    assert_eq!(us.executions_of("torn"), 0);
}

#[test]
fn what_cannot_be_is_told_with_what_to_do_instead() {
    let (_regions, edge) = world(r#"hold = "5s""#);
    for (path, body, told) in [
        ("/v1/transfers", json!({"reason": "x"}), "one of \"tenant\", \"from\" and \"home\""),
        ("/v1/transfers", json!({"tenant": "acme", "share": 10, "reason": "x"}), "leave them out"),
        ("/v1/transfers", json!({"from": "eu-west-1", "share": 0, "reason": "x"}), "more than 0"),
        ("/v1/transfers", json!({"tenant": "acmee", "reason": "x"}), "no tenant \"acmee\""),
        ("/v1/transfers", json!({"tenant": "acme", "to": "us-eest-1", "reason": "x"}), "us-east-1"),
        ("/v1/transfers", json!({"tenant": "acme", "to": "ap-southeast-1", "reason": "x"}), "nowhere to go"),
        ("/v1/tenants/acme/freeze", json!({"mode": "cold", "reason": "x"}), "\"frozen\" or \"read-only\""),
        ("/v1/tenants/acme/unfreeze", json!({"reason": "x"}), "no operator froze tenant acme"),
        ("/v1/regions/mars/freeze", json!({"reason": "x"}), "no region \"mars\""),
    ] {
        let answer = edge.change(path, &body);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(answer.status >= 400 && detail.contains(told), "{path} {body}: {detail}");
    }
    assert_eq!(owner(&edge), ("eu-west-1".into(), 1, "active".into()));
    let status = await_some("a status", || Some(edge.read("/v1/status")["ownership"].clone()));
    let nothing =
        json!({"moved": 0, "marked": [], "marks": [], "transfers": [], "under_way": [], "held_writes": 0});
    assert_eq!(status, nothing);
}

#[test]
fn ownership_moves_by_itself_where_the_policy_says_so_and_only_to_a_standby_that_is_ready() {
    let ((eu, us, _ap), edge) =
        world(r#"failover = "automatic", after = "500ms", cooldown = "2s", max_lag = "30s""#);
    assert_eq!(write(&edge, "before").status, 200);
    us.set_capability("write", Status::Down);
    becomes("its capability", "DOWN".to_owned(), || {
        edge.read("/v1/regions/us-east-1")["capabilities"]["write"].as_str().unwrap().to_owned()
    });
    eu.set_capability("write", Status::Down);
    let refused = || edge.rhumb(&["audit", "--action", "transfer_failed", "-o", "json"]).stdout;
    eventually("it is told why nobody takes over", || {
        refused().contains("us-east-1 is not ready: write is DOWN")
    });
    assert_eq!(owner(&edge), ("eu-west-1".into(), 1, "active".into()));
    us.set_capability("write", Status::Up);
    becomes("the owner", ("us-east-1".to_owned(), 2, "active".to_owned()), || owner(&edge));
    let answer = write(&edge, "after");
    assert_eq!((answer.status, answer.region()), (200, "us-east-1".into()));
    let switched = edge.rhumb(&["audit", "--action", "transfer_switched", "-o", "json"]).stdout;
    assert!(switched.contains("may_be_lost"), "{switched}");
    // Nobody goes home by itself.
    eu.set_capability("write", Status::Up);
    becomes("its capability", "UP".to_owned(), || {
        edge.read("/v1/regions/eu-west-1")["capabilities"]["write"].as_str().unwrap().to_owned()
    });
    assert_eq!(write(&edge, "still").region(), "us-east-1");
    executed_at_owners(&[&eu, &us]);
}

#[test]
fn how_ready_a_standby_is_is_on_show_before_anybody_needs_it() {
    let ((_eu, us, _ap), edge) = world(r#"max_lag = "5s""#);
    let failing = |edge: &Edge| {
        let readiness = edge.read("/v1/regions/us-east-1")["readiness"].clone();
        let checks = readiness["failing"].as_array().unwrap().iter();
        checks.map(|failing| failing["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    becomes("what fails", vec!["drill".to_owned()], || failing(&edge));
    assert!(edge.read("/v1/regions/eu-west-1")["readiness"].is_null(), "it stands by for nobody");
    let body = json!({"regions": ["us-east-1"], "reason": "game day"});
    assert_eq!(edge.change("/v1/drills", &body).status, 200);
    becomes("what fails", vec![], || failing(&edge));
    edge.counts("rhumb_readiness_score", &[("region", "us-east-1")], 1.0);
    us.set_lag_from("eu-west-1", Duration::from_secs(3_600));
    us.set_capability("write", Status::Down);
    becomes("what fails", vec!["capabilities".to_owned(), "lag".to_owned()], || failing(&edge));
    let lost = || edge.rhumb(&["audit", "--action", "readiness_lost", "-o", "json"]).stdout;
    eventually("the audit says so", || lost().contains("write is DOWN"));
}

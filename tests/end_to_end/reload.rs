//! The table changes while requests flow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::harness::{Edge, End, Routing, Toy, becomes, edge, eventually, get, lab, post, toy};

fn world() -> (Toy, Toy, Toy, Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1", epoch = 3"#);
    (eu, us, ap, routing)
}

fn knows(edge: &Edge, tenant: &str) -> bool {
    edge.get(&format!("{tenant}.app.example"), "/").status == 200
}

#[test]
fn a_change_is_seen_however_it_is_made() {
    let (_eu, _us, _ap, routing) = world();
    let with = |tenant: &str| routing.clone().tenant(tenant, r#"home = "eu-west-1""#).text();
    let edge = edge(&routing).set("table", "max_moved = 100.0").start();
    edge.folder().write("routing.toml", with("inplace"));
    eventually("written in place", || knows(&edge, "inplace"));
    edge.folder().rename_over("routing.toml", with("renamed"));
    eventually("renamed over", || knows(&edge, "renamed"));
    edge.folder().swap_link("routing.toml", with("linked"));
    eventually("replaced by a link", || knows(&edge, "linked"));
    for n in 0..3 {
        let name = format!("swapped{n}");
        edge.folder().swap_link("routing.toml", with(&name));
        eventually("a link swapped", || knows(&edge, &name));
    }
    assert!(!knows(&edge, "linked"));
}

#[test]
fn a_hangup_or_an_operator_has_it_read_where_nobody_watches() {
    let (_eu, _us, _ap, routing) = world();
    let with = |tenant: &str| routing.clone().tenant(tenant, r#"home = "eu-west-1""#).text();
    let edge = edge(&routing).set("table", "watch = false").set("table", "max_moved = 100.0").start();
    edge.folder().write("routing.toml", with("hup"));
    edge.signal("HUP");
    eventually("after SIGHUP", || knows(&edge, "hup"));
    edge.folder().write("routing.toml", with("asked"));
    let answer = edge.change("/v1/table/reload", &json!({}));
    assert_eq!((answer.status, answer.json()["taken"].as_bool()), (200, Some(true)));
    assert!(knows(&edge, "asked"), "when the answer comes, it is in force");
    edge.folder().write("routing.toml", with("typed"));
    let ran = edge.rhumb(&["table", "reload", "--reason", "as planned"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(knows(&edge, "typed"));
    let again = edge.change("/v1/table/reload", &json!({}));
    assert_eq!((again.status, again.json()["taken"].as_bool()), (200, Some(false)));
    let told = || {
        let audit = edge.rhumb(&["audit", "--action", "table_taken", "-o", "json"]).stdout;
        let entries = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of =
            |entry: Value| ["actor", "source", "reason"].map(|key| entry[key].as_str().unwrap().to_owned());
        entries.map(of).collect::<Vec<_>>()
    };
    let who = |who: [&str; 3]| who.map(str::to_owned);
    let wanted =
        [["admin", "127.0.0.1", "as planned"], ["admin", "127.0.0.1", ""], ["edge", "edge", ""]].map(who);
    becomes("the audit says who asked, the newest first", wanted.to_vec(), told);
    let long = json!({"reason": "x".repeat(1_001)});
    assert_eq!(edge.change("/v1/table/reload", &long).status, 400);
}

#[test]
fn a_tenants_csv_is_watched_too() {
    let (_eu, _us, _ap, routing) = world();
    let routing = routing.tenancy("files", r#"["tenants.csv"]"#);
    let edge = edge(&routing).file("tenants.csv", "id,home\nbulk1,us-east-1\n").start();
    assert_eq!(edge.get("bulk1.app.example", "/").region(), "us-east-1");
    edge.folder().rename_over("tenants.csv", "home,id,epoch\nus-east-1,bulk1,1\nap-southeast-1,bulk2,4\n");
    eventually("the row is in force", || knows(&edge, "bulk2"));
    let written = edge.ask(&post("bulk2.app.example", "/"));
    assert_eq!(
        (written.region().as_str(), written.seen("x-owner-epoch").as_deref()),
        ("ap-southeast-1", Some("4"))
    );
}

#[test]
fn a_home_changes_with_a_higher_epoch_alone_and_no_epoch_goes_back() {
    let (_eu, _us, _ap, mut routing) = world();
    for n in 0..40 {
        routing = routing.tenant(&format!("t{n}"), r#"home = "eu-west-1""#);
    }
    let edge = edge(&routing).start();
    let hash = edge.hash();
    for bad in [r#"home = "us-east-1", epoch = 7"#, r#"home = "eu-west-1", epoch = 6"#] {
        edge.folder().rename_over("routing.toml", routing.clone().tenant("acme", bad).text());
        let answer = edge.change("/v1/table/reload", &json!({}));
        assert!(answer.status >= 400, "{bad}: {}", answer.text());
        let problems = edge.read("/v1/table/rejected")["problems"].to_string();
        assert!(problems.contains("acme") && problems.contains("epoch"), "{bad}: {problems}");
        assert_eq!(edge.hash(), hash);
        assert_eq!(edge.ask(&post("acme.app.example", "/")).region(), "eu-west-1");
    }
    let moved = routing.tenant("acme", r#"home = "us-east-1", epoch = 8"#);
    edge.folder().rename_over("routing.toml", moved.text());
    eventually("the move is in force", || edge.ask(&post("acme.app.example", "/")).region() == "us-east-1");
    let told = edge.ask(&post("acme.app.example", "/")).seen("x-owner-epoch");
    assert_eq!(told.as_deref(), Some("8"));
    eventually("nothing is refused any more", || {
        edge.read("/v1/table/rejected")["problems"].as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn a_table_that_moves_many_tenants_waits_for_its_hash_and_can_be_taken_back() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let before = edge.hash();
    let moved = routing.tenant("globex", r#"home = "ap-southeast-1", epoch = 4"#);
    edge.folder().rename_over("routing.toml", moved.text());
    eventually("it is refused", || {
        edge.read("/v1/table/rejected")["problems"].as_array().is_some_and(|list| !list.is_empty())
    });
    let rejected = edge.read("/v1/table/rejected");
    assert!(rejected["problems"].to_string().contains("max_moved"), "{rejected}");
    assert_eq!(edge.ask(&post("globex.app.example", "/")).region(), "us-east-1");
    let hash = rejected["hash"].as_str().unwrap().to_owned();
    let wrong = edge.change("/v1/table/accept", &json!({ "hash": before, "reason": "a typo" }));
    assert!(wrong.status >= 400, "{}", wrong.text());
    assert!(edge.change("/v1/table/accept", &json!({ "hash": hash })).status >= 400, "a reason is needed");
    let taken = edge.change("/v1/table/accept", &json!({ "hash": hash, "reason": "planned move" }));
    assert_eq!((taken.status, taken.json()["taken"].as_bool()), (200, Some(true)), "{}", taken.text());
    assert_eq!(edge.ask(&post("globex.app.example", "/")).region(), "ap-southeast-1");
    assert_eq!(edge.metric("rhumb_table_reloads_total", &[("outcome", "accepted")]), 1.0);
    // The way back would lower an epoch: it is refused, for a fencing token never falls.
    let back = edge.change("/v1/table/rollback", &json!({ "reason": "too early" }));
    assert!(back.status >= 400, "{}", back.text());
    assert_eq!(edge.ask(&post("globex.app.example", "/")).region(), "ap-southeast-1");
}

#[test]
fn a_rollback_brings_the_table_before_back_and_the_files_wait_until_they_change() {
    let (_eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let before = edge.hash();
    let other = edge.change("/v1/table/accept", &json!({ "hash": "0".repeat(64), "reason": "a stale hash" }));
    assert_eq!(
        other.status,
        409,
        "nobody is told that a table was taken which is not there: {}",
        other.text()
    );
    let more = routing.clone().tenant("more", r#"home = "eu-west-1""#);
    edge.folder().rename_over("routing.toml", more.text());
    eventually("it is in force", || knows(&edge, "more"));
    let back = edge.change("/v1/table/rollback", &json!({ "reason": "a mistake" }));
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(edge.hash(), before);
    assert!(!knows(&edge, "more"));
    let again = edge.change("/v1/table/reload", &json!({}));
    assert!(again.status >= 400 || again.json()["taken"] == false, "{}", again.text());
    assert!(!knows(&edge, "more"), "what an operator went back from does not come back by itself");
    let other = more.tenant("other", r#"home = "eu-west-1""#);
    edge.folder().rename_over("routing.toml", other.text());
    eventually("another table is taken", || knows(&edge, "other"));
    assert_eq!(edge.metric("rhumb_table_reloads_total", &[("outcome", "rolled_back")]), 1.0);
}

#[test]
fn a_hundred_reloads_while_requests_flow_cost_none_of_them_anything() {
    const RELOADS: usize = 100;
    const REQUESTS_BETWEEN: usize = 40;
    let (_eu, _us, _ap, mut routing) = world();
    for n in 0..200 {
        routing = routing.tenant(&format!("t{n}"), r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    }
    let edge = edge(&routing).start();
    let address = edge.address();
    let (done, asked, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (done, asked, failed) = (&done, &asked, &failed);
            scope.spawn(move || {
                let mut wire = crate::harness::Wire::to(address);
                while !done.load(Relaxed) {
                    let n = asked.fetch_add(1, Relaxed);
                    let host = format!("t{}.app.example", n % 200);
                    let request = if n % 4 == 0 { post(&host, "/") } else { get(&host, "/") };
                    let answer = if client % 2 == 0 { request.on(&mut wire) } else { request.to(address) };
                    if answer.status != 200 || answer.end != End::Whole {
                        println!("{} {}", answer.status, answer.text());
                        failed.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        for n in 0..RELOADS {
            eventually("requests flow", || asked.load(Relaxed) >= (n * REQUESTS_BETWEEN) as u64);
            let weight = if n % 2 == 0 { "40" } else { "100" };
            let next = routing
                .clone()
                .region("eu-west-1", "weight", weight)
                .tenant("step", &format!("home = \"eu-west-1\", epoch = {}", n + 1));
            edge.folder().rename_over("routing.toml", next.text());
            let answer = edge.change("/v1/table/reload", &json!({}));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(edge.read("/v1/tenants/step")["epoch"], n + 1);
        }
        done.store(true, Relaxed);
    });
    let (asked, failed) = (asked.into_inner(), failed.into_inner());
    println!("{RELOADS} reloads under load: {asked} requests, {failed} failed");
    assert_eq!(failed, 0);
    assert!(asked >= ((RELOADS - 1) * REQUESTS_BETWEEN) as u64);
}

#[test]
fn a_region_that_moves_to_other_endpoints_refuses_nobody() {
    let (_eu, us, _ap, routing) = world();
    let moved = toy("us-east-1");
    let edge = edge(&routing).start();
    let address = edge.address();
    let (done, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                let answer = post("globex.app.example", "/").to(address);
                if answer.status != 200 {
                    println!("{} {}", answer.status, answer.text());
                    failed.fetch_add(1, Relaxed);
                }
            }
        });
        for n in 0..20 {
            let endpoint = if n % 2 == 0 { moved.address() } else { us.address() };
            let next = routing.clone().region("us-east-1", "endpoints", &format!("[\"{endpoint}\"]"));
            edge.folder().rename_over("routing.toml", next.text());
            let answer = edge.change("/v1/table/reload", &json!({}));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        done.store(true, Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
    assert!(moved.writes_seen() > 0 && us.writes_seen() > 0);
}

#[test]
fn a_request_in_flight_keeps_the_table_it_began_with() {
    let (eu, _us, _ap, routing) = world();
    let edge = edge(&routing).start();
    let mut wire = edge.wire();
    wire.send("GET /stream?chunks=40&every_ms=50 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    wire.until("chunk 1 of 40");
    let mut slow = edge.wire();
    eu.set_delay(std::time::Duration::from_millis(1500));
    slow.send("GET /began-before HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    eventually("both are under way", || eu.requests_seen() == 2);
    eu.set_delay(std::time::Duration::ZERO);
    let began = edge.generation();
    let drained = routing.tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 9"#);
    edge.folder().rename_over("routing.toml", drained.region("eu-west-1", "weight", "0").text());
    eventually("reads move", || edge.get("acme.app.example", "/").region() == "us-east-1");
    assert!(edge.generation() > began);
    let answer = slow.answer();
    assert_eq!((answer.region().as_str(), answer.seen("x-owner-epoch").as_deref()), ("eu-west-1", Some("7")));
    let mut stream = wire.head().unwrap();
    wire.body(&mut stream);
    assert_eq!((stream.end, stream.text().lines().count()), (End::Whole, 40));
}

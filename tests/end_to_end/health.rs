//! How the edge finds out how regions are, and what it does about it.

use std::time::Duration;

use http::StatusCode;
use rhumb::lab::{Fault, HealthAnswer, Status, ToyRegion};

use crate::harness::{Edge, Routing, Toy, edge, eventually, faulty, get, lab, now, post, toy, toy_from};

fn three() -> (Toy, Toy, Toy, Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1", "ap-southeast-1"]"#)
        .and("[[routes]]\nname = \"search\"\npath = \"/search\"\ncapability = \"case.search\"");
    (eu, us, ap, routing)
}

fn capability(edge: &Edge, region: &str, name: &str) -> String {
    edge.read(&format!("/v1/regions/{region}"))["capabilities"][name].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_capability_that_is_down_moves_that_capability_alone() {
    let (eu, us, _ap, routing) = three();
    for region in [&eu, &us] {
        region.set_capability("case.search", Status::Up);
    }
    let edge = edge(&routing).start();
    assert_eq!(edge.get("acme.app.example", "/search").region(), "eu-west-1");
    eu.set_capability("case.search", Status::Down);
    eventually("the capability is down", || capability(&edge, "eu-west-1", "case.search") == "DOWN");
    let moved = edge.get("acme.app.example", "/search");
    assert_eq!(
        (moved.region().as_str(), moved.seen("x-failover-reason").as_deref()),
        ("us-east-1", Some("unhealthy"))
    );
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(edge.ask(&post("acme.app.example", "/")).region(), "eu-west-1");
    let up = [("region", "eu-west-1"), ("capability", "case.search")];
    assert_eq!(edge.metric("rhumb_region_capability_up", &up), 0.0);
    eu.set_capability("case.search", Status::Up);
    eventually("it comes back", || edge.get("acme.app.example", "/search").region() == "eu-west-1");
}

#[test]
fn a_write_capability_that_is_down_refuses_writes_and_leaves_reads() {
    let (eu, us, ap, routing) = three();
    let edge = edge(&routing).start();
    eu.set_capability("write", Status::Down);
    eventually("the capability is down", || capability(&edge, "eu-west-1", "write") == "DOWN");
    let refused = edge.ask(&post("acme.app.example", "/"));
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_unavailable"));
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(eu.writes_seen() + us.writes_seen() + ap.writes_seen(), 0);
}

#[test]
fn degraded_takes_traffic() {
    let (eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    eu.set_status(Status::Degraded);
    eu.set_capability("write", Status::Degraded);
    eventually("it is seen", || edge.health("eu-west-1") == "DEGRADED");
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(edge.ask(&post("acme.app.example", "/")).region(), "eu-west-1");
}

#[test]
fn a_copy_that_lags_too_much_takes_no_local_reads_and_its_home_still_does() {
    let (eu, us, _ap, routing) = three();
    let routing = routing
        .and("[policies.fresh]\nreads = { max_staleness = \"500ms\" }")
        .tenant("globex", r#"home = "us-east-1", replicas = ["eu-west-1"], policy = "fresh""#);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("globex.app.example", "/").region(), "eu-west-1");
    eu.set_lag_from("us-east-1", Duration::from_secs(600));
    edge.ask(&post("globex.app.example", "/kv/a").body("1"));
    eventually("the lag is seen", || edge.get("globex.app.example", "/").region() == "us-east-1");
    assert_eq!(edge.get("globex.app.example", "/").seen("x-failover-reason").as_deref(), Some("stale"));
    assert_eq!(
        edge.get("acme.app.example", "/").region(),
        "eu-west-1",
        "its own tenants are never stale there"
    );
    let lag = [("source_region", "us-east-1"), ("target_region", "eu-west-1")];
    eventually("the lag is shown", || edge.metric("rhumb_replication_lag_seconds", &lag) > 0.5);
    eu.set_lag(Duration::ZERO);
    eventually("it catches up", || edge.get("globex.app.example", "/").region() == "eu-west-1");
    assert!(us.requests_seen() > 0);
}

#[test]
fn a_region_that_says_nonsense_is_down_and_one_that_says_nothing_more_is_up() {
    let (odd, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&odd, &us]).tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing.and("[policies.default]\nretries = { attempts = 1 }")).start();
    for (says, expected) in [
        (HealthAnswer::Says(200, "ok".to_owned()), "UP"),
        (HealthAnswer::Says(500, "{}".to_owned()), "DOWN"),
        (HealthAnswer::Says(204, String::new()), "DOWN"),
        (HealthAnswer::Up, "UP"),
        (HealthAnswer::Says(200, r#"{"status":"DOWN"}"#.to_owned()), "DOWN"),
        (HealthAnswer::Up, "UP"),
        (HealthAnswer::Reset, "DOWN"),
        (HealthAnswer::Up, "UP"),
        (HealthAnswer::Says(200, r#"{"status":"DEGRADED","capabilities":{}}"#.to_owned()), "DEGRADED"),
        (HealthAnswer::Down, "DOWN"),
    ] {
        odd.set_health(says.clone());
        eventually(&format!("{says:?} is {expected}"), || edge.health("eu-west-1") == expected);
    }
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
}

#[test]
fn a_health_body_of_garbage_or_without_end_harms_nobody() {
    let (odd, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&odd, &us]).tenant("acme", r#"home = "us-east-1""#);
    let edge = edge(&routing).start();
    let before = edge.figure("VmRSS");
    let names: Vec<_> = (0..5000).map(|n| format!("\"c{n}\":\"UP\"")).collect();
    for body in [
        "{".repeat(100_000),
        format!("{{\"status\":\"UP\",\"capabilities\":{{{}}}}}", names.join(",")),
        format!("{{\"status\":\"UP\",\"pad\":\"{}\"}}", "x".repeat(4 << 20)),
        r#"{"status":"UP","replication":{"us-east-1":{"lag_seconds":-1e308,"position":"x"}}}"#.to_owned(),
        r#"{"status":"UP","replication":{"mars":{"lag_seconds":1}},"capabilities":{"read":7}}"#.to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
    ] {
        odd.set_health(HealthAnswer::Says(200, body));
        let seen = odd.health_checks_seen();
        eventually("it was asked a few times", || odd.health_checks_seen() >= seen + 4);
        assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
    }
    let grown = edge.figure("VmRSS").saturating_sub(before);
    assert!(grown < 32 * 1024, "the edge grew by {grown} KiB");
    assert!(edge.metrics().names().len() < 500, "what a region says makes no series");
}

#[test]
fn a_region_that_nobody_could_ask_yet_takes_nothing() {
    let (silent, us) = (faulty("eu-west-1"), toy("us-east-1"));
    silent.set_health(HealthAnswer::Hang);
    let routing = Routing::of(&[&silent, &us])
        .region("eu-west-1", "health", r#"{ interval = "100ms", timeout = "1m" }"#)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    assert_eq!(edge.health("eu-west-1"), "UNKNOWN");
    assert_eq!(edge.get("acme.app.example", "/").region(), "us-east-1");
    assert_eq!(edge.ask(&post("acme.app.example", "/")).refusal(), "owner_unavailable");
    assert_eq!(silent.requests_begun(), 0);
}

#[test]
fn a_flapping_region_comes_back_later_each_time() {
    let (odd, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&odd, &us])
        .region("eu-west-1", "health", r#"{ interval = "20ms", rise = 2, fall = 2 }"#)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    let mut rounds = Vec::new();
    for _ in 0..4 {
        odd.set_health(HealthAnswer::Down);
        eventually("it goes down", || edge.health("eu-west-1") == "DOWN");
        let before = odd.health_checks_seen();
        odd.set_health(HealthAnswer::Up);
        eventually("it comes back", || edge.health("eu-west-1") == "UP");
        rounds.push(odd.health_checks_seen() - before);
    }
    assert!(rounds[3] >= 2 * rounds[0].min(4), "good answers needed to come back: {rounds:?}");
}

#[test]
fn a_region_whose_checks_lie_is_ejected_by_its_traffic_and_tried_again() {
    let (odd, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&odd, &us]).tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).start();
    odd.otherwise(Fault::reset_after_request());
    let passive =
        || edge.read("/v1/regions/eu-west-1")["endpoints"][0]["passive"].as_str().unwrap().to_owned();
    eventually("it is ejected", || {
        edge.get("acme.app.example", "/");
        let view = edge.read("/v1/regions/eu-west-1");
        let ejected = view["endpoints"][0]["passive"] == "ejected";
        assert!(!ejected || view["health"] == "DOWN", "the passive signal wins, whatever the checks say");
        ejected
    });
    let read = edge.get("acme.app.example", "/");
    assert_eq!(read.region(), "us-east-1");
    odd.otherwise(Fault::answer());
    eventually("a trial that goes well brings it back", || {
        edge.get("acme.app.example", "/").region() == "eu-west-1" && passive() == "trusted"
    });
}

#[test]
fn with_every_region_down_the_answer_is_a_fast_503_and_everything_comes_back() {
    let (eu, us, ap, routing) = three();
    let edge = edge(&routing).start();
    for region in [&eu, &us, &ap] {
        region.go_dark();
    }
    eventually("all are down", || {
        ["eu-west-1", "us-east-1", "ap-southeast-1"].iter().all(|name| edge.health(name) == "DOWN")
    });
    let refused = edge.get("acme.app.example", "/");
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "no_region"));
    let refused = edge.ask(&post("acme.app.example", "/"));
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_unavailable"));
    assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
    eventually("it is counted", || edge.metric("rhumb_refusals_total", &[("reason", "no_region")]) >= 1.0);
    let began = now();
    for region in [&eu, &us, &ap] {
        region.come_back();
    }
    eventually("requests are answered again", || edge.get("acme.app.example", "/").status == 200);
    println!("answered {:?} after the regions came back", began.elapsed());
}

#[test]
fn a_dead_region_costs_reads_nothing_and_writes_a_clear_answer() {
    let (eu, us, ap, routing) = three();
    let edge = edge(&routing).start();
    eu.go_dark();
    for _ in 0..50 {
        assert_eq!(edge.get("acme.app.example", "/").status, 200, "a read moves at once");
        let write = edge.ask(&post("acme.app.example", "/"));
        assert!(matches!(write.status, 502 | 503), "{}", write.text());
    }
    assert_eq!(us.writes_seen() + ap.writes_seen(), 0);
    eu.come_back();
    eventually("writes come home again", || edge.ask(&post("acme.app.example", "/")).status == 200);
}

#[test]
fn reads_that_meet_a_dead_region_all_at_once_move_on_all_of_them() {
    let (eu, _us, _ap, routing) = three();
    let edge = edge(&routing.region("eu-west-1", "health", r#"{ interval = "1h" }"#)).start();
    eu.go_dark();
    let barrier = std::sync::Barrier::new(40);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut wire = edge.wire();
                barrier.wait();
                assert_eq!(get("acme.app.example", "/").on(&mut wire).region(), "us-east-1");
            });
        }
    });
}

#[test]
fn a_full_region_is_passed_over() {
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .region("eu-west-1", "max_in_flight", "2")
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#)
        .tenant("bank", r#"home = "eu-west-1", residency = ["eu"]"#);
    let edge = edge(&routing).start();
    eu.set_delay(Duration::from_secs(600));
    let mut held: Vec<_> = (0..2).map(|_| edge.wire()).collect();
    for wire in &mut held {
        wire.send("GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n");
    }
    eventually("two are in flight", || eu.in_flight() == 2);
    let moved = edge.get("acme.app.example", "/");
    assert_eq!(
        (moved.region().as_str(), moved.seen("x-failover-reason").as_deref()),
        ("us-east-1", Some("saturated"))
    );
    let refused = edge.get("bank.app.example", "/");
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "overloaded"));
    drop(held);
    eu.set_delay(Duration::ZERO);
    eventually("there is room again", || edge.get("acme.app.example", "/").region() == "eu-west-1");
}

#[test]
fn endpoints_of_a_region_share_its_requests_and_one_that_is_down_takes_none() {
    let eu = toy_from(ToyRegion::new("eu-west-1").endpoints(3));
    let edge = edge(&Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#)).start();
    let served = || edge.get("acme.app.example", "/").json()["endpoint"].as_str().unwrap().to_owned();
    let all: std::collections::BTreeSet<_> = (0..60).map(|_| served()).collect();
    assert_eq!(all.len(), 3);
    let gone = eu.addresses()[1];
    eu.go_dark_at(gone);
    let up = [("endpoint", &*gone.to_string())];
    eventually("it is seen as down", || edge.metric("rhumb_endpoint_up", &up) == 0.0);
    assert!((0..60).all(|_| served() != gone.to_string()));
    assert_eq!(edge.health("eu-west-1"), "UP");
    eu.come_back_at(gone);
    eventually("it takes its share again", || served() == gone.to_string());
}

#[test]
fn a_check_by_tcp_asks_nothing() {
    let eu = toy("eu-west-1");
    eu.set_status(Status::Down);
    let routing = Routing::of(&[&eu])
        .region("eu-west-1", "health", r#"{ check = "tcp", interval = "50ms" }"#)
        .tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).start();
    assert_eq!(edge.health("eu-west-1"), "UP");
    assert_eq!(eu.health_checks_seen(), 0);
    eu.fail_next(1, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(edge.get("acme.app.example", "/").status, 503);
    eu.go_dark();
    eventually("it is seen as down", || edge.health("eu-west-1") == "DOWN");
}

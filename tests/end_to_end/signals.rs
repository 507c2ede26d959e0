//! Metrics and the access log.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Edge, EdgeBuilder, Routing, Toy, ask, edge, eventually, get, lab, post};

fn world() -> ((Toy, Toy, Toy), EdgeBuilder) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1", epoch = 3"#)
        .and("[[routes]]\nname = \"search\"\npath = \"/search\"\nservice = \"search-service\"");
    let edge = edge(&routing);
    ((eu, us, ap), edge)
}

fn lines(edge: &Edge) -> Vec<Value> {
    let text = std::fs::read_to_string(edge.folder().file("access.log")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn requests_are_counted_by_region_service_operation_and_status() {
    let (_regions, edge) = world();
    let edge = edge.start();
    for _ in 0..3 {
        edge.get("acme.app.example", "/");
    }
    edge.get("acme.app.example", "/search");
    edge.ask(&post("globex.app.example", "/"));
    edge.get("acme.app.example", "/status/418");
    edge.get("nobody.app.example", "/");
    let count = |labels: &[(&str, &str)]| edge.metric("rhumb_requests_total", labels);
    let here = ("target_region", "eu-west-1");
    edge.has_counted(7.0);
    assert_eq!(count(&[here, ("service", "default"), ("operation", "read"), ("status", "200")]), 3.0);
    assert_eq!(count(&[here, ("service", "search-service")]), 1.0);
    assert_eq!(count(&[("target_region", "us-east-1"), ("operation", "write"), ("status", "200")]), 1.0);
    assert_eq!(count(&[here, ("status", "418")]), 1.0);
    assert_eq!(count(&[("status", "404")]), 1.0);
    edge.counts("rhumb_refusals_total", &[("reason", "tenant_unknown")], 1.0);
    assert_eq!(edge.metric("rhumb_request_duration_seconds_count", &[here]), 5.0);
    let crossed = [("source_region", "eu-west-1"), ("target_region", "us-east-1")];
    edge.counts("rhumb_cross_region_requests_total", &crossed, 1.0);
    assert_eq!(edge.metric("rhumb_table_tenants", &[]), 2.0);
    assert_eq!(edge.metric("rhumb_region_weight", &[("region", "eu-west-1"), ("kind", "effective")]), 100.0);
    eventually("nothing is in flight", || edge.metric("rhumb_in_flight", &[]) == 0.0);
}

#[test]
fn no_client_makes_a_series() {
    let (_regions, edge) = world();
    let edge = edge.start();
    let everything = |n: usize| {
        edge.get(&format!("tenant-{n}.app.example"), &format!("/path-{n}"));
        edge.ask(
            &get("acme.app.example", &format!("/path-{n}")).header("X-Tenant-ID", &format!("tenant-{n}")),
        );
        edge.ask(&ask(&format!("METHOD{n}"), "acme.app.example", "/"));
        edge.ask(&get("acme.app.example", "/").header(&format!("X-Rhumb-Odd-{n}"), "1"));
        edge.ask(&get(&format!("host-{n}.example"), &format!("/q?{n}")));
    };
    everything(0);
    let known = |edge: &Edge| {
        let metrics = edge.metrics();
        let names = metrics.names().into_iter().filter(|name| !name.starts_with("rhumb_table_reloads"));
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    edge.has_counted(5.0);
    let before = known(&edge);
    (1..=100).for_each(everything);
    edge.has_counted(505.0);
    let after = known(&edge);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    for name in &after {
        for odd in ["tenant-", "path-", "METHOD", "host-", "Odd"] {
            assert!(!name.contains(odd), "{name}");
        }
    }
}

const KEYS: [&str; 27] = [
    "time",
    "request_id",
    "trace_id",
    "client",
    "client_identity",
    "edge",
    "method",
    "host",
    "path",
    "tenant",
    "operation",
    "route",
    "policy",
    "source_region",
    "owner_region",
    "epoch",
    "target_region",
    "endpoint",
    "failover_reason",
    "refusal",
    "attempts",
    "status",
    "request_bytes",
    "response_bytes",
    "duration_ms",
    "region_ms",
    "generation",
];

#[test]
fn the_access_log_has_one_line_a_request_with_exactly_the_documented_keys() {
    let (regions, edge) = world();
    let edge = edge.start();
    let written = post("globex.app.example", "/v1/cases?secret=1").header("X-Request-ID", "order-66");
    assert_eq!(edge.ask(&written).region(), "us-east-1");
    edge.get("acme.app.example", "/search");
    edge.get("nobody.app.example", "/");
    edge.wire().send("GET / HTTP/1.1\r\n\r\n");
    let line = |wanted: &dyn Fn(&Value) -> bool| {
        crate::harness::await_some("the line is written", || {
            lines(&edge).into_iter().find(|line| wanted(line))
        })
    };
    let write = line(&|line| line["request_id"] == "order-66");
    let read = line(&|line| line["route"] == "search");
    let refused = line(&|line| line["refusal"] == "tenant_unknown");
    let expected: BTreeSet<_> = KEYS.into();
    for line in [&write, &read, &refused] {
        let keys: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, expected);
    }
    assert_eq!(write["path"], "/v1/cases", "a query is nobody's business");
    assert_eq!((write["tenant"].as_str(), write["operation"].as_str()), (Some("globex"), Some("write")));
    assert_eq!((write["target_region"].as_str(), write["epoch"].as_u64()), (Some("us-east-1"), Some(3)));
    assert_eq!((write["status"].as_u64(), write["attempts"].as_u64()), (Some(200), Some(1)));
    assert_eq!(write["endpoint"], regions.1.address().to_string());
    assert_eq!((write["client"].as_str(), write["request_bytes"].as_u64()), (Some("127.0.0.1"), Some(5)));
    assert!(write["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert_eq!((refused["status"].as_u64(), refused["attempts"].as_u64()), (Some(404), Some(0)));
    assert!(refused["target_region"].is_null());
}

#[test]
fn what_a_client_writes_cannot_forge_a_line() {
    let (_regions, edge) = world();
    let edge = edge.start();
    edge.ask(&get("acme.app.example", "/%22%7d/x\"y{\"status\":1}"));
    edge.ask(&get("acme.app.example", "/").header("X-Request-ID", "a\",\"status\":1"));
    edge.get("acme.app.example", "/last");
    eventually("all are written", || lines(&edge).iter().any(|line| line["path"] == "/last"));
    let text = std::fs::read_to_string(edge.folder().file("access.log")).unwrap();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["status"] != 1, "{line}");
    }
}

#[test]
fn an_access_log_that_cannot_be_written_costs_no_request() {
    let (_regions, edge) = world();
    let edge = edge.set("log", "access = \"/dev/full\"").start();
    for _ in 0..50 {
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
    }
    eventually("what is lost is counted", || edge.metric("rhumb_access_log_lost_total", &[]) >= 50.0);
}

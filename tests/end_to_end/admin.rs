//! The side for operators: who may ask what, and what it says.

use serde_json::json;

use crate::harness::{Edge, EdgeBuilder, Routing, Toy, Wire, ask, edge, eventually, get, lab};

fn world() -> ((Toy, Toy, Toy), EdgeBuilder) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], residency = ["eu", "us"], epoch = 7"#)
        .and("[[routes]]\nname = \"search\"\npath = \"/search\"\nmethods = [\"POST\"]\noperation = \"read\"");
    let edge = edge(&routing);
    ((eu, us, ap), edge)
}

#[test]
fn the_reads_have_the_shapes_that_programs_rely_on() {
    let (_regions, edge) = world();
    let edge = edge.start();
    let status = edge.read("/v1/status");
    assert_eq!(
        (status["edge"]["region"].as_str(), status["ready"].as_bool()),
        (Some("eu-west-1"), Some(true))
    );
    let regions = edge.read("/v1/regions");
    let list = regions.as_array().or_else(|| regions["regions"].as_array()).unwrap();
    assert_eq!(list.len(), 3);
    let region = edge.read("/v1/regions/us-east-1");
    for key in [
        "region",
        "role",
        "jurisdiction",
        "weight",
        "health",
        "capabilities",
        "endpoints",
        "replication",
        "in_flight",
        "capacity",
        "cells",
    ] {
        assert!(region.get(key).is_some(), "{key} is missing: {region}");
    }
    assert_eq!(region["weight"]["configured"], 100);
    assert!(region["weight"]["operator"].is_null());
    assert_eq!((region["weight"]["effective"].as_u64(), region["health"].as_str()), (Some(100), Some("UP")));
    let tenant = edge.read("/v1/tenants/acme");
    let expected = json!({"tenant": "acme", "home": "eu-west-1", "owner": "eu-west-1", "epoch": 7, "state": "active",
        "standby": ["us-east-1"], "replicas": [], "residency": ["eu", "us"], "policy": "default", "cell": null});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&tenant[key], value, "{key}");
    }
    let table = edge.read("/v1/table");
    for key in ["generation", "hash", "tenants", "loaded_at", "problems"] {
        assert!(!table[key].is_null(), "{key} is missing: {table}");
    }
    assert_eq!(get("localhost", "/v1/tenants/nobody").to(edge.admin).status, 404);
    assert_eq!(get("localhost", "/v1/regions/mars").to(edge.admin).status, 404);
    assert_eq!(get("localhost", "/v1/nothing").to(edge.admin).status, 404);
}

#[test]
fn explain_answers_without_a_token_and_changes_nothing() {
    let (regions, edge) = world();
    let edge = edge.start();
    let asked = json!({"tenant": "acme", "method": "POST", "path": "/v1/cases"});
    let explained = edge.post_admin("/v1/explain", &asked, None);
    assert_eq!(explained.status, 200, "{}", explained.text());
    let explained = explained.json();
    let expected = json!({"tenant": "acme", "operation": "write", "consistency": null, "route": null,
        "service": "default", "capability": "write", "policy": "default", "source_region": "eu-west-1",
        "owner_region": "eu-west-1", "epoch": 7, "target_region": "eu-west-1", "failover_reason": null,
        "refusal": null});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&explained[key], value, "{key}");
    }
    let down = json!({"tenant": "acme", "method": "GET", "path": "/", "down": ["eu-west-1"]});
    let supposed = edge.post_admin("/v1/explain", &down, None).json();
    assert_eq!(
        (supposed["target_region"].as_str(), supposed["failover_reason"].as_str()),
        (Some("us-east-1"), Some("unhealthy"))
    );
    assert_eq!(edge.health("eu-west-1"), "UP");
    assert_eq!(regions.0.requests_seen(), 0, "nothing is sent anywhere");
}

#[test]
fn changes_need_the_token_and_get_never_changes_anything() {
    let (_regions, edge) = world();
    let edge = edge.start();
    for token in [None, Some(""), Some("wrong"), Some("secret-of-the-test"), Some("secret-of-the-testsX")] {
        let refused = edge.post_admin("/v1/table/reload", &json!({}), token);
        assert!(matches!(refused.status, 401 | 403), "{token:?}: {}", refused.status);
    }
    assert_eq!(edge.change("/v1/table/reload", &json!({})).status, 200);
    for path in ["/v1/table/reload", "/v1/table/accept"] {
        assert_eq!(get("localhost", path).to(edge.admin).status, 405, "{path}");
    }
}

#[test]
fn without_open_reads_everything_but_probes_needs_the_token() {
    let (_regions, edge) = world();
    let edge = edge.set("admin", "open_reads = false").start();
    for path in ["/v1/status", "/v1/regions", "/v1/tenants/acme", "/v1/table"] {
        assert_eq!(get("localhost", path).to(edge.admin).status, 401, "{path}");
    }
    let asked = json!({"tenant": "acme", "method": "GET", "path": "/"});
    assert_eq!(edge.post_admin("/v1/explain", &asked, None).status, 401);
    assert_eq!(edge.change("/v1/explain", &asked).status, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get("localhost", path).to(edge.admin).status, 200, "{path}");
    }
    assert_eq!(edge.rhumb(&["status"]).code, Some(0));
    assert_eq!(edge.rhumb_with(&["status"], None).code, Some(1));
}

#[test]
fn a_foreign_host_or_origin_is_refused_and_probes_are_not() {
    let (_regions, edge) = world();
    let edge = edge.start();
    for host in ["evil.example", "evil.example:9900", "localhost.evil.example"] {
        let refused = get(host, "/v1/status").to(edge.admin);
        assert!((400..500).contains(&refused.status), "{host}: {}", refused.status);
        assert_eq!(get(host, "/metrics").to(edge.admin).status, 200, "a scrape by name");
        assert_eq!(get(host, "/healthz").to(edge.admin).status, 200, "a probe by name");
    }
    for origin in ["http://evil.example", "null", "https://localhost.evil.example"] {
        let refused = ask("POST", "localhost", "/v1/explain")
            .header("Origin", origin)
            .header("Content-Type", "application/json")
            .body("{}")
            .to(edge.admin);
        assert_eq!(refused.status, 403, "{origin}: {}", refused.text());
    }
    let own = format!("127.0.0.1:{}", edge.admin.port());
    assert_eq!(get(&own, "/v1/status").to(edge.admin).status, 200);
}

#[test]
fn nonsense_gets_a_clear_answer_and_no_panic() {
    let (_regions, edge) = world();
    let edge = edge.start();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"tenant\": 7}",
        "{\"method\":\"GET\",\"path\":\"nowhere\"}",
        "\u{0}",
        "{\"surprise\":1}",
    ] {
        let answer = ask("POST", "localhost", "/v1/explain")
            .header("Content-Type", "application/json")
            .body(body)
            .to(edge.admin);
        assert!((400..500).contains(&answer.status), "{body:?}: {} {}", answer.status, answer.text());
    }
    let large = ask("POST", "localhost", "/v1/explain")
        .header("Content-Type", "application/json")
        .body(vec![b' '; 4 << 20])
        .try_to(edge.admin);
    assert!(large.is_none_or(|answer| (400..500).contains(&answer.status)));
    for path in ["/v1/tenants/%2e%2e%2f", "/v1/tenants/%00", "/v1/regions/%ff", "/v1/tenants/"] {
        let answer = get("localhost", path).to(edge.admin);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
}

#[test]
fn the_admin_side_is_never_reached_through_the_front_door() {
    let (_regions, edge) = world();
    let edge = edge.start();
    let through = |path: &str| edge.get("acme.app.example", path);
    for path in ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/table"] {
        assert_eq!(through(path).json()["path"], path, "it is the region's");
    }
}

#[test]
fn health_is_true_while_readiness_is_not() {
    let (regions, edge) = world();
    let edge: Edge = edge.start();
    for region in [&regions.0, &regions.1, &regions.2] {
        region.go_dark();
    }
    eventually("all are down", || {
        edge.health("ap-southeast-1") == "DOWN" && edge.health("us-east-1") == "DOWN"
    });
    assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
    assert_eq!(
        get("localhost", "/readyz").to(edge.admin).status,
        200,
        "an edge is ready, whatever regions are"
    );
}

#[test]
fn a_client_that_says_nothing_does_not_hold_the_admin_side() {
    let (_regions, edge) = world();
    let edge = edge.start();
    // More than it takes at once; some say nothing, some dawdle over their head.
    let silent: Vec<_> = (0..80)
        .map(|n| {
            let mut wire = Wire::to(edge.admin);
            wire.send(["", "GET /healthz HTTP/1.1\r\nHost: loc"][n % 2]);
            wire
        })
        .collect();
    let healthy =
        || get("localhost", "/healthz").try_to(edge.admin).is_some_and(|answer| answer.status == 200);
    eventually("they are cut off and it answers", healthy);
    drop(silent);
}

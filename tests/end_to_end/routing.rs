//! Where requests of known tenants go.

use crate::harness::{Edge, Routing, Toy, ask, edge, eventually, get, lab, post, put};

fn three() -> (Toy, Toy, Toy, Routing) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "eu-west-1", standby = ["us-east-1"], epoch = 7"#)
        .tenant("globex", r#"home = "us-east-1", replicas = ["eu-west-1"], epoch = 3"#)
        .tenant("initech", r#"home = "ap-southeast-1""#)
        .and("[[routes]]\nname = \"search\"\npath = \"/v1/search\"\nmethods = [\"POST\"]\noperation = \"read\"")
        .and("[[routes]]\nname = \"ledger\"\npath = \"/v1/ledger\"\nconsistency = \"strong\"");
    (eu, us, ap, routing)
}

#[test]
fn a_read_is_answered_nearby_where_there_is_a_copy_and_at_home_where_there_is_none() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    assert_eq!(edge.get("acme.app.example", "/v1/cases").region(), "eu-west-1");
    assert_eq!(edge.get("globex.app.example", "/v1/cases").region(), "eu-west-1");
    assert_eq!(edge.get("initech.app.example", "/v1/cases").region(), "ap-southeast-1");
}

#[test]
fn a_write_goes_to_the_owner_whatever_is_nearer_and_carries_its_epoch() {
    let (eu, us, _ap, routing) = three();
    let edge = edge(&routing).start();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = edge.ask(&ask(method, "globex.app.example", "/v1/cases").body("x"));
        assert_eq!(answer.region(), "us-east-1", "{method}");
        assert_eq!(answer.seen("x-owner-epoch").as_deref(), Some("3"));
    }
    assert_eq!((eu.writes_seen(), us.writes_executed()), (0, 4));
}

#[test]
fn what_was_written_at_home_is_read_nearby_once_it_is_replicated() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    assert_eq!(edge.ask(&put("globex.app.example", "/kv/color").body("blue")).region(), "us-east-1");
    eventually("the write is replicated", || {
        let read = edge.get("globex.app.example", "/kv/color");
        assert_eq!(read.region(), "eu-west-1");
        read.json()["value"] == "blue"
    });
}

#[test]
fn a_post_that_its_route_calls_a_read_is_one() {
    let (_eu, us, _ap, routing) = three();
    let edge = edge(&routing).start();
    assert_eq!(edge.ask(&post("globex.app.example", "/v1/search")).region(), "eu-west-1");
    assert_eq!(edge.ask(&post("globex.app.example", "/v1/search/more")).region(), "eu-west-1");
    assert_eq!(edge.ask(&post("globex.app.example", "/v1/searching")).region(), "us-east-1");
    assert_eq!(us.writes_executed(), 1);
}

#[test]
fn a_get_with_a_body_is_a_write() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    assert_eq!(edge.ask(&get("globex.app.example", "/v1/cases").body("x")).region(), "us-east-1");
}

#[test]
fn a_strong_read_goes_to_the_owner_by_route_or_by_header() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    assert_eq!(edge.get("globex.app.example", "/v1/ledger").region(), "us-east-1");
    let strong = get("globex.app.example", "/v1/cases").header("X-Consistency", "strong");
    assert_eq!(edge.ask(&strong).region(), "us-east-1");
}

#[test]
fn a_tenant_is_named_by_host_or_header_and_both_must_agree() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing).start();
    let by_header = |host, name| edge.ask(&get(host, "/").header("X-Tenant-ID", name));
    assert_eq!(by_header("elsewhere.example", "initech").region(), "ap-southeast-1");
    assert_eq!(by_header("initech.app.example", "initech").region(), "ap-southeast-1");
    let conflict = by_header("acme.app.example", "globex");
    assert_eq!((conflict.status, conflict.refusal().as_str()), (400, "tenant_conflict"));
    let missing = edge.get("elsewhere.example", "/");
    assert_eq!((missing.status, missing.refusal().as_str()), (400, "tenant_missing"));
    let unknown = edge.get("nobody.app.example", "/");
    assert_eq!((unknown.status, unknown.refusal().as_str()), (404, "tenant_unknown"));
}

#[test]
fn a_tenant_in_the_path_is_found_there() {
    let (_eu, _us, _ap, routing) = three();
    let edge = edge(&routing.tenancy("from", r#"[{ path = "/t/{tenant}" }]"#)).start();
    assert_eq!(edge.get("any.example", "/t/initech/cases").region(), "ap-southeast-1");
    assert_eq!(edge.get("any.example", "/t/nobody/cases").refusal(), "tenant_unknown");
    assert_eq!(edge.get("any.example", "/t").refusal(), "tenant_missing");
}

#[test]
fn trace_and_connect_are_refused_and_other_methods_are_writes() {
    let (_eu, us, _ap, routing) = three();
    let edge = edge(&routing).start();
    let trace = edge.ask(&ask("TRACE", "globex.app.example", "/"));
    assert_eq!((trace.status, trace.refusal().as_str()), (405, "method_not_allowed"));
    assert!(trace.header("allow").is_some());
    let seen = us.requests_seen();
    assert_eq!(edge.ask(&ask("REPORT", "globex.app.example", "/v1/cases")).region(), "us-east-1");
    assert_eq!(us.requests_seen(), seen + 1);
}

#[test]
fn residency_is_never_left_whatever_is_down() {
    let (eu, us, ap, routing) = three();
    let routing = routing.tenant("bank", r#"home = "eu-west-1", residency = ["eu"]"#);
    let edge = edge(&routing).start();
    assert_eq!(edge.get("bank.app.example", "/").region(), "eu-west-1");
    let before = (us.requests_seen(), ap.requests_seen());
    eu.go_dark();
    for _ in 0..20 {
        let refused = edge.get("bank.app.example", "/");
        assert!(matches!(refused.status, 502 | 503), "{}", refused.text());
    }
    eventually("the region is seen as down", || edge.health("eu-west-1") == "DOWN");
    assert_eq!(edge.get("bank.app.example", "/").status, 503);
    assert_eq!(edge.ask(&post("bank.app.example", "/")).status, 503);
    assert_eq!((us.requests_seen(), ap.requests_seen()), before);
}

#[test]
fn a_data_class_narrows_residency_for_its_routes_alone() {
    let (_eu, us, _ap, routing) = three();
    let routing = routing
        .and("[data_classes.evidence]\njurisdictions = [\"us\"]")
        .and("[[routes]]\nname = \"evidence\"\npath = \"/v1/evidence\"\ndata_class = \"evidence\"");
    let edge = edge(&routing).start();
    assert_eq!(edge.get("globex.app.example", "/v1/cases").region(), "eu-west-1");
    assert_eq!(edge.get("globex.app.example", "/v1/evidence/1").region(), "us-east-1");
    let seen = us.requests_seen();
    let refused = edge.get("initech.app.example", "/v1/evidence/1");
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "residency"));
    assert_eq!(us.requests_seen(), seen);
}

#[test]
fn roles_say_what_a_region_takes() {
    let (eu, us, _ap, routing) = three();
    let routing = routing
        .region("eu-west-1", "role", "\"standby\"")
        .tenant("off", r#"home = "ap-southeast-1", replicas = ["eu-west-1"]"#)
        .tenant("ro", r#"home = "us-east-1""#)
        .region("ap-southeast-1", "role", "\"off\"")
        .region("us-east-1", "role", "\"read-only\"");
    let edge = edge(&routing).start();
    let read = edge.get("globex.app.example", "/");
    assert_eq!(read.region(), "us-east-1", "an active region is fit, so a standby takes none");
    assert_eq!(edge.get("off.app.example", "/").region(), "eu-west-1", "no other is fit");
    let refused = edge.ask(&post("off.app.example", "/"));
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_unavailable"));
    let refused = edge.ask(&post("ro.app.example", "/"));
    assert_eq!((refused.status, refused.refusal().as_str()), (503, "owner_read_only"));
    assert_eq!((eu.writes_seen(), us.writes_seen()), (0, 0));
}

#[test]
fn a_frozen_or_read_only_tenant_takes_reads_and_no_writes() {
    let (eu, _us, _ap, routing) = three();
    let routing = routing
        .tenant("cold", r#"home = "eu-west-1", state = "frozen", policy = "brief""#)
        .tenant("quiet", r#"home = "eu-west-1", state = "read-only""#)
        .and("[policies.brief]\nwrites = { hold = \"50ms\" }");
    let edge = edge(&routing).start();
    assert_eq!(edge.get("cold.app.example", "/").region(), "eu-west-1");
    let frozen = edge.ask(&post("cold.app.example", "/"));
    assert_eq!((frozen.status, frozen.refusal().as_str()), (503, "write_frozen"));
    assert_eq!(edge.get("quiet.app.example", "/").region(), "eu-west-1");
    let quiet = edge.ask(&post("quiet.app.example", "/"));
    assert_eq!((quiet.status, quiet.refusal().as_str()), (503, "owner_read_only"));
    assert_eq!(eu.writes_seen(), 0);
}

#[test]
fn topologies_say_where_reads_and_writes_begin() {
    let (_eu, _us, _ap, routing) = three();
    let home = r#"home = "us-east-1", standby = ["eu-west-1"]"#;
    let mut routing = routing;
    for topology in ["active-passive", "active-active", "home-only", "read-only"] {
        routing = routing
            .and(&format!("[policies.{topology}]\ntopology = \"{topology}\""))
            .tenant(topology, &format!("{home}, policy = \"{topology}\""));
    }
    let edge = edge(&routing).start();
    let asked = |edge: &Edge, topology: &str| {
        let host = format!("{topology}.app.example");
        (edge.get(&host, "/").region(), edge.ask(&post(&host, "/")))
    };
    for (topology, read, write) in [
        ("active-passive", "us-east-1", "us-east-1"),
        ("active-active", "eu-west-1", "eu-west-1"),
        ("home-only", "us-east-1", "us-east-1"),
    ] {
        let (read_by, written) = asked(&edge, topology);
        assert_eq!((read_by.as_str(), written.region().as_str()), (read, write), "{topology}");
    }
    let (read_by, written) = asked(&edge, "read-only");
    assert_eq!((read_by.as_str(), written.refusal().as_str()), ("eu-west-1", "owner_read_only"));
}

#[test]
fn an_idempotency_key_is_asked_for_where_the_policy_wants_one() {
    let (eu, _us, _ap, routing) = three();
    let routing = routing
        .and("[policies.careful]\nwrites = { idempotency = \"required\" }")
        .tenant("bank", r#"home = "eu-west-1", policy = "careful""#);
    let edge = edge(&routing).start();
    let refused = edge.ask(&post("bank.app.example", "/"));
    assert_eq!((refused.status, refused.refusal().as_str()), (400, "idempotency_key_required"));
    assert_eq!(eu.writes_seen(), 0);
    assert_eq!(edge.ask(&post("bank.app.example", "/").header("Idempotency-Key", "k-1")).status, 200);
    assert_eq!(eu.executions_of("k-1"), 1);
}

#[test]
fn a_weight_of_0_takes_nothing_and_a_half_takes_some_tenants_whole() {
    let (eu, us, _ap, mut routing) = three();
    for n in 0..40 {
        routing = routing.tenant(&format!("t{n}"), r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    }
    let edge = edge(&routing.clone().region("eu-west-1", "weight", "50")).start();
    let mut here = 0;
    for n in 0..40 {
        let host = format!("t{n}.app.example");
        let first = edge.get(&host, "/").region();
        assert_eq!(edge.get(&host, "/again").region(), first, "a tenant is never split");
        here += usize::from(first == "eu-west-1");
    }
    assert!((8..=32).contains(&here), "{here} of 40 at weight 50");
    edge.folder().rename_over("routing.toml", routing.region("eu-west-1", "weight", "0").text());
    eventually("the weight is in force", || {
        edge.get("t0.app.example", "/").region() == "us-east-1"
            && edge.read("/v1/regions/eu-west-1")["weight"]["effective"] == 0
    });
    let (before, seen) = (eu.requests_seen(), us.requests_seen());
    for n in 0..40 {
        let read = edge.get(&format!("t{n}.app.example"), "/");
        assert_eq!(read.region(), "us-east-1");
        assert_eq!(read.seen("x-failover-reason").as_deref(), Some("drained"));
    }
    assert_eq!((eu.requests_seen(), us.requests_seen()), (before, seen + 40));
    assert_eq!(edge.ask(&post("acme.app.example", "/")).region(), "eu-west-1", "writes follow ownership");
}

#[test]
fn a_tenant_of_a_region_with_cells_is_served_by_one_of_them() {
    let (_eu, us, ap, _) = three();
    let parts = crate::harness::toy_from(rhumb::lab::ToyRegion::new("eu-west-1").endpoints(2));
    let [a, b] = parts.addresses() else { panic!("two endpoints") };
    let mut routing = Routing::of(&[&parts, &us, &ap])
        .region(
            "eu-west-1",
            "endpoints",
            &format!(r#"[{{ address = "{a}", cell = "a" }}, {{ address = "{b}", cell = "b" }}]"#),
        )
        .and("[regions.eu-west-1.cells]\na = { weight = 100 }\nb = { weight = 100 }")
        .tenant("fixed", r#"home = "eu-west-1", cell = "b""#);
    for n in 0..20 {
        routing = routing.tenant(&format!("t{n}"), r#"home = "eu-west-1""#);
    }
    let edge = edge(&routing).start();
    let served = |tenant: &str| {
        let answer = edge.get(&format!("{tenant}.app.example"), "/");
        answer.json()["endpoint"].as_str().unwrap().to_owned()
    };
    assert_eq!(served("fixed"), b.to_string());
    let cells: Vec<_> = (0..20).map(|n| served(&format!("t{n}"))).collect();
    assert_eq!((0..20).map(|n| served(&format!("t{n}"))).collect::<Vec<_>>(), cells);
    assert!(cells.contains(&a.to_string()) && cells.contains(&b.to_string()));
    parts.go_dark_at(*b);
    let sealed = edge.get("fixed.app.example", "/");
    assert!(matches!(sealed.status, 502 | 503), "another cell never answers: {}", sealed.text());
}

//! Traces: what a collector is told, what a region gets to hang on to, and what a collector cannot do to requests.

use crate::harness::{
    Authority, Collector, Edge, EdgeBuilder, H2, Routing, Takes, Told, Toy, edge, eventually, faulty, get,
    lab, post, server_config, toy,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENTS: &str = "b7ad6b7169203331";

fn sampled() -> String {
    format!("00-{TRACE}-{CLIENTS}-01")
}

fn unsampled() -> String {
    format!("00-{TRACE}-{CLIENTS}-00")
}

fn world(collector: &Collector, share: &str) -> (Toy, Toy, Toy, EdgeBuilder) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"], epoch = 7"#)
        .and("[[routes]]\nname = \"cases\"\npath = \"/v1/cases\"");
    let edge = edge(&routing)
        .set("edge", "zone = \"eu-west-1a\"")
        .set("tracing", &collector.setting())
        .set("tracing", &format!("sample = {share}"));
    (eu, us, ap, edge)
}

fn outcome(edge: &Edge, code: &str) -> f64 {
    edge.metric("rhumb_traces_total", &[("outcome", code)])
}

/// Trace, span and flags of the `traceparent` that a region saw.
#[track_caller]
fn parts(seen: Option<String>) -> (String, String, String) {
    let seen = seen.expect("a traceparent");
    let parts: Vec<_> = seen.split('-').collect();
    assert!(parts.len() == 4 && parts[0] == "00", "{seen}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

#[test]
fn a_request_that_its_client_records_is_told_with_its_attempt_and_the_region_hangs_on_to_that() {
    let collector = Collector::start();
    let (_eu, us, _ap, edge) = world(&collector, "0");
    let edge = edge.start();
    let request = post("acme.app.example", "/v1/cases/7?token=secret-of-the-query")
        .header("traceparent", &sampled())
        .header("tracestate", "vendor=1,other@x=2")
        .header("X-Request-ID", "order-66")
        .header("Authorization", "Bearer secret-of-the-header")
        .header("Cookie", "session=secret-of-the-cookie");
    let answer = edge.ask(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (trace, parent, flags) = parts(answer.seen("traceparent"));
    let (told, calls) = collector.request("order-66");
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(
        (told.trace.as_str(), told.parent.as_str(), told.state.as_str()),
        (TRACE, CLIENTS, "vendor=1,other@x=2")
    );
    assert_eq!((&call.trace, &call.parent), (&told.trace, &told.id));
    assert_eq!((trace.as_str(), &parent, flags.as_str()), (TRACE, &call.id, "01"));
    assert_eq!(answer.seen("tracestate").as_deref(), Some("vendor=1,other@x=2"));
    assert_eq!((told.name.as_str(), call.name.as_str()), ("POST cases", "POST"));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("url.path", "/v1/cases/7"),
        ("server.address", "acme.app.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("http.request.body.size", "5"),
        ("rhumb.tenant", "acme"),
        ("rhumb.operation", "write"),
        ("rhumb.route", "cases"),
        ("rhumb.policy", "default"),
        ("rhumb.source_region", "eu-west-1"),
        ("rhumb.source_zone", "eu-west-1a"),
        ("rhumb.target_region", "us-east-1"),
        ("rhumb.owner_region", "us-east-1"),
        ("rhumb.epoch", "7"),
        ("rhumb.attempts", "1"),
        ("rhumb.failover_reason", ""),
        ("error.type", ""),
    ] {
        assert_eq!(told.says(name), value, "{name}: {told:?}");
    }
    assert_eq!(
        (call.says("rhumb.target_region"), call.says("http.response.status_code")),
        ("us-east-1", "200")
    );
    assert_eq!(call.says("server.port"), us.address().port().to_string());
    let ((began, ended), (from, to)) = (told.span, call.span);
    assert!(
        began <= from && from <= to && to <= ended && began > 1_700_000_000_000_000_000,
        "{told:?} {call:?}"
    );
    assert!(!collector.was_sent("secret") && collector.was_sent("order-66"));
    eventually("it is counted", || outcome(&edge, "exported") == 1.0);
}

#[test]
fn what_a_client_does_not_record_is_not_recorded_and_what_nobody_decided_is_by_its_share() {
    let collector = Collector::start();
    let (_eu, _us, _ap, edge) = world(&collector, "1");
    let edge = edge.start();
    let request = |id: &str| get("acme.app.example", "/").header("X-Request-ID", id);
    for _ in 0..20 {
        let answer = edge.ask(&request("left-out").header("traceparent", &unsampled()));
        assert_eq!(
            answer.seen("traceparent").as_deref(),
            Some(unsampled().as_str()),
            "it is passed on as it came"
        );
    }
    let (trace, parent, flags) = parts(edge.ask(&request("begun-here")).seen("traceparent"));
    let (told, calls) = collector.request("begun-here");
    assert_eq!((&told.trace, told.parent.as_str()), (&trace, ""));
    assert_eq!((&calls[0].id, flags.as_str()), (&parent, "01"));
    edge.stop();
    assert!(collector.spans().iter().all(|span| span.says("rhumb.request_id") == "begun-here"));
}

#[test]
fn a_share_of_nothing_records_nothing_that_begins_here() {
    let collector = Collector::start();
    let (_eu, _us, _ap, edge) = world(&collector, "0");
    let edge = edge.start();
    for _ in 0..50 {
        assert_eq!(parts(edge.get("acme.app.example", "/").seen("traceparent")).2, "00");
    }
    edge.stop();
    assert_eq!(collector.messages(), 0);
}

#[test]
fn every_attempt_is_told_and_each_region_gets_its_own() {
    let collector = Collector::start();
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let routing = Routing::of(&[&eu, &us])
        .every_region("health", r#"{ interval = "1h", fall = 50 }"#)
        .tenant("acme", r#"home = "eu-west-1", replicas = ["us-east-1"]"#);
    let edge = edge(&routing).set("tracing", &collector.setting()).set("tracing", "sample = 1").start();
    eu.go_dark();
    let answer = edge.ask(&get("acme.app.example", "/").header("X-Request-ID", "moved"));
    assert_eq!(answer.region(), "us-east-1");
    let (told, calls) = collector.request("moved");
    let [first, second] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(
        (first.says("rhumb.target_region"), first.says("error.type")),
        ("eu-west-1", "connect_failed")
    );
    assert!(first.is_error && !second.is_error && !told.is_error);
    assert_eq!(
        (second.says("rhumb.target_region"), second.says("http.request.resend_count")),
        ("us-east-1", "1")
    );
    assert_eq!((told.says("rhumb.target_region"), told.says("rhumb.attempts")), ("us-east-1", "2"));
    assert_eq!(told.says("rhumb.failover_reason"), answer.seen("x-failover-reason").unwrap());
    assert_eq!(parts(answer.seen("traceparent")).1, second.id);
    assert!(first.id != second.id && [first, second].iter().all(|call: &&Told| call.parent == told.id));
    let refused = edge.ask(&post("acme.app.example", "/").header("X-Request-ID", "refused"));
    let (told, calls) = collector.request("refused");
    assert_eq!((told.says("error.type"), told.is_error), (refused.refusal().as_str(), true));
    assert!(
        !calls.is_empty() && calls.iter().all(|call| call.says("error.type") == "connect_failed"),
        "{calls:?}"
    );
    let refused = edge.ask(&get("nobody.app.example", "/").header("X-Request-ID", "unknown"));
    let (told, calls) = collector.request("unknown");
    assert_eq!((told.says("rhumb.refusal"), told.is_error), (refused.refusal().as_str(), false));
    assert!(calls.is_empty() && told.says("rhumb.tenant").is_empty());
}

#[test]
fn a_stream_of_http2_is_told_like_any_request() {
    let collector = Collector::start();
    let (_eu, _us, _ap, edge) = world(&collector, "0");
    let edge = edge.listener("h2c = true").start();
    let mut h2 = H2::plain(edge.listener(1));
    let ask =
        |id: &str| get("acme.app.example", "/").header("X-Request-ID", id).header("traceparent", &sampled());
    let seen = h2.ask(&ask("stream")).seen("traceparent");
    let (told, calls) = collector.request("stream");
    assert_eq!((told.says("network.protocol.version"), told.parent.as_str()), ("2", CLIENTS));
    assert_eq!(parts(seen), (TRACE.to_owned(), calls[0].id.clone(), "01".to_owned()));
    let twice = h2.ask(&ask("twice").header("traceparent", &sampled())).seen("traceparent");
    assert!(parts(twice).0 != TRACE, "of two there is none");
}

#[test]
fn hostile_trace_headers_begin_a_trace_anew_or_lose_their_state() {
    let collector = Collector::start();
    let (_eu, _us, _ap, edge) = world(&collector, "0");
    let edge = edge.start();
    let ask = |parents: &[&str], state: &str| {
        let request = get("acme.app.example", "/").header("tracestate", state);
        edge.ask(&parents.iter().fold(request, |request, parent| request.header("traceparent", parent)))
    };
    let (sampled, unsampled) = (sampled(), unsampled());
    let zero = format!("00-{}-{CLIENTS}-01", "0".repeat(32));
    let no_span = format!("00-{TRACE}-{}-01", "0".repeat(16));
    let upper = sampled.to_ascii_uppercase();
    let long = format!("{sampled}-more");
    for parents in [
        &["garbage"][..],
        &[""],
        &[&zero],
        &[&no_span],
        &[&upper],
        &[&long],
        &[&sampled, &sampled],
        &[&sampled, &unsampled],
        &[&format!("{sampled}, {sampled}")],
    ] {
        let answer = ask(parents, "vendor=1");
        let (trace, parent, flags) = parts(answer.seen("traceparent"));
        assert!(trace != TRACE && parent != CLIENTS && flags == "00", "{parents:?}");
        assert_eq!(answer.seen("tracestate"), None, "{parents:?}");
    }
    let many: Vec<_> = (0..33).map(|at| format!("k{at}=1")).collect();
    for state in ["no state", "A=1", "a=1,a=2", &format!("a={}", "x".repeat(2_000)), &many.join(",")] {
        let answer = ask(&[&sampled], state);
        let (trace, parent, flags) = parts(answer.seen("traceparent"));
        assert!(trace == TRACE && parent != CLIENTS && flags == "01", "{state}");
        assert_eq!(answer.seen("tracestate"), None, "{state}");
    }
    let large: Vec<_> = (0..32).map(|at| format!("k{at}={}", "v".repeat(30))).collect();
    let answer = ask(&[&sampled], &large.join(","));
    assert_eq!(answer.seen("tracestate"), Some(large.join(",")), "large is not malformed");
    edge.stop();
    assert!(collector.spans().iter().all(|span| span.trace == TRACE && span.state.is_empty()));
    assert_eq!(collector.spans().iter().filter(|span| !span.is_call).count(), 6);
}

#[test]
fn a_collector_that_never_answers_costs_requests_nothing_and_what_does_not_fit_is_counted() {
    let collector = Collector::start();
    collector.takes(Takes::Forever);
    let (_eu, _us, _ap, edge) = world(&collector, "1");
    let mut edge = edge.start();
    let mut wire = edge.wire();
    // A message holds 512 and the queue 2 048 at most.
    eventually("some are dropped", || {
        for _ in 0..200 {
            assert_eq!(get("acme.app.example", "/").on(&mut wire).status, 200);
        }
        outcome(&edge, "dropped") > 0.0
    });
    edge.signal("TERM");
    assert!(edge.ended().success());
    assert!(edge.log().contains("requests were not sent"), "{}", edge.log());
}

#[test]
fn a_collector_that_refuses_is_counted_and_told_of_once_and_so_is_that_it_takes_again() {
    let collector = Collector::start();
    collector.takes(Takes::Nothing(500));
    let (_eu, _us, _ap, edge) = world(&collector, "1");
    let edge = edge.start();
    let ask = |id: &str| edge.ask(&get("acme.app.example", "/").header("X-Request-ID", id));
    assert_eq!(ask("first").status, 200);
    eventually("it is refused", || outcome(&edge, "refused") == 1.0);
    assert_eq!(ask("second").status, 200);
    eventually("it is refused too", || outcome(&edge, "refused") == 2.0);
    assert_eq!(edge.log().matches("does not take traces: it answered 500").count(), 1, "{}", edge.log());
    collector.takes(Takes::All);
    assert_eq!(ask("third").status, 200);
    eventually("it is taken", || outcome(&edge, "exported") == 1.0);
    eventually("and told of", || edge.log().contains("takes traces again"));
}

#[test]
fn a_collector_that_is_not_there_or_has_no_room_is_tried_again_before_spans_are_given_up() {
    for there in [false, true] {
        let collector = Collector::start();
        let (_eu, _us, _ap, edge) = world(&collector, "1");
        collector.takes(Takes::Nothing(503));
        let edge = if there { edge } else { edge.set("tracing", "otlp = \"http://127.0.0.1:1\"") }.start();
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
        eventually("it is given up", || outcome(&edge, "failed") == 1.0);
        assert!(!there || collector.messages() >= 4, "{}", collector.messages());
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
        edge.stop();
    }
}

#[test]
fn what_was_recorded_last_is_sent_before_the_process_ends() {
    let collector = Collector::start();
    let (_eu, _us, _ap, edge) = world(&collector, "1");
    let edge = edge.start();
    for at in 0..20 {
        edge.ask(&get("acme.app.example", "/").header("X-Request-ID", &format!("last-{at}")));
    }
    edge.stop();
    assert_eq!(collector.spans().iter().filter(|span| !span.is_call).count(), 20);
}

#[test]
fn over_tls_a_collector_has_to_prove_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (signed_by, name, outcome_expected) in [
        (&authority, "localhost", "exported"),
        (&stranger, "localhost", "failed"),
        (&authority, "other", "failed"),
    ] {
        let collector = Collector::over_tls(server_config(signed_by, name, None));
        let (_eu, _us, _ap, edge) = world(&collector, "1");
        let edge = edge.file("system.pem", authority.pem());
        let mut system = String::new();
        let edge = edge.prepare(|folder| system = folder.file("system.pem").display().to_string());
        let edge = edge.environment("SSL_CERT_FILE", &system).start();
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
        eventually(outcome_expected, || outcome(&edge, outcome_expected) == 1.0);
        assert_eq!(collector.spans().is_empty(), outcome_expected == "failed");
    }
}

#[test]
fn a_collector_that_cannot_be_asked_is_a_problem_of_the_settings() {
    for (url, told) in [
        ("127.0.0.1:4318", "is no URL of http or https; write one such as"),
        ("http://collector:4318/v1/traces", "ends in /v1/traces, which is added to it"),
        ("http://user:secret@collector:4318", "must not hold a name and password"),
    ] {
        let routing = Routing::of(&[&toy("eu-west-1")]).tenant("acme", r#"home = "eu-west-1""#);
        let failed = edge(&routing).set("tracing", &format!("otlp = \"{url}\"")).fail();
        assert_eq!(failed.code, Some(2), "{}", failed.stderr);
        assert!(failed.stderr.contains("tracing.otlp") && failed.stderr.contains(told), "{}", failed.stderr);
        assert!(!failed.stderr.contains("secret"), "{}", failed.stderr);
    }
}

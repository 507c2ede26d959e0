//! What is told of a request, under which name, and what never is.

use super::*;
use crate::telemetry::fixture::{self, finished};
use rhumb_decision::{Facts, Snapshot, decide};

fn traced(attempts: &[Attempted]) -> Traced<'_> {
    Traced {
        trace: 7,
        span: 8,
        parent: Some(9),
        state: "a=1",
        attempts,
        now: Duration::from_millis(5_000),
        wall: Duration::from_millis(1_785_319_200_044),
        scheme: "https",
        version: "2",
    }
}

fn attempt(snapshot: &Snapshot, region: &str, began: u64) -> Attempted {
    Attempted {
        span: began,
        region: snapshot.table().region_named(region).unwrap(),
        endpoint: EndpointId(0),
        address: "127.0.0.1:1002".parse().unwrap(),
        began: Duration::from_millis(began),
        ended: None,
        status: None,
        failure: None,
    }
}

fn told(span: &Span) -> Vec<String> {
    let one = |(name, value): &(&str, Value)| match value {
        Value::Code(code) => format!("{name}={code}"),
        Value::Text(text) => format!("{name}={text}"),
        Value::Number(number) => format!("{name}:{number}"),
    };
    span.attributes.iter().map(one).collect()
}

#[test]
fn a_request_is_told_with_the_conventions_names_and_the_access_logs_words() {
    let snapshot = fixture::snapshot(3);
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let decision = decide(&Facts::new("POST", "acme.app.example", "/v1/cases", eu), &snapshot);
    let attempts = [Attempted { status: Some(201), ..attempt(&snapshot, "us-east-1", 4_999) }];
    let finished = Finished { attempts: 1, ..finished(&snapshot, eu, Some(&decision), 201) };
    let record = Record::of(&finished, &traced(&attempts), Some("eu-west-1a"));
    let request = &record.request;
    assert_eq!((record.trace, request.id, request.parent, &*record.state), (7, 8, Some(9), "a=1"));
    assert_eq!((&*request.name, request.is_error), ("POST case-write", false));
    assert_eq!(request.ended - request.began, finished.duration);
    assert_eq!(
        told(request),
        [
            "http.request.method=POST",
            "url.scheme=https",
            "url.path=/v1/cases",
            "server.address=acme.app.example",
            "client.address=192.0.2.7",
            "network.protocol.version=2",
            "http.response.status_code:201",
            "http.request.body.size:10",
            "http.response.body.size:20",
            "rhumb.request_id=id",
            "rhumb.tenant=acme",
            "rhumb.operation=write",
            "rhumb.route=case-write",
            "rhumb.policy=default",
            "rhumb.source_region=eu-west-1",
            "rhumb.source_zone=eu-west-1a",
            "rhumb.target_region=us-east-1",
            "rhumb.target_zone=us-east-1a",
            "rhumb.owner_region=us-east-1",
            "rhumb.epoch:7",
            "rhumb.attempts:1",
            "rhumb.generation:3",
        ]
    );
    let call = &record.attempts[0];
    assert_eq!((call.id, call.parent, &*call.name, call.is_error), (4_999, Some(8), "POST", false));
    assert_eq!((request.ended - call.began, call.ended), (Duration::from_millis(1), request.ended));
    assert_eq!(
        told(call),
        [
            "http.request.method=POST",
            "server.address=127.0.0.1",
            "server.port:1002",
            "network.peer.address=127.0.0.1",
            "network.peer.port:1002",
            "http.response.status_code:201",
            "rhumb.request_id=id",
            "rhumb.target_region=us-east-1",
            "rhumb.target_zone=us-east-1a",
        ]
    );
}

#[test]
fn a_failover_and_the_attempts_before_it_are_told() {
    let snapshot = fixture::drained(&fixture::snapshot(1), "eu-west-1");
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let decision = decide(&Facts::new("GET", "globex.app.example", "/", eu), &snapshot);
    let failed = attempt(&snapshot, "eu-west-1", 4_000);
    let failed = Attempted { ended: Some(Duration::from_millis(4_500)), failure: Some("reset"), ..failed };
    let answered = Attempted { status: Some(404), ..attempt(&snapshot, "eu-central-1", 4_600) };
    let finished = finished(&snapshot, eu, Some(&decision), 404);
    let record = Record::of(&finished, &traced(&[failed, answered]), None);
    assert!(!record.request.is_error, "a client's mistake is not the edge's error");
    let request = told(&record.request);
    assert!(request.contains(&"rhumb.failover_reason=drained".to_owned()), "{request:?}");
    assert!(!request.iter().any(|told| told.starts_with("rhumb.source_zone")));
    let [first, second] = &record.attempts[..] else { panic!("{record:?}") };
    assert!(first.is_error && told(first).contains(&"error.type=reset".to_owned()));
    assert_eq!(first.ended - first.began, Duration::from_millis(500));
    assert!(!told(first).iter().any(|told| told.starts_with("http.request.resend_count")));
    assert!(second.is_error && told(second).contains(&"error.type=404".to_owned()), "it is the call's");
    assert!(told(second).contains(&"http.request.resend_count:1".to_owned()));
}

#[test]
fn what_is_an_error_and_what_it_is_called() {
    for (refusal, status, expected) in [
        (None, Some(200), None),
        (None, Some(404), None),
        (None, Some(500), Some("500")),
        (None, None, Some("client_left")),
        (Some(Refusal::TenantUnknown), Some(404), None),
        (Some(Refusal::OwnerUnavailable), Some(503), Some("owner_unavailable")),
        // A call's refusal has the status 200, and says the rest in its own fields.
        (Some(Refusal::OwnerUnavailable), Some(200), Some("owner_unavailable")),
    ] {
        assert_eq!(error(refusal, status).as_deref(), expected, "{refusal:?} {status:?}");
    }
}

#[test]
fn what_a_client_chose_is_bounded_and_never_a_name() {
    let snapshot = fixture::snapshot(1);
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let long = format!("/{}", "é".repeat(4_000));
    let request = Finished { method: "SECRET", path: &long, ..finished(&snapshot, eu, None, 400) };
    let state = "a=".to_owned() + &"x".repeat(600);
    let record = Record::of(&request, &Traced { state: &state, ..traced(&[]) }, None);
    assert_eq!((&*record.request.name, &*record.state), ("HTTP", ""));
    let told = told(&record.request);
    assert!(told.contains(&"http.request.method=_OTHER".to_owned()), "{told:?}");
    assert!(told.contains(&"http.request.method_original=SECRET".to_owned()), "{told:?}");
    let longest = told.iter().map(String::len).max().unwrap();
    assert!((1_000..=LONGEST + "url.path=".len()).contains(&longest), "{longest}");
}

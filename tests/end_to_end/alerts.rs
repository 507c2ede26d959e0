//! Alerts: what a webhook is told of, in which order, and what a receiver cannot do to requests.

use serde_json::Value;

use crate::harness::{Authority, Edge, Receiver, Routing, await_some, edge, eventually, lab, server_config};

fn outcome(edge: &Edge, code: &str) -> f64 {
    edge.metric("rhumb_alerts_total", &[("outcome", code)])
}

/// Makes the edge tell of its table: a bad one is refused.
fn refuse_a_table(edge: &Edge) {
    let refused = edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]);
    let path = edge.folder().path().join("routing.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}\n# {refused}\nnonsense = 1\n")).unwrap();
    edge.signal("HUP");
    eventually("the table is refused", || {
        edge.metric("rhumb_table_reloads_total", &[("outcome", "refused")]) > refused
    });
    std::fs::write(&path, good).unwrap();
}

fn refusals(events: &[Value]) -> Vec<&Value> {
    let of_table = |event: &&Value| event["text"].as_str().unwrap().starts_with("table refused");
    events.iter().filter(of_table).collect()
}

#[test]
fn a_receiver_is_told_of_events_in_their_order_and_again_after_a_500() {
    let (eu, us, ap) = lab();
    let receiver = Receiver::start();
    receiver.answers(Some(500));
    let edge = edge(&Routing::of(&[&eu, &us, &ap]))
        .set("table", "watch = false")
        .set("alerts", &receiver.setting())
        .start();
    refuse_a_table(&edge);
    eventually("the first event is sent twice", || {
        let came = receiver.came();
        came.len() >= 2 && came.iter().all(|event| event["number"] == came[0]["number"])
    });
    assert_eq!(receiver.taken(), [] as [Value; 0]);
    receiver.answers(Some(200));
    await_some("the refused table is told of", || refusals(&receiver.taken()).first().map(|_| ()));
    let taken = receiver.taken();
    let numbers: Vec<u64> = taken.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each once, none left out");
    let told = refusals(&taken)[0];
    assert_eq!((&told["region"], &told["kind"]), (&"eu-west-1".into(), &"table".into()), "{told}");
    assert!(
        told["edge"].is_string() && told["time"].is_string() && told["data"]["problems"].is_array(),
        "{told}"
    );
    eventually("they are counted", || outcome(&edge, "delivered") >= numbers.len() as f64);
    assert!(!edge.log().contains("s3cret"), "{}", edge.log());
}

#[test]
fn a_receiver_that_never_answers_costs_requests_nothing_and_does_not_keep_the_edge() {
    let (eu, us, ap) = lab();
    let receiver = Receiver::start();
    receiver.answers(None);
    let mut edge = edge(&Routing::of(&[&eu, &us, &ap]).tenant("acme", "home = \"eu-west-1\""))
        .set("alerts", &receiver.setting())
        .start();
    eventually("an event is on its way", || !receiver.came().is_empty());
    for _ in 0..20 {
        assert_eq!(edge.get("acme.app.example", "/").status, 200);
    }
    edge.signal("TERM");
    assert!(edge.ended().success());
    assert!(edge.log().contains("not sent to the webhook"), "{}", edge.log());
}

#[test]
fn what_is_told_last_is_sent_before_the_edge_is_gone() {
    let (eu, us, ap) = lab();
    let receiver = Receiver::start();
    let mut edge = edge(&Routing::of(&[&eu, &us, &ap]))
        .set("table", "watch = false")
        .set("alerts", &receiver.setting())
        .start();
    refuse_a_table(&edge);
    edge.signal("TERM");
    assert!(edge.ended().success());
    assert_eq!(refusals(&receiver.taken()).len(), 1, "{:?}", receiver.taken());
}

#[test]
fn a_url_that_cannot_be_asked_is_a_problem_of_the_settings() {
    let (eu, us, ap) = lab();
    let ran =
        edge(&Routing::of(&[&eu, &us, &ap])).set("alerts", "webhook = \"http://user:secret@pager/\"").fail();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("alerts.webhook: a URL must not hold a name and password"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("user:secret"), "{}", ran.stderr);
}

#[test]
fn over_tls_a_receiver_has_to_prove_its_name_before_it_is_told_anything() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (signed_by, name, is_told) in
        [(&authority, "localhost", true), (&stranger, "localhost", false), (&authority, "other", false)]
    {
        let (eu, us, ap) = lab();
        let receiver = Receiver::over_tls(server_config(signed_by, name, None));
        let mut system = String::new();
        let edge = edge(&Routing::of(&[&eu, &us, &ap]))
            .set("table", "watch = false")
            .set("alerts", &receiver.setting())
            .file("system.pem", authority.pem())
            .prepare(|folder| system = folder.file("system.pem").display().to_string())
            .environment("SSL_CERT_FILE", &system)
            .start();
        refuse_a_table(&edge);
        match is_told {
            true => {
                await_some("the refused table is told of", || refusals(&receiver.taken()).first().map(|_| ()))
            }
            false => edge.says("does not take events"),
        }
        assert_eq!(receiver.came().is_empty(), !is_told, "{name}");
        assert!(!edge.log().contains("s3cret"), "{}", edge.log());
    }
}

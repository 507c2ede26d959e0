//! The description is what is kept in the docs, names every operation, and is true of every answer.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::shapes::report;
use super::{Side, side, side_with};
use crate::admin::operations;
use crate::admin::problem::Why;
use crate::control::snapshot::Rejected;
use crate::problem::Problems;
use crate::telemetry::fixture;

async fn described(side: &Side) -> Value {
    side.get("/v1/openapi.json").await.json()
}

/// The schema at a pointer of the description; strict: a key that it does not name is a fault.
fn validator(document: &Value, pointer: &str) -> jsonschema::Validator {
    let mut whole = document.clone();
    strict(&mut whole["components"]["schemas"]);
    let mut schema = whole.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not described")).clone();
    strict(&mut schema);
    let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": whole["components"], "allOf": [schema]});
    jsonschema::validator_for(&schema).unwrap()
}

fn strict(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.values_mut().for_each(strict);
            if keys.contains_key("properties") && !keys.contains_key("additionalProperties") {
                keys.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(strict),
        _ => {}
    }
}

#[track_caller]
fn holds(document: &Value, method: &str, path: &str, status: &str, value: &Value) {
    let path = path.replace('/', "~1");
    let kind = if status == "200" { "application~1json" } else { "application~1problem+json" };
    let pointer = format!("/paths/{path}/{method}/responses/{status}/content/{kind}/schema");
    let faults: Vec<_> =
        validator(document, &pointer).iter_errors(value).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{pointer}: {faults:#?}\n{value:#}");
}

#[tokio::test]
async fn the_description_is_the_one_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let text = side().get("/v1/openapi.json").await.text;
    if std::env::var_os("RHUMB_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "run this test again with RHUMB_WRITE_OPENAPI=1, and look at what changed in {path}"
    );
}

/// The path, with names that there are.
fn filled(path: &str) -> String {
    let names = [("{region}", "us-east-1"), ("{cell}", "a"), ("{tenant}", "globex"), ("{id}", "1")];
    names.iter().fold(path.to_owned(), |path, (place, name)| path.replace(place, name))
}

#[tokio::test]
async fn every_operation_is_described_and_whatever_is_described_is_served() {
    let mut side = side();
    // Nobody answers in the steward's place.
    drop(std::mem::replace(&mut side.asked, mpsc::channel(1).1));
    let document = described(&side).await;
    let paths = document["paths"].as_object().unwrap();
    let all = operations::all();
    assert_eq!(paths.values().map(|path| path.as_object().unwrap().len()).sum::<usize>(), all.len());
    for (path, operations) in paths {
        let asked = filled(path);
        for method in ["get", "post", "put", "delete", "patch"] {
            let headers = [("authorization", "Bearer good"), ("content-type", "text/plain")];
            let answer = side.ask(&method.to_uppercase(), &asked, &headers, "x").await;
            let (served, named) = (answer.status != 405, operations.get(method).is_some());
            assert!(answer.status != 404 && served == named, "{method} {path}: {}", answer.status);
        }
    }
    let ids: std::collections::BTreeSet<_> = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|one| one["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), all.len(), "each has an id of its own");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = described(&side()).await;
    let mut open = vec![&document];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(keys) => {
                if let Some(Value::String(to)) = keys.get("$ref") {
                    assert!(document.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
                    seen += 1;
                }
                open.extend(keys.values());
            }
            Value::Array(all) => open.extend(all),
            _ => {}
        }
    }
    assert!(seen > 20, "{seen}");
}

#[tokio::test]
async fn every_read_is_answered_as_described() {
    let mut problems = Problems::of("routing.toml");
    problems.tell(31, "tenants.acme.home", "there is no region \"x\"", "did you mean \"y\"?");
    problems.tell_at(0, Some(3), "", "syntax", "");
    let rejected =
        Rejected { hash: "def".into(), at: std::time::Duration::ZERO, acceptable: false, problems };
    for side in [side(), side_with(|_| (), fixture::snapshot(3), Some(rejected))] {
        let document = described(&side).await;
        for one in operations::all() {
            let asks_steward = one.refuses.contains(&Why::Stopping);
            let text = !matches!(one.gives, operations::Gives::Json(_));
            if one.method != "GET" || asks_steward || text {
                continue;
            }
            let asked = filled(one.path);
            let answer = side.get(&asked).await;
            assert_eq!(answer.status, 200, "{asked}");
            holds(&document, "get", one.path, "200", &answer.json());
        }
        let question = json!({"tenant": "globex", "headers": [["a", "b"]], "down": ["eu-west-1"], "hour": 3});
        let asks = "/paths/~1v1~1explain/post/requestBody/content/application~1json/schema";
        assert!(validator(&document, asks).is_valid(&question));
        assert!(!validator(&document, asks).is_valid(&json!({"tenantt": "globex"})));
        holds(&document, "post", "/v1/explain", "200", &side.explain(&question).await);
    }
}

#[tokio::test]
async fn what_the_steward_answers_is_as_described() {
    for one in operations::all().iter().filter(|one| one.refuses.contains(&Why::Stopping)) {
        let mut side = side();
        let document = described(&side).await;
        let mut asked = std::mem::replace(&mut side.asked, mpsc::channel(1).1);
        let body = match one.path {
            "/v1/table/accept" => json!({"hash": "def", "reason": "x"}),
            "/v1/table/rollback" => json!({"reason": "x"}),
            _ => json!({}),
        };
        let method = one.method.as_str().to_ascii_lowercase();
        let steward = async { asked.recv().await.unwrap().reply.send(Ok(report())).is_ok() };
        let asking = async {
            if one.method == "GET" { side.get(one.path).await } else { side.post(one.path, &body).await }
        };
        let (_, answer) = tokio::join!(steward, asking);
        assert_eq!(answer.status, 200, "{}", answer.text);
        holds(&document, &method, one.path, "200", &answer.json());
    }
}

#[tokio::test]
async fn refusals_are_as_described_too() {
    let side = side();
    let document = described(&side).await;
    let no = [("authorization", "Bearer wrong")];
    let unauthorized = side.ask("POST", "/v1/table/reload", &no, "").await;
    holds(&document, "post", "/v1/table/reload", "401", &unauthorized.json());
    let foreign = side.ask("GET", "/v1/table", &[("host", "evil.test")], "").await;
    holds(&document, "get", "/v1/table", "403", &foreign.json());
    let unknown = side.get("/v1/regions/mars").await;
    holds(&document, "get", "/v1/regions/{region}", "404", &unknown.json());
    let wrong = side.post("/v1/table/rollback", &json!({})).await;
    holds(&document, "post", "/v1/table/rollback", "400", &wrong.json());
}

#[tokio::test]
async fn what_is_refused_for_its_form_is_described_as_wrong_and_what_is_taken_as_right() {
    let side = side();
    let document = described(&side).await;
    let schema = validator(&document, "/components/schemas/BeginDrain");
    let body = |key: &str, value: &Value| {
        let mut body = json!({"region": "eu-west-1", "to": 0, "reason": "disk"});
        body[key] = value.clone();
        body
    };
    let texts = |all: &[&str]| all.iter().map(|text| json!(text)).collect::<Vec<_>>();
    let lists = |all: &[&str]| all.iter().map(|text| json!([text])).collect::<Vec<_>>();
    for (key, wrong) in [
        ("reason", texts(&["", " ", "a\u{6}b", "a\nb", &"x".repeat(1_001)])),
        ("over", texts(&["", "5", "1.5h", "-5s", "5d", "9999h", "99999999999s"])),
        ("to", vec![json!(-1), json!(100.5), json!(0.005), json!("0")]),
        ("step", vec![json!(101), json!(-0.5)]),
        ("pause_if", lists(&["", "error_rate>101%", "p99>5", "luck>1", "in_flight>-1"])),
        ("override", lists(&["", "max_luck"])),
    ] {
        for value in wrong {
            let body = body(key, &value);
            assert!(!schema.is_valid(&body), "{key} {value} is described as right");
            assert_eq!(side.post("/v1/drains", &body).await.status, 400, "{key} {value}");
        }
    }
    let spans = ["0s", "250ms", "5m", "2h", "8760h"];
    assert!(spans.iter().all(|span| crate::problem::units::duration(span).is_ok()));
    let guards = ["error_rate>2%", "error_rate>0.5%", "p99>800ms", "p99>2s", "in_flight>5000"];
    assert!(guards.iter().all(|guard| guard.parse::<crate::control::desk::Guard>().is_ok()));
    for (key, right) in [
        ("reason", texts(&["x", "disk \u{e9}\u{78c1}", &"x".repeat(1_000)])),
        ("over", texts(&spans)),
        ("to", vec![json!(0), json!(0.07), json!(33.33), json!(100)]),
        ("pause_if", lists(&guards)),
        ("override", lists(&rhumb_decision::safety::Rule::ALL.map(|rule| rule.code()))),
    ] {
        for value in right {
            assert!(schema.is_valid(&body(key, &value)), "{key} {value} is described as wrong");
        }
    }
}

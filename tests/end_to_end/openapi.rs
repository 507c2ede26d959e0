//! What an edge answers is what its description says, and that is the one in the docs.

use serde_json::{Value, json};

use crate::harness::{Routing, ask, edge, get, lab};

/// Whether `value` is as the description says at `pointer`.
#[track_caller]
fn holds(document: &Value, pointer: &str, value: &Value) {
    let schema = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not described"));
    let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": document["components"], "allOf": [schema]});
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<_> = validator.iter_errors(value).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{pointer}: {faults:#?}\n{value:#}");
}

fn schema(path: &str, method: &str, status: u16) -> String {
    let kind = if status < 300 { "application~1json" } else { "application~1problem+json" };
    format!("/paths/{}/{method}/responses/{status}/content/{kind}/schema", path.replace('/', "~1"))
}

#[test]
fn every_answer_of_a_running_edge_is_as_described() {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap]).tenant(
        "acme",
        r#"home = "eu-west-1", standby = ["us-east-1"], residency = ["eu", "us"], epoch = 7"#,
    );
    let edge = edge(&routing).start();
    let document = edge.read("/v1/openapi.json");
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json")).unwrap();
    assert_eq!(document, serde_json::from_str::<Value>(&kept).unwrap());
    let drain = json!({"region": "us-east-1", "to": 50, "over": "1h", "reason": "x"});
    let begun = edge.change("/v1/drains", &drain);
    holds(&document, &schema("/v1/drains", "post", 201), &begun.json());
    let transfer = edge.change("/v1/transfers", &json!({"tenant": "acme", "reason": "x"}));
    holds(&document, &schema("/v1/transfers", "post", 201), &transfer.json());
    let planned = edge.post_admin("/v1/plan/transfer", &json!({"from": "eu-west-1"}), None);
    holds(&document, &schema("/v1/plan/transfer", "post", 200), &planned.json());
    let frozen = edge.change("/v1/tenants/acme/freeze", &json!({"reason": "x"}));
    holds(&document, &schema("/v1/tenants/{tenant}/freeze", "post", 200), &frozen.json());
    let names = [("{region}", "us-east-1"), ("{tenant}", "acme"), ("{id}", "1")];
    let named =
        |path: &str| names.iter().fold(path.to_owned(), |path, (place, name)| path.replace(place, name));
    let mut read = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(content) = operations.pointer("/get/responses/200/content/application~1json") else {
            continue;
        };
        if path == "/v1/table/rollback" {
            // There is no table to go back to yet.
            let refused = get("localhost", path).to(edge.admin);
            assert_eq!(refused.status, 409, "{}", refused.text());
            holds(&document, &schema(path, "get", 409), &refused.json());
            continue;
        }
        assert!(content.is_object());
        holds(&document, &schema(path, "get", 200), &edge.read(&named(path)));
        read += 1;
    }
    assert!(read >= 8, "{read}");
    let asked = json!({"tenant": "acme", "method": "POST", "path": "/v1/cases"});
    let explained = edge.post_admin("/v1/explain", &asked, None);
    holds(&document, &schema("/v1/explain", "post", 200), &explained.json());
    let reloaded = edge.change("/v1/table/reload", &json!({}));
    holds(&document, &schema("/v1/table/reload", "post", 200), &reloaded.json());
    let unknown = get("localhost", "/v1/regions/mars").to(edge.admin);
    holds(&document, &schema("/v1/regions/{region}", "get", 404), &unknown.json());
    let refused = ask("POST", "localhost", "/v1/table/reload").to(edge.admin);
    holds(&document, &schema("/v1/table/reload", "post", 401), &refused.json());
}

//! Drains, weights and the audit, as they are typed and answered.

use serde_json::{Value, json};

use crate::cli::testing::{Canned, rhumb_with};

#[test]
fn a_drain_carries_what_was_typed_and_a_broken_rule_says_how_to_break_it() {
    let refused = json!({"title": "No", "reason": "rule_broken", "detail": "it would break min_regions_serving (1)",
        "plan": {"id": "ab12", "region": "eu", "from": 100, "to": 0, "tenants": 3, "tenants_moving": 2,
            "rules_broken": [{"rule": "min_regions_serving", "why": "nobody is left"}]}});
    let edge = Canned::start(409, &refused.to_string());
    let ran = edge.rhumb("drain eu/a --to 0 --over 10m --step 2 --reason disk --pause-if p99>800ms");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("2 of 3") && ran.stderr.contains("nobody is left"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("if it is meant, add: --override min_regions_serving\n"), "{}", ran.stderr);
    let asked = edge.asked();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/drains HTTP/1.1\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["region"], &body["cell"], &body["over"]), (&json!("eu"), &json!("a"), &json!("10m")));
    assert_eq!((&body["step"], &body["pause_if"]), (&json!(2.0), &json!(["p99>800ms"])));
}

#[test]
fn a_weight_is_set_by_put_and_cleared_by_delete_with_its_reason() {
    for (words, asks) in
        [("weight eu 40 --reason why", "PUT "), ("weight eu --clear --reason why", "DELETE ")]
    {
        let edge = Canned::start(200, r#"{"region":"eu","weight":{"configured":100,"effective":40}}"#);
        let ran = edge.rhumb(words);
        assert_eq!(ran.code, 0, "{ran:?}");
        let asked = edge.asked();
        assert!(asked.starts_with(&format!("{asks}/v1/regions/eu/weight ")), "{asked}");
        assert!(asked.contains(r#""reason":"why""#), "{asked}");
    }
}

#[test]
fn an_audit_that_is_not_whole_is_exit_code_1() {
    let broken =
        r#"{"sound":false,"entries":3,"broken":"1.jsonl line 2 (entry 2): entry 2 is missing","breaks":1}"#;
    let ran = Canned::start(200, broken).rhumb("audit verify");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("line 2 (entry 2)"), "{}", ran.stderr);
    let nothing = tempfile::tempdir().unwrap();
    let ran = rhumb_with(["audit", "verify", "--state", nothing.path().to_str().unwrap()], None);
    assert_eq!(ran.code, 1, "a journal that is not there is not whole: {ran:?}");
}

//! What `POST /v1/explain` says, and what it does not take for a question.

use serde_json::json;

use super::side;

#[tokio::test]
async fn an_explanation_has_the_documented_shape() {
    let side = side();
    assert_eq!(
        side.explain(&json!({"tenant": "acme", "method": "POST", "path": "/v1/cases"})).await,
        json!({
            "tenant": "acme", "operation": "write", "consistency": null, "route": "case-write",
            "service": "case-service", "capability": "case.write", "policy": "default",
            "source_region": "eu-west-1", "owner_region": "us-east-1", "epoch": 7, "target_region": "us-east-1",
            "failover_reason": null, "refusal": null,
            "candidates": [{"region": "us-east-1", "verdict": "chosen"}], "generation": 3,
        })
    );
    let down =
        json!({"tenant": "acme", "method": "POST", "path": "/v1/cases", "down": ["us-east-1:case.write"]});
    let refused = side.explain(&down).await;
    assert_eq!(refused["refusal"], json!({"reason": "owner_unavailable", "status": 503}));
    assert_eq!(
        (&refused["target_region"], &refused["candidates"][0]["verdict"]),
        (&json!(null), &json!("unhealthy"))
    );
}

#[tokio::test]
async fn what_is_supposed_changes_the_answer_and_nothing_else() {
    let side = side();
    let plain = json!({"tenant": "globex", "path": "/x?y=1"});
    assert_eq!(side.explain(&plain).await["target_region"], "eu-west-1");
    for supposed in [json!({"drain": {"eu-west-1": 0}}), json!({"down": ["eu-west-1"]})] {
        let mut question = plain.clone();
        question.as_object_mut().unwrap().extend(supposed.as_object().unwrap().clone());
        let answer = side.explain(&question).await;
        assert_eq!(answer["target_region"], "eu-central-1");
        assert!(["drained", "unhealthy"].contains(&answer["failover_reason"].as_str().unwrap()));
    }
    assert_eq!(side.explain(&plain).await["target_region"], "eu-west-1");
    let from = json!({"tenant": "acme", "path": "/", "from": "us-east-1"});
    assert_eq!(side.explain(&from).await["target_region"], "us-east-1");
}

#[tokio::test]
async fn a_client_that_has_just_written_is_explained_as_a_session() {
    let side = side();
    let read = json!({"tenant": "globex", "path": "/", "from": "eu-west-1"});
    let with = |key: &str, value: serde_json::Value| {
        let mut question = read.clone();
        question["wrote_at"] = json!("eu-central-1");
        question[key] = value;
        question
    };
    assert_eq!(side.explain(&read).await["consistency"], "local");
    let session = side.explain(&with("path", json!("/"))).await;
    assert_eq!(
        (&session["consistency"], &session["target_region"]),
        (&json!("session"), &json!("eu-central-1"))
    );
    assert_eq!(session["candidates"][0], json!({"region": "eu-central-1", "verdict": "chosen"}));
    let lost = side.explain(&with("down", json!(["eu-central-1"]))).await;
    assert_eq!(
        (&lost["consistency"], &lost["target_region"]),
        (&json!("session"), &json!("eu-west-1")),
        "the owner"
    );
    let write = side.explain(&with("method", json!("POST"))).await;
    assert_eq!((&write["consistency"], &write["target_region"]), (&json!(null), &json!("eu-west-1")));
    let odd = side.post("/v1/explain", &json!({"tenant": "globex", "wrote_at": "mars"})).await;
    assert!(odd.text.contains("wrote_at") && odd.text.contains("mars"), "{}", odd.text);
}

#[tokio::test]
async fn a_question_is_read_as_a_live_request_is() {
    let side = side();
    for (question, tenant) in [
        (json!({"host": "ACME.App.Example.:443"}), json!("acme")),
        (json!({"headers": {"X-Tenant-ID": "acme"}}), json!("acme")),
        (json!({"headers": [["x-tenant-id", "acme"], ["x-tenant-id", "globex"]]}), json!(null)),
        (json!({"path": "/t/%61cme/x"}), json!("acme")),
        (json!({"tenant": "acme", "host": "api.example"}), json!("acme")),
        (json!({"tenant": "acme", "host": null, "from": null, "headers": []}), json!("acme")),
    ] {
        assert_eq!(side.explain(&question).await["tenant"], tenant, "{question}");
    }
    let strong = json!({"tenant": "acme", "headers": {"X-Consistency": "strong"}});
    assert_eq!(side.explain(&strong).await["consistency"], "strong");
    let body = json!({"tenant": "acme", "body": true});
    assert_eq!(side.explain(&body).await["operation"], "write");
    let conflict = json!({"headers": [["x-tenant-id", "acme"], ["x-tenant-id", "globex"]]});
    assert_eq!(side.explain(&conflict).await["refusal"]["reason"], "tenant_conflict");
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_what_to_write() {
    let side = side();
    for (question, said) in [
        (json!({"from": "eu-wset-1"}), "did you mean \"eu-west-1\"?"),
        (json!({"drain": {"eu-west-1": 101}}), "write 0 to 100"),
        (json!({"drain": {"eu-west-1": -1}}), "write 0 to 100"),
        (json!({"drain": {"mars": 1}}), "there is no region \"mars\""),
        (json!({"down": ["eu-west-1:case.wirte"]}), "did you mean \"case.write\"?"),
        (json!({"path": "/a/../b"}), "path: an edge refuses"),
        (json!({"path": "no-slash"}), "path: an edge refuses"),
        (json!({"host": "a b"}), "host: an edge refuses"),
        (json!({"path": "https://acme.app.example/"}), "write that in host"),
        (json!({"path": "/a%2fb"}), "path: an edge refuses"),
        (json!({"method": "GET /x"}), "method: an edge refuses"),
        (json!({"hour": 24}), "0 to 23"),
        (json!({"country": "Germany"}), "two letters"),
        (json!({"tenant": "acme", "host": "globex.app.example"}), "leave one out"),
        (json!({"tennant": "acme"}), "unknown field `tennant`"),
        (json!({"path": 7}), "invalid type"),
        (json!([]), "the body is not what is asked for here"),
    ] {
        let answer = side.post("/v1/explain", &question).await;
        assert_eq!(answer.status, 400, "{question}: {}", answer.text);
        assert_eq!(answer.reason().1, "bad_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{question}: {detail}");
    }
}

/// One source after another, and what a request that names a tenant by it looks like.
#[test]
fn a_tenant_is_named_by_the_first_source_that_can() {
    use crate::admin::explain::{Question, Standing};
    let snapshot = crate::telemetry::fixture::snapshot(1);
    let edge = Standing {
        region: "eu-west-1",
        encoded_slash: rhumb_decision::target::EncodedSlash::Refuse,
        saturated: rhumb_decision::units::RegionSet::EMPTY,
    };
    let ask = |tenant: &str, path: &str| {
        let tenant = Some(tenant.to_owned());
        Question { tenant, method: "POST".into(), path: path.into(), ..Question::default() }
            .ask(&snapshot, &edge)
    };
    let by_host = ask("acme", "/v1/cases").unwrap();
    assert_eq!((by_host.tenant.as_deref(), by_host.route.as_deref()), (Some("acme"), Some("case-write")));
    let by_header = ask("Capital", "/v1/cases").unwrap();
    assert_eq!(
        by_header.refusal.map(|refusal| refusal.reason),
        Some("tenant_unknown"),
        "hosts are lower case"
    );
    let by_path = ask("acme", "/t/acme/v1").unwrap();
    assert_eq!(by_path.tenant.as_deref(), Some("acme"));
    assert!(ask("globex", "/t/acme/v1").unwrap_err().contains("leave one out"));
    assert_eq!(ask("a b", "/").unwrap().refusal.map(|refusal| refusal.reason), Some("bad_request"));
}

#[test]
fn full_regions_are_passed_over_as_they_are_live() {
    use crate::admin::explain::{Question, Standing};
    let snapshot = crate::telemetry::fixture::snapshot(1);
    let eu = snapshot.table().region_named("eu-west-1").unwrap();
    let edge = Standing {
        region: "eu-west-1",
        encoded_slash: rhumb_decision::target::EncodedSlash::Refuse,
        saturated: rhumb_decision::units::RegionSet::EMPTY.with(eu),
    };
    let question = Question { tenant: Some("globex".into()), ..Question::default() };
    let explained = question.ask(&snapshot, &edge).unwrap();
    assert_eq!(explained.failover_reason, Some("saturated"));
    assert_eq!(explained.target_region.as_deref(), Some("eu-central-1"));
}

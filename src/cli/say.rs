//! An explanation in words: the course in one sentence, and what each verdict means.

use rhumb_decision::reason::{FailoverReason, Refusal};
use serde_json::Value;

use super::wire::{at, items, lower_first, text};

/// The course in one sentence: what goes where, and why there.
///
/// - `request`: method and path, as asked: `POST /v1/cases`.
/// - `tenant`: as asked, for where the explanation names none.
pub fn sentence(request: &str, tenant: Option<&str>, explanation: &Value) -> String {
    let named = text(explanation, &["tenant"]);
    let tenant = if named.is_empty() { tenant.unwrap_or_default().to_owned() } else { named };
    let whose = if tenant.is_empty() { request.to_owned() } else { format!("{request} of {tenant}") };
    let refusal = at(explanation, &["refusal"]);
    if !refusal.is_null() {
        let reason = text(refusal, &["reason"]);
        let status = text(refusal, &["status"]);
        let title = Refusal::ALL.into_iter().find(|known| known.code() == reason).map(Refusal::title);
        let title = title.map_or_else(String::new, |title| format!(": {}", lower_first(title)));
        return format!("{whose} is refused with {status} {reason}{title}");
    }
    let target = text(explanation, &["target_region"]);
    format!("{whose} goes to {target}: {}", why(&tenant, &target, explanation))
}

fn why(tenant: &str, target: &str, explanation: &Value) -> String {
    let owner = text(explanation, &["owner_region"]);
    let failover = text(explanation, &["failover_reason"]);
    let read = text(explanation, &["operation"]) == "read";
    let strong = text(explanation, &["consistency"]) == "strong";
    let transferred = failover == FailoverReason::Transferred.code();
    if owner == target && (!read || strong || transferred) {
        let epoch = text(explanation, &["epoch"]);
        let since = if transferred { ", since ownership was transferred to it" } else { "" };
        let asked = if strong { "the read is strong, and " } else { "" };
        return format!("{asked}it owns {tenant} at epoch {epoch}{since}");
    }
    if !failover.is_empty() {
        return instead(&failover, explanation);
    }
    if owner.is_empty() {
        return format!("nobody owns {}, and it comes first in the placement", or(tenant, "the request"));
    }
    if text(explanation, &["source_region"]) == target {
        return "the request enters there, and it may answer".into();
    }
    if owner == target && items(explanation, &["candidates"]).len() == 1 {
        return format!("it owns {tenant}");
    }
    "it is the nearest that may answer".into()
}

/// Which region would have come first, and what is the matter with it.
fn instead(failover: &str, explanation: &Value) -> String {
    let verdict = if failover == FailoverReason::ConnectFailed.code() { "tried" } else { failover };
    let first = items(explanation, &["candidates"]).iter().find(|asked| text(asked, &["verdict"]) == verdict);
    let first = first.map(|asked| text(asked, &["region"])).unwrap_or_default();
    let first = or(&first, "the first choice");
    match failover {
        "drained" => format!("{first} is drained for this key"),
        "unhealthy" => format!("{first} does not report the capability as up"),
        "stale" => format!("the copy of {first} lags too much"),
        "saturated" => format!("{first} has as many requests in flight as it may have"),
        "role" => format!("the role of {first} forbids it"),
        "connect_failed" => format!("{first} could not be reached"),
        other => format!("{first} could not take it ({other})"),
    }
}

/// What a verdict means, for the table of candidates; empty for one that this version does not know.
pub fn meaning(verdict: &str) -> &'static str {
    match verdict {
        "chosen" => "takes the request",
        "not_needed" => "not asked, as an earlier region took it",
        "residency" => "forbidden by the residency of the tenant or of the class of data",
        "no_replica" => "holds no copy that may answer",
        "role" => "forbidden by its role",
        "unhealthy" => "does not report the capability as up",
        "stale" => "its copy lags more than the policy allows",
        "drained" => "its weight does not cover this key",
        "saturated" => "has as many requests in flight as it may have",
        "tried" => "an attempt there has failed already",
        _ => "",
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write() -> Value {
        json!({"tenant": "acme", "operation": "write", "consistency": null, "source_region": "eu-west-1",
            "owner_region": "us-east-1", "epoch": 7, "target_region": "us-east-1", "failover_reason": null,
            "refusal": null, "candidates": [{"region": "us-east-1", "verdict": "chosen"}]})
    }

    fn with(mut explanation: Value, changes: Value) -> Value {
        if let (Value::Object(all), Value::Object(changes)) = (&mut explanation, changes) {
            all.extend(changes);
        }
        explanation
    }

    fn read(changes: Value) -> Value {
        with(with(write(), json!({"operation": "read", "consistency": "local"})), changes)
    }

    #[track_caller]
    fn says(explanation: &Value, expected: &str) {
        assert_eq!(sentence("POST /v1/cases", None, explanation), format!("POST /v1/cases{expected}"));
    }

    #[test]
    fn a_write_goes_home() {
        says(&write(), " of acme goes to us-east-1: it owns acme at epoch 7");
    }

    #[test]
    fn a_write_after_a_transfer_says_so() {
        says(
            &with(write(), json!({"failover_reason": "transferred", "epoch": 8})),
            " of acme goes to us-east-1: it owns acme at epoch 8, since ownership was transferred to it",
        );
    }

    #[test]
    fn a_strong_read_says_that_it_is_one() {
        says(
            &read(json!({"consistency": "strong"})),
            " of acme goes to us-east-1: the read is strong, and it owns acme at epoch 7",
        );
    }

    #[test]
    fn a_local_read_stays_or_goes_near() {
        says(
            &read(json!({"target_region": "eu-west-1"})),
            " of acme goes to eu-west-1: the request enters there, and it may answer",
        );
        let candidates = json!([{"region": "eu-west-1", "verdict": "no_replica"}, {"region": "us-east-1", "verdict": "chosen"}]);
        says(
            &read(json!({"candidates": candidates})),
            " of acme goes to us-east-1: it is the nearest that may answer",
        );
    }

    #[test]
    fn a_failover_names_the_first_choice() {
        let candidates = json!([{"region": "eu-west-1", "verdict": "drained"}, {"region": "us-east-1", "verdict": "chosen"}]);
        says(
            &read(json!({"failover_reason": "drained", "candidates": candidates})),
            " of acme goes to us-east-1: eu-west-1 is drained for this key",
        );
        says(
            &read(json!({"failover_reason": "of another version"})),
            " of acme goes to us-east-1: the first choice could not take it (of another version)",
        );
    }

    #[test]
    fn a_placement_says_that_nobody_owns_it() {
        let placed = read(json!({"tenant": null, "owner_region": null, "epoch": null}));
        assert_eq!(
            sentence("GET /", Some("ghost"), &placed),
            "GET / of ghost goes to us-east-1: nobody owns ghost, and it comes first in the placement"
        );
    }

    #[test]
    fn a_refusal_says_its_status_and_reason() {
        let refused =
            json!({"target_region": null, "refusal": {"reason": "owner_unavailable", "status": 503}});
        says(
            &with(write(), refused),
            " of acme is refused with 503 owner_unavailable: \
             the region that owns this tenant cannot take the request now",
        );
    }

    #[test]
    fn every_verdict_and_failover_reason_has_its_words() {
        use rhumb_decision::reason::Verdict as V;
        let verdicts = [
            V::Chosen,
            V::NotNeeded,
            V::Residency,
            V::NoReplica,
            V::Role,
            V::Unhealthy,
            V::Stale,
            V::Drained,
            V::Saturated,
            V::Tried,
        ];
        for verdict in verdicts {
            assert_ne!(meaning(verdict.code()), "", "{}", verdict.code());
        }
        for reason in FailoverReason::ALL.into_iter().filter(|reason| *reason != FailoverReason::Transferred)
        {
            let said = instead(reason.code(), &Value::Null);
            assert!(!said.contains('('), "{said}");
        }
    }
}

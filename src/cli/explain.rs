//! `rhumb explain`: where a request would go, by the files or by a running edge.

use std::path::Path;

use serde_json::Value;

use super::args::ExplainArgs;
use super::ask;
use super::edge::Edge;
use super::failure::Done;
use super::files;
use super::out::{Out, list, pairs};
use super::say::{meaning, sentence};
use super::wire::{items, text};

/// Asks a running edge, with the health, weights and ownership it has now.
pub fn by_edge(edge: &Edge, args: &ExplainArgs, out: &mut Out<'_>) -> Done {
    let answer = edge.ask("/v1/explain", &ask::json(&ask::question(args))?)?;
    out.answer(&answer, |answer| course(args, answer))
}

/// Asks the files that `config` names, with every region up and without lag.
pub fn by_files(config: &Path, args: &ExplainArgs, out: &mut Out<'_>) -> Done {
    let answer = ask::offline(&files::read(config)?, args)?;
    out.answer(&answer, |answer| course(args, answer))
}

fn course(args: &ExplainArgs, explanation: &Value) -> String {
    let request = format!("{} {}", args.method, args.path);
    let mut said = sentence(&request, args.tenant.as_deref(), explanation);
    said.push_str("\n\n");
    let with = |first: &str, label: &str, second: &str| {
        let (first, second) = (text(explanation, &[first]), text(explanation, &[second]));
        if first.is_empty() || second.is_empty() { first } else { format!("{first}, {label}{second}") }
    };
    said.push_str(&pairs([
        ("operation", with("operation", "", "consistency")),
        ("route", text(explanation, &["route"])),
        ("service", text(explanation, &["service"])),
        ("capability", text(explanation, &["capability"])),
        ("policy", text(explanation, &["policy"])),
        ("enters at", text(explanation, &["source_region"])),
        ("owner", with("owner_region", "epoch ", "epoch")),
        ("failover", text(explanation, &["failover_reason"])),
        ("generation", text(explanation, &["generation"])),
    ]));
    let candidates = items(explanation, &["candidates"]);
    if !candidates.is_empty() {
        said.push('\n');
        let rows = candidates.iter().map(|candidate| {
            let verdict = text(candidate, &["verdict"]);
            [text(candidate, &["region"]), meaning(&verdict).to_owned(), verdict]
        });
        let rows = rows.map(|[region, meaning, verdict]| [region, verdict, meaning]);
        said.push_str(&list(["REGION", "VERDICT", "MEANING"], rows));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::explain_args;
    use serde_json::json;

    #[test]
    fn the_course_comes_first_then_the_facts_then_the_candidates() {
        let explanation = json!({
            "tenant": "acme", "operation": "read", "consistency": "local", "route": null, "service": "default",
            "capability": "read", "policy": "default", "source_region": "eu-west-1", "owner_region": "us-east-1",
            "epoch": 7, "target_region": "us-east-1", "failover_reason": "drained", "refusal": null,
            "candidates": [{"region": "eu-west-1", "verdict": "drained"}, {"region": "us-east-1", "verdict": "chosen"}],
            "generation": 3,
        });
        assert_eq!(
            course(&explain_args(&["--tenant", "acme", "--path", "/v1/cases"]), &explanation),
            "\
GET /v1/cases of acme goes to us-east-1: eu-west-1 is drained for this key

operation   read, local
service     default
capability  read
policy      default
enters at   eu-west-1
owner       us-east-1, epoch 7
failover    drained
generation  3

REGION     VERDICT  MEANING
eu-west-1  drained  its weight does not cover this key
us-east-1  chosen   takes the request
"
        );
    }
}

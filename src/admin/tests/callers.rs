//! Who holds a token, what it lets them do, and what becomes of those who guess.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Answer, Side, side, side_with, tokens};
use crate::admin::guesses::MOST;
use crate::control::operator::Command;
use crate::telemetry::fixture;
use std::time::Duration;

fn line(name: &str, right: &str) -> String {
    let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {right} sha256:{hash}\n")
}

/// Anna may write, Rita may read; each one's token is her name.
fn of_two(open_reads: bool) -> Side {
    let text = line("anna", "write") + &line("rita", "read");
    side_with(
        |state| {
            state.tokens = tokens(&text);
            state.open_reads = open_reads;
        },
        fixture::snapshot(1),
        None,
    )
}

async fn with(side: &Side, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    side.ask(method, path, &headers, body.to_owned()).await
}

#[tokio::test]
async fn who_may_read_reads_and_changes_nothing() {
    let mut side = of_two(false);
    for path in ["/v1/table", "/metrics", "/v1/status"] {
        assert_eq!(with(&side, "rita", "GET", path, "").await.status, 200, "{path}");
        assert_eq!(with(&side, "anna", "GET", path, "").await.status, 200, "{path}");
        assert_eq!(with(&side, "nobody", "GET", path, "").await.reason().0, 401, "{path}");
        side.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(with(&side, "rita", "POST", "/v1/explain", "{}").await.status, 200, "it changes nothing");
    for (method, path) in
        [("POST", "/v1/table/reload"), ("POST", "/nowhere"), ("DELETE", "/v1/table"), ("PUT", "/v1/table")]
    {
        let refused = with(&side, "rita", method, path, "{}").await;
        assert_eq!(refused.reason(), (403, "forbidden".into()), "{method} {path}");
        assert!(
            !refused.headers.contains_key("www-authenticate"),
            "another try with the same token is no use"
        );
    }
    assert!(side.asked.try_recv().is_err(), "nothing reached the steward");
}

#[tokio::test]
async fn a_change_is_asked_in_the_name_of_whose_token_it_is_and_from_where() {
    let mut side = of_two(true);
    let mut asked = std::mem::replace(&mut side.asked, tokio::sync::mpsc::channel(1).1);
    let headers = [("authorization", "Bearer anna"), ("content-type", "application/json")];
    let body = json!({"reason": "as planned"}).to_string();
    let steward = async { asked.recv().await.unwrap().command };
    let asking = side.ask_from("::ffff:192.0.2.7", "POST", "/v1/table/rollback", &headers, body);
    let (command, _) = tokio::join!(steward, asking);
    let Command::Rollback(asker) = command else { panic!("{command:?}") };
    assert_eq!((asker.actor.as_str(), asker.source), ("anna", [192, 0, 2, 7].into()));
}

#[tokio::test]
async fn who_guesses_is_not_listened_to_for_the_rest_of_the_second() {
    let side = of_two(true);
    let count = |cause| {
        let line = format!("rhumb_admin_tokens_refused_total{{cause=\"{cause}\"}} ");
        let text = side.recorder.text();
        let found = text.lines().find_map(|written| written.strip_prefix(&line).map(str::to_owned));
        found.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    for guess in 0..MOST {
        let refused = with(&side, &format!("guess-{guess}"), "POST", "/v1/table/reload", "").await;
        assert_eq!(refused.reason(), (401, "unauthorized".into()));
    }
    for token in ["guess", "anna"] {
        let refused = with(&side, token, "POST", "/v1/nowhere", "{}").await;
        assert_eq!(refused.reason(), (429, "too_many_tokens".into()), "right or wrong: {token}");
        assert_eq!(refused.headers["retry-after"], "1");
    }
    assert_eq!((count("wrong"), count("limited")), (MOST, 2));
    let elsewhere = [("authorization", "Bearer anna")];
    let other = side.ask_from("192.0.2.9", "POST", "/v1/nowhere", &elsewhere, "").await;
    assert_eq!(other.reason().0, 404, "another address is another matter");
    assert_eq!(side.get("/v1/table").await.status, 200, "who shows no token is not kept out");
    assert_eq!(side.ask("POST", "/v1/nowhere", &[], "").await.reason().0, 401);
    side.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&side, "anna", "POST", "/v1/nowhere", "{}").await.reason().0, 404);
}

#[tokio::test]
async fn a_right_token_is_no_guess_however_often_it_comes() {
    let side = side();
    for _ in 0..5 * MOST {
        let answer = with(&side, "good", "POST", "/v1/nowhere", "{}").await;
        assert_eq!(answer.reason().0, 404);
    }
}

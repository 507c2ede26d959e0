//! What tests ask of an edge's admin side.

use serde_json::Value;

use super::edge::{Edge, TOKEN};
use super::metrics::Metrics;
use super::request::{ask, get};
use super::wait::becomes;
use super::wire::Answer;

impl Edge {
    /// Reads from the admin side.
    #[track_caller]
    pub fn read(&self, path: &str) -> Value {
        let answer = get("localhost", path).to(self.admin);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Asks for a change, with the operator's token.
    #[track_caller]
    pub fn change(&self, path: &str, body: &Value) -> Answer {
        self.post_admin(path, body, Some(TOKEN))
    }

    /// Asks for a change by any method, with the operator's token; `None`: the edge went away before it answered.
    #[allow(dead_code, reason = "each test uses its own part of the harness")]
    pub fn order(&self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        let asked = ask(method, "localhost", path)
            .header("Authorization", &format!("Bearer {TOKEN}"))
            .header("Content-Type", "application/json");
        asked.body(body.to_string()).try_to(self.admin)
    }

    /// Posts to the admin side.
    #[track_caller]
    pub fn post_admin(&self, path: &str, body: &Value, token: Option<&str>) -> Answer {
        let mut asked = ask("POST", "localhost", path).header("Content-Type", "application/json");
        if let Some(token) = token {
            asked = asked.header("Authorization", &format!("Bearer {token}"));
        }
        asked.body(body.to_string()).to(self.admin)
    }

    /// The health of a region as the edge sees it.
    #[track_caller]
    pub fn health(&self, region: &str) -> String {
        self.read(&format!("/v1/regions/{region}"))["health"].as_str().expect("a health").to_owned()
    }

    /// The generation in force.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.read("/v1/table")["generation"].as_u64().expect("a generation")
    }

    /// The hash of the table in force.
    #[track_caller]
    pub fn hash(&self) -> String {
        self.read("/v1/table")["hash"].as_str().expect("a hash").to_owned()
    }

    /// One scrape.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = get("localhost", "/metrics").to(self.admin);
        assert_eq!(answer.status, 200);
        Metrics::read(&answer.text())
    }

    /// Waits until the sum over one metric's series that carry these labels is `value`. What a request or a connection
    /// comes to is counted as it ends, and so a moment after its client has been answered.
    #[track_caller]
    pub fn counts(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        becomes(&format!("{name} of {labels:?}"), value, || self.metric(name, labels));
    }

    /// Waits until so many requests have ended and are counted; by then so is all else that came of them.
    #[track_caller]
    pub fn has_counted(&self, requests: f64) {
        self.counts("rhumb_requests_total", &[], requests);
    }

    /// The sum over one metric's series that carry these labels, now.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().sum(name, labels)
    }
}

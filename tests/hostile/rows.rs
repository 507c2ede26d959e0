//! The rows, and what must come of each.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;

/// One attack.
#[derive(Deserialize, Clone)]
pub struct Row {
    /// Class and number.
    pub id: String,
    /// What is attacked.
    pub desc: String,
    /// When it passes, in the words of the corpus.
    pub must: String,
    /// The request, base64.
    raw_b64: Option<String>,
}

impl Row {
    /// The bytes to send; `None` where the row has to be scripted.
    pub fn raw(&self) -> Option<Vec<u8>> {
        self.raw_b64.as_ref().map(|text| BASE64_STANDARD.decode(text).unwrap())
    }

    /// The letters before the number.
    pub fn class(&self) -> &str {
        self.id.split('-').next().unwrap()
    }
}

/// What must come of a row with bytes.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The kind of outcome.
    pub is: Is,
    /// The status that the client gets; default: 400 where refused or aborted, 200 where forwarded.
    pub status: Option<u16>,
    /// Why, as the problem document and `rhumb_refusals_total` say it.
    pub reason: Option<String>,
    /// Why the gate refused, as `rhumb_parse_errors_total` says it. Where it is absent, the gate must not have.
    pub cause: Option<String>,
    /// The region that gets it; default: `eu`.
    pub at: Option<String>,
    /// The target that the region gets.
    pub target: Option<String>,
    /// The body that the region gets, its framing undone.
    pub body: Option<String>,
    /// Fields that the region gets once, with this value.
    #[serde(default)]
    pub has: BTreeMap<String, String>,
    /// Fields that the region does not get, in any spelling.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Managed headers that are counted as spoofed, and how often.
    #[serde(default)]
    pub spoofed: BTreeMap<String, u32>,
    /// What its record in the access log says under these keys.
    #[serde(default)]
    pub logged: BTreeMap<String, Value>,
    /// What Rhumb takes it for.
    pub operation: Option<String>,
    /// Text that is nowhere in what a region gets, or in what the client is told where no region gets it.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Whether the edge has to close the connection after its answer without being asked.
    #[serde(default)]
    pub closes: bool,
    /// Whether the client ends its half after the last byte.
    #[serde(default)]
    pub fin: bool,
}

/// The kinds of outcome.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Is {
    /// R4: one answer of this status, the connection closed, no byte at any region.
    Refused,
    /// ABRT: 400 or a close; a region sees an aborted request or nothing, and its connection is not used again.
    Aborted,
    /// NM and ST: one request at one region, in normal form, with Rhumb's own fields and no others.
    Forwarded,
    /// The edge answers by itself; no byte at any region; the connection may stay.
    Answered,
    /// The same by the administration listener.
    Admin,
}

/// Every row of the corpus.
pub fn corpus() -> Vec<Row> {
    read(include_str!("cases.jsonl"))
}

/// Every row of our own.
pub fn own() -> Vec<Row> {
    read(include_str!("own.jsonl"))
}

fn read(text: &str) -> Vec<Row> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// What must come of the rows with bytes, by id.
pub fn expectations() -> BTreeMap<String, Expectation> {
    toml::from_str(include_str!("expectations.toml")).unwrap()
}

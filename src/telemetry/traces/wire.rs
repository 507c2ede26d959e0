//! The messages of OTLP 1.x over HTTP that spans travel in, with the numbers that its specification gives their fields.
//!
//! Why not the crate of OpenTelemetry's messages: it brings the SDK and a gRPC stack with it, some thirty crates, for
//! these few. The tests read what is written here with that very crate.
//!
//! Never: fields that nothing here fills.

use std::time::Duration;

use prost::Message;

use super::exporter::Origin;
use super::span::{Record, Span, Value};

/// The conventions that the names of attributes follow.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.27.0";

/// The bits of a span's flags: recorded; whether its parent is elsewhere is known; and it is.
const RECORDED: u32 = 1;
const PARENT_KNOWN: u32 = 1 << 8;
const PARENT_ELSEWHERE: u32 = 1 << 9;

const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
    #[prost(string, tag = "3")]
    schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// What tells a collector of these requests.
pub(super) fn request(origin: &Origin, records: &[Record]) -> Vec<u8> {
    let spans = records.iter().flat_map(|record| {
        let calls = record.attempts.iter().map(|call| span(record, call, KIND_CLIENT));
        std::iter::once(span(record, &record.request, KIND_SERVER)).chain(calls)
    });
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let resource = [
        ("service.name", "rhumb".to_owned()),
        ("service.version", version.clone()),
        ("service.instance.id", origin.id.to_string()),
    ];
    let spans = ScopeSpans {
        scope: Some(Scope { name: "rhumb".into(), version }),
        spans: spans.collect(),
        schema_url: CONVENTIONS.into(),
    };
    let all = ResourceSpans {
        resource: Some(Resource {
            attributes: resource.into_iter().map(|(key, text)| pair(key, Any::Text(text))).collect(),
        }),
        scope_spans: vec![spans],
        schema_url: CONVENTIONS.into(),
    };
    Request { resource_spans: vec![all] }.encode_to_vec()
}

/// How many spans a collector did not take, of those that it otherwise took; 0 where its answer cannot be read.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let read = Response::decode(answer).unwrap_or_default();
    read.partial_success.and_then(|partly| u64::try_from(partly.rejected_spans).ok()).unwrap_or(0)
}

fn span(record: &Record, span: &Span, kind: i32) -> SpanMessage {
    let elsewhere = kind == KIND_SERVER && span.parent.is_some();
    SpanMessage {
        trace_id: record.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        trace_state: record.state.to_string(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.to_string(),
        kind,
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended),
        attributes: span.attributes.iter().map(|(name, value)| pair(name, any(value))).collect(),
        status: span.is_error.then_some(Status { code: STATUS_ERROR }),
        flags: RECORDED | PARENT_KNOWN | if elsewhere { PARENT_ELSEWHERE } else { 0 },
    }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn any(value: &Value) -> Any {
    match value {
        Value::Code(code) => Any::Text((*code).to_owned()),
        Value::Text(text) => Any::Text(text.to_string()),
        Value::Number(number) => Any::Number(*number),
    }
}

fn nanos(since_1970: Duration) -> u64 {
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

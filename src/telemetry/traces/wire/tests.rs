//! What is written is read with OpenTelemetry's own messages, which know nothing of ours.

use std::borrow::Cow;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue as Read, any_value};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};

use super::*;

fn texts(attributes: &[Read]) -> Vec<(String, String)> {
    let text = |value: &Read| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn span(id: u64, parent: Option<u64>) -> Span {
    Span {
        id,
        parent,
        name: Cow::Borrowed("GET"),
        began: Duration::from_nanos(1_785_319_200_000_000_001),
        ended: Duration::from_nanos(1_785_319_200_000_000_003),
        attributes: vec![
            ("a", Value::Code("code")),
            ("b", Value::Text("text".into())),
            ("c", Value::Number(-1)),
        ],
        is_error: parent.is_some(),
    }
}

#[test]
fn opentelemetry_reads_what_is_written() {
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    let record =
        Record { trace, state: "a=1".into(), request: span(1, None), attempts: vec![span(2, Some(1))] };
    let inner = Record { trace, state: "".into(), request: span(3, Some(9)), attempts: Vec::new() };
    let origin = Origin { id: "edge-1".into(), zone: None };
    let read = ExportTraceServiceRequest::decode(&request(&origin, &[record, inner])[..]).unwrap();
    let [all] = &read.resource_spans[..] else { panic!("{read:?}") };
    let resource = texts(&all.resource.as_ref().unwrap().attributes);
    assert_eq!(resource[0], ("service.name".into(), "rhumb".into()));
    assert_eq!(resource[1], ("service.version".into(), env!("CARGO_PKG_VERSION").into()));
    assert_eq!(resource[2], ("service.instance.id".into(), "edge-1".into()));
    let [scope] = &all.scope_spans[..] else { panic!("{read:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "rhumb");
    assert_eq!((&*scope.schema_url, &*all.schema_url), (CONVENTIONS, CONVENTIONS));
    let [request, call, child] = &scope.spans[..] else { panic!("{read:?}") };
    assert_eq!(request.trace_id, trace.to_be_bytes());
    assert_eq!((&request.span_id, &request.parent_span_id), (&1_u64.to_be_bytes().to_vec(), &Vec::new()));
    assert_eq!((&call.span_id, &call.parent_span_id), (&2_u64.to_be_bytes().to_vec(), &request.span_id));
    assert_eq!((request.kind(), call.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!((&*request.trace_state, &*child.trace_state), ("a=1", ""));
    assert_eq!((request.flags, call.flags, child.flags), (0x101, 0x101, 0x301));
    assert_eq!(call.name, "GET");
    assert_eq!(call.end_time_unix_nano - call.start_time_unix_nano, 2);
    assert_eq!(call.start_time_unix_nano, 1_785_319_200_000_000_001);
    let pairs =
        [("a", "code"), ("b", "text"), ("c", "-1")].map(|(key, text)| (key.to_owned(), text.to_owned()));
    assert_eq!(texts(&call.attributes), pairs);
    assert_eq!(request.status, None);
    assert_eq!(call.status.as_ref().unwrap().code(), StatusCode::Error);
    // Nothing was written that it does not know: what it read is all there is.
    assert_eq!(
        read.encode_to_vec(),
        super::request(
            &origin,
            &[
                Record {
                    trace,
                    state: "a=1".into(),
                    request: span(1, None),
                    attempts: vec![span(2, Some(1))]
                },
                Record { trace, state: "".into(), request: span(3, Some(9)), attempts: Vec::new() },
            ]
        )
    );
}

#[test]
fn what_a_collector_rejects_is_read_from_its_answer() {
    let answer = |rejected_spans| ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans, error_message: "full".into() }),
    };
    assert_eq!(rejected(&answer(3).encode_to_vec()), 3);
    assert_eq!(rejected(&answer(-3).encode_to_vec()), 0);
    assert_eq!(rejected(&ExportTraceServiceResponse::default().encode_to_vec()), 0);
    assert_eq!((rejected(b""), rejected(b"{}"), rejected(&[0xff; 100])), (0, 0, 0));
}

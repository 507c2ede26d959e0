//! What becomes of a message by what a collector does, and when the task ends.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prometheus::{IntCounterVec, Opts};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::telemetry::traces::span::Span;

const LONG: Duration = Duration::from_secs(60);

fn record(id: u64) -> Record {
    let request = Span {
        id,
        parent: None,
        name: "GET".into(),
        began: Duration::ZERO,
        ended: Duration::ZERO,
        attributes: Vec::new(),
        is_error: false,
    };
    Record { trace: 1, state: "".into(), request, attempts: Vec::new() }
}

/// An exporter with so many requests before it, and where they are counted.
fn exporter(url: &str, records: u64) -> (Exporter, IntCounterVec) {
    let counts = IntCounterVec::new(Opts::new("traces", "traces"), &["outcome"]).unwrap();
    let (queue, waiting) = tokio::sync::mpsc::channel(4_096);
    (0..records).for_each(|id| queue.try_send(record(id)).unwrap());
    let origin = Origin { id: "edge-1".into(), zone: None };
    (Exporter::new(waiting, url.parse().unwrap(), origin, Outcomes::of(&counts)), counts)
}

fn counted(counts: &IntCounterVec) -> [u64; 4] {
    ["exported", "refused", "failed", "unsent"].map(|code| counts.with_label_values(&[code]).get())
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Takes one request and answers it; returns its head and how many spans it told of.
async fn answer(listener: &TcpListener, answer: &[u8]) -> (String, usize) {
    let (mut stream, _): (_, SocketAddr) = listener.accept().await.unwrap();
    let mut came = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut came).await.unwrap(), 0, "it left early");
        let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(came[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let body = &came[end + 4..];
        if body.len() == length.parse::<usize>().unwrap() {
            let read = ExportTraceServiceRequest::decode(body).unwrap();
            stream.write_all(answer).await.unwrap();
            return (head, read.resource_spans[0].scope_spans[0].spans.len());
        }
    }
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What becomes of three requests at the end of a process, before a collector that gives this answer.
async fn at_the_end(said: &[u8]) -> [u64; 4] {
    let (listener, url) = listener().await;
    let (exporter, counts) = exporter(&url, 3);
    let (unsent, (_, spans)) = tokio::join!(exporter.run(async {}, LONG), answer(&listener, said));
    assert_eq!((spans, counted(&counts)[3]), (3, unsent));
    counted(&counts)
}

#[tokio::test]
async fn a_message_says_what_it_is_and_is_counted_once_it_is_taken() {
    let (listener, url) = listener().await;
    let (exporter, counts) = exporter(&format!("{url}/tenant-7/"), 3);
    let said = response("200 OK", b"");
    let (unsent, (head, spans)) = tokio::join!(exporter.run(async {}, LONG), answer(&listener, &said));
    assert!(head.starts_with("POST /tenant-7/v1/traces HTTP/1.1\r\n"), "{head}");
    let host = format!("host: {}", url.trim_start_matches("http://"));
    for field in ["content-type: application/x-protobuf", "connection: close", &host] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    assert_eq!((unsent, spans, counted(&counts)), (0, 3, [3, 0, 0, 0]));
}

#[tokio::test]
async fn what_a_collector_will_not_take_is_not_sent_again() {
    for status in ["400 Bad Request", "404 Not Found", "500 Internal Server Error"] {
        assert_eq!(at_the_end(&response(status, b"no")).await, [0, 3, 0, 0], "{status}");
    }
    let moved =
        b"HTTP/1.1 308 Permanent Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(at_the_end(moved).await, [0, 3, 0, 0], "nor is a redirect followed");
}

#[tokio::test]
async fn what_a_collector_takes_in_part_is_counted_in_part() {
    let partly = |rejected_spans| ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans, error_message: String::new() }),
    };
    assert_eq!(at_the_end(&response("200 OK", &partly(1).encode_to_vec())).await, [2, 1, 0, 0]);
    assert_eq!(at_the_end(&response("200 OK", &partly(99).encode_to_vec())).await, [0, 3, 0, 0]);
    assert_eq!(at_the_end(&response("202 Accepted", b"{}")).await, [3, 0, 0, 0]);
    let endless = response("200 OK", &vec![0; 1024 * 1024]);
    assert_eq!(at_the_end(&endless).await, [3, 0, 0, 0], "it has taken them, however much it says");
}

#[tokio::test]
async fn what_could_be_taken_later_is_unsent_where_there_is_no_later() {
    for said in [&response("503 Service Unavailable", b"")[..], b"nonsense\r\n\r\n", b""] {
        assert_eq!(at_the_end(said).await, [0, 0, 0, 3]);
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_outlast_the_last_words() {
    let (_listener, url) = listener().await;
    let (exporter, counts) = exporter(&url, 3);
    assert_eq!(exporter.run(async {}, Duration::from_millis(20)).await, 3);
    assert_eq!(counted(&counts), [0, 0, 0, 3]);
}

#[tokio::test]
async fn more_than_a_message_holds_is_sent_in_several() {
    let (listener, url) = listener().await;
    let (exporter, counts) = exporter(&url, 1_100);
    let said = response("200 OK", b"");
    let taken = async {
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(answer(&listener, &said).await.1);
        }
        sizes
    };
    let (unsent, sizes) = tokio::join!(exporter.run(async {}, LONG), taken);
    assert_eq!((unsent, sizes), (0, vec![BATCH, BATCH, 1_100 - 2 * BATCH]));
    assert_eq!(counted(&counts), [1_100, 0, 0, 0]);
}

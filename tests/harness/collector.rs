//! A collector of traces: an OTLP receiver that reads messages with OpenTelemetry's own types.
//!
//! Never: forgives a message that it cannot read; the panic of its thread then shows as spans that never come.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wait::await_some;

/// How a collector takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// With a 200.
    All,
    /// Not: it answers with this status.
    Nothing(u16),
    /// It reads and never answers.
    Forever,
}

/// A collector that runs for as long as the test's process.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    takes: Mutex<Takes>,
    tls: Option<Arc<ServerConfig>>,
    got: Mutex<Got>,
    /// Connections that nobody will answer.
    held: Mutex<Vec<TcpStream>>,
}

/// All that it was sent, taken or not.
#[derive(Default)]
struct Got {
    messages: usize,
    bytes: Vec<u8>,
    spans: Vec<Told>,
}

/// A span, as a test asks for it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The trace, in hexadecimal digits.
    pub trace: String,
    /// The span, in hexadecimal digits.
    pub id: String,
    /// The span that it belongs to; empty: none.
    pub parent: String,
    /// Its `tracestate`.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Whether it is a call of a region; else it is a request.
    pub is_call: bool,
    /// Whether it is said to have gone wrong.
    pub is_error: bool,
    /// When it began and ended, in nanoseconds since 1970.
    pub span: (u64, u64),
    attributes: BTreeMap<String, String>,
}

impl Told {
    /// An attribute, as text; empty: it has none of this name.
    pub fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// One in the clear that takes all.
    pub fn start() -> Collector {
        Collector::with(None)
    }

    /// One over TLS.
    pub fn over_tls(config: Arc<ServerConfig>) -> Collector {
        Collector::with(Some(config))
    }

    fn with(tls: Option<Arc<ServerConfig>>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            takes: Mutex::new(Takes::All),
            tls,
            got: Mutex::default(),
            held: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.serve(stream));
            }
        });
        Collector { address, shared }
    }

    /// How it takes what it is sent from now on.
    pub fn takes(&self, takes: Takes) {
        *self.shared.takes.lock().unwrap() = takes;
    }

    /// The line of the settings that names it.
    pub fn setting(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("otlp = \"{scheme}://localhost:{}\"", self.address.port())
    }

    /// The messages that it was sent.
    pub fn messages(&self) -> usize {
        self.shared.got.lock().unwrap().messages
    }

    /// The spans that it was sent.
    pub fn spans(&self) -> Vec<Told> {
        self.shared.got.lock().unwrap().spans.clone()
    }

    /// Whether a text is anywhere in what it was sent.
    pub fn was_sent(&self, text: &str) -> bool {
        let got = self.shared.got.lock().unwrap();
        got.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The span of the request with this id, once it has come, and the calls that belong to it.
    #[track_caller]
    pub fn request(&self, id: &str) -> (Told, Vec<Told>) {
        let spans = await_some("the request's span comes", || {
            let of_it: Vec<_> =
                self.spans().into_iter().filter(|span| span.says("rhumb.request_id") == id).collect();
            of_it.iter().any(|span| !span.is_call).then_some(of_it)
        });
        let (requests, calls): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| !span.is_call);
        assert_eq!(requests.len(), 1, "{requests:?}");
        (requests[0].clone(), calls)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        match &self.tls {
            None => {
                let kept = stream.try_clone().unwrap();
                self.exchange(stream, kept);
            }
            Some(config) => {
                let kept = stream.try_clone().unwrap();
                let session = ServerConnection::new(Arc::clone(config)).unwrap();
                self.exchange(StreamOwned::new(session, stream), kept);
            }
        }
    }

    fn exchange(&self, stream: impl Read + Write, kept: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            // A client that does not trust this certificate leaves without a request.
            if !matches!(stream.read_line(&mut line), Ok(1..)) {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(written) = line.strip_prefix("content-length: ") {
                length = written.parse().unwrap();
            }
            head.push(line);
        }
        assert!(head[0].starts_with("post /v1/traces "), "{head:?}");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let read = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let mut got = self.got.lock().unwrap();
        got.messages += 1;
        got.bytes.extend_from_slice(&body);
        for resource in &read.resource_spans {
            let whose = texts(&resource.resource.as_ref().unwrap().attributes);
            assert_eq!(whose["service.name"], "rhumb");
            got.spans.extend(resource.scope_spans.iter().flat_map(|scope| &scope.spans).map(told));
        }
        drop(got);
        let status = match *self.takes.lock().unwrap() {
            Takes::All => 200,
            Takes::Nothing(status) => status,
            Takes::Forever => return self.held.lock().unwrap().push(kept),
        };
        let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // Who asked may have gone.
        let _ = stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush());
    }
}

fn told(span: &Span) -> Told {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Told {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        name: span.name.clone(),
        is_call: span.kind() == SpanKind::Client,
        is_error: span.status.is_some(),
        span: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: texts(&span.attributes),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{}: {other:?}", pair.key),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

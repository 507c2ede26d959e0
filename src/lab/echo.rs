//! What a toy region says of a request it got: how users and tests see which region answered, and what
//! reached it.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The JSON body of most answers.
#[derive(Clone, Serialize)]
pub(super) struct Echo {
    pub(super) region: String,
    /// The address of the endpoint that answered.
    pub(super) endpoint: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub(super) protocol: String,
    /// The host asked for: `Host`, or what HTTP/2 has for it.
    pub(super) authority: Option<String>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) tenant: Option<String>,
    /// Every header received: lower-case name to its values, in the order they came.
    pub(super) headers: BTreeMap<String, Vec<String>>,
    pub(super) trailers: BTreeMap<String, Vec<String>>,
    /// Null on a plain connection.
    pub(super) tls: Option<Secured>,
    pub(super) body: Digested,
    /// The key below `/kv/`, and what is stored there after this request.
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    /// The position of the write that was executed, or of the value that was read.
    pub(super) position: Option<String>,
    /// The region that took the write which made the value.
    pub(super) written_by: Option<String>,
}

/// What is known of a TLS client.
#[derive(Clone, Serialize)]
pub(super) struct Secured {
    pub(super) server_name: Option<String>,
    /// Hex of the SHA-256 of the certificate the client showed.
    pub(super) client_certificate_sha256: Option<String>,
}

/// A body that was read, and not kept.
#[derive(Clone, Serialize)]
pub(super) struct Digested {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A body read to its end.
pub(super) struct Taken {
    pub(super) digest: Digested,
    pub(super) trailers: BTreeMap<String, Vec<String>>,
    /// The body itself, if it was no longer than what was to be kept.
    pub(super) kept: Option<Bytes>,
}

impl Echo {
    /// The echo of a request head; the rest is filled in as it becomes known.
    pub(super) fn of(head: &Parts, region: &str, endpoint: String, tls: Option<Secured>) -> Echo {
        let path = head.uri.path();
        Echo {
            region: region.to_owned(),
            endpoint,
            protocol: format!("{:?}", head.version),
            authority: head.uri.authority().map(ToString::to_string).or_else(|| text(&head.headers, "host")),
            method: head.method.to_string(),
            path: path.to_owned(),
            query: head.uri.query().map(str::to_owned),
            tenant: text(&head.headers, "x-tenant-id"),
            headers: fields(&head.headers),
            trailers: BTreeMap::new(),
            tls,
            body: Digested { bytes: 0, sha256: String::new() },
            key: path.strip_prefix("/kv/").filter(|key| !key.is_empty()).map(str::to_owned),
            value: None,
            position: None,
            written_by: None,
        }
    }
}

/// Reads a body to its end and keeps at most `most` bytes of it.
///
/// - Errors: the body ended before it was complete.
pub(super) async fn take(mut body: axum::body::Body, most: usize) -> Result<Taken, axum::Error> {
    let (mut sha256, mut bytes, mut kept) = (Sha256::new(), 0, Some(Vec::new()));
    let mut trailers = BTreeMap::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                bytes += data.len() as u64;
                sha256.update(&data);
                kept = kept.filter(|kept| kept.len() + data.len() <= most);
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
        }
    }
    let digest = Digested { bytes, sha256: hex(&sha256.finalize()) };
    Ok(Taken { digest, trailers, kept: kept.map(Bytes::from) })
}

/// The first value of a header, as text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fields(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.as_str().to_owned()).or_default().push(value);
    }
    fields
}

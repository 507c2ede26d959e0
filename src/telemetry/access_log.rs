//! The access log: one JSON object a request.
//!
//! Never: the query of a target, or a header. What a client chose is inside JSON strings, where no control character
//! can begin a line of its own.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::settings::Access;
use crate::telemetry::finished::Finished;
use crate::telemetry::lines::Open;

/// How the target is opened; `None`: there is no log.
pub(super) fn opener(target: Access) -> Option<Open> {
    match target {
        Access::Off => None,
        Access::Stdout => Some(Box::new(|| Ok(Box::new(io::stdout())))),
        Access::File(path) => Some(Box::new(move || {
            // It tells who asked for what: not everybody on the machine may read it.
            let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
            Ok(Box::new(file))
        })),
    }
}

/// What most lines need; longer ones grow.
const USUAL_LENGTH: usize = 768;

/// Keys and their order are those of the documentation.
#[derive(Serialize)]
struct Line<'a> {
    time: Text<Time>,
    request_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    client: Option<IpAddr>,
    client_identity: Option<&'a str>,
    edge: Option<&'a str>,
    method: Option<&'a str>,
    host: Option<&'a str>,
    path: Option<&'a str>,
    tenant: Option<&'a str>,
    operation: Option<&'static str>,
    route: Option<&'a str>,
    policy: Option<&'a str>,
    source_region: &'a str,
    owner_region: Option<&'a str>,
    epoch: Option<u64>,
    target_region: Option<&'a str>,
    endpoint: Option<SocketAddr>,
    failover_reason: Option<&'static str>,
    refusal: Option<&'static str>,
    attempts: u8,
    status: Option<u16>,
    request_bytes: u64,
    response_bytes: u64,
    duration_ms: f64,
    region_ms: Option<f64>,
    generation: u64,
}

/// The line of a request, with its line feed.
pub(super) fn line(finished: &Finished<'_>) -> Vec<u8> {
    let table = finished.snapshot.table();
    let decision = finished.decision;
    let region = |id| Some(table.region_name(id));
    let line = Line {
        time: Text(Time(finished.wall)),
        request_id: some(finished.request_id),
        trace_id: some(finished.trace_id),
        client: finished.client,
        client_identity: finished.client_identity,
        edge: finished.edge,
        method: some(finished.method),
        host: some(finished.host),
        path: some(finished.path),
        tenant: decision.and_then(|decision| decision.tenant).map(|tenant| table.tenants().id(tenant)),
        operation: decision.map(|decision| decision.operation.code()),
        route: decision.and_then(|decision| table.route(decision.route?)).map(|route| &*route.name),
        policy: decision.and_then(|decision| table.policy(decision.policy)).map(|policy| &*policy.name),
        source_region: table.region_name(finished.source),
        owner_region: decision.and_then(|decision| decision.owner).and_then(region),
        epoch: decision.and_then(|decision| decision.epoch).map(|epoch| epoch.0),
        target_region: decision.and_then(rhumb_decision::Decision::target).and_then(region),
        endpoint: finished.endpoint,
        failover_reason: decision.and_then(rhumb_decision::Decision::failover).map(|reason| reason.code()),
        refusal: finished.refusal.map(|refusal| refusal.code()),
        attempts: finished.attempts,
        status: (finished.status != 0).then_some(finished.status),
        request_bytes: finished.request_bytes,
        response_bytes: finished.response_bytes,
        duration_ms: millis(finished.duration),
        region_ms: finished.region_duration.map(millis),
        generation: finished.snapshot.generation().0,
    };
    let mut bytes = Vec::with_capacity(USUAL_LENGTH);
    // Nothing here can fail: the target is memory, and every key is a text.
    let _ = serde_json::to_writer(&mut bytes, &line);
    bytes.push(b'\n');
    bytes
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn millis(duration: Duration) -> f64 {
    u32::try_from(duration.as_micros())
        .map_or_else(|_| duration.as_secs_f64() * 1_000.0, |micros| f64::from(micros) / 1_000.0)
}

/// Written as what it displays.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

/// Time since 1970 as RFC 3339 in UTC, to the millisecond.
pub(crate) struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let milli = self.0.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture::{self, finished};
    use rhumb_decision::reason::Refusal;
    use rhumb_decision::{Facts, decide};
    use serde_json::{Value, json};

    #[test]
    fn a_line_has_the_documented_keys_in_their_order() {
        let snapshot = fixture::snapshot(3);
        let eu = snapshot.table().region_named("eu-west-1").unwrap();
        let decision = decide(&Facts::new("POST", "acme.app.example", "/v1/cases", eu), &snapshot);
        let line = line(&Finished {
            endpoint: Some("127.0.0.1:9".parse().unwrap()),
            attempts: 1,
            region_duration: Some(Duration::from_micros(1_500)),
            ..finished(&snapshot, eu, Some(&decision), 201)
        });
        let text = std::str::from_utf8(&line).unwrap();
        assert_eq!(
            text,
            "{\"time\":\"2026-07-29T10:00:00.042Z\",\"request_id\":\"id\",\"trace_id\":null,\
             \"client\":\"192.0.2.7\",\"client_identity\":null,\"edge\":null,\"method\":\"POST\",\"host\":\"acme.app.example\",\"path\":\"/v1/cases\",\
             \"tenant\":\"acme\",\"operation\":\"write\",\"route\":\"case-write\",\"policy\":\"default\",\
             \"source_region\":\"eu-west-1\",\"owner_region\":\"us-east-1\",\"epoch\":7,\
             \"target_region\":\"us-east-1\",\"endpoint\":\"127.0.0.1:9\",\"failover_reason\":null,\
             \"refusal\":null,\"attempts\":1,\"status\":201,\"request_bytes\":10,\"response_bytes\":20,\
             \"duration_ms\":2.0,\"region_ms\":1.5,\"generation\":3}\n"
        );
    }

    #[test]
    fn what_is_unknown_is_null_and_what_is_hostile_stays_on_its_line() {
        let snapshot = fixture::snapshot(1);
        let eu = snapshot.table().region_named("eu-west-1").unwrap();
        let line = line(&Finished {
            refusal: Some(Refusal::BadRequest),
            host: "",
            path: "/\r\n{\"time\":1}\u{1b}[2J\u{7f}",
            client: None,
            ..finished(&snapshot, eu, None, 0)
        });
        assert_eq!(line.iter().filter(|byte| **byte < 0x20).count(), 1, "the line feed at the end alone");
        let seen: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(seen["path"], "/\r\n{\"time\":1}\u{1b}[2J\u{7f}");
        assert_eq!(seen["refusal"], "bad_request");
        for key in [
            "tenant",
            "operation",
            "route",
            "owner_region",
            "epoch",
            "target_region",
            "status",
            "host",
            "client",
            "client_identity",
            "edge",
        ] {
            assert_eq!(seen.get(key), Some(&json!(null)), "{key}");
        }
    }

    #[test]
    fn time_is_told_in_utc_to_the_millisecond() {
        assert_eq!(Time(Duration::ZERO).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(Duration::from_millis(951_782_399_999)).to_string(), "2000-02-28T23:59:59.999Z");
        assert!(Time(Duration::MAX).to_string().ends_with('Z'));
    }
}

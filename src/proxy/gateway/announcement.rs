//! `POST /.well-known/rhumb/ownership`: an edge that moves ownership tells the region's gate of it.
//!
//! The answer is 200 once the ownership is kept and in force, so that no older write passes, and no write of the tenants
//! is on its way through here any more. Before a planned move an edge asks for a fence: nothing is learned then, and no
//! write passes for a while; what it announces under that fence is taken only if the fence has held until then.
//!
//! Never: lets a client speak for its edge; answers 200 while a write could still get through.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::proxy::Session;
use rhumb_decision::gateway::HIGHEST_EPOCH;
use rhumb_decision::tenants::is_tenant_id;
use rhumb_decision::units::{Epoch, Key, Millis};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fences::LONGEST;
use super::{Gateway, is_sent_on};
use crate::control::news::News;
use crate::control::snapshot::Current;
use crate::proxy::rhumb::Rhumb;
use crate::proxy::state::Arrived;

/// Where ownership is announced.
const PATH: &str = "/.well-known/rhumb/ownership";
/// The most tenants in one announcement.
const MOST_TENANTS: usize = 1_000;
/// So many take no more than this, however they are written.
const MOST_BYTES: usize = 1024 * 1024;
/// The longest that an announcement may take to come.
const ARRIVES: Duration = Duration::from_secs(10);
/// The longest that writes in flight are waited for.
const SETTLES: Duration = Duration::from_secs(5);
/// The longest that it takes until what was announced is kept; a fence has to stand until then.
const KEPT_WITHIN: Millis = Millis(10_000);
/// How often they are looked at meanwhile.
const GLANCES: Duration = Duration::from_millis(5);

#[derive(Deserialize)]
struct Told {
    region: String,
    tenants: Vec<Moved>,
    /// Let nothing of these pass for so long.
    fence: Option<Fence>,
    /// This fence has to have held.
    fenced: Option<u64>,
}

#[derive(Deserialize)]
struct Fence {
    id: u64,
    /// 0 lifts it.
    ms: u64,
}

#[derive(Deserialize)]
struct Moved {
    tenant: String,
    owner: String,
    epoch: u64,
}

/// What is answered.
type Answer = (StatusCode, Value);

/// Whether `request` announces ownership.
pub(super) fn is_told(session: &Session) -> bool {
    let request = session.req_header();
    request.method == Method::POST && request.uri.path() == PATH && !is_sent_on(&request.headers)
}

impl Rhumb {
    /// Takes an announcement, and waits until it holds.
    pub(super) async fn announced(
        &self,
        gateway: &Gateway,
        session: &mut Session,
        arrived: &Arrived,
    ) -> Answer {
        if !gateway.may_announce(arrived, &session.req_header().headers) {
            self.recorder.unproven("nothing");
            return problem(StatusCode::UNAUTHORIZED, "unproven");
        }
        let body = match pingora::time::timeout(ARRIVES, body(session)).await {
            Ok(Ok(body)) => body,
            Ok(Err(status)) => return problem(status, "bad_request"),
            Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        };
        let here = self.edge.region.as_str();
        let headers = &session.req_header().headers;
        let announcer = gateway.announcer(arrived, headers, (here, &body), self.clock.wall());
        let announcer = match announcer {
            Ok(announcer) => announcer,
            Err(unproven) => {
                // Whoever signed for another region has come to the wrong one, which is worth knowing.
                let is_of_another = read(&body).is_some_and(|told| {
                    told.region != here
                        && gateway
                            .announcer(arrived, headers, (&told.region, &body), self.clock.wall())
                            .is_ok()
                });
                if is_of_another {
                    return problem(StatusCode::MISDIRECTED_REQUEST, "misdirected");
                }
                self.recorder.unproven(unproven.code());
                return problem(StatusCode::UNAUTHORIZED, "unproven");
            }
        };
        let Some(told) = read(&body) else { return problem(StatusCode::BAD_REQUEST, "bad_request") };
        if told.region != here {
            return problem(StatusCode::MISDIRECTED_REQUEST, "misdirected");
        }
        if let Some(Fence { id, ms }) = told.fence {
            return self.fence(gateway, &told.tenants, id, Millis(ms)).await;
        }
        tracing::info!(%announcer, tenants = told.tenants.len(), "ownership was announced");
        // Even where they are known already: whoever taught it did not know what had passed before.
        if let Some(id) = told.fenced
            && higher(&told.tenants, &self.reader.current()).is_empty()
            && !self.holds_on(gateway, &told.tenants, id)
        {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "fence_lapsed");
        }
        let answer = self.take(&told.tenants).await;
        if let (StatusCode::OK, Some(id)) = (answer.0, told.fenced) {
            // From here on the higher epoch keeps older writes out.
            gateway.fences.raise(keys(&told.tenants), id, Millis(0), self.clock.now());
        }
        answer
    }

    /// Raises a fence, and waits until nothing is on its way that passed before it stood.
    async fn fence(&self, gateway: &Gateway, tenants: &[Moved], id: u64, span: Millis) -> Answer {
        let better = higher(tenants, &self.reader.current());
        if !better.is_empty() && span > Millis(0) {
            return (StatusCode::CONFLICT, json!({"reason": "stale_epoch", "tenants": better}));
        }
        let now = self.clock.now();
        gateway.fences.raise(keys(tenants), id, now.after(span.min(LONGEST)), now);
        if span > Millis(0) && tokio::time::timeout(SETTLES, self.writes_ended(tenants.iter())).await.is_err()
        {
            gateway.fences.raise(keys(tenants), id, Millis(0), now);
            return problem(StatusCode::SERVICE_UNAVAILABLE, "writes_in_flight");
        }
        (StatusCode::OK, json!({"fenced": tenants.len()}))
    }

    /// Whether the fence has held until now, and does until what is announced under it is kept.
    fn holds_on(&self, gateway: &Gateway, tenants: &[Moved], id: u64) -> bool {
        gateway.fences.holds_on(keys(tenants), id, KEPT_WITHIN, || self.clock.now())
    }

    async fn take(&self, tenants: &[Moved]) -> Answer {
        let better = higher(tenants, &self.reader.current());
        // The rest is news in any case: whoever is told of a higher epoch refuses what is older.
        let news = tenants.iter().map(|moved| News {
            tenant: moved.tenant.as_str().into(),
            owner: moved.owner.as_str().into(),
            epoch: Epoch(moved.epoch),
        });
        if let Err(cause) = self.newsdesk.tell(news.collect()).await {
            tracing::error!(?cause, "ownership that was announced cannot be kept");
            return problem(StatusCode::SERVICE_UNAVAILABLE, "not_kept");
        }
        if !better.is_empty() {
            return (StatusCode::CONFLICT, json!({"reason": "stale_epoch", "tenants": better}));
        }
        // What this region owns is written here from now on, and need not end.
        let left = tenants.iter().filter(|moved| moved.owner != self.edge.region.as_str());
        if tokio::time::timeout(SETTLES, self.writes_ended(left)).await.is_err() {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "writes_in_flight");
        }
        (StatusCode::OK, json!({"taken": tenants.len()}))
    }

    /// Waits until no write of these tenants is in flight that was not judged by what holds now.
    async fn writes_ended(&self, tenants: impl Iterator<Item = &Moved>) {
        // The counts outlive snapshots; and this one is no older than what was kept.
        let writes = Arc::clone(&self.reader.current().live.writes);
        for moved in tenants {
            while writes.in_flight(Key::of(moved.tenant.as_bytes())) > 0 {
                tokio::time::sleep(GLANCES).await;
            }
        }
    }
}

/// The tenants' hashes.
fn keys(tenants: &[Moved]) -> impl Iterator<Item = Key> + Clone + '_ {
    tenants.iter().map(|moved| Key::of(moved.tenant.as_bytes()))
}

/// The ownerships that are known better here: a higher epoch, or the same with another owner.
fn higher(tenants: &[Moved], current: &Current) -> Vec<Value> {
    let table = current.table();
    let known = tenants.iter().filter_map(|moved| {
        let row = table.tenants().find(&moved.tenant)?;
        let known = current.ownership().of(&moved.tenant, &row);
        let owner = table.region_name(known.owner);
        let agrees = known.epoch.0 < moved.epoch || (known.epoch.0 == moved.epoch && owner == moved.owner);
        (!agrees).then(|| json!({"tenant": moved.tenant, "owner": owner, "epoch": known.epoch.0}))
    });
    known.collect()
}

/// What a body says; `None`: nothing that would be announced.
fn read(body: &[u8]) -> Option<Told> {
    let told: Told = serde_json::from_slice(body).ok()?;
    let is_name = |text: &str| is_tenant_id(text.as_bytes());
    let sound =
        |moved: &Moved| is_name(&moved.tenant) && is_name(&moved.owner) && moved.epoch <= HIGHEST_EPOCH.0;
    let fits = (1..=MOST_TENANTS).contains(&told.tenants.len());
    (fits && is_name(&told.region) && told.tenants.iter().all(sound)).then_some(told)
}

async fn body(session: &mut Session) -> Result<Bytes, StatusCode> {
    let mut whole = Vec::new();
    loop {
        match session.as_downstream_mut().read_request_body().await {
            Ok(Some(piece)) if whole.len() + piece.len() > MOST_BYTES => {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Ok(Some(piece)) => whole.extend_from_slice(&piece),
            Ok(None) => return Ok(whole.into()),
            Err(_) => return Err(StatusCode::BAD_REQUEST),
        }
    }
}

fn problem(status: StatusCode, reason: &str) -> Answer {
    (status, json!({"status": status.as_u16(), "reason": reason}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tenants: &str) -> Option<usize> {
        read(format!(r#"{{"region":"eu","tenants":{tenants}}}"#).as_bytes()).map(|told| told.tenants.len())
    }

    #[test]
    fn an_announcement_names_tenants_owners_and_epochs() {
        let one = r#"{"tenant":"acme","owner":"us","epoch":8}"#;
        assert_eq!(told(&format!("[{one}]")), Some(1));
        assert_eq!(told(&format!("[{}]", vec![one; MOST_TENANTS].join(","))), Some(MOST_TENANTS));
        assert_eq!(told(&format!("[{}]", vec![one; MOST_TENANTS + 1].join(","))), None);
        for odd in [
            "[]",
            "{}",
            "null",
            r#"[{"tenant":"acme","owner":"us"}]"#,
            r#"[{"tenant":"acme","owner":"us","epoch":-1}]"#,
            r#"[{"tenant":"acme","owner":"us","epoch":"8"}]"#,
            r#"[{"tenant":"acme","owner":"us","epoch":18446744073709551615}]"#,
            r#"[{"tenant":"a/b","owner":"us","epoch":8}]"#,
            r#"[{"tenant":"","owner":"us","epoch":8}]"#,
            r#"[{"tenant":"acme","owner":"u s","epoch":8}]"#,
        ] {
            assert_eq!(told(odd), None, "{odd}");
        }
        assert!(read(b"").is_none() && read(b"\xff").is_none() && read(br#"{"tenants":[]}"#).is_none());
    }
}

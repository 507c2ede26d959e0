//! `POST /.well-known/rhumb/ownership`: an edge that moves ownership tells the region's gate of it.
//!
//! The answer is 200 once the ownership is kept and in force, so that no older write passes, and no write of the tenants
//! is on its way through here any more. Before a planned move an edge asks for a fence: nothing is learned then, and no
//! write passes for a while. What it announces under that fence is taken only if the fence has held until then, and
//! withheld from other edges until it is announced once more: by then all gateways of the region know.
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
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fences::LONGEST;
use super::{Gateway, is_sent_on};
use crate::control::news::{News, NotTaken};
use crate::control::snapshot::Current;
use crate::proxy::chance;
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
    /// The fence that was raised under this number has to have held.
    fenced: Option<u64>,
}

#[derive(Deserialize)]
struct Fence {
    id: u64,
    /// 0 lifts it.
    ms: u64,
}

#[derive(Deserialize, Serialize)]
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
        tracing::debug!(%announcer, tenants = told.tenants.len(), "ownership was announced");
        match told.fenced {
            Some(number) => self.take_fenced(gateway, &told.tenants, number).await,
            None => self.take(&told.tenants).await,
        }
    }

    /// Raises a fence, and waits until nothing is on its way that passed before it stood.
    async fn fence(&self, gateway: &Gateway, tenants: &[Moved], id: u64, span: Millis) -> Answer {
        if span == Millis(0) {
            gateway.fences.lift(keys(tenants), id);
            return (StatusCode::OK, json!({"fenced": 0}));
        }
        if let Some(refused) = self.known_better(tenants) {
            return refused;
        }
        // So large a number as JSON's readers keep whole.
        let (number, now) = (chance::draw() >> 11, self.clock.now());
        gateway.fences.raise(keys(tenants), (id, number), now.after(span.min(LONGEST)), now);
        if tokio::time::timeout(SETTLES, self.writes_ended(tenants.iter())).await.is_err() {
            gateway.fences.lift_raised(keys(tenants), number);
            return problem(StatusCode::SERVICE_UNAVAILABLE, "writes_in_flight");
        }
        (StatusCode::OK, json!({"fenced": number}))
    }

    /// Takes what was announced under a fence. From then on the higher epoch keeps older writes out, after a restart too.
    async fn take_fenced(&self, gateway: &Gateway, tenants: &[Moved], number: u64) -> Answer {
        if let Some(refused) = self.known_better(tenants) {
            return refused;
        }
        let has_held = |span| gateway.fences.holds_on(keys(tenants), number, span, || self.clock.now());
        // Even where they are known already: whoever taught it did not know what had passed before.
        if !has_held(KEPT_WITHIN) {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "fence_lapsed");
        }
        if let Err(cause) = self.newsdesk.withhold(news(tenants)).await {
            return not_kept(&cause);
        }
        if !has_held(Millis(0)) {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "fence_lapsed");
        }
        gateway.fences.lift_raised(keys(tenants), number);
        (StatusCode::OK, json!({"taken": tenants.len()}))
    }

    async fn take(&self, tenants: &[Moved]) -> Answer {
        let refused = self.known_better(tenants);
        if refused.as_ref().is_some_and(|(status, _)| *status != StatusCode::CONFLICT) {
            return refused.unwrap_or_default();
        }
        // The rest is news in any case: whoever is told of a higher epoch refuses what is older.
        if let Err(cause) = self.newsdesk.tell(news(tenants)).await {
            return not_kept(&cause);
        }
        if let Some(refused) = refused {
            return refused;
        }
        // What this region owns is written here from now on, and need not end.
        let left = tenants.iter().filter(|moved| moved.owner != self.edge.region.as_str());
        if tokio::time::timeout(SETTLES, self.writes_ended(left)).await.is_err() {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "writes_in_flight");
        }
        (StatusCode::OK, json!({"taken": tenants.len()}))
    }

    /// The answer where something is known better here: which, or that it is not to be told yet.
    fn known_better(&self, tenants: &[Moved]) -> Option<Answer> {
        let current = self.reader.current();
        let better = higher(tenants, &current);
        if better.iter().any(|moved| current.operators.owned.is_withheld(&moved.tenant)) {
            return Some(problem(StatusCode::SERVICE_UNAVAILABLE, "write_frozen"));
        }
        let conflict = || (StatusCode::CONFLICT, json!({"reason": "stale_epoch", "tenants": better}));
        (!better.is_empty()).then(conflict)
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
fn higher(tenants: &[Moved], current: &Current) -> Vec<Moved> {
    let table = current.table();
    let known = tenants.iter().filter_map(|moved| {
        let row = table.tenants().find(&moved.tenant)?;
        let known = current.ownership().of(&moved.tenant, &row);
        let owner = table.region_name(known.owner);
        let agrees = known.epoch.0 < moved.epoch || (known.epoch.0 == moved.epoch && owner == moved.owner);
        let (tenant, owner) = (moved.tenant.clone(), owner.to_owned());
        (!agrees).then_some(Moved { tenant, owner, epoch: known.epoch.0 })
    });
    known.collect()
}

fn news(tenants: &[Moved]) -> Vec<News> {
    let of = |moved: &Moved| News {
        tenant: moved.tenant.as_str().into(),
        owner: moved.owner.as_str().into(),
        epoch: Epoch(moved.epoch),
    };
    tenants.iter().map(of).collect()
}

fn not_kept(cause: &NotTaken) -> Answer {
    tracing::error!(%cause, "ownership that was announced cannot be kept");
    problem(StatusCode::SERVICE_UNAVAILABLE, "not_kept")
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

//! Each route as a program meets it, and as whoever should not be there meets it.

mod callers;
mod explain;
mod hostile;
mod openapi;
mod pages;
mod shapes;
mod tls;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use rhumb_decision::Snapshot;
use rhumb_decision::drain::Ramp;
use rhumb_decision::operated::{By, Change, DrainId, Now, Operated};
use rhumb_decision::owned::{self, Owned};
use rhumb_decision::scope::Scope;
use rhumb_decision::target::EncodedSlash;
use rhumb_decision::transfer::{To, TransferId, Wanted, Which};
use rhumb_decision::units::{Millis, Wall, Weight};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::auth::Peer;
use super::server::router;
use super::{AdminState, EdgeIdentity, TokenStore};
use crate::control::clock::Clock;
use crate::control::events::Events;
use crate::control::journal::{Action, FileJournal, JournalReader, Record, StateStore as _, WallTime};
use crate::control::live::{Live, LiveRegion};
use crate::control::operator::{Asked, Heard, Operator};
use crate::control::readiness::{self, SetReadiness};
use crate::control::snapshot::{Current, Operators, Origin, Rejected, channel};
use crate::settings::TokenFile;
use crate::telemetry::{Recorder, fixture};

/// An admin side over the fixture's world, and what the steward would hear.
struct Side {
    router: Router,
    clock: Clock,
    recorder: Recorder,
    asked: mpsc::Receiver<Asked>,
    ready: SetReadiness,
    live: Live,
    /// Where its journal is.
    _folder: TempDir,
}

fn tokens(text: &str) -> Arc<TokenStore> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    std::fs::write(&path, text).unwrap();
    Arc::new(TokenStore::open(&TokenFile { path, named: true }).unwrap())
}

/// One drain, of a cell, that runs.
fn drained() -> Operated {
    let now = Now { at: Millis(0), wall: Wall(1_785_319_260_000) };
    let by = By { actor: "night-shift".into(), reason: "case 7".into(), since: now.wall, until: None };
    let ramp = Ramp { from: Weight::percent(40), to: Weight::NONE, over: Millis(600_000), step: Ramp::STEP };
    let change = Change::Begin { id: DrainId(1), scope: Scope::cell("us-east-1", "a"), ramp };
    Operated::default().apply(&change, &by, now).unwrap().0
}

/// One transfer, of a tenant that the table does not have.
fn transferring() -> Owned {
    let now = Now { at: Millis(0), wall: Wall(1_785_319_260_000) };
    let by = By { actor: "night-shift".into(), reason: "case 8".into(), since: now.wall, until: None };
    let which = Which::Tenant("initech".into());
    let wanted = Wanted { which, to: To::Standby, unplanned: false, every: None };
    let change = owned::Change::Begin { id: TransferId(1), wanted, total: 1 };
    Owned::default().apply(&change, &by, now).unwrap()
}

/// A journal of one entry.
fn journal(dir: &Path) -> JournalReader {
    let mut journal = FileJournal::open(dir).unwrap().journal;
    let record = Record {
        time: WallTime::from_millis(1_785_319_260_000),
        actor: "night-shift".into(),
        source: "127.0.0.1".into(),
        action: Action::DrainBegan,
        region: Some("us-east-1".into()),
        reason: "case 7".into(),
        before: Value::Null,
        after: serde_json::json!({"operator": 40}),
        generation: 3,
        revision: 7,
        change: None,
    };
    journal.append(record).unwrap();
    journal.reader()
}

fn no_tokens() -> Arc<TokenStore> {
    Arc::new(TokenStore::open(&TokenFile { path: "nowhere/admin.token".into(), named: false }).unwrap())
}

fn side_with(change: impl FnOnce(&mut AdminState), snapshot: Snapshot, rejected: Option<Rejected>) -> Side {
    let regions = snapshot.table().regions().iter();
    let live = Live {
        regions: regions
            .map(|region| LiveRegion {
                endpoints: region.endpoints.iter().map(|_| Arc::default()).collect(),
                ..LiveRegion::default()
            })
            .collect(),
        ..Live::default()
    };
    let origin = Origin {
        hash: "abc".into(),
        loaded_at: Duration::from_millis(1_785_319_200_042),
        loaded_on: Millis(0),
        last_good: false,
        rejected: rejected.map(Arc::new),
    };
    let clock = Clock::held(Duration::from_secs(1_785_319_260));
    clock.advance(Duration::from_secs(60));
    let recorder = Recorder::new(clock.wall());
    recorder.published(&snapshot);
    let (_, reader) = channel(Current {
        snapshot,
        live: live.clone(),
        origin: Arc::new(origin),
        operators: Operators { state: drained(), owned: transferring(), revision: 7, trouble: None },
    });
    let (operator, Heard { tables: asked, .. }) = Operator::channel();
    let (ready, readiness) = readiness::starting();
    let folder = tempfile::tempdir().unwrap();
    let mut state = AdminState {
        reader,
        recorder,
        operator,
        events: Events::new(1),
        listeners: crate::admin::listeners(),
        stopping: watch::channel(false).1,
        traffic: watch::channel(Arc::default()).1,
        journal: journal(folder.path()),
        readiness,
        clock,
        edge: EdgeIdentity { id: "edge-1".into(), region: "eu-west-1".into(), zone: None },
        encoded_slash: EncodedSlash::Refuse,
        tokens: tokens("good\n"),
        open_reads: true,
        tls: None,
    };
    change(&mut state);
    let (clock, recorder) = (state.clock.clone(), state.recorder.clone());
    let router = router(state, ([127, 0, 0, 1], 9900).into());
    Side { router, clock, recorder, asked, ready, live, _folder: folder }
}

fn side() -> Side {
    side_with(|_| (), fixture::snapshot(3), None)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }
    fn reason(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["reason"].as_str().unwrap().to_owned())
    }
}

impl Side {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.ask_from("127.0.0.1", method, path, headers, body).await
    }

    async fn ask_from(
        &self,
        peer: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(Peer(peer.parse().unwrap()));
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:9900");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("authorization", "Bearer good"), ("content-type", "application/json")];
        self.ask("POST", path, &headers, body.to_string()).await
    }

    async fn explain(&self, body: &Value) -> Value {
        let answer = self.post("/v1/explain", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_stop_even_while_a_client_stays() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut kept = None;
    let side = side_with(|state| kept = Some(state.clone()), fixture::snapshot(1), None);
    let serving = super::serve(listener, kept.unwrap(), tokio::sync::watch::channel(false).1, async {
        let _ = stopped.await;
    });
    let client = async {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"ok\n") {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
        }
        stop.send(()).unwrap();
        client
    };
    let (served, client) = tokio::join!(serving, client);
    assert!(served.is_ok());
    drop((side, client));
}

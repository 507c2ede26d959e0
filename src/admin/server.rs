//! Serving the admin API until it is told to stop.
//!
//! Never: lets a client on the same machine hold it with connections that say nothing: they are few and short-lived.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rhumb_decision::target::EncodedSlash;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::admin::api;
use crate::admin::auth::{Doorman, Peer};
use crate::admin::guesses::Guesses;
use crate::admin::operations;
use crate::admin::tokens::TokenStore;
use crate::certificates::listener::CertificateStore;
use crate::control::clock::Clock;
use crate::control::events::Events;
use crate::control::journal::JournalReader;
use crate::control::operator::Operator;
use crate::control::readiness::Readiness;
use crate::control::snapshot::Reader;
use crate::control::traffic::Traffic;
use crate::settings;
use crate::telemetry::Recorder;

/// The longest that answers on their way are waited for once the edge stops.
const GRACE: Duration = Duration::from_secs(2);

/// Connections at once; more have to wait.
const CONNECTIONS: usize = 64;

/// The longest for the head of a request, and between two.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The longest for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// How long to wait when the system has no room for a connection.
const NO_ROOM: Duration = Duration::from_millis(50);

/// How long a connection that was accepted just before another process took over may take to come with its request.
const LAST_QUESTION: Duration = Duration::from_secs(1);

/// Everything that the admin API reads, and whom it asks.
#[derive(Clone)]
pub struct AdminState {
    /// What is in force.
    pub reader: Reader,
    /// What was counted.
    pub recorder: Recorder,
    /// Who changes the table.
    pub operator: Operator,
    /// What happens.
    pub events: Events,
    /// Who may listen to that.
    pub listeners: Arc<Semaphore>,
    /// Turns true when the edge stops.
    pub stopping: watch::Receiver<bool>,
    /// What regions get.
    pub traffic: watch::Receiver<Arc<Traffic>>,
    /// The audit.
    pub journal: JournalReader,
    /// Whether the edge takes requests.
    pub readiness: Readiness,
    /// The time.
    pub clock: Clock,
    /// Which edge this is.
    pub edge: EdgeIdentity,
    /// What the edge does with an encoded slash, so that explain does the same.
    pub encoded_slash: EncodedSlash,
    /// Who may do what; none: there are no changes by HTTP.
    pub tokens: Arc<TokenStore>,
    /// Whether reading needs no token.
    pub open_reads: bool,
    /// What it shows by TLS; `None`: plain HTTP.
    pub tls: Option<Arc<CertificateStore>>,
}

/// Which edge this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeIdentity {
    /// The name of the process.
    pub id: String,
    /// Where it stands.
    pub region: String,
    /// In which zone of that.
    pub zone: Option<String>,
}

impl EdgeIdentity {
    /// As the settings say.
    #[must_use]
    pub fn of(edge: &settings::Edge) -> Self {
        Self {
            id: edge.id.as_str().to_owned(),
            region: edge.region.as_str().to_owned(),
            zone: edge.zone.as_ref().map(|zone| zone.as_str().to_owned()),
        }
    }
}

/// The routes, as [`serve`] serves them at `address`.
pub(super) fn router(state: AdminState, address: SocketAddr) -> Router {
    let doorman = Doorman {
        tokens: Arc::clone(&state.tokens),
        open_reads: state.open_reads,
        address,
        tls: state.tls.clone(),
        reads_by_post: operations::reads_by_post(),
        guesses: Guesses::default(),
        clock: state.clock.clone(),
        recorder: state.recorder.clone(),
    };
    api::routes(Arc::new(state), Arc::new(doorman))
}

/// Answers on `listener` until `stop` is ready, and then for at most two seconds more.
///
/// - `replaced`: turns true when another process accepts in the place of this one. It accepts no more then, and ends
///   once whoever it had accepted has had the time to ask.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    state: AdminState,
    mut replaced: watch::Receiver<bool>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let tls = state.tls.clone();
    let routes = router(state, listener.local_addr()?);
    let (stopping, is_stopping) = watch::channel(false);
    let mut open = JoinSet::new();
    tokio::pin!(stop);
    let by_another = loop {
        let accepted = tokio::select! {
            biased;
            Ok(_) = replaced.wait_for(|replaced| *replaced) => break true,
            () = &mut stop => break false,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (peer, routes, stopping) = (Peer(peer.ip()), routes.clone(), is_stopping.clone());
                match &tls {
                    None => open.spawn(answer(stream, peer, routes, stopping)),
                    Some(store) => {
                        open.spawn(answer_by_tls(stream, peer, routes, stopping, Arc::clone(store)))
                    }
                };
            }
            // Without a file for it, the next one has to wait until one is given back.
            Err(_) => tokio::time::sleep(NO_ROOM).await,
        }
    };
    drop(listener);
    if by_another {
        tokio::time::sleep(LAST_QUESTION).await;
    }
    stopping.send_replace(true);
    let _ = tokio::time::timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Answers one client, once it has shaken hands.
async fn answer_by_tls(
    stream: TcpStream,
    peer: Peer,
    routes: Router,
    is_stopping: watch::Receiver<bool>,
    store: Arc<CertificateStore>,
) {
    // A session is never resumed: each connection is judged by the authorities and the time of its own beginning.
    let mut config = ServerConfig::clone(&store.offer().config);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let handshake = TlsAcceptor::from(Arc::new(config)).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
        Ok(Ok(stream)) => answer(stream, peer, routes, is_stopping).await,
        Ok(Err(cause)) => {
            tracing::debug!(peer = %peer.0, %cause, "a TLS handshake with the admin side failed")
        }
        Err(_) => tracing::debug!(peer = %peer.0, "a TLS handshake with the admin side took too long"),
    }
}

/// Answers one client; once `is_stopping`, what it has asked and no more.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    routes: Router,
    mut is_stopping: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let told = async {
        let _ = is_stopping.wait_for(|stopping| *stopping).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(%cause, "a connection to the admin side broke off");
    }
}

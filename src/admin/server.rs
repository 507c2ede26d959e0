//! Serving the admin API until it is told to stop.
//!
//! Never: lets a client on the same machine hold it with connections that say nothing: they are few and short-lived.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rhumb_decision::target::EncodedSlash;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::api;
use crate::admin::auth::{Doorman, Token};
use crate::control::clock::Clock;
use crate::control::operator::Operator;
use crate::control::readiness::Readiness;
use crate::control::snapshot::Reader;
use crate::settings;
use crate::telemetry::Recorder;

/// The longest that answers on their way are waited for once the edge stops.
const GRACE: Duration = Duration::from_secs(2);

/// Connections at once; more have to wait.
const CONNECTIONS: usize = 64;

/// The longest for the head of a request, and between two.
const HEAD_TIME: Duration = Duration::from_secs(10);

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
    /// Whether the edge takes requests.
    pub readiness: Readiness,
    /// The time.
    pub clock: Clock,
    /// Which edge this is.
    pub edge: EdgeIdentity,
    /// What the edge does with an encoded slash, so that explain does the same.
    pub encoded_slash: EncodedSlash,
    /// What changes need; `None`: there are none by HTTP.
    pub token: Option<Token>,
    /// Whether reading needs no token.
    pub open_reads: bool,
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
pub fn router(state: AdminState, address: SocketAddr) -> Router {
    let doorman = Doorman { token: state.token.clone(), open_reads: state.open_reads, address };
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
            Ok((stream, _)) => {
                open.spawn(answer(stream, routes.clone(), is_stopping.clone()));
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

/// Answers one client; once `is_stopping`, what it has asked and no more.
async fn answer(stream: TcpStream, routes: Router, mut is_stopping: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(routes);
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

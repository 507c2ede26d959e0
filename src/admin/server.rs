//! Serving the admin API until it is told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use rhumb_decision::target::EncodedSlash;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

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

/// The listener, for as long as this process is the one to accept.
struct Doorway {
    listener: TcpListener,
    replaced: watch::Receiver<bool>,
}

impl Listener for Doorway {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        tokio::select! {
            biased;
            Ok(_) = self.replaced.wait_for(|replaced| *replaced) => {}
            accepted = Listener::accept(&mut self.listener) => return accepted,
        }
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
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
    let address = listener.local_addr()?;
    let (stopping, told) = oneshot::channel();
    let listener = Doorway { listener, replaced: replaced.clone() };
    let stopped = async move {
        let by_another = tokio::select! {
            biased;
            Ok(_) = replaced.wait_for(|replaced| *replaced) => true,
            () = stop => false,
        };
        if by_another {
            tokio::time::sleep(LAST_QUESTION).await;
        }
        // Nobody hears it when the serving has ended already.
        let _ = stopping.send(());
    };
    let serving = axum::serve(listener, router(state, address)).with_graceful_shutdown(stopped);
    let too_long = async {
        if told.await.is_ok() {
            tokio::time::sleep(GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = serving.into_future() => ended,
        () = too_long => Ok(()),
    }
}

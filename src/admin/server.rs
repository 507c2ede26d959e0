//! Serving the admin API until it is told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::admin::api;
use crate::admin::auth::{Doorman, Token};
use crate::control::clock::Clock;
use crate::control::operator::Operator;
use crate::control::readiness::Readiness;
use crate::control::snapshot::Reader;
use crate::telemetry::Recorder;

/// The longest that answers on their way are waited for once the edge stops.
const GRACE: Duration = Duration::from_secs(2);

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
    /// Where it listens.
    pub address: SocketAddr,
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

/// The routes, as [`serve`] serves them.
pub fn router(state: AdminState) -> Router {
    let doorman =
        Doorman { token: state.token.clone(), open_reads: state.open_reads, address: state.address };
    api::routes(Arc::new(state), Arc::new(doorman))
}

/// Answers on `listener` until `stop` is ready, and then for at most two seconds more.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    state: AdminState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (stopping, told) = oneshot::channel();
    let stopped = async move {
        stop.await;
        // Nobody hears it when the serving has ended already.
        let _ = stopping.send(());
    };
    let serving = axum::serve(listener, router(state)).with_graceful_shutdown(stopped);
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

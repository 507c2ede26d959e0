//! Serving the admin API until it is told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rhumb_decision::target::EncodedSlash;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

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
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    state: AdminState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let (stopping, told) = oneshot::channel();
    let stopped = async move {
        stop.await;
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

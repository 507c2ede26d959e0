//! Events as they happen, by server-sent events (HTML Living Standard, 9.2), taken up again behind the last that was seen.
//!
//! Never: waits for whoever listens. Who falls behind is told so, and asks again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::admin::problem::{Refused, Why};
use crate::admin::server::AdminState;
use crate::control::events::{Event, Events};

/// How often something is sent, be it nothing, so that proxies in between keep the connection.
const ALIVE: Duration = Duration::from_secs(15);

/// Those who may listen at once: each has a connection, and others want to ask too.
const LISTENERS: usize = 32;

/// Events that may wait for a connection to take them.
const WAITING: usize = 16;

/// What is sent of an event.
#[derive(Serialize)]
struct Told<'a> {
    time: &'a str,
    kind: &'static str,
    text: &'a str,
    data: &'a Value,
}

pub(super) async fn events(
    State(state): State<Arc<AdminState>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let Ok(seat) = Arc::clone(&state.listeners).try_acquire_owned() else {
        return Err(Refused::new(Why::Conflict, format!("{LISTENERS} listen already; ask again later")));
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let mut listener = state.events.listen(last);
    let events = state.events.clone();
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut is_stopping = state.stopping.clone();
    let relay = async move {
        let _seat = seat;
        for event in listener.missed {
            if sender.send(Ok(sent(&events, &event))).await.is_err() {
                return;
            }
        }
        loop {
            let came = tokio::select! {
                came = listener.live.recv() => came,
                _ = is_stopping.wait_for(|stopping| *stopping) => return,
                () = sender.closed() => return,
            };
            let next = match came {
                Ok(event) => sent(&events, &event),
                Err(RecvError::Lagged(missed)) => {
                    Sent::default().event("missed").data(format!("{{\"missed\":{missed}}}"))
                }
                Err(RecvError::Closed) => return,
            };
            if sender.send(Ok(next)).await.is_err() {
                return;
            }
        }
    };
    let stream = Relayed { relay: Box::pin(relay), receiver };
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// Those who may listen.
#[must_use]
pub fn listeners() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(LISTENERS))
}

fn sent(events: &Events, event: &Event) -> Sent {
    let told = Told { time: &event.time, kind: event.kind.code(), text: &event.text, data: &event.data };
    // It is texts throughout, so it can be written.
    let text = serde_json::to_string(&told).unwrap_or_default();
    Sent::default().id(events.id(event)).event(event.kind.code()).data(text)
}

/// What the relay sends, while it is driven by whoever reads: it ends with the connection.
struct Relayed<F> {
    relay: std::pin::Pin<Box<F>>,
    receiver: mpsc::Receiver<Result<Sent, Infallible>>,
}

impl<F: Future<Output = ()> + Send> Stream for Relayed<F> {
    type Item = Result<Sent, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let over = self.relay.as_mut().poll(cx).is_ready();
        match self.receiver.poll_recv(cx) {
            std::task::Poll::Pending if over => std::task::Poll::Ready(None),
            other => other,
        }
    }
}

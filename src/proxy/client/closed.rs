//! That a client has gone, seen without reading what it sent.

use std::time::Duration;

use tokio::io::Interest;

use super::Client;

/// How often a connection is looked at on which something waits to be read: the system then tells of nothing newer.
const LOOK: Duration = Duration::from_millis(50);

impl Client {
    /// Waits until the other end has ended the connection, or its half of it. Safe to cancel; reads nothing.
    pub(in crate::proxy) async fn closed(&self) {
        let tcp = self.io.tcp();
        loop {
            match tcp.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                Ok(_) => {}
                Err(_) => return,
            }
            // Bytes that wait keep it ready; an end behind them shows in the next look.
            tokio::time::sleep(LOOK).await;
        }
    }
}

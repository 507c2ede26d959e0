//! How a connection ends: so that its client can read what was written, or so that it sees that something is missing.

use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Client, Rest};

/// How much of a request that nobody wants is read, and for how long, before its connection is closed. Closing at
/// once would make the kernel reset the connection, and the client might never read the answer.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

impl Client {
    /// Reads on for a moment, so that the client can read what was written before the connection goes.
    async fn linger(&mut self) {
        let drain = async {
            let mut scrap = [0_u8; 4096];
            let mut read = 0;
            while read < LINGER_BYTES {
                match self.io.read(&mut scrap).await {
                    Ok(0) | Err(_) => break,
                    Ok(more) => read += more,
                }
            }
        };
        let _ = pingora::time::timeout(LINGER_TIME, drain).await;
    }
}

#[async_trait]
impl Shutdown for Client {
    async fn shutdown(&mut self) {
        if self.line.is_cut() {
            return; // the drop resets it
        }
        let unread = self.rest != Rest::Bytes(0) || !self.held.is_empty();
        if AsyncWriteExt::shutdown(self).await.is_ok() && unread && !self.ended {
            self.linger().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.line.is_cut() {
            // A socket that cannot be reset is gone already.
            let _ = self.io.tcp().set_zero_linger();
        }
    }
}

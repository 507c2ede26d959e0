//! What Pingora asks of a session, answered by an exchange.
//!
//! Times for reading and writing are not kept here: the connection measures what its client sends and takes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};
use tokio::io::AsyncWriteExt;

use super::Exchange;
use super::body::given_back;
use super::reply::Reply;
use crate::proxy::sessions::what_sessions_share;

impl Exchange {
    async fn head_out(&mut self, mut head: Box<ResponseHeader>, ends: bool) -> Result<()> {
        if self.reply.has_begun() {
            return Ok(());
        }
        let Some(client) = &mut self.client else { return Err(given_back()) };
        if head.status.is_informational() {
            Reply::interim(&head, client.gathered())?;
            self.written = Some(head);
            return self.flush().await;
        }
        if !self.coming.is_over() {
            // Nobody reads on for a body that is not wanted any more.
            self.line.set_last();
        }
        self.reply.head(&mut head, ends, self.line.is_last(), client.gathered())?;
        self.written = Some(head);
        Ok(())
    }

    async fn piece_out(&mut self, piece: &[u8]) -> Result<()> {
        let Some(client) = &mut self.client else { return Err(given_back()) };
        let most = self.reply.open(piece.len(), client.gathered());
        if most > 0 {
            let piece = piece.get(..most).unwrap_or_default();
            client.write_all(piece).await.or_err(ErrorType::WriteError, "writing a body")?;
            self.sent += most;
            self.reply.close(client.gathered());
        }
        Ok(())
    }

    fn end_out(&mut self) -> Result<()> {
        let Some(client) = &mut self.client else { return Err(given_back()) };
        self.reply.end(client.gathered())
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(client) = &mut self.client else { return Err(given_back()) };
        client.flush().await.or_err(ErrorType::WriteError, "writing an answer")?;
        self.reply.flushed();
        Ok(())
    }

    /// Writes what came of an answer: whether it is whole, and the region's failure where there was one.
    ///
    /// # Errors
    /// The client does not take it, or it is not what its head says.
    async fn tasks_out(&mut self, tasks: Vec<HttpTask>) -> Result<(bool, Option<Box<Error>>)> {
        let (mut ends, mut failed, mut has_body) = (false, None, false);
        for task in tasks {
            ends |= match task {
                HttpTask::Header(head, ends) => {
                    self.head_out(head, ends).await?;
                    ends
                }
                HttpTask::Body(piece, ends) => {
                    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                        has_body = true;
                        self.piece_out(&piece).await?;
                    }
                    ends
                }
                HttpTask::UpgradedBody(..) => {
                    return Error::e_explain(ErrorType::InternalError, "another protocol in an exchange");
                }
                HttpTask::Trailer(_) | HttpTask::Done => true,
                HttpTask::Failed(error) => {
                    failed = Some(error);
                    break;
                }
            };
        }
        if ends && failed.is_none() {
            self.end_out()?;
        }
        // A head whose body is on its way leaves with it.
        if has_body || ends || failed.is_some() || self.reply.is_urgent() {
            self.flush().await?;
        }
        Ok((ends || self.reply.is_whole(), failed))
    }
}

/// The client's, unless it says that it is the region's.
fn clients(mut error: Box<Error>) -> Box<Error> {
    if *error.esource() == ErrorSource::Unset {
        error.as_down();
    }
    error
}

#[async_trait]
impl Session for Exchange {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.next_piece().await.map_err(clients)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, ends: bool) -> Result<()> {
        self.head_out(head, ends).await.map_err(clients)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, ends: bool) -> Result<()> {
        self.write_response_header(Box::new(head.clone()), ends).await
    }

    async fn write_body(&mut self, piece: Bytes, ends: bool) -> Result<()> {
        self.response_duplex_vec(vec![HttpTask::Body(Some(piece), ends)]).await.map(|_| ())
    }

    async fn write_trailers(&mut self, _trailers: HeaderMap) -> Result<()> {
        Ok(()) // few clients of HTTP/1 could tell them from the next answer
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let (is_whole, failed) = self.tasks_out(tasks).await.map_err(clients)?;
        failed.map_or(Ok(is_whole), Err)
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.head.method, self.head.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.line.set_last();
    }

    fn is_body_done(&mut self) -> bool {
        self.coming.is_over()
    }

    async fn finish(&mut self) -> Result<()> {
        if !self.reply.has_begun() {
            return Ok(());
        }
        self.end_out().map_err(clients)?;
        if self.reply.is_out() {
            return Ok(());
        }
        self.flush().await.map_err(clients)
    }

    fn is_body_empty(&mut self) -> bool {
        self.read == 0 && self.coming.is_over()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.coming.is_over() {
            return Err(clients(self.gone().await));
        }
        self.read_body_bytes().await
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Some(&mut self.digest)
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    what_sessions_share!();
}

//! One request of HTTP/1.1 and its answer, as Pingora's session.
//!
//! Why not Pingora's own: that one reads the head that the gate has read already, keeps the spelling of every name, and
//! measures times that the connection measures better. This one takes what the gate saw, and saves a tenth of a request's
//! instructions. What asks for another protocol, and HTTP/1.0, stay with Pingora's.
//!
//! Never: ends an answer that is not whole as if it were; reads a byte beyond its request; gives a connection back for
//! a further request unless this one and its answer are whole.

mod body;
mod head;
mod reply;
mod session;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use http::Method;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::body_buffer::FixedBuffer;

use crate::proxy::client::Client;
use crate::proxy::gate::Body;
use crate::proxy::line::Line;

use body::Coming;
pub(super) use head::{Place, read};
use reply::Reply;

/// One request and its answer.
pub(super) struct Exchange {
    head: Box<RequestHeader>,
    /// `None` only once it was given back.
    client: Option<Box<Client>>,
    line: Arc<Line>,
    back: Arc<Back>,
    digest: Digest,
    /// How its body goes on.
    coming: Coming,
    /// What of its body was read and is not asked for yet, framing included.
    came: BytesMut,
    /// Bytes of its body that were handed on.
    read: usize,
    /// What of its body is kept for a further attempt.
    kept: Option<FixedBuffer>,
    reply: Reply,
    written: Option<Box<ResponseHeader>>,
    /// Bytes of the answer's body that were handed over.
    sent: usize,
}

/// What becomes of a connection after an exchange.
pub(super) enum Left {
    /// It may bring a further request.
    Open(Box<Client>),
    /// Its last answer is whole; it is to be closed in an orderly way.
    Done(Box<Client>),
    /// Something is not whole, and its client is to see that.
    Broken,
}

/// Where an exchange gives its connection back.
#[derive(Default)]
pub(super) struct Back(Mutex<Option<Left>>);

impl Back {
    /// What was given back; an exchange that was cut short gives nothing.
    pub fn take(&self) -> Left {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Left::Broken)
    }
}

impl Exchange {
    /// A request that has `head`, comes on `client`, and has a body framed as `body` of which `came` has come.
    /// `back`: where the connection goes afterwards.
    pub fn new(
        head: Box<RequestHeader>,
        body: Body,
        came: BytesMut,
        client: Box<Client>,
        back: &Arc<Back>,
    ) -> Self {
        Self {
            reply: Reply::new(head.method == Method::HEAD),
            head,
            line: client.line(),
            digest: client.digest(),
            client: Some(client),
            back: Arc::clone(back),
            coming: Coming::of(body),
            came,
            read: 0,
            kept: None,
            written: None,
            sent: 0,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let left = match () {
            () if !self.reply.is_out() || self.line.is_cut() => Left::Broken,
            () if self.line.is_last() || !self.coming.is_over() => Left::Done(client),
            () => Left::Open(client),
        };
        *self.back.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::arrival::Own;
    use crate::proxy::backlog::Backlogs;
    use crate::proxy::pace::Demand;
    use crate::proxy::seats::Seat;
    use crate::proxy::socket::Peer;
    use crate::telemetry::Recorder;
    use pingora::protocols::http::HttpTask;
    use pingora::protocols::http::custom::server::Session;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpStream};

    /// What becomes of a connection when the answer to a request with so long a body came to this.
    async fn left(body: u64, tasks: Vec<HttpTask>, line: impl FnOnce(&Line)) -> Left {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (there, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (_there, (stream, address)) = (there.unwrap(), accepted.unwrap());
        let backlogs = Backlogs::new(1 << 20, Recorder::new(Duration::ZERO).buffered_bytes());
        let demand = Demand { within: Duration::from_secs(9), least: 1 };
        let own = Own { demand, seat: Seat::waiting(Duration::ZERO), backlog: backlogs.one() };
        let client = Box::new(Client::plain(stream, Peer { address, relayed: false }, own));
        let head = Box::new(RequestHeader::build_no_case("PUT", b"/", None).unwrap());
        let back = Arc::default();
        let mut exchange = Exchange::new(head, Body::Length(body), BytesMut::new(), client, &back);
        line(&exchange.line);
        let _ = exchange.response_duplex_vec(tasks).await;
        drop(exchange);
        back.take()
    }

    fn answer(length: &str, piece: &'static str) -> Vec<HttpTask> {
        let mut head = ResponseHeader::build_no_case(200, None).unwrap();
        head.insert_header("Content-Length", length).unwrap();
        vec![HttpTask::Header(Box::new(head), false), HttpTask::Body(Some(piece.into()), false)]
    }

    #[tokio::test]
    async fn a_connection_goes_on_behind_what_is_whole_alone() {
        assert!(matches!(left(0, answer("2", "ok"), |_| {}).await, Left::Open(_)));
        assert!(matches!(left(0, answer("2", "ok"), Line::set_last).await, Left::Done(_)));
        assert!(
            matches!(left(5, answer("2", "ok"), |_| {}).await, Left::Done(_)),
            "its body is still to come"
        );
        assert!(matches!(left(0, answer("3", "ok"), |_| {}).await, Left::Broken), "a byte is missing");
        assert!(matches!(left(0, Vec::new(), |_| {}).await, Left::Broken), "nothing was answered");
        assert!(matches!(left(0, answer("2", "ok"), |line| line.set_cut(true)).await, Left::Broken));
    }
}

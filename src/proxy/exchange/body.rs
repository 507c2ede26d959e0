//! The body of a request: its bytes without their framing.
//!
//! Never: judges the framing. The connection does, and fails the read before anything odd gets here.

use bytes::{Buf, Bytes, BytesMut};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::io::AsyncReadExt;

use super::Exchange;
use crate::proxy::client::Client;
use crate::proxy::gate::{Body, Chunks};

/// How much is read at once; as much as Pingora passes on in one piece.
const PIECE: usize = 64 * 1024;

/// How a body goes on.
pub(super) enum Coming {
    /// So many bytes are to be handed on.
    Bytes(u64),
    /// Chunks, which have been handed on so far.
    Chunks(Chunks),
}

impl Coming {
    pub fn of(body: Body) -> Self {
        match body {
            Body::None => Self::Bytes(0),
            Body::Length(length) => Self::Bytes(length),
            Body::Chunked => Self::Chunks(Chunks::default()),
        }
    }

    /// Whether all of it was handed on.
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunks(chunks) => chunks.is_over(),
        }
    }

    /// The next piece among `came`; `None`: it is over, or more has to come first.
    fn take(&mut self, came: &mut BytesMut) -> Result<Option<Bytes>> {
        match self {
            Self::Bytes(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(came.len());
                *left -= most as u64;
                Ok((most > 0).then(|| came.split_to(most).freeze()))
            }
            Self::Chunks(chunks) => {
                let Ok((framing, data)) = chunks.part(came) else {
                    // The connection has read the same bytes by the same rules.
                    return Error::e_explain(ErrorType::InternalError, "a chunk that was let through");
                };
                came.advance(framing);
                let piece = (data > 0).then(|| came.split_to(data).freeze());
                let mut ahead = *chunks;
                if piece.is_some()
                    && let Ok((framing, 0)) = ahead.part(came)
                {
                    // Framing alone came behind it: perhaps the end, and then nobody has to ask for it.
                    *chunks = ahead;
                    came.advance(framing);
                }
                Ok(piece)
            }
        }
    }

    /// How much it makes sense to read at once.
    fn wanted(&self) -> usize {
        match self {
            Self::Bytes(left) => usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE),
            Self::Chunks(_) => PIECE,
        }
    }
}

impl Exchange {
    /// The next piece of the body; `None`: it is whole. Safe to cancel.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.coming.take(&mut self.came)? {
                self.read += piece.len();
                if let Some(kept) = &mut self.kept {
                    kept.write_to_buffer(&piece);
                }
                return Ok(Some(piece));
            }
            if self.coming.is_over() {
                return Ok(None);
            }
            self.came.reserve(self.coming.wanted());
            let Some(client) = &mut self.client else { return Err(given_back()) };
            let more = client.read_buf(&mut self.came).await;
            if more.or_err(ErrorType::ReadError, "reading a body")? == 0 {
                return Error::e_explain(
                    ErrorType::ConnectionClosed,
                    "the client left in the middle of a body",
                );
            }
        }
    }

    /// Waits until the client has gone, with all of its request read or not. Safe to cancel.
    pub(super) async fn gone(&mut self) -> Box<Error> {
        let is_over = self.coming.is_over();
        let Some(client) = &mut self.client else { return given_back() };
        if is_over && let Err(cause) = ended(client).await {
            return Error::because(ErrorType::ReadError, "waiting beside a request", cause);
        }
        if !is_over {
            client.closed().await;
        }
        Error::explain(ErrorType::ConnectionClosed, "the client left before its answer was whole")
    }
}

/// Waits for the end of the connection; what comes before it belongs to the next request, and is held back.
async fn ended(client: &mut Client) -> std::io::Result<()> {
    let mut nothing = [0_u8; 1];
    client.read(&mut nothing).await.map(|_| ())
}

/// No caller comes to this: an exchange has its connection as long as it lives.
pub(super) fn given_back() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "an exchange without a connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is handed on of a body that arrives in these parts.
    fn handed_on(body: Body, parts: &[&[u8]]) -> Vec<u8> {
        let (mut coming, mut came, mut all) = (Coming::of(body), BytesMut::new(), Vec::new());
        for part in parts {
            assert!(!coming.is_over(), "something is left of {parts:?}");
            came.extend_from_slice(part);
            while let Some(piece) = coming.take(&mut came).unwrap() {
                assert!(!piece.is_empty());
                all.extend_from_slice(&piece);
            }
            assert!(came.is_empty());
        }
        assert!(coming.is_over(), "more is wanted than {parts:?}");
        all
    }

    #[test]
    fn a_body_is_handed_on_without_its_framing_wherever_it_is_cut() {
        let chunked = &b"5;x=y\r\nhello\r\n1\r\n \r\n00005\r\nworld\r\n0\r\nTrailer: x\r\n\r\n"[..];
        for (body, whole, data) in [
            (Body::Length(11), &b"hello world"[..], &b"hello world"[..]),
            (Body::Chunked, chunked, b"hello world"),
            (Body::Chunked, b"0\r\n\r\n", b""),
        ] {
            assert_eq!(handed_on(body, &[whole]), data);
            for cut in 1..whole.len() {
                let (first, second) = whole.split_at(cut);
                assert_eq!(handed_on(body, &[first, second]), data, "{}", first.escape_ascii());
            }
            let bytes: Vec<_> = whole.chunks(1).collect();
            assert_eq!(handed_on(body, &bytes), data);
        }
    }

    #[test]
    fn nothing_is_waited_for_behind_the_end() {
        assert!(Coming::of(Body::None).is_over() && Coming::of(Body::Length(0)).is_over());
        let (mut coming, mut came) =
            (Coming::of(Body::Chunked), BytesMut::from(&b"3\r\nabc\r\n0\r\n\r\n"[..]));
        assert_eq!(coming.take(&mut came).unwrap().unwrap(), "abc");
        assert!(coming.is_over(), "the end came with the last piece");
    }

    #[test]
    fn no_byte_of_the_next_request_is_taken() {
        let mut came = BytesMut::from(&b"abcGET /"[..]);
        let mut coming = Coming::of(Body::Length(3));
        assert_eq!(coming.take(&mut came).unwrap().unwrap(), "abc");
        assert_eq!((coming.take(&mut came).unwrap(), &came[..]), (None, &b"GET /"[..]));
    }
}

//! A request as a connection takes it from what it read: checked, and cut from what comes behind.
//!
//! Never: waits, or sees a byte of the next request.

use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use pingora::http::RequestHeader;

use super::{Origin, arrived};
use crate::proxy::client::{Client, Rest};
use crate::proxy::exchange::{self, Place};
use crate::proxy::gate::{self, Body, Chunks, GateCause, GateLimits, Head, HttpVersion};
use crate::proxy::state::Arrived;

/// As many fields as most heads have at most.
const PLACES: usize = 24;

/// A request that passed the gate.
pub(super) enum Asked {
    /// One that is served as an exchange, with how its body is framed and what of it has come.
    Exchange(Box<RequestHeader>, Body, BytesMut),
    /// One that Pingora reads once more, from these bytes.
    Other(BytesMut, Box<Arrived>),
}

/// A head that passed the gate.
struct Checked {
    arrived: Box<Arrived>,
    method: Method,
    body: Body,
    bytes: usize,
    /// The target in origin form.
    target: String,
    /// Whether it came otherwise.
    rewritten: bool,
    /// Whether it is served as an exchange.
    is_exchange: bool,
}

/// Takes a head and what of its body has come from `head`, what was read of `client`'s connection, and holds back there
/// what comes behind.
///
/// # Errors
/// What the gate has against it. Nothing was taken then.
pub(super) fn check(
    head: &mut BytesMut,
    limits: &GateLimits,
    client: &mut Client,
    began: Duration,
) -> Result<Asked, GateCause> {
    let mut places = Vec::with_capacity(PLACES);
    let checked = gate::check_fields(head, limits, |name, value| places.push((name, value)))?;
    Checked::new(client, &checked, began)?.take(head, &places, client)
}

impl Checked {
    fn new(client: &Client, head: &Head<'_>, began: Duration) -> Result<Self, GateCause> {
        let arrived = arrived(Origin::of(client), head, began);
        if head.close {
            arrived.line.set_last();
        }
        Ok(Self {
            is_exchange: head.version == HttpVersion::Http11 && !arrived.upgrade,
            arrived,
            method: Method::from_bytes(head.method.as_bytes()).map_err(|_| GateCause::Method)?,
            body: head.body,
            bytes: head.bytes,
            target: head.target.origin_form(),
            rewritten: head.target.rewritten,
        })
    }

    fn take(self, head: &mut BytesMut, places: &[Place], client: &mut Client) -> Result<Asked, GateCause> {
        let Checked { arrived, method, body, bytes, target, rewritten, is_exchange } = self;
        let mut came = if bytes < head.len() { head.split_off(bytes) } else { BytesMut::new() };
        // What comes before an upgrade is agreed on may be no part of it.
        let (own, to_come) = match body {
            Body::Chunked => {
                let mut chunks = Chunks::default();
                (chunks.read(&came)?.unwrap_or(came.len()), Rest::Chunks(chunks))
            }
            Body::None | Body::Length(_) => {
                let length = if let Body::Length(length) = body { length } else { 0 };
                let own = usize::try_from(length).unwrap_or(usize::MAX).min(came.len());
                (own, Rest::Bytes(length - own as u64))
            }
        };
        if arrived.has_body && !arrived.upgrade {
            arrived.owed.a_body();
        }
        let behind = if own < came.len() { came.split_off(own) } else { BytesMut::new() };
        client.limit(to_come, behind);
        if is_exchange {
            let mut head = exchange::read(&head.split().freeze(), method, target, places)?;
            head.extensions_mut().insert(arrived);
            return Ok(Asked::Exchange(Box::new(head), body, came));
        }
        let mut head = if rewritten { with_target(head, &target) } else { head.split() };
        head.unsplit(came);
        Ok(Asked::Other(head, arrived))
    }
}

/// The same head with another target; `head` has passed the gate, so single spaces stand around its own.
fn with_target(head: &[u8], target: &str) -> BytesMut {
    let mut parts = head.splitn(3, |byte| *byte == b' ');
    let (method, _, rest) = (parts.next(), parts.next(), parts.next());
    let mut new = BytesMut::with_capacity(head.len() + target.len());
    for part in [method.unwrap_or_default(), b" ", target.as_bytes(), b" ", rest.unwrap_or_default()] {
        new.extend_from_slice(part);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_replaced_and_nothing_else() {
        let head = b"GET http://a/x?y HTTP/1.1\r\nHost: a b c\r\n\r\n";
        assert_eq!(&with_target(head, "/x?y")[..], b"GET /x?y HTTP/1.1\r\nHost: a b c\r\n\r\n");
    }
}

//! What the gate notes about fields, one at a time, and what follows from all of them.
//!
//! It takes names and values, wherever they came from, so a head that never was text is judged alike.

use super::super::headers::{self, Class};
use super::{Body, Expect, GateCause, HttpVersion, Upgrade, token_len, trimmed};
use crate::proxy::target::{Host, normalise_host};

/// The most options that `Connection` may name, over all its lines.
const NOMINATIONS: usize = 9;

/// Fields that Rhumb or the region acts upon and that are for the whole way: naming one as meant for
/// this connection alone would let Rhumb see it and the region not.
const WHOLE_WAY: [&str; 6] =
    ["host", "cookie", "authorization", "idempotency-key", "x-consistency", "x-consistency-token"];

/// The fields seen so far that decide about framing, host and protocol.
#[derive(Default)]
pub(super) struct Fields<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    nominations: usize,
    upgrade_nominated: bool,
    close: bool,
    upgrade: Option<bool>,
    expect: Option<bool>,
    max_forwards: Option<u32>,
}

impl<'a> Fields<'a> {
    /// Takes note of one field; `value` has no white space around it.
    pub(super) fn see(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), GateCause> {
        self.count += 1;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => match self.host.replace(value) {
                Some(_) => Err(GateCause::HostRepeated),
                None => Ok(()),
            },
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let usual = value.eq_ignore_ascii_case(b"100-continue");
                self.expect = Some(usual && self.expect.is_none());
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let websocket = value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = Some(websocket && self.upgrade.is_none());
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            12 if name.eq_ignore_ascii_case(b"max-forwards") => {
                self.max_forwards = decimal(value).and_then(|number| number.try_into().ok());
                Ok(())
            }
            14 if headers::folds_to(name, "content-length") => self.content_length(name, value),
            17 if headers::folds_to(name, "transfer-encoding") => self.transfer_encoding(name, value),
            _ => Ok(()),
        }
    }

    /// How many fields were seen.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn host(&self) -> Result<Host<'a>, GateCause> {
        normalise_host(self.host.ok_or(GateCause::HostMissing)?)
    }

    pub(super) fn body(&self, version: HttpVersion, limit: u64) -> Result<Body, GateCause> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(GateCause::BothFramings),
            (None, true) if version == HttpVersion::Http10 => Err(GateCause::OldTransferEncoding),
            (None, true) => Ok(Body::Chunked),
            (Some(length), false) if length > limit => Err(GateCause::BodyBytes),
            (Some(length), false) => Ok(Body::Length(length)),
            (None, false) => Ok(Body::None),
        }
    }

    pub(super) fn upgrade(&self, version: HttpVersion) -> Upgrade {
        match self.upgrade {
            None => Upgrade::None,
            Some(true) if self.upgrade_nominated && version == HttpVersion::Http11 => Upgrade::WebSocket,
            Some(_) => Upgrade::Ignored,
        }
    }

    pub(super) fn expect(&self) -> Expect {
        match self.expect {
            None => Expect::None,
            Some(true) => Expect::Continue,
            Some(false) => Expect::Ignored,
        }
    }

    pub(super) fn close(&self) -> bool {
        self.close
    }

    pub(super) fn max_forwards(&self) -> Option<u32> {
        self.max_forwards
    }

    fn content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), GateCause> {
        if !name.eq_ignore_ascii_case(b"content-length") {
            return Err(GateCause::FramingAlias);
        }
        let length = decimal(value).ok_or(GateCause::ContentLength)?;
        match self.length.replace(length) {
            Some(_) => Err(GateCause::RepeatedContentLength),
            None => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), GateCause> {
        if !name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(GateCause::FramingAlias);
        }
        if self.chunked {
            return Err(GateCause::RepeatedTransferEncoding);
        }
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
        if self.chunked { Ok(()) } else { Err(GateCause::TransferEncoding) }
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), GateCause> {
        for option in value.split(|&byte| byte == b',').map(trimmed).filter(|option| !option.is_empty()) {
            if token_len(option) != option.len() {
                return Err(GateCause::NominationToken);
            }
            self.nominations += 1;
            if self.nominations > NOMINATIONS {
                return Err(GateCause::NominationCount);
            }
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_nominated = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if matters_on_the_way(option) {
                return Err(GateCause::Nomination);
            }
        }
        Ok(())
    }
}

fn matters_on_the_way(option: &[u8]) -> bool {
    matches!(headers::classify(option), Some(Class::Managed(_) | Class::Forwarding))
        || WHOLE_WAY.iter().any(|name| headers::folds_to(option, name))
}

/// `0` or a number without leading zeros, that fits 64 bits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

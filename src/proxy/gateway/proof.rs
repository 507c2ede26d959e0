//! Who sent a request: an edge, by its certificate or by its signature.
//!
//! Never: believes a header that names who somebody is.

use std::time::Duration;

use http::HeaderMap;
use pingora::http::RequestHeader;

use super::Gateway;
use crate::proxy::signature::{self, Unsigned};
use crate::proxy::state::Arrived;

/// Why somebody has not proved to be an edge. Where both ways are open and both failed, the signature's reason counts
/// if there was one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unproven {
    /// It showed nothing.
    Nothing,
    /// Its certificate names somebody else, or nobody.
    OtherId,
    /// Its signature proves nothing.
    Unsigned(Unsigned),
}

impl Unproven {
    /// The label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::OtherId => "other_id",
            Self::Unsigned(Unsigned::Missing) => "no_signature",
            Self::Unsigned(Unsigned::Malformed) => "malformed",
            Self::Unsigned(Unsigned::UnknownKey) => "unknown_key",
            Self::Unsigned(Unsigned::Stale) => "stale",
            Self::Unsigned(Unsigned::Wrong) => "wrong",
        }
    }
}

impl Gateway {
    /// The edge that sent `request`; `now`: since 1970.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub(super) fn edge(
        &self,
        arrived: &Arrived,
        request: &RequestHeader,
        now: Duration,
    ) -> Result<Box<str>, Unproven> {
        self.by_certificate(arrived).or_else(|unknown| {
            let Some(keys) = &self.keys else { return Err(unknown) };
            signature::check(request, &keys.keys(), now).map(key).map_err(|why| worse(unknown, why))
        })
    }

    /// The edge that announces ownership.
    ///
    /// # Errors
    /// Why it is nobody.
    pub(super) fn announcer(
        &self,
        arrived: &Arrived,
        headers: &HeaderMap,
        (region, body): (&str, &[u8]),
        now: Duration,
    ) -> Result<Box<str>, Unproven> {
        self.by_certificate(arrived).or_else(|unknown| {
            let Some(keys) = &self.keys else { return Err(unknown) };
            let checked = signature::check_announcement(headers, region, body, &keys.keys(), now);
            checked.map(key).map_err(|why| worse(unknown, why))
        })
    }

    /// Whether somebody who announces may prove itself at all: its body is read only then.
    pub(super) fn may_announce(&self, arrived: &Arrived, headers: &HeaderMap) -> bool {
        self.by_certificate(arrived).is_ok() || (self.keys.is_some() && headers.contains_key(signature::NAME))
    }

    fn by_certificate(&self, arrived: &Arrived) -> Result<Box<str>, Unproven> {
        let identity = arrived.identity.as_ref().filter(|identity| identity.name().is_some());
        let Some(identity) = identity else { return Err(Unproven::Nothing) };
        let id = identity.presented().spiffe_id;
        let id = id.filter(|id| self.edges.iter().any(|pattern| pattern.matches(id)));
        id.map(Into::into).ok_or(Unproven::OtherId)
    }
}

fn key(name: Box<str>) -> Box<str> {
    format!("key {name}").into()
}

const fn worse(certificate: Unproven, signature: Unsigned) -> Unproven {
    match (certificate, signature) {
        (Unproven::OtherId, Unsigned::Missing) => Unproven::OtherId,
        (_, why) => Unproven::Unsigned(why),
    }
}

//! What one request says, and what the edge adds: everything about it that a decision reads.

use crate::pin::Shown;
use crate::units::{EndpointId, Key, RegionId, RegionSet};

/// The facts of one request. Time and chance are among them, so that a decision needs neither.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The host, normalised: lower case, without port and trailing dot.
    pub host: &'a str,
    /// The path, normalised, without the query.
    pub path: &'a str,
    /// The method, as it came.
    pub method: &'a str,
    /// Every value of every header that [`crate::table::Tenancy::headers`] names.
    pub tenant_headers: &'a [&'a str],
    /// Who its client is by the certificate that the client proved to hold.
    pub client: Presented<'a>,
    /// Whether a body follows.
    pub has_body: bool,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// Whether it asks for a strong read.
    pub strong: bool,
    /// The pins that it shows; `None`: none, or none that was proved.
    pub pin: Option<Shown<'a>>,
    /// Whether it carries an idempotency key.
    pub idempotency_key: bool,
    /// Whether it has waited as long as it may for a tenant whose writes are paused.
    pub waited: bool,
    /// Where it entered.
    pub source: RegionId,
    /// The zone of the edge that it entered by.
    pub zone: Option<&'a str>,
    /// What its session hashed to.
    pub session: Key,
    /// Drawn anew for each request.
    pub chance: Key,
    /// The client's country: two upper-case letters.
    pub country: Option<[u8; 2]>,
    /// The hour of the day, UTC: 0 to 23.
    pub hour: u8,
    /// The regions that have as many requests in flight as they may have.
    pub saturated: RegionSet,
    /// Where attempts have failed already, in order.
    pub tried: &'a [Attempt],
}

/// What a verified certificate says of the client that presented it; nothing, where there was none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Presented<'a> {
    /// Its SPIFFE id: the one URI among its names.
    pub spiffe_id: Option<&'a str>,
    /// The common name of its subject.
    pub subject: Option<&'a str>,
}

/// An endpoint to which a request was sent, or was about to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The region.
    pub region: RegionId,
    /// Its endpoint.
    pub endpoint: EndpointId,
}

impl<'a> Facts<'a> {
    /// The facts of a plain request that enters at `source`; everything else is absent, and chance is 0.
    #[must_use]
    pub const fn new(method: &'a str, host: &'a str, path: &'a str, source: RegionId) -> Self {
        Self {
            host,
            path,
            method,
            tenant_headers: &[],
            client: Presented { spiffe_id: None, subject: None },
            has_body: false,
            upgrade: false,
            strong: false,
            pin: None,
            idempotency_key: false,
            waited: false,
            source,
            zone: None,
            session: Key(0),
            chance: Key(0),
            country: None,
            hour: 0,
            saturated: RegionSet::EMPTY,
            tried: &[],
        }
    }

    /// Whether an attempt at this endpoint has failed already.
    #[must_use]
    pub fn has_tried(&self, region: RegionId, endpoint: EndpointId) -> bool {
        self.tried.contains(&Attempt { region, endpoint })
    }
}

//! Pingora's request to facts.
//!
//! Never: believes what only a trusted proxy may say.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use rhumb_decision::Facts;
use rhumb_decision::reason::Refusal;
use rhumb_decision::table::Tenancy;
use rhumb_decision::units::{Key, RegionId, RegionSet};

use crate::control::snapshot::Current;
use crate::proxy::headers::forward;
use crate::proxy::prepared::Prepared;
use crate::proxy::state::{Arrived, RequestState};

/// `X-Forwarded-For`, which the `http` crate has no constant for.
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_CONSISTENCY: HeaderName = HeaderName::from_static("x-consistency");
/// `Idempotency-Key`: names a write, so that a service does it once.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The names that a request's tenant headers give, each once, as far as it takes to see that they differ.
type TenantNames<'a> = ArrayVec<&'a str, 2>;

/// What tenancy's headers say, in their order.
///
/// # Errors
/// [`Refusal::BadRequest`] for a value that is no text.
pub(super) fn tenant_names<'a>(
    headers: &'a HeaderMap,
    names: &[HeaderName],
) -> Result<TenantNames<'a>, Refusal> {
    let mut found = TenantNames::new();
    for value in names.iter().flat_map(|name| headers.get_all(name)) {
        let value = value.to_str().map_err(|_| Refusal::BadRequest)?;
        if !found.contains(&value) {
            let _ = found.try_push(value);
        }
    }
    Ok(found)
}

/// The host's name, normalised.
pub(super) fn host<'a>(headers: &'a HeaderMap, arrived: &'a Arrived) -> &'a str {
    let came = || headers.get(header::HOST)?.to_str().ok()?.get(..arrived.host_len);
    arrived.host.as_deref().or_else(came).unwrap_or_default()
}

/// The facts of a request as they are now; `tenants` from [`tenant_names`].
pub(super) fn facts<'a>(
    request: &'a RequestHeader,
    arrived: &'a Arrived,
    state: &'a RequestState,
    tenants: &'a [&'a str],
    (source, zone): (RegionId, Option<&'a str>),
) -> Facts<'a> {
    let drawn = &state.facts;
    Facts {
        host: host(&request.headers, arrived),
        path: request.uri.path(),
        method: request.method.as_str(),
        tenant_headers: tenants,
        client: arrived.identity.as_ref().map(|identity| identity.presented()).unwrap_or_default(),
        has_body: arrived.has_body,
        upgrade: arrived.upgrade,
        strong: drawn.strong,
        pin: state.pins.as_ref().and_then(|carried| carried.shown()),
        idempotency_key: drawn.idempotency_key,
        waited: drawn.waited,
        source,
        zone,
        session: drawn.session,
        chance: drawn.chance,
        country: drawn.country,
        hour: drawn.hour,
        saturated: saturated(&state.current, &state.prepared),
        tried: &state.tried,
    }
}

/// The regions that have as many requests in flight as they may have.
fn saturated(current: &Current, prepared: &Prepared) -> RegionSet {
    let full = |(region, most): &&(RegionId, u32)| {
        current.live.region(*region).is_some_and(|live| live.counts.in_flight() >= *most)
    };
    prepared.limited.iter().filter(full).map(|(region, _)| *region).collect()
}

/// Whether the request asks for a strong read.
pub(super) fn strong(headers: &HeaderMap) -> bool {
    headers.get_all(X_CONSISTENCY).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"strong"))
}

/// Whether the request carries an `Idempotency-Key` that is not empty.
pub(super) fn has_idempotency_key(headers: &HeaderMap) -> bool {
    headers.get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty())
}

/// Whether the peer is one of the trusted proxies.
pub(super) fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address.to_canonical()))
}

/// The client behind trusted proxies; `is_trusted_itself`: whether the peer is one, wherever it is.
pub(super) fn client(
    headers: &HeaderMap,
    peer: SocketAddr,
    is_trusted_itself: bool,
    proxies: &[IpNet],
) -> IpAddr {
    if proxies.is_empty() && !is_trusted_itself {
        return peer.ip().to_canonical();
    }
    let values: ArrayVec<&[u8], 32> =
        headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).take(32).collect();
    let itself = is_trusted_itself.then(|| peer.ip().to_canonical());
    forward::client_address(peer.ip(), values.into_iter(), |address| {
        itself == Some(address) || is_trusted(proxies, address)
    })
}

/// What the session hashes to: the cookie that tenancy names, else the client's address.
pub(super) fn session(headers: &HeaderMap, tenancy: &Tenancy, client: IpAddr) -> Key {
    let cookie = tenancy.session_cookie.as_deref().and_then(|name| cookie(headers, name));
    cookie.map_or_else(
        || match client {
            IpAddr::V4(address) => Key::of(&address.octets()),
            IpAddr::V6(address) => Key::of(&address.octets()),
        },
        Key::of,
    )
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=").filter(|value| !value.is_empty())
    })
}

/// A country as two upper-case letters.
pub(super) fn country(value: &[u8]) -> Option<[u8; 2]> {
    match value.trim_ascii() {
        [one, two] if one.is_ascii_alphabetic() && two.is_ascii_alphabetic() => {
            Some([one.to_ascii_uppercase(), two.to_ascii_uppercase()])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn tenancy(cookie: Option<&str>) -> Tenancy {
        Tenancy { sources: Box::default(), unknown: None, session_cookie: cookie.map(Into::into) }
    }

    #[test]
    fn a_tenant_named_twice_alike_is_one_name_and_two_names_are_two() {
        let names = [HeaderName::from_static("x-tenant-id"), HeaderName::from_static("x-other")];
        let one = headers(&[("x-tenant-id", "acme"), ("x-tenant-id", "acme"), ("x-other", "acme")]);
        assert_eq!(tenant_names(&one, &names).unwrap().as_slice(), ["acme"]);
        let two = headers(&[("x-other", "globex"), ("x-tenant-id", "acme"), ("x-other", "initech")]);
        assert_eq!(tenant_names(&two, &names).unwrap().as_slice(), ["acme", "globex"]);
        let mut odd = HeaderMap::new();
        odd.insert("x-tenant-id", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(tenant_names(&odd, &names), Err(Refusal::BadRequest));
    }

    #[test]
    fn a_session_is_its_cookie_or_the_clients_address() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let with = headers(&[("cookie", "a=b; sidx=no; sid=42"), ("cookie", "c=d")]);
        assert_eq!(session(&with, &tenancy(Some("sid")), client), Key::of(b"42"));
        assert_eq!(session(&with, &tenancy(Some("none")), client), Key::of(&[192, 0, 2, 1]));
        assert_eq!(session(&with, &tenancy(None), client), Key::of(&[192, 0, 2, 1]));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let peer = SocketAddr::from(([10, 0, 0, 9], 1));
        let said = headers(&[("x-forwarded-for", "203.0.113.7")]);
        let trusted: IpNet = "10.0.0.0/8".parse().unwrap();
        assert_eq!(client(&said, peer, false, &[trusted]), IpAddr::from([203, 0, 113, 7]));
        assert_eq!(client(&said, peer, false, &[]), peer.ip());
        assert_eq!(
            client(&said, peer, true, &[]),
            IpAddr::from([203, 0, 113, 7]),
            "an edge that proved itself"
        );
        assert_eq!(
            client(&said, SocketAddr::from(([11, 0, 0, 9], 1)), false, &[trusted]),
            IpAddr::from([11, 0, 0, 9])
        );
    }

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!(country(b" de "), Some(*b"DE"));
        for odd in ["", "D", "DEU", "T1", "  "] {
            assert_eq!(country(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn consistency_and_keys_are_read() {
        assert!(
            strong(&headers(&[("x-consistency", "Strong")]))
                && !strong(&headers(&[("x-consistency", "local")]))
        );
        assert!(has_idempotency_key(&headers(&[("idempotency-key", "k")])));
        assert!(
            !has_idempotency_key(&headers(&[("idempotency-key", "")])) && !has_idempotency_key(&headers(&[]))
        );
    }
}

//! The managed headers of an edge, read instead of removed.
//!
//! Never: takes one of two values for the value; lets through what an edge would not have written.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use rhumb_decision::gateway::{MOST_HOPS, Shown, epoch, hops};
use rhumb_decision::reason::{FailoverReason, Refusal};
use rhumb_decision::tenants::is_tenant_id;
use rhumb_decision::units::Epoch;

const TENANT: &str = "x-tenant-id";
const SOURCE: &str = "x-source-region";
const TARGET: &str = "x-target-region";
const OWNER: &str = "x-owner-region";
const EPOCH: &str = "x-owner-epoch";
const FAILOVER: &str = "x-failover-reason";
const POLICY: &str = "x-request-region-policy";
const HOPS: &str = "x-region-hops";
const PRIOR: &str = "x-prior-attempt-region";
const LEAVES: &str = "x-request-timeout-ms";

/// What an edge may send: taken off like all managed headers before its own are written, and no spoof in this spelling.
pub(in crate::proxy) static EXPECTED: [HeaderName; 10] = [
    HeaderName::from_static("x-tenant-id"),
    HeaderName::from_static("x-source-region"),
    HeaderName::from_static("x-target-region"),
    HeaderName::from_static("x-owner-region"),
    HeaderName::from_static("x-owner-epoch"),
    HeaderName::from_static("x-failover-reason"),
    HeaderName::from_static("x-request-region-policy"),
    HeaderName::from_static("x-region-hops"),
    HeaderName::from_static("x-prior-attempt-region"),
    HeaderName::from_static("x-rhumb-signature"),
];

/// What an edge shows with a request.
///
/// # Errors
/// - [`Refusal::BadRequest`]: what every edge sends is missing, something came twice, or a value is none.
/// - [`Refusal::Loop`]: with this process it has passed too many.
pub(super) fn shown(headers: &HeaderMap) -> Result<Shown, Refusal> {
    let name_in = |header: &str| one(headers, header)?.map(name).transpose();
    let required = |header: &str| name_in(header)?.ok_or(Refusal::BadRequest);
    let (source, target, policy) = (required(SOURCE)?, required(TARGET)?, required(POLICY)?);
    let passed = one(headers, HOPS)?.and_then(hops).ok_or(Refusal::BadRequest)?;
    let ownership = match (name_in(OWNER)?, one(headers, EPOCH)?) {
        (None, None) => None,
        (Some(owner), Some(number)) => Some((owner, epoch(number).ok_or(Refusal::BadRequest)?)),
        _ => return Err(Refusal::BadRequest),
    };
    let failover = match one(headers, FAILOVER)? {
        None => None,
        Some(code) => {
            let known = FailoverReason::ALL.into_iter().find(|reason| reason.code() == code);
            Some(known.ok_or(Refusal::BadRequest)?)
        }
    };
    let prior = one(headers, PRIOR)?.map(prior).transpose()?;
    let shown =
        Shown { tenant: name_in(TENANT)?, source, target, ownership, policy, hops: passed, failover, prior };
    if shown.hops.saturating_add(1) >= MOST_HOPS { Err(Refusal::Loop) } else { Ok(shown) }
}

/// What an edge leaves of a request's time. Not signed, so it may only shorten what there is.
pub(super) fn leaves(headers: &HeaderMap) -> Option<Duration> {
    let millis: u32 = headers.get(LEAVES)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis.into()))
}

fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::BadRequest);
    }
    value.to_str().map(Some).map_err(|_| Refusal::BadRequest)
}

/// Names of tenants, regions and policies are written alike.
fn name(text: &str) -> Result<Box<str>, Refusal> {
    if is_tenant_id(text.as_bytes()) { Ok(text.into()) } else { Err(Refusal::BadRequest) }
}

/// `region;epoch=N`.
fn prior(text: &str) -> Result<(Box<str>, Epoch), Refusal> {
    let (region, number) = text.split_once(";epoch=").ok_or(Refusal::BadRequest)?;
    Ok((name(region)?, epoch(number).ok_or(Refusal::BadRequest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: [(&str, &str); 7] = [
        ("x-tenant-id", "acme"),
        ("x-source-region", "eu-west-1"),
        ("x-target-region", "us-east-1"),
        ("x-owner-region", "us-east-1"),
        ("x-owner-epoch", "7"),
        ("x-request-region-policy", "default"),
        ("x-region-hops", "1"),
    ];

    /// The usual headers, one of them with other values.
    fn with(name: &'static str, values: &[&str]) -> Result<Shown, Refusal> {
        let mut headers = HeaderMap::new();
        for (usual, value) in USUAL.into_iter().filter(|(usual, _)| *usual != name) {
            headers.insert(usual, value.parse().unwrap());
        }
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        shown(&headers)
    }

    #[test]
    fn what_an_edge_shows_is_read() {
        let all = with("x-failover-reason", &["drained"]).unwrap();
        assert_eq!(all.tenant.as_deref(), Some("acme"));
        assert_eq!(
            (&*all.source, &*all.target, &*all.policy, all.hops),
            ("eu-west-1", "us-east-1", "default", 1)
        );
        assert_eq!(all.ownership, Some(("us-east-1".into(), Epoch(7))));
        assert_eq!((all.failover, all.prior), (Some(FailoverReason::Drained), None));
        let again = with("x-prior-attempt-region", &["eu-west-1;epoch=6"]).unwrap();
        assert_eq!(again.prior, Some(("eu-west-1".into(), Epoch(6))));
        let mut nobodys = HeaderMap::new();
        for (name, value) in
            USUAL.into_iter().filter(|(name, _)| !name.contains("owner") && !name.contains("tenant"))
        {
            nobodys.insert(name, value.parse().unwrap());
        }
        let nobodys = shown(&nobodys).unwrap();
        assert_eq!((nobodys.tenant, nobodys.ownership), (None, None));
    }

    #[test]
    fn what_is_expected_is_what_rhumb_manages() {
        use crate::proxy::headers::{Class, MANAGED, classify};
        for managed in MANAGED.iter().filter(|managed| !managed.name.ends_with('*')) {
            assert!(
                EXPECTED.iter().any(|name| name.as_str().eq_ignore_ascii_case(managed.name)),
                "{}",
                managed.name
            );
        }
        assert!(
            EXPECTED.iter().all(|name| matches!(classify(name.as_str().as_bytes()), Some(Class::Managed(_))))
        );
    }

    #[test]
    fn what_no_edge_would_write_is_refused() {
        for (name, values) in [
            ("x-owner-epoch", &["7", "7"][..]),
            ("x-owner-epoch", &["-1"]),
            ("x-owner-epoch", &["18446744073709551615"]),
            ("x-owner-epoch", &["seven"]),
            ("x-owner-epoch", &[" 7, 8"]),
            ("x-owner-epoch", &[""]),
            ("x-owner-epoch", &[]),
            ("x-owner-region", &["us-east-1", "eu-west-1"]),
            ("x-owner-region", &["us east"]),
            ("x-owner-region", &[]),
            ("x-target-region", &["us-east-1", "us-east-1"]),
            ("x-target-region", &[""]),
            ("x-target-region", &[]),
            ("x-source-region", &[]),
            ("x-request-region-policy", &[]),
            ("x-tenant-id", &["acme", "globex"]),
            ("x-tenant-id", &[""]),
            ("x-tenant-id", &["a/b"]),
            ("x-region-hops", &[]),
            ("x-region-hops", &["0"]),
            ("x-region-hops", &["one"]),
            ("x-region-hops", &["-1"]),
            ("x-region-hops", &["1", "1"]),
            ("x-failover-reason", &["because"]),
            ("x-prior-attempt-region", &["us-east-1"]),
            ("x-prior-attempt-region", &["us-east-1;epoch=-1"]),
            ("x-prior-attempt-region", &[";epoch=1"]),
        ] {
            assert_eq!(with(name, values), Err(Refusal::BadRequest), "{name}: {values:?}");
        }
    }

    #[test]
    fn the_fourth_process_refuses_a_request_that_goes_round() {
        for (hops, passes) in [("1", true), ("2", true), ("3", false), ("4", false), ("255", false)] {
            let told = with("x-region-hops", &[hops]);
            assert_eq!(told.map(drop), if passes { Ok(()) } else { Err(Refusal::Loop) }, "{hops}");
        }
    }

    #[test]
    fn time_that_is_left_is_a_number_or_nothing() {
        let left = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LEAVES, value.parse().unwrap());
            leaves(&headers)
        };
        assert_eq!((left("1500"), leaves(&HeaderMap::new())), (Some(Duration::from_millis(1500)), None));
        assert_eq!(["", "-1", "1.5", "99999999999", "soon"].map(left), [None; 5]);
    }
}

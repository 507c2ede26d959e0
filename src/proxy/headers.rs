//! The header names that Rhumb takes from clients and sets itself, and who else may not send what.
//!
//! Why one list: removing, setting, refusing a nomination and the documentation must name the same
//! headers. To add one, add a line here.
//!
//! A name counts in every spelling: any case, and `_` or `.` for `-`, because services that turn names
//! into variables cannot tell these apart.
//!
//! Never: reads values, except where [`trace`], [`forward`] and [`via`] say so; allocates for a name that
//! is not listed.

/// Where a request came from, and how that is told to a region.
pub mod forward;
mod strip;
/// Names for a request: its id and its place in a trace.
pub mod trace;
/// The Rhumb processes a request has passed, and loops.
pub mod via;

pub use strip::{
    Spoofed, Strip, StripRules, is_pin, response_leftovers, sets_pin, strip_request, strip_response, to_strip,
};

/// A request header that Rhumb alone may set.
#[derive(Debug, PartialEq, Eq)]
pub struct Managed {
    /// Its name, in the spelling that Rhumb sends; also the bounded label for metrics.
    pub name: &'static str,
    /// What its value says.
    pub says: &'static str,
}

/// Every managed request header. The last stands for all names that begin with `X-Rhumb-`.
pub const MANAGED: &[Managed] = &[
    Managed { name: "X-Tenant-ID", says: "the tenant that Rhumb resolved" },
    Managed { name: "X-Source-Region", says: "the region of the edge that took the request" },
    Managed { name: "X-Target-Region", says: "the region that the request is sent to" },
    Managed { name: "X-Owner-Region", says: "the region that may accept the tenant's writes" },
    Managed { name: "X-Owner-Epoch", says: "the epoch under which the edge decided" },
    Managed { name: "X-Failover-Reason", says: "why another region than the first preference was chosen" },
    Managed { name: "X-Request-Region-Policy", says: "the name of the policy that was applied" },
    Managed { name: "X-Region-Hops", says: "how many Rhumb processes the request has passed" },
    Managed { name: "X-Prior-Attempt-Region", says: "where an earlier attempt with the same key went" },
    Managed { name: "X-Rhumb-Signature", says: "a proof that an edge set the headers above" },
    Managed { name: "X-Rhumb-*", says: "whatever one Rhumb process tells another" },
];

/// Headers that Rhumb sets on every request, replacing or extending what came.
pub const FORWARDING: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Forwarded",
    "Via",
    "X-Request-ID",
    "traceparent",
    "X-Request-Timeout-Ms",
];

/// Request headers that are always removed, because services obey them and nobody at an edge should send
/// them. A name that ends in `*` stands for all that begin so.
pub const REMOVED: &[&str] = &[
    // another method than the one that was judged
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    // another path or host
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Override-URL",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded-SSL",
    "X-Forwarded-By",
    "X-Forwarded",
    "X-Scheme",
    "X-Url-Scheme",
    "Front-End-Https",
    // another client
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Envoy-External-Address",
    "X-Envoy-Internal",
    "X-Azure-ClientIP",
    "True-Client-IP",
    "Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "Fly-Client-IP",
    "Fastly-Client-IP",
    // a client certificate that nobody saw
    "X-Client-Cert*",
    "X-Client-Verify*",
    "X-Client-DN",
    "X-SSL-*",
    "SSL-Client-*",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-TLS-Client-Cert*",
    "X-Amzn-Mtls-*",
    "X-ARR-ClientCert",
    // a proxy for the service's own requests, a claim about the handshake, another protocol
    "Proxy",
    "Early-Data",
    "HTTP2-Settings",
];

/// What a header name is to Rhumb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Rhumb alone sets it, on some requests or all.
    Managed(&'static Managed),
    /// Rhumb sets it, from what came and from what it saw.
    Forwarding,
    /// Nobody's: it is removed.
    Removed,
}

/// What a request header's name is to Rhumb, in whatever spelling; `None` for ordinary names.
///
/// A few nanoseconds, no allocation: most names are told apart by first letter and length.
#[must_use]
pub fn classify(name: &[u8]) -> Option<Class> {
    let first = fold(*name.first()?);
    if !matches!(first, b'c' | b'e' | b'f' | b'h' | b'p' | b's' | b't' | b'v' | b'x') {
        return None;
    }
    bucket(&EXACT, name.len())
        .iter()
        .find(|known| known.first == first && folds_to(name, known.name))
        .or_else(|| {
            let may_be_prefixed = matches!(first, b'x' | b's');
            PREFIXES.iter().find(|known| may_be_prefixed && begins(name, known.name))
        })
        .map(|known| known.class)
}

/// Whether `name` is `known` in some spelling: any case, `_` or `.` for `-`.
#[must_use]
pub fn folds_to(name: &[u8], known: &str) -> bool {
    name.len() == known.len()
        && name.iter().zip(known.as_bytes()).all(|(&one, &other)| fold(one) == fold(other))
}

fn begins(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| folds_to(start, prefix))
}

fn fold(byte: u8) -> u8 {
    FOLDED[usize::from(byte)]
}

static FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'_' | b'.' => b'-',
            other => other.to_ascii_lowercase(),
        };
        byte += 1;
    }
    table
};

#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    first: u8,
    class: Class,
}

/// No listed name is longer.
const LONGEST: usize = 32;
const LISTED: usize = MANAGED.len() + FORWARDING.len() + REMOVED.len();
const PREFIX_COUNT: usize = count_prefixes();

/// The listed names by length, and where in the array each length begins.
struct ByLength {
    names: [Known; LISTED - PREFIX_COUNT],
    starts: [u8; LONGEST + 2],
}

static EXACT: ByLength = by_length();
static PREFIXES: [Known; PREFIX_COUNT] = prefixes();

fn bucket(table: &'static ByLength, len: usize) -> &'static [Known] {
    match table.starts.get(len..=len + 1) {
        Some([start, end]) => table.names.get(usize::from(*start)..usize::from(*end)).unwrap_or_default(),
        _ => &[],
    }
}

const fn listed(at: usize) -> Known {
    let (name, class) = if at < MANAGED.len() {
        (MANAGED[at].name, Class::Managed(&MANAGED[at]))
    } else if at < MANAGED.len() + FORWARDING.len() {
        (FORWARDING[at - MANAGED.len()], Class::Forwarding)
    } else {
        (REMOVED[at - MANAGED.len() - FORWARDING.len()], Class::Removed)
    };
    Known { name, first: name.as_bytes()[0].to_ascii_lowercase(), class }
}

const fn is_prefix(name: &str) -> bool {
    name.as_bytes()[name.len() - 1] == b'*'
}

const fn count_prefixes() -> usize {
    let (mut at, mut count) = (0, 0);
    while at < LISTED {
        count += is_prefix(listed(at).name) as usize;
        at += 1;
    }
    count
}

const fn prefixes() -> [Known; PREFIX_COUNT] {
    let mut found = [listed(0); PREFIX_COUNT];
    let (mut at, mut count) = (0, 0);
    while at < LISTED {
        let known = listed(at);
        if is_prefix(known.name) {
            found[count] = Known { name: known.name.split_at(known.name.len() - 1).0, ..known };
            count += 1;
        }
        at += 1;
    }
    found
}

const fn by_length() -> ByLength {
    let mut table = ByLength { names: [listed(0); LISTED - PREFIX_COUNT], starts: [0; LONGEST + 2] };
    let (mut len, mut count) = (0, 0);
    while len <= LONGEST {
        table.starts[len] = count as u8;
        let mut at = 0;
        while at < LISTED {
            let known = listed(at);
            if known.name.len() == len && !is_prefix(known.name) {
                table.names[count] = known;
                count += 1;
            }
            at += 1;
        }
        len += 1;
    }
    table.starts[LONGEST + 1] = count as u8;
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling that services fold: cases, and each of `-`, `_`, `.` between the words.
    fn spellings(name: &str) -> Vec<String> {
        let name = name.replace('*', "anything");
        ["-", "_", "."]
            .iter()
            .map(|joint| name.replace('-', joint))
            .flat_map(|name| [name.to_ascii_lowercase(), name.to_ascii_uppercase(), name])
            .chain([name.replacen('-', "_", 1)])
            .collect()
    }

    #[test]
    fn every_listed_name_is_known_in_every_spelling() {
        for managed in MANAGED {
            for name in spellings(managed.name) {
                assert_eq!(classify(name.as_bytes()), Some(Class::Managed(managed)), "{name}");
            }
        }
        for (list, class) in [(FORWARDING, Class::Forwarding), (REMOVED, Class::Removed)] {
            for name in list.iter().flat_map(|name| spellings(name)) {
                assert_eq!(classify(name.as_bytes()), Some(class), "{name}");
            }
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<_> = (0..LISTED).map(|at| listed(at).name.to_ascii_lowercase()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn ordinary_names_are_nobodys_business() {
        for name in [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Encoding",
            "Cookie",
            "Content-Type",
            "Content-Length",
            "Connection",
            "Authorization",
            "X-Requested-With",
            "X-API-Key",
            "X-Consistency",
            "X-Consistency-Token",
            "Idempotency-Key",
            "X-Owner-Regions",
            "X-Owner-Regio",
            "X-OwnerRegion",
            "X-Rhumb",
            "XX-Owner-Region",
            "tracestate",
            "Vary",
            "TE",
            "Expect",
            "ETag",
            "x",
            "",
            "Proxy-Status",
            "X-CSRF-Token",
            "x-owner~region",
            "CF-IPCountry",
        ] {
            assert_eq!(classify(name.as_bytes()), None, "{name}");
        }
        assert_eq!(classify(&[b'x'; 70_000]), None);
        assert_eq!(classify(b"X-Owner-Region\xad"), None);
    }
}

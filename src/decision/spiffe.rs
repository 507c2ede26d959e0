//! SPIFFE ids as text: what one is, and patterns over them.
//!
//! An id is a trust domain and segments, as in `spiffe://prod.example/edge/eu-1`. A pattern is an id in which `*`
//! stands for one whole segment of any content; in a template one segment may be `{tenant}`. The trust domain is
//! always written out: who may vouch for a name is not for a pattern to leave open.
//!
//! Never: says whether somebody may bear an id. That is for the certificate in which it stands.

/// What every id begins with.
const SCHEME: &str = "spiffe://";

/// The longest that an id and its trust domain may be, in bytes.
const LONGEST: usize = 2_048;
const LONGEST_DOMAIN: usize = 255;

/// The segment for which any other may stand, and the one that names the tenant.
const ANY: &str = "*";
const TENANT: &str = "{tenant}";

/// Whether `text` is a SPIFFE id that names somebody: a trust domain in lower case, and at least one segment.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() <= LONGEST && parts(text).is_some_and(|(_, mut path)| path.all(is_segment))
}

/// The trust domain of an id: `prod.example`.
#[must_use]
pub fn trust_domain(id: &str) -> Option<&str> {
    Some(parts(id)?.0)
}

/// The last segment of an id.
#[must_use]
pub fn last_segment(id: &str) -> Option<&str> {
    parts(id)?.1.next_back()
}

/// An id in which `*` stands for any one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The pattern that `text` writes; `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sound =
            text.len() <= LONGEST && parts(text)?.1.all(|segment| segment == ANY || is_segment(segment));
        sound.then(|| Self(text.into()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `id` is one of those that are meant.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        fits(&self.0, id).is_some()
    }
}

/// An id in which one segment names the tenant: `spiffe://prod.example/tenant/{tenant}`. `*` may stand for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(Box<str>);

impl Template {
    /// The template that `text` writes; `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, path) = parts(text)?;
        let mut tenants = 0;
        let sound = path.into_iter().all(|segment| {
            tenants += usize::from(segment == TENANT);
            segment == TENANT || segment == ANY || is_segment(segment)
        });
        (sound && tenants == 1 && text.len() <= LONGEST).then(|| Self(text.into()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tenant that `id` names; every other segment must be as the template has it.
    #[must_use]
    pub fn tenant<'i>(&self, id: &'i str) -> Option<&'i str> {
        fits(&self.0, id)?
    }

    /// An id that names `tenant`; `None` where other segments are left open, or no id can name it.
    #[must_use]
    pub fn naming(&self, tenant: &str) -> Option<String> {
        let id = self.0.replace(TENANT, tenant);
        (is_id(&id) && self.tenant(&id) == Some(tenant)).then_some(id)
    }
}

/// Trust domain and segments, where there is a sound domain and at least one segment.
fn parts(text: &str) -> Option<(&str, std::str::Split<'_, char>)> {
    let (domain, path) = text.strip_prefix(SCHEME)?.split_once('/')?;
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let sound = (1..=LONGEST_DOMAIN).contains(&domain.len()) && domain.bytes().all(fits);
    sound.then(|| (domain, path.split('/')))
}

fn is_segment(segment: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(fits)
}

/// Whether `id` is written as `wanted` says; then, what stands where it says `{tenant}`.
fn fits<'i>(wanted: &str, id: &'i str) -> Option<Option<&'i str>> {
    let ((wanted_domain, mut wanted), (domain, mut path)) = (parts(wanted)?, parts(id)?);
    if wanted_domain != domain || id.len() > LONGEST {
        return None;
    }
    let mut tenant = None;
    loop {
        match (wanted.next(), path.next()) {
            (None, None) => return Some(tenant),
            (Some(_), Some(segment)) if !is_segment(segment) => return None,
            (Some(TENANT), Some(segment)) => tenant = Some(segment),
            (Some(wanted), Some(segment)) if wanted == ANY || wanted == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_trust_domain_in_lower_case_and_segments() {
        for id in ["spiffe://prod.example/edge/eu-1", "spiffe://a_b-c.0/X", "spiffe://d/a.b/c_d/-"] {
            assert!(is_id(id), "{id}");
        }
        let long = format!("spiffe://d/{}", "a".repeat(2_048));
        for text in [
            "",
            "spiffe://",
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe:///edge",
            "SPIFFE://prod.example/edge",
            "spiffe://Prod.example/edge",
            "spiffe://prod.example:443/edge",
            "spiffe://user@prod.example/edge",
            "spiffe://prod.example/edge/",
            "spiffe://prod.example//edge",
            "spiffe://prod.example/./edge",
            "spiffe://prod.example/../edge",
            "spiffe://prod.example/a b",
            "spiffe://prod.example/a%2fb",
            "spiffe://prod.example/edge?x",
            "spiffe://prod.example/edge#x",
            "spiffe://prod.example/*",
            "https://prod.example/edge",
            &long,
        ] {
            assert!(!is_id(text), "{text:?}");
        }
    }

    #[test]
    fn a_star_stands_for_one_whole_segment() {
        let edges = Pattern::parse("spiffe://prod.example/edge/*").unwrap();
        assert!(edges.matches("spiffe://prod.example/edge/eu-1"));
        for id in [
            "spiffe://prod.example/edge",
            "spiffe://prod.example/edge/",
            "spiffe://prod.example/edge/eu/1",
            "spiffe://prod.example/edge/..",
            "spiffe://prod.example/gateway/eu-1",
            "spiffe://prod.example.evil/edge/eu-1",
            "spiffe://other.example/edge/eu-1",
            "spiffe://prod.example/EDGE/eu-1",
        ] {
            assert!(!edges.matches(id), "{id}");
        }
        let exact = Pattern::parse("spiffe://prod.example/edge/eu-1").unwrap();
        assert!(exact.matches("spiffe://prod.example/edge/eu-1"));
        assert!(!exact.matches("spiffe://prod.example/edge/eu-2"));
        for text in ["spiffe://*/edge", "spiffe://prod.example/edge*", "spiffe://prod.example", "edge/*", "*"]
        {
            assert!(Pattern::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_template_names_the_tenant_and_pins_down_the_rest() {
        let template = Template::parse("spiffe://prod.example/tenant/{tenant}/client/*").unwrap();
        assert_eq!(template.tenant("spiffe://prod.example/tenant/acme/client/7"), Some("acme"));
        for id in [
            "spiffe://prod.example/tenant/acme",
            "spiffe://prod.example/tenant/acme/client",
            "spiffe://prod.example/tenant/acme/client/7/8",
            "spiffe://prod.example/tenant//client/7",
            "spiffe://prod.example/tenant/../client/7",
            "spiffe://other.example/tenant/acme/client/7",
        ] {
            assert_eq!(template.tenant(id), None, "{id}");
        }
        assert_eq!(template.naming("acme"), None, "the last segment is open");
        let plain = Template::parse("spiffe://prod.example/{tenant}").unwrap();
        assert_eq!(plain.naming("acme").as_deref(), Some("spiffe://prod.example/acme"));
        assert_eq!((plain.naming("a/b"), plain.naming("a b"), plain.naming("")), (None, None, None));
        for text in [
            "spiffe://{tenant}.example/x",
            "spiffe://prod.example/x",
            "spiffe://prod.example/{tenant}/{tenant}",
            "spiffe://prod.example/t-{tenant}",
            "{tenant}",
        ] {
            assert!(Template::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_parts_of_an_id_are_told() {
        let id = "spiffe://prod.example/tenant/acme";
        assert_eq!((trust_domain(id), last_segment(id)), (Some("prod.example"), Some("acme")));
        assert_eq!(last_segment("spiffe://prod.example"), None);
    }
}

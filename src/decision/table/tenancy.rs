//! Where requests name their tenant: host, header, path, or the certificate of their client.

use super::route::is_prefix_on_segments;
use crate::facts::Presented;
use crate::spiffe::{self, Template};
use crate::units::PlacementId;

/// How requests name their tenant, and what becomes of those that name an unknown one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenancy {
    /// Where to look; all that yield a name must agree.
    pub sources: Box<[Source]>,
    /// What becomes of a tenant that the table does not have; `None`: refused.
    pub unknown: Option<PlacementId>,
    /// The cookie whose value is the session; `None`: the client's address is.
    pub session_cookie: Option<Box<str>>,
}

impl Tenancy {
    /// The headers that may name a tenant, in lower case, in the order of the sources.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|source| match source {
            Source::Header(name) => Some(name.as_ref()),
            Source::Host(_) | Source::Path(_) | Source::Certificate(_) => None,
        })
    }

    /// Whether any source asks for the certificate of the client.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Certificate(_)))
    }
}

/// One place in which a request may name its tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A label of the host.
    Host(HostTemplate),
    /// A header, in lower case.
    Header(Box<str>),
    /// A segment of the path.
    Path(PathTemplate),
    /// The certificate of the client.
    Certificate(CertificateSource),
}

/// Which part of a client's certificate names the tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateSource {
    /// The last segment of its SPIFFE id, whatever stands before it.
    Uri,
    /// The common name of its subject.
    Subject,
    /// A segment of its SPIFFE id, the rest of which is as the template has it.
    Template(Template),
}

impl CertificateSource {
    /// The tenant that a client's certificate names, not empty.
    #[must_use]
    pub fn tenant<'c>(&self, client: &Presented<'c>) -> Option<&'c str> {
        let named = match self {
            Self::Uri => client.spiffe_id.and_then(spiffe::last_segment),
            Self::Subject => client.subject,
            Self::Template(template) => client.spiffe_id.and_then(|id| template.tenant(id)),
        };
        named.filter(|name| !name.is_empty())
    }

    /// As it is written in a table.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Uri => "uri",
            Self::Subject => "subject",
            Self::Template(template) => template.as_str(),
        }
    }
}

/// `{tenant}.app.example`: one label, or part of one, is the tenant. In lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostTemplate {
    /// What stands before the tenant.
    pub before: Box<str>,
    /// What stands after it.
    pub after: Box<str>,
}

impl HostTemplate {
    /// The tenant that `host` names, without dots and not empty.
    #[must_use]
    pub fn tenant<'h>(&self, host: &'h str) -> Option<&'h str> {
        // An empty prefix is not compared: a masked load of no bytes, from where an empty box points, costs some
        // memcmp 40 ns, a fifth of a decision.
        let begun = if self.before.is_empty() { host } else { host.strip_prefix(&*self.before)? };
        let tenant = begun.strip_suffix(&*self.after)?;
        (!tenant.is_empty() && !tenant.contains('.')).then_some(tenant)
    }
}

/// `/t/{tenant}`: the segment after these names the tenant; more may follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathTemplate {
    /// What stands before the tenant, with the slash at its end: `/t/`.
    pub before: Box<str>,
    /// What must follow it on whole segments, without a slash at the end; empty: anything.
    pub after: Box<str>,
}

impl PathTemplate {
    /// The tenant that `path` names, not empty.
    #[must_use]
    pub fn tenant<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&*self.before)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (tenant, tail) = rest.split_at_checked(end)?;
        (!tenant.is_empty() && is_prefix_on_segments(&self.after, tail)).then_some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_template_takes_one_label() {
        let template = HostTemplate { before: "".into(), after: ".app.example".into() };
        assert_eq!(template.tenant("acme.app.example"), Some("acme"));
        for host in
            ["a.b.app.example", ".app.example", "app.example", "acme.app.example.evil", "acmeapp.example"]
        {
            assert_eq!(template.tenant(host), None, "{host}");
        }
    }

    #[test]
    fn a_certificate_names_a_tenant_by_its_spiffe_id_or_its_subject() {
        let template = Template::parse("spiffe://prod.example/tenant/{tenant}").unwrap();
        let template = CertificateSource::Template(template);
        let both =
            Presented { spiffe_id: Some("spiffe://prod.example/tenant/acme"), subject: Some("globex") };
        let other = Presented { spiffe_id: Some("spiffe://prod.example/edge/acme"), subject: Some("") };
        let none = Presented::default();
        for (source, by_both, by_other) in [
            (CertificateSource::Uri, Some("acme"), Some("acme")),
            (CertificateSource::Subject, Some("globex"), None),
            (template, Some("acme"), None),
        ] {
            assert_eq!((source.tenant(&both), source.tenant(&other)), (by_both, by_other), "{source:?}");
            assert_eq!(source.tenant(&none), None);
        }
    }

    #[test]
    fn a_path_template_takes_one_segment() {
        let template = PathTemplate { before: "/t/".into(), after: "".into() };
        assert_eq!(template.tenant("/t/acme/v1"), Some("acme"));
        assert_eq!(template.tenant("/t/acme"), Some("acme"));
        for path in ["/t/", "/t//x", "/x/t/acme", "/tt/acme"] {
            assert_eq!(template.tenant(path), None, "{path}");
        }
        let api = PathTemplate { before: "/t/".into(), after: "/api".into() };
        assert_eq!((api.tenant("/t/acme/api/x"), api.tenant("/t/acme/apix")), (Some("acme"), None));
    }
}

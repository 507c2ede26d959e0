//! Which requests a rule is for, and what it says of them.

use crate::units::{CapabilityId, ClassId, PolicyId, ServiceId};

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

impl Operation {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One `[[routes]]` entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its name.
    pub name: Box<str>,
    /// Which hosts; `None`: all.
    pub host: Option<HostPattern>,
    /// Which paths; `None`: all.
    pub path: Option<PathPattern>,
    /// Which methods, as they are written; `None`: all.
    pub methods: Option<Box<[Box<str>]>>,
    /// What it does; `None`: as the method says.
    pub operation: Option<Operation>,
    /// The service it belongs to.
    pub service: ServiceId,
    /// The capability it needs; `None`: `read` or `write`, as the operation says.
    pub capability: Option<CapabilityId>,
    /// The class of data it touches.
    pub class: Option<ClassId>,
    /// Whether its reads go to the owner.
    pub strong: bool,
    /// The policy it obeys; `None`: the tenant's.
    pub policy: Option<PolicyId>,
}

/// Which hosts a route is for; in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostPattern {
    /// This one.
    Exact(Box<str>),
    /// Every name that ends so; begins with a dot.
    Under(Box<str>),
}

impl HostPattern {
    /// Whether `host`, normalised, is one of them.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name.as_ref(),
            Self::Under(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_ref()),
        }
    }
}

/// Which paths a route is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathPattern {
    /// This one.
    Exact(Box<str>),
    /// This one and all below it, on whole segments; without a slash at the end.
    Under(Box<str>),
}

impl PathPattern {
    /// Whether `path`, normalised and without query, is one of them.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_ref(),
            Self::Under(prefix) => is_prefix_on_segments(prefix, path),
        }
    }
}

/// Whether `prefix` is all of `path`, or ends where one of its segments does.
///
/// The byte behind the prefix is asked first: it alone tells most paths apart.
pub(super) fn is_prefix_on_segments(prefix: &str, path: &str) -> bool {
    matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        && (prefix.is_empty() || path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_on_a_segment() {
        let under = PathPattern::Under("/v1/cases".into());
        assert!(under.matches("/v1/cases") && under.matches("/v1/cases/7"));
        assert!(!under.matches("/v1/casesx") && !under.matches("/v1"));
        assert!(PathPattern::Under("".into()).matches("/anything"));
        assert!(!PathPattern::Exact("/v1".into()).matches("/v1/"));
    }

    #[test]
    fn a_host_pattern_covers_what_lies_under_it() {
        let under = HostPattern::Under(".app.example".into());
        assert!(under.matches("a.app.example") && under.matches("a.b.app.example"));
        assert!(
            !under.matches("app.example") && !under.matches(".app.example") && !under.matches("xapp.example")
        );
    }
}

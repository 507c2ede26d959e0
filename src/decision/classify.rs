//! Who asks for what: tenant and route of a request.

use crate::facts::Facts;
use crate::reason::Refusal;
use crate::table::{Operation, Source, Table};
use crate::units::{CapabilityId, ClassId, PolicyId, RouteId, ServiceId};

/// What the route rules make of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Routed {
    pub route: Option<RouteId>,
    pub operation: Operation,
    pub service: ServiceId,
    pub capability: CapabilityId,
    pub class: Option<ClassId>,
    pub strong: bool,
    pub policy: Option<PolicyId>,
}

impl Routed {
    /// What no route says anything of: the default service, a capability of the operation's own name.
    pub const fn plain(operation: Operation) -> Self {
        let capability = match operation {
            Operation::Read => CapabilityId::READ,
            Operation::Write => CapabilityId::WRITE,
        };
        Self {
            route: None,
            operation,
            service: ServiceId(0),
            capability,
            class: None,
            strong: false,
            policy: None,
        }
    }
}

/// The first route that matches; without one, what the method says.
pub(crate) fn route(facts: &Facts<'_>, table: &Table) -> Routed {
    let found = table.routes.iter().position(|route| {
        route.path.as_ref().is_none_or(|path| path.matches(facts.path))
            && route.host.as_ref().is_none_or(|host| host.matches(facts.host))
            && route.methods.as_ref().is_none_or(|methods| methods.iter().any(|m| m.as_ref() == facts.method))
    });
    let route = found.and_then(|at| table.routes.get(at));
    let operation = route.and_then(|route| route.operation).unwrap_or_else(|| by_method(facts));
    let plain = Routed::plain(operation);
    Routed {
        route: found.map(|at| RouteId(at as u16)),
        operation,
        service: route.map_or(plain.service, |route| route.service),
        capability: route.and_then(|route| route.capability).unwrap_or(plain.capability),
        class: route.and_then(|route| route.class),
        strong: facts.strong || route.is_some_and(|route| route.strong),
        policy: route.and_then(|route| route.policy),
    }
}

/// GET, HEAD and OPTIONS read, but for a GET or HEAD with a body or an upgrade; all else writes.
fn by_method(facts: &Facts<'_>) -> Operation {
    match facts.method {
        "GET" | "HEAD" if facts.has_body || facts.upgrade => Operation::Write,
        "GET" | "HEAD" | "OPTIONS" => Operation::Read,
        _ => Operation::Write,
    }
}

/// The one name that every source which yields any agrees on.
pub(crate) fn tenant<'a>(facts: &Facts<'a>, table: &Table) -> Result<&'a str, Refusal> {
    let mut named: Option<&'a str> = None;
    let mut agree = |name: &'a str| match named {
        Some(earlier) if earlier != name => Err(Refusal::TenantConflict),
        _ => {
            named = Some(name);
            Ok(())
        }
    };
    for name in facts.tenant_headers.iter().filter(|name| !name.is_empty()) {
        agree(name)?;
    }
    for source in &table.tenancy.sources {
        let name = match source {
            Source::Host(template) => template.tenant(facts.host),
            Source::Path(template) => template.tenant(facts.path),
            Source::Certificate(certificate) => certificate.tenant(&facts.client),
            Source::Header(_) => None,
        };
        name.map_or(Ok(()), &mut agree)?;
    }
    named.ok_or(Refusal::TenantMissing)
}

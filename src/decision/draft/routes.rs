//! Routes: what was written, held against the names of classes and policies; services and capabilities get their ids
//! here, as routes alone name them.

use super::faults::Faults;
use super::names::Names;
use crate::table::{HostPattern, Operation, PathPattern, Route};
use crate::units::{CapabilityId, ClassId, PolicyId, ServiceId};

/// See [`Route`].
#[derive(Clone, Debug, Default)]
pub struct RouteDraft {
    /// Its name; empty: it has none.
    pub name: String,
    /// Hosts.
    pub host: Option<HostPattern>,
    /// Paths.
    pub path: Option<PathPattern>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// Operation.
    pub operation: Option<Operation>,
    /// Service; `None`: `default`.
    pub service: Option<String>,
    /// Capability.
    pub capability: Option<String>,
    /// The name of a class of data.
    pub data_class: Option<String>,
    /// Whether reads are strong.
    pub strong: bool,
    /// The name of a policy.
    pub policy: Option<String>,
}

/// The services and capabilities that routes named so far, by id.
pub(super) struct Interned {
    pub(super) services: Vec<Box<str>>,
    pub(super) capabilities: Vec<Box<str>>,
}

impl Default for Interned {
    fn default() -> Self {
        Self { services: vec!["default".into()], capabilities: vec!["read".into(), "write".into()] }
    }
}

pub(super) fn route(
    at: usize,
    draft: RouteDraft,
    names: &Names,
    interned: &mut Interned,
    faults: &mut Faults,
) -> Route {
    let at = at.to_string();
    let mut named = |key: &str, kind: &str, name: &Option<String>, known: &[String]| {
        let name = name.as_ref()?;
        let found = known.iter().position(|k| k == name);
        if found.is_none() {
            faults.no_such(&["routes", &at, key], kind, name, known);
        }
        found.map(|at| at as u16)
    };
    let class = named("data_class", "data class", &draft.data_class, &names.classes).map(ClassId);
    let policy = named("policy", "policy", &draft.policy, &names.policies).map(PolicyId);
    if draft.strong && draft.operation == Some(Operation::Write) {
        let what = "consistency is for reads, and this route writes".into();
        faults.tell(&["routes", &at, "consistency"], what, "leave it out".into());
    }
    if draft.methods.as_ref().is_some_and(Vec::is_empty) {
        faults.tell(
            &["routes", &at, "methods"],
            "the list is empty".into(),
            "leave it out for all methods".into(),
        );
    }
    Route {
        name: if draft.name.is_empty() { format!("route-{at}").into() } else { draft.name.into() },
        host: draft.host,
        path: draft.path,
        methods: draft.methods.map(|methods| methods.into_iter().map(String::into_boxed_str).collect()),
        operation: draft.operation,
        service: ServiceId(draft.service.map_or(0, |name| intern(&mut interned.services, &name))),
        capability: draft.capability.map(|name| CapabilityId(intern(&mut interned.capabilities, &name))),
        class,
        strong: draft.strong,
        policy,
    }
}

/// Tells of each route whose name another has above it.
pub(super) fn unique_route_names(routes: &[Route], faults: &mut Faults) {
    for (at, route) in routes.iter().enumerate() {
        if routes.iter().take(at).any(|earlier| earlier.name == route.name) {
            let what = format!("there is another route {:?} above", route.name);
            faults.tell(&["routes", &at.to_string(), "name"], what, "give each route its own name".into());
        }
    }
}

fn intern(list: &mut Vec<Box<str>>, name: &str) -> u16 {
    let at = list.iter().position(|known| known.as_ref() == name).unwrap_or_else(|| {
        list.push(name.into());
        list.len() - 1
    });
    at as u16
}

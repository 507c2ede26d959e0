//! Policies in the order of their ids: `default` first, written or not.

use std::collections::BTreeMap;

use super::names::Names;
use crate::policy::{Policy, Topology};

/// The names of the policies, by id.
pub(super) fn policy_names(policies: &BTreeMap<String, Policy>) -> Vec<String> {
    let others = policies.keys().filter(|name| *name != "default").cloned();
    std::iter::once("default".to_owned()).chain(others).collect()
}

/// The policies, by id.
pub(super) fn policies(mut written: BTreeMap<String, Policy>, names: &Names) -> Box<[Policy]> {
    names
        .policies
        .iter()
        .map(|name| {
            let policy = written.remove(name).unwrap_or_else(|| Topology::SingleWriter.preset());
            Policy { name: name.as_str().into(), ..policy }
        })
        .collect()
}

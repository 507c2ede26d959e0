//! How requests name their tenant: what was written, held against the names of placements.

use super::faults::Faults;
use super::names::Names;
use crate::table::{Source, Tenancy};
use crate::units::PlacementId;

/// See [`Tenancy`].
#[derive(Clone, Debug, Default)]
pub struct TenancyDraft {
    /// Where to look.
    pub from: Vec<Source>,
    /// `None`: reject; else the name of a placement.
    pub unknown: Option<String>,
    /// The session's cookie.
    pub session_cookie: Option<String>,
}

pub(super) fn tenancy(draft: TenancyDraft, names: &Names, faults: &mut Faults) -> Tenancy {
    if draft.from.is_empty() {
        let fix = "write from = [{ host = \"{tenant}.app.example\" }]".into();
        faults.tell(&["tenancy", "from"], "requests have no way to name their tenant".into(), fix);
    }
    let unknown = draft.unknown.and_then(|name| {
        let found = names.placements.iter().position(|n| *n == name).map(|at| PlacementId(at as u16));
        if found.is_none() {
            faults.no_such(&["tenancy", "unknown"], "placement", &name, &names.placements);
        }
        found
    });
    Tenancy {
        sources: draft.from.into(),
        unknown,
        session_cookie: draft.session_cookie.map(String::into_boxed_str),
    }
}

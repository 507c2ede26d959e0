//! From wire shapes to a draft: defaults, what is required, and what this version refuses.
//!
//! Never: stops at a mistake. A part that was read badly is put in as it is by default, so that what refers to it
//! is not told as well.

use std::path::{Path, PathBuf};

use rhumb_decision::draft::{Draft, Hours, PlacementDraft, RouteDraft, TenancyDraft};
use rhumb_decision::table::{Operation, Safety, Source};

use super::files::Files;
use super::places::{At, Places};
use super::rows::RowDoubts;
use super::shape::{
    ByDoc, ClassDoc, List, Named, OperationDoc, PlacementDoc, RouteDoc, RoutingDoc, SafetyDoc, SourceDoc,
    TenancyDoc, TenantDoc,
};
use super::values::{ConsistencyText, hours};
use crate::problem::Problems;
use crate::problem::given::Given;
use crate::problem::toml::Document;
use crate::problem::values::{Name, name};

/// What a conversion reads and fills.
pub(super) struct Conversion<'a> {
    /// Whether the whole text was understood; if not, nothing is told as missing.
    pub whole: bool,
    /// The table's own path, as it was named.
    pub path: &'a Path,
    /// Where mistakes go.
    pub problems: &'a mut Problems,
    /// Where each key stands.
    pub places: Places,
    /// Reads what the table names.
    pub files: &'a mut Files,
    /// Which columns of a tenant's row cannot be judged.
    pub doubts: RowDoubts,
}

/// What was converted.
pub(super) struct Converted {
    pub draft: Draft,
    /// The files of `tenancy.files`, in order.
    pub csvs: Vec<(At, PathBuf)>,
    /// The rows of `[tenants]`.
    pub tenants: Vec<(String, Given<TenantDoc>)>,
    /// Whether the regions are known, so that names can be held against them.
    pub regions_known: bool,
}

/// More of anything than this, tenants apart, is a mistake; and some things are compared each with each.
const MANY: usize = 10_000;

impl Conversion<'_> {
    pub fn tell(&mut self, at: &At, what: impl std::fmt::Display, fix: impl std::fmt::Display) {
        self.problems.tell(self.places.line(at), at, what, fix);
    }

    /// Tells a message of the form `what; fix`.
    pub fn tell_message(&mut self, at: &At, message: &str) {
        let (what, fix) = message.split_once("; ").unwrap_or((message, ""));
        self.tell(at, what, fix);
    }

    /// Notes where a key stands, and gives its value back.
    pub fn seen<T>(&mut self, at: &At, given: Given<T>) -> Given<T> {
        self.places.see(at.clone(), given.line());
        given
    }

    /// A value that must be there. What is missing is told at the line of what should hold it, and not at all where
    /// it may stand in a part that could not be read.
    pub fn required<T>(&mut self, at: &At, given: Given<T>, fix: &str) -> Option<T> {
        if given.is_absent() && self.whole {
            self.tell(at, "is missing", fix);
        }
        self.seen(at, given).good()
    }

    /// The good entries of a list, and whether it was good in all.
    pub fn list<T>(&mut self, at: &At, list: List<T>) -> (Vec<T>, bool) {
        let bad = matches!(list, Given::Bad(_));
        let written = self.seen(at, list).good().unwrap_or_default();
        let count = written.len();
        if count > MANY {
            self.tell(at, format!("{count} entries are more than the {MANY} that a list may have"), "");
        }
        let mut good = Vec::with_capacity(count.min(MANY));
        for entry in written.into_iter().take(MANY) {
            let line = entry.line();
            if let Some(value) = entry.good() {
                self.places.see(at.entry(good.len()), line);
                good.push(value);
            }
        }
        let sound = !bad && good.len() == count;
        (good, sound)
    }

    /// The entries of a table of tables, their names checked, good or bad; and whether all their names are known.
    pub fn named<T>(&mut self, at: &At, named: Named<T>) -> (Vec<(String, Given<T>)>, bool) {
        let bad = matches!(named, Given::Bad(_));
        let entries = self.seen(at, named).good().unwrap_or_default();
        if entries.len() > MANY {
            let what = format!("{} entries are more than the {MANY} that it may have", entries.len());
            self.tell(at, what, "");
        }
        let mut list = Vec::with_capacity(entries.len().min(MANY));
        for (key, value) in entries.into_iter().take(MANY) {
            let here = at.key(&key);
            self.places.see(here.clone(), value.line());
            if let Err(message) = name(&key) {
                self.tell_message(&here, &message);
            }
            list.push((key, value));
        }
        (list, !bad)
    }
}

/// Makes a draft of what was read, and tells whatever is wrong with it by itself.
pub(super) fn convert(document: Document<RoutingDoc>, to: &mut Conversion<'_>) -> Converted {
    let doc = document.shape;
    let tenants = tenants(doc.tenants, to);
    let (tenancy, csvs) = tenancy(doc.tenancy, to);
    let regions_at = At::top("regions");
    let (regions, regions_whole) = to.named(&regions_at, doc.regions);
    if regions.is_empty() && regions_whole && to.whole {
        to.tell(&regions_at, "the table has no region", "add [regions.NAME]");
    }
    let regions_known = !regions.is_empty();
    let mut draft = Draft { tenancy, safety: safety(doc.safety, to), ..Draft::default() };
    for (name, region) in regions {
        let at = regions_at.key(&name);
        let region = super::region::region(&at, region, to);
        draft.regions.insert(name, region);
    }
    let (policies, policies_whole) = to.named(&At::top("policies"), doc.policies);
    for (name, policy) in policies {
        let at = At::top("policies").key(&name);
        let policy = super::policy::policy(&at, policy.good().unwrap_or_default(), to);
        draft.policies.insert(name, policy);
    }
    let (classes, classes_whole) = to.named(&At::top("data_classes"), doc.data_classes);
    for (name, written) in classes {
        let at = At::top("data_classes").key(&name);
        let class = class(&at, written, to);
        draft.data_classes.insert(name, class);
    }
    let (placements, placements_whole) = to.named(&At::top("placements"), doc.placements);
    for (name, written) in placements {
        let at = At::top("placements").key(&name);
        if name == "reject" {
            to.tell(
                &at,
                "a placement cannot be named reject, which tenancy.unknown takes otherwise",
                "name it anew",
            );
        }
        let placement = placement(&at, written, to);
        draft.placements.insert(name, placement);
    }
    if !placements_whole {
        to.places.doubt(At::top("tenancy").key("unknown"));
    }
    let (routes, _) = list_in_place(&At::top("routes"), doc.routes, to);
    for (index, written) in routes.into_iter().enumerate() {
        let at = At::top("routes").entry(index);
        if !policies_whole {
            to.places.doubt(at.key("policy"));
        }
        if !classes_whole {
            to.places.doubt(at.key("data_class"));
        }
        let route = route(&at, written.good().unwrap_or_default(), to);
        draft.routes.push(route);
    }
    to.doubts.policy |= !policies_whole;
    if to.doubts.residency {
        draft.safety.require_residency = false;
        to.places.doubt_classes(draft.data_classes.keys());
    }
    Converted { draft, csvs, tenants, regions_known }
}

/// Like [`Conversion::list`], but a bad entry keeps its place.
fn list_in_place<T>(at: &At, list: List<T>, to: &mut Conversion<'_>) -> (Vec<Given<T>>, usize) {
    let mut written = to.seen(at, list).good().unwrap_or_default();
    let count = written.len();
    if count > MANY {
        to.tell(at, format!("{count} entries are more than the {MANY} that a list may have"), "");
    }
    written.truncate(MANY);
    for (index, entry) in written.iter().enumerate() {
        to.places.see(at.entry(index), entry.line());
    }
    (written, count)
}

fn tenants(written: Named<TenantDoc>, to: &mut Conversion<'_>) -> Vec<(String, Given<TenantDoc>)> {
    let rows = to.seen(&At::top("tenants"), written).good().unwrap_or_default();
    rows.into_iter().collect()
}

fn tenancy(written: Given<TenancyDoc>, to: &mut Conversion<'_>) -> (TenancyDraft, Vec<(At, PathBuf)>) {
    let at = At::top("tenancy");
    let from_at = at.key("from");
    if matches!(written, Given::Bad(_)) {
        to.places.doubt_below(at.clone());
    }
    let doc = to.seen(&at, written).good().unwrap_or_default();
    let (written, mut sound) = to.list(&from_at, doc.from);
    let mut from = Vec::new();
    for (index, source) in written.into_iter().enumerate() {
        match one_source(&from_at.entry(index), source, to) {
            Some(source) => from.push(source),
            None => sound = false,
        }
    }
    if !sound {
        to.places.doubt(from_at);
    }
    let unknown_at = at.key("unknown");
    let unknown = to.seen(&unknown_at, doc.unknown).good().map(String::from).filter(|name| name != "reject");
    let session = to.seen(&at.key("session"), doc.session);
    let session_cookie = match session {
        Given::Good(_, session) => {
            let fix = "write session = { cookie = \"sid\" }, or leave session out";
            to.required(&at.key("session").key("cookie"), session.cookie, fix).map(|cookie| cookie.0)
        }
        _ => None,
    };
    let files_at = at.key("files");
    let (files, _) = to.list(&files_at, doc.files);
    let mut csvs: Vec<(At, PathBuf)> = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let (here, path) = (files_at.entry(index), file.beside(to.path));
        if csvs.iter().any(|(_, other)| *other == path) {
            to.tell(&here, format!("{} is named twice", path.display()), "name each file once");
        } else if csvs.len() < super::MOST_FILES {
            csvs.push((here, path));
        } else {
            to.tell(
                &here,
                format!("there are more than {} files", super::MOST_FILES),
                "put tenants together",
            );
            break;
        }
    }
    (TenancyDraft { from, unknown, session_cookie }, csvs)
}

fn one_source(at: &At, doc: SourceDoc, to: &mut Conversion<'_>) -> Option<Source> {
    const FIX: &str = "write one of { host = \"{tenant}.app.example\" }, { header = \"X-Tenant-ID\" }, \
                       { path = \"/t/{tenant}\" } and { certificate = \"uri\" }";
    let all =
        [doc.host.is_written(), doc.header.is_written(), doc.path.is_written(), doc.certificate.is_written()];
    let written = all.iter().filter(|w| **w).count();
    match written {
        0 if to.whole => to.tell(at, "says nothing of where the tenant stands", FIX),
        2.. => to.tell(at, "says more than one place", FIX),
        _ => {}
    }
    if written != 1 {
        return None;
    }
    let host = doc.host.good().map(|host| Source::Host(host.0));
    let header = doc.header.good().map(|header| Source::Header(header.0));
    let path = doc.path.good().map(|path| Source::Path(path.0));
    host.or(header).or(path).or_else(|| doc.certificate.good().map(|source| Source::Certificate(source.0)))
}

fn safety(written: Given<SafetyDoc>, to: &mut Conversion<'_>) -> Safety {
    let at = At::top("safety");
    let doc = to.seen(&at, written).good().unwrap_or_default();
    let default = Safety::default();
    let least = to.seen(&at.key("min_regions_serving"), doc.min_regions_serving).good();
    Safety {
        min_regions_serving: least
            .map_or(default.min_regions_serving, |least| u32::try_from(least.0).unwrap_or(u32::MAX)),
        max_drained_share: doc.max_drained_share.or(default.max_drained_share),
        max_moved_share: doc.max_moved_share.or(default.max_moved_share),
        require_residency: doc.require_residency.or(default.require_residency),
    }
}

fn class(at: &At, written: Given<ClassDoc>, to: &mut Conversion<'_>) -> Vec<String> {
    let here = at.key("jurisdictions");
    let (list, sound) = match written {
        Given::Good(_, doc) if doc.jurisdictions.is_absent() && to.whole => {
            to.tell(&here, "is missing", "write jurisdictions = [\"eu\"]");
            (Vec::new(), false)
        }
        Given::Good(_, doc) => to.list(&here, doc.jurisdictions),
        _ => (Vec::new(), false),
    };
    if !sound {
        to.places.doubt(here);
    }
    list.into_iter().map(String::from).collect()
}

fn placement(at: &At, written: Given<PlacementDoc>, to: &mut Conversion<'_>) -> PlacementDraft {
    const FIX: &str =
        "write by = \"nearest\", \"latency\", \"geo\", \"weighted\", \"primary\" or \"schedule\"";
    let Given::Good(_, doc) = written else { return PlacementDraft::Nearest };
    let by = to.required(&at.key("by"), doc.by, FIX);
    let needs = [
        ("shares", ByDoc::Weighted, doc.shares.line(), "weighted"),
        ("order", ByDoc::Primary, doc.order.line(), "primary"),
        ("hours", ByDoc::Schedule, doc.hours.line(), "schedule"),
    ];
    for (key, rule, line, name) in needs {
        let here = at.key(key);
        to.places.see(here.clone(), line);
        if line > 0 && by.is_some_and(|by| by != rule) {
            to.tell(
                &here,
                format!("goes with by = \"{name}\" only"),
                format!("leave it out, or write by = \"{name}\""),
            );
        }
    }
    match by {
        Some(ByDoc::Weighted) => {
            let here = at.key("shares");
            let (shares, mut sound) = to.named(&here, doc.shares);
            sound &= shares.iter().all(|(_, share)| share.get().is_some());
            if !sound {
                to.places.doubt(here);
            }
            let share = |share: Given<crate::problem::values::Whole<0, 1_000_000>>| {
                share.good().map_or(0, |share| u32::try_from(share.0).unwrap_or(u32::MAX))
            };
            PlacementDraft::Weighted(shares.into_iter().map(|(name, given)| (name, share(given))).collect())
        }
        Some(ByDoc::Primary) => {
            let here = at.key("order");
            let (order, sound) = to.list(&here, doc.order);
            if !sound {
                to.places.doubt(here);
            }
            PlacementDraft::Primary(order.into_iter().map(String::from).collect())
        }
        Some(ByDoc::Schedule) => PlacementDraft::Schedule(schedule(&at.key("hours"), doc.hours, to)),
        Some(ByDoc::Latency) => PlacementDraft::Latency,
        Some(ByDoc::Geo) => PlacementDraft::Geo,
        Some(ByDoc::Nearest) | None => PlacementDraft::Nearest,
    }
}

fn schedule(at: &At, written: Named<Name>, to: &mut Conversion<'_>) -> Vec<Hours> {
    let mut sound = !matches!(written, Given::Bad(_));
    let mut spans = Vec::new();
    for (key, region) in to.seen(at, written).good().unwrap_or_default().into_iter().take(MANY) {
        let here = at.key(&key);
        to.places.see(here.clone(), region.line());
        match (hours(&key), region.good()) {
            (Ok((from, until)), Some(region)) => {
                spans.push(Hours { written: key, from, to: until, region: region.into() });
            }
            (Err(message), _) => {
                to.tell_message(&here, &message);
                sound = false;
            }
            (Ok(_), None) => sound = false,
        }
    }
    if !sound {
        to.places.doubt(at.clone());
    }
    spans
}

fn route(at: &At, doc: RouteDoc, to: &mut Conversion<'_>) -> RouteDraft {
    let methods_written = doc.methods.is_written();
    let (methods, sound) = to.list(&at.key("methods"), doc.methods);
    let mut text = |key: &str, given: Given<Name>| to.seen(&at.key(key), given).good().map(String::from);
    let name = text("name", doc.name).unwrap_or_default();
    let service = text("service", doc.service);
    let capability = text("capability", doc.capability);
    let data_class = text("data_class", doc.data_class);
    let policy = text("policy", doc.policy);
    RouteDraft {
        name,
        host: doc.host.good().map(|host| host.0),
        path: doc.path.good().map(|path| path.0),
        methods: (methods_written && sound).then(|| methods.into_iter().map(|method| method.0).collect()),
        operation: doc.operation.good().map(|operation| match operation {
            OperationDoc::Read => Operation::Read,
            OperationDoc::Write => Operation::Write,
        }),
        service,
        capability,
        data_class,
        strong: to.seen(&at.key("consistency"), doc.consistency).good() == Some(ConsistencyText::Strong),
        policy,
    }
}

//! What differs between two tables besides their tenants, key by key, as a person wrote it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::policy::Policy;
use crate::table::{HostPattern, PathPattern, PlacementRule, Region, Route, Source, Table};
use crate::units::{Millis, RegionId, Weight};

/// One key that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// The key: `regions.eu-west-1.weight`.
    pub at: String,
    /// What the old table says; `None`: nothing.
    pub from: Option<String>,
    /// What the new one says; `None`: nothing.
    pub to: Option<String>,
}

/// Every key that differs, by name.
#[must_use]
pub fn edits(old: &Table, new: &Table) -> Vec<Edit> {
    let (old, mut new) = (Told::of(old).0, Told::of(new).0);
    let mut edits: Vec<Edit> = Vec::new();
    for (at, from) in old {
        let to = new.remove(&at);
        if to.as_ref() != Some(&from) {
            edits.push(Edit { at, from: Some(from), to });
        }
    }
    edits.extend(new.into_iter().map(|(at, to)| Edit { at, from: None, to: Some(to) }));
    edits.sort_by(|a, b| a.at.cmp(&b.at));
    edits
}

/// A table without its tenants, as keys and texts.
struct Told(BTreeMap<String, String>);

impl Told {
    fn of(table: &Table) -> Self {
        let mut told = Self(BTreeMap::new());
        for region in table.regions() {
            told.region(table, region);
        }
        for policy in table.policies() {
            told.policy(policy);
        }
        for route in table.routes() {
            told.say(format!("routes.{}", route.name), route_text(table, route));
        }
        told.say("routes", list(table.routes().iter().map(|route| &*route.name)));
        for class in &table.classes {
            let jurisdictions = list(class.jurisdictions.iter().map(|j| &**j));
            told.say(format!("data_classes.{}.jurisdictions", class.name), jurisdictions);
        }
        for placement in table.placements() {
            told.say(format!("placements.{}", placement.name), placement_text(table, &placement.by));
        }
        let tenancy = table.tenancy();
        told.say("tenancy.from", list(tenancy.sources.iter().map(source_text)));
        let unknown = tenancy.unknown.and_then(|id| table.placement(id));
        told.say("tenancy.unknown", unknown.map_or("reject", |placement| &placement.name));
        told.maybe("tenancy.session.cookie", tenancy.session_cookie.as_deref());
        let safety = table.safety();
        told.say("safety.min_regions_serving", safety.min_regions_serving.to_string());
        told.say("safety.max_drained_share", safety.max_drained_share.to_string());
        told.say("safety.max_moved_share", safety.max_moved_share.to_string());
        told.say("safety.require_residency", safety.require_residency.to_string());
        told
    }

    fn say(&mut self, at: impl Into<String>, text: impl Into<String>) {
        self.0.insert(at.into(), text.into());
    }

    fn maybe(&mut self, at: impl Into<String>, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.say(at, text);
        }
    }

    fn region(&mut self, table: &Table, region: &Region) {
        let at = |key: &str| format!("regions.{}.{key}", region.name);
        self.say(at("jurisdiction"), &*region.jurisdiction);
        self.say(at("role"), region.role.code());
        self.say(at("weight"), weight(region.weight));
        self.maybe(at("near"), region.near.as_ref().map(|near| names(table, near)));
        let countries = region.countries.iter().map(|country| String::from_utf8_lossy(country).into_owned());
        self.say(at("countries"), list(countries));
        self.maybe(at("capacity"), region.capacity.map(|n| n.to_string()));
        self.maybe(at("max_in_flight"), region.max_in_flight.map(|n| n.to_string()));
        self.say(at("gateway"), region.gateway.to_string());
        self.say(at("http"), if region.http2 { "2" } else { "1" });
        let check = &region.check;
        let every = format!("{}, timeout {}", span(check.interval), span(check.timeout));
        self.say(
            at("health"),
            format!("{:?} every {every}, rise {}, fall {}", check.kind, check.rise, check.fall),
        );
        let tls = region.tls.as_ref();
        self.maybe(at("tls"), tls.map(|tls| format!("{} ({:016x})", tls.server_name, tls.identity)));
        let endpoints = region.endpoints.iter().map(|endpoint| {
            let cell = endpoint.cell.and_then(|cell| region.cells.get(cell.index()));
            let mut text = endpoint.address.to_string();
            for (key, value) in [("zone", endpoint.zone.as_deref()), ("cell", cell.map(|cell| &*cell.name))] {
                text.extend(value.map(|value| format!(" {key} {value}")));
            }
            if endpoint.weight == 1 { text } else { format!("{text} weight {}", endpoint.weight) }
        });
        self.say(at("endpoints"), list(endpoints));
        for cell in &region.cells {
            self.say(at(&format!("cells.{}.weight", cell.name)), weight(cell.weight));
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let Policy { name, topology, sticky, reads, writes, retries, timeout } = policy;
        let mut say = |key: &str, text: String| self.say(format!("policies.{name}.{key}"), text);
        say("topology", topology.code().into());
        say("sticky", word(sticky));
        say("reads.from", word(&reads.from));
        say("reads.failover", reads.failover.to_string());
        say("reads.max_staleness", span(reads.max_staleness));
        say("reads.read_your_writes", span(reads.read_your_writes));
        say("reads.on_pin_lost", word(&reads.on_pin_lost));
        say("writes.to", word(&writes.to));
        say("writes.hold", span(writes.hold));
        say("writes.failover", word(&writes.failover));
        say("writes.after", span(writes.after));
        say("writes.cooldown", span(writes.cooldown));
        say("writes.max_lag", span(writes.max_lag));
        say("writes.idempotency", word(&writes.idempotency));
        say("writes.on_owner_change", word(&writes.on_owner_change));
        say("retries.attempts", retries.attempts.to_string());
        say("retries.across_regions", retries.across_regions.to_string());
        say("retries.budget", retries.budget_percent.to_string());
        let on = [(retries.on_connect, "connect"), (retries.on_reset, "reset")];
        let on = on.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned());
        say("retries.on", list(on.chain(retries.on_status.iter().map(u16::to_string))));
        say("timeout", timeout.map_or_else(|| "0s".into(), span));
    }
}

fn route_text(table: &Table, route: &Route) -> String {
    let host = route.host.as_ref().map(|host| match host {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Under(suffix) => format!("*{suffix}"),
    });
    let path = route.path.as_ref().map(|path| match path {
        PathPattern::Exact(path) => format!("={path}"),
        PathPattern::Under(path) => path.to_string(),
    });
    let methods = route.methods.as_ref().map(|methods| list(methods.iter().map(|m| &**m)));
    let parts = [
        ("host", host),
        ("path", path),
        ("methods", methods),
        ("operation", route.operation.map(|operation| operation.code().to_owned())),
        ("service", Some(table.service_name(route.service).to_owned())),
        ("capability", route.capability.map(|id| table.capability_name(id).to_owned())),
        ("data_class", route.class.and_then(|id| table.class(id)).map(|class| class.name.to_string())),
        ("consistency", route.strong.then(|| "strong".to_owned())),
        ("policy", route.policy.and_then(|id| table.policy(id)).map(|policy| policy.name.to_string())),
    ];
    list(parts.into_iter().filter_map(|(key, value)| Some(format!("{key} {}", value?))))
}

fn placement_text(table: &Table, rule: &PlacementRule) -> String {
    match rule {
        PlacementRule::Nearest => "nearest".into(),
        PlacementRule::Latency => "latency".into(),
        PlacementRule::Geo => "geo".into(),
        PlacementRule::Weighted(shares) => {
            let shares = shares.iter().map(|(id, share)| format!("{} {share}", table.region_name(*id)));
            format!("weighted: {}", list(shares))
        }
        PlacementRule::Primary(order) => format!("primary: {}", names(table, order)),
        PlacementRule::Schedule(hours) => format!("schedule: {}", names(table, &hours[..])),
    }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Host(template) => format!("host {}{{tenant}}{}", template.before, template.after),
        Source::Header(name) => format!("header {name}"),
        Source::Path(template) => format!("path {}{{tenant}}{}", template.before, template.after),
        Source::Certificate(certificate) => format!("certificate {}", certificate.text()),
    }
}

fn names(table: &Table, ids: &[RegionId]) -> String {
    list(ids.iter().map(|id| table.region_name(*id)))
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<T> = items.into_iter().collect();
    items.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ")
}

fn word(value: &impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn weight(weight: Weight) -> String {
    weight.as_percent().to_string()
}

fn span(span: Millis) -> String {
    if span.0.is_multiple_of(1_000) { format!("{}s", span.0 / 1_000) } else { format!("{}ms", span.0) }
}

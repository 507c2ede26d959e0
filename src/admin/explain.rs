//! What a request would meet: the decision on the snapshot in force, or on one in which regions are drained or down.
//!
//! Host and path are normalised, and the decision is made, by the functions that serve live requests.
//!
//! Never: changes anything, or sends anything anywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rhumb_decision::health::{HealthView, Status};
use rhumb_decision::operated::Now;
use rhumb_decision::pin::{Pin, Shown};
use rhumb_decision::spiffe;
use rhumb_decision::table::{CertificateSource, Source, Table, Tenancy};
use rhumb_decision::target::{self, EncodedSlash, normalise_host, normalise_path};
use rhumb_decision::units::{Key, Millis, RegionId, RegionSet, Wall, Weight};
use rhumb_decision::{Facts, Presented, Snapshot, decide};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::admin::views::{Explanation, explanation};
use crate::problem::nearest::remedy;

/// What is asked: the body of `POST /v1/explain`. Absent keys and `null` are the same.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Question {
    /// Whom the request belongs to. Where neither host, path nor headers say so, the first source of the table that
    /// can is made to.
    pub tenant: Option<String>,
    /// The Host field.
    pub host: Option<String>,
    /// The method; `GET`.
    pub method: String,
    /// The path, perhaps with a query; `/`.
    pub path: String,
    /// Header fields: an object, or a list of pairs where one comes twice.
    #[serde(deserialize_with = "pairs")]
    #[schemars(schema_with = "fields")]
    pub headers: Vec<(String, String)>,
    /// What the certificate of its client says: a SPIFFE id, or the common name of its subject.
    pub certificate: Option<String>,
    /// The region in which it enters; that of the edge.
    pub from: Option<String>,
    /// Weights to suppose, in percent, by region.
    pub drain: BTreeMap<String, f64>,
    /// What to suppose down: `REGION`, or `REGION:CAPABILITY`.
    pub down: Vec<String>,
    /// Whether a body follows.
    pub body: bool,
    /// The client's country: two letters.
    pub country: Option<String>,
    /// The hour of the day, UTC: 0 to 23. An edge supposes its own, files suppose 0.
    #[schemars(range(max = 23))]
    pub hour: Option<u8>,
    /// What the session is keyed on, for policies whose reads stick to it.
    pub session: Option<String>,
    /// The region in which its client has written a moment ago, so that no copy can have it yet.
    pub wrote_at: Option<String>,
}

/// What the edge that is asked adds to a question.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Where requests enter unless the question says otherwise.
    pub region: &'a str,
    /// What it does with an encoded slash.
    pub encoded_slash: EncodedSlash,
    /// The regions that have as many requests in flight as they may have.
    pub saturated: RegionSet,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            tenant: None,
            host: None,
            method: "GET".into(),
            path: "/".into(),
            headers: Vec::new(),
            certificate: None,
            from: None,
            drain: BTreeMap::new(),
            down: Vec::new(),
            body: false,
            country: None,
            hour: None,
            session: None,
            wrote_at: None,
        }
    }
}

impl Question {
    /// What `snapshot`, with what is supposed laid over it, makes of the request.
    ///
    /// # Errors
    /// A sentence: a name that the table does not have, a value out of its range, or a request that an edge refuses
    /// before it asks.
    pub fn ask(&self, snapshot: &Snapshot, edge: &Standing<'_>) -> Result<Explanation, String> {
        let table = snapshot.table();
        if !is_method(&self.method) {
            return Err(format!("method: an edge refuses {:?}; write a word such as \"GET\"", self.method));
        }
        let source = region(table, "from", self.from.as_deref().unwrap_or(edge.region))?;
        let supposed = self.overlaid(snapshot)?;
        let snapshot = supposed.as_ref().unwrap_or(snapshot);
        let mut request = Request::of(self, edge.encoded_slash)?;
        if let Some(tenant) = &self.tenant {
            request.name(tenant, table.tenancy())?;
        }
        let tenant_headers: Vec<&str> =
            table.tenancy().headers().flat_map(|name| request.header(name)).collect();
        let facts = Facts {
            tenant_headers: &tenant_headers,
            client: request.client(),
            has_body: self.body,
            upgrade: request.header("upgrade").next().is_some(),
            strong: request.header("x-consistency").any(|value| value.eq_ignore_ascii_case("strong")),
            idempotency_key: request.header("idempotency-key").any(|value| !value.is_empty()),
            session: Key::of(self.session.as_deref().unwrap_or_default().as_bytes()),
            country: self.country()?,
            hour: self.hour()?,
            saturated: edge.saturated,
            // What a write that is held comes to, unless its wait ends before.
            waited: true,
            ..Facts::new(&self.method, &request.host, &request.path, source)
        };
        let decision = decide(&facts, snapshot);
        let Some(name) = &self.wrote_at else { return Ok(explanation(&decision, snapshot)) };
        let wrote_at = region(table, "wrote_at", name)?;
        let tenant = decision.tenant.map(|tenant| table.tenants().id(tenant));
        let pin = just_written(tenant.unwrap_or_default(), table.region_name(wrote_at));
        let facts = Facts { pin: Some(Shown { pins: &[pin], now: NOW }), ..facts };
        Ok(explanation(&decide(&facts, snapshot), snapshot))
    }

    fn country(&self) -> Result<Option<[u8; 2]>, String> {
        let Some(written) = &self.country else { return Ok(None) };
        match <[u8; 2]>::try_from(written.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_alphabetic) => {
                Ok(Some(letters.map(|l| l.to_ascii_uppercase())))
            }
            _ => Err("country: write two letters, such as \"DE\"".into()),
        }
    }

    fn hour(&self) -> Result<u8, String> {
        Some(self.hour.unwrap_or(0)).filter(|hour| *hour < 24).ok_or_else(|| "hour: write 0 to 23".into())
    }

    /// The snapshot with what is supposed laid over it; `None`: nothing is.
    fn overlaid(&self, snapshot: &Snapshot) -> Result<Option<Snapshot>, String> {
        if self.drain.is_empty() && self.down.is_empty() {
            return Ok(None);
        }
        let table = snapshot.table();
        let mut weights = snapshot.weights().clone();
        for (name, percent) in &self.drain {
            if !(0.0..=100.0).contains(percent) {
                return Err(format!("drain.{name}: {percent} is no weight; write 0 to 100"));
            }
            // In range, so nothing is cut off.
            let weight = Weight::hundredths((percent * 100.0).round() as u16);
            weights = weights.with_region(region(table, "drain", name)?, weight);
        }
        let mut health = snapshot.health().clone();
        for written in &self.down {
            suppose_down(&mut health, table, written)?;
        }
        let (generation, ownership) = (snapshot.generation(), snapshot.ownership().clone());
        Ok(Some(Snapshot::new(generation, Arc::clone(table), health, ownership, weights)))
    }
}

fn suppose_down(health: &mut HealthView, table: &Table, written: &str) -> Result<(), String> {
    let (name, capability) = match written.split_once(':') {
        Some((name, capability)) => (name, Some(capability)),
        None => (written, None),
    };
    let id = region(table, "down", name)?;
    let capability = capability.map(|wanted| {
        let known = || table.capabilities().iter().map(AsRef::as_ref);
        table.capability_named(wanted).ok_or_else(|| {
            let fix = remedy(wanted, "capabilities", known().collect::<Vec<_>>());
            format!("down: there is no capability {wanted:?}; {fix}")
        })
    });
    let capability = capability.transpose()?;
    let Some(view) = health.regions.get_mut(id.index()) else { return Ok(()) };
    for endpoint in &mut view.endpoints {
        let Some(capability) = capability else {
            endpoint.checked = Status::Down;
            continue;
        };
        let mut reported = std::mem::take(&mut endpoint.capabilities).into_vec();
        reported.resize(table.capabilities().len().max(reported.len()), None);
        if let Some(place) = reported.get_mut(capability.index()) {
            *place = Some(Status::Down);
        }
        endpoint.capabilities = reported.into_boxed_slice();
    }
    Ok(())
}

fn region(table: &Table, key: &str, name: &str) -> Result<RegionId, String> {
    table.region_named(name).ok_or_else(|| {
        let known: Vec<&str> = table.regions().iter().map(|region| region.name.as_ref()).collect();
        format!("{key}: there is no region {name:?}; {}", remedy(name, "regions", known))
    })
}

/// A moment at which no report is as new as what was just written.
const NOW: Now = Now { at: Millis(u64::MAX), wall: Wall(0) };

/// The pin of a client of this tenant that wrote in this region [`NOW`].
fn just_written(tenant: &str, region: &str) -> Pin {
    Pin {
        tenant: Key::of(tenant.as_bytes()),
        region: Key::of(region.as_bytes()).0,
        at: NOW.wall,
        position: None,
    }
}

/// Host, path and headers as an edge would see them.
struct Request {
    host: String,
    path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// What the certificate of the client says.
    spiffe_id: Option<String>,
    subject: Option<String>,
}

impl Request {
    fn of(question: &Question, slash: EncodedSlash) -> Result<Self, String> {
        let host = question.host.as_deref().map(host).transpose()?.unwrap_or_default();
        let headers = question.headers.iter();
        let certificate = question.certificate.clone();
        let (spiffe_id, subject) = match certificate {
            Some(id) if id.starts_with("spiffe://") && !spiffe::is_id(&id) => {
                return Err(format!(
                    "certificate: {id:?} is no SPIFFE id; a certificate with it names nobody"
                ));
            }
            Some(id) if spiffe::is_id(&id) => (Some(id), None),
            subject => (None, subject),
        };
        Ok(Self {
            host,
            path: path(question, slash)?,
            spiffe_id,
            subject,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        })
    }

    fn header<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn client(&self) -> Presented<'_> {
        Presented { spiffe_id: self.spiffe_id.as_deref(), subject: self.subject.as_deref() }
    }

    /// Sees to it that the request names `tenant`.
    fn name(&mut self, tenant: &str, tenancy: &Tenancy) -> Result<(), String> {
        let mut named = tenancy.sources.iter().flat_map(|source| self.named_by(source)).peekable();
        if let Some(other) = named.find(|name| *name != tenant) {
            return Err(format!(
                "tenant: the request names {other:?} by itself and not {tenant:?}; leave one out"
            ));
        }
        drop(named);
        if tenancy.sources.iter().any(|source| !self.named_by(source).is_empty()) {
            return Ok(());
        }
        if tenancy.sources.iter().any(|source| self.try_naming(tenant, source)) {
            return Ok(());
        }
        Err(format!(
            "tenant: nothing in tenancy.from can name {tenant:?} in this request; give host, headers, path or certificate"
        ))
    }

    fn named_by(&self, source: &Source) -> Vec<&str> {
        match source {
            Source::Host(template) => template.tenant(&self.host).into_iter().collect(),
            Source::Path(template) => template.tenant(&self.path).into_iter().collect(),
            Source::Header(name) => self.header(name).collect(),
            Source::Certificate(source) => source.tenant(&self.client()).into_iter().collect(),
        }
    }

    /// True when the request names the tenant by this source now; what cannot is left as it was.
    fn try_naming(&mut self, tenant: &str, source: &Source) -> bool {
        let before = match source {
            Source::Header(name) => {
                self.headers.push((name.to_string(), tenant.to_owned()));
                return true;
            }
            Source::Certificate(_) if self.spiffe_id.is_some() || self.subject.is_some() => return false,
            Source::Certificate(CertificateSource::Uri) => return false,
            Source::Certificate(CertificateSource::Subject) => {
                self.subject = Some(tenant.to_owned());
                return true;
            }
            Source::Certificate(CertificateSource::Template(template)) => {
                self.spiffe_id = template.naming(tenant);
                return self.spiffe_id.is_some();
            }
            Source::Host(_) if !self.host.is_empty() => return false,
            Source::Host(template) => {
                let Ok(host) = host(&format!("{}{tenant}{}", template.before, template.after)) else {
                    return false;
                };
                (std::mem::replace(&mut self.host, host), self.path.clone())
            }
            Source::Path(template) => {
                // What was asked for has been checked already; only the tenant's own spelling is new.
                let rest = if self.path == "/" { "" } else { &self.path };
                let whole = format!("{}{tenant}{}{rest}", template.before, template.after);
                let Ok(path) = normalise_path(whole.as_bytes(), EncodedSlash::Pass) else { return false };
                (self.host.clone(), std::mem::replace(&mut self.path, path.into_owned()))
            }
        };
        let named = self.named_by(source) == [tenant];
        if !named {
            (self.host, self.path) = before;
        }
        named
    }
}

/// A token of at most 32 bytes (RFC 9110, 5.6.2).
fn is_method(written: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=32).contains(&written.len()) && written.bytes().all(fits)
}

fn host(written: &str) -> Result<String, String> {
    let host = normalise_host(written.as_bytes());
    host.map(|host| host.name().to_owned()).map_err(|cause| {
        format!("host: an edge refuses {written:?} ({}); write a name or an address", cause.code())
    })
}

/// The path as it would be sent on; what follows a `?` is checked and left out.
fn path(question: &Question, slash: EncodedSlash) -> Result<String, String> {
    let written = &question.path;
    match target::parse(written.as_bytes(), &question.method, slash) {
        Ok((target, None)) => Ok(target.path.into_owned()),
        Ok((_, Some(_))) => {
            Err(format!("path: {written:?} holds a host; write that in host, and here what follows it"))
        }
        Err(cause) => {
            Err(format!("path: an edge refuses {written:?} ({}); write it in its plain form", cause.code()))
        }
    }
}

/// What [`pairs`] reads.
fn fields(_: &mut SchemaGenerator) -> Schema {
    let pair = json_schema!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2});
    json_schema!({"anyOf": [
        {"type": "null"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "items": pair},
    ]})
}

/// An object, or a list of pairs.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of header fields, or a list of [name, value]")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = list.next_element()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    from.deserialize_any(Pairs)
}

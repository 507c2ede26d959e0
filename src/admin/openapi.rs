//! The API described, as OpenAPI 3.1: made of the list of operations and of the types that are read and written, so it
//! says what is so. The same text is kept as `docs/openapi.json`.
//!
//! Never: an operation, a code or a key that is not in the code.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::admin::operations::{Gives, Needs, Operation, all};
use crate::admin::problem::{self, Why};

const SAYS: &str = "What is in force on one edge of Rhumb, what a request would meet, and the changes that an \
                    operator makes. Objects that are answered may have more keys in a later version; those that are \
                    here stay. A GET never changes anything.";

const TOKEN: &str = "A token of the file that `admin.token_file` names. Changes need one with the right to write; reads \
                     need one where `admin.open_reads` is false.";

/// The whole description.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));
    &TEXT
}

/// An OpenAPI document.
pub(super) enum Document {}

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "OpenAPI".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "required": ["openapi", "info", "paths"], "additionalProperties": true})
    }
}

fn document() -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut asked = settings().for_deserialize().into_generator();
    let mut given = settings().for_serialize().into_generator();
    let problem = given.subschema_for::<problem::Document<'_>>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for one in all() {
        let described = operation(&one, &mut asked, &mut given, &problem);
        paths.entry(one.path).or_default().insert(one.method.as_str().to_ascii_lowercase(), described);
    }
    let mut schemas = given.take_definitions(true);
    schemas.extend(asked.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rhumb admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": SAYS,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKEN}},
        },
    })
}

fn operation(
    one: &Operation,
    asked: &mut SchemaGenerator,
    given: &mut SchemaGenerator,
    problem: &Schema,
) -> Value {
    let mut described = Map::new();
    described.insert("summary".into(), one.says.into());
    described.insert("operationId".into(), id(one).into());
    described.insert(
        "security".into(),
        match one.needs {
            Needs::Nothing => json!([]),
            Needs::Read => json!([{}, {"token": []}]),
            Needs::Write => json!([{"token": []}]),
        },
    );
    let mut names: Vec<Value> = names(one.path)
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string"},
            })
        })
        .collect();
    if let Some(shape) = one.query {
        names.push(
            json!({"name": "query", "in": "query", "style": "form", "explode": true, "schema": shape(asked)}),
        );
    }
    if !names.is_empty() {
        described.insert("parameters".into(), names.into());
    }
    if let Some(shape) = one.asks {
        let content = json!({"application/json": {"schema": shape(asked)}});
        described.insert("requestBody".into(), json!({"required": !one.may_be_empty, "content": content}));
    }
    described.insert("responses".into(), responses(one, given, problem));
    described.into()
}

fn responses(one: &Operation, given: &mut SchemaGenerator, problem: &Schema) -> Value {
    let content = match one.gives {
        Gives::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Gives::Json(shape) => json!({"application/json": {"schema": shape(given)}}),
        Gives::Events => json!({"text/event-stream": {"schema": {"type": "string"}}}),
    };
    let mut responses =
        BTreeMap::from([("200".to_owned(), json!({"description": "done", "content": content}))]);
    if one.makes {
        responses.insert("201".to_owned(), json!({"description": "made", "content": content}));
    }
    let mut by_status: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
    for why in refusals(one) {
        by_status.entry(why.status()).or_default().push(why.code());
    }
    for (status, codes) in by_status {
        let description = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        let content = json!({"application/problem+json": {"schema": problem}});
        let described = json!({"description": description, "content": content});
        responses.insert(status.as_u16().to_string(), described);
    }
    if let Some((status, says)) = one.also {
        responses.insert(status.to_string(), json!({"description": says, "content": content}));
    }
    json!(responses)
}

/// Every reason for which it may be refused.
pub(super) fn refusals(one: &Operation) -> Vec<Why> {
    let mut all = one.refuses.clone();
    all.push(Why::BodyTooLarge);
    if one.path.starts_with("/v1") {
        all.push(Why::ForbiddenHost);
    }
    match one.needs {
        Needs::Nothing => {}
        Needs::Read => all.extend([Why::Unauthorized, Why::TooManyTokens]),
        Needs::Write => all.extend([Why::Unauthorized, Why::TooManyTokens, Why::Forbidden]),
    }
    all
}

/// `get_v1_regions_region`.
fn id(one: &Operation) -> String {
    let words = one.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = one.method.as_str().to_ascii_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

/// The names that stand in a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

//! The question that `rhumb explain` asks, as the admin API takes it.

use serde_json::{Value, json};

use super::args::ExplainArgs;
use super::failure::Failure;
use super::files::Files;

/// The body of `POST /v1/explain`.
pub fn question(args: &ExplainArgs) -> Value {
    let headers = args.header.iter().map(|header| (header.name.clone(), header.value.clone()));
    let drain = args.drain.iter().map(|drain| (drain.region.clone(), Value::from(drain.weight)));
    let down = args.down.iter().map(|down| match &down.capability {
        Some(capability) => format!("{}:{capability}", down.region),
        None => down.region.clone(),
    });
    json!({
        "tenant": args.tenant, "host": args.host, "method": args.method, "path": args.path,
        "headers": headers.collect::<Vec<_>>(), "body": args.body, "from": args.from,
        "drain": drain.collect::<serde_json::Map<_, _>>(), "down": down.collect::<Vec<_>>(),
    })
}

/// The explanation by `files`.
pub fn offline(_files: &Files, args: &ExplainArgs) -> Result<Value, Failure> {
    let _ = question(args);
    Err(Failure::Failed("explain by files is not wired yet".into()))
}

//! Compares what came of a row with what must.

use std::net::IpAddr;

use serde_json::Value;

use super::client::{Ended, Heard};
use super::harness::Answer;
use super::origin::{Seen, What};
use super::request::{Request, fold};
use super::rows::{Expectation, Is};
use super::world::{Reached, owner};

/// Names that Rhumb alone may set, and `X-Tenant-ID`, which it sets always.
const MANAGED: [&str; 10] = [
    "X-Tenant-ID",
    "X-Source-Region",
    "X-Target-Region",
    "X-Owner-Region",
    "X-Owner-Epoch",
    "X-Failover-Reason",
    "X-Request-Region-Policy",
    "X-Region-Hops",
    "X-Prior-Attempt-Region",
    "X-Rhumb-Signature",
];

/// What only a trusted proxy could say, what other services obey, and what was meant for one connection.
const NEVER: [&str; 24] = [
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-HTTP-Method",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Host-Override",
    "Proxy",
    "X-Client-Cert",
    "Client-Cert",
    "X-Forwarded-Client-Cert",
    "Early-Data",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fly-Client-IP",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Keep-Alive",
    "Upgrade",
    "HTTP2-Settings",
    "TE",
    "Trailer",
    "X-Failover-Reason",
    "X-Rhumb-Forwarded-By",
];

/// Judges everything but the metrics; `before` answers belong to requests of the test's own.
pub fn judge(row: &Expectation, heard: &Heard, before: usize, reached: &Reached) -> Result<(), String> {
    if heard.ended == Ended::Never {
        return Err(format!("the connection stays open: {}", told(heard)));
    }
    if heard.answers.len() < before {
        return Err(format!("the good request before it got no answer: {}", told(heard)));
    }
    let answers = &heard.answers[before..];
    never_a_write_at_a_stranger(reached)?;
    match row.is {
        Is::Refused => {
            nothing_reached(reached)?;
            refused(row, heard, answers)
        }
        Is::Answered | Is::Admin => {
            nothing_reached(reached)?;
            answered(row, heard, answers)
        }
        Is::Aborted => {
            if let Some(whole) = all(reached).find(|seen| matches!(seen.what, What::Whole(_))) {
                return Err(format!("a whole request reached a region: {}", shown(whole)));
            }
            if answers.is_empty() { Ok(()) } else { refused(row, heard, answers) }
        }
        Is::Forwarded => forwarded(row, heard, answers, reached),
    }
}

/// What holds for whatever reaches a region, whole: it is in normal form, with Rhumb's own fields, and no write is at a
/// stranger. Returns the requests, in no order.
pub fn lawful(reached: &Reached) -> Result<Vec<Request>, String> {
    never_a_write_at_a_stranger(reached)?;
    let mut requests = Vec::new();
    for (region, seen) in [("eu", &reached.eu), ("us", &reached.us)] {
        for seen in seen {
            if let What::Whole(request) = &seen.what {
                if !request.faults.is_empty() {
                    return Err(format!("not in normal form: {:?}: {}", request.faults, shown(seen)));
                }
                // A handshake that is asked for properly is handed on.
                own_fields(&["Upgrade"], request, region)?;
                requests.push(request.clone());
            }
        }
    }
    Ok(requests)
}

fn refused(row: &Expectation, heard: &Heard, answers: &[Answer]) -> Result<(), String> {
    answered(row, heard, answers)?;
    // A reset would take the answer away from whoever has not read it yet.
    if heard.ended != if row.fin { Ended::Ours } else { Ended::Closed } {
        return Err(format!("the connection ended {:?}, not closed by the edge", heard.ended));
    }
    Ok(())
}

fn answered(row: &Expectation, heard: &Heard, answers: &[Answer]) -> Result<(), String> {
    let [answer] = answers else {
        return Err(format!("{} answers, not one: {}", answers.len(), told(heard)));
    };
    let status = row.status.unwrap_or(400);
    if answer.status != status {
        return Err(format!("status {}, not {status}: {}", answer.status, answer.text()));
    }
    if let Some(reason) = &row.reason {
        let said = serde_json::from_slice::<Value>(&answer.body).ok();
        let said = said.as_ref().and_then(|said| said["reason"].as_str());
        // An answer to HEAD has no body to say it.
        if said != Some(reason) && !answer.body.is_empty() {
            return Err(format!("reason {said:?}, not {reason}"));
        }
    }
    if row.closes && heard.ended != Ended::Closed {
        return Err(format!("the connection ended {:?}, not closed by the edge", heard.ended));
    }
    let text = format!("{:?} {}", answer.headers, answer.text()).to_ascii_lowercase();
    match row.lacks.iter().find(|lacks| text.contains(&lacks.to_ascii_lowercase())) {
        Some(echoed) => Err(format!("{echoed:?} is in the answer: {text}")),
        None => quiet(heard),
    }
}

fn forwarded(row: &Expectation, heard: &Heard, answers: &[Answer], reached: &Reached) -> Result<(), String> {
    let at = row.at.as_deref().unwrap_or("eu");
    let (there, elsewhere) = if at == "eu" { (&reached.eu, &reached.us) } else { (&reached.us, &reached.eu) };
    if let Some(stray) = elsewhere.first() {
        return Err(format!("the other region than {at} got {}", shown(stray)));
    }
    let [Seen { what: What::Whole(request), .. }] = &there[..] else {
        let all: Vec<_> = there.iter().map(shown).collect();
        return Err(format!("{at} got not one whole request but {all:?}; the client: {}", told(heard)));
    };
    if !request.faults.is_empty() {
        return Err(format!("not in normal form: {:?}", request.faults));
    }
    let asked: Vec<_> = row.has.keys().map(String::as_str).collect();
    own_fields(&asked, request, at)?;
    let mut raw = request.raw.clone();
    raw.make_ascii_lowercase();
    for lacks in &row.lacks {
        let lacks = lacks.to_ascii_lowercase();
        if raw.windows(lacks.len()).any(|part| part == lacks.as_bytes()) {
            return Err(format!("{lacks:?} reached {at}"));
        }
    }
    for name in &row.absent {
        if !request.all(name).is_empty() {
            return Err(format!("{name} reached {at}: {:?}", request.all(name)));
        }
    }
    for (name, value) in &row.has {
        if request.one(name) != Some(value) {
            return Err(format!("{name} is {:?}, not {value:?}", request.all(name)));
        }
    }
    if row.target.as_ref().is_some_and(|target| *target != request.target) {
        return Err(format!("target {}", request.target));
    }
    let body = String::from_utf8_lossy(&request.body).into_owned();
    if body != row.body.as_deref().unwrap_or_default() {
        return Err(format!("body {body:?}"));
    }
    let [answer] = answers else {
        return Err(format!("{} answers, not one: {}", answers.len(), told(heard)));
    };
    if answer.status != row.status.unwrap_or(200) {
        return Err(format!("status {}: {}", answer.status, answer.text()));
    }
    if !answer.body.is_empty() && answer.json()["region"] != at {
        return Err(format!("the answer of another: {}", answer.text()));
    }
    if row.closes && heard.ended != Ended::Closed {
        return Err(format!("the connection ended {:?}, not closed by the edge", heard.ended));
    }
    quiet(heard)
}

/// What holds for every request that a region gets: Rhumb's own fields are there, once, and nobody else's.
fn own_fields(asked: &[&str], request: &Request, at: &str) -> Result<(), String> {
    let tenant = request.one("X-Tenant-ID").ok_or("no tenant, or two")?;
    let (home, epoch) = owner(tenant).ok_or(format!("tenant {tenant:?}"))?;
    for (name, value) in [
        ("X-Source-Region", "eu"),
        ("X-Target-Region", at),
        ("X-Owner-Region", home),
        ("X-Owner-Epoch", epoch),
        ("X-Request-Region-Policy", "default"),
        ("X-Region-Hops", "1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("Via", "1.1 rhumb/edge-1"),
    ] {
        if request.one(name) != Some(value) {
            return Err(format!("{name} is {:?}, not {value:?}", request.all(name)));
        }
    }
    let expected = [format!("for=127.0.0.1;host={};proto=http", request.one("Host").unwrap_or_default())];
    let forwarded: Vec<_> = request.all("Forwarded").iter().map(|text| text.replace('"', "")).collect();
    if forwarded != expected {
        return Err(format!("Forwarded is {forwarded:?}, not {expected:?}"));
    }
    for (name, _) in &request.fields {
        let folded = fold(name);
        let managed = MANAGED.iter().find(|managed| fold(managed) == folded);
        if managed.is_some_and(|managed| !name.eq_ignore_ascii_case(managed)) {
            return Err(format!("{name} got through"));
        }
        let asked = asked.iter().any(|asked| fold(asked) == folded);
        if !asked && NEVER.iter().any(|never| fold(never) == folded) || folded.starts_with("x-rhumb-") {
            return Err(format!("{name} got through"));
        }
    }
    let id = request.one("X-Request-ID").unwrap_or_default();
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    {
        return Err(format!("request id {id:?}"));
    }
    let trace = request.one("traceparent").unwrap_or_default();
    let parts: Vec<_> = trace.split('-').collect();
    if parts.len() != 4 || parts[1].len() != 32 || parts[1].chars().all(|digit| digit == '0') {
        return Err(format!("trace {trace:?}"));
    }
    let client = request.one("X-Forwarded-For").and_then(|text| text.parse::<IpAddr>().ok());
    client.map(|_| ()).ok_or("no client".to_owned())
}

fn never_a_write_at_a_stranger(reached: &Reached) -> Result<(), String> {
    for (region, seen) in [("eu", &reached.eu), ("us", &reached.us)] {
        for seen in seen {
            if let What::Whole(request) = &seen.what
                && request.is_write()
                && request.one("X-Tenant-ID").and_then(owner).map(|(home, _)| home) != Some(region)
            {
                return Err(format!("a write at {region}, which is not the owner: {}", shown(seen)));
            }
        }
    }
    Ok(())
}

fn nothing_reached(reached: &Reached) -> Result<(), String> {
    match all(reached).next() {
        Some(seen) => Err(format!("a region got {}", shown(seen))),
        None => Ok(()),
    }
}

fn all(reached: &Reached) -> impl Iterator<Item = &Seen> {
    reached.eu.iter().chain(&reached.us)
}

fn quiet(heard: &Heard) -> Result<(), String> {
    match heard.rest.is_empty() {
        true => Ok(()),
        false => Err(format!("something follows the answer: {}", told(heard))),
    }
}

fn told(heard: &Heard) -> String {
    let answers: Vec<_> = heard.answers.iter().map(|answer| (answer.status, answer.text())).collect();
    format!("{answers:?} then {:?}, {:?}", String::from_utf8_lossy(&heard.rest), heard.ended)
}

fn shown(seen: &Seen) -> String {
    let raw = seen.what.raw();
    let part = &raw[..raw.len().min(300)];
    let how = match &seen.what {
        What::Whole(_) => "whole",
        What::Cut(_) => "cut",
        What::Broken(_, why) => why,
    };
    format!("{how}: {:?}", String::from_utf8_lossy(part))
}

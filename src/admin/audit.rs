//! The audit: what was done, by whom and why, and whether the record of it is whole.
//!
//! Never: changes it.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::problem::{Refused, Why};
use crate::admin::server::AdminState;
use crate::control::journal::{Action, Ask, Entry, JournalReader, LARGEST_PAGE, WallTime};

type Shared = State<Arc<AdminState>>;

/// How many entries are shown unless somebody wants more or less.
const USUAL: usize = 100;

/// Which entries.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// Those behind this number, oldest first. Without it the newest come first.
    #[schemars(with = "u64")]
    since: Option<u64>,
    /// Those before this number, newest first.
    #[schemars(with = "u64")]
    before: Option<u64>,
    /// Those no later than this: `2026-06-01T09:30:00.250Z`.
    #[schemars(with = "String")]
    until: Option<String>,
    /// Those of this actor.
    #[schemars(with = "String")]
    actor: Option<String>,
    /// Those that tell of this, by its code.
    #[schemars(with = "String")]
    action: Option<String>,
    /// Those about this region.
    #[schemars(with = "String")]
    region: Option<String>,
    /// At most so many, 1 to 1000; 100 unless said.
    #[schemars(with = "u64", range(min = 1, max = 1000))]
    limit: Option<usize>,
}

/// Some entries.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
pub(super) struct Audit {
    entries: Vec<EntryView>,
    /// What to ask `since`, or where the newest come first `before`, for more; `null`: there is no more.
    next: Option<u64>,
    /// Lines on the way that could not be read; `/v1/audit/verify` says which.
    unreadable: u64,
}

/// One entry.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
struct EntryView {
    seq: u64,
    time: String,
    actor: String,
    source: String,
    action: &'static str,
    region: Option<String>,
    reason: String,
    before: Value,
    after: Value,
    generation: u64,
    revision: u64,
    hash: String,
}

/// Whether the audit is whole.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditVerified")]
pub(super) struct VerifiedView {
    /// Whether nothing is missing, edited or out of order.
    sound: bool,
    /// Entries that are kept.
    entries: u64,
    first: Option<u64>,
    last: Option<u64>,
    /// The hash of the last: written down elsewhere, it shows that nothing was cut off behind it.
    last_hash: Option<String>,
    /// What the oldest entry hangs on: `start`, `checkpoint` or `nothing`.
    anchor: &'static str,
    /// The first place where the chain is broken, in words.
    broken: Option<String>,
    /// In how many places it is.
    breaks: u64,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let record = entry.record;
        Self {
            seq: entry.seq,
            time: record.time.to_string(),
            actor: record.actor,
            source: record.source,
            action: record.action.code(),
            region: record.region,
            reason: record.reason,
            before: record.before,
            after: record.after,
            generation: record.generation,
            revision: record.revision,
            hash: entry.hash.to_string(),
        }
    }
}

pub(super) async fn audit(
    State(state): Shared,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(wanted) = wanted.map_err(|e| Refused::new(Why::BadRequest, e.body_text()))?;
    let ask = ask(&wanted)?;
    let (before, newest_first) = (wanted.before, wanted.since.is_none());
    let reader = state.journal.clone();
    let read = move || if newest_first { newest(&reader, &ask, before) } else { oldest(&reader, &ask) };
    Ok(Json(blocking(read).await?).into_response())
}

pub(super) async fn verify(State(state): Shared) -> Result<Response, Refused> {
    let reader = state.journal.clone();
    let verified = blocking(move || reader.verify().map_err(|e| e.to_string())).await?;
    let last = verified.last.as_ref();
    let view = VerifiedView {
        sound: verified.is_sound(),
        entries: verified.entries,
        first: verified.first,
        last: last.map(|(seq, _)| *seq),
        last_hash: last.map(|(_, hash)| hash.to_string()),
        anchor: verified.anchor.code(),
        broken: verified.broken.as_ref().map(ToString::to_string),
        breaks: verified.breaks,
    };
    Ok(Json(view).into_response())
}

/// What waits for the disk is done elsewhere.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string());
    done.and_then(|done| done)
        .map_err(|why| Refused::new(Why::Conflict, format!("the audit cannot be read: {why}")))
}

fn oldest(reader: &JournalReader, ask: &Ask) -> Result<Audit, String> {
    let page = reader.page(ask).map_err(|e| e.to_string())?;
    Ok(Audit {
        entries: page.entries.into_iter().map(Into::into).collect(),
        next: page.next,
        unreadable: page.unreadable,
    })
}

/// The kept history is bounded, so it may be read through to its end.
fn newest(reader: &JournalReader, ask: &Ask, before: Option<u64>) -> Result<Audit, String> {
    let mut last: VecDeque<Entry> = VecDeque::new();
    let (mut since, mut unreadable, mut more) = (0, 0, false);
    loop {
        let page =
            reader.page(&Ask { since, limit: LARGEST_PAGE, ..ask.clone() }).map_err(|e| e.to_string())?;
        unreadable += page.unreadable;
        for entry in page.entries.into_iter().filter(|entry| before.is_none_or(|before| entry.seq < before)) {
            if last.len() >= ask.limit {
                last.pop_front();
                more = true;
            }
            last.push_back(entry);
        }
        match page.next {
            Some(next) if next > since => since = next,
            _ => break,
        }
    }
    let next = last.front().filter(|_| more).map(|entry| entry.seq);
    Ok(Audit { entries: last.into_iter().rev().map(Into::into).collect(), next, unreadable })
}

fn ask(wanted: &Wanted) -> Result<Ask, Refused> {
    let wrong = |detail: String| Refused::new(Why::BadRequest, detail);
    if wanted.since.is_some() && wanted.before.is_some() {
        return Err(wrong("write since or before, not both".into()));
    }
    let until = wanted.until.as_deref().map(|text| {
        WallTime::parse(text)
            .ok_or_else(|| wrong("until: write a time such as 2026-06-01T09:30:00.250Z".into()))
    });
    let action = wanted.action.as_deref().map(|code| {
        Action::of(code).ok_or_else(|| {
            let known = Action::ALL.iter().map(|action| action.code());
            let remedy = crate::problem::nearest::remedy(code, "actions", known);
            wrong(format!("action: there is no {code:?}; {remedy}"))
        })
    });
    let limit = wanted.limit.unwrap_or(USUAL);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(wrong(format!("limit: write 1 to {LARGEST_PAGE}")));
    }
    Ok(Ask {
        since: wanted.since.unwrap_or(0),
        until: until.transpose()?,
        actor: wanted.actor.clone(),
        action: action.transpose()?,
        region: wanted.region.clone(),
        limit,
    })
}

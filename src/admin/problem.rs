//! Answers that are no answer, as `application/problem+json` (RFC 9457) with a stable `reason`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::control::desk::DeskError;
use crate::control::operator::OperatorError;

/// Why something was not done.
#[derive(Debug)]
pub(super) struct Refused {
    why: Why,
    /// What is wrong and what to do instead.
    detail: String,
    more: Map<String, Value>,
}

/// A closed list: the codes are in answers and in programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    BadRequest,
    Unauthorized,
    Forbidden,
    TooManyTokens,
    ForbiddenHost,
    NotFound,
    MethodNotAllowed,
    Conflict,
    RuleBroken,
    PlanMoved,
    RevisionPassed,
    NotKept,
    TableRefused,
    BodyTooLarge,
    UnsupportedMediaType,
    TimedOut,
    Stopping,
}

impl Why {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyTokens,
        Self::ForbiddenHost,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::RuleBroken,
        Self::PlanMoved,
        Self::RevisionPassed,
        Self::NotKept,
        Self::TableRefused,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::TimedOut,
        Self::Stopping,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooManyTokens => "too_many_tokens",
            Self::ForbiddenHost => "forbidden_host",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::RuleBroken => "rule_broken",
            Self::PlanMoved => "plan_moved",
            Self::RevisionPassed => "revision_passed",
            Self::NotKept => "not_kept",
            Self::TableRefused => "table_refused",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TimedOut => "timed_out",
            Self::Stopping => "stopping",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyTokens => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden | Self::ForbiddenHost => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict
            | Self::RuleBroken
            | Self::PlanMoved
            | Self::RevisionPassed
            | Self::TableRefused => StatusCode::CONFLICT,
            Self::NotKept => StatusCode::INSUFFICIENT_STORAGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be understood",
            Self::Unauthorized => "This needs a token",
            Self::Forbidden => "This token may not do this",
            Self::TooManyTokens => "Too many wrong tokens",
            Self::ForbiddenHost => "The request is meant for another host",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This method is not allowed here",
            Self::Conflict => "This cannot be done now",
            Self::RuleBroken => "A safety rule stands in the way",
            Self::PlanMoved => "This is not the plan any more",
            Self::RevisionPassed => "Somebody else changed something first",
            Self::NotKept => "The journal cannot hold it, so nothing was changed",
            Self::TableRefused => "The table is refused, and the one in force stays",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::TimedOut => "The body did not come in time",
            Self::Stopping => "The edge is stopping",
        }
    }
}

/// Why something was not done (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    /// Stable, for programs.
    #[schemars(extend("enum" = Why::ALL.map(Why::code)))]
    reason: &'static str,
    /// What is wrong and what to do instead.
    detail: &'a str,
    /// Of `table_refused`: `hash`, `acceptable`, `problems` and `left_out`, as `/v1/table/rejected` has them.
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl Refused {
    pub fn new(why: Why, detail: impl Into<String>) -> Self {
        Self { why, detail: detail.into(), more: Map::new() }
    }
}

impl From<OperatorError> for Refused {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Refused(rejected) => {
                let detail = if rejected.acceptable {
                    "it is sound and moves more than table.max_moved; accept it by its hash"
                } else {
                    "mend what is listed, then reload"
                };
                let problems = serde_json::to_value(rejected.problems.list()).unwrap_or_default();
                let more = [
                    ("hash".to_owned(), Value::from(rejected.hash.as_str())),
                    ("acceptable".to_owned(), Value::from(rejected.acceptable)),
                    ("problems".to_owned(), problems),
                    ("left_out".to_owned(), Value::from(rejected.problems.left_out())),
                ];
                Self { why: Why::TableRefused, detail: detail.into(), more: more.into_iter().collect() }
            }
            OperatorError::Impossible(why) => Self::new(Why::Conflict, why),
            OperatorError::Stopped => Self::new(Why::Stopping, "ask again once it is back"),
        }
    }
}

impl From<DeskError> for Refused {
    fn from(error: DeskError) -> Self {
        let detail = error.to_string();
        let (why, more) = match error {
            DeskError::Unknown(_) => (Why::NotFound, None),
            DeskError::Unfit(_) => (Why::Conflict, None),
            DeskError::Rules(plan) => (Why::RuleBroken, Some(("plan", serde_json::to_value(plan)))),
            DeskError::Unready(found) => (Why::Conflict, Some(("preflight", serde_json::to_value(found)))),
            DeskError::Moved(plan) => (Why::PlanMoved, Some(("plan", serde_json::to_value(plan)))),
            DeskError::Late { now, .. } => (Why::RevisionPassed, Some(("revision", Ok(Value::from(now))))),
            DeskError::NotKept(_) => (Why::NotKept, None),
        };
        let more = more.into_iter().map(|(key, value)| (key.to_owned(), value.unwrap_or_default()));
        Self { why, detail, more: more.collect() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.why.title(),
            status: self.why.status().as_u16(),
            reason: self.why.code(),
            detail: &self.detail,
            more: &self.more,
        };
        // It is texts and numbers throughout, so it can be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut answer = (self.why.status(), body).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.why {
            Why::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rhumb\""));
            }
            Why::TooManyTokens => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Why::Stopping => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        answer
    }
}

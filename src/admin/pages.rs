//! The dashboard: plain files, embedded. They hold no data; what they show, they ask the API for.
//!
//! Never: a file from elsewhere, or a script that is not one of these.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing but these files runs, and nobody may frame them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("dashboard/index.html")),
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    ("/dashboard/app.js", JAVASCRIPT, include_str!("dashboard/app.js")),
    ("/dashboard/api.js", JAVASCRIPT, include_str!("dashboard/api.js")),
    ("/dashboard/dom.js", JAVASCRIPT, include_str!("dashboard/dom.js")),
    ("/dashboard/drain.js", JAVASCRIPT, include_str!("dashboard/drain.js")),
    ("/dashboard/ownership.js", JAVASCRIPT, include_str!("dashboard/ownership.js")),
    ("/dashboard/regions.js", JAVASCRIPT, include_str!("dashboard/regions.js")),
];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A router of the files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { page(kind, text) }))
    })
}

/// Whether `path` is one of the files: a browser cannot show a token before it has the page to type it into.
pub(super) fn is_page(path: &str) -> bool {
    FILES.iter().any(|(file, ..)| *file == path)
}

fn page(kind: &'static str, text: &'static str) -> Response {
    let fixed = HeaderValue::from_static;
    let headers = [
        (header::CONTENT_TYPE, fixed(kind)),
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::REFERRER_POLICY, fixed("no-referrer")),
    ];
    (headers, text).into_response()
}

//! The dashboard's files as a browser gets them: before it can show a token, and never by another name than the edge's.

use super::{Answer, Side, side, side_with};
use crate::admin::pages;
use crate::telemetry::fixture;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Without a token, from an edge that shows nothing to whoever has none.
fn closed() -> Side {
    side_with(|state| state.open_reads = false, fixture::snapshot(1), None)
}

/// What `text` names between `before` and the next quote.
fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The page, and all that it and its scripts ask for, each with the type that it has to have.
async fn files(side: &Side) -> Vec<(String, &'static str, Answer)> {
    let page = side.get("/").await;
    let mut wanted: Vec<(String, &str)> =
        named(&page.text, "href=\"/").into_iter().map(|path| (format!("/{path}"), CSS)).collect();
    wanted.extend(named(&page.text, "src=\"/").into_iter().map(|path| (format!("/{path}"), JAVASCRIPT)));
    let mut found = vec![("/".to_owned(), HTML, page)];
    while let Some((path, kind)) = wanted.pop() {
        if found.iter().any(|(known, ..)| *known == path) {
            continue;
        }
        let file = side.get(&path).await;
        let imports = named(&file.text, "from \"./").into_iter();
        wanted.extend(imports.map(|name| (format!("/dashboard/{name}"), JAVASCRIPT)));
        found.push((path, kind, file));
    }
    found
}

#[tokio::test]
async fn the_page_and_all_it_asks_for_come_without_a_token_while_what_they_show_needs_one() {
    let side = closed();
    let files = files(&side).await;
    assert_eq!(files.len(), 8, "{:?}", files.iter().map(|(path, ..)| path).collect::<Vec<_>>());
    for (path, kind, file) in &files {
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.headers["content-type"], *kind, "{path}");
        assert_eq!(file.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(file.headers["referrer-policy"], "no-referrer", "{path}");
    }
    for path in ["/v1/status", "/v1/traffic", "/v1/audit", "/v1/events", "/dashboard/", "/dashboard/app.js/"]
    {
        assert_eq!(side.get(path).await.reason(), (401, "unauthorized".into()), "{path}");
    }
}

#[tokio::test]
async fn nothing_runs_but_these_files_and_nobody_frames_them() {
    for (path, _, file) in files(&side()).await {
        let policy = file.headers["content-security-policy"].to_str().unwrap();
        let rules: Vec<&str> = policy.split(';').map(str::trim).collect();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(rules.contains(&rule), "{path}: {rule} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    // What the policy would refuse is not in the page: a script or a style within it, or something from elsewhere.
    let page = side().get("/").await.text;
    for foreign in ["<style", " style=", "<script>", " onclick=", "src=\"http", "href=\"http"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[tokio::test]
async fn the_page_is_read_and_only_read_and_by_a_name_of_this_edge() {
    let side = closed();
    for path in ["/", "/dashboard/app.js"] {
        let foreign = side.ask("GET", path, &[("host", "evil.test")], "").await;
        assert_eq!(foreign.reason(), (403, "forbidden_host".into()), "{path}");
        let framed = side.ask("GET", path, &[("origin", "http://evil.test")], "").await;
        assert_eq!(framed.reason(), (403, "forbidden_host".into()), "{path}");
        assert_eq!(side.ask("HEAD", path, &[], "").await.status, 200, "{path}");
        assert_eq!(side.ask("POST", path, &[], "").await.reason().0, 401, "{path}");
        assert_eq!(
            side.ask("POST", path, &[("authorization", "Bearer good")], "").await.status,
            405,
            "{path}"
        );
    }
}

#[test]
fn only_the_files_are_pages() {
    for path in ["/", "/dashboard/style.css", "/dashboard/app.js"] {
        assert!(pages::is_page(path), "{path}");
    }
    for path in
        ["", "//", "/dashboard", "/dashboard/", "/dashboard/../v1/status", "/v1/status", "/DASHBOARD/app.js"]
    {
        assert!(!pages::is_page(path), "{path}");
    }
}

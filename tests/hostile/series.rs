//! What clients and regions make up never becomes a series, an entry that is kept, or a line that does not parse.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use rhumb::lab::{Fault, Then};

use super::client::{Leave, exchange};
use super::harness::{Edge, Faulty, Routing, edge, faulty, get, rhumb};

/// A request with a name in it that was never used before.
type MadeUp = fn(usize) -> String;

const HOST: &str = "Host: t1.example.test";

fn world() -> (Faulty, Edge) {
    let eu = faulty("eu");
    let from =
        r#"[{ host = "{tenant}.example.test" }, { header = "X-Tenant-ID" }, { path = "/t/{tenant}" }]"#;
    let routing = Routing::of(&[&eu])
        .tenancy("from", from)
        .every_region("health", r#"{ check = "tcp", interval = "1h" }"#)
        .tenant("t1", r#"home = "eu""#);
    let edge = edge(&routing).set("edge", "region = \"eu\"").set("log", "access = \"off\"").start();
    (eu, edge)
}

/// Sends many requests on a few connections, each ahead of the answers to those before it.
fn flood(edge: SocketAddr, many: usize, request: impl Fn(usize) -> String) {
    const AHEAD: usize = 20;
    for begin in (0..many).step_by(AHEAD) {
        let heads: String = (begin..many.min(begin + AHEAD)).map(&request).collect();
        let count = AHEAD.min(many - begin);
        let heard = exchange(edge, heads.as_bytes(), &[], Leave::After(count));
        assert_eq!(heard.answers.len(), count, "{:?}", heard.ended);
    }
}

fn names(edge: &Edge) -> BTreeSet<String> {
    edge.metrics().names().into_iter().map(str::to_owned).collect()
}

/// A name that was never used before: letters and digits.
fn made_up(nth: usize) -> String {
    format!("x{:x}", (nth as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn whatever_clients_make_up_shares_the_series_that_there_are() {
    let (_eu, edge) = world();
    let kinds: [(&str, MadeUp); 5] = [
        ("hosts", |n| format!("GET /r HTTP/1.1\r\nHost: {}.example.test\r\n\r\n", made_up(n))),
        ("tenants", |n| {
            format!("GET /t/{0}/r HTTP/1.1\r\nHost: a.b\r\nX-Tenant-ID: {0}\r\n\r\n", made_up(n))
        }),
        ("methods", |n| format!("M{} /r HTTP/1.1\r\n{HOST}\r\n\r\n", made_up(n))),
        ("paths and queries", |n| format!("GET /{0}?{0} HTTP/1.1\r\n{HOST}\r\n\r\n", made_up(n))),
        ("regions", |n| {
            format!("GET /r HTTP/1.1\r\n{HOST}\r\nX-Target-Region: {0}\r\nX-Rhumb-{0}: y\r\n\r\n", made_up(n))
        }),
    ];
    // Each kind once, so that the series it may have are there.
    for (_, request) in &kinds {
        flood(edge.address(), 100, request);
    }
    let (before, memory) = (names(&edge), edge.figure("VmRSS"));
    for (kind, request) in &kinds {
        flood(edge.address(), 1_000, |nth| request(1_000_000 + nth));
        let new: Vec<_> = names(&edge).difference(&before).cloned().collect();
        assert!(new.is_empty(), "{kind} made {new:?}");
    }
    let grown = edge.figure("VmRSS").saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB for names that nobody keeps");
}

#[test]
fn statuses_that_a_region_makes_up_share_one_label() {
    let (eu, edge) = world();
    for status in [200, 299, 418, 599, 600, 601, 777, 999] {
        eu.script([Fault::raw(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"), Then::Keep)]);
        let answer = get("t1.example.test", "/r").to(edge.address());
        assert_eq!(answer.status, status, "passed on as it came");
    }
    let statuses: BTreeSet<_> = names(&edge)
        .iter()
        .filter(|name| name.starts_with("rhumb_requests_total"))
        .filter_map(|name| Some(name.split("status=\"").nth(1)?.split('"').next()?.to_owned()))
        .collect();
    assert_eq!(statuses, ["200", "299", "418", "599", "other"].map(str::to_owned).into());
}

/// A name that would end a label, begin another, and begin a line.
#[test]
fn a_name_that_looks_like_a_label_is_refused_or_escaped() {
    let (eu, _) = world();
    let hostile = r#"a\",x=\"b\nrhumb_fake 1"#;
    let table = |tenant: &str, service: &str| {
        Routing::of(&[&eu])
            .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
            .and(&format!("[[routes]]\nname = \"r\"\npath = \"/r\"\nservice = \"{service}\""))
            .tenant(tenant, r#"home = "eu""#)
            .tenant("t1", r#"home = "eu""#)
    };
    for (tenant, service) in [(&*format!("\"{hostile}\""), "s"), ("t2", hostile), ("t2", "s")] {
        let edge = edge(&table(tenant, service)).set("edge", "region = \"eu\"");
        if (tenant, service) == ("t2", "s") {
            assert_eq!(edge.start().get("t1.example.test", "/r").status, 200, "the control");
            continue;
        }
        let ran = edge.fail();
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("routing.toml") && ran.stderr.contains("line"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("\nrhumb_fake"), "a line of its own: {}", ran.stderr);
    }
    assert_eq!(rhumb(&["--version"]).output().unwrap().status.code(), Some(0));
}

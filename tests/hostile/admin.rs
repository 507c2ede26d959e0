//! The administration listener under attack: what takes more than one request, or a start of its own.

use serde_json::json;

use super::client::{Ended, Leave, exchange};
use super::harness::{Edge, Routing, Toy, await_some, edge, get, post, toy};
use super::world::{GOOD, World};

/// Posts to the administration with the good token.
fn change(world: &World, path: &str, body: &str) -> (u16, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {GOOD}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        world.edge.admin,
        body.len()
    );
    let heard = exchange(world.edge.admin, (head + body).as_bytes(), &[], Leave::After(1));
    let answer = heard.answers.first().expect("an answer");
    (answer.status, answer.text())
}

#[test]
fn json_that_is_nested_without_end_is_refused_and_costs_no_stack() {
    let mut world = World::start();
    for (deep, statuses) in [(100_000, [413, 413]), (60_000, [400, 400]), (200, [400, 400])] {
        let lists = "[".repeat(deep);
        let objects = format!("{{\"tenant\":{}", "{\"a\":".repeat(deep / 5));
        for (body, status) in
            [(&lists, statuses[0]), (&objects, if objects.len() > 64 << 10 { 413 } else { statuses[1] })]
        {
            for path in ["/v1/explain", "/v1/table/accept", "/v1/table/reload"] {
                let (was, text) = change(&world, path, body);
                assert_eq!(was, status, "{path}, {deep} deep: {text}");
            }
        }
    }
    world.sound().unwrap();
}

#[test]
fn of_two_operators_who_accept_different_tables_one_wins_and_one_table_is_taken_once() {
    let (eu, us): (Toy, Toy) = (toy("eu-west-1"), toy("us-east-1"));
    let home = |region: &str, epoch: u32| {
        let mut routing = Routing::of(&[&eu, &us]);
        for tenant in 0..10 {
            routing = routing.tenant(&format!("t{tenant}"), &format!("home = \"{region}\", epoch = {epoch}"));
        }
        routing
    };
    let edge = edge(&home("eu-west-1", 1)).start();
    for round in 2..6 {
        let region = if round % 2 == 0 { "us-east-1" } else { "eu-west-1" };
        edge.folder().rename_over("routing.toml", home(region, round).text());
        let hash = await_some("the table waits for its hash", || rejected(&edge));
        let accept = |hash: &str| json!({ "hash": hash, "reason": "moved on purpose" });
        // One has read what is there, twice; the other still goes by the table that is in force.
        let bodies = [accept(&hash), accept(&edge.hash()), accept(&hash), accept(&"0".repeat(64))];
        let before = edge.metric("rhumb_table_reloads_total", &[("outcome", "accepted")]);
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let asked =
                bodies.each_ref().map(|body| scope.spawn(|| edge.change("/v1/table/accept", body).status));
            asked.map(|one| one.join().unwrap()).into()
        });
        assert_eq!(statuses, [200, 409, 200, 409], "round {round}");
        assert_eq!(edge.metric("rhumb_table_reloads_total", &[("outcome", "accepted")]) - before, 1.0);
        assert_eq!(edge.ask(&post("t0.app.example", "/")).region(), region);
    }
}

/// The hash of a table that was not taken.
fn rejected(edge: &Edge) -> Option<String> {
    let view = edge.read("/v1/table/rejected");
    let hash = view["hash"].as_str()?.to_owned();
    (edge.hash() != hash).then_some(hash)
}

#[test]
fn an_administration_that_strangers_could_reach_does_not_start() {
    for address in ["0.0.0.0:9900", "[::]:9900", "192.0.2.1:9900"] {
        let (eu, us) = (super::origin::Origin::start("eu"), super::origin::Origin::start("us"));
        let folder = edge(&super::world::routing(&eu, &us)).set("edge", "region = \"eu\"").start().stop();
        let text = std::fs::read_to_string(folder.file("rhumb.toml")).unwrap();
        let own = text.lines().rfind(|line| line.starts_with("address")).unwrap().to_owned();
        folder.write("rhumb.toml", text.replace(&own, &format!("address = \"{address}\"")));
        let ran =
            super::harness::Ran::of(super::harness::rhumb(&["run", "-c"]).arg(folder.file("rhumb.toml")));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("admin.address") && ran.stderr.contains("127.0.0.1"), "{}", ran.stderr);
    }
}

#[test]
fn an_empty_token_is_no_token_and_does_not_start() {
    let (eu, us) = (super::origin::Origin::start("eu"), super::origin::Origin::start("us"));
    for empty in ["", "\n", "  \t\r\n"] {
        let ran = edge(&super::world::routing(&eu, &us))
            .set("edge", "region = \"eu\"")
            .set("admin", "token_file = \"empty.token\"")
            .file("empty.token", empty)
            .fail();
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("empty.token"), "{}", ran.stderr);
    }
}

#[test]
fn no_view_of_the_administration_holds_a_secret() {
    let world = World::with(|edge| {
        edge.set("pin", "keys_file = \"pin.keys\"")
            .file("pin.keys", "k1 c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=\n")
    });
    for path in [
        "/debug/config",
        "/debug/pprof",
        "/v1/config",
        "/v1/settings",
        "/config_dump",
        "/server_info",
        "/quitquitquit",
    ] {
        let status = get("localhost", path).to(world.edge.admin).status;
        assert_eq!(status, 404, "{path}");
    }
    for path in [
        "/v1/status",
        "/v1/table",
        "/v1/table/rejected",
        "/v1/table/diff",
        "/v1/regions",
        "/v1/regions/eu",
        "/v1/tenants/t1",
        "/metrics",
    ] {
        let answer = get("localhost", path).to(world.edge.admin);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        for secret in ["\"good\"", "Bearer", "c2VjcmV0", "pin.keys", "good.token", "PRIVATE KEY"] {
            assert!(!text.contains(secret), "{path}: {text}");
        }
    }
}

/// The comparison is of hashes, in constant time, and of every token. Who goes on guessing is soon not listened to, and
/// heard again a second later.
#[test]
fn a_wrong_token_is_refused_however_much_of_it_is_right() {
    let world = World::with(|edge| edge.file("good.token", "a".repeat(64)));
    let right = "a".repeat(64);
    let almost = format!("{}b", "a".repeat(63));
    let tokens = ["b".repeat(64), almost, "a".repeat(32), "b".to_owned(), format!("{right}a")];
    let ask = |token: &str| {
        let raw = format!(
            "POST /v1/table/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let heard = exchange(world.edge.admin, raw.as_bytes(), &[], Leave::Never);
        assert_eq!(heard.ended, Ended::Closed);
        heard.answers[0].status
    };
    let statuses: Vec<_> = tokens.iter().cycle().take(100).map(|token| ask(token)).collect();
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert_eq!(statuses[..5], [401; 5], "{statuses:?}");
    super::harness::eventually("the right one is heard again", || ask(&right) == 200);
}

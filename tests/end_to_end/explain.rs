//! What `explain` says is what happens.

use serde_json::{Value, json};

use crate::harness::{Ask, Edge, Routing, Wire, ask, edge, eventually, lab};
use rhumb::lab::Status;

const REQUESTS: u64 = 10_000;

/// Numbers that look random and come again with the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len() as u64) as usize]
    }
}

fn routing(regions: [&dyn crate::harness::Place; 3]) -> Routing {
    let mut routing = Routing::of(&regions)
        .tenancy(
            "from",
            r#"[{ host = "{tenant}.app.example" }, { header = "X-Tenant-ID" }, { path = "/t/{tenant}" }]"#,
        )
        .tenancy("unknown", "\"public\"")
        .region("us-east-1", "weight", "60")
        .region("ap-southeast-1", "weight", "35")
        .and("[placements.public]\nby = \"primary\"\norder = [\"us-east-1\", \"ap-southeast-1\"]")
        .and("[data_classes.evidence]\njurisdictions = [\"us\", \"eu\"]")
        .and("[[routes]]\nname = \"search\"\npath = \"/v1/search\"\nmethods = [\"POST\"]\noperation = \"read\"\ncapability = \"case.search\"")
        .and("[[routes]]\nname = \"ledger\"\npath = \"/v1/ledger\"\nconsistency = \"strong\"")
        .and("[[routes]]\nname = \"evidence\"\npath = \"/v1/evidence\"\ndata_class = \"evidence\"")
        .and("[[routes]]\nname = \"one\"\nhost = \"*.app.example\"\npath = \"=/v1/one\"\npolicy = \"home\"");
    for (name, topology) in [
        ("home", "home-only"),
        ("multi", "active-active"),
        ("passive", "active-passive"),
        ("look", "read-only"),
    ] {
        routing = routing.and(&format!("[policies.{name}]\ntopology = \"{topology}\""));
    }
    let (homes, policies) =
        (["eu-west-1", "us-east-1", "ap-southeast-1"], ["default", "home", "multi", "passive", "look"]);
    let mut dice = Dice(7);
    for n in 0..60 {
        let home = *dice.one(&homes);
        let others: Vec<_> = homes.iter().filter(|other| **other != home).collect();
        let mut keys = format!("home = \"{home}\", epoch = {}, policy = \"{}\"", n + 1, dice.one(&policies));
        match dice.below(4) {
            0 => keys.push_str(&format!(", standby = [\"{}\"]", others[0])),
            1 => keys.push_str(&format!(", replicas = [\"{}\", \"{}\"]", others[0], others[1])),
            2 => keys.push_str(&format!(", residency = [\"{}\"]", &home[..2])),
            _ => {}
        }
        if dice.below(10) == 0 {
            keys.push_str(", state = \"read-only\"");
        }
        routing = routing.tenant(&format!("t{n}"), &keys);
    }
    routing
}

/// A request, and the question that asks for it.
fn request(dice: &mut Dice) -> (Ask, Value) {
    let tenant = |dice: &mut Dice| format!("t{}", dice.below(66));
    let method =
        *dice.one(&["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "REPORT"]);
    let host = match dice.below(4) {
        0 => "elsewhere.example".to_owned(),
        1 => format!("{}.APP.example.", tenant(dice)),
        _ => format!("{}.app.example", tenant(dice)),
    };
    let path = match dice.below(9) {
        0 => format!("/t/{}/cases", tenant(dice)),
        1 => "/v1/search/x".to_owned(),
        2 => "/v1/ledger?since=%20yesterday".to_owned(),
        3 => "/v1/evidence/7".to_owned(),
        4 => "/v1/one".to_owned(),
        5 => "/v1/%6Cedger".to_owned(),
        6 if dice.below(5) == 0 => "/v1/cases//1".to_owned(),
        _ => "/v1/cases/1".to_owned(),
    };
    let mut headers = Vec::new();
    if dice.below(3) == 0 {
        headers.push(("X-Tenant-ID", tenant(dice)));
    }
    if dice.below(6) == 0 {
        headers.push(("X-Consistency", (*dice.one(&["strong", "local", "Strong"])).to_owned()));
    }
    let body = matches!(method, "POST" | "PUT" | "PATCH") || dice.below(12) == 0 && method != "HEAD";
    let mut asked =
        headers.iter().fold(ask(method, &host, &path), |asked, (name, value)| asked.header(name, value));
    if body {
        asked = asked.body("x");
    }
    let headers: serde_json::Map<_, _> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    (asked, json!({"method": method, "host": host, "path": path, "headers": headers, "body": body}))
}

#[test]
fn explain_and_live_routing_agree_on_ten_thousand_random_requests() {
    let (eu, us, ap) = lab();
    eu.set_capability("case.search", Status::Down);
    us.set_capability("case.search", Status::Up);
    let edge = edge(&routing([&eu, &us, &ap])).set("edge", "show_region = true").start();
    eventually("all is known", || {
        edge.read("/v1/regions/eu-west-1")["capabilities"]["case.search"] == "DOWN"
            && ["eu-west-1", "us-east-1", "ap-southeast-1"].iter().all(|name| edge.health(name) == "UP")
    });
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x2a);
    println!("seed {seed}");
    let differences: Vec<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let edge = &edge;
                scope.spawn(move || compared(edge, &mut Dice(seed + half), REQUESTS / 2))
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    println!("explain against live routing: {REQUESTS} requests, {} differences", differences.len());
    assert!(
        differences.is_empty(),
        "{}",
        differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn compared(edge: &Edge, dice: &mut Dice, count: u64) -> Vec<String> {
    let (mut door, mut desk) = (edge.wire(), Wire::to(edge.admin));
    let (mut differences, mut regions, mut refusals) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let (asked, question) = request(dice);
        let explained = ask("POST", "localhost", "/v1/explain")
            .header("Content-Type", "application/json")
            .body(question.to_string())
            .on(&mut desk);
        let lived = asked.on(&mut door);
        if explained.status != 200 {
            refusals += 1;
            if (explained.status, lived.status) != (400, 400) {
                differences.push(format!(
                    "{question}\nexplained {}\nlived {}",
                    explained.text(),
                    lived.text()
                ));
            }
            door = edge.wire();
            continue;
        }
        let explained = explained.json();
        let region = lived.header("x-served-region").map(str::to_owned);
        let status = explained["refusal"]["status"].as_u64();
        let same = match (explained["target_region"].as_str(), &region) {
            (Some(expected), Some(region)) => {
                regions += 1;
                let seen = |name: &str| {
                    if lived.body.is_empty() { None } else { Some(lived.seen(name)) }
                };
                expected == region
                    && lived.status == 200
                    && seen("x-failover-reason")
                        .is_none_or(|seen| explained["failover_reason"].as_str() == seen.as_deref())
                    && seen("x-owner-region")
                        .is_none_or(|seen| explained["owner_region"].as_str() == seen.as_deref())
                    && seen("x-tenant-id").is_none_or(|seen| explained["tenant"].as_str() == seen.as_deref())
            }
            (None, None) => {
                refusals += 1;
                status == Some(u64::from(lived.status))
                    && (lived.body.is_empty() || explained["refusal"]["reason"] == lived.refusal())
            }
            _ => false,
        };
        if !same {
            differences.push(format!(
                "{question}\nexplained {explained}\nlived {} {region:?} {}",
                lived.status,
                lived.text()
            ));
        }
        if lived.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            door = edge.wire();
        }
    }
    assert!(regions > count / 4 && refusals > count / 50, "{regions} forwarded and {refusals} refused");
    differences
}

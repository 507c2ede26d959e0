//! Requests that are cheap to send and dear to serve, where somebody unfolds, repeats or sorts them.

use std::collections::BTreeMap;

use super::harness::{End, Routing, edge, faulty, nobody, post};
use super::origin::{Origin, What};
use super::request::Request;
use super::world::{World, routing};
use rhumb::lab::Fault;

/// The one request that reached `eu`.
fn only(world: &World, before: &super::world::Before) -> Request {
    let reached = world.reached(before);
    assert!(reached.us.is_empty());
    match &reached.eu[..] {
        [seen] => match &seen.what {
            What::Whole(request) => request.clone(),
            other => panic!("{other:?}"),
        },
        all => panic!("{} requests", all.len()),
    }
}

#[test]
fn a_body_that_unfolds_a_thousandfold_is_passed_on_folded() {
    let mut world = World::start();
    let bomb = include_bytes!("bomb.gz");
    let memory = world.edge.figure("VmRSS");
    for _ in 0..20 {
        let before = world.before();
        let ask = post("t1.example.test", "/w")
            .header("Content-Encoding", "gzip")
            .header("Accept-Encoding", "gzip")
            .body(&bomb[..]);
        assert_eq!(world.edge.ask(&ask).status, 200);
        let seen = only(&world, &before);
        assert_eq!((seen.one("Content-Encoding"), &seen.body[..]), (Some("gzip"), &bomb[..]));
    }
    let grown = world.edge.figure("VmRSS").saturating_sub(memory);
    assert!(grown < 8 * 1024, "{grown} KiB for 10 KiB that unfold to 10 MB");
    world.sound().unwrap();
}

#[test]
fn a_thousand_ranges_are_one_request() {
    let world = World::start();
    let ranges = (0..1_000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    let before = world.before();
    let ask = super::harness::get("t1.example.test", "/r").header("Range", &format!("bytes={ranges}"));
    assert_eq!(world.edge.ask(&ask).status, 200);
    assert_eq!(only(&world, &before).one("Range"), Some(&*format!("bytes={ranges}")));
}

/// Names that fall together under FNV-1a, which tables of header names are built on: as many as one head may have.
#[test]
fn header_names_that_collide_are_bounded_by_their_number() {
    let mut world = World::start();
    let mut by_hash = BTreeMap::<u64, Vec<String>>::new();
    let names = (0_u64..).map(|n| format!("x-{n:x}"));
    let names = names.map(|name| (fnv(name.as_bytes()) & 0xfff, name));
    let names = names.filter(|(hash, _)| *hash < 4);
    let colliding = names.into_iter().find_map(|(hash, name)| {
        let found = by_hash.entry(hash).or_default();
        found.push(name);
        (found.len() == 101).then(|| found.clone())
    });
    let colliding = colliding.unwrap();
    for (count, status) in [(97, 200), (101, 431)] {
        let head: String = colliding[..count].iter().map(|name| format!("{name}: y\r\n")).collect();
        for _ in 0..50 {
            let mut wire = world.edge.wire();
            wire.send(format!("GET /r HTTP/1.1\r\nHost: t1.example.test\r\n{head}\r\n"));
            assert_eq!(wire.answer().status, status, "{count}");
        }
    }
    world.sound().unwrap();
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A body longer than what is kept for a second attempt, a byte around the limit too.
#[test]
fn a_body_that_was_begun_is_never_sent_again_in_part() {
    let us = Origin::start("us");
    for length in [(64 << 10) - 1, 64 << 10, (64 << 10) + 1, 65 << 10, 1 << 20] {
        let body = vec![b'x'; length];
        // Nobody listens at the first endpoint: nothing was sent, so the next one gets all of it.
        let eu = Origin::start("eu");
        let dead = nobody();
        let both = routing(&eu, &us)
            .region("eu", "endpoints", &format!("[\"{dead}\", \"{}\"]", eu.address))
            .every_region("health", r#"{ check = "http", path = "/health", interval = "1h", fall = 3 }"#);
        let first = edge(&both).set("edge", "region = \"eu\"").start();
        for _ in 0..2 {
            let count = eu.count();
            let answer = first.ask(&post("t1.example.test", "/w").body(body.clone()));
            let whole: Vec<_> = eu
                .since(count)
                .into_iter()
                .filter_map(|seen| match seen.what {
                    What::Whole(request) if request.target == "/w" => Some(request.body.len()),
                    What::Cut(_) | What::Broken(..) => Some(0),
                    What::Whole(_) => None,
                })
                .collect();
            assert_eq!((answer.status, &whole[..]), (200, &[length][..]), "{length}");
        }
        // The region resets once it has the head: whether it acted, nobody knows.
        let broken = faulty("eu");
        let table = Routing::of(&[&broken, &("us", us.address)])
            .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
            .every_region("health", r#"{ check = "tcp", interval = "1h" }"#)
            .tenant("t1", r#"home = "eu", standby = ["us"]"#);
        let second = edge(&table).set("edge", "region = \"eu\"").start();
        broken.script([Fault::reset_before_body()]);
        let before = us.count();
        let answer = post("t1.example.test", "/w").body(body).try_to(second.address());
        assert!(answer.is_none_or(|answer| answer.status == 502 || answer.end == End::Aborted));
        assert_eq!((broken.requests_begun(), us.count() - before), (1, 0), "{length}: sent again");
    }
}

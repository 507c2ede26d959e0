//! A region answers, but badly: broken off, late, wrong, too much, too little, unasked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rhumb::lab::{Fault, ToyRegion};
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Edge, End, Faulty, PATIENCE, Toy, Wire, eventually, faulty, get, now, post, put, toy, toy_from,
};
use crate::load::{Event, Kind, load};
use crate::told::{alone, beside, length, patiently, row};
use crate::world::{FAST, Held, Origin, check, over, routing, usual};

/// Nobody is ejected, so that every request meets the fault.
const LEFT_ALONE: &str = r#"{ interval = "1h", fall = 1000 }"#;

fn faulty_eu() -> (Faulty, Toy, Edge) {
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us).every_region("health", LEFT_ALONE)).start();
    (eu, us, edge)
}

#[test]
fn drill_04_an_answer_that_breaks_off_never_looks_whole() {
    let _turn = beside();
    let (eu, _us, edge) = faulty_eu();
    let (mut cut, mut whole) = (0, 0);
    for nth in 0..60 {
        let fault = match nth % 3 {
            0 => Fault::reset_mid_body(500, 1000),
            1 => Fault::truncated(500, 1000),
            _ => Fault::truncated_chunked(),
        };
        eu.script([fault]);
        match get("bank.app.example", "/").try_to(edge.address()) {
            Some(answer) if answer.status == 200 && answer.end != End::Aborted => whole += 1,
            _ => cut += 1,
        }
        let marker = format!("/marker-{nth}");
        let next = edge.get("bank.app.example", &marker);
        assert_eq!(next.json()["target"], marker.as_str(), "the connection was not used again");
    }
    assert_eq!((cut, whole), (60, 0));
    eventually("nothing is left", || edge.metric("rhumb_in_flight", &[]) == 0.0);
    row("04", "answers reset or cut in mid body")
        .saw("answers seen as aborted", cut)
        .saw("short answers seen as whole", whole)
        .saw("next answers with the right marker", 60)
        .tell();
}

#[test]
fn drill_04_a_flood_of_interim_answers_is_bounded() {
    let _turn = beside();
    let (eu, _us, edge) = faulty_eu();
    assert_eq!(edge.get("bank.app.example", "/").status, 200);
    let held = Held::by(&edge);
    let mut outcomes = BTreeMap::new();
    for _ in 0..5 {
        eu.script([Fault::interim(50_000)]);
        let answer = get("bank.app.example", "/").try_to(edge.address());
        *outcomes.entry(answer.map_or(0, |answer| answer.status)).or_insert(0) += 1;
        assert_eq!(edge.get("globex.app.example", "/").status, 200);
    }
    let after = held.is_back(&edge, 4, 32 * 1024);
    row("04b", "50,000 interim answers before each of 5 answers")
        .saw("statuses", format!("{outcomes:?}"))
        .saw("memory before and after, KiB", format!("{} {}", held.memory, after.memory))
        .tell();
}

#[test]
fn drill_05_a_write_whose_answer_was_lost_is_done_once_and_told_as_502() {
    let _turn = beside();
    let (eu, us, edge) = faulty_eu();
    let faults = [Fault::reset_after_request(), Fault::close_after_request(), Fault::half_close()];
    let mut statuses = BTreeMap::new();
    for nth in 0..60 {
        let id = format!("w-{nth}");
        eu.script([faults[nth % faults.len()].clone()]);
        let write = post("acme.app.example", "/").header("X-Write-Id", &id).to(edge.address());
        *statuses.entry(write.status).or_insert(0) += 1;
        assert_eq!(write.refusal(), "upstream_failed");
        assert_eq!(eu.executions_of(&id), 1, "done once, and nobody knows");
    }
    assert_eq!((us.writes_seen(), statuses.get(&502)), (0, Some(&60)));
    row("05", "connection reset or closed after the write came in, before its answer")
        .saw("writes", 60)
        .saw("answers 502", 60)
        .saw("executions", 60)
        .saw("replays", 0)
        .tell();
}

#[test]
fn drill_06_a_kept_connection_that_closes_under_a_request_doubles_no_write() {
    let _turn = beside();
    let (eu, us, edge) = faulty_eu();
    eu.otherwise(Fault::answer_then_close());
    let each = length(400, 2_500);
    let (good, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (edge, good, lost) = (&edge, &good, &lost);
            scope.spawn(move || {
                for nth in 0..each {
                    let id = format!("w-{client}-{nth}");
                    let asked = match nth % 3 {
                        0 => post("acme.app.example", "/").header("X-Write-Id", &id),
                        1 => put("acme.app.example", "/").header("Idempotency-Key", &id),
                        _ => get("acme.app.example", "/"),
                    };
                    let answer = asked.to(edge.address());
                    assert!(matches!(answer.status, 200 | 502), "{}", answer.text());
                    assert!(nth % 3 != 2 || answer.status == 200, "a read is sent again");
                    if answer.status == 200 { good } else { lost }.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let mut times = BTreeMap::new();
    for done in eu.executed() {
        *times.entry(done.id).or_insert(0) += 1;
    }
    assert!(times.values().all(|times| *times == 1), "a write was done twice");
    assert_eq!(us.writes_seen(), 0);
    row("06", "FIN on a kept connection races the next request")
        .saw("requests", 4 * each)
        .saw("answered", good.into_inner())
        .saw("writes that were lost and said so", lost.into_inner())
        .saw("writes done twice", 0)
        .tell();
}

#[test]
fn drill_07_a_slow_region_fills_no_more_than_its_queue() {
    const MOST: u64 = 8;
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us).region("eu-west-1", "max_in_flight", &MOST.to_string());
    let edge = over(&table).start();
    eu.set_delay(Duration::from_millis(10));
    let load = usual(&edge).clients(16, Kind::Read, "acme", "/v1/cases", Duration::from_millis(5)).start();
    load.until(200, "requests are answered", Event::is_good);
    eu.set_delay(Duration::from_millis(200));
    let (slow, mut most) = (now(), 0);
    eventually("the slow region's queue was full for a while", || {
        most = most.max(eu.in_flight());
        slow.elapsed() > Duration::from_secs(3)
    });
    eu.set_delay(Duration::ZERO);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert!(most <= MOST, "{most} in flight");
    assert_eq!(seen.failed(Kind::Read), 0, "reads: {}", seen.outcomes(Kind::Read));
    let moved = seen.count(Kind::Read, |event| event.region.as_deref() == Some("us-east-1"));
    assert!(moved > 0, "reads that find it full go elsewhere");
    assert!(
        seen.of(Kind::Write).all(|event| event.is_good() || event.reason.as_deref() == Some("overloaded"))
    );
    row("07", "region twenty times as slow, max_in_flight = 8")
        .saw("most in flight there", most)
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("of them elsewhere", moved)
        .saw("writes", seen.outcomes(Kind::Write))
        .saw("untouched tenant's p99", format!("{:?}", seen.p99(Kind::Victim)))
        .tell();
}

#[test]
fn drill_09_a_region_that_fails_three_answers_of_ten_does_not_flap() {
    let _turn = beside();
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us).every_region("health", FAST)).start();
    let load = usual(&edge).start();
    let broken = |status| {
        let bad = |nth: u32| matches!(nth % 10, 0 | 3 | 6);
        (0..600).map(move |nth| if bad(nth) { Fault::status(status) } else { Fault::answer() })
    };
    let mut downs = 0;
    let mut watched = |more: usize, what: &str, status: u16| {
        let before = load.count(|event| event.status == status);
        eventually(what, || {
            downs += usize::from(edge.health("eu-west-1") != "UP");
            load.count(|event| event.status == status) >= before + more
        });
    };
    eu.script(broken(500));
    watched(100, "500s are passed on", 500);
    eu.script(broken(503));
    watched(30, "503s of writes are passed on", 503);
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(downs, 0, "an answer is an answer: only broken connections eject");
    let moved = seen.count(Kind::Read, |event| event.region.as_deref() == Some("us-east-1"));
    assert!(moved > 0, "a read answered 503 is tried elsewhere, within the budget");
    row("09", "30 % of the answers are 500, then 503")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("reads tried elsewhere", moved)
        .saw("writes", seen.outcomes(Kind::Write))
        .saw("ejections", downs)
        .tell();
}

#[test]
fn drill_13_with_one_endpoint_of_four_left_the_excess_is_shed_and_the_rest_served() {
    let _turn = beside();
    let (eu, us) = (toy_from(ToyRegion::new("eu-west-1").endpoints(4)), toy("us-east-1"));
    let table = routing(&eu, &us).region("eu-west-1", "max_in_flight", "8");
    let edge = over(&table).start();
    eu.set_delay(Duration::from_millis(20));
    let load = load(edge.address())
        .clients(24, Kind::Read, "bank", "/v1/cases", Duration::from_millis(10))
        .clients(4, Kind::Write, "bank", "/v1/cases", Duration::from_millis(10))
        .victim("globex")
        .start();
    for gone in &eu.addresses()[..3] {
        eu.go_dark_at(*gone);
    }
    let up = || edge.metric("rhumb_endpoint_up", &[("region", "eu-west-1")]);
    eventually("three are seen as down", || up() == 1.0);
    let settled = now();
    let retried = edge.metric("rhumb_retries_total", &[("outcome", "again")]);
    load.until(600, "requests go on", |event| event.began > settled);
    let retried = edge.metric("rhumb_retries_total", &[("outcome", "again")]) - retried;
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let after: Vec<_> = seen.events.iter().filter(|e| e.kind != Kind::Victim && e.began > settled).collect();
    let shed = after.iter().filter(|event| event.reason.as_deref() == Some("overloaded")).count();
    let good = after.iter().filter(|event| event.is_good()).count();
    let admitted = after.len() - shed;
    assert!(shed > 0 && good * 1000 >= admitted * 999, "{good} of {admitted} admitted were answered");
    assert!(retried * 10.0 <= after.len() as f64, "{retried} retries for {} requests", after.len());
    row("13", "one of four endpoints left, 28 clients, max_in_flight = 8")
        .saw("requests", after.len())
        .saw("shed with 503 overloaded", shed)
        .saw("admitted", admitted)
        .saw("of them answered", good)
        .saw("retries", retried)
        .tell();
}

#[test]
fn drill_14_a_flood_from_one_address_leaves_the_others_served() {
    let _turn = alone();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us);
    let edge = over(&table).set("limits", "connections_per_address = 64").start();
    let load = usual(&edge).start();
    load.until(100, "requests are answered", Event::is_good);
    let (held, checks) = (Held::by(&edge), eu.health_checks_seen());
    let (over_now, sent, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = now();
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                while !over_now.load(Ordering::Relaxed) {
                    flood(edge.address(), &over_now, &sent, &refused);
                }
            });
        }
        patiently("the flood is over", Duration::from_secs(120), || {
            let asked = now();
            assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
            slowest = slowest.max(asked.elapsed());
            most = most.max(edge.figure("VmRSS"));
            std::thread::sleep(Duration::from_millis(100));
            // On a machine with much else to do it takes a while until more than 64 are there at once.
            let lasted = began.elapsed() > length(Duration::from_secs(5), Duration::from_secs(60));
            lasted && refused.load(Ordering::Relaxed) > 0
        });
        over_now.store(true, Ordering::Relaxed);
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let (sent, refused) = (sent.into_inner(), refused.into_inner());
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    assert!(refused > 0, "64 connections of one address, and no more");
    assert!(eu.health_checks_seen() > checks, "checks go on");
    assert!(most < held.memory + 64 * 1024, "memory {} KiB became {most}", held.memory);
    // Connections to regions are kept for half a minute: one for each client at most.
    held.is_back(&edge, 72, 64 * 1024);
    let ordinary = seen.events.len();
    row("14", "flood by 100 connections without a pause, from one address of 64")
        .took("for", began.elapsed())
        .saw("requests of the flood answered", sent)
        .saw("connections refused", refused)
        .saw("ordinary requests", ordinary)
        .saw("of them failed", 0)
        .saw("their p99", format!("{:?}", seen.p99(Kind::Read)))
        .saw("slowest /healthz", format!("{slowest:?}"))
        .saw("memory before and at most, KiB", format!("{} {most}", held.memory))
        .tell();
}

/// Sends requests on one connection from another address than everybody else's, until it is closed.
fn flood(address: SocketAddr, over: &AtomicBool, sent: &AtomicU64, refused: &AtomicU64) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    if socket.connect(&address.into()).is_err() {
        return;
    }
    // A connection may wait to be taken; the ordinary clients show that others need not.
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire::over(std::net::TcpStream::from(socket));
    while !over.load(Ordering::Relaxed) {
        if !wire.try_send(&get("acme.app.example", "/flood").bytes()) {
            return;
        }
        match wire.answer_to("GET") {
            Some(answer) if answer.status == 200 => sent.fetch_add(1, Ordering::Relaxed),
            _ => {
                refused.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
                return;
            }
        };
    }
}

/// Counts a client as done, also where it panics.
struct Done<'a>(&'a AtomicU64);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn drill_54_what_a_region_says_unasked_reaches_nobody_even_as_it_dies_and_returns() {
    let _turn = beside();
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us).every_region("health", FAST)).start();
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let faults = [Fault::extra(poison), Fault::early_answer(), Fault::answer()];
    // Bytes that come while a kept connection idles: it must not be used again.
    let idle = length(40, 400);
    for nth in 0..idle {
        eventually("the region is well", || edge.get("acme.app.example", "/").region() == "eu-west-1");
        let said = eu.unasked_said();
        eu.script([Fault::extra_later(Duration::from_millis(1), poison)]);
        edge.get("acme.app.example", "/");
        eventually("the region speaks unasked", || eu.unasked_said() > said);
        let marker = format!("/idle-{nth}");
        assert_eq!(edge.get("acme.app.example", &marker).json()["target"], marker.as_str());
    }
    let each = length(600, 25_000);
    let (right, other, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (edge, right, other, done) = (&edge, &right, &other, &done);
            scope.spawn(move || {
                let _done = Done(done);
                let mut kept = None;
                for nth in 0..each {
                    let wire = kept.get_or_insert_with(|| edge.wire());
                    let marker = format!("/marker-{client}-{nth}");
                    let asked = match nth % 4 {
                        3 => post("acme.app.example", &marker).header("X-Write-Id", &marker),
                        _ => get("acme.app.example", &marker),
                    };
                    let answer = wire.try_send(&asked.bytes()).then(|| wire.answer_to("GET")).flatten();
                    let said = answer.as_ref().map(|a| a.text()).unwrap_or_default();
                    let good = answer.as_ref().is_some_and(|a| a.status == 200 && a.end == End::Whole);
                    if good && said.contains(&format!("{marker}\"")) {
                        right.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert!(!good, "{marker} was answered {said}");
                        other.fetch_add(1, Ordering::Relaxed);
                        kept = None;
                    }
                }
            });
        }
        for turn in 0_usize.. {
            if done.load(Ordering::Relaxed) == 4 {
                break;
            }
            eu.script((0..40).map(|nth| faults[(turn + nth) % faults.len()].clone()));
            std::thread::sleep(Duration::from_millis(120));
            if turn % 4 == 3 {
                eu.go_dark();
                std::thread::sleep(Duration::from_millis(80));
                eu.come_back();
            }
        }
    });
    let (right, other) = (right.into_inner(), other.into_inner());
    assert!(right > other, "{right} right answers, {other} failures");
    row("54", "unasked, early and doubled answers, while the region dies and returns")
        .saw("requests", 4 * each)
        .saw("answers with their own marker", right)
        .saw("failed", other)
        .saw("connections spoken on while they idled", idle)
        .saw("answers meant for somebody else", 0)
        .tell();
}

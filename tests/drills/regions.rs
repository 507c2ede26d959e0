//! A region dies, falls silent, lies, flaps, is drained; all of them die; edges lead in circles.

use std::time::{Duration, Instant};

use rhumb::lab::{Fault, HealthAnswer};

use crate::harness::{Routing, edge, eventually, faulty, get, now, post, toy};
use crate::line::{Line, State};
use crate::load::{Kind, load};
use crate::told::{beside, inside, length, row};
use crate::world::{
    DEADLINE, DETECTION, EPOCH, Held, LATITUDE, Origin, check, check_within, over, routing, usual,
};

#[test]
fn drill_01_a_dead_region_costs_reads_nothing_and_writes_wait_for_it() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us)).start();
    let load = usual(&edge).start();
    let held = Held::by(&edge);
    eu.go_dark();
    let died = now();
    load.until(20, "writes are refused for want of their owner", |event| {
        event.reason.as_deref() == Some("owner_unavailable")
    });
    eventually("the death is seen", || edge.health("eu-west-1") == "DOWN");
    let detected = died.elapsed();
    load.until(100, "reads go on elsewhere", |event| event.region.as_deref() == Some("us-east-1"));
    eu.come_back();
    let back = now();
    load.until(150, "writes are done again", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > back
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    // A connection that broke in the middle of an answer cannot be saved; there are two readers.
    assert!(seen.failed(Kind::Read) <= 2, "reads: {}", seen.outcomes(Kind::Read));
    let retry_later = seen.count(Kind::Write, |event| event.status == 503);
    assert!(retry_later > 0 && seen.of(Kind::Write).all(|event| matches!(event.status, 0 | 200 | 502 | 503)));
    assert!(edge.get("bank.app.example", "/").status == 200);
    assert!(detected <= DETECTION + LATITUDE, "seen after {detected:?}");
    let reads = seen.recovered(Kind::Read, died).expect("reads recover");
    let writes = seen.recovered(Kind::Write, back).expect("writes recover");
    assert!(writes <= Duration::from_secs(3) + LATITUDE, "writes recovered {writes:?} after the return");
    assert!(edge.metric("rhumb_failover_events_total", &[("from_region", "eu-west-1")]) > 0.0);
    held.is_back(&edge, 24, 48 * 1024);
    row("01", "region dead, connections refused")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("reads recovered", reads)
        .took("seen as down after", detected)
        .took("writes recovered after the return", writes)
        .tell();
}

#[test]
fn drill_02_a_black_hole_is_found_out_and_starves_nobody() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let mut line = Line::to(&eu);
    let edge = over(&routing(&line, &us)).start();
    let load = usual(&edge).start();
    let fault = now();
    line.becomes(State::Black);
    eventually("it is seen", || edge.health("eu-west-1") == "DOWN");
    let detected = fault.elapsed();
    load.until(120, "reads go on elsewhere", |event| {
        event.kind == Kind::Read && event.is_good() && event.began > fault + detected
    });
    line.becomes(State::Open);
    let back = now();
    load.until(110, "writes are done again", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > back
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let reads = seen.recovered(Kind::Read, fault).expect("reads recover");
    let writes = seen.recovered(Kind::Write, back).expect("writes recover");
    assert!(detected <= DETECTION + LATITUDE, "seen after {detected:?}");
    assert!(reads <= DETECTION + Duration::from_secs(1) + LATITUDE, "reads recovered after {reads:?}");
    row("02", "region in a black hole (SYN and data dropped by a relay)")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("seen as down after", detected)
        .took("reads recovered", reads)
        .took("writes recovered after the return", writes)
        .saw("untouched tenant's p99", format!("{:?}", seen.p99(Kind::Victim)))
        .tell();
}

/// Drops whatever is sent to the test network's region, established or new.
const NETWORK: &str = "ip link set lo up && nft add table ip drill && \
    nft 'add chain ip drill in { type filter hook input priority 0; }'";

#[test]
fn drill_02_packets_that_the_kernel_drops_are_found_out_too() {
    let _turn = beside();
    let test = "regions::drill_02_packets_that_the_kernel_drops_are_found_out_too";
    if !inside("02b", test, &["--net"], NETWORK) {
        return;
    }
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us)).start();
    let load = usual(&edge).start();
    let fault = now();
    filter(&format!("add rule ip drill in tcp dport {} drop", eu.address().port()));
    filter(&format!("add rule ip drill in tcp sport {} drop", eu.address().port()));
    eventually("it is seen", || edge.health("eu-west-1") == "DOWN");
    let detected = fault.elapsed();
    load.until(120, "reads go on elsewhere", |event| {
        event.kind == Kind::Read && event.is_good() && event.began > fault + detected
    });
    filter("flush chain ip drill in");
    let back = now();
    load.until(110, "writes are done again", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > back
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let reads = seen.recovered(Kind::Read, fault).expect("reads recover");
    let writes = seen.recovered(Kind::Write, back).expect("writes recover");
    assert!(detected <= DETECTION + LATITUDE, "seen after {detected:?}");
    assert!(reads <= DETECTION + Duration::from_secs(1) + LATITUDE, "reads recovered after {reads:?}");
    row("02b", "region in a black hole (nftables drop in a network namespace)")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("seen as down after", detected)
        .took("reads recovered", reads)
        .took("writes recovered after the return", writes)
        .saw("untouched tenant's p99", format!("{:?}", seen.p99(Kind::Victim)))
        .tell();
}

fn filter(rule: &str) {
    let done = std::process::Command::new("nft").arg(rule).status().unwrap();
    assert!(done.success(), "nft {rule}");
}

#[test]
fn drill_02_a_read_waits_a_second_for_a_connection_and_then_goes_elsewhere() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let mut line = Line::to(&eu);
    let table = routing(&line, &us)
        .every_region("health", r#"{ interval = "1h", fall = 50 }"#)
        .and("[policies.patient]\ntimeout = \"20s\"")
        .tenant("calm", r#"home = "eu-west-1", replicas = ["us-east-1"], policy = "patient""#);
    let edge = over(&table).start();
    line.becomes(State::Black);
    let began = now();
    let read = edge.get("calm.app.example", "/");
    let took = began.elapsed();
    assert_eq!(read.region(), "us-east-1");
    assert!(took >= Duration::from_millis(900) && took <= Duration::from_secs(2) + LATITUDE, "{took:?}");
    row("02c", "a first connection into a black hole")
        .took("the read was answered elsewhere after", took)
        .tell();
}

#[test]
fn drill_03_a_region_that_stands_still_is_given_up_and_no_write_is_sent_twice() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let mut line = Line::to(&eu);
    let edge = over(&routing(&line, &us)).start();
    let load = usual(&edge).start();
    let fault = now();
    line.becomes(State::Frozen);
    load.until(3, "writes in flight get 504", |event| event.kind == Kind::Write && event.status == 504);
    eventually("it is seen", || edge.health("eu-west-1") == "DOWN");
    let detected = fault.elapsed();
    load.until(120, "reads go on elsewhere", |event| {
        event.kind == Kind::Read && event.is_good() && event.began > fault + detected
    });
    line.becomes(State::Open);
    let back = now();
    load.until(110, "writes are done again", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > back
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let again = seen.count(Kind::Write, |event| !matches!(event.status, 200 | 503 | 504));
    assert_eq!(again, 0, "{}", seen.outcomes(Kind::Write));
    let reads = seen.recovered(Kind::Read, fault).expect("reads recover");
    assert!(reads <= DETECTION + DEADLINE + LATITUDE, "reads recovered after {reads:?}");
    row("03", "region stands still (accepts, never answers)")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("seen as down after", detected)
        .took("reads recovered", reads)
        .saw("writes done twice", 0)
        .tell();
}

#[test]
fn drill_08_connections_whose_other_end_is_gone_are_given_up_and_their_files_released() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let line = Line::to(&eu);
    let edge = over(&routing(&line, &us)).start();
    let load = usual(&edge).start();
    load.until(200, "connections are kept", |event| event.is_good());
    let held = Held::by(&edge);
    let fault = now();
    line.lose_connections();
    load.until(110, "requests go on by new connections", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > fault
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    let late = seen.events.iter().filter(|event| event.status == 504).count();
    assert!((1..=6).contains(&late), "one of each client at most: {}", seen.outcomes(Kind::Write));
    let recovered = seen.recovered(Kind::Write, fault).expect("writes recover");
    assert!(recovered <= DEADLINE + DETECTION + LATITUDE, "writes recovered after {recovered:?}");
    let after = held.is_back(&edge, 8, 48 * 1024);
    row("08", "peers of kept connections vanish without FIN")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("writes recovered", recovered)
        .saw("open files before and after", format!("{} {}", held.files, after.files))
        .tell();
}

#[test]
fn drill_10_the_data_path_is_believed_rather_than_a_health_check_that_lies() {
    let _turn = beside();
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let edge = over(&routing(&eu, &us)).start();
    let load = usual(&edge).start();
    let fault = now();
    eu.set_health(HealthAnswer::Up);
    eu.otherwise(Fault::reset_before_body());
    let up = || edge.metric("rhumb_endpoint_up", &[("region", "eu-west-1")]);
    eventually("a metric names it", || up() == 0.0);
    let detected = fault.elapsed();
    let checks = eu.health_checks_seen();
    load.until(110, "reads go on elsewhere", |event| event.kind == Kind::Read && event.is_good());
    eventually("checks go on, and lie", || eu.health_checks_seen() > checks);
    eu.otherwise(Fault::answer());
    let back = now();
    load.until(110, "writes are done again", |event| {
        event.kind == Kind::Write && event.is_good() && event.began > back
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert!(detected <= DETECTION + LATITUDE, "ejected after {detected:?}");
    row("10", "health check lies (200 while every request is reset)")
        .took("ejected by its traffic after", detected)
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("writes recovered after the cure", seen.recovered(Kind::Write, back).expect("writes recover"))
        .tell();
}

#[test]
fn drill_11_flapping_is_damped_and_changes_no_epoch() {
    let _turn = beside();
    let (eu, us) = (faulty("eu-west-1"), toy("us-east-1"));
    let quick = r#"{ interval = "50ms", timeout = "50ms", rise = 2, fall = 2 }"#;
    let edge = over(&routing(&eu, &us).region("eu-west-1", "health", quick)).start();
    let load = usual(&edge).start();
    let span = length(Duration::from_secs(8), Duration::from_secs(300));
    let (began, mut changes, mut last, mut is_up) = (now(), 0, edge.health("eu-west-1"), true);
    // Up a second and down a second; shorter where the drill is, so that it holds as many turns.
    let turn = length(Duration::from_millis(500), Duration::from_secs(1));
    while began.elapsed() < span {
        let turns = began.elapsed().as_millis() / turn.as_millis();
        let up = turns.is_multiple_of(2);
        if up != is_up {
            eu.set_health(if up { HealthAnswer::Up } else { HealthAnswer::Down });
            is_up = up;
        }
        let health = edge.health("eu-west-1");
        changes += usize::from(health != last);
        last = health;
        std::thread::sleep(Duration::from_millis(10));
    }
    let turns = span.as_millis() / turn.as_millis();
    let epoch = edge.read("/v1/tenants/acme")["epoch"].to_string();
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(epoch, EPOCH, "flapping changes no epoch");
    assert_eq!(seen.failed(Kind::Read), 0, "reads: {}", seen.outcomes(Kind::Read));
    // The rise doubles from two checks to those of a turn: 2, 4, 8, … of 50 ms each.
    let comebacks = (turn.as_millis() / 50).ilog2() as usize + 1;
    assert!(changes <= 2 + 2 * comebacks, "{changes} changes in {turns} turns");
    row("11", "health flaps")
        .saw("turns of the region", turns)
        .saw("changes that the edge made", changes)
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .saw("epoch", epoch)
        .tell();
}

#[test]
fn drill_12_with_every_region_dead_answers_are_fast_and_the_return_is_no_stampede() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let table = routing(&eu, &us).every_region("max_in_flight", "64");
    let edge = over(&table).start();
    let load = usual(&edge).readers(16, "acme").start();
    for region in [&eu, &us] {
        region.go_dark();
    }
    let died = now();
    eventually("both are down", || ["eu-west-1", "us-east-1"].iter().all(|r| edge.health(r) == "DOWN"));
    let all_down = now();
    load.until(400, "answers are refusals", |event| event.status == 503);
    assert_eq!(get("localhost", "/healthz").to(edge.admin).status, 200);
    let refusals = edge.metric("rhumb_refusals_total", &[]);
    let retries = edge.metric("rhumb_retries_total", &[("outcome", "again")]);
    let before = eu.connections_seen() + us.connections_seen();
    for region in [&eu, &us] {
        region.come_back();
    }
    let back = now();
    load.until(300, "reads are answered again", |event| {
        event.kind == Kind::Read && event.is_good() && event.began > back
    });
    let connects = eu.connections_seen() + us.connections_seen() - before;
    let seen = load.stop();
    check_within(&seen, &[&eu, &us], DEADLINE);
    let mut refused: Vec<_> = seen
        .events
        .iter()
        .filter(|event| event.status == 503 && event.began > all_down && event.ended < back)
        .map(|event| event.ended - event.began)
        .collect();
    refused.sort();
    let slow = refused[refused.len() * 99 / 100];
    assert!(slow < Duration::from_secs(1), "99 of 100 refusals took {slow:?}");
    let recovered = seen.recovered(Kind::Read, back).expect("reads recover");
    assert!(recovered <= Duration::from_secs(3) + LATITUDE, "recovered {recovered:?} after the return");
    // 22 clients, two regions, their checks, and the connections of those few that met a dead endpoint.
    assert!(connects <= 120, "{connects} connections at the return");
    let asked = seen.count(Kind::Read, |event| event.began > died && event.began < back) as f64;
    assert!(retries <= asked, "{retries} retries for {asked} requests");
    row("12", "both regions dead")
        .saw("refusals", refusals)
        .saw("p99 of a refusal", format!("{slow:?}"))
        .saw("retries", retries)
        .took("reads recovered after the return", recovered)
        .saw("connections that the return brought", connects)
        .tell();
}

#[test]
fn drill_44_a_region_drained_by_its_weight_loses_no_request_and_takes_no_more() {
    let _turn = beside();
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    // Nobody may be left with nowhere to read, or the table is refused.
    let table =
        routing(&eu, &us).tenant("bank", r#"home = "eu-west-1", replicas = ["us-east-1"], epoch = 7"#);
    let edge = over(&table).start();
    let load = load(edge.address())
        .clients(3, Kind::Read, "acme", "/slow?ms=30", Duration::from_millis(2))
        .writers(1, "acme")
        .victim("globex")
        .start();
    let drained = table.clone().region("eu-west-1", "weight", "0");
    edge.folder().rename_over("routing.toml", drained.text());
    let written = now();
    let moved = |event: &crate::load::Event| {
        event.kind == Kind::Read && event.region.as_deref() == Some("us-east-1") && event.began > written
    };
    load.until(1, "new reads move", moved);
    let took = written.elapsed();
    eventually("it is published", || {
        edge.metric("rhumb_region_weight", &[("region", "eu-west-1"), ("kind", "effective")]) == 0.0
    });
    load.until(30, "reads in flight end", moved);
    let before = eu.reads_seen();
    load.until(60, "reads go on", moved);
    assert_eq!(eu.reads_seen(), before, "a drained region takes no read");
    let last = drained.clone().region("us-east-1", "weight", "0");
    edge.folder().rename_over("routing.toml", last.text());
    eventually("draining the last region is refused", || {
        !edge.read("/v1/table/rejected")["problems"].as_array().is_none_or(Vec::is_empty)
    });
    edge.folder().rename_over("routing.toml", table.text());
    load.until(30, "undone, reads come home", |event| {
        event.kind == Kind::Read && event.region.as_deref() == Some("eu-west-1") && event.began > written
    });
    let seen = load.stop();
    check(&seen, &[&eu, &us]);
    assert_eq!(seen.failed(Kind::Read) + seen.failed(Kind::Write), 0, "{}", seen.outcomes(Kind::Read));
    assert!(took <= Duration::from_secs(1) + LATITUDE, "reads moved after {took:?}");
    row("44", "region drained to weight 0 by the table, under load")
        .saw("reads", seen.outcomes(Kind::Read))
        .saw("writes", seen.outcomes(Kind::Write))
        .took("first read moved after", took)
        .saw("reads at the drained region", 0)
        .saw("draining the last region", "refused")
        .tell();
}

#[test]
fn drill_50_edges_that_lead_to_each_other_are_found_out() {
    let _turn = beside();
    // Each needs the other's address before it runs: a line stands for the second until it does.
    let us = toy("us-east-1");
    let asks_tcp = r#"{ check = "tcp", interval = "200ms" }"#;
    let table = |next: std::net::SocketAddr| {
        Routing::of(&[&("eu-west-1", next), &us])
            .region("eu-west-1", "health", asks_tcp)
            .tenant("acme", r#"home = "eu-west-1""#)
            .tenant("globex", r#"home = "us-east-1""#)
    };
    let first = edge(&table(us.address())).set("edge", "id = \"edge-1\"").start();
    let second = edge(&table(first.address())).set("edge", "id = \"edge-2\"").start();
    first.folder().rename_over("routing.toml", table(second.address()).text());
    let began = Instant::now();
    eventually("the circle is closed", || first.get("acme.app.example", "/").status == 508);
    let executed = us.writes_executed();
    for nth in 0..50 {
        let write = first.ask(&post("acme.app.example", "/").header("X-Write-Id", &format!("w-{nth}")));
        assert_eq!((write.status, write.refusal().as_str()), (508, "loop"));
        assert_eq!(second.get("acme.app.example", "/").refusal(), "loop");
        assert_eq!(first.get("globex.app.example", "/").status, 200, "others are served");
    }
    assert_eq!(us.writes_executed(), executed, "nothing was executed");
    assert!(!us.tenants().iter().any(|tenant| tenant == "acme") || executed == 0);
    eventually("it is counted", || first.metric("rhumb_refusals_total", &[("reason", "loop")]) >= 50.0);
    let requests = first.metric("rhumb_requests_total", &[]) + second.metric("rhumb_requests_total", &[]);
    row("50", "two edges forward to each other")
        .saw("requests of clients", 100)
        .saw("answers 508", 100)
        .saw("executions", 0)
        .saw("requests at both edges in all", requests)
        .took("in", began.elapsed())
        .tell();
}

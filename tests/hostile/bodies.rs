//! Bodies that take more than one write to send wrongly.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::client::{Ended, Leave, exchange};
use super::harness::{PATIENCE, Routing, Wire, edge, eventually, faulty, get};
use super::origin::What;
use super::world::World;
use rhumb::lab::Fault;

const HOST: &str = "Host: t1.example.test\r\n";
const CHUNKED: &str = "POST /w HTTP/1.1\r\nHost: t1.example.test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends the head and a chunk, waits until the region has both, then sends `fault` and hears the end.
fn after_a_good_chunk(world: &World, fault: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.edge.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{CHUNKED}5\r\nhello\r\n").as_bytes()).unwrap();
    let before = world.before();
    eventually("the region has the first chunk", || {
        let seen = world.reached(&before).eu;
        seen.iter().any(|seen| seen.what.raw().windows(5).any(|part| part == b"hello"))
    });
    let _ = stream.write_all(fault);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn a_fault_behind_the_first_chunks_aborts_the_request_at_the_region() {
    let mut world = World::start();
    for (fault, cause) in [
        (&b"-1\r\nabc\r\n0\r\n\r\n"[..], "chunk_size"),
        (b" 3\r\nabc\r\n0\r\n\r\n", "chunk_size"),
        (b"3 \r\nabc\r\n0\r\n\r\n", "chunk_size"),
        (b"3;\nxx\r\nabc\r\n0\r\n\r\n", "bare_lf"),
        (b"3;a\rb\r\nabc\r\n0\r\n\r\n", "bare_cr"),
        (b"3\nabc\n0\n\n", "bare_lf"),
        (b"3\r\nabcX0\r\n\r\n", "chunk_end"),
        (b"0\r\nX : y\r\n\r\n", "space_before_colon"),
        (b"0\r\nGET /smuggled HTTP/1.1\r\nHost: t2.example.test\r\n\r\n", "space_before_colon"),
    ] {
        let told = String::from_utf8_lossy(fault).into_owned();
        let before = world.before();
        let heard = after_a_good_chunk(&world, fault);
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{told:?}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1").count(), usize::from(!heard.is_empty()), "{told:?}: {heard}");
        eventually("the region is told", || {
            world.reached(&before).eu.iter().any(|seen| matches!(seen.what, What::Cut(_)))
        });
        world.sound().unwrap_or_else(|why| panic!("{told:?}: {why}"));
        let reached = world.reached(&before);
        assert_eq!((reached.eu.len(), reached.us.len()), (1, 0), "{told:?}");
        let after = world.edge.metrics();
        for labels in [&[("cause", cause)][..], &[]] {
            assert_eq!(world.grown(&before, &after, "rhumb_parse_errors_total", labels), 1.0, "{told:?}");
        }
    }
}

#[test]
fn a_body_that_is_nearly_all_framing_is_ended() {
    let mut world = World::start();
    let huge = format!("{CHUNKED}1;{}\r\nZ\r\n0\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("{CHUNKED}{}0\r\n\r\n", format!("1;{}\r\nZ\r\n", "x".repeat(1 << 10)).repeat(10_000));
    for (what, raw) in [("one extension of 64 KiB", huge), ("10,000 of 1 KiB", many)] {
        let before = world.before();
        let heard = exchange(world.edge.address(), raw.as_bytes(), &[], Leave::Never);
        assert!(heard.answers.iter().all(|answer| answer.status == 400), "{what}: {heard:?}");
        assert_ne!(heard.ended, Ended::Never, "{what}");
        world.sound().unwrap_or_else(|why| panic!("{what}: {why}"));
        let reached = world.reached(&before);
        assert!(!reached.eu.iter().any(|seen| matches!(seen.what, What::Whole(_))), "{what} was executed");
        let bytes: usize = reached.eu.iter().map(|seen| seen.what.raw().len()).sum();
        assert!(bytes < 8 << 10, "{what}: {bytes} reached the region");
        let after = world.edge.metrics();
        let counted = world.grown(&before, &after, "rhumb_parse_errors_total", &[("cause", "chunk_waste")]);
        assert_eq!(counted, 1.0, "{what}");
    }
    // Small chunks alone are slow, not wrong.
    let small = format!("{CHUNKED}{}0\r\n\r\n", "1\r\nZ\r\n".repeat(10_000));
    let heard = exchange(world.edge.address(), small.as_bytes(), &[], Leave::After(1));
    assert_eq!(heard.answers[0].status, 200);
}

#[test]
fn noise_gets_one_refusal_or_a_close_and_costs_nothing() {
    let mut world = World::start();
    let before = world.edge.figure("VmRSS");
    let mut noise = vec![0; 64 << 10];
    let mut urandom = std::fs::File::open("/dev/urandom").unwrap();
    for nth in 0..1_000 {
        urandom.read_exact(&mut noise).unwrap();
        let heard = exchange(world.edge.address(), &noise, &[], Leave::AtOnce);
        assert_ne!(heard.ended, Ended::Never);
        let refused = heard.answers.iter().all(|answer| matches!(answer.status, 400 | 414 | 431));
        assert!(refused && heard.answers.len() <= 1, "{heard:?} to {:02x?}", &noise[..64]);
        if nth % 100 == 0 {
            world.sound().unwrap();
        }
    }
    world.sound().unwrap();
    let reached = world.reached(&world.before());
    assert!(reached.eu.is_empty() && reached.us.is_empty());
    let grown = world.edge.figure("VmRSS").saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

/// Each of these is answered without a region; what follows the head is its body and never a request.
#[test]
fn the_body_of_a_request_that_is_answered_here_is_never_a_request() {
    let mut world = World::start();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: t2.example.test\r\n\r\n";
    let framings = [
        (format!("Content-Length: {}\r\n", smuggled.len()), smuggled.to_owned()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()),
        ),
    ];
    for (what, line, status) in [
        ("an unknown tenant", "POST /w HTTP/1.1\r\nHost: t3.example.test\r\n", 404),
        ("no tenant", "POST /w HTTP/1.1\r\nHost: example.test\r\n", 400),
        ("two tenants", "POST /t/t2/w HTTP/1.1\r\nHost: t1.example.test\r\n", 400),
        ("a loop", "POST /w HTTP/1.1\r\nHost: t1.example.test\r\nVia: 1.1 rhumb/edge-1\r\n", 508),
        ("a last hop", "OPTIONS /w HTTP/1.1\r\nHost: t1.example.test\r\nMax-Forwards: 0\r\n", 204),
        ("a method that is forbidden", "TRACE /w HTTP/1.1\r\nHost: t1.example.test\r\n", 405),
    ] {
        for (framing, body) in &framings {
            let before = world.before();
            let raw = format!("{line}{framing}\r\n{body}");
            let heard = exchange(world.edge.address(), raw.as_bytes(), &[], Leave::After(2));
            let statuses: Vec<_> = heard.answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [status], "{what}, {framing:?}: {heard:?}");
            assert_ne!(heard.ended, Ended::Never, "{what}, {framing:?}");
            world.sound().unwrap_or_else(|why| panic!("{what}: {why}"));
            let reached = world.reached(&before);
            assert!(reached.eu.is_empty() && reached.us.is_empty(), "{what}: its body was a request");
        }
    }
}

/// The client waits for 100 and gets an answer instead; what it sends next may be the body or a request.
#[test]
fn after_an_early_answer_the_connection_ends_if_the_body_was_not_read() {
    let mut world = World::start();
    let next = "GET /smuggled HTTP/1.1\r\nHost: t2.example.test\r\n\r\n";
    for host in ["t3.example.test", "example.test"] {
        let before = world.before();
        let mut wire = Wire::to(world.edge.address());
        let head =
            format!("POST /w HTTP/1.1\r\nHost: {host}\r\nContent-Length: 49\r\nExpect: 100-continue\r\n\r\n");
        wire.send(&head);
        let answer = wire.answer_to("POST").expect("an answer");
        assert!((400..500).contains(&answer.status) && answer.interim.is_empty(), "{answer:?}");
        wire.try_send(next.as_bytes());
        assert!(wire.is_over(), "{host}: the connection stays open");
        world.sound().unwrap();
        let reached = world.reached(&before);
        assert!(reached.eu.is_empty() && reached.us.is_empty(), "{host}: what followed was served");
    }
}

#[test]
fn a_region_that_answers_early_ends_the_connection_of_whoever_has_not_sent_its_body() {
    let eu = faulty("eu");
    let routing = Routing::of(&[&eu])
        .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
        .tenant("t1", r#"home = "eu""#);
    let edge = edge(&routing).set("edge", "region = \"eu\"").start();
    eu.script([Fault::early_answer()]);
    let mut wire = Wire::to(edge.address());
    wire.send(format!("POST /w HTTP/1.1\r\n{HOST}Content-Length: 49\r\nExpect: 100-continue\r\n\r\n"));
    let answer = wire.answer_to("POST");
    let seen = eu.requests_begun();
    wire.try_send(b"GET /smuggled HTTP/1.1\r\nHost: t1.example.test\r\n\r\n");
    assert!(wire.is_over(), "{answer:?}");
    assert_eq!(eu.requests_begun(), seen, "what followed was served as a request");
    assert_eq!(get("t1.example.test", "/after").to(edge.address()).status, 200);
}

/// A FIN in mid body is no end of it, whatever frames it.
#[test]
fn a_client_that_leaves_in_mid_body_has_sent_no_request() {
    let mut world = World::start();
    for raw in [
        format!("{CHUNKED}5\r\nhel"),
        format!("{CHUNKED}5\r\nhello\r\n"),
        format!("{CHUNKED}5\r\nhello\r\n0\r\n"),
        format!("{CHUNKED}5\r\nhello\r\n0\r\nX: y\r\n"),
        format!("POST /w HTTP/1.1\r\n{HOST}Content-Length: 50\r\n\r\nhello"),
    ] {
        let before = world.before();
        let mut stream = TcpStream::connect(world.edge.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(raw.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        world.sound().unwrap();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{raw:?}: {heard}");
        eventually("the region is told", || {
            world.reached(&before).eu.iter().all(|seen| matches!(seen.what, What::Cut(_)))
        });
    }
}

#[test]
fn what_follows_a_chunked_body_waits_its_turn_wherever_the_bytes_are_cut() {
    let mut world = World::start();
    let both = format!("{CHUNKED}5;x=y\r\nhello\r\n00\r\n\r\nGET /next HTTP/1.1\r\n{HOST}\r\n");
    let before = world.before();
    let cuts = CHUNKED.len()..both.len();
    for cut in cuts.clone() {
        let mut wire = Wire::to(world.edge.address());
        wire.send(&both[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(2)); // so that the two parts are read apart, most times
        wire.send(&both[cut..]);
        for target in ["/w", "/next"] {
            let answer = wire.answer();
            assert_eq!(
                (answer.status, answer.json()["target"].as_str()),
                (200, Some(target)),
                "cut at {cut}"
            );
        }
    }
    world.sound().unwrap();
    let reached = world.reached(&before);
    assert_eq!((reached.eu.len(), reached.us.len()), (2 * cuts.len(), 0));
}

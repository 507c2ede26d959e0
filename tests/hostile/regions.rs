//! Regions that break the protocol: what of it their own clients see, and that nobody else sees any.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rhumb::lab::{Fault, Then};

use super::client::{Ended, Leave, exchange};
use super::harness::{Answer, Edge, End, Faulty, Routing, Wire, edge, eventually, faulty, get, post};
use super::origin::Origin;

/// An edge before a region that misbehaves, home of `t1`, and one that does not, home of `t2`.
struct World {
    edge: Edge,
    eu: Faulty,
    us: Origin,
}

fn world() -> World {
    let (eu, us) = (faulty("eu"), Origin::start("us"));
    // Checked once: no connection but those of requests.
    let routing = Routing::of(&[&eu, &("us", us.address)])
        .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
        .every_region("health", r#"{ check = "tcp", interval = "1h" }"#)
        .and("[policies.default]\ntimeout = \"2s\"")
        .tenant("t1", r#"home = "eu""#)
        .tenant("t2", r#"home = "us""#);
    World { edge: edge(&routing).set("edge", "region = \"eu\"").start(), eu, us }
}

impl World {
    /// What a client of `t1` gets while its region commits `fault`; a write, so that nobody else is asked.
    fn provoke(&self, fault: Fault) -> Option<Answer> {
        self.eu.script([fault]);
        post("t1.example.test", "/w").try_to(self.edge.address())
    }

    /// The same with raw bytes for an answer.
    fn says(&self, answer: impl AsRef<[u8]>, then: Then) -> Option<Answer> {
        self.provoke(Fault::raw(answer.as_ref().to_vec(), then))
    }

    /// The next request of either tenant gets its own answer.
    #[track_caller]
    fn sound(&self, after: &str) {
        for marker in ["/marker/1", "/marker/2"] {
            let own = self.edge.ask(&post("t1.example.test", marker));
            assert_eq!((own.status, own.json()["target"].as_str()), (200, Some(marker)), "after {after}");
            let other = self.edge.ask(&post("t2.example.test", marker));
            assert_eq!((other.status, other.json()["region"].as_str()), (200, Some("us")), "after {after}");
        }
        assert!(!self.edge.log().contains("panicked"), "after {after}");
        assert!(self.us.live() < 8);
    }

    /// The connection on which `/w` was answered last brought nothing after it.
    #[track_caller]
    fn not_used_again(&self, after: &str) {
        let texts: Vec<_> =
            self.eu.recorded().iter().map(|kept| String::from_utf8_lossy(&kept.bytes).into_owned()).collect();
        let last = texts.iter().rfind(|text| text.contains("POST /w ")).unwrap();
        let behind = last.rsplit("POST /w ").next().unwrap();
        assert!(!behind.contains("/marker/"), "the connection was used again after {after}: {behind}");
    }
}

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

#[test]
fn of_two_ends_chunks_count_and_the_other_is_not_passed_on() {
    let world = world();
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5000\r\n",
    ] {
        let answer = world.says(ok(fields, "5\r\nhello\r\n0\r\n\r\n"), Then::Keep).expect("an answer");
        if answer.status == 200 {
            assert_eq!((answer.text().as_str(), answer.end), ("hello", End::Whole));
            assert_eq!(answer.header("content-length"), None);
        } else {
            assert_eq!(answer.status, 502);
        }
        world.sound(fields);
    }
    // A region that goes by the length leaves bytes behind; they end the connection.
    let fields = "Content-Length: 30\r\nTransfer-Encoding: chunked\r\n";
    for _ in 0..5 {
        world.says(
            ok(fields, "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
            Then::Keep,
        );
        world.sound("bytes behind the chunks");
    }
}

#[test]
fn a_length_that_is_no_length_is_502() {
    let world = world();
    for fields in [
        "Content-Length: 5\r\nContent-Length: 3\r\n",
        "Content-Length: 5, 3\r\n",
        "Content-Length: five\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let answer = world.says(ok(fields, "hello"), Then::Keep).expect("an answer");
        assert_eq!((answer.status, answer.refusal().as_str()), (502, "upstream_failed"), "{fields:?}");
        world.sound(fields);
        world.not_used_again(fields);
    }
}

#[test]
fn an_answer_that_nobody_asked_for_ends_its_idle_connection() {
    let seen = Arc::new(AtomicUsize::new(0));
    let closed = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for early in [false, true] {
        let (seen, closed, most) = (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&most));
        seen.store(0, SeqCst);
        closed.store(0, SeqCst);
        let address = region({
            let (seen, closed, most) = (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&most));
            move |mut stream| {
                if early {
                    let _ = stream.write_all(poison.as_bytes());
                }
                let mut requests = 0;
                while let Some(target) = request(&mut stream) {
                    requests += 1;
                    seen.fetch_add(1, SeqCst);
                    most.fetch_max(requests, SeqCst);
                    let answer = ok(&format!("Content-Length: {}\r\n", target.len()), &target);
                    let all = if early { answer } else { answer + poison };
                    let _ = stream.write_all(all.as_bytes());
                }
                // The edge has let go of it.
                if requests > 0 {
                    closed.fetch_add(1, SeqCst);
                }
            }
        });
        let routing = Routing::of(&[&("eu", address)])
            .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
            .every_region("health", r#"{ check = "tcp", interval = "1h" }"#)
            .tenant("t1", r#"home = "eu""#);
        let edge = edge(&routing).set("edge", "region = \"eu\"").start();
        for n in 0..20 {
            let target = format!("/marker/{n}");
            let answer = edge.ask(&post("t1.example.test", &target));
            // An answer before its request cannot be told from an early one; it is nobody else's either.
            let right =
                answer.text() == target || (early && answer.text() == "poison") || answer.status == 502;
            assert!(right, "{target} got {} {}", answer.status, answer.text());
            eventually("the connection is let go", || closed.load(SeqCst) > n);
        }
        assert_eq!(seen.load(SeqCst), 20);
    }
    assert_eq!(most.load(SeqCst), 1, "a connection that said too much carried another request");
}

/// The cookies of an answer to a write, all but the pin that the edge itself gives its client.
fn foreign_cookies(answer: &Answer) -> Vec<&str> {
    let token = answer.header("x-consistency-token").unwrap_or_default();
    let own = format!("rhumb-pin={token}; Path=/; Max-Age=10; HttpOnly; SameSite=Lax");
    let cookies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    cookies.map(|(_, value)| value.as_str()).filter(|value| *value != own).collect()
}

#[test]
fn a_field_that_holds_two_lines_is_never_seen_as_two() {
    let world = world();
    for value in ["a\rSet-Cookie: evil=1", "a\r\r\nSet-Cookie: evil=1", "a\0b", "a\x7fb", "a\x0bb"] {
        let fields = format!("X: {value}\r\nContent-Length: 2\r\n");
        let answer = world.says(ok(&fields, "ok"), Then::Keep).expect("an answer");
        assert_eq!((answer.status, foreign_cookies(&answer).len()), (502, 0), "{value:?}");
        world.sound(value);
    }
    for fold in ["a\r\n b", "a\r\n\tSet-Cookie: evil=1", "a\r\n  \r\n b"] {
        let fields = format!("X: {fold}\r\nContent-Length: 2\r\n");
        let answer = world.says(ok(&fields, "ok"), Then::Keep).expect("an answer");
        assert_eq!(foreign_cookies(&answer), [""; 0], "{fold:?}");
        let folded = answer.header("x").is_some_and(|x| x.starts_with('a') && !x.contains(['\r', '\n']));
        assert!(answer.status == 502 || folded, "{fold:?}: {answer:?}");
        world.sound(fold);
    }
    // A bare LF ends a line: what stands behind it is the region's next field, framing included.
    let answer = world.says(ok("X: a\nY: b\nContent-Length: 2\r\n", "ok"), Then::Keep).expect("an answer");
    if answer.status == 200 {
        assert_eq!(
            (answer.header("x"), answer.header("y"), answer.text().as_str()),
            (Some("a"), Some("b"), "ok")
        );
    }
    world.sound("a bare LF");
    for line in ["no colon", "X : y", ": y", "X\0: y", "X(: y"] {
        let answer = world.says(ok(&format!("{line}\r\nContent-Length: 2\r\n"), "ok"), Then::Keep);
        let answer = answer.expect("an answer");
        // A space before the colon is taken off; nothing else that is no field is passed on.
        assert!(answer.status == 502 || answer.header("X") == Some("y"), "{line:?}: {answer:?}");
        world.sound(line);
    }
}

#[test]
fn a_head_without_measure_is_502_and_costs_no_memory() {
    let world = world();
    world.sound("nothing");
    let before = world.edge.figure("VmRSS");
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let long = format!("X: {}\r\n", "y".repeat(2 << 20));
    for (what, fields) in
        [("a field of 2 MiB", long), ("300 fields", fields(300)), ("100,000 fields", fields(100_000))]
    {
        let answer = world.says(ok(&format!("{fields}Content-Length: 2\r\n"), "ok"), Then::Close);
        let status = answer.expect("an answer").status;
        assert_eq!(status, 502, "{what}");
        world.sound(what);
        world.not_used_again(what);
    }
    let endless = world.says(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1000)), Then::Hang);
    assert_eq!(endless.expect("an answer").refusal(), "deadline");
    world.sound("a head that never ends");
    let grown = world.edge.figure("VmRSS").saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
}

#[test]
fn interim_answers_are_bounded_and_another_protocol_has_to_be_asked_for() {
    let world = world();
    assert_eq!(world.provoke(Fault::interim(3)).expect("an answer").status, 200);
    let flood = world.provoke(Fault::interim(10_000)).expect("an answer");
    assert_eq!((flood.status, flood.refusal().as_str()), (502, "upstream_failed"));
    assert!(flood.interim.len() <= 32, "{} reached the client", flood.interim.len());
    world.sound("10,000 interim answers");
    let switched =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled";
    let answer = world.says(switched, Then::Keep).expect("an answer");
    assert_eq!((answer.status, answer.refusal().as_str()), (502, "upstream_failed"));
    world.sound("101 unasked");
    world.not_used_again("101 unasked");
    // The client asked badly, so the region was not asked at all.
    world.eu.script([Fault::raw(switched, Then::Keep)]);
    let asked = get("t1.example.test", "/w").header("Upgrade", "websocket").try_to(world.edge.address());
    let status = asked.expect("an answer").status;
    assert!(status >= 500, "{status}");
    world.sound("101 to an upgrade that was taken off");
}

#[test]
fn what_a_region_may_not_say_to_clients_does_not_reach_them() {
    let world = world();
    let fields = "X-Owner-Region: mars\r\nX_Owner_Epoch: mars\r\nX-Rhumb-Refusal: mars\r\nConnection: x-foo\r\nX-Foo: mars\r\n\
        Alt-Svc: h3=\"mars.test:443\"\r\nalt_svc: mars\r\nSet-Cookie: sid=1; Path=/\r\nSet-Cookie: __Host-rhumb-pin=mars; Secure\r\n\
        Set-Cookie: rhumb-pin=mars\r\nSet-Cookie: RHUMB-PIN=mars\r\nSet-Cookie: theme=dark\r\nX-Consistency-Token: mars\r\n\
        Clear-Site-Data: \"cache\"\r\nStrict-Transport-Security: max-age=60\r\nKeep-Alive: mars\r\nProxy-Authenticate: mars\r\n\
        Content-Length: 2\r\n";
    let answer = world.says(ok(fields, "ok"), Then::Keep).expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let leaked: Vec<_> = answer.headers.iter().filter(|(_, value)| value.contains("mars")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    let cookies = foreign_cookies(&answer);
    assert_eq!(cookies, ["sid=1; Path=/", "theme=dark"], "the service's own cookies stay, in their order");
    // The service speaks for its own origin: these two are its business.
    assert_eq!(answer.header("clear-site-data"), Some("\"cache\""));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=60"));
    world.sound("a region that speaks for Rhumb");
}

#[test]
fn nobody_is_told_by_a_region_to_send_a_write_elsewhere() {
    let world = world();
    let body = vec![b'x'; 1 << 20];
    let away = "HTTP/1.1 409 Conflict\r\nX-Rhumb-Refusal: stale_epoch\r\nX-Owner-Region: us\r\nX-Owner-Epoch: 99\r\n\
        X-Rhumb-Replay: us\r\nContent-Length: 0\r\n\r\n";
    let before = world.us.count();
    for _ in 0..3 {
        world.eu.script([Fault::raw(away, Then::Keep)]);
        let ask = post("t1.example.test", "/w").header("Idempotency-Key", "k").body(body.clone());
        let answer = world.edge.ask(&ask);
        assert_eq!(answer.status, 409);
        assert_eq!((answer.header("x-rhumb-replay"), answer.header("x-owner-region")), (None, None));
    }
    assert_eq!((world.eu.executions_of("k"), world.us.count() - before), (3, 0));
    world.sound("a replay that nobody granted");
}

#[test]
fn a_part_of_an_answer_is_never_taken_for_the_whole() {
    let world = world();
    for (what, fault) in [
        ("reset behind the head", Fault::reset_mid_body(0, 1000)),
        ("reset in mid body", Fault::reset_mid_body(300, 1000)),
        ("closed in mid body", Fault::truncated(300, 1000)),
        ("closed in mid chunks", Fault::truncated_chunked()),
        ("closed in mid chunk", Fault::raw(ok("Transfer-Encoding: chunked\r\n", "9\r\nhello"), Then::Close)),
        (
            "closed before the blank line",
            Fault::raw(ok("Transfer-Encoding: chunked\r\n", "0\r\n"), Then::Close),
        ),
    ] {
        let answer = world.provoke(fault);
        let whole = answer.as_ref().is_some_and(|answer| answer.status == 200 && answer.end != End::Aborted);
        assert!(!whole, "{what}: {answer:?}");
        world.sound(what);
    }
}

#[test]
fn nothing_that_a_client_names_is_ever_connected_to() {
    let world = world();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let secret = region(move |_| {
        counted.fetch_add(1, SeqCst);
    });
    for head in [
        format!("GET http://{secret}/latest/meta-data HTTP/1.1\r\nHost: {secret}\r\n\r\n"),
        format!("GET /r HTTP/1.1\r\nHost: {secret}\r\n\r\n"),
        format!("CONNECT {secret} HTTP/1.1\r\nHost: {secret}\r\n\r\n"),
        format!(
            "GET /r HTTP/1.1\r\nHost: t1.example.test\r\nX-Forwarded-Host: {secret}\r\nProxy: http://{secret}\r\n\r\n"
        ),
        format!("GET http://{secret}/r HTTP/1.1\r\nHost: t1.example.test\r\n\r\n"),
        format!(
            "GET /r HTTP/1.1\r\nHost: t1.example.test\r\nX-HTTP-Host-Override: {secret}\r\nX-Host: {secret}\r\n\r\n"
        ),
    ] {
        let heard = exchange(world.edge.address(), head.as_bytes(), &[], Leave::After(1));
        assert_ne!(heard.ended, Ended::Never, "{head:?}");
    }
    world.sound("addresses in requests");
    assert_eq!(visits.load(SeqCst), 0, "the edge went where a client told it to");
}

/// A region that does this with each connection, on a thread of its own for as long as the test runs.
fn region(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The target of the next request with a body of 5 bytes; `None` at the end.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while !all.ends_with(b"\r\n\r\nhello") {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return None,
            Ok(read) => all.extend_from_slice(&some[..read]),
        }
    }
    String::from_utf8_lossy(&all).split(' ').nth(1).map(str::to_owned)
}

#[test]
fn two_edges_that_take_each_other_for_the_owner_cut_the_loop_and_execute_nothing() {
    // Each is told that the other is its region; the first has to be told twice, for the second has no address yet.
    let nowhere = Origin::start("us");
    let table = |name: &'static str, at: SocketAddr| {
        Routing::of(&[&(name, at)])
            .tenancy("from", r#"[{ host = "{tenant}.example.test" }]"#)
            .every_region("health", r#"{ check = "tcp", interval = "100ms" }"#)
            .tenant("t1", &format!("home = \"{name}\""))
    };
    let first = edge(&table("us", nowhere.address))
        .set("edge", "region = \"us\"")
        .set("edge", "id = \"first\"")
        .start();
    let second = edge(&table("eu", first.address()))
        .set("edge", "region = \"eu\"")
        .set("edge", "id = \"second\"")
        .start();
    let mut wire = Wire::to(first.address());
    assert_eq!(post("t1.example.test", "/before").on(&mut wire).status, 200);
    first.folder().rename_over("routing.toml", table("us", second.address()).text());
    eventually("the loop is closed", || first.ask(&get("t1.example.test", "/")).status == 508);
    let before = nowhere.count();
    for (asked, other) in [(&first, &second), (&second, &first)] {
        let answer = asked.ask(&post("t1.example.test", "/w"));
        assert_eq!((answer.status, answer.refusal().as_str()), (508, "loop"));
        eventually("the alarm", || asked.metric("rhumb_refusals_total", &[("reason", "loop")]) > 0.0);
        eventually("of both", || other.metric("rhumb_requests_total", &[("status", "508")]) > 0.0);
    }
    assert_eq!(nowhere.count(), before, "a write of a loop was executed");
}

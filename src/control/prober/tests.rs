use super::testing::{Does, Region, authority};
use super::*;
use rhumb_decision::checks::{Answer, Replication};
use rhumb_decision::health::Status;
use rhumb_decision::table::CheckKind;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// A prober at work.
struct World {
    targets: watch::Sender<Arc<[Target]>>,
    seen: mpsc::Receiver<Seen>,
    tasks: JoinSet<()>,
}

impl World {
    fn asking(targets: &[Target]) -> Self {
        let (sender, receiver) = watch::channel(targets.into());
        let (out, seen) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(run(receiver, out, Clock::system(), KnownLeaves::default()));
        Self { targets: sender, seen, tasks }
    }

    async fn next(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await.unwrap().unwrap()
    }

    /// What the first check of `target` sees.
    async fn sees(target: Target) -> (Answer, Option<Failure>) {
        let seen = Self::asking(&[target]).next().await;
        (seen.probed.answer, seen.failure)
    }
}

fn target(address: SocketAddr) -> Target {
    let kind = CheckKind::Http { path: "/health?deep=1".into() };
    let (interval, timeout) = (Millis(20), Millis(20_000));
    Target {
        region: "eu-west-1".into(),
        address,
        check: Check { kind, interval, timeout, rise: 2, fall: 3 },
        tls: None,
        http2: false,
        host: "eu.internal:8080".into(),
    }
}

fn checked(target: Target, change: impl FnOnce(&mut Check)) -> Target {
    let mut check = target.check.clone();
    change(&mut check);
    Target { check, ..target }
}

/// No second check while a test lasts.
fn once(target: Target) -> Target {
    checked(target, |check| check.interval = Millis(3_600_000))
}

fn ok(body: &str) -> Does {
    say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn say(text: &str) -> Does {
    Does::Say(text.as_bytes().into())
}

#[tokio::test]
async fn a_check_asks_as_the_table_says_and_hands_on_what_the_region_reports() {
    let region =
        Region::on_loopback(ok(r#"{"status":"DEGRADED","capabilities":{"case.write":"DOWN"},"position":"7",
            "replication":{"us-east-1":{"lag_seconds":0.8,"position":"5"}}}"#))
        .await;
    let seen = World::asking(&[target(region.address)]).next().await;
    assert_eq!((seen.region.as_ref(), seen.address, seen.failure), ("eu-west-1", region.address, None));
    assert!(seen.probed.round_trip.is_some() && seen.asked_at <= seen.at);
    let us = Replication { source: "us-east-1".into(), lag: Some(Millis(800)), position: Some("5".into()) };
    assert_eq!(
        Probed { round_trip: None, ..seen.probed },
        Probed {
            answer: Answer::Degraded,
            capabilities: vec![("case.write".into(), Status::Down)],
            replication: vec![us],
            position: Some("7".into()),
            round_trip: None,
        }
    );
    let head = region.heads().remove(0).to_lowercase();
    assert!(head.starts_with("get /health?deep=1 http/1.1\r\n"), "{head}");
    for line in ["host: eu.internal:8080", &format!("user-agent: rhumb-health/{}", env!("CARGO_PKG_VERSION"))]
    {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{head}");
    }
}

#[tokio::test]
async fn every_answer_is_up_degraded_or_down() {
    let (up, down) = ((Answer::Up, None), |failure| (Answer::Down, Some(failure)));
    let padded = format!(r#"{{"status":"DOWN","x":"{}"}}"#, "x".repeat(report::MAX_BODY));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2 * report::MAX_BODY));
    let huge_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(5_000));
    let cases = [
        ("no body", say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), up),
        ("a body that is no report", ok("all is well"), up),
        ("a report without a status", ok("{}"), up),
        ("it says so", ok(r#"{"status":"DOWN"}"#), (Answer::Down, None)),
        ("chunked", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), up),
        ("until the end", say("HTTP/1.0 200 OK\r\n\r\n{\"status\":\"DOWN\"}"), (Answer::Down, None)),
        ("longer than a report may be", ok(&padded), up),
        ("the same without a length", say(&endless), up),
        ("503", say("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), down(Failure::Status(503))),
        ("204", say("HTTP/1.1 204 No Content\r\n\r\n"), down(Failure::Status(204))),
        ("a redirect", say("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), down(Failure::Status(302))),
        ("an upgrade", say("HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n"), down(Failure::Status(101))),
        ("another protocol", say("220 mail ready\r\n"), down(Failure::Protocol)),
        ("bytes", Does::Say(vec![0; 4_096].into()), down(Failure::Protocol)),
        ("nothing", say(""), down(Failure::Protocol)),
        ("half a head", say("HTTP/1.1 200 OK\r\nConte"), down(Failure::Protocol)),
        ("half a body", say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), down(Failure::Protocol)),
        (
            "half a chunk",
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
            down(Failure::Protocol),
        ),
        ("a head without end", say(&huge_head), down(Failure::Protocol)),
        ("headers without number", say(&many_headers), down(Failure::Protocol)),
    ];
    for (what, does, want) in cases {
        let region = Region::on_loopback(does).await;
        assert_eq!(World::sees(target(region.address)).await, want, "{what}");
    }
}

#[tokio::test]
async fn what_does_not_answer_in_time_is_down() {
    let slow = say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{");
    for (does, what) in [(Does::Hang, "silence"), (slow.then_hang(), "half an answer")] {
        let region = Region::on_loopback(does).await;
        let hurried = checked(target(region.address), |check| check.timeout = Millis(60));
        let seen = World::asking(&[hurried]).next().await;
        assert_eq!((seen.probed.answer, seen.failure), (Answer::Down, Some(Failure::Timeout)), "{what}");
        assert!(seen.probed.round_trip.is_some(), "it did connect");
    }
}

#[tokio::test]
async fn a_closed_port_is_down_and_seen_again_when_it_opens() {
    // Bound, so that nobody else gets the port, and not listening.
    let port = TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut world = World::asking(&[target(port.local_addr().unwrap())]);
    let seen = world.next().await;
    assert_eq!((seen.probed.answer, seen.failure), (Answer::Down, Some(Failure::Connect)));
    assert_eq!(seen.probed.round_trip, None);
    let _region = Region::on(port.listen(8).unwrap(), ok(""));
    while world.next().await.probed.answer != Answer::Up {}
}

#[tokio::test]
async fn a_tcp_check_connects_and_says_nothing() {
    let region = Region::on_loopback(Does::Hang).await;
    let seen = World::sees(checked(target(region.address), |check| check.kind = CheckKind::Tcp)).await;
    assert_eq!(seen, (Answer::Up, None));
    assert!(region.heads().is_empty());
}

#[tokio::test]
async fn what_cannot_be_asked_is_down() {
    let region = Region::on_loopback(ok("")).await;
    let bad_host = Target { host: "eu\r\nX-Evil: 1".into(), ..target(region.address) };
    let path = |check: &mut Check| check.kind = CheckKind::Http { path: "/a b".into() };
    for target in [bad_host, checked(target(region.address), path)] {
        assert_eq!(World::sees(target).await, (Answer::Down, Some(Failure::Protocol)));
    }
    assert!(region.heads().is_empty());
}

#[tokio::test]
async fn tls_holds_the_region_to_its_name_and_shows_a_certificate_where_asked() {
    let (ours, foreign) = (authority(), authority());
    let region = Region::with_tls(ok(""), &ours, "eu.internal").await;
    let over = |tls: RegionTls| Target { tls: Some(tls), ..target(region.address) };
    let no = (Answer::Down, Some(Failure::Tls));
    let known = ours.tls("eu.internal");
    let without = RegionTls { certificate: None, ..ours.tls("eu.internal") };
    let mut broken = ours.tls("eu.internal");
    if let Some(certificate) = &mut broken.certificate {
        certificate.key = "no key".as_bytes().into();
    }
    assert_eq!(World::sees(over(ours.tls("us.internal"))).await, no, "another name");
    assert_eq!(World::sees(over(foreign.tls("eu.internal"))).await, no, "an authority we do not believe");
    assert_eq!(World::sees(over(RegionTls { ca: None, ..known.clone() })).await, no, "nor does the system");
    assert_eq!(World::sees(over(broken)).await, no, "a key that is none");
    // TLS 1.3 lets a client finish before the server has judged its certificate.
    assert_eq!(World::sees(over(without)).await.0, Answer::Down, "no certificate shown");
    assert_eq!(World::sees(target(region.address)).await.0, Answer::Down, "plain");
    assert!(region.heads().is_empty(), "not a byte of a request was sent");
    assert_eq!(World::sees(over(known.clone())).await, (Answer::Up, None));
    assert_eq!(region.heads().len(), 1);
    let expired = Region::with_expired_tls(ok(""), &ours, "eu.internal").await;
    let target = Target { tls: Some(known), ..target(expired.address) };
    assert_eq!(World::sees(target).await, no, "a certificate that ran out");
}

#[tokio::test]
async fn a_region_of_http_2_is_asked_in_http_2() {
    use crate::lab::{Protocols, Status as Says, ToyRegion};
    let serve = async |protocols| {
        ToyRegion::new("eu-west-1").capability("search", Says::Down).speaks(protocols).start().await.unwrap()
    };
    let in_http2 = |address| {
        let kind = CheckKind::Http { path: "/health".into() };
        checked(Target { http2: true, ..target(address) }, |check| check.kind = kind)
    };
    let eu = serve(Protocols::Http2).await;
    let seen = World::asking(&[once(in_http2(eu.address()))]).next().await;
    assert_eq!((seen.probed.answer, seen.failure), (Answer::Up, None));
    assert!(seen.probed.capabilities.contains(&("search".into(), Status::Down)));
    assert_eq!(eu.health_checks_seen(), 1);
    let (down, protocol) = (|failure| (Answer::Down, Some(failure)), Failure::Protocol);
    eu.set_status(Says::Down);
    assert_eq!(World::sees(in_http2(eu.address())).await, down(Failure::Status(503)));
    assert_eq!(World::sees(target(eu.address())).await, down(protocol), "HTTP/1.1 to a region of HTTP/2");
    let old = serve(Protocols::Http1).await;
    assert_eq!(World::sees(in_http2(old.address())).await, down(protocol), "HTTP/2 to a region of HTTP/1.1");
    let odd = Target { host: "not a host".into(), ..in_http2(eu.address()) };
    assert_eq!(World::sees(odd).await, down(protocol));
    let silent = Region::on_loopback(Does::Hang).await;
    let hurried = checked(in_http2(silent.address), |check| check.timeout = Millis(50));
    assert_eq!(World::sees(hurried).await, down(Failure::Timeout));
    let authority = authority();
    let tls = Region::with_tls(ok(""), &authority, "eu.internal").await;
    let tls = Target { tls: Some(authority.tls("eu.internal")), ..in_http2(tls.address) };
    assert_eq!(World::sees(tls).await, down(protocol), "TLS without an agreement on HTTP/2");
}

#[tokio::test]
async fn what_stays_wanted_notices_nothing_of_what_comes_and_goes() {
    let (eu, us) = (Region::on_loopback(ok("")).await, Region::on_loopback(ok("")).await);
    let (eu_target, us_target) = (once(target(eu.address)), target(us.address));
    let mut world = World::asking(std::slice::from_ref(&eu_target));
    assert_eq!(world.next().await.address, eu.address);
    world.targets.send_replace([eu_target.clone(), us_target].into());
    for _ in 0..3 {
        assert_eq!(world.next().await.address, us.address);
    }
    let again = once(Target { host: "eu.example".into(), ..eu_target });
    world.targets.send_replace([again].into());
    while world.next().await.address != eu.address {}
    assert_eq!(eu.heads().len(), 2, "asked at once when it appeared, and when its target changed");
    let asked = us.heads().len();
    let third = Region::on_loopback(ok("")).await;
    world.targets.send_replace([target(third.address)].into());
    for _ in 0..5 {
        assert_eq!(world.next().await.address, third.address);
    }
    assert!(us.heads().len() <= asked + 1, "a check under way is all that may have followed");
}

#[tokio::test]
async fn regions_that_share_an_address_are_each_asked() {
    let region = Region::on_loopback(ok("")).await;
    let eu = once(target(region.address));
    let us = Target { region: "us-east-1".into(), ..eu.clone() };
    let mut world = World::asking(&[eu.clone(), us, eu]);
    let mut seen = [world.next().await.region, world.next().await.region];
    seen.sort();
    assert_eq!(seen, ["eu-west-1".into(), "us-east-1".into()]);
}

#[tokio::test]
async fn it_ends_when_nobody_listens_and_when_nobody_asks() {
    let mut world = World::asking(&[]);
    drop(world.seen);
    world.tasks.join_next().await.unwrap().unwrap();
    let mut world = World::asking(&[]);
    drop(world.targets);
    world.tasks.join_next().await.unwrap().unwrap();
}

#[test]
fn pauses_are_the_interval_give_or_take_a_tenth_and_spread() {
    let pauses: Vec<_> = (0..1_000).map(|count| pause(Millis(2_000), 7, count).as_millis()).collect();
    assert!(pauses.iter().all(|pause| (1_800..=2_200).contains(pause)));
    assert!(pauses.iter().any(|pause| *pause < 1_850) && pauses.iter().any(|pause| *pause > 2_150));
    assert_ne!(pause(Millis(2_000), 8, 0).as_millis(), pauses[0], "another address, another pause");
    assert_eq!(pause(Millis(9), 7, 0).as_millis(), 9);
    assert!(pause(Millis(u64::MAX), 7, 0) >= Millis(u64::MAX / 10 * 9).duration());
}

#[tokio::test]
async fn a_process_that_stood_still_has_seen_nothing() {
    let region = Region::on_loopback(Does::Hang).await;
    let target = once(checked(target(region.address), |check| check.timeout = Millis(50)));
    let asker = Asker::new(&target, &Identities::default(), Clock::system(), KnownLeaves::default());
    let asked = tokio::join!(asker.ask(), async {
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(600));
    });
    assert_eq!(asked.0, None, "nobody looked for an answer meanwhile");
    // Unless this thread stands still once more, by itself.
    let in_time = async {
        loop {
            if let Some((_, failure)) = asker.ask().await {
                return failure;
            }
        }
    };
    let failure = tokio::time::timeout(Duration::from_secs(30), in_time).await.unwrap();
    assert_eq!(failure, Some(Failure::Timeout), "the same silence, looked at in time");
}

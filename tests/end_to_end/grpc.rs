//! gRPC calls: through to regions of HTTP/2, and refused in their own form.

use h2::Reason;
use rhumb::lab::{Protocols, ToyRegion};

use crate::harness::{
    Ask, Does, Edge, H2, Reply, Routing, Toy, ask, code, edge as edge_of, eventually,
    framed as framed_region, post, toy_from,
};

const ACME: &str = "acme.app.example";
const MIB: usize = 1024 * 1024;

fn world(protocols: Protocols, http: &str, keys: &str) -> (Toy, Edge) {
    let eu = toy_from(ToyRegion::new("eu-west-1").speaks(protocols));
    let routing = Routing::of(&[&eu]).region("eu-west-1", "http", http);
    let edge =
        edge_of(&routing.tenant("acme", r#"home = "eu-west-1""#).and(keys)).listener("h2c = true").start();
    (eu, edge)
}

/// Messages as they are sent.
fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame = |message: &&[u8]| [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    messages.iter().flat_map(frame).collect()
}

/// A call with these messages, which are all.
fn call(method: &str, messages: &[&[u8]]) -> Ask {
    post(ACME, &format!("/lab.Echo/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(framed(messages))
}

/// The head of a call whose messages come one by one.
fn open(method: &str) -> http::Request<()> {
    let open = ask("POST", ACME, &format!("/lab.Echo/{method}"));
    open.header("content-type", "application/grpc").header("te", "trailers").head_for_h2("http")
}

fn clear(edge: &Edge) -> H2 {
    H2::plain(edge.listener(1))
}

/// What a call ended with.
fn status(reply: &Reply) -> Option<&str> {
    reply.trailer("grpc-status").or_else(|| reply.header("grpc-status"))
}

/// The time that the region was told, in milliseconds.
fn told(reply: &Reply) -> u64 {
    let told = reply.header("x-seen-grpc-timeout").expect("the region is told a time");
    let (number, unit) = told.split_at(told.len() - 1);
    let per_milli = [("n", 1_000_000), ("u", 1_000), ("m", 1)].into_iter().find(|(known, _)| *known == unit);
    number.parse::<u64>().unwrap() / per_milli.unwrap_or_else(|| panic!("{told}")).1
}

#[test]
fn every_kind_of_call_comes_back_with_its_messages_metadata_and_trailers() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    for (method, expected) in [
        ("Unary", framed(&[b"hi"])),
        ("ClientStream", framed(&[b"hi"])),
        ("ServerStream", framed(&[b"hi", b"hi", b"hi"])),
        ("Bidi", framed(&[b"h", b"i"])),
    ] {
        let asked = call(method, &[b"h", b"i"]).header("x-count", "3").header("x-metadata", "one");
        let reply = h2.ask(&asked.header("x-metadata", "two").header("x-metadata-bin", "AAEC"));
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/grpc")), "{method}");
        assert_eq!((reply.body.as_slice(), reply.reset), (&expected[..], None), "{method}");
        assert_eq!((status(&reply), reply.trailer("x-region")), (Some("0"), Some("eu-west-1")), "{method}");
        assert_eq!(reply.header("x-seen-te"), Some("trailers"), "{method}");
        let metadata: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "x-seen-x-metadata").collect();
        assert_eq!(metadata.len(), 2, "{method}: {metadata:?}");
        assert_eq!(reply.header("x-seen-x-metadata-bin"), Some("AAEC"), "{method}");
    }
    assert_eq!((eu.writes_seen(), eu.writes_executed()), (4, 4));
    assert_eq!(eu.executions()[0].owner_region.as_deref(), Some("eu-west-1"));
}

#[test]
fn messages_go_to_and_fro_while_the_call_is_open() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    let mut asked = h2.begin(open("Bidi"), false);
    let mut reply = None;
    for nth in 0..20 {
        let message = framed(&[format!("message {nth}").as_bytes()]);
        asked.give(message.clone(), false);
        let reply = reply.get_or_insert_with(|| asked.head().unwrap());
        assert_eq!(reply.take(message.len()), message);
    }
    asked.give(Vec::new(), true);
    let reply = reply.unwrap().rest();
    assert_eq!((status(&reply), reply.reset), (Some("0"), None));
    eventually("the call is over", || eu.in_flight() == 0);
}

#[test]
fn megabytes_go_to_and_fro() {
    let (_eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    edge.get(ACME, "/warm");
    let before = edge.figure("VmRSS");
    let mut asked = h2.begin(open("Bidi"), false);
    let message = framed(&[&[b'm'; 64 * 1024]]);
    asked.give(message.clone(), false);
    let mut reply = asked.head().unwrap();
    for _ in 0..128 {
        asked.give(message.clone(), false);
        assert_eq!(reply.take(message.len()), message);
    }
    asked.give(Vec::new(), true);
    let reply = reply.rest();
    assert_eq!((status(&reply), reply.body.len()), (Some("0"), message.len()));
    let large = vec![b'l'; 4 * MIB];
    let reply = h2.ask(&call("Unary", &[&large]));
    assert_eq!((status(&reply), reply.body.len()), (Some("0"), 4 * MIB + 5));
    let grown = edge.figure("VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "the edge grew by {grown} KiB");
}

#[test]
fn a_status_without_messages_is_one_head() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    let failed = h2.ask(&call("Fail", &[b"hi"]));
    assert_eq!(
        (status(&failed), failed.header("grpc-message"), failed.head_only),
        (Some("9"), Some("as asked"), true)
    );
    let unknown = h2.ask(&call("Nothing", &[b"hi"]));
    assert_eq!((status(&unknown), unknown.head_only), (Some("12"), true));
    let seen = eu.requests_seen();
    let refused =
        h2.ask(&post("nobody.app.example", "/lab.Echo/Unary").header("content-type", "application/grpc"));
    assert_eq!((refused.status, status(&refused), refused.head_only), (200, Some("5"), true));
    assert!(refused.header("grpc-message").unwrap().starts_with("tenant_unknown"));
    assert_eq!(eu.requests_seen(), seen);
    eu.go_dark();
    let gone = h2.begin(open("Unary"), false).reply().unwrap();
    assert_eq!((gone.status, status(&gone), gone.head_only), (200, Some("14"), true));
}

#[test]
fn the_region_is_told_what_is_left_of_the_shorter_time() {
    let (_eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    for (said, most) in [(Some("5S"), 5_000), (Some("4500m"), 4_500), (Some("10M"), 30_000), (None, 30_000)] {
        let asked = call("Unary", &[b"hi"]);
        let reply = h2.ask(&said.into_iter().fold(asked, |asked, said| asked.header("grpc-timeout", said)));
        let told = told(&reply);
        assert!(told <= most && told + 2_000 > most, "{said:?}: {told} ms");
        let millis: u64 = reply.header("x-seen-x-request-timeout-ms").unwrap().parse().unwrap();
        assert!(millis.abs_diff(told) <= 1, "{millis} {told}");
    }
}

#[test]
fn without_a_time_of_the_policy_the_clients_own_holds() {
    let (_eu, edge) = world(Protocols::Http2, "2", "[policies.default]\ntimeout = \"0s\"\n");
    let mut h2 = clear(&edge);
    assert_eq!(h2.ask(&call("Unary", &[b"hi"])).header("x-seen-grpc-timeout"), None);
    let reply = h2.ask(&call("Unary", &[b"hi"]).header("grpc-timeout", "2H"));
    let told = reply.header("x-seen-grpc-timeout").unwrap();
    assert!(told.ends_with('m') && told.len() == 8, "two hours in milliseconds: {told}");
    let mut head = open("Unary");
    head.headers_mut().insert("grpc-timeout", "0n".parse().unwrap());
    let late = h2.begin(head, false).reply().unwrap();
    assert_eq!((status(&late), late.head_only), (Some("4"), true));
}

#[test]
fn a_call_that_is_late_ends_with_the_status_for_it() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    let asked = call("ServerStream", &[b"hi"]).header("x-count", "2").header("x-every-ms", "600000");
    let reply = h2.ask(&asked.header("grpc-timeout", "2S"));
    assert_eq!((reply.status, reply.body.as_slice()), (200, &framed(&[b"hi"])[..]));
    assert_eq!((reply.trailer("grpc-status"), reply.reset), (Some("4"), None));
    eventually("the region is told", || eu.in_flight() == 0);

    let silent = framed_region("eu-west-1");
    silent.script([Does::Hang]);
    let health = r#"{ check = "tcp", interval = "100ms" }"#;
    let routing =
        Routing::of(&[&silent]).region("eu-west-1", "http", "2").region("eu-west-1", "health", health);
    let edge = edge_of(&routing.tenant("acme", r#"home = "eu-west-1""#)).listener("h2c = true").start();
    let reply = clear(&edge).ask(&call("Unary", &[b"hi"]).header("grpc-timeout", "300m"));
    assert_eq!((reply.status, status(&reply), reply.head_only), (200, Some("4"), true));
    eventually("the stream is cancelled", || silent.resets() == [code::CANCEL]);
}

#[test]
fn a_call_that_its_client_gives_up_is_given_up_at_the_region() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    let mut h2 = clear(&edge);
    let asked = call("ServerStream", &[b"hi"]).header("x-count", "2").header("x-every-ms", "600000");
    let mut asked = h2.send(&asked);
    assert_eq!(asked.head().unwrap().status(), 200);
    assert_eq!(eu.in_flight(), 1);
    asked.reset(Reason::CANCEL);
    eventually("the region is told", || eu.in_flight() == 0);
    assert_eq!(status(&h2.ask(&call("Unary", &[b"hi"]))), Some("0"));
}

#[test]
fn a_call_that_no_region_began_is_made_again_once() {
    let eu = framed_region("eu-west-1");
    let health = r#"{ check = "tcp", interval = "100ms" }"#;
    let routing = Routing::of(&[&eu]).region("eu-west-1", "http", "2").region("eu-west-1", "health", health);
    let edge = edge_of(&routing.tenant("acme", r#"home = "eu-west-1""#)).listener("h2c = true").start();
    let mut h2 = clear(&edge);
    for does in [Does::Reset(code::REFUSED_STREAM), Does::GoneBefore(code::NO_ERROR)] {
        let before = (eu.begun(), eu.executed());
        eu.script([does.clone()]);
        assert_eq!(h2.ask(&call("Unary", &[b"hi"])).region(), "eu-west-1", "{does:?}");
        assert_eq!((eu.begun() - before.0, eu.executed() - before.1), (2, 1), "{does:?}");
    }
    eu.script([Does::ExecuteThenReset(code::INTERNAL_ERROR)]);
    let before = eu.begun();
    let failed = h2.ask(&call("Unary", &[b"hi"]));
    assert_eq!((status(&failed), failed.head_only, eu.begun() - before), (Some("14"), true, 1));
}

#[test]
fn a_call_goes_to_the_owner_and_nowhere_else() {
    let both = |name: &str| toy_from(ToyRegion::new(name).speaks(Protocols::Http2));
    let (eu, us) = (both("eu-west-1"), both("us-east-1"));
    let routing = Routing::of(&[&eu, &us]).every_region("http", "2");
    let routing = routing.tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"]"#);
    let edge = edge_of(&routing).listener("h2c = true").start();
    let mut h2 = clear(&edge);
    assert_eq!(h2.ask(&call("Unary", &[b"hi"])).trailer("x-region"), Some("us-east-1"));
    us.go_dark();
    let refused = h2.begin(open("Unary"), false).reply().unwrap();
    assert_eq!((status(&refused), eu.writes_seen()), (Some("14"), 0));
    assert!(refused.header("grpc-message").unwrap().starts_with("owner_unavailable"));
}

#[test]
fn a_call_to_a_region_of_http_1_is_refused_as_a_call() {
    let (eu, edge) = world(Protocols::Both, "1", "");
    let call =
        post(ACME, "/lab.Echo/Unary").header("Content-Type", "application/grpc+proto").body(framed(&[b"hi"]));
    let refused = edge.ask(&call);
    assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("14")));
    let over_http2 = clear(&edge).begin(open("Unary"), false).reply().unwrap();
    assert_eq!((status(&over_http2), over_http2.head_only), (Some("14"), true));
    assert!(refused.header("grpc-message").unwrap().starts_with("upstream_failed"));
    assert_eq!(eu.requests_seen(), 0);
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    let (eu, edge) = world(Protocols::Http2, "2", "");
    for odd in ["1", "S", "123456789n", "1.5S", "-1S"] {
        let call = post(ACME, "/lab.Echo/Unary")
            .header("Content-Type", "application/grpc")
            .header("grpc-timeout", odd);
        assert_eq!(edge.ask(&call).header("grpc-status"), Some("3"), "{odd}");
    }
    let other = post(ACME, "/v1/cases").header("grpc-timeout", "odd");
    assert_eq!(
        edge.ask(&other).seen("grpc-timeout").as_deref(),
        Some("odd"),
        "only calls are gRPC's business"
    );
    assert_eq!(eu.writes_executed(), 1);
}

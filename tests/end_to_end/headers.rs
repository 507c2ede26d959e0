//! Who may say what in a header: clients, regions, and Rhumb between them.

use rhumb::lab::{Fault, Then};

use crate::harness::{Edge, EdgeBuilder, H2, Routing, Toy, Wire, edge, faulty, get, lab, post};

fn world() -> (Toy, Toy, Toy, EdgeBuilder) {
    let (eu, us, ap) = lab();
    let routing = Routing::of(&[&eu, &us, &ap])
        .tenant("acme", r#"home = "us-east-1", replicas = ["eu-west-1"], epoch = 7, policy = "calm""#)
        .and("[policies.calm]\nreads = { max_staleness = \"60s\" }");
    let edge = edge(&routing);
    (eu, us, ap, edge)
}

#[test]
fn every_managed_header_is_rhumbs_own_in_whatever_spelling_it_came() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let managed = [
        ("X-Source-Region", Some("eu-west-1")),
        ("X-Target-Region", Some("eu-west-1")),
        ("X-Owner-Region", Some("us-east-1")),
        ("X-Owner-Epoch", Some("7")),
        ("X-Failover-Reason", None),
        ("X-Request-Region-Policy", Some("calm")),
        ("X-Region-Hops", Some("1")),
        ("X-Prior-Attempt-Region", None),
        ("X-Rhumb-Signature", None),
        ("X-Rhumb-Anything", None),
    ];
    for (name, expected) in managed {
        let spellings = [
            name.to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
            name.replace('-', ".").to_ascii_lowercase(),
            name.replacen('-', "_", 1),
        ];
        for spelling in &spellings {
            let answer = edge.ask(&get("acme.app.example", "/").header(spelling, "mars"));
            assert_eq!(answer.seen(name).as_deref(), expected, "{spelling}");
            assert!(!answer.json()["headers"].to_string().contains("mars"), "{spelling}: {}", answer.text());
        }
        let label = if name.starts_with("X-Rhumb-A") { "X-Rhumb-*" } else { name };
        let counted = edge.metric("rhumb_spoofed_headers_total", &[("header", label)]);
        assert!(counted >= spellings.len() as f64, "{label} was counted {counted} times");
    }
}

#[test]
fn a_managed_header_sent_many_times_is_still_one() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let mut asked = get("acme.app.example", "/");
    for n in 0..5 {
        asked = asked.header("X-Owner-Region", &format!("mars-{n}")).header("x_owner_region", "venus");
    }
    assert_eq!(edge.ask(&asked).seen("x-owner-region").as_deref(), Some("us-east-1"));
    assert_eq!(edge.metric("rhumb_spoofed_headers_total", &[("header", "X-Owner-Region")]), 10.0);
}

#[test]
fn the_tenant_header_is_read_where_tenancy_names_it_and_replaced() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let by_host = edge.get("acme.app.example", "/");
    assert_eq!(by_host.seen("x-tenant-id").as_deref(), Some("acme"));
    let by_header = edge.ask(&get("any.example", "/").header("X-Tenant-ID", "acme"));
    assert_eq!(by_header.seen("x-tenant-id").as_deref(), Some("acme"));
    let other_spelling = edge.ask(&get("acme.app.example", "/").header("x_tenant_id", "globex"));
    assert_eq!(other_spelling.seen("x-tenant-id").as_deref(), Some("acme"));
    assert_eq!(other_spelling.seen("x_tenant_id"), None);
    assert_eq!(edge.metric("rhumb_spoofed_headers_total", &[("header", "X-Tenant-ID")]), 1.0);
}

#[test]
fn managed_headers_in_trailers_never_arrive() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let mut wire = edge.wire();
    wire.send(
        "POST / HTTP/1.1\r\nHost: acme.app.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Owner-Region\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Owner-Region: mars\r\nx_owner_epoch: 99\r\n\r\n",
    );
    let answer = wire.answer_to("POST");
    if let Some(answer) = answer.filter(|answer| answer.status == 200) {
        assert!(!answer.text().contains("mars"), "{}", answer.text());
        assert_eq!(answer.json()["trailers"], serde_json::json!({}));
        assert_eq!(answer.seen("x-owner-region").as_deref(), Some("us-east-1"));
        assert_eq!(
            (answer.seen("x-owner-epoch").as_deref(), answer.seen("x_owner_epoch")),
            (Some("7"), None)
        );
    }
}

#[test]
fn nominating_a_managed_header_is_a_bad_request() {
    let (eu, us, _ap, edge) = world();
    let edge = edge.start();
    for nominated in ["X-Owner-Region", "x_owner_epoch", "close, X-Tenant-ID", "X-Forwarded-For", "Host"] {
        let refused = edge.ask(&get("acme.app.example", "/").header("Connection", nominated));
        assert_eq!((refused.status, refused.refusal().as_str()), (400, "bad_request"), "{nominated}");
    }
    assert_eq!(eu.requests_seen() + us.requests_seen(), 0);
}

#[test]
fn headers_that_services_obey_and_clients_should_not_send_are_removed() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let removed = [
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Host-Override",
        "Proxy",
        "X-Client-Cert",
        "X-SSL-Client-Verify",
        "X-Forwarded-Client-Cert",
        "Early-Data",
        "x_original_url",
        "X-Real-IP",
    ];
    let asked = removed.iter().fold(get("acme.app.example", "/"), |asked, name| asked.header(name, "mars"));
    let answer = edge.ask(&asked.header("X-Ordinary", "stays"));
    assert!(!answer.json()["headers"].to_string().contains("mars"), "{}", answer.text());
    assert_eq!(answer.seen("x-ordinary").as_deref(), Some("stays"));
}

#[test]
fn a_region_is_told_who_the_client_is_and_an_untrusted_client_cannot_say_otherwise() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let lies = get("acme.app.example", "/")
        .header("X-Forwarded-For", "8.8.8.8")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "mars.example")
        .header("Forwarded", "for=8.8.8.8;host=mars.example;proto=https")
        .header("Via", "1.1 somebody");
    let told = edge.ask(&lies);
    assert_eq!(told.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(told.seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(told.seen("x-forwarded-host").as_deref(), Some("acme.app.example"));
    assert_eq!(told.seen("forwarded").as_deref(), Some("for=127.0.0.1;host=acme.app.example;proto=http"));
    assert_eq!(told.seen("via").as_deref(), Some("1.1 rhumb/edge-1"));
    assert_eq!(told.seen("host").as_deref(), Some("acme.app.example"));
}

#[test]
fn a_trusted_proxy_is_believed_about_who_came_before_it() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.set("trust", "proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").start();
    let told = edge.ask(
        &get("acme.app.example", "/")
            .header("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.0.0.7")
            .header("X-Forwarded-Proto", "https"),
    );
    assert_eq!(told.seen("x-forwarded-for").as_deref(), Some("6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1"));
    assert_eq!(told.seen("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(told.seen("forwarded").as_deref(), Some("for=203.0.113.9;host=acme.app.example;proto=https"));
}

#[test]
fn a_request_id_is_kept_if_it_is_well_formed_and_made_if_not() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let with =
        |id: &str| edge.ask(&get("acme.app.example", "/").header("X-Request-ID", id)).seen("x-request-id");
    assert_eq!(with("order-66.b_c").as_deref(), Some("order-66.b_c"));
    for bad in ["", "two words", "semi;colon", &"x".repeat(65), "{{7*7}}"] {
        let made = with(bad).expect("an id");
        assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{bad:?} became {made:?}");
    }
    let one = edge.get("acme.app.example", "/").seen("x-request-id");
    assert_ne!(one, edge.get("acme.app.example", "/").seen("x-request-id"));
    let refused = edge.ask(&get("nobody.app.example", "/").header("X-Request-ID", "order-67"));
    assert_eq!(refused.json()["request_id"], "order-67");
}

#[test]
fn a_trace_is_passed_on_where_nothing_is_recorded_and_a_malformed_one_begins_anew() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let sent = format!("00-{trace}-b7ad6b7169203331-01");
    let seen =
        edge.ask(&get("acme.app.example", "/").header("traceparent", &sent)).seen("traceparent").unwrap();
    assert_eq!(seen, sent, "an edge that records nothing is not in the trace");
    for bad in ["garbage", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-x-y-z"] {
        let seen =
            edge.ask(&get("acme.app.example", "/").header("traceparent", bad)).seen("traceparent").unwrap();
        assert!(seen.len() == 55 && !seen.contains(bad), "{bad} became {seen}");
    }
}

#[test]
fn a_request_that_passed_here_before_is_a_loop() {
    let (eu, us, _ap, edge) = world();
    let edge = edge.start();
    let looped = |name: &str, value: &str| edge.ask(&get("acme.app.example", "/").header(name, value));
    for (name, value) in [
        ("Via", "1.1 rhumb/edge-1"),
        ("Via", "1.1 other, 1.1 rhumb/edge-1 (note)"),
        ("CDN-Loop", "rhumb/edge-1"),
        ("Via", "1.1 rhumb/a, 1.1 rhumb/b, 1.1 rhumb/c, 1.1 rhumb/d"),
    ] {
        let refused = looped(name, value);
        assert_eq!((refused.status, refused.refusal().as_str()), (508, "loop"), "{name}: {value}");
    }
    assert_eq!(eu.requests_seen() + us.requests_seen(), 0);
    let other = looped("Via", "1.1 rhumb/edge-2");
    assert_eq!(other.seen("via").as_deref(), Some("1.1 rhumb/edge-2, 1.1 rhumb/edge-1"));
}

#[test]
fn an_edge_whose_table_leads_back_to_it_ends_the_loop() {
    let us = crate::harness::toy("us-east-1");
    let first = edge(&Routing::of(&[&us]).tenant("acme", r#"home = "us-east-1""#))
        .set("edge", "region = \"us-east-1\"")
        .set("edge", "id = \"edge-2\"")
        .start();
    let back = Routing::of(&[&("eu-west-1", first.address())])
        .tenant("acme", r#"home = "eu-west-1""#)
        .region("eu-west-1", "health", r#"{ check = "tcp", interval = "100ms" }"#);
    let second = edge(&back).start();
    // Each now sends to the other: the first is told that its region is the second.
    let forth = Routing::of(&[&("us-east-1", second.address())])
        .tenant("acme", r#"home = "us-east-1""#)
        .region("us-east-1", "health", r#"{ check = "tcp", interval = "100ms" }"#);
    first.folder().rename_over("routing.toml", forth.text());
    crate::harness::eventually("the loop is closed", || second.get("acme.app.example", "/").status == 508);
    assert_eq!(second.get("acme.app.example", "/").refusal(), "loop");
}

#[test]
fn what_a_region_says_in_managed_headers_does_not_reach_the_client() {
    let eu = faulty("eu-west-1");
    let leaks = [
        "X-Owner-Region",
        "X-Owner-Epoch",
        "X-Target-Region",
        "x_source_region",
        "X-Tenant-ID",
        "X-Rhumb-Signature",
        "X-Served-Region",
        "X-Staleness-Seconds",
    ];
    let head: String = leaks.iter().map(|name| format!("{name}: mars\r\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{head}X-Ordinary: stays\r\n\r\nok");
    eu.otherwise(Fault::raw(response, Then::Keep));
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let check = |edge: &Edge| {
        let answer = edge.get("acme.app.example", "/");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
        assert_eq!(answer.header("x-ordinary"), Some("stays"));
        assert!(!answer.headers.iter().any(|(_, value)| value == "mars"), "{:?}", answer.headers);
        answer.header("x-served-region").map(str::to_owned)
    };
    assert_eq!(check(&edge(&routing).start()), None);
    let shown = edge(&routing).set("edge", "show_region = true").start();
    assert_eq!(check(&shown).as_deref(), Some("eu-west-1"));
}

#[test]
fn a_client_is_told_which_region_served_it_and_how_old_that_is_where_asked_for() {
    let (eu, _us, _ap, edge) = world();
    let edge = edge.set("edge", "show_region = true").start();
    let staleness = |answer: &crate::harness::Answer| answer.header("x-staleness-seconds").map(str::to_owned);
    crate::harness::eventually("the lag is known", || {
        staleness(&edge.get("acme.app.example", "/")).is_some()
    });
    let read = edge.get("acme.app.example", "/");
    assert_eq!(read.header("x-served-region"), Some("eu-west-1"));
    assert!(staleness(&read).unwrap().parse::<f64>().is_ok());
    let write = edge.ask(&post("acme.app.example", "/"));
    assert_eq!((write.header("x-served-region"), staleness(&write)), (Some("us-east-1"), None));
    assert_eq!(eu.writes_seen(), 0);
}

#[test]
fn a_regions_date_is_kept_and_what_it_says_of_its_connection_is_not() {
    let eu = faulty("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let edge = edge(&routing).listener("h2c = true").start();
    let then = "Tue, 15 Nov 1994 08:12:31 GMT";
    for (said, date) in
        [(format!("Date: {then}\r\nConnection: keep-alive\r\n"), Some(then)), (String::new(), None)]
    {
        eu.otherwise(Fault::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{said}\r\nok"), Then::Keep));
        let mut wire = Wire::to(edge.address());
        let one = get("acme.app.example", "/").on(&mut wire);
        let last = get("acme.app.example", "/").header("Connection", "close").on(&mut wire);
        let stream = H2::plain(edge.listener(1)).ask(&get("acme.app.example", "/"));
        for (answer, connection) in [(&one, Some("keep-alive")), (&last, Some("close")), (&stream, None)] {
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
            let told = |wanted: &str| {
                answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).count()
            };
            assert_eq!((told("date"), told("connection")), (1, usize::from(connection.is_some())));
            assert_eq!(answer.header("connection"), connection);
            assert!(date.is_none_or(|date| answer.header("date") == Some(date)));
        }
    }
}

#[test]
fn hop_by_hop_headers_stay_on_their_connection() {
    let (_eu, _us, _ap, edge) = world();
    let edge = edge.start();
    let asked = get("acme.app.example", "/")
        .header("Connection", "keep-alive, X-Private")
        .header("Keep-Alive", "timeout=5")
        .header("X-Private", "mars")
        .header("Proxy-Authorization", "Basic bWFycw==")
        .header("TE", "gzip");
    let told = edge.ask(&asked);
    for name in ["x-private", "keep-alive", "proxy-authorization", "te"] {
        assert_eq!(told.seen(name), None, "{name}");
    }
}

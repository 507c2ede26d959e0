//! Clients known by their certificates: whom they speak for, who is let in, and for which host a connection is.

use rustls::client::Resumption;
use rustls::{ClientConfig, pki_types::ServerName};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::harness::{
    Authority, Edge, Folder, H2, Routing, Says, Toy, Wire, ask, client_with, edge, eventually, get, secured,
    session, toy, write_pair,
};

const DOOR: &str = "tls.certificates = [{ chain = \"door.pem\", key = \"door.key\" }]\n\
                    tls.client_ca = \"clients.pem\"\n";

/// Two regions' worth of tenants, and who signed whose certificate.
struct World {
    _eu: Toy,
    routing: Routing,
    doors: Authority,
    clients: Authority,
}

fn world(from: &str) -> World {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .tenancy("from", from)
        .tenant("acme", r#"home = "eu-west-1""#)
        .tenant("globex", r#"home = "eu-west-1""#);
    World { _eu: eu, routing, doors: Authority::new(), clients: Authority::new() }
}

const BY_TEMPLATE: &str =
    r#"[{ certificate = "spiffe://prod.example/tenant/{tenant}" }, { host = "{tenant}.app.example" }]"#;

impl World {
    fn prepare(&self, folder: &Folder) {
        let door = self.doors.issue(&Says::names(&["*.app.example", "api.example"]));
        write_pair(folder.path(), "door", &door);
        folder.write("clients.pem", self.clients.pem());
    }

    fn edge(&self, more: &str) -> Edge {
        edge(&self.routing).prepare(|folder| self.prepare(folder)).listener(&format!("{DOOR}{more}")).start()
    }

    fn client(&self, says: &Says) -> Arc<ClientConfig> {
        client_with(&self.doors, Some(&self.clients.issue(says)))
    }

    fn nobody(&self) -> Arc<ClientConfig> {
        client_with(&self.doors, None)
    }
}

fn of(tenant: &str) -> Says {
    Says::names(&[]).uri(&format!("spiffe://prod.example/tenant/{tenant}")).subject("a client")
}

fn tenant(edge: &Edge, host: &str, config: &Arc<ClientConfig>) -> String {
    let mut wire = secured(edge.listener(1), host, config).unwrap();
    let answer = get(host, "/").on(&mut wire);
    if answer.status == 200 { answer.seen("x-tenant-id").unwrap() } else { answer.refusal() }
}

/// Whether a client is let in: with TLS 1.3 it learns of a refusal at its first read.
fn is_let_in(edge: &Edge, host: &str, config: &Arc<ClientConfig>) -> bool {
    secured(edge.listener(1), host, config)
        .is_ok_and(|mut wire| wire.try_send(&get(host, "/").bytes()) && wire.answer_to("GET").is_some())
}

#[test]
fn a_client_speaks_for_the_tenant_that_its_certificate_names() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("tls.client_auth = \"optional\"");
    assert_eq!(tenant(&edge, "api.example", &world.client(&of("acme"))), "acme");
    assert_eq!(tenant(&edge, "api.example", &world.client(&of("globex"))), "globex");
    assert_eq!(tenant(&edge, "acme.app.example", &world.client(&of("acme"))), "acme");
    assert_eq!(tenant(&edge, "acme.app.example", &world.client(&of("globex"))), "tenant_conflict");
    assert_eq!(tenant(&edge, "globex.app.example", &world.nobody()), "globex");
    assert_eq!(tenant(&edge, "api.example", &world.nobody()), "tenant_missing");
    let two = of("acme").uri("spiffe://prod.example/tenant/globex");
    assert_eq!(tenant(&edge, "api.example", &world.client(&two)), "tenant_missing", "two ids are none");
    let foreign = Says::names(&[]).uri("spiffe://evil.example/tenant/acme");
    assert_eq!(tenant(&edge, "api.example", &world.client(&foreign)), "tenant_missing");
}

#[test]
fn only_a_certificate_that_was_verified_counts() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("tls.client_auth = \"optional\"");
    let forged = client_with(&world.doors, Some(&Authority::new().issue(&of("acme"))));
    assert!(!is_let_in(&edge, "api.example", &forged), "of another authority");
    assert!(!is_let_in(&edge, "api.example", &world.client(&of("acme").years(2000, 2001))), "expired");
    assert!(!is_let_in(&edge, "api.example", &world.client(&of("acme").years(3000, 3001))), "not yet valid");
    let mut wire = secured(edge.listener(1), "api.example", &world.nobody()).unwrap();
    let spoofed = get("api.example", "/")
        .header("X-Client-Cert", "spiffe://prod.example/tenant/acme")
        .header("X-Forwarded-Client-Cert", "URI=spiffe://prod.example/tenant/acme");
    assert_eq!(spoofed.on(&mut wire).refusal(), "tenant_missing", "a header is no certificate");
    assert!(is_let_in(&edge, "api.example", &world.client(&of("acme"))));
}

#[test]
fn the_last_segment_or_the_subject_may_name_the_tenant() {
    let by_uri = world(r#"[{ certificate = "uri" }]"#);
    let edge = by_uri.edge("");
    let any = Says::names(&[]).uri("spiffe://any.example/some/where/acme");
    assert_eq!(tenant(&edge, "api.example", &by_uri.client(&any)), "acme");
    drop(edge);
    let by_subject = world(r#"[{ certificate = "subject" }]"#);
    let edge = by_subject.edge("");
    assert_eq!(
        tenant(&edge, "api.example", &by_subject.client(&Says::names(&[]).subject("globex"))),
        "globex"
    );
    assert_eq!(tenant(&edge, "api.example", &by_subject.client(&any)), "tenant_missing");
    assert_eq!(
        tenant(&edge, "api.example", &by_subject.client(&Says::names(&[]).subject("Globex Inc."))),
        "bad_request"
    );
}

#[test]
fn the_log_says_whose_certificate_a_request_came_with() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("tls.client_auth = \"optional\"");
    let subject = Says::names(&[]).subject("ops \"desk\"\n");
    for config in [world.client(&of("acme")), world.client(&subject), world.nobody()] {
        tenant(&edge, "acme.app.example", &config);
    }
    let lines = || {
        let log = std::fs::read_to_string(edge.folder().file("access.log")).unwrap_or_default();
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    };
    eventually("three lines", || lines().len() == 3);
    let identities: Vec<_> = lines().iter().map(|line| line["client_identity"].clone()).collect();
    let wanted =
        ["spiffe://prod.example/tenant/acme".into(), "ops \"desk\"\n".into(), serde_json::Value::Null];
    assert_eq!(identities, wanted);
}

#[test]
fn tl_06_a_good_chain_is_not_enough_where_a_list_says_who_may_come() {
    let world = world(BY_TEMPLATE);
    let edge =
        world.edge("tls.client_ids = [\"spiffe://prod.example/tenant/*\", \"spiffe://prod.example/ops\"]");
    let with = |uri: &str| world.client(&Says::names(&[]).uri(uri));
    for uri in ["spiffe://prod.example/tenant/acme", "spiffe://prod.example/ops"] {
        assert!(is_let_in(&edge, "acme.app.example", &with(uri)), "{uri}");
    }
    for uri in [
        "spiffe://prod.example/edge/us",
        "spiffe://prod.example/tenant/acme/more",
        "spiffe://other.example/tenant/acme",
        "https://prod.example/tenant/acme",
    ] {
        assert!(!is_let_in(&edge, "acme.app.example", &with(uri)), "{uri}");
    }
    assert!(!is_let_in(&edge, "acme.app.example", &world.client(&Says::names(&[]).subject("acme"))));
    assert!(!is_let_in(
        &edge,
        "acme.app.example",
        &world.client(&of("acme").uri("spiffe://prod.example/ops"))
    ));
    assert!(!is_let_in(&edge, "acme.app.example", &world.nobody()), "a certificate is required");
    eventually("each is counted", || {
        edge.metrics().sum("rhumb_parse_errors_total", &[("cause", "handshake")]) >= 7.0
    });
}

/// A connection without SNI.
fn unnamed(address: SocketAddr, config: &Arc<ClientConfig>, as_name: &str) -> Wire {
    let mut config = ClientConfig::clone(config);
    config.enable_sni = false;
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let name = ServerName::try_from(as_name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    Wire::over(rustls::StreamOwned::new(session, tcp))
}

#[test]
fn a_request_for_another_host_than_the_connection_is_misdirected() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("tls.client_auth = \"optional\"");
    for config in [world.client(&of("acme")), world.nobody()] {
        let mut wire = secured(edge.listener(1), "acme.app.example", &config).unwrap();
        assert_eq!(get("acme.app.example", "/").on(&mut wire).status, 200);
        let refused = get("globex.app.example", "/").on(&mut wire);
        assert_eq!(
            (refused.status, refused.refusal().as_str()),
            (421, "misdirected"),
            "on a kept connection"
        );
        assert_eq!(get("ACME.app.example.:443", "/").on(&mut wire).status, 200, "in another spelling");
        assert_eq!(get("api.example", "/").on(&mut wire).refusal(), "misdirected");
    }
    let mut wire = unnamed(edge.listener(1), &world.nobody(), "api.example");
    assert_eq!(get("acme.app.example", "/").on(&mut wire).status, 200, "of the certificate that was shown");
    assert_eq!(get("acme.elsewhere.example", "/").on(&mut wire).refusal(), "misdirected");
    eventually("each is counted", || {
        edge.metrics().sum("rhumb_refusals_total", &[("reason", "misdirected")]) == 5.0
    });
}

#[test]
fn a_stream_for_another_host_is_misdirected_and_the_others_of_its_connection_go_on() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("");
    let mut wire = H2::secured(edge.listener(1), "acme.app.example", &world.client(&of("acme")));
    // A stream whose body is still to come lasts longer than the one that is refused.
    let began = ask("POST", "acme.app.example", "/").head_for_h2("https");
    let mut upload = wire.begin(began, false);
    upload.give("the first half, ", false);
    let mut asked = ["globex.app.example", "acme.app.example", "api.example", "ACME.app.example"]
        .map(|host| wire.send(&get(host, "/")));
    let replies = asked.each_mut().map(|asked| asked.reply().unwrap());
    let statuses = replies.each_ref().map(|reply| reply.status);
    assert_eq!(statuses, [421, 200, 421, 200]);
    for reply in [&replies[0], &replies[2]] {
        assert_eq!((reply.refusal().as_str(), reply.reset), ("misdirected", None));
    }
    for reply in [&replies[1], &replies[3]] {
        assert_eq!(reply.seen("x-tenant-id").as_deref(), Some("acme"), "it comes as the client that it is");
    }
    upload.give("the second", true);
    assert_eq!(upload.reply().unwrap().status, 200);
    assert_eq!(wire.ask(&get("acme.app.example", "/")).status, 200, "the connection goes on");
    edge.counts("rhumb_refusals_total", &[("reason", "misdirected")], 2.0);
}

#[test]
fn without_client_certificates_a_connection_serves_every_host() {
    let world = world(BY_TEMPLATE);
    let edge = edge(&world.routing)
        .prepare(|folder| world.prepare(folder))
        .listener("tls.certificates = [{ chain = \"door.pem\", key = \"door.key\" }]")
        .start();
    let mut wire = secured(edge.listener(1), "acme.app.example", &world.nobody()).unwrap();
    for host in ["acme.app.example", "globex.app.example"] {
        assert_eq!(get(host, "/").on(&mut wire).status, 200, "{host}");
    }
}

#[test]
fn tl_08_a_session_is_resumed_only_where_it_was_made_and_as_the_client_that_made_it() {
    let world = world(BY_TEMPLATE);
    let others = Authority::new();
    let edge = edge(&world.routing)
        .prepare(|folder| {
            world.prepare(folder);
            folder.write("others.pem", others.pem());
        })
        .listener(DOOR)
        .listener(&DOOR.replace("clients.pem", "others.pem"))
        .start();
    let mut config = ClientConfig::clone(&world.client(&of("acme")));
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    let tenant_on = |wire: &mut Wire| get("api.example", "/").on(wire).seen("x-tenant-id");
    let (mut first, resumed) = session(edge.listener(1), "api.example", &config).unwrap();
    assert!(!resumed);
    assert_eq!(tenant_on(&mut first).as_deref(), Some("acme"));
    let (mut second, resumed) = session(edge.listener(1), "api.example", &config).unwrap();
    assert!(resumed, "a session can be resumed at all");
    assert_eq!(tenant_on(&mut second).as_deref(), Some("acme"), "and is still the same client's");
    // The other listener believes another authority: the ticket means nothing there, and the certificate is no good.
    let elsewhere = session(edge.listener(2), "api.example", &config);
    let served = elsewhere.is_ok_and(|(mut wire, resumed)| {
        assert!(!resumed);
        wire.try_send(&get("api.example", "/").bytes()) && wire.answer_to("GET").is_some()
    });
    assert!(!served);
    // Another name of the same listener is another handshake too.
    let (_, resumed) = session(edge.listener(1), "acme.app.example", &config).unwrap();
    assert!(!resumed);
    // The authorities change: what was let in by the old ones is judged anew.
    edge.folder().write("clients.pem", others.pem());
    eventually("the new authorities are in force", || !is_let_in(&edge, "api.example", &config));
}

#[test]
fn a_certificate_may_be_supposed_in_an_explanation() {
    let world = world(BY_TEMPLATE);
    let edge = world.edge("tls.client_auth = \"optional\"");
    let explained =
        |words: &[&str]| edge.rhumb(&[&["explain", "-o", "json", "--host", "api.example"], words].concat());
    let id = "spiffe://prod.example/tenant/acme";
    assert_eq!(explained(&["--certificate", id]).json()["tenant"], "acme");
    assert_eq!(explained(&["--certificate", "acme"]).json()["refusal"]["reason"], "tenant_missing");
    let wrong = explained(&["--certificate", "spiffe://prod.example//"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("is no SPIFFE id"), "{}", wrong.stderr);
}

//! Handshakes as no honest client makes them. Whatever comes of one, the next client is served.
//!
//! Each test is named after its row of the attack cases.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::{ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite};

use crate::harness::{
    Authority, Edge, End, Hello, PATIENCE, Routing, Says, Toy, client_config, edge, eventually, get, record,
    secured, toy, write_pair,
};

/// What a server says first: its hello, an alert of this description, or the end of the connection.
#[derive(Debug, PartialEq, Eq)]
enum First {
    Hello,
    Alert(u8),
    Closed,
}

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

struct World {
    eu: Toy,
    edge: Edge,
    authority: Authority,
}

fn world() -> World {
    world_with("header_timeout = \"10s\"")
}

fn world_with(limit: &str) -> World {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let authority = Authority::new();
    let edge = edge(&routing)
        .set("limits", limit)
        .prepare(|folder| {
            write_pair(folder.path(), "door", &authority.issue(&Says::names(&["one.example", "127.0.0.1"])));
        })
        .listener("tls.certificates = [{ chain = \"door.pem\", key = \"door.key\" }]")
        .start();
    World { eu, edge, authority }
}

impl World {
    fn door(&self) -> SocketAddr {
        self.edge.listener(1)
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.door()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn says_first(&self, bytes: &[u8]) -> First {
        let mut stream = self.raw();
        // It may hang up before it has all of it.
        let _ = stream.write_all(bytes);
        let mut head = [0; 7];
        match stream.read_exact(&mut head) {
            Err(_) => First::Closed,
            Ok(()) if head[0] == 21 => First::Alert(head[6]),
            Ok(()) if head[0] == 22 && head[5] == 2 => First::Hello,
            Ok(()) => panic!("neither hello nor alert: {head:?}"),
        }
    }

    /// An ordinary client is served, and the process has not grown.
    #[track_caller]
    fn is_well(&self) {
        let config = client_config(&self.authority, None);
        let mut wire = secured(self.door(), "one.example", &config).unwrap();
        assert_eq!(get("acme.app.example", "/").on(&mut wire).region(), "eu-west-1");
    }
}

#[test]
fn tl_01_weak_suites_and_versions_are_refused() {
    let world = world();
    for (what, suites) in [
        ("export", &[0x0003, 0x0006, 0x0008, 0x0014][..]),
        ("NULL", &[0x0000, 0x0001, 0x0002, 0x003b, 0xc006]),
        ("RC4", &[0x0004, 0x0005, 0xc007, 0xc011]),
        ("3DES", &[0x000a, 0xc008, 0xc012]),
        ("CBC", &[0x002f, 0x0035, 0x003c, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc027]),
        ("static RSA", &[0x009c, 0x009d]),
        ("anonymous", &[0x0018, 0x001b, 0xc018]),
    ] {
        let hello = Hello::of(suites).records(16_384);
        assert_eq!(world.says_first(&hello), First::Alert(HANDSHAKE_FAILURE), "{what}");
    }
    assert_eq!(
        world.says_first(&Hello::sound().records(16_384)),
        First::Hello,
        "the same hello with sound ones"
    );
    for (version, minor) in [("SSL 3", 0), ("TLS 1.0", 1), ("TLS 1.1", 2)] {
        let mut hello = Hello::sound().records(16_384);
        hello[10] = minor; // the second byte of the version in the message
        assert_eq!(world.says_first(&hello), First::Alert(PROTOCOL_VERSION), "{version}");
    }
    world.is_well();
}

#[test]
fn tl_02_a_client_does_not_negotiate_anew() {
    let world = world_with("header_timeout = \"3s\"");
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![
            rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        ..rustls::crypto::ring::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(world.authority.roots())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let mut stream = world.raw();
    let mut session =
        rustls::ClientConnection::new(Arc::new(config), "one.example".try_into().unwrap()).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    let Some(SupportedCipherSuite::Tls12(suite)) = session.negotiated_cipher_suite() else {
        panic!("no TLS 1.2");
    };
    let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else { panic!("another cipher") };
    let mut writer = suite.aead_alg.encrypter(key, iv.as_ref(), &[]);
    let hello = Hello::sound().message();
    let message = OutboundPlainMessage {
        typ: ContentType::Handshake,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&hello),
    };
    stream.write_all(&writer.encrypt(message, sequence).unwrap().encode()).unwrap();
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    // An alert, encrypted, and the end: never a handshake record, which would begin with 22.
    assert!(ended.is_ok() || said.is_empty(), "{ended:?}");
    let kinds: Vec<u8> = records(&said).map(|record| record[0]).collect();
    assert!(kinds.iter().all(|kind| *kind == 21), "{kinds:?}");
    world.is_well();
}

fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
        let (record, rest) = bytes.split_at_checked(5 + length)?;
        bytes = rest;
        Some(record)
    })
}

#[test]
fn tl_03_a_client_may_ask_for_any_name_or_none() {
    let world = world();
    let hello = |names: &[&[u8]]| Hello::sound().names(names).records(16_384);
    // By policy the first certificate is for whoever asks for no name that there is, as for whoever names none.
    assert_eq!(world.says_first(&Hello::sound().records(16_384)), First::Hello, "no name");
    assert_eq!(world.says_first(&hello(&[b"one.example"])), First::Hello);
    assert_eq!(world.says_first(&hello(&[b"nobody.example"])), First::Hello, "an unknown name");
    for (what, names) in [
        ("an address", &[&b"127.0.0.1"[..]][..]),
        ("an address of version 6", &[b"::1"]),
        ("too long a label", &[&[b'a'; 64]]),
        ("255 bytes", &[&[b'a'; 255]]),
        ("300 bytes", &[&[b'a'; 300]]),
        ("20,000 bytes", &[&[b'a'; 20_000]]),
        ("two names", &[b"one.example", b"two.example"]),
        ("the same name twice", &[b"one.example", b"one.example"]),
        ("an empty name", &[b""]),
        ("no name in the list", &[]),
        ("bytes that are no text", &[&[0xff, 0, 0x80]]),
        ("a line end", &[b"one.example\r\nX: y"]),
    ] {
        let said = world.says_first(&hello(names));
        assert!(matches!(said, First::Hello | First::Alert(_)), "{what}: {said:?}");
        world.is_well();
    }
    let twice = Hello::sound().names(&[b"one.example"]).names(&[b"two.example"]).records(16_384);
    assert!(matches!(world.says_first(&twice), First::Alert(_)), "the extension twice");
    world.is_well();
}

#[test]
fn tl_04_a_hello_may_come_in_small_records_and_not_in_a_large_message() {
    // All come from one address, so that limit is out of the way.
    let world = world_with("handshakes_per_address = 0");
    assert_eq!(
        world.says_first(&Hello::sound().names(&[b"one.example"]).records(1)),
        First::Hello,
        "byte by byte"
    );
    let many = (0..100).fold(Hello::sound(), |hello, n| hello.extension(0x5000 + n, vec![0; 10]));
    assert_eq!(world.says_first(&many.records(16_384)), First::Hello, "a hundred unknown extensions");
    let before = world.edge.figure("VmRSS");
    for _ in 0..50 {
        let huge = (0..4).fold(Hello::sound(), |hello, n| hello.extension(0x6000 + n, vec![0; 16_000]));
        let said = world.says_first(&huge.records(16_384));
        assert!(matches!(said, First::Hello | First::Alert(_) | First::Closed), "{said:?}");
    }
    // A message that announces 16 MiB is not waited for with as much room.
    let announced = [&[1, 0xff, 0xff, 0xff][..], &[0; 16_000]].concat();
    for _ in 0..50 {
        let said = world.says_first(&record(22, &announced).repeat(3));
        assert!(matches!(said, First::Alert(_) | First::Closed), "{said:?}");
    }
    let grown = world.edge.figure("VmRSS").saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    world.is_well();
}

#[test]
fn tl_05_a_client_that_agreed_on_http_1_and_speaks_http_2_is_refused() {
    let world = world();
    let mut config = ClientConfig::clone(&client_config(&world.authority, None));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut wire = secured(world.door(), "one.example", &Arc::new(config)).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let answer = wire.answer_to("GET");
    assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)));
    assert_eq!(world.eu.requests_seen(), 0);
    world.is_well();
}

#[test]
fn tl_09_what_is_no_tls_ends_the_connection_and_harms_nobody() {
    let world = world();
    let whole = Hello::sound().records(16_384);
    let wrong_length = |length: u16| {
        let mut hello = whole.clone();
        hello[3..5].copy_from_slice(&length.to_be_bytes());
        [hello, vec![0; 40_000]].concat()
    };
    for (what, bytes) in [
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n".to_vec()),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("an SSL 2 hello", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80]),
        ("zeros", vec![0; 1_000]),
        ("a record that is too long", wrong_length(0xffff)),
        ("a record just too long", wrong_length(18_433)),
        ("a record without content", record(22, b"")),
        ("content of another kind", record(23, b"hello")),
        ("an unknown kind", record(99, b"hello")),
        ("a message shorter than it says", {
            let mut hello = whole.clone();
            hello[8] = hello[8].wrapping_sub(9);
            hello
        }),
        ("an alert that ends it", record(21, &[2, 0])),
    ] {
        let mut stream = world.raw();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP/"), "{what}");
        assert!(!records(&said).any(|record| record[0] == 23), "{what}: application data");
        world.is_well();
    }
}

#[test]
fn tl_09_a_body_that_is_cut_without_a_word_is_no_whole_body() {
    let world = world();
    let config = client_config(&world.authority, None);
    for (what, rest) in [
        ("a length", "Content-Length: 10\r\n\r\nhalf"),
        ("chunks", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ] {
        let mut tcp = world.raw();
        let name = "one.example".try_into().unwrap();
        let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        let head =
            format!("POST /{what} HTTP/1.1\r\nHost: acme.app.example\r\nIdempotency-Key: {}\r\n", rest.len());
        let mut stream = rustls::Stream::new(&mut session, &mut tcp);
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        stream.flush().unwrap();
        // The end of the connection without a close_notify.
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        let _ = rustls::Stream::new(&mut session, &mut tcp).read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP/1.1 2"), "{what}: {}", String::from_utf8_lossy(&said));
    }
    world.is_well();
    assert_eq!(world.eu.writes_executed(), 0, "neither came whole");
}

#[test]
fn sl_05_a_handshake_that_stalls_meets_the_time_for_a_head() {
    // All come from one address, so that limit is out of the way.
    let world = world_with("header_timeout = \"2s\"\nhandshakes_per_address = 0");
    let hello = Hello::sound().records(16_384);
    let mut stalled: Vec<TcpStream> = Vec::new();
    for bytes in
        [&b""[..], &hello[..1], &hello[..5], &hello[..hello.len() / 2], &hello[..hello.len() - 1], &hello]
    {
        for _ in 0..20 {
            let mut stream = world.raw();
            stream.write_all(bytes).unwrap();
            stalled.push(stream);
        }
    }
    world.is_well();
    for mut stream in stalled {
        // It ends by itself: the read of the test would fail after its patience otherwise.
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    }
    let timed_out = || world.edge.metric("rhumb_limits_total", &[("limit", "handshake_timeout")]);
    eventually("each is counted", || timed_out() >= 120.0);
    eventually("none is left", || world.edge.metric("rhumb_connections", &[]) == 0.0);
    world.is_well();
}

#[test]
fn a_whole_answer_over_tls_ends_in_order() {
    let world = world();
    let mut wire = secured(world.door(), "one.example", &client_config(&world.authority, None)).unwrap();
    let answer = get("acme.app.example", "/").header("Connection", "close").on(&mut wire);
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    assert!(wire.is_over(), "with a close_notify: a cut would be an error");
}

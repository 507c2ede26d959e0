//! How a connection begins, or does not.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::harness::raw_frames::{DATA, END_STREAM, Frames, PREFACE, SETTINGS, Verdict, frame};
use crate::harness::{Authority, PATIENCE, Wire, client_config, eventually, get};
use crate::world::{HOST, World, request, world, world_with};

fn short() -> World {
    world_with(|edge| edge.set("limits", "header_timeout = \"2s\"").set("limits", "idle_timeout = \"1s\""))
}

#[test]
fn h2_19_a_preface_may_come_byte_by_byte() {
    let world = world();
    let mut frames = Frames::to(world.edge.listener(1));
    for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat() {
        frames.raw(&[byte]);
    }
    frames.head(1, &request("GET", "/"), true);
    assert_eq!(frames.verdict(1), Verdict::Answered(200));
    world.stays_well();
}

#[test]
fn h2_19_what_follows_a_preface_has_to_be_settings() {
    for rest in [
        b"GET / HTTP/1.1\r\nHost: t1.example.test\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0; 64],
        PREFACE.to_vec(),
        frame(DATA, END_STREAM, 1, b"hello"),
        frame(SETTINGS, 1, 0, &[]),
    ] {
        let world = world();
        let mut frames = Frames::to(world.edge.listener(1));
        frames.raw(&[PREFACE, &rest].concat());
        while frames.next().is_some() {}
        assert_eq!(world.eu.requests_seen(), 0, "{rest:?}");
        let refused = || world.edge.metric("rhumb_parse_errors_total", &[]);
        eventually(&format!("{rest:?} is counted"), || refused() >= 1.0);
        world.stays_well();
    }
}

#[test]
fn h2_19_a_preface_spoiled_at_its_end_is_refused() {
    let world = world();
    for spoiled in
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n--------------------"]
    {
        let mut wire = Wire::to(world.edge.listener(1));
        wire.send(spoiled);
        assert!(wire.answer_to("GET").is_none_or(|answer| answer.status == 400));
    }
    world.stays_well();
}

#[test]
fn h2_20_a_client_that_does_not_go_on_is_not_waited_for() {
    let world = short();
    let whole = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut held: Vec<Frames> = Vec::new();
    for part in [1, 10, PREFACE.len() - 1, PREFACE.len(), PREFACE.len() + 5, whole.len()] {
        let mut frames = Frames::to(world.edge.listener(1));
        frames.raw(&whole[..part]);
        held.push(frames);
    }
    for frames in &mut held {
        while frames.next().is_some() {}
    }
    eventually("all are gone", || world.edge.metric("rhumb_connections", &[]) == 0.0);
    world.stays_well();
}

#[test]
fn h2_20_who_never_acknowledges_settings_is_held_to_them_and_goes_when_idle() {
    let world = short();
    let mut frames = world.frames();
    let many: Vec<(&str, &str)> = (0..101).map(|_| ("x", "y")).collect();
    let fields = [request("GET", "/"), many].concat();
    frames.head(1, &fields, true);
    frames.head(3, &request("GET", "/"), true);
    let mut answered = 0;
    while let Some(frame) = frames.next() {
        answered += usize::from(frame.kind == crate::harness::raw_frames::HEADERS);
    }
    assert_eq!(answered, 2, "both were answered, and then the connection ended");
    assert_eq!(world.eu.requests_seen(), 1);
    world.stays_well();
}

fn agreed(
    world: &World,
    authority: &Authority,
    versions: &[&str],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = ClientConfig::clone(&client_config(authority, None));
    config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
    let mut tcp = TcpStream::connect(world.edge.listener(2)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("one.example").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    StreamOwned::new(session, tcp)
}

#[test]
fn tl_05_who_agreed_on_http1_cannot_begin_with_http2() {
    let authority = Authority::new();
    let world = world_with(|edge| {
        edge.prepare(|folder| authority.leaf_in(folder.path(), "one.example"))
            .listener("tls.certificates = [{ chain = \"one.example.pem\", key = \"one.example.key\" }]")
    });
    for versions in [&["http/1.1"][..], &[]] {
        let mut wire = Wire::over(agreed(&world, &authority, versions));
        wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        assert!(wire.answer_to("GET").is_none_or(|answer| answer.status == 400), "{versions:?}");
    }
    let mut other = Wire::over(agreed(&world, &authority, &["h2"]));
    let _ = other.try_send(&get(HOST, "/").bytes());
    assert!(other.answer_to("GET").is_none(), "and the other way round");
    assert_eq!(world.eu.requests_seen(), 0);
    world.stays_well();
}

//! Clients that ask for much and do not take it: together they hold no more than the edge gives them, and nobody else
//! notices.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{sleep, spawn};
use std::time::Duration;

use h2::Reason;
use h2::client::Builder;
use socket2::{Domain, Socket, Type};

use crate::harness::{Edge, EdgeBuilder, H2, PATIENCE, Routing, Toy, edge, eventually, get, toy};

/// So many ask, and do not take.
const CROWD: usize = 12;
/// What each of them asked for. It fits into no buffer on the way.
const LENGTH: usize = 3_000_000;
/// What may be held of all of them.
const MOST: f64 = 2.0 * 1024.0 * 1024.0;
/// Of those who do not take no more fit into that: each counts with more than the 384 KiB that may be on its way.
const HELD: f64 = 5.0;

/// A region that nobody asks how it is: only its answers tell.
fn world() -> (Toy, EdgeBuilder) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu])
        .region("eu-west-1", "health", r#"{ interval = "10m", fall = 2 }"#)
        .tenant("acme", r#"home = "eu-west-1""#);
    (eu, edge(&routing).set("limits", "buffered_bytes = \"2MiB\"").listener("h2c = true"))
}

fn broken_off(edge: &Edge) -> f64 {
    edge.metric("rhumb_limits_total", &[("limit", "buffered_bytes")])
}

fn buffered(edge: &Edge) -> f64 {
    edge.metric("rhumb_buffered_bytes", &[])
}

/// A connection whose system takes as little ahead as it can.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn asked(address: SocketAddr, length: usize) -> TcpStream {
    let mut stream = narrow(address);
    let ask =
        format!("GET /bytes?n={length} HTTP/1.1\r\nHost: acme.app.example\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    stream
}

/// Asks as an ordinary client does until enough of the others are broken off: it is always served.
fn served_until_there_is_room(edge: &Edge) {
    let crowd = CROWD as f64;
    eventually("those who do not take make room", || {
        assert_eq!(edge.get("acme.app.example", "/ordinary").status, 200);
        broken_off(edge) >= crowd - HELD && buffered(edge) <= MOST
    });
}

/// Nothing is left of the crowd, and the region has not suffered from it.
fn nothing_is_left(edge: &Edge) {
    eventually("nothing of them is held", || {
        buffered(edge) == 0.0 && edge.metric("rhumb_in_flight", &[]) == 0.0
    });
    assert_eq!(edge.get("acme.app.example", "/").region(), "eu-west-1");
    assert_eq!(edge.metric("rhumb_refusals_total", &[]), 0.0);
}

#[test]
fn a_crowd_that_does_not_take_its_answers_makes_room_and_one_that_takes_is_served() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let crowd: Vec<_> = (0..CROWD).map(|_| asked(edge.address(), LENGTH)).collect();
    let taken = spawn({
        let mut takes = asked(edge.address(), LENGTH / 4);
        move || {
            let (mut piece, mut came) = (vec![0; 64 * 1024], 0);
            while let Ok(read @ 1..) = takes.read(&mut piece) {
                came += read;
                sleep(Duration::from_millis(5));
            }
            came
        }
    });
    served_until_there_is_room(&edge);
    assert!(taken.join().unwrap() > LENGTH / 4, "a head and all of its body");
    // Whoever is broken off sees that it is: its connection is reset. The others get what they asked for.
    let mut reset = 0.0;
    for mut stream in crowd {
        let mut came = Vec::new();
        match stream.read_to_end(&mut came) {
            Ok(_) => assert!(came.len() > LENGTH, "a short answer looks whole"),
            Err(cause) => {
                assert_eq!(cause.kind(), ErrorKind::ConnectionReset);
                reset += 1.0;
            }
        }
        assert!(came.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(reset, broken_off(&edge));
    nothing_is_left(&edge);
}

#[test]
fn streams_that_nobody_takes_make_room_and_others_of_their_connection_go_on() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let mut builder = Builder::new();
    builder.initial_connection_window_size(64 << 20);
    let mut h2 = H2::built(edge.listener(1), &builder);
    let path = format!("/bytes?n={LENGTH}");
    let ask = get("acme.app.example", &path);
    let crowd: Vec<_> = (0..CROWD).map(|_| h2.send(&ask).head().unwrap()).collect();
    served_until_there_is_room(&edge);
    assert_eq!(h2.ask(&get("acme.app.example", "/ordinary")).answer.status, 200);
    let mut reset = 0.0;
    for stream in crowd {
        let reply = stream.rest();
        match reply.reset {
            None => assert_eq!(reply.answer.body.len(), LENGTH, "a short answer looks whole"),
            Some(reason) => {
                assert_eq!(reason, Reason::INTERNAL_ERROR);
                reset += 1.0;
            }
        }
    }
    assert_eq!(reset, broken_off(&edge));
    nothing_is_left(&edge);
}

#[test]
fn a_connection_that_ends_with_its_answers_untaken_leaves_nothing_behind() {
    let (_eu, edge) = world();
    let edge = edge.start();
    let crowd: Vec<_> = (0..2).map(|_| asked(edge.address(), LENGTH)).collect();
    eventually("they are waited for", || buffered(&edge) > 0.0);
    assert!(buffered(&edge) <= MOST);
    drop(crowd);
    nothing_is_left(&edge);
    assert_eq!(broken_off(&edge), 0.0, "there was room for both");
}

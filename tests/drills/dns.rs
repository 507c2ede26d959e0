//! Names: of nothing, of nobody who answers, of something else than before.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rhumb::lab::ToyRegion;

use crate::harness::{Edge, Routing, Toy, eventually, now, toy, toy_from};
use crate::load::{Event, Kind, Running};
use crate::told::{beside, row};
use crate::world::{FAST, LATITUDE, check, over, routing, usual};

/// The life of an answer, in seconds; no look-up comes sooner.
const LIFE: u32 = 1;

/// What the name server says of a host's IPv4 addresses.
#[derive(Clone)]
enum Says {
    /// These, which may bear other names.
    Records(Vec<(&'static str, Ipv4Addr)>),
    Code(ResponseCode),
    Silence,
}

/// A name server on loopback.
struct Names {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Names {
    fn saying(says: Says) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicU64::new(0)));
        let done = Arc::new(AtomicBool::new(false));
        let server = std::thread::spawn({
            let (says, asked, done) = (Arc::clone(&says), Arc::clone(&asked), Arc::clone(&done));
            move || serve(&socket, &says, &asked, &done)
        });
        Names { address, says, asked, done, server: Some(server) }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(socket: &UdpSocket, says: &Mutex<Says>, asked: &AtomicU64, done: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !done.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(query) = question.queries.first().cloned() else { continue };
        asked.fetch_add(1, Ordering::SeqCst);
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        match says.lock().unwrap().clone() {
            Says::Records(records) if query.query_type() == RecordType::A => {
                let records = records.into_iter().map(|(name, ip)| {
                    Record::from_rdata(Name::from_ascii(name).unwrap(), LIFE, RData::A(A(ip)))
                });
                answer.add_answers(records);
            }
            Says::Records(_) => {}
            Says::Code(code) => answer.metadata.response_code = code,
            Says::Silence => continue,
        }
        // A question whose asker is gone needs no answer.
        let _ = socket.send_to(&answer.to_vec().unwrap(), from);
    }
}

const NAME: &str = "eu.internal.";

fn at(ip: Ipv4Addr) -> Says {
    Says::Records(vec![(NAME, ip)])
}

/// Two places of one region at one port, a name server that names the first, and an edge that asks it.
struct World {
    old: Toy,
    new: Toy,
    us: Toy,
    names: Names,
    edge: Edge,
}

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

fn world() -> World {
    let old = toy_from(ToyRegion::new("eu-west-1").at((OLD, 0).into()));
    let port = old.address().port();
    let new = toy_from(ToyRegion::new("eu-west-1").at((NEW, port).into()));
    let us = toy("us-east-1");
    let names = Names::saying(at(OLD));
    let edge =
        over(&named(&old, &us, port)).set("dns", &format!("servers = [\"{}\"]", names.address)).start();
    World { old, new, us, names, edge }
}

fn named(eu: &Toy, us: &Toy, port: u16) -> Routing {
    routing(eu, us).every_region("health", FAST).region(
        "eu-west-1",
        "endpoints",
        &format!("[\"eu.internal:{port}\"]"),
    )
}

impl World {
    fn failing(&self) -> f64 {
        self.edge.metric("rhumb_names_failing", &[])
    }

    fn known(&self) -> Vec<IpAddr> {
        let region = self.edge.read("/v1/regions/eu-west-1");
        let endpoints = region["endpoints"].as_array().unwrap().clone();
        let address = |endpoint: &serde_json::Value| endpoint["address"].as_str()?.parse().ok();
        endpoints.iter().filter_map(address).map(|address: SocketAddr| address.ip()).collect()
    }

    /// Nobody noticed anything, and nothing was written in two places.
    #[track_caller]
    fn nobody_noticed(&self, load: Running) -> usize {
        let seen = load.stop();
        check(&seen, &[&self.old, &self.new, &self.us]);
        let failed = seen.failed(Kind::Read) + seen.failed(Kind::Write);
        assert_eq!(failed, 0, "{}; {}", seen.outcomes(Kind::Read), seen.outcomes(Kind::Write));
        seen.events.len()
    }
}

#[test]
fn drill_15_a_name_that_vanishes_keeps_its_last_good_address() {
    let _turn = beside();
    let world = world();
    let load = usual(&world.edge).start();
    world.names.says(Says::Code(ResponseCode::NXDomain));
    eventually("an alarm", || world.failing() == 1.0);
    load.until(100, "requests go on", Event::is_good);
    assert_eq!(world.known(), [IpAddr::from(OLD)]);
    world.edge.says("no_address");
    world.names.says(at(OLD));
    eventually("the alarm ends", || world.failing() == 0.0);
    let requests = world.nobody_noticed(load);
    row("15", "NXDOMAIN for an endpoint's name")
        .saw("requests", requests)
        .saw("failed", 0)
        .saw("alarm", "rhumb_names_failing 1, and a line of the log")
        .tell();
}

#[test]
fn drill_16_no_request_waits_for_a_name_server_that_fails_or_is_silent() {
    let _turn = beside();
    let world = world();
    let load = usual(&world.edge).start();
    world.names.says(Says::Code(ResponseCode::ServFail));
    eventually("an alarm", || world.failing() == 1.0);
    load.until(50, "requests go on", Event::is_good);
    let (asked, began) = (world.names.asked(), now());
    world.names.says(Says::Silence);
    eventually("a while passes", || began.elapsed() > Duration::from_secs(4));
    let questions = world.names.asked() - asked;
    // Two families, a few tries each, and a pause that doubles: a hammer would ask hundreds of times.
    assert!(questions <= 40, "{questions} questions in {:?}", began.elapsed());
    assert_eq!(world.known(), [IpAddr::from(OLD)]);
    let requests = world.nobody_noticed(load);
    row("16", "SERVFAIL, then silence of the name server")
        .saw("requests", requests)
        .saw("failed", 0)
        .saw("questions to the silent server in 4 s", questions)
        .tell();
}

#[test]
fn drill_17_a_new_address_is_used_and_what_is_empty_endless_or_of_another_name_is_not() {
    let _turn = beside();
    let world = world();
    let load = usual(&world.edge).start();
    let changed = now();
    world.names.says(at(NEW));
    eventually("the new address serves", || world.new.requests_seen() > 0 && world.known() == [NEW]);
    let took = changed.elapsed();
    let bound = Duration::from_secs(u64::from(LIFE)) + Duration::from_secs(2) + LATITUDE;
    assert!(took <= bound, "in use after {took:?}");
    // As many as fit one datagram here; what a server cuts off, it gives by TCP.
    let many = (0..70).map(|nth| (NAME, Ipv4Addr::new(127, 1, 0, nth)));
    world.names.says(Says::Records(std::iter::once((NAME, NEW)).chain(many).collect()));
    eventually("there are many", || world.known().len() > 1);
    let most = world.known().len();
    assert!(most <= 64, "{most} addresses");
    world.names.says(at(NEW));
    eventually("there is one", || world.known() == [NEW]);
    world.names.says(Says::Records(Vec::new()));
    eventually("an alarm", || world.failing() == 1.0);
    assert_eq!(world.known(), [NEW], "empty is no answer");
    let asked = world.names.asked();
    world.names.says(Says::Records(vec![("evil.internal.", OLD)]));
    eventually("it was asked again", || world.names.asked() >= asked + 4);
    assert_eq!(world.known(), [NEW], "a record of another name proves nothing");
    let requests = world.nobody_noticed(load);
    row("17", "the answer changes; has 71 records; is empty; names another host")
        .saw("requests", requests)
        .saw("failed", 0)
        .took("new address alone in use after", took)
        .saw("addresses kept of 71", most)
        .tell();
}

//! What the tests are told with: regions that do as they are scripted, an edge before them, a client of raw bytes.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rhumb_decision::draft::{Draft, EndpointDraft, RegionDraft, TenancyDraft, TenantRow};
use rhumb_decision::health::{EndpointView, HealthView, Passive, RegionView, Status};
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::policy::Policy;
use rhumb_decision::policy::Topology;
use rhumb_decision::table::{Address, Check, CheckKind, HostTemplate, RegionTls, Role, Source, Table};
use rhumb_decision::units::{Generation, Millis, Weight};
use rhumb_decision::{Snapshot, Weights};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use crate::certificates::known::KnownLeaves;
use crate::control::clock::Clock;
use crate::control::live::{Live, LiveRegion};
use crate::control::news::Newsdesk;
use crate::control::operator::Operator;
use crate::control::outcome::{Outcome, Outcomes};
use crate::control::snapshot::{self, Current, Operators};
use crate::handover::Inherited;
use crate::proxy::server::{Door, Leaving, Parts, serve};
use crate::settings::Settings;
use crate::telemetry::Recorder;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The endpoint of a region that has none of its own; its checks say it is down.
const DOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// What a region does with one request.
#[derive(Clone)]
pub enum Act {
    /// Sends these bytes; keeps the connection when told so.
    Say(&'static str, After),
    /// Closes without a word.
    HangUp,
    /// Sends these bytes, then resets the connection.
    Reset(&'static str),
    /// Says nothing until the client leaves.
    Wait,
    /// Says [`FINE`] once the test is there too.
    Late(Arc<Barrier>),
}

/// What becomes of a region's connection after its answer.
#[derive(Clone, Copy, PartialEq)]
pub enum After {
    Keep,
    Close,
}

/// A plain good answer that says `text`.
pub const FINE: Act = Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", After::Keep);

/// A region of one endpoint that follows its script, and then says [`FINE`].
pub struct ToyRegion {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl ToyRegion {
    pub fn start(script: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.to_vec()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                std::thread::spawn(move || talk(stream, &log, &script));
            }
        });
        Self { address, seen }
    }

    /// The requests it was sent, heads and bodies, in order.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that it was sent.
    pub fn only(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.into_iter().next().unwrap()
    }
}

fn talk(mut stream: TcpStream, log: &Mutex<Vec<String>>, script: &Mutex<Vec<Act>>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while let Some(request) = read_message(&mut stream) {
        log.lock().unwrap().push(request);
        let act = {
            let mut script = script.lock().unwrap();
            if script.is_empty() { FINE } else { script.remove(0) }
        };
        match act {
            Act::Say(bytes, after) => {
                let _ = stream.write_all(bytes.as_bytes());
                if after == After::Close {
                    return;
                }
            }
            Act::HangUp => return,
            Act::Reset(bytes) => {
                let _ = stream.write_all(bytes.as_bytes());
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Act::Late(barrier) => {
                barrier.wait();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
            }
            Act::Wait => {
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        }
    }
}

/// One message with its body, by Content-Length or chunks; `None` at the end of the connection.
pub fn read_message(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = field(&text, "content-length").and_then(|length| length.parse::<usize>().ok());
    if let Some(length) = length {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        bytes.extend(body);
    } else if text.contains("transfer-encoding: chunked") {
        while !bytes.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of a field in a message; the name in lower case finds every spelling.
pub fn field<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The body of a message.
pub fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Waits until `holds` is true.
pub fn until(holds: impl Fn() -> bool) {
    let clock = Clock::system();
    while !holds() {
        assert!(clock.elapsed() < PATIENCE, "waited in vain");
        std::thread::yield_now();
    }
}

/// A port where nobody listens.
pub fn nobody() -> SocketAddr {
    // Bound for as long as the tests run, so that nobody else gets the port, and not listening.
    let port = Box::leak(Box::new(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()));
    port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    port.local_addr().unwrap().as_socket().unwrap()
}

/// An edge in region `eu` before the regions `eu` and `us`; tenant `acme` is at home in `us`, with a copy in `eu`.
pub struct Plan {
    pub eu: Vec<SocketAddr>,
    pub us: Vec<SocketAddr>,
    pub policy: Policy,
    pub settings: &'static str,
    pub max_in_flight: Option<u32>,
    pub tls: Option<RegionTls>,
    /// Endpoints that were ejected and may be tried.
    pub on_trial: Vec<SocketAddr>,
}

impl Plan {
    pub fn new(eu: &[SocketAddr], us: &[SocketAddr]) -> Self {
        let policy = Topology::SingleWriter.preset();
        Self {
            eu: eu.to_vec(),
            us: us.to_vec(),
            policy,
            settings: "",
            max_in_flight: None,
            tls: None,
            on_trial: Vec::new(),
        }
    }

    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub fn settings(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }

    pub fn start(self) -> Edge {
        let table = Arc::new(self.table());
        let current = current(&table, &self.on_trial);
        let (publisher, reader) = snapshot::channel(current);
        let (outcomes, told) = Outcomes::channel(64);
        let settings = format!(
            "[edge]\nregion = \"eu\"\nid = \"edge-1\"\nthreads = 1\n{}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [table]\npath = \"routing.toml\"\n",
            self.settings
        );
        let settings = Settings::parse("rhumb.toml".as_ref(), settings, "host").unwrap();
        let door = Door::open(
            &settings.edge,
            &settings.listeners,
            &settings.limits,
            &settings.trust,
            &mut Inherited::default(),
        )
        .unwrap();
        door.listen().unwrap();
        let addresses = door.addresses();
        let address = addresses[addresses.len() - 1];
        let clock = Clock::system();
        let recorder = Recorder::new(clock.wall());
        let known = KnownLeaves::default();
        let parts = Parts {
            reader,
            clock,
            recorder: recorder.clone(),
            outcomes,
            known,
            signing: None,
            believed: None,
            // Nobody takes news here.
            newsdesk: Newsdesk::new(Operator::channel().0),
            pins: None,
            sampling: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (over, left) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _publisher = publisher;
            let stop = async {
                drop(stopped.await);
                Leaving::AtOnce
            };
            let cut_off = serve(door, parts, stop).unwrap();
            let _ = over.send(cut_off);
        });
        Edge { address, addresses, recorder, told, stop: Some(stop), left, thread: Some(thread) }
    }

    fn table(&self) -> Table {
        let region = |addresses: &[SocketAddr]| RegionDraft {
            jurisdiction: "anywhere".into(),
            role: Role::Active,
            weight: Weight::FULL,
            near: None,
            countries: Vec::new(),
            capacity: None,
            max_in_flight: self.max_in_flight,
            gateway: false,
            check: Check {
                kind: CheckKind::Tcp,
                interval: Millis(2_000),
                timeout: Millis(1_000),
                rise: 2,
                fall: 3,
            },
            tls: self.tls.clone(),
            http2: false,
            cells: Default::default(),
            endpoints: if addresses.is_empty() { &[DOWN] } else { addresses }
                .iter()
                .map(|address| EndpointDraft {
                    address: Address::Socket(*address),
                    zone: None,
                    cell: None,
                    weight: 1,
                })
                .collect(),
        };
        let draft = Draft {
            tenancy: TenancyDraft {
                from: vec![
                    Source::Host(HostTemplate { before: "".into(), after: ".app.example".into() }),
                    Source::Header("x-tenant-id".into()),
                ],
                ..TenancyDraft::default()
            },
            regions: [("eu".to_owned(), region(&self.eu)), ("us".to_owned(), region(&self.us))].into(),
            policies: [("default".to_owned(), self.policy.clone())].into(),
            ..Draft::default()
        };
        let (mut builder, faults) = draft.build();
        assert!(faults.is_empty(), "{faults:?}");
        let acme = TenantRow { id: "acme", home: "us", replicas: "eu", epoch: "7", ..TenantRow::default() };
        builder.tenant(&acme, 0).unwrap();
        builder.finish().unwrap_or_else(|_| unreachable!("one tenant"))
    }
}

fn current(table: &Arc<Table>, on_trial: &[SocketAddr]) -> Current {
    let view = |region: &rhumb_decision::table::Region| RegionView {
        endpoints: region
            .endpoints
            .iter()
            .filter_map(|endpoint| match endpoint.address {
                Address::Socket(address) => Some(EndpointView {
                    address,
                    declared: 0,
                    zone: None,
                    cell: None,
                    weight: 1,
                    checked: if address == DOWN { Status::Down } else { Status::Up },
                    capabilities: Box::default(),
                    passive: if on_trial.contains(&address) { Passive::OnTrial(1) } else { Passive::Trusted },
                }),
                _ => None,
            })
            .collect(),
        ..RegionView::default()
    };
    let health = HealthView { regions: table.regions().iter().map(view).collect() };
    let live = health.regions.iter().map(|region| LiveRegion {
        counts: Arc::default(),
        endpoints: region.endpoints.iter().map(|_| Arc::default()).collect(),
    });
    let live = Live { regions: live.collect(), ..Live::default() };
    let weights = Weights::configured(table);
    let snapshot = Snapshot::new(Generation(1), Arc::clone(table), health, Ownerships::default(), weights);
    Current { snapshot, live, origin: Arc::default(), operators: Operators::default() }
}

/// A running edge; stops when dropped.
pub struct Edge {
    /// The plain listener.
    pub address: SocketAddr,
    /// All listeners, the plain one last.
    pub addresses: Vec<SocketAddr>,
    pub recorder: Recorder,
    pub told: tokio::sync::mpsc::Receiver<Outcome>,
    stop: Option<oneshot::Sender<()>>,
    left: mpsc::Receiver<usize>,
    thread: Option<JoinHandle<()>>,
}

impl Edge {
    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream }
    }

    /// Sends these bytes on a connection of their own and reads one response.
    pub fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request);
        client.response().unwrap()
    }

    /// Asks the edge to stop, without waiting.
    pub fn begin_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits for the edge to stop; how many requests it cut off.
    pub fn stopped(&self) -> usize {
        self.left.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.begin_to_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

/// A client of raw bytes.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    pub fn response(&mut self) -> Option<String> {
        read_message(&mut self.stream)
    }

    /// Everything until the end of the connection, in whatever way it ends.
    pub fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let _ = self.stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// A request of tenant `acme`, without a body.
pub fn request(method: &str, fields: &str) -> String {
    format!("{method} /v1/cases?x=1 HTTP/1.1\r\nHost: acme.app.example\r\n{fields}\r\n")
}

/// A read.
pub fn get() -> String {
    request("GET", "")
}

/// A write with a small body.
pub fn post(fields: &str) -> String {
    format!("{}body", request("POST", &format!("Content-Length: 4\r\n{fields}")))
}

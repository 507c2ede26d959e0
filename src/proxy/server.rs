//! Listeners, threads and the graceful stop.
//!
//! Each thread runs a scheduler of its own and accepts for itself, so a connection never changes threads. Pingora's
//! own server is not used: it binds while it runs, panics where it cannot, and sleeps its grace period to the end.
//!
//! Never: runs without a door. Whatever can be wrong with addresses and certificates is told by [`Door::open`].

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use pingora::connectors::TransportConnector;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use rhumb_decision::spiffe::Pattern;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::certificates::known::KnownLeaves;
use crate::certificates::listener::CertificateStore;
use crate::control::clock::Clock;
use crate::control::news::Newsdesk;
use crate::control::outcome::Outcomes;
use crate::control::snapshot::Reader;
use crate::handover::Inherited;
use crate::keys::KeyStore;
use crate::proxy::accept::Entrance;
use crate::proxy::arrival::Arrival;
use crate::proxy::backlog::Backlogs;
use crate::proxy::connection::Conversation;
use crate::proxy::country::Countries;
use crate::proxy::gate::GateLimits;
use crate::proxy::gateway::Gateway;
use crate::proxy::handshakes::Handshakes;
use crate::proxy::headers::via::via;
use crate::proxy::held::Holds;
use crate::proxy::limits::{Connections, Requests};
use crate::proxy::pace::Demand;
use crate::proxy::prepared::Cache;
use crate::proxy::repeats::Repeats;
use crate::proxy::rhumb::Rhumb;
use crate::settings::{Edge, Limits, Listener, Trust};
use crate::telemetry::{Recorder, Sampling};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long a client that waits for nothing may take to come with a request, whose answer tells it that the connection
/// ends. Closing at once would meet some request on its way.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Kept connections to regions, for each thread.
const KEPT_CONNECTIONS: usize = 512;
/// More attempts than any policy can ask for: policies end them, not Pingora.
const MOST_ATTEMPTS: usize = 1_000;
/// What the HTTP parser behind the gate can take.
const PARSER_FIELDS: usize = 256;
const PARSER_BYTES: usize = 1024 * 1024;

/// Everything that listeners need, bound and read.
pub struct Door {
    listeners: Vec<Listening>,
    countries: Countries,
    edge: Edge,
    limits: Limits,
    trust: Trust,
}

struct Listening {
    socket: TcpListener,
    /// As the settings name it: port 0 is still 0.
    named: SocketAddr,
    address: SocketAddr,
    certificates: Option<Arc<CertificateStore>>,
    h2c: bool,
    proxy_protocol: bool,
}

/// What the proxy takes from control and telemetry.
pub struct Parts {
    /// Reads the snapshot in force.
    pub reader: Reader,
    /// Tells the time.
    pub clock: Clock,
    /// Counts and logs.
    pub recorder: Recorder,
    /// Reports endpoints that failed.
    pub outcomes: Outcomes,
    /// The leaves of regions that proved their id.
    pub known: KnownLeaves,
    /// Signs what is sent to regions; `None`: nothing is signed.
    pub signing: Option<Arc<KeyStore>>,
    /// Whom a gateway believes; `None`: this process is an edge.
    pub believed: Option<Believed>,
    /// Where ownership is told of that is newer than what is known here.
    pub newsdesk: Newsdesk,
    /// Signs the pins of clients that wrote; `None`: they get none.
    pub pins: Option<Arc<KeyStore>>,
    /// Which traces that begin here are recorded; `None`: nothing is recorded.
    pub sampling: Option<Sampling>,
}

/// Whom a gateway believes.
pub struct Believed {
    /// Edges of these ids.
    pub edges: Vec<Pattern>,
    /// Edges that sign with one of these.
    pub keys: Option<Arc<KeyStore>>,
}

impl Door {
    /// Binds every listener and reads every certificate and database. Clients are refused until [`Door::listen`].
    ///
    /// - `inherited`: sockets of a process whose place this one takes; they listen already, and are not bound again.
    ///
    /// # Errors
    /// Everything that is wrong, each with its listener or file and the reason.
    pub fn open(
        edge: &Edge,
        listeners: &[Listener],
        limits: &Limits,
        trust: &Trust,
        inherited: &mut Inherited,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut opened = Vec::new();
        for listener in listeners {
            match listen(listener, inherited) {
                Ok(listening) => opened.push(listening),
                Err(told) => problems.extend(told),
            }
        }
        let countries = Countries::open(trust).map_err(|told| problems.push(told));
        // Pingora panics over system certificates that it cannot read.
        if std::panic::catch_unwind(|| drop(TransportConnector::new(None))).is_err() {
            problems.push(
                "the system's certificates cannot be read; see SSL_CERT_FILE and SSL_CERT_DIR".to_owned(),
            );
        }
        match countries {
            Ok(countries) if problems.is_empty() => Ok(Self {
                listeners: opened,
                countries,
                edge: edge.clone(),
                limits: limits.clone(),
                trust: trust.clone(),
            }),
            _ => Err(problems),
        }
    }

    /// Lets clients in: from now on they wait for [`serve`].
    ///
    /// # Errors
    /// Somebody else listens there by now.
    pub fn listen(&self) -> Result<(), String> {
        self.listeners.iter().try_for_each(|listening| {
            let listened = SockRef::from(&listening.socket).listen(BACKLOG);
            listened.map_err(|cause| format!("listener {}: cannot listen: {cause}", listening.address))
        })
    }

    /// Where clients are taken, with the ports that were free where the settings name port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listening| listening.address).collect()
    }

    /// The listening sockets once more, by the address that the settings name.
    ///
    /// # Errors
    /// The process has no room for further files.
    pub fn sockets(&self) -> std::io::Result<Vec<(SocketAddr, TcpListener)>> {
        self.listeners.iter().map(|each| Ok((each.named, each.socket.try_clone()?))).collect()
    }

    /// The certificates of all TLS listeners, to be read again on a signal.
    #[must_use]
    pub fn certificates(&self) -> Vec<Arc<CertificateStore>> {
        self.listeners.iter().filter_map(|listening| listening.certificates.clone()).collect()
    }
}

fn listen(listener: &Listener, inherited: &mut Inherited) -> Result<Listening, Vec<String>> {
    let place = |told: String| format!("listener {}: {told}", listener.address);
    let certificates = listener.tls.as_ref().map(CertificateStore::open).transpose();
    let socket = match inherited.take(listener.address) {
        Some(socket) => at_hand(socket),
        None => bind(listener.address),
    };
    let socket = socket.map_err(|cause| place(format!("cannot listen: {cause}")));
    match (certificates, socket) {
        (Ok(certificates), Ok((socket, address))) => {
            let (h2c, proxy_protocol) = (listener.h2c, listener.proxy_protocol);
            let certificates = certificates.map(Arc::new);
            let named = listener.address;
            Ok(Listening { socket, named, address, certificates, h2c, proxy_protocol })
        }
        (certificates, socket) => {
            let told = certificates.err().into_iter().flatten().map(place);
            Err(told.chain(socket.err()).collect())
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && !address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    at_hand(TcpListener::from(socket))
}

fn at_hand(listener: TcpListener) -> std::io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// How the process leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// It was told to stop: clients that wait for nothing are let go at once.
    AtOnce,
    /// Another process accepts in its place: there is time to tell clients with their next answer.
    Replaced,
}

/// Takes requests until `stop` is over, and then waits for those under way, for the drain timeout at the longest.
///
/// Blocks the thread; what else a process does runs on threads of its own. Returns how many requests were cut off.
///
/// # Errors
/// The system gives no threads, timers or polls.
pub fn serve(door: Door, parts: Parts, stop: impl Future<Output = Leaving>) -> std::io::Result<usize> {
    let threads = match door.edge.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let drain_timeout = door.limits.drain_timeout;
    let listeners = door.listeners.iter().map(|listening| listening.socket.try_clone());
    let sockets: Vec<TcpListener> = listeners.collect::<Result<_, _>>()?;
    let connections = Connections::new(door.limits.connections, door.limits.connections_per_address);
    let handshakes = Arc::new(Handshakes::new(door.limits.handshakes_per_address));
    let backlogs = Backlogs::new(door.limits.buffered_bytes, parts.recorder.buffered_bytes());
    let proxies: Arc<[IpNet]> = door.trust.proxies.as_slice().into();
    let arrival = |listening: &Listening| Arrival {
        certificates: listening.certificates.clone(),
        h2c: listening.h2c,
        announcers: if listening.proxy_protocol { Arc::clone(&proxies) } else { Arc::default() },
        proxies: Arc::clone(&proxies),
        connections: Arc::clone(&connections),
        handshakes: Arc::clone(&handshakes),
        backlogs: Arc::clone(&backlogs),
        clock: parts.clock.clone(),
        recorder: parts.recorder.clone(),
        timeout: door.limits.header_timeout,
        demand: Demand { within: door.limits.idle_timeout, least: door.limits.min_progress },
    };
    let arrivals: Vec<Arc<Arrival>> = door.listeners.iter().map(|one| Arc::new(arrival(one))).collect();
    let closing_flag = Arc::new(AtomicBool::new(false));
    let conversation = Arc::new(conversation(door, parts, threads, &closing_flag));
    let requests = Arc::clone(&conversation.requests);

    let here = Builder::new_current_thread().enable_all().build()?;
    let (closing, is_closing) = watch::channel(false);
    let (leaving, is_leaving) = watch::channel(false);
    let (over, is_over) = watch::channel(false);
    let mut workers = Vec::with_capacity(threads);
    for number in 0..threads {
        let sockets = sockets.iter().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>()?;
        let entrances = sockets.into_iter().zip(&arrivals).map(|(socket, arrival)| Entrance {
            socket,
            arrival: Arc::clone(arrival),
            conversation: Arc::clone(&conversation),
            is_closing: is_closing.clone(),
            is_leaving: is_leaving.clone(),
            is_over: is_over.clone(),
            told_at: None,
        });
        let entrances: Vec<Entrance> = entrances.collect();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let is_over = is_over.clone();
        let work = move || runtime.block_on(accept_all(entrances, is_over));
        workers.push(std::thread::Builder::new().name(format!("rhumb-{number}")).spawn(work)?);
    }
    drop((sockets, conversation));

    let leave = async move {
        let how = stop.await;
        closing_flag.store(true, Ordering::Relaxed);
        closing.send_replace(true);
        let mut patience = drain_timeout;
        if how == Leaving::Replaced {
            let began = tokio::time::Instant::now();
            connections.wait(drain_timeout.min(LAST_ANSWER)).await;
            patience = patience.saturating_sub(began.elapsed());
        }
        leaving.send_replace(true);
        let left = requests.wait(patience).await;
        over.send_replace(true);
        left
    };
    let left = here.block_on(async {
        tokio::select! {
            left = leave => left,
            never = backlogs.keep() => match never {},
        }
    });
    for worker in workers {
        if worker.join().is_err() {
            tracing::error!("a thread broke off");
        }
    }
    Ok(left)
}

/// Accepts on one thread until all is over. A thread that has nothing left to do stays: the connections to regions
/// that began on it live by its scheduler, and requests of other threads travel over them.
async fn accept_all(entrances: Vec<Entrance>, mut is_over: watch::Receiver<bool>) {
    let mut all = JoinSet::new();
    for entrance in entrances {
        all.spawn(entrance.accept());
    }
    while all.join_next().await.is_some() {}
    let _ = is_over.wait_for(|over| *over).await;
}

fn conversation(door: Door, parts: Parts, threads: usize, closing: &Arc<AtomicBool>) -> Conversation {
    // Pingora would do the same with its own choice; ours comes first. An earlier choice of ours stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conf = ServerConf {
        threads,
        work_stealing: false,
        // No more of them in all than clients may have: files are shared by both sides.
        upstream_keepalive_pool_size: KEPT_CONNECTIONS.min(door.limits.connections / threads.max(1)).max(1),
        max_retries: MOST_ATTEMPTS,
        ..ServerConf::default()
    };
    let limits = &door.limits;
    let gate = GateLimits {
        header_bytes: bytes(limits.header_bytes).min(PARSER_BYTES),
        header_count: limits.header_count.min(PARSER_FIELDS),
        uri_bytes: bytes(limits.uri_bytes).min(PARSER_BYTES),
        body_bytes: limits.body_bytes,
        encoded_slash: limits.encoded_slash.into(),
    };
    let (header_timeout, idle_timeout, streams) =
        (limits.header_timeout, limits.idle_timeout, limits.streams);
    let most_requests = NonZeroUsize::new(limits.requests_per_connection);
    let region: Box<str> = door.edge.region.as_str().into();
    let Parts { reader, clock, recorder, outcomes, known, signing, believed, newsdesk, pins, sampling } =
        parts;
    let holds = Holds::new(door.limits.held_writes);
    let rhumb = Rhumb {
        reader: reader.clone(),
        clock: clock.clone(),
        recorder: recorder.clone(),
        outcomes,
        cache: Cache::new(&region, known),
        via: HeaderValue::from_str(&via(std::iter::empty(), false, door.edge.id.as_str()))
            .unwrap_or(HeaderValue::from_static("1.1 rhumb")),
        edge: door.edge,
        limits: door.limits,
        proxies: door.trust.proxies.into(),
        countries: door.countries,
        gateway: believed.map(|believed| Gateway::new(&believed.edges, believed.keys)),
        newsdesk,
        signing,
        pins,
        repeats: Repeats::new(),
        sampling,
        closing: Arc::clone(closing),
        holds,
    };
    let proxy = Arc::new(http_proxy(&Arc::new(conf), rhumb));
    let requests = Arc::new(Requests::default());
    Conversation {
        proxy,
        reader,
        clock,
        recorder,
        region,
        gate,
        header_timeout,
        idle_timeout,
        most_requests,
        streams,
        requests,
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::io::ErrorKind;
    use std::net::TcpStream;

    #[test]
    fn clients_are_refused_until_the_door_listens() {
        let text =
            "[edge]\nregion = \"eu\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[table]\npath = \"t.toml\"\n";
        let settings = Settings::parse("rhumb.toml".as_ref(), text, "host").unwrap();
        let door = Door::open(
            &settings.edge,
            &settings.listeners,
            &settings.limits,
            &settings.trust,
            &mut Inherited::default(),
        )
        .unwrap();
        let address = door.addresses()[0];
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        door.listen().unwrap();
        assert!(TcpStream::connect(address).is_ok());
    }
}

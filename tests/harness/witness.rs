//! A region that keeps every byte that a connection brought it, over TLS or in the clear.
//!
//! It answers each request with its echo, so that it can serve as a region. What it was sent before that counts too: a
//! test can hold that nothing came at all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::{Authority, certified, server_showing};
use super::region::Place;
use super::wait::PATIENCE;

/// A region that runs for as long as the test's process.
pub struct Witness {
    name: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    /// Whether each answer ends its connection.
    closes: bool,
    /// What is said instead of an answer, after which the connection ends without a word.
    cut: Mutex<Option<Vec<u8>>>,
    brought: Mutex<Vec<u8>>,
    requests: AtomicUsize,
    handshakes: AtomicUsize,
}

/// What a witness shows; it may be changed at any time.
#[derive(Debug)]
pub struct Shown(Mutex<Arc<CertifiedKey>>);

impl Shown {
    /// Shows this pair.
    pub fn new(pair: &(String, String)) -> Arc<Shown> {
        Arc::new(Shown(Mutex::new(Arc::new(certified(pair)))))
    }

    /// Shows this pair from now on.
    pub fn change(&self, pair: &(String, String)) {
        *self.0.lock().unwrap() = Arc::new(certified(pair));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

impl Witness {
    /// Over TLS, showing what `shown` says; `clients`: whose clients it takes, and no others.
    pub fn over_tls(name: &str, shown: &Arc<Shown>, clients: Option<&Authority>) -> Witness {
        let shown: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(shown);
        Self::start(name, Some(server_showing(shown, clients)), false)
    }

    /// The same, and each answer ends its connection, so that the next request needs another.
    pub fn closing(name: &str, shown: &Arc<Shown>) -> Witness {
        let shown: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(shown);
        Self::start(name, Some(server_showing(shown, None)), true)
    }

    /// In the clear.
    pub fn plain(name: &str) -> Witness {
        Self::start(name, None, false)
    }

    fn start(name: &str, tls: Option<Arc<ServerConfig>>, closes: bool) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            closes,
            cut: Mutex::default(),
            brought: Mutex::default(),
            requests: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                std::thread::spawn(move || shared.connection(stream, tls));
            }
        });
        Witness { name: name.to_owned(), address, shared }
    }

    /// Says `bytes` to every request from now on and cuts the connection, over TLS without a `close_notify`.
    pub fn cuts_after(&self, bytes: &[u8]) {
        *self.shared.cut.lock().unwrap() = Some(bytes.to_vec());
    }

    /// Every byte that it could read, of all connections.
    pub fn brought(&self) -> String {
        String::from_utf8_lossy(&self.shared.brought.lock().unwrap()).into_owned()
    }

    /// Requests that it answered, checks included.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// TLS sessions that were made.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(config) = tls else { return self.serve(stream) };
        let (mut stream, mut session) = (stream, ServerConnection::new(config).unwrap());
        while session.is_handshaking() {
            if session.complete_io(&mut stream).is_err() {
                return;
            }
        }
        self.handshakes.fetch_add(1, Ordering::SeqCst);
        self.serve(StreamOwned::new(session, stream));
    }

    fn serve(&self, mut stream: impl Read + Write) {
        let mut head = Vec::new();
        let mut some = [0; 4096];
        loop {
            match stream.read(&mut some) {
                Ok(read @ 1..) => {
                    self.brought.lock().unwrap().extend_from_slice(&some[..read]);
                    head.extend_from_slice(&some[..read]);
                }
                _ => return,
            }
            // As any server in the clear does to what is no HTTP.
            if head[0] == 22 {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            if !head.windows(4).any(|four| four == b"\r\n\r\n") {
                continue;
            }
            head.clear();
            self.requests.fetch_add(1, Ordering::SeqCst);
            if let Some(bytes) = &*self.cut.lock().unwrap() {
                let _ = stream.write_all(bytes).and_then(|()| stream.flush());
                return;
            }
            let body = format!("{{\"region\":\"{}\"}}", self.name);
            let close = if self.closes { "Connection: close\r\n" } else { "" };
            let answer = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() || self.closes {
                return;
            }
        }
    }
}

impl Place for Witness {
    fn called(&self) -> String {
        self.name.clone()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }
}

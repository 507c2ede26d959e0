//! A region that records: the raw bytes of every connection, each request taken apart, every write counted.
//!
//! Health is checked by connecting alone, so whatever a connection brings is a client's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::request::{Begin, Request, begin};

/// A region of two.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    seen: Mutex<Vec<Seen>>,
    /// What connections hold that is no whole request yet, by connection.
    parts: Mutex<Vec<Vec<u8>>>,
    live: AtomicUsize,
    over: AtomicBool,
}

/// What came on a connection.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request, or what there was of one.
    pub what: What,
}

/// A request, or what there was of one when its connection ended or made no sense.
#[derive(Clone, Debug)]
pub enum What {
    /// To its last byte.
    Whole(Request),
    /// Cut off by the end of its connection.
    Cut(Vec<u8>),
    /// Bytes that are no request, and why.
    Broken(Vec<u8>, String),
}

impl What {
    /// The bytes.
    pub fn raw(&self) -> &[u8] {
        match self {
            What::Whole(request) => &request.raw,
            What::Cut(raw) | What::Broken(raw, _) => raw,
        }
    }
}

impl Origin {
    /// Starts one on a free port.
    pub fn start(name: &'static str) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name,
            seen: Mutex::default(),
            parts: Mutex::default(),
            live: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if serving.over.load(SeqCst) {
                    return;
                }
                serving.live.fetch_add(1, SeqCst);
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || {
                    serving.serve(stream);
                    serving.live.fetch_sub(1, SeqCst);
                });
            }
        });
        Origin { address, shared }
    }

    /// How many requests, whole or not, have come so far.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// What came after the first `count`, and what has begun to come.
    pub fn since(&self, count: usize) -> Vec<Seen> {
        let mut seen = self.shared.seen.lock().unwrap()[count..].to_vec();
        let parts = self.shared.parts.lock().unwrap();
        let begun = parts.iter().filter(|part| !part.is_empty());
        seen.extend(begun.map(|part| Seen { what: What::Broken(part.clone(), "still coming".to_owned()) }));
        seen
    }

    /// How many connections are open.
    pub fn live(&self) -> usize {
        self.shared.live.load(SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut number = None;
        let mut held = Vec::new();
        let mut some = vec![0; 64 * 1024];
        let broken = loop {
            let _ = stream.set_nodelay(true);
            let read = match stream.read(&mut some) {
                Ok(0) | Err(_) => break None,
                Ok(read) => read,
            };
            let connection = *number.get_or_insert_with(|| {
                let mut parts = self.parts.lock().unwrap();
                parts.push(Vec::new());
                parts.len() - 1
            });
            held.extend_from_slice(&some[..read]);
            let outcome = self.take(connection, &mut held, &mut stream);
            self.parts.lock().unwrap()[connection].clone_from(&held);
            if let Err(why) = outcome {
                break Some(why);
            }
        };
        let Some(connection) = number else { return };
        self.parts.lock().unwrap()[connection].clear();
        if !held.is_empty() {
            let what = match broken {
                Some(why) => What::Broken(held, why),
                None => What::Cut(held),
            };
            self.seen.lock().unwrap().push(Seen { what });
        }
    }

    /// Takes whole requests off what came, and answers each.
    fn take(&self, connection: usize, held: &mut Vec<u8>, stream: &mut TcpStream) -> Result<(), String> {
        while !held.is_empty() {
            let (request, length) = match begin(held) {
                Begin::Whole(request, length) => (request, length),
                Begin::Part => return Ok(()),
                Begin::Broken(why) => return Err(why),
            };
            held.drain(..length);
            let answer = self.answer(connection, &request);
            // At once, so that nobody finds it twice.
            let mut seen = self.seen.lock().unwrap();
            self.parts.lock().unwrap()[connection].clone_from(held);
            seen.push(Seen { what: What::Whole(request) });
            drop(seen);
            if let Err(e) = stream.write_all(&answer) {
                return if e.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(e.to_string()) };
            }
        }
        Ok(())
    }

    fn answer(&self, connection: usize, request: &Request) -> Vec<u8> {
        let asked = request.one("upgrade").is_some();
        if asked && request.one("sec-websocket-version") != Some("13") {
            return b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n".into();
        }
        let name = self.name;
        let target = serde_json::Value::from(request.target.as_str());
        let body = format!(r#"{{"region":"{name}","connection":{connection},"target":{target}}}"#);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        match request.method.as_str() {
            "HEAD" => head.into(),
            _ => (head + &body).into(),
        }
    }
}

/// How long a quiet moment is.
pub const MOMENT: Duration = Duration::from_millis(50);

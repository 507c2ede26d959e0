//! A receiver of alerts: an HTTP server that keeps the events it is sent, in the order in which they come.
//!
//! Never: forgives an event that is no JSON; the panic of its thread then shows as events that never come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A receiver that runs for as long as the test's process.
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// What it answers; `None`: nothing, for ever.
    status: Option<u16>,
    came: Vec<Value>,
    taken: Vec<Value>,
    held: Vec<Box<dyn Send>>,
}

impl Receiver {
    /// One that takes all.
    pub fn start() -> Receiver {
        Receiver::with(None)
    }

    /// One over TLS.
    pub fn over_tls(config: Arc<ServerConfig>) -> Receiver {
        Receiver::with(Some(config))
    }

    fn with(tls: Option<Arc<ServerConfig>>) -> Receiver {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { status: Some(200), ..Shared::default() }));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, tls) = (Arc::clone(&own), tls.clone());
                std::thread::spawn(move || match tls {
                    None => exchange(stream, &own),
                    Some(tls) => {
                        exchange(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &own)
                    }
                });
            }
        });
        Receiver { address, scheme, shared }
    }

    /// What it answers from now on; `None`: it reads and never answers.
    pub fn answers(&self, status: Option<u16>) {
        self.shared.lock().unwrap().status = status;
    }

    /// The line of the settings that names it.
    pub fn setting(&self) -> String {
        format!("webhook = \"{}://localhost:{}/hook?key=s3cret\"", self.scheme, self.address.port())
    }

    /// All that it was sent, taken or not.
    pub fn came(&self) -> Vec<Value> {
        self.shared.lock().unwrap().came.clone()
    }

    /// What it took.
    pub fn taken(&self) -> Vec<Value> {
        self.shared.lock().unwrap().taken.clone()
    }
}

fn exchange<S: Read + Write + Send + 'static>(stream: S, shared: &Mutex<Shared>) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if !matches!(stream.read_line(&mut line), Ok(1..)) {
            return;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(written) = line.strip_prefix("content-length: ") {
            length = written.parse().unwrap();
        }
        head.push(line);
    }
    assert!(head[0].starts_with("post /hook?key=s3cret "), "{head:?}");
    assert!(head.contains(&"content-type: application/json".to_owned()), "{head:?}");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    let mut own = shared.lock().unwrap();
    own.came.push(event.clone());
    let Some(status) = own.status else { return own.held.push(Box::new(stream)) };
    if status == 200 {
        own.taken.push(event);
    }
    drop(own);
    let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Who asked may have gone.
    let _ = stream.get_mut().write_all(answer.as_bytes());
}

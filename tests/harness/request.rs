//! Ordinary requests.

use std::net::SocketAddr;

use super::wire::{Answer, Wire};

/// A request, to be sent on a connection of its own.
#[derive(Clone)]
pub struct Ask {
    pub(super) method: String,
    pub(super) head: String,
    pub(super) body: Option<Vec<u8>>,
}

/// A request of any method.
pub fn ask(method: &str, host: &str, path: &str) -> Ask {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    Ask { method: method.to_owned(), head, body: None }
}

/// A GET.
pub fn get(host: &str, path: &str) -> Ask {
    ask("GET", host, path)
}

/// A POST with a small body.
pub fn post(host: &str, path: &str) -> Ask {
    ask("POST", host, path).body("hello")
}

/// A PUT with a small body.
pub fn put(host: &str, path: &str) -> Ask {
    ask("PUT", host, path).body("hello")
}

impl Ask {
    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Gives it a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Ask {
        self.body = Some(body.into());
        self
    }

    /// The bytes that are sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it, and waits for the answer.
    #[track_caller]
    pub fn to(&self, address: SocketAddr) -> Answer {
        self.on(&mut Wire::to(address))
    }

    /// The same on a connection that is there already.
    #[track_caller]
    pub fn on(&self, wire: &mut Wire) -> Answer {
        wire.send(self.bytes());
        wire.answer_to(&self.method).expect("an answer, where the connection ended without a head")
    }

    /// Sends it; `None`: the connection ended without an answer.
    pub fn try_to(&self, address: SocketAddr) -> Option<Answer> {
        let mut wire = Wire::to(address);
        wire.try_send(&self.bytes()).then(|| wire.answer_to(&self.method))?
    }
}

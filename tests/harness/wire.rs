//! A small HTTP client that sends exactly the bytes it is given, and says how an answer ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::wait::PATIENCE;

/// A connection, plain or over TLS.
pub struct Wire {
    stream: Box<dyn Stream>,
    /// What came and was not asked for yet.
    ahead: Vec<u8>,
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As its head said it would.
    Whole,
    /// Its head said nothing, and the connection was closed in order.
    Closed,
    /// Before its end.
    Aborted,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body, without framing.
    pub body: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// The statuses of interim responses before it.
    pub interim: Vec<u16>,
}

impl Wire {
    /// A connection to `address`.
    pub fn to(address: SocketAddr) -> Wire {
        Wire::on(TcpStream::connect(address).unwrap())
    }

    /// A connection to `address` that comes from `source`, an address of this machine.
    pub fn from(source: [u8; 4], address: SocketAddr) -> Wire {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Wire::on(socket.into())
    }

    /// Over a connection that is there already, and waits no longer than anything does.
    pub fn on(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire::over(stream)
    }

    /// Over a stream that is there already.
    pub fn over(stream: impl Read + Write + Send + 'static) -> Wire {
        Wire { stream: Box::new(stream), ahead: Vec::new() }
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends these bytes, unless the other side has hung up; says whether they went.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The answer to a request that was no HEAD.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET").expect("an answer, where the connection ended without a head")
    }

    /// The answer to a request of this method; `None`: the connection ended without a whole head.
    pub fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.head()?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            if method != "HEAD" && !matches!(answer.status, 101 | 204 | 304) {
                self.body(&mut answer);
            }
            return Some(answer);
        }
    }

    /// The next head alone; its body is still to come.
    pub fn head(&mut self) -> Option<Answer> {
        while !contains(&self.ahead, b"\r\n\r\n") {
            if !self.more().ok()? {
                return None;
            }
        }
        let end = find(&self.ahead, b"\r\n\r\n").unwrap();
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status line");
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let headers = headers.collect();
        Some(Answer { status, headers, body: Vec::new(), end: End::Whole, interim: Vec::new() })
    }

    /// Reads the body of `answer`, whose head was just read.
    pub fn body(&mut self, answer: &mut Answer) {
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        answer.end = match (chunked, length) {
            (true, _) => self.chunks(&mut answer.body),
            (false, Some(length)) => match self.exactly(length, &mut answer.body) {
                true => End::Whole,
                false => End::Aborted,
            },
            (false, None) => match self.rest(&mut answer.body) {
                true => End::Closed,
                false => End::Aborted,
            },
        };
    }

    /// Whether nothing more comes but the end of the connection.
    pub fn is_over(&mut self) -> bool {
        self.ahead.is_empty() && matches!(self.more(), Ok(false) | Err(ErrorKind::ConnectionReset))
    }

    /// The next bytes, so many of them.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(length);
        assert!(
            self.exactly(length, &mut taken),
            "the connection ended {} bytes early",
            length - taken.len()
        );
        taken
    }

    /// Reads until this much of a body has come raw, framing included.
    pub fn until(&mut self, text: &str) {
        while !contains(&self.ahead, text.as_bytes()) {
            assert_eq!(self.more(), Ok(true), "the connection ended before {text:?} came");
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> End {
        loop {
            let Some(line) = self.line() else { return End::Aborted };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            if size == 0 {
                while let Some(trailer) = self.line() {
                    if trailer.is_empty() {
                        return End::Whole;
                    }
                }
                return End::Aborted;
            }
            if !self.exactly(size, body) || self.line().is_none() {
                return End::Aborted;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        while !contains(&self.ahead, b"\r\n") {
            if !self.more().ok()? {
                return None;
            }
        }
        let end = find(&self.ahead, b"\r\n").unwrap();
        let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn exactly(&mut self, length: usize, body: &mut Vec<u8>) -> bool {
        let mut left = length;
        loop {
            let taken = left.min(self.ahead.len());
            body.extend(self.ahead.drain(..taken));
            left -= taken;
            if left == 0 {
                return true;
            }
            if !self.more().unwrap_or(false) {
                return false;
            }
        }
    }

    fn rest(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            body.append(&mut self.ahead);
            match self.more() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Reads what comes next; false at the end.
    fn more(&mut self) -> Result<bool, ErrorKind> {
        let mut some = [0; 64 * 1024];
        match self.stream.read(&mut some) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.ahead.extend_from_slice(&some[..read]);
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}")
            }
            Err(e) => Err(e.kind()),
        }
    }
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The region that answered, by its echo.
    #[track_caller]
    pub fn region(&self) -> String {
        assert!(self.status < 300, "no region answered: {self:?} {}", self.text());
        self.json()["region"].as_str().expect("an echo").to_owned()
    }

    /// A request header as the region saw it, all fields of that name joined.
    #[track_caller]
    pub fn seen(&self, name: &str) -> Option<String> {
        let json = self.json();
        let fields = json["headers"].as_object().unwrap_or_else(|| panic!("no echo: {}", self.text()));
        let values = fields.get(&name.to_ascii_lowercase())?.as_array()?;
        Some(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    }

    /// The reason of a refusal; also checks its form.
    #[track_caller]
    pub fn refusal(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "no refusal: {self:?} {}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        for key in ["type", "title", "request_id"] {
            assert!(
                problem[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key} is missing: {problem}"
            );
        }
        if self.status == 503 {
            assert!(self.header("retry-after").is_some(), "a 503 says when to come again: {self:?}");
        }
        problem["reason"].as_str().unwrap().to_owned()
    }
}

fn contains(all: &[u8], wanted: &[u8]) -> bool {
    find(all, wanted).is_some()
}

fn find(all: &[u8], wanted: &[u8]) -> Option<usize> {
    all.windows(wanted.len()).position(|part| part == wanted)
}
